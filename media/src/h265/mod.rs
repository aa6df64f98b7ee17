//! As much of H.265 (ITU-T H.265) as carrying it needs: NAL units, parameter sets, picture size.

mod hvcc;
mod nal;
mod parameter_sets;
mod sps;
#[cfg(test)]
mod tests;
mod vui;

pub use hvcc::{HevcConfiguration, HvccError};
pub use nal::{NalKind, access, is_first_slice, nal_kind};
pub use parameter_sets::ParameterSets;
pub use sps::{ProfileTierLevel, Sps, SpsError};
