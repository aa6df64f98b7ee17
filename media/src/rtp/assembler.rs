//! Pictures from packets: what has one timestamp is one picture, however its slices are marked.
//!
//! The marker bit ends a picture (RFC 6184 §5.1, RFC 7798 §4.1); live555 and some cameras set it on every slice. So a
//! marked picture is given out at once only where nothing speaks for more of it: the camera was never seen to mark a
//! slice, the picture has as many slices as the one before it, and its parameter sets are the same. Otherwise it waits
//! for the next one's first packet, or for the connection's end. A picture of which a part is missing is never given out.

use crate::nal::nals_annexb;
use crate::picture::PictureBuilder;
use crate::track::{Codec, Sample};
use crate::{h264, h265};

/// How many pictures of a connection are searched for start codes within their slices.
const PICTURES_SEARCHED: u32 = 32;

/// A place in a track: the timestamp as it came and unwrapped, and what the caller notes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<T> {
    pub(super) timestamp: u32,
    pub(super) ticks: i64,
    pub(super) note: T,
}

/// What the first NAL unit of a packet is, by its head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Slice,
    /// What belongs to the picture that it follows.
    Behind,
    /// Anything else can only come before the slices of a picture.
    Before,
}

/// Assembles the pictures of one track.
#[derive(Debug)]
pub(super) struct Assembler<T> {
    codec: Codec,
    track: u8,
    rate: u32,
    builder: PictureBuilder,
    /// The picture that the builder is at.
    picture: Option<Picture<T>>,
    /// The slices of the last whole picture.
    slices_before: Option<u32>,
    /// The camera was seen to mark slices.
    marks_slices: bool,
    /// The timestamp of the picture that was finished last.
    finished: Option<u32>,
    /// Packets lost since the last sample, without those since the last packet.
    lost: u32,
    gap: u32,
    /// A picture was left out since the last sample.
    has_left_out: bool,
    /// Parameters were given out: without them pictures are of no use.
    has_parameters: bool,
    /// How many more pictures are searched for start codes in their slices; all, once some were found.
    searches: u32,
}

#[derive(Debug)]
struct Picture<T> {
    place: Place<T>,
    marked: bool,
    /// A part of it is missing.
    broken: bool,
    /// Packets before it were lost: its first slices may be among them.
    after_gap: bool,
}

impl<T: Copy> Assembler<T> {
    /// `sets` are the parameter sets that are known before the first packet. `None` for a codec of sound.
    pub(super) fn new(codec: Codec, track: u8, rate: u32, sets: &[Vec<u8>]) -> Option<Self> {
        let mut builder = PictureBuilder::new(codec)?;
        for set in sets {
            builder.push(set);
        }
        // Whatever else the camera put there belongs to no picture.
        builder.discard_picture();
        Some(Self {
            codec,
            track,
            rate,
            builder,
            picture: None,
            slices_before: None,
            marks_slices: false,
            finished: None,
            lost: 0,
            gap: 0,
            has_left_out: false,
            has_parameters: false,
            searches: PICTURES_SEARCHED,
        })
    }

    /// Packets are missing before the next one.
    pub(super) fn lose(&mut self, packets: u32) {
        self.gap = self.gap.saturating_add(packets);
    }

    /// Turns to the picture of the next packet, whose first NAL unit has this head. False where the packet is the rest of
    /// a picture that was given out already: it is to be left out.
    pub(super) fn turn_to(&mut self, place: Place<T>, head: &[u8], out: &mut Vec<(Sample, T)>) -> bool {
        let packets = std::mem::take(&mut self.gap);
        let gap = packets > 0;
        let first = self.first(head);
        let Some(picture) = &mut self.picture else {
            self.lost = self.lost.saturating_add(packets);
            return self.turn_from_none(place, first, gap);
        };
        if picture.place.timestamp == place.timestamp {
            if picture.marked && first == First::Before {
                // The parameter sets before the next picture may have this one's timestamp.
                self.finish(out);
                self.begin(place, gap);
            } else {
                if picture.marked && first == First::Slice {
                    self.marks_slices = true;
                    picture.marked = false;
                }
                picture.broken |= gap;
            }
        } else if !picture.broken && !self.builder.has_slice() && self.builder.open_unit().is_none() {
            // What comes before the slices may have a timestamp of its own.
            picture.place = Place { note: picture.place.note, ..place };
            picture.marked = false;
            picture.after_gap |= gap;
        } else {
            picture.broken |= gap && !picture.marked;
            self.finish(out);
            self.begin(place, gap);
        }
        // The picture before was whole without them, or was not given out.
        self.lost = self.lost.saturating_add(packets);
        true
    }

    fn turn_from_none(&mut self, place: Place<T>, first: First, gap: bool) -> bool {
        let is_rest = self.finished == Some(place.timestamp);
        if is_rest && first == First::Slice {
            // A piece was given out as a whole: what follows it is incomplete, and from now on slices are waited for.
            self.marks_slices = true;
            self.lost = self.lost.saturating_add(1);
        }
        if is_rest && first != First::Before {
            return false;
        }
        self.begin(place, gap);
        true
    }

    fn first(&self, head: &[u8]) -> First {
        let kind = head.first().copied().unwrap_or(0);
        match self.codec {
            Codec::H265 if h265::access(head).is_some() => First::Slice,
            // Suffix SEI (40), ends of sequence and stream, filler (H.265 table 7-1).
            Codec::H265 if matches!(kind >> 1 & 0x3F, 36..=38 | 40) => First::Behind,
            Codec::H265 => First::Before,
            _ => match h264::nal_kind(head) {
                Some(h264::NalKind::Slice | h264::NalKind::Idr) => First::Slice,
                // Ends of sequence and stream, filler, slices of auxiliary pictures (H.264 table 7-1).
                _ if matches!(kind & 0x1F, 10..=12 | 19) => First::Behind,
                _ => First::Before,
            },
        }
    }

    /// Adds a whole NAL unit.
    pub(super) fn whole(&mut self, nal: &[u8]) {
        self.start(nal);
        self.end();
    }

    /// Begins a NAL unit that comes in fragments.
    pub(super) fn start(&mut self, head: &[u8]) {
        if self.builder.open_unit().is_some() {
            // The one before it never ended.
            self.spoil();
        }
        self.builder.begin_unit();
        self.builder.extend(head);
    }

    /// Adds to the NAL unit that has begun.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.builder.extend(bytes);
        // It never began, or has become too large.
        if self.builder.open_unit().is_none() {
            self.spoil();
        }
    }

    /// Ends the NAL unit that has begun.
    pub(super) fn end(&mut self) {
        let Some(nal) = self.builder.open_unit() else { return self.spoil() };
        // A NAL unit has no start codes in it (H.264 §7.4.1), but some cameras send several in one, with these between.
        let is_searched = self.searches > 0 || self.first(nal) != First::Slice;
        if is_searched && nal.windows(3).any(|bytes| bytes == [0, 0, 1]) {
            self.searches = u32::MAX;
            // Before the first start code there may be a unit too: with one more code before it, all are found alike.
            let several = [&[0, 0, 1], nal].concat();
            self.builder.discard_unit();
            for nal in nals_annexb(&several) {
                self.builder.push(nal);
            }
        } else {
            self.builder.end_unit();
        }
    }

    /// The packet that came last ends the picture, or one of its slices.
    pub(super) fn mark(&mut self, timestamp: u32) {
        let Some(picture) = self.picture.as_mut().filter(|picture| picture.place.timestamp == timestamp)
        else {
            return;
        };
        picture.marked = true;
        if self.builder.open_unit().is_some() {
            // Some cameras do not flag the last fragment.
            self.end();
        }
    }

    /// A part of the picture is missing.
    pub(super) fn spoil(&mut self) {
        if let Some(picture) = &mut self.picture {
            picture.broken = true;
        }
    }

    /// Gives out the picture that is there if it is whole beyond doubt. To be called when no more bytes have come.
    pub(super) fn release(&mut self, out: &mut Vec<(Sample, T)>) {
        if !self.marks_slices && !self.builder.has_new_sets() && self.is_as_long_as_before() {
            self.finish(out);
        }
    }

    /// Gives out the last picture, if it is whole. A picture with fewer slices than the one before it may have been cut by
    /// the connection's end, and is left out.
    pub(super) fn close(&mut self, out: &mut Vec<(Sample, T)>) {
        if self.is_as_long_as_before() {
            self.finish(out);
        }
        self.builder.discard_picture();
        self.picture = None;
    }

    fn is_as_long_as_before(&self) -> bool {
        self.picture.as_ref().is_some_and(|picture| picture.marked)
            && self.slices_before.is_some_and(|before| self.builder.slices() >= before)
    }

    fn begin(&mut self, place: Place<T>, gap: bool) {
        let after_gap = gap || self.finished == Some(place.timestamp);
        self.picture = Some(Picture { place, marked: false, broken: false, after_gap });
    }

    /// Gives out the picture that is there, if no part of it is missing.
    fn finish(&mut self, out: &mut Vec<(Sample, T)>) {
        let Some(picture) = self.picture.take() else { return };
        if !self.builder.has_slice() && !picture.broken {
            return self.builder.discard_picture();
        }
        self.finished = Some(picture.place.timestamp);
        self.searches = self.searches.saturating_sub(1);
        let has_begun = self.builder.has_first_slice() || !picture.after_gap;
        if picture.broken || !has_begun || self.builder.open_unit().is_some() {
            self.has_left_out = true;
            return self.builder.discard_picture();
        }
        self.slices_before = Some(self.builder.slices());
        let Some(whole) = self.builder.finish() else { return };
        self.has_parameters |= whole.parameters.is_some();
        if !self.has_parameters {
            return;
        }
        // Whatever the reason, the next picture says that something is missing.
        let lost = std::mem::take(&mut self.lost).max(std::mem::take(&mut self.has_left_out).into());
        let sample = Sample {
            track: self.track,
            ticks: picture.place.ticks,
            rate: self.rate,
            access: whole.access,
            lost,
            data: whole.data,
            parameters: whole.parameters,
        };
        out.push((sample, picture.place.note));
    }
}
