//! From elements to media: headers, clusters, frames and tags, as they come.

use std::collections::VecDeque;

use bytes::Bytes;

use super::block::{Block, BlockError};
use super::header::HeaderBuilder;
use super::{Header, ids};
use crate::ebml::{Data, Event, ReadError, Reader, varint};
use crate::limits::HEADER_BYTES_MAX;

/// One thing found in a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A new document begins (an EBML header).
    Document,
    /// The head of the Segment is complete: its first Cluster begins, or it ends without one.
    Header(Header),
    /// A Cluster begins; its timecode is in units of the header's scale.
    Cluster {
        /// Time of the cluster.
        timecode: i64,
    },
    /// A frame, in the order of the document.
    Frame(Frame),
    /// A `SimpleTag`; before the first Cluster or after one, as its place among the items says.
    Tag {
        /// `TagName`.
        name: String,
        /// `TagString`; empty where there is none.
        value: String,
    },
    /// A Tags element has ended.
    TagsEnd,
    /// The Cluster has ended.
    ClusterEnd,
    /// The Segment has ended.
    SegmentEnd,
}

/// A frame of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Number of its track.
    pub track: u64,
    /// Presentation time, the cluster's included, in units of the header's scale. Laced frames share their block's.
    pub timecode: i64,
    /// Whether it can be decoded without others: the key flag, or a `BlockGroup` without references.
    pub key: bool,
    /// The frame's bytes.
    pub payload: Bytes,
}

/// Why a document cannot be read as Matroska.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemuxError {
    /// The elements cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A block cannot be taken apart.
    #[error("{error} (at offset {offset})")]
    Block {
        /// What is wrong.
        error: BlockError,
        /// Where the block begins.
        offset: u64,
    },
    /// What precedes the first Cluster is larger than any header.
    #[error("more than {HEADER_BYTES_MAX} bytes of header before offset {offset}")]
    HeaderTooLarge {
        /// Where the limit was passed.
        offset: u64,
    },
    /// A block without a Cluster, or before the Cluster's timecode.
    #[error("the block at offset {offset} has no cluster time")]
    BlockWithoutTime {
        /// Where the block begins.
        offset: u64,
    },
}

/// Takes a document apart as it comes: [`push`](Self::push) bytes, take items with [`next`](Self::next) until it
/// returns `None`, call [`finish`](Self::finish) at the end of the input. Several documents may follow each other.
#[derive(Debug, Default)]
pub struct Demuxer {
    reader: Reader,
    header: Option<HeaderBuilder>,
    cluster: Option<ClusterState>,
    group: Option<Group>,
    tag: Option<(String, String)>,
    ready: VecDeque<Item>,
}

#[derive(Debug, Clone, Copy)]
enum ClusterState {
    /// The Cluster has begun; its timecode has not come yet.
    Begun,
    At(i64),
}

#[derive(Debug, Default)]
struct Group {
    block: Option<(Block, u64)>,
    has_reference: bool,
}

impl Demuxer {
    /// A demuxer with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// A demuxer that takes elements of at most `limit` bytes.
    pub fn with_limit(limit: u64) -> Self {
        Self { reader: Reader::with_limit(limit), ..Self::default() }
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: Bytes) {
        self.reader.push(bytes);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.reader.finish();
    }

    /// Position of the next byte that has not been looked at.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// The next item; `None` when more bytes are needed, or everything has been read after [`finish`](Self::finish).
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, DemuxError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match self.reader.next()? {
                None => return Ok(None),
                Some(Event::Start(start)) => self.start(start.id),
                Some(Event::End(end)) => self.end(end.id)?,
                Some(Event::Data(data)) => self.value(&data)?,
            }
        }
    }

    fn start(&mut self, id: u32) {
        match id {
            ids::EBML => self.ready.push_back(Item::Document),
            ids::SEGMENT => self.header = Some(HeaderBuilder::default()),
            ids::CLUSTER => {
                self.complete_header();
                self.cluster = Some(ClusterState::Begun);
            }
            ids::BLOCK_GROUP => self.group = Some(Group::default()),
            ids::SIMPLE_TAG => {
                self.complete_tag();
                self.tag = Some(Default::default());
            }
            _ => {
                if let Some(header) = &mut self.header {
                    header.start(id);
                }
            }
        }
    }

    fn end(&mut self, id: u32) -> Result<(), DemuxError> {
        match id {
            ids::SEGMENT => {
                self.complete_header();
                self.ready.push_back(Item::SegmentEnd);
            }
            ids::CLUSTER => {
                self.cluster = None;
                self.ready.push_back(Item::ClusterEnd);
            }
            ids::BLOCK_GROUP => {
                if let Some(Group { block: Some((block, offset)), has_reference }) = self.group.take() {
                    self.block(block, offset, !has_reference)?;
                }
            }
            ids::SIMPLE_TAG => self.complete_tag(),
            ids::TAGS => self.ready.push_back(Item::TagsEnd),
            _ => {
                if let Some(header) = &mut self.header {
                    header.end(id);
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, data: &Data) -> Result<(), DemuxError> {
        let offset = data.offset;
        match data.id {
            ids::TIMECODE if self.cluster.is_some() => {
                let timecode = i64::try_from(varint::unsigned(&data.payload)).unwrap_or(i64::MAX);
                self.cluster = Some(ClusterState::At(timecode));
                self.ready.push_back(Item::Cluster { timecode });
            }
            ids::SIMPLE_BLOCK => {
                let block = parse(data)?;
                let key = block.is_key();
                self.block(block, offset, key)?;
            }
            ids::BLOCK => {
                let block = parse(data)?;
                match &mut self.group {
                    Some(group) => group.block = Some((block, offset)),
                    None => return Err(DemuxError::BlockWithoutTime { offset }),
                }
            }
            ids::REFERENCE_BLOCK => {
                if let Some(group) = &mut self.group {
                    group.has_reference = true;
                }
            }
            ids::TAG_NAME => {
                if let Some((name, _)) = &mut self.tag {
                    *name = varint::text(&data.payload);
                }
            }
            ids::TAG_STRING => {
                if let Some((_, value)) = &mut self.tag {
                    *value = varint::text(&data.payload);
                }
            }
            _ => {
                if let Some(header) = &mut self.header
                    && header.value(data) > HEADER_BYTES_MAX
                {
                    return Err(DemuxError::HeaderTooLarge { offset });
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, block: Block, offset: u64, key: bool) -> Result<(), DemuxError> {
        let Some(ClusterState::At(cluster)) = self.cluster else {
            return Err(DemuxError::BlockWithoutTime { offset });
        };
        let timecode = cluster.saturating_add(i64::from(block.timecode));
        let track = block.track;
        self.ready.extend(
            block.frames.into_iter().map(|payload| Item::Frame(Frame { track, timecode, key, payload })),
        );
        Ok(())
    }

    fn complete_header(&mut self) {
        if let Some(mut header) = self.header.take() {
            self.ready.push_back(Item::Header(header.build()));
        }
    }

    /// Tags may hold further tags: the outer one is given before the inner.
    fn complete_tag(&mut self) {
        if let Some((name, value)) = self.tag.take() {
            self.ready.push_back(Item::Tag { name, value });
        }
    }
}

fn parse(data: &Data) -> Result<Block, DemuxError> {
    Block::parse(&data.payload).map_err(|error| DemuxError::Block { error, offset: data.offset })
}
