//! What flows from a source to the store: samples of tracks, and what a decoder must know before the first of them.

use std::fmt;

use bytes::Bytes;

use crate::mkv::{AudioFormat, CODEC_AAC, CODEC_ACM, CODEC_H264, CODEC_H265, VideoFormat};

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264 (AVC): NAL units with a four-byte length before each.
    H264,
    /// H.265 (HEVC): NAL units with a four-byte length before each.
    H265,
    /// AAC: raw frames, without ADTS headers.
    Aac,
    /// G.711 A-law.
    PcmAlaw,
    /// G.711 µ-law.
    PcmMulaw,
}

impl Codec {
    /// The name that status shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Aac => "AAC",
            Self::PcmAlaw => "G711A",
            Self::PcmMulaw => "G711U",
        }
    }

    /// Whether it is pictures; else sound.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::H265)
    }

    /// The Matroska codec id.
    pub const fn mkv_id(self) -> &'static str {
        match self {
            Self::H264 => CODEC_H264,
            Self::H265 => CODEC_H265,
            Self::Aac => CODEC_AAC,
            Self::PcmAlaw | Self::PcmMulaw => CODEC_ACM,
        }
    }
}

/// What a decoder must know before a track's first sample.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackParameters {
    /// The codec.
    pub codec: Codec,
    /// The Matroska codec private data: `avcC`, `hvcC`, `AudioSpecificConfig` or `WAVEFORMATEX`.
    pub private: Bytes,
    /// Pictures or sound.
    pub format: Format,
}

/// Size of pictures, or sampling of sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format {
    /// Pictures, by their size after cropping.
    Video(VideoFormat),
    /// Sound.
    Audio(AudioFormat),
}

impl TrackParameters {
    /// A video track.
    pub fn video(codec: Codec, private: Bytes, width: u32, height: u32) -> Self {
        let format = Format::Video(VideoFormat { width: width.into(), height: height.into() });
        Self { codec, private, format }
    }

    /// An audio track.
    pub fn audio(codec: Codec, private: Bytes, rate: u32, channels: u32) -> Self {
        let format =
            AudioFormat { sampling_frequency: rate.into(), channels: channels.into(), bit_depth: None };
        Self { codec, private, format: Format::Audio(format) }
    }
}

/// How a picture refers to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Decoding can start here: an IDR picture; for H.265 also BLA and CRA.
    Start,
    /// Refers to pictures before it. All sound is this.
    #[default]
    Continue,
    /// Follows a CRA picture and refers to what is before that (RASL): of no use when decoding starts there.
    SkippedLeading,
}

/// One picture or one piece of sound as a source yields it, in the order of decoding.
#[derive(Clone, PartialEq)]
pub struct Sample {
    /// The index of its track among those that the source has announced.
    pub track: u8,
    /// When it is to be shown, in ticks of its track's clock since the connection's beginning; does not wrap.
    pub ticks: i64,
    /// Ticks a second.
    pub rate: u32,
    /// How it refers to others.
    pub access: Access,
    /// How many packets were lost since the sample before it. It is whole itself: what lacks a part, a source leaves out.
    pub lost: u32,
    /// The bytes in the form that [`Codec`] says.
    pub data: Bytes,
    /// The track's parameters, where they are new or changed with this sample.
    pub parameters: Option<TrackParameters>,
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ticks, bytes) = (self.ticks, self.data.len());
        write!(f, "Sample(track {}, {ticks} ticks, {bytes} bytes, {:?})", self.track, self.access)
    }
}

/// An RTCP sender report: the camera's own wall clock at a place of a track's media clock (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The index of the track.
    pub track: u8,
    /// Ticks as in [`Sample::ticks`].
    pub ticks: i64,
    /// Ticks a second.
    pub rate: u32,
    /// Seconds since 1900 with a binary fraction (NTP format).
    pub ntp: u64,
}

/// A sample that has its place in time, ready to be a Matroska block.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The index of its track among those of its [`CodecParameters`].
    pub track: u8,
    /// The presentation time, in milliseconds of the Unix epoch.
    pub time_ms: i64,
    /// Whether a fragment may begin with it: a picture that decoding can start at; of sound alone, any piece that the
    /// cut is due at.
    pub key: bool,
    /// The bytes in the form that [`Codec`] says.
    pub data: Bytes,
}

impl fmt::Debug for AccessUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key { ", key" } else { "" };
        write!(f, "AccessUnit(track {}, {} ms, {} bytes{key})", self.track, self.time_ms, self.data.len())
    }
}

/// What a decoder must know before a session's first sample. A change of any of it needs a new `PutMedia` session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CodecParameters {
    /// The tracks, at most [`crate::limits::TRACKS_MAX`]; the video, if there is one, first. Block numbers are the
    /// index plus one.
    pub tracks: Vec<TrackParameters>,
}

impl CodecParameters {
    /// One track.
    pub fn single(track: TrackParameters) -> Self {
        Self { tracks: vec![track] }
    }

    /// The video track.
    pub fn video(&self) -> Option<&TrackParameters> {
        self.tracks.iter().find(|track| track.codec.is_video())
    }

    /// The first audio track.
    pub fn audio(&self) -> Option<&TrackParameters> {
        self.tracks.iter().find(|track| !track.codec.is_video())
    }
}
