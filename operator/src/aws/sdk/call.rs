//! How a call is made: in its turn, under a deadline, counted, and tried again where that is safe.

use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kinesisvideo::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::super::breaker::{Breakers, Change};
use super::super::guarded::{cut_off, not_leader};
use super::super::quotas::{CLOUD_WATCH, KINESIS_VIDEO, Limiter, STS, name_of};
use super::super::{AwsError, Caller, ErrorKind, Lane, Turn};
use super::SdkCloud;
use super::failure::ours;
use crate::leader::Leadership;
use crate::metrics::Metrics;

/// How often a call is made at most.
const ATTEMPTS: u32 = 3;
/// No further attempt begins so long after the first.
const CALL_TIME: Duration = Duration::from_secs(20);
/// The delay before the second attempt; it doubles.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// How long a wrong account is taken for wrong before STS is asked again.
const WRONG_FOR: Duration = Duration::from_secs(5);
/// How often the use of quotas is told to the metrics.
const TELL_QUOTAS_EVERY: Duration = Duration::from_secs(10);

/// A call as far as its turn, its retries and its metrics are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// The service, as in metrics.
    pub(super) service: &'static str,
    /// The operation.
    pub(super) operation: &'static str,
    /// The name or ARN of the stream, or the name of the alarm, that it is about.
    pub(super) about: Option<&'a str>,
    /// What it does, and so when it may be sent again.
    pub(super) effect: Effect,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It reads.
    Read,
    /// It has the same effect if it is sent twice.
    Overwrite,
    /// It is sent again only if the service has said that it did nothing.
    Change,
    /// It is never sent again.
    Once,
}

impl<'a> Request<'a> {
    /// The question who the caller is.
    pub(super) const fn identity() -> Self {
        Self { service: STS, operation: "GetCallerIdentity", about: None, effect: Effect::Read }
    }

    /// A call that reads.
    pub(super) const fn read(operation: &'static str) -> Self {
        Self { service: KINESIS_VIDEO, operation, about: None, effect: Effect::Read }
    }

    /// A call that has the same effect if it is sent twice.
    pub(super) const fn overwrite(operation: &'static str) -> Self {
        Self { service: KINESIS_VIDEO, operation, about: None, effect: Effect::Overwrite }
    }

    /// A call that is sent again only if the service has said that it did nothing.
    pub(super) const fn change(operation: &'static str, stream: &'a str) -> Self {
        Self { service: KINESIS_VIDEO, operation, about: Some(stream), effect: Effect::Change }
    }

    /// A call that is never sent again: under a version that was read, with an effect that is relative, or of what was confirmed
    /// for this once.
    pub(super) const fn once(operation: &'static str, stream: &'a str) -> Self {
        Self { service: KINESIS_VIDEO, operation, about: Some(stream), effect: Effect::Once }
    }

    /// The same, to CloudWatch.
    pub(super) const fn to_cloud_watch(self) -> Self {
        Self { service: CLOUD_WATCH, ..self }
    }

    /// What it is about, for the breakers.
    fn subject(self) -> Option<u64> {
        self.about.map(|about| hash(name_of(about)))
    }

    /// The same, about a stream or an alarm.
    pub(super) const fn of(self, about: &'a str) -> Self {
        Self { about: Some(about), ..self }
    }
}

/// What a call must keep to at its place; shared by all clients of the place.
pub(super) struct Rules {
    /// The rows of the account and region.
    pub(super) limiter: Arc<Limiter>,
    /// The breakers of the place.
    pub(super) breakers: Breakers,
    /// Whether this process may change anything.
    pub(super) leadership: Option<Leadership>,
    /// The metrics of the process.
    pub(super) metrics: Arc<Metrics>,
    /// Calls were refused for their credentials: other ones may be there by now.
    pub(super) is_stale: AtomicBool,
    /// When STS last did not confirm the account, and what it said.
    pub(super) wrong: Mutex<Option<(Instant, AwsError)>>,
    /// Held by whoever asks STS whether the account is right.
    pub(super) asking: tokio::sync::Mutex<()>,
}

impl SdkCloud {
    /// Makes a call: to the right account, when it is its turn, counted, and again where that is safe.
    pub(super) async fn call<T, E, F>(
        &self,
        request: Request<'_>,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, AwsError>
    where
        T: Send,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.check_account().await.map_err(|error| AwsError { operation: request.operation, ..error })?;
        self.tried(request, send).await
    }

    /// Takes the turn of a call that is made later: to the right account, when it may be made.
    pub(super) async fn take_turn(&self, request: Request<'_>) -> Result<Turn, AwsError> {
        self.check_account().await.map_err(|error| AwsError { operation: request.operation, ..error })?;
        self.wait(request).await?;
        Ok(Turn::new(request.operation, request.about.unwrap_or_default()))
    }

    /// Asks STS who the caller is, and remembers whether that is right.
    pub(super) async fn identity(&self) -> Result<Caller, AwsError> {
        let question = self.clients.sts.get_caller_identity();
        let identity = self.tried(Request::identity(), || question.clone().send()).await?;
        let caller =
            Caller { account: identity.account.unwrap_or_default(), arn: identity.arn.unwrap_or_default() };
        self.is_right.store(caller.account == self.place.account, Ordering::Relaxed);
        Ok(caller)
    }

    /// Nothing is asked of an account, let alone changed, before STS has said that it is the one that the class names.
    async fn check_account(&self) -> Result<(), AwsError> {
        if self.is_right.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(error) = self.wrong_since(WRONG_FOR) {
            return Err(error);
        }
        let _asking = match self.rules.asking.try_lock() {
            Ok(asking) => asking,
            // Somebody asks already. Where that has failed before, nobody waits for it: it may take long.
            Err(_) => match self.wrong_since(Duration::MAX) {
                Some(error) => return Err(error),
                None => self.rules.asking.lock().await,
            },
        };
        if self.is_right.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(error) = self.wrong_since(WRONG_FOR) {
            return Err(error);
        }
        let error = match self.identity().await {
            Ok(caller) if caller.account == self.place.account => return Ok(()),
            Ok(caller) => AwsError {
                operation: "GetCallerIdentity",
                kind: ErrorKind::WrongAccount,
                message: format!(
                    "the credentials are of account {}, and the class names account {}",
                    caller.account, self.place.account
                ),
            },
            Err(error) => error,
        };
        if error.kind.is_about_credentials() {
            self.rules.is_stale.store(true, Ordering::Relaxed);
        }
        *self.rules.wrong.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), error.clone()));
        Err(error)
    }

    /// What STS said when it did not confirm the account, if that is not longer ago.
    fn wrong_since(&self, longest: Duration) -> Option<AwsError> {
        let wrong = self.rules.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.as_ref().filter(|(at, _)| at.elapsed() < longest).map(|(_, error)| error.clone())
    }

    /// Makes a call when it is its turn, counted, and again where that is safe.
    async fn tried<T, E, F>(
        &self,
        request: Request<'_>,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, AwsError>
    where
        T: Send,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let (result, is_transient) = self.attempt(request, &send).await;
            let Err(error) = &result else { return result };
            let is_safe = match request.effect {
                Effect::Read | Effect::Overwrite => is_transient || error.kind == ErrorKind::Throttled,
                Effect::Change => error.kind == ErrorKind::Throttled,
                Effect::Once => false,
            };
            attempt += 1;
            if !is_safe || attempt >= ATTEMPTS || started.elapsed() > CALL_TIME {
                return result;
            }
            tokio::time::sleep(delay(attempt, fastrand::f64())).await;
        }
    }

    /// Waits until it is the turn of a call.
    async fn wait(&self, request: Request<'_>) -> Result<(), AwsError> {
        let Request { service, operation, about, .. } = request;
        // Nobody is to stand in a row for a service that does not answer.
        if let Some(refusal) = self.rules.breakers.refusal(service, operation, request.subject()) {
            return Err(refusal);
        }
        let waited = self.rules.limiter.wait(operation, about, Lane::current()).await;
        self.rules.metrics.rate_limit_wait(operation, waited);
        Ok(())
    }

    /// One attempt. True where a failure may be gone at the next.
    async fn attempt<T, E, F>(
        &self,
        request: Request<'_>,
        send: &(impl Fn() -> F + Send + Sync),
    ) -> (Result<T, AwsError>, bool)
    where
        T: Send,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Request { service, operation, about, .. } = request;
        if !Turn::use_up(operation, about)
            && let Err(refusal) = self.wait(request).await
        {
            return (Err(refusal), false);
        }
        let permit = match self.rules.breakers.admit(service, operation, request.subject()) {
            Ok(permit) => permit,
            Err(refusal) => return (Err(refusal), false),
        };
        let span = tracing::debug_span!(
            "aws_call",
            otel.kind = "client",
            service,
            operation,
            about = about.map(name_of),
            code = Empty
        );
        let answer = self.sent(request, send).instrument(span.clone()).await;
        let error = answer.as_ref().err().map(|(error, _)| error);
        span.record("code", error.map_or("ok", |error| error.kind.as_str()));
        // What was not sent, or was cut off, has shown nothing.
        if error.is_none_or(|error| error.kind != ErrorKind::NotLeader) {
            self.learn(operation, error);
            self.tell(permit.report(error), service, operation, error);
        }
        match answer {
            Ok(answer) => (Ok(answer), false),
            Err((error, is_transient)) => (Err(error), is_transient),
        }
    }

    /// Sends a call, measured. What changes something is sent only while this process leads, and cut off when it does not any more.
    /// True where a failure may be gone at the next attempt.
    async fn sent<T, E, F>(
        &self,
        request: Request<'_>,
        send: &(impl Fn() -> F + Send + Sync),
    ) -> Result<T, (AwsError, bool)>
    where
        T: Send,
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Request { service, operation, about, effect } = request;
        let leadership = self.rules.leadership.as_ref().filter(|_| effect != Effect::Read);
        if leadership.is_some_and(|leadership| leadership.check().is_err()) {
            return Err((not_leader(operation), false));
        }
        tracing::debug!(service, operation, about, "AWS is called");
        let started = Instant::now();
        let answer = match leadership {
            Some(leadership) => leadership.during(send()).await,
            None => Ok(send().await),
        };
        let took = started.elapsed();
        let result = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ours(operation, &error)),
            Err(_) => Err((cut_off(operation), false)),
        };
        let code = result.as_ref().err().map_or("ok", |(error, _)| error.kind.as_str());
        self.rules.metrics.aws_request(service, operation, code, took);
        tracing::debug!(service, operation, about, code, "AWS has answered");
        result
    }

    /// What a failure means for the calls that follow.
    fn learn(&self, operation: &'static str, error: Option<&AwsError>) {
        match error.map(|error| error.kind) {
            Some(ErrorKind::Throttled) => self.rules.limiter.throttled(operation),
            Some(kind) if kind.is_about_credentials() => self.rules.is_stale.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    fn tell(&self, change: Change, service: &str, operation: &str, error: Option<&AwsError>) {
        let (account, region) = (self.place.account.as_str(), self.place.region.as_str());
        match (change, error) {
            (Change::Opened, Some(error)) => {
                tracing::warn!(account, region, service, operation, %error, "Calls are made from time to time only");
            }
            (Change::Closed, _) => {
                tracing::info!(account, region, service, operation, "Calls are made again");
            }
            _ => {}
        }
        for (quota, ratio) in self.rules.limiter.used_if_due(TELL_QUOTAS_EVERY) {
            self.rules.metrics.quota_used(quota, account, region, ratio);
        }
    }
}

/// The delay after so many attempts; `jitter` from 0 to 1 shortens it by up to half.
fn delay(attempts: u32, jitter: f64) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).mul_f64(1.0 - jitter / 2.0)
}

fn hash(about: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    about.hash(&mut hasher);
    hasher.finish()
}
