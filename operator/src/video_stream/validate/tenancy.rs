//! A tenant can neither seize nor delete a stream that is not theirs: each combination of what a tenant writes (adoption and
//! deletion policy, stream name, management), what the class grants (limits), whose tags the stream has, and what is on
//! record is tried, and judged by rules that are written here apart from the code.

#![allow(clippy::print_stdout, reason = "counts are shown")]

use std::collections::BTreeMap;

use serde_json::json;
use streamfleet_crds::{DeletionPolicy, ownership_tags};

use super::super::observed::{Observed, View};
use super::super::plan::{Ownership, Recorded, plan};
use super::super::testing::{ARN, INSTALLATION, class, observed, stream};
use super::*;

const ADOPTION: [&str; 3] = ["Never", "IfOwned", "IfUnowned"];
const DELETION: [&str; 2] = ["Retain", "Delete"];
const NAMES: [&str; 3] = ["Default", "Prefixed", "Any"];

/// The tags of a stream, by whose they are.
const OWNERS: [(&str, &[(&str, &str)]); 7] = [
    ("nobody's", &[]),
    ("ours", &[("installation", "north"), ("namespace", "shop"), ("name", "door"), ("uid", "uid-1")]),
    (
        "ours of before",
        &[("installation", "north"), ("namespace", "shop"), ("name", "door"), ("uid", "uid-0")],
    ),
    (
        "another object's",
        &[("installation", "north"), ("namespace", "shop"), ("name", "window"), ("uid", "uid-1")],
    ),
    (
        "another tenant's",
        &[("installation", "north"), ("namespace", "bank"), ("name", "door"), ("uid", "uid-1")],
    ),
    ("another installation's", &[("installation", "south"), ("namespace", "shop"), ("name", "door")]),
    ("said in part", &[("namespace", "shop"), ("name", "door")]),
];

/// What the object has on record: the ARN, and whether it was once seen as its own.
const RECORDS: [(Option<&str>, bool); 4] =
    [(None, false), (Some(ARN), true), (Some(ARN), false), (Some("arn:old"), true)];

/// What a tenant writes, and what the class grants.
#[derive(Debug, Clone, Copy)]
struct Case {
    adoption: &'static str,
    deletion: &'static str,
    name: &'static str,
    management: &'static str,
    may_adopt_unowned: bool,
    may_delete: bool,
    names: &'static str,
    is_admitted: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let yes_no = [true, false];
    for adoption in ADOPTION {
        for deletion in DELETION {
            for name in ["p-shop.door", "p-shop.other", "p-bank.door"] {
                for (management, names) in
                    NAMES.iter().flat_map(|names| [("Manage", *names), ("Observe", *names)])
                {
                    for (may_adopt_unowned, may_delete) in
                        yes_no.iter().flat_map(|one| yes_no.map(|two| (*one, two)))
                    {
                        cases.extend(yes_no.map(|is_admitted| Case {
                            adoption,
                            deletion,
                            name,
                            management,
                            may_adopt_unowned,
                            may_delete,
                            names,
                            is_admitted,
                        }));
                    }
                }
            }
        }
    }
    cases
}

fn asked(case: Case) -> (VideoStream, StreamClass) {
    let limits = json!({
        "streamNames": case.names,
        "adoptionPolicies": if case.may_adopt_unowned { vec!["Never", "IfOwned", "IfUnowned"] } else { vec!["Never", "IfOwned"] },
        "deletionPolicies": if case.may_delete { vec!["Retain", "Delete"] } else { vec!["Retain"] },
    });
    let from = if case.is_admitted { "All" } else { "None" };
    let class = class(json!({ "limits": limits, "allowedNamespaces": { "from": from } }));
    let stream = stream(json!({
        "adoptionPolicy": case.adoption, "deletionPolicy": case.deletion, "streamName": case.name,
        "managementPolicy": case.management, "retentionHours": 96,
    }));
    (stream, class)
}

/// Whether the class grants what is asked for.
fn is_granted(case: Case) -> bool {
    let name = match case.names {
        "Default" => case.name == "p-shop.door",
        "Prefixed" => case.name.starts_with("p-shop."),
        _ => true,
    };
    name && case.is_admitted
        && (case.adoption != "IfUnowned" || case.may_adopt_unowned)
        && (case.deletion != "Delete" || case.may_delete)
}

/// Whether the stream may be changed: it is the object's own, or nobody's and may be taken.
fn may_touch(case: Case, whose: &str, (arn, was_owned): (Option<&str>, bool)) -> bool {
    let is_recorded = arn == Some(ARN);
    if arn.is_some() && !is_recorded || case.management == "Observe" {
        return false;
    }
    match whose {
        "ours" => true,
        "ours of before" => is_recorded || case.adoption != "Never",
        "nobody's" => is_recorded && was_owned || case.adoption == "IfUnowned",
        // Tags that somebody took away in part are put back on what was the object's own.
        "said in part" => is_recorded && was_owned,
        _ => false,
    }
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| (format!("{}{key}", ownership_tags::PREFIX), (*value).to_owned()))
        .collect()
}

#[test]
fn nothing_is_changed_that_the_class_does_not_grant_or_that_is_not_the_objects_own() {
    let (mut tried, mut touched) = (0, 0);
    for case in cases() {
        let (stream, class) = asked(case);
        let granted = validate(&stream, Some(&class), &BTreeMap::new(), INSTALLATION);
        assert_eq!(granted.is_ok(), is_granted(case), "{case:?}");
        let Ok(desired) = granted else { continue };
        for ((whose, pairs), record) in OWNERS.iter().flat_map(|owner| RECORDS.map(|record| (*owner, record)))
        {
            let mut seen: Observed = observed(&desired);
            seen.settings.tags = tags(pairs);
            seen.info.retention_hours = 24;
            let owner = || BTreeMap::from([("owner".to_owned(), String::new())]);
            let synced = if record.1 { owner() } else { BTreeMap::new() };
            let recorded = Recorded { arn: record.0, managed_tags: &[], synced: &synced };
            let plan = plan(&desired, &recorded, &View::Present(seen));
            let expected = may_touch(case, whose, record);
            assert_eq!(!plan.steps.is_empty(), expected, "{case:?} {whose} {record:?} {plan:?}");
            assert!(!expected || matches!(plan.ownership, Ownership::Ours | Ownership::Adoptable));
            tried += 1;
            touched += usize::from(expected);
        }
    }
    println!("{tried} combinations tried, {touched} of them may change the stream");
    assert!(tried > 3_000 && touched > 300, "{tried} {touched}");
}

#[test]
fn nothing_is_deleted_that_the_class_does_not_grant_or_that_is_only_observed() {
    for case in cases() {
        let (stream, class) = asked(case);
        let policy = deletion_policy(&stream, Some(&class));
        let may = case.deletion == "Delete" && case.may_delete && case.management == "Manage";
        assert_eq!(policy == DeletionPolicy::Delete, may, "{case:?}");
    }
}
