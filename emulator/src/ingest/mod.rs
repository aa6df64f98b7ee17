//! The inside of `PutMedia`: the bytes of one session in, fragments and refusals out.
//!
//! A pure machine without clock or I/O, so that simulations can use it. It owns the rules for the media (one Segment,
//! order of time, sizes, tracks, tags; from PutMedia in the developer guide); acknowledgements, fragment numbers, storage and
//! the rules about wall time are its caller's.

mod fragment;
mod head;
pub mod line;
mod tags;

use std::collections::VecDeque;

use bytes::Bytes;
use streamfleet_media::{
    ack::ErrorId,
    ebml::{Event, ReadError, Reader},
    limits::{FRAGMENT_BYTES_MAX, FRAGMENT_MS_MIN},
    mkv::ids,
};

pub use fragment::Fragment;
use fragment::OpenFragment;
use head::{HEAD_BYTES_MAX, Head, HeadDone};

/// The quotas page names the acknowledgement and no number; no source has one. Numbers end at 4012.
pub const MIN_FRAGMENT_DURATION_REACHED: ErrorId = ErrorId::Other(4013);

/// What media may be, where that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A fragment must have this many milliseconds from its own time to that of the next. The last of a session, and one
    /// that an end-of-fragment tag closes, may be shorter.
    pub fragment_ms_min: u64,
    /// Whether fragments keep their bytes. Without, they are checked and counted and have an empty body: for load tests.
    pub keeps_media: bool,
    /// Whether each frame is told.
    pub tells_frames: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { fragment_ms_min: FRAGMENT_MS_MIN, keeps_media: true, tells_frames: false }
    }
}

/// A frame that has come in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSeen {
    /// Its track.
    pub track: u64,
    /// Its time, in the document's scale.
    pub timecode: i64,
    /// Bytes of its payload.
    pub bytes: usize,
    /// The number that the test camera marks its pictures with, in an SEI message.
    pub number: Option<u64>,
}

/// What came of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestEvent {
    /// A Cluster has begun: the `BUFFERING` acknowledgement.
    Started {
        /// The Cluster's own time, in the document's scale.
        timecode: u64,
        /// Nanoseconds in one timecode.
        timecode_scale: u64,
    },
    /// A frame of the open fragment is whole, where the rules ask for frames.
    Frame(FrameSeen),
    /// The fragment begun last is whole: the `RECEIVED` acknowledgement.
    Received(Fragment),
    /// The session is over: the `ERROR` acknowledgement. What of a fragment was open is dropped.
    Refused {
        /// Why.
        error: ErrorId,
        /// The time of the fragment concerned, when its Cluster's time had been read. It may not have been `Started`.
        timecode: Option<u64>,
    },
}

/// One `PutMedia` session. Feed it with [`push`](Self::push), end it with [`finish`](Self::finish), and take events
/// with [`next`](Self::next) after each.
#[derive(Debug)]
pub struct Ingest {
    reader: Reader,
    /// Masters that are open.
    path: Vec<u32>,
    stage: Stage,
    /// The latest time of all frames and Clusters of earlier fragments.
    latest: Option<i64>,
    /// Behind it another Cluster has begun, whose time is not known yet.
    closing: Option<Fragment>,
    rules: Rules,
    events: VecDeque<IngestEvent>,
}

#[derive(Debug)]
enum Stage {
    /// Before the first Cluster.
    Head(Head),
    /// From the first Cluster on; no fragment is open behind an end-of-fragment tag.
    Body { head: HeadDone, open: Option<Box<OpenFragment>> },
    /// Refused: nothing is read any more.
    Over,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            path: Vec::new(),
            stage: Stage::Head(Head::default()),
            latest: None,
            closing: None,
            rules: Rules::default(),
            events: VecDeque::new(),
        }
    }
}

impl Ingest {
    /// A session of which nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, under other rules.
    pub fn with_rules(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes the next bytes of the request body.
    pub fn push(&mut self, bytes: Bytes) {
        if self.is_over() {
            return;
        }
        self.reader.push(bytes);
        if let Err(error) = self.read() {
            self.refuse(error);
        }
    }

    /// The request body has ended as it should: the last fragment is closed. When the connection broke instead, drop
    /// the machine; what is open was never received.
    pub fn finish(&mut self) {
        if self.is_over() {
            return;
        }
        self.reader.finish();
        if let Err(error) = self.read().and_then(|()| self.close_fragment()) {
            self.refuse(error);
        }
    }

    /// The next thing to tell.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Option<IngestEvent> {
        self.events.pop_front()
    }

    /// Whether the session was refused.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// The time of the Cluster that is open, if its time has been read.
    pub fn open_timecode(&self) -> Option<u64> {
        match &self.stage {
            Stage::Body { open: Some(open), .. } => open.timecode(),
            _ => None,
        }
    }

    fn refuse(&mut self, error: ErrorId) {
        let timecode = match self.closing.take() {
            // The error is about this one; every other is about what comes behind it.
            Some(short) if error == MIN_FRAGMENT_DURATION_REACHED => Some(short.timecode),
            Some(whole) => {
                self.events.push_back(IngestEvent::Received(whole));
                self.open_timecode()
            }
            None => self.open_timecode(),
        };
        self.stage = Stage::Over;
        self.events.push_back(IngestEvent::Refused { error, timecode });
    }

    fn read(&mut self) -> Result<(), ErrorId> {
        while let Some(event) = self.reader.next().map_err(|error| self.explain(&error))? {
            self.take(&event)?;
        }
        self.check_size()
    }

    /// An element too large for memory is a fragment too large; all else is not Matroska.
    fn explain(&self, error: &ReadError) -> ErrorId {
        match (error, &self.stage) {
            (ReadError::TooLarge { .. }, Stage::Body { open: Some(_), .. }) => {
                ErrorId::MaxFragmentSizeReached
            }
            _ => ErrorId::InvalidMkvData,
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), ErrorId> {
        match event {
            Event::Start(start) if start.id == ids::CLUSTER => {
                self.start_cluster(&start.raw)?;
                self.path.push(start.id);
                return Ok(());
            }
            Event::End(_) => {
                self.path.pop();
            }
            Event::Start(_) | Event::Data(_) => {}
        }
        self.deliver(event)?;
        if let Event::Start(start) = event {
            self.path.push(start.id);
        }
        Ok(())
    }

    /// Gives the event to whatever is being read.
    fn deliver(&mut self, event: &Event) -> Result<(), ErrorId> {
        let depth = self.path.len();
        match &mut self.stage {
            Stage::Head(head) => head.take(event, depth),
            Stage::Body { head, open } => {
                check_allowed_behind_head(event)?;
                // Between an end-of-fragment tag and the next Cluster nothing is expected, and nothing kept.
                let Some(fragment) = open else { return Ok(()) };
                let step = fragment.take(event, &head.tracks, self.latest)?;
                match step {
                    fragment::Step::None => Ok(()),
                    fragment::Step::Frame(frame) => {
                        if self.rules.tells_frames {
                            self.events.push_back(IngestEvent::Frame(frame.seen()));
                        }
                        Ok(())
                    }
                    fragment::Step::Started(timecode) => {
                        let timecode_scale = head.timecode_scale;
                        self.start_fragment(timecode, timecode_scale)
                    }
                    fragment::Step::Ended => self.close_fragment(),
                }
            }
            Stage::Over => Ok(()),
        }
    }

    fn start_cluster(&mut self, raw: &Bytes) -> Result<(), ErrorId> {
        if self.path != [ids::SEGMENT] {
            return Err(ErrorId::InvalidMkvData);
        }
        if let Stage::Head(head) = &mut self.stage {
            self.stage = Stage::Body { head: head.finish()?, open: None };
        }
        self.closing = self.end_fragment()?;
        if let Stage::Body { head, open } = &mut self.stage {
            let (bytes, tags) = head.for_next_fragment();
            *open = Some(Box::new(OpenFragment::new(
                bytes,
                tags,
                head.timecode_scale,
                raw,
                self.rules.keeps_media,
            )));
        }
        Ok(())
    }

    /// The time of a Cluster is known, and with it the length of the fragment before it.
    fn start_fragment(&mut self, timecode: u64, timecode_scale: u64) -> Result<(), ErrorId> {
        if let Some(closing) = &self.closing {
            let nanos = u128::from(timecode.saturating_sub(closing.timecode)) * u128::from(timecode_scale);
            if nanos < u128::from(self.rules.fragment_ms_min) * 1_000_000 {
                return Err(MIN_FRAGMENT_DURATION_REACHED);
            }
        }
        self.events.extend(self.closing.take().map(IngestEvent::Received));
        self.events.push_back(IngestEvent::Started { timecode, timecode_scale });
        Ok(())
    }

    /// Closes the open fragment behind which nothing follows, or only later.
    fn close_fragment(&mut self) -> Result<(), ErrorId> {
        let closed = self.end_fragment()?;
        self.events.extend(closed.map(IngestEvent::Received));
        Ok(())
    }

    fn end_fragment(&mut self) -> Result<Option<Fragment>, ErrorId> {
        let Stage::Body { head, open: slot } = &mut self.stage else { return Ok(None) };
        let Some(open) = slot.as_ref() else { return Ok(None) };
        open.check_complete(&head.tracks)?;
        let Some(open) = slot.take() else { return Ok(None) };
        self.latest = self.latest.max(open.latest());
        Ok(open.close())
    }

    fn check_size(&self) -> Result<(), ErrorId> {
        let waiting = self.reader.buffered() as u64;
        match &self.stage {
            Stage::Head(_) if waiting > HEAD_BYTES_MAX as u64 => Err(ErrorId::InvalidMkvData),
            Stage::Body { open: Some(open), .. } if open.size() + waiting > FRAGMENT_BYTES_MAX => {
                Err(ErrorId::MaxFragmentSizeReached)
            }
            Stage::Head(_) | Stage::Body { .. } | Stage::Over => Ok(()),
        }
    }
}

/// One Segment, and its description only before the first Cluster.
fn check_allowed_behind_head(event: &Event) -> Result<(), ErrorId> {
    match event {
        Event::Start(start) if matches!(start.id, ids::EBML | ids::SEGMENT | ids::TRACKS | ids::INFO) => {
            Err(ErrorId::InvalidMkvData)
        }
        Event::Start(_) | Event::Data(_) | Event::End(_) => Ok(()),
    }
}

/// An unsigned integer element (RFC 8794 §7.2): none to eight bytes.
fn big_endian(payload: &[u8]) -> Option<u64> {
    (payload.len() <= 8).then(|| payload.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
