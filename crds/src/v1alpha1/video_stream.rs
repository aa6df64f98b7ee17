//! `VideoStream`: one KVS stream.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat their types and priorities")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One KVS stream.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "streamfleet.io",
    version = "v1alpha1",
    kind = "VideoStream",
    namespaced,
    shortname = "vstream",
    category = "streamfleet",
    status = "VideoStreamStatus",
    derive = "PartialEq",
    doc = "A VideoStream is one stream in Amazon Kinesis Video Streams: its name, how long it keeps video, its tags, and what becomes of it when this object is deleted.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Synced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Synced')].reason"
    ),
    printcolumn(
        name = "Retention",
        type_ = "integer",
        json_path = ".status.retentionHours",
        description = "Hours that the stream keeps video."
    ),
    printcolumn(
        name = "Writer",
        type_ = "string",
        json_path = ".status.writer.name",
        description = "The Camera that may write the stream."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "AWS", type_ = "string", json_path = ".status.awsStatus", priority = 1),
    printcolumn(name = "Stream", type_ = "string", json_path = ".status.streamName", priority = 1),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.streamClassName", priority = 1),
    printcolumn(name = "ARN", type_ = "string", json_path = ".status.streamARN", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.streamName) == has(oldSelf.streamName) && (!has(self.streamName) || self.streamName == oldSelf.streamName)").message("streamName cannot be changed: the footage stays under the old name. Make another object for the other stream"))]
pub struct VideoStreamSpec {
    /// The StreamClass that says where and how the stream is made. It cannot be changed.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("streamClassName cannot be changed: the stream is in the account and region of its class. Make another object for the other class"))]
    pub stream_class_name: String,

    /// The name of the stream in KVS, 1 to 256 letters, digits, `_`, `.` or `-`, for example `front-door`. By default the
    /// class's prefix, the namespace, a dot and the object's name. The class may not allow others. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9_.-]{1,256}$')").message("streamName must be 1 to 256 letters, digits, underscores, dots or hyphens, for example front-door"))]
    pub stream_name: Option<String>,

    /// How many hours video is kept, 0 to 87600 (10 years), for example `168` for a week. By default the class's. 0 keeps nothing.
    /// A decrease destroys footage: see `retentionDecreasePolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0").message("retentionHours must not be negative: write the hours that video is kept, or 0 to keep nothing"))]
    #[x_kube(validation = Rule::new("self <= 87600").message("retentionHours must be at most 87600 (10 years), which is the longest that the service keeps video: write a smaller number"))]
    pub retention_hours: Option<i32>,

    /// Whether a retention shorter than the stream's may be applied. It destroys all footage that is older, at once and for good.
    /// `Deny` (the default) leaves the stream as it is and says so in the condition `Synced`; `Allow` applies it.
    #[serde(default)]
    pub retention_decrease_policy: RetentionDecreasePolicy,

    /// Tags of the KVS stream, for example `{site: berlin}`, beside those of the class. Other tags on the stream are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 46))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('streamfleet.io/') && !key.startsWith('aws:'))").message("tags may not hold keys that begin with streamfleet.io/ or aws:, choose others"))]
    pub tags: BTreeMap<String, String>,

    /// What becomes of the KVS stream when this object is deleted: `Retain` keeps it and its footage, `Delete` destroys both.
    /// By default the class's, which is `Retain` unless it says otherwise. The class may not allow `Delete`.
    // `with`: the schema of an optional enum loses the description of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Whether a shorter retention may be applied.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionDecreasePolicy {
    /// It is not applied.
    #[default]
    Deny,
    /// It is applied.
    Allow,
}

/// What becomes of a KVS stream when its object is deleted.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It stays, with its footage and tags.
    #[default]
    Retain,
    /// It is deleted, and its footage with it.
    Delete,
}

/// What is known about a `VideoStream`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoStreamStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Synced` and `Owned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The name of the stream in KVS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_name: Option<String>,

    /// The ARN of the stream. A stream of the same name with another ARN is not this object's, and is neither changed nor deleted.
    #[serde(default, rename = "streamARN", skip_serializing_if = "Option::is_none")]
    pub stream_arn: Option<String>,

    /// The AWS account that the stream is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,

    /// The AWS region that the stream is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// What the service calls its state: `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_status: Option<String>,

    /// The service's version of the stream's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// When the stream was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<Time>,

    /// How many hours the stream keeps video now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_hours: Option<i32>,

    /// The keys of the tags that this object has put on the stream, and would take away again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub managed_tags: Vec<String>,

    /// The one Camera that may write the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,

    /// Changes that the spec asks for and the stream does not have yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub pending_changes: Vec<PendingChange>,
}

/// The Camera that may write a stream.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// The name of the Camera, in the namespace of the `VideoStream`.
    pub name: String,
    /// The UID of the Camera.
    pub uid: String,
}

/// A change that the stream does not have yet.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// What is to be changed, for example `retentionHours`.
    pub field: String,
    /// What it is now.
    pub from: String,
    /// What it is to be.
    pub to: String,
    /// Whether the change waits for somebody's consent, because it would destroy footage.
    #[serde(default)]
    pub blocked: bool,
}

impl VideoStream {
    /// The ARN of the KVS stream, once it is known.
    pub fn stream_arn(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.stream_arn.as_deref())
    }

    /// The Camera that may write the stream, if one has claimed it.
    pub fn writer(&self) -> Option<&Writer> {
        self.status.as_ref().and_then(|status| status.writer.as_ref())
    }
}
