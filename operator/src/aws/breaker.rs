//! What keeps an account that refuses us, or does not answer, from being asked all the time: after a few failures in a row calls
//! to it fail here at once, with what it said last. From time to time one call goes through, to see whether it is over.
//!
//! There is one breaker for each service of a place, for failures that concern every call, and one for each operation, for
//! policies that lack it. So an account's revoked credentials slow nobody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AwsError, ErrorKind};

/// So many failures in a row open a breaker.
const THRESHOLD: u32 = 3;
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
    failures: u32,
    /// What the last failure was about, where that matters.
    last: Option<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pauses: u32,
    error: AwsError,
    probing: bool,
}

impl Breaker {
    /// What calls come to for now; `None` where they may be made.
    fn refusal(&self, now: Instant) -> Option<&AwsError> {
        self.open.as_ref().filter(|open| open.probing || now < open.until).map(|open| &open.error)
    }

    /// A call is made. True where it is the one that looks whether it is over.
    fn admit(&mut self) -> bool {
        self.open.as_mut().is_some_and(|open| !std::mem::replace(&mut open.probing, true))
    }

    /// A call has failed; `about` tells failures of different things apart. True where that opens the breaker.
    fn failed(&mut self, error: &AwsError, about: Option<u64>, is_probe: bool, now: Instant) -> bool {
        if let Some(open) = &mut self.open {
            if is_probe {
                open.pauses = open.pauses.saturating_add(1);
                open.until = now + pause(open.pauses, fastrand::f64());
                open.probing = false;
                open.error = error.clone();
            }
            return false;
        }
        if about.is_none() || self.last != about {
            self.failures += 1;
        }
        self.last = about;
        if self.failures < THRESHOLD {
            return false;
        }
        let until = now + pause(0, fastrand::f64());
        self.open = Some(Open { until, pauses: 0, error: error.clone(), probing: false });
        true
    }

    /// A call has shown that it is over. True where the breaker was open.
    fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.last = None;
        self.open.take().is_some()
    }

    /// A call has shown nothing.
    fn shown_nothing(&mut self, is_probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| is_probe) {
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

impl Breakers {
    /// What a call comes to while its breaker is open.
    pub fn refusal(&self, service: &'static str, operation: &'static str) -> Option<AwsError> {
        let both = self.lock();
        let breakers = [both.services.get(service), both.operations.get(operation)];
        let now = Instant::now();
        let error = breakers.into_iter().flatten().find_map(|breaker| breaker.refusal(now))?;
        // In the name of the call that is made: an object that fails for this keeps its message.
        Some(AwsError { operation, ..error.clone() })
    }

    /// Lets a call through, and says so only once for each pause. What comes of the call is to be reported.
    pub fn admit(&self, service: &'static str, operation: &'static str) -> Result<Permit<'_>, AwsError> {
        if let Some(error) = self.refusal(service, operation) {
            return Err(error);
        }
        let mut both = self.lock();
        let probes_service = both.services.get_mut(service).is_some_and(Breaker::admit);
        let probes_operation = both.operations.get_mut(operation).is_some_and(Breaker::admit);
        Ok(Permit {
            breakers: self,
            service,
            operation,
            probes_service,
            probes_operation,
            is_reported: false,
        })
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
    probes_service: bool,
    probes_operation: bool,
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
    /// Tells what came of the call. `about` is a hash of the stream that it was about: a policy may refuse one stream and allow
    /// others, so that refusals count for the operation only where they are about different ones.
    pub fn report(mut self, error: Option<&AwsError>, about: Option<u64>) -> Change {
        self.is_reported = true;
        let now = Instant::now();
        let mut both = self.breakers.lock();
        let Both { services, operations } = &mut *both;
        let service = services.entry(self.service).or_default();
        let operation = operations.entry(self.operation).or_default();
        let (opened, closed) = match error.map(|error| (error, reach(error.kind))) {
            None | Some((_, Reach::Call)) => {
                let closed = service.succeeded();
                (false, operation.succeeded() || closed)
            }
            Some((error, Reach::Operation)) => {
                let closed = service.succeeded();
                (operation.failed(error, about, self.probes_operation, now), closed)
            }
            Some((error, Reach::Service)) => {
                operation.shown_nothing(self.probes_operation);
                (service.failed(error, None, self.probes_service, now), false)
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
        if let Some(breaker) = both.services.get_mut(self.service) {
            breaker.shown_nothing(self.probes_service);
        }
        if let Some(breaker) = both.operations.get_mut(self.operation) {
            breaker.shown_nothing(self.probes_operation);
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

    fn fail(breakers: &Breakers, operation: &'static str, kind: ErrorKind, about: Option<u64>) -> Change {
        breakers.admit(KVS, operation).unwrap_or_else(|_| panic!()).report(Some(&error(kind)), about)
    }

    fn open(breakers: &Breakers) {
        let changes = [(); 3].map(|()| fail(breakers, "ListStreams", ErrorKind::CredentialsRefused, None));
        assert_eq!(changes, [Change::None, Change::None, Change::Opened]);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_open_the_breaker_for_every_call_of_the_service_and_for_no_other_place() {
        let (breakers, others) = (Breakers::default(), Breakers::default());
        open(&breakers);
        let refused = breakers.admit(KVS, "DescribeStream").err().unwrap();
        assert_eq!(refused, AwsError { operation: "DescribeStream", ..error(ErrorKind::CredentialsRefused) });
        assert!(breakers.admit("cloudwatch", "DescribeAlarms").is_ok());
        assert!(others.admit(KVS, "DescribeStream").is_ok());
        assert_eq!(breakers.trouble().unwrap().kind, ErrorKind::CredentialsRefused);
        assert_eq!(others.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_looks_whether_it_is_over_and_a_success_closes_the_breaker() {
        let breakers = Breakers::default();
        open(&breakers);
        tokio::time::advance(FIRST_PAUSE).await;
        let probe = breakers.admit(KVS, "ListStreams").ok().unwrap();
        assert!(breakers.admit(KVS, "ListStreams").is_err(), "a second probe");
        assert_eq!(probe.report(None, None), Change::Closed);
        assert!(breakers.admit(KVS, "ListStreams").is_ok());
        assert_eq!(breakers.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_lets_the_next_one_through() {
        let breakers = Breakers::default();
        open(&breakers);
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breakers.admit(KVS, "ListStreams").ok().unwrap());
        assert!(breakers.admit(KVS, "ListStreams").is_ok());
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
            if let Ok(permit) = breakers.admit(KVS, "ListStreams") {
                probes += 1;
                assert_eq!(permit.report(Some(&error(ErrorKind::Unreachable)), None), Change::None);
            }
        }
        assert!((60..=125).contains(&probes), "{probes}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_lacks_an_operation_stops_that_operation_alone() {
        let breakers = Breakers::default();
        let changes = [1, 2, 3].map(|stream| fail(&breakers, "TagStream", ErrorKind::Denied, Some(stream)));
        assert_eq!(changes[2], Change::Opened);
        assert_eq!(breakers.admit(KVS, "TagStream").err().unwrap().kind, ErrorKind::Denied);
        assert!(breakers.admit(KVS, "DescribeStream").is_ok());
        assert_eq!(breakers.trouble(), None, "the account itself is well");
    }

    #[tokio::test(start_paused = true)]
    async fn one_stream_that_is_refused_again_and_again_stops_no_other() {
        let breakers = Breakers::default();
        for _ in 0..20 {
            assert_eq!(fail(&breakers, "TagStream", ErrorKind::Denied, Some(7)), Change::None);
        }
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
