//! The configuration of a producer process.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that a producer process works by. In a pod it is the file `feeds.yaml` of a `ConfigMap`; the process
/// reads it again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The version of this document, see [`crate::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Settings of the process as a whole.
    #[serde(default)]
    pub process: Process,
    /// The feeds to carry, at most one for each KVS stream.
    pub feeds: Vec<Feed>,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// How many bytes of media all feeds together may hold in memory while they wait to be acknowledged.
    pub memory_budget_bytes: u64,
}

impl Default for Process {
    /// 64 MiB: about two minutes of one 4 Mbit/s camera.
    fn default() -> Self {
        Self { memory_budget_bytes: 64 << 20 }
    }
}

/// One camera and the stream that its video goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed {
    /// Identifies the feed for its whole life: the UID of the Camera object, or any unique text outside Kubernetes.
    pub id: String,
    /// A name for people, used in logs: `namespace/name` of the Camera.
    #[serde(default)]
    pub name: String,
    /// Changes whenever anything in this feed changes; given back in [`crate::FeedStatus::revision`].
    #[serde(default)]
    pub revision: String,
    /// Where the video comes from.
    pub source: Source,
    /// Files with the camera's user name and password. None for cameras that ask for neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialFiles>,
    /// Where the video goes.
    pub stream: Stream,
    /// Which acknowledgement means that a fragment may be let go.
    #[serde(default)]
    pub stored_at: StoredAt,
    /// How the video is cut.
    #[serde(default)]
    pub fragment: Fragment,
    /// After how many seconds without a stored fragment the upload counts as stalled.
    #[serde(default = "default_offline_after")]
    pub offline_after_seconds: u32,
}

fn default_offline_after() -> u32 {
    30
}

/// Where a feed's video comes from: exactly one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// An RTSP server, over TCP.
    Rtsp(RtspSource),
}

/// An RTSP server, over TCP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtspSource {
    /// `rtsp://HOST[:PORT]/PATH`, without user name and password: those come from [`Feed::credentials`].
    pub url: String,
}

impl fmt::Debug for RtspSource {
    /// The authority's user information is left out, in case somebody wrote some against the rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            if has_user_info(&self.url) { "<url with user information, not shown>" } else { &self.url };
        f.debug_struct("RtspSource").field("url", &shown).finish()
    }
}

/// Files that hold a user name and a password. They may be missing for a while, and may change at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialFiles {
    /// The file with the user name.
    pub username_file: String,
    /// The file with the password.
    pub password_file: String,
}

/// The KVS stream that a feed is stored in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The stream's ARN: a stream that was deleted and made again has another, and is never fed.
    pub arn: String,
    /// The AWS region.
    pub region: String,
    /// The KVS control endpoint, where it is not the region's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// Which acknowledgement means that a fragment is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StoredAt {
    /// The fragment is durable. The default.
    #[default]
    Persisted,
    /// The fragment has arrived whole: all that a stream without retention ever says.
    Received,
}

/// How a feed is cut into fragments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fragment {
    /// A fragment ends at the first key frame after this many seconds, 1 to 20.
    pub target_seconds: u32,
}

impl Default for Fragment {
    fn default() -> Self {
        Self { target_seconds: 2 }
    }
}

/// Says what is wrong with a configuration, one sentence a fault; empty when it can be used. Faults name the feed by
/// its index and name, and never repeat a URL.
pub fn parse_problems(configuration: &Configuration) -> Vec<String> {
    let mut problems = Vec::new();
    let version = configuration.schema_version;
    if !(crate::SCHEMA_VERSION.saturating_sub(1)..=crate::SCHEMA_VERSION).contains(&version) || version == 0 {
        problems.push(format!(
            "schemaVersion {version} is not one that this producer reads ({}): use a producer of the operator's release",
            crate::SCHEMA_VERSION
        ));
    }
    let mut ids = BTreeSet::new();
    let mut arns = BTreeSet::new();
    for (index, feed) in configuration.feeds.iter().enumerate() {
        let label = format!("feeds[{index}] ({})", if feed.name.is_empty() { &feed.id } else { &feed.name });
        problems.extend(feed_problems(feed).into_iter().map(|problem| format!("{label}: {problem}")));
        if !ids.insert(&feed.id) {
            problems.push(format!("{label}: id is used by an earlier feed, give each its own"));
        }
        if !arns.insert(&feed.stream.arn) {
            problems
                .push(format!("{label}: stream.arn is fed by an earlier feed, a stream takes one producer"));
        }
    }
    problems
}

fn feed_problems(feed: &Feed) -> Vec<String> {
    let mut problems = Vec::new();
    if feed.id.is_empty() {
        problems.push("id is empty".to_owned());
    }
    let Source::Rtsp(rtsp) = &feed.source;
    if !rtsp.url.starts_with("rtsp://") {
        problems.push("source.rtsp.url must begin with rtsp://".to_owned());
    } else if has_user_info(&rtsp.url) {
        problems.push(
            "source.rtsp.url must not hold a user name or password: put them into files and name those in credentials"
                .to_owned(),
        );
    }
    if !(1..=20).contains(&feed.fragment.target_seconds) {
        problems.push(format!("fragment.targetSeconds is {}, must be 1 to 20", feed.fragment.target_seconds));
    }
    if !feed.stream.arn.starts_with("arn:") {
        problems.push("stream.arn must be the stream's ARN, not its name".to_owned());
    }
    problems
}

/// Whether a URL's authority holds user information. Also true of malformed ones where an `@` comes before the first
/// slash: better refused than shown.
fn has_user_info(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        serde_json::from_value(serde_json::json!({
            "id": "a", "name": "shop/door", "source": {"rtsp": {"url": "rtsp://door.example/live"}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1"}
        }))
        .unwrap()
    }

    fn configuration(feeds: Vec<Feed>) -> Configuration {
        Configuration { schema_version: 1, process: Process::default(), feeds }
    }

    #[test]
    fn defaults_are_filled_in_and_a_minimal_feed_has_no_problem() {
        let feed = feed();
        assert_eq!(feed.stored_at, StoredAt::Persisted);
        assert_eq!(feed.fragment.target_seconds, 2);
        assert_eq!(feed.offline_after_seconds, 30);
        assert_eq!(parse_problems(&configuration(vec![feed])), Vec::<String>::new());
    }

    #[test]
    fn user_information_in_a_url_is_refused_and_neither_repeated_nor_shown() {
        let mut feed = feed();
        feed.source = Source::Rtsp(RtspSource { url: "rtsp://admin:hunter2@door/live".to_owned() });
        assert!(!format!("{feed:?}").contains("hunter2"));
        let problems = parse_problems(&configuration(vec![feed])).join("\n");
        assert!(problems.contains("shop/door") && problems.contains("credentials"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }

    #[test]
    fn two_feeds_for_one_stream_are_refused() {
        let mut second = feed();
        second.id = "b".to_owned();
        let problems = parse_problems(&configuration(vec![feed(), second]));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("one producer"));
    }

    #[test]
    fn an_unknown_schema_version_is_refused() {
        let mut configuration = configuration(vec![]);
        for version in [0, 2, 99] {
            configuration.schema_version = version;
            assert_eq!(parse_problems(&configuration).len(), 1, "version {version}");
        }
    }
}
