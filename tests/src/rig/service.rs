//! The emulator as a process. It keeps its addresses when it is started again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::e2e::http;
use crate::programs::Program;
use crate::proxy::Proxy;

/// How long the emulator takes to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);

/// A running emulator.
#[derive(Debug)]
pub struct Service {
    program: Program,
    folder: PathBuf,
    advertised: Option<SocketAddr>,
    arguments: Vec<String>,
    /// Where it serves plain HTTP, and its hooks.
    pub http: SocketAddr,
    /// Where it serves HTTPS.
    pub https: SocketAddr,
}

/// One call that the emulator has answered, as its hook `calls` has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The API.
    pub operation: String,
    /// The stream, where the call names one.
    #[serde(default)]
    pub stream: Option<String>,
    /// When it came, in milliseconds of the Unix epoch.
    pub begun_ms: i64,
    /// What was answered; 0 when nothing was.
    pub status: u16,
}

/// A picture that has come in whole, as the emulator's hook `arrivals` has it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Arrival {
    /// Counts from 1 since the emulator's start, in each stream.
    pub n: u64,
    /// When its last byte was read, in microseconds of the Unix epoch.
    pub us: u64,
    /// The number in its mark, where it has one.
    #[serde(default)]
    pub number: Option<u64>,
}

impl Service {
    /// Starts the emulator; the proxy, where there is one, is what it advertises. Its log and data are in `folder`.
    pub async fn start(folder: &Path, proxy: Option<&Proxy>, arguments: &[String]) -> Result<Self> {
        let advertised = proxy.map(Proxy::address);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = run(folder, advertised, any, any, arguments)?;
        let file = folder.join("emulator/addresses.json");
        let addresses =
            || serde_json::from_slice::<BTreeMap<String, SocketAddr>>(&std::fs::read(&file).ok()?).ok();
        let addresses = program.wait_for(START_MAX, addresses).await?;
        let address = |scheme| addresses.get(scheme).copied().context("the emulator serves no HTTPS");
        let (http, https) = (address("http")?, address("https")?);
        if let Some(proxy) = proxy {
            proxy.forward_to(https);
        }
        let folder = folder.to_owned();
        Ok(Self { program, folder, advertised, arguments: arguments.to_vec(), http, https })
    }

    /// Where clients are to connect to.
    pub fn advertised(&self) -> SocketAddr {
        self.advertised.unwrap_or(self.https)
    }

    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.program.id()
    }

    /// Kills the emulator, and starts it again over the same data.
    pub async fn kill_and_start(&mut self) -> Result<()> {
        self.program.kill().await?;
        self.program = run(&self.folder, self.advertised, self.http, self.https, &self.arguments)?;
        let https = self.https;
        let listens = || std::net::TcpStream::connect(https).ok();
        self.program.wait_for(START_MAX, listens).await?;
        Ok(())
    }

    /// Ends it.
    pub async fn terminate(self) -> Result<()> {
        self.program.terminate(Duration::from_secs(10)).await.map(drop)
    }

    /// Orders one fault for a stream, once unless `more` says otherwise.
    pub async fn fail(&self, stream: &str, action: &str, more: &[(&str, Value)]) -> Result<()> {
        let mut order = serde_json::json!({"action": action, "stream": stream, "count": 1});
        for (name, value) in more {
            order[*name] = value.clone();
        }
        self.hook("POST", "faults", &order).await.map(drop)
    }

    /// Removes all faults.
    pub async fn heal(&self) -> Result<()> {
        self.hook("DELETE", "faults", &Value::Null).await.map(drop)
    }

    /// The calls so far.
    pub async fn calls(&self) -> Result<Vec<Call>> {
        let answer = http::get(self.http, "/_emulator/calls?limit=200000").await?;
        serde_json::from_slice(&answer).context("failed to understand the emulator's calls")
    }

    /// The pictures after number `since` (see [`Arrival::n`]) that have come in whole for a feed's stream, oldest first.
    /// The emulator forgets those of more than five minutes ago.
    pub async fn arrivals(&self, feed: usize, since: u64) -> Result<Vec<Arrival>> {
        let hook = format!("/_emulator/arrivals?stream={}&since={since}", super::stream(feed));
        let answer = http::get(self.http, &hook).await?;
        serde_json::from_slice(&answer).context("failed to understand the emulator's arrivals")
    }

    /// Asks one of the hooks; the answer's body.
    pub async fn hook(&self, method: &str, hook: &str, body: &Value) -> Result<Vec<u8>> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(self.http, method, &format!("/_emulator/{hook}"), &body).await
    }
}

fn run(
    folder: &Path,
    advertised: Option<SocketAddr>,
    http: SocketAddr,
    https: SocketAddr,
    arguments: &[String],
) -> Result<Program> {
    Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
        command.arg("--listen").arg(http.to_string()).arg("--listen-tls").arg(https.to_string());
        command.arg("--data").arg(folder.join("emulator"));
        if let Some(advertised) = advertised {
            command.arg("--advertise").arg(format!("https://{advertised}"));
        }
        command.args(arguments);
    })
}
