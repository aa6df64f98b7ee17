//! What would be lost if the feed's task were gone: kept outside it, so that whoever starts it again can say so.

use std::sync::atomic::{AtomicI64, Ordering};

const NOTHING: i64 = i64::MIN;

/// From when on pictures are in memory alone, in milliseconds of the Unix epoch.
#[derive(Debug)]
pub struct AtRisk {
    since_ms: AtomicI64,
    newest_ms: AtomicI64,
}

impl Default for AtRisk {
    fn default() -> Self {
        Self { since_ms: AtomicI64::new(NOTHING), newest_ms: AtomicI64::new(NOTHING) }
    }
}

impl AtRisk {
    /// A unit came.
    pub fn newest(&self, time_ms: i64) {
        self.newest_ms.store(time_ms, Ordering::Relaxed);
    }

    /// Pictures from this time on are in memory alone, or none are.
    pub fn since(&self, time_ms: Option<i64>) {
        self.since_ms.store(time_ms.unwrap_or(NOTHING), Ordering::Relaxed);
    }

    /// From when on something is lost now that the task is gone: what was in memory alone, or what comes after the newest
    /// picture. `None` when no picture ever came.
    pub fn take(&self) -> Option<i64> {
        let since_ms = self.since_ms.swap(NOTHING, Ordering::Relaxed);
        let newest_ms = self.newest_ms.load(Ordering::Relaxed);
        [since_ms, newest_ms].into_iter().find(|time_ms| *time_ms != NOTHING)
    }
}
