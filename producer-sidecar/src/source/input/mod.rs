//! Files, pipes and sockets: media in a container, from beside the producer.
//!
//! `file` plays a file in real time, `fifo` and `socket` read what another process writes, as it comes (`live`). What they
//! have in common is here: which container it is and what is in it (`reading`), and how its samples are handed on (`dated`).

mod dated;
pub mod fifo;
pub mod file;
pub(crate) mod live;
mod pace;
mod reading;
pub mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::io;

use streamfleet_contract::SourceReason;

use super::SourceError;

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// An input that cannot be opened or read.
fn unavailable(path: &str, what: &str, error: &io::Error) -> SourceError {
    SourceError::new(SourceReason::InputUnavailable, format!("failed to {what} {path}: {error}"))
}
