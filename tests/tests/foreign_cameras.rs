//! Cameras that are not ours are read, and what is stored of them is read by others: gst-rtsp-server with H.264, H.265, AAC
//! and G.711, over TCP, UDP and TLS, with a password; ffprobe and the vendor's parser over what the archive gives.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use streamfleet_contract::{Audio, CredentialFiles, RtspSource, RtspTls, RtspTransport, Source};
use streamfleet_media::fragment::{Fragment, FragmentReader};
use streamfleet_tests::archive;
use streamfleet_tests::camera::Recipe;
use streamfleet_tests::foreign;
use streamfleet_tests::foreign_camera::{ForeignCamera, Wanted};
use streamfleet_tests::rig::{Plan, Rig, stream};
use tokio::process::Command;
use tokio::time::Instant;

/// How many whole fragments are looked at.
const FRAGMENTS: usize = 3;
/// From one of the camera's pictures to the next, and how far a stored one may be off: clocks are joined by slewing.
const PERIOD_MS: i64 = 40;
const OFF_MS_MAX: i64 = 5;
/// Three fragments take six seconds and their storage.
const STORED_MAX: Duration = Duration::from_secs(90);

/// One foreign camera, and how it is read.
struct Case {
    name: &'static str,
    wanted: Wanted,
    transport: RtspTransport,
    audio: Audio,
    /// The codecs that must be stored, as ffprobe names them.
    codecs: &'static [&'static str],
}

/// What the archive has of it: each fragment's bytes as `GetMediaForFragmentList` gives them, and taken apart.
struct Stored {
    rig: Rig,
    fragments: Vec<(Bytes, Fragment)>,
}

/// Lets our producer upload from the camera until some fragments are stored.
async fn store(case: &Case) -> Result<Stored> {
    let plan = Plan { proxied: false, ..Plan::new(format!("foreign-{}", case.name), Recipe::tiny()) };
    let mut rig = Rig::start(plan.feeds(0)).await?;
    let camera = ForeignCamera::start(&rig.folder, &case.wanted).await?;
    let tls = case
        .wanted
        .tls
        .then(|| RtspTls { ca_file: Some(camera.ca.display().to_string()), ..RtspTls::default() });
    let source = RtspSource { transport: case.transport, tls, ..RtspSource::new(&camera.url) };
    rig.add_feed(Source::Rtsp(source)).await?;
    let feed = &mut rig.configuration.feeds[0];
    feed.audio = case.audio;
    if let Some((user, password)) = case.wanted.login {
        let [username_file, password_file] = [("user", user), ("password", password)].map(|(name, text)| {
            let path = rig.folder.join(name);
            std::fs::write(&path, text).map(|()| path.display().to_string())
        });
        feed.credentials =
            Some(CredentialFiles { username_file: username_file?, password_file: password_file? });
    }
    rig.configure()?;
    let producer = rig.launch()?;
    let deadline = Instant::now() + STORED_MAX;
    while archive::stored_fragments(&rig.config, &stream(0)).await? < FRAGMENTS {
        let said = producer.log_end();
        ensure!(Instant::now() < deadline, "{FRAGMENTS} fragments are not stored in {STORED_MAX:?}:\n{said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let status = producer.terminate(Duration::from_secs(40)).await?;
    ensure!(status.success(), "the producer ended with {status}");
    drop(camera);
    let mut fragments = Vec::new();
    for bytes in archive::media(&rig.config, &stream(0)).await? {
        let mut reader = FragmentReader::new();
        reader.push(bytes.clone());
        reader.finish();
        fragments.push((bytes, reader.next()?.context("an empty answer")?));
    }
    Ok(Stored { rig, fragments })
}

/// The streams of a file as ffprobe sees them, with all frames counted. An error when it says anything else.
async fn ffprobe(file: &std::path::Path) -> Result<Vec<Value>> {
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "warning", "-count_frames", "-count_packets", "-show_streams", "-of", "json"])
        .arg(file);
    let output =
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("failed to run ffprobe")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "ffprobe says about {}: {said}", file.display());
    let document: Value = serde_json::from_slice(&output.stdout)?;
    Ok(document["streams"].as_array().cloned().unwrap_or_default())
}

/// Each fragment is decoded by ffprobe without a word, with the codecs and as many frames as were stored.
async fn check_with_ffprobe(case: &Case, stored: &Stored) -> Result<()> {
    for (index, (bytes, fragment)) in stored.fragments.iter().enumerate() {
        let file = stored.rig.folder.join(format!("fragment-{index}.mkv"));
        std::fs::write(&file, bytes)?;
        let streams = ffprobe(&file).await?;
        let codecs: Vec<&str> =
            streams.iter().map(|stream| stream["codec_name"].as_str().unwrap_or("?")).collect();
        ensure!(codecs == case.codecs, "fragment {index} has {codecs:?} instead of {:?}", case.codecs);
        let mut frames: BTreeMap<u64, usize> = BTreeMap::new();
        for frame in &fragment.frames {
            *frames.entry(frame.track).or_default() += 1;
        }
        for (stream, (track, count)) in streams.iter().zip(&frames) {
            let number = |name: &str| stream[name].as_str().and_then(|text| text.parse::<usize>().ok());
            ensure!(
                number("nb_read_packets") == Some(*count),
                "track {track} of fragment {index} has {count} blocks, ffprobe reads {stream}"
            );
            let read = number("nb_read_frames").unwrap_or(0);
            ensure!(read > 0, "ffprobe decodes nothing of track {track} of fragment {index}: {stream}");
        }
        ensure!(frames.len() == case.codecs.len(), "fragment {index} has {frames:?}");
    }
    Ok(())
}

/// No picture is missing and none is there twice: each is a period after the one before.
fn check_rate(stored: &Stored) -> Result<()> {
    let mut times: Vec<i64> = Vec::new();
    for (_, fragment) in &stored.fragments {
        let start = fragment.metadata.producer_timestamp.context("a fragment has no producer time")? as i64;
        let began = fragment.timecode.context("a fragment has no cluster")?;
        let video = fragment.frames.iter().filter(|frame| frame.track == 1);
        times.extend(video.map(|frame| start + frame.timecode - began));
    }
    ensure!(times.len() > FRAGMENTS, "only {} pictures", times.len());
    // They are stored in decode order.
    times.sort_unstable();
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        ensure!(
            (apart - PERIOD_MS).abs() <= OFF_MS_MAX,
            "{apart} ms between pictures {} and {} of {times:?}",
            pair[0],
            pair[1]
        );
    }
    Ok(())
}

async fn read_and_stored(case: Case) {
    let stored = store(&case).await.unwrap();
    assert!(stored.fragments.len() >= FRAGMENTS);
    check_with_ffprobe(&case, &stored).await.unwrap();
    check_rate(&stored).unwrap();
    stored.rig.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_and_aac_over_the_connection() {
    let wanted = Wanted { video: "h264", audio: "aac", ..Wanted::default() };
    let case = Case {
        name: "aac",
        wanted,
        transport: RtspTransport::Tcp,
        audio: Audio::Auto,
        codecs: &["h264", "aac"],
    };
    Box::pin(read_and_stored(case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_in_datagrams_with_a_password() {
    let login = Some(("viewer", "pass word:1"));
    let wanted = Wanted { video: "h264", audio: "none", login, tls: false };
    let case =
        Case { name: "udp", wanted, transport: RtspTransport::Udp, audio: Audio::Auto, codecs: &["h264"] };
    Box::pin(read_and_stored(case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_and_g711_by_name_over_tls() {
    let wanted = Wanted { video: "h264", audio: "alaw", tls: true, ..Wanted::default() };
    let case = Case {
        name: "tls",
        wanted,
        transport: RtspTransport::Tcp,
        audio: Audio::All,
        codecs: &["h264", "pcm_alaw"],
    };
    Box::pin(read_and_stored(case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g711_is_left_out_where_it_is_not_named() {
    let wanted = Wanted { video: "h264", audio: "alaw", ..Wanted::default() };
    let case = Case {
        name: "no-alaw",
        wanted,
        transport: RtspTransport::Tcp,
        audio: Audio::Auto,
        codecs: &["h264"],
    };
    Box::pin(read_and_stored(case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h265_in_datagrams() {
    let wanted = Wanted { video: "h265", audio: "none", ..Wanted::default() };
    let case =
        Case { name: "h265", wanted, transport: RtspTransport::Udp, audio: Audio::Auto, codecs: &["hevc"] };
    Box::pin(read_and_stored(case)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_the_vendors_parser_reads_what_is_stored_of_h265_and_aac() {
    let wanted = Wanted { video: "h265", audio: "aac", ..Wanted::default() };
    let case = Case {
        name: "java",
        wanted,
        transport: RtspTransport::Tcp,
        audio: Audio::Auto,
        codecs: &["hevc", "aac"],
    };
    let stored = store(&case).await.unwrap();
    check_with_ffprobe(&case, &stored).await.unwrap();
    for (index, (bytes, fragment)) in stored.fragments.iter().enumerate() {
        let file = stored.rig.folder.join(format!("java-{index}.mkv"));
        std::fs::write(&file, bytes).unwrap();
        let java = foreign::java_frames(&file).await.unwrap();
        let theirs: Vec<_> =
            java.iter().map(|frame| (frame.track, frame.time_ms, frame.sha256.clone())).collect();
        let ours: Vec<_> = fragment
            .frames
            .iter()
            .map(|frame| {
                let sha256 = hex::encode(Sha256::digest(&frame.payload));
                (frame.track, fragment.header.millis(frame.timecode), sha256)
            })
            .collect();
        assert_eq!(theirs, ours, "fragment {index}");
        let number = java[0].fragment.as_ref().map(ToString::to_string);
        assert_eq!(number, fragment.metadata.number.as_ref().map(ToString::to_string));
    }
    stored.rig.clear().await.unwrap();
}
