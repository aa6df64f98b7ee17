//! The only place that reads the wall clock.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::ingest::line::Now;

/// What monotonic time counts from; far enough back that nothing lies before it.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
const HEAD_START: Duration = Duration::from_hours(1);

/// Both clocks.
pub fn now() -> Now {
    Now { mono: BEGUN.elapsed() + HEAD_START, wall_ms: now_ms() }
}

/// When the monotonic clock will read `mono`.
pub fn instant(mono: Duration) -> Instant {
    let since = mono.saturating_sub(HEAD_START);
    // A year from now is as good as never.
    BEGUN.checked_add(since).unwrap_or_else(|| *BEGUN + Duration::from_hours(365 * 24))
}

/// Microseconds since the epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds as the service's timestamps: seconds since the epoch, fractional.
pub fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
