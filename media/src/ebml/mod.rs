//! A streaming reader of EBML: bytes in as they come, elements out.
//!
//! [`Reader`] owns the nesting of elements: known and unknown sizes, several documents in a row, global elements, and
//! how much it may keep in memory. What elements mean is left to [`crate::mkv`].

mod input;
#[cfg(test)]
mod tests;
pub mod varint;

use bytes::Bytes;

use crate::limits::{ELEMENT_BYTES_MAX, ELEMENT_DEPTH_MAX};
use crate::mkv::ids::{self, Kind};
use input::Input;

/// One step through a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A master element begins.
    Start(Start),
    /// An element that holds a value, whole; also any element that the table of ids does not know.
    Data(Data),
    /// A master element ends.
    End(End),
}

/// The beginning of a master element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its id with the length marker.
    pub id: u32,
    /// Bytes of its content; `None` when the size is unknown.
    pub size: Option<u64>,
    /// Position of its first byte, counted from the first byte ever pushed.
    pub offset: u64,
    /// Id and size as they were read.
    pub raw: Bytes,
}

/// An element with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Its id with the length marker.
    pub id: u32,
    /// Its value.
    pub payload: Bytes,
    /// Position of its first byte, counted from the first byte ever pushed.
    pub offset: u64,
    /// Id, size and value as they were read.
    pub raw: Bytes,
}

/// The end of a master element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The id of the master that ends.
    pub id: u32,
    /// Position behind its last byte.
    pub offset: u64,
}

/// Why the bytes cannot be read further. Offsets count from the first byte ever pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No element id begins with this byte, or it is longer than four bytes.
    #[error("invalid element id beginning with 0x{first:02X} at offset {offset}")]
    InvalidId {
        /// The byte found.
        first: u8,
        /// Where.
        offset: u64,
    },
    /// The size of an element is longer than eight bytes.
    #[error("invalid size of element 0x{id:X} at offset {offset}")]
    InvalidSize {
        /// The element.
        id: u32,
        /// Where it begins.
        offset: u64,
    },
    /// Only masters may leave their size open.
    #[error("element 0x{id:X} at offset {offset} has an unknown size but is no master")]
    UnknownSize {
        /// The element.
        id: u32,
        /// Where it begins.
        offset: u64,
    },
    /// The element is larger than the reader's limit.
    #[error("element 0x{id:X} at offset {offset} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The element.
        id: u32,
        /// Where it begins.
        offset: u64,
        /// Its size as announced.
        size: u64,
        /// The reader's limit.
        limit: u64,
    },
    /// The element would end behind its parent.
    #[error(
        "element 0x{id:X} at offset {offset} reaches beyond its parent 0x{parent:X}, which ends at {parent_end}"
    )]
    BeyondParent {
        /// The element.
        id: u32,
        /// Where it begins.
        offset: u64,
        /// The master that it is in.
        parent: u32,
        /// Where that one ends.
        parent_end: u64,
    },
    /// Masters are nested too deeply.
    #[error("element 0x{id:X} at offset {offset} is nested more than {ELEMENT_DEPTH_MAX} deep")]
    TooDeep {
        /// The element.
        id: u32,
        /// Where it begins.
        offset: u64,
    },
    /// The input ended inside an element.
    #[error("truncated at offset {end}: element 0x{id:X} that begins at offset {offset} is not complete")]
    Truncated {
        /// The element; 0 when not even its id was complete.
        id: u32,
        /// Where it begins.
        offset: u64,
        /// Where the input ended.
        end: u64,
    },
}

/// Reads EBML as it comes. Feed it with [`push`](Self::push), take events with [`next`](Self::next) until it returns
/// `None`, and call [`finish`](Self::finish) at the end of the input.
///
/// Nesting follows RFC 8794: a master of known size ends there; one of unknown size ends where an element of its own
/// level or above begins. Beyond the standard, an element of the top two levels (a Cluster, Tags, another document) also
/// ends masters whose known size says otherwise, as the Java parser does: writers that patch sizes late leave wrong ones.
///
/// Payloads are slices of what was pushed; only an element that spans several pushes is copied, once. At most one
/// element of at most the limit is held, beside what was pushed and not yet taken.
///
/// After an error every further call returns the same error.
#[derive(Debug)]
pub struct Reader {
    input: Input,
    open: Vec<OpenMaster>,
    /// Masters at the top of `open` that are to be closed before the next element is read.
    closing: usize,
    limit: u64,
    finished: bool,
    failed: Option<ReadError>,
}

#[derive(Debug, Clone, Copy)]
struct OpenMaster {
    id: u32,
    level: u8,
    offset: u64,
    /// Position behind the last byte; `None` when the size is unknown.
    end: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct ElementHeader {
    id: u32,
    size: Option<u64>,
    length: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader that takes elements of at most [`ELEMENT_BYTES_MAX`] bytes.
    pub fn new() -> Self {
        Self::with_limit(ELEMENT_BYTES_MAX)
    }

    /// A reader that takes elements of at most `limit` bytes of content.
    pub fn with_limit(limit: u64) -> Self {
        Self { input: Input::default(), open: Vec::new(), closing: 0, limit, finished: false, failed: None }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// Says that no more bytes will come: masters still open end when [`next`](Self::next) is called, and an incomplete
    /// element, or a master that has not reached its known size, becomes [`ReadError::Truncated`].
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Position of the next byte that no event has covered yet.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Bytes that were pushed and that no event has covered yet.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// The next event; `None` when more bytes are needed, or everything has been read after [`finish`](Self::finish).
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Event>, ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step().inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn step(&mut self) -> Result<Option<Event>, ReadError> {
        if let Some(end) = self.close_one() {
            return Ok(Some(Event::End(end)));
        }
        let Some(header) = self.header()? else {
            return if self.finished { self.end_of_input() } else { Ok(None) };
        };
        self.closing = self.masters_closed_by(header.id);
        if let Some(end) = self.close_one() {
            return Ok(Some(Event::End(end)));
        }
        self.element(header)
    }

    /// Ends the innermost master if it is to be closed, or has reached its size.
    fn close_one(&mut self) -> Option<End> {
        let offset = self.input.offset();
        let innermost = self.open.last()?;
        let reached = innermost.end.is_some_and(|end| end <= offset);
        if self.closing == 0 && !reached {
            return None;
        }
        self.closing = self.closing.saturating_sub(1);
        let id = innermost.id;
        self.open.pop();
        Some(End { id, offset })
    }

    /// Reads the id and size of the next element without taking them; `None` when they are not complete.
    fn header(&mut self) -> Result<Option<ElementHeader>, ReadError> {
        let offset = self.input.offset();
        let Some(first) = self.input.peek(1).map(|bytes| bytes[0]) else { return Ok(None) };
        let id_length = varint::id_length(first).ok_or(ReadError::InvalidId { first, offset })?;
        let Some(bytes) = self.input.peek(id_length + 1) else { return Ok(None) };
        let id = varint::unsigned(&bytes[..id_length]) as u32;
        let size_length =
            varint::size_length(bytes[id_length]).ok_or(ReadError::InvalidSize { id, offset })?;
        let length = id_length + size_length;
        let Some(bytes) = self.input.peek(length) else { return Ok(None) };
        Ok(Some(ElementHeader { id, size: varint::size(&bytes[id_length..]), length }))
    }

    /// How many of the innermost masters end because an element with this id begins.
    fn masters_closed_by(&self, id: u32) -> usize {
        let Some(level) = ids::describe(id).and_then(|description| description.level) else { return 0 };
        let stays = |master: &OpenMaster| {
            let ends_at_this_level = level <= master.level;
            !ends_at_this_level || (master.end.is_some() && level > 1)
        };
        // An outer master of unknown size that ends takes the ones inside it along.
        self.open.iter().position(|master| !stays(master)).map_or(0, |first| self.open.len() - first)
    }

    fn element(&mut self, header: ElementHeader) -> Result<Option<Event>, ReadError> {
        let offset = self.input.offset();
        let ElementHeader { id, size, length } = header;
        let content = offset + length as u64;
        self.check_parent(header, offset)?;
        let description = ids::describe(id);
        if let Some(level) = description.filter(|d| d.kind == Kind::Master).map(|d| d.level.unwrap_or(0)) {
            if self.open.len() >= ELEMENT_DEPTH_MAX {
                return Err(ReadError::TooDeep { id, offset });
            }
            let Some(raw) = self.input.take(length) else { return Ok(None) };
            self.open.push(OpenMaster { id, level, offset, end: size.map(|size| content + size) });
            return Ok(Some(Event::Start(Start { id, size, offset, raw })));
        }
        let size = size.ok_or(ReadError::UnknownSize { id, offset })?;
        if size > self.limit {
            return Err(ReadError::TooLarge { id, offset, size, limit: self.limit });
        }
        match self.input.take(length + size as usize) {
            Some(raw) => Ok(Some(Event::Data(Data { id, payload: raw.slice(length..), offset, raw }))),
            None if self.finished => self.truncated(id, offset),
            None => Ok(None),
        }
    }

    fn check_parent(&self, header: ElementHeader, offset: u64) -> Result<(), ReadError> {
        // The size of a master that is left open is checked by its children.
        let end = offset + header.length as u64 + header.size.unwrap_or(0);
        let ancestor = self.open.iter().rev().find_map(|master| Some((master.id, master.end?)));
        match ancestor {
            Some((parent, parent_end)) if end > parent_end => {
                Err(ReadError::BeyondParent { id: header.id, offset, parent, parent_end })
            }
            _ => Ok(()),
        }
    }

    /// Nothing complete is left: what is open ends here, unless it should have gone on.
    fn end_of_input(&mut self) -> Result<Option<Event>, ReadError> {
        let offset = self.input.offset();
        if self.input.len() > 0 {
            return self.truncated(0, offset);
        }
        let Some(innermost) = self.open.last().copied() else { return Ok(None) };
        if innermost.end.is_some() {
            return self.truncated(innermost.id, innermost.offset);
        }
        self.open.pop();
        Ok(Some(Event::End(End { id: innermost.id, offset })))
    }

    fn truncated(&self, id: u32, offset: u64) -> Result<Option<Event>, ReadError> {
        let end = self.input.offset() + self.input.len() as u64;
        Err(ReadError::Truncated { id, offset, end })
    }
}
