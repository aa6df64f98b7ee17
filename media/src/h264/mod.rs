//! As much of H.264 (ITU-T H.264) as carrying it needs: NAL units in both framings, parameter sets, picture size,
//! supplemental information.

mod avcc;
mod bits;
mod nal;
mod parameter_sets;
pub mod sei;
mod sps;

pub use avcc::{AvcConfiguration, AvccError};
pub use nal::{
    NalKind, add_emulation_prevention, annexb_to_avcc, is_idr, length_prefixed, nal_kind, nals_annexb,
    nals_avcc, remove_emulation_prevention,
};
pub use parameter_sets::ParameterSets;
pub use sps::{Sps, SpsError};
