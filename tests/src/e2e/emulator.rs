//! The emulator as a process, with keys of its own, the hooks that it has for tests, and its control plane as AWS sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesisvideo::operation::describe_stream::DescribeStreamError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::http;
use crate::cluster::wait::{Look, until};
use crate::images::own_folder;

/// The account that the keys are of.
pub const ACCOUNT: &str = "123456789012";
/// The region of all classes in tests.
pub const REGION: &str = "eu-west-1";

/// Flags with which a minute of alarms takes 5 s.
pub const FAST_ALARMS: [&str; 2] = ["--alarm-period", "5"];

/// It answers within so long after its start.
const START_MAX: Duration = Duration::from_secs(30);

/// What a client needs to be let in.
#[derive(Clone)]
pub struct Keys {
    /// The access key's id, which is no secret.
    pub id: String,
    /// The secret key.
    pub secret: String,
    /// The token that goes with them.
    pub token: String,
}

impl Keys {
    /// Keys that cannot be taken for anything else in a log.
    pub fn unmistakable() -> Self {
        let random = |length| std::iter::repeat_with(fastrand::alphanumeric).take(length).collect::<String>();
        Self {
            id: format!("AKIA{}", random(16).to_uppercase()),
            secret: format!("Planted/Secret+Key/{}", random(21)),
            token: format!("PlantedSessionToken/{}==", random(60)),
        }
    }

    /// As a shared credentials file.
    pub fn shared_file(&self) -> String {
        let Self { id, secret, token } = self;
        format!(
            "[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\naws_session_token = {token}\n"
        )
    }

    /// The same key id and token with a secret key that is not the right one.
    #[must_use]
    pub fn with_secret(&self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self.clone() }
    }
}

/// A call as the emulator has it in its log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts from 1.
    pub n: u64,
    /// When it was answered, in milliseconds of the Unix epoch.
    pub ms: u64,
    /// The operation.
    pub operation: String,
    /// The stream's name, when the request names one.
    pub stream: Option<String>,
    /// The HTTP status; 0 when a fault dropped the connection.
    pub status: u16,
    /// The code of a refusal.
    pub error: Option<String>,
    /// Whether it was carried out.
    pub done: bool,
    /// Whether a fault on order struck it.
    pub struck: bool,
}

impl Call {
    /// Whether it was refused for the number of calls, of streams or of alarms, and not on order.
    pub fn is_over_quota(&self) -> bool {
        let is_limit = |code: &str| code.contains("LimitExceeded") || code.contains("Throttl");
        !self.struck && self.error.as_deref().is_some_and(is_limit)
    }

    /// Whether it is to change something, carried out or not.
    pub fn is_change(&self) -> bool {
        !is_read(&self.operation)
    }
}

/// Whether an operation changes nothing.
pub fn is_read(operation: &str) -> bool {
    ["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb))
}

/// A stream as its owner finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStream {
    /// Its ARN.
    pub arn: String,
    /// How many hours it keeps video.
    pub retention_hours: i32,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A running emulator. It ends when this is dropped.
pub struct Emulator {
    process: Daemon,
    hooks: SocketAddr,
    addresses: Addresses,
    data: PathBuf,
    /// The keys that it knows.
    pub keys: Keys,
    client: Client,
}

/// Where it listens, as it has written it down.
#[derive(Debug, Deserialize)]
struct Addresses {
    http: SocketAddr,
    https: SocketAddr,
}

impl Emulator {
    /// Starts one that pods reach by TLS at this address, with its state and log in `folder`, and with these flags besides.
    pub async fn start(folder: &Path, address: Ipv4Addr, flags: &[&str]) -> Result<Self> {
        let (data, keys) = (folder.join("emulator"), Keys::unmistakable());
        fs::create_dir_all(&data)?;
        let known = folder.join("emulator-keys.json");
        let key = json!({
            "accessKeyId": keys.id, "secretAccessKey": keys.secret, "sessionToken": keys.token, "user": "tests",
        });
        fs::write(&known, json!({ "keys": [key] }).to_string())?;
        let mut command = Command::new(own_folder()?.join("streamfleet-emulator"));
        command.args(["--listen", "127.0.0.1:0", "--listen-tls", &format!("{address}:0")]);
        command.args(["--account", ACCOUNT]).args(flags);
        command.arg("--data").arg(&data).arg("--credentials").arg(&known);
        let process = Daemon::start("the emulator", &command, &folder.join("emulator.log"))?;
        let addresses = wait_ready(&process, &data.join("addresses.json")).await?;
        let hooks = addresses.http;
        let client = client(addresses.http, &keys);
        Ok(Self { process, hooks, addresses, data, keys, client })
    }

    /// Where its endpoints are, for classes.
    pub fn url(&self) -> String {
        format!("https://{}", self.addresses.https)
    }

    /// The authority that its certificate is of, in PEM.
    pub fn authority(&self) -> Result<String> {
        let path = self.data.join("ca.crt");
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Where the hooks are.
    pub fn hooks(&self) -> SocketAddr {
        self.hooks
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its control plane, called with its own keys.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The calls after number `since`, oldest first.
    pub async fn calls(&self, since: u64) -> Result<Vec<Call>> {
        let answer = http::get(self.hooks, &format!("/_emulator/calls?since={since}")).await?;
        serde_json::from_slice(&answer).context("failed to read the log of calls")
    }

    /// The number of the last call.
    pub async fn last_call(&self) -> Result<u64> {
        Ok(self.calls(0).await?.last().map_or(0, |call| call.n))
    }

    /// From now on calls are throttled, about this stream or all, as likely as this (0 to 1).
    pub async fn throttle(&self, stream: Option<&str>, probability: f64) -> Result<()> {
        self.fault(&json!({ "action": "throttle", "stream": stream, "probability": probability })).await
    }

    /// From now on every call of the account is denied.
    pub async fn revoke(&self) -> Result<()> {
        let order = json!({ "account": ACCOUNT, "as": "access-denied" });
        http::request(self.hooks, "POST", "/_emulator/revoked", &order.to_string()).await.map(drop)
    }

    /// Calls of the account are carried out again.
    pub async fn restore(&self) -> Result<()> {
        http::request(self.hooks, "DELETE", &format!("/_emulator/revoked/{ACCOUNT}"), "").await.map(drop)
    }

    /// Orders a fault.
    pub async fn fault(&self, order: &Value) -> Result<()> {
        http::request(self.hooks, "POST", "/_emulator/faults", &order.to_string()).await.map(drop)
    }

    /// Ends all faults.
    pub async fn clear_faults(&self) -> Result<()> {
        http::request(self.hooks, "DELETE", "/_emulator/faults", "").await.map(drop)
    }

    /// The names of all streams that there are. Not a call: it is in no log, and no fault strikes it.
    pub async fn stream_names(&self) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Connections {
            stream: String,
        }
        let answer = http::get(self.hooks, "/_emulator/connections").await?;
        let all: Vec<Connections> = serde_json::from_slice(&answer)?;
        Ok(all.into_iter().map(|connections| connections.stream).collect())
    }

    /// A stream by its name, `None` when there is none.
    pub async fn find(&self, name: &str) -> Result<Option<FoundStream>> {
        let described = match self.client.describe_stream().stream_name(name).send().await {
            Ok(described) => described,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeStreamError::is_resource_not_found_exception) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("failed to describe {name}")),
        };
        let info = described.stream_info.context("a described stream has an info")?;
        let listed = self.client.list_tags_for_stream().stream_name(name).send().await?;
        Ok(Some(FoundStream {
            arn: info.stream_arn.context("a stream has an ARN")?,
            retention_hours: info.data_retention_in_hours.unwrap_or_default(),
            tags: listed.tags.unwrap_or_default().into_iter().collect(),
        }))
    }
}

/// A port that nobody has at the moment.
pub fn free_port(address: Ipv4Addr) -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((address, 0)).with_context(|| format!("failed to listen on {address}"))?;
    Ok(listener.local_addr()?)
}

async fn wait_ready(process: &Daemon, file: &Path) -> Result<Addresses> {
    until(START_MAX, "the emulator answers", async || {
        if let Err(error) = process.check() {
            return Ok(Look::Done(Err(error)));
        }
        let found: Addresses = serde_json::from_slice(&fs::read(file)?)?;
        http::get(found.http, "/_emulator/health").await?;
        Ok(Look::Done(Ok(found)))
    })
    .await?
}

fn client(address: SocketAddr, keys: &Keys) -> Client {
    let credentials = Credentials::new(&keys.id, &keys.secret, Some(keys.token.clone()), None, "tests");
    let config = aws_sdk_kinesisvideo::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{address}"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(credentials)
        .build();
    Client::from_conf(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_apart_by_their_verbs() {
        assert!(is_read("DescribeAlarms") && is_read("GetCallerIdentity") && is_read("ListTagsForStream"));
        assert!(!is_read("PutMetricAlarm") && !is_read("TagStream") && !is_read("AssumeRole"));
    }

    #[test]
    fn a_refusal_is_one_of_a_quota_unless_it_was_ordered_or_is_about_something_else() {
        let call = |error: Option<&str>, struck: bool| -> Call {
            serde_json::from_value(json!({
                "n": 1, "ms": 1, "operation": "DescribeStream", "stream": null, "status": 400, "error": error, "done": false,
                "struck": struck,
            }))
            .unwrap()
        };
        for code in ["ClientLimitExceededException", "Throttling", "AccountStreamLimitExceededException"] {
            assert!(call(Some(code), false).is_over_quota(), "{code}");
            assert!(!call(Some(code), true).is_over_quota(), "{code} on order");
        }
        assert!(!call(Some("AccessDeniedException"), false).is_over_quota());
        assert!(!call(None, false).is_over_quota());
    }
}
