//! The configuration of a producer process.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::problems::has_user_info;

/// Everything that a producer process works by. In a pod it is the file `feeds.yaml` of a `ConfigMap`; the process
/// reads it again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The version of this document, see [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Settings of the process as a whole.
    #[serde(default)]
    pub process: Process,
    /// The feeds to carry, at most one for each KVS stream.
    pub feeds: Vec<Feed>,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// How many bytes of media all feeds together may hold in memory while they wait to be acknowledged.
    pub memory_budget_bytes: u64,
    /// Where media goes that memory cannot hold. Absent: nowhere, the overflow policy of the feed decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<Spool>,
    /// What the way to the service may carry, for all feeds together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
}

/// A folder on a volume that survives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spool {
    /// The folder, an absolute path. It is the process's own: what is in it is read, and deleted when it is stored.
    pub path: String,
    /// How many bytes all feeds together may take of it.
    pub max_bytes: u64,
    /// What is written to it.
    #[serde(default)]
    pub mode: SpoolMode,
}

/// What is written to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SpoolMode {
    /// What memory cannot hold. A process that is killed loses what was in its memory.
    #[default]
    Overflow,
    /// Every access unit, at most 100 ms after its place in the stream is known: when it came, or where it waits for sound
    /// (at most 500 ms) or for the camera's clock (at most 4 s, the first of a connection), then.
    Journal,
}

/// A limit on what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// Bytes a second for what is sent late, all feeds together; live video is never held back by it.
    pub catch_up_bytes_per_second: u64,
}

impl Default for Process {
    /// 64 MiB: about two minutes of one 4 Mbit/s camera.
    fn default() -> Self {
        Self { memory_budget_bytes: 64 << 20, spool: None, uplink: None }
    }
}

/// One camera and the stream that its video goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Identifies the feed for its whole life: the UID of the Camera object, or any unique text outside Kubernetes.
    pub id: String,
    /// A name for people, used in logs: `namespace/name` of the Camera.
    #[serde(default)]
    pub name: String,
    /// Changes whenever anything in this feed changes; given back in [`crate::FeedStatus::revision`].
    #[serde(default)]
    pub revision: String,
    /// Where the video comes from.
    pub source: Source,
    /// Files with the camera's user name and password. None for cameras that ask for neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialFiles>,
    /// Where the video goes.
    pub stream: Stream,
    /// Which acknowledgement means that a fragment may be let go.
    #[serde(default)]
    pub stored_at: StoredAt,
    /// How the video is cut.
    #[serde(default)]
    pub fragment: Fragment,
    /// Which sound is stored beside the video.
    #[serde(default)]
    pub audio: Audio,
    /// By which clock pictures are dated.
    #[serde(default)]
    pub timestamps: Timestamps,
    /// What is given up when there is no room left.
    #[serde(default)]
    pub overflow: Overflow,
    /// After how many seconds without a stored fragment the upload counts as stalled.
    #[serde(default = "default_offline_after")]
    pub offline_after_seconds: u32,
}

impl Feed {
    /// A feed from `source` to `stream`, everything else by default.
    pub fn new(id: impl Into<String>, source: Source, stream: Stream) -> Self {
        Self {
            id: id.into(),
            name: String::new(),
            revision: String::new(),
            source,
            credentials: None,
            stream,
            stored_at: StoredAt::default(),
            fragment: Fragment::default(),
            audio: Audio::default(),
            timestamps: Timestamps::default(),
            overflow: Overflow::default(),
            offline_after_seconds: default_offline_after(),
        }
    }
}

fn default_offline_after() -> u32 {
    30
}

/// Where a feed's video comes from: exactly one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// An RTSP server.
    Rtsp(RtspSource),
    /// A file on a mounted volume.
    File(FileSource),
    /// A named pipe that another process writes.
    Fifo(PipeSource),
    /// A Unix socket that the producer listens on, and another process connects to and writes.
    Socket(PipeSource),
    /// A picture with a clock, made by the producer itself.
    TestPattern(#[serde(deserialize_with = "null_as_default")] TestPattern),
}

/// `testPattern:` with nothing behind it means the default, as `testPattern: {}` does.
fn null_as_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TestPattern, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A media file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// The file's absolute path.
    pub path: String,
    /// What it holds.
    #[serde(default)]
    pub container: Container,
    /// Whether it begins anew when it has ended. Played in real time either way.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// Pictures a second, for containers that do not say ([`Container::AnnexB`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<u32>,
}

/// A pipe or socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipeSource {
    /// Its absolute path.
    pub path: String,
    /// What is written to it.
    #[serde(default)]
    pub container: Container,
    /// Pictures a second, for containers that do not say ([`Container::AnnexB`]). Absent: dated by arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<u32>,
}

/// How media is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Container {
    /// Found out from the first bytes.
    #[default]
    Auto,
    /// Matroska.
    Mkv,
    /// MP4 (ISO base media), plain or fragmented. From a pipe fragmented alone.
    Mp4,
    /// MPEG transport stream.
    MpegTs,
    /// A bare H.264 or H.265 byte stream with start codes.
    AnnexB,
}

/// A picture with a clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TestPattern {
    /// Pixels across, a multiple of 16, 160 to 1920.
    pub width: u32,
    /// Pixels down, a multiple of 16, 96 to 1088.
    pub height: u32,
    /// Pictures a second, 1 to 60.
    pub frame_rate: u32,
}

impl Default for TestPattern {
    fn default() -> Self {
        Self { width: 640, height: 352, frame_rate: 10 }
    }
}

/// An RTSP server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtspSource {
    /// `rtsp://HOST[:PORT]/PATH` or `rtsps://...`, without user name and password: those come from [`Feed::credentials`].
    pub url: String,
    /// How the media comes.
    #[serde(default)]
    pub transport: RtspTransport,
    /// By what the server of an `rtsps` URL is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RtspTls>,
}

/// How RTP comes from an RTSP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RtspTransport {
    /// Within the RTSP connection.
    #[default]
    Tcp,
    /// In datagrams of its own.
    Udp,
}

/// By what the server of an `rtsps` URL is trusted. By default by the system's certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RtspTls {
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Trusts any certificate: for cameras that make their own. The video can be read and replaced by whoever is between.
    pub insecure_skip_verify: bool,
}

impl RtspSource {
    /// The server at `url`, everything else by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), transport: RtspTransport::default(), tls: None }
    }
}

impl fmt::Debug for RtspSource {
    /// The authority's user information is left out, in case somebody wrote some against the rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            if has_user_info(&self.url) { "<url with user information, not shown>" } else { &self.url };
        f.debug_struct("RtspSource")
            .field("url", &shown)
            .field("transport", &self.transport)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Files that hold a user name and a password. They may be missing for a while, and may change at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialFiles {
    /// The file with the user name.
    pub username_file: String,
    /// The file with the password.
    pub password_file: String,
}

/// The KVS stream that a feed is stored in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The stream's ARN: a stream that was deleted and made again has another, and is never fed.
    pub arn: String,
    /// The AWS region.
    pub region: String,
    /// The KVS control endpoint, where it is not the region's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// A role that the producer assumes, with a session policy for this stream alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The STS endpoint, where it is not the region's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts_endpoint: Option<String>,
    /// For how many hours the stream keeps what is stored; what waits longer than that is given up as `Expired`. Absent:
    /// unknown, nothing is given up for its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_hours: Option<u32>,
}

impl Stream {
    /// The stream of this ARN, everything else by default.
    pub fn new(arn: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            region: region.into(),
            endpoint: None,
            ca_file: None,
            role_arn: None,
            sts_endpoint: None,
            retention_hours: None,
        }
    }
}

/// Which acknowledgement means that a fragment is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StoredAt {
    /// The fragment is durable. The default.
    #[default]
    Persisted,
    /// The fragment has arrived whole: all that a stream without retention ever says.
    Received,
}

/// How a feed is cut into fragments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fragment {
    /// A fragment ends at the first key frame after this many seconds, 1 to 20.
    pub target_seconds: u32,
    /// Metadata that each fragment carries, at most 10 names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Which sound is stored beside the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Audio {
    /// AAC, where the camera sends it.
    #[default]
    Auto,
    /// None.
    None,
    /// AAC and G.711. The service's HLS and clips cannot play G.711.
    All,
}

/// By which clock pictures are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Timestamps {
    /// The node's, checked against the service's.
    #[default]
    Node,
    /// The camera's own, from its RTCP sender reports, for cameras with a good clock.
    Camera,
}

/// What is given up when neither memory nor spool has room, always by whole groups of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Overflow {
    /// The oldest that waits.
    #[default]
    DropOldest,
    /// What comes in.
    DropNewest,
}

impl Default for Fragment {
    fn default() -> Self {
        Self { target_seconds: 2, tags: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let feed: Feed = serde_json::from_value(serde_json::json!({
            "id": "a", "source": {"rtsp": {"url": "rtsp://door.example/live"}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1"}
        }))
        .unwrap();
        assert_eq!(feed.stored_at, StoredAt::Persisted);
        assert_eq!((feed.fragment.target_seconds, feed.offline_after_seconds), (2, 30));
        assert_eq!(
            (feed.overflow, feed.audio, feed.timestamps),
            (Overflow::DropOldest, Audio::Auto, Timestamps::Node)
        );
        let process: Process = serde_json::from_value(serde_json::json!({})).unwrap();
        assert_eq!(process, Process::default());
    }
}
