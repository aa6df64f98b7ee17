//! The few AWS calls that the operator makes, as a trait; the SDK behind it is in [`sdk`], the cached view of a fleet in
//! [`observer`].

#[cfg(test)]
pub mod fake;
pub mod observer;
mod pace;
pub mod sdk;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use streamfleet_crds::{Aws, ownership_tags};

/// What an AWS call comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, AwsError>>;

/// The calls of one account and region. The implementations are the SDK's and the fake of the tests.
pub trait Cloud: Send + Sync {
    /// STS `GetCallerIdentity`.
    fn caller(&self) -> Answer<'_, Caller>;
    /// `CreateStream`. The answer is the ARN.
    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String>;
    /// `DescribeStream`; `None` where there is no such stream.
    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>>;
    /// `ListStreams`, every page.
    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>>;
    /// `ListTagsForStream`, every page.
    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>>;
    /// `TagStream`.
    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()>;
    /// `UntagStream`.
    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()>;
    /// `UpdateDataRetention`, sent once: its effect is relative, so that nobody may send it again unread.
    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()>;
    /// `DeleteStream`. A stream that is not there any more is a success.
    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()>;
}

/// Makes the [`Cloud`] of a place.
pub trait Clouds: Send + Sync {
    /// The calls of this place; the same one for equal places.
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>>;
    /// Forgets what was made for this place, so that credentials are read anew.
    fn forget(&self, place: &Place);
}

/// Where calls go, and whom they trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The region.
    pub region: String,
    /// The account that the streams are in.
    pub account: String,
    /// The KVS endpoint, where it is not the region's own.
    pub kinesis_video: Option<String>,
    /// The STS endpoint, where it is not the region's own.
    pub sts: Option<String>,
    /// Certificate authorities in PEM to trust beside the system's.
    pub ca_bundle: Option<String>,
}

impl From<&Aws> for Place {
    fn from(aws: &Aws) -> Self {
        let endpoints = aws.endpoints.clone().unwrap_or_default();
        Self {
            region: aws.region.clone(),
            account: aws.account_id.clone(),
            kinesis_video: endpoints.kinesis_video,
            sts: endpoints.sts,
            ca_bundle: aws.ca_bundle.clone().filter(|bundle| !bundle.trim().is_empty()),
        }
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStream {
    /// The name.
    pub name: String,
    /// The retention in hours.
    pub retention_hours: i32,
    /// The tags, whose they are among them, so that there is no moment without an owner.
    pub tags: BTreeMap<String, String>,
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

/// A call that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed: {message}")]
pub struct AwsError {
    /// The operation, such as `CreateStream`.
    pub operation: &'static str,
    /// What to make of it.
    pub kind: ErrorKind,
    /// The service's own code and text, or what went wrong on the way; free of secrets.
    pub message: String,
}

/// What to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The stream is being changed, or the name is taken.
    InUse,
    /// Somebody else changed the stream since it was read.
    VersionMismatch,
    /// There is no such stream.
    NotFound,
    /// No credentials were found.
    NoCredentials,
    /// The credentials, or what they may do, are refused.
    Denied,
    /// Fewer calls are asked for.
    Throttled,
    /// A quota of the account is used up.
    Quota,
    /// The endpoint cannot be reached, or its certificate is not trusted.
    Unreachable,
    /// The CA bundle holds no certificate.
    InvalidCaBundle,
    /// Something else.
    Other,
}

impl ErrorKind {
    /// For metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::VersionMismatch => "version_mismatch",
            Self::NotFound => "not_found",
            Self::NoCredentials => "no_credentials",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::Unreachable => "unreachable",
            Self::InvalidCaBundle => "invalid_ca_bundle",
            Self::Other => "other",
        }
    }
}

/// Whose a stream is: which object of which installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The installation.
    pub installation: String,
    /// The namespace of the `VideoStream`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The tags that say so.
    pub fn tags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (ownership_tags::INSTALLATION.to_owned(), self.installation.clone()),
            (ownership_tags::NAMESPACE.to_owned(), self.namespace.clone()),
            (ownership_tags::NAME.to_owned(), self.name.clone()),
            (ownership_tags::UID.to_owned(), self.uid.clone()),
        ])
    }

    /// Whether a stream with these tags is this object's. The UID does not count: an object that was deleted and applied
    /// again, or restored from a backup, has another, and is to find its own stream.
    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        let says = |key, value: &str| tags.get(key).is_some_and(|tag| tag == value);
        says(ownership_tags::INSTALLATION, &self.installation)
            && says(ownership_tags::NAMESPACE, &self.namespace)
            && says(ownership_tags::NAME, &self.name)
    }
}

/// Whose a stream with these tags is, for people.
pub fn describe_owner(tags: &BTreeMap<String, String>) -> String {
    let tag = |key| tags.get(key).map_or("?", String::as_str);
    if !tags.contains_key(ownership_tags::INSTALLATION) {
        return "its tags name no owner".to_owned();
    }
    format!(
        "its tags say that it belongs to VideoStream {}/{} of installation {}",
        tag(ownership_tags::NAMESPACE),
        tag(ownership_tags::NAME),
        tag(ownership_tags::INSTALLATION)
    )
}
