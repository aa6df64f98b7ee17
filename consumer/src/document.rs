//! One recalled fragment as the service delivers it, a Matroska document, and how it is placed in a clip.
//!
//! Clusters come with the timecodes that their session wrote: absolute in one, relative to its own start in another. In a
//! clip they all count from the first fragment, by the producer times of the archive, so that fragments of several
//! sessions make one timeline and gaps keep their length. Everything else stays as it is, byte for byte, save what would
//! be wrong after that: sizes of clusters, positions, checksums, the producer's own duration and date.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use streamfleet_media::ebml::{Event, ReadError, Reader, varint};
use streamfleet_media::fragment::FragmentMetadata;
use streamfleet_media::limits::{FRAGMENT_BYTES_MAX, TIMECODE_SCALE_NS};
use streamfleet_media::mkv::{ids, write};

/// What one document may hold: a fragment and the tags around it.
const DOCUMENT_BYTES_MAX: u64 = 2 * FRAGMENT_BYTES_MAX;

/// Matroska counts `DateUTC` from 2001-01-01T00:00:00Z (RFC 8794, 7.6).
const MATROSKA_EPOCH: Timestamp = Timestamp::constant(978_307_200, 0);

/// Why a body is not a row of fragments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("a fragment of more than {DOCUMENT_BYTES_MAX} bytes, at offset {offset}")]
    TooLarge { offset: u64 },
    #[error("the body does not begin with a Matroska document but with element 0x{id:X}")]
    NoDocument { id: u32 },
}

/// Cuts the body of `GetMediaForFragmentList` into documents. A document is given when the next one begins, or when the
/// body has come to its end; at most one is held.
#[derive(Debug, Default)]
pub(crate) struct DocumentReader {
    reader: Reader,
    current: Document,
    finished: bool,
}

impl DocumentReader {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.reader.push(bytes);
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.reader.finish();
    }

    /// The next document; `None` when more bytes are needed, or all have been given after [`finish`](Self::finish).
    pub(crate) fn next(&mut self) -> Result<Option<Document>, DocumentError> {
        while let Some(event) = self.reader.next()? {
            let begins = matches!(&event, Event::Start(start) if start.id == ids::EBML);
            let complete =
                (begins && !self.current.events.is_empty()).then(|| std::mem::take(&mut self.current));
            if self.current.events.is_empty() && !begins {
                return Err(DocumentError::NoDocument { id: id_of(&event) });
            }
            self.current.take(event);
            if self.current.bytes > DOCUMENT_BYTES_MAX {
                return Err(DocumentError::TooLarge { offset: self.reader.offset() });
            }
            if complete.is_some() {
                return Ok(complete);
            }
        }
        let rest = self.finished && !self.current.events.is_empty();
        Ok(rest.then(|| std::mem::take(&mut self.current)))
    }
}

fn id_of(event: &Event) -> u32 {
    match event {
        Event::Start(start) => start.id,
        Event::Data(data) => data.id,
        Event::End(end) => end.id,
    }
}

/// One document: a fragment, or an error of the service in its place.
#[derive(Debug, Default)]
pub(crate) struct Document {
    events: Vec<Event>,
    bytes: u64,
    /// What the service says about it.
    pub(crate) metadata: FragmentMetadata,
    /// Blocks of all tracks.
    pub(crate) blocks: u64,
    timecode_scale: Option<u64>,
    tag_name: String,
}

/// Where a document goes in a clip.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    /// From the beginning of the clip to the document's first cluster.
    pub(crate) offset: Duration,
    /// The time of the clip's beginning.
    pub(crate) clip_start: Timestamp,
    /// The length of the whole clip.
    pub(crate) clip_length: Duration,
}

impl Document {
    fn take(&mut self, event: Event) {
        match &event {
            Event::Start(start) => self.bytes += start.raw.len() as u64,
            Event::Data(data) => {
                self.bytes += data.raw.len() as u64;
                match data.id {
                    ids::TIMECODE_SCALE => self.timecode_scale = Some(varint::unsigned(&data.payload)),
                    ids::SIMPLE_BLOCK | ids::BLOCK => self.blocks += 1,
                    ids::TAG_NAME => self.tag_name = varint::text(&data.payload),
                    ids::TAG_STRING => {
                        // The producer's own tags stay in the document and are of no concern here.
                        self.metadata.take_tag(&self.tag_name, &varint::text(&data.payload));
                    }
                    _ => {}
                }
            }
            Event::End(_) => {}
        }
        self.events.push(event);
    }

    /// The document's bytes as they belong into a clip.
    pub(crate) fn placed(&self, placement: Placement) -> Bytes {
        let scale = self.timecode_scale.filter(|scale| *scale > 0).unwrap_or(TIMECODE_SCALE_NS);
        let mut out = BytesMut::with_capacity(self.bytes as usize + 64);
        let mut clusters = ClusterTimes { first: None, target: units(placement.offset, scale) };
        let mut info = BytesMut::new();
        let mut open: Vec<u32> = Vec::new();
        for event in &self.events {
            let kept = !open.iter().any(|id| matches!(*id, ids::SEEK_HEAD | ids::CUES));
            match event {
                Event::Start(start) => {
                    open.push(start.id);
                    match start.id {
                        ids::SEEK_HEAD | ids::CUES | ids::INFO => {}
                        // What is in them changes, so that their sizes do.
                        ids::SEGMENT | ids::CLUSTER => {
                            out.extend_from_slice(&start.id.to_be_bytes());
                            out.extend_from_slice(&varint::UNKNOWN_IN_EIGHT_BYTES);
                        }
                        _ if kept => out.extend_from_slice(&start.raw),
                        _ => {}
                    }
                }
                Event::Data(data) => match open.last().copied().unwrap_or_default() {
                    ids::INFO if !is_outdated(data.id) => info.extend_from_slice(&data.raw),
                    ids::INFO => {}
                    ids::SEGMENT | ids::CLUSTER if is_outdated(data.id) => {}
                    ids::CLUSTER if data.id == ids::TIMECODE => {
                        let timecode = clusters.place(varint::unsigned(&data.payload));
                        write::element(&mut out, ids::TIMECODE, &timecode.to_be_bytes());
                    }
                    _ if kept => out.extend_from_slice(&data.raw),
                    _ => {}
                },
                Event::End(end) => {
                    open.pop();
                    if end.id == ids::INFO {
                        let mut content = std::mem::take(&mut info);
                        describe_clip(&mut content, placement, scale);
                        write::element(&mut out, ids::INFO, &content);
                    }
                }
            }
        }
        out.freeze()
    }
}

/// Whether an element of a Segment, a Cluster or an Info would be wrong in a clip, or is only padding.
const fn is_outdated(id: u32) -> bool {
    matches!(id, ids::CRC_32 | ids::VOID | ids::POSITION | ids::PREV_SIZE | ids::DURATION | ids::DATE_UTC)
}

/// Moves a document's clusters so that the first one is at its target; the distances between them stay.
struct ClusterTimes {
    first: Option<u64>,
    target: u64,
}

impl ClusterTimes {
    fn place(&mut self, timecode: u64) -> u64 {
        let first = *self.first.get_or_insert(timecode);
        self.target.saturating_add(timecode.saturating_sub(first))
    }
}

/// A length in units of a time scale.
fn units(length: Duration, scale: u64) -> u64 {
    u64::try_from(length.as_nanos() / u128::from(scale)).unwrap_or(u64::MAX)
}

/// Duration and date of the whole clip: players take both from the first document.
fn describe_clip(content: &mut BytesMut, placement: Placement, scale: u64) {
    let length = units(placement.clip_length, scale) as f64;
    write::element(content, ids::DURATION, &length.to_be_bytes());
    let since_epoch = placement.clip_start.duration_since(MATROSKA_EPOCH).as_nanos();
    if let Ok(nanoseconds) = i64::try_from(since_epoch) {
        write::element(content, ids::DATE_UTC, &nanoseconds.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use streamfleet_media::fragment::{Fragment, FragmentReader};
    use streamfleet_media::merge::SegmentMerger;
    use streamfleet_media::mkv::{Demuxer, Item};

    use super::*;

    /// Two captures of `GetMedia`, made by the vendor: known and unknown cluster sizes, relative timecodes.
    const CAPTURES: [(&str, &[u8], usize, usize); 2] = [
        ("output_get_media", include_bytes!("../../tests/fixtures/captures/output_get_media.mkv"), 5, 300),
        ("test_mixed_tags", include_bytes!("../../tests/fixtures/captures/test_mixed_tags.mkv"), 10, 100),
    ];

    fn documents(bytes: &[u8], chunk: usize) -> Vec<Document> {
        let mut reader = DocumentReader::default();
        let mut documents = Vec::new();
        for part in bytes.chunks(chunk) {
            reader.push(Bytes::copy_from_slice(part));
            while let Some(document) = reader.next().unwrap() {
                documents.push(document);
            }
        }
        reader.finish();
        while let Some(document) = reader.next().unwrap() {
            documents.push(document);
        }
        documents
    }

    fn placement(offset_ms: u64) -> Placement {
        Placement {
            offset: Duration::from_millis(offset_ms),
            clip_start: Timestamp::from_second(1_700_000_000).unwrap(),
            clip_length: Duration::from_millis(61_500),
        }
    }

    fn fragment(bytes: Bytes) -> Fragment {
        let mut reader = FragmentReader::new();
        reader.push(bytes);
        reader.finish();
        reader.next().unwrap().unwrap()
    }

    #[test]
    fn a_body_is_cut_into_documents_however_it_arrives() {
        for (name, bytes, count, blocks) in CAPTURES {
            for chunk in [7, 4_096, bytes.len()] {
                let documents = documents(bytes, chunk);
                assert_eq!(documents.len(), count, "{name} in chunks of {chunk}");
                assert_eq!(
                    documents.iter().map(|document| document.blocks).sum::<u64>(),
                    blocks as u64,
                    "{name}"
                );
                assert!(documents.iter().all(|document| document.metadata.number.is_some()), "{name}");
            }
        }
    }

    #[test]
    fn placing_moves_the_times_and_keeps_frames_tracks_and_tags() {
        for (name, bytes, ..) in CAPTURES {
            for document in documents(bytes, bytes.len()) {
                let before = fragment(document.placed(Placement { offset: Duration::ZERO, ..placement(0) }));
                let after = fragment(document.placed(placement(123_456)));
                assert_eq!(before.timecode, Some(0), "{name}");
                assert_eq!(after.timecode, Some(123_456), "{name}");
                assert_eq!(after.header, before.header, "{name}");
                assert_eq!(after.tags, before.tags, "{name}");
                assert_eq!(after.metadata.number, document.metadata.number, "{name}");
                assert_eq!(after.frames.len() as u64, document.blocks, "{name}");
                for (old, new) in before.frames.iter().zip(&after.frames) {
                    assert_eq!(new.timecode - old.timecode, 123_456, "{name}");
                    assert_eq!(
                        (&new.payload, new.key, new.track),
                        (&old.payload, old.key, old.track),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_element_that_names_its_size_has_it() {
        for (name, bytes, ..) in CAPTURES {
            for document in documents(bytes, bytes.len()) {
                let placed = document.placed(placement(7));
                let mut reader = Reader::new();
                reader.push(placed.clone());
                reader.finish();
                let mut open = Vec::new();
                while let Some(event) = reader.next().unwrap() {
                    match event {
                        Event::Start(start) => {
                            let content = start.offset + start.raw.len() as u64;
                            open.push((start.id, start.size.map(|size| content + size)));
                        }
                        Event::End(end) => {
                            let (id, announced) = open.pop().unwrap();
                            assert!(
                                announced.is_none_or(|announced| announced == end.offset),
                                "{name}: 0x{id:X}"
                            );
                        }
                        Event::Data(_) => {}
                    }
                }
            }
        }
    }

    #[test]
    fn frames_keep_the_payload_and_the_distances_of_the_capture() {
        let (_, bytes, ..) = CAPTURES[0];
        let mut reader = FragmentReader::new();
        reader.push(Bytes::from_static(bytes));
        reader.finish();
        for document in documents(bytes, 1_000) {
            let original = reader.next().unwrap().unwrap();
            let placed = fragment(document.placed(placement(5_000)));
            let base = original.timecode.unwrap();
            for (old, new) in original.frames.iter().zip(&placed.frames) {
                assert_eq!(new.timecode - 5_000, old.timecode - base);
                assert_eq!(new.payload, old.payload);
            }
        }
    }

    #[test]
    fn documents_of_several_sessions_join_to_one_segment_on_one_timeline() {
        for (name, bytes, count, blocks) in CAPTURES {
            // Twice the same session: its relative times begin again.
            let documents: Vec<Document> =
                documents(bytes, bytes.len()).into_iter().chain(documents(bytes, bytes.len())).collect();
            let mut joiner = SegmentMerger::new();
            let mut merged = BytesMut::new();
            for (index, document) in documents.iter().enumerate() {
                joiner.push(document.placed(placement(index as u64 * 5_000)));
                while let Some(bytes) = joiner.next().unwrap() {
                    merged.extend_from_slice(&bytes);
                }
            }
            joiner.finish();
            while let Some(bytes) = joiner.next().unwrap() {
                merged.extend_from_slice(&bytes);
            }
            assert_eq!(joiner.segments(), 1, "{name}");
            let mut demuxer = Demuxer::new();
            demuxer.push(merged.freeze());
            demuxer.finish();
            let (mut clusters, mut frames) = (Vec::new(), 0);
            while let Some(item) = demuxer.next().unwrap() {
                match item {
                    Item::Cluster { timecode } => clusters.push(timecode),
                    Item::Frame(_) => frames += 1,
                    _ => {}
                }
            }
            assert_eq!(
                clusters,
                (0..2 * count as i64).map(|index| index * 5_000).collect::<Vec<_>>(),
                "{name}"
            );
            assert_eq!(frames, 2 * blocks, "{name}");
        }
    }

    #[test]
    fn a_cut_body_is_an_error_and_not_a_short_document() {
        let (_, bytes, ..) = CAPTURES[0];
        let mut reader = DocumentReader::default();
        reader.push(Bytes::from_static(&bytes[..bytes.len() / 2]));
        reader.finish();
        let mut result = reader.next();
        while let Ok(Some(_)) = result {
            result = reader.next();
        }
        assert!(matches!(result, Err(DocumentError::Read(ReadError::Truncated { .. }))), "{result:?}");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let mut reader = DocumentReader::default();
        // A Void element.
        reader.push(Bytes::from_static(&[0xEC, 0x81, 0x00]));
        assert_eq!(reader.next().unwrap_err(), DocumentError::NoDocument { id: ids::VOID });
    }
}
