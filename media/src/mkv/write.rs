//! Writes Matroska in the form that the vendor's native producers send (`MkvStatics.c` of
//! `awslabs/amazon-kinesis-video-streams-pic`): Segment and Cluster of unknown size, 1 ms time scale, `SimpleBlock`s
//! without lacing.

use std::ops::Deref;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Track, ids};
use crate::ebml::varint;
use crate::limits::TIMECODE_SCALE_NS;

/// What the documents name as their writer.
const APPLICATION: &str = concat!("streamfleet ", env!("CARGO_PKG_VERSION"));

/// "Unknown size" in one byte.
const UNKNOWN: u8 = 0xFF;

/// The flag of a block that decoding can start at.
const KEY: u8 = 0x80;

/// The beginning of a document: EBML header, Segment of unknown size, Info and Tracks. Clusters and Tags follow.
///
/// There is no `SegmentUID`: it would have to be drawn at random, and the service does not ask for it.
pub fn header(tracks: &[Track]) -> Bytes {
    let mut out = BytesMut::new();
    element(&mut out, ids::EBML, &ebml_header());
    put_id(&mut out, ids::SEGMENT);
    out.put_u8(UNKNOWN);
    element(&mut out, ids::INFO, &info());
    let mut entries = BytesMut::new();
    for track in tracks {
        element(&mut entries, ids::TRACK_ENTRY, &track_entry(track));
    }
    element(&mut out, ids::TRACKS, &entries);
    out.freeze()
}

/// A few elements' bytes that need no memory of their own: what stands before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    bytes: [u8; PREFIX_BYTES_MAX],
    start: u8,
    end: u8,
}

/// The longest is the beginning of a block: id, size, track number, time and flags.
const PREFIX_BYTES_MAX: usize = 1 + 8 + 8 + 2 + 1;

impl Prefix {
    fn put(&mut self, bytes: &[u8]) {
        let end = usize::from(self.end);
        self.bytes[end..end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len() as u8;
    }
}

impl Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start.into()..self.end.into()]
    }
}

impl AsRef<[u8]> for Prefix {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Buf for Prefix {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    fn advance(&mut self, count: usize) {
        self.start += count.min(self.len()) as u8;
    }
}

/// The beginning of a Cluster of unknown size at `timecode` milliseconds. Blocks follow; it ends where anything else
/// begins.
pub fn cluster_start(timecode: u64) -> Prefix {
    let mut out = Prefix::default();
    out.put(&ids::CLUSTER.to_be_bytes());
    out.put(&[UNKNOWN, ids::TIMECODE as u8, 0x88]);
    out.put(&timecode.to_be_bytes());
    out
}

/// What precedes a frame of `payload_len` bytes: a `SimpleBlock` of the `track` at `timecode` milliseconds relative to its
/// cluster. The frame's bytes follow as they are.
pub fn simple_block_prefix(track: u64, timecode: i16, key: bool, payload_len: usize) -> Prefix {
    let (number, length) = varint::shortest_size_parts(track);
    let size = length as u64 + 3 + payload_len as u64;
    let mut out = Prefix::default();
    out.put(&[ids::SIMPLE_BLOCK as u8]);
    out.put(&varint::size_in_eight_bytes(size));
    out.put(&number[8 - length..]);
    out.put(&timecode.to_be_bytes());
    out.put(&[if key { KEY } else { 0 }]);
    out
}

/// A Tags element with one Tag of these names and values. After a cluster it belongs to that cluster's fragment, before
/// the first to the first. An empty value writes no `TagString`.
pub fn tags(names_and_values: &[(&str, &str)]) -> Bytes {
    let mut tag = BytesMut::new();
    for (name, value) in names_and_values {
        let mut simple = BytesMut::new();
        element(&mut simple, ids::TAG_NAME, name.as_bytes());
        if !value.is_empty() {
            element(&mut simple, ids::TAG_STRING, value.as_bytes());
        }
        element(&mut tag, ids::SIMPLE_TAG, &simple);
    }
    let mut content = BytesMut::new();
    element(&mut content, ids::TAG, &tag);
    let mut out = BytesMut::new();
    element(&mut out, ids::TAGS, &content);
    out.freeze()
}

/// A whole element with its size in as few bytes as it needs.
pub fn element(out: &mut BytesMut, id: u32, content: &[u8]) {
    put_id(out, id);
    out.put_slice(&varint::shortest_size(content.len() as u64));
    out.put_slice(content);
}

fn put_id(out: &mut BytesMut, id: u32) {
    let bytes = id.to_be_bytes();
    out.put_slice(&bytes[id.leading_zeros() as usize / 8..]);
}

fn put_unsigned(out: &mut BytesMut, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    let first = (value.leading_zeros() as usize / 8).min(7);
    element(out, id, &bytes[first..]);
}

fn ebml_header() -> BytesMut {
    let mut content = BytesMut::new();
    put_unsigned(&mut content, ids::EBML_VERSION, 1);
    put_unsigned(&mut content, ids::EBML_READ_VERSION, 1);
    put_unsigned(&mut content, ids::EBML_MAX_ID_LENGTH, 4);
    put_unsigned(&mut content, ids::EBML_MAX_SIZE_LENGTH, 8);
    element(&mut content, ids::DOC_TYPE, b"matroska");
    put_unsigned(&mut content, ids::DOC_TYPE_VERSION, 2);
    put_unsigned(&mut content, ids::DOC_TYPE_READ_VERSION, 2);
    content
}

fn info() -> BytesMut {
    let mut content = BytesMut::new();
    element(&mut content, ids::TIMECODE_SCALE, &TIMECODE_SCALE_NS.to_be_bytes());
    element(&mut content, ids::MUXING_APP, APPLICATION.as_bytes());
    element(&mut content, ids::WRITING_APP, APPLICATION.as_bytes());
    content
}

fn track_entry(track: &Track) -> BytesMut {
    let mut content = BytesMut::new();
    put_unsigned(&mut content, ids::TRACK_NUMBER, track.number);
    let uid = if track.uid == 0 { track.number } else { track.uid };
    element(&mut content, ids::TRACK_UID, &uid.to_be_bytes());
    put_unsigned(&mut content, ids::TRACK_TYPE, track.kind.number());
    if let Some(name) = &track.name {
        element(&mut content, ids::NAME, name.as_bytes());
    }
    element(&mut content, ids::CODEC_ID, track.codec_id.as_bytes());
    if let Some(video) = track.video {
        let mut format = BytesMut::new();
        put_unsigned(&mut format, ids::PIXEL_WIDTH, video.width);
        put_unsigned(&mut format, ids::PIXEL_HEIGHT, video.height);
        element(&mut content, ids::VIDEO, &format);
    }
    if let Some(audio) = track.audio {
        let mut format = BytesMut::new();
        element(&mut format, ids::SAMPLING_FREQUENCY, &audio.sampling_frequency.to_be_bytes());
        put_unsigned(&mut format, ids::CHANNELS, audio.channels);
        if let Some(bits) = audio.bit_depth {
            put_unsigned(&mut format, ids::BIT_DEPTH, bits);
        }
        element(&mut content, ids::AUDIO, &format);
    }
    if !track.codec_private.is_empty() {
        element(&mut content, ids::CODEC_PRIVATE, &track.codec_private);
    }
    content
}
