//! A Unix socket that the producer listens on. One writer at a time; the next waits until it has left.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;

use streamfleet_contract::{PipeSource, SourceReason, SourceState};
use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::live::{self, SILENCE_MAX};
use super::unavailable;
use crate::source::outlet::{Closed, Outlet};
use crate::source::{Ending, SourceError};

/// How long a writer may take to come before status says that there is none.
const WRITER_WAIT: Duration = Duration::from_secs(3);

/// Who may write: the producer's user, and its group, which containers of a pod share through the volume.
const PERMISSIONS: u32 = 0o660;

/// Listens, and reads one writer after the other, until it is stopped. It stays open between them, so that none is refused.
pub async fn run(pipe: &PipeSource, outlet: &mut Outlet, stop: &CancellationToken) -> Result<Ending, Closed> {
    let listening = match Listening::bind(&pipe.path) {
        Ok(listening) => listening,
        Err(error) => return Ok(error.into()),
    };
    loop {
        let mut writer = match stop.run_until_cancelled(next_writer(&listening, pipe, outlet)).await {
            None => return Ok(Ending::Stopped),
            Some(Ok(Ok(writer))) => writer,
            Some(Ok(Err(error))) => return Ok(unavailable(&pipe.path, "accept a writer on", &error).into()),
            Some(Err(closed)) => return Err(closed),
        };
        match live::read(&mut writer, pipe, SILENCE_MAX, outlet, stop).await? {
            Ending::Stopped => return Ok(Ending::Stopped),
            Ending::Failed(error) => outlet.state(SourceState::Failed, error.reason, error.message).await?,
        }
    }
}

async fn next_writer(
    listening: &Listening,
    pipe: &PipeSource,
    outlet: &Outlet,
) -> Result<io::Result<tokio::net::UnixStream>, Closed> {
    let accepted = if let Ok(accepted) = timeout(WRITER_WAIT, listening.listener.accept()).await {
        accepted
    } else {
        let message = format!("no process has connected to {}", pipe.path);
        outlet.state(SourceState::Failed, SourceReason::InputUnavailable, message).await?;
        listening.listener.accept().await
    };
    Ok(accepted.map(|(writer, _)| writer))
}

/// A socket that is listened on; its file goes with it.
#[derive(Debug)]
struct Listening {
    listener: UnixListener,
    path: String,
    /// Which file it is: another may have taken its place.
    file: (u64, u64),
}

impl Listening {
    fn bind(path: &str) -> Result<Self, SourceError> {
        remove_stale(path)?;
        let failed = |error| unavailable(path, "listen on", &error);
        let listener = UnixListener::bind(path).map_err(failed)?;
        let file = identity(&fs::symlink_metadata(path).map_err(failed)?);
        let listening = Self { listener, path: path.to_owned(), file };
        fs::set_permissions(path, Permissions::from_mode(PERMISSIONS)).map_err(failed)?;
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.file) {
            // What stays is taken for stale by the next.
            _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Removes the file of a socket that nobody listens on any more. Nothing else is ever removed.
fn remove_stale(path: &str) -> Result<(), SourceError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unavailable(path, "look at", &error)),
    };
    let taken = |what: &str| SourceError::new(SourceReason::InputUnavailable, format!("{path} {what}"));
    if !metadata.file_type().is_socket() {
        return Err(taken("is there already, and is no socket: it is left as it is"));
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(taken("is listened on by another process")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| unavailable(path, "remove the unused socket", &error))
        }
        Err(error) => Err(unavailable(path, "look for a listener on", &error)),
    }
}
