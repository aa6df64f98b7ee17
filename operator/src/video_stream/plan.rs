//! What has to be done so that a stream becomes what its object asks for. Pure: a table of what is wanted, what is recorded
//! and what is, with what follows.

use std::collections::BTreeMap;

use streamfleet_crds::{PendingChange, RetentionDecreasePolicy, ownership_tags};

use super::validate::Desired;
use crate::aws::{NewStream, RetentionChange, StreamInfo, StreamState, describe_owner};

/// What the service says about a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its description.
    pub info: StreamInfo,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What the object's status has recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded<'a> {
    /// The ARN of its stream.
    pub arn: Option<&'a str>,
    /// The keys of the tags that it has put on the stream.
    pub managed_tags: &'a [String],
}

/// A call that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamAction {
    /// Make the stream.
    Create(NewStream),
    /// Change its retention, under the version that was read.
    ChangeRetention {
        /// The version that the change is computed from.
        version: String,
        /// What it is.
        from: i32,
        /// What it becomes.
        to: i32,
    },
    /// Put tags on it.
    Tag(BTreeMap<String, String>),
    /// Take tags off it.
    Untag(Vec<String>),
}

/// Whose a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// There is no stream yet.
    Nobody,
    /// This object's.
    Ours,
    /// Somebody else's; the text says whose.
    Other(String),
    /// Another stream of the same name as this object's.
    Replaced {
        /// The ARN in the object's status.
        recorded: String,
        /// The ARN of the stream that is there.
        found: String,
    },
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whose the stream is.
    pub ownership: Ownership,
    /// The recorded stream is gone: the record has to be cleared before another is made.
    pub is_lost: bool,
    /// The calls, in order; at most one of them rests on the version that was read.
    pub actions: Vec<StreamAction>,
    /// What the stream does not have yet, or will not get.
    pub pending: Vec<PendingChange>,
}

/// Decides.
pub fn plan(desired: &Desired, recorded: Recorded<'_>, observed: Option<&Observed>) -> Plan {
    let Some(observed) = observed else {
        return plan_without_stream(desired, recorded);
    };
    let ownership = ownership(desired, recorded, observed);
    if ownership != Ownership::Ours || observed.info.state == StreamState::Deleting {
        return Plan { ownership, is_lost: false, actions: Vec::new(), pending: Vec::new() };
    }
    let mut actions = Vec::new();
    let mut pending = Vec::new();
    // The versioned change goes first: whether tagging gives a stream a new version is not documented.
    plan_retention(desired, &observed.info, &mut actions, &mut pending);
    plan_tags(desired, recorded, &observed.tags, &mut actions, &mut pending);
    if observed.info.state != StreamState::Active {
        actions.clear();
    }
    Plan { ownership, is_lost: false, actions, pending }
}

fn plan_without_stream(desired: &Desired, recorded: Recorded<'_>) -> Plan {
    let mut tags = desired.tags.clone();
    tags.extend(desired.owner.tags());
    let create = StreamAction::Create(NewStream {
        name: desired.name.clone(),
        retention_hours: desired.retention_hours,
        tags,
        ..NewStream::default()
    });
    let is_lost = recorded.arn.is_some();
    // With the old ARN still on record, a crash after the call would leave a stream that looks like somebody else's.
    let actions = if is_lost { Vec::new() } else { vec![create] };
    Plan { ownership: Ownership::Nobody, is_lost, actions, pending: Vec::new() }
}

fn ownership(desired: &Desired, recorded: Recorded<'_>, observed: &Observed) -> Ownership {
    match recorded.arn {
        Some(arn) if arn != observed.info.arn => {
            Ownership::Replaced { recorded: arn.to_owned(), found: observed.info.arn.clone() }
        }
        // Its own stream, whose tags somebody took away: they are put back.
        Some(_) if !observed.tags.contains_key(ownership_tags::INSTALLATION) => Ownership::Ours,
        Some(_) | None if desired.owner.owns(&observed.tags) => Ownership::Ours,
        Some(_) | None => Ownership::Other(describe_owner(&observed.tags)),
    }
}

/// Every decrease, whatever caused it, comes through here.
fn plan_retention(
    desired: &Desired,
    info: &StreamInfo,
    actions: &mut Vec<StreamAction>,
    pending: &mut Vec<PendingChange>,
) {
    let (from, to) = (info.retention_hours, desired.retention_hours);
    if from == to {
        return;
    }
    let is_blocked = to < from && desired.decrease == RetentionDecreasePolicy::Deny;
    pending.push(PendingChange {
        field: "retentionHours".to_owned(),
        from: from.to_string(),
        to: to.to_string(),
        blocked: is_blocked,
        ..PendingChange::default()
    });
    if !is_blocked {
        actions.push(StreamAction::ChangeRetention { version: info.version.clone(), from, to });
    }
}

fn plan_tags(
    desired: &Desired,
    recorded: Recorded<'_>,
    tags: &BTreeMap<String, String>,
    actions: &mut Vec<StreamAction>,
    pending: &mut Vec<PendingChange>,
) {
    let mut wanted = desired.tags.clone();
    wanted.extend(desired.owner.tags());
    let gone: Vec<String> = recorded
        .managed_tags
        .iter()
        .filter(|key| !wanted.contains_key(*key) && tags.contains_key(*key))
        .cloned()
        .collect();
    wanted.retain(|key, value| tags.get(key) != Some(value));
    for (key, value) in &wanted {
        pending.push(pending_tag(key, tags.get(key), Some(value)));
    }
    for key in &gone {
        pending.push(pending_tag(key, tags.get(key), None));
    }
    // First off, then on: a stream holds at most 50.
    if !gone.is_empty() {
        actions.push(StreamAction::Untag(gone));
    }
    if !wanted.is_empty() {
        actions.push(StreamAction::Tag(wanted));
    }
}

fn pending_tag(key: &str, from: Option<&String>, to: Option<&String>) -> PendingChange {
    PendingChange {
        field: format!("tags[{key}]"),
        from: from.cloned().unwrap_or_default(),
        to: to.cloned().unwrap_or_default(),
        ..PendingChange::default()
    }
}

impl StreamAction {
    /// The change of retention as the service takes it: a difference.
    pub fn retention_change(from: i32, to: i32) -> RetentionChange {
        if to > from { RetentionChange::Increase(to - from) } else { RetentionChange::Decrease(from - to) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ARN, desired, observed};
    use super::*;

    const KNOWN: Recorded<'static> = Recorded { arn: Some(ARN), managed_tags: &[] };

    #[test]
    fn without_a_stream_one_is_made_with_its_owner_in_the_same_call() {
        let desired = desired(json!({ "retentionHours": 48 }));
        let plan = plan(&desired, Recorded::default(), None);
        let [StreamAction::Create(stream)] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!((stream.name.as_str(), stream.retention_hours), ("p-shop.door", 48));
        assert!(desired.owner.owns(&stream.tags));
        assert_eq!(stream.tags.get("team").map(String::as_str), Some("video"));
    }

    #[test]
    fn a_stream_that_is_as_asked_for_is_left_alone() {
        let desired = desired(json!({}));
        let plan = plan(&desired, KNOWN, Some(&observed(&desired)));
        assert_eq!(
            plan,
            Plan { ownership: Ownership::Ours, is_lost: false, actions: vec![], pending: vec![] }
        );
    }

    #[test]
    fn retention_is_raised_lowered_or_blocked() {
        let change = |from, to| StreamAction::ChangeRetention { version: "v1".to_owned(), from, to };
        let table = [
            (24, 48, "Deny", vec![change(24, 48)], false),
            (48, 24, "Deny", vec![], true),
            (48, 24, "Allow", vec![change(48, 24)], false),
            (0, 24, "Deny", vec![change(0, 24)], false),
            (24, 0, "Deny", vec![], true),
            (24, 0, "Allow", vec![change(24, 0)], false),
            (24, 24, "Allow", vec![], false),
        ];
        for (from, to, policy, actions, blocked) in table {
            let desired = desired(json!({ "retentionHours": to, "retentionDecreasePolicy": policy }));
            let mut observed = observed(&desired);
            observed.info.retention_hours = from;
            let plan = plan(&desired, KNOWN, Some(&observed));
            assert_eq!(plan.actions, actions, "{from} {to} {policy}");
            assert_eq!(plan.pending.iter().any(|change| change.blocked), blocked, "{from} {to} {policy}");
        }
        assert_eq!(StreamAction::retention_change(24, 48), RetentionChange::Increase(24));
        assert_eq!(StreamAction::retention_change(48, 24), RetentionChange::Decrease(24));
    }

    #[test]
    fn tags_are_put_on_and_taken_off_and_foreign_ones_are_left() {
        let desired = desired(json!({ "tags": { "site": "berlin" } }));
        let mut observed = observed(&desired);
        observed.tags.insert("site".to_owned(), "bonn".to_owned());
        observed.tags.insert("foreign".to_owned(), "1".to_owned());
        observed.tags.insert("former".to_owned(), "1".to_owned());
        let managed = ["former".to_owned(), "never-there".to_owned()];
        let plan = plan(&desired, Recorded { arn: Some(ARN), managed_tags: &managed }, Some(&observed));
        let site = BTreeMap::from([("site".to_owned(), "berlin".to_owned())]);
        assert_eq!(plan.actions, [StreamAction::Untag(vec!["former".to_owned()]), StreamAction::Tag(site)]);
    }

    #[test]
    fn the_versioned_change_goes_first_and_is_the_only_one() {
        let desired = desired(json!({ "retentionHours": 48, "tags": { "site": "berlin" } }));
        let mut observed = observed(&desired);
        observed.info.retention_hours = 24;
        observed.tags.remove("site");
        let plan = plan(&desired, KNOWN, Some(&observed));
        assert!(matches!(plan.actions[..], [StreamAction::ChangeRetention { .. }, StreamAction::Tag(_)]));
    }

    #[test]
    fn nothing_is_changed_while_the_service_works_on_the_stream() {
        let desired = desired(json!({ "retentionHours": 48 }));
        for state in [StreamState::Creating, StreamState::Updating, StreamState::Deleting] {
            let mut observed = observed(&desired);
            observed.info.retention_hours = 24;
            observed.info.state = state;
            assert_eq!(plan(&desired, KNOWN, Some(&observed)).actions, [], "{state:?}");
        }
    }

    #[test]
    fn a_stream_is_found_again_by_its_tags_and_gets_the_new_uid() {
        let desired = desired(json!({}));
        let mut observed = observed(&desired);
        observed.tags.insert(ownership_tags::UID.to_owned(), "uid-0".to_owned());
        let plan = plan(&desired, Recorded::default(), Some(&observed));
        assert_eq!(plan.ownership, Ownership::Ours);
        let uid = BTreeMap::from([(ownership_tags::UID.to_owned(), "uid-1".to_owned())]);
        assert_eq!(plan.actions, [StreamAction::Tag(uid)]);
    }

    #[test]
    fn a_stream_of_others_is_not_touched() {
        let desired = desired(json!({ "retentionHours": 48 }));
        for (key, value) in [
            (ownership_tags::INSTALLATION, "south"),
            (ownership_tags::NAMESPACE, "other"),
            (ownership_tags::NAME, "other"),
        ] {
            let mut observed = observed(&desired);
            observed.info.retention_hours = 24;
            observed.tags.insert(key.to_owned(), value.to_owned());
            for record in [Recorded::default(), KNOWN] {
                let plan = plan(&desired, record, Some(&observed));
                assert!(
                    matches!(&plan.ownership, Ownership::Other(whose) if whose.contains(value)),
                    "{plan:?}"
                );
                assert_eq!(plan.actions, []);
            }
        }
    }

    #[test]
    fn a_stream_without_tags_is_ours_only_by_its_arn() {
        let desired = desired(json!({}));
        let mut observed = observed(&desired);
        observed.tags.clear();
        assert!(matches!(
            plan(&desired, Recorded::default(), Some(&observed)).ownership,
            Ownership::Other(_)
        ));
        let plan = plan(&desired, KNOWN, Some(&observed));
        assert_eq!(plan.ownership, Ownership::Ours);
        assert!(matches!(&plan.actions[..], [StreamAction::Tag(tags)] if desired.owner.owns(tags)));
    }

    #[test]
    fn a_stream_with_another_arn_is_not_ours_whatever_its_tags() {
        let desired = desired(json!({ "retentionHours": 48 }));
        let mut observed = observed(&desired);
        observed.info.retention_hours = 24;
        let record = Recorded { arn: Some("arn:old"), managed_tags: &[] };
        let plan = plan(&desired, record, Some(&observed));
        assert!(matches!(plan.ownership, Ownership::Replaced { .. }));
        assert_eq!(plan.actions, []);
    }

    #[test]
    fn a_lost_stream_is_not_made_again_before_its_record_is_cleared() {
        let desired = desired(json!({}));
        let plan = plan(&desired, KNOWN, None);
        assert!(plan.is_lost);
        assert_eq!(plan.actions, []);
    }
}
