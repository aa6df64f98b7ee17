//! Whole passes against a cloud in memory: what is called, in which order, and what is not called again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use streamfleet_crds::{ConditionType, VideoStreamStatus, types::find_condition};

use super::*;
use crate::aws::fake::FakeCloud;
use crate::video_stream::plan::Ownership;
use crate::video_stream::status::{self, Look, Outcome, announced, recorded};
use crate::video_stream::testing::{aws, desired};

/// An object whose status is kept as the controller keeps it.
struct Object {
    desired: Desired,
    status: VideoStreamStatus,
    /// Whether a fresh read shows it as it was seen.
    is_stale: bool,
    /// It is changed when a call has waited for its turn in this cloud.
    changes_with: Option<FakeCloud>,
    announcements: Vec<VideoStreamStatus>,
}

impl Object {
    fn new(spec: Value) -> Self {
        Self {
            desired: desired(spec),
            status: VideoStreamStatus::default(),
            is_stale: false,
            changes_with: None,
            announcements: Vec::new(),
        }
    }

    /// One pass, with its status.
    async fn pass(&mut self, aws: &AwsSide) -> Result<Done, Error> {
        let desired = self.desired.clone();
        let done = converge(aws, &desired, None, self).await?;
        let look = Look {
            desired: &desired,
            plan: &done.plan,
            view: &done.view,
            is_new: done.is_new,
            failure: done.failure.as_ref(),
            warnings: &[],
            check: None,
        };
        self.status =
            status::status(&self.status, &Outcome::Planned(look), None, Some(1), Timestamp::UNIX_EPOCH);
        Ok(done)
    }

    fn ready(&self) -> String {
        find_condition(&self.status.conditions, ConditionType::Ready.as_str()).unwrap().reason.clone()
    }
}

impl Announce for Object {
    async fn announce(&mut self, plan: &Plan, view: &View) -> Result<(), Error> {
        let waited = self.changes_with.as_ref().is_some_and(|cloud| !cloud.state().turns.is_empty());
        if self.is_stale || waited {
            return Err(Error::Changed);
        }
        self.status = announced(&self.status, &self.desired, plan, view, Timestamp::UNIX_EPOCH);
        self.announcements.push(self.status.clone());
        Ok(())
    }

    fn recorded(&self) -> Recorded<'_> {
        recorded(&self.status)
    }
}

fn tags_of(desired: &Desired) -> BTreeMap<String, String> {
    let mut tags = desired.tags.clone();
    tags.extend(desired.owner.tags());
    tags
}

#[tokio::test]
async fn a_stream_is_made_once_and_then_left_alone() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert!(done.is_new && done.plan.ownership == Ownership::Ours);
    assert_eq!(cloud.changes(), ["CreateStream p-shop.door"]);
    let before = object.status.clone();
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(cloud.changes(), Vec::<String>::new());
    assert!(!done.is_new && done.notes.is_empty());
    assert_eq!(object.status, before);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_found_by_the_next_pass() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    cloud.state().fail = Some(("CreateStream", ErrorKind::Unreachable, true));
    assert!(object.pass(&aws(&cloud)).await.is_err());
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(done.plan.ownership, Ownership::Ours);
    assert_eq!(cloud.changes(), ["CreateStream p-shop.door"]);
    assert_eq!(cloud.state().streams.len(), 1);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_not_sent_again() {
    let image = json!({
        "timestamp": "Server", "destinationURI": "s3://pictures", "samplingIntervalMillis": 200, "format": "JPEG",
    });
    let table = [
        (json!({ "retentionHours": 96 }), "UpdateDataRetention"),
        (json!({ "storageTier": "Warm" }), "UpdateStreamStorageConfiguration"),
        (json!({ "deviceName": "d" }), "UpdateStream"),
        (json!({ "tags": { "site": "x" } }), "TagStream"),
        (json!({ "imageGeneration": image }), "UpdateImageGenerationConfiguration"),
    ];
    for (spec, operation) in table {
        let cloud = FakeCloud::default();
        let mut object = Object::new(json!({}));
        object.pass(&aws(&cloud)).await.unwrap();
        cloud.changes();
        object.desired = desired(spec);
        cloud.state().fail = Some((operation, ErrorKind::Unreachable, true));
        assert!(object.pass(&aws(&cloud)).await.is_err(), "{operation}");
        object.pass(&aws(&cloud)).await.unwrap();
        let sent = cloud.changes().iter().filter(|call| call.starts_with(operation)).count();
        assert_eq!((sent, object.ready().as_str()), (1, "Active"), "{operation}");
    }
}

#[tokio::test]
async fn many_changes_are_made_in_one_pass_each_from_a_fresh_read_and_announced_before() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({ "tags": { "old": "x" } }));
    object.pass(&aws(&cloud)).await.unwrap();
    cloud.changes();
    object.announcements.clear();
    object.desired = desired(json!({ "tags": { "new": "x" }, "retentionHours": 96, "storageTier": "Warm" }));
    object.pass(&aws(&cloud)).await.unwrap();
    let operations: Vec<String> =
        cloud.changes().iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect();
    let expected = ["UntagStream", "UpdateDataRetention", "UpdateStreamStorageConfiguration", "TagStream"];
    assert_eq!(operations, expected);
    assert_eq!((object.announcements.len(), object.announcements[0].pending_changes.len()), (1, 4));
    assert_eq!((object.ready().as_str(), object.status.pending_changes.len()), ("Active", 0));
}

#[tokio::test]
async fn an_object_that_is_no_longer_as_it_was_changes_nothing() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    object.is_stale = true;
    assert!(matches!(object.pass(&aws(&cloud)).await, Err(Error::Changed)));
    assert_eq!(cloud.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_shorter_retention_that_is_taken_back_while_it_waits_for_its_turn_is_not_sent() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({ "retentionHours": 96 }));
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!((cloud.changes().len(), cloud.turns().len()), (1, 0));
    object.desired = desired(json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" }));
    object.changes_with = Some(cloud.clone());
    assert!(matches!(object.pass(&aws(&cloud)).await, Err(Error::Changed)));
    assert_eq!((cloud.changes().len(), cloud.turns().len()), (0, 1));
    object.changes_with = None;
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(cloud.changes(), ["UpdateDataRetention Decrease(72)"]);
    assert_eq!(cloud.turns().len(), 1);
}

#[tokio::test]
async fn a_creation_without_an_answer_may_take_effect_later_and_one_that_is_refused_may_not() {
    for (kind, may) in [(ErrorKind::Unreachable, true), (ErrorKind::Throttled, false)] {
        let (cloud, mut object) = (FakeCloud::default(), Object::new(json!({})));
        let aws = aws(&cloud);
        cloud.state().fail = Some(("CreateStream", kind, false));
        assert!(object.pass(&aws).await.is_err());
        assert_eq!(aws.creations.may_take_effect(&object.desired.owner.uid), may, "{kind:?}");
        object.pass(&aws).await.unwrap();
        assert!(!aws.creations.may_take_effect(&object.desired.owner.uid), "it is made");
    }
}

#[tokio::test]
async fn a_version_that_is_no_longer_there_is_planned_anew() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    object.pass(&aws(&cloud)).await.unwrap();
    object.desired = desired(json!({ "retentionHours": 96 }));
    cloud.state().fail = Some(("UpdateDataRetention", ErrorKind::VersionMismatch, false));
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!((object.status.retention_hours, object.ready().as_str()), (Some(96), "Active"));
}

#[tokio::test]
async fn one_refused_call_does_not_keep_the_others() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    object.pass(&aws(&cloud)).await.unwrap();
    object.desired = desired(json!({ "retentionHours": 96, "tags": { "site": "x" }, "storageTier": "Warm" }));
    cloud.state().fail = Some(("UpdateDataRetention", ErrorKind::Denied, false));
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(done.failure.unwrap().operation, "UpdateDataRetention");
    assert_eq!((object.ready().as_str(), object.status.pending_changes.len()), ("AwsAccessDenied", 1));
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(object.ready(), "Active", "it recovers by itself");
}

#[tokio::test]
async fn a_stream_of_others_that_takes_the_name_is_reported_and_left() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    cloud.state().put(&object.desired.name, 1, BTreeMap::default());
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert!(matches!(done.plan.ownership, Ownership::Refused(_)));
    assert_eq!(cloud.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_is_taken_by_nothing_to_be_seen_has_a_reason() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    cloud.state().fail = Some(("CreateStream", ErrorKind::InUse, false));
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(object.ready(), "NameTaken");
    object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(object.ready(), "Active");
}

#[tokio::test]
async fn of_two_objects_for_one_name_one_is_the_owner_and_the_other_says_so_and_stays_quiet() {
    let cloud = FakeCloud::default();
    let (mut one, mut other) = (Object::new(json!({})), Object::new(json!({})));
    other.desired.owner.name = "window".to_owned();
    one.pass(&aws(&cloud)).await.unwrap();
    for _ in 0..3 {
        other.pass(&aws(&cloud)).await.unwrap();
        one.pass(&aws(&cloud)).await.unwrap();
    }
    assert_eq!(cloud.changes(), ["CreateStream p-shop.door"]);
    assert_eq!((one.ready().as_str(), other.ready().as_str()), ("Active", "OwnedByOther"));
    let message = &find_condition(&other.status.conditions, "Ready").unwrap().message;
    assert!(message.contains("shop/door"), "the owner is named: {message}");
}

#[tokio::test]
async fn an_unowned_stream_is_adopted_by_its_tags_first_and_of_two_only_one_keeps_it() {
    let cloud = FakeCloud::default();
    let (mut one, mut other) = (Object::new(json!({})), Object::new(json!({})));
    other.desired.owner.installation = "south".to_owned();
    for object in [&mut one, &mut other] {
        object.desired.adoption = streamfleet_crds::AdoptionPolicy::IfUnowned;
        object.desired.retention_hours = 96;
    }
    cloud.state().put(&one.desired.name, 24, BTreeMap::default());
    one.pass(&aws(&cloud)).await.unwrap();
    assert!(one.status.stream_arn.is_some(), "it is on record before anything else is done");
    one.pass(&aws(&cloud)).await.unwrap();
    let calls = cloud.changes();
    assert!(calls[0].starts_with("TagStream streamfleet.io/installation"), "{calls:?}");
    assert!(calls[1].starts_with("UpdateDataRetention"), "{calls:?}");
    other.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(cloud.changes(), Vec::<String>::new());
    assert_eq!((one.ready().as_str(), other.ready().as_str()), ("Active", "OwnedByOther"));
}

#[tokio::test]
async fn a_stream_that_is_being_made_is_waited_for() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({ "retentionHours": 48 }));
    let tags = tags_of(&object.desired);
    cloud.state().put(&object.desired.name, 24, tags);
    cloud.state().streams.get_mut(&object.desired.name).unwrap().0.state = StreamState::Creating;
    let done = object.pass(&aws(&cloud)).await.unwrap();
    assert_eq!(cloud.changes(), Vec::<String>::new());
    assert_eq!((done.plan.changes.len(), object.ready().as_str()), (1, "Creating"));
}

#[tokio::test]
async fn a_foreign_change_is_shown_as_drift_before_it_is_taken_back() {
    let cloud = FakeCloud::default();
    let mut object = Object::new(json!({}));
    object.pass(&aws(&cloud)).await.unwrap();
    cloud.state().streams.get_mut(&object.desired.name).unwrap().0.retention_hours = 1;
    object.pass(&aws(&cloud)).await.unwrap();
    let drift = &object.announcements.last().unwrap().drift[0];
    assert_eq!(
        (drift.field.as_str(), drift.observed.as_str(), drift.desired.as_str()),
        ("retentionHours", "1", "72")
    );
    assert_eq!((object.status.drift.len(), object.status.retention_hours), (0, Some(72)));
}
