//! Tells containers apart by their first bytes.

use super::Kind;

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// It is this.
    Found(Kind),
    /// There are too few bytes to say.
    More,
    /// It is none of those that are carried.
    Unknown,
}

/// With this many bytes there is always an answer.
pub const DETECT_BYTES: usize = 1_024;

/// Bytes in a packet of a transport stream, and what each begins with.
const TS_PACKET: usize = 188;
const TS_SYNC: u8 = 0x47;

/// Boxes that MP4 files and streams begin with (ISO/IEC 14496-12 §6.2.3, and older files of `QuickTime`).
const MP4_BOXES: [&[u8; 4]; 11] =
    [b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"mdat", b"free", b"skip", b"wide", b"emsg", b"pnot"];

/// Judges the first bytes of an input.
pub fn detect(bytes: &[u8]) -> Detection {
    let enough = bytes.len() >= DETECT_BYTES;
    let candidates = [mkv(bytes), mp4(bytes), byte_stream(bytes), transport_stream(bytes)];
    if let Some(found) = candidates.into_iter().find(|candidate| matches!(candidate, Detection::Found(_))) {
        return found;
    }
    if enough || candidates.iter().all(|candidate| *candidate == Detection::Unknown) {
        return Detection::Unknown;
    }
    Detection::More
}

/// An EBML header.
fn mkv(bytes: &[u8]) -> Detection {
    begins_with(bytes, &[0x1A, 0x45, 0xDF, 0xA3], Kind::Mkv)
}

fn mp4(bytes: &[u8]) -> Detection {
    match bytes.get(4..8) {
        None => Detection::More,
        Some(name) if MP4_BOXES.iter().any(|known| *known == name) => Detection::Found(Kind::Mp4),
        Some(_) => Detection::Unknown,
    }
}

/// Zeros, and a one that ends a start code.
fn byte_stream(bytes: &[u8]) -> Detection {
    match bytes.iter().position(|byte| *byte != 0) {
        None => Detection::More,
        Some(zeros) if zeros >= 2 && bytes[zeros] == 1 => Detection::Found(Kind::AnnexB),
        Some(_) => Detection::Unknown,
    }
}

/// Three packets in a row. The first may have lost its beginning.
fn transport_stream(bytes: &[u8]) -> Detection {
    let in_row = |at: usize| [at, at + TS_PACKET, at + 2 * TS_PACKET];
    let is_sync = |at: &usize| bytes.get(*at).is_none_or(|byte| *byte == TS_SYNC);
    let places: Vec<usize> = (0..TS_PACKET).filter(|at| in_row(*at).iter().all(is_sync)).collect();
    if places.iter().any(|at| in_row(*at)[2] < bytes.len()) {
        return Detection::Found(Kind::MpegTs);
    }
    if places.is_empty() { Detection::Unknown } else { Detection::More }
}

fn begins_with(bytes: &[u8], magic: &[u8], kind: Kind) -> Detection {
    let common = bytes.len().min(magic.len());
    if bytes[..common] != magic[..common] {
        Detection::Unknown
    } else if common == magic.len() {
        Detection::Found(kind)
    } else {
        Detection::More
    }
}
