//! A camera that is not ours: gst-rtsp-server in a process of its own (`tests/foreign/gst_camera.py`).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::process::tail;

/// GStreamer looks through its plugins at the first start.
const START_MAX: Duration = Duration::from_secs(40);

/// What it is to show.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `h264` or `h265`.
    pub video: &'static str,
    /// `none`, `aac` or `alaw`.
    pub audio: &'static str,
    /// User name and password, for digest authentication.
    pub login: Option<(&'static str, &'static str)>,
    /// Whether it speaks RTSPS, with a certificate of its own.
    pub tls: bool,
}

/// A running camera. It is killed when this is dropped.
#[derive(Debug)]
pub struct ForeignCamera {
    _child: Child,
    /// Its URL.
    pub url: String,
    /// The authority to trust, when it speaks RTSPS.
    pub ca: PathBuf,
}

impl ForeignCamera {
    /// Starts one; its certificate and log are put into `folder`.
    pub async fn start(folder: &Path, wanted: &Wanted) -> Result<Self> {
        // Free a moment ago; whoever takes it meanwhile makes the start fail, which is seen.
        let address: SocketAddr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let (ca, key, log) =
            (folder.join("camera.crt"), folder.join("camera.key"), folder.join("camera.log"));
        let output = std::fs::File::create(&log)?;
        // Debian's own interpreter: the bindings are packages of Debian.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/gst_camera.py")).arg(address.to_string());
        command.args(["--video", wanted.video, "--audio", wanted.audio]);
        if wanted.tls {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
            std::fs::write(&ca, made.cert.pem())?;
            std::fs::write(&key, made.signing_key.serialize_pem())?;
            command.arg("--certificate").arg(&ca).arg("--key").arg(&key);
        }
        if let Some((user, _)) = wanted.login {
            command.args(["--user", user]);
        }
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start gst-rtsp-server")?;
        if let (Some(mut input), Some((_, password))) = (child.stdin.take(), wanted.login) {
            input.write_all(format!("{password}\n").as_bytes()).await?;
        }
        let deadline = tokio::time::Instant::now() + START_MAX;
        while !std::fs::read_to_string(&log)?.contains("ready") {
            if child.try_wait()?.is_some() || tokio::time::Instant::now() > deadline {
                bail!("gst-rtsp-server does not start:\n{}", tail(&log, 20));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let scheme = if wanted.tls { "rtsps" } else { "rtsp" };
        Ok(Self { _child: child, url: format!("{scheme}://{address}/live"), ca })
    }
}
