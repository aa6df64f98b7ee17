//! Must show 3 of issue 4: clients that are not ours take the emulator for the service, and the vendor's parser reads what
//! our producer uploads. boto3 and the vendor's Java library are unmodified, from their registries: see `tests/foreign`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use streamfleet_contract as contract;
use streamfleet_media::fragment::FragmentReader;
use streamfleet_media::mkv::{Demuxer, Header, Item, write};
use streamfleet_tests::archive::{self, KEY, REGION};
use streamfleet_tests::camera::{Camera, Clip, Options, Recipe};
use streamfleet_tests::foreign::{self, JavaFrame, JavaUpload};
use streamfleet_tests::programs::Program;

/// An emulator of this test's own, with its data in a folder of its own.
struct Service {
    folder: PathBuf,
    emulator: Program,
    /// Where plain HTTP is served.
    http: String,
    https: Option<String>,
}

impl Service {
    /// Starts the emulator on free ports; with `tls` it advertises HTTPS.
    async fn start(name: &str, tls: bool) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("streamfleet-foreign-{name}-{}", std::process::id()));
        let data = folder.join("emulator");
        std::fs::create_dir_all(&data)?;
        let mut emulator = Program::start("streamfleet-emulator", &folder.join("emulator.log"), |command| {
            command.args(["--listen", "127.0.0.1:0", "--data"]).arg(&data);
            if tls {
                command.args(["--listen-tls", "127.0.0.1:0"]);
            }
        })?;
        let addresses = || {
            let text = std::fs::read_to_string(data.join("addresses.json")).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        };
        let addresses = emulator.wait_for(Duration::from_secs(20), addresses).await?;
        let http = url(&addresses, "http").with_context(|| format!("no http in {addresses}"))?;
        Ok(Self { folder, emulator, http, https: url(&addresses, "https") })
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("emulator/ca.crt")
    }

    /// Removes the folder. Not done when a test fails: the log is in it.
    async fn clear(self) -> Result<()> {
        self.emulator.terminate(Duration::from_secs(10)).await?;
        std::fs::remove_dir_all(&self.folder).context("failed to remove the test's folder")
    }
}

/// The address of one of the emulator's listeners, as a URL.
fn url(addresses: &Value, scheme: &str) -> Option<String> {
    let address = addresses[scheme].as_str()?;
    Some(if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") })
}

/// The answers to the calls of this name, in their order.
fn answers<'a>(reports: &'a [Value], call: &str) -> Vec<&'a Value> {
    reports.iter().filter(|report| report["call"] == call).collect()
}

#[tokio::test]
async fn boto3_takes_a_stream_through_its_life() {
    let service = Service::start("boto3", false).await.unwrap();
    let reports = foreign::boto3_control(&service.http, "foreign-boto3").await.unwrap();
    let calls = |name: &str| answers(&reports, name);

    let created = calls("create_stream");
    let outcome = |report: &Value| (report["error"].clone(), report["status"].clone());
    assert_eq!(outcome(created[0]), (json!("InvalidSignatureException"), json!(403)), "a wrong secret");
    assert_eq!(outcome(created[1]), (json!("UnrecognizedClientException"), json!(403)), "an unknown key");
    let arn = created[2]["answer"]["StreamARN"].as_str().unwrap();
    assert!(
        arn.starts_with(&format!("arn:aws:kinesisvideo:{REGION}:123456789012:stream/foreign-boto3/")),
        "{arn}"
    );
    assert_eq!(outcome(created[3]), (json!("ResourceInUseException"), json!(400)));

    let described = calls("describe_stream");
    let before = &described[0]["answer"]["StreamInfo"];
    let after = &described[1]["answer"]["StreamInfo"];
    assert_eq!((&before["StreamARN"], &before["Status"]), (&json!(arn), &json!("ACTIVE")));
    assert_eq!((&before["DataRetentionInHours"], &after["DataRetentionInHours"]), (&json!(2), &json!(24)));
    assert_eq!(before["MediaType"], "video/h264");
    assert_ne!(before["Version"], after["Version"]);
    assert_eq!(outcome(described[2]), (json!("ResourceNotFoundException"), json!(404)));

    let listed = calls("list_streams");
    assert_eq!(listed[0]["answer"]["StreamInfoList"], json!([before]));
    assert_eq!(listed[1]["answer"]["StreamInfoList"], json!([]));
    let tags = &calls("list_tags_for_stream")[0]["answer"]["Tags"];
    assert_eq!(*tags, json!({"floor": "2", "wing": "west"}));

    let raised = calls("update_data_retention");
    assert_eq!(raised[0]["status"], 200, "{}", raised[0]);
    assert_eq!(raised[1]["error"], "VersionMismatchException");
    let endpoint = calls("get_data_endpoint")[0]["answer"]["DataEndpoint"].as_str().unwrap();
    assert!(endpoint.starts_with(&service.http), "{endpoint} is not at {}", service.http);
    let deleted = calls("delete_stream");
    assert_eq!(deleted[0]["error"], "VersionMismatchException");
    assert_eq!(deleted[1]["status"], 200, "{}", deleted[1]);
    service.clear().await.unwrap();
}

/// A frame as it must come back.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    time_ms: i64,
    track: u64,
    key: bool,
    sha256: String,
}

fn digest(payload: &[u8]) -> String {
    hex::encode(Sha256::digest(payload))
}

/// A capture of `GetMedia` as a producer would have sent it: one Segment, the clusters at their times, no tags.
fn remux(name: &str) -> Result<(Bytes, Vec<Expected>)> {
    let path = format!("{}/fixtures/captures/{name}.mkv", env!("CARGO_MANIFEST_DIR"));
    let mut demuxer = Demuxer::new();
    demuxer.push(std::fs::read(&path).with_context(|| format!("failed to read {path}"))?.into());
    demuxer.finish();
    let mut out = BytesMut::new();
    let mut written: Option<Header> = None;
    let mut cluster = 0;
    let mut frames = Vec::new();
    while let Some(item) = demuxer.next()? {
        match item {
            Item::Header(header) if written.is_none() => {
                out.put(write::header(&header.tracks));
                written = Some(header);
            }
            Item::Header(header) => ensure!(written.as_ref() == Some(&header), "the tracks of {name} change"),
            Item::Cluster { timecode } => {
                out.put(write::cluster_start(timecode.try_into()?));
                cluster = timecode;
            }
            Item::Frame(frame) => {
                let timecode = i16::try_from(frame.timecode - cluster)?;
                out.put(write::simple_block_prefix(frame.track, timecode, frame.key, frame.payload.len()));
                out.put_slice(&frame.payload);
                let sha256 = digest(&frame.payload);
                frames.push(Expected { time_ms: frame.timecode, track: frame.track, key: frame.key, sha256 });
            }
            Item::Document | Item::Tag { .. } | Item::TagsEnd | Item::ClusterEnd | Item::SegmentEnd => {}
        }
    }
    Ok((out.freeze(), frames))
}

/// The frames of a body as our own reader sees them, and the producer times of its fragments.
fn own_frames(body: &Bytes) -> Result<(Vec<Expected>, Vec<u64>)> {
    let mut reader = FragmentReader::new();
    reader.push(body.clone());
    reader.finish();
    let (mut frames, mut times) = (Vec::new(), Vec::new());
    while let Some(fragment) = reader.next()? {
        times.push(fragment.metadata.producer_timestamp.context("a fragment has no producer time")?);
        frames.extend(fragment.frames.iter().map(|frame| Expected {
            time_ms: fragment.header.millis(frame.timecode),
            track: frame.track,
            key: frame.key,
            sha256: digest(&frame.payload),
        }));
    }
    Ok((frames, times))
}

fn as_expected(frames: &[JavaFrame]) -> Vec<Expected> {
    let expected = |frame: &JavaFrame| Expected {
        time_ms: frame.time_ms,
        track: frame.track,
        key: frame.key,
        sha256: frame.sha256.clone(),
    };
    frames.iter().map(expected).collect()
}

/// Up with the vendor's producer, down with boto3, and read by the vendor's parser and by ours.
async fn round_trip(name: &str, count: usize) -> Result<()> {
    let service = Service::start(name, false).await?;
    let config = archive::sdk_config(&service.http).await;
    archive::create_stream(&config, name).await?;
    let (upload, sent) = remux(name)?;
    ensure!(sent.len() == count, "{} frames in the capture", sent.len());
    let file = service.folder.join("upload.mkv");
    std::fs::write(&file, &upload)?;
    // An hour ago, so that nothing lies in the future.
    let start_ms = (jiff::Timestamp::now().as_millisecond() - 3_600_000) as u64;
    let acks = foreign::java_put(JavaUpload { endpoint: &service.http, stream: name, start_ms, file: &file })
        .await?;

    let clusters: Vec<i64> = sent.iter().filter(|frame| frame.key).map(|frame| frame.time_ms).collect();
    for kind in ["BUFFERING", "RECEIVED", "PERSISTED"] {
        let times: Vec<_> =
            acks.iter().filter(|ack| ack.kind == kind).filter_map(|ack| ack.timecode).collect();
        ensure!(times == clusters, "{kind} for {times:?} and not for {clusters:?}: {acks:?}");
    }
    ensure!(acks.iter().all(|ack| ack.error.is_none()), "errors: {acks:?}");

    let body = foreign::boto3_get_media(&service.http, name, None, (clusters.len(), upload.len())).await?;
    let (own, times) = own_frames(&body)?;
    ensure!(own == sent, "what came back is not what was sent");
    let expected: Vec<u64> = clusters.iter().map(|cluster| start_ms + *cluster as u64).collect();
    ensure!(times == expected, "producer times {times:?}, expected {expected:?}");
    let file = service.folder.join("get-media.mkv");
    std::fs::write(&file, &body)?;
    let java = foreign::java_frames(&file).await?;
    ensure!(as_expected(&java) == sent, "the vendor's parser reads something else");
    service.clear().await
}

#[tokio::test]
async fn what_the_vendors_producer_uploads_comes_back_frame_by_frame() {
    round_trip("output_get_media", 300).await.unwrap();
}

#[tokio::test]
async fn what_the_vendors_producer_uploads_of_a_second_camera_comes_back_frame_by_frame() {
    round_trip("kinesis_video_renderer_example_output", 444).await.unwrap();
}

fn feeds(camera: &Camera, service: &Service, arn: String) -> contract::Configuration {
    let source = contract::Source::Rtsp(contract::RtspSource::new(camera.url()));
    let mut stream = contract::Stream::new(arn, REGION);
    stream.endpoint.clone_from(&service.https);
    stream.ca_file = Some(service.ca().display().to_string());
    let mut feed = contract::Feed::new("foreign", source, stream);
    "tests/foreign".clone_into(&mut feed.name);
    "1".clone_into(&mut feed.revision);
    contract::Configuration {
        schema_version: contract::SCHEMA_VERSION,
        process: contract::Process::default(),
        feeds: vec![feed],
    }
}

/// Lets our producer upload from a test camera until some fragments are stored, and ends it properly.
async fn produce(service: &Service, folder: &Path, stream: &str) -> Result<()> {
    let config = archive::sdk_config(&service.http).await;
    let arn = archive::create_stream(&config, stream).await?;
    let clip = Clip::read(&Recipe::default().make(folder).await?)?;
    let camera = Camera::start(Options::on_loopback(clip)).await?;
    let file = folder.join("feeds.yaml");
    // JSON is YAML too.
    std::fs::write(&file, serde_json::to_string(&feeds(&camera, service, arn))?)?;
    let producer = Program::start("streamfleet-producer", &folder.join("producer.log"), |command| {
        command.arg("run").arg("--config").arg(&file).args(["--admin-listen", "127.0.0.1:0"]);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", KEY);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
    })?;
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while stored_fragments(&config, stream).await? < 3 {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "no three fragments in a minute: {}",
            producer.log_end()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let status = producer.terminate(Duration::from_secs(30)).await?;
    ensure!(status.success(), "the producer ended with {status}");
    camera.stop().await;
    Ok(())
}

async fn stored_fragments(config: &aws_config::SdkConfig, stream: &str) -> Result<usize> {
    let pictures = archive::pictures(config, stream).await?;
    Ok(pictures.iter().map(|picture| &picture.fragment).collect::<std::collections::BTreeSet<_>>().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_parser_reads_the_picture_numbers_that_our_producer_uploaded() {
    let service = Service::start("producer", true).await.unwrap();
    produce(&service, &service.folder, "foreign-producer").await.unwrap();
    let config = archive::sdk_config(&service.http).await;
    let archived = archive::pictures(&config, "foreign-producer").await.unwrap();
    let fragments = stored_fragments(&config, "foreign-producer").await.unwrap();
    let ca = service.ca();
    let body = foreign::boto3_get_media(&service.http, "foreign-producer", Some(&ca), (fragments, 100_000))
        .await
        .unwrap();
    let file = service.folder.join("get-media.mkv");
    std::fs::write(&file, &body).unwrap();
    let java = foreign::java_frames(&file).await.unwrap();

    let numbers: Vec<_> = java.iter().map(|frame| frame.picture).collect();
    let expected: Vec<_> = archived.iter().map(|picture| Some(picture.number)).collect();
    assert_eq!(numbers, expected);
    let of_java =
        java.iter().map(|frame| (frame.fragment.as_ref().unwrap().to_string(), frame.key, frame.time_ms));
    let of_archive = archived.iter().map(|picture| (picture.fragment.clone(), picture.key, picture.unix_ms));
    assert!(of_java.eq(of_archive), "{java:?}\n{archived:?}");
    // Three fragments of two seconds at 25 pictures, and each a picture of its own.
    assert!(numbers.len() >= 3 * 2 * 25, "{} pictures", numbers.len());
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    service.clear().await.unwrap();
}
