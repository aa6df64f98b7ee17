//! The configuration file: read, checked, and read again when it changes.
//!
//! A `ConfigMap` volume changes by the swap of a symbolic link, which file watches miss; so the content is compared once a
//! second. A changed file that cannot be used changes nothing: the feeds go on as they were, and it is said.

use std::path::{Path, PathBuf};

use streamfleet_contract::{Configuration, parse_problems};

/// Why a configuration cannot be used. Texts never repeat a URL's user information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read \"{path}\": {kind}")]
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

/// Reads a configuration from YAML.
pub fn parse(text: &str) -> Result<Configuration, ConfigError> {
    let mut configuration: Configuration = serde_saphyr::from_str(text)
        .map_err(|error| ConfigError::Parse(without_user_info(error.without_snippet())))?;
    // A feed without a name for people goes by its id, in logs and metrics.
    for feed in configuration.feeds.iter_mut().filter(|feed| feed.name.is_empty()) {
        feed.name.clone_from(&feed.id);
    }
    let problems = parse_problems(&configuration);
    if problems.is_empty() { Ok(configuration) } else { Err(ConfigError::Invalid(problems)) }
}

/// The first line of an error, with what stands between `://` and `@` left out: a parser may quote a value.
fn without_user_info(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
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
    pub async fn look(&mut self) -> Option<Result<Configuration, ConfigError>> {
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
        let feed = &parse(GOOD).unwrap().feeds[0];
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
        assert!(!parse(example).unwrap().feeds.is_empty());
    }

    #[test]
    fn user_information_is_in_no_error() {
        let secret = "rtsp://admin:hunter2@door/x";
        for text in [
            format!("schemaVersion: 1\nfeeds: \"{secret}\"\n"),
            format!("schemaVersion: \"{secret}\"\nfeeds: []\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: \"{secret}\"\n"),
            format!("schemaVersion: 1\nfeeds:\n- id: a\n  source: {{\"{secret}\": 1}}\n"),
            GOOD.replace("rtsp://door", "rtsp://admin:hunter2@door"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("admin"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_changes_are_told() {
        let path = std::env::temp_dir().join(format!("streamfleet-config-{}.yaml", std::process::id()));
        let mut watch = Watch::new(&path);
        assert!(matches!(watch.look().await, Some(Err(ConfigError::Read { .. }))));
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
