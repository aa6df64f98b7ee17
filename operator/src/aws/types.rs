//! What the calls take and say: plain data, without the SDK's types.

use std::collections::BTreeMap;

use jiff::Timestamp;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

/// Who the operator is for AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: String,
    /// The ARN of the user or role.
    pub arn: String,
}

/// How a stream is named in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// By its name.
    Name(&'a str),
    /// By its ARN: a stream that was made again has another.
    Arn(&'a str),
}

/// A stream to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewStream {
    /// The name.
    pub name: String,
    /// The retention in hours.
    pub retention_hours: i32,
    /// The tags, whose they are among them, so that there is no moment without an owner.
    pub tags: BTreeMap<String, String>,
    /// The KMS key; without one the service's own, `alias/aws/kinesisvideo`. It cannot be changed later.
    pub kms_key_id: Option<String>,
    /// The media type, such as `video/h264`.
    pub media_type: Option<String>,
    /// The device name.
    pub device_name: Option<String>,
    /// The storage tier; without one it is `Hot`.
    pub storage_tier: Option<StorageTier>,
}

/// What `UpdateStream` sets. The service does not say what becomes of what is left out, and cannot take a value away again: send
/// both values always, as far as the stream has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamUpdate {
    /// The device name.
    pub device_name: Option<String>,
    /// The media type.
    pub media_type: Option<String>,
}

/// What the service says about a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The version of its settings.
    pub version: String,
    /// Its state.
    pub state: StreamState,
    /// The retention in hours.
    pub retention_hours: i32,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The KMS key: an ID, an ARN, or an alias's ARN, as the service has it.
    pub kms_key_id: Option<String>,
    /// The media type.
    pub media_type: Option<String>,
    /// The device name.
    pub device_name: Option<String>,
}

/// What a stream is set to beside its [`StreamInfo`]; each costs a read of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// All of its tags.
    pub tags: BTreeMap<String, String>,
    /// Its storage tier.
    pub storage_tier: StorageTier,
    /// Its generation of images, where that is on.
    pub image_generation: Option<ImageGeneration>,
    /// Its notifications, where they are on.
    pub notification: Option<Notification>,
}

/// The state of a stream. The service has no "failed" and no "deleted".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It is being made.
    Creating,
    /// It can be used and changed.
    Active,
    /// A change is being applied; it can be used.
    Updating,
    /// It is being deleted.
    Deleting,
}

impl StreamState {
    /// The service's own word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// A change of retention, which the service takes as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionChange {
    /// So many hours more.
    Increase(i32),
    /// So many hours less: older footage is destroyed at once.
    Decrease(i32),
}
