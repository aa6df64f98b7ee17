//! As much of H.264 (ITU-T H.264) as carrying it needs: NAL units, parameter sets, picture size,
//! supplemental information.

mod avcc;
mod nal;
mod parameter_sets;
pub mod sei;
mod sps;

pub use avcc::{AvcConfiguration, AvccError};
pub use nal::{NalKind, access, annexb_to_avcc, is_first_slice, is_idr, nal_kind};
pub use parameter_sets::ParameterSets;
pub use sps::{Sps, SpsError};

pub use crate::nal::{
    add_emulation_prevention, length_prefixed, nals_annexb, nals_avcc, remove_emulation_prevention,
};
