//! The project's own programs, run as processes by tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use crate::process::{signal_process, tail};

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where a program of the workspace lies: beside the test's own executable, or beside the folder that it is in.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find the test's own executable")?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace`"))
}

impl Program {
    /// Starts a program of the workspace with its output appended to `log`.
    pub fn start(name: &str, log: &Path, configure: impl FnOnce(&mut Command)) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(path(name)?);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        // Errors go into logs that people read.
        command.env_remove("RUST_BACKTRACE");
        configure(&mut command);
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id; none when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `condition` gives something; an error with the end of the log when the program ends before, or when
    /// it takes longer than `limit`.
    pub async fn wait_for<T>(&mut self, limit: Duration, condition: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(found) = condition() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_end());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{} was not ready after {limit:?}:\n{}", self.name, self.log_end());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        signal_process(self.child.id().context("the program has ended already")?, "TERM");
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end within {limit:?} of SIGTERM:\n{}", self.name, self.log_end()),
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("failed to kill {}", self.name))
    }

    /// The end of what the program said.
    pub fn log_end(&self) -> String {
        tail(&self.log, 30)
    }
}
