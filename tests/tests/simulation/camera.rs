//! What comes in: pictures and sound, pauses, losses, new parameters, clocks that jump.

use std::time::Duration;

use streamfleet_producer::buffer::{CodecId, GopId};
use streamfleet_producer::session::{Input, RecoveredGop, TrackSet};

use crate::gaps::Begun;
use crate::store::{Group, Unit};
use crate::world::{Event, World};

/// A group is cut before it is longer than a fragment may be.
const GROUP_MS_MAX: i64 = 19_000;

/// What is known of the camera.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
#[derive(Debug)]
pub struct Camera {
    /// The time of the next unit.
    pub time_ms: i64,
    /// From unit to unit.
    step_ms: u64,
    /// Pictures in a group, at most.
    longest: u32,
    until_key: u32,
    has_sound: bool,
    /// Whether sound is silent though it is announced.
    is_silent: bool,
    codec: u32,
    next_gop: u64,
    /// Whether the next unit is sound.
    sound_next: bool,
    /// Whether what comes up to the next key frame is of a group that was too long, which the driver tells of.
    passes_over: bool,
    /// Whether it has sent its last.
    over: bool,
}

impl Camera {
    /// A camera that begins with its first key frame.
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let step_ms = [40, 100, 250, 500, 1_000, 2_000][random.usize(..6)];
        Self {
            time_ms: 1_000_000,
            step_ms,
            longest: random.u32(1..=12),
            until_key: 0,
            has_sound: random.u32(0..3) == 0,
            is_silent: false,
            codec: 1,
            next_gop: 1,
            sound_next: false,
            passes_over: false,
            over: false,
        }
    }
}

impl World {
    /// Groups that the spool has kept of a process before this one.
    pub fn recover(&mut self) {
        for _ in 0..self.random.u32(1..8) {
            let id = GopId(self.camera.next_gop);
            self.camera.next_gop += 1;
            let units: Vec<Unit> = (0..self.random.i64(1..6))
                .map(|n| Unit { track: 0, time_ms: self.camera.time_ms + n * 300, bytes: 500 })
                .collect();
            self.camera.time_ms += 2_000;
            let bytes = units.len() as u64 * 500;
            let (start_ms, last_ms) = (units[0].time_ms, units[units.len() - 1].time_ms);
            let (codec, tracks) = (CodecId(1), TrackSet::only(0));
            let recovered = RecoveredGop {
                gop: id,
                codec,
                tracks,
                present: tracks,
                start_ms,
                last_ms,
                units: units.len(),
                bytes,
            };
            self.begun.insert(id, Begun { start_ms, last_ms, units: units.len() });
            let (complete, in_memory, on_spool) = (true, false, true);
            self.store.recover(id, Group { units, codec, tracks, complete, in_memory, on_spool, bytes });
            self.handle("recovered", Input::Recovered(recovered));
        }
        self.camera.codec = 2;
    }

    /// The next unit, and what may go wrong with the camera.
    pub fn unit(&mut self) {
        if self.is_calm() {
            if !std::mem::replace(&mut self.camera.over, true) {
                self.complete();
                self.handle("drain", Input::Drain);
            }
            return;
        }
        let step = self.camera.step_ms;
        if self.camera.sound_next && self.camera.has_sound {
            self.camera.sound_next = false;
            if !self.camera.is_silent {
                self.sound();
            }
            return self.after(1, Event::Unit);
        }
        self.camera.sound_next = true;
        self.picture();
        let away = match self.random.u32(0..400) {
            0..=2 => Some(("camera lost", true)),
            3..=4 => Some(("camera pauses", false)),
            5 => {
                self.tally.event("camera's clock goes back");
                self.goes_back();
                self.camera.time_ms -= self.random.i64(1..60_000);
                self.camera.until_key = 0;
                None
            }
            _ => None,
        };
        self.camera.time_ms += step as i64;
        let Some((what, is_lost)) = away else { return self.after(step, Event::Unit) };
        self.tally.event(what);
        if is_lost {
            self.complete();
            self.handle("source ended", Input::SourceEnded);
            // The driver tells that the camera is lost, from the last picture that was taken.
            self.forgive_lost();
            self.camera.until_key = 0;
        }
        let away = self.random.u64(100..40_000);
        self.camera.time_ms += away as i64;
        self.after(away + step, Event::Unit);
    }

    fn complete(&mut self) {
        if let Some(gop) = self.store.complete() {
            self.handle("completed", Input::Completed(gop));
        }
    }

    fn picture(&mut self) {
        let time_ms = self.camera.time_ms;
        let open = self.store.open.and_then(|id| self.store.groups.get(&id));
        let too_long = open.is_some_and(|group| time_ms - group.units[0].time_ms > GROUP_MS_MAX);
        let bytes = self.random.u64(100..2_000);
        if self.camera.until_key > 0 && too_long && self.random.bool() {
            // As the driver does: the group is cut, and the rest is passed over up to the next key frame.
            self.complete();
            self.handle("source ended", Input::SourceEnded);
            self.camera.until_key -= 1;
            self.camera.passes_over = true;
            return;
        }
        if self.camera.until_key == 0 || too_long {
            return self.key_frame(Unit { track: 0, time_ms, bytes: bytes * 4 });
        }
        self.camera.until_key -= 1;
        // Some pictures are shown before those that are sent before them.
        let early = if self.random.u32(0..8) == 0 { self.camera.step_ms as i64 / 2 } else { 0 };
        self.extend("picture", Unit { track: 0, time_ms: time_ms - early, bytes });
    }

    fn sound(&mut self) {
        let time_ms = self.camera.time_ms - self.camera.step_ms as i64 + 1;
        let start =
            self.store.open.and_then(|id| self.store.groups.get(&id)).map(|group| group.units[0].time_ms);
        if start.is_some_and(|start| (start..=start + GROUP_MS_MAX).contains(&time_ms)) {
            self.extend("sound", Unit { track: 1, time_ms, bytes: 50 });
        }
    }

    fn extend(&mut self, what: &'static str, unit: Unit) {
        let Unit { track, time_ms, bytes } = unit;
        let Some(gop) = self.store.extend(unit) else {
            if !self.camera.passes_over {
                self.lose(time_ms);
            }
            return self.handle("no key frame", Input::Unplaced);
        };
        if let Some(begun) = self.begun.get_mut(&gop) {
            begun.extend(time_ms);
        }
        self.handle(what, Input::Extended { gop, track, time_ms, bytes });
    }

    fn key_frame(&mut self, unit: Unit) {
        self.camera.until_key = self.random.u32(0..self.camera.longest);
        if self.random.u32(0..60) == 0 {
            self.tally.event("new parameters");
            self.camera.codec += 1;
        }
        if self.camera.has_sound && self.random.u32(0..12) == 0 {
            self.tally.event("sound comes or goes");
            self.camera.is_silent = !self.camera.is_silent;
        }
        self.complete();
        let gop = GopId(self.camera.next_gop);
        self.camera.next_gop += 1;
        let codec = CodecId(self.camera.codec * 2 + u32::from(self.camera.has_sound));
        let tracks = TrackSet::first(if self.camera.has_sound { 2 } else { 1 });
        let Unit { track, time_ms, bytes } = unit;
        self.end_gap(time_ms);
        self.begun.insert(gop, Begun { start_ms: time_ms, last_ms: time_ms, units: 1 });
        if self.random.u32(0..80) == 0 {
            self.poison.insert(gop);
        }
        self.camera.passes_over = false;
        self.store.begin(gop, codec, tracks, unit);
        self.handle("key frame", Input::Began { gop, codec, tracks, track, time_ms, bytes });
        self.check_lost();
    }
}

/// Milliseconds as time.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
