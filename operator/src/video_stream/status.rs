//! What a `VideoStream`'s status says. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{ConditionType, PendingChange, VideoStreamReason as Reason, VideoStreamStatus};

use super::plan::{Observed, Ownership, Plan};
use super::validate::{Desired, Refusal};
use crate::aws::{AwsError, ErrorKind, StreamState};
use crate::conditions::{Truth, Verdict, merge, whole_seconds};

/// How a pass ended.
pub enum Outcome<'a> {
    /// Nothing was done: the class does not grant it.
    Refused(&'a Refusal),
    /// AWS was asked, and this was left to do; true where the stream was made in this pass.
    Planned(&'a Desired, &'a Plan, Option<&'a Observed>, bool),
    /// A call to AWS failed.
    Failed(&'a Desired, &'a AwsError),
}

/// The status after a pass. `writer` is left out: it belongs to the claim.
pub fn status(
    before: &VideoStreamStatus,
    outcome: &Outcome<'_>,
    generation: Option<i64>,
    now: Timestamp,
) -> VideoStreamStatus {
    let mut after = VideoStreamStatus { observed_generation: generation, writer: None, ..before.clone() };
    let verdicts = match outcome {
        Outcome::Refused(refusal) => refused(before, refusal),
        Outcome::Planned(desired, plan, observed, is_new) => {
            record(&mut after, desired, plan, *observed);
            planned(before, plan, *observed, *is_new)
        }
        Outcome::Failed(desired, error) => {
            locate(&mut after, desired);
            failed(before, error)
        }
    };
    after.conditions = merge(&before.conditions, &verdicts, generation, now);
    after
}

/// The status of an object whose stream has disappeared: without the record of it.
pub fn lost(before: &VideoStreamStatus, generation: Option<i64>, now: Timestamp) -> VideoStreamStatus {
    let message = "The stream has disappeared from AWS, with its footage; it is made again";
    let verdicts = not_there(Reason::StreamLost, message);
    VideoStreamStatus {
        observed_generation: generation,
        conditions: merge(&before.conditions, &verdicts, generation, now),
        stream_name: before.stream_name.clone(),
        account: before.account.clone(),
        region: before.region.clone(),
        ..VideoStreamStatus::default()
    }
}

fn locate(after: &mut VideoStreamStatus, desired: &Desired) {
    after.stream_name = Some(desired.name.clone());
    after.account = Some(desired.place.account.clone());
    after.region = Some(desired.place.region.clone());
}

fn record(after: &mut VideoStreamStatus, desired: &Desired, plan: &Plan, observed: Option<&Observed>) {
    locate(after, desired);
    after.pending_changes.clone_from(&plan.pending);
    let Some(observed) = observed.filter(|_| plan.ownership == Ownership::Ours) else { return };
    let info = &observed.info;
    after.stream_arn = Some(info.arn.clone());
    after.aws_status = Some(info.state.as_str().to_owned());
    after.version = Some(info.version.clone());
    after.creation_time = info.created.map(|created| Time(whole_seconds(created)));
    after.retention_hours = Some(info.retention_hours);
    // What the stream has of what we manage: our present keys, and old ones that are still on it.
    let mut managed: Vec<String> = desired.tags.keys().cloned().collect();
    let still_there = after.managed_tags.iter().filter(|key| observed.tags.contains_key(*key));
    managed.extend(still_there.cloned());
    managed.sort();
    managed.dedup();
    after.managed_tags = managed;
}

/// A condition of before, unless there was none.
fn kept(before: &VideoStreamStatus, type_: ConditionType) -> Verdict {
    let Some(condition) = find_condition(&before.conditions, type_.as_str()) else {
        return Verdict::new(type_, Truth::Unknown, Reason::Unknown.as_str(), "It is not known yet");
    };
    let status = match condition.status.as_str() {
        "True" => Truth::True,
        "False" => Truth::False,
        _ => Truth::Unknown,
    };
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
    Verdict::new(type_, status, reason.unwrap_or(&Reason::Unknown).as_str(), condition.message.clone())
}

fn refused(before: &VideoStreamStatus, refusal: &Refusal) -> Vec<Verdict> {
    let reason = refusal.reason.as_str();
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason, &refusal.message),
        Verdict::new(ConditionType::Synced, Truth::Unknown, reason, "The stream is left as it is"),
        kept(before, ConditionType::Owned),
    ]
}

fn failed(before: &VideoStreamStatus, error: &AwsError) -> Vec<Verdict> {
    let (reason, advice) = match error.kind {
        ErrorKind::Denied | ErrorKind::CredentialsRefused | ErrorKind::NoCredentials => {
            (Reason::AwsAccessDenied, "AWS refuses the operator's credentials or what they may do")
        }
        ErrorKind::Throttled => (Reason::AwsThrottled, "AWS asks for fewer calls; it is tried again"),
        ErrorKind::Unreachable => {
            (Reason::AwsUnreachable, "The KVS endpoint cannot be reached; it is tried again")
        }
        ErrorKind::Quota => (Reason::AwsQuotaExceeded, "A quota of the AWS account is used up"),
        ErrorKind::InUse | ErrorKind::VersionMismatch => {
            (Reason::ChangePending, "The stream is being changed by somebody else; it is tried again")
        }
        _ => (Reason::AwsError, "AWS refuses the call"),
    };
    let message = format!("{advice} ({error})");
    // A stream that was there is not gone because nobody answers.
    let ready = if before.stream_arn.is_some() { Truth::Unknown } else { Truth::False };
    vec![
        Verdict::new(ConditionType::Ready, ready, reason.as_str(), message.clone()),
        Verdict::new(ConditionType::Synced, Truth::Unknown, reason.as_str(), message),
        kept(before, ConditionType::Owned),
    ]
}

fn planned(
    before: &VideoStreamStatus,
    plan: &Plan,
    observed: Option<&Observed>,
    is_new: bool,
) -> Vec<Verdict> {
    match &plan.ownership {
        Ownership::Nobody => not_there(Reason::Creating, "The stream is being made"),
        Ownership::Other(whose) => {
            let message = format!(
                "A stream of this name exists, and {whose}: choose another spec.streamName, or tag the stream for this \
                 object, or delete it"
            );
            not_ours(Reason::OwnedByOther, &message)
        }
        Ownership::Replaced { recorded, found } => {
            let message = format!(
                "The stream of this name is another one than this object's: {found} instead of {recorded}. It is neither \
                 changed nor fed; to take it, delete this object and apply it again"
            );
            not_ours(Reason::IdentityChanged, &message)
        }
        Ownership::Ours => ours(before, plan, observed, is_new),
    }
}

fn not_there(reason: Reason, message: &str) -> Vec<Verdict> {
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message),
        Verdict::new(ConditionType::Synced, Truth::False, reason.as_str(), message),
        Verdict::new(ConditionType::Owned, Truth::Unknown, reason.as_str(), message),
    ]
}

fn not_ours(reason: Reason, message: &str) -> Vec<Verdict> {
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message),
        Verdict::new(ConditionType::Synced, Truth::Unknown, reason.as_str(), "The stream is left as it is"),
        Verdict::new(ConditionType::Owned, Truth::False, reason.as_str(), message),
    ]
}

fn ours(before: &VideoStreamStatus, plan: &Plan, observed: Option<&Observed>, is_new: bool) -> Vec<Verdict> {
    let state = observed.map_or(StreamState::Creating, |observed| observed.info.state);
    let synced = synced(state, &plan.pending);
    let (truth, reason, message) = match state {
        StreamState::Creating => (Truth::False, Reason::Creating, "The stream is being made".to_owned()),
        StreamState::Deleting => (
            Truth::False,
            Reason::Deleting,
            "The stream is being deleted in AWS; it is made again after that".to_owned(),
        ),
        StreamState::Active | StreamState::Updating if plan.pending.is_empty() => {
            (Truth::True, Reason::Active, "The stream is there and as the spec says".to_owned())
        }
        StreamState::Active | StreamState::Updating => {
            let reason =
                if has_blocked(&plan.pending) { Reason::ChangeBlocked } else { Reason::ChangePending };
            (Truth::False, reason, synced.message.clone())
        }
    };
    let is_known = before.stream_arn.is_some()
        && streamfleet_crds::types::is_true(&before.conditions, ConditionType::Owned.as_str());
    let owned = if is_new {
        let message = "This object made the stream";
        Verdict::new(ConditionType::Owned, Truth::True, Reason::Created.as_str(), message)
    } else if is_known {
        kept(before, ConditionType::Owned)
    } else {
        let message = "The stream was there before, and its tags say that it is this object's";
        Verdict::new(ConditionType::Owned, Truth::True, Reason::Adopted.as_str(), message)
    };
    vec![Verdict::new(ConditionType::Ready, truth, reason.as_str(), message), synced, owned]
}

fn has_blocked(pending: &[PendingChange]) -> bool {
    pending.iter().any(|change| change.blocked)
}

fn synced(state: StreamState, pending: &[PendingChange]) -> Verdict {
    if let Some(change) = pending.iter().find(|change| change.blocked) {
        let message = format!(
            "The stream keeps video for {} hours, the spec asks for {}: a decrease destroys older footage at once and is not \
             applied; to apply it, set spec.retentionDecreasePolicy to Allow",
            change.from, change.to
        );
        return Verdict::new(ConditionType::Synced, Truth::False, Reason::ChangeBlocked.as_str(), message);
    }
    let is_settled = state == StreamState::Active || state == StreamState::Updating;
    if pending.is_empty() && is_settled {
        let message = "The stream is as the spec says";
        return Verdict::new(ConditionType::Synced, Truth::True, Reason::InSync.as_str(), message);
    }
    let fields: Vec<&str> = pending.iter().map(|change| change.field.as_str()).collect();
    let message = if fields.is_empty() {
        format!("The stream is {}", state.as_str())
    } else {
        format!("To be changed: {}", fields.join(", "))
    };
    Verdict::new(ConditionType::Synced, Truth::False, Reason::ChangePending.as_str(), message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use streamfleet_crds::types::is_true;

    use super::super::plan::{Recorded, plan};
    use super::super::testing::{ARN, desired, observed};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reason(status: &VideoStreamStatus, type_: ConditionType) -> (String, String) {
        let condition = find_condition(&status.conditions, type_.as_str()).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }

    fn pair(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    /// The status of a stream that was made just now.
    fn made() -> VideoStreamStatus {
        let desired = desired(json!({}));
        let observed = observed(&desired);
        let plan = plan(&desired, Recorded::default(), Some(&observed));
        let outcome = Outcome::Planned(&desired, &plan, Some(&observed), true);
        status(&VideoStreamStatus::default(), &outcome, Some(1), at(1))
    }

    #[test]
    fn a_made_stream_is_recorded_and_ready() {
        let status = made();
        assert_eq!(status.stream_arn.as_deref(), Some(ARN));
        assert_eq!(status.managed_tags, ["team"]);
        assert_eq!(reason(&status, ConditionType::Ready), pair("True", "Active"));
        assert_eq!(reason(&status, ConditionType::Synced), pair("True", "InSync"));
        assert_eq!(reason(&status, ConditionType::Owned), pair("True", "Created"));
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let before = made();
        let desired = desired(json!({}));
        let observed = observed(&desired);
        let plan = plan(&desired, Recorded { arn: Some(ARN), managed_tags: &[] }, Some(&observed));
        let outcome = Outcome::Planned(&desired, &plan, Some(&observed), false);
        assert_eq!(status(&before, &outcome, Some(1), at(99)), before);
    }

    #[test]
    fn a_found_stream_is_adopted() {
        let desired = desired(json!({}));
        let observed = observed(&desired);
        let plan = plan(&desired, Recorded::default(), Some(&observed));
        let outcome = Outcome::Planned(&desired, &plan, Some(&observed), false);
        let status = status(&VideoStreamStatus::default(), &outcome, Some(1), at(1));
        assert_eq!(reason(&status, ConditionType::Owned), pair("True", "Adopted"));
    }

    #[test]
    fn a_blocked_decrease_says_from_what_to_what_and_how_to_allow_it() {
        let desired = desired(json!({ "retentionHours": 24 }));
        let mut observed = observed(&desired);
        observed.info.retention_hours = 168;
        let plan = plan(&desired, Recorded { arn: Some(ARN), managed_tags: &[] }, Some(&observed));
        let outcome = Outcome::Planned(&desired, &plan, Some(&observed), false);
        let status = status(&made(), &outcome, Some(2), at(2));
        assert_eq!(reason(&status, ConditionType::Synced), pair("False", "ChangeBlocked"));
        assert_eq!(reason(&status, ConditionType::Ready), pair("False", "ChangeBlocked"));
        let message = &find_condition(&status.conditions, "Synced").unwrap().message;
        for part in ["168", "24", "retentionDecreasePolicy", "Allow"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(status.retention_hours, Some(168));
    }

    #[test]
    fn a_stream_of_others_is_not_recorded() {
        let desired = desired(json!({}));
        let mut observed = observed(&desired);
        observed.tags.clear();
        let plan = plan(&desired, Recorded::default(), Some(&observed));
        let outcome = Outcome::Planned(&desired, &plan, Some(&observed), false);
        let status = status(&VideoStreamStatus::default(), &outcome, Some(1), at(1));
        assert_eq!(reason(&status, ConditionType::Owned), pair("False", "OwnedByOther"));
        assert_eq!(status.stream_arn, None);
    }

    #[test]
    fn errors_keep_what_is_known_and_have_a_reason_each() {
        let desired = desired(json!({}));
        let table = [
            (ErrorKind::Denied, "AwsAccessDenied"),
            (ErrorKind::Throttled, "AwsThrottled"),
            (ErrorKind::Unreachable, "AwsUnreachable"),
            (ErrorKind::Quota, "AwsQuotaExceeded"),
            (ErrorKind::Other, "AwsError"),
        ];
        for (kind, expected) in table {
            let error = AwsError { operation: "DescribeStream", kind, message: "text".to_owned() };
            let status = status(&made(), &Outcome::Failed(&desired, &error), Some(1), at(2));
            assert_eq!(reason(&status, ConditionType::Ready), pair("Unknown", expected));
            assert_eq!(reason(&status, ConditionType::Owned), pair("True", "Created"));
            assert_eq!(status.stream_arn.as_deref(), Some(ARN));
        }
    }

    #[test]
    fn a_refusal_leaves_the_stream_and_its_record() {
        let refusal = Refusal { reason: Reason::NamespaceNotAllowed, message: "no".to_owned() };
        let status = status(&made(), &Outcome::Refused(&refusal), Some(1), at(2));
        assert_eq!(reason(&status, ConditionType::Ready), pair("False", "NamespaceNotAllowed"));
        assert!(is_true(&status.conditions, "Owned"));
        assert_eq!(status.stream_arn.as_deref(), Some(ARN));
    }

    #[test]
    fn the_record_of_a_lost_stream_is_cleared() {
        let status = lost(&made(), Some(1), at(2));
        assert_eq!((status.stream_arn.as_deref(), status.managed_tags.len()), (None, 0));
        assert_eq!(reason(&status, ConditionType::Ready), pair("False", "StreamLost"));
    }
}
