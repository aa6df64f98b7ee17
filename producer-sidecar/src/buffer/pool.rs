//! A budget of bytes that many feeds share: of memory, and of the spool.
//!
//! Half of it is divided evenly and guaranteed: what a feed holds within its part is never asked back for others. The
//! other half is for those that need more, as long as there is some. A feed counts what it takes, and gives up by itself
//! what it then holds too much. So the sum passes the budget by one unit of each feed at most, without any feed waiting
//! for another; an outage of one never takes the others' room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The budget. Cheap to share.
#[derive(Debug)]
pub struct Pool {
    budget: AtomicU64,
    /// The sum of all accounts: tells without a lock that there is room enough.
    used: AtomicU64,
    accounts: Mutex<Vec<Arc<Account>>>,
    shrunk: Notify,
}

#[derive(Debug, Default)]
struct Account {
    used: AtomicU64,
}

impl Pool {
    /// A pool of `budget` bytes.
    pub fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self {
            budget: AtomicU64::new(budget),
            used: AtomicU64::new(0),
            accounts: Mutex::default(),
            shrunk: Notify::new(),
        })
    }

    /// Changes the budget.
    pub fn set_budget(&self, budget: u64) {
        if self.budget.swap(budget, Ordering::Relaxed) > budget {
            self.shrunk.notify_waiters();
        }
    }

    /// The budget.
    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// A feed's share, empty at first. The others' guaranteed parts become smaller by it.
    pub fn share(self: &Arc<Self>) -> Share {
        let account = Arc::<Account>::default();
        self.lock().push(Arc::clone(&account));
        self.shrunk.notify_waiters();
        Share { pool: Arc::clone(self), account }
    }

    /// Bytes held by all feeds.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Waits until feeds may have to give something up without having taken anything: the budget or their parts of it
    /// became smaller.
    pub async fn shrunk(&self) {
        self.shrunk.notified().await;
    }

    /// How the budget stands for one account that would hold `more` than its `own`.
    fn stand(&self, own: u64, more: u64) -> Stand {
        let budget = self.budget();
        let common = budget / 2;
        let accounts = self.lock();
        let part = (budget - common) / accounts.len().max(1) as u64;
        let above = |used: u64| used.saturating_sub(part);
        let borrowed: u64 = accounts.iter().map(|account| above(account.used.load(Ordering::Relaxed))).sum();
        drop(accounts);
        let borrowed = borrowed - above(own).min(borrowed) + above(own.saturating_add(more));
        let own = own.saturating_add(more);
        Stand {
            excess: borrowed.saturating_sub(common).min(above(own)),
            room: part.saturating_sub(own) + common.saturating_sub(borrowed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stand {
    excess: u64,
    room: u64,
}

/// What one feed holds of a [`Pool`]; given back when dropped.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    account: Arc<Account>,
}

impl Share {
    /// Counts `bytes` as held. Never refuses: the caller then gives back [`Share::excess`].
    pub fn take(&mut self, bytes: u64) {
        self.account.used.fetch_add(bytes, Ordering::Relaxed);
        self.pool.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` as held if there is room for all of them; whether there was.
    pub fn try_take(&mut self, bytes: u64) -> bool {
        self.take(bytes);
        let fits = self.excess() == 0;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    /// Gives `bytes` back.
    pub fn give(&mut self, bytes: u64) {
        let bytes = bytes.min(self.used());
        self.account.used.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many bytes this feed has to give back now: what is held beyond the guaranteed parts and passes the common
    /// half, as far as this feed holds it.
    pub fn excess(&self) -> u64 {
        if self.pool.used() <= self.pool.budget() / 2 {
            return 0;
        }
        self.pool.stand(self.used(), 0).excess
    }

    /// How many bytes this feed would have to give back if it held `more`.
    pub fn excess_with(&self, more: u64) -> u64 {
        if self.pool.used().saturating_add(more) <= self.pool.budget() / 2 {
            return 0;
        }
        self.pool.stand(self.used(), more).excess.min(self.used())
    }

    /// How many bytes this feed could take now.
    pub fn room(&self) -> u64 {
        self.pool.stand(self.used(), 0).room
    }

    /// What each feed had if all had the same.
    pub fn even_part(&self) -> u64 {
        self.pool.budget() / self.pool.lock().len().max(1) as u64
    }

    /// Bytes held by this feed.
    pub fn used(&self) -> u64 {
        self.account.used.load(Ordering::Relaxed)
    }

    /// A view for others than the owner.
    pub fn view(&self) -> ShareView {
        ShareView { pool: Arc::clone(&self.pool), account: Arc::clone(&self.account) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.used());
        self.pool.lock().retain(|account| !Arc::ptr_eq(account, &self.account));
    }
}

/// Tells how a [`Share`] stands, without holding it.
#[derive(Debug, Clone)]
pub struct ShareView {
    pool: Arc<Pool>,
    account: Arc<Account>,
}

impl ShareView {
    /// See [`Share::room`].
    pub fn room(&self) -> u64 {
        self.pool.stand(self.used(), 0).room
    }

    /// See [`Share::used`].
    pub fn used(&self) -> u64 {
        self.account.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_takes_its_part_and_the_common_half_and_gives_back_the_rest_itself() {
        let pool = Pool::new(100);
        let (mut large, mut small) = (pool.share(), pool.share());
        large.take(75);
        assert_eq!((large.excess(), large.room(), small.room()), (0, 0, 25));
        large.take(10);
        assert_eq!((large.excess(), small.excess()), (10, 0));
        large.give(10);
        small.take(25);
        assert_eq!((large.excess(), small.excess(), pool.used()), (0, 0, 100), "its part was kept for it");
        small.take(1);
        assert_eq!(small.excess(), 1, "the common half is taken");
        drop(large);
        small.take(74);
        assert_eq!((small.excess(), pool.used()), (0, 100), "alone, the whole budget is its own");
    }

    #[test]
    fn the_sum_never_passes_the_budget_by_more_than_one_unit_of_each_feed() {
        const UNIT: u64 = 700;
        let mut random = fastrand::Rng::with_seed(5);
        let pool = Pool::new(100_000);
        let mut shares: Vec<Share> = (0..7).map(|_| pool.share()).collect();
        let mut was_full = false;
        for _ in 0..20_000 {
            // Some feeds take much more than others; each gives back what it must only when its turn comes.
            let index = (random.usize(0..7)).min(random.usize(0..7));
            let part = pool.budget() / 2 / shares.len() as u64;
            let share = &mut shares[index];
            let excess = share.excess();
            share.give(excess);
            assert!(excess == 0 || share.used() >= part, "a feed within its part was pressed");
            share.take(random.u64(1..=UNIT));
            if random.u8(..) < 40 {
                share.give(random.u64(0..4_000));
            }
            was_full |= pool.used() > 99_000;
            assert!(pool.used() <= 100_000 + 7 * UNIT, "{} bytes are held", pool.used());
        }
        assert!(was_full, "the test never came to the limit");
    }

    #[test]
    fn a_feed_knows_before_it_is_full_how_much_it_would_have_too_much() {
        let pool = Pool::new(100);
        let (mut share, _other) = (pool.share(), pool.share());
        share.take(70);
        assert_eq!((share.excess_with(5), share.excess_with(15), share.excess_with(500)), (0, 10, 70));
    }

    #[test]
    fn what_does_not_fit_is_not_taken_where_that_can_be_said_before() {
        let mut share = Pool::new(100).share();
        assert!(share.try_take(100));
        assert!(!share.try_take(1));
        assert_eq!((share.used(), share.room()), (100, 0));
    }

    #[tokio::test]
    async fn feeds_that_hold_too_much_by_a_newcomer_or_a_smaller_budget_are_woken() {
        let pool = Pool::new(100);
        let mut first = pool.share();
        first.take(100);
        for change in
            [|pool: &Arc<Pool>| std::mem::forget(pool.share()), |pool: &Arc<Pool>| pool.set_budget(50)]
        {
            let shrunk = pool.shrunk();
            tokio::pin!(shrunk);
            assert!(futures::poll!(&mut shrunk).is_pending());
            change(&pool);
            shrunk.await;
        }
        assert_eq!(first.excess(), 63, "37 of 50 are the feed's part and the common half");
    }
}
