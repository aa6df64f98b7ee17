//! A named pipe that another process writes. The producer is its only reader; writers come and go.

use std::time::Duration;

use streamfleet_contract::{PipeSource, SourceReason, SourceState};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::live::{self, SILENCE_MAX};
use super::unavailable;
use crate::source::outlet::{Closed, Outlet};
use crate::source::{Ending, SourceError};

/// How long a writer may take to come before status says that there is none.
const WRITER_WAIT: Duration = Duration::from_secs(3);

/// Reads one writer, from when it comes to when it leaves.
pub async fn run(pipe: &PipeSource, outlet: &mut Outlet, stop: &CancellationToken) -> Result<Ending, Closed> {
    // Without blocking: an open pipe that nobody writes must not hold up the thread.
    let mut receiver = match OpenOptions::new().open_receiver(&pipe.path) {
        Ok(receiver) => receiver,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            let message = format!("{} is no named pipe: make one with mkfifo", pipe.path);
            return Ok(SourceError::new(SourceReason::InputUnavailable, message).into());
        }
        Err(error) => return Ok(unavailable(&pipe.path, "open", &error).into()),
    };
    match stop.run_until_cancelled(wait_for_writer(&receiver, pipe, outlet)).await {
        None => Ok(Ending::Stopped),
        Some(waited) => {
            waited?;
            live::read(&mut receiver, pipe, SILENCE_MAX, outlet, stop).await
        }
    }
}

/// A pipe without a writer would be read as one that has ended. It becomes readable when a writer has come and written, or left.
async fn wait_for_writer(receiver: &Receiver, pipe: &PipeSource, outlet: &Outlet) -> Result<(), Closed> {
    if timeout(WRITER_WAIT, receiver.readable()).await.is_err() {
        let message = format!("no process writes to {}", pipe.path);
        outlet.state(SourceState::Failed, SourceReason::InputUnavailable, message).await?;
        // An error shows when it is read.
        _ = receiver.readable().await;
    }
    Ok(())
}
