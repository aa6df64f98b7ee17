//! Container images, built from scratch with one static binary each, as OCI archives in the cache folder. An archive is
//! named by the digest of all that goes into it, so what has not changed is neither built nor imported again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::process::output;
use crate::tools::cache_dir;

/// The operator's image.
pub const OPERATOR: &str = "localhost/streamfleet-operator:dev";
/// The producer's image.
pub const PRODUCER: &str = "localhost/streamfleet-producer:dev";
/// The image of the process that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";

/// The authorities that a process in an empty root needs to trust AWS.
const CA_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A non-root user of no special meaning.
const USER: &str = "65532:65532";

/// The recipe's version: raise it when what [`build`] does changes.
const RECIPE: &str = "1";

/// A built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its full name with tag.
    pub name: &'static str,
    /// The OCI archive.
    pub archive: PathBuf,
}

/// Builds the three images from the binaries in this folder (as far as they have changed).
pub fn build_all(binaries: &Path) -> Result<Vec<Image>> {
    Ok(vec![
        build_pause()?,
        build_product(OPERATOR, &binaries.join("streamfleet-operator"))?,
        build_product(PRODUCER, &binaries.join("streamfleet-producer"))?,
    ])
}

/// The folder of the running program: the others of the same build lie beside it (tests are one folder deeper).
pub fn own_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let tests = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if tests { folder.parent().context("deps lies in a folder")?.to_owned() } else { folder.to_owned() })
}

fn build_pause() -> Result<Image> {
    let source = include_str!("pause.c");
    build(PAUSE, &[source.as_bytes()], |folder| {
        let (file, binary) = (folder.join("pause.c"), folder.join("pause"));
        fs::write(&file, source)?;
        output(Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(&binary).arg(&file))?;
        Ok(vec![Entry { from: binary, to: "/pause".to_owned() }])
    })
}

fn build_product(name: &'static str, binary: &Path) -> Result<Image> {
    let content = fs::read(binary).with_context(|| {
        format!("failed to read {} (built by `cargo build --workspace`)", binary.display())
    })?;
    let authorities =
        fs::read(CA_CERTIFICATES).with_context(|| format!("failed to read {CA_CERTIFICATES}"))?;
    build(name, &[&content, &authorities], |folder| {
        let file = binary.file_name().context("a binary has a name")?.to_string_lossy().into_owned();
        let stripped = folder.join(&file);
        // A development build is mostly symbols: ten times the size, to be unpacked on every node.
        output(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
        Ok(vec![
            Entry { from: stripped, to: format!("/{file}") },
            Entry { from: CA_CERTIFICATES.into(), to: CA_CERTIFICATES.to_owned() },
        ])
    })
}

/// A file in an image; the first one is what runs.
struct Entry {
    from: PathBuf,
    to: String,
}

/// Makes the archive unless there is one of the same inputs; removes those of older inputs.
fn build(
    name: &'static str,
    inputs: &[&[u8]],
    entries: impl FnOnce(&Path) -> Result<Vec<Entry>>,
) -> Result<Image> {
    let images = cache_dir().join("images");
    fs::create_dir_all(&images)?;
    let lock = fs::File::create(images.join(".lock"))?;
    lock.lock()?;
    let short = short_name(name);
    let archive = images.join(format!("{short}-{}.tar", digest(inputs)));
    if archive.exists() {
        return Ok(Image { name, archive });
    }
    let work = images.join(format!(".building-{short}"));
    drop(fs::remove_dir_all(&work));
    fs::create_dir_all(&work)?;
    let entries = entries(&work)?;
    let made = work.join("image.tar");
    commit(name, &entries, &work, &made)?;
    fs::rename(made, &archive)?;
    fs::remove_dir_all(&work)?;
    Ok(Image { name, archive })
}

fn commit(name: &str, entries: &[Entry], work: &Path, archive: &Path) -> Result<()> {
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(work.join("root")).arg("--runroot").arg(work.join("run"));
        command.args(["--storage-driver", "vfs"]).env("BUILDAH_ISOLATION", "chroot");
        command
    };
    let container = output(buildah().args(["from", "scratch"]))?.trim().to_owned();
    for entry in entries {
        output(buildah().args(["copy", "--chown", "0:0", &container]).arg(&entry.from).arg(&entry.to))?;
    }
    let program = entries.first().map(|entry| entry.to.clone()).context("an image runs something")?;
    let entry_point = format!("[\"{program}\"]");
    output(buildah().args([
        "config",
        "--user",
        USER,
        "--entrypoint",
        &entry_point,
        "--cmd",
        "",
        &container,
    ]))?;
    let target = format!("oci-archive:{}:{name}", archive.display());
    output(buildah().args(["commit", "--format", "oci", "--timestamp", "0", &container, &target]))?;
    Ok(())
}

/// `streamfleet-operator` of `localhost/streamfleet-operator:dev`.
fn short_name(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

fn digest(inputs: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    hash.update(RECIPE);
    for input in inputs {
        hash.update(input.len().to_le_bytes());
        hash.update(input);
    }
    hex::encode(&hash.finalize()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_tells_where_one_input_ends() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"ab"]), digest(&[b"ab"]));
    }

    #[test]
    fn short_name_has_neither_registry_nor_tag() {
        assert_eq!(short_name(OPERATOR), "streamfleet-operator");
        assert_eq!(short_name(PAUSE), "pause");
    }
}
