//! As much of AAC (ISO/IEC 14496-3) as carrying it needs: `AudioSpecificConfig` and ADTS headers.

use bytes::Bytes;

use crate::nal::bits::{BitReader, OutOfBits};
use crate::track::{Codec, TrackParameters};

/// Samples a second by index (table 1.16).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The index that says that the rate follows as a number.
const RATE_WRITTEN: u32 = 15;

/// Samples of each channel in a frame: 1,024, which all encoders use that send it live. (960 exists in broadcasting.)
pub const SAMPLES_PER_FRAME: u32 = 1_024;

/// What a decoder must know: the `AudioSpecificConfig`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioConfig {
    /// Audio object type; 2 is AAC-LC, 5 and 29 are HE-AAC.
    pub object_type: u8,
    /// Samples a second of the coded signal; HE-AAC doubles it in decoding.
    pub rate: u32,
    /// Channels, 1 to 8; 0 where the stream itself describes them.
    pub channels: u8,
}

/// Why bytes are no AAC that is carried here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AacError {
    /// They end early.
    #[error("the AAC configuration or header is cut short")]
    Truncated,
    /// A value that the standard reserves.
    #[error("the AAC configuration or header has a reserved value")]
    Reserved,
    /// No ADTS header begins here.
    #[error("there is no ADTS header where one should be")]
    NoSync,
}

impl From<OutOfBits> for AacError {
    fn from(_: OutOfBits) -> Self {
        Self::Truncated
    }
}

impl AudioConfig {
    /// Reads the beginning of an `AudioSpecificConfig` (clause 1.6.2.1).
    pub fn parse(config: &[u8]) -> Result<Self, AacError> {
        let mut bits = BitReader::new(config);
        let object_type = match bits.bits(5)? {
            31 => 32 + bits.bits(6)?,
            other => other,
        } as u8;
        let rate = match bits.bits(4)? {
            RATE_WRITTEN => bits.bits(24)?,
            index => *RATES.get(index as usize).ok_or(AacError::Reserved)?,
        };
        let channels = channels(bits.bits(4)?)?;
        if object_type == 0 || rate == 0 {
            return Err(AacError::Reserved);
        }
        Ok(Self { object_type, rate, channels })
    }

    /// The two bytes of an `AudioSpecificConfig`, five where the rate is none of the usual.
    pub fn to_config(&self) -> Bytes {
        // The layout of eight channels has the number 7.
        let channels = u64::from(if self.channels == 8 { 7 } else { self.channels & 7 });
        let object_type = u64::from(self.object_type.min(30)) << 35;
        if let Some(index) = RATES.iter().position(|rate| *rate == self.rate) {
            let bits = object_type | (index as u64) << 31 | channels << 27;
            return Bytes::copy_from_slice(&bits.to_be_bytes()[3..5]);
        }
        let rate = u64::from(self.rate & 0x00FF_FFFF);
        let bits = object_type | u64::from(RATE_WRITTEN) << 31 | rate << 7 | channels << 3;
        Bytes::copy_from_slice(&bits.to_be_bytes()[3..8])
    }
}

/// A track of AAC by its `AudioSpecificConfig`.
pub fn parameters(config: &Bytes) -> Result<TrackParameters, AacError> {
    let read = AudioConfig::parse(config)?;
    Ok(TrackParameters::audio(Codec::Aac, config.clone(), read.rate, read.channels.max(1).into()))
}

/// `channelConfiguration` (table 1.19).
fn channels(number: u32) -> Result<u8, AacError> {
    match number {
        0..=6 => Ok(number as u8),
        7 => Ok(8),
        _ => Err(AacError::Reserved),
    }
}

/// The header before each frame of an ADTS stream (clause 1.A.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdtsHeader {
    /// What the frame needs to be decoded.
    pub config: AudioConfig,
    /// Bytes of the header: 7, or 9 with a checksum.
    pub header_bytes: usize,
    /// Bytes of header and frame together.
    pub frame_bytes: usize,
}

impl AdtsHeader {
    /// Bytes that [`AdtsHeader::parse`] needs.
    pub const BYTES_MIN: usize = 7;

    /// Reads a header. Frames of several blocks (which nobody writes) are refused as reserved: they are no frames of their
    /// own in Matroska.
    pub fn parse(bytes: &[u8]) -> Result<Self, AacError> {
        let head = bytes.get(..Self::BYTES_MIN).ok_or(AacError::Truncated)?;
        let mut bits = BitReader::new(head);
        if bits.bits(12)? != 0xFFF {
            return Err(AacError::NoSync);
        }
        bits.skip(1)?;
        // The layer is always 0; anything else is another kind of MPEG audio.
        if bits.bits(2)? != 0 {
            return Err(AacError::NoSync);
        }
        let has_checksum = !bits.flag()?;
        let object_type = bits.bits(2)? as u8 + 1;
        let rate = *RATES.get(bits.bits(4)? as usize).ok_or(AacError::Reserved)?;
        bits.skip(1)?;
        let channels = channels(bits.bits(3)?)?;
        bits.skip(4)?;
        let frame_bytes = bits.bits(13)? as usize;
        bits.skip(11)?;
        let blocks = bits.bits(2)?;
        let header_bytes = if has_checksum { 9 } else { 7 };
        if blocks != 0 || frame_bytes <= header_bytes {
            return Err(AacError::Reserved);
        }
        Ok(Self { config: AudioConfig { object_type, rate, channels }, header_bytes, frame_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_those_of_the_standard_and_of_encoders() {
        let table = [
            ("1190", 2, 48_000, 2),
            ("1208", 2, 44_100, 1),
            ("1588", 2, 8_000, 1),
            ("1408", 2, 16_000, 1),
            // HE-AAC as ffmpeg's and cameras' extended form begins.
            ("2b920800", 5, 22_050, 2),
            ("17805dc008", 2, 48_000, 1),
        ];
        for (hex, object_type, rate, channels) in table {
            let config = hex::decode(hex).unwrap();
            let expected = AudioConfig { object_type, rate, channels };
            assert_eq!(AudioConfig::parse(&config), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn what_is_built_reads_back() {
        for (index, rate) in RATES.iter().chain(&[44_056, 16_777_215]).enumerate() {
            for channels in [0, 1, 2, 3, 4, 5, 6, 8] {
                let config = AudioConfig { object_type: 2, rate: *rate, channels };
                let bytes = config.to_config();
                assert_eq!(AudioConfig::parse(&bytes), Ok(config));
                assert_eq!(bytes.len(), if index < RATES.len() { 2 } else { 5 });
            }
        }
        let usual = AudioConfig { object_type: 2, rate: 48_000, channels: 2 };
        assert_eq!(hex::encode(usual.to_config()), "1190");
    }

    #[test]
    fn cut_and_reserved_configurations_are_refused() {
        assert_eq!(AudioConfig::parse(&[]), Err(AacError::Truncated));
        assert_eq!(AudioConfig::parse(&[0x11]), Err(AacError::Truncated));
        assert_eq!(AudioConfig::parse(&[0x16, 0x90]), Err(AacError::Reserved), "rate index 13");
        assert_eq!(AudioConfig::parse(&[0x11, 0xF8]), Err(AacError::Reserved), "channel number 15");
        assert_eq!(AudioConfig::parse(&[0x01, 0x90]), Err(AacError::Reserved), "object type 0");
    }

    #[test]
    fn adts_headers_say_the_length_with_and_without_a_checksum() {
        let header = AdtsHeader::parse(&hex::decode("fff14c80017ffc").unwrap()).unwrap();
        let config = AudioConfig { object_type: 2, rate: 48_000, channels: 2 };
        assert_eq!(header, AdtsHeader { config, header_bytes: 7, frame_bytes: 11 });
        let header = AdtsHeader::parse(&hex::decode("fff04c80017ffc").unwrap()).unwrap();
        assert_eq!((header.header_bytes, header.frame_bytes), (9, 11));
    }

    #[test]
    fn what_is_no_adts_is_refused() {
        let parse = |hex: &str| AdtsHeader::parse(&hex::decode(hex).unwrap());
        assert_eq!(parse("fff14c80017f"), Err(AacError::Truncated));
        assert_eq!(parse("ffe14c80017ffc"), Err(AacError::NoSync));
        assert_eq!(parse("fffb4c80017ffc"), Err(AacError::NoSync), "MP3");
        assert_eq!(parse("fff14c8000fffc"), Err(AacError::Reserved), "no longer than its header");
        assert_eq!(parse("fff17480017ffc"), Err(AacError::Reserved), "rate index 13");
    }
}
