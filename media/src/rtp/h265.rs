//! H.265 in RTP (RFC 7798): single units, aggregates and fragments, with or without decoding order numbers.

use super::assembler::{Assembler, Place};
use super::h264::Malformed;
use crate::track::Sample;

const AGGREGATE: u8 = 48;
const FRAGMENT: u8 = 49;

/// Bytes of the head of a NAL unit, and of every payload.
const HEAD: usize = 2;

/// Takes a packet's payload in. With `donl` packets have decoding order numbers, which are passed over: units come in
/// the order of decoding all the same from everything that is known to send them.
pub(super) fn push<T: Copy>(
    assembler: &mut Assembler<T>,
    donl: bool,
    payload: &[u8],
    place: Place<T>,
    out: &mut Vec<(Sample, T)>,
) -> Result<(), Malformed> {
    let head = first_head(payload, donl).ok_or(Malformed)?;
    if !assembler.turn_to(place, &head, out) {
        return Ok(());
    }
    match payload[0] >> 1 & 0x3F {
        AGGREGATE => aggregate(assembler, &payload[HEAD..], donl),
        FRAGMENT => fragment(assembler, payload, donl),
        _ if donl => {
            let body = payload.get(HEAD + 2..).ok_or(Malformed)?;
            assembler.start(&payload[..HEAD]);
            assembler.append(body);
            assembler.end();
            Ok(())
        }
        _ => {
            assembler.whole(payload);
            Ok(())
        }
    }
}

/// The head of the first NAL unit in a packet.
fn first_head(payload: &[u8], donl: bool) -> Option<[u8; HEAD]> {
    let [first, second, third, ..] = *payload else { return None };
    let at = |index: usize| payload.get(index..)?.first_chunk::<HEAD>().copied();
    match first >> 1 & 0x3F {
        AGGREGATE => at(HEAD + 2 + if donl { 2 } else { 0 }),
        FRAGMENT => Some([first & 0x81 | (third & 0x3F) << 1, second]),
        // A start code where a NAL unit is to begin.
        0 if payload.starts_with(&[0, 0, 1]) => at(3),
        0 if payload.starts_with(&[0, 0, 0, 1]) => at(4),
        0..=47 => Some([first, second]),
        // PACI and what nobody has defined.
        _ => None,
    }
}

/// Sizes and units, one after another (§4.4.2).
fn aggregate<T: Copy>(assembler: &mut Assembler<T>, mut rest: &[u8], donl: bool) -> Result<(), Malformed> {
    // The first has a whole number, the others the distance from the one before them.
    let mut order = if donl { 2 } else { 0 };
    while rest.len() > order + 2 {
        let (size, behind) = rest[order..].split_first_chunk::<2>().ok_or(Malformed)?;
        let size = usize::from(u16::from_be_bytes(*size));
        let nal = behind.get(..size).ok_or(Malformed)?;
        if !nal.is_empty() {
            assembler.whole(nal);
        }
        rest = &behind[size..];
        order = order.min(1);
    }
    Ok(())
}

/// The head of every payload, a head with the unit's type and the flags of start and end (§4.4.3).
fn fragment<T: Copy>(assembler: &mut Assembler<T>, payload: &[u8], donl: bool) -> Result<(), Malformed> {
    let [first, second, head, body @ ..] = payload else { return Err(Malformed) };
    let is_start = head & 0x80 != 0;
    let body = if donl && is_start { body.get(2..).ok_or(Malformed)? } else { body };
    if is_start {
        assembler.start(&[first & 0x81 | (head & 0x3F) << 1, *second]);
    }
    assembler.append(body);
    if head & 0x40 != 0 {
        assembler.end();
    }
    Ok(())
}
