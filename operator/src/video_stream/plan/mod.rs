//! What has to be done so that a stream becomes what its object asks for. Pure: from what is wanted, what is recorded and what
//! is seen follow the differences, and the calls that may be made now.
//!
//! Calls are made one at a time, and the stream is read again after each: so at most one change is in flight, and the next is
//! computed from what came of it.

pub mod fields;
#[cfg(test)]
mod model;
mod ownership;
#[cfg(test)]
mod properties;
pub mod retention;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use streamfleet_crds::{DriftPolicy, ManagementPolicy, PendingChange, PendingWhy};

use super::observed::{Fence, Observed, View};
use super::validate::Desired;
use crate::aws::{NewStream, StreamState, StreamUpdate};
use fields::{DEVICE_NAME, Field, IMAGES, KMS_KEY, MEDIA_TYPE, NOTIFICATION, RETENTION, TIER};
pub use fields::{OWNER, owner_print};
use ownership::ownership;
pub use ownership::{Ownership, contradicts, successor, taken_over};
use retention::{Guarded, guard};
pub use step::{Call, Step};

/// The name under which it is told that there is no stream.
pub const STREAM: &str = "stream";

/// What the object's status has recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded<'a> {
    /// The ARN of its stream.
    pub arn: Option<&'a str>,
    /// The keys of the tags that it has put on the stream.
    pub managed_tags: &'a [String],
    /// What the stream was last seen to fulfil: a hash of the wish by field.
    pub synced: &'a BTreeMap<String, String>,
}

impl Recorded<'_> {
    /// Whether the stream was once seen with all ownership tags.
    pub fn was_owned(&self) -> bool {
        self.synced.contains_key(OWNER)
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `spec.suspend`.
    Suspended,
    /// `managementPolicy: Observe`.
    Observe,
    /// `driftPolicy: Report`, and it would take back what somebody else did.
    Report,
    /// It would destroy footage, and `retentionDecreasePolicy` is `Deny`.
    Consent,
    /// It needs a retention, and none is asked for, or the stream is not to get the one that is.
    NoRetention,
    /// The service has no way to change it.
    Immutable,
}

/// A difference between what is wanted and what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field.
    pub field: String,
    /// What it is.
    pub from: String,
    /// What it is to be.
    pub to: String,
    /// The operation that changes it.
    pub operation: &'static str,
    /// Whether that destroys footage.
    pub is_destructive: bool,
    /// Whether it would be held back for that reason alone.
    pub needs_consent: bool,
    /// Whether somebody else has made the difference.
    pub is_drift: bool,
    /// Why it is not made, if it is not.
    pub hold: Option<Hold>,
}

impl Change {
    /// As it stands in the status. What cannot be changed at all is no pending change.
    pub fn pending(&self, state: Option<StreamState>) -> Option<PendingChange> {
        let why = match self.hold {
            Some(Hold::Suspended) => Some(PendingWhy::Suspended),
            Some(Hold::Observe) => Some(PendingWhy::Observe),
            Some(Hold::Report) => Some(PendingWhy::Report),
            Some(Hold::Consent | Hold::NoRetention) => Some(PendingWhy::Blocked),
            Some(Hold::Immutable) => return None,
            None if state.is_some_and(|state| state != StreamState::Active) => Some(PendingWhy::InProgress),
            None => None,
        };
        Some(PendingChange {
            field: self.field.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            operation: self.operation.to_owned(),
            destructive: self.is_destructive,
            blocked: self.needs_consent,
            why,
        })
    }
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whose the stream is.
    pub ownership: Ownership,
    /// The recorded stream is gone.
    pub is_lost: bool,
    /// Every difference, those that are not going to be changed among them.
    pub changes: Vec<Change>,
    /// Whether there is something to be done, for which a fresh read may be needed first.
    pub has_work: bool,
    /// The calls in their order, of which the first is to be made. There are none where the stream was not read in this pass.
    pub steps: Vec<Step>,
}

impl Plan {
    fn idle(ownership: Ownership) -> Self {
        Self { ownership, is_lost: false, changes: Vec::new(), has_work: false, steps: Vec::new() }
    }

    /// Whether any difference is held back for this reason.
    pub fn is_held(&self, hold: Hold) -> bool {
        self.changes.iter().any(|change| change.hold == Some(hold))
    }
}

/// Decides.
pub fn plan(desired: &Desired, recorded: &Recorded<'_>, view: &View) -> Plan {
    let observed = match view {
        View::Absent(_) => return plan_absent(desired, recorded, view),
        View::Present(observed) => observed,
    };
    if observed.info.state == StreamState::Deleting {
        // Its tags can no longer be read; the record tells.
        let is_ours = recorded.arn == Some(observed.info.arn.as_str());
        return Plan::idle(if is_ours { Ownership::Ours } else { Ownership::Leaving });
    }
    let ownership =
        ownership(&desired.owner, desired.adoption, recorded, &observed.info.arn, observed.tags());
    let is_looked_at = match &ownership {
        Ownership::Ours | Ownership::Adoptable => true,
        // What would be changed is told also of a stream that may not be taken over.
        Ownership::Refused(_) => desired.management == ManagementPolicy::Observe,
        Ownership::Nobody | Ownership::Leaving | Ownership::Other(_) | Ownership::Replaced { .. } => false,
    };
    if !is_looked_at {
        return Plan::idle(ownership);
    }
    let fields = fields::fields(desired, recorded, observed);
    let mut changes: Vec<Change> =
        fields.iter().filter(|field| field.differs).map(|field| change(desired, recorded, field)).collect();
    hold_without_retention(desired, observed, &fields, &mut changes);
    let calls = if observed.info.state == StreamState::Active {
        calls(desired, observed, &fields, &changes)
    } else {
        Vec::new()
    };
    let steps = |fence: Fence| calls.iter().cloned().map(|call| Step::Change(fence.clone(), call)).collect();
    let steps: Vec<Step> = observed.fence().map(steps).unwrap_or_default();
    Plan { ownership, is_lost: false, changes, has_work: !calls.is_empty(), steps }
}

fn plan_absent(desired: &Desired, recorded: &Recorded<'_>, view: &View) -> Plan {
    let is_lost = recorded.arn.is_some();
    let hold = hold(desired, is_lost);
    let change = Change {
        field: STREAM.to_owned(),
        from: "absent".to_owned(),
        to: "present".to_owned(),
        operation: "CreateStream",
        is_destructive: false,
        needs_consent: false,
        is_drift: is_lost,
        hold,
    };
    // With the old ARN still on record, a crash after the call would leave a stream that looks like somebody else's.
    let may_create = hold.is_none() && !is_lost;
    let create = |vacancy| Step::Create(vacancy, new_stream(desired));
    let steps = view.vacancy().filter(|_| may_create).map(create).into_iter().collect();
    Plan { ownership: Ownership::Nobody, is_lost, changes: vec![change], has_work: hold.is_none(), steps }
}

/// The stream as it is made: with its owner in the same call, so that there is no moment without one.
fn new_stream(desired: &Desired) -> NewStream {
    let mut tags = desired.tags.clone();
    tags.extend(desired.owner.tags());
    NewStream {
        name: desired.name.clone(),
        retention_hours: desired.retention_hours,
        tags,
        kms_key_id: desired.kms_key_id.clone(),
        media_type: desired.media_type.clone(),
        device_name: desired.device_name.clone(),
        storage_tier: Some(desired.storage_tier),
    }
}

/// Why nothing, or nothing of this kind, is changed.
fn hold(desired: &Desired, is_drift: bool) -> Option<Hold> {
    if desired.suspend {
        return Some(Hold::Suspended);
    }
    match (desired.management, desired.drift) {
        (ManagementPolicy::Observe, _) => Some(Hold::Observe),
        (ManagementPolicy::Manage, DriftPolicy::Report) if is_drift => Some(Hold::Report),
        (ManagementPolicy::Manage, DriftPolicy::Report | DriftPolicy::Correct) => None,
    }
}

fn change(desired: &Desired, recorded: &Recorded<'_>, field: &Field) -> Change {
    let is_drift = field.is_drift(recorded);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut change = Change {
        field: field.name.clone(),
        from: text(&field.found),
        to: text(&field.wanted),
        operation: operation(field),
        is_destructive: false,
        needs_consent: false,
        is_drift,
        hold: hold(desired, is_drift),
    };
    match field.name.as_str() {
        RETENTION => {
            let (from, to) = (hours(field.found.as_deref()), desired.retention_hours);
            change.is_destructive = to < from;
            change.needs_consent = guard(from, to, desired.decrease) == Guarded::Blocked;
            if change.needs_consent {
                change.hold = change.hold.or(Some(Hold::Consent));
            }
        }
        KMS_KEY => {
            change.is_drift = true;
            change.hold = Some(Hold::Immutable);
        }
        _ => {}
    }
    change
}

/// What needs a retention waits where none is asked for, and as long as the stream has none and gets none.
fn hold_without_retention(desired: &Desired, observed: &Observed, fields: &[Field], changes: &mut [Change]) {
    let gets_one = changes.iter().any(|change| change.field == RETENTION && change.hold.is_none());
    if desired.retention_hours > 0 && (observed.info.retention_hours > 0 || gets_one) {
        return;
    }
    let is_wanted = |name: &str| fields.iter().any(|field| field.name == name && field.wanted.is_some());
    for change in changes {
        if matches!(change.field.as_str(), IMAGES | NOTIFICATION) && is_wanted(&change.field) {
            change.hold = change.hold.or(Some(Hold::NoRetention));
        }
    }
}

fn hours(text: Option<&str>) -> i32 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn operation(field: &Field) -> &'static str {
    match field.name.as_str() {
        RETENTION => "UpdateDataRetention",
        TIER => "UpdateStreamStorageConfiguration",
        MEDIA_TYPE | DEVICE_NAME => "UpdateStream",
        IMAGES => "UpdateImageGenerationConfiguration",
        NOTIFICATION => "UpdateNotificationConfiguration",
        KMS_KEY => "",
        _ if field.wanted.is_some() => "TagStream",
        _ => "UntagStream",
    }
}

/// The calls for the changes that are not held back, in their order:
///
/// 1. the ownership tags alone, so that of two who find a stream without an owner only one goes on;
/// 2. what is to be taken away, since a stream holds at most 50 tags, and a retention of 0 goes with no images;
/// 3. what goes under the version: whether the others give a stream a new one is not documented;
/// 4. the rest.
fn calls(desired: &Desired, observed: &Observed, fields: &[Field], changes: &[Change]) -> Vec<Call> {
    let open: Vec<&Field> = fields
        .iter()
        .filter(|field| changes.iter().any(|change| change.field == field.name && change.hold.is_none()))
        .collect();
    let is_open = |name: &str| open.iter().any(|field| field.name == name);
    let owner: BTreeMap<String, String> =
        open.iter().filter(|field| field.key == OWNER).filter_map(|field| tag(field)).collect();
    if !owner.is_empty() {
        return vec![Call::Tag(owner)];
    }
    let tags: Vec<&Field> = open.iter().copied().filter(|field| tag_key(field).is_some()).collect();
    let off: Vec<String> =
        tags.iter().filter(|field| field.wanted.is_none()).filter_map(|field| tag_key(field)).collect();
    let on: BTreeMap<String, String> = tags.iter().filter_map(|field| tag(field)).collect();
    let (images, notification) = (&desired.image_generation, &desired.notification);
    // Refused with `NoDataRetentionException` as long as the stream keeps nothing.
    let keeps = observed.info.retention_hours > 0;

    let mut calls = Vec::new();
    calls.extend((is_open(IMAGES) && images.is_none()).then_some(Call::Images(None)));
    calls.extend((is_open(NOTIFICATION) && notification.is_none()).then_some(Call::Notify(None)));
    calls.extend((!off.is_empty()).then_some(Call::Untag(off)));
    if is_open(RETENTION)
        && let Guarded::May(step) =
            guard(observed.info.retention_hours, desired.retention_hours, desired.decrease)
    {
        calls.push(Call::Retention(step));
    }
    if is_open(MEDIA_TYPE) || is_open(DEVICE_NAME) {
        calls.push(Call::Update(update(desired, observed, &is_open)));
    }
    calls.extend(is_open(TIER).then_some(Call::Tier(desired.storage_tier)));
    calls.extend((!on.is_empty()).then_some(Call::Tag(on)));
    calls.extend((is_open(IMAGES) && images.is_some() && keeps).then(|| Call::Images(images.clone())));
    calls.extend(
        (is_open(NOTIFICATION) && notification.is_some() && keeps)
            .then(|| Call::Notify(notification.clone())),
    );
    calls
}

/// Both values always: what becomes of one that is left out is not documented.
fn update(desired: &Desired, observed: &Observed, is_open: &dyn Fn(&str) -> bool) -> StreamUpdate {
    let info = &observed.info;
    let value = |name, wanted: &Option<String>, found: &Option<String>| {
        if is_open(name) { wanted.clone() } else { found.clone() }
    };
    StreamUpdate {
        device_name: value(DEVICE_NAME, &desired.device_name, &info.device_name),
        media_type: value(MEDIA_TYPE, &desired.media_type, &info.media_type),
    }
}

fn tag_key(field: &Field) -> Option<String> {
    field.name.strip_prefix("tags[").and_then(|rest| rest.strip_suffix(']')).map(ToOwned::to_owned)
}

fn tag(field: &Field) -> Option<(String, String)> {
    Some((tag_key(field)?, field.wanted.clone()?))
}
