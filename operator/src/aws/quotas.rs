//! The service's quotas, kept by ourselves: one table of how many calls a second of each operation an account and region, and
//! each stream, may make; and the rows in which calls wait for their turn. What comes over a quota waits here, instead of taking
//! other users' share and being refused.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::{Bucket, Row};
use super::lane::Lane;

/// How often an operation may be called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    /// The service, as in metrics.
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// Calls a second in an account and region.
    pub account: f64,
    /// Calls a second for one stream.
    pub stream: Option<f64>,
}

/// The developer guide of Kinesis Video Streams, "Service quotas", control plane.
const fn kvs(operation: &'static str, account: f64, stream: Option<f64>) -> Quota {
    Quota { service: KINESIS_VIDEO, operation, account, stream }
}

/// The user guide of CloudWatch, "Service quotas", alarms.
const fn cloud_watch(operation: &'static str, account: f64) -> Quota {
    Quota { service: CLOUD_WATCH, operation, account, stream: None }
}

/// Kinesis Video Streams, as in metrics.
pub const KINESIS_VIDEO: &str = "kinesisvideo";
/// CloudWatch, as in metrics.
pub const CLOUD_WATCH: &str = "cloudwatch";
/// STS, as in metrics. Its quota (600 a second, IAM user guide) is far from what the operator asks, and has no row.
pub const STS: &str = "sts";

/// Every operation that waits for its turn.
pub const QUOTAS: [Quota; 18] = [
    kvs("CreateStream", 50.0, None),
    kvs("DescribeStream", 300.0, Some(5.0)),
    kvs("ListStreams", 50.0, None),
    kvs("ListTagsForStream", 50.0, Some(5.0)),
    kvs("TagStream", 50.0, Some(5.0)),
    kvs("UntagStream", 50.0, Some(5.0)),
    kvs("UpdateDataRetention", 50.0, Some(5.0)),
    kvs("UpdateStream", 50.0, Some(5.0)),
    kvs("DeleteStream", 50.0, Some(5.0)),
    kvs("DescribeStreamStorageConfiguration", 50.0, Some(5.0)),
    kvs("UpdateStreamStorageConfiguration", 50.0, Some(5.0)),
    kvs("DescribeImageGenerationConfiguration", 50.0, Some(5.0)),
    kvs("UpdateImageGenerationConfiguration", 50.0, Some(5.0)),
    kvs("DescribeNotificationConfiguration", 50.0, Some(5.0)),
    kvs("UpdateNotificationConfiguration", 50.0, Some(5.0)),
    cloud_watch("DescribeAlarms", 9.0),
    // Metric and composite alarms have a quota each.
    cloud_watch("PutMetricAlarm", 3.0),
    cloud_watch("DeleteAlarms", 3.0),
];

/// The same quota as `PutMetricAlarm`, and apart from it.
const PUT_COMPOSITE_ALARM: Quota = cloud_watch("PutCompositeAlarm", 3.0);

/// How many streams an account may have in a region unless it was granted more (developer guide of Kinesis Video Streams, "Service
/// quotas").
const STREAMS: usize = 10_000;

/// How much of the quota of streams this many are, from 0 to 1. `None` where there are more than the usual quota lets be: the account has
/// another one then, and no call tells which.
pub fn streams_used(count: usize) -> Option<f64> {
    (count <= STREAMS).then(|| count as f64 / STREAMS as f64)
}

/// Our share of the quota of an account and region. Not 1: two clocks never run alike, and a refused call costs more than it
/// saves.
const ACCOUNT_SHARE: f64 = 0.98;
/// Our share of the quota of a stream. Far from 1, so that two calls may follow at once: a change is read back.
const STREAM_SHARE: f64 = 0.6;
/// So many streams' turns are remembered before those that are over are cleared away.
const TURNS_KEPT: usize = 1024;

/// The quota of an operation, if it has one here.
pub fn quota(operation: &str) -> Option<&'static Quota> {
    QUOTAS.iter().chain([&PUT_COMPOSITE_ALARM]).find(|quota| quota.operation == operation)
}

/// The rows of one account and region.
pub struct Limiter {
    rows: HashMap<&'static str, Row>,
    turns: Mutex<HashMap<(&'static str, u64), Instant>>,
    hasher: RandomState,
    counted: Mutex<Instant>,
}

impl Default for Limiter {
    fn default() -> Self {
        let row = |quota: &Quota| (quota.operation, Row::new(Bucket::new(quota.account * ACCOUNT_SHARE)));
        Self {
            rows: QUOTAS.iter().chain([&PUT_COMPOSITE_ALARM]).map(row).collect(),
            turns: Mutex::default(),
            hasher: RandomState::new(),
            counted: Mutex::new(Instant::now()),
        }
    }
}

impl Limiter {
    /// Waits until the operation may be called, about this stream, and says how long that took.
    pub async fn wait(&self, operation: &'static str, stream: Option<&str>, lane: Lane) -> Duration {
        let started = Instant::now();
        if let (Some(stream), Some(limit)) = (stream, quota(operation).and_then(|quota| quota.stream)) {
            tokio::time::sleep_until(self.turn_of(operation, stream, limit, started)).await;
        }
        if let Some(row) = self.rows.get(operation) {
            row.wait(lane).await;
        }
        started.elapsed()
    }

    /// The service has refused a call for its number: fewer are made for a while.
    pub fn throttled(&self, operation: &str) {
        if let Some(row) = self.rows.get(operation) {
            row.throttled();
        }
    }

    /// How much of each quota was used since this was last answered, from 0 to 1. Nothing where that is less than `every` ago.
    pub fn used_if_due(&self, every: Duration) -> Vec<(&'static str, f64)> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = counted.elapsed();
        if elapsed < every {
            return Vec::new();
        }
        let seconds = elapsed.as_secs_f64();
        *counted = Instant::now();
        let used = |(operation, row): (&&'static str, &Row)| {
            let limit = quota(operation).map_or(f64::INFINITY, |quota| quota.account);
            (*operation, row.take_granted() as f64 / (limit * seconds))
        };
        self.rows.iter().map(used).collect()
    }

    /// When an operation may be called about a stream; that takes the turn. Two may follow at once, then at our share.
    fn turn_of(&self, operation: &'static str, stream: &str, limit: f64, now: Instant) -> Instant {
        let gap = Duration::from_secs_f64(1.0 / (limit * STREAM_SHARE));
        let key = (operation, self.hasher.hash_one(name_of(stream)));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= TURNS_KEPT {
            turns.retain(|_, next| *next > now);
        }
        let next = turns.entry(key).or_insert(now);
        let at = next.checked_sub(gap).unwrap_or(now).max(now);
        *next = (*next).max(now) + gap;
        at
    }
}

/// The name of a stream, of which the name or the ARN is given: both count for one. Any other name is itself.
pub fn name_of(stream: &str) -> &str {
    if stream.starts_with("arn:") { stream.split('/').nth(1).unwrap_or(stream) } else { stream }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_the_sdk_is_asked_for_has_a_row() {
        let sources = [include_str!("sdk/streams.rs"), include_str!("sdk/alarms.rs")].concat();
        let named: Vec<&str> = sources
            .split('"')
            .filter(|word| word.len() > 8 && word.bytes().all(|byte| byte.is_ascii_alphabetic()))
            .collect();
        assert!(named.len() >= 19, "{named:?}");
        for operation in named {
            assert!(quota(operation).is_some(), "{operation} has no quota");
        }
    }

    #[test]
    fn the_quota_of_streams_is_known_as_long_as_there_are_not_more() {
        assert_eq!([0, 5_000, 10_000, 10_001].map(streams_used), [Some(0.0), Some(0.5), Some(1.0), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_two_turns_at_once_and_then_its_share_by_name_and_arn_alike() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/door/1";
        let mut after = Vec::new();
        for stream in ["door", arn, "door", arn, "door", arn] {
            after.push(limiter.turn_of("DescribeStream", stream, 5.0, now).duration_since(now).as_millis());
        }
        assert_eq!(after, [0, 0, 333, 666, 999, 1333]);
        assert_eq!(limiter.turn_of("DescribeStream", "gate", 5.0, now), now);
        assert_eq!(limiter.turn_of("TagStream", "door", 5.0, now), now);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_are_over_are_cleared_away() {
        let limiter = Limiter::default();
        let start = Instant::now();
        for number in 0..5_000_u32 {
            let now = start + Duration::from_secs(u64::from(number));
            limiter.turn_of("TagStream", &number.to_string(), 5.0, now);
        }
        assert!(limiter.turns.lock().unwrap().len() <= TURNS_KEPT);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_creations_take_hardly_longer_than_the_quota_says_and_never_pass_it() {
        let limiter = std::sync::Arc::new(Limiter::default());
        let start = Instant::now();
        let tasks: Vec<_> = (0..10_000)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    limiter.wait("CreateStream", None, Lane::Fresh).await;
                    Instant::now()
                })
            })
            .collect();
        let mut calls = Vec::new();
        for task in tasks {
            calls.push(task.await.unwrap().duration_since(start));
        }
        calls.sort();
        let last = calls[9_999];
        assert!(last <= Duration::from_secs(205), "{last:?}");
        for (first, over) in calls.iter().zip(&calls[50..]) {
            assert!(
                over.saturating_sub(*first) >= Duration::from_millis(999),
                "51 calls within a second at {first:?}"
            );
        }
        let used = limiter.used_if_due(Duration::from_secs(10));
        let create = used.iter().find(|(operation, _)| *operation == "CreateStream").unwrap().1;
        assert!((0.95..=1.0).contains(&create), "{create}");
        assert_eq!(limiter.used_if_due(Duration::from_secs(10)), []);
    }
}
