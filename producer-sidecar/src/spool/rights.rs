//! Who may read the spool: the process's own user. Video is in it.
//!
//! A volume's root is often root's, and shared with the pod by its group: what is made here is closed, the root that was
//! there before is left as it is.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Of folders.
pub const FOLDER: u32 = 0o700;

/// Of files.
pub const FILE: u32 = 0o600;

/// Makes folders, with those above them.
pub fn folder_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(FOLDER);
    builder
}

/// Makes and opens files to be written.
pub fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE);
    options
}

/// Closes to others what an earlier release has made, or a volume's driver has opened. Where that is refused it goes
/// without.
pub fn tighten(path: &Path, mode: u32) {
    let is_open = |metadata: fs::Metadata| metadata.permissions().mode() & 0o777 & !mode != 0;
    if fs::symlink_metadata(path).is_ok_and(is_open)
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode))
    {
        tracing::debug!(path = %path.display(), %error, "The rights of a part of the spool cannot be changed");
    }
}
