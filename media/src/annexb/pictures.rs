//! From the bytes of a video track to pictures: where one ends and the next begins.

use std::collections::VecDeque;

use super::splitter::{Part, Splitter};
use crate::picture::{Picture, PictureBuilder};
use crate::track::Codec;
use crate::{h264, h265};

/// What tells whether a unit begins a picture: its header (two bytes in H.265) and the first bits behind.
const HEAD_BYTES: usize = 3;

/// A picture, and where it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The position of its first start code in the stream.
    pub at: u64,
    /// How often bytes were missing since the picture before.
    pub lost: u32,
    /// The picture.
    pub picture: Picture,
}

/// Takes a byte stream in pieces of any size, and gives its pictures. A picture is whole when the next one begins.
#[derive(Debug)]
pub struct Pictures {
    splitter: Splitter,
    assembler: Assembler,
}

#[derive(Debug)]
struct Assembler {
    codec: Codec,
    builder: PictureBuilder,
    /// The first bytes of the unit, while there are too few to judge it by.
    head: Option<Vec<u8>>,
    /// Where the unit begins, and where the picture.
    unit_at: u64,
    picture_at: Option<u64>,
    lost: u32,
    ready: VecDeque<Found>,
}

impl Pictures {
    /// Of a track of this codec; `None` for sound.
    pub fn new(codec: Codec) -> Option<Self> {
        let assembler = Assembler {
            codec,
            builder: PictureBuilder::new(codec)?,
            head: None,
            unit_at: 0,
            picture_at: None,
            lost: 0,
            ready: VecDeque::new(),
        };
        Some(Self { splitter: Splitter::new(), assembler })
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { splitter, assembler } = self;
        splitter.push(bytes, &mut |part| assembler.take(part));
    }

    /// The stream has ended: the last picture is whole.
    pub fn finish(&mut self) {
        let Self { splitter, assembler } = self;
        splitter.finish(&mut |part| assembler.take(part));
        assembler.end_picture();
    }

    /// Bytes are missing here, so many packets of them. The unit that they are missing in is left out.
    pub fn interrupt(&mut self, lost: u32) {
        self.splitter.interrupt();
        self.assembler.head = None;
        self.assembler.builder.discard_unit();
        self.assembler.lost = self.assembler.lost.saturating_add(lost);
    }

    /// How many bytes there have been.
    pub const fn position(&self) -> u64 {
        self.splitter.position()
    }

    /// The next picture that is whole.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Option<Found> {
        self.assembler.ready.pop_front()
    }
}

impl Assembler {
    fn take(&mut self, part: Part<'_>) {
        match part {
            Part::Begin(at) => {
                self.unit_at = at;
                self.head = Some(Vec::with_capacity(HEAD_BYTES));
            }
            Part::Bytes(bytes) => match &mut self.head {
                None => self.builder.extend(bytes),
                Some(head) => {
                    let (first, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - head.len()));
                    head.extend_from_slice(first);
                    if head.len() == HEAD_BYTES {
                        self.begin_unit();
                        self.builder.extend(rest);
                    }
                }
            },
            Part::End => {
                self.begin_unit();
                self.builder.end_unit();
            }
        }
    }

    /// Judges the unit by its head.
    fn begin_unit(&mut self) {
        let Some(head) = self.head.take() else { return };
        if self.is_delimiter(&head) || self.builder.begins_picture(&head) {
            self.end_picture();
        }
        self.picture_at.get_or_insert(self.unit_at);
        self.builder.begin_unit();
        self.builder.extend(&head);
    }

    /// Clause 7.4.1.2.4 of H.264, 7.4.2.4.5 of H.265: where there is a delimiter, it is the first of its picture.
    fn is_delimiter(&self, head: &[u8]) -> bool {
        match self.codec {
            Codec::H265 => h265::nal_kind(head) == Some(h265::NalKind::AccessUnitDelimiter),
            _ => h264::nal_kind(head) == Some(h264::NalKind::AccessUnitDelimiter),
        }
    }

    fn end_picture(&mut self) {
        let at = self.picture_at.take().unwrap_or(self.unit_at);
        if self.builder.has_slice() && !self.builder.has_first_slice() {
            // Its beginning is missing: it was lost, or is before the beginning of the stream.
            self.builder.discard_picture();
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if let Some(picture) = self.builder.finish() {
            self.ready.push_back(Found { at, lost: std::mem::take(&mut self.lost), picture });
        }
    }
}
