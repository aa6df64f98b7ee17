//! What waits for its turn: pictures for sound, sound for pictures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamfleet_media::track::{Access, Sample};

use super::sound::Sound;
use super::{SOUND_WAIT, Shared};
use crate::clock::Now;

/// Nothing waits while more than this does: ten seconds of pictures and sound of any camera.
const WAITING_MAX: usize = 2_000;

/// The same in bytes: the wait for sound at the largest bitrate of any camera, or that for a sender report at 8 Mbit/s.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// A sample that waits.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) track: u8,
    pub(super) ticks: i64,
    pub(super) rate: u32,
    pub(super) access: Access,
    pub(super) lost: u32,
    pub(super) data: Bytes,
    /// What holds for it.
    pub(super) parameters: Option<Shared>,
    pub(super) read_at: Now,
    time_ms: Option<i64>,
}

/// What is to be given out next, with its place in time.
#[derive(Debug)]
pub(super) enum Head {
    Video(Queued, i64),
    Audio(Queued, i64),
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    /// How many of them have no place yet; they are the last.
    unplaced: usize,
    parameters: Option<Shared>,
}

/// The pictures and the sound that wait.
#[derive(Debug, Default)]
pub(super) struct Queues {
    video: Queue,
    audio: Queue,
    bytes: usize,
    /// The latest time of a picture that was given out.
    video_ms: Option<i64>,
}

impl Queue {
    fn push(&mut self, sample: Sample, read_at: Now) {
        if let Some(parameters) = sample.parameters {
            self.parameters = Some(Arc::new(parameters));
        }
        self.unplaced += 1;
        self.waiting.push_back(Queued {
            track: sample.track,
            ticks: sample.ticks,
            rate: sample.rate,
            access: sample.access,
            lost: sample.lost,
            data: sample.data,
            parameters: self.parameters.clone(),
            read_at,
            time_ms: None,
        });
    }

    /// Places what has no place, as far as that can be done.
    fn place(&mut self, place: &mut impl FnMut(&Queued) -> Option<i64>) {
        while self.unplaced > 0 {
            let index = self.waiting.len() - self.unplaced;
            let Some(queued) = self.waiting.get_mut(index) else { break };
            let Some(time_ms) = place(queued) else { break };
            queued.time_ms = Some(time_ms);
            self.unplaced -= 1;
        }
    }

    /// The first, if it has a place.
    fn front(&self) -> Option<(&Queued, i64)> {
        self.waiting.front().and_then(|queued| Some((queued, queued.time_ms?)))
    }

    fn pop(&mut self) -> Option<(Queued, i64)> {
        let time_ms = self.front()?.1;
        Some((self.waiting.pop_front()?, time_ms))
    }
}

/// Which is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Video,
    Audio,
    /// At this time, whatever comes.
    At(Duration, Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Video,
    Audio,
}

impl Queues {
    pub(super) fn push_video(&mut self, sample: Sample, read_at: Now) {
        self.bytes += sample.data.len();
        self.video.push(sample, read_at);
    }

    /// Sound that cannot be placed, as no picture has come, does not wait without end: gives how many pieces are dropped.
    pub(super) fn push_audio(&mut self, sample: Sample, read_at: Now) -> usize {
        self.bytes += sample.data.len();
        self.audio.push(sample, read_at);
        let mut dropped = 0;
        while self.is_full() && self.audio.unplaced == self.audio.waiting.len() {
            let Some(piece) = self.audio.waiting.pop_front() else { break };
            self.audio.unplaced -= 1;
            self.bytes -= piece.data.len();
            dropped += 1;
        }
        dropped
    }

    /// The sound that comes is of another track, or of none, from now on.
    pub(super) fn change_sound(&mut self, parameters: Option<Shared>) {
        self.bytes -= self.audio.waiting.iter().map(|piece| piece.data.len()).sum::<usize>();
        self.audio = Queue { parameters, ..Queue::default() };
    }

    pub(super) fn place_video(&mut self, place: &mut impl FnMut(&Queued) -> Option<i64>) {
        self.video.place(place);
    }

    pub(super) fn place_audio(&mut self, place: &mut impl FnMut(&Queued) -> Option<i64>) {
        self.audio.place(place);
    }

    /// Moves all places.
    pub(super) fn shift(&mut self, by_ms: i64) {
        let waiting = self.video.waiting.iter_mut().chain(&mut self.audio.waiting);
        for ms in waiting.filter_map(|queued| queued.time_ms.as_mut()).chain(&mut self.video_ms) {
            *ms = ms.saturating_add(by_ms);
        }
    }

    /// When the first sample that waits was read.
    pub(super) fn first_read(&self) -> Option<Duration> {
        let read = |queue: &Queue| queue.waiting.front().map(|queued| queued.read_at.mono);
        [read(&self.video), read(&self.audio)].into_iter().flatten().min()
    }

    /// What holds for the sound that comes next.
    pub(super) fn sound_parameters(&self) -> Option<Shared> {
        let coming = self.audio.waiting.front().and_then(|piece| piece.parameters.clone());
        coming.or_else(|| self.audio.parameters.clone())
    }

    /// The next, if its turn has come.
    pub(super) fn pop(&mut self, now: Duration, sound: &Sound, has_video: bool) -> Option<Head> {
        match self.turn(sound, has_video)? {
            Turn::Video => self.pop_video(),
            Turn::Audio => self.pop_audio(),
            Turn::At(at, kind) if now >= at || self.is_full() => match kind {
                Kind::Video => self.pop_video(),
                Kind::Audio => self.pop_audio(),
            },
            Turn::At(..) => None,
        }
    }

    /// The next, without waiting for anything.
    pub(super) fn pop_now(&mut self) -> Option<Head> {
        match (self.video.front(), self.audio.front()) {
            (Some((_, video)), Some((_, audio))) if audio < video => self.pop_audio(),
            (Some(_), _) => self.pop_video(),
            (None, Some(_)) => self.pop_audio(),
            (None, None) => {
                // What has no place has no use either: nothing has come of the track that others follow.
                self.video.waiting.clear();
                self.audio.waiting.clear();
                (self.video.unplaced, self.audio.unplaced, self.bytes) = (0, 0, 0);
                self.video_ms = None;
                None
            }
        }
    }

    /// What comes next is of another connection, which says its parameters itself.
    pub(super) fn forget_parameters(&mut self) {
        (self.video.parameters, self.audio.parameters) = (None, None);
    }

    /// When the next may be given out without anything coming in.
    pub(super) fn wake_at(&self, sound: &Sound, has_video: bool) -> Option<Duration> {
        match self.turn(sound, has_video)? {
            Turn::At(at, _) => Some(at),
            Turn::Video | Turn::Audio => Some(Duration::ZERO),
        }
    }

    fn turn(&self, sound: &Sound, has_video: bool) -> Option<Turn> {
        let (video, audio) = (self.video.front(), self.audio.front());
        match (video, audio) {
            _ if !has_video => audio.map(|_| Turn::Audio),
            // Sound before a picture goes first: no picture to come is earlier than that, unless it is reordered.
            (Some((_, video_ms)), Some((_, audio_ms))) if audio_ms < video_ms => Some(Turn::Audio),
            (Some((picture, time_ms)), _) => {
                let waits = picture.access == Access::Start && sound.is_awaited(time_ms);
                let at = picture.read_at.mono + SOUND_WAIT;
                Some(if waits { Turn::At(at, Kind::Video) } else { Turn::Video })
            }
            (None, Some((_, audio_ms))) if self.video_ms.is_some_and(|video| audio_ms <= video) => {
                Some(Turn::Audio)
            }
            (None, Some((piece, _))) => Some(Turn::At(piece.read_at.mono + SOUND_WAIT, Kind::Audio)),
            (None, None) => None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX || self.video.waiting.len() + self.audio.waiting.len() > WAITING_MAX
    }

    fn pop_video(&mut self) -> Option<Head> {
        let (picture, time_ms) = self.video.pop()?;
        self.bytes -= picture.data.len();
        self.video_ms = self.video_ms.max(Some(time_ms));
        Some(Head::Video(picture, time_ms))
    }

    fn pop_audio(&mut self) -> Option<Head> {
        let (piece, time_ms) = self.audio.pop()?;
        self.bytes -= piece.data.len();
        Some(Head::Audio(piece, time_ms))
    }
}
