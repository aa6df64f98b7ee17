//! One Cluster with the tags that follow it, while it comes in.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use streamfleet_media::{ack::ErrorId, ebml::Event, h264::sei, limits::FRAGMENT_MS_MAX, mkv::ids};

use super::{FrameSeen, big_endian, tags::Tags};

/// A whole fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The Cluster's own time, in the document's scale.
    pub timecode: u64,
    /// Nanoseconds in one timecode.
    pub timecode_scale: u64,
    /// Time from the first frame to the last, in milliseconds.
    pub length_ms: u64,
    /// Frames of all tracks.
    pub frames: usize,
    /// EBML head, Segment of unknown size, Info, Tracks; for the first fragment also the tags before it.
    pub head: Bytes,
    /// The Cluster and the tags after it, as they came; empty where the rules keep no media.
    pub body: Bytes,
    /// Bytes of header and body as they came.
    pub bytes: u64,
}

/// What an event did to the fragment.
#[derive(Debug)]
pub enum Step {
    /// Nothing to tell.
    None,
    /// The Cluster's time is known.
    Started(u64),
    /// A frame is whole.
    Frame(Block),
    /// An end-of-fragment tag closed it.
    Ended,
}

/// A frame with its payload.
#[derive(Debug)]
pub struct Block {
    track: u64,
    timecode: i64,
    payload: Bytes,
}

impl Block {
    /// What is told of it.
    pub fn seen(&self) -> FrameSeen {
        let Self { track, timecode, payload } = self;
        let number = sei::picture_number(payload);
        FrameSeen { track: *track, timecode: *timecode, bytes: payload.len(), number }
    }
}

#[derive(Debug)]
pub struct OpenFragment {
    head: Bytes,
    body: BytesMut,
    keeps_media: bool,
    /// Bytes that came of the body, kept or not.
    body_len: u64,
    timecode_scale: u64,
    timecode: Option<u64>,
    /// The earliest and the latest time of the frames so far.
    span: Option<(i64, i64)>,
    frames: usize,
    tracks_seen: BTreeSet<u64>,
    tags: Option<Tags>,
    tag_count: usize,
}

impl OpenFragment {
    /// A fragment whose Cluster begins with `raw`.
    pub fn new(head: Bytes, tag_count: usize, timecode_scale: u64, raw: &Bytes, keeps_media: bool) -> Self {
        let mut fragment = Self {
            head,
            body: BytesMut::new(),
            keeps_media,
            body_len: 0,
            timecode_scale,
            timecode: None,
            span: None,
            frames: 0,
            tracks_seen: BTreeSet::new(),
            tags: None,
            tag_count,
        };
        fragment.keep(raw);
        fragment
    }

    fn keep(&mut self, raw: &Bytes) {
        self.body_len += raw.len() as u64;
        if self.keeps_media {
            self.body.put_slice(raw);
        }
    }

    /// Takes an event inside the Cluster or of an element after it. `latest` is the latest time of earlier fragments.
    pub fn take(
        &mut self,
        event: &Event,
        declared: &BTreeSet<u64>,
        latest: Option<i64>,
    ) -> Result<Step, ErrorId> {
        if let Some(tags) = &mut self.tags {
            tags.observe(event);
        }
        match event {
            Event::Start(start) => {
                self.keep(&start.raw);
                if start.id == ids::TAGS {
                    self.tags = Some(Tags::default());
                }
                Ok(Step::None)
            }
            Event::Data(data) => {
                self.keep(&data.raw);
                match data.id {
                    ids::TIMECODE => self.set_timecode(&data.payload, latest),
                    ids::SIMPLE_BLOCK | ids::BLOCK => {
                        self.add_block(&data.payload, declared, latest).map(Step::Frame)
                    }
                    _ => Ok(Step::None),
                }
            }
            Event::End(end) if end.id == ids::TAGS => {
                let Some(tags) = self.tags.take() else { return Ok(Step::None) };
                tags.count_to(&mut self.tag_count)?;
                Ok(if tags.end_the_fragment() { Step::Ended } else { Step::None })
            }
            Event::End(_) => Ok(Step::None),
        }
    }

    fn set_timecode(&mut self, payload: &[u8], latest: Option<i64>) -> Result<Step, ErrorId> {
        let timecode = big_endian(payload).filter(|timecode| i64::try_from(*timecode).is_ok());
        let (Some(timecode), None) = (timecode, self.timecode) else { return Err(ErrorId::InvalidMkvData) };
        self.timecode = Some(timecode);
        if latest.is_some_and(|latest| timecode as i64 <= latest) {
            return Err(ErrorId::FragmentTimecodeLesserThanPrevious);
        }
        Ok(Step::Started(timecode))
    }

    /// Reads a block's own head (RFC 9559 §10): track number, time relative to the Cluster, flags.
    fn add_block(
        &mut self,
        payload: &Bytes,
        declared: &BTreeSet<u64>,
        latest: Option<i64>,
    ) -> Result<Block, ErrorId> {
        let (track, rest) = track_number(payload).ok_or(ErrorId::InvalidMkvData)?;
        let (Some(timecode), [high, low, _flags, content @ ..]) = (self.timecode, rest) else {
            return Err(ErrorId::InvalidMkvData);
        };
        if !declared.contains(&track) {
            return Err(ErrorId::TrackNumberMismatch);
        }
        let time = (timecode as i64).saturating_add(i64::from(i16::from_be_bytes([*high, *low])));
        // Nor may a frame, as a B-frame of an open group, lie before its own Cluster.
        if time < timecode as i64 || latest.is_some_and(|latest| time <= latest) {
            return Err(ErrorId::FragmentTimecodeLesserThanPrevious);
        }
        self.span = Some(self.span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
        self.frames += 1;
        self.tracks_seen.insert(track);
        if self.length_ms() > FRAGMENT_MS_MAX {
            return Err(ErrorId::MaxFragmentDurationReached);
        }
        Ok(Block { track, timecode: time, payload: payload.slice(payload.len() - content.len()..) })
    }

    /// Whether every declared track has a frame.
    pub fn check_complete(&self, declared: &BTreeSet<u64>) -> Result<(), ErrorId> {
        if self.timecode.is_none() {
            return Err(ErrorId::InvalidMkvData);
        }
        if declared.is_subset(&self.tracks_seen) { Ok(()) } else { Err(ErrorId::FramesMissingForTrack) }
    }

    /// The fragment as it is; `None` when not even its time is known.
    pub fn close(self) -> Option<Fragment> {
        Some(Fragment {
            timecode: self.timecode?,
            timecode_scale: self.timecode_scale,
            length_ms: self.length_ms(),
            frames: self.frames,
            bytes: self.size(),
            head: self.head,
            body: self.body.freeze(),
        })
    }

    /// The Cluster's own time.
    pub fn timecode(&self) -> Option<u64> {
        self.timecode
    }

    /// The latest time in it.
    pub fn latest(&self) -> Option<i64> {
        let cluster = self.timecode.map(|timecode| timecode as i64);
        cluster.max(self.span.map(|(_, to)| to))
    }

    /// Bytes so far, with the head.
    pub fn size(&self) -> u64 {
        self.head.len() as u64 + self.body_len
    }

    fn length_ms(&self) -> u64 {
        let (from, to) = self.span.unwrap_or_default();
        let nanos = u128::from(to.abs_diff(from)) * u128::from(self.timecode_scale);
        // A span is at most 2^16 timecodes of at most 10^12 ns.
        (nanos / 1_000_000) as u64
    }
}

/// Reads the variable-length number that opens a block.
fn track_number(payload: &[u8]) -> Option<(u64, &[u8])> {
    let first = *payload.first()?;
    let length = first.leading_zeros() as usize + 1;
    let (number, rest) = payload.split_at_checked(length).filter(|_| length <= 8)?;
    let value = big_endian(number)?;
    Some((value & !(1 << (7 * length)), rest))
}
