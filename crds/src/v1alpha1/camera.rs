//! `Camera`: a source of video and the stream that it is stored in.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat their types and priorities")]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::VideoStreamSpec;

/// A source of video and the stream that it is stored in.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[x_kube(validation = Rule::new("has(self.source.rtsp)").message("spec.source must name exactly one kind of source: set spec.source.rtsp.url, for example rtsp://door.example:554/live").field_path(".source"))]
#[x_kube(validation = Rule::new("has(self.streamRef) != has(self.streamTemplate)").message("set exactly one of spec.streamRef (a VideoStream that exists) and spec.streamTemplate (one that is made for this camera and goes with it)"))]
#[x_kube(validation = Rule::new("has(self.streamRef) == has(oldSelf.streamRef)").message("spec.streamRef and spec.streamTemplate cannot be exchanged for each other: delete this Camera and make it again (a stream of a template is kept unless its deletionPolicy is Delete)"))]
pub struct CameraSpec {
    /// Where the video comes from: exactly one kind.
    // The rules about the URL stand here, on the parent: API servers repeat a refused scalar value in the error, and this one
    // may hold a password.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || !self.rtsp.url.contains('@')").message("spec.source.rtsp.url must not hold a user name or password: put them into a Secret under the keys username and password, and name that in spec.credentialsRef.name (an at sign in the path is written %40)"))]
    #[x_kube(validation = Rule::new("!has(self.rtsp) || self.rtsp.url.contains('@') || self.rtsp.url.matches('^rtsp://([A-Za-z0-9._-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?([/?].*)?$')").message("spec.source.rtsp.url must be of the form rtsp://HOST[:PORT]/PATH, for example rtsp://door.example:554/live"))]
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

    /// After how many seconds without stored video the camera is no longer Ready, 5 to 3600.
    #[serde(default = "default_offline_after")]
    #[x_kube(validation = Rule::new("self >= 5 && self <= 3600").message("spec.offlineAfterSeconds must be 5 to 3600"))]
    pub offline_after_seconds: i32,
}

fn default_offline_after() -> i32 {
    30
}

/// Where the video comes from.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A camera that speaks RTSP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtsp: Option<RtspSource>,
}

/// A camera that speaks RTSP, over TCP.
#[derive(KubeSchema, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtspSource {
    /// `rtsp://HOST[:PORT]/PATH`, for example `rtsp://door.example:554/live`. Without user name and password: those come from
    /// `spec.credentialsRef`.
    #[schemars(length(max = 2048))]
    pub url: String,
}

impl fmt::Debug for RtspSource {
    /// A URL with user information is not shown, in case one came past the rules.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.url.contains('@') { "<url with user information, not shown>" } else { &self.url };
        f.debug_struct("RtspSource").field("url", &shown).finish()
    }
}

/// A Secret in the namespace of the Camera.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// The name of the Secret; its keys are `username` and `password`. It may come later, and may change at any time: the
    /// producer pod reads it, and the operator does not.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A `VideoStream` in the namespace of the Camera.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRef {
    /// The name of the VideoStream. One Camera at a time writes it.
    #[schemars(length(min = 1, max = 253))]
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
