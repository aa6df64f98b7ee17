//! H.264 in RTP (RFC 6184), non-interleaved: single units, aggregates (STAP-A) and fragments (FU-A).

use super::assembler::{Assembler, Place};
use crate::track::Sample;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// The payload breaks the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes a packet's payload in.
pub(super) fn push<T: Copy>(
    assembler: &mut Assembler<T>,
    payload: &[u8],
    place: Place<T>,
    out: &mut Vec<(Sample, T)>,
) -> Result<(), Malformed> {
    let head = first_head(payload).ok_or(Malformed)?;
    if !assembler.turn_to(place, &[head], out) {
        return Ok(());
    }
    match payload[0] & 0x1F {
        STAP_A => aggregate(assembler, &payload[1..]),
        FU_A => fragment(assembler, payload),
        _ => {
            assembler.whole(payload);
            Ok(())
        }
    }
}

/// The head of the first NAL unit in a packet.
fn first_head(payload: &[u8]) -> Option<u8> {
    let first = *payload.first()?;
    match first & 0x1F {
        STAP_A => payload.get(3).copied(),
        FU_A => payload.get(1).map(|head| first & 0xE0 | head & 0x1F),
        1..=23 => Some(first),
        // A start code where a NAL unit is to begin.
        0 if payload.starts_with(&[0, 0, 1]) => payload.get(3).copied(),
        0 if payload.starts_with(&[0, 0, 0, 1]) => payload.get(4).copied(),
        // STAP-B, MTAP and FU-B belong to the interleaved mode.
        _ => None,
    }
}

/// Sizes and units, one after another (§5.7.1).
fn aggregate<T: Copy>(assembler: &mut Assembler<T>, mut rest: &[u8]) -> Result<(), Malformed> {
    while let Some((size, behind)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let nal = behind.get(..size).ok_or(Malformed)?;
        if !nal.is_empty() {
            assembler.whole(nal);
        }
        rest = &behind[size..];
    }
    Ok(())
}

/// An indicator with the unit's importance, a head with its type and the flags of start and end (§5.8).
fn fragment<T: Copy>(assembler: &mut Assembler<T>, payload: &[u8]) -> Result<(), Malformed> {
    let [indicator, head, body @ ..] = payload else { return Err(Malformed) };
    if head & 0x80 != 0 {
        assembler.start(&[indicator & 0xE0 | head & 0x1F]);
    }
    assembler.append(body);
    if head & 0x40 != 0 {
        assembler.end();
    }
    Ok(())
}
