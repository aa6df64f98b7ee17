//! The process's two clocks, read at the rim only: pure code gets a [`Now`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some moment in the past; never goes back.
    pub mono: Duration,
    /// The node's wall clock in milliseconds of the Unix epoch; may step.
    pub wall_ms: i64,
}

/// Where readings come from.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now, at one hour: so that "a while ago" never underflows.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        Now { mono: self.start.elapsed() + HEAD_START, wall_ms: wall_ms() }
    }

    /// The instant at which [`Now::mono`] will read `mono`.
    pub fn instant(&self, mono: Duration) -> Instant {
        self.start + mono.saturating_sub(HEAD_START)
    }
}

const HEAD_START: Duration = Duration::from_hours(1);

/// By how much the wall clock was stepped, in milliseconds.
static STEPPED_MS: AtomicI64 = AtomicI64::new(0);

/// Steps the process's wall clock, as if somebody had set the node's. For tests alone: the program has no way here.
pub fn step_wall(by_ms: i64) {
    STEPPED_MS.fetch_add(by_ms, Ordering::Relaxed);
}

/// The node's wall clock.
pub fn wall() -> SystemTime {
    let stepped_ms = STEPPED_MS.load(Ordering::Relaxed);
    let by = Duration::from_millis(stepped_ms.unsigned_abs());
    let now = SystemTime::now();
    if stepped_ms < 0 { now.checked_sub(by).unwrap_or(now) } else { now + by }
}

fn wall_ms() -> i64 {
    match wall().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}
