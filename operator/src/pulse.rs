//! Whether the loops of the process still go round: each says so now and then, and `/healthz`, which has a thread of its own,
//! fails when one has fallen silent. A loop that waits for work says so as well; only one that hangs does not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a loop says that it goes round.
pub const BEAT: Duration = Duration::from_secs(5);
/// After this time without a beat a loop hangs: long enough for a process that gets hardly any processor time.
const SILENT: Duration = Duration::from_mins(2);

/// The loops of the process.
#[derive(Debug, Clone, Default)]
pub struct Pulses {
    loops: Arc<Mutex<Vec<Beat>>>,
}

#[derive(Debug)]
struct Beat {
    id: u64,
    name: &'static str,
    at: Instant,
}

/// A loop. It is forgotten when this is dropped.
#[derive(Debug)]
pub struct Pulse {
    id: u64,
    pulses: Pulses,
}

impl Pulses {
    /// A loop begins.
    pub fn start(&self, name: &'static str) -> Pulse {
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let id = loops.iter().map(|beat| beat.id + 1).max().unwrap_or_default();
        loops.push(Beat { id, name, at: Instant::now() });
        Pulse { id, pulses: self.clone() }
    }

    /// The loops that hang.
    pub fn silent(&self) -> Vec<&'static str> {
        self.silent_at(Instant::now())
    }

    fn silent_at(&self, now: Instant) -> Vec<&'static str> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = loops.iter().filter(|beat| now.saturating_duration_since(beat.at) > SILENT);
        silent.map(|beat| beat.name).collect()
    }
}

impl Pulse {
    /// The loop goes round.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let mut loops = self.pulses.loops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(beat) = loops.iter_mut().find(|beat| beat.id == self.id) {
            beat.at = now;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let mut loops = self.pulses.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|beat| beat.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_hangs_is_named_and_one_that_has_ended_is_not() {
        let pulses = Pulses::default();
        let (one, other) = (pulses.start("one"), pulses.start("other"));
        assert_eq!(pulses.silent(), Vec::<&str>::new());
        let late = Instant::now() + SILENT + Duration::from_secs(1);
        assert_eq!(pulses.silent_at(late), ["one", "other"]);
        drop(other);
        assert_eq!(pulses.silent_at(late), ["one"]);
        let third = pulses.start("third");
        one.beat_at(late);
        assert_eq!(pulses.silent_at(late), ["third"]);
        drop(third);
        assert_eq!(pulses.silent_at(late), Vec::<&str>::new());
    }
}
