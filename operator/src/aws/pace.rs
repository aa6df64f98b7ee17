//! The service's quotas, kept by ourselves: so many calls a second of each operation in an account and region, shared by all
//! objects. What comes over that waits here, instead of taking other users' share and being refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is left to others: our share of a quota, in percent.
const SHARE_PERCENT: u32 = 80;

/// The service's quota for an operation in an account and region, in calls a second (developer guide, service quotas).
fn quota(operation: &str) -> u32 {
    match operation {
        "DescribeStream" | "GetDataEndpoint" => 300,
        _ => 50,
    }
}

/// When each operation may be called next.
#[derive(Debug, Default)]
pub struct Pacer {
    next: Mutex<HashMap<&'static str, Instant>>,
}

impl Pacer {
    /// Waits until this operation may be called.
    pub async fn wait(&self, operation: &'static str) {
        let at = self.reserve(operation, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    /// Takes the next place in the row.
    fn reserve(&self, operation: &'static str, now: Instant) -> Instant {
        let gap = Duration::from_secs(100) / (quota(operation) * SHARE_PERCENT);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.get(operation).copied().unwrap_or(now).max(now);
        next.insert(operation, at + gap);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_stretched_to_our_share_of_the_quota() {
        let pacer = Pacer::default();
        let now = Instant::now();
        let places: Vec<Duration> =
            (0..41).map(|_| pacer.reserve("CreateStream", now).duration_since(now)).collect();
        assert_eq!(places[0], Duration::ZERO);
        assert_eq!(places[40], Duration::from_secs(1));
        assert_eq!(pacer.reserve("DescribeStream", now), now);
    }

    #[test]
    fn an_operation_that_rests_saves_nothing_up() {
        let pacer = Pacer::default();
        let now = Instant::now();
        pacer.reserve("TagStream", now);
        let later = now + Duration::from_mins(1);
        assert_eq!(pacer.reserve("TagStream", later), later);
        assert!(pacer.reserve("TagStream", later) > later);
    }
}
