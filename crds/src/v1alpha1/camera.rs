//! `Camera`: a source of video and the stream that it is stored in.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat their types and priorities")]

use std::fmt;

use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stream_class::IMAGE_FORM;
use super::video_stream::OBJECT_NAME;
use super::{Resources, VideoStreamSpec};

/// A source of video and the stream that it is stored in.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "streamfleet.io",
    version = "v1alpha1",
    kind = "Camera",
    namespaced,
    shortname = "cam",
    category = "streamfleet",
    status = "CameraStatus",
    derive = "PartialEq",
    doc = "A Camera is a source of video and the stream that it is stored in. It is Ready while its video is being stored.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Whether it is recording, and if not, why."
    ),
    printcolumn(name = "Stream", type_ = "string", json_path = ".status.streamName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Codec", type_ = "string", json_path = ".status.codec", priority = 1),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size", priority = 1),
    printcolumn(name = "FPS", type_ = "integer", json_path = ".status.frameRate", priority = 1),
    printcolumn(name = "Reconnects", type_ = "integer", json_path = ".status.reconnects", priority = 1),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.producer.pod", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.producer.node", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.source.rtsp), has(self.source.file), has(self.source.testPattern), has(self.source.container)].filter(set, set).size() == 1").message("spec.source must name exactly one kind of source, rtsp, file, testPattern or container: for a camera set spec.source.rtsp.url, for example rtsp://door.example:554/live").field_path(".source"))]
#[x_kube(validation = Rule::new("!has(self.credentialsRef) || has(self.source.rtsp)").message("spec.credentialsRef is for cameras that are read over RTSP: remove it, or set spec.source.rtsp").field_path(".credentialsRef"))]
#[x_kube(validation = Rule::new("has(self.streamRef) != has(self.streamTemplate)").message("set exactly one of spec.streamRef (a VideoStream that exists) and spec.streamTemplate (one that is made for this camera and goes with it)"))]
#[x_kube(validation = Rule::new("has(self.streamRef) == has(oldSelf.streamRef)").message("spec.streamRef and spec.streamTemplate cannot be exchanged for each other: delete this Camera and make it again (a stream of a template is kept unless its deletionPolicy is Delete)"))]
pub struct CameraSpec {
    /// Where the video comes from: exactly one kind.
    // The rules about the URL stand here, on the parent: API servers repeat a refused scalar value in the error, and this one
    // may hold a password.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || !self.rtsp.url.contains('@')").message("spec.source.rtsp.url must not hold a user name or password: put them into a Secret under the keys username and password, and name that in spec.credentialsRef.name (an at sign in the path is written %40)"))]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || self.rtsp.url.contains('@') || self.rtsp.url.matches('^rtsps?://([A-Za-z0-9._-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?([/?].*)?$')").message("spec.source.rtsp.url must be of the form rtsp://HOST[:PORT]/PATH or rtsps://HOST[:PORT]/PATH, for example rtsp://door.example:554/live"))]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || self.rtsp.transport != 'Udp' || !self.rtsp.url.startsWith('rtsps://')").message("spec.source.rtsp.transport cannot be Udp for an rtsps URL, since the datagrams would not be encrypted: use Tcp"))]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || !has(self.rtsp.tls) || self.rtsp.url.startsWith('rtsps://')").message("spec.source.rtsp.tls is for rtsps URLs: remove it, or begin spec.source.rtsp.url with rtsps://"))]
    pub source: Source,

    /// The Secret with the camera's user name and password. None for cameras that ask for neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,

    /// The VideoStream that the video is stored in. Either this or `streamTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_ref: Option<StreamRef>,

    /// A VideoStream that is made for this camera, with its name, and goes with it. Either this or `streamRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_template: Option<StreamTemplate>,

    /// How the video is cut into fragments.
    #[serde(default)]
    pub fragment: Fragment,

    /// Which sound is stored beside the video: `Auto` stores AAC, `All` also G.711, which the service's HLS and clips cannot
    /// play, `None` none.
    #[serde(default)]
    pub audio: Audio,

    /// After how many seconds without stored video the camera is no longer Ready, 5 to 3600.
    #[serde(default = "default_offline_after")]
    #[x_kube(validation = Rule::new("self >= 5 && self <= 3600").message("spec.offlineAfterSeconds must be 5 to 3600"))]
    pub offline_after_seconds: i32,
}

fn default_offline_after() -> i32 {
    30
}

/// Where the video comes from.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A camera that speaks RTSP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtsp: Option<RtspSource>,

    /// A media file on a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,

    /// A picture with a clock, for trials: nothing is needed for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_pattern: Option<TestPattern>,

    /// A container of yours beside the producer, which writes the feed to a socket. Off unless the class allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerSource>,
}

/// A container beside the producer. It connects to the Unix socket that the environment variable `STREAMFLEET_SOCKET` names and
/// writes Matroska, fragmented MP4, MPEG-TS, or a bare H.264 or H.265 stream, for example by
/// `ffmpeg -i ... -c copy -f mpegts unix:$STREAMFLEET_SOCKET`. Its security context is the producer's: no root, no
/// capabilities, a read-only root file system.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSource {
    /// The image, for example `registry.example/ffmpeg:7`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(IMAGE_FORM).message("spec.source.container.image must be the name of an image without spaces, for example registry.example/ffmpeg:7"))]
    pub image: String,
    /// What it runs instead of its entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// The arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables; secrets by `valueFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// What it asks for and may use, for example `{limits: {memory: 128Mi}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A media file on a volume, played in real time: Matroska, MP4, MPEG-TS, or a bare H.264 or H.265 stream.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// The `PersistentVolumeClaim` in the namespace of the Camera. It is mounted read-only.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("spec.source.file.claimName must be the name of a PersistentVolumeClaim: small letters, digits, hyphens and dots, for example clips"))]
    pub claim_name: String,
    /// The file's path on the volume, for example `clips/door.mp4`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self != '' && !self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')").message("spec.source.file.path must be a path on the volume without .. and without a slash at its beginning, for example clips/door.mp4"))]
    pub path: String,
    /// Whether it begins anew when it has ended.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
}

/// A picture with a clock.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestPattern {
    /// Pixels across, a multiple of 16 from 160 to 1920.
    #[serde(default = "default_width")]
    #[x_kube(validation = Rule::new("self >= 160 && self <= 1920 && self % 16 == 0").message("spec.source.testPattern.width must be a multiple of 16 from 160 to 1920"))]
    pub width: i32,
    /// Pixels down, a multiple of 16 from 96 to 1088.
    #[serde(default = "default_height")]
    #[x_kube(validation = Rule::new("self >= 96 && self <= 1088 && self % 16 == 0").message("spec.source.testPattern.height must be a multiple of 16 from 96 to 1088"))]
    pub height: i32,
    /// Pictures a second, 1 to 60.
    #[serde(default = "default_frame_rate")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 60").message("spec.source.testPattern.frameRate must be 1 to 60"))]
    pub frame_rate: i32,
}

fn default_width() -> i32 {
    640
}

fn default_height() -> i32 {
    352
}

fn default_frame_rate() -> i32 {
    10
}

/// Which sound is stored beside the video.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audio {
    /// AAC, where the camera sends it.
    #[default]
    Auto,
    /// None.
    None,
    /// AAC and G.711.
    All,
}

/// How RTP comes from a camera.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RtspTransport {
    /// Within the RTSP connection: nothing is lost on the way.
    #[default]
    Tcp,
    /// In datagrams of its own.
    Udp,
}

/// By what the camera of an `rtsps` URL is trusted: by default by the system's certificate authorities.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caBundle) || !has(self.insecureSkipVerify) || !self.insecureSkipVerify").message("spec.source.rtsp.tls.caBundle says whom to trust, insecureSkipVerify trusts anybody: set one of them"))]
pub struct RtspTls {
    /// Certificate authorities in PEM that are trusted beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub ca_bundle: Option<String>,
    /// Trusts any certificate: for cameras that make their own. Whoever is between can then read and replace the video.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A camera that speaks RTSP.
#[derive(KubeSchema, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtspSource {
    /// `rtsp://HOST[:PORT]/PATH` or `rtsps://...`, for example `rtsp://door.example:554/live`. Without user name and password: those come from
    /// `spec.credentialsRef`.
    #[schemars(length(max = 2048))]
    pub url: String,

    /// How the media comes.
    #[serde(default)]
    pub transport: RtspTransport,

    /// By what the camera of an `rtsps` URL is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RtspTls>,
}

impl fmt::Debug for RtspSource {
    /// A URL with user information is not shown, in case one came past the rules.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.url.contains('@') { "<url with user information, not shown>" } else { &self.url };
        f.debug_struct("RtspSource")
            .field("url", &shown)
            .field("transport", &self.transport)
            .field("tls", &self.tls)
            .finish()
    }
}

/// A Secret in the namespace of the Camera.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// The name of the Secret; its keys are `username` and `password`. It may come later, and may change at any time: the
    /// producer pod reads it, and the operator does not.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("spec.credentialsRef.name must be the name of a Secret: small letters, digits, hyphens and dots, for example door-login"))]
    pub name: String,
}

/// A `VideoStream` in the namespace of the Camera.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRef {
    /// The name of the VideoStream. One Camera at a time writes it.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("spec.streamRef.name must be the name of a VideoStream: small letters, digits, hyphens and dots, for example yard"))]
    pub name: String,
}

/// A `VideoStream` that is made for a Camera.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamTemplate {
    /// The spec of the VideoStream, for example `{streamClassName: standard, retentionHours: 168}`.
    pub spec: VideoStreamSpec,
}

/// How the video is cut into fragments.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fragment {
    /// A fragment ends at the first key frame after this many seconds, 1 to 20. Shorter ones are stored sooner, longer ones cost
    /// less.
    #[serde(default = "default_target_seconds")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 20").message("spec.fragment.targetSeconds must be 1 to 20, which is what the service takes"))]
    pub target_seconds: i32,
}

fn default_target_seconds() -> i32 {
    2
}

impl Default for Fragment {
    fn default() -> Self {
        Self { target_seconds: default_target_seconds() }
    }
}

/// What is known about a Camera. Written when something turns, else at most every ten minutes.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Reachable`, `Authenticated`, `MediaCompatible`, `Streaming`, `Ingesting`, and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The state in words, for people: scripts go by the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// The name of the stream in KVS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_name: Option<String>,

    /// The codec, for example `H264`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,

    /// Width and height in pixels, for example `1280x720`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,

    /// Frames a second, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<i32>,

    /// When storage was last acknowledged, as of the last write of this status; `kubectl kvs status` has it live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_persisted_time: Option<Time>,

    /// Since when the camera has sent no video; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_since: Option<Time>,

    /// How often the connection to the camera was made again since the producer started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnects: Option<i64>,

    /// Where the producer runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<ProducerPod>,
}

/// Where a producer runs.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerPod {
    /// The name of the pod, in the namespace of the Camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Camera {
    /// The name of the `VideoStream` that the Camera writes: the one that it refers to, or the one that is made for it.
    pub fn video_stream_name(&self) -> &str {
        let own = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.stream_ref.as_ref().map_or(own, |reference| &reference.name)
    }
}
