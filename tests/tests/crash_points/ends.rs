//! Whether the last word of an object is the one that is due: by its spec, its stream, and what others did to that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use streamfleet_emulator::control::StreamRecord;

use crate::facts::{Wish, field, is_left};
use crate::rest::condition;
use crate::world::Inner;

/// The field of the retention.
const RETENTION: &str = "retentionHours";

/// An object at rest.
pub struct End<'a> {
    pub inner: &'a Inner,
    pub wish: &'a Wish,
    pub object: &'a Value,
    pub stream: Option<&'a StreamRecord>,
}

impl End<'_> {
    /// What it says of itself, and whether it is Ready.
    pub fn says(&self) -> (&str, bool) {
        let ready = condition(self.object, "Ready");
        (ready["reason"].as_str().unwrap_or_default(), ready["status"] == "True")
    }

    /// Whether that is so.
    pub fn is_due(&self) -> bool {
        let wish = self.wish;
        let is_held = wish.is_suspended || wish.is_observed;
        let (reason, is_ready) = self.says();
        match (reason, self.stream) {
            ("Active", Some(stream)) => is_ready && no_tags_left(self.inner, wish, stream),
            ("Suspended", Some(stream)) => is_ready && wish.is_suspended && self.tells_all(stream),
            ("Suspended", None) => wish.is_suspended && wish.recorded.is_none(),
            ("Observing", Some(stream)) => {
                is_ready && wish.is_observed && !wish.is_suspended && self.tells_all(stream)
            }
            ("StreamNotFound", None) => wish.is_observed && wish.recorded.is_none(),
            ("StreamLost", None) => wish.recorded.is_some() && (wish.is_reported || is_held),
            ("ChangeBlocked", Some(stream)) => {
                let is_shorter = wish.retention < i64::from(stream.retention_hours);
                let others = self.differing(stream).into_iter().filter(|field| field != RETENTION).collect();
                let is_told = self.pending().get(RETENTION) == Some(&"Blocked");
                !is_held && !wish.may_decrease && is_shorter && is_told && self.is_left_by_policy(&others)
            }
            ("DriftReported", Some(stream)) => {
                let differing = self.differing(stream);
                let drift = self.drift();
                // What is reported is there, and what is there and not reported is not left by that policy.
                let is_there = !drift.is_empty() && drift.is_subset(&differing);
                !is_held && is_there && self.is_left_by_policy(&differing)
            }
            // Some of the tags were taken away before this object had put its own on.
            ("OwnedByOther", Some(stream)) => {
                let uid = stream.tags.get(streamfleet_crds::ownership_tags::UID);
                !wish.owns(&stream.tags) && uid != Some(&wish.uid)
            }
            ("AdoptionRefused", Some(_)) => wish.adoption == "Never" || wish.recorded.is_none(),
            ("KmsKeyDiffers", Some(stream)) => {
                stream.kms_key_id.as_deref() != self.object["spec"]["kmsKeyID"].as_str()
            }
            _ => false,
        }
    }

    /// The fields in which the stream is not as the spec says.
    fn differing(&self, stream: &StreamRecord) -> BTreeSet<String> {
        let all = self.wish.differences(stream);
        let all = all.iter().filter(|text| !is_left(self.inner, self.wish, text));
        all.map(|text| field(text).to_owned()).collect()
    }

    /// The fields of which the status says that somebody else has changed them.
    fn drift(&self) -> BTreeSet<String> {
        let all = self.object["status"]["drift"].as_array().into_iter().flatten();
        all.filter_map(|drift| drift["field"].as_str()).map(ToOwned::to_owned).collect()
    }

    /// The changes that are not made, by field, and why.
    fn pending(&self) -> BTreeMap<&str, &str> {
        let all = self.object["status"]["pendingChanges"].as_array().into_iter().flatten();
        all.filter_map(|change| Some((change["field"].as_str()?, change["why"].as_str()?))).collect()
    }

    /// Whether every difference is told, with why it stays.
    fn tells_all(&self, stream: &StreamRecord) -> bool {
        let pending = self.pending();
        self.differing(stream).iter().all(|field| pending.contains_key(field.as_str()))
    }

    /// Whether these fields may be as they are, for the drift policy: somebody else has changed them, and not this object's user, whose
    /// edits are applied under any policy.
    fn is_left_by_policy(&self, fields: &BTreeSet<String>) -> bool {
        let (drift, pending) = (self.drift(), self.pending());
        let touched = self.inner.facts.touched.get(&self.wish.stream).cloned().unwrap_or_default();
        let is_reported = |field: &String| {
            drift.contains(field) && pending.get(field.as_str()) == Some(&"Report") && touched.contains(field)
        };
        fields.iter().all(|field| self.wish.is_reported && is_reported(field))
    }
}

/// Whether every tag is asked for, or somebody else's.
fn no_tags_left(inner: &Inner, wish: &Wish, stream: &StreamRecord) -> bool {
    let foreign = inner.facts.foreign_tags.get(&stream.name).cloned().unwrap_or_default();
    let is_known = |key: &String| {
        key.starts_with("streamfleet.io/") || wish.tags.contains_key(key) || foreign.contains_key(key)
    };
    stream.tags.keys().all(is_known) || inner.facts.left.contains(&stream.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::slow;
    use crate::facts::streams;
    use crate::paths::STREAM;
    use crate::world::World;

    /// Says this of the object, with these fields as drift that is left.
    fn is_due(inner: &Inner, wish: &Wish, reason: &str, drift: &[&str]) -> bool {
        let all = streams(inner);
        let stream = all.iter().find(|stream| stream.name == wish.stream);
        let pending = drift.iter().map(|field| json!({ "field": field, "why": "Report" }));
        let object = json!({ "status": {
            "conditions": [{ "type": "Ready", "status": "False", "reason": reason }],
            "drift": drift.iter().map(|field| json!({ "field": field })).collect::<Vec<_>>(),
            "pendingChanges": pending.collect::<Vec<_>>(),
        }});
        End { inner, wish, object: &object, stream: stream.map(AsRef::as_ref) }.is_due()
    }

    #[test]
    fn a_policy_alone_makes_no_end_due() {
        let world = World::furnished(slow());
        world.apply("door", &json!({ "retentionHours": 24, "driftPolicy": "Report" }));
        world.to_rest();
        let mut inner = world.lock().clone();
        let wish = Wish::of_stream(&inner, STREAM).unwrap();
        let edited = Wish { retention: 48, ..wish.clone() };
        let drift = [RETENTION];
        assert!(!is_due(&inner, &wish, "DriftReported", &[]), "there is no drift");
        assert!(!is_due(&inner, &wish, "DriftReported", &drift), "it is as asked for");
        assert!(!is_due(&inner, &edited, "DriftReported", &[]), "it is not told");
        assert!(!is_due(&inner, &edited, "DriftReported", &drift), "it is an edit of the user's");
        let touched = inner.facts.touched.entry(STREAM.to_owned()).or_default();
        touched.insert(RETENTION.to_owned());
        assert!(is_due(&inner, &edited, "DriftReported", &drift));
        let corrects = Wish { is_reported: false, ..edited.clone() };
        assert!(!is_due(&inner, &corrects, "DriftReported", &drift), "drift is corrected");
        let edited_too = Wish { tier: "Warm".to_owned(), ..edited };
        assert!(!is_due(&inner, &edited_too, "DriftReported", &drift), "an edit beside it is not applied");

        assert!(!is_due(&inner, &wish, "StreamLost", &[]), "it is there");
        let lost = Wish { stream: "t-shop.gone".to_owned(), ..wish };
        assert!(is_due(&inner, &lost, "StreamLost", &[]));
        assert!(!is_due(&inner, &Wish { is_reported: false, ..lost }, "StreamLost", &[]), "it is made again");
    }
}
