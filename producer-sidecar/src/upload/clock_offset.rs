//! The difference between our clock and the service's, learnt from the Date header of its answers and used for
//! signing: a signature that is more than five minutes off is refused.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;

use crate::clock::wall;

/// A smaller difference cannot be why a signature was refused; the service tolerates five minutes.
const SIGNIFICANT_MS: i64 = 60_000;

/// Date headers are cut to whole seconds: on average half a second is missing.
const HALF_A_SECOND_MS: i64 = 500;

/// The difference, shared by all that sign for a feed. Zero until the service refuses a signature.
#[derive(Debug, Default)]
pub struct ClockOffset {
    /// Milliseconds to add to our clock.
    offset_ms: AtomicI64,
}

impl ClockOffset {
    /// Learns from the Date header of a refusal. Whether it changed anything: then the call is worth another try.
    pub fn learn(&self, date: Option<&str>) -> bool {
        let Some(theirs) = date.and_then(parse_http_date) else { return false };
        let ours = signed_ms(wall());
        let offset = theirs - ours;
        let before = self.offset_ms.load(Ordering::Relaxed);
        if (offset - before).abs() < SIGNIFICANT_MS {
            return false;
        }
        self.offset_ms.store(offset, Ordering::Relaxed);
        true
    }

    /// How far the service's clock is ahead of ours, in milliseconds, by the Date header of an answer that has just come. Good to
    /// half a second, since the header has whole seconds, and to the answer's way.
    pub fn difference(date: Option<&str>) -> Option<i64> {
        let theirs = date.and_then(parse_http_date)? + HALF_A_SECOND_MS;
        Some(theirs - signed_ms(wall()))
    }

    /// The time by the service's clock.
    pub fn corrected(&self) -> SystemTime {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let size = Duration::from_millis(offset.unsigned_abs());
        let now = wall();
        let moved = if offset < 0 { now.checked_sub(size) } else { now.checked_add(size) };
        moved.unwrap_or(now)
    }
}

/// Signs the SDK's calls.
#[derive(Debug)]
pub struct Corrected(pub std::sync::Arc<ClockOffset>);

impl TimeSource for Corrected {
    fn now(&self) -> SystemTime {
        self.0.corrected()
    }
}

fn signed_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds of the Unix epoch of an HTTP date (RFC 9110 §5.6.7, the preferred form).
fn parse_http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_far_from_our_clock_is_learnt_and_a_near_one_is_not() {
        let offset = ClockOffset::default();
        assert!(!offset.learn(None));
        assert!(!offset.learn(Some("no date")));
        let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
        let date = tomorrow.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!(offset.learn(Some(&date)), "{date}");
        let ahead = offset.corrected().duration_since(SystemTime::now()).unwrap();
        assert!(ahead > Duration::from_hours(23) && ahead < Duration::from_hours(25));
        assert!(!offset.learn(Some(&date)), "nothing new");
    }
}
