//! A row in which calls wait for their turn at a steady rate. The decision is a pure state machine over given times; around it is
//! what lets tasks wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lane::Lane;

/// A sweep's call stands behind those of new and changed objects that come within so long after it: it goes last as long as
/// anything else is to be done, and yet is never forgotten.
const SWEEP_PATIENCE: Duration = Duration::from_secs(30);
/// The same of a look that somebody has asked for, and waits for.
const ASKED_PATIENCE: Duration = Duration::from_secs(10);
/// How late a turn may be taken and still count for its own time. More would be made up for by a burst.
const LATE_MAX: Duration = Duration::from_millis(100);
/// The slowest that refused calls make a row, as a share of its rate.
const SLOWEST: f64 = 0.1;
/// What a row that was slowed down regains each second, as a share of its rate.
const REGAINED: f64 = 0.02;
/// Calls that are refused within so long of each other slow a row down once: they were sent together.
const REFUSED_TOGETHER: Duration = Duration::from_secs(1);

/// A place in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    rank: Instant,
    number: u64,
    arrived: Instant,
}

/// What a ticket's holder is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Go. The ticket is used.
    Go,
    /// Ask again then.
    At(Instant),
    /// Others are first.
    Behind,
}

/// Who waits, and when the next may go.
#[derive(Debug)]
pub struct Bucket {
    gap: Duration,
    next: Option<Instant>,
    waiting: BTreeMap<Ticket, Arc<Notify>>,
    numbers: u64,
    slowed: Option<(f64, Instant)>,
    granted: u64,
}

impl Bucket {
    /// A row of so many turns a second.
    pub fn new(per_second: f64) -> Self {
        Self {
            gap: Duration::from_secs_f64(1.0 / per_second),
            next: None,
            waiting: BTreeMap::new(),
            numbers: 0,
            slowed: None,
            granted: 0,
        }
    }

    /// Stands in the row. The notification tells when the ticket has come first.
    pub fn join(&mut self, lane: Lane, now: Instant) -> (Ticket, Arc<Notify>) {
        let rank = match lane {
            Lane::Fresh => now,
            Lane::Asked => now + ASKED_PATIENCE,
            Lane::Sweep => now + SWEEP_PATIENCE,
        };
        self.numbers += 1;
        let ticket = Ticket { rank, number: self.numbers, arrived: now };
        let notify = Arc::new(Notify::new());
        self.waiting.insert(ticket, notify.clone());
        (ticket, notify)
    }

    /// Whether it is this ticket's turn.
    pub fn turn(&mut self, ticket: &Ticket, now: Instant) -> Turn {
        if self.waiting.keys().next() != Some(ticket) {
            return Turn::Behind;
        }
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Turn::At(next);
        }
        // A turn that came while somebody waited for it counts from when it came, so that timers that ring late do not slow the
        // row down.
        let late = now.checked_sub(LATE_MAX).unwrap_or(now);
        let from = self.next.unwrap_or(now).max(ticket.arrived).max(late);
        self.next = Some(from + self.gap.div_f64(self.share(now)));
        self.granted += 1;
        self.leave(ticket);
        Turn::Go
    }

    /// Gives a place up. Whoever is first then is told.
    pub fn leave(&mut self, ticket: &Ticket) {
        if self.waiting.remove(ticket).is_some()
            && let Some((_, notify)) = self.waiting.first_key_value()
        {
            notify.notify_one();
        }
    }

    /// A call was refused for the number of calls: half as many from now, and more again with time.
    pub fn throttled(&mut self, now: Instant) {
        if self.slowed.is_some_and(|(_, since)| now.saturating_duration_since(since) < REFUSED_TOGETHER) {
            return;
        }
        self.slowed = Some(((self.share(now) / 2.0).max(SLOWEST), now));
    }

    /// The share of its rate that the row runs at.
    fn share(&self, now: Instant) -> f64 {
        self.slowed.map_or(1.0, |(share, since)| {
            let regained = now.saturating_duration_since(since).as_secs_f64() * REGAINED;
            (share + regained).min(1.0)
        })
    }
}

/// A bucket that tasks wait at.
#[derive(Debug)]
pub struct Row(Mutex<Bucket>);

impl Row {
    /// Around a bucket.
    pub fn new(bucket: Bucket) -> Self {
        Self(Mutex::new(bucket))
    }

    /// Waits for a turn.
    pub async fn wait(&self, lane: Lane) {
        let (ticket, notify) = self.bucket(|bucket| bucket.join(lane, Instant::now()));
        // Whoever stops waiting makes room.
        let _place = Place { row: self, ticket };
        loop {
            match self.bucket(|bucket| bucket.turn(&ticket, Instant::now())) {
                Turn::Go => return,
                Turn::At(time) => tokio::time::sleep_until(time).await,
                Turn::Behind => notify.notified().await,
            }
        }
    }

    /// A call was refused for the number of calls.
    pub fn throttled(&self) {
        self.bucket(|bucket| bucket.throttled(Instant::now()));
    }

    /// How many turns were taken since this was last asked.
    pub fn take_granted(&self) -> u64 {
        self.bucket(|bucket| std::mem::take(&mut bucket.granted))
    }

    fn bucket<T>(&self, use_it: impl FnOnce(&mut Bucket) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Place<'a> {
    row: &'a Row,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.row.bucket(|bucket| bucket.leave(&self.ticket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(100);

    /// The times in milliseconds at which one task after another goes that all wait from the start.
    fn times(bucket: &mut Bucket, count: usize, start: Instant) -> Vec<u128> {
        let tickets: Vec<_> = (0..count).map(|_| bucket.join(Lane::Fresh, start).0).collect();
        let mut now = start;
        let mut times = Vec::new();
        for ticket in tickets {
            while let Turn::At(time) = bucket.turn(&ticket, now) {
                now = time;
            }
            times.push(now.duration_since(start).as_millis());
        }
        times
    }

    #[test]
    fn a_burst_is_stretched_to_the_rate() {
        let start = Instant::now();
        assert_eq!(times(&mut Bucket::new(10.0), 4, start), [0, 100, 200, 300]);
    }

    #[test]
    fn a_row_that_rests_saves_nothing_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        times(&mut bucket, 1, start);
        assert_eq!(times(&mut bucket, 3, start + Duration::from_mins(1)), [0, 100, 200]);
    }

    #[test]
    fn timers_that_ring_late_do_not_slow_the_row_down() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        let tickets: Vec<_> = (0..100).map(|_| bucket.join(Lane::Fresh, start).0).collect();
        let mut now = start;
        for ticket in tickets {
            while let Turn::At(time) = bucket.turn(&ticket, now) {
                now = time + Duration::from_millis(3);
            }
        }
        assert_eq!(now.duration_since(start).as_millis(), 9_903);
    }

    #[test]
    fn a_long_stall_is_not_made_up_for_by_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0);
        let tickets: Vec<_> = (0..100).map(|_| bucket.join(Lane::Fresh, start).0).collect();
        bucket.turn(&tickets[0], start);
        let after = start + Duration::from_secs(10);
        let at_once = tickets[1..].iter().take_while(|ticket| bucket.turn(ticket, after) == Turn::Go).count();
        assert_eq!(at_once, 11, "a tenth of a second, and the one that is due");
    }

    #[test]
    fn new_and_changed_objects_go_ahead_of_sweeps_that_came_before_them() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        let (first, _) = bucket.join(Lane::Sweep, start);
        let (sweep, told) = bucket.join(Lane::Sweep, start);
        assert_eq!(bucket.turn(&first, start), Turn::Go);
        let (fresh, _) = bucket.join(Lane::Fresh, start + GAP / 2);
        assert_eq!(bucket.turn(&sweep, start + GAP), Turn::Behind);
        assert_eq!(bucket.turn(&fresh, start + GAP / 2), Turn::At(start + GAP));
        assert_eq!(bucket.turn(&fresh, start + GAP), Turn::Go);
        assert!(futures::FutureExt::now_or_never(told.notified()).is_some(), "the next is told");
        assert_eq!(bucket.turn(&sweep, start + 2 * GAP), Turn::Go);
    }

    #[test]
    fn a_look_that_is_asked_for_goes_between_them() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        let tickets = [Lane::Sweep, Lane::Asked, Lane::Fresh].map(|lane| bucket.join(lane, start).0);
        let turns = |bucket: &mut Bucket, now| tickets.map(|ticket| bucket.turn(&ticket, now));
        assert_eq!(turns(&mut bucket, start), [Turn::Behind, Turn::Behind, Turn::Go]);
        assert_eq!(turns(&mut bucket, start + GAP)[..2], [Turn::Behind, Turn::Go]);
        assert_eq!(bucket.turn(&tickets[0], start + 2 * GAP), Turn::Go);
    }

    #[test]
    fn a_sweep_that_has_waited_long_goes_though_new_objects_keep_coming() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        let (sweep, _) = bucket.join(Lane::Sweep, start);
        let (before, _) = bucket.join(Lane::Fresh, start + SWEEP_PATIENCE - GAP);
        let (after, _) = bucket.join(Lane::Fresh, start + SWEEP_PATIENCE + GAP);
        let now = start + SWEEP_PATIENCE + GAP;
        assert_eq!(bucket.turn(&before, now), Turn::Go);
        assert_eq!(bucket.turn(&after, now), Turn::Behind);
        assert_eq!(bucket.turn(&sweep, now + GAP), Turn::Go);
    }

    #[test]
    fn refused_calls_halve_the_rate_which_comes_back_with_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0);
        bucket.throttled(start);
        bucket.throttled(start);
        assert_eq!(times(&mut bucket, 3, start), [0, 200, 398], "200 less what came back meanwhile");
        let later = start + Duration::from_secs(10);
        bucket.throttled(later);
        let share = bucket.share(later);
        assert!((share - 0.35).abs() < 0.001, "{share}");
        assert!((bucket.share(later + Duration::from_mins(2)) - 1.0).abs() < f64::EPSILON);
        for second in 0..20 {
            bucket.throttled(later + Duration::from_secs(second));
        }
        assert!(bucket.share(later + Duration::from_secs(20)) >= SLOWEST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_holds_nobody_up() {
        let row = Arc::new(Row::new(Bucket::new(10.0)));
        row.wait(Lane::Fresh).await;
        let gone = tokio::spawn({
            let row = row.clone();
            async move { row.wait(Lane::Fresh).await }
        });
        let stays = tokio::spawn({
            let row = row.clone();
            async move {
                row.wait(Lane::Fresh).await;
                Instant::now()
            }
        });
        let start = Instant::now();
        tokio::task::yield_now().await;
        gone.abort();
        assert_eq!(stays.await.unwrap().duration_since(start), GAP);
    }
}
