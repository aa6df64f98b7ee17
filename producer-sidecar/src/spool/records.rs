//! Records of a segment, and their way into its file.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Write as _};

use bytes::Bytes;
use streamfleet_media::spool::{HEAD_BYTES, Head, Kind};

/// How many pieces are handed to the system in one call (Linux takes 1,024).
const PIECES_MAX: usize = 512;

/// A record as it is written.
pub struct Record {
    /// What stands before the payload.
    pub head: [u8; HEAD_BYTES],
    /// The payload.
    pub payload: Bytes,
    is_parameters: bool,
}

impl Record {
    /// A head with its payload.
    pub fn new(head: &Head, payload: Bytes) -> Self {
        let is_parameters = head.kind == Kind::Parameters;
        Self { head: head.encode(), payload, is_parameters }
    }

    /// What it takes.
    pub fn bytes(&self) -> u64 {
        (HEAD_BYTES + self.payload.len()) as u64
    }

    /// Whether it is of parameters.
    pub fn is_parameters(&self) -> bool {
        self.is_parameters
    }
}

/// Writes all pieces behind each other.
pub fn write_all(file: &mut File, pieces: &[&[u8]]) -> std::io::Result<()> {
    for pieces in pieces.chunks(PIECES_MAX) {
        let mut slices: Vec<IoSlice<'_>> =
            pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
