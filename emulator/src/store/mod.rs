//! What outlives the process: streams and their fragments on disk, and the index of both in memory.
//!
//! Layout under the data folder, one folder per stream that has media, named by the number at the end of its ARN:
//!
//! ```text
//! control.jsonl                           the control plane's records, line by line (`journal`)
//! streams/1732012345678/media/000001.log  fragments, appended one after another (`record`)
//! ```
//!
//! Nothing is said to a client before it is written here: a `kill -9` at any moment loses nothing that was
//! acknowledged. What a crash leaves half-written at the end of a log is found by its checksum and cut off.

pub mod catalog;
mod journal;
mod log;
pub mod media;
mod record;

pub use catalog::{Catalog, Stream};
pub use log::ReadError;
pub use media::{Chunk, FragmentMeta};

use std::{fs::File, io, path::Path};

/// Flushes a folder, so that names made or replaced in it survive a power cut.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
