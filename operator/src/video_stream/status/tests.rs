//! The status as tables: what was found, and what is said of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{ConditionType, PendingWhy, VideoStreamReason as Reason, VideoStreamStatus};

use super::*;
use crate::aws::ErrorKind;
use crate::video_stream::observed::{Freshness, Observed};
use crate::video_stream::plan::plan;
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
        (&["streamfleet.io/installation"], "OwnedByOther", "streamName"),
        (&[], "AdoptionRefused", "IfUnowned"),
    ];
    for (tags, reason, advice) in table {
        let mut seen = observed(&desired);
        seen.settings.tags = tags.iter().map(|key| ((*key).to_owned(), "south".to_owned())).collect();
        let status = after(&VideoStreamStatus::default(), &desired, &View::Present(seen), 1);
        assert_eq!(verdict(&status, ConditionType::Owned), pair("False", reason));
        assert_eq!(verdict(&status, ConditionType::Stalled), pair("True", reason));
        assert!(message(&status, ConditionType::Ready).contains(advice));
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
