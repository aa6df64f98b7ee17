//! H.264 and H.265 in a transport stream: pictures with their times.

use super::marks::Marks;
use crate::annexb::{Found, Pictures};
use crate::track::{Codec, Sample};

/// Ticks a second of a transport stream's times.
const RATE: u32 = 90_000;

/// From one picture to the next where nothing is known: 25 a second.
const STEP_TICKS: i64 = 3_600;

/// A picture that has no time of its own is not placed further than this from the one before.
const STEP_TICKS_MAX: i64 = 90_000;

/// Takes the stream in pieces of any size.
#[derive(Debug)]
pub(super) struct VideoStream {
    track: u8,
    pictures: Pictures,
    marks: Marks,
    last: Option<i64>,
    step: i64,
    /// Pictures that came before the first time.
    lost: u32,
}

impl VideoStream {
    /// Of this codec; `None` for sound.
    pub(super) fn new(track: u8, codec: Codec) -> Option<Self> {
        let pictures = Pictures::new(codec)?;
        Some(Self { track, pictures, marks: Marks::default(), last: None, step: STEP_TICKS, lost: 0 })
    }

    /// What begins next has this time.
    pub(super) fn mark(&mut self, ticks: i64) {
        self.marks.push(self.pictures.position(), ticks);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pictures.push(bytes);
    }

    pub(super) fn interrupt(&mut self, lost: u32) {
        self.pictures.interrupt(lost);
    }

    pub(super) fn finish(&mut self) {
        self.pictures.finish();
    }

    pub(super) fn next(&mut self) -> Option<Sample> {
        loop {
            let Found { at, lost, picture } = self.pictures.next()?;
            self.lost = self.lost.saturating_add(lost);
            let Some(ticks) = self.time_at(at) else {
                self.lost = self.lost.saturating_add(1);
                continue;
            };
            return Some(Sample {
                track: self.track,
                ticks,
                rate: RATE,
                access: picture.access,
                lost: std::mem::take(&mut self.lost),
                data: picture.data,
                parameters: picture.parameters,
            });
        }
    }

    /// The time of the picture that begins at `position`: its own, or one step from the one before (§2.4.3.7 lets pictures
    /// go without, for up to 0.7 s).
    fn time_at(&mut self, position: u64) -> Option<i64> {
        let ticks = match (self.marks.take(position), self.last) {
            (Some(ticks), last) => {
                self.step = last.map_or(self.step, |last| {
                    ticks.saturating_sub(last).saturating_abs().clamp(1, STEP_TICKS_MAX)
                });
                ticks
            }
            (None, Some(last)) => last.saturating_add(self.step),
            (None, None) => return None,
        };
        self.last = Some(ticks);
        Some(ticks)
    }
}
