//! The sequence parameter set (clause 7.3.2.1.1), as far as the size of the pictures needs it.

use super::nal::{NalKind, nal_kind};
use crate::nal::bits::{BitReader, OutOfBits};
use crate::nal::remove_emulation_prevention;

/// What a sequence parameter set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`
    pub profile: u8,
    /// The byte of constraint flags.
    pub constraints: u8,
    /// `level_idc`
    pub level: u8,
    /// `seq_parameter_set_id`
    pub id: u8,
    /// `chroma_format_idc`; 1 (4:2:0) where it is not written.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Pixels across, cropping applied.
    pub width: u32,
    /// Pixels down, cropping applied.
    pub height: u32,
    /// Number of reference frames; 0 means that every picture stands alone.
    pub max_num_ref_frames: u32,
}

/// Why a sequence parameter set cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpsError {
    /// The NAL unit is none.
    #[error("the NAL unit is no sequence parameter set")]
    NotSps,
    /// It ends early, or holds a number out of range.
    #[error("the sequence parameter set is cut short or malformed")]
    Malformed,
    /// The picture size is empty or larger than the standard's largest level.
    #[error("the sequence parameter set has an impossible picture size")]
    Size,
}

impl From<OutOfBits> for SpsError {
    fn from(_: OutOfBits) -> Self {
        Self::Malformed
    }
}

/// Largest extent that any level allows: √(8 × 139 264) macroblocks (table A-1, level 6.2), rounded up.
const EXTENT_MAX: u32 = 16_896;

impl Sps {
    /// Reads a NAL unit of kind 7.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        if nal_kind(nal) != Some(NalKind::Sps) {
            return Err(SpsError::NotSps);
        }
        let raw = remove_emulation_prevention(&nal[1..]);
        let mut bits = BitReader::new(&raw);
        let profile = bits.bits(8)? as u8;
        let constraints = bits.bits(8)? as u8;
        let level = bits.bits(8)? as u8;
        let id = u8::try_from(bits.unsigned()?).ok().filter(|id| *id < 32).ok_or(SpsError::Malformed)?;
        let chroma =
            if has_chroma_format(profile) { ChromaFormat::read(&mut bits)? } else { ChromaFormat::default() };
        skip_picture_order(&mut bits)?;
        let max_num_ref_frames = bits.unsigned()?;
        bits.flag()?;
        let (width, height) = size(&mut bits, &chroma)?;
        Ok(Self {
            profile,
            constraints,
            level,
            id,
            chroma_format: chroma.idc,
            bit_depth_luma: chroma.luma_bits,
            bit_depth_chroma: chroma.chroma_bits,
            width,
            height,
            max_num_ref_frames,
        })
    }
}

/// Profiles whose sets describe their chroma format.
pub(super) const fn has_chroma_format(profile: u8) -> bool {
    matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244)
}

#[derive(Debug)]
struct ChromaFormat {
    idc: u8,
    separate_planes: bool,
    luma_bits: u8,
    chroma_bits: u8,
}

impl Default for ChromaFormat {
    fn default() -> Self {
        Self { idc: 1, separate_planes: false, luma_bits: 8, chroma_bits: 8 }
    }
}

impl ChromaFormat {
    fn read(bits: &mut BitReader<'_>) -> Result<Self, SpsError> {
        let idc = bits.unsigned()?;
        if idc > 3 {
            return Err(SpsError::Malformed);
        }
        let separate_planes = idc == 3 && bits.flag()?;
        let luma = bits.unsigned()?;
        let chroma = bits.unsigned()?;
        if luma > 6 || chroma > 6 {
            return Err(SpsError::Malformed);
        }
        bits.flag()?;
        if bits.flag()? {
            for list in 0..if idc == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(Self { idc: idc as u8, separate_planes, luma_bits: 8 + luma as u8, chroma_bits: 8 + chroma as u8 })
    }
}

/// Clause 7.3.2.1.1.1: deltas follow until one makes the scale zero.
fn skip_scaling_list(bits: &mut BitReader<'_>, size: usize) -> Result<(), SpsError> {
    let mut last = 8i64;
    for _ in 0..size {
        let next = (last + i64::from(bits.signed()?)).rem_euclid(256);
        if next == 0 {
            break;
        }
        last = next;
    }
    Ok(())
}

fn skip_picture_order(bits: &mut BitReader<'_>) -> Result<(), SpsError> {
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            let cycle = bits.unsigned()?;
            if cycle > 255 {
                return Err(SpsError::Malformed);
            }
            for _ in 0..cycle {
                bits.signed()?;
            }
        }
        2 => {}
        _ => return Err(SpsError::Malformed),
    }
    Ok(())
}

fn size(bits: &mut BitReader<'_>, chroma: &ChromaFormat) -> Result<(u32, u32), SpsError> {
    let width_in_macroblocks = bits.unsigned()?.checked_add(1).ok_or(SpsError::Size)?;
    let height_in_units = bits.unsigned()?.checked_add(1).ok_or(SpsError::Size)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?;
    let fields = if frames_only { 1 } else { 2 };
    let extent = |units: u32, size: u32| units.checked_mul(size).filter(|pixels| *pixels <= EXTENT_MAX);
    let width = extent(width_in_macroblocks, 16).ok_or(SpsError::Size)?;
    let height = extent(height_in_units, 16 * fields).ok_or(SpsError::Size)?;
    if !bits.flag()? {
        return Ok((width, height));
    }
    let (left, right) = (bits.unsigned()?, bits.unsigned()?);
    let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
    // Clause 7.4.2.1.1: units are chroma samples, of fields where there are fields.
    let (unit_x, unit_y) = match (chroma.idc, chroma.separate_planes) {
        (1, _) => (2, 2 * fields),
        (2, _) => (2, fields),
        _ => (1, fields),
    };
    let cropped = |pixels: u32, before: u32, after: u32, unit: u32| {
        let cut = before.checked_add(after)?.checked_mul(unit)?;
        pixels.checked_sub(cut).filter(|left| *left > 0)
    };
    cropped(width, left, right, unit_x).zip(cropped(height, top, bottom, unit_y)).ok_or(SpsError::Size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(hex: &str) -> Result<Sps, SpsError> {
        Sps::parse(&hex::decode(hex).unwrap())
    }

    /// Sets written by x264 for pictures of a known size.
    #[test]
    fn size_and_format_are_those_that_the_encoder_was_given() {
        let table = [
            (
                "cropped to 1080",
                "67640028acd940780227e5c044000003000400000300c83c60c658",
                (1920, 1080),
                (100, 1, 8),
            ),
            ("interlaced", "67640028acd94078044fde0220000003002000000643e2c5b2c0", (1920, 1080), (100, 1, 8)),
            ("baseline", "6742c00dd9016096c044000003000400000300c83c50a920", (352, 288), (66, 1, 8)),
            (
                "4:2:2 in 10 bits",
                "677a0020b6cd9405105de223f011000003000100000300320f183196",
                (1282, 722),
                (122, 2, 10),
            ),
            ("4:4:4, odd", "67f4001e919b281485fc74460220000003002000000641e2c5b2c0", (643, 361), (244, 3, 8)),
            (
                "scaling matrix",
                "6764001eacd940d83de6f011000003000100000300320f162d96",
                (854, 480),
                (100, 1, 8),
            ),
            ("monochrome", "6764001ef3650290bf8f9f016c800000030080000019078b16cb", (642, 362), (100, 0, 8)),
            ("a capture's, High", "27640028ac2b40501ed00f1226a0", (640, 480), (100, 1, 8)),
            (
                "a capture's, Main",
                "274d401eb9101405ff2e02d4040407c0000003004000000f38a0003d090007a13bdee03e1108d4",
                (640, 360),
                (77, 1, 8),
            ),
        ];
        for (name, hex, size, format) in table {
            let sps = parse(hex).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((sps.width, sps.height), size, "{name}");
            assert_eq!((sps.profile, sps.chroma_format, sps.bit_depth_luma), format, "{name}");
        }
    }

    /// Writes bits, for sets that no encoder at hand makes.
    #[derive(Default)]
    struct BitWriter(Vec<bool>);

    impl BitWriter {
        fn bits(&mut self, value: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|at| value >> at & 1 == 1));
            self
        }

        fn unsigned(&mut self, value: u32) -> &mut Self {
            let length = (value + 1).ilog2();
            self.bits(0, length).bits(value + 1, length + 1)
        }

        fn signed(&mut self, value: i32) -> &mut Self {
            self.unsigned(if value > 0 { value as u32 * 2 - 1 } else { value.unsigned_abs() * 2 })
        }

        fn nal(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
            };
            let raw: Vec<u8> = self.0.chunks(8).map(byte).collect();
            [&[0x67], &crate::h264::add_emulation_prevention(&raw)[..]].concat()
        }
    }

    #[test]
    fn scaling_lists_and_frame_number_cycles_are_stepped_over() {
        let mut writer = BitWriter::default();
        writer.bits(100, 8).bits(0, 8).bits(40, 8).unsigned(3);
        writer.unsigned(1).unsigned(0).unsigned(0).bits(0, 1).bits(1, 1);
        // Eight lists: the first full, the second ended by a scale of zero, the seventh full, the others absent.
        writer.bits(1, 1);
        for _ in 0..16 {
            writer.signed(1);
        }
        writer.bits(1, 1).signed(-8);
        writer.bits(0, 4).bits(1, 1);
        for _ in 0..64 {
            writer.signed(2);
        }
        writer.bits(0, 1);
        // Order counted by a cycle of two.
        writer.unsigned(0).unsigned(1).bits(0, 1).signed(-3).signed(4).unsigned(2).signed(5).signed(-6);
        writer.unsigned(4).bits(0, 1).unsigned(119).unsigned(67).bits(1, 1).bits(1, 1);
        writer.bits(1, 1).unsigned(0).unsigned(0).unsigned(0).unsigned(4).bits(0, 1).bits(1, 1);
        let sps = Sps::parse(&writer.nal()).unwrap();
        assert_eq!((sps.id, sps.max_num_ref_frames, sps.width, sps.height), (3, 4, 1920, 1080));
    }

    #[test]
    fn malformed_sets_are_refused() {
        assert_eq!(Sps::parse(&[]), Err(SpsError::NotSps));
        assert_eq!(parse("68ebe3cb22c0"), Err(SpsError::NotSps));
        assert_eq!(parse("6764"), Err(SpsError::Malformed));
        let baseline = |width: u32, crop: Option<u32>| {
            let mut writer = BitWriter::default();
            writer
                .bits(66, 8)
                .bits(0, 8)
                .bits(30, 8)
                .unsigned(0)
                .unsigned(0)
                .unsigned(2)
                .unsigned(1)
                .bits(0, 1);
            writer.unsigned(width).unsigned(1).bits(1, 1).bits(1, 1).bits(u32::from(crop.is_some()), 1);
            if let Some(crop) = crop {
                writer.unsigned(crop).unsigned(0).unsigned(0).unsigned(0);
            }
            Sps::parse(&writer.bits(1, 8).nal())
        };
        assert_eq!(baseline(1, Some(1)).unwrap().width, 30);
        assert_eq!(baseline(1, Some(16)), Err(SpsError::Size));
        assert_eq!(baseline(1, Some(u32::MAX / 4)), Err(SpsError::Size));
        assert_eq!(baseline(2000, None), Err(SpsError::Size));
        assert_eq!(baseline(u32::MAX - 1, None), Err(SpsError::Size));
    }

    #[test]
    fn any_damage_is_an_error_or_a_size_and_no_panic() {
        let whole = hex::decode("67640028acd940780227e5c044000003000400000300c83c60c658").unwrap();
        for at in 1..whole.len() {
            for value in 0..=255 {
                let mut damaged = whole.clone();
                damaged[at] = value;
                if let Ok(sps) = Sps::parse(&damaged) {
                    assert!(
                        sps.width > 0
                            && sps.height > 0
                            && sps.width <= EXTENT_MAX
                            && sps.height <= EXTENT_MAX
                    );
                }
            }
            // The eleventh byte ends what is read: cropping.
            assert_eq!(Sps::parse(&whole[..at]).is_ok(), at >= 11, "cut at {at}");
        }
    }
}
