//! `Ready`, `Synced` and `Owned` of a stream that was looked at. Pure.

use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{
    ConditionType, DriftPolicy, ManagementPolicy, RetentionDecreasePolicy, VideoStreamReason as Reason,
    VideoStreamStatus,
};

use super::failure::refused_call;
use super::{Look, is_loss_held};
use crate::aws::StreamState;
use crate::conditions::{Truth, Verdict};
use crate::video_stream::plan::fields::RETENTION;
use crate::video_stream::plan::{Change, Hold, Ownership};
use crate::video_stream::validate::{Desired, Refusal};

/// So many fields are named in a message.
const FIELDS_NAMED: usize = 12;
/// What to do about a name: it cannot be changed, nor given to an object that has none.
const ANOTHER_NAME: &str = "delete this object and make it again with another spec.streamName";
/// That a stream is nobody's as yet.
const NOT_YET_OURS: &str = "The stream is there, but not this object's until spec.suspend is false";

/// A condition of before, unless there was none.
pub fn kept(before: &VideoStreamStatus, type_: ConditionType) -> Verdict {
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

/// Where the class does not grant what is asked for.
pub fn refused(before: &VideoStreamStatus, refusal: &Refusal) -> Vec<Verdict> {
    let reason = refusal.reason.as_str();
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason, &refusal.message),
        Verdict::new(ConditionType::Synced, Truth::Unknown, reason, "The stream is left as it is"),
        kept(before, ConditionType::Owned),
    ]
}

/// Where there is no stream.
pub fn not_there(reason: Reason, message: &str) -> Vec<Verdict> {
    three(reason, message, (Truth::False, Truth::Unknown))
}

/// `Ready` is False with this reason, and so are `Synced` and `Owned` in their way.
fn three(reason: Reason, message: &str, (synced, owned): (Truth, Truth)) -> Vec<Verdict> {
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message),
        Verdict::new(ConditionType::Synced, synced, reason.as_str(), message),
        Verdict::new(ConditionType::Owned, owned, reason.as_str(), message),
    ]
}

/// Whether the stream is only looked at.
pub fn is_observed(desired: &Desired) -> bool {
    desired.management == ManagementPolicy::Observe
}

/// The verdicts after a look.
pub fn planned(before: &VideoStreamStatus, look: &Look<'_>) -> Vec<Verdict> {
    match &look.plan.ownership {
        Ownership::Nobody => absent(look),
        Ownership::Leaving => {
            let message = match to_have_it_made(look.desired, before.stream_arn.is_some()) {
                None => "A stream of this name is being deleted; one is made after that".to_owned(),
                Some(settings) => format!(
                    "A stream of this name is being deleted, and none is made after that: to have one made, set {settings}"
                ),
            };
            not_there(Reason::Deleting, &message)
        }
        Ownership::Other(whose) => {
            let message = format!(
                "A stream of this name exists, and {whose}: have its owner give it up, or {ANOTHER_NAME}"
            );
            not_ours(Reason::OwnedByOther, &message)
        }
        Ownership::Refused(_) | Ownership::Adoptable if is_observed(look.desired) => observed_only(look),
        Ownership::Refused(whose) => {
            let message = format!(
                "A stream of this name exists, and {whose}; adoptionPolicy {:?} does not let this object take it: set \
                 spec.adoptionPolicy to {}, or {ANOTHER_NAME}",
                look.desired.adoption,
                if whose.contains("no owner") { "IfUnowned" } else { "IfOwned" }
            );
            not_ours(Reason::AdoptionRefused, &message)
        }
        Ownership::Replaced { recorded, found } => {
            let message = format!(
                "This object's stream was deleted, and another one was made under its name, which is neither changed nor \
                 written: to take that, delete this object and apply it again ({found} instead of {recorded})"
            );
            not_ours(Reason::IdentityChanged, &message)
        }
        Ownership::Adoptable | Ownership::Ours => ours(before, look),
    }
}

fn absent(look: &Look<'_>) -> Vec<Verdict> {
    if let Some(error) = look.failure {
        let (reason, message) = refused_call(error);
        return not_there(reason, &message);
    }
    let settings = to_have_it_made(look.desired, look.plan.is_lost).unwrap_or_default();
    if is_loss_held(look.plan) {
        let message = format!(
            "The stream has disappeared from AWS, with its footage, and is not made again: to have it made, set {settings}"
        );
        return not_there(Reason::StreamLost, &message);
    }
    if look.plan.is_held(Hold::Suspended) {
        let message = format!("There is no stream yet: to have it made, set {settings}");
        return not_there(Reason::Suspended, &message);
    }
    if look.plan.is_held(Hold::Observe) {
        let message = format!(
            "There is no stream {}: to have one made, set {settings}; to look at another, {ANOTHER_NAME}",
            look.desired.name
        );
        return not_there(Reason::StreamNotFound, &message);
    }
    three(Reason::Creating, "The stream is being made", (Truth::False, Truth::Unknown))
}

/// What has to be set before a stream is made where there is none; `None` where nothing keeps it from that. `is_lost` is whether
/// this object had one.
fn to_have_it_made(desired: &Desired, is_lost: bool) -> Option<String> {
    let is_left_lost = is_lost && desired.drift == DriftPolicy::Report;
    let settings: Vec<&str> = [
        (desired.suspend, "spec.suspend to false"),
        (is_observed(desired), "spec.managementPolicy to Manage"),
        (is_left_lost, "spec.driftPolicy to Correct"),
    ]
    .into_iter()
    .filter_map(|(holds, setting)| holds.then_some(setting))
    .collect();
    (!settings.is_empty()).then(|| settings.join(" and "))
}

fn not_ours(reason: Reason, message: &str) -> Vec<Verdict> {
    vec![
        Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message),
        Verdict::new(ConditionType::Synced, Truth::Unknown, reason.as_str(), "The stream is left as it is"),
        Verdict::new(ConditionType::Owned, Truth::False, reason.as_str(), message),
    ]
}

/// A stream without an owner that is only looked at.
fn observed_only(look: &Look<'_>) -> Vec<Verdict> {
    let message = "The stream names this object nowhere as its owner, and is only observed: no Camera can write it before \
                   spec.managementPolicy is Manage, and spec.adoptionPolicy lets this object take it";
    vec![
        ready(look),
        synced(look),
        Verdict::new(ConditionType::Owned, Truth::False, Reason::Observing.as_str(), message),
    ]
}

fn ours(before: &VideoStreamStatus, look: &Look<'_>) -> Vec<Verdict> {
    let is_known = before.stream_arn.is_some() && is_true(&before.conditions, ConditionType::Owned.as_str());
    let owned = if is_waiting_to_be_ours(look) {
        Verdict::new(ConditionType::Owned, Truth::False, Reason::Suspended.as_str(), NOT_YET_OURS)
    } else if look.plan.ownership == Ownership::Adoptable {
        let message = "The stream names no owner; it is this object's once it has its tags";
        Verdict::new(ConditionType::Owned, Truth::False, Reason::ChangePending.as_str(), message)
    } else if look.is_new {
        let message = "This object made the stream";
        Verdict::new(ConditionType::Owned, Truth::True, Reason::Created.as_str(), message)
    } else if is_known {
        kept(before, ConditionType::Owned)
    } else {
        let message = "The stream was there before, and its tags say that it is this object's";
        Verdict::new(ConditionType::Owned, Truth::True, Reason::Adopted.as_str(), message)
    };
    vec![ready(look), synced(look), owned]
}

/// Whether the stream is nobody's, and not taken over while nothing is changed.
fn is_waiting_to_be_ours(look: &Look<'_>) -> bool {
    look.plan.ownership == Ownership::Adoptable && look.desired.suspend && !is_observed(look.desired)
}

fn state(look: &Look<'_>) -> StreamState {
    look.view.stream().map_or(StreamState::Creating, |observed| observed.info.state)
}

fn ready(look: &Look<'_>) -> Verdict {
    let verdict = |truth, reason: Reason, message: String| {
        Verdict::new(ConditionType::Ready, truth, reason.as_str(), message)
    };
    match state(look) {
        StreamState::Creating => {
            return verdict(Truth::False, Reason::Creating, "The stream is being made".to_owned());
        }
        StreamState::Deleting => {
            // By its record it is this object's: its loss follows.
            let message = match to_have_it_made(look.desired, true) {
                None => "The stream is being deleted in AWS; it is made again after that".to_owned(),
                Some(settings) => format!(
                    "The stream is being deleted in AWS, and is not made again after that: to have it made, set {settings}"
                ),
            };
            return verdict(Truth::False, Reason::Deleting, message);
        }
        StreamState::Active | StreamState::Updating => {}
    }
    if let Some(error) = look.failure {
        let (reason, message) = refused_call(error);
        return verdict(Truth::False, reason, message);
    }
    if is_waiting_to_be_ours(look) {
        return verdict(Truth::False, Reason::Suspended, NOT_YET_OURS.to_owned());
    }
    if look.desired.suspend {
        let message = "The stream is there; spec.suspend is set: nothing is changed, and alarms tell nobody";
        return verdict(Truth::True, Reason::Suspended, message.to_owned());
    }
    if is_observed(look.desired) {
        let message = "The stream is there; spec.managementPolicy is Observe: nothing is changed";
        return verdict(Truth::True, Reason::Observing, message.to_owned());
    }
    match difference(look) {
        None => verdict(Truth::True, Reason::Active, "The stream is there and as the spec says".to_owned()),
        Some((reason, message)) => verdict(Truth::False, reason, message),
    }
}

fn synced(look: &Look<'_>) -> Verdict {
    let verdict = |truth, reason: Reason, message: String| {
        Verdict::new(ConditionType::Synced, truth, reason.as_str(), message)
    };
    if let Some(error) = look.failure {
        let (reason, message) = refused_call(error);
        return verdict(Truth::False, reason, message);
    }
    let state = state(look);
    if let Some((reason, message)) = difference(look) {
        return verdict(Truth::False, reason, message);
    }
    if matches!(state, StreamState::Creating | StreamState::Deleting) {
        return verdict(Truth::False, Reason::ChangePending, format!("The stream is {}", state.as_str()));
    }
    let mut message = "The stream is as the spec says".to_owned();
    for warning in look.warnings {
        message.push_str(". ");
        message.push_str(warning);
    }
    verdict(Truth::True, Reason::InSync, message)
}

/// The most pressing of what keeps the stream from being as the spec says.
fn difference(look: &Look<'_>) -> Option<(Reason, String)> {
    let changes = &look.plan.changes;
    let held =
        |hold: Hold| -> Vec<&Change> { changes.iter().filter(|change| change.hold == Some(hold)).collect() };
    let found = |hold| Some(held(hold)).filter(|held| !held.is_empty());
    if let Some(held) = found(Hold::Suspended) {
        return Some((
            Reason::Suspended,
            format!("Not changed, since spec.suspend is set: {}", names(&held)),
        ));
    }
    if let Some(held) = found(Hold::Observe) {
        let text = format!("Not changed, since spec.managementPolicy is Observe: {}", names(&held));
        return Some((Reason::Observing, text));
    }
    if let Some(held) = found(Hold::Immutable) {
        return Some((Reason::KmsKeyDiffers, immutable(&held)));
    }
    if let Some(held) = found(Hold::Consent) {
        return Some((Reason::ChangeBlocked, blocked(&held)));
    }
    // Where a retention is asked for and held, what holds it says more.
    if look.desired.retention_hours == 0
        && let Some(held) = found(Hold::NoRetention)
    {
        let text = format!(
            "{} cannot be set, since the stream is to keep nothing: set spec.retentionHours to at least 1, or remove it",
            names(&held)
        );
        return Some((Reason::NoRetention, text));
    }
    if let Some(held) = found(Hold::Report) {
        return Some((Reason::DriftReported, reported(look.desired, &held)));
    }
    let open: Vec<&Change> = changes.iter().filter(|change| change.hold.is_none()).collect();
    (!open.is_empty()).then(|| (Reason::ChangePending, format!("To be changed: {}", names(&open))))
}

fn names(changes: &[&Change]) -> String {
    let mut names: Vec<&str> =
        changes.iter().take(FIELDS_NAMED).map(|change| change.field.as_str()).collect();
    if changes.len() > FIELDS_NAMED {
        names.push("and others");
    }
    names.join(", ")
}

fn immutable(changes: &[&Change]) -> String {
    let text = |change: &&&Change| {
        format!(
            "The stream is encrypted with KMS key {}, the spec asks for {}, and the key of a stream cannot be changed: make \
             another object for a stream with the other key; or set spec.deletionPolicy to Retain, so that the stream stays, \
             delete this object, and make it again with the stream's key as spec.kmsKeyID",
            change.from, change.to
        )
    };
    changes.iter().take(1).map(|change| text(&change)).collect()
}

fn blocked(changes: &[&Change]) -> String {
    let text = |change: &&&Change| {
        format!(
            "The stream keeps video for {} hours, the spec asks for {}: a decrease destroys older footage at once and is not \
             applied; to apply it, set spec.retentionDecreasePolicy to Allow",
            change.from, change.to
        )
    };
    changes.iter().take(1).map(|change| text(&change)).collect()
}

fn reported(desired: &Desired, changes: &[&Change]) -> String {
    let mut text = format!(
        "Somebody else has changed {}, which status.drift shows and driftPolicy Report leaves: change the spec to match, or \
         set spec.driftPolicy to Correct",
        names(changes)
    );
    let is_decrease = changes.iter().any(|change| change.field == RETENTION && change.is_destructive);
    if is_decrease && desired.decrease == RetentionDecreasePolicy::Deny {
        text.push_str(" and spec.retentionDecreasePolicy to Allow");
    }
    text
}
