//! The service answers with errors, or not any more.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use streamfleet_media::ack::{ErrorClass, ErrorId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{FRAGMENT_SECONDS, Limits, MEMORY, Played, Report, Scale, Trial};
use crate::archive::KEY;
use crate::camera::Recipe;
use crate::rig::{Call, Plan, Producer, Rig, stream, unix_ms};

/// All error ids that are documented or known, and one that is not.
const ERRORS: &[u32] = &[
    4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4010, 4011, 4012, 4500, 4501, 4502, 4503,
    4504, 4505, 4506, 4507, 5000, 5001, 5999,
];
/// Some of each class.
const ERRORS_SHORT: &[u32] = &[4000, 4004, 4006, 4009, 4500, 5000];
/// How long a feed that is held waits before it tries again, at most: the first of 30 to 300 s, with what is drawn.
const HOLD_MAX: u64 = 50;
/// Within this time a fault that was ordered strikes each feed, on a busy machine.
const STRIKE_MAX: Duration = Duration::from_secs(20);

/// Each error id in place of a fragment's acknowledgement, once, each for a feed of its own.
pub(super) async fn errors(scale: Scale) -> Result<Vec<Report>> {
    let ids = if scale.short { ERRORS_SHORT } else { ERRORS };
    let recipe = if scale.short { Recipe::tiny() } else { scale.recipe };
    let plan = Plan::new("errors", recipe).memory(2 * MEMORY).feeds(ids.len());
    let (trial, producer) = Trial::start(plan).await?;
    let began_ms = unix_ms();
    for (feed, id) in ids.iter().enumerate() {
        let error = [("operation", json!("PutMedia")), ("errorId", json!(id))];
        trial.rig.service.fail(&stream(feed), "ack-error", &error).await?;
    }
    tokio::time::sleep(Duration::from_secs(2 * FRAGMENT_SECONDS + 2)).await;
    for (feed, id) in ids.iter().enumerate() {
        heard(&producer, feed, *id).await?;
    }
    let played = Played::until_now(producer, began_ms);
    let scale = Scale { recipe, ..scale };
    trial.conclude(played, |feed| format!("error-{}", ids[feed]), |feed| error_limits(scale, ids[feed])).await
}

/// Waits until a feed has been told an error.
async fn heard(producer: &Producer, feed: usize, id: u32) -> Result<()> {
    let kind = match ErrorId::from_code(id) {
        ErrorId::Other(_) => "unknown".to_owned(),
        known => known.code().to_string(),
    };
    let labels = [format!("feed=\"feed-{feed}\""), format!("kind=\"{kind}\"")];
    let deadline = Instant::now() + STRIKE_MAX;
    while producer.metric_with("streamfleet_producer_errors_total", &labels).await?.unwrap_or(0.0) < 1.0 {
        ensure!(Instant::now() < deadline, "feed {feed} was not told error {id} within {STRIKE_MAX:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A fragment that will never be taken is lost, and nothing else is.
fn error_limits(scale: Scale, id: u32) -> Limits {
    let class = ErrorId::from_code(id).class();
    let fragment = scale.pictures(FRAGMENT_SECONDS);
    let (lost, pause) = match class {
        ErrorClass::Poison => (fragment, 0),
        // Where there is nothing to mend it comes to the same.
        ErrorClass::Curable => (fragment, 5),
        ErrorClass::Hold => (0, HOLD_MAX),
        ErrorClass::Resend => (0, 0),
    };
    let recover = Duration::from_secs(15 + pause);
    Limits { lost, repeated: scale.window(), recover, strikes: 1 }
}

/// Every call is refused for 20 s, as when somebody takes a policy away and gives it back.
pub(super) async fn forbidden(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(Plan::new("forbidden", scale.recipe).memory(MEMORY)).await?;
    let (began_ms, time) = (unix_ms(), scale.seconds(20, 6));
    let more = [("seconds", json!(time.as_secs())), ("count", json!(null))];
    trial.rig.service.fail(&stream(0), "forbidden", &more).await?;
    trial.rig.proxy.cut();
    tokio::time::sleep(time).await;
    let calls = trial.rig.service.calls().await?;
    let is_forbidden = |call: &Call| call.operation == "PutMedia" && call.status == 403;
    ensure!(calls.iter().any(is_forbidden), "no call was forbidden");
    let played = Played::until_now(producer, began_ms);
    let limits = Limits { lost: 0, repeated: scale.window(), recover: Duration::from_secs(35), strikes: 2 };
    trial.conclude(played, |_| "forbidden".to_owned(), |_| limits).await
}

/// Sessions are ended by the service when they are a minute old.
pub(super) async fn session_age(scale: Scale) -> Result<Vec<Report>> {
    let (age, time) = if scale.short { (12, 30) } else { (60, 200) };
    let plan = Plan {
        service_arguments: vec!["--put-session-limit".to_owned(), age.to_string()],
        ..Plan::new("session-age", scale.recipe)
    };
    let (trial, producer) = Trial::start(plan.memory(MEMORY)).await?;
    let began_ms = unix_ms();
    tokio::time::sleep(Duration::from_secs(time)).await;
    let played = Played::until_now(producer, began_ms);
    let limits = Limits {
        lost: 0,
        repeated: (time / age) as usize * scale.window(),
        recover: Duration::from_secs(15),
        strikes: (time / age) as usize,
    };
    trial.conclude(played, |_| "session-age".to_owned(), |_| limits).await
}

/// The producer's credentials come from a container endpoint and expire every minute; sessions are short, so that old ones
/// would be refused.
pub(super) async fn token_expires(scale: Scale) -> Result<Vec<Report>> {
    /// How long a token is valid.
    const VALID: Duration = Duration::from_mins(1);
    let age = if scale.short { 15 } else { 25 };
    let plan = Plan {
        service_arguments: vec!["--put-session-limit".to_owned(), age.to_string()],
        ..Plan::new("token-expires", scale.recipe)
    };
    let mut rig = Rig::start_with(plan.memory(MEMORY), |folder| {
        let file = folder.join("keys.json");
        std::fs::write(&file, json!({"keys": [fixed_key()]}).to_string())?;
        Ok(vec!["--credentials".to_owned(), file.display().to_string()])
    })
    .await?;
    let keys = Keys::start(&rig, VALID).await?;
    rig.keys_by_environment = false;
    rig.environment.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), keys.url.clone()));
    let (trial, producer) = Trial::begin(rig).await?;
    let (began_ms, time) = (unix_ms(), scale.seconds(150, 75));
    tokio::time::sleep(time).await;
    let (issued, due) =
        (keys.issued.load(Ordering::Relaxed), 1 + (time.as_secs() / VALID.as_secs()) as usize);
    ensure!(issued >= due, "{issued} keys were issued in {time:?}: at least {due} should have been");
    let played = Played::until_now(producer, began_ms);
    let ended = (time.as_secs() / age) as usize;
    // Those of the time after it, and those that are open at either end.
    let sessions = ended + 3;
    let limits = Limits {
        lost: 0,
        repeated: sessions * scale.window(),
        recover: Duration::from_secs(15),
        strikes: ended,
    };
    trial.conclude(played, |_| "token-expires".to_owned(), |_| limits).await
}

/// The key that stays, for those who look at the archive.
fn fixed_key() -> serde_json::Value {
    json!({"accessKeyId": KEY, "secretAccessKey": KEY})
}

/// A container's credentials endpoint, with keys that the emulator knows until they expire.
struct Keys {
    url: String,
    /// How many keys were given.
    issued: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl Keys {
    async fn start(rig: &Rig, valid: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/credentials", listener.local_addr()?);
        let file = Arc::new(rig.folder.join("keys.json"));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let server = tokio::spawn(async move {
            let mut issued = vec![fixed_key()];
            while let Ok((mut stream, _)) = listener.accept().await {
                let expires = jiff::Timestamp::now() + valid;
                let number = issued.len();
                issued.push(json!({
                    "accessKeyId": format!("ASIAKEY{number}"), "secretAccessKey": format!("secret-{number}"),
                    "sessionToken": format!("token-{number}"), "expires": expires.to_string(),
                }));
                let written = std::fs::write(file.as_path(), json!({"keys": issued}).to_string());
                let body = json!({
                    "AccessKeyId": format!("ASIAKEY{number}"), "SecretAccessKey": format!("secret-{number}"),
                    "Token": format!("token-{number}"), "Expiration": expires.to_string(),
                })
                .to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                // One read is a whole request without a body.
                let mut request = [0; 4096];
                if written.is_ok() && stream.read(&mut request).await.is_ok() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { url, issued: count, _server: AbortOnDropHandle::new(server) })
    }
}
