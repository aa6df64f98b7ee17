//! One record of a segment: a head of fixed size, then a payload.

use bytes::Bytes;

use super::{SpoolError, take, take_slice};
use crate::limits::{CODEC_PRIVATE_BYTES_MAX, FRAGMENT_BYTES_MAX, TRACKS_MAX};
use crate::mkv::{AudioFormat, VideoFormat};
use crate::track::{AccessUnit, Codec, CodecParameters, Format, TrackParameters};

/// The bytes of a [`Head`].
pub const HEAD_BYTES: usize = 24;

/// The longest payload of parameters: private data of all tracks, and a little for each.
const PARAMETERS_BYTES_MAX: usize = TRACKS_MAX * (CODEC_PRIVATE_BYTES_MAX + 32) + 1;

const FLAG_KEY: u8 = 1;

/// The mark of a group that waits. Any other says that nothing waits for it.
const MARK_WAITS: u8 = 0xFF;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Codec parameters; `value` is 0.
    Parameters,
    /// The beginning of a group of pictures; `value` is its id. No payload.
    Group,
    /// An access unit; `value` is its time.
    Unit,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Parameters => 1,
            Self::Group => 2,
            Self::Unit => 3,
        }
    }

    const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Parameters => PARAMETERS_BYTES_MAX,
            Self::Group => 0,
            Self::Unit => FRAGMENT_BYTES_MAX as usize,
        }
    }
}

/// What stands before a payload.
///
/// | offset | bytes | |
/// | --- | --- | --- |
/// | 0 | 1 | kind |
/// | 1 | 1 | track |
/// | 2 | 1 | flags: 1 = key |
/// | 3 | 1 | mark, written in place, in no checksum |
/// | 4 | 4 | length of the payload |
/// | 8 | 8 | value |
/// | 16 | 4 | CRC-32 of the payload |
/// | 20 | 4 | CRC-32 of bytes 0 to 2 and 4 to 19 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the record is.
    pub kind: Kind,
    /// The index of a unit's track.
    pub track: u8,
    /// Whether a fragment may begin with the unit.
    pub key: bool,
    /// Whether a group waits to be stored.
    pub waits: bool,
    /// The length of the payload.
    pub length: u32,
    /// A group's id, a unit's time in milliseconds of the Unix epoch.
    pub value: i64,
    /// The payload's checksum.
    pub checksum: u32,
}

impl Head {
    /// Where in a head the mark stands.
    pub const MARK_AT: u64 = 3;

    /// What is written there when nothing waits for the group any more.
    pub const MARK_DONE: u8 = 0;

    /// The head of a group that waits.
    pub fn group(id: u64) -> Self {
        let checksum = crc32fast::hash(&[]);
        Self { kind: Kind::Group, track: 0, key: false, waits: true, length: 0, value: id as i64, checksum }
    }

    /// The head of a unit; its bytes follow as they are.
    pub fn unit(unit: &AccessUnit) -> Self {
        Self {
            kind: Kind::Unit,
            track: unit.track,
            key: unit.key,
            waits: true,
            length: unit.data.len() as u32,
            value: unit.time_ms,
            checksum: crc32fast::hash(&unit.data),
        }
    }

    /// The head of parameters that were encoded to `payload`.
    pub fn parameters(payload: &[u8]) -> Self {
        Self {
            kind: Kind::Parameters,
            track: 0,
            key: false,
            waits: true,
            length: payload.len() as u32,
            value: 0,
            checksum: crc32fast::hash(payload),
        }
    }

    /// The head as it stands in a file.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[0] = self.kind.number();
        out[1] = self.track;
        out[2] = if self.key { FLAG_KEY } else { 0 };
        out[3] = if self.waits { MARK_WAITS } else { Self::MARK_DONE };
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.value.to_le_bytes());
        out[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = head_checksum(&out);
        out[20..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a head from the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, SpoolError> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(SpoolError::Truncated)?;
        let mut rest = head.as_slice();
        let [kind, track, flags, mark] = take(&mut rest)?;
        let length = u32::from_le_bytes(take(&mut rest)?);
        let value = i64::from_le_bytes(take(&mut rest)?);
        let checksum = u32::from_le_bytes(take(&mut rest)?);
        if head_checksum(head) != u32::from_le_bytes(take(&mut rest)?) {
            return Err(SpoolError::Checksum);
        }
        let kind = match kind {
            1 => Kind::Parameters,
            2 => Kind::Group,
            3 => Kind::Unit,
            _ => return Err(SpoolError::Field("kind of record")),
        };
        if length as usize > kind.payload_bytes_max() {
            return Err(SpoolError::Field("length"));
        }
        let (key, waits) = (flags & FLAG_KEY != 0, mark == MARK_WAITS);
        Ok(Self { kind, track, key, waits, length, value, checksum })
    }

    /// The bytes of the record, head and payload.
    pub fn record_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.length)
    }

    /// Whether this is the payload that the head was made for.
    pub fn is_of(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.checksum
    }
}

fn head_checksum(head: &[u8; HEAD_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..3]);
    hasher.update(&head[4..20]);
    hasher.finalize()
}

/// Reads the units of a group: the records behind its head. `bytes` may go on behind them. Gives the whole units before
/// the first that is damaged or missing; the caller knows how many there should be.
pub fn read_units(bytes: &Bytes) -> Vec<AccessUnit> {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(Ok(head)) = bytes.get(at..).map(Head::decode) {
        let start = at + HEAD_BYTES;
        let end = start + head.length as usize;
        if head.kind != Kind::Unit || !bytes.get(start..end).is_some_and(|payload| head.is_of(payload)) {
            break;
        }
        let data = bytes.slice(start..end);
        units.push(AccessUnit { track: head.track, time_ms: head.value, key: head.key, data });
        at = end;
    }
    units
}

/// The payload of a [`Kind::Parameters`] record.
pub fn encode_parameters(parameters: &CodecParameters) -> Vec<u8> {
    let mut out = vec![parameters.tracks.len() as u8];
    for track in &parameters.tracks {
        out.push(codec_number(track.codec));
        match track.format {
            Format::Video(format) => {
                out.push(0);
                out.extend_from_slice(&format.width.to_le_bytes());
                out.extend_from_slice(&format.height.to_le_bytes());
            }
            Format::Audio(format) => {
                out.push(1);
                out.extend_from_slice(&format.sampling_frequency.to_bits().to_le_bytes());
                out.extend_from_slice(&(format.channels as u32).to_le_bytes());
                out.extend_from_slice(&(format.bit_depth.unwrap_or(0) as u32).to_le_bytes());
            }
        }
        out.extend_from_slice(&(track.private.len() as u32).to_le_bytes());
        out.extend_from_slice(&track.private);
    }
    out
}

/// Reads the payload of a [`Kind::Parameters`] record.
pub fn decode_parameters(payload: &[u8]) -> Result<CodecParameters, SpoolError> {
    let mut rest = payload;
    let [count] = take(&mut rest)?;
    if usize::from(count) > TRACKS_MAX {
        return Err(SpoolError::Field("number of tracks"));
    }
    let mut tracks = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        tracks.push(decode_track(&mut rest)?);
    }
    if rest.is_empty() { Ok(CodecParameters { tracks }) } else { Err(SpoolError::Field("length")) }
}

fn decode_track(rest: &mut &[u8]) -> Result<TrackParameters, SpoolError> {
    let [codec, form] = take(rest)?;
    let codec = codec_of(codec)?;
    let format = match form {
        0 => {
            let width = u64::from_le_bytes(take(rest)?);
            Format::Video(VideoFormat { width, height: u64::from_le_bytes(take(rest)?) })
        }
        1 => {
            let sampling_frequency = f64::from_bits(u64::from_le_bytes(take(rest)?));
            let channels = u64::from(u32::from_le_bytes(take(rest)?));
            let bit_depth = Some(u64::from(u32::from_le_bytes(take(rest)?))).filter(|bits| *bits > 0);
            Format::Audio(AudioFormat { sampling_frequency, channels, bit_depth })
        }
        _ => return Err(SpoolError::Field("format of a track")),
    };
    let length = u32::from_le_bytes(take(rest)?) as usize;
    if length > CODEC_PRIVATE_BYTES_MAX {
        return Err(SpoolError::Field("length of private data"));
    }
    let private = Bytes::copy_from_slice(take_slice(rest, length)?);
    Ok(TrackParameters { codec, private, format })
}

/// Numbers that stay: files outlive releases.
const fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::H264 => 1,
        Codec::H265 => 2,
        Codec::Aac => 3,
        Codec::PcmAlaw => 4,
        Codec::PcmMulaw => 5,
    }
}

fn codec_of(number: u8) -> Result<Codec, SpoolError> {
    [Codec::H264, Codec::H265, Codec::Aac, Codec::PcmAlaw, Codec::PcmMulaw]
        .into_iter()
        .find(|codec| codec_number(*codec) == number)
        .ok_or(SpoolError::Field("codec"))
}
