//! Where the producer's credentials come from, and by which way it reaches AWS: each with a real producer, by its environment
//! and files alone. Nothing is lost while they change, and nothing of them is in the log.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use streamfleet_contract::UploadReason;
use streamfleet_tests::camera::Recipe;
use streamfleet_tests::e2e::http;
use streamfleet_tests::journal;
use streamfleet_tests::rig::{Plan, Producer, Rig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

const ROLE: &str = "arn:aws:iam::123456789012:role/feeder";
const TOKEN: &str = "planted-web-identity-token";

/// How long anything may take to come about on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// Waits until the feed's sessions are as many, and the last has stored something.
async fn sessions(producer: &Producer, wanted: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let feed = producer.feed(0).await?;
        if feed.upload_sessions >= wanted && feed.upload.reason == UploadReason::Persisting {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "{wanted} sessions are awaited: {feed:?}\n{}", producer.log_end());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Stops everything, and checks that all is stored and that the logs have none of the `secrets`.
async fn conclude(rig: Rig, producer: Producer, secrets: &[&str]) -> Result<()> {
    rig.finish(producer).await?;
    let compared = journal::compare(&rig.journal(0)?, &rig.archived(0).await?, &[]);
    ensure!(compared.is_complete(), "{compared:?}");
    let log = std::fs::read_to_string(rig.folder.join("producer-1.log"))?;
    for secret in secrets {
        ensure!(!log.contains(secret), "{secret} is in the log");
    }
    rig.clear().await
}

async fn tokens(rig: &Rig) -> Result<Vec<Value>> {
    let answer = http::get(rig.service.http, "/_emulator/tokens").await?;
    serde_json::from_slice(&answer).context("failed to understand the emulator's tokens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_identity_assumes_the_feeds_role_and_both_are_renewed_while_it_streams() -> Result<()> {
    let plan = Plan {
        // The role is renewed after three quarters of that.
        service_arguments: vec!["--token-lifetime".to_owned(), "12".to_owned()],
        ..Plan::new("web-identity", Recipe::default())
    };
    let mut rig = Rig::start(plan).await?;
    let file = rig.folder.join("token");
    std::fs::write(&file, TOKEN)?;
    let sts = format!("http://{}", rig.service.http);
    rig.keys_by_environment = false;
    for (name, value) in [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod".to_owned()),
        ("AWS_ENDPOINT_URL_STS", sts.clone()),
        ("RUST_LOG", "debug".to_owned()),
    ] {
        rig.environment.push((name.to_owned(), value));
    }
    let stream = &mut rig.configuration.feeds[0].stream;
    stream.role_arn = Some(ROLE.to_owned());
    stream.sts_endpoint = Some(sts);
    let arn = stream.arn.clone();
    rig.configure()?;
    let producer = rig.produce().await?;
    sessions(&producer, 3).await?;
    let given = tokens(&rig).await?;
    let (pods, feeders): (Vec<_>, Vec<_>) =
        given.iter().partition(|token| token["role"]["byWebIdentity"] == true);
    ensure!(pods.len() >= 2 && feeders.len() >= 3, "{given:?}");
    for feeder in feeders {
        ensure!(feeder["role"]["roleArn"] == ROLE, "{feeder}");
        let policy = feeder["role"]["policy"].as_str().context("a role without a policy")?;
        let policy: Value = serde_json::from_str(policy)?;
        ensure!(policy["Statement"][0]["Resource"] == arn.as_str(), "{policy}");
    }
    conclude(rig, producer, &[TOKEN]).await
}

/// A profile with one of the keys that the service knows.
fn profile(key: &str) -> String {
    format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {key}-planted-secret\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_is_awaited_corrected_and_replaced_without_a_restart() -> Result<()> {
    let mut rig = Rig::start_with(Plan::new("credentials-file", Recipe::default()), |folder| {
        let file = folder.join("keys.json");
        let key = |key: &str| json!({"accessKeyId": key, "secretAccessKey": format!("{key}-planted-secret")});
        let test = json!({"accessKeyId": "streamfleet", "secretAccessKey": "streamfleet"});
        std::fs::write(&file, json!({"keys": [test, key("KEY1"), key("KEY2")]}).to_string())?;
        Ok(vec!["--credentials".to_owned(), file.display().to_string()])
    })
    .await?;
    let file = rig.folder.join("credentials");
    rig.keys_by_environment = false;
    rig.environment.push(("AWS_SHARED_CREDENTIALS_FILE".to_owned(), file.display().to_string()));
    rig.environment.push(("RUST_LOG".to_owned(), "debug".to_owned()));
    let producer = rig.produce().await?;
    let refused = |wanted: UploadReason| {
        let producer = &producer;
        async move {
            let start = Instant::now();
            while producer.feed(0).await?.upload.reason != wanted {
                ensure!(
                    start.elapsed() < LIMIT,
                    "{wanted:?} is awaited: {:?}",
                    producer.feed(0).await?.upload
                );
                sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
    };
    refused(UploadReason::AwsCredentialsMissing).await?;
    std::fs::write(&file, profile("NOBODY"))?;
    refused(UploadReason::AwsCredentialsRefused).await?;
    std::fs::write(&file, profile("KEY1"))?;
    sessions(&producer, 1).await?;
    // Replaced as a mounted Secret is: in one step.
    let next = rig.folder.join("credentials.next");
    std::fs::write(&next, profile("KEY2") + "\n")?;
    std::fs::rename(next, &file)?;
    sessions(&producer, 2).await?;
    conclude(rig, producer, &["planted-secret"]).await
}

/// A proxy that takes CONNECT, and notes what it was asked.
struct HttpProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _server: AbortOnDropHandle<()>,
}

impl HttpProxy {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                drop(tokio::spawn(tunnel(client, Arc::clone(&notes))));
            }
        });
        Ok(Self { address, asked, _server: AbortOnDropHandle::new(server) })
    }
}

async fn tunnel(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let target = head.split(' ').nth(1).context("no target")?.to_owned();
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let mut service = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut service).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_go_through_the_proxy_of_the_environment() -> Result<()> {
    let mut rig = Rig::start(Plan { proxied: false, ..Plan::new("https-proxy", Recipe::default()) }).await?;
    let proxy = HttpProxy::start().await?;
    let url = format!("http://feeder:planted-password@{}", proxy.address);
    rig.environment.push(("HTTPS_PROXY".to_owned(), url));
    rig.environment.push(("RUST_LOG".to_owned(), "debug".to_owned()));
    let producer = rig.produce().await?;
    sessions(&producer, 1).await?;
    let asked = proxy.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let connect = format!("CONNECT {} HTTP/1.1\r\n", rig.service.https);
    ensure!(asked.len() >= 2, "GetDataEndpoint and PutMedia: {asked:?}");
    ensure!(asked.iter().all(|head| head.starts_with(&connect)), "{asked:?}");
    // feeder:planted-password
    let authorization = "Proxy-Authorization: Basic ZmVlZGVyOnBsYW50ZWQtcGFzc3dvcmQ=";
    ensure!(asked.iter().all(|head| head.contains(authorization)), "{asked:?}");
    conclude(rig, producer, &["planted-password", "ZmVlZGVyOnBsYW50ZWQ"]).await
}
