//! `VideoStream`: one KVS stream.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat their types and priorities")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AdoptionPolicy, AlarmStatus, DriftPolicy, ImageGeneration, ManagementPolicy, Notification, StorageTier,
    StreamAlarms,
};

/// The form of a KMS key: an ID, an ARN, an alias, or the ARN of one.
pub(super) const KMS_KEY_FORM: &str = "self.matches('^((arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/)?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})|(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[a-zA-Z0-9/_-]{1,256})$')";
/// The form of the name of a Kubernetes object.
pub(super) const OBJECT_NAME: &str = "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')";
/// No key of a tag is ours or AWS's.
pub(super) const TAGS_NOT_RESERVED: &str =
    "self.all(key, !key.startsWith('streamfleet.io/') && !key.startsWith('aws:'))";
/// 50 tags less those of `ownership_tags`.
pub(super) const TAGS_COUNT: &str = "self.size() <= 46";
/// What the service takes as the key of a tag: `TagKey` in its API model.
pub(super) const TAG_KEYS: &str = r"self.all(key, key.matches('^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,128}$'))";
/// What the service takes as the value of a tag: `TagValue` in its API model.
pub(super) const TAG_VALUES: &str =
    r"self.all(key, self[key].matches('^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{0,256}$'))";

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
        name = "Retention hours",
        type_ = "integer",
        json_path = ".status.retentionHours",
        description = "Hours that the stream keeps video."
    ),
    printcolumn(
        name = "Tier",
        type_ = "string",
        json_path = ".status.storageTier",
        description = "Where footage is kept."
    ),
    printcolumn(
        name = "Drift",
        type_ = "string",
        json_path = ".status.drift[*].field",
        description = "What somebody else has changed."
    ),
    printcolumn(
        name = "Alarm",
        type_ = "string",
        json_path = ".status.alarms[?(@.state=='ALARM')].kind",
        description = "The alarm that has gone off."
    ),
    printcolumn(
        name = "Writer",
        type_ = "string",
        json_path = ".status.writer.name",
        description = "The Camera that may write the stream."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Synced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Synced')].reason",
        priority = 1
    ),
    printcolumn(name = "AWS", type_ = "string", json_path = ".status.awsStatus", priority = 1),
    printcolumn(name = "Stream", type_ = "string", json_path = ".status.streamName", priority = 1),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.streamClassName", priority = 1),
    printcolumn(name = "ARN", type_ = "string", json_path = ".status.streamARN", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        description = "What is wrong, and what to do."
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kmsKeyID) == has(oldSelf.kmsKeyID) && (!has(self.kmsKeyID) || self.kmsKeyID == oldSelf.kmsKeyID)").message("kmsKeyID cannot be changed: the footage is encrypted with the old key. Make another object for a stream with the other key"))]
#[x_kube(validation = Rule::new("!has(self.managementPolicy) || self.managementPolicy != 'Observe' || !has(self.deletionPolicy) || self.deletionPolicy != 'Delete'").message("deletionPolicy cannot be Delete where managementPolicy is Observe, since a stream that is only observed is never deleted: use Retain, or Manage"))]
#[x_kube(validation = Rule::new("!has(self.imageGeneration) || !has(self.retentionHours) || self.retentionHours != 0").message("imageGeneration needs footage: set retentionHours to at least 1, or remove imageGeneration"))]
#[x_kube(validation = Rule::new("!has(self.notification) || !has(self.retentionHours) || self.retentionHours != 0").message("notification needs footage: set retentionHours to at least 1, or remove notification"))]
#[x_kube(validation = Rule::new("has(self.streamName) == has(oldSelf.streamName) && (!has(self.streamName) || self.streamName == oldSelf.streamName)").message("streamName cannot be changed: the footage stays under the old name. Make another object for the other stream"))]
pub struct VideoStreamSpec {
    /// The StreamClass that says where and how the stream is made. It cannot be changed.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("streamClassName must be the name of a StreamClass: small letters, digits, hyphens and dots, for example standard"))]
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

    /// Where footage is kept: `Hot`, or `Warm`, which is cheaper for footage that is kept long and in long fragments: it is paid by
    /// the fragment, and for at least 30 days, so that it costs more with a retention under 720 hours. A change is for footage
    /// that comes after it. By default the class's, which is `Hot` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StorageTier")]
    pub storage_tier: Option<StorageTier>,

    /// What the stream holds, for those who read it, for example `video/h264` or `video/h264,audio/aac`. Once set it can be
    /// changed and not taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.size() <= 128").message("mediaType must be at most 128 characters: shorten it"))]
    #[x_kube(validation = Rule::new(r"self.matches('^[\\w.+-]+/[\\w.+-]+(,[\\w.+-]+/[\\w.+-]+)*$')").message("mediaType must be of the form TYPE/SUBTYPE, several with commas and no spaces, for example video/h264,audio/aac"))]
    pub media_type: Option<String>,

    /// The name of the device, 1 to 128 letters, digits, `_`, `.` or `-`, for example `door-3`. The service stores it and does
    /// nothing with it. Once set it can be changed and not taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9_.-]{1,128}$')").message("deviceName must be 1 to 128 letters, digits, underscores, dots or hyphens, for example door-3"))]
    pub device_name: Option<String>,

    /// The KMS key that footage is encrypted with: its ID or ARN, or an alias, for example `alias/cameras`. By default the class's,
    /// else the account's `alias/aws/kinesisvideo`. It cannot be changed.
    #[serde(default, rename = "kmsKeyID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new(KMS_KEY_FORM).message("kmsKeyID must be the ID or the ARN of a KMS key, or an alias, for example alias/cameras or arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"))]
    pub kms_key_id: Option<String>,

    /// Pictures that the service takes out of the video and puts into a bucket. None by default. It needs a retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_generation: Option<ImageGeneration>,

    /// Messages about fragments to an SNS topic. None by default. It needs a retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notification>,

    /// The CloudWatch alarms of the stream. By default as the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<StreamAlarms>,

    /// Tags of the KVS stream, for example `{site: berlin}`, at most 46, beside those of the class. Other tags on the stream are left
    /// alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 200, "additionalProperties" = { "type": "string", "maxLength": 1024 }))]
    #[x_kube(validation = Rule::new(TAGS_NOT_RESERVED).message("tags may not hold keys that begin with streamfleet.io/ or aws:, choose others"))]
    #[x_kube(validation = Rule::new(TAGS_COUNT).message("tags may hold at most 46: the service takes 50, and Streamfleet needs 4. Remove some"))]
    #[x_kube(validation = Rule::new(TAG_KEYS).message("tags may have keys of 1 to 128 letters, digits, spaces and _ . : / = + - @, for example cost-centre"))]
    #[x_kube(validation = Rule::new(TAG_VALUES).message("tags may have values of at most 256 letters, digits, spaces and _ . : / = + - @, for example berlin"))]
    pub tags: BTreeMap<String, String>,

    /// What becomes of the KVS stream when this object is deleted: `Retain` keeps it and its footage, `Delete` destroys both.
    /// By default the class's, which is `Retain` unless it says otherwise. The class may not allow `Delete`.
    // `with`: the schema of an optional enum loses the description of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeletionPolicy")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// `Manage` (the default) makes, changes and deletes the KVS stream; `Observe` only looks at one that is there, and says in
    /// `status.pendingChanges` what would be done.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// What becomes of changes that somebody else makes to the stream: `Correct` takes them back, `Report` shows them in
    /// `status.drift` and leaves them. By default the class's, which is `Correct` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftPolicy")]
    pub drift_policy: Option<DriftPolicy>,

    /// Which stream of this name that is there already may be taken over: `IfOwned` one whose tags say that it is this object's (of
    /// this installation, namespace and name), `IfUnowned` also one whose tags name no owner, `Never` none. By default the
    /// class's, which is `IfOwned` unless it says otherwise. The class may not allow each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AdoptionPolicy")]
    pub adoption_policy: Option<AdoptionPolicy>,

    /// Nothing is changed in AWS while this is true, and alarms tell nobody. Deleting the object works as always.
    #[serde(default)]
    pub suspend: bool,
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

    /// `Ready`, `Synced`, `Owned` and `AlarmsReady`; `Reconciling` and `Stalled` where something goes on or is stuck.
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

    /// Where footage that comes now is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StorageTier")]
    pub storage_tier: Option<StorageTier>,

    /// The keys of the tags that this object has put on the stream, and would take away again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub managed_tags: Vec<String>,

    /// What the stream was last seen to have of what is asked for: a short hash by field. A difference from the spec is drift where
    /// its hash is here, and else a change that is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last_synced: BTreeMap<String, String>,

    /// The one Camera that may write the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,

    /// Changes that the spec asks for and the stream does not have yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub pending_changes: Vec<PendingChange>,

    /// What somebody else has changed, as long as it differs from the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub drift: Vec<Drift>,

    /// The alarms of the stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub alarms: Vec<AlarmStatus>,

    /// The value of the annotation `streamfleet.io/check-requested` that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_check: Option<String>,
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
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// What is to be changed, for example `retentionHours`.
    pub field: String,
    /// What it is now.
    pub from: String,
    /// What it is to be.
    pub to: String,
    /// The operation of the AWS API that does it, for example `UpdateDataRetention`.
    #[serde(default)]
    pub operation: String,
    /// Whether it destroys footage.
    #[serde(default)]
    pub destructive: bool,
    /// Whether the change waits for somebody's consent, because it would destroy footage.
    #[serde(default)]
    pub blocked: bool,
    /// Why it is not done yet; absent where it is about to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PendingWhy")]
    pub why: Option<PendingWhy>,
}

/// Why a change is not done yet.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PendingWhy {
    /// `managementPolicy` is `Observe`.
    Observe,
    /// `driftPolicy` is `Report`, and somebody else made the change that this would take back.
    Report,
    /// `suspend` is set.
    Suspended,
    /// It would destroy footage, and `retentionDecreasePolicy` is `Deny`.
    Blocked,
    /// Another change is under way: the service takes one at a time.
    InProgress,
}

/// A difference from the spec that somebody else has made.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// What differs, for example `retentionHours`.
    pub field: String,
    /// What the spec asks for.
    pub desired: String,
    /// What it is.
    pub observed: String,
    /// Since when that is known.
    pub since: Time,
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
