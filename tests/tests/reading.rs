//! The consumer against the emulator: a range comes back whole, on one timeline, whatever sessions it was uploaded in and
//! however the answer breaks off.
//!
//! The upload is written out here, so that it shares nothing with the producer. Each frame's payload is its own time: what
//! was uploaded and what comes back are compared frame by frame.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesisvideo::types::ApiName;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use streamfleet_consumer::timeline::{Gap, Range};
use streamfleet_consumer::{Access, CallFailure, Client, Error, Stream, clip};
use streamfleet_media::mkv::{Demuxer, Item, Track, write};
use streamfleet_tests::archive::{KEY, REGION, create_stream, sdk_config};
use streamfleet_tests::programs::Program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const FRAMES: u64 = 50;
const FRAME_MS: u64 = 40;
const FRAGMENT_MS: u64 = FRAMES * FRAME_MS;
/// From the first frame of a fragment to its last.
const LENGTH_MS: u64 = (FRAMES - 1) * FRAME_MS;

/// The emulator, with a proxy in front of its data endpoints that can cut an answer.
struct Service {
    folder: PathBuf,
    emulator: Program,
    http: String,
    cutter: Cutter,
}

impl Service {
    async fn start(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("streamfleet-reading-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let cutter = Cutter::start().await?;
        let data = folder.join("emulator");
        let advertise = format!("http://{}", cutter.address);
        let mut emulator = Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
            // More than a thousand fragments are written as fast as they go.
            command.args(["--no-rates", "--listen", "127.0.0.1:0", "--advertise", &advertise, "--data"]);
            command.arg(&data);
        })?;
        let addresses = || {
            let text = std::fs::read_to_string(data.join("addresses.json")).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()
        };
        let addresses = emulator.wait_for(Duration::from_secs(20), addresses).await?;
        let http = url(&addresses, "http")?;
        cutter.target.set(http.trim_start_matches("http://").parse()?)?;
        Ok(Self { folder, emulator, http, cutter })
    }

    async fn stream(&self, name: &str) -> Result<String> {
        create_stream(&sdk_config(&self.http).await, name).await
    }

    fn access(&self, secret: &str) -> Access {
        let credentials = Credentials::new(KEY, secret, None, None, "test");
        Access {
            endpoint: Some(self.http.clone()),
            credentials: Some(SharedCredentialsProvider::new(credentials)),
            ..Access::of_region(REGION)
        }
    }

    /// Orders a fault for the next `count` calls of an operation.
    async fn fault(&self, operation: &str, action: &str, count: u32) -> Result<()> {
        let order =
            serde_json::json!({ "operation": operation, "action": action, "count": count }).to_string();
        let request = Request::post(format!("{}/_emulator/faults", self.http)).body(order)?;
        let answer = HttpClient::builder(TokioExecutor::new()).build_http().request(request).await?;
        ensure!(answer.status().is_success(), "the fault is refused with {}", answer.status());
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.emulator.terminate(Duration::from_secs(10)).await?;
        std::fs::remove_dir_all(&self.folder).context("failed to remove the test's folder")
    }
}

/// The address of one of the emulator's listeners, as a URL.
fn url(addresses: &serde_json::Value, scheme: &str) -> Result<String> {
    let address = addresses[scheme].as_str().with_context(|| format!("no {scheme} in {addresses}"))?;
    Ok(if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") })
}

/// A TCP proxy that, by order, cuts the connection which carries an answer of `GetMediaForFragmentList`.
struct Cutter {
    address: SocketAddr,
    target: Arc<tokio::sync::SetOnce<SocketAddr>>,
    /// After how many bytes of such an answer to cut; negative for never.
    after: Arc<AtomicI64>,
}

impl Cutter {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (target, after) = (Arc::new(tokio::sync::SetOnce::new()), Arc::new(AtomicI64::new(-1)));
        let (to, order) = (target.clone(), after.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to, order) = (to.clone(), order.clone());
                tokio::spawn(async move { carry(client, *to.wait().await, &order).await });
            }
        });
        Ok(Self { address, target, after })
    }

    fn cut_after(&self, bytes: i64) {
        self.after.store(bytes, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.after.load(Ordering::SeqCst) < 0
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, order: &AtomicI64) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 4 << 10]);
    let (mut recall, mut carried) = (false, 0);
    loop {
        tokio::select! {
            count = client.read(&mut up) => match count? {
                0 => return Ok(()),
                count => {
                    recall |= String::from_utf8_lossy(&up[..count]).to_lowercase().contains("/getmediaforfragmentlist");
                    server.write_all(&up[..count]).await?;
                }
            },
            count = server.read(&mut down) => match count? {
                0 => return Ok(()),
                count => {
                    carried += if recall { count as i64 } else { 0 };
                    let after = order.load(Ordering::SeqCst);
                    if recall && after >= 0 && carried > after {
                        order.store(-1, Ordering::SeqCst);
                        return Ok(());
                    }
                    client.write_all(&down[..count]).await?;
                }
            },
        }
    }
}

/// One `PutMedia` session of fragments of two seconds that begin at these times.
async fn upload(service: &Service, arn: &str, starts_ms: &[u64]) -> Result<()> {
    upload_as(service, arn, track(640), starts_ms).await
}

async fn upload_as(service: &Service, arn: &str, track: Track, starts_ms: &[u64]) -> Result<()> {
    let mut parts = vec![write::header(&[track])];
    for start in starts_ms {
        let mut fragment = BytesMut::from(&write::cluster_start(*start)[..]);
        for frame in 0..FRAMES {
            let relative = frame * FRAME_MS;
            let payload = (start + relative).to_be_bytes();
            let prefix = write::simple_block_prefix(1, i16::try_from(relative)?, frame == 0, payload.len());
            fragment.extend_from_slice(&prefix);
            fragment.extend_from_slice(&payload);
        }
        parts.push(fragment.freeze());
    }
    let body = StreamBody::new(futures::stream::iter(
        parts.into_iter().map(|part| Ok::<_, std::io::Error>(Frame::data(part))),
    ));
    let control = aws_sdk_kinesisvideo::Client::new(&sdk_config(&service.http).await);
    let found = control.get_data_endpoint().stream_arn(arn).api_name(ApiName::PutMedia).send().await?;
    let endpoint = found.data_endpoint().context("no endpoint for PutMedia")?;
    let request = put_media(endpoint, arn)?.body(body)?;
    let answer = HttpClient::builder(TokioExecutor::new()).build_http().request(request).await?;
    let status = answer.status();
    let acks = String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?;
    ensure!(status.is_success(), "{status}: {acks}");
    let persisted = acks.matches("PERSISTED").count();
    ensure!(
        persisted == starts_ms.len(),
        "{persisted} of {} fragments are persisted: {acks}",
        starts_ms.len()
    );
    Ok(())
}

fn track(width: u64) -> Track {
    Track::video("V_MPEG4/ISO/AVC", Bytes::from_static(&[1, 0x42, 0, 0x1E, 0xFF, 0xE0, 0]), width, 360)
}

/// The head of a `PutMedia` request with its signature (`SigV4`, the hash of an empty payload: so do the vendor's producers).
fn put_media(endpoint: &str, arn: &str) -> Result<http::request::Builder> {
    let (host, path) =
        endpoint.trim_start_matches("http://").split_once('/').context("an endpoint without a path")?;
    let path = format!("/{path}/putMedia").replace("//", "/");
    let now = Timestamp::now();
    let (date, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let headers = [
        ("host", host.to_owned()),
        ("x-amz-date", date.clone()),
        ("x-amzn-fragment-acknowledgment-required", "1".to_owned()),
        ("x-amzn-fragment-timecode-type", "ABSOLUTE".to_owned()),
        ("x-amzn-producer-start-timestamp", format!("{:.3}", now.as_millisecond() as f64 / 1e3)),
        ("x-amzn-stream-arn", arn.to_owned()),
    ];
    let names = headers.each_ref().map(|(name, _)| *name).join(";");
    let lines = headers.each_ref().map(|(name, value)| format!("{name}:{value}\n")).concat();
    let canonical = format!("POST\n{path}\n\n{lines}\n{names}\n{}", hex::encode(Sha256::digest(b"")));
    let scope = format!("{day}/{REGION}/kinesisvideo/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let key = [day.as_str(), REGION, "kinesisvideo", "aws4_request"]
        .iter()
        .fold(format!("AWS4{KEY}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}");
    let mut request = Request::post(format!("http://{host}{path}")).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    Ok(request)
}

/// HMAC-SHA-256 (RFC 2104), for keys of at most 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad =
        |byte: u8| -> Vec<u8> { (0..64).map(|index| key.get(index).copied().unwrap_or(0) ^ byte).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().to_vec()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(ms as i64).unwrap()
}

/// Two minutes ago, on a whole second.
fn base() -> u64 {
    (Timestamp::now().as_second() as u64 - 120) * 1_000
}

fn starts(from: u64, count: u64) -> Vec<u64> {
    (0..count).map(|index| from + index * FRAGMENT_MS).collect()
}

/// The times that a clip's frames have in it, and those that they were uploaded with.
fn frames(clip: &[u8]) -> Vec<(u64, u64)> {
    let mut demuxer = Demuxer::new();
    demuxer.push(Bytes::copy_from_slice(clip));
    demuxer.finish();
    let mut frames = Vec::new();
    while let Some(item) = demuxer.next().unwrap() {
        if let Item::Frame(frame) = item {
            let uploaded = u64::from_be_bytes(frame.payload[..].try_into().unwrap());
            frames.push((u64::try_from(frame.timecode).unwrap(), uploaded));
        }
    }
    frames
}

fn expected(base: u64, starts_ms: &[u64]) -> Vec<(u64, u64)> {
    let times = starts_ms.iter().flat_map(|start| (0..FRAMES).map(move |frame| start + frame * FRAME_MS));
    times.map(|time| (time - base, time)).collect()
}

/// Waits until the archive's index has caught up with what is persisted.
async fn listed(archive: &streamfleet_consumer::Archive, range: Range, count: usize) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let found = archive.list(range).await?.fragments.len();
        if found == count {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{found} of {count} fragments are listed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_range_of_several_sessions_is_one_timeline_with_its_gap_and_without_what_was_sent_twice()
-> Result<()> {
    let service = Service::start("sessions").await?;
    let (arn, base) = (service.stream("door").await?, base());
    let first = starts(base, 10);
    // The second session repeats the last fragment of the first, as a producer does that missed its acknowledgement.
    let second = [&first[9..], &starts(base + 30_000, 8)[..]].concat();
    upload(&service, &arn, &first).await?;
    upload(&service, &arn, &second).await?;

    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn)).await?;
    let range = Range { from: at(base), to: at(base + 60_000) };
    listed(&archive, range, 18).await?;
    let mut file = Vec::new();
    let report = clip::write(&archive, range, &mut file).await?;

    let all = [&first[..], &second[1..]].concat();
    assert_eq!(frames(&file), expected(base, &all));
    assert_eq!((report.fragments, report.superseded, report.segments), (18, 1, 1));
    assert_eq!((report.bytes, report.blocks), (file.len() as u64, 18 * FRAMES));
    assert_eq!((report.first, report.last), (at(base), at(base + 44_000 + LENGTH_MS)));
    assert_eq!(
        report.gaps,
        [
            Gap { start: at(base + 18_000 + LENGTH_MS), end: at(base + 30_000) },
            Gap { start: at(base + 44_000 + LENGTH_MS), end: at(base + 60_000) },
        ]
    );
    service.end().await
}

#[tokio::test]
async fn a_change_of_format_begins_a_segment_and_is_reported_and_no_frame_is_left_out() -> Result<()> {
    let service = Service::start("format").await?;
    let (arn, base) = (service.stream("door").await?, base());
    let (small, large) = (starts(base, 3), starts(base + 3 * FRAGMENT_MS, 3));
    upload(&service, &arn, &small).await?;
    upload_as(&service, &arn, track(1280), &large).await?;
    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn)).await?;
    let range = Range { from: at(base), to: at(base + 6 * FRAGMENT_MS) };
    listed(&archive, range, 6).await?;
    let mut file = Vec::new();
    let report = clip::write(&archive, range, &mut file).await?;
    assert_eq!((report.segments, report.gaps.len()), (2, 0));
    assert_eq!(frames(&file), expected(base, &[small, large].concat()));
    service.end().await
}

#[tokio::test]
async fn a_clip_begins_with_the_fragment_that_reaches_into_the_range() -> Result<()> {
    let service = Service::start("reach").await?;
    let (arn, base) = (service.stream("door").await?, base());
    upload(&service, &arn, &starts(base, 5)).await?;
    // By name, this time.
    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Name("door".to_owned())).await?;
    let range = Range { from: at(base + 3_000), to: at(base + 6_500) };
    listed(&archive, range, 3).await?;
    let mut file = Vec::new();
    let report = clip::write(&archive, range, &mut file).await?;
    assert_eq!(frames(&file), expected(base + 2_000, &starts(base + 2_000, 3)));
    assert_eq!(report.gaps, []);
    service.end().await
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_nothing_is_lost_or_doubled() -> Result<()> {
    let service = Service::start("cut").await?;
    let (arn, base) = (service.stream("door").await?, base());
    let all = starts(base, 10);
    upload(&service, &arn, &all).await?;
    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn)).await?;
    let range = Range { from: at(base), to: at(base + 20_000) };
    listed(&archive, range, 10).await?;
    let mut whole = Vec::new();
    clip::write(&archive, range, &mut whole).await?;
    assert_eq!(frames(&whole), expected(base, &all));
    for after in [100, 3_000, whole.len() as i64 / 2] {
        service.cutter.cut_after(after);
        let mut file = Vec::new();
        clip::write(&archive, range, &mut file).await?;
        assert!(service.cutter.has_cut(), "nothing was cut after {after} bytes");
        assert_eq!(frames(&file), expected(base, &all), "cut after {after} bytes");
    }
    service.end().await
}

#[tokio::test]
async fn calls_that_are_throttled_or_fail_in_passing_are_made_again() -> Result<()> {
    let service = Service::start("throttle").await?;
    let (arn, base) = (service.stream("door").await?, base());
    let all = starts(base, 2);
    upload(&service, &arn, &all).await?;
    let range = Range { from: at(base), to: at(base + 4_000) };
    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn.clone())).await?;
    listed(&archive, range, 2).await?;
    for operation in ["GetDataEndpoint", "ListFragments", "GetMediaForFragmentList"] {
        for action in ["throttle", "internal-failure", "drop"] {
            service.fault(operation, action, 1).await?;
            let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn.clone())).await?;
            let mut file = Vec::new();
            clip::write(&archive, range, &mut file).await?;
            assert_eq!(frames(&file), expected(base, &all), "{operation}: {action}");
        }
    }
    // A throttle that does not pass is told as what it is.
    service.fault("ListFragments", "throttle", 100).await?;
    let error = archive.list(range).await.unwrap_err();
    assert!(
        matches!(&error, Error::Call { failure: CallFailure::Refused { code, .. }, .. } if code == "ClientLimitExceededException"),
        "{error:?}"
    );
    service.end().await
}

#[tokio::test]
async fn a_range_of_more_fragments_than_a_page_of_the_list_and_two_recalls_hold_comes_back_whole()
-> Result<()> {
    const COUNT: u64 = 1_100;
    let service = Service::start("many").await?;
    let (arn, base) = (service.stream("door").await?, base() - COUNT * FRAGMENT_MS);
    let all = starts(base, COUNT);
    upload(&service, &arn, &all).await?;
    let archive = Client::new(service.access(KEY)).await?.archive(Stream::Arn(arn)).await?;
    let range = Range { from: at(base), to: at(base + COUNT * FRAGMENT_MS) };
    listed(&archive, range, COUNT as usize).await?;
    let mut file = Vec::new();
    let report = clip::write(&archive, range, &mut file).await?;
    assert_eq!((report.fragments, report.gaps.len(), report.segments), (COUNT as usize, 0, 1));
    assert_eq!(frames(&file), expected(base, &all));
    service.end().await
}

#[tokio::test]
async fn what_is_wrong_is_said_and_no_secret_with_it() -> Result<()> {
    let service = Service::start("wrong").await?;
    let (arn, base) = (service.stream("door").await?, base());
    upload(&service, &arn, &starts(base, 2)).await?;
    let client = Client::new(service.access(KEY)).await?;
    let archive = client.archive(Stream::Arn(arn.clone())).await?;
    listed(&archive, Range { from: at(base), to: at(base + 4_000) }, 2).await?;

    let empty = Range { from: at(base + 10_000), to: at(base + 20_000) };
    let error = clip::write(&archive, empty, &mut Vec::new()).await.unwrap_err();
    assert!(
        matches!(error, Error::NothingInRange { before: Some(before), after: None, .. } if before == at(base + 2_000 + LENGTH_MS)),
        "{error:?}"
    );

    let error = client.archive(Stream::Name("nobody".to_owned())).await.unwrap_err();
    assert!(
        matches!(&error, Error::Call { failure: CallFailure::Refused { code, .. }, .. } if code == "ResourceNotFoundException"),
        "{error:?}"
    );

    let refused =
        Client::new(service.access("not-the-secret")).await?.archive(Stream::Arn(arn)).await.unwrap_err();
    assert!(matches!(refused, Error::Call { failure: CallFailure::Refused { .. }, .. }), "{refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("not-the-secret"), "{refused:?}");

    let nowhere = Access { endpoint: Some("http://127.0.0.1:1".to_owned()), ..service.access(KEY) };
    let error = Client::new(nowhere).await?.archive(Stream::Name("door".to_owned())).await.unwrap_err();
    assert!(matches!(&error, Error::Call { failure: CallFailure::Unreachable(_), .. }), "{error:?}");
    service.end().await
}

#[tokio::test]
async fn the_archive_answers_over_tls_with_the_emulators_own_authority() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("streamfleet-reading-tls-{}", std::process::id()));
    let data = folder.join("emulator");
    std::fs::create_dir_all(&folder)?;
    let mut emulator = Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
        command.args(["--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--data"]).arg(&data);
    })?;
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let addresses = emulator.wait_for(Duration::from_secs(20), || read(&data.join("addresses.json"))).await?;
    let addresses: serde_json::Value = serde_json::from_str(&addresses)?;
    let ca = read(&data.join("ca.crt")).context("no ca.crt")?;
    create_stream(&sdk_config(&url(&addresses, "http")?).await, "door").await?;
    let credentials = Some(SharedCredentialsProvider::new(Credentials::new(KEY, KEY, None, None, "test")));
    let endpoint = Some(url(&addresses, "https")?);
    let trusted = Access { endpoint, ca_bundle: Some(ca), credentials, ..Access::of_region(REGION) };
    let archive = Client::new(trusted.clone()).await?.archive(Stream::Name("door".to_owned())).await?;
    let range = Range { from: at(base()), to: Timestamp::now() };
    assert_eq!(archive.list(range).await?.fragments, []);

    let distrusted = Access { ca_bundle: None, ..trusted };
    let error = Client::new(distrusted).await?.archive(Stream::Name("door".to_owned())).await.unwrap_err();
    assert!(matches!(&error, Error::Call { failure: CallFailure::Unreachable(_), .. }), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    emulator.terminate(Duration::from_secs(10)).await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
