//! The process's two clocks, read at the rim only: pure code gets a [`Now`].

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

fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}
