//! G.711: what a decoder must know, as `WAVEFORMATEX` says it. A sample is a byte in both laws.

use bytes::{BufMut, BytesMut};

use crate::track::{Codec, TrackParameters};

/// Samples a second where nothing else is said (RFC 3551 §4.5.14).
pub const RATE: u32 = 8_000;

/// `WAVE_FORMAT_ALAW`
const FORMAT_ALAW: u16 = 6;

/// `WAVE_FORMAT_MULAW`
const FORMAT_MULAW: u16 = 7;

/// Bytes of `WAVEFORMATEX` with nothing appended.
const BYTES: usize = 18;

/// The law, samples a second and channels that codec private data in the form of `WAVEFORMATEX` names; `None` where it is
/// cut short or names another format.
pub fn parse(private: &[u8]) -> Option<(Codec, u32, u32)> {
    // Old writers leave the count of appended bytes out.
    let head = private.get(..BYTES - 2)?;
    let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let codec = match word(0) {
        FORMAT_ALAW => Codec::PcmAlaw,
        FORMAT_MULAW => Codec::PcmMulaw,
        _ => return None,
    };
    let rate = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    (rate > 0 && word(2) > 0).then_some((codec, rate, word(2).into()))
}

/// A track of G.711; `None` for any other codec, or more channels or samples than the record can say.
pub fn parameters(codec: Codec, rate: u32, channels: u16) -> Option<TrackParameters> {
    let format = match codec {
        Codec::PcmAlaw => FORMAT_ALAW,
        Codec::PcmMulaw => FORMAT_MULAW,
        _ => return None,
    };
    let bytes_per_second = rate.checked_mul(channels.into()).filter(|rate| *rate > 0)?;
    let mut out = BytesMut::with_capacity(BYTES);
    out.put_u16_le(format);
    out.put_u16_le(channels);
    out.put_u32_le(rate);
    out.put_u32_le(bytes_per_second);
    // One sample of all channels, bits of a sample, bytes appended.
    out.put_u16_le(channels);
    out.put_u16_le(8);
    out.put_u16_le(0);
    Some(TrackParameters::audio(codec, out.freeze(), rate, channels.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 18 bytes, little-endian; ffmpeg writes the same.
    #[test]
    fn formats_are_written_as_windows_defines_them() {
        let alaw = parameters(Codec::PcmAlaw, RATE, 1).unwrap();
        assert_eq!(hex::encode(&alaw.private), "06000100401f0000401f0000010008000000");
        let mulaw = parameters(Codec::PcmMulaw, 16_000, 2).unwrap();
        assert_eq!(hex::encode(&mulaw.private), "07000200803e0000007d0000020008000000");
    }

    #[test]
    fn formats_read_back() {
        for (codec, rate, channels) in [(Codec::PcmAlaw, 8_000, 1), (Codec::PcmMulaw, 48_000, 2)] {
            let written = parameters(codec, rate, channels).unwrap();
            assert_eq!(parse(&written.private), Some((codec, rate, channels.into())));
            assert_eq!(parse(&written.private[..16]), Some((codec, rate, channels.into())));
            assert_eq!(parse(&written.private[..15]), None);
        }
        assert_eq!(parse(&[1; 18]), None, "another format");
        assert_eq!(parameters(Codec::Aac, RATE, 1), None);
        assert_eq!(parameters(Codec::PcmAlaw, 0, 1), None);
        assert_eq!(parameters(Codec::PcmAlaw, u32::MAX, 2), None);
    }
}
