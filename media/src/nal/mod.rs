//! NAL units as H.264 and H.265 share them: the two framings, and emulation prevention.

pub(crate) mod bits;

use bytes::{BufMut, Bytes, BytesMut};

/// NAL units of a byte stream (annex B), without start codes and trailing zeros. Bytes before the first start code are
/// left out.
pub fn nals_annexb(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(stream).map(|(_, behind)| &stream[behind..]);
    std::iter::from_fn(move || {
        let current = rest?;
        let (end, next) = match start_code(current) {
            Some((at, behind)) => (at, Some(&current[behind..])),
            None => (current.len(), None),
        };
        rest = next;
        let nal = &current[..end];
        let trailing = nal.iter().rev().take_while(|byte| **byte == 0).count();
        Some(&nal[..nal.len() - trailing])
    })
    .filter(|nal| !nal.is_empty())
}

/// Where the next start code begins, and the position behind it.
fn start_code(stream: &[u8]) -> Option<(usize, usize)> {
    let at = stream.windows(3).position(|bytes| bytes == [0, 0, 1])?;
    Some((at, at + 3))
}

/// NAL units with 4-byte length prefixes, as in Matroska and MP4. Ends early where a length does not fit.
pub fn nals_avcc(mut frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = frame.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let nal = rest.get(..length)?;
        frame = &rest[length..];
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

/// NAL units joined with 4-byte length prefixes.
pub fn length_prefixed<'a>(nals: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

/// Appends a NAL unit with its 4-byte length prefix.
pub fn put_length_prefixed(out: &mut Vec<u8>, nal: &[u8]) {
    out.extend_from_slice(&(nal.len() as u32).to_be_bytes());
    out.extend_from_slice(nal);
}

/// The raw content of a NAL unit: without the bytes that keep start codes from appearing in it (7.4.1).
pub fn remove_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for byte in nal {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        raw.push(*byte);
    }
    raw
}

/// A NAL unit from its raw content, with the bytes that keep start codes from appearing in it.
pub fn add_emulation_prevention(raw: &[u8]) -> Vec<u8> {
    let mut nal = Vec::with_capacity(raw.len() + 4);
    let mut zeros = 0;
    for byte in raw {
        if zeros >= 2 && *byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        nal.push(*byte);
    }
    nal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_streams_are_cut_at_start_codes_of_both_lengths() {
        let stream = [9, 9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 3, 0, 0];
        let nals: Vec<_> = nals_annexb(&stream).collect();
        assert_eq!(nals, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(nals_annexb(&[1, 2, 3]).count(), 0);
        assert_eq!(nals_annexb(&[0, 0, 1, 0, 0, 1]).count(), 0);
    }

    #[test]
    fn a_length_that_does_not_fit_ends_the_frame() {
        assert_eq!(nals_avcc(&[0, 0, 0, 1, 7, 0, 0, 0, 9, 1]).count(), 1);
        assert_eq!(nals_avcc(&[0xFF, 0xFF, 0xFF, 0xFF, 1]).count(), 0);
        assert_eq!(nals_avcc(&[0, 0]).count(), 0);
    }

    #[test]
    fn emulation_prevention_round_trips_for_all_short_contents() {
        // Every sequence of up to seven bytes out of those that matter.
        let alphabet = [0u8, 1, 3, 4];
        for length in 0..=7u32 {
            for number in 0..4usize.pow(length) {
                let raw: Vec<u8> = (0..length).map(|at| alphabet[number / 4usize.pow(at) % 4]).collect();
                let nal = add_emulation_prevention(&raw);
                assert!(
                    !nal.windows(3).any(|bytes| bytes[0] == 0 && bytes[1] == 0 && bytes[2] < 3),
                    "{raw:?}"
                );
                assert_eq!(remove_emulation_prevention(&nal), raw);
            }
        }
    }
}
