//! Cameras with codecs that the producer does not carry, by gst-rtsp-server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::daemon::Daemon;
use super::emulator::free_port;
use crate::cluster::wait::{Look, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/gst_camera.py");

/// It listens within so long.
const START_MAX: Duration = Duration::from_secs(30);

/// A running camera. It ends when this is dropped.
#[derive(Debug)]
pub struct OtherCamera {
    // Ends with us.
    _process: Daemon,
    /// Where its stream is.
    pub url: String,
}

impl OtherCamera {
    /// Starts one with `vp8` or `mjpeg`; its log is in `folder`.
    pub async fn start(folder: &Path, address: Ipv4Addr, codec: &str) -> Result<Self> {
        let listen = free_port(address)?;
        // The system's Python has the bindings; another one in PATH may not.
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(SCRIPT)
            .arg(listen.to_string())
            .args(["--video", codec, "--size", "160x120", "--rate", "5"]);
        let name = format!("the {codec} camera");
        let process = Daemon::start(&name, &command, &folder.join(format!("camera-{codec}.log")))?;
        until(START_MAX, &format!("{name} listens"), async || {
            if let Err(error) = process.check() {
                return Ok(Look::Done(Err(error)));
            }
            let said = process.said();
            Ok(if said.contains("ready") { Look::Done(Ok(())) } else { Look::NotYet(said) })
        })
        .await??;
        Ok(Self { _process: process, url: format!("rtsp://{listen}/live") })
    }
}
