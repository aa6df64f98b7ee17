//! What a `VideoStream`'s status says. Pure.

mod cost;
mod failure;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{AlarmStatus, ConditionType, Drift, VideoStreamReason as Reason, VideoStreamStatus};

use super::observed::View;
use super::plan::fields::{IMAGES, NOTIFICATION, fields, intended, synced_after, tag_field};
use super::plan::{Change, Ownership, Plan, Recorded, STREAM};
use super::validate::{Desired, Refusal};
use crate::aws::{AwsError, StreamState};
use crate::conditions::{Truth, Verdict, merge, whole_seconds};

pub use cost::warnings;
pub use failure::reason;

/// How a pass ended.
pub enum Outcome<'a> {
    /// Nothing was done: the class does not grant it.
    Refused(&'a Refusal),
    /// AWS was asked.
    Planned(Look<'a>),
    /// A call to AWS failed.
    Failed(&'a Desired, &'a AwsError),
}

/// What is known at the end of a pass.
pub struct Look<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What is left to be done.
    pub plan: &'a Plan,
    /// The stream as it was seen last.
    pub view: &'a View,
    /// Whether it was made in this pass.
    pub is_new: bool,
    /// A call that was refused.
    pub failure: Option<&'a AwsError>,
    /// What the settings cost that could be avoided.
    pub warnings: &'a [String],
    /// The request for a check that was acted on, or the one before it.
    pub check: Option<&'a str>,
}

/// How the alarms stand.
pub struct Alarms {
    /// `AlarmsReady`.
    pub verdict: Verdict,
    /// Each of them.
    pub statuses: Vec<AlarmStatus>,
}

/// The record in a status.
pub fn recorded(status: &VideoStreamStatus) -> Recorded<'_> {
    Recorded {
        arn: status.stream_arn.as_deref(),
        managed_tags: &status.managed_tags,
        synced: &status.last_synced,
    }
}

/// The status after a pass. `writer` is left out: it belongs to the claim. Without `alarms` they are as they were.
pub fn status(
    before: &VideoStreamStatus,
    outcome: &Outcome<'_>,
    alarms: Option<Alarms>,
    generation: Option<i64>,
    now: Timestamp,
) -> VideoStreamStatus {
    let mut after = VideoStreamStatus { observed_generation: generation, writer: None, ..before.clone() };
    let mut verdicts = match outcome {
        Outcome::Refused(refusal) => {
            after.pending_changes.clear();
            verdicts::refused(before, refusal)
        }
        Outcome::Planned(look) => {
            record(&mut after, before, look, now);
            verdicts::planned(before, look)
        }
        Outcome::Failed(desired, error) => {
            locate(&mut after, desired);
            failure::failed(before, error, generation)
        }
    };
    verdicts.extend(alarms_verdict(before, alarms.as_ref()));
    verdicts.extend(abnormal(&verdicts));
    after.conditions = merge(&before.conditions, &verdicts, generation, now);
    if let Some(alarms) = alarms {
        after.alarms = alarms.statuses;
    }
    after
}

/// The status before the first call of a pass: what is about to be done, and whatever it would have to be taken back by. The
/// conditions stay as they are, and so does the generation that they are about.
pub fn announced(
    before: &VideoStreamStatus,
    desired: &Desired,
    plan: &Plan,
    view: &View,
    now: Timestamp,
) -> VideoStreamStatus {
    let state = view.stream().map(|observed| observed.info.state);
    let mut after = VideoStreamStatus {
        writer: None,
        pending_changes: plan.changes.iter().filter_map(|change| change.pending(state)).collect(),
        drift: drift(&before.drift, &plan.changes, now),
        ..before.clone()
    };
    if let (Some(observed), Ownership::Ours) = (view.stream(), &plan.ownership) {
        let mut fields = fields(desired, &recorded(before), observed);
        // What is held back is not about to be set, and may be somebody else's.
        fields.retain(|field| !is_held(plan, &field.name));
        // Whose it is goes on record before anything is changed.
        after.stream_arn = Some(observed.info.arn.clone());
        locate(&mut after, desired);
        after.last_synced = intended(&fields, &recorded(before));
        let set = desired.tags.keys().filter(|key| !is_held(plan, &tag_field(key)));
        after.managed_tags = sorted(set.chain(&before.managed_tags));
    }
    after
}

/// The status of an object whose stream has disappeared: without the record of it.
pub fn lost(before: &VideoStreamStatus, generation: Option<i64>, now: Timestamp) -> VideoStreamStatus {
    let message = "The stream has disappeared from AWS, with its footage; it is made again";
    let mut verdicts = verdicts::not_there(Reason::StreamLost, message);
    verdicts.extend(alarms_verdict(before, None));
    verdicts.extend(abnormal(&verdicts));
    VideoStreamStatus {
        observed_generation: generation,
        conditions: merge(&before.conditions, &verdicts, generation, now),
        stream_name: before.stream_name.clone(),
        account: before.account.clone(),
        region: before.region.clone(),
        alarms: before.alarms.clone(),
        last_handled_check: before.last_handled_check.clone(),
        ..VideoStreamStatus::default()
    }
}

/// The status of an object that is being deleted, with what that waits for.
pub fn leaving(
    before: &VideoStreamStatus,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> VideoStreamStatus {
    let mut after = VideoStreamStatus { writer: None, ..before.clone() };
    let mut verdicts = vec![Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message)];
    verdicts.extend(abnormal(&verdicts));
    let of_ours = |type_: &str| {
        [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
            .iter()
            .any(|ours| ours.as_str() == type_)
    };
    let mut conditions = merge(&before.conditions, &verdicts, generation, now);
    conditions.extend(before.conditions.iter().filter(|condition| !of_ours(&condition.type_)).cloned());
    after.conditions = conditions;
    after
}

fn locate(after: &mut VideoStreamStatus, desired: &Desired) {
    after.stream_name = Some(desired.name.clone());
    after.account = Some(desired.place.account.clone());
    after.region = Some(desired.place.region.clone());
}

fn record(after: &mut VideoStreamStatus, before: &VideoStreamStatus, look: &Look<'_>, now: Timestamp) {
    locate(after, look.desired);
    let state = look.view.stream().map(|observed| observed.info.state);
    after.last_handled_check = look.check.map(ToOwned::to_owned);
    after.pending_changes = look.plan.changes.iter().filter_map(|change| change.pending(state)).collect();
    after.drift = drift(&before.drift, &look.plan.changes, now);
    let Some(observed) = look.view.stream().filter(|_| is_looked_after(look)) else { return };
    let info = &observed.info;
    after.aws_status = Some(info.state.as_str().to_owned());
    after.version = Some(info.version.clone()).filter(|version| !version.is_empty());
    after.creation_time = info.created.map(|created| Time(whole_seconds(created)));
    after.retention_hours = Some(info.retention_hours);
    if info.state == StreamState::Deleting {
        return;
    }
    after.storage_tier = Some(observed.settings.storage_tier);
    let recorded = recorded(before);
    after.last_synced = synced_after(&fields(look.desired, &recorded, observed), &recorded);
    if is_left_alone(look.desired) {
        // In the record they are ours to take away.
        after.last_synced.retain(|key, _| {
            ![IMAGES, NOTIFICATION].contains(&&**key) || before.last_synced.contains_key(key)
        });
    }
    if look.plan.ownership == Ownership::Ours {
        after.stream_arn = Some(info.arn.clone());
        after.managed_tags = managed_tags(before, look, observed.tags());
    }
}

/// The keys of the tags that are this object's to take away again: those on record that are on the stream, or are about to be; and
/// those that are on it as they are asked for, as after a restore without a status. What is there as asked for while nothing is
/// changed was not set by this object: it may be somebody else's, and stays that when it is no longer asked for.
fn managed_tags(before: &VideoStreamStatus, look: &Look<'_>, tags: &BTreeMap<String, String>) -> Vec<String> {
    let is_to_come = |key: &str| {
        let field = tag_field(key);
        look.plan.changes.iter().any(|change| change.field == field && change.hold.is_none())
    };
    let known = before.managed_tags.iter().filter(|key| tags.contains_key(*key) || is_to_come(key));
    let as_asked_for = look.desired.tags.iter().filter(|(key, value)| tags.get(*key) == Some(*value));
    let as_asked_for = as_asked_for.map(|(key, _)| key).filter(|_| !is_left_alone(look.desired));
    sorted(as_asked_for.chain(known))
}

/// Whether nothing at all is changed about the stream.
fn is_left_alone(desired: &Desired) -> bool {
    desired.suspend || verdicts::is_observed(desired)
}

/// Whether the change of a field is held back.
fn is_held(plan: &Plan, field: &str) -> bool {
    plan.changes.iter().any(|change| change.field == field && change.hold.is_some())
}

/// Whether what is seen is told: it is ours, or only looked at.
fn is_looked_after(look: &Look<'_>) -> bool {
    match look.plan.ownership {
        Ownership::Ours | Ownership::Adoptable => true,
        Ownership::Refused(_) => verdicts::is_observed(look.desired),
        Ownership::Nobody | Ownership::Leaving | Ownership::Other(_) | Ownership::Replaced { .. } => false,
    }
}

fn sorted<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut keys: Vec<String> = keys.cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What others have changed. Since when is kept as long as the field differs.
fn drift(before: &[Drift], changes: &[Change], now: Timestamp) -> Vec<Drift> {
    let mut drift: Vec<Drift> = changes
        .iter()
        .filter(|change| change.is_drift)
        .map(|change| Drift {
            field: change.field.clone(),
            desired: change.to.clone(),
            observed: change.from.clone(),
            since: before
                .iter()
                .find(|known| known.field == change.field)
                .map_or_else(|| Time(whole_seconds(now)), |known| known.since.clone()),
        })
        .collect();
    drift.sort_by(|one, other| one.field.cmp(&other.field));
    drift
}

fn alarms_verdict(before: &VideoStreamStatus, alarms: Option<&Alarms>) -> Option<Verdict> {
    match alarms {
        Some(alarms) => Some(alarms.verdict.clone()),
        None => find_condition(&before.conditions, ConditionType::AlarmsReady.as_str())
            .map(|_| verdicts::kept(before, ConditionType::AlarmsReady)),
    }
}

/// `Reconciling` or `Stalled`, for tools that go by these: only where something goes on, or is stuck.
fn abnormal(verdicts: &[Verdict]) -> Option<Verdict> {
    let ready = verdicts.iter().find(|verdict| verdict.type_ == ConditionType::Ready)?;
    if ready.status == Truth::True {
        return None;
    }
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == ready.reason)?;
    let type_ = match reason {
        Reason::Unknown => return None,
        Reason::Creating
        | Reason::Deleting
        | Reason::ChangePending
        | Reason::StreamLost
        | Reason::AwsThrottled
        | Reason::AwsUnreachable
        | Reason::AwsError => ConditionType::Reconciling,
        _ => ConditionType::Stalled,
    };
    Some(Verdict { type_, status: Truth::True, ..ready.clone() })
}

/// Whether the loss of the stream is left as it is.
fn is_loss_held(plan: &Plan) -> bool {
    plan.is_lost && plan.changes.iter().any(|change| change.field == STREAM && change.hold.is_some())
}
