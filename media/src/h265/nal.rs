//! Kinds of NAL unit of H.265.

use crate::track::Access;

/// Kinds of NAL unit that carrying H.265 has to tell apart (table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a picture that follows its random access picture in every order (0–5).
    Slice,
    /// A slice of a leading picture that can be decoded from the random access picture on (RADL, 6 and 7).
    DecodableLeading,
    /// A slice of a leading picture that cannot (RASL, 8 and 9).
    SkippedLeading,
    /// A slice of a BLA picture (16–18).
    Bla,
    /// A slice of an IDR picture (19 and 20).
    Idr,
    /// A slice of a CRA picture (21).
    Cra,
    /// Video parameter set (32).
    Vps,
    /// Sequence parameter set (33).
    Sps,
    /// Picture parameter set (34).
    Pps,
    /// Access unit delimiter (35).
    AccessUnitDelimiter,
    /// End of the sequence (36): what follows is a random access picture.
    EndOfSequence,
    /// Filler (38).
    Filler,
    /// Supplemental enhancement information before the slices (39).
    Sei,
    /// Anything else, by its number.
    Other(u8),
}

/// Kind of a NAL unit; `None` when it is shorter than its header. Units of further layers (`nuh_layer_id` above 0) are
/// [`NalKind::Other`]: nothing here decodes them.
pub fn nal_kind(nal: &[u8]) -> Option<NalKind> {
    let &[first, second, ..] = nal else { return None };
    let number = first >> 1 & 0x3F;
    if first & 1 != 0 || second >> 3 != 0 {
        return Some(NalKind::Other(number));
    }
    Some(match number {
        0..=5 => NalKind::Slice,
        6 | 7 => NalKind::DecodableLeading,
        8 | 9 => NalKind::SkippedLeading,
        16..=18 => NalKind::Bla,
        19 | 20 => NalKind::Idr,
        21 => NalKind::Cra,
        32 => NalKind::Vps,
        33 => NalKind::Sps,
        34 => NalKind::Pps,
        35 => NalKind::AccessUnitDelimiter,
        36 => NalKind::EndOfSequence,
        38 => NalKind::Filler,
        39 => NalKind::Sei,
        other => NalKind::Other(other),
    })
}

/// How the picture that a NAL unit is a slice of refers to others; `None` for what is no slice.
pub fn access(nal: &[u8]) -> Option<Access> {
    match nal_kind(nal)? {
        NalKind::Bla | NalKind::Idr | NalKind::Cra => Some(Access::Start),
        NalKind::Slice | NalKind::DecodableLeading => Some(Access::Continue),
        NalKind::SkippedLeading => Some(Access::SkippedLeading),
        _ => None,
    }
}

/// Whether a NAL unit is the first slice of a picture (`first_slice_segment_in_pic_flag`, clause 7.3.6.1).
pub fn is_first_slice(nal: &[u8]) -> bool {
    access(nal).is_some() && nal.get(2).is_some_and(|byte| byte & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_apart_by_how_decoding_can_start() {
        let of = |number: u8| access(&[number << 1, 1, 0x80]);
        for number in [16, 17, 18, 19, 20, 21] {
            assert_eq!(of(number), Some(Access::Start), "{number}");
        }
        for number in [0, 1, 2, 3, 4, 5, 6, 7] {
            assert_eq!(of(number), Some(Access::Continue), "{number}");
        }
        for number in [8, 9] {
            assert_eq!(of(number), Some(Access::SkippedLeading), "{number}");
        }
        for number in [10, 22, 31, 32, 33, 34, 35, 39, 40, 63] {
            assert_eq!(of(number), None, "{number}");
        }
    }

    #[test]
    fn further_layers_and_cut_units_are_no_pictures() {
        assert_eq!(access(&[19 << 1, 0b0000_1001, 0x80]), None);
        assert_eq!(access(&[19 << 1 | 1, 1, 0x80]), None);
        assert_eq!(nal_kind(&[19 << 1]), None);
        assert!(!is_first_slice(&[19 << 1, 1]));
        assert!(is_first_slice(&[19 << 1, 1, 0x80]) && !is_first_slice(&[19 << 1, 1, 0x7F]));
    }
}
