//! `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1), the codec private data of H.265.

use bytes::{BufMut, Bytes, BytesMut};

use super::sps::{ProfileTierLevel, Sps};

/// A decoder configuration: the parameter sets of a track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HevcConfiguration {
    /// Video parameter sets, as NAL units.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
    /// Bytes of the length before each NAL unit of a frame: 1, 2 or 4.
    pub length_size: u8,
}

/// Why codec private data is no decoder configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HvccError {
    /// It does not begin with version 1.
    #[error("the codec private data is no hvcC of version 1")]
    Version,
    /// It ends early.
    #[error("the hvcC is cut short")]
    Truncated,
}

/// Bytes before the arrays of parameter sets.
const HEAD_BYTES: usize = 23;

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;

impl HevcConfiguration {
    /// Takes codec private data apart. Arrays of anything but parameter sets are stepped over.
    pub fn parse(record: &Bytes) -> Result<Self, HvccError> {
        let mut rest = record.clone();
        let head = take(&mut rest, HEAD_BYTES)?;
        if head[0] != 1 {
            return Err(HvccError::Version);
        }
        let mut configuration = Self { length_size: (head[21] & 3) + 1, ..Self::default() };
        for _ in 0..head[22] {
            let array = take(&mut rest, 3)?;
            for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
                let length = take(&mut rest, 2)?;
                let nal = take(&mut rest, usize::from(u16::from_be_bytes([length[0], length[1]])))?;
                match array[0] & 0x3F {
                    VPS => configuration.vps.push(nal),
                    SPS => configuration.sps.push(nal),
                    PPS => configuration.pps.push(nal),
                    _ => {}
                }
            }
        }
        Ok(configuration)
    }

    /// Codec private data with 4-byte lengths; `None` unless each kind of set is there, or when the first sequence
    /// parameter set cannot be read, or a set is larger than the record can hold.
    ///
    /// The arrays are marked complete: frames here carry no parameter sets. The kind of parallelism is said to be unknown,
    /// and the frame rate too.
    pub fn to_record(&self) -> Option<Bytes> {
        let arrays = [(VPS, &self.vps), (SPS, &self.sps), (PPS, &self.pps)];
        let fits = |sets: &[Bytes]| {
            (1..=255).contains(&sets.len()) && sets.iter().all(|set| u16::try_from(set.len()).is_ok())
        };
        if !arrays.iter().all(|(_, sets)| fits(sets)) {
            return None;
        }
        let sps = Sps::parse(self.sps.first()?).ok()?;
        let mut out = BytesMut::new();
        self.put_head(&mut out, &sps);
        out.put_u8(arrays.len() as u8);
        for (kind, sets) in arrays {
            out.put_u8(0x80 | kind);
            out.put_u16(sets.len() as u16);
            for set in sets {
                out.put_u16(set.len() as u16);
                out.put_slice(set);
            }
        }
        Some(out.freeze())
    }

    fn put_head(&self, out: &mut BytesMut, sps: &Sps) {
        let ProfileTierLevel { bytes } = sps.profile;
        out.put_u8(1);
        out.put_slice(&bytes);
        out.put_u16(0xF000 | sps.min_spatial_segmentation);
        out.put_u8(0xFC);
        out.put_u8(0xFC | sps.chroma_format);
        out.put_u8(0xF8 | (sps.bit_depth_luma - 8));
        out.put_u8(0xF8 | (sps.bit_depth_chroma - 8));
        out.put_u16(0);
        let nested = u8::from(sps.temporal_id_nested) << 2;
        out.put_u8(sps.temporal_layers << 3 | nested | (self.length_size.clamp(1, 4) - 1));
    }
}

fn take(rest: &mut Bytes, count: usize) -> Result<Bytes, HvccError> {
    if rest.len() < count { Err(HvccError::Truncated) } else { Ok(rest.split_to(count)) }
}
