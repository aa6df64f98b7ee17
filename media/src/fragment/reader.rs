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

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::ebml::ReadError;
    use crate::mkv::{CODEC_H264, Track, write};

    fn document(before: &[(&str, &str)], frames: &[&[u8]], after: &[(&str, &str)]) -> Bytes {
        let mut out = BytesMut::from(&write::header(&[Track::video(CODEC_H264, Bytes::new(), 640, 360)])[..]);
        out.put(write::tags(before));
        if !frames.is_empty() {
            out.put(write::cluster_start(1000));
        }
        for frame in frames {
            out.put(write::simple_block_prefix(1, 0, true, frame.len()));
            out.put_slice(frame);
        }
        if !after.is_empty() {
            out.put(write::tags(after));
        }
        out.freeze()
    }

    fn read(documents: &[Bytes]) -> Result<Vec<Fragment>, FragmentError> {
        let mut reader = FragmentReader::new();
        for document in documents {
            reader.push(document.clone());
        }
        reader.finish();
        let mut fragments = Vec::new();
        while let Some(fragment) = reader.next()? {
            fragments.push(fragment);
        }
        Ok(fragments)
    }

    const ARCHIVED: [(&str, &str); 3] = [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "12"),
        ("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "2.5"),
        ("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP", "1.5"),
    ];

    #[test]
    fn fragments_of_an_archive_end_with_their_document() {
        let one = document(&ARCHIVED, &[b"a", b"b"], &[]);
        let fragments = read(&[one.clone(), one]).unwrap();
        assert_eq!(fragments.len(), 2);
        for fragment in fragments {
            assert_eq!(fragment.metadata.number.as_ref().map(ToString::to_string).as_deref(), Some("12"));
            assert_eq!(
                (fragment.metadata.server_timestamp, fragment.metadata.producer_timestamp),
                (Some(2500), Some(1500))
            );
            assert_eq!((fragment.frames.len(), fragment.timecode), (2, Some(1000)));
            assert!(!fragment.metadata.is_complete());
        }
    }

    #[test]
    fn an_error_of_the_service_is_a_fragment_without_media() {
        let tags = [
            ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "12"),
            ("AWS_KINESISVIDEO_ERROR_ID", "3002"),
            ("AWS_KINESISVIDEO_ERROR_CODE", "INTERNAL_ERROR"),
        ];
        let fragments = read(&[document(&tags, &[], &[])]).unwrap();
        let metadata = &fragments[0].metadata;
        assert!(metadata.is_error());
        assert_eq!((metadata.error_id, metadata.error_code.as_deref()), (Some(3002), Some("INTERNAL_ERROR")));
        assert!(fragments[0].frames.is_empty());
    }

    #[test]
    fn tags_of_the_producer_after_the_cluster_are_the_fragments() {
        let after = [
            ("motion", "left"),
            ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "0"),
            ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", "12"),
            ("motion", "right"),
        ];
        let fragments =
            read(&[document(&ARCHIVED, &[b"a"], &after), document(&ARCHIVED, &[b"a"], &[])]).unwrap();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        assert_eq!(fragments[0].tags, [("motion", "left"), ("motion", "right")].map(owned));
        assert!(fragments[0].metadata.is_complete());
        assert!(fragments[1].tags.is_empty());
    }

    #[test]
    fn a_frame_that_is_cut_short_is_an_error() {
        let whole = document(&ARCHIVED, &[b"abcdef"], &[]);
        let error = read(&[whole.slice(..whole.len() - 1)]).unwrap_err();
        assert!(
            matches!(error, FragmentError::Demux(DemuxError::Read(ReadError::Truncated { .. }))),
            "{error}"
        );
    }

    #[test]
    fn a_fragment_without_end_is_refused() {
        let mut reader = FragmentReader { limit: 100_000, ..FragmentReader::new() };
        reader.push(document(&ARCHIVED, &[b"a"], &[]).slice(..));
        let block = [&write::simple_block_prefix(1, 0, false, 0)[..]].concat();
        reader.push(document(&[], &[b"a"], &[]));
        let error = (0..100_000).find_map(|_| {
            reader.push(Bytes::from(block.clone()));
            loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            }
        });
        assert!(matches!(error, Some(FragmentError::TooLarge { limit: 100_000, .. })), "{error:?}");
    }
}
