//! The plan as tables: what is wanted, recorded and seen, and what follows.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamfleet_crds::{PendingWhy, VideoStreamStatus, ownership_tags};

use super::*;
use crate::video_stream::observed::Freshness;
use crate::video_stream::status::recorded;
use crate::video_stream::testing::{ARN, desired, in_order, observed};

fn calls_of(plan: &Plan) -> Vec<Call> {
    plan.steps
        .iter()
        .map(|step| match step {
            Step::Change(_, call) => call.clone(),
            Step::Create(..) => panic!("{step:?}"),
        })
        .collect()
}

/// The plan for a stream that was in order with `before` and is now asked to be as `after`.
fn edited(before: Value, after: Value) -> (Desired, Plan) {
    let (before, after) = (desired(before), desired(after));
    let record = in_order(&before);
    let plan = plan(&after, &recorded(&record), &View::Present(observed(&before)));
    (after, plan)
}

fn operations(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(Step::operation).collect()
}

#[test]
fn without_a_stream_one_is_made_with_its_owner_in_the_same_call() {
    let desired =
        desired(json!({ "retentionHours": 48, "storageTier": "Warm", "kmsKeyID": "alias/cameras" }));
    let record = VideoStreamStatus::default();
    let plan = plan(&desired, &recorded(&record), &View::Absent(Freshness::Fresh));
    let [Step::Create(_, stream)] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((stream.name.as_str(), stream.retention_hours), ("p-shop.door", 48));
    assert_eq!(stream.kms_key_id.as_deref(), Some("alias/cameras"));
    assert!(desired.owner.owns(&stream.tags));
    assert_eq!(stream.tags.get("team").map(String::as_str), Some("video"));
}

#[test]
fn a_lost_stream_is_not_made_again_before_its_record_is_cleared() {
    let desired = desired(json!({}));
    let record = in_order(&desired);
    let plan = plan(&desired, &recorded(&record), &View::Absent(Freshness::Fresh));
    assert!(plan.is_lost && plan.has_work);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_lost_stream_is_drift_which_report_leaves() {
    for spec in [
        json!({ "driftPolicy": "Report" }),
        json!({ "managementPolicy": "Observe" }),
        json!({ "suspend": true }),
    ] {
        let desired = desired(spec);
        let record = in_order(&desired);
        let plan = plan(&desired, &recorded(&record), &View::Absent(Freshness::Fresh));
        assert!(plan.is_lost && !plan.has_work && plan.changes[0].is_drift, "{plan:?}");
    }
}

#[test]
fn each_field_is_changed_by_its_own_call_and_by_no_other() {
    let image = json!({
        "timestamp": "Server", "destinationURI": "s3://pictures", "samplingIntervalMillis": 200, "format": "JPEG",
    });
    let topic = json!({ "topicARN": "arn:aws:sns:eu-west-1:123456789012:one" });
    let table = [
        (json!({ "retentionHours": 96 }), vec!["UpdateDataRetention"]),
        (json!({ "storageTier": "Warm" }), vec!["UpdateStreamStorageConfiguration"]),
        (json!({ "mediaType": "video/h264" }), vec!["UpdateStream"]),
        (json!({ "mediaType": "video/h264", "deviceName": "d" }), vec!["UpdateStream"]),
        (json!({ "imageGeneration": image }), vec!["UpdateImageGenerationConfiguration"]),
        (json!({ "notification": topic }), vec!["UpdateNotificationConfiguration"]),
        (json!({ "tags": { "site": "x" } }), vec!["TagStream"]),
        (json!({}), vec![]),
    ];
    for (spec, expected) in table {
        let (_, plan) = edited(json!({}), spec.clone());
        assert_eq!(operations(&plan), expected, "{spec}");
        assert!(plan.changes.iter().all(|change| expected.contains(&change.operation) && !change.is_drift));
    }
}

#[test]
fn what_is_taken_away_goes_first_then_what_is_under_the_version() {
    let topic = json!({ "topicARN": "arn:aws:sns:eu-west-1:123456789012:one" });
    let (_, plan) = edited(
        json!({ "tags": { "old": "x" }, "notification": topic }),
        json!({ "tags": { "new": "x" }, "retentionHours": 96, "storageTier": "Warm", "deviceName": "d" }),
    );
    let expected = [
        "UpdateNotificationConfiguration",
        "UntagStream",
        "UpdateDataRetention",
        "UpdateStream",
        "UpdateStreamStorageConfiguration",
        "TagStream",
    ];
    assert_eq!(operations(&plan), expected);
}

#[test]
fn both_values_are_sent_though_one_has_changed() {
    let (_, plan) = edited(json!({ "mediaType": "video/h264" }), json!({ "mediaType": "video/h265" }));
    assert_eq!(
        calls_of(&plan),
        [Call::Update(StreamUpdate { device_name: None, media_type: Some("video/h265".to_owned()) })]
    );
    let (_, plan) = edited(
        json!({ "mediaType": "video/h264", "deviceName": "a" }),
        json!({ "mediaType": "video/h264", "deviceName": "b" }),
    );
    let both = StreamUpdate { device_name: Some("b".to_owned()), media_type: Some("video/h264".to_owned()) };
    assert_eq!(calls_of(&plan), [Call::Update(both)]);
}

#[test]
fn every_decrease_waits_for_consent_whatever_its_cause() {
    let wish = desired(json!({ "retentionHours": 24 }));
    let mut raised = observed(&wish);
    raised.info.retention_hours = 168;
    let in_order_before = in_order(&wish);
    let of_longer = in_order(&desired(json!({ "retentionHours": 168 })));
    let nothing = VideoStreamStatus::default();
    // The correction of a foreign increase, an edit or another default, an adoption.
    for (record, is_drift) in [(&in_order_before, true), (&of_longer, false), (&nothing, false)] {
        let plan = plan(&wish, &recorded(record), &View::Present(raised.clone()));
        let change = plan.changes.iter().find(|change| change.field == "retentionHours").unwrap();
        assert!(change.needs_consent && change.is_destructive && change.hold == Some(Hold::Consent));
        assert_eq!(change.is_drift, is_drift);
        assert!(!plan.steps.iter().any(Step::is_destructive));
        let pending = change.pending(Some(StreamState::Active)).unwrap();
        assert_eq!(
            (pending.blocked, pending.destructive, pending.why),
            (true, true, Some(PendingWhy::Blocked))
        );
        assert_eq!((pending.from.as_str(), pending.to.as_str()), ("168", "24"));
    }
    let allowed = desired(json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" }));
    let plan = plan(&allowed, &recorded(&in_order_before), &View::Present(raised));
    assert!(plan.steps[0].is_destructive());
}

#[test]
fn a_notification_waits_while_the_retention_that_it_needs_is_only_reported() {
    let topic = json!({ "topicARN": "arn:aws:sns:eu-west-1:123456789012:one" });
    let wish = desired(json!({ "retentionHours": 24, "driftPolicy": "Report" }));
    let mut emptied = observed(&wish);
    emptied.info.retention_hours = 0;
    let record = in_order(&wish);
    let edited = desired(json!({ "retentionHours": 24, "driftPolicy": "Report", "notification": topic }));
    let plan = plan(&edited, &recorded(&record), &View::Present(emptied));
    let hold = |field: &str| plan.changes.iter().find(|change| change.field == field).unwrap().hold;
    assert_eq!((hold(RETENTION), hold(NOTIFICATION)), (Some(Hold::Report), Some(Hold::NoRetention)));
    assert!(plan.steps.is_empty() && !plan.has_work);
}

#[test]
fn images_wait_for_a_retention() {
    let image = json!({
        "timestamp": "Server", "destinationURI": "s3://pictures", "samplingIntervalMillis": 200, "format": "PNG",
    });
    let (_, plan) =
        edited(json!({ "retentionHours": 0 }), json!({ "retentionHours": 24, "imageGeneration": image }));
    assert_eq!(operations(&plan), ["UpdateDataRetention"], "the images follow once that is done");
    let (_, plan) =
        edited(json!({ "retentionHours": 0 }), json!({ "retentionHours": 0, "imageGeneration": image }));
    assert!(plan.is_held(Hold::NoRetention) && !plan.has_work);
}

#[test]
fn tags_of_others_are_left_and_those_of_ours_that_went_are_drift() {
    let wish = desired(json!({ "tags": { "site": "berlin" } }));
    let record = in_order(&wish);
    let mut seen = observed(&wish);
    seen.settings.tags.insert("foreign".to_owned(), "1".to_owned());
    seen.settings.tags.insert("site".to_owned(), "bonn".to_owned());
    let plan = plan(&wish, &recorded(&record), &View::Present(seen));
    let site = BTreeMap::from([("site".to_owned(), "berlin".to_owned())]);
    assert_eq!(calls_of(&plan), [Call::Tag(site)]);
    assert!(plan.changes[0].is_drift);
}

#[test]
fn an_adopted_stream_gets_its_owner_before_anything_else() {
    let wish = Desired {
        adoption: streamfleet_crds::AdoptionPolicy::IfUnowned,
        ..desired(json!({ "retentionHours": 96 }))
    };
    let mut seen = observed(&wish);
    seen.settings.tags.clear();
    seen.info.retention_hours = 24;
    let record = VideoStreamStatus::default();
    let plan = plan(&wish, &recorded(&record), &View::Present(seen));
    assert_eq!(plan.ownership, Ownership::Adoptable);
    assert_eq!(calls_of(&plan), [Call::Tag(wish.owner.tags())]);
}

#[test]
fn a_stream_is_found_again_by_its_tags_and_gets_the_new_uid() {
    let wish = desired(json!({}));
    let mut seen = observed(&wish);
    seen.settings.tags.insert(ownership_tags::UID.to_owned(), "uid-0".to_owned());
    let record = VideoStreamStatus::default();
    let plan = plan(&wish, &recorded(&record), &View::Present(seen));
    assert_eq!(plan.ownership, Ownership::Ours);
    let uid = BTreeMap::from([(ownership_tags::UID.to_owned(), "uid-1".to_owned())]);
    assert_eq!(calls_of(&plan), [Call::Tag(uid)]);
}

#[test]
fn a_key_that_differs_is_drift_that_no_call_corrects_and_the_class_key_is_for_new_streams() {
    let wish = desired(json!({ "kmsKeyID": "alias/cameras" }));
    let mut seen = observed(&wish);
    seen.info.kms_key_id = Some("arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesisvideo".to_owned());
    let record = in_order(&wish);
    let planned = plan(&wish, &recorded(&record), &View::Present(seen.clone()));
    assert!(planned.is_held(Hold::Immutable) && !planned.has_work && planned.changes[0].is_drift);
    assert_eq!(planned.changes[0].pending(Some(StreamState::Active)), None);
    let of_class = Desired { is_kms_key_fixed: false, ..wish };
    assert_eq!(plan(&of_class, &recorded(&record), &View::Present(seen)).changes, []);
}

#[test]
fn nothing_is_changed_while_the_service_works_on_the_stream() {
    let wish = desired(json!({ "retentionHours": 48 }));
    let record = in_order(&desired(json!({ "retentionHours": 24 })));
    for state in [StreamState::Creating, StreamState::Updating, StreamState::Deleting] {
        let mut seen = observed(&wish);
        seen.info.retention_hours = 24;
        seen.info.state = state;
        let plan = plan(&wish, &recorded(&record), &View::Present(seen));
        assert!(plan.steps.is_empty() && !plan.has_work, "{state:?}");
        let pending: Vec<_> = plan.changes.iter().filter_map(|change| change.pending(Some(state))).collect();
        assert!(pending.iter().all(|change| change.why == Some(PendingWhy::InProgress)), "{pending:?}");
    }
}

#[test]
fn a_stream_that_is_going_is_ours_by_its_arn_alone() {
    let wish = desired(json!({}));
    let mut seen = observed(&wish);
    seen.info.state = StreamState::Deleting;
    seen.settings.tags.clear();
    let record = in_order(&wish);
    assert_eq!(record.stream_arn.as_deref(), Some(ARN));
    let view = View::Present(seen);
    assert_eq!(plan(&wish, &recorded(&record), &view).ownership, Ownership::Ours);
    let nothing = VideoStreamStatus::default();
    assert_eq!(plan(&wish, &recorded(&nothing), &view).ownership, Ownership::Leaving);
}
