//! A child process with its output in a file, that ends with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{signal_process, tail, wait_until};

/// A running child. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    pid: u32,
    child: Mutex<Child>,
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
        let pid = child.id();
        Ok(Self { name: name.to_owned(), pid, child: Mutex::new(child), log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// An error with the end of its log when it has ended. Its id says nothing about that: `/proc` has it until somebody has asked.
    pub fn check(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} has ended ({status}); the end of its log:\n{}", self.name, tail(&self.log, 20))
            }
        }
    }

    /// SIGKILL; it has ended when this returns.
    pub fn kill(mut self) -> Result<ExitStatus> {
        let child = self.child();
        child.kill()?;
        Ok(child.wait()?)
    }

    /// SIGTERM, and SIGKILL when it has not ended after `grace`.
    pub fn stop(mut self, grace: Duration) -> Result<ExitStatus> {
        signal_process(self.pid(), "TERM");
        let child = self.child();
        let ended = wait_until(grace, || matches!(child.try_wait(), Ok(Some(_)) | Err(_)));
        if !ended {
            child.kill()?;
        }
        Ok(child.wait()?)
    }

    fn child(&mut self) -> &mut Child {
        self.child.get_mut().unwrap_or_else(PoisonError::into_inner)
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
        let child = self.child();
        drop(child.kill());
        drop(child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_told_from_one_that_lives_though_it_has_its_id_still() {
        let log = std::env::temp_dir().join(format!("streamfleet-daemon-{:08x}.log", fastrand::u32(..)));
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; read line"]);
        let daemon = Daemon::start("a shell", &command, &log).unwrap();
        let mut lives = Command::new("sleep");
        lives.arg("60");
        let living = Daemon::start("a sleeper", &lives, &log).unwrap();
        // The shell has nothing to read.
        let state = || fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        assert!(wait_until(Duration::from_secs(20), || state().contains(") Z ")), "{}", state());
        living.check().unwrap();
        let error = daemon.check().unwrap_err().to_string();
        assert!(error.contains("a shell has ended (exit status: 1)") && error.contains("said"), "{error}");
        fs::remove_file(&log).unwrap();
    }
}
