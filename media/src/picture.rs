//! Pictures from NAL units, for every source that gets those one by one: RTP, transport streams, byte streams.
//!
//! A picture keeps its slices and its supplemental information, each with a length prefix. Parameter sets go into the
//! track's parameters, delimiters and filler are left out.

use bytes::Bytes;

use crate::block::Block;
use crate::limits::FRAGMENT_BYTES_MAX;
use crate::track::{Access, Codec, TrackParameters};
use crate::{h264, h265};

/// A whole picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// How it refers to others.
    pub access: Access,
    /// NAL units with length prefixes.
    pub data: Bytes,
    /// The track's parameters, where they are new or changed with this picture. Until every parameter set that its slices
    /// need has come, pictures have none, and are of no use.
    pub parameters: Option<TrackParameters>,
}

/// The parameter sets of either codec.
#[derive(Debug, Clone)]
enum Sets {
    H264(h264::ParameterSets),
    H265(h265::ParameterSets),
}

/// What a NAL unit is to a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Slice(Access),
    ParameterSet,
    /// Belongs to the picture that follows.
    Before,
    /// Belongs to the picture that it follows.
    After,
    /// Begins a picture, and has nothing in it.
    Delimiter,
    LeftOut,
}

/// Joins NAL units to pictures, and keeps the parameter sets that they need.
#[derive(Debug, Clone)]
pub struct PictureBuilder {
    sets: Sets,
    /// Whether the sets have changed since parameters were last given out.
    sets_changed: bool,
    given: Option<TrackParameters>,
    data: Block,
    /// Where the open unit's length is to be written.
    open: Option<usize>,
    access: Option<Access>,
    /// Where the first slice begins.
    first_slice: usize,
    /// How many slices the data has.
    slices: u32,
    /// Bytes of the last picture that was a start, and of the last that was none.
    usual_bytes: [usize; 2],
}

/// Bytes that one picture may have: no fragment can hold more.
const PICTURE_BYTES_MAX: usize = FRAGMENT_BYTES_MAX as usize;

impl PictureBuilder {
    /// For a video codec; `None` for sound.
    pub fn new(codec: Codec) -> Option<Self> {
        let sets = match codec {
            Codec::H264 => Sets::H264(h264::ParameterSets::new()),
            Codec::H265 => Sets::H265(h265::ParameterSets::new()),
            _ => return None,
        };
        Some(Self {
            sets,
            sets_changed: false,
            given: None,
            data: Block::default(),
            open: None,
            access: None,
            first_slice: 0,
            slices: 0,
            usual_bytes: [0; 2],
        })
    }

    /// Whether this NAL unit begins a new picture, so that what came before is whole. Looks at the first slice's flag, and
    /// at what may only stand before slices.
    pub fn begins_picture(&self, nal: &[u8]) -> bool {
        if self.access.is_none() {
            return false;
        }
        match self.part(nal) {
            Part::Slice(_) => match self.sets {
                Sets::H264(_) => h264::is_first_slice(nal),
                Sets::H265(_) => h265::is_first_slice(nal),
            },
            Part::Before | Part::ParameterSet | Part::Delimiter => true,
            Part::After | Part::LeftOut => false,
        }
    }

    /// Takes a whole NAL unit, without start code or length.
    pub fn push(&mut self, nal: &[u8]) {
        self.begin_unit();
        self.extend(nal);
        self.end_unit();
    }

    /// Begins a NAL unit that comes in parts; one that is open is discarded.
    pub fn begin_unit(&mut self) {
        self.discard_unit();
        self.open = Some(self.data.len());
        self.data.extend(&[0; 4]);
    }

    /// A further part of the open unit. What is more than a fragment can hold is discarded.
    pub fn extend(&mut self, part: &[u8]) {
        if self.open.is_none() {
            return;
        }
        if self.data.len() + part.len() > PICTURE_BYTES_MAX {
            return self.discard_unit();
        }
        if self.open.is_some_and(|at| self.data.len() == at + 4) && self.access.is_none() {
            self.make_room(part);
        }
        self.data.extend(part);
    }

    /// A picture that begins with this part of a slice gets the room that it will need, as far as can be told. Those that are
    /// stored and let go together have blocks of their own.
    fn make_room(&mut self, part: &[u8]) {
        let Part::Slice(access) = self.part(part) else { return };
        let usual = self.usual_bytes[usize::from(access != Access::Start)];
        let room = usual + usual / 4;
        if access == Access::Start { self.data.begin(room) } else { self.data.make_room(room) }
    }

    /// The open unit is whole.
    pub fn end_unit(&mut self) {
        let Some(at) = self.open.take() else { return };
        let nal = &self.data[at + 4..];
        match self.part(nal) {
            Part::Slice(access) => {
                if self.access.is_none() {
                    self.first_slice = at;
                }
                // A picture is as good a start as its first slice says: all have the same kind.
                self.access.get_or_insert(access);
                self.slices += 1;
            }
            Part::Before | Part::After => {}
            Part::ParameterSet => {
                self.sets_changed |= match &mut self.sets {
                    Sets::H264(sets) => sets.update(nal),
                    Sets::H265(sets) => sets.update(nal),
                };
                return self.data.truncate(at);
            }
            Part::Delimiter | Part::LeftOut => return self.data.truncate(at),
        }
        let length = (self.data.len() - at - 4) as u32;
        self.data[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// The open unit cannot be completed.
    pub fn discard_unit(&mut self) {
        if let Some(at) = self.open.take() {
            self.data.truncate(at);
        }
    }

    /// What there is of the open unit.
    pub fn open_unit(&self) -> Option<&[u8]> {
        self.data.get(self.open? + 4..)
    }

    /// How many slices have come since the last picture.
    pub fn slices(&self) -> u32 {
        self.slices
    }

    /// Whether parameter sets have come that no picture has told of yet.
    pub fn has_new_sets(&self) -> bool {
        self.sets_changed
    }

    /// Whether a slice has come since the last picture.
    pub fn has_slice(&self) -> bool {
        self.access.is_some()
    }

    /// The first slice since the last picture is also the first of its picture; false while there is none. Where it is
    /// false, the beginning of the picture was lost.
    pub fn has_first_slice(&self) -> bool {
        let Some(nal) = self.data.get(self.first_slice + 4..).filter(|_| self.access.is_some()) else {
            return false;
        };
        match self.sets {
            Sets::H264(_) => h264::is_first_slice(nal),
            Sets::H265(_) => h265::is_first_slice(nal),
        }
    }

    /// Discards what has come since the last picture, but for parameter sets.
    pub fn discard_picture(&mut self) {
        self.open = None;
        self.access = None;
        self.slices = 0;
        self.data.truncate(0);
    }

    /// The picture of the units so far; `None` where no slice was among them, and what was is discarded.
    pub fn finish(&mut self) -> Option<Picture> {
        self.discard_unit();
        self.slices = 0;
        let Some(access) = self.access.take() else {
            self.data.truncate(0);
            return None;
        };
        let parameters = self.changed_parameters();
        self.usual_bytes[usize::from(access != Access::Start)] = self.data.len();
        Some(Picture { access, data: self.data.take(), parameters })
    }

    /// The track's parameters as the sets so far say; `None` while they are not complete.
    pub fn parameters(&self) -> Option<TrackParameters> {
        let (width, height) = self.size()?;
        match &self.sets {
            Sets::H264(sets) => Some(TrackParameters::video(Codec::H264, sets.avcc()?, width, height)),
            Sets::H265(sets) => Some(TrackParameters::video(Codec::H265, sets.hvcc()?, width, height)),
        }
    }

    fn changed_parameters(&mut self) -> Option<TrackParameters> {
        if !self.sets_changed {
            return None;
        }
        let current = self.parameters()?;
        self.sets_changed = false;
        if self.given.as_ref() == Some(&current) {
            return None;
        }
        self.given = Some(current.clone());
        Some(current)
    }

    /// Of the set that the picture's slice names, or else of the first.
    fn size(&self) -> Option<(u32, u32)> {
        let slice = self.data.get(self.first_slice + 4..).unwrap_or_default();
        match &self.sets {
            Sets::H264(sets) => sets.sps_of(slice).map(|sps| (sps.width, sps.height)).or_else(|| sets.size()),
            Sets::H265(sets) => sets.sps_of(slice).map(|sps| (sps.width, sps.height)).or_else(|| sets.size()),
        }
    }

    fn part(&self, nal: &[u8]) -> Part {
        match self.sets {
            Sets::H264(_) => h264_part(nal),
            Sets::H265(_) => h265_part(nal),
        }
    }
}

/// Clause 7.4.1.2.3 of H.264: what may stand before the first slice, and what not.
fn h264_part(nal: &[u8]) -> Part {
    use h264::NalKind;
    match h264::nal_kind(nal) {
        Some(NalKind::Idr) => Part::Slice(Access::Start),
        Some(NalKind::Slice) => Part::Slice(Access::Continue),
        Some(NalKind::Sps | NalKind::Pps) => Part::ParameterSet,
        Some(NalKind::Sei | NalKind::Other(14..=18)) => Part::Before,
        Some(NalKind::AccessUnitDelimiter) => Part::Delimiter,
        None | Some(NalKind::Filler) => Part::LeftOut,
        Some(NalKind::Other(_)) => Part::After,
    }
}

/// Clause 7.4.2.4.4 of H.265.
fn h265_part(nal: &[u8]) -> Part {
    use h265::NalKind;
    if let Some(access) = h265::access(nal) {
        return Part::Slice(access);
    }
    match h265::nal_kind(nal) {
        Some(NalKind::Vps | NalKind::Sps | NalKind::Pps) => Part::ParameterSet,
        Some(NalKind::Sei | NalKind::Other(41..=44 | 48..=55)) => Part::Before,
        Some(NalKind::AccessUnitDelimiter) => Part::Delimiter,
        None | Some(NalKind::Filler) => Part::LeftOut,
        Some(_) => Part::After,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nal::nals_avcc;

    const SPS: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
    const PPS: &str = "68ebe3cb22c0";
    const OTHER_SPS: &str = "6742c00dd9016096c044000003000400000300c83c50a920";
    const IDR: [u8; 4] = [0x65, 0x88, 0x84, 1];
    const IDR_SECOND: [u8; 4] = [0x65, 0x01, 0x84, 1];
    const SLICE: [u8; 4] = [0x41, 0x9A, 0x22, 2];
    const SEI: [u8; 4] = [6, 5, 1, 0x80];

    fn set(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    fn builder(nals: &[&[u8]]) -> PictureBuilder {
        let mut builder = PictureBuilder::new(Codec::H264).unwrap();
        for nal in nals {
            builder.push(nal);
        }
        builder
    }

    fn nals(picture: &Picture) -> Vec<&[u8]> {
        nals_avcc(&picture.data).collect()
    }

    #[test]
    fn a_picture_keeps_its_slices_and_parameters_come_with_the_first() {
        let delimiter = [9, 0xF0];
        let mut builder = builder(&[&delimiter, &set(SPS), &set(PPS), &SEI, &IDR, &IDR_SECOND, &[12, 0xFF]]);
        let picture = builder.finish().unwrap();
        assert_eq!(nals(&picture), [&SEI[..], &IDR, &IDR_SECOND]);
        let parameters = picture.parameters.unwrap();
        assert_eq!(parameters, TrackParameters::video(Codec::H264, parameters.private.clone(), 1_920, 1_080));
        builder.push(&SLICE);
        let next = builder.finish().unwrap();
        assert_eq!((next.access, next.parameters), (Access::Continue, None));
        assert_eq!(builder.finish(), None);
    }

    #[test]
    fn parameters_come_again_where_they_have_changed() {
        let mut builder = builder(&[&set(SPS), &set(PPS), &IDR]);
        let first = builder.finish().unwrap().parameters.unwrap();
        for nal in [&set(SPS)[..], &set(PPS), &IDR] {
            builder.push(nal);
        }
        assert_eq!(builder.finish().unwrap().parameters, None, "the same again");
        for nal in [&set(OTHER_SPS)[..], &set(SPS), &IDR] {
            builder.push(nal);
        }
        assert_eq!(builder.finish().unwrap().parameters, None, "changed, and changed back");
        for nal in [&set(OTHER_SPS)[..], &set(PPS), &IDR] {
            builder.push(nal);
        }
        let second = builder.finish().unwrap().parameters.unwrap();
        assert_ne!(first.private, second.private);
        assert_eq!(second, TrackParameters::video(Codec::H264, second.private.clone(), 352, 288));
    }

    #[test]
    fn pictures_have_no_parameters_until_every_set_is_there() {
        let mut builder = builder(&[&set(SPS), &IDR]);
        assert_eq!(builder.finish().unwrap().parameters, None);
        builder.push(&set(PPS));
        builder.push(&SLICE);
        assert!(builder.finish().unwrap().parameters.is_some());
    }

    #[test]
    fn a_unit_in_parts_is_the_unit_and_one_that_is_discarded_leaves_nothing() {
        let mut builder = builder(&[&set(SPS), &set(PPS)]);
        builder.begin_unit();
        builder.extend(&IDR[..1]);
        builder.extend(&IDR[1..]);
        builder.end_unit();
        builder.begin_unit();
        builder.extend(&IDR_SECOND[..2]);
        builder.discard_unit();
        builder.extend(&[1, 2, 3]);
        let picture = builder.finish().unwrap();
        assert_eq!(nals(&picture), [&IDR[..]]);
        builder.begin_unit();
        builder.extend(&SLICE);
        assert_eq!(builder.finish(), None, "the unit never ended");
        builder.push(&SLICE);
        builder.discard_picture();
        assert!(!builder.has_slice());
        assert_eq!(builder.finish(), None);
    }

    #[test]
    fn a_picture_begins_with_its_first_slice_or_what_stands_before_slices() {
        let empty = builder(&[]);
        let open = builder(&[&SLICE]);
        let begins: [(&[u8], bool); 7] = [
            (&SLICE, true),
            (&IDR_SECOND, false),
            (&SEI, true),
            (&[9, 0xF0], true),
            (&[0x67, 1, 2, 3], true),
            (&[12, 0xFF], false),
            (&[10], false),
        ];
        for (nal, expected) in begins {
            assert_eq!(open.begins_picture(nal), expected, "{nal:?}");
            assert!(!empty.begins_picture(nal), "{nal:?}");
        }
    }

    #[test]
    fn the_loss_of_a_pictures_beginning_is_seen() {
        assert!(builder(&[&SEI, &IDR, &IDR_SECOND]).has_first_slice());
        assert!(!builder(&[&SEI, &IDR_SECOND]).has_first_slice());
        assert!(!builder(&[&SEI]).has_first_slice());
    }

    #[test]
    fn pictures_of_h265_say_how_decoding_can_start() {
        let mut builder = PictureBuilder::new(Codec::H265).unwrap();
        for (number, access) in
            [(21, Access::Start), (8, Access::SkippedLeading), (6, Access::Continue), (1, Access::Continue)]
        {
            builder.push(&[number << 1, 1, 0x80, 7]);
            assert_eq!(builder.finish().unwrap().access, access);
        }
        assert!(PictureBuilder::new(Codec::Aac).is_none());
    }
}
