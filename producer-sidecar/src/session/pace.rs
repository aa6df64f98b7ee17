//! How fast may be sent: the service's rates of fragments and bytes for each stream, and the uplink's part for what is
//! late. Live video never comes near the first two.

use std::collections::VecDeque;
use std::time::Duration;

use streamfleet_media::limits::{FRAGMENTS_PER_SECOND_MAX, INGEST_BYTES_PER_SECOND_MAX};

/// Bytes a second that are sent at most: the service's limit without 4 % for the elements around frames, and for what one
/// second may hold of the one before.
const BYTES_PER_SECOND: u64 = INGEST_BYTES_PER_SECOND_MAX / 100 * 96;

/// How much may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(20);

/// No pause is longer, so that the service does not close a session that it hears nothing from.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Bytes of live video that came in lately and that the uplink's limit does not count.
const CREDIT_BYTES_MAX: u64 = 1 << 20;

/// A rate in bytes: after a burst it pauses until half a burst is allowed, so that wake-ups stay few.
#[derive(Debug, Default)]
struct Bucket {
    /// When what was sent so far is paid for.
    paid_at: Duration,
    blocked_until: Duration,
}

impl Bucket {
    fn charge(&mut self, bytes: u64, rate: u64, now: Duration) {
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1)).min(PAUSE_MAX);
        self.paid_at = self.paid_at.max(now.saturating_sub(BURST)) + cost;
        if self.paid_at > now {
            self.blocked_until = (self.paid_at + BURST / 2).min(now + PAUSE_MAX);
        }
    }
}

/// The rates of one feed.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the newest fragments were begun.
    begun_at: VecDeque<Duration>,
    quota: Bucket,
    uplink: Bucket,
    credit: u64,
}

impl Pace {
    /// When the service's rate of fragments allows another one; none where it does so already.
    pub fn fragment_at(&self) -> Option<Duration> {
        let full = self.begun_at.len() >= FRAGMENTS_PER_SECOND_MAX as usize;
        self.begun_at.front().filter(|_| full).map(|&oldest| oldest + Duration::from_secs(1))
    }

    /// When the next bytes may be sent; `late` for those that the uplink's limit counts.
    pub fn bytes_at(&self, late: bool) -> Duration {
        let uplink = if late { self.uplink.blocked_until } else { Duration::ZERO };
        self.quota.blocked_until.max(uplink)
    }

    /// Counts a fragment that begins.
    pub fn begin(&mut self, now: Duration) {
        self.begun_at.push_back(now);
        if self.begun_at.len() > FRAGMENTS_PER_SECOND_MAX as usize {
            self.begun_at.pop_front();
        }
    }

    /// Counts bytes that come from the camera.
    pub fn arrived(&mut self, bytes: u64) {
        self.credit = (self.credit + bytes).min(CREDIT_BYTES_MAX);
    }

    /// Counts bytes that are sent; `uplink` is the limit for late ones.
    pub fn sent(&mut self, bytes: u64, uplink: Option<u64>, now: Duration) {
        self.quota.charge(bytes, BYTES_PER_SECOND, now);
        if let Some(rate) = uplink {
            let free = self.credit.min(bytes);
            self.credit -= free;
            self.uplink.charge(bytes - free, rate, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends units of 20 kB as fast as is allowed for ten seconds; gives when each went.
    fn sent(uplink: Option<u64>) -> Vec<Duration> {
        let mut pace = Pace::default();
        let start = Duration::from_hours(1);
        let mut now = start;
        let mut times = Vec::new();
        while now < start + Duration::from_secs(10) {
            now = now.max(pace.bytes_at(uplink.is_some()));
            pace.sent(20_000, uplink, now);
            times.push(now);
        }
        times
    }

    #[test]
    fn no_second_carries_more_than_the_service_takes_and_little_less() {
        let times = sent(None);
        for (index, &from) in times.iter().enumerate() {
            let end = from + Duration::from_secs(1);
            let bytes = times[index..].iter().take_while(|&&at| at < end).count() as u64 * 20_000;
            assert!(bytes <= INGEST_BYTES_PER_SECOND_MAX, "{bytes} from {from:?}");
        }
        assert!(times.len() as u64 * 20_000 >= INGEST_BYTES_PER_SECOND_MAX * 9, "{}", times.len());
    }

    #[test]
    fn the_uplinks_limit_holds_for_what_is_late() {
        let bytes = sent(Some(1_000_000)).len() as u64 * 20_000;
        assert!((9_500_000..=10_500_000).contains(&bytes), "{bytes}");
    }
}
