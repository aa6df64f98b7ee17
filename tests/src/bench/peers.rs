//! Others that carry the same video: what ours is compared with. Each command is the one of the published comparison.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

use crate::process::tail;
use crate::resources::{self, Memory};

/// One or more processes that carry video. They are killed when this is dropped.
#[derive(Debug)]
pub struct Peer {
    children: Vec<Child>,
    log: PathBuf,
}

impl Peer {
    /// `ffmpeg -c copy` from each camera to the emulator's `/discard`, over TLS: one process each, since that is what it
    /// can do.
    pub fn ffmpeg(urls: &[String], sink: SocketAddr, log: &Path) -> Result<Self> {
        let commands = urls.iter().map(|url| {
            let mut command = Command::new("ffmpeg");
            command.args(["-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url]);
            command.args(["-map", "0:v", "-c", "copy", "-f", "matroska", "-live", "1"]);
            command.args(["-method", "POST", "-chunked_post", "1", "-send_expect_100", "0"]);
            command.arg(format!("https://{sink}/discard"));
            command
        });
        Self::start(commands, log)
    }

    /// GStreamer as far as Matroska, into nothing: one process with a branch for each camera.
    pub fn gstreamer(urls: &[String], log: &Path) -> Result<Self> {
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q");
        for url in urls {
            command.args(["rtspsrc", &format!("location={url}"), "protocols=tcp", "!", "rtph264depay", "!"]);
            command.args(["h264parse", "!", "matroskamux", "streamable=true", "!", "fakesink"]);
        }
        Self::start([command], log)
    }

    /// Our raw reader, for so long.
    pub fn reader(urls: &[String], time: Duration, log: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("read").arg("--seconds").arg(time.as_secs().to_string()).args(urls);
        Self::start([command], log)
    }

    fn start(commands: impl IntoIterator<Item = Command>, log: &Path) -> Result<Self> {
        let output = std::fs::File::options().create(true).append(true).open(log)?;
        let mut children = Vec::new();
        for mut command in commands {
            command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
            let name = command.as_std().get_program().to_string_lossy().into_owned();
            children
                .push(command.kill_on_drop(true).spawn().with_context(|| format!("failed to start {name}"))?);
        }
        Ok(Self { children, log: log.to_owned() })
    }

    fn ids(&self) -> Vec<u32> {
        self.children.iter().filter_map(Child::id).collect()
    }

    /// Processor time of all of them so far. An error when one has ended.
    pub fn cpu(&mut self) -> Result<Duration> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("a peer ended with {status}:\n{}", tail(&self.log, 10));
            }
        }
        self.ids().into_iter().map(resources::cpu).sum()
    }

    /// Memory of all of them.
    pub fn memory(&self) -> Result<Memory> {
        self.ids().into_iter().map(resources::memory).try_fold(Memory::default(), |sum, memory| {
            let memory = memory?;
            Ok(Memory {
                resident: sum.resident + memory.resident,
                anonymous: sum.anonymous + memory.anonymous,
            })
        })
    }

    /// Ends them, and waits for that.
    pub async fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            child.start_kill()?;
        }
        for child in &mut self.children {
            child.wait().await?;
        }
        Ok(())
    }

    /// Waits until they have ended by themselves.
    pub async fn ended(mut self) -> Result<()> {
        for child in &mut self.children {
            let status = child.wait().await?;
            anyhow::ensure!(status.success(), "a peer ended with {status}:\n{}", tail(&self.log, 10));
        }
        Ok(())
    }
}
