//! The operator as a process of this machine, with the administrator's kubeconfig.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;

use super::daemon::Daemon;
use super::emulator::{Keys, free_port};
use super::http;
use crate::cluster::Cluster;
use crate::cluster::wait::{Look, until};
use crate::images::{PRODUCER, own_folder};

/// It is ready within so long after its start, on a machine with much else to do.
const START_MAX: Duration = Duration::from_mins(1);
/// After SIGTERM it has so long to end.
const STOP_MAX: Duration = Duration::from_secs(20);

/// How many lines of an operator's log are warnings or errors.
pub fn loud_lines(log: &str) -> usize {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).count()
}

/// How an operator is started, again and again.
#[derive(Debug, Clone)]
pub struct Setup {
    kubeconfig: PathBuf,
    credentials: PathBuf,
    installation: String,
    log: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    /// With these AWS keys; its files are in `folder`.
    pub fn new(cluster: &Cluster, folder: &Path, installation: &str, keys: &Keys) -> Result<Self> {
        let setup = Self {
            kubeconfig: cluster.kubeconfig(),
            credentials: folder.join("operator-credentials"),
            installation: installation.to_owned(),
            log: folder.join("operator.log"),
            variables: Vec::new(),
        };
        setup.use_keys(keys)?;
        Ok(setup)
    }

    /// Sets a variable of operators that are started from now on, in place of what they have else.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// Writes other AWS keys where operators read theirs.
    pub fn use_keys(&self, keys: &Keys) -> Result<()> {
        Ok(fs::write(&self.credentials, keys.shared_file())?)
    }

    /// Has operators that are started from now on write their log there.
    pub fn log_to(&mut self, file: impl Into<PathBuf>) {
        self.log = file.into();
    }

    /// The log of all operators that were started so.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts one; does not wait until it is ready.
    pub fn start(&self) -> Result<Operator> {
        let admin = free_port(Ipv4Addr::LOCALHOST)?;
        let mut command = Command::new(own_folder()?.join("streamfleet-operator"));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("AWS_SHARED_CREDENTIALS_FILE", &self.credentials)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("STREAMFLEET_INSTALLATION", &self.installation)
            .env("STREAMFLEET_PRODUCER_IMAGE", PRODUCER)
            .env("STREAMFLEET_ADMIN_LISTEN", admin.to_string())
            .env("STREAMFLEET_LOG", "info,streamfleet_operator=debug")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(Operator { process: Daemon::start("the operator", &command, &self.log)?, admin })
    }
}

/// A running operator. Killed when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Daemon,
    admin: SocketAddr,
}

impl Operator {
    /// Where health and metrics are served.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// An error with the end of its log when it has ended.
    pub fn is_alive(&self) -> Result<()> {
        self.process.check()
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        until(START_MAX, "the operator is ready", async || {
            if let Err(error) = self.is_alive() {
                return Ok(Look::Done(Err(error)));
            }
            http::get(self.admin, "/readyz").await?;
            Ok(Look::Done(Ok(())))
        })
        .await?
    }

    /// Waits until every object of this kind has been looked at once since it began to lead.
    pub async fn has_seen_all(&self, kind: &str, limit: Duration) -> Result<()> {
        until(limit, &format!("every {kind} has been looked at"), async || {
            let text = self.metrics().await?;
            let is_told = |line: &str| {
                line.starts_with("streamfleet_operator_first_pass_seconds") && line.contains(kind)
            };
            Ok(if text.lines().any(is_told) { Look::Done(()) } else { Look::NotYet("not all".to_owned()) })
        })
        .await
    }

    /// Waits until it leads, and so works.
    pub async fn leads(&self, limit: Duration) -> Result<()> {
        until(limit, "the operator leads", async || {
            let text = self.metrics().await?;
            let leads = text.lines().any(|line| line == "streamfleet_operator_leader 1");
            Ok(if leads { Look::Done(()) } else { Look::NotYet("it stands by".to_owned()) })
        })
        .await
    }

    async fn metrics(&self) -> Result<String> {
        Ok(String::from_utf8(http::get(self.admin, "/metrics").await?)?)
    }

    /// SIGKILL; it has ended when this returns.
    pub fn kill(self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// SIGTERM, as the kubelet does it.
    pub fn stop(self) -> Result<ExitStatus> {
        self.process.stop(STOP_MAX)
    }
}
