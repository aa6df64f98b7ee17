//! From the bytes of `GetMedia` to fragments.

use bytes::Bytes;

use super::FragmentMetadata;
use crate::limits::FRAGMENT_BYTES_MAX;
use crate::mkv::{DemuxError, Demuxer, Frame, Header, Item};

/// A fragment: one document of the stream, its first Cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// What the service says about it.
    pub metadata: FragmentMetadata,
    /// Time scale and tracks.
    pub header: Header,
    /// Time of its Cluster, in units of the header's scale; `None` where there is no Cluster (an error, or tags alone).
    pub timecode: Option<i64>,
    /// Its frames in the order of the document.
    pub frames: Vec<Frame>,
    /// The producer's own tags, in their order.
    pub tags: Vec<(String, String)>,
}

/// Why the bytes cannot be read as fragments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The document cannot be read.
    #[error(transparent)]
    Demux(#[from] DemuxError),
    /// More than the service stores in one fragment.
    #[error("the fragment at offset {offset} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// Position at which the limit was passed.
        offset: u64,
        /// The limit.
        limit: u64,
    },
}

/// Reads fragments from the body of `GetMedia` or `GetMediaForFragmentList`: [`push`](Self::push) bytes, take fragments
/// with [`next`](Self::next) until it returns `None`, call [`finish`](Self::finish) at the end of the body.
///
/// A fragment is given as soon as it is complete: with the tags that `GetMedia` writes behind it, not when the next
/// begins. Where these tags do not come (archives), it is given at the end of its Segment. At most one fragment is held.
#[derive(Debug)]
pub struct FragmentReader {
    demuxer: Demuxer,
    current: Option<Fragment>,
    size: u64,
    limit: u64,
}

impl Default for FragmentReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FragmentReader {
    /// A reader that holds at most twice [`FRAGMENT_BYTES_MAX`]: clusters that pass ingestion are below it, and tags add
    /// little.
    pub fn new() -> Self {
        Self { demuxer: Demuxer::new(), current: None, size: 0, limit: 2 * FRAGMENT_BYTES_MAX }
    }

    /// Adds the next bytes of the body.
    pub fn push(&mut self, bytes: Bytes) {
        self.demuxer.push(bytes);
    }

    /// Says that the body has ended. A fragment that was cut short becomes an error of [`next`](Self::next) where that
    /// can be seen; a cut between two frames cannot: check [`FragmentMetadata::is_complete`] for `GetMedia`.
    pub fn finish(&mut self) {
        self.demuxer.finish();
    }

    /// The next fragment; `None` when more bytes are needed, or everything has been read after [`finish`](Self::finish).
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Fragment>, FragmentError> {
        while let Some(item) = self.demuxer.next()? {
            if let Some(fragment) = self.take(item)? {
                return Ok(Some(fragment));
            }
        }
        Ok(None)
    }

    fn take(&mut self, item: Item) -> Result<Option<Fragment>, FragmentError> {
        match item {
            Item::Document => {
                self.size = 0;
                self.current = Some(Fragment::empty());
            }
            Item::SegmentEnd => return Ok(self.current.take()),
            Item::TagsEnd if self.current.as_ref().is_some_and(|current| current.metadata.is_complete()) => {
                return Ok(self.current.take());
            }
            item => self.collect(item)?,
        }
        Ok(None)
    }

    fn collect(&mut self, item: Item) -> Result<(), FragmentError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        match item {
            Item::Header(header) => current.header = header,
            Item::Cluster { timecode } => current.timecode = current.timecode.or(Some(timecode)),
            Item::Frame(frame) => {
                // Empty frames take memory too.
                self.size += (frame.payload.len() + size_of::<Frame>()) as u64;
                current.frames.push(frame);
            }
            Item::Tag { name, value } => {
                if !current.metadata.take_tag(&name, &value) {
                    self.size += (name.len() + value.len() + size_of::<(String, String)>()) as u64;
                    current.tags.push((name, value));
                }
            }
            Item::Document | Item::TagsEnd | Item::ClusterEnd | Item::SegmentEnd => {}
        }
        if self.size > self.limit {
            return Err(FragmentError::TooLarge { offset: self.demuxer.offset(), limit: self.limit });
        }
        Ok(())
    }
}

impl Fragment {
    fn empty() -> Self {
        Self {
            metadata: FragmentMetadata::default(),
            header: Header { timecode_scale: crate::limits::TIMECODE_SCALE_NS, tracks: Vec::new() },
            timecode: None,
            frames: Vec::new(),
            tags: Vec::new(),
        }
    }
}
