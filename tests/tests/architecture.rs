//! Rules of the repository that a compiler does not know: who may depend on whom, what must not be linked, and how
//! large a file may get.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The arrows of the design: a crate and what it may depend on within the workspace. The test crate may use all.
const ARROWS: &[(&str, &[&str])] = &[
    ("streamfleet-contract", &[]),
    ("streamfleet-crds", &[]),
    ("streamfleet-media", &[]),
    ("streamfleet-emulator", &["streamfleet-media"]),
    ("streamfleet-producer", &["streamfleet-media", "streamfleet-contract"]),
    ("streamfleet-operator", &["streamfleet-crds", "streamfleet-contract"]),
    ("streamfleet-consumer", &["streamfleet-media"]),
    ("kubectl-kvs", &["streamfleet-consumer", "streamfleet-crds", "streamfleet-contract"]),
];
const TEST_CRATE: &str = "streamfleet-tests";

/// Crates that must not be in any binary, with the versions meant, and why.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("aws-lc-rs", "", "one TLS provider, ring: the other one is three times its size and needs CMake"),
    ("aws-lc-sys", "", "see aws-lc-rs"),
    ("openssl", "", "binaries are static and use rustls"),
    ("openssl-sys", "", "see openssl"),
    ("native-tls", "", "see openssl"),
    ("hyper", "0.14.", "the AWS crates bring this second HTTP stack by their default features"),
    ("rustls", "0.21.", "see hyper"),
    ("serde_yaml", "", "archived, see serde-saphyr"),
];

/// Crates that the pure ones must not reach, even through others: no I/O, no runtime, no cluster. `kube` itself brings a
/// client as soon as any crate of the workspace wants one, which `cargo metadata` does not tell apart.
const NOT_IN_PURE_CRATES: &[(&str, &[&str])] = &[
    ("streamfleet-contract", &["tokio", "kube", "hyper"]),
    ("streamfleet-media", &["tokio", "kube", "hyper", "aws-config"]),
    ("streamfleet-crds", &["aws-config", "axum"]),
];

/// The most lines that a source file may have before its tests.
const FILE_LINES_MAX: usize = 500;
/// The most lines of a file that is nothing but tests: these are many short stories, read one at a time.
const TEST_FILE_LINES_MAX: usize = 700;

/// What `cargo metadata` says, for the platform that we build for.
struct Metadata {
    packages: BTreeMap<String, Value>,
    members: BTreeSet<String>,
    nodes: BTreeMap<String, Vec<(String, bool)>>,
}

impl Metadata {
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ];
        let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().unwrap().clone();
        // Dependencies for tests (kind "dev") may go anywhere and are not linked into what is shipped. Those for building
        // count like normal ones.
        let dependency = |value: &Value| {
            let is_normal = list(&value["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            (text(&value["pkg"]), is_normal)
        };
        Self {
            packages: list(&document["packages"])
                .into_iter()
                .map(|package| (text(&package["id"]), package))
                .collect(),
            members: list(&document["workspace_members"]).iter().map(text).collect(),
            nodes: list(&document["resolve"]["nodes"])
                .iter()
                .map(|node| (text(&node["id"]), list(&node["deps"]).iter().map(dependency).collect()))
                .collect(),
        }
    }

    fn name(&self, id: &str) -> &str {
        self.packages[id]["name"].as_str().unwrap()
    }

    fn normal_dependencies(&self, id: &str) -> impl Iterator<Item = &String> {
        self.nodes[id].iter().filter(|(_, is_normal)| *is_normal).map(|(dependency, _)| dependency)
    }

    /// All that is linked into `id`, by name.
    fn reach(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![id.to_owned()];
        while let Some(id) = waiting.pop() {
            for dependency in self.normal_dependencies(&id) {
                if seen.insert(dependency.clone()) {
                    waiting.push(dependency.clone());
                }
            }
        }
        seen.iter().map(|id| self.name(id)).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files that git knows and that are there, by their paths from the root.
fn tracked_files() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let files: Vec<String> = text
        .split('\0')
        .filter(|path| !path.is_empty() && root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    assert!(files.len() > 50, "only {} files: is this the repository?", files.len());
    files
}

#[test]
fn crates_depend_on_each_other_as_the_design_draws_it() {
    let metadata = Metadata::read();
    let mut drawn = BTreeSet::new();
    for id in metadata.members.iter().filter(|id| metadata.name(id) != TEST_CRATE) {
        let ours =
            metadata.normal_dependencies(id).filter(|dependency| metadata.members.contains(*dependency));
        drawn.extend(ours.map(|to| (metadata.name(id), metadata.name(to))));
    }
    let designed = ARROWS.iter().flat_map(|(from, tos)| tos.iter().map(move |to| (*from, *to))).collect();
    let new: Vec<_> = drawn.difference(&designed).collect();
    let unused: Vec<_> = designed.difference(&drawn).collect();
    assert!(new.is_empty(), "arrows that the design does not have: {new:?}");
    assert!(unused.is_empty(), "arrows of the design that nothing uses: {unused:?}");
    let crates: BTreeSet<&str> = metadata.members.iter().map(|id| metadata.name(id)).collect();
    let designed = ARROWS.iter().map(|(name, _)| *name).chain([TEST_CRATE]).collect();
    assert_eq!(crates, designed, "the workspace's crates and the design's differ");
}

#[test]
fn second_stacks_are_not_linked() {
    let metadata = Metadata::read();
    let mut found = Vec::new();
    for id in metadata.nodes.keys() {
        let (name, version) = (metadata.name(id), metadata.packages[id]["version"].as_str().unwrap());
        let rule = FORBIDDEN
            .iter()
            .find(|(forbidden, versions, _)| *forbidden == name && version.starts_with(versions));
        found.extend(rule.map(|(_, _, why)| format!("{name} {version}: {why}")));
    }
    assert!(found.is_empty(), "see `cargo tree -i NAME`: {found:#?}");
}

#[test]
fn pure_crates_reach_no_runtime_and_no_client() {
    let metadata = Metadata::read();
    for (name, forbidden) in NOT_IN_PURE_CRATES {
        let id = metadata.members.iter().find(|id| metadata.name(id) == *name).unwrap();
        let reach = metadata.reach(id);
        let found: Vec<_> = forbidden.iter().filter(|forbidden| reach.contains(**forbidden)).collect();
        assert!(found.is_empty(), "{name} reaches {found:?}");
    }
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    let metadata = Metadata::read();
    for id in &metadata.members {
        let manifest = metadata.packages[id]["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true\n"), "{manifest} does not inherit the lints");
    }
}

#[test]
fn no_source_file_is_longer_than_people_read() {
    let sources: BTreeMap<String, String> = tracked_files()
        .into_iter()
        .filter(|path| Path::new(path).extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.clone(), std::fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut long = Vec::new();
    for (path, text) in &sources {
        // `CRATE/tests/FILE.rs` is nothing but tests.
        let is_all_tests = path.split('/').nth(1) == Some("tests") || tests.contains(path);
        let (lines, most) = if is_all_tests {
            (text.lines().count(), TEST_FILE_LINES_MAX)
        } else {
            (lines_before_tests(text), FILE_LINES_MAX)
        };
        if lines > most {
            long.push(format!("{path}: {lines} lines, at most {most}"));
        }
    }
    assert!(long.is_empty(), "split these files: {long:#?}");
}

/// The lines of a file up to its inline test module.
fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_inline =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(is_inline).unwrap_or(lines.len())
}

/// The files of the modules that a file declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let own =
        if matches!(stem, "mod" | "lib" | "main") { folder.to_owned() } else { format!("{folder}/{stem}") };
    let lines: Vec<&str> = text.lines().collect();
    let mut files = Vec::new();
    for after in
        lines.iter().enumerate().filter(|(_, line)| **line == "#[cfg(test)]").map(|(at, _)| &lines[at + 1..])
    {
        let named = after.first().and_then(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        let declared = after.iter().take(2).find_map(|line| {
            let (visibility, name) = line.split_once("mod ")?;
            name.strip_suffix(';').filter(|_| visibility.is_empty() || visibility.starts_with("pub"))
        });
        match (named, declared) {
            (Some(named), Some(_)) => files.push(format!("{folder}/{named}")),
            (None, Some(name)) => files.extend([format!("{own}/{name}.rs"), format!("{own}/{name}/mod.rs")]),
            _ => {}
        }
    }
    files
}

#[test]
fn modules_for_tests_are_told_from_others() {
    let text =
        "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod tests;\nfn d() {}\n";
    assert_eq!(test_modules("x/src/mod.rs", text), ["x/src/b.rs", "x/src/b/mod.rs", "x/src/c_tests.rs"]);
    assert_eq!(test_modules("x/src/y.rs", "#[cfg(test)]\nmod z;\n"), ["x/src/y/z.rs", "x/src/y/z/mod.rs"]);
    assert!(test_modules("x/src/y.rs", "#[cfg(test)]\nmod tests {\n    mod z;\n}\n").is_empty());
    assert_eq!(test_modules("x/src/y.rs", "#[cfg(test)]\npub(super) mod z;\n").len(), 2);
    assert_eq!(lines_before_tests(text), 7);
    assert_eq!(lines_before_tests("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"), 2);
}

#[test]
fn no_file_names_a_place_on_somebody_s_machine() {
    // Put together here, so that this file does not name them.
    let places = [["/wo", "rk/"].concat(), ["/ho", "me/"].concat(), ["/Us", "ers/"].concat()];
    let mut found = Vec::new();
    for path in tracked_files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place.as_str())) {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "these work on one machine only: {found:#?}");
}
