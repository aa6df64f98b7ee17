//! The status as tables: what was found, and what is said of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{ConditionType, PendingWhy, VideoStreamReason as Reason, VideoStreamStatus};

use super::*;
use crate::aws::ErrorKind;
use crate::video_stream::observed::{Freshness, Observed};
use crate::video_stream::plan::{Step, plan};
use crate::video_stream::testing::{ARN, desired, in_order, observed};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn verdict(status: &VideoStreamStatus, type_: ConditionType) -> (String, String) {
    let condition = find_condition(&status.conditions, type_.as_str()).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

fn message(status: &VideoStreamStatus, type_: ConditionType) -> String {
    find_condition(&status.conditions, type_.as_str()).unwrap().message.clone()
}

/// The status after a pass that finds this.
fn after(before: &VideoStreamStatus, desired: &Desired, view: &View, second: i64) -> VideoStreamStatus {
    let plan = plan(desired, &recorded(before), view);
    let look = Look { desired, plan: &plan, view, is_new: false, failure: None, warnings: &[], check: None };
    status(before, &Outcome::Planned(look), None, Some(1), at(second))
}

/// The status after a pass with these wishes over a stream that is as `seen` makes it.
fn found(spec: Value, seen: impl FnOnce(&mut Observed)) -> VideoStreamStatus {
    let desired = desired(spec);
    let mut observed = observed(&desired);
    seen(&mut observed);
    after(&in_order(&desired), &desired, &View::Present(observed), 2)
}

#[test]
fn a_made_stream_is_recorded_and_ready() {
    let status = in_order(&desired(json!({})));
    assert_eq!(status.stream_arn.as_deref(), Some(ARN));
    assert_eq!(status.managed_tags, ["team"]);
    assert_eq!(verdict(&status, ConditionType::Ready), pair("True", "Active"));
    assert_eq!(verdict(&status, ConditionType::Synced), pair("True", "InSync"));
    assert_eq!(verdict(&status, ConditionType::Owned), pair("True", "Created"));
    let keys: Vec<&str> = status.last_synced.keys().map(String::as_str).collect();
    assert_eq!(keys, ["owner", "retentionHours", "storageTier", "tags[team]"]);
    assert_eq!(status.conditions.len(), 3, "neither Reconciling nor Stalled");
}

#[test]
fn a_second_look_changes_nothing() {
    let desired = desired(json!({}));
    let before = in_order(&desired);
    assert_eq!(after(&before, &desired, &View::Present(observed(&desired)), 99), before);
}

#[test]
fn a_found_stream_is_adopted() {
    let desired = desired(json!({}));
    let status = after(&VideoStreamStatus::default(), &desired, &View::Present(observed(&desired)), 1);
    assert_eq!(verdict(&status, ConditionType::Owned), pair("True", "Adopted"));
}

#[test]
fn a_blocked_decrease_says_from_what_to_what_and_how_to_allow_it() {
    let status = found(json!({ "retentionHours": 24 }), |seen| seen.info.retention_hours = 168);
    assert_eq!(verdict(&status, ConditionType::Synced), pair("False", "ChangeBlocked"));
    assert_eq!(verdict(&status, ConditionType::Ready), pair("False", "ChangeBlocked"));
    assert_eq!(verdict(&status, ConditionType::Stalled), pair("True", "ChangeBlocked"));
    let message = message(&status, ConditionType::Synced);
    for part in ["168", "24", "retentionDecreasePolicy", "Allow"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(status.retention_hours, Some(168));
    // Somebody else raised it: that is shown beside.
    assert_eq!((status.drift.len(), status.drift[0].observed.as_str()), (1, "168"));
}

#[test]
fn each_way_to_hold_a_change_has_its_reason_and_says_what_would_be_done() {
    let table = [
        (json!({ "suspend": true }), "True", "Suspended", "Suspended", PendingWhy::Suspended),
        (json!({ "managementPolicy": "Observe" }), "True", "Observing", "Observing", PendingWhy::Observe),
        (json!({ "driftPolicy": "Report" }), "False", "DriftReported", "DriftReported", PendingWhy::Report),
    ];
    for (spec, ready, reason, synced, why) in table {
        let status = found(spec, |seen| seen.info.retention_hours = 1);
        assert_eq!(verdict(&status, ConditionType::Ready), pair(ready, reason));
        assert_eq!(verdict(&status, ConditionType::Synced), pair("False", synced));
        let pending = &status.pending_changes[0];
        assert_eq!((pending.operation.as_str(), pending.why), ("UpdateDataRetention", Some(why)));
        assert_eq!((pending.from.as_str(), pending.to.as_str()), ("1", "72"));
        assert_eq!(status.drift.len(), 1);
    }
}

#[test]
fn since_when_a_field_drifts_is_kept_until_it_is_over() {
    let desired = desired(json!({ "driftPolicy": "Report" }));
    let mut seen = observed(&desired);
    seen.info.retention_hours = 1;
    let first = after(&in_order(&desired), &desired, &View::Present(seen.clone()), 10);
    seen.info.retention_hours = 2;
    let second = after(&first, &desired, &View::Present(seen), 20);
    assert_eq!((second.drift[0].since.0, second.drift[0].observed.as_str()), (at(10), "2"));
    let third = after(&second, &desired, &View::Present(observed(&desired)), 30);
    assert_eq!((third.drift.len(), third.pending_changes.len()), (0, 0));
}

#[test]
fn a_stream_of_others_is_not_recorded_and_says_what_to_do() {
    let desired = desired(json!({}));
    let table: [(&[&str], &str, &str); 2] = [
        (&["streamfleet.io/installation"], "OwnedByOther", "have its owner give it up"),
        (&[], "AdoptionRefused", "set spec.adoptionPolicy to IfUnowned"),
    ];
    for (tags, reason, advice) in table {
        let mut seen = observed(&desired);
        seen.settings.tags = tags.iter().map(|key| ((*key).to_owned(), "south".to_owned())).collect();
        let status = after(&VideoStreamStatus::default(), &desired, &View::Present(seen), 1);
        assert_eq!(verdict(&status, ConditionType::Owned), pair("False", reason));
        assert_eq!(verdict(&status, ConditionType::Stalled), pair("True", reason));
        let said = message(&status, ConditionType::Ready);
        // A name cannot be changed.
        for advice in [advice, "delete this object and make it again with another spec.streamName"] {
            assert!(said.contains(advice), "{said}");
        }
        assert_eq!((status.stream_arn, status.last_synced.len()), (None, 0));
    }
}

#[test]
fn a_stream_that_is_only_observed_gives_no_claim_on_it() {
    let wish = desired(json!({ "managementPolicy": "Observe" }));
    let mut seen = observed(&wish);
    seen.settings.tags.clear();
    seen.info.retention_hours = 1;
    let view = View::Present(seen);
    let status = after(&VideoStreamStatus::default(), &wish, &view, 1);
    assert_eq!(verdict(&status, ConditionType::Owned), pair("False", "Observing"));
    assert_eq!(verdict(&status, ConditionType::Ready), pair("True", "Observing"));
    assert_eq!((status.stream_arn.as_deref(), status.retention_hours), (None, Some(1)));
    assert!(status.pending_changes.iter().all(|change| change.why == Some(PendingWhy::Observe)));
    // To manage it then is an adoption, which the policy refuses.
    let manage = desired(json!({}));
    let managed = after(&status, &manage, &view, 2);
    assert_eq!(verdict(&managed, ConditionType::Owned), pair("False", "AdoptionRefused"));
}

#[test]
fn another_key_than_asked_for_is_named_and_stalls() {
    let status = found(json!({ "kmsKeyID": "alias/cameras" }), |seen| {
        seen.info.kms_key_id = Some("alias/aws/kinesisvideo".to_owned());
    });
    assert_eq!(verdict(&status, ConditionType::Synced), pair("False", "KmsKeyDiffers"));
    assert_eq!((status.drift.len(), status.pending_changes.len()), (1, 0));
}

#[test]
fn a_lost_stream_that_is_not_made_again_stays_on_record() {
    let desired = desired(json!({ "driftPolicy": "Report" }));
    let before = in_order(&desired);
    let status = after(&before, &desired, &View::Absent(Freshness::Fresh), 2);
    assert_eq!(verdict(&status, ConditionType::Ready), pair("False", "StreamLost"));
    assert_eq!(status.stream_arn.as_deref(), Some(ARN));
    assert_eq!((status.drift[0].field.as_str(), status.drift[0].observed.as_str()), ("stream", "absent"));
}

#[test]
fn no_stream_is_made_while_suspended_or_observed() {
    for (spec, reason) in [
        (json!({ "suspend": true }), "Suspended"),
        (json!({ "managementPolicy": "Observe" }), "StreamNotFound"),
    ] {
        let status = after(&VideoStreamStatus::default(), &desired(spec), &View::Absent(Freshness::Fresh), 1);
        assert_eq!(verdict(&status, ConditionType::Ready), pair("False", reason));
        assert_eq!(status.pending_changes[0].operation, "CreateStream");
    }
}

#[test]
fn every_error_has_a_reason_and_keeps_what_is_known() {
    let desired = desired(json!({}));
    let table = [
        (ErrorKind::Denied, "AwsAccessDenied"),
        (ErrorKind::NoCredentials, "AwsAccessDenied"),
        (ErrorKind::CredentialsRefused, "AwsAccessDenied"),
        (ErrorKind::WrongAccount, "AwsAccessDenied"),
        (ErrorKind::Throttled, "AwsThrottled"),
        (ErrorKind::Unreachable, "AwsUnreachable"),
        (ErrorKind::Quota, "AwsQuotaExceeded"),
        (ErrorKind::TagLimit, "TooManyTags"),
        (ErrorKind::InvalidArgument, "AwsInvalidArgument"),
        (ErrorKind::KmsUnusable, "KmsKeyUnusable"),
        (ErrorKind::NoRetention, "NoRetention"),
        (ErrorKind::Other, "AwsError"),
    ];
    for (kind, expected) in table {
        let error = AwsError { operation: "DescribeStream", kind, message: "text".to_owned() };
        let before = in_order(&desired);
        let status = status(&before, &Outcome::Failed(&desired, &error), None, Some(1), at(2));
        let (type_, ready) = match kind {
            ErrorKind::Throttled => (ConditionType::Synced, "Unknown"),
            _ => (ConditionType::Ready, "Unknown"),
        };
        assert_eq!(verdict(&status, type_), pair(ready, expected));
        assert_eq!(verdict(&status, ConditionType::Owned), pair("True", "Created"));
        assert_eq!((status.stream_arn.as_deref(), &status.last_synced), (Some(ARN), &before.last_synced));
        assert!(message(&status, type_).contains("DescribeStream"), "the API is named");
    }
}

#[test]
fn what_was_never_looked_at_is_not_ready_because_aws_asks_for_fewer_calls() {
    let desired = desired(json!({}));
    let error =
        AwsError { operation: "DescribeStream", kind: ErrorKind::Throttled, message: "text".to_owned() };
    let before = in_order(&desired);
    for (generation, expected) in [(1, pair("True", "Active")), (2, pair("Unknown", "AwsThrottled"))] {
        let after = status(&before, &Outcome::Failed(&desired, &error), None, Some(generation), at(2));
        assert_eq!(verdict(&after, ConditionType::Ready), expected);
        assert_eq!(after.observed_generation, Some(generation));
    }
}

#[test]
fn one_refused_call_is_named_and_what_it_was_to_change_stays_pending() {
    let desired = desired(json!({ "tags": { "site": "x" } }));
    let mut seen = observed(&desired);
    seen.settings.tags.remove("site");
    let (before, view) = (in_order(&desired), View::Present(seen));
    let plan = plan(&desired, &recorded(&before), &view);
    let error = AwsError { operation: "TagStream", kind: ErrorKind::Denied, message: "text".to_owned() };
    let look = Look {
        desired: &desired,
        plan: &plan,
        view: &view,
        is_new: false,
        failure: Some(&error),
        warnings: &[],
        check: Some("now"),
    };
    let status = status(&before, &Outcome::Planned(look), None, Some(1), at(2));
    assert_eq!(verdict(&status, ConditionType::Synced), pair("False", "AwsAccessDenied"));
    assert!(message(&status, ConditionType::Ready).contains("TagStream"));
    assert_eq!((status.pending_changes.len(), status.last_handled_check.as_deref()), (1, Some("now")));
}

#[test]
fn a_refusal_leaves_the_stream_and_its_record() {
    let refusal = Refusal { reason: Reason::NamespaceNotAllowed, message: "no".to_owned() };
    let status = status(&in_order(&desired(json!({}))), &Outcome::Refused(&refusal), None, Some(1), at(2));
    assert_eq!(verdict(&status, ConditionType::Ready), pair("False", "NamespaceNotAllowed"));
    assert!(is_true(&status.conditions, "Owned"));
    assert_eq!(status.stream_arn.as_deref(), Some(ARN));
}

#[test]
fn the_record_of_a_lost_stream_is_cleared() {
    let status = lost(&in_order(&desired(json!({}))), Some(1), at(2));
    assert_eq!(
        (status.stream_arn.as_deref(), status.managed_tags.len(), status.last_synced.len()),
        (None, 0, 0)
    );
    assert_eq!(verdict(&status, ConditionType::Ready), pair("False", "StreamLost"));
    assert_eq!(verdict(&status, ConditionType::Reconciling), pair("True", "StreamLost"));
}

#[test]
fn an_announcement_says_what_is_about_to_be_done_and_leaves_the_conditions() {
    let desired = desired(json!({ "tags": { "site": "x" } }));
    let mut seen = observed(&desired);
    seen.settings.tags.remove("site");
    let (before, view) = (in_order(&super::super::testing::desired(json!({}))), View::Present(seen));
    let plan = plan(&desired, &recorded(&before), &view);
    let status = announced(&before, &desired, &plan, &view, at(5));
    assert_eq!(status.conditions, before.conditions);
    assert_eq!(
        (status.pending_changes[0].field.as_str(), status.pending_changes[0].why),
        ("tags[site]", None)
    );
    assert_eq!(status.managed_tags, ["site", "team"], "what is set is ours to take away, also after a crash");
}

/// A spec, and the policies that keep a stream from being made by the one and by the other, in words.
fn policies() -> [(Value, Option<&'static str>, Option<&'static str>); 5] {
    let (suspend, manage) = ("spec.suspend to false", "spec.managementPolicy to Manage");
    [
        (json!({}), None, None),
        (json!({ "driftPolicy": "Report" }), None, Some("spec.driftPolicy to Correct")),
        (json!({ "suspend": true }), Some(suspend), Some(suspend)),
        (json!({ "managementPolicy": "Observe" }), Some(manage), Some(manage)),
        (
            json!({ "managementPolicy": "Observe", "suspend": true, "driftPolicy": "Report" }),
            Some("spec.suspend to false and spec.managementPolicy to Manage"),
            Some("spec.suspend to false and spec.managementPolicy to Manage and spec.driftPolicy to Correct"),
        ),
    ]
}

#[test]
fn of_a_stream_that_is_being_deleted_it_is_said_whether_one_is_made_after_that() {
    for (spec, for_new, for_lost) in policies() {
        let desired = desired(spec.clone());
        let mut seen = observed(&desired);
        seen.info.state = StreamState::Deleting;
        let view = View::Present(seen);
        for (before, settings) in [(VideoStreamStatus::default(), for_new), (in_order(&desired), for_lost)] {
            let status = after(&before, &desired, &view, 2);
            assert_eq!(verdict(&status, ConditionType::Ready), pair("False", "Deleting"));
            let said = message(&status, ConditionType::Ready);
            let expected =
                settings.map_or_else(|| "made again after that".to_owned(), |set| format!("made, set {set}"));
            let expected =
                if before.stream_arn.is_none() { expected.replace("again ", "") } else { expected };
            assert!(said.ends_with(&expected), "{spec}: {said}");
            // As the plan has it once it is gone.
            let gone = plan(&desired, &recorded(&before), &View::Absent(Freshness::Fresh));
            assert_eq!(gone.has_work, settings.is_none(), "{spec}");
        }
    }
}

#[test]
fn of_a_stream_that_is_not_there_every_policy_is_named_that_keeps_it_from_being_made() {
    for (spec, for_new, for_lost) in policies() {
        let desired = desired(spec.clone());
        for (before, settings) in [(VideoStreamStatus::default(), for_new), (in_order(&desired), for_lost)] {
            let Some(settings) = settings else { continue };
            let status = after(&before, &desired, &View::Absent(Freshness::Fresh), 2);
            let said = message(&status, ConditionType::Ready);
            assert!(said.contains(&format!("made, set {settings}")), "{spec}: {said}");
        }
    }
}

#[test]
fn a_stream_that_is_nobodys_is_not_ready_while_suspended() {
    let look = |suspend: bool| {
        let desired = Desired {
            adoption: streamfleet_crds::AdoptionPolicy::IfUnowned,
            ..desired(json!({ "suspend": suspend }))
        };
        let mut seen = observed(&desired);
        seen.settings.tags.clear();
        after(&VideoStreamStatus::default(), &desired, &View::Present(seen), 1)
    };
    let status = look(true);
    for type_ in [ConditionType::Ready, ConditionType::Owned] {
        assert_eq!(verdict(&status, type_), pair("False", "Suspended"));
        let expected = "The stream is there, but not this object's until spec.suspend is false";
        assert_eq!(message(&status, type_), expected);
    }
    assert_eq!(status.stream_arn, None);
    assert_eq!(verdict(&look(false), ConditionType::Ready), pair("False", "ChangePending"));
}

#[test]
fn a_foreign_tag_that_is_asked_for_only_while_nothing_is_changed_is_not_this_objects_to_take_away() {
    let base = desired(json!({}));
    let mut seen = observed(&base);
    seen.settings.tags.insert("site".to_owned(), "foreign".to_owned());
    let view = View::Present(seen);
    for held in [json!({ "suspend": true }), json!({ "managementPolicy": "Observe" })] {
        for wish in ["ours", "foreign"] {
            let mut spec = held.clone();
            spec["tags"] = json!({ "site": wish });
            let asked = after(&in_order(&base), &desired(spec), &view, 2);
            assert_eq!(asked.managed_tags, ["team"], "{held} {wish}");
            assert!(plan(&base, &recorded(&asked), &view).steps.is_empty(), "{held} {wish}");
        }
    }
    // Where it may be changed, what is there as asked for is the object's, as after a restore without a status.
    let wish = desired(json!({ "tags": { "site": "foreign" } }));
    let restored = after(&VideoStreamStatus::default(), &wish, &view, 2);
    assert_eq!(restored.managed_tags, ["site", "team"]);
}

#[test]
fn a_foreign_notification_that_is_asked_for_only_while_nothing_is_changed_is_left() {
    let topic = json!({ "topicARN": "arn:aws:sns:eu-west-1:123456789012:one" });
    let base = desired(json!({}));
    let asked = desired(json!({ "notification": topic }));
    let mut seen = observed(&base);
    seen.settings.notification = asked.notification;
    let view = View::Present(seen);
    for held in [json!({ "suspend": true }), json!({ "managementPolicy": "Observe" })] {
        let mut spec = held.clone();
        spec["notification"] = topic.clone();
        let status = after(&in_order(&base), &desired(spec), &view, 2);
        assert!(plan(&base, &recorded(&status), &view).steps.is_empty(), "{held}");
    }
}

#[test]
fn a_tag_that_was_announced_stays_this_objects_whatever_came_of_the_call() {
    let (base, wish) = (desired(json!({})), desired(json!({ "tags": { "site": "x" } })));
    let view = View::Present(observed(&base));
    let told = {
        let before = in_order(&base);
        announced(&before, &wish, &plan(&wish, &recorded(&before), &view), &view, at(1))
    };
    assert_eq!(told.managed_tags, ["site", "team"]);
    // It was refused: the same is said the next time, and nothing is written in between.
    let refused = after(&told, &wish, &view, 2);
    assert_eq!(refused.managed_tags, ["site", "team"]);
    // The answer was lost, the operator stopped, and meanwhile the object was suspended and asks for no such tag any more.
    let done = View::Present(observed(&wish));
    let suspended = after(&told, &desired(json!({ "suspend": true })), &done, 3);
    assert_eq!(suspended.managed_tags, ["site", "team"]);
    let steps = plan(&base, &recorded(&suspended), &done).steps;
    assert_eq!(steps.iter().map(Step::operation).collect::<Vec<_>>(), ["UntagStream"]);
}

#[test]
fn what_is_held_back_is_not_announced_as_this_objects() {
    // Set, taken away by somebody, and set by somebody: `Report` leaves it, while the retention is raised.
    let wish = desired(json!({ "tags": { "site": "x" }, "driftPolicy": "Report" }));
    let mut seen = observed(&wish);
    seen.settings.tags.remove("site");
    let taken = after(&in_order(&wish), &wish, &View::Present(seen.clone()), 2);
    assert_eq!(taken.managed_tags, ["team"]);
    seen.settings.tags.insert("site".to_owned(), "foreign".to_owned());
    let view = View::Present(seen);
    let raised = Desired { retention_hours: 96, ..wish };
    let planned = plan(&raised, &recorded(&taken), &view);
    assert_eq!(planned.steps.iter().map(Step::operation).collect::<Vec<_>>(), ["UpdateDataRetention"]);
    assert_eq!(announced(&taken, &raised, &planned, &view, at(3)).managed_tags, ["team"]);
}
