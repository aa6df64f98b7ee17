//! Whose the stream is that stands under the name, and whether this object may take it. Pure.

use std::collections::BTreeMap;

use streamfleet_crds::{AdoptionPolicy, ownership_tags};

use super::Recorded;
use super::fields::{OWNER, owner_print};
use crate::aws::{Owner, describe_owner};

/// The tags that decide. The UID informs: an object that is applied again has another.
const DECISIVE: [&str; 3] = [ownership_tags::INSTALLATION, ownership_tags::NAMESPACE, ownership_tags::NAME];

/// Whose a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// There is no stream.
    Nobody,
    /// This object's.
    Ours,
    /// Nobody's, and this object may take it: its tags come first.
    Adoptable,
    /// Nobody's or this object's, but the adoption policy does not let it take it; the text says which.
    Refused(String),
    /// Somebody else's; the text says whose.
    Other(String),
    /// It is being deleted, and was not this object's.
    Leaving,
    /// Another stream of the same name as this object's.
    Replaced {
        /// The ARN in the object's status.
        recorded: String,
        /// The ARN of the stream that is there.
        found: String,
    },
}

/// Decides by the record, the tags and the policy:
///
/// | recorded ARN | tags | |
/// | --- | --- | --- |
/// | another | any | `Replaced` |
/// | this one | of this object | `Ours` |
/// | this one | of this object, but for a UID that it did not have | `Other`: its namesake in another cluster has taken it over |
/// | this one, once tagged | taken away, all or some | `Ours`: they are put back |
/// | none | of this object | `Ours`; under `Never` only where the UID says that this very object made it |
/// | none | none | `Adoptable` under `IfUnowned`, else `Refused` |
/// | any | of another, or in part | `Other` |
pub fn ownership(
    owner: &Owner,
    adoption: AdoptionPolicy,
    recorded: &Recorded<'_>,
    arn: &str,
    tags: &BTreeMap<String, String>,
) -> Ownership {
    let is_recorded = match recorded.arn {
        Some(known) if known != arn => {
            return Ownership::Replaced { recorded: known.to_owned(), found: arn.to_owned() };
        }
        Some(_) => true,
        None => false,
    };
    if owner.owns(tags) {
        let uid = tags.get(ownership_tags::UID);
        let made_it = uid == Some(&owner.uid);
        // Under the record of this very object, and not of one that was restored with another UID.
        let was_ours = is_recorded && recorded.synced.get(OWNER) == Some(&owner_print(owner));
        if let Some(uid) = uid.filter(|_| was_ours && !made_it) {
            return Ownership::Other(taken_over(tags, uid));
        }
        return match adoption {
            AdoptionPolicy::Never if !is_recorded && !made_it => Ownership::Refused(describe_owner(tags)),
            AdoptionPolicy::Never | AdoptionPolicy::IfOwned | AdoptionPolicy::IfUnowned => Ownership::Ours,
        };
    }
    if is_recorded && recorded.was_owned() && !contradicts(owner, tags) {
        return Ownership::Ours;
    }
    if DECISIVE.iter().any(|key| tags.contains_key(*key)) {
        return Ownership::Other(describe_owner(tags));
    }
    match adoption {
        AdoptionPolicy::IfUnowned => Ownership::Adoptable,
        AdoptionPolicy::Never | AdoptionPolicy::IfOwned => Ownership::Refused(describe_owner(tags)),
    }
}

/// The UID of another object of the same installation, namespace and name, where that has the stream by its tags.
pub fn successor<'a>(owner: &Owner, tags: &'a BTreeMap<String, String>) -> Option<&'a String> {
    tags.get(ownership_tags::UID).filter(|uid| owner.owns(tags) && **uid != owner.uid)
}

/// That another object of the same installation, namespace and name has the stream now.
pub fn taken_over(tags: &BTreeMap<String, String>, uid: &str) -> String {
    format!(
        "{} with the UID {uid}, which is not this one: another cluster with the same installation has taken it over",
        describe_owner(tags)
    )
}

/// Whether a tag that is there names another owner.
pub fn contradicts(owner: &Owner, tags: &BTreeMap<String, String>) -> bool {
    let ours = owner.tags();
    DECISIVE.iter().any(|key| tags.get(*key).is_some_and(|value| ours.get(*key) != Some(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use streamfleet_crds::VideoStreamStatus;

    use super::super::super::status::recorded;
    use super::super::super::testing::{ARN, desired, in_order};
    use super::*;

    /// How a row of the table is named in a test: what is recorded, which tags there are.
    fn decide(
        adoption: AdoptionPolicy,
        arn: Option<&str>,
        was_owned: bool,
        tags: &[(&str, &str)],
    ) -> Ownership {
        let owner = desired(json!({})).owner;
        let synced =
            if was_owned { BTreeMap::from([(OWNER.to_owned(), String::new())]) } else { BTreeMap::new() };
        let recorded = Recorded { arn, managed_tags: &[], synced: &synced };
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ownership(&owner, adoption, &recorded, ARN, &tags)
    }

    const OURS: [(&str, &str); 3] = [
        (ownership_tags::INSTALLATION, "north"),
        (ownership_tags::NAMESPACE, "shop"),
        (ownership_tags::NAME, "door"),
    ];

    #[test]
    fn each_row_of_the_table_holds() {
        use AdoptionPolicy::{IfOwned, IfUnowned, Never};
        for policy in [Never, IfOwned, IfUnowned] {
            assert!(matches!(decide(policy, Some("arn:old"), true, &OURS), Ownership::Replaced { .. }));
            assert_eq!(decide(policy, Some(ARN), false, &OURS), Ownership::Ours);
            assert_eq!(decide(policy, Some(ARN), true, &[]), Ownership::Ours);
            assert_eq!(decide(policy, Some(ARN), true, &OURS[1..]), Ownership::Ours);
            assert!(matches!(decide(policy, None, false, &OURS[1..]), Ownership::Other(_)));
            for (at, other) in [(0, "south"), (1, "other"), (2, "other")] {
                let mut tags = OURS;
                tags[at].1 = other;
                for (arn, was_owned) in [(None, false), (Some(ARN), true)] {
                    let whose = decide(policy, arn, was_owned, &tags);
                    assert!(matches!(&whose, Ownership::Other(text) if text.contains(other)), "{whose:?}");
                }
            }
        }
        assert!(matches!(decide(Never, None, false, &OURS), Ownership::Refused(_)));
        let mut made = OURS.to_vec();
        made.push((ownership_tags::UID, "uid-1"));
        assert_eq!(decide(Never, None, false, &made), Ownership::Ours);
        assert_eq!(decide(IfOwned, None, false, &OURS), Ownership::Ours);
        assert!(matches!(decide(IfOwned, None, false, &[("team", "x")]), Ownership::Refused(_)));
        assert_eq!(decide(IfUnowned, None, false, &[("team", "x")]), Ownership::Adoptable);
    }

    #[test]
    fn of_two_clusters_of_one_installation_the_one_that_took_the_stream_last_has_it() {
        let wish = desired(json!({}));
        let record = in_order(&wish);
        let mut tags = wish.owner.tags();
        tags.insert(ownership_tags::UID.to_owned(), "uid-2".to_owned());
        let of = |owner: &Owner, record: &Recorded<'_>| {
            ownership(owner, AdoptionPolicy::IfOwned, record, ARN, &tags)
        };
        assert!(
            matches!(of(&wish.owner, &recorded(&record)), Ownership::Other(whose) if whose.contains("uid-2"))
        );
        // The one that came with a new UID, with its status or without, takes it.
        let restored = Owner { uid: "uid-3".to_owned(), ..wish.owner };
        assert_eq!(of(&restored, &recorded(&record)), Ownership::Ours);
        assert_eq!(of(&restored, &recorded(&VideoStreamStatus::default())), Ownership::Ours);
    }

    #[test]
    fn a_recorded_arn_alone_is_no_claim_on_an_untagged_stream() {
        // As left by an object that only observed it, or by a status that somebody wrote.
        let whose = decide(AdoptionPolicy::IfOwned, Some(ARN), false, &[]);
        assert!(matches!(whose, Ownership::Refused(_)), "{whose:?}");
    }
}
