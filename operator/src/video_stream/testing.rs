//! Fixtures: a class and a stream whose names differ from everything else, so that swapped ones show.

#![allow(clippy::needless_pass_by_value, reason = "fixtures take JSON literals")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use streamfleet_crds::{StreamClass, StreamClassStatus, VideoStream, VideoStreamStatus};

use super::observed::{Observed, View};
use super::plan::plan;
use super::status::{Look, Outcome, recorded, status};
use super::validate::{Desired, validate};
use crate::aws::fake::FakeCloud;
use crate::aws::observer::Observer;
use crate::aws::{Settings, StreamInfo, StreamState};
use crate::conditions::{Truth, Verdict, merge};
use crate::context::AwsSide;

/// A cloud in memory, as it is used.
pub fn aws(cloud: &FakeCloud) -> AwsSide {
    let clouds = Arc::new(cloud.clone());
    AwsSide {
        observer: Arc::new(Observer::new(clouds.clone(), Duration::from_mins(1))),
        clouds,
        checks: Arc::default(),
        alarms: Arc::default(),
        creations: Arc::default(),
        since: crate::context::long_ago(),
    }
}

/// The installation.
pub const INSTALLATION: &str = "north";

/// A class that admits every namespace and is verified, with this spec beside.
pub fn class(spec: Value) -> StreamClass {
    let mut whole = json!({
        "aws": { "region": "eu-west-1", "accountID": "123456789012" },
        "allowedNamespaces": { "from": "All" },
        "stream": { "namePrefix": "p-", "retentionHours": 72, "tags": { "team": "video" } },
    });
    for (key, value) in spec.as_object().cloned().unwrap_or_default() {
        whole[key] = value;
    }
    let mut class = StreamClass::new("standard", serde_json::from_value(whole).unwrap());
    class.metadata.generation = Some(1);
    let verdict = Verdict::new(
        streamfleet_crds::ConditionType::CallerVerified,
        Truth::True,
        streamfleet_crds::StreamClassReason::CallerVerified.as_str(),
        "",
    );
    let conditions = merge(&[], &[verdict], Some(1), Timestamp::UNIX_EPOCH);
    class.status = Some(StreamClassStatus { conditions, ..StreamClassStatus::default() });
    class
}

/// The object `shop/door` with this spec beside its class.
pub fn stream(spec: Value) -> VideoStream {
    let mut whole = json!({ "streamClassName": "standard" });
    for (key, value) in spec.as_object().cloned().unwrap_or_default() {
        whole[key] = value;
    }
    let mut stream = VideoStream::new("door", serde_json::from_value(whole).unwrap());
    stream.metadata.namespace = Some("shop".to_owned());
    stream.metadata.uid = Some("uid-1".to_owned());
    stream
}

/// What `shop/door` asks for with this spec.
pub fn desired(spec: Value) -> Desired {
    validate(&stream(spec), Some(&class(json!({}))), &BTreeMap::new(), INSTALLATION).unwrap()
}

/// The ARN of [`observed`].
pub const ARN: &str = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/p-shop.door/1";

/// A stream as [`desired`] would make it, as read just now.
pub fn observed(desired: &Desired) -> Observed {
    let mut tags = desired.tags.clone();
    tags.extend(desired.owner.tags());
    let info = StreamInfo {
        name: desired.name.clone(),
        arn: ARN.to_owned(),
        version: "v1".to_owned(),
        state: StreamState::Active,
        retention_hours: desired.retention_hours,
        created: Timestamp::from_second(1).ok(),
        kms_key_id: desired.kms_key_id.clone(),
        media_type: desired.media_type.clone(),
        device_name: desired.device_name.clone(),
    };
    let settings = Settings {
        tags,
        storage_tier: desired.storage_tier,
        image_generation: desired.image_generation.clone(),
        notification: desired.notification.clone(),
    };
    Observed::fresh(info, settings)
}

/// The record of an object that was in order with these wishes.
pub fn in_order(desired: &Desired) -> VideoStreamStatus {
    let view = View::Present(observed(desired));
    let before = VideoStreamStatus::default();
    let plan = plan(desired, &recorded(&before), &view);
    let look =
        Look { desired, plan: &plan, view: &view, is_new: true, failure: None, warnings: &[], check: None };
    status(&before, &Outcome::Planned(look), None, Some(1), Timestamp::UNIX_EPOCH)
}
