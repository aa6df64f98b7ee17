//! Matroska as Kinesis Video Streams speaks it: tracks, clusters, blocks and tags.
//!
//! [`Demuxer`] reads any file or stream that the service accepts or returns; [`write`](mod@write) makes the narrow form
//! that the vendor's own producers send.

mod block;
mod demux;
mod header;
pub mod ids;
#[cfg(test)]
mod tests;
pub mod write;

use bytes::Bytes;

use crate::track::{Format, TrackParameters};

pub use block::{Block, BlockError};
pub use demux::{DemuxError, Demuxer, Frame, Item};

/// Codec id of H.264 with `avcC` and length-prefixed NAL units.
pub const CODEC_H264: &str = "V_MPEG4/ISO/AVC";
/// Codec id of H.265 with `hvcC` and length-prefixed NAL units.
pub const CODEC_H265: &str = "V_MPEGH/ISO/HEVC";
/// Codec id of AAC with an `AudioSpecificConfig` and raw frames.
pub const CODEC_AAC: &str = "A_AAC";
/// Codec id of G.711, with a `WAVEFORMATEX` that says which law.
pub const CODEC_ACM: &str = "A_MS/ACM";

/// The head of a document: time scale and tracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Nanoseconds of one timecode; 10⁶ (a millisecond) where the document does not say.
    pub timecode_scale: u64,
    /// The tracks in their order.
    pub tracks: Vec<Track>,
}

impl Header {
    /// A timecode in milliseconds, rounded down.
    pub fn millis(&self, timecode: i64) -> i64 {
        (i128::from(timecode) * i128::from(self.timecode_scale) / 1_000_000) as i64
    }

    /// The track with this number.
    pub fn track(&self, number: u64) -> Option<&Track> {
        self.tracks.iter().find(|track| track.number == number)
    }
}

/// Kind of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else, by its number in the specification.
    Other(u64),
}

impl TrackKind {
    /// The kind with this number.
    pub const fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Video,
            2 => Self::Audio,
            other => Self::Other(other),
        }
    }

    /// Its number in the specification.
    pub const fn number(self) -> u64 {
        match self {
            Self::Video => 1,
            Self::Audio => 2,
            Self::Other(other) => other,
        }
    }
}

/// One track of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Its number, from 1, by which blocks refer to it.
    pub number: u64,
    /// Its unique id; 0 where there is none (written as the number then).
    pub uid: u64,
    /// What it carries.
    pub kind: TrackKind,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Codec id, such as [`CODEC_H264`].
    pub codec_id: String,
    /// Codec private data; empty where there is none.
    pub codec_private: Bytes,
    /// Size of the pictures of a video track.
    pub video: Option<VideoFormat>,
    /// Sampling of an audio track.
    pub audio: Option<AudioFormat>,
}

impl Track {
    /// A video track with number 1 and nothing optional.
    pub fn video(codec_id: &str, codec_private: Bytes, width: u64, height: u64) -> Self {
        Self {
            number: 1,
            uid: 1,
            kind: TrackKind::Video,
            name: None,
            codec_id: codec_id.to_owned(),
            codec_private,
            video: Some(VideoFormat { width, height }),
            audio: None,
        }
    }
}

impl Track {
    /// The track of this number, with a name and nothing else that is optional.
    pub fn of(number: u64, parameters: &TrackParameters) -> Self {
        let (kind, video, audio) = match parameters.format {
            Format::Video(format) => (TrackKind::Video, Some(format), None),
            Format::Audio(format) => (TrackKind::Audio, None, Some(format)),
        };
        Self {
            number,
            uid: number,
            kind,
            name: None,
            codec_id: parameters.codec.mkv_id().to_owned(),
            codec_private: parameters.private.clone(),
            video,
            audio,
        }
    }
}

/// Size of the pictures of a video track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoFormat {
    /// Pixels across.
    pub width: u64,
    /// Pixels down.
    pub height: u64,
}

/// Sampling of an audio track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioFormat {
    /// Samples per second.
    pub sampling_frequency: f64,
    /// Number of channels.
    pub channels: u64,
    /// Bits in a sample, where the document says.
    pub bit_depth: Option<u64>,
}
