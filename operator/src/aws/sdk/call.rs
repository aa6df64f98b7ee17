//! How a call is made: in its turn, under a deadline, counted, and tried again where that is safe.

use std::future::Future;

use aws_sdk_kinesisvideo::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::super::error::{kind_of_code, said};
use super::super::{AwsError, ErrorKind};
use super::SdkCloud;

/// A call as far as its turn, its retries and its metrics are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// The operation.
    pub(super) operation: &'static str,
    /// The name or ARN of the stream that it is about.
    pub(super) stream: Option<&'a str>,
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
        Self::read("GetCallerIdentity")
    }

    /// A call that reads.
    pub(super) const fn read(operation: &'static str) -> Self {
        Self { operation, stream: None, effect: Effect::Read }
    }

    /// A call that has the same effect if it is sent twice.
    pub(super) const fn overwrite(operation: &'static str) -> Self {
        Self { operation, stream: None, effect: Effect::Overwrite }
    }

    /// A call that is sent again only if the service has said that it did nothing.
    pub(super) const fn change(operation: &'static str, stream: &'a str) -> Self {
        Self { operation, stream: Some(stream), effect: Effect::Change }
    }

    /// A call that is never sent again: under a version that was read, or with an effect that is relative.
    pub(super) const fn once(operation: &'static str, stream: &'a str) -> Self {
        Self { operation, stream: Some(stream), effect: Effect::Once }
    }

    /// The same, about a stream.
    pub(super) const fn of(self, stream: &'a str) -> Self {
        Self { stream: Some(stream), ..self }
    }
}

impl SdkCloud {
    /// Makes a call when it is its turn, counts it, and gives its error our form.
    pub(super) async fn call<T, E, F>(
        &self,
        request: Request<'_>,
        send: impl Fn() -> F + Send,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let operation = request.operation;
        self.pacer.wait(operation).await;
        tracing::debug!(operation, "AWS is called");
        let result = send().await.map_err(|error| ours(operation, &error));
        let outcome = result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.metrics.aws_call(operation, outcome);
        tracing::debug!(operation, outcome, "AWS has answered");
        result
    }
}

fn ours<E>(operation: &'static str, error: &SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("error without a code");
            (kind_of_code(code, service.err().message()), said(code, service.err().message()))
        }
        SdkError::TimeoutError(_) => (ErrorKind::Unreachable, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            (ErrorKind::Unreachable, root(error))
        }
        other => {
            let is_credentials = is_about_credentials(&DisplayErrorContext(other).to_string());
            let kind = if is_credentials { ErrorKind::NoCredentials } else { ErrorKind::Unreachable };
            (kind, root(other))
        }
    };
    AwsError { operation, kind, message }
}

/// What lies at the bottom of an error: "connection refused" rather than "dispatch failure".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // What follows in further lines is for the SDK's own log.
    let line = text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
    crate::conditions::cut(line, 300).to_owned()
}

/// The SDK has no type for "no credentials" that reaches the caller.
fn is_about_credentials(text: &str) -> bool {
    text.contains("credentials")
}
