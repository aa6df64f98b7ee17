//! The variable-length integers of EBML (RFC 8794 §4) and the plain values of elements (§7).

/// Length in bytes of an element id that begins with `first`; `None` when it would be longer than the four bytes that
/// Matroska allows.
pub const fn id_length(first: u8) -> Option<usize> {
    match first.leading_zeros() {
        n @ 0..=3 => Some(n as usize + 1),
        _ => None,
    }
}

/// Length in bytes of a size that begins with `first`; `None` for a zero byte, which no valid size begins with.
pub const fn size_length(first: u8) -> Option<usize> {
    match first.leading_zeros() {
        n @ 0..=7 => Some(n as usize + 1),
        _ => None,
    }
}

/// Value of a size, or of a track number, that fills `bytes` exactly. `None` is "unknown": all bits of the value are one.
///
/// `bytes` must have the length that [`size_length`] gives, 1 to 8.
pub fn size(bytes: &[u8]) -> Option<u64> {
    let value_bits = 7 * bytes.len() as u32;
    let mask = (1u64 << value_bits) - 1;
    let value = unsigned(bytes) & mask;
    (value != mask).then_some(value)
}

/// Big-endian unsigned integer of at most 8 bytes; further bytes shift earlier ones out. No bytes are zero.
pub fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Big-endian two's complement integer of at most 8 bytes.
pub fn signed(bytes: &[u8]) -> i64 {
    match bytes.len() {
        0 => 0,
        n @ 1..8 => {
            let unused = 64 - 8 * n as u32;
            ((unsigned(bytes) << unused) as i64) >> unused
        }
        _ => unsigned(bytes) as i64,
    }
}

/// IEEE float of 4 or 8 bytes; no bytes are zero. `None` for any other length.
pub fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        0 => Some(0.0),
        4 => Some(f64::from(f32::from_bits(unsigned(bytes) as u32))),
        8 => Some(f64::from_bits(unsigned(bytes))),
        _ => None,
    }
}

/// Text without the zero bytes that old producers pad it with; bytes that are not UTF-8 are replaced.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The size of `value` in exactly 8 bytes. `value` is below 2⁵⁶ − 1; larger ones are cut.
pub const fn size_in_eight_bytes(value: u64) -> [u8; 8] {
    ((value & 0x00FF_FFFF_FFFF_FFFF) | 0x0100_0000_0000_0000).to_be_bytes()
}

/// The size of `value` in as few bytes as it needs.
pub fn shortest_size(value: u64) -> Vec<u8> {
    let (bytes, length) = shortest_size_parts(value);
    bytes[8 - length..].to_vec()
}

/// The size of `value` in as few bytes as it needs: the last of these, so many.
pub const fn shortest_size_parts(value: u64) -> ([u8; 8], usize) {
    let mut length = 1;
    while length < 8 && value >= (1u64 << (7 * length)) - 1 {
        length += 1;
    }
    ((value | 1u64 << (7 * length)).to_be_bytes(), length)
}

/// "Unknown size" in eight bytes, as `GetMedia` writes it for a Segment.
pub const UNKNOWN_IN_EIGHT_BYTES: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_every_length_round_trip() {
        for value in
            [0, 1, 126, 127, 128, 16_382, 16_383, 1 << 20, (1 << 35) - 2, (1 << 35) - 1, (1 << 56) - 2]
        {
            let short = shortest_size(value);
            assert_eq!(size_length(short[0]), Some(short.len()), "{value}");
            assert_eq!(size(&short), Some(value), "{value}");
            assert_eq!(size(&size_in_eight_bytes(value)), Some(value), "{value}");
        }
    }

    #[test]
    fn all_ones_are_unknown_in_every_length() {
        for length in 1..=8usize {
            let mut bytes = vec![0xFF; length];
            bytes[0] = 0xFF >> (length - 1);
            assert_eq!(size_length(bytes[0]), Some(length));
            assert_eq!(size(&bytes), None, "{length} bytes");
        }
    }

    #[test]
    fn signed_values_extend_their_sign() {
        assert_eq!(signed(&[0xFF]), -1);
        assert_eq!(signed(&[0xFF, 0x00]), -256);
        assert_eq!(signed(&[0x7F, 0xFF, 0xFF]), 8_388_607);
        assert_eq!(signed(&[]), 0);
    }

    #[test]
    fn text_ends_at_its_padding() {
        assert_eq!(text(b"V_MPEG4/ISO/AVC\0\0"), "V_MPEG4/ISO/AVC");
        assert_eq!(text(b""), "");
    }
}
