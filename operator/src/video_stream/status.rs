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
    /// AWS was asked, and this was left to do.
    Planned(&'a Desired, &'a Plan, Option<&'a Observed>),
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
        Outcome::Planned(desired, plan, observed) => {
            record(&mut after, desired, plan, *observed);
            planned(before, plan, *observed)
        }
        Outcome::Failed(desired, error) => {
            locate(&mut after, desired);
            failed(before, error)
        }
    };
    after.conditions = merge(&before.conditions, &verdicts, generation, now);
    after
}

/// The status of an object whose record of its stream is cleared, before another stream is made.
pub fn cleared(before: &VideoStreamStatus) -> VideoStreamStatus {
    VideoStreamStatus {
        stream_arn: None,
        aws_status: None,
        version: None,
        creation_time: None,
        retention_hours: None,
        managed_tags: Vec::new(),
        writer: None,
        ..before.clone()
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
        ErrorKind::Denied | ErrorKind::NoCredentials => {
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
        ErrorKind::NotFound | ErrorKind::InvalidCaBundle | ErrorKind::Other => {
            (Reason::AwsError, "AWS refuses the call")
        }
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

fn planned(before: &VideoStreamStatus, plan: &Plan, observed: Option<&Observed>) -> Vec<Verdict> {
    match &plan.ownership {
        Ownership::Nobody => not_there(plan.is_lost),
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
        Ownership::Ours => ours(before, plan, observed),
    }
}

fn not_there(is_lost: bool) -> Vec<Verdict> {
    let (reason, message) = if is_lost {
        (Reason::StreamLost, "The stream has disappeared from AWS, with its footage; it is made again")
    } else {
        (Reason::Creating, "The stream is being made")
    };
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

fn ours(before: &VideoStreamStatus, plan: &Plan, observed: Option<&Observed>) -> Vec<Verdict> {
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
    let owned = match find_condition(&before.conditions, ConditionType::Owned.as_str()) {
        Some(condition) if condition.status == "True" && before.stream_arn.is_some() => {
            kept(before, ConditionType::Owned)
        }
        _ => Verdict::new(
            ConditionType::Owned,
            Truth::True,
            Reason::Adopted.as_str(),
            "The stream was there before, and its tags say that it is this object's",
        ),
    };
    vec![Verdict::new(ConditionType::Ready, truth, reason.as_str(), message), synced, owned]
}

/// The condition that says that this object made its stream.
pub fn created() -> Verdict {
    let message = "This object made the stream";
    Verdict::new(ConditionType::Owned, Truth::True, Reason::Created.as_str(), message)
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
