//! The configuration file: read, checked, and read again when it changes.
//!
//! A `ConfigMap` volume changes by the swap of a symbolic link, which file watches miss; so the content is compared once a
//! second. A changed file that cannot be used changes nothing: the feeds go on as they were, and it is said.

use std::path::{Path, PathBuf};

use streamfleet_contract::{Configuration, parse_problems};

/// Why a configuration cannot be used. Texts never repeat a URL's user information or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read \"{path}\": {}", in_words(*.kind))]
    Read {
        /// The file.
        path: String,
        /// What happened.
        kind: std::io::ErrorKind,
    },
    /// The file is not YAML of the right form.
    #[error("failed to parse: {0}")]
    Parse(String),
    /// The configuration contradicts itself or the contract.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// How many unknown fields are named, and how many characters of each: a file may hold any number.
const UNKNOWN_MAX: usize = 10;
const UNKNOWN_CHARS_MAX: usize = 100;

/// A configuration, and what of its file nothing knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The configuration.
    pub configuration: Configuration,
    /// Paths of fields that are ignored, such as `feeds[0].sorce`; the first few. A newer operator may write fields that
    /// this producer does not know, so they are no fault.
    pub unknown: Vec<String>,
}

/// Reads a configuration from YAML. Faults name the field by its path.
pub fn parse(text: &str) -> Result<Parsed, ConfigError> {
    let mut unknown = Vec::new();
    let mut place = String::new();
    let mut note = |path: serde_ignored::Path<'_>| {
        if unknown.len() < UNKNOWN_MAX {
            unknown.push(without_secrets(&shown(&path)).chars().take(UNKNOWN_CHARS_MAX).collect::<String>());
        }
    };
    let parsed: Result<Configuration, _> = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        let noting = serde_ignored::Deserializer::new(deserializer, &mut note);
        serde_path_to_error::deserialize(noting).map_err(|error| {
            place = error.path().to_string();
            error.into_inner()
        })
    });
    let mut configuration =
        parsed.map_err(|error| ConfigError::Parse(explained(&place, error.without_snippet(), &unknown)))?;
    // A feed without a name for people goes by its id, in logs and metrics.
    for feed in configuration.feeds.iter_mut().filter(|feed| feed.name.is_empty()) {
        feed.name.clone_from(&feed.id);
    }
    let problems = parse_problems(&configuration);
    if problems.is_empty() {
        Ok(Parsed { configuration, unknown })
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// A fault of the form in plain words: the field, what is wrong with it, and what may have been meant for it.
fn explained(place: &str, error: &serde_saphyr::Error, unknown: &[String]) -> String {
    let error = error.to_string();
    let error = error.lines().next().unwrap_or_default();
    let place = match place.find("].source.") {
        // A second source, behind a whole one.
        Some(at) if error.contains("after enum variant") => {
            place.get(..at + "].source".len()).unwrap_or(place)
        }
        _ => place,
    };
    let mut text = if place.starts_with("feeds[") && place.ends_with("].source") {
        let line = error.rfind(" at line ").and_then(|at| error.get(at..)).unwrap_or_default();
        format!("{place} must name exactly one of rtsp, file, fifo, socket, testPattern{line}")
    } else if matches!(place, "" | ".") {
        error.to_owned()
    } else {
        format!("{place}: {error}")
    };
    for number in ["invalid u64", "invalid u32"] {
        text = text.replace(number, "not a whole number");
    }
    if !unknown.is_empty() {
        text = format!("{text} (unknown fields: {})", unknown.join(", "));
    }
    without_secrets(&text)
}

/// A path as faults show it: `feeds[0].source`.
fn shown(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", shown(parent)),
        Path::Map { parent: Path::Root, key } => key.clone(),
        Path::Map { parent, key } => format!("{}.{key}", shown(parent)),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            shown(parent)
        }
    }
}

/// What hinders the reading of a file, in the words of other programs.
fn in_words(kind: std::io::ErrorKind) -> String {
    match kind {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => kind.to_string(),
    }
}

/// The first line, without the parts of URLs that may hold a password: a parser may quote a value. Some cameras take it in the
/// query, so all that is behind a `?` goes.
fn without_secrets(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let (before, url) = line.split_at(line.find("://").map_or(line.len(), |at| at + "://".len()));
    let shown = match url.split_once('?') {
        None => return without_user_info(line),
        // It may be of a password before the host.
        Some((_, query)) if query.contains('@') => "",
        Some((address, _)) => address,
    };
    format!("{}?***", without_user_info(&format!("{before}{shown}")))
}

/// The first line, with what stands between `://` and `@` left out.
fn without_user_info(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let authority_end = after.find(['/', ' ', '"', '`']).unwrap_or(after.len());
        // A malformed password may hold slashes: everything up to the last `@` goes.
        rest = if let Some(at) = after.rfind('@') {
            out.push_str("***");
            after.get(at..).unwrap_or_default()
        } else {
            let (authority, rest) = after.split_at(authority_end);
            out.push_str(authority);
            rest
        };
    }
    out.push_str(rest);
    out
}

/// Looks at the file and says what is new.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    seen: Option<Seen>,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Unreadable(ConfigError),
}

impl Watch {
    /// For a file that has not been looked at.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// What the file holds, if that is other than at the last look.
    pub async fn look(&mut self) -> Option<Result<Parsed, ConfigError>> {
        let seen = match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => Seen::Text(text),
            Err(error) => Seen::Unreadable(ConfigError::Read {
                path: self.path.display().to_string(),
                kind: error.kind(),
            }),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        let result = match &seen {
            Seen::Text(text) => parse(text),
            Seen::Unreadable(error) => Err(error.clone()),
        };
        self.seen = Some(seen);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
schemaVersion: 1
feeds:
- id: a
  source: {rtsp: {url: \"rtsp://door.example/live\"}}
  stream: {arn: \"arn:aws:kinesisvideo:eu-west-1:1:stream/x/1\", region: eu-west-1}
";

    #[test]
    fn a_minimal_file_is_read_and_a_faulty_one_names_the_place() {
        let feed = &parse(GOOD).unwrap().configuration.feeds[0];
        assert_eq!((feed.id.as_str(), feed.name.as_str()), ("a", "a"));
        let error = parse("schemaVersion: 1\nfeeds: 7\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(matches!(parse(&GOOD.replace("rtsp://", "http://")), Err(ConfigError::Invalid(_))));
    }

    #[test]
    fn the_contract_has_the_service_s_limits_for_tags() {
        use streamfleet_contract as contract;
        use streamfleet_media::limits;

        assert_eq!(contract::TAGS_MAX, limits::TAGS_PER_FRAGMENT_MAX);
        assert_eq!(contract::TAG_NAME_BYTES_MAX, limits::TAG_NAME_BYTES_MAX);
        assert_eq!(contract::TAG_VALUE_BYTES_MAX, limits::TAG_VALUE_BYTES_MAX);
        assert_eq!(contract::TAG_RESERVED_PREFIX, limits::TAG_RESERVED_PREFIX);
    }

    #[test]
    fn the_example_in_the_readme_can_be_used() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        let (_, rest) = readme.split_once("```yaml\n# feeds.yaml\n").expect("the README shows a feeds.yaml");
        let (example, _) = rest.split_once("```").unwrap();
        let parsed = parse(example).unwrap();
        assert!(!parsed.configuration.feeds.is_empty() && parsed.unknown.is_empty(), "{:?}", parsed.unknown);
    }

    #[test]
    fn faults_name_the_field_in_plain_words() {
        let process = |line: &str| GOOD.replace("feeds:", &format!("process: {{{line}}}\nfeeds:"));
        let source = |text: &str| GOOD.replace("{rtsp: {url: \"rtsp://door.example/live\"}}", text);
        let feed = |line: &str| format!("{GOOD}  {line}\n");
        let kinds = "feeds[0].source must name exactly one of rtsp, file, fifo, socket, testPattern";
        for (text, expected) in [
            (process("memoryBudgetBytes: 64MiB"), "process.memoryBudgetBytes: not a whole number"),
            (process("spool: {path: /spool, maxBytes: 1G}"), "process.spool.maxBytes: not a whole number"),
            (feed("fragment: {targetSeconds: 2.5}"), "feeds[0].fragment.targetSeconds: not a whole number"),
            (feed("storedAt: persisted"), "feeds[0].storedAt: "),
            (source("{rtsp: {url: \"rtsp://a/\"}, testPattern: {}}"), kinds),
            (source("{}"), kinds),
            (source(""), kinds),
            (source("{rtps: {url: \"rtsp://a/\"}}"), kinds),
            (source("{rtsp: {}}"), "feeds[0].source.rtsp: missing field"),
            (GOOD.replace("source:", "sorce:"), "(unknown fields: feeds[0].sorce)"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.contains("line "), "{text}: {error}");
        }
    }

    #[test]
    fn a_test_pattern_without_settings_is_the_default_one() {
        use streamfleet_contract::{Source, TestPattern};

        for written in ["{testPattern: }", "{testPattern: {}}", "\n    testPattern:"] {
            let text = GOOD.replace("{rtsp: {url: \"rtsp://door.example/live\"}}", written);
            let parsed = parse(&text).unwrap();
            assert_eq!(parsed.configuration.feeds[0].source, Source::TestPattern(TestPattern::default()));
        }
    }

    #[test]
    fn unknown_fields_are_named_and_are_no_fault() {
        let text = GOOD.replace(
            "feeds:",
            "process: {spool: {path: /spool, maxBytes: 5000000, size: 1}}\nnew: 1\nfeeds:",
        ) + "  audi: All\n";
        assert_eq!(parse(&text).unwrap().unknown, ["process.spool.size", "new", "feeds[0].audi"]);
        assert_eq!(parse(GOOD).unwrap().unknown, [] as [&str; 0]);
        let many = (0..1_000).map(|n| format!("x{n}: 1")).collect::<Vec<_>>().join("\n");
        assert_eq!(parse(&format!("{many}\n{GOOD}")).unwrap().unknown.len(), UNKNOWN_MAX);
    }

    #[test]
    fn user_information_is_in_no_error() {
        let secret = "rtsp://admin:hunter2@door/x";
        for text in [
            format!("schemaVersion: 1\nfeeds: \"{secret}\"\n"),
            format!("schemaVersion: \"{secret}\"\nfeeds: []\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: \"{secret}\"\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: {{\"{secret}\": 1}}\n"),
            format!("\"{secret}\": 1\nschemaVersion: 1\n"),
            GOOD.replace("rtsp://door", "rtsp://admin:hunter2@door"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("admin"), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_query_is_in_no_error_and_in_no_name_of_a_field() {
        let secret = "rtsp://door/x?user=admin&password=hunter2`?'hunter2@hunter2";
        for text in [
            format!("schemaVersion: 1\nfeeds: \"{secret}\"\n"),
            format!("schemaVersion: \"{secret}\"\nfeeds: []\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: \"{secret}\"\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: {{\"{secret}\": 1}}\n"),
            format!("\"{secret}\": 1\nschemaVersion: 1\n"),
            GOOD.replace("rtsp://door.example/live", &secret.replace("rtsp", "http")),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("admin"), "{error}");
        }
        let unknown = parse(&format!("{GOOD}\n\"{secret}\": 1\n")).unwrap().unknown;
        assert_eq!(unknown, ["rtsp://?***"]);
    }

    #[test]
    fn of_a_url_the_host_and_the_path_are_shown() {
        for (text, shown) in [
            ("a: \"rtsp://door/x\", line 3", "a: \"rtsp://door/x\", line 3"),
            ("a: \"rtsp://u:p@door/x\", line 3", "a: \"rtsp://***@door/x\", line 3"),
            ("a: \"rtsp://door/x?a=b\", line 3", "a: \"rtsp://door/x?***"),
            ("a: \"rtsp://u:p@door/x?a=b\", line 3", "a: \"rtsp://***@door/x?***"),
            ("a: \"rtsp://u:p?p@door/x\", line 3", "a: \"rtsp://?***"),
            ("a: what?, line 3", "a: what?, line 3"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[tokio::test]
    async fn only_changes_are_told() {
        let path = std::env::temp_dir().join(format!("streamfleet-config-{}.yaml", std::process::id()));
        let mut watch = Watch::new(&path);
        let Some(Err(error)) = watch.look().await else { panic!("there is no file") };
        assert!(error.to_string().ends_with(": no such file or directory"), "{error}");
        assert!(watch.look().await.is_none());
        std::fs::write(&path, GOOD).unwrap();
        assert!(matches!(watch.look().await, Some(Ok(_))));
        assert!(watch.look().await.is_none());
        std::fs::write(&path, "feeds: 7").unwrap();
        assert!(matches!(watch.look().await, Some(Err(ConfigError::Parse(_)))));
        assert!(watch.look().await.is_none());
        std::fs::remove_file(&path).unwrap();
    }
}
