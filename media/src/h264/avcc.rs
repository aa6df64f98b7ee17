//! `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1), the codec private data of H.264.

use bytes::{BufMut, Bytes, BytesMut};

use super::sps::{Sps, has_chroma_format};

/// A decoder configuration: the parameter sets of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvcConfiguration {
    /// Sequence parameter sets, as NAL units.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, as NAL units.
    pub pps: Vec<Bytes>,
    /// Bytes of the length before each NAL unit of a frame: 1, 2 or 4.
    pub length_size: u8,
}

/// Why codec private data is no decoder configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AvccError {
    /// It does not begin with version 1.
    #[error("the codec private data is no avcC of version 1")]
    Version,
    /// It ends early.
    #[error("the avcC is cut short")]
    Truncated,
}

impl AvcConfiguration {
    /// Takes codec private data apart.
    pub fn parse(record: &Bytes) -> Result<Self, AvccError> {
        let mut rest = record.clone();
        let head = take(&mut rest, 5)?;
        if head[0] != 1 {
            return Err(AvccError::Version);
        }
        let sps = parameter_sets(&mut rest, 0x1F)?;
        let pps = parameter_sets(&mut rest, 0xFF)?;
        Ok(Self { sps, pps, length_size: (head[4] & 3) + 1 })
    }

    /// Codec private data with 4-byte lengths; `None` without a sequence parameter set, or with more or larger sets than
    /// the record can hold.
    pub fn to_record(&self) -> Option<Bytes> {
        let first = self.sps.first().filter(|sps| sps.len() >= 4)?;
        let fits = |sets: &[Bytes], count: usize| {
            sets.len() <= count && sets.iter().all(|set| u16::try_from(set.len()).is_ok())
        };
        if !fits(&self.sps, 31) || !fits(&self.pps, 255) {
            return None;
        }
        let mut out = BytesMut::new();
        out.put_slice(&[1, first[1], first[2], first[3]]);
        out.put_u8(0xFC | (self.length_size.clamp(1, 4) - 1));
        put_sets(&mut out, 0xE0, &self.sps);
        put_sets(&mut out, 0, &self.pps);
        if has_chroma_format(first[1])
            && let Ok(sps) = Sps::parse(first)
        {
            out.put_slice(&[
                0xFC | sps.chroma_format,
                0xF8 | (sps.bit_depth_luma - 8),
                0xF8 | (sps.bit_depth_chroma - 8),
                0,
            ]);
        }
        Some(out.freeze())
    }
}

fn put_sets(out: &mut BytesMut, reserved: u8, sets: &[Bytes]) {
    out.put_u8(reserved | sets.len() as u8);
    for set in sets {
        out.put_u16(set.len() as u16);
        out.put_slice(set);
    }
}

fn parameter_sets(rest: &mut Bytes, mask: u8) -> Result<Vec<Bytes>, AvccError> {
    let count = take(rest, 1)?[0] & mask;
    (0..count)
        .map(|_| {
            let length = take(rest, 2)?;
            take(rest, usize::from(u16::from_be_bytes([length[0], length[1]])))
        })
        .collect()
}

fn take(rest: &mut Bytes, count: usize) -> Result<Bytes, AvccError> {
    if rest.len() < count { Err(AvccError::Truncated) } else { Ok(rest.split_to(count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Bytes {
        Bytes::from(hex::decode(hex).unwrap())
    }

    const HIGH: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
    const BASELINE: &str = "6742c00dd9016096c044000003000400000300c83c50a920";

    fn configuration(sps: &str) -> AvcConfiguration {
        AvcConfiguration {
            sps: vec![bytes(sps)],
            pps: vec![bytes("68ebe3cb22c0"), bytes("684bc0")],
            length_size: 4,
        }
    }

    #[test]
    fn records_have_the_form_of_the_standard() {
        let record = configuration(BASELINE).to_record().unwrap();
        assert_eq!(hex::encode(record), format!("0142c00dffe10018{BASELINE}02000668ebe3cb22c00003684bc0"));
        let record = configuration(HIGH).to_record().unwrap();
        assert_eq!(
            hex::encode(record),
            format!("01640028ffe1001b{HIGH}02000668ebe3cb22c00003684bc0fdf8f800")
        );
    }

    #[test]
    fn records_read_back_and_every_cut_is_seen() {
        for sps in [HIGH, BASELINE] {
            let configuration = configuration(sps);
            let record = configuration.to_record().unwrap();
            assert_eq!(AvcConfiguration::parse(&record), Ok(configuration));
            let sets_end = record.len() - if sps == HIGH { 4 } else { 0 };
            for end in 0..sets_end {
                assert_eq!(
                    AvcConfiguration::parse(&record.slice(..end)),
                    Err(AvccError::Truncated),
                    "cut at {end}"
                );
            }
        }
    }

    #[test]
    fn byte_streams_are_no_records() {
        assert_eq!(AvcConfiguration::parse(&bytes("0000000167640028")), Err(AvccError::Version));
    }

    #[test]
    fn what_a_record_cannot_hold_is_none() {
        assert_eq!(AvcConfiguration { sps: Vec::new(), ..configuration(HIGH) }.to_record(), None);
        assert_eq!(AvcConfiguration { sps: vec![bytes(HIGH); 32], ..configuration(HIGH) }.to_record(), None);
        assert_eq!(
            AvcConfiguration { pps: vec![Bytes::from(vec![0; 65_536])], ..configuration(HIGH) }.to_record(),
            None
        );
    }
}
