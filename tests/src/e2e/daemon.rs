//! A child process with its output in a file, that ends with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{signal_process, tail, wait_until};

/// A running child. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the command with its output appended to `log`.
    pub fn start(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = ending_with_us(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// An error with the end of its log when it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} has ended ({status}); the end of its log:\n{}", self.name, tail(&self.log, 20))
            }
        }
    }

    /// SIGKILL; it has ended when this returns.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// SIGTERM, and SIGKILL when it has not ended after `grace`.
    pub fn stop(mut self, grace: Duration) -> Result<ExitStatus> {
        signal_process(self.pid(), "TERM");
        let ended = wait_until(grace, || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)));
        if !ended {
            self.child.kill()?;
        }
        Ok(self.child.wait()?)
    }
}

/// The same command in the same process, killed by the kernel when we end without having ended it: a test may be killed
/// itself, and an operator that goes on would meddle with the next one.
fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is what was wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
