//! The order of work of one kind of object: what is new or has changed goes ahead of what is only looked at again, with what
//! somebody asks to have looked at between the two; no object is worked on twice at a time, and one that fails waits longer each time. Pure, time is an argument; [`Trigger`] is the handle by
//! which the rest of the operator puts objects in.

mod trigger;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::aws::Lane;
use crate::backoff;

pub use trigger::Trigger;

/// After a pass, how long an object that has changed meanwhile is left alone: the caches are to show what the pass has written.
const SETTLE: Duration = Duration::from_millis(50);
/// What asks to be looked at again sooner than this is not finished, and keeps its lane; later, it is a look at something
/// steady.
const UNFINISHED: Duration = Duration::from_mins(1);

/// What asks to be looked at again sooner than this is under way, and goes ahead of what has not been begun: else ten thousand
/// streams would all be made before the first of them is Ready.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// When an object is to be looked at again, though nothing says that it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    after: Option<Duration>,
}

impl Action {
    /// After this time.
    pub const fn requeue(after: Duration) -> Self {
        Self { after: Some(after) }
    }

    /// Not at all.
    pub const fn await_change() -> Self {
        Self { after: None }
    }
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what there was to do.
    Done(Action),
    /// It failed.
    Failed,
    /// There is no such object, or it is not ours to work on.
    Gone,
}

/// How many objects are worked on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all lanes.
    pub total: usize,
    /// Of looks, asked for or not: the rest is kept free for what is new or has changed.
    pub sweep: usize,
}

/// The objects of one kind that wait, run, or are to be looked at later.
#[derive(Debug)]
pub struct Queue<K> {
    limits: Limits,
    is_open: bool,
    entries: HashMap<K, Entry>,
    ready: [Ready<K>; LANES],
    later: BTreeMap<(Instant, u64), K>,
    running: [usize; LANES],
    unseen: usize,
    sequence: u64,
}

/// The objects of a lane in their order. Those that have gone to another place meanwhile are passed over by their number.
#[derive(Debug)]
struct Ready<K> {
    order: VecDeque<(K, u64)>,
    count: usize,
}

impl<K> Default for Ready<K> {
    fn default() -> Self {
        Self { order: VecDeque::new(), count: 0 }
    }
}

#[derive(Debug)]
struct Entry {
    place: Place,
    failures: u32,
    /// Whether it has had no pass yet since the queue was filled.
    is_unseen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It waits for its turn.
    Ready { lane: Lane, number: u64 },
    /// It waits for a time.
    Later { at: Instant, number: u64, lane: Lane },
    /// It is being worked on; `again`: it has changed meanwhile.
    Running { since: Instant, lane: Lane, again: Option<Lane> },
}

const LANES: usize = Lane::ALL.len();

/// Its place in [`Lane::ALL`], which is in the order of its variants.
const fn index(lane: Lane) -> usize {
    lane as usize
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue; closed: what is put in is forgotten.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            is_open: false,
            entries: HashMap::new(),
            ready: Default::default(),
            later: BTreeMap::new(),
            running: [0; LANES],
            unseen: 0,
            sequence: 0,
        }
    }

    /// Takes objects from now on.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Whether objects are taken.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Forgets everything, and takes nothing more.
    pub fn close(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Has an object worked on as soon as its lane comes to it.
    pub fn push(&mut self, key: K, lane: Lane) {
        if !self.is_open {
            return;
        }
        let place = self.entries.get(&key).map(|entry| entry.place);
        match place {
            Some(Place::Running { since, lane: running, again }) => {
                let again = Some(again.map_or(lane, |again| first(again, lane)));
                self.put(&key, Place::Running { since, lane: running, again });
            }
            Some(Place::Ready { lane: present, .. }) if first(present, lane) == present => {}
            _ => {
                self.leave(place);
                // What is under way keeps its right to go first, also when a sweep names it. A steady or failed object has none.
                let lane = match place {
                    Some(Place::Later { lane: present, .. }) => first(present, lane),
                    _ => lane,
                };
                self.make_ready(key, lane);
            }
        }
    }

    /// The same for an object that was there when the queue was opened: it is known when all of them have had a pass.
    #[expect(clippy::needless_pass_by_value, reason = "as `push` takes it")]
    pub fn push_unseen(&mut self, key: K, lane: Lane) {
        self.push(key.clone(), lane);
        if let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.is_unseen) {
            entry.is_unseen = true;
            self.unseen += 1;
        }
    }

    /// Whether every object that was there when the queue was opened has had a pass.
    pub const fn is_all_seen(&self) -> bool {
        self.unseen == 0
    }

    /// The object to be worked on now, if there is one for which there is room.
    pub fn pop(&mut self, now: Instant) -> Option<(K, Lane)> {
        self.wake(now);
        let running: usize = self.running.iter().sum();
        if running >= self.limits.total {
            return None;
        }
        let looks = running - self.running[index(Lane::Fresh)];
        for lane in Lane::ALL {
            if lane != Lane::Fresh && looks >= self.limits.sweep {
                break;
            }
            while let Some((key, number)) = self.ready[index(lane)].order.pop_front() {
                let place = self.entries.get(&key).map(|entry| entry.place);
                if place == Some(Place::Ready { lane, number }) {
                    self.ready[index(lane)].count -= 1;
                    self.running[index(lane)] += 1;
                    self.put(&key, Place::Running { since: now, lane, again: None });
                    return Some((key, lane));
                }
            }
        }
        None
    }

    /// Takes note of what a pass came to. The answer is how long a failed object waits.
    pub fn done(&mut self, key: &K, outcome: Outcome, now: Instant) -> Option<Duration> {
        let Some(Entry { place: Place::Running { lane, again, .. }, failures, is_unseen }) =
            self.entries.get(key)
        else {
            return None;
        };
        let (lane, again, failures) = (*lane, *again, *failures);
        self.unseen -= usize::from(*is_unseen);
        self.running[index(lane)] -= 1;
        let failures = if outcome == Outcome::Failed { failures.saturating_add(1) } else { 0 };
        let delay = match outcome {
            Outcome::Failed => Some(backoff::delay(failures - 1, fastrand::f64())),
            Outcome::Done(action) => action.after,
            Outcome::Gone => None,
        };
        let next = match (again, delay) {
            // By the better right of the two: what is under way stays ahead of what has not been begun.
            (Some(again), Some(delay)) => Some((SETTLE, first(again, next_lane(outcome, delay, lane)))),
            (Some(again), None) => Some((SETTLE, again)),
            (None, Some(delay)) => Some((delay, next_lane(outcome, delay, lane))),
            (None, None) => None,
        };
        match next.and_then(|(delay, lane)| Some((now.checked_add(delay)?, lane))) {
            Some((at, lane)) => {
                let number = self.number();
                self.later.insert((at, number), key.clone());
                self.entries.insert(
                    key.clone(),
                    Entry { place: Place::Later { at, number, lane }, failures, is_unseen: false },
                );
            }
            None => drop(self.entries.remove(key)),
        }
        delay.filter(|_| outcome == Outcome::Failed)
    }

    /// When the next object's time comes.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    /// How many objects wait for their turn in a lane.
    pub const fn depth(&self, lane: Lane) -> usize {
        self.ready[index(lane)].count
    }

    /// Since when the pass runs that runs longest.
    pub fn oldest_pass(&self) -> Option<Instant> {
        if self.running == [0; LANES] {
            return None;
        }
        let since = |entry: &Entry| match entry.place {
            Place::Running { since, .. } => Some(since),
            Place::Ready { .. } | Place::Later { .. } => None,
        };
        self.entries.values().filter_map(since).min()
    }

    /// Moves those whose time has come into their lanes.
    fn wake(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                return;
            }
            let key = first.remove();
            let place = self.entries.get(&key).map(|entry| entry.place);
            if let Some(Place::Later { lane, .. }) = place {
                self.make_ready(key, lane);
            }
        }
    }

    /// Takes an object out of the place where it waits.
    fn leave(&mut self, place: Option<Place>) {
        match place {
            Some(Place::Ready { lane, .. }) => self.ready[index(lane)].count -= 1,
            Some(Place::Later { at, number, .. }) => drop(self.later.remove(&(at, number))),
            Some(Place::Running { .. }) | None => {}
        }
    }

    fn make_ready(&mut self, key: K, lane: Lane) {
        let number = self.number();
        self.put(&key, Place::Ready { lane, number });
        let ready = &mut self.ready[index(lane)];
        ready.count += 1;
        ready.order.push_back((key, number));
    }

    fn put(&mut self, key: &K, place: Place) {
        match self.entries.get_mut(key) {
            Some(entry) => entry.place = place,
            None => drop(self.entries.insert(key.clone(), Entry { place, failures: 0, is_unseen: false })),
        }
    }

    fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// The lane of the next look after a pass in this lane.
fn next_lane(outcome: Outcome, delay: Duration, lane: Lane) -> Lane {
    match outcome {
        Outcome::Failed => Lane::Sweep,
        _ if delay < UNDER_WAY => Lane::Fresh,
        _ if delay < UNFINISHED => lane,
        _ => Lane::Sweep,
    }
}

/// The lane of two that goes first.
fn first(one: Lane, other: Lane) -> Lane {
    one.min(other)
}
