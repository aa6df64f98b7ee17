//! `docs/conditions.md` names every condition type and reason that the API has, and no other.

#![expect(clippy::panic, reason = "a test may fail anywhere")]

use std::collections::BTreeSet;
use std::path::Path;

use streamfleet_crds::{CameraReason, ConditionType, StreamClassReason, VideoStreamReason};

/// The words in back quotes in the first column of the tables below a heading.
fn documented(page: &str, heading: &str) -> BTreeSet<String> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("there is no section {heading}"));
    let first_cells =
        section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> BTreeSet<String> {
    all.iter().map(|value| name(*value).to_owned()).collect()
}

#[test]
fn every_reason_is_documented_under_its_kind_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conditions.md");
    let page = std::fs::read_to_string(page).unwrap();
    let types = names(ConditionType::ALL, ConditionType::as_str);
    let mut documented_types = BTreeSet::new();
    for (heading, reasons) in [
        ("StreamClass", names(StreamClassReason::ALL, StreamClassReason::as_str)),
        ("VideoStream", names(VideoStreamReason::ALL, VideoStreamReason::as_str)),
        ("Camera", names(CameraReason::ALL, CameraReason::as_str)),
    ] {
        let documented = documented(&page, heading);
        let missing: Vec<_> = reasons.difference(&documented).collect();
        assert!(missing.is_empty(), "not in the section {heading}: {missing:?}");
        let unknown: Vec<_> =
            documented.iter().filter(|word| !reasons.contains(*word) && !types.contains(*word)).collect();
        assert!(unknown.is_empty(), "no reason or type, but in the section {heading}: {unknown:?}");
        documented_types.extend(documented.intersection(&types).cloned());
    }
    assert_eq!(documented_types, types, "condition types");
}
