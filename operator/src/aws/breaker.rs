//! What keeps an account that refuses us, or does not answer, from being asked all the time: after a few failures calls to it fail
//! here at once, with what it said last. From time to time one call goes through, to see whether it is over.
//!
//! There is one breaker for each service of a place, for failures that concern every call: bad credentials, no answer. So an
//! account's revoked credentials slow nobody else.
//!
//! There is one for each operation, for policies that lack it. But a policy may also refuse some streams and grant others, and a
//! tenant whose streams are refused is to stop nobody else's. So refusals of streams count only once many different ones were
//! refused and none was granted meanwhile; and even then one that was not refused itself gets through, one in a second, and the
//! first that is granted ends it. A stream that is refused again and again is held back by its object's own delay.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AwsError, ErrorKind};

/// So many failures in a row open a breaker.
const THRESHOLD: u32 = 3;
/// So many different streams have to be refused an operation, and none granted it meanwhile, for that to open its breaker.
const SUBJECTS: usize = 10;
/// So many of them are remembered: the largest fleet of an operator. More are taken for refused.
const SUBJECTS_MAX: usize = 10_000;
/// How often a stream gets through an open breaker that was not refused itself.
const NEWCOMER_EVERY: Duration = Duration::from_secs(1);
/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause: so long it takes at most to notice that it is over.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What a failure says about other calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Every call to the service will fail.
    Service,
    /// Calls of this operation may all fail.
    Operation,
    /// Nothing.
    Call,
}

fn reach(kind: ErrorKind) -> Reach {
    match kind {
        kind if kind.is_about_credentials() || kind == ErrorKind::Unreachable => Reach::Service,
        ErrorKind::Denied => Reach::Operation,
        _ => Reach::Call,
    }
}

/// One breaker.
#[derive(Debug, Default)]
struct Breaker {
    /// Failures in a row that were about nothing in particular.
    failures: u32,
    /// What was refused since anything was granted.
    refused: HashSet<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pauses: u32,
    error: AwsError,
    probing: bool,
    /// When the next stream gets through that was not refused itself.
    newcomer: Instant,
}

/// How a call gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// As any call: the breaker is closed, or this one was not refused itself.
    Free,
    /// It looks whether it is over.
    Probe,
}

impl Breaker {
    /// What calls come to for now; `None` where they may be made.
    fn refusal(&self, subject: Option<u64>, now: Instant) -> Option<&AwsError> {
        let open = self.open.as_ref()?;
        let is_shut = open.probing || now < open.until;
        (is_shut && !self.is_newcomers_turn(subject, now)).then_some(&open.error)
    }

    /// Whether this one was not refused itself, though others were, and no other such was let through a moment ago.
    fn is_newcomers_turn(&self, subject: Option<u64>, now: Instant) -> bool {
        let is_new = subject.is_some_and(|subject| {
            (1..SUBJECTS_MAX).contains(&self.refused.len()) && !self.refused.contains(&subject)
        });
        is_new && self.open.as_ref().is_some_and(|open| now >= open.newcomer)
    }

    /// A call is made.
    fn admit(&mut self, subject: Option<u64>, now: Instant) -> Pass {
        let is_newcomers_turn = self.is_newcomers_turn(subject, now);
        let Some(open) = &mut self.open else { return Pass::Free };
        if is_newcomers_turn {
            open.newcomer = now + NEWCOMER_EVERY;
            return Pass::Free;
        }
        open.probing = true;
        Pass::Probe
    }

    /// A call has failed. True where that opens the breaker.
    fn failed(&mut self, error: &AwsError, subject: Option<u64>, pass: Pass, now: Instant) -> bool {
        match subject {
            Some(subject) if self.refused.len() < SUBJECTS_MAX => {
                self.refused.insert(subject);
            }
            Some(_) => {}
            None => self.failures += 1,
        }
        if let Some(open) = &mut self.open {
            if pass == Pass::Probe {
                open.pauses = open.pauses.saturating_add(1);
                open.until = now + pause(open.pauses, fastrand::f64());
                open.probing = false;
                // The text of a refused stream names it: with another's each time, all objects would be written each time.
                if error.kind != ErrorKind::Denied || open.error.kind != error.kind {
                    open.error = error.clone();
                }
            }
            return false;
        }
        if self.failures < THRESHOLD && self.refused.len() < SUBJECTS {
            return false;
        }
        let until = now + pause(0, fastrand::f64());
        self.open = Some(Open { until, pauses: 0, error: error.clone(), probing: false, newcomer: now });
        true
    }

    /// A call has shown that it is over. True where the breaker was open.
    fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.refused = HashSet::new();
        self.open.take().is_some()
    }

    /// A call has shown nothing.
    fn shown_nothing(&mut self, pass: Pass) {
        if let Some(open) = self.open.as_mut().filter(|_| pass == Pass::Probe) {
            open.probing = false;
        }
    }
}

/// The pause after so many earlier ones; `jitter` from 0 to 1 shortens it by up to half, so that accounts that failed together
/// are not asked together.
fn pause(pauses: u32, jitter: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(pauses.min(16))).min(LONGEST_PAUSE);
    full.mul_f64(1.0 - jitter / 2.0)
}

/// The breakers of a place.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    services: HashMap<&'static str, Breaker>,
    operations: HashMap<&'static str, Breaker>,
}

impl Both {
    fn refusal(
        &self,
        service: &str,
        operation: &'static str,
        subject: Option<u64>,
        now: Instant,
    ) -> Option<AwsError> {
        let of_service = self.services.get(service).and_then(|breaker| breaker.refusal(None, now));
        let of_operation =
            || self.operations.get(operation).and_then(|breaker| breaker.refusal(subject, now));
        // In the name of the call that is made: an object that fails for this keeps its message.
        of_service.or_else(of_operation).map(|error| AwsError { operation, ..error.clone() })
    }
}

impl Breakers {
    /// What a call comes to while its breaker is open. `subject` tells the streams apart that calls are about.
    pub fn refusal(
        &self,
        service: &'static str,
        operation: &'static str,
        subject: Option<u64>,
    ) -> Option<AwsError> {
        self.lock().refusal(service, operation, subject, Instant::now())
    }

    /// Lets a call through, or says why not. What comes of the call is to be reported.
    pub fn admit(
        &self,
        service: &'static str,
        operation: &'static str,
        subject: Option<u64>,
    ) -> Result<Permit<'_>, AwsError> {
        let now = Instant::now();
        let mut both = self.lock();
        if let Some(error) = both.refusal(service, operation, subject, now) {
            return Err(error);
        }
        let of_service = both.services.get_mut(service).map(|breaker| breaker.admit(None, now));
        let of_operation = both.operations.get_mut(operation).map(|breaker| breaker.admit(subject, now));
        let passes = [of_service, of_operation].map(|pass| pass.unwrap_or(Pass::Free));
        Ok(Permit { breakers: self, service, operation, subject, passes, is_reported: false })
    }

    /// What a service of the place refuses every call with, where it does.
    pub fn trouble(&self) -> Option<AwsError> {
        self.lock().services.values().find_map(|breaker| breaker.open.as_ref().map(|open| open.error.clone()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that may be made. Dropped without a report, it has shown nothing.
pub struct Permit<'a> {
    breakers: &'a Breakers,
    service: &'static str,
    operation: &'static str,
    subject: Option<u64>,
    /// How it gets through that of the service, and that of the operation.
    passes: [Pass; 2],
    is_reported: bool,
}

/// What a report has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Calls are refused here from now on.
    Opened,
    /// Calls are made again.
    Closed,
}

impl Permit<'_> {
    /// Tells what came of the call.
    pub fn report(mut self, error: Option<&AwsError>) -> Change {
        self.is_reported = true;
        let now = Instant::now();
        let mut both = self.breakers.lock();
        let Both { services, operations } = &mut *both;
        let service = services.entry(self.service).or_default();
        let operation = operations.entry(self.operation).or_default();
        let [of_service, of_operation] = self.passes;
        let (opened, closed) = match error.map(|error| (error, reach(error.kind))) {
            None | Some((_, Reach::Call)) => {
                let closed = service.succeeded();
                (false, operation.succeeded() || closed)
            }
            Some((error, Reach::Operation)) => {
                let closed = service.succeeded();
                (operation.failed(error, self.subject, of_operation, now), closed)
            }
            Some((error, Reach::Service)) => {
                operation.shown_nothing(of_operation);
                (service.failed(error, None, of_service, now), false)
            }
        };
        match (opened, closed) {
            (true, _) => Change::Opened,
            (false, true) => Change::Closed,
            (false, false) => Change::None,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        let mut both = self.breakers.lock();
        let [of_service, of_operation] = self.passes;
        if let Some(breaker) = both.services.get_mut(self.service) {
            breaker.shown_nothing(of_service);
        }
        if let Some(breaker) = both.operations.get_mut(self.operation) {
            breaker.shown_nothing(of_operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KVS: &str = "kinesisvideo";

    fn error(kind: ErrorKind) -> AwsError {
        AwsError { operation: "ListStreams", kind, message: "as ordered".to_owned() }
    }

    fn fail(breakers: &Breakers, operation: &'static str, kind: ErrorKind, subject: Option<u64>) -> Change {
        let permit = breakers.admit(KVS, operation, subject);
        permit.unwrap_or_else(|_| panic!()).report(Some(&error(kind)))
    }

    fn open(breakers: &Breakers) {
        let changes = [(); 3].map(|()| fail(breakers, "ListStreams", ErrorKind::CredentialsRefused, None));
        assert_eq!(changes, [Change::None, Change::None, Change::Opened]);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_open_the_breaker_for_every_call_of_the_service_and_for_no_other_place() {
        let (breakers, others) = (Breakers::default(), Breakers::default());
        open(&breakers);
        let refused = breakers.admit(KVS, "DescribeStream", None).err().unwrap();
        assert_eq!(refused, AwsError { operation: "DescribeStream", ..error(ErrorKind::CredentialsRefused) });
        assert!(breakers.admit("cloudwatch", "DescribeAlarms", None).is_ok());
        assert!(others.admit(KVS, "DescribeStream", None).is_ok());
        assert_eq!(breakers.trouble().unwrap().kind, ErrorKind::CredentialsRefused);
        assert_eq!(others.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_looks_whether_it_is_over_and_a_success_closes_the_breaker() {
        let breakers = Breakers::default();
        open(&breakers);
        tokio::time::advance(FIRST_PAUSE).await;
        let probe = breakers.admit(KVS, "ListStreams", None).ok().unwrap();
        assert!(breakers.admit(KVS, "ListStreams", None).is_err(), "a second probe");
        assert_eq!(probe.report(None), Change::Closed);
        assert!(breakers.admit(KVS, "ListStreams", None).is_ok());
        assert_eq!(breakers.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_lets_the_next_one_through() {
        let breakers = Breakers::default();
        open(&breakers);
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breakers.admit(KVS, "ListStreams", None).ok().unwrap());
        assert!(breakers.admit(KVS, "ListStreams", None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_an_hour_costs_few_calls() {
        assert_eq!([0, 1, 2, 3, 4, 40].map(|pauses| pause(pauses, 0.0).as_secs()), [5, 10, 20, 40, 60, 60]);
        assert_eq!(pause(4, 1.0), LONGEST_PAUSE / 2);
        let breakers = Breakers::default();
        open(&breakers);
        let mut probes = 0;
        for _ in 0..3_600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            if let Ok(permit) = breakers.admit(KVS, "ListStreams", None) {
                probes += 1;
                assert_eq!(permit.report(Some(&error(ErrorKind::Unreachable))), Change::None);
            }
        }
        assert!((60..=125).contains(&probes), "{probes}");
    }

    /// These streams are refused an operation, and that opens its breaker.
    fn refuse(breakers: &Breakers, streams: std::ops::Range<u64>) {
        let changes = streams.map(|stream| fail(breakers, "TagStream", ErrorKind::Denied, Some(stream)));
        assert_eq!(changes.last(), Some(Change::Opened));
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_lacks_an_operation_stops_that_operation_alone() {
        let breakers = Breakers::default();
        let changes = [(); 3].map(|()| fail(&breakers, "ListStreams", ErrorKind::Denied, None));
        assert_eq!(changes[2], Change::Opened);
        refuse(&breakers, 0..SUBJECTS as u64);
        for operation in ["ListStreams", "TagStream"] {
            let refused = breakers.admit(KVS, operation, Some(1)).err().unwrap();
            assert_eq!((refused.operation, refused.kind), (operation, ErrorKind::Denied));
        }
        assert!(breakers.admit(KVS, "DescribeStream", Some(1)).is_ok());
        assert_eq!(breakers.trouble(), None, "the account itself is well");
    }

    #[tokio::test(start_paused = true)]
    async fn the_streams_of_one_tenant_that_are_refused_stop_nobody_elses() {
        let breakers = Breakers::default();
        for round in 0..20 {
            for stream in 0..SUBJECTS as u64 - 1 {
                assert_eq!(fail(&breakers, "TagStream", ErrorKind::Denied, Some(stream)), Change::None);
            }
            if round == 10 {
                // Somebody else's is granted: all that was counted is about these alone.
                assert_eq!(
                    breakers.admit(KVS, "TagStream", Some(77)).ok().unwrap().report(None),
                    Change::None
                );
            }
        }
        breakers.admit(KVS, "TagStream", Some(77)).ok().unwrap().report(None);
        // So many at last that it looks as if all were: who was not refused gets through nevertheless, at once.
        refuse(&breakers, 100..100 + SUBJECTS as u64);
        assert!(breakers.refusal(KVS, "TagStream", Some(100)).is_some());
        assert_eq!(breakers.refusal(KVS, "TagStream", Some(77)), None);
        let granted = breakers.admit(KVS, "TagStream", Some(77)).ok().unwrap();
        assert!(breakers.admit(KVS, "TagStream", Some(79)).is_err(), "one in a second");
        assert_eq!(granted.report(None), Change::Closed);
        assert!(breakers.admit(KVS, "TagStream", Some(100)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_refuses_every_stream_is_asked_once_about_each_and_then_from_time_to_time() {
        let breakers = Breakers::default();
        let (mut calls, mut of_last_hour) = (0, 0);
        for second in 0..7_200 {
            tokio::time::advance(Duration::from_secs(1)).await;
            // Each of them tries.
            for stream in 0..500 {
                let Ok(permit) = breakers.admit(KVS, "TagStream", Some(stream)) else { continue };
                permit.report(Some(&error(ErrorKind::Denied)));
                calls += 1;
                of_last_hour += u64::from(second >= 3_600);
            }
        }
        assert!(calls <= 500 + 2 * 125, "{calls}");
        assert!((60..=125).contains(&of_last_hour), "{of_last_hour}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_for_as_long_as_streams_are_refused_is_the_same() {
        let breakers = Breakers::default();
        let refused =
            |stream: u64| AwsError { message: format!("stream {stream}"), ..error(ErrorKind::Denied) };
        let mut said = std::collections::BTreeSet::new();
        for stream in 0..1_000 {
            tokio::time::advance(Duration::from_secs(5)).await;
            match breakers.admit(KVS, "ListTagsForStream", Some(stream % 100)) {
                Ok(permit) => {
                    permit.report(Some(&refused(stream % 100)));
                }
                Err(error) => {
                    said.insert(error.message);
                }
            }
        }
        assert_eq!(said.len(), 1, "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_say_nothing_about_other_calls_never_open_it_and_clear_what_was_counted() {
        let breakers = Breakers::default();
        for _ in 0..20 {
            fail(&breakers, "ListStreams", ErrorKind::Unreachable, None);
            fail(&breakers, "ListStreams", ErrorKind::Unreachable, None);
            assert_eq!(fail(&breakers, "CreateStream", ErrorKind::InUse, None), Change::None);
        }
    }
}
