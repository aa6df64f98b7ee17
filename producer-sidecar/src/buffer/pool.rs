//! The process's byte budget for media, shared by all feeds.
//!
//! A feed may use what others leave free. When the budget is passed, those give back that hold more than their even
//! part of it: so one feed's outage never takes another's room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The budget. Cheap to share.
#[derive(Debug)]
pub struct Pool {
    budget: AtomicU64,
    used: AtomicU64,
    shares: AtomicUsize,
    pressure: Notify,
}

impl Pool {
    /// A pool of `budget` bytes.
    pub fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self {
            budget: AtomicU64::new(budget),
            used: AtomicU64::new(0),
            shares: AtomicUsize::new(0),
            pressure: Notify::new(),
        })
    }

    /// Changes the budget; feeds notice when they next take or are pressed.
    pub fn set_budget(&self, budget: u64) {
        self.budget.store(budget, Ordering::Relaxed);
        self.pressure.notify_waiters();
    }

    /// A feed's share, empty at first.
    pub fn share(self: &Arc<Self>) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share { pool: Arc::clone(self), used: 0 }
    }

    /// Bytes held by all feeds.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Waits until somebody lacks room.
    pub async fn pressed(&self) {
        self.pressure.notified().await;
    }
}

/// What one feed holds of a [`Pool`]; given back when dropped.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    used: u64,
}

impl Share {
    /// Counts `bytes` as held. Never refuses: the caller then gives back [`Share::excess`].
    pub fn take(&mut self, bytes: u64) {
        self.used += bytes;
        let all = self.pool.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.pool.budget.load(Ordering::Relaxed) && self.excess() == 0 {
            self.pool.pressure.notify_waiters();
        }
    }

    /// Gives `bytes` back.
    pub fn give(&mut self, bytes: u64) {
        let bytes = bytes.min(self.used);
        self.used -= bytes;
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many bytes this feed has to give back now: what the pool holds above its budget, as far as this feed holds
    /// more than its even part.
    pub fn excess(&self) -> u64 {
        let budget = self.pool.budget.load(Ordering::Relaxed);
        let part = budget / self.pool.shares.load(Ordering::Relaxed).max(1) as u64;
        self.pool.used().saturating_sub(budget).min(self.used.saturating_sub(part))
    }

    /// Bytes held by this feed.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.used, Ordering::Relaxed);
        self.pool.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_above_its_even_part_gives_back_and_the_one_below_does_not() {
        let pool = Pool::new(100);
        let (mut large, mut small) = (pool.share(), pool.share());
        large.take(90);
        assert_eq!(large.excess(), 0, "what others leave free may be used");
        small.take(30);
        assert_eq!((large.excess(), small.excess()), (20, 0));
        large.give(20);
        assert_eq!((large.excess(), pool.used()), (0, 100));
        drop(large);
        assert_eq!(pool.used(), 30);
        small.take(100);
        assert_eq!(small.excess(), 30, "alone, the whole budget is its part");
    }

    #[tokio::test]
    async fn a_feed_without_room_wakes_the_others() {
        let pool = Pool::new(100);
        let (mut large, mut small) = (pool.share(), pool.share());
        large.take(100);
        let pressed = pool.pressed();
        tokio::pin!(pressed);
        assert!(futures::poll!(&mut pressed).is_pending());
        small.take(10);
        pressed.await;
        assert_eq!(large.excess(), 10);
    }
}
