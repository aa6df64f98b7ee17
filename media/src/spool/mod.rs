//! The format of the spool: how access units wait in files until they are stored.
//!
//! A segment is a file that is only appended to: a [`SegmentHeader`], which names the feed and the stream that it is for,
//! then records, each with a [`Head`] and a payload, each with a checksum of its own. [`Kind::Parameters`] holds for the
//! groups that follow it, [`Kind::Group`] for the [`Kind::Unit`]s that follow it. A group lies within one segment.
//!
//! One byte is written in place: the mark of a group ([`Head::MARK_AT`]), which says that nothing waits for the group any
//! more. It is no part of a checksum, and a write of one byte is never torn.
//!
//! A process that is killed leaves at most one record half written, the last. A [`Scanner`] keeps the whole units before
//! it; a group needs no end. Behind a record that is damaged, a [`Search`] tells what is lost. Integers are little-endian. Everything here is pure; files are the producer's.

mod header;
mod record;
mod scan;
mod search;
#[cfg(test)]
mod tests;

pub use header::SegmentHeader;
pub use record::{HEAD_BYTES, Head, Kind, decode_parameters, encode_parameters, read_units};
pub use scan::{Need, ScannedGroup, Scanner, scan};
pub use search::{LostGroup, Search};

/// Why bytes of a spool cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// There is less than is needed, as at the end of a file whose last write was torn.
    #[error("the spool ends within a record")]
    Truncated,
    /// It is no segment of a spool.
    #[error("not a segment of a spool")]
    NotASegment,
    /// A segment of another version.
    #[error("version {0} of the spool's format is not known")]
    Version(u16),
    /// A checksum does not fit.
    #[error("a checksum of the spool does not fit")]
    Checksum,
    /// A field has a value that nobody writes.
    #[error("the spool has an impossible {0}")]
    Field(&'static str),
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], SpoolError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(SpoolError::Truncated)?;
    *bytes = rest;
    Ok(*first)
}

/// Takes `length` bytes off the front.
fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], SpoolError> {
    let (first, rest) = bytes.split_at_checked(length).ok_or(SpoolError::Truncated)?;
    *bytes = rest;
    Ok(first)
}
