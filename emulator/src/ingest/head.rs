//! What precedes the first Cluster: read for what ingest needs, kept for the head of every chunk of `GetMedia`.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use streamfleet_media::{
    ack::ErrorId,
    ebml::Event,
    limits::{TIMECODE_SCALE_NS, TRACKS_MAX},
    mkv::ids,
};

use super::{big_endian, tags::Tags};

/// Segment with unknown size, as `GetMedia` re-encodes it in captures.
const SEGMENT_OF_UNKNOWN_SIZE: [u8; 12] =
    [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
/// Heads are some 500 bytes, or some 10 kB with attachments of a muxer; more is no head.
pub const HEAD_BYTES_MAX: usize = 4 << 20;

/// The head of a session.
#[derive(Debug)]
pub struct Head {
    /// Head of every chunk.
    common: BytesMut,
    /// Head of the first chunk: with the producer's tags that stand before the first Cluster.
    first: BytesMut,
    section: Section,
    tracks: BTreeSet<u64>,
    tracks_done: bool,
    segment_seen: bool,
    /// Nanoseconds in one timecode.
    pub timecode_scale: u64,
    /// Tags before the first Cluster; they are the first fragment's.
    pub tags_before: usize,
}

/// The level-1 element that is being read.
#[derive(Debug, Default)]
struct Section {
    bytes: BytesMut,
    tags: Option<Tags>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            common: BytesMut::new(),
            first: BytesMut::new(),
            section: Section::default(),
            tracks: BTreeSet::new(),
            tracks_done: false,
            segment_seen: false,
            timecode_scale: TIMECODE_SCALE_NS,
            tags_before: 0,
        }
    }
}

impl Head {
    /// Takes an event before the first Cluster. `depth` is the number of masters open before a start or after an end.
    pub fn take(&mut self, event: &Event, depth: usize) -> Result<(), ErrorId> {
        if let Some(tags) = &mut self.section.tags {
            tags.observe(event);
        }
        match event {
            Event::Start(start) => self.start(start.id, &start.raw, depth)?,
            Event::Data(_) if self.first.is_empty() && depth == 0 => return Err(ErrorId::InvalidMkvData),
            Event::Data(data) => {
                self.section.bytes.extend_from_slice(&data.raw);
                self.value(data.id, &data.payload)?;
                if depth <= 1 {
                    self.close_section()?;
                }
            }
            Event::End(end) => {
                if end.id == ids::TRACKS {
                    self.tracks_done = true;
                }
                if depth <= 1 {
                    self.close_section()?;
                }
            }
        }
        let size = self.first.len() + self.section.bytes.len();
        if size > HEAD_BYTES_MAX { Err(ErrorId::InvalidMkvData) } else { Ok(()) }
    }

    fn start(&mut self, id: u32, raw: &[u8], depth: usize) -> Result<(), ErrorId> {
        match id {
            ids::EBML if !self.first.is_empty() => return Err(ErrorId::InvalidMkvData),
            ids::SEGMENT if self.segment_seen || self.first.is_empty() => {
                return Err(ErrorId::InvalidMkvData);
            }
            ids::TRACKS if self.tracks_done => return Err(ErrorId::InvalidMkvData),
            ids::SEGMENT => {
                self.segment_seen = true;
                self.section.bytes.extend_from_slice(&SEGMENT_OF_UNKNOWN_SIZE);
                return self.close_section();
            }
            ids::TAGS if depth == 1 => self.section.tags = Some(Tags::default()),
            _ => {}
        }
        self.section.bytes.extend_from_slice(raw);
        Ok(())
    }

    fn value(&mut self, id: u32, payload: &[u8]) -> Result<(), ErrorId> {
        match id {
            ids::TRACK_NUMBER => {
                let number = big_endian(payload).filter(|number| *number > 0);
                // Each track once.
                if !self.tracks.insert(number.ok_or(ErrorId::InvalidMkvData)?) {
                    return Err(ErrorId::InvalidMkvData);
                }
                if self.tracks.len() > TRACKS_MAX {
                    return Err(ErrorId::MoreThanAllowedTracksFound);
                }
            }
            ids::TIMECODE_SCALE => {
                let scale = big_endian(payload).filter(|scale| (1..=1_000_000_000_000).contains(scale));
                self.timecode_scale = scale.ok_or(ErrorId::InvalidMkvData)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close_section(&mut self) -> Result<(), ErrorId> {
        let Section { bytes, tags } = std::mem::take(&mut self.section);
        self.first.extend_from_slice(&bytes);
        if let Some(tags) = tags.filter(|tags| !tags.are_of_the_file()) {
            return tags.count_to(&mut self.tags_before);
        }
        self.common.extend_from_slice(&bytes);
        Ok(())
    }

    /// The first Cluster begins: the head must be complete.
    pub fn finish(&mut self) -> Result<HeadDone, ErrorId> {
        if self.tracks.is_empty() || !self.tracks_done {
            return Err(ErrorId::InvalidMkvData);
        }
        Ok(HeadDone {
            common: self.common.split().freeze(),
            first: Some(self.first.split().freeze()),
            tracks: std::mem::take(&mut self.tracks),
            timecode_scale: self.timecode_scale,
            tags_before: self.tags_before,
        })
    }
}

/// A complete head.
#[derive(Debug)]
pub struct HeadDone {
    common: Bytes,
    first: Option<Bytes>,
    /// The declared track numbers.
    pub tracks: BTreeSet<u64>,
    /// Nanoseconds in one timecode.
    pub timecode_scale: u64,
    tags_before: usize,
}

impl HeadDone {
    /// The head bytes of the next fragment, and how many tags are in them.
    pub fn for_next_fragment(&mut self) -> (Bytes, usize) {
        match self.first.take() {
            Some(first) => (first, std::mem::take(&mut self.tags_before)),
            None => (self.common.clone(), 0),
        }
    }
}
