//! Clients that are not ours, as processes: boto3, and the vendor's Java clients. What they run is in `tests/foreign`; its
//! `setup` gets them from their registries once, and keeps them in the cache folder.
//!
//! Without Python, a JDK or Maven the calls here fail, and say what to install.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use streamfleet_media::fragment::{FragmentNumber, FragmentReader};
use streamfleet_media::h264::sei::PICTURE_NUMBER_UUID;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::archive::{KEY, REGION};

/// The longest that one run of a client may take; an upload of a few megabytes takes some seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// A frame as the vendor's parser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaFrame {
    /// Number of its fragment, if the service has said it.
    pub fragment: Option<FragmentNumber>,
    /// The fragment's producer time, in milliseconds since 1970.
    pub producer_ms: Option<u64>,
    /// Number of its track.
    pub track: u64,
    /// Its time, the cluster's included, in milliseconds.
    pub time_ms: i64,
    /// Whether it is a key frame.
    pub key: bool,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The number that the test camera has marked it with.
    pub picture: Option<u64>,
}

/// An acknowledgement as the vendor's producer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaAck {
    /// Its kind, such as `PERSISTED`.
    pub kind: String,
    /// Time of the cluster that it is for.
    pub timecode: Option<i64>,
    /// Number of the fragment.
    pub number: Option<FragmentNumber>,
    /// Number of the error.
    pub error: Option<u32>,
}

/// What the vendor's client is to upload, with times relative to a start.
#[derive(Debug, Clone, Copy)]
pub struct JavaUpload<'a> {
    /// Where the control plane is.
    pub endpoint: &'a str,
    /// The stream, which is there already.
    pub stream: &'a str,
    /// The producer's start, in milliseconds since 1970.
    pub start_ms: u64,
    /// A Matroska file with one Segment.
    pub file: &'a Path,
}

/// Reads a file of `GetMedia` or `GetMediaForFragmentList` with the vendor's Java parser.
pub async fn java_frames(file: &Path) -> Result<Vec<JavaFrame>> {
    let mut command = java("ReadFrames").await?;
    command.arg(file).arg(hex::encode(PICTURE_NUMBER_UUID));
    let output = run(command, "the vendor's parser").await?;
    output.lines().map(|line| frame(line).with_context(|| format!("the parser said: {line}"))).collect()
}

/// Uploads with the vendor's Java client; gives the acknowledgements in the order that it was told them.
pub async fn java_put(upload: JavaUpload<'_>) -> Result<Vec<JavaAck>> {
    let mut command = java("PutMedia").await?;
    command.args([upload.endpoint, REGION, upload.stream, &upload.start_ms.to_string()]).arg(upload.file);
    let output = run(command, "the vendor's producer").await?;
    output.lines().map(|line| ack(line).with_context(|| format!("the producer said: {line}"))).collect()
}

/// Runs a stream's life with boto3: one value for each call, as `tests/foreign/python/client.py` prints it.
pub async fn boto3_control(endpoint: &str, stream: &str) -> Result<Vec<serde_json::Value>> {
    let mut command = python().await?;
    command.args(["control", endpoint, REGION, stream]);
    let output = run(command, "boto3").await?;
    output
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("boto3 said: {line}")))
        .collect()
}

/// Reads `GetMedia` with boto3 from the earliest fragment until `fragments` of them are complete. `ca` is the service's
/// authority where it advertises HTTPS; `at_least` a number of bytes that the answer has in any case.
pub async fn boto3_get_media(
    endpoint: &str,
    stream: &str,
    ca: Option<&Path>,
    (fragments, at_least): (usize, usize),
) -> Result<Bytes> {
    let mut command = python().await?;
    command.args(["get-media", endpoint, REGION, stream, &at_least.to_string()]);
    if let Some(ca) = ca {
        command.env("AWS_CA_BUNDLE", ca);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut body = child.stdout.take().context("no output")?;
    let mut errors = child.stderr.take().context("no output")?;
    let read = tokio::time::timeout(LIMIT, complete_fragments(&mut body, fragments)).await;
    child.start_kill()?;
    let mut said = String::new();
    errors.read_to_string(&mut said).await?;
    match read {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(error.context(format!("boto3 said: {said}"))),
        Err(_) => bail!("{fragments} fragments did not come within {LIMIT:?}; boto3 said: {said}"),
    }
}

async fn complete_fragments(body: &mut (impl tokio::io::AsyncRead + Unpin), wanted: usize) -> Result<Bytes> {
    let mut reader = FragmentReader::new();
    let mut whole = BytesMut::new();
    let mut complete = 0;
    while complete < wanted {
        let mut piece = BytesMut::with_capacity(8192);
        ensure!(
            body.read_buf(&mut piece).await? > 0,
            "the body ended after {complete} of {wanted} fragments"
        );
        whole.extend_from_slice(&piece);
        reader.push(piece.freeze());
        while let Some(fragment) = reader.next()? {
            ensure!(fragment.metadata.is_complete(), "a fragment is not complete: {:?}", fragment.metadata);
            complete += 1;
        }
    }
    Ok(whole.freeze())
}

async fn java(program: &str) -> Result<Command> {
    let class_path = setup("java").await?;
    let mut command = Command::new("java");
    command.args(["-cp", &class_path, &format!("io.streamfleet.foreign.{program}")]);
    with_credentials(&mut command);
    Ok(command)
}

async fn python() -> Result<Command> {
    let mut command = Command::new(setup("python").await?);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/python/client.py"));
    with_credentials(&mut command);
    Ok(command)
}

/// The emulator's key, and nothing of what the person who runs the tests has configured.
fn with_credentials(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", KEY);
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    for variable in
        ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "JAVA_TOOL_OPTIONS"]
    {
        command.env_remove(variable);
    }
}

/// Prepares a client, or finds that it is prepared; gives what `tests/foreign/setup` prints.
async fn setup(client: &str) -> Result<String> {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/setup"));
    command.arg(client);
    // Downloads take their time; the script itself says what is missing.
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(10 * LIMIT, output).await.context("tests/foreign/setup takes too long")??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

async fn run(mut command: Command, name: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .with_context(|| format!("{name} took over {LIMIT:?}"))?
        .with_context(|| format!("failed to start {name}"))?;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("{name} ended with {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

fn frame(line: &str) -> Result<JavaFrame> {
    let [fragment, producer, track, time, key, sha256, picture] = words(line)?;
    Ok(JavaFrame {
        fragment: optional(fragment)?,
        producer_ms: optional(producer)?,
        track: track.parse()?,
        time_ms: time.parse()?,
        key: key == "1",
        sha256: sha256.to_owned(),
        picture: optional(picture)?,
    })
}

fn ack(line: &str) -> Result<JavaAck> {
    let [kind, timecode, number, error] = words(line)?;
    Ok(JavaAck {
        kind: kind.to_owned(),
        timecode: optional(timecode)?,
        number: optional(number)?,
        error: optional(error)?,
    })
}

fn words<const COUNT: usize>(line: &str) -> Result<[&str; COUNT]> {
    let words: Vec<_> = line.split(' ').collect();
    let found = words.len();
    words.try_into().ok().with_context(|| format!("{found} words instead of {COUNT}"))
}

fn optional<T>(word: &str) -> Result<Option<T>>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    if word == "-" { Ok(None) } else { Ok(Some(word.parse()?)) }
}
