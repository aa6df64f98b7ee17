//! What stands outside the cluster, as AWS and cameras do: the emulator and three cameras as processes on the host, and
//! the cameras' names.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Stage;
use crate::process::{Recorded, tail, wait_until};
use crate::steps::Steps;

/// The account that the emulator plays.
pub const ACCOUNT: &str = "123456789012";
/// The region of the demo's streams.
pub const REGION: &str = "eu-west-1";
/// The name of the emulator's process.
pub const EMULATOR: &str = "emulator";
/// Where the emulator serves HTTPS, on the cluster's bridge.
const EMULATOR_PORT: u16 = 8443;
const RTSP_PORT: u16 = 554;

/// The emulator as clients see it.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// Such as `https://10.77.0.1:8443`.
    pub url: String,
    /// The certificate authority that clients have to trust, as PEM.
    pub authority: String,
}

/// Who made a camera.
#[derive(Debug, Clone, Copy)]
enum Make {
    /// gst-rtsp-server with a picture of this size, and a user with a password if it asks for them.
    Foreign { size: &'static str, login: Option<(&'static str, &'static str)> },
    /// `streamfleet-camera`, which numbers its pictures and keeps a journal.
    Ours,
}

/// A camera of the demo, at `rtsp://NAME.cameras.example/live`, on an address of its own.
#[derive(Debug, Clone, Copy)]
pub struct CameraSite {
    /// The name: of the host, the object, and the process.
    pub name: &'static str,
    /// Which of the bridge's addresses.
    number: u8,
    make: Make,
}

/// The demo's cameras; `examples/` has an object for each.
pub const CAMERAS: [CameraSite; 3] = [
    CameraSite { name: "lobby", number: 1, make: Make::Foreign { size: "640x360", login: None } },
    CameraSite {
        name: "door",
        number: 2,
        make: Make::Foreign { size: "1280x720", login: Some(("admin", "p@ss:w/rd")) },
    },
    CameraSite { name: "yard", number: 3, make: Make::Ours },
];

/// Starts what does not run yet, and gives the cameras their names.
pub fn start_all(stage: &Stage, steps: &Steps) -> Result<Emulator> {
    let emulator = start_emulator(stage)?;
    steps.done(format!("the emulator plays KVS at {}", emulator.url));
    let mut names = Vec::new();
    for camera in CAMERAS {
        if !current(stage.cluster.host_processes().find(camera.name).as_ref()) {
            start_camera(stage, camera)?;
        }
        names.push((format!("{}.cameras.example", camera.name), stage.cluster.camera_address(camera.number)));
    }
    let names: Vec<_> = names.iter().map(|(name, address)| (name.as_str(), *address)).collect();
    stage.cluster.add_names(&names)?;
    steps.done("three cameras are on: lobby (640x360), door (1280x720, digest authentication), yard (ours)");
    Ok(emulator)
}

/// The emulator has written its files so long after it listens.
const AUTHORITY_MAX: Duration = Duration::from_secs(30);

fn start_emulator(stage: &Stage) -> Result<Emulator> {
    let (data, address) = (stage.folder.join("emulator-data"), stage.cluster.bridge_address());
    let url = format!("https://{address}:{EMULATOR_PORT}");
    let running = stage.cluster.host_processes().find(EMULATOR);
    if !current(running.as_ref()) {
        stop_recorded(stage, EMULATOR)?;
        fs::create_dir_all(&data)?;
        let mut command = Command::new(stage.binaries.join("streamfleet-emulator"));
        command.args(["--listen", "127.0.0.1:0", "--listen-tls", &format!("{address}:{EMULATOR_PORT}")]);
        command.args(["--advertise", &url, "--account", ACCOUNT, "--data"]).arg(&data);
        let process = stage.cluster.start_on_host(EMULATOR, &command)?;
        wait_for_port(&process, SocketAddr::from((address, EMULATOR_PORT)))?;
        // It listens before it has written its authority, and writes this last.
        wait_until(AUTHORITY_MAX, || data.join("addresses.json").exists());
    }
    let file = data.join("ca.crt");
    let authority =
        fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    Ok(Emulator { url, authority })
}

/// Plugs a camera in; what runs under its name, as of an older build, is stopped before.
pub fn start_camera(stage: &Stage, camera: CameraSite) -> Result<Recorded> {
    stop_recorded(stage, camera.name)?;
    let address = SocketAddr::from((stage.cluster.camera_address(camera.number), RTSP_PORT));
    let process = match camera.make {
        Make::Foreign { size, login } => {
            let script = super::repository_file("tests/foreign/gst_camera.py")?;
            let mut command = Command::new("/usr/bin/python3");
            command.arg("-u").arg(script).arg(address.to_string()).args(["--size", size, "--audio", "alaw"]);
            // The password is read from standard input: arguments are for everybody to see.
            let (user, password) = login.unwrap_or_default();
            if !user.is_empty() {
                command.args(["--user", user]);
            }
            stage.cluster.host_processes().start_with_input(
                camera.name,
                &command,
                &format!("{password}\n"),
            )?
        }
        Make::Ours => {
            let mut command = Command::new(stage.binaries.join("streamfleet-camera"));
            command.args(["--listen", &address.to_string(), "--path", "/live"]);
            command.arg("--cache").arg(crate::tools::cache_dir().join("media"));
            command.arg("--journal").arg(stage.folder.join(format!("{}.journal", camera.name)));
            stage.cluster.start_on_host(camera.name, &command)?
        }
    };
    wait_for_port(&process, address)?;
    Ok(process)
}

/// Pulls a camera's plug.
pub fn stop_camera(stage: &Stage, camera: CameraSite) -> Result<()> {
    let process = stage.cluster.host_processes().find(camera.name);
    process.with_context(|| format!("camera {} does not run", camera.name))?.stop(Duration::from_secs(2));
    Ok(())
}

/// Ends the process of this name, if there is one.
fn stop_recorded(stage: &Stage, name: &str) -> Result<()> {
    let Some(process) = stage.cluster.host_processes().find(name) else { return Ok(()) };
    process.stop(Duration::from_secs(5));
    if process.is_alive() {
        bail!("{name}, process {}, does not end", process.pid);
    }
    Ok(())
}

/// Whether a process runs, and from the file that is there now: one that was built anew since then has to be started
/// again. The kernel marks the old file of such a process as deleted.
fn current(process: Option<&Recorded>) -> bool {
    let Some(process) = process.filter(|process| process.is_alive()) else { return false };
    fs::read_link(Path::new("/proc").join(process.pid.to_string()).join("exe"))
        .is_ok_and(|file| !file.to_string_lossy().ends_with(" (deleted)"))
}

/// Waits until something listens at the address, or the process has ended.
fn wait_for_port(process: &Recorded, address: SocketAddr) -> Result<()> {
    let mut ended = Ok(());
    let listening = wait_until(Duration::from_secs(30), || {
        ended = process.check();
        ended.is_err() || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    });
    ended?;
    if !listening {
        bail!("{} does not listen on {address}:\n{}", process.name, tail(&process.log, 15));
    }
    Ok(())
}
