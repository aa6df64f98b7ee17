//! One question to a pod's `/status`.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use streamfleet_contract::{SCHEMA_VERSION, STATUS_MAX_WAIT_SECONDS, STATUS_PATH, Status};

/// What is allowed beyond the time for which the pod may hold the answer back.
const GRACE: Duration = Duration::from_secs(5);
/// After so long a silence the kernel asks whether the other side is still there, and again after as long.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// So many unanswered questions end a connection: with the time before the first, after 15 seconds.
const KEEPALIVE_RETRIES: u32 = 2;
/// The longest answer: a thousand gaps are a fifth of it.
const BODY_MAX: usize = 1 << 20;

pub type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("failed to make the request")]
    Request(#[source] http::Error),
    /// Nobody answers.
    #[error("failed to reach the producer")]
    Send(#[source] hyper_util::client::legacy::Error),
    /// The answer is not a success.
    #[error("the producer answered {0}")]
    Refused(StatusCode),
    /// The answer broke off, or is too long.
    #[error("failed to read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not a status.
    #[error("failed to understand the answer")]
    Parse(#[source] serde_json::Error),
    /// The answer is of another version of the contract.
    #[error("the producer speaks version {0} of the contract")]
    Version(u32),
    /// No answer in time.
    #[error("the producer did not answer in time")]
    Timeout,
}

/// A client that connects quickly or not at all.
pub fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(3)));
    // An answer may be held back for a minute. A node that is lost is to be noticed sooner, and without more polls: the
    // kernel asks the other side.
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector)
}

/// Asks; the answer comes at once where it differs from what was seen, else on the next change.
pub async fn status(
    client: &HttpClient,
    address: SocketAddr,
    seen: Option<&(String, u64)>,
) -> Result<Status, Error> {
    let wait = if seen.is_some() { STATUS_MAX_WAIT_SECONDS } else { 0 };
    let query = seen.map_or_else(String::new, |(instance, generation)| {
        format!("?instance={instance}&generation={generation}&wait={wait}")
    });
    let request = Request::get(format!("http://{address}{STATUS_PATH}{query}"))
        .body(Empty::new())
        .map_err(Error::Request)?;
    let deadline = Duration::from_secs(wait) + GRACE;
    tokio::time::timeout(deadline, exchange(client, request)).await.unwrap_or(Err(Error::Timeout))
}

async fn exchange(client: &HttpClient, request: Request<Empty<Bytes>>) -> Result<Status, Error> {
    let answer = client.request(request).await.map_err(Error::Send)?;
    if answer.status() != StatusCode::OK {
        return Err(Error::Refused(answer.status()));
    }
    let body = Limited::new(answer.into_body(), BODY_MAX).collect().await.map_err(Error::Body)?.to_bytes();
    let status: Status = serde_json::from_slice(&body).map_err(Error::Parse)?;
    // A reader of version N also reads N−1.
    if (SCHEMA_VERSION.saturating_sub(1)..=SCHEMA_VERSION).contains(&status.schema_version) {
        Ok(status)
    } else {
        Err(Error::Version(status.schema_version))
    }
}
