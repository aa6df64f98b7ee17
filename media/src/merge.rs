//! Joins the one-fragment documents of `GetMedia` to one playable file.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ebml::{Data, End, Event, ReadError, Reader, Start, varint};
use crate::limits::HEADER_BYTES_MAX;
use crate::mkv::ids;

/// Why documents cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The elements cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What precedes a Cluster is larger than any header.
    #[error(
        "more than {HEADER_BYTES_MAX} bytes precede the first cluster of the document at offset {offset}"
    )]
    HeaderTooLarge {
        /// Where the document begins.
        offset: u64,
    },
}

/// Joins documents: [`push`](Self::push) bytes, take output with [`next`](Self::next) until it returns `None`, call
/// [`finish`](Self::finish) at the end. Input is copied as it is, but for headers that repeat the one before.
///
/// The rules are those of the Java library's `OutputSegmentMerger`: a document whose EBML header and Tracks equal the
/// previous one's loses its header, so that its Cluster goes on in the same Segment, provided that its time is later than
/// the last Cluster's; otherwise its header is written, and a new Segment begins. A Segment of known size becomes one of
/// unknown size. Tags stay. Unlike the Java library, Tags that precede the Tracks do not hide that those are the same.
#[derive(Debug, Default)]
pub struct SegmentMerger {
    reader: Reader,
    state: State,
    document: Document,
    /// What the header written last is recognised by.
    written: Option<BytesMut>,
    /// Time of the Cluster written last.
    last_timecode: Option<u64>,
    segments: u64,
    ready: VecDeque<Bytes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before the first Cluster of a document: everything is held, since its header may not be needed.
    #[default]
    Holding,
    /// The first Cluster has begun, its time has not come.
    ClusterBegun,
    /// What has been decided is being copied.
    Copying,
}

/// The beginning of a document, as far as it is held.
#[derive(Debug, Default)]
struct Document {
    offset: u64,
    size: usize,
    /// EBML header, Segment, Info, Tracks, …, with whether the piece is of Tags.
    pieces: Vec<(Bytes, bool)>,
    /// Ids and values of the EBML header and the Tracks.
    identity: BytesMut,
    /// The master of the first or second level that is being read.
    within: Option<u32>,
}

impl SegmentMerger {
    /// A merger at the beginning of its output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: Bytes) {
        self.reader.push(bytes);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.reader.finish();
    }

    /// Segments written so far: more than one when tracks changed or time went back.
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// The next bytes of the output; `None` when more input is needed, or all is written after [`finish`](Self::finish).
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Bytes>, MergeError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            match self.reader.next()? {
                None => return Ok(None),
                Some(Event::Start(start)) => self.start(&start)?,
                Some(Event::Data(data)) => self.value(&data)?,
                Some(Event::End(end)) => self.end(end),
            }
        }
    }

    fn start(&mut self, start: &Start) -> Result<(), MergeError> {
        if start.id == ids::EBML {
            self.begin_document(start.offset);
        }
        let raw = if start.id == ids::SEGMENT { unknown_size(start) } else { start.raw.clone() };
        if self.state == State::Copying {
            self.ready.push_back(raw);
            return Ok(());
        }
        if start.id == ids::CLUSTER {
            self.state = State::ClusterBegun;
        }
        self.document.enter(start.id);
        self.document.hold(raw)
    }

    fn value(&mut self, data: &Data) -> Result<(), MergeError> {
        if data.id == ids::TIMECODE && self.state == State::ClusterBegun {
            self.decide(Some(varint::unsigned(&data.payload)));
        } else if data.id == ids::TIMECODE {
            self.last_timecode = Some(varint::unsigned(&data.payload));
        }
        if self.state == State::Copying {
            self.ready.push_back(data.raw.clone());
            return Ok(());
        }
        self.document.identify(data);
        self.document.hold(data.raw.clone())
    }

    fn end(&mut self, end: End) {
        self.document.leave(end.id);
        if matches!(end.id, ids::SEGMENT | ids::CLUSTER) && self.state != State::Copying {
            // Tags alone, or a Cluster without a time.
            self.decide(None);
        }
    }

    fn begin_document(&mut self, offset: u64) {
        self.state = State::Holding;
        self.document = Document { offset, ..Document::default() };
    }

    /// Writes what has been held, with or without the header.
    fn decide(&mut self, timecode: Option<u64>) {
        let document = std::mem::take(&mut self.document);
        let same_tracks = self.written.as_ref() == Some(&document.identity);
        let goes_back = timecode.zip(self.last_timecode).is_some_and(|(this, last)| this <= last);
        let goes_on = same_tracks && !goes_back;
        self.ready.extend(
            document.pieces.into_iter().filter(|(_, stays)| *stays || !goes_on).map(|(piece, _)| piece),
        );
        if !goes_on {
            self.segments += 1;
            self.written = Some(document.identity);
        }
        if timecode.is_some() {
            self.last_timecode = timecode;
        }
        self.state = State::Copying;
    }
}

impl Document {
    fn enter(&mut self, id: u32) {
        match ids::describe(id).and_then(|description| description.level) {
            Some(0) if id != ids::SEGMENT => self.within = Some(id),
            Some(1) => self.within = Some(id),
            _ => {}
        }
        if self.is_identity() {
            self.identity.put_u32(id);
        }
    }

    fn leave(&mut self, id: u32) {
        if self.within == Some(id) {
            self.within = None;
        }
    }

    fn identify(&mut self, data: &Data) {
        if self.is_identity() && !matches!(data.id, ids::VOID | ids::CRC_32) {
            self.identity.put_u32(data.id);
            self.identity.put_u64(data.payload.len() as u64);
            self.identity.put_slice(&data.payload);
        }
    }

    fn is_identity(&self) -> bool {
        matches!(self.within, Some(ids::EBML | ids::TRACKS))
    }

    fn hold(&mut self, piece: Bytes) -> Result<(), MergeError> {
        self.size += piece.len();
        if self.size > HEADER_BYTES_MAX {
            return Err(MergeError::HeaderTooLarge { offset: self.offset });
        }
        let stays = matches!(self.within, Some(ids::TAGS | ids::CLUSTER));
        self.pieces.push((piece, stays));
        Ok(())
    }
}

/// The beginning of a Segment, with its size unknown in eight bytes where it was known.
fn unknown_size(segment: &Start) -> Bytes {
    if segment.size.is_none() {
        return segment.raw.clone();
    }
    let mut raw = BytesMut::from(&ids::SEGMENT.to_be_bytes()[..]);
    raw.put_slice(&varint::UNKNOWN_IN_EIGHT_BYTES);
    raw.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mkv::{CODEC_H264, Demuxer, Item, Track, write};

    fn document(width: u64, timecode: u64, frame: &'static [u8]) -> Bytes {
        let mut out = BytesMut::new();
        out.put(write::header(&[Track::video(CODEC_H264, Bytes::from_static(b"private"), width, 720)]));
        out.put(write::tags(&[("before", "1")]));
        out.put(write::cluster_start(timecode));
        out.put(write::simple_block_prefix(1, 0, true, frame.len()));
        out.put_slice(frame);
        out.put(write::tags(&[("after", "2")]));
        out.freeze()
    }

    fn merge(documents: &[Bytes]) -> (Bytes, u64) {
        let mut merger = SegmentMerger::new();
        let mut out = BytesMut::new();
        for document in documents {
            merger.push(document.clone());
            while let Some(bytes) = merger.next().unwrap() {
                out.put(bytes);
            }
        }
        merger.finish();
        while let Some(bytes) = merger.next().unwrap() {
            out.put(bytes);
        }
        (out.freeze(), merger.segments())
    }

    fn items(document: &Bytes) -> Vec<Item> {
        let mut demuxer = Demuxer::new();
        demuxer.push(document.clone());
        demuxer.finish();
        std::iter::from_fn(|| demuxer.next().unwrap()).collect()
    }

    #[test]
    fn fragments_of_the_same_tracks_share_one_segment() {
        let (merged, segments) = merge(&[document(1280, 1000, b"a"), document(1280, 3000, b"b")]);
        let items = items(&merged);
        assert_eq!(segments, 1);
        assert_eq!(items.iter().filter(|item| matches!(item, Item::Document)).count(), 1);
        let times: Vec<_> = items
            .iter()
            .filter_map(|item| if let Item::Frame(frame) = item { Some(frame.timecode) } else { None })
            .collect();
        assert_eq!(times, [1000, 3000]);
        assert_eq!(items.iter().filter(|item| matches!(item, Item::Tag { .. })).count(), 4);
    }

    #[test]
    fn other_tracks_begin_a_segment() {
        let documents = [document(1280, 1000, b"a"), document(1920, 3000, b"b"), document(1920, 5000, b"c")];
        let (merged, segments) = merge(&documents);
        assert_eq!(segments, 2);
        let widths: Vec<_> = items(&merged)
            .iter()
            .filter_map(|item| {
                if let Item::Header(header) = item {
                    Some(header.tracks[0].video.unwrap().width)
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(widths, [1280, 1920]);
    }

    #[test]
    fn time_that_does_not_advance_begins_a_segment() {
        assert_eq!(merge(&[document(1280, 3000, b"a"), document(1280, 3000, b"b")]).1, 2);
        assert_eq!(merge(&[document(1280, 3000, b"a"), document(1280, 2000, b"b")]).1, 2);
        assert_eq!(merge(&[document(1280, 3000, b"a"), document(1280, 3001, b"b")]).1, 1);
    }

    #[test]
    fn a_single_document_stays_as_it_is() {
        let whole = document(1280, 1000, b"a");
        assert_eq!(merge(std::slice::from_ref(&whole)).0, whole);
    }

    #[test]
    fn a_segment_of_known_size_becomes_one_of_unknown_size() {
        let mut content = BytesMut::new();
        content.put(write::cluster_start(7));
        let mut known = BytesMut::new();
        write::element(&mut known, ids::EBML, &[]);
        write::element(&mut known, ids::SEGMENT, &content);
        let (merged, _) = merge(&[known.freeze()]);
        let mut expected = BytesMut::new();
        write::element(&mut expected, ids::EBML, &[]);
        expected.put_u32(ids::SEGMENT);
        expected.put_slice(&varint::UNKNOWN_IN_EIGHT_BYTES);
        expected.put(content);
        assert_eq!(merged, expected);
    }

    #[test]
    fn an_endless_header_is_refused() {
        let mut merger = SegmentMerger::new();
        merger.push(write::header(&[]));
        let tags = write::tags(&[("name", &"x".repeat(1 << 16))]);
        let error = (0..1000).find_map(|_| {
            merger.push(tags.clone());
            loop {
                match merger.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            }
        });
        assert_eq!(error, Some(MergeError::HeaderTooLarge { offset: 0 }));
    }
}
