//! Faults of `PutMedia` sessions on order: which, of which stream, how often, until when.
//!
//! One book serves all lines of an emulator, so that "the next three fragments of any stream" can be ordered.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use streamfleet_media::ack::{AckKind, ErrorId};

/// What goes wrong with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A fragment is answered with an error, whatever it holds, which ends the session.
    Fail {
        /// The error.
        error: ErrorId,
        /// Whether the error names the fragment.
        named: bool,
        /// When in the fragment's life.
        at: Moment,
    },
    /// Acknowledgements of these kinds are not sent; what they would tell happens all the same.
    Withhold(Kinds),
    /// Acknowledgements of these kinds are late, and all after them.
    Delay {
        /// Which.
        kinds: Kinds,
        /// By how much.
        by: Duration,
    },
    /// The body is not read: the client's window closes. Acknowledgements go on.
    Stall,
    /// Nothing is read and nothing answered, while connections stay open.
    Freeze,
    /// The body is read at this pace.
    Slow {
        /// Bytes in a second.
        bytes_per_second: u64,
    },
    /// A session is cut when this many bytes of its body have come.
    CutAtByte(u64),
    /// A session is cut when this many of its fragments have begun.
    CutAtFragment(u32),
}

/// A moment in a fragment's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Its Cluster has begun; the error follows `BUFFERING`.
    Begun,
    /// It is whole; the error stands in place of `RECEIVED`, and it is not kept.
    Received,
    /// It is to be stored; the error stands in place of `PERSISTED`, and it is not kept.
    Persisted,
}

/// Kinds of acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// All that is said on an answer, and its end.
    pub const ALL: Self = Self(u8::MAX);
    const END: u8 = 1 << 7;

    /// These kinds.
    pub fn of(kinds: &[AckKind]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | bit(kind)))
    }

    /// Whether this kind is among them.
    pub fn has(self, kind: &AckKind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// Whether the end of the answer is held back too.
    pub fn holds_the_end(self) -> bool {
        self.0 & Self::END != 0
    }
}

fn bit(kind: &AckKind) -> u8 {
    match kind {
        AckKind::Buffering => 1,
        AckKind::Received => 1 << 1,
        AckKind::Persisted => 1 << 2,
        AckKind::Error => 1 << 3,
        AckKind::Idle => 1 << 4,
        AckKind::Unknown(_) => 0,
    }
}

/// An order for a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultOrder {
    /// What goes wrong.
    pub fault: Fault,
    /// The stream's name; all streams when absent.
    pub stream: Option<String>,
    /// How many occasions pass unharmed first.
    pub skip: u32,
    /// How many occasions it strikes; unlimited when absent. An occasion is a fragment for [`Fault::Fail`], an
    /// acknowledgement for [`Fault::Withhold`] and [`Fault::Delay`], a session for the cuts; the others are not counted.
    pub count: Option<u32>,
    /// Until when on the monotonic clock; for ever when absent.
    pub ends: Option<Duration>,
}

impl FaultOrder {
    /// A fault of all streams, until it is removed.
    pub const fn of(fault: Fault) -> Self {
        Self { fault, stream: None, skip: 0, count: None, ends: None }
    }

    /// The same for this many occasions.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

/// How a session's body is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) frozen: bool,
    pub(super) stalled: bool,
    pub(super) bytes_per_second: Option<u64>,
}

#[derive(Debug)]
struct Imposed {
    id: u64,
    order: FaultOrder,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct FaultBook {
    faults: Mutex<Vec<Imposed>>,
    /// How many there are: most often none, and every push asks.
    count: AtomicUsize,
}

impl FaultBook {
    /// Puts a fault in force under this id.
    pub fn add(&self, id: u64, order: FaultOrder) {
        let mut faults = self.lock();
        faults.push(Imposed { id, order });
        self.count.store(faults.len(), Ordering::Release);
    }

    /// Takes a fault out of force; whether there was one.
    pub fn remove(&self, id: u64) -> bool {
        let mut faults = self.lock();
        let before = faults.len();
        faults.retain(|fault| fault.id != id);
        self.count.store(faults.len(), Ordering::Release);
        faults.len() < before
    }

    /// Takes all faults out of force.
    pub fn clear(&self) {
        self.lock().clear();
        self.count.store(0, Ordering::Release);
    }

    /// The faults in force at a time, with what is left of their counts.
    pub fn list(&self, mono: Duration) -> Vec<(u64, FaultOrder)> {
        let faults = self.lock();
        faults.iter().filter(|fault| fault.order.is_in_force(mono)).map(|f| (f.id, f.order.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Imposed>> {
        // Changed by single steps: a panic elsewhere leaves nothing half done.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The first fault of this stream for which `strikes` gives something; it is counted off.
    fn strike<T>(&self, stream: &str, mono: Duration, strikes: impl Fn(Fault) -> Option<T>) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        for Imposed { order, .. } in self.lock().iter_mut() {
            let Some(effect) = strikes(order.fault).filter(|_| order.concerns(stream, mono)) else {
                continue;
            };
            if order.skip > 0 {
                order.skip -= 1;
                continue;
            }
            if let Some(count) = &mut order.count {
                *count -= 1;
            }
            return Some(effect);
        }
        None
    }

    /// The error for a fragment at this moment, and whether it names the fragment.
    pub(super) fn fail(&self, stream: &str, moment: Moment, mono: Duration) -> Option<(ErrorId, bool)> {
        self.strike(stream, mono, |fault| match fault {
            Fault::Fail { error, named, at } if at == moment => Some((error, named)),
            _ => None,
        })
    }

    /// Whether an acknowledgement is not sent.
    pub(super) fn withholds(&self, stream: &str, kind: &AckKind, mono: Duration) -> bool {
        let held = |fault| matches!(fault, Fault::Withhold(kinds) if kinds.has(kind)).then_some(());
        self.strike(stream, mono, held).is_some()
    }

    /// By how much an acknowledgement is late.
    pub(super) fn delay(&self, stream: &str, kind: &AckKind, mono: Duration) -> Duration {
        let late = |fault| match fault {
            Fault::Delay { kinds, by } if kinds.has(kind) => Some(by),
            _ => None,
        };
        self.strike(stream, mono, late).unwrap_or_default()
    }

    /// Whether answers do not end.
    pub(super) fn withholds_the_end(&self, stream: &str, mono: Duration) -> bool {
        self.any(stream, mono, |fault| matches!(fault, Fault::Withhold(kinds) if kinds.holds_the_end()))
    }

    /// Whether a session is cut, of which `bytes` have come.
    pub(super) fn cut_at_byte(&self, stream: &str, bytes: u64, mono: Duration) -> Option<u64> {
        self.strike(stream, mono, |fault| match fault {
            Fault::CutAtByte(at) if at <= bytes => Some(at),
            _ => None,
        })
    }

    /// Whether a session is cut, of which `fragments` have begun.
    pub(super) fn cut_at_fragment(&self, stream: &str, fragments: u32, mono: Duration) -> bool {
        let cut = |fault| matches!(fault, Fault::CutAtFragment(at) if at == fragments).then_some(());
        self.strike(stream, mono, cut).is_some()
    }

    /// How a session's body is to be read.
    pub(super) fn manner(&self, stream: &str, mono: Duration) -> Manner {
        let mut manner = Manner::default();
        if self.is_empty() {
            return manner;
        }
        for Imposed { order, .. } in self.lock().iter().filter(|fault| fault.order.concerns(stream, mono)) {
            match order.fault {
                Fault::Freeze => manner.frozen = true,
                Fault::Stall => manner.stalled = true,
                Fault::Slow { bytes_per_second } => {
                    let slowest =
                        manner.bytes_per_second.map_or(bytes_per_second, |b| b.min(bytes_per_second));
                    manner.bytes_per_second = Some(slowest);
                }
                _ => {}
            }
        }
        manner
    }

    /// When the next fault of this stream ends.
    pub(super) fn next_end(&self, stream: &str, mono: Duration) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let faults = self.lock();
        faults.iter().filter(|fault| fault.order.concerns(stream, mono)).filter_map(|f| f.order.ends).min()
    }

    fn any(&self, stream: &str, mono: Duration, holds: impl Fn(Fault) -> bool) -> bool {
        !self.is_empty() && self.lock().iter().any(|f| f.order.concerns(stream, mono) && holds(f.order.fault))
    }
}

impl FaultOrder {
    fn is_in_force(&self, mono: Duration) -> bool {
        self.count != Some(0) && self.ends.is_none_or(|ends| mono < ends)
    }

    fn concerns(&self, stream: &str, mono: Duration) -> bool {
        self.is_in_force(mono) && self.stream.as_deref().is_none_or(|name| name == stream)
    }
}
