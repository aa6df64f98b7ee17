//! The sequence parameter set (clause 7.3.2.1.1), as far as the size of the pictures needs it.

use super::bits::{BitReader, OutOfBits};
use super::nal::{NalKind, nal_kind, remove_emulation_prevention};

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
        let chroma = if has_chroma_format(profile) { Chroma::read(&mut bits)? } else { Chroma::default() };
        skip_picture_order(&mut bits)?;
        let max_num_ref_frames = bits.unsigned()?;
        bits.flag()?;
        let (width, height) = size(&mut bits, &chroma)?;
        Ok(Self {
            profile,
            constraints,
            level,
            id,
            chroma_format: chroma.format,
            bit_depth_luma: chroma.bit_depth_luma,
            bit_depth_chroma: chroma.bit_depth_chroma,
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
struct Chroma {
    format: u8,
    separate_planes: bool,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
}

impl Default for Chroma {
    fn default() -> Self {
        Self { format: 1, separate_planes: false, bit_depth_luma: 8, bit_depth_chroma: 8 }
    }
}

impl Chroma {
    fn read(bits: &mut BitReader<'_>) -> Result<Self, SpsError> {
        let format = bits.unsigned()?;
        if format > 3 {
            return Err(SpsError::Malformed);
        }
        let separate_planes = format == 3 && bits.flag()?;
        let luma = bits.unsigned()?;
        let chroma = bits.unsigned()?;
        if luma > 6 || chroma > 6 {
            return Err(SpsError::Malformed);
        }
        bits.flag()?;
        if bits.flag()? {
            for list in 0..if format == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(Self {
            format: format as u8,
            separate_planes,
            bit_depth_luma: 8 + luma as u8,
            bit_depth_chroma: 8 + chroma as u8,
        })
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

fn size(bits: &mut BitReader<'_>, chroma: &Chroma) -> Result<(u32, u32), SpsError> {
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
    let (unit_x, unit_y) = match (chroma.format, chroma.separate_planes) {
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
