//! The sequence parameter set (clause 7.3.2.2).

use super::nal::{NalKind, nal_kind};
use super::vui;
use crate::nal::bits::{BitReader, OutOfBits};
use crate::nal::remove_emulation_prevention;

/// What a sequence parameter set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// `sps_seq_parameter_set_id`
    pub id: u8,
    /// Profile, tier and level.
    pub profile: ProfileTierLevel,
    /// Temporal layers, 1 to 7.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`
    pub temporal_id_nested: bool,
    /// `chroma_format_idc`
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Pixels across, cropping applied.
    pub width: u32,
    /// Pixels down, cropping applied.
    pub height: u32,
    /// `min_spatial_segmentation_idc`; 0 where it is not written, or the set cannot be read so far.
    pub min_spatial_segmentation: u16,
}

/// Profile, tier and level of the whole stream, as `hvcC` repeats them (clause 7.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProfileTierLevel {
    /// The twelve bytes from `general_profile_space` to `general_level_idc`.
    pub bytes: [u8; 12],
}

impl ProfileTierLevel {
    /// `general_profile_idc`
    pub const fn profile(&self) -> u8 {
        self.bytes[0] & 0x1F
    }

    /// Whether it is of the high tier.
    pub const fn is_high_tier(&self) -> bool {
        self.bytes[0] & 0x20 != 0
    }

    /// `general_level_idc`: thirty times the level.
    pub const fn level(&self) -> u8 {
        self.bytes[11]
    }
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

/// Largest extent that any level allows: √(8 × 142 606 336) luma samples (table A.8, level 7.2), rounded up.
const EXTENT_MAX: u32 = 33_776;

impl Sps {
    /// Reads a NAL unit of kind 33.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        if nal_kind(nal) != Some(NalKind::Sps) {
            return Err(SpsError::NotSps);
        }
        let raw = remove_emulation_prevention(&nal[2..]);
        let mut bits = BitReader::new(&raw);
        bits.skip(4)?;
        let sub_layers = bits.bits(3)? as u8;
        if sub_layers > 6 {
            return Err(SpsError::Malformed);
        }
        let temporal_id_nested = bits.flag()?;
        let profile = profile_tier_level(&mut bits, sub_layers)?;
        let id = u8::try_from(bits.unsigned()?).ok().filter(|id| *id < 16).ok_or(SpsError::Malformed)?;
        let chroma_format = bits.unsigned()?;
        if chroma_format > 3 {
            return Err(SpsError::Malformed);
        }
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let (width, height) = size(&mut bits, if separate_planes { 0 } else { chroma_format })?;
        let (luma, chroma) = (bits.unsigned()?, bits.unsigned()?);
        if luma > 8 || chroma > 8 {
            return Err(SpsError::Malformed);
        }
        // What follows is needed for one number that few decoders look at: a set that has something there that is not
        // known here is used all the same.
        let segmentation = vui::min_spatial_segmentation(&mut bits, sub_layers).unwrap_or(0);
        Ok(Self {
            id,
            profile,
            temporal_layers: sub_layers + 1,
            temporal_id_nested,
            chroma_format: chroma_format as u8,
            bit_depth_luma: 8 + luma as u8,
            bit_depth_chroma: 8 + chroma as u8,
            width,
            height,
            min_spatial_segmentation: segmentation,
        })
    }
}

/// Clause 7.3.3, with `profilePresentFlag` 1.
fn profile_tier_level(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<ProfileTierLevel, OutOfBits> {
    let mut general = ProfileTierLevel::default();
    for byte in &mut general.bytes {
        *byte = bits.bits(8)? as u8;
    }
    let mut present = Vec::with_capacity(8);
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - usize::from(sub_layers)))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(general)
}

fn size(bits: &mut BitReader<'_>, chroma_array_type: u32) -> Result<(u32, u32), SpsError> {
    let (width, height) = (bits.unsigned()?, bits.unsigned()?);
    if !(1..=EXTENT_MAX).contains(&width) || !(1..=EXTENT_MAX).contains(&height) {
        return Err(SpsError::Size);
    }
    if !bits.flag()? {
        return Ok((width, height));
    }
    let (left, right) = (bits.unsigned()?, bits.unsigned()?);
    let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
    // Table 6-1: units are chroma samples.
    let (unit_x, unit_y) = match chroma_array_type {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let cropped = |pixels: u32, before: u32, after: u32, unit: u32| {
        let cut = before.checked_add(after)?.checked_mul(unit)?;
        pixels.checked_sub(cut).filter(|left| *left > 0)
    };
    cropped(width, left, right, unit_x).zip(cropped(height, top, bottom, unit_y)).ok_or(SpsError::Size)
}
