//! The chart's copies of the custom resource definitions are those that `crds` generates.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn the_chart_has_the_generated_definitions() {
    let generated = files(&repository().join("crds/manifests"));
    assert!(!generated.is_empty(), "crds/manifests is empty");
    let chart = repository().join("charts/streamfleet/charts/streamfleet-crds/manifests");
    let copies = files(&chart);
    if generated == copies {
        return;
    }
    // As for the manifests themselves: mend what differs, and fail so that it is noticed and committed.
    for stale in copies.keys().filter(|name| !generated.contains_key(*name)) {
        fs::remove_file(chart.join(stale)).unwrap();
    }
    for (name, text) in &generated {
        fs::write(chart.join(name), text).unwrap();
    }
    panic!("{} differed from crds/manifests and were copied anew: look at them and commit", chart.display());
}
