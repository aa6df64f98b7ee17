//! From a source's samples to access units in the order in which they are stored: pure.
//!
//! - **Time.** Samples are placed on the feed's timeline ([`streamfleet_media::timeline`]).
//! - **Tracks.** One video and one audio track are carried, which the settings choose (`select`). Sound without video is
//!   cut by time: a piece of sound is a key where a fragment's target length has passed.
//! - **Order.** Pictures stay in the order of decoding. Sound goes between them by time: a piece is given out before the
//!   first picture that is later, and a key frame waits up to [`SOUND_WAIT`] for the sound before it. So when a
//!   fragment begins, no block before it is as late as its own time (`queues`).
//! - **What cannot be decoded** is dropped and counted: what comes before the first key frame or while a needed key frame
//!   is lost, and leading pictures of a random access picture that refer to what is before it, or are shown before
//!   it. Those are dropped at *every* such picture, not only at the first: each may begin a fragment, now or when what
//!   was not acknowledged is cut anew, and a fragment is to be decoded by itself.
//! - **Lost packets.** A source leaves out what lacks a part. The pictures behind it are kept: a decoder shows them with
//!   faults for some time, and people want to see what was seen. Where a key frame itself is lost, nothing is
//!   kept up to the next, as nothing can be decoded. The hole is told as [`IntakeEvent::Lost`].
//! - **Parameters** change at key frames only. A silent audio track leaves them at the next key frame, and comes back
//!   likewise.

mod changes;
mod queues;
mod select;
mod sound;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{Audio, Timestamps};
use streamfleet_media::timeline::{CAMERA_REPORT_WAIT, Dating, Reading, Timeline};
use streamfleet_media::track::{
    Access, AccessUnit, Codec, CodecParameters, Sample, SenderReport, TrackParameters,
};
use streamfleet_media::{h264, h265, nal};

use self::changes::Changes;
use self::queues::{Head, Queued, Queues};
use self::select::Selection;
use self::sound::Sound;
use crate::clock::Now;

/// How long a key frame waits for sound up to its own time, and sound for pictures.
pub const SOUND_WAIT: Duration = Duration::from_millis(500);

/// How a feed's samples are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeSettings {
    /// Which sound is stored.
    pub audio: Audio,
    /// By which clock samples are dated.
    pub timestamps: Timestamps,
    /// How long fragments of sound alone are to be, in milliseconds.
    pub target_ms: i64,
}

/// Why a sample is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It came before the first key frame.
    BeforeKeyFrame,
    /// It follows a key frame that was lost.
    KeyFrameLost,
    /// It lacks a part.
    Damaged,
    /// It is a leading picture: shown before the key frame that it follows, or referring to pictures before that.
    Leading,
    /// What a decoder needs to know has not come.
    NoParameters,
    /// It is sound of a track that is not stored at present.
    SoundLeftOut,
}

/// What the intake says.
#[derive(Debug, Clone, PartialEq)]
pub enum IntakeEvent {
    /// The next unit to store, what holds for its group (new where the unit is a key and these are not the same as
    /// before), and when it was read.
    Unit(AccessUnit, Arc<CodecParameters>, Now),
    /// This many packets were lost; nothing is stored between these two times, in milliseconds of the Unix epoch.
    Lost {
        /// The time of the last picture before.
        start_ms: i64,
        /// The time of the first picture after.
        end_ms: i64,
        /// Packets lost.
        packets: u32,
    },
    /// This many packets of the sound beside the video were lost. No gap: the pictures are there.
    LostSound(u32),
    /// A sample is not stored.
    Dropped(Dropped),
    /// The camera's media clock has jumped.
    ClockJumped,
    /// The parameters change too often (true), or do no more (false): see `changes`.
    Unstable(bool),
    /// The sound is stored, but the service's HLS cannot play it. Once for each connection.
    UnplayableSound(Codec),
    /// The camera's clock was to date the media, but is this many milliseconds from the node's. Once for each connection.
    CameraClockRefused(i64),
}

/// A feed's intake.
#[derive(Debug)]
pub struct Intake {
    settings: IntakeSettings,
    timeline: Timeline,
    announced: Vec<Codec>,
    /// What is known of the announced audio tracks.
    known: BTreeMap<usize, Shared>,
    selection: Selection,
    queues: Queues,
    sound: Sound,
    changes: Changes,
    events: VecDeque<IntakeEvent>,
    codec: Option<Arc<CodecParameters>>,
    /// The newest key frame of this connection: its place before it was given out.
    key_place_ms: Option<i64>,
    last_key_ms: Option<i64>,
    /// Why no picture but a key frame can be stored.
    wants_key: Option<Dropped>,
    lost_packets: u32,
    last_lead_ms: Option<i64>,
    last_sound_ms: i64,
    has_refused_clock: bool,
}

impl Intake {
    /// An intake without a connection.
    pub fn new(settings: IntakeSettings) -> Self {
        Self {
            timeline: Timeline::new(dating(settings.timestamps)),
            settings,
            announced: Vec::new(),
            known: BTreeMap::new(),
            selection: Selection::default(),
            queues: Queues::default(),
            sound: Sound::default(),
            changes: Changes::default(),
            events: VecDeque::new(),
            codec: None,
            key_place_ms: None,
            last_key_ms: None,
            wants_key: Some(Dropped::BeforeKeyFrame),
            lost_packets: 0,
            last_lead_ms: None,
            last_sound_ms: i64::MIN,
            has_refused_clock: false,
        }
    }

    /// Works by other settings: which sound, and how long, from now on; which clock, from the next connection on.
    pub fn set_settings(&mut self, settings: IntakeSettings) {
        self.settings = settings;
        self.timeline.set_dating(dating(settings.timestamps));
        let selection = Selection::of(&self.announced, settings.audio);
        if selection.audio != std::mem::replace(&mut self.selection, selection).audio {
            let known = selection.audio.and_then(|track| self.known.get(&track).cloned());
            self.queues.change_sound(known);
            self.sound.select(selection.audio.is_some());
        }
    }

    /// What is to be added to the node's wall clock, in milliseconds, as the service's `Date` says.
    pub fn set_wall_offset(&mut self, offset_ms: i64) {
        self.timeline.set_wall_offset(offset_ms);
    }

    /// Nothing is to be given out at or before this time: it is stored already.
    pub fn set_floor(&mut self, floor_ms: i64) {
        self.timeline.set_floor(floor_ms);
    }

    /// What was given out is dated anew, by this many milliseconds: so is what comes.
    pub fn retimed(&mut self, by_ms: i64) {
        self.timeline.shift(by_ms);
        self.queues.shift(by_ms);
        self.sound.shift(by_ms);
        let times = [&mut self.key_place_ms, &mut self.last_key_ms, &mut self.last_lead_ms];
        for ms in times.into_iter().flatten() {
            *ms = ms.saturating_add(by_ms);
        }
        self.last_sound_ms = self.last_sound_ms.saturating_add(by_ms);
    }

    /// A connection stands, with these tracks. What the one before left is given out first.
    pub fn connected(&mut self, tracks: &[Codec]) {
        self.ended();
        self.queues.forget_parameters();
        // Tracks are numbered in a byte; no camera announces more than a handful.
        self.announced = tracks.iter().copied().take(usize::from(u8::MAX)).collect();
        self.known.clear();
        self.selection = Selection::of(&self.announced, self.settings.audio);
        self.sound = Sound::new(self.selection.audio.is_some());
        self.timeline.connected(self.announced.len(), self.selection.lead());
        self.key_place_ms = None;
        self.lost_packets = 0;
        self.last_lead_ms = None;
        self.has_refused_clock = false;
        if let Some(codec) = self.selection.unplayable(tracks) {
            self.events.push_back(IntakeEvent::UnplayableSound(codec));
        }
    }

    /// The connection has ended, or is silent: nothing waits any longer. What a silent one sends when it goes on begins with a
    /// key frame, and need not say its parameters again.
    pub fn ended(&mut self) {
        self.place_all(true);
        while let Some(head) = self.queues.pop_now() {
            self.give(head);
        }
        self.wants_key = Some(Dropped::BeforeKeyFrame);
    }

    /// The camera's wall clock, read at `now`.
    pub fn report(&mut self, report: &SenderReport, now: Now) {
        self.timeline.report(report, reading(now));
        if let Some(offset_ms) = self.timeline.refused_camera_ms()
            && !std::mem::replace(&mut self.has_refused_clock, true)
        {
            self.events.push_back(IntakeEvent::CameraClockRefused(offset_ms));
        }
        self.place_all(false);
    }

    /// A sample whose first byte was read at `read_at`. [`Intake::next`] gives what it leads to.
    pub fn push(&mut self, sample: Sample, read_at: Now) {
        let track = usize::from(sample.track);
        if let Some(parameters) = sample.parameters.clone().filter(|p| !p.codec.is_video()) {
            // Of all sound, so that other settings find it.
            self.known.insert(track, Arc::new(parameters));
        }
        if self.selection.video == Some(track) {
            self.queues.push_video(sample, read_at);
        } else if self.selection.audio == Some(track) {
            for _ in 0..self.queues.push_audio(sample, read_at) {
                self.leave_out(Dropped::BeforeKeyFrame);
            }
        } else {
            return;
        }
        self.place_all(self.is_report_overdue(read_at));
    }

    /// The next event; `None` until something more comes, or [`Intake::wake_at`] is reached.
    pub fn next(&mut self, now: Now) -> Option<IntakeEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.is_report_overdue(now) {
                self.place_all(true);
            }
            if let Some(is_unstable) = self.changes.turned(now.mono) {
                return Some(IntakeEvent::Unstable(is_unstable));
            }
            let head = self.queues.pop(now.mono, &self.sound, self.selection.video.is_some())?;
            self.give(head);
        }
    }

    /// When [`Intake::next`] will have something without anything coming in.
    pub fn wake_at(&self) -> Option<Duration> {
        let report = self.first_unplaced().map(|read_at| read_at + CAMERA_REPORT_WAIT);
        let waiting = self.queues.wake_at(&self.sound, self.selection.video.is_some());
        [report, waiting, self.changes.clears_at()].into_iter().flatten().min()
    }

    /// When the first sample came that waits for a sender report.
    fn first_unplaced(&self) -> Option<Duration> {
        if self.timeline.is_ready() { None } else { self.queues.first_read() }
    }

    fn is_report_overdue(&self, now: Now) -> bool {
        let overdue = |read_at| now.mono >= read_at + CAMERA_REPORT_WAIT;
        self.first_unplaced().is_some_and(|read_at| overdue(read_at) || self.queues.is_full())
    }

    /// Places what can be placed; `without_report`: the camera's clock is awaited no longer.
    fn place_all(&mut self, without_report: bool) {
        if !without_report && !self.timeline.is_ready() {
            return;
        }
        let (timeline, events) = (&mut self.timeline, &mut self.events);
        let mut place = |queued: &Queued| {
            let is_start = queued.access == Access::Start;
            let at = (queued.ticks, queued.rate);
            let place = timeline.place(usize::from(queued.track), at, is_start, reading(queued.read_at))?;
            if place.has_jumped {
                events.push_back(IntakeEvent::ClockJumped);
            }
            Some(place.time_ms)
        };
        self.queues.place_video(&mut place);
        let sound = &mut self.sound;
        self.queues.place_audio(&mut |piece| {
            let time_ms = place(piece)?;
            sound.heard(time_ms);
            Some(time_ms)
        });
    }

    fn give(&mut self, head: Head) {
        match head {
            Head::Video(picture, time_ms) => self.give_video(picture, time_ms),
            Head::Audio(piece, time_ms) => self.give_audio(piece, time_ms),
        }
    }

    fn leave_out(&mut self, why: Dropped) {
        self.events.push_back(IntakeEvent::Dropped(why));
    }

    fn give_video(&mut self, picture: Queued, place_ms: i64) {
        let is_start = picture.access == Access::Start;
        self.lost_packets = self.lost_packets.saturating_add(picture.lost);
        if picture.lost > 0 && !has_first_slice(&picture) {
            if is_start {
                self.wants_key = Some(Dropped::KeyFrameLost);
            }
            return self.leave_out(Dropped::Damaged);
        }
        if is_start {
            return self.give_key(picture, place_ms);
        }
        if self.is_leading(&picture, place_ms) {
            return self.leave_out(Dropped::Leading);
        }
        match (self.wants_key, self.codec.clone()) {
            (None, Some(codec)) => self.give_unit(picture, place_ms, false, &codec),
            (why, _) => self.leave_out(why.unwrap_or(Dropped::NoParameters)),
        }
    }

    /// Whether a picture is of no use where decoding starts with the newest key frame. In H.265 those that can be decoded
    /// (RADL) are shown before it, and a fragment's blocks are not to be earlier than the fragment.
    fn is_leading(&self, picture: &Queued, place_ms: i64) -> bool {
        let is_h265 = picture.parameters.as_ref().is_some_and(|p| p.codec == Codec::H265);
        picture.access == Access::SkippedLeading
            || is_h265 && self.key_place_ms.is_some_and(|key| place_ms < key)
    }

    fn give_key(&mut self, picture: Queued, place_ms: i64) {
        let Some(video) = picture.parameters.clone() else {
            self.wants_key = Some(Dropped::NoParameters);
            return self.leave_out(Dropped::NoParameters);
        };
        let audio = self.sound.at_key(place_ms, self.queues.sound_parameters());
        let tracks = std::iter::once(video).chain(audio).map(|track| (*track).clone()).collect();
        let codec = self.parameters(CodecParameters { tracks }, picture.read_at.mono);
        self.key_place_ms = Some(place_ms);
        self.wants_key = None;
        self.give_unit(picture, place_ms, true, &codec);
    }

    /// The parameters in force from now on.
    fn parameters(&mut self, parameters: CodecParameters, now: Duration) -> Arc<CodecParameters> {
        if let Some(known) = self.codec.as_ref().filter(|known| ***known == parameters) {
            return Arc::clone(known);
        }
        if self.codec.is_some() {
            self.changes.note(now);
        }
        let new = Arc::new(parameters);
        self.codec = Some(Arc::clone(&new));
        new
    }

    fn give_unit(&mut self, queued: Queued, place_ms: i64, key: bool, codec: &Arc<CodecParameters>) {
        let is_lead = usize::from(queued.track) == self.selection.lead();
        // Sound that comes later than a key frame could wait has no two pieces at one time either.
        let place_ms = if is_lead { place_ms } else { place_ms.max(self.last_sound_ms.saturating_add(1)) };
        let time_ms = self.timeline.give(place_ms, key);
        if is_lead {
            let packets = std::mem::take(&mut self.lost_packets);
            if let Some(start_ms) = self.last_lead_ms.filter(|_| packets > 0) {
                self.events.push_back(IntakeEvent::Lost { start_ms, end_ms: time_ms, packets });
            }
            self.last_lead_ms = self.last_lead_ms.max(Some(time_ms));
        } else {
            self.last_sound_ms = time_ms;
        }
        // Of two tracks, the video is the first.
        let track = u8::from(!is_lead);
        let unit = AccessUnit { track, time_ms, key, data: queued.data };
        self.events.push_back(IntakeEvent::Unit(unit, Arc::clone(codec), queued.read_at));
    }

    fn give_audio(&mut self, piece: Queued, place_ms: i64) {
        if self.selection.video.is_none() {
            return self.give_audio_alone(piece, place_ms);
        }
        if piece.lost > 0 {
            self.events.push_back(IntakeEvent::LostSound(piece.lost));
        }
        let in_force = self.codec.as_ref().and_then(|codec| codec.audio().map(|audio| (codec, audio)));
        let stored = match (in_force, &piece.parameters) {
            // While a key frame is lost, sound goes on in the group before it.
            _ if matches!(self.wants_key, Some(Dropped::BeforeKeyFrame | Dropped::NoParameters)) => {
                Err(Dropped::BeforeKeyFrame)
            }
            (Some((codec, audio)), Some(own)) if *audio == **own => Ok(Arc::clone(codec)),
            _ => Err(Dropped::SoundLeftOut),
        };
        match stored {
            Ok(codec) => self.give_unit(piece, place_ms, false, &codec),
            Err(why) => self.leave_out(why),
        }
    }

    fn give_audio_alone(&mut self, piece: Queued, place_ms: i64) {
        let Some(own) = piece.parameters.clone() else { return self.leave_out(Dropped::NoParameters) };
        self.lost_packets = self.lost_packets.saturating_add(piece.lost);
        let is_changed = self.codec.as_ref().is_none_or(|codec| codec.tracks != [(*own).clone()]);
        let is_due = self.last_key_ms.is_none_or(|last| place_ms >= last + self.settings.target_ms);
        let key = is_changed || is_due || self.wants_key.is_some();
        let codec = self.parameters(CodecParameters::single((*own).clone()), piece.read_at.mono);
        if key {
            self.wants_key = None;
            self.last_key_ms = Some(place_ms);
        }
        self.give_unit(piece, place_ms, key, &codec);
    }
}

fn dating(timestamps: Timestamps) -> Dating {
    match timestamps {
        Timestamps::Node => Dating::Node,
        Timestamps::Camera => Dating::Camera,
    }
}

fn reading(now: Now) -> Reading {
    Reading { mono: now.mono, wall_ms: now.wall_ms }
}

/// Whether a picture's first slice is there. Depacketizers give out what came behind a lost packet, as that may have
/// belonged to the picture before.
fn has_first_slice(picture: &Queued) -> bool {
    let codec = picture.parameters.as_ref().map(|parameters| parameters.codec);
    let mut nals = nal::nals_avcc(&picture.data);
    match codec {
        Some(Codec::H264) => nals.find(|nal| h264::access(nal).is_some()).is_some_and(h264::is_first_slice),
        Some(Codec::H265) => nals.find(|nal| h265::access(nal).is_some()).is_some_and(h265::is_first_slice),
        _ => true,
    }
}

/// Parameters as queued samples share them.
type Shared = Arc<TrackParameters>;
