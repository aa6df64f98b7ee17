//! What flows from a source to the store: access units, and the codec parameters that they need.

use std::fmt;

use bytes::Bytes;

/// A compressed picture, ready to be a Matroska block: NAL units with a four-byte length before each.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The presentation time, in milliseconds of the Unix epoch.
    pub time_ms: i64,
    /// Whether decoding can start here (IDR).
    pub key: bool,
    /// The NAL units.
    pub data: Bytes,
}

impl fmt::Debug for AccessUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AccessUnit({} ms, {} bytes{})",
            self.time_ms,
            self.data.len(),
            if self.key { ", key" } else { "" }
        )
    }
}

/// Which codec a feed carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264 (AVC).
    H264,
}

impl Codec {
    /// The name that status shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
        }
    }
}

/// What a decoder must know before the first picture. A change of any of it needs a new `PutMedia` session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecParameters {
    /// The codec.
    pub codec: Codec,
    /// The `AVCDecoderConfigurationRecord`.
    pub private: Bytes,
    /// The picture's width in pixels, after cropping.
    pub width: u32,
    /// The picture's height in pixels, after cropping.
    pub height: u32,
}
