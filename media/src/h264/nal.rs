//! Kinds of NAL unit of H.264.

use bytes::Bytes;

use crate::nal::bits::BitReader;
use crate::nal::{length_prefixed, nals_annexb, nals_avcc, remove_emulation_prevention};
use crate::track::Access;

/// Kinds of NAL unit that carrying H.264 has to tell apart (table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a picture that is not IDR (1–4).
    Slice,
    /// A slice of an IDR picture (5).
    Idr,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    AccessUnitDelimiter,
    /// Filler (12).
    Filler,
    /// Anything else, by its number.
    Other(u8),
}

/// Kind of a NAL unit; `None` when it is empty.
pub fn nal_kind(nal: &[u8]) -> Option<NalKind> {
    Some(match nal.first()? & 0x1F {
        1..=4 => NalKind::Slice,
        5 => NalKind::Idr,
        6 => NalKind::Sei,
        7 => NalKind::Sps,
        8 => NalKind::Pps,
        9 => NalKind::AccessUnitDelimiter,
        12 => NalKind::Filler,
        other => NalKind::Other(other),
    })
}

/// A byte stream (annex B) as a frame with 4-byte length prefixes. Parameter sets, delimiters and filler are left out:
/// the first belong into the codec private data, the others carry nothing.
pub fn annexb_to_avcc(stream: &[u8]) -> Bytes {
    let carried = |nal: &&[u8]| {
        !matches!(
            nal_kind(nal),
            None | Some(NalKind::Sps | NalKind::Pps | NalKind::AccessUnitDelimiter | NalKind::Filler)
        )
    };
    length_prefixed(nals_annexb(stream).filter(carried))
}

/// Whether a frame with length prefixes is an IDR picture.
pub fn is_idr(frame: &[u8]) -> bool {
    nals_avcc(frame).any(|nal| nal_kind(nal) == Some(NalKind::Idr))
}

/// How the picture that a NAL unit is a slice of refers to others; `None` for what is no slice.
///
/// Only an IDR picture is a start. A recovery point is none: what follows it may refer to pictures before it, and a
/// fragment is to be decoded by itself.
pub fn access(nal: &[u8]) -> Option<Access> {
    match nal_kind(nal)? {
        NalKind::Idr => Some(Access::Start),
        NalKind::Slice => Some(Access::Continue),
        _ => None,
    }
}

/// Whether a NAL unit is the first slice of a picture: `first_mb_in_slice` is 0 (clause 7.4.3). The second field of a
/// frame also has such a slice.
pub fn is_first_slice(nal: &[u8]) -> bool {
    // The number 0 is one bit, which is set.
    access(nal).is_some()
        && !matches!(nal[0] & 0x1F, 3 | 4)
        && nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

/// `pic_parameter_set_id` of a slice (clause 7.3.3); `None` for what is no slice, or cut short.
pub(super) fn picture_parameter_set(nal: &[u8]) -> Option<u32> {
    access(nal)?;
    // Three numbers of at most 63 bits are all that is read.
    let raw = remove_emulation_prevention(nal.get(1..nal.len().min(40))?);
    let mut bits = BitReader::new(&raw);
    bits.unsigned().ok()?;
    bits.unsigned().ok()?;
    bits.unsigned().ok().filter(|id| *id < 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_stream_becomes_a_frame_without_parameter_sets() {
        let stream =
            [0, 0, 0, 1, 9, 0xF0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 6, 5, 0, 0, 1, 0x65, 3];
        let frame = annexb_to_avcc(&stream);
        assert_eq!(&frame[..], [0, 0, 0, 2, 6, 5, 0, 0, 0, 2, 0x65, 3]);
        assert!(is_idr(&frame));
        assert!(!is_idr(&[0, 0, 0, 2, 0x41, 3]));
    }

    #[test]
    fn slices_say_whether_they_begin_a_picture_and_which_set_they_use() {
        // first_mb_in_slice 0, slice_type 7 (I), pic_parameter_set_id 2.
        let idr = [0x65, 0b1000_1000, 0b0110_0000];
        assert!(is_first_slice(&idr));
        assert_eq!((access(&idr), picture_parameter_set(&idr)), (Some(Access::Start), Some(2)));
        // first_mb_in_slice 60, slice_type 5 (P), pic_parameter_set_id 0.
        let second = [0x41, 0b0000_0111, 0b1010_0110, 0b1000_0000];
        assert!(!is_first_slice(&second));
        assert_eq!((access(&second), picture_parameter_set(&second)), (Some(Access::Continue), Some(0)));
        for other in [&[][..], &[0x67, 0x80], &[0x06, 0x80], &[0x65]] {
            assert!(!is_first_slice(other), "{other:?}");
            assert_eq!(picture_parameter_set(other), None, "{other:?}");
        }
    }
}
