//! Media as containers hold it: files, pipes and sockets of any kind that is carried, read as it comes.
//!
//! [`Demuxer`] is one reader for all kinds: bytes in, tracks and samples out. Plain MP4 files are the exception: their samples
//! cannot be found without looking elsewhere in the file ([`crate::mp4::FileDemuxer`]).

pub mod detect;
pub mod mkv;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod whole;

use bytes::Bytes;

pub use detect::{DETECT_BYTES, Detection, detect};

use crate::track::{Codec, Sample};
use crate::{annexb, mp4, ts};

/// How media is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Matroska.
    Mkv,
    /// MP4.
    Mp4,
    /// MPEG transport stream.
    MpegTs,
    /// A bare byte stream with start codes.
    AnnexB,
}

/// What a container yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Its tracks, before the first sample of them. Comes again where they change.
    Tracks(Vec<Codec>),
    /// The codec of sound that is not carried, as the container calls it, where no other is; before the tracks.
    LeftOut(String),
    /// A sample of one of them. The ticks of all tracks count from the same moment.
    Sample(Sample),
}

/// Why a container cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// It breaks its own format.
    #[error("{container}: {what} (at byte {offset})")]
    Invalid {
        /// The container's name.
        container: &'static str,
        /// What is wrong.
        what: String,
        /// Bytes from the beginning.
        offset: u64,
    },
    /// There is a video track, but of a codec that is not carried.
    #[error("{container}: video of codec {codec}, which is not carried: H.264 and H.265 are")]
    UnsupportedCodec {
        /// The container's name.
        container: &'static str,
        /// The codec, as the container calls it.
        codec: String,
    },
    /// There is neither video nor sound that is carried.
    #[error("{container}: no track of video or of sound that is carried: {what}")]
    NoVideo {
        /// The container's name.
        container: &'static str,
        /// What there is.
        what: String,
    },
}

impl ContainerError {
    /// A breach of the format.
    #[expect(clippy::needless_pass_by_value, reason = "texts and errors alike are made where this is called")]
    pub fn invalid(container: &'static str, offset: u64, what: impl ToString) -> Self {
        Self::Invalid { container, what: what.to_string(), offset }
    }
}

/// Bytes that one sample may have. The largest pictures of cameras are a few megabytes.
pub const SAMPLE_BYTES_MAX: usize = 16 << 20;

/// Reads a container of any kind: [`push`](Self::push) bytes, take items with [`next`](Self::next) until it returns `None`,
/// [`finish`](Self::finish) at the end of the input, and take the last items.
#[derive(Debug)]
pub enum Demuxer {
    /// Matroska.
    Mkv(Box<mkv::Demuxer>),
    /// Fragmented MP4.
    Mp4(Box<mp4::FragmentDemuxer>),
    /// MPEG transport stream.
    MpegTs(Box<ts::Demuxer>),
    /// A bare byte stream.
    AnnexB(Box<annexb::Demuxer>),
}

impl Demuxer {
    /// A reader for a kind of container; the frame rate is for those that do not say ([`Kind::AnnexB`]).
    pub fn new(kind: Kind, frame_rate: u32) -> Self {
        match kind {
            Kind::Mkv => Self::Mkv(Box::default()),
            Kind::Mp4 => Self::Mp4(Box::default()),
            Kind::MpegTs => Self::MpegTs(Box::default()),
            Kind::AnnexB => Self::AnnexB(Box::new(annexb::Demuxer::new(frame_rate))),
        }
    }

    /// Adds the next bytes. Take all items before the next push: what they need of memory depends on it.
    pub fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Mkv(demuxer) => demuxer.push(bytes),
            Self::Mp4(demuxer) => demuxer.push(&bytes),
            Self::MpegTs(demuxer) => demuxer.push(&bytes),
            Self::AnnexB(demuxer) => demuxer.push(&bytes),
        }
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        match self {
            Self::Mkv(demuxer) => demuxer.finish(),
            Self::Mp4(demuxer) => demuxer.finish(),
            Self::MpegTs(demuxer) => demuxer.finish(),
            Self::AnnexB(demuxer) => demuxer.finish(),
        }
    }

    /// The next item; `None` when more bytes are needed. After an error there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        match self {
            Self::Mkv(demuxer) => demuxer.next(),
            Self::Mp4(demuxer) => demuxer.next(),
            Self::MpegTs(demuxer) => demuxer.next(),
            Self::AnnexB(demuxer) => demuxer.next(),
        }
    }
}
