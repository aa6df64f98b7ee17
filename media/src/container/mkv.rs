//! Matroska files and streams, to tracks and samples.

use std::collections::VecDeque;

use bytes::Bytes;

use super::whole::{WholeTrack, check_size};
use super::{ContainerError, Item};
use crate::mkv::{self, CODEC_AAC, CODEC_ACM, CODEC_H264, CODEC_H265, Frame, Header, Track, TrackKind};
use crate::track::Codec;
use crate::{aac, g711};

/// The container's name in messages.
const NAME: &str = "Matroska";

/// Ticks a second where the document's time scale does not divide a second.
const MICROS: u32 = 1_000_000;

/// Reads a Matroska document: the first video track and the first audio track that are carried.
#[derive(Debug, Default)]
pub struct Demuxer {
    elements: mkv::Demuxer,
    clock: Clock,
    tracks: Vec<Known>,
    ready: VecDeque<Item>,
}

#[derive(Debug)]
struct Known {
    number: u64,
    track: WholeTrack,
    /// Samples a second of sound; 0 of video.
    sound_rate: u32,
    /// The timecode of the newest block, and the samples of it so far: laced frames share a timecode.
    laced: (i64, u64),
}

/// From timecodes to ticks.
#[derive(Debug, Clone, Copy)]
struct Clock {
    scale: u64,
    rate: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(crate::limits::TIMECODE_SCALE_NS)
    }
}

impl Clock {
    fn new(scale: u64) -> Self {
        let rate = u32::try_from(1_000_000_000 / scale.max(1)).unwrap_or(MICROS);
        let divides = u64::from(rate) * scale == 1_000_000_000;
        Self { scale, rate: if divides { rate } else { MICROS } }
    }

    fn ticks(self, timecode: i64) -> i64 {
        let nanos = i128::from(timecode) * i128::from(self.scale);
        let ticks = nanos.saturating_mul(i128::from(self.rate)) / 1_000_000_000;
        ticks.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

impl Demuxer {
    /// Adds the next bytes.
    pub fn push(&mut self, bytes: Bytes) {
        self.elements.push(bytes);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.elements.finish();
    }

    /// The next item; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let offset = self.elements.offset();
            match self.elements.next().map_err(|error| ContainerError::invalid(NAME, offset, error))? {
                None => return Ok(None),
                Some(mkv::Item::Header(header)) => self.begin(&header, offset)?,
                Some(mkv::Item::Frame(frame)) => self.frame(&frame, offset)?,
                Some(_) => {}
            }
        }
    }

    fn begin(&mut self, header: &Header, offset: u64) -> Result<(), ContainerError> {
        let read = |track| known(track).map_err(|what| ContainerError::invalid(NAME, offset, what));
        let mut tracks: Vec<Known> = Vec::new();
        for track in &header.tracks {
            let is_video = track.kind == TrackKind::Video;
            let is_taken = tracks.iter().any(|known| known.track.codec().is_video() == is_video);
            if !is_taken && let Some(known) = read(track)? {
                tracks.push(known);
            }
        }
        tracks.sort_by_key(|known| !known.track.codec().is_video());
        let has_video = tracks.first().is_some_and(|known| known.track.codec().is_video());
        let video = header.tracks.iter().find(|track| track.kind == TrackKind::Video);
        if let Some(video) = video.filter(|_| !has_video) {
            return Err(ContainerError::UnsupportedCodec { container: NAME, codec: shown(&video.codec_id) });
        }
        if tracks.is_empty() {
            let codecs: Vec<_> = header.tracks.iter().take(8).map(|track| shown(&track.codec_id)).collect();
            return Err(ContainerError::NoVideo { container: NAME, what: codecs.join(", ") });
        }
        let has_sound = tracks.iter().any(|known| !known.track.codec().is_video());
        let sound = header.tracks.iter().find(|track| track.kind == TrackKind::Audio).filter(|_| !has_sound);
        self.ready.extend(sound.map(|track| Item::LeftOut(shown(&track.codec_id))));
        self.clock = Clock::new(header.timecode_scale);
        self.ready.push_back(Item::Tracks(tracks.iter().map(|known| known.track.codec()).collect()));
        self.tracks = tracks;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame, offset: u64) -> Result<(), ContainerError> {
        let found = (0..).zip(&mut self.tracks).find(|(_, known)| known.number == frame.track);
        let Some((index, known)) = found else { return Ok(()) };
        check_size(NAME, frame.payload.len(), offset)?;
        let time = (
            self.clock.ticks(frame.timecode).saturating_add(known.laced_ticks(frame, self.clock.rate)),
            self.clock.rate,
        );
        self.ready.extend(known.track.sample(index, time, &frame.payload).map(Item::Sample));
        Ok(())
    }
}

impl Known {
    /// How far behind its block's time a frame of sound is.
    fn laced_ticks(&mut self, frame: &Frame, rate: u32) -> i64 {
        if self.sound_rate == 0 {
            return 0;
        }
        if self.laced.0 != frame.timecode {
            self.laced = (frame.timecode, 0);
        }
        let before = self.laced.1;
        self.laced.1 += match self.track.codec() {
            Codec::Aac => u64::from(aac::SAMPLES_PER_FRAME),
            _ => frame.payload.len() as u64,
        };
        (u128::from(before) * u128::from(rate) / u128::from(self.sound_rate)) as i64
    }
}

/// A track that is carried; the error says what is wrong with its description.
fn known(track: &Track) -> Result<Option<Known>, String> {
    let record = &track.codec_private;
    let (made, sound_rate) = match (track.kind, track.codec_id.as_str()) {
        (TrackKind::Video, CODEC_H264) => (WholeTrack::by_record(Codec::H264, record)?, 0),
        (TrackKind::Video, CODEC_H265) => (WholeTrack::by_record(Codec::H265, record)?, 0),
        (TrackKind::Audio, CODEC_AAC) => {
            let config = aac::AudioConfig::parse(record).map_err(|error| error.to_string())?;
            let parameters = aac::parameters(record).map_err(|error| error.to_string())?;
            (Some(WholeTrack::audio(parameters)), config.rate)
        }
        (TrackKind::Audio, CODEC_ACM) => {
            let law = g711::parse(record);
            let parameters = law.and_then(|(codec, rate, channels)| {
                g711::parameters(codec, rate, u16::try_from(channels).ok()?)
            });
            (
                parameters.map(WholeTrack::audio),
                law.map_or(0, |(_, rate, channels)| rate.saturating_mul(channels)),
            )
        }
        _ => (None, 0),
    };
    Ok(made.map(|made| Known { number: track.number, track: made, sound_rate, laced: (i64::MIN, 0) }))
}

/// As much of a name from outside as messages show.
fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_the_ends_of_what_can_be_written_are_held_at_the_ends() {
        for scale in [1, 1_000, 1_000_000, u64::MAX] {
            let clock = Clock::new(scale);
            assert!(clock.ticks(i64::MAX) > 0 && clock.ticks(i64::MIN) < 0, "{scale}");
        }
        assert_eq!(Clock::new(u64::MAX).ticks(i64::MAX), i64::MAX);
        assert_eq!(Clock::default().ticks(40), 40);
    }
}
