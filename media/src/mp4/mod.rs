//! MP4 (ISO base media), by `shiguredo_mp4`: fragmented as it comes ([`FragmentDemuxer`]), and plain files, whose samples must be
//! looked up ([`FileDemuxer`]).

mod file;
mod fragment;
#[cfg(test)]
pub(crate) mod tests;
mod tracks;

pub use file::{FileDemuxer, Step};
pub use fragment::FragmentDemuxer;

use crate::container::ContainerError;

/// The container's name in messages.
const NAME: &str = "MP4";

/// Bytes that the head of a film may have. A day of plain MP4 at 25 pictures a second has 30 MB; a fragmented one a few
/// hundred bytes.
const MOOV_BYTES_MAX: u64 = 32 << 20;

/// Bytes that a fragment may have, with its samples: they are kept until it is whole.
const FRAGMENT_BYTES_MAX: u64 = 64 << 20;

fn invalid(offset: u64, what: impl ToString) -> ContainerError {
    ContainerError::invalid(NAME, offset, what)
}
