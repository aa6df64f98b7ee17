//! The streams that may still appear: for each object, when a call that makes its stream was given up without an answer. An object
//! that is deleted then waits, as nobody would delete the stream without it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::aws::{AwsError, ErrorKind};
use crate::context::UNDER_WAY;

/// So many are remembered before those that are over are cleared away.
const KEPT: usize = 1024;

/// When the last call for each object, by its UID, was given up.
#[derive(Debug, Default)]
pub struct Creations(Mutex<HashMap<String, Instant>>);

impl Creations {
    /// Makes the call that makes the stream of this object, and remembers if nobody can say what comes of it: also where the pass is
    /// cut off midway.
    pub async fn sent<T>(
        &self,
        uid: &str,
        call: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<T, AwsError> {
        let mut under_way = UnderWay { creations: self, uid, outcome: Outcome::Unknown };
        let result = call.await;
        under_way.outcome = result.as_ref().map_or_else(|error| outcome(error.kind), |_| Outcome::Made);
        result
    }

    /// Whether a stream may still appear that this object asked for.
    pub fn may_take_effect(&self, uid: &str) -> bool {
        let given_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.get(uid).is_some_and(|at| at.elapsed() < UNDER_WAY)
    }

    fn ended(&self, uid: &str, outcome: Outcome) {
        let mut given_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Made => {
                given_up.remove(uid);
            }
            // What was sent before may take effect all the same.
            Outcome::Nothing => {}
            Outcome::Unknown => {
                if given_up.len() >= KEPT {
                    given_up.retain(|_, at| at.elapsed() < UNDER_WAY);
                }
                given_up.insert(uid.to_owned(), Instant::now());
            }
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Made,
    Nothing,
    Unknown,
}

/// A call whose answer is waited for.
struct UnderWay<'a> {
    creations: &'a Creations,
    uid: &'a str,
    outcome: Outcome,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.creations.ended(self.uid, self.outcome);
    }
}

/// What a call came to that has failed so.
const fn outcome(kind: ErrorKind) -> Outcome {
    match kind {
        // A name that is taken may be so by what was sent before, and no read may show that yet.
        ErrorKind::InUse | ErrorKind::Unreachable | ErrorKind::NotLeader | ErrorKind::Other => {
            Outcome::Unknown
        }
        ErrorKind::VersionMismatch
        | ErrorKind::NotFound
        | ErrorKind::NoCredentials
        | ErrorKind::CredentialsRefused
        | ErrorKind::RoleRefused
        | ErrorKind::WrongAccount
        | ErrorKind::Denied
        | ErrorKind::Throttled
        | ErrorKind::Quota
        | ErrorKind::LimitExceeded
        | ErrorKind::TagLimit
        | ErrorKind::InvalidArgument
        | ErrorKind::KmsUnusable
        | ErrorKind::NoRetention
        | ErrorKind::InvalidCaBundle => Outcome::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn comes_to(creations: &Creations, uid: &str, kind: Option<ErrorKind>) {
        let error = |kind| AwsError { operation: "CreateStream", kind, message: String::new() };
        let answer = async { kind.map_or(Ok(()), |kind| Err(error(kind))) };
        let _ = creations.sent(uid, answer).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_may_take_effect_for_a_while_though_another_is_refused() {
        let creations = Creations::default();
        for kind in [None, Some(ErrorKind::Throttled), Some(ErrorKind::Denied), Some(ErrorKind::Quota)] {
            comes_to(&creations, "a", kind).await;
            assert!(!creations.may_take_effect("a"), "{kind:?}");
        }
        for kind in [ErrorKind::Unreachable, ErrorKind::Other, ErrorKind::InUse] {
            comes_to(&creations, "a", Some(kind)).await;
            comes_to(&creations, "a", Some(ErrorKind::Throttled)).await;
            assert!(creations.may_take_effect("a") && !creations.may_take_effect("b"), "{kind:?}");
            tokio::time::advance(UNDER_WAY.mul_f64(0.9)).await;
            assert!(creations.may_take_effect("a"), "{kind:?}");
            tokio::time::advance(UNDER_WAY.mul_f64(0.1)).await;
            assert!(!creations.may_take_effect("a"), "{kind:?}");
        }
        comes_to(&creations, "a", Some(ErrorKind::Unreachable)).await;
        comes_to(&creations, "a", None).await;
        assert!(!creations.may_take_effect("a"), "it is made");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_cut_off_counts_from_then() {
        let creations = Creations::default();
        let call = creations.sent("a", std::future::pending::<Result<(), AwsError>>());
        // It stands in its row for long first.
        assert!(tokio::time::timeout(Duration::from_mins(3), call).await.is_err());
        assert!(creations.may_take_effect("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_cleared_away() {
        let creations = Creations::default();
        for number in 0..5_000_u32 {
            comes_to(&creations, &number.to_string(), Some(ErrorKind::Unreachable)).await;
            tokio::time::advance(Duration::from_millis(20)).await;
        }
        assert!(creations.0.lock().unwrap().len() <= KEPT);
    }
}
