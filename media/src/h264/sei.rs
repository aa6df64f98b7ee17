//! Supplemental enhancement information with user data (clause D.1.7): built and read.
//!
//! The test camera numbers each picture this way; whoever counts losses reads the numbers back.

use super::nal::{NalKind, nal_kind};
use crate::nal::{add_emulation_prevention, nals_avcc, remove_emulation_prevention};

/// `payloadType` of `user_data_unregistered`.
const USER_DATA_UNREGISTERED: usize = 5;

/// Marks user data that is a picture number (big-endian, 8 bytes).
pub const PICTURE_NUMBER_UUID: [u8; 16] = *b"streamfleet.pic#";

/// A NAL unit (without start code or length) of kind 6 with this user data.
pub fn build_user_data(uuid: &[u8; 16], content: &[u8]) -> Vec<u8> {
    let mut raw = vec![USER_DATA_UNREGISTERED as u8];
    let mut size = uuid.len() + content.len();
    while size >= 255 {
        raw.push(255);
        size -= 255;
    }
    raw.push(size as u8);
    raw.extend_from_slice(uuid);
    raw.extend_from_slice(content);
    raw.push(0x80);
    let mut nal = vec![6];
    nal.extend_from_slice(&add_emulation_prevention(&raw));
    nal
}

/// The user data in a NAL unit of kind 6: marker and content of each message. Empty for any other NAL unit.
pub fn parse_user_data(nal: &[u8]) -> Vec<([u8; 16], Vec<u8>)> {
    if nal_kind(nal) != Some(NalKind::Sei) {
        return Vec::new();
    }
    let raw = remove_emulation_prevention(&nal[1..]);
    let mut rest = &raw[..];
    let mut found = Vec::new();
    // Two bytes are the least that a message has; what remains otherwise is the trailing bit.
    while rest.len() > 2 {
        let Some((kind, behind_kind)) = number(rest) else { break };
        let Some((size, behind_size)) = number(behind_kind) else { break };
        let Some(message) = behind_size.get(..size) else { break };
        if kind == USER_DATA_UNREGISTERED
            && let Some((uuid, content)) = message.split_first_chunk::<16>()
        {
            found.push((*uuid, content.to_vec()));
        }
        rest = &behind_size[size..];
    }
    found
}

/// A NAL unit that numbers a picture.
pub fn build_picture_number(number: u64) -> Vec<u8> {
    build_user_data(&PICTURE_NUMBER_UUID, &number.to_be_bytes())
}

/// The number of the picture in a frame with 4-byte length prefixes; `None` when it has none.
pub fn picture_number(frame: &[u8]) -> Option<u64> {
    nals_avcc(frame).take_while(|nal| nal[0] & 0x1F > 5).flat_map(parse_user_data).find_map(
        |(uuid, content)| {
            let number: [u8; 8] = content.try_into().ok()?;
            (uuid == PICTURE_NUMBER_UUID).then_some(u64::from_be_bytes(number))
        },
    )
}

/// A number that is written as a sum: bytes of 255 and a last one below.
fn number(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut sum = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        sum += usize::from(*byte);
        bytes = rest;
        if *byte != 255 {
            return Some((sum, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h264::length_prefixed;

    #[test]
    fn user_data_of_any_size_and_content_comes_back() {
        for size in [0, 1, 8, 238, 239, 240, 500, 1000] {
            for fill in [0u8, 1, 3, 0xFF] {
                let content = vec![fill; size];
                let nal = build_user_data(&[0; 16], &content);
                assert!(
                    !nal.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] < 3),
                    "a start code in {nal:?}"
                );
                assert_eq!(parse_user_data(&nal), [([0; 16], content)]);
            }
        }
    }

    #[test]
    fn picture_numbers_are_found_before_the_slices() {
        for number in [0, 1, 256, 0x0000_0300_0001, u64::MAX] {
            let sei = build_picture_number(number);
            let frame = length_prefixed([&[9, 0xF0][..], &[6, 1, 1, 0xAA, 0x80], &sei, &[0x65, 1, 2, 3]]);
            assert_eq!(picture_number(&frame), Some(number));
        }
        assert_eq!(picture_number(&length_prefixed([&[0x65, 1, 2, 3][..]])), None);
    }

    #[test]
    fn broken_messages_are_no_user_data() {
        for nal in [&[6][..], &[6, 5], &[6, 5, 200, 1, 2], &[6, 255, 255], &[6, 5, 16, 0, 0, 3], &[7, 5, 1]] {
            assert_eq!(parse_user_data(nal), [], "{nal:?}");
        }
    }
}
