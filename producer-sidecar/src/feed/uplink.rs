//! What feeds that are behind may send together: an even part for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit for all feeds of the process.
#[derive(Debug, Default)]
pub struct UplinkShare {
    /// Bytes a second; 0 where there is no limit.
    total: AtomicU64,
    late: AtomicU64,
}

impl UplinkShare {
    /// Changes the limit. Feeds notice within a second.
    pub fn set(&self, bytes_per_second: Option<u64>) {
        self.total.store(bytes_per_second.map_or(0, |bytes| bytes.max(1)), Ordering::Relaxed);
    }

    /// Counts a feed among those that are behind, until the result is dropped.
    pub fn join(self: &Arc<Self>) -> Late {
        self.late.fetch_add(1, Ordering::Relaxed);
        Late { uplink: Arc::clone(self) }
    }
}

/// A feed that is behind.
#[derive(Debug)]
pub struct Late {
    uplink: Arc<UplinkShare>,
}

impl Late {
    /// Its part now, in bytes a second; `None` where there is no limit.
    pub fn part(&self) -> Option<u64> {
        let total = self.uplink.total.load(Ordering::Relaxed);
        let feeds = self.uplink.late.load(Ordering::Relaxed).max(1);
        (total > 0).then(|| (total / feeds).max(1))
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.uplink.late.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_behind_share_the_limit_evenly() {
        let uplink = Arc::<UplinkShare>::default();
        let first = uplink.join();
        assert_eq!(first.part(), None);
        uplink.set(Some(900));
        let others = (uplink.join(), uplink.join());
        assert_eq!(first.part(), Some(300));
        drop(others);
        assert_eq!(first.part(), Some(900));
    }
}
