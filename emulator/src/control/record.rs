//! What the control plane knows of each stream and channel, as it is kept on disk and shown to tests.
//!
//! Life cycle states follow from times in the record (`CREATING` until `active_at_ms`, gone from `gone_at_ms` on), so
//! that they go on correctly after a restart. All times are milliseconds since the epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An account in a region: the control planes of two of them share nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
}

impl Scope {
    /// A scope.
    pub fn new(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// The partition of the region.
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }
}

/// The partition of a region.
pub fn partition(region: &str) -> &'static str {
    match region {
        cn if cn.starts_with("cn-") => "aws-cn",
        gov if gov.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// What makes a stream unique, and, among themselves, a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// Its name.
    pub name: String,
}

impl ResourceKey {
    /// The key of a name in a scope.
    pub fn new(scope: &Scope, name: impl Into<String>) -> Self {
        Self { account: scope.account.clone(), region: scope.region.clone(), name: name.into() }
    }

    /// Whether it is of this scope.
    pub fn is_in(&self, scope: &Scope) -> bool {
        self.account == scope.account && self.region == scope.region
    }
}

/// Where a stream's fragments are kept; playback does not differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    /// The default.
    #[default]
    Hot,
    /// Cheaper to keep, dearer to write.
    Warm,
}

/// The status of a stream or a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Not usable yet.
    Creating,
    /// Usable.
    Active,
    /// A change is under way.
    Updating,
    /// Not usable any more; the name is still taken.
    Deleting,
}

/// From when on a stream or channel is what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phases {
    /// `CREATING` before this time.
    pub active_at_ms: u64,
    /// `UPDATING` before this time.
    #[serde(default)]
    pub updated_at_ms: u64,
    /// `DELETING` before this time, gone from then on.
    pub gone_at_ms: Option<u64>,
}

impl Phases {
    /// The status at a time; `None` when it is gone.
    pub fn status(&self, now_ms: u64) -> Option<Status> {
        match self.gone_at_ms {
            Some(gone) if gone <= now_ms => None,
            Some(_) => Some(Status::Deleting),
            None if now_ms < self.active_at_ms => Some(Status::Creating),
            None if now_ms < self.updated_at_ms => Some(Status::Updating),
            None => Some(Status::Active),
        }
    }
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// Stream name.
    pub name: String,
    /// Creation time; unique in a control plane; ends the ARN.
    pub created_ms: u64,
    /// Changes with every versioned change.
    pub version: String,
    /// Retention in hours; 0 means that nothing is stored.
    pub retention_hours: u32,
    /// As given.
    pub media_type: Option<String>,
    /// As given.
    pub device_name: Option<String>,
    /// As given; the default key is filled in when it is told.
    pub kms_key_id: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Storage tier.
    pub tier: Tier,
    /// When it is what.
    #[serde(flatten)]
    pub phases: Phases,
    /// Media received before this time was purged.
    pub kept_from_ms: u64,
    /// `ImageGenerationConfiguration`, as given.
    #[serde(default)]
    pub image_generation: Option<Value>,
    /// `NotificationConfiguration`, as given.
    #[serde(default)]
    pub notification: Option<Value>,
    /// Its edge configuration.
    #[serde(default)]
    pub edge: Option<EdgeRecord>,
}

impl StreamRecord {
    /// The ARN.
    pub fn arn(&self) -> String {
        let Self { account, region, name, created_ms, .. } = self;
        format!("arn:{}:kinesisvideo:{region}:{account}:stream/{name}/{created_ms}", partition(region))
    }

    /// The status at a time; `None` when the stream is gone.
    pub fn status(&self, now_ms: u64) -> Option<Status> {
        self.phases.status(now_ms)
    }

    /// The time from which media is kept, given retention and earlier purges.
    pub fn kept_from(&self, now_ms: u64) -> u64 {
        let retention_ms = u64::from(self.retention_hours) * 3_600_000;
        match retention_ms {
            // Without retention the live buffer has its own bounds.
            0 => self.kept_from_ms,
            _ => self.kept_from_ms.max(now_ms.saturating_sub(retention_ms)),
        }
    }

    /// Where it is.
    pub fn scope(&self) -> Scope {
        Scope::new(&*self.account, &*self.region)
    }

    /// What makes it unique.
    pub fn key(&self) -> ResourceKey {
        ResourceKey { account: self.account.clone(), region: self.region.clone(), name: self.name.clone() }
    }
}

/// A stream's edge configuration. Its agent is taken to be at hand: it is in sync after a while, and deletes after one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeRecord {
    /// `EdgeConfig`, as given.
    pub config: Value,
    /// When it was first set.
    pub created_ms: u64,
    /// When it was last set or deleted.
    pub updated_ms: u64,
    /// `SYNCING` before this time.
    pub in_sync_at_ms: u64,
    /// `DELETING` before this time, gone from then on.
    pub gone_at_ms: Option<u64>,
}

impl EdgeRecord {
    /// Its `SyncStatus` at a time; `None` when it is gone.
    pub fn sync_status(&self, now_ms: u64) -> Option<&'static str> {
        match self.gone_at_ms {
            Some(gone) if gone <= now_ms => None,
            Some(_) => Some("DELETING"),
            None if now_ms < self.in_sync_at_ms => Some("SYNCING"),
            None => Some("IN_SYNC"),
        }
    }
}

/// A signaling channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRecord {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// Channel name.
    pub name: String,
    /// Creation time; ends the ARN.
    pub created_ms: u64,
    /// Changes with every versioned change.
    pub version: String,
    /// `SINGLE_MASTER` or `FULL_MESH`.
    pub channel_type: String,
    /// How long messages are kept, in seconds.
    pub message_ttl_seconds: i64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it is what.
    #[serde(flatten)]
    pub phases: Phases,
    /// The stream that media is stored in, by its ARN.
    #[serde(default)]
    pub stored_in: Option<String>,
}

impl ChannelRecord {
    /// The ARN.
    pub fn arn(&self) -> String {
        let Self { account, region, name, created_ms, .. } = self;
        format!("arn:{}:kinesisvideo:{region}:{account}:channel/{name}/{created_ms}", partition(region))
    }

    /// The status at a time; `None` when the channel is gone.
    pub fn status(&self, now_ms: u64) -> Option<Status> {
        self.phases.status(now_ms)
    }

    /// What makes it unique.
    pub fn key(&self) -> ResourceKey {
        ResourceKey { account: self.account.clone(), region: self.region.clone(), name: self.name.clone() }
    }
}
