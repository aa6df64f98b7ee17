//! What is wrong with a configuration. Pure; texts name the field and what to do, and repeat no URL and no file's content.

use std::collections::BTreeSet;

use crate::configuration::{
    Configuration, Feed, Fragment, Process, RtspSource, RtspTransport, Source, StoredAt, Stream, TestPattern,
};

/// Metadata tags on one fragment (developer guide, *service quotas*).
pub const TAGS_MAX: usize = 10;

/// Bytes in the name of a metadata tag (developer guide, *service quotas*).
pub const TAG_NAME_BYTES_MAX: usize = 128;

/// Bytes in the value of a metadata tag (developer guide, *service quotas*).
pub const TAG_VALUE_BYTES_MAX: usize = 256;

/// What names of a producer's tags must not begin with (`PutMedia`).
pub const TAG_RESERVED_PREFIX: &str = "AWS";

/// Hours that a stream can keep anything: ten years (`CreateStream`).
const RETENTION_HOURS_MAX: u32 = 87_600;

/// The longest id of a feed: it is a label of metrics and a name on the spool.
const ID_BYTES_MAX: usize = 256;

/// The longest ARN (`StreamARN` of the API).
const ARN_BYTES_MAX: usize = 1_024;

/// Less memory holds not even a few seconds of one camera.
const MEMORY_BYTES_MIN: u64 = 500_000;

/// A spool below this has no room for a group of pictures.
const SPOOL_BYTES_MIN: u64 = 1_000_000;

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
    problems.extend(process_problems(&configuration.process));
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

fn process_problems(process: &Process) -> Vec<String> {
    let mut problems = Vec::new();
    if process.memory_budget_bytes < MEMORY_BYTES_MIN {
        problems.push(format!("process.memoryBudgetBytes must be at least {MEMORY_BYTES_MIN}"));
    }
    if let Some(spool) = &process.spool {
        problems.extend(path_problem("process.spool.path", &spool.path));
        if spool.max_bytes < SPOOL_BYTES_MIN {
            problems.push(format!("process.spool.maxBytes must be at least {SPOOL_BYTES_MIN}"));
        }
    }
    if process.uplink.as_ref().is_some_and(|uplink| uplink.catch_up_bytes_per_second == 0) {
        problems
            .push("process.uplink.catchUpBytesPerSecond is 0: nothing late would ever be sent".to_owned());
    }
    problems
}

fn feed_problems(feed: &Feed) -> Vec<String> {
    let mut problems = Vec::new();
    if feed.id.is_empty() {
        problems.push("id is empty".to_owned());
    }
    if feed.id.len() > ID_BYTES_MAX {
        problems.push(format!("id is longer than {ID_BYTES_MAX} bytes"));
    }
    problems.extend(source_problems(&feed.source));
    if let Some(files) = &feed.credentials {
        problems.extend(path_problem("credentials.usernameFile", &files.username_file));
        problems.extend(path_problem("credentials.passwordFile", &files.password_file));
    }
    problems.extend(fragment_problems(&feed.fragment));
    problems.extend(stream_problems(&feed.stream));
    if feed.stream.retention_hours == Some(0) && feed.stored_at == StoredAt::Persisted {
        problems.push(
            "storedAt must be Received where stream.retentionHours is 0: such a stream never says that it has persisted anything"
                .to_owned(),
        );
    }
    if feed.offline_after_seconds == 0 {
        problems.push("offlineAfterSeconds must be at least 1".to_owned());
    }
    problems
}

fn fragment_problems(fragment: &Fragment) -> Vec<String> {
    let mut problems = Vec::new();
    if !(1..=20).contains(&fragment.target_seconds) {
        problems.push(format!("fragment.targetSeconds is {}, must be 1 to 20", fragment.target_seconds));
    }
    if fragment.tags.len() > TAGS_MAX {
        problems
            .push(format!("fragment.tags has {} names, at most {TAGS_MAX} are taken", fragment.tags.len()));
    }
    for (name, value) in &fragment.tags {
        if name.is_empty() || name.len() > TAG_NAME_BYTES_MAX {
            problems.push(format!(
                "a name in fragment.tags has {} bytes, must have 1 to {TAG_NAME_BYTES_MAX}",
                name.len()
            ));
        } else if name
            .get(..TAG_RESERVED_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(TAG_RESERVED_PREFIX))
        {
            problems.push(format!(
                "fragment.tags: names that begin with {TAG_RESERVED_PREFIX} are the service's own"
            ));
        } else if value.len() > TAG_VALUE_BYTES_MAX {
            problems.push(format!(
                "fragment.tags.{name} has {} bytes, at most {TAG_VALUE_BYTES_MAX} are taken",
                value.len()
            ));
        }
    }
    problems
}

fn stream_problems(stream: &Stream) -> Vec<String> {
    let mut problems = Vec::new();
    if stream.region.is_empty() {
        problems.push("stream.region is empty".to_owned());
    }
    let parts: Vec<&str> = stream.arn.splitn(6, ':').collect();
    match parts.as_slice() {
        _ if stream.arn.len() > ARN_BYTES_MAX => {
            problems.push(format!("stream.arn is longer than {ARN_BYTES_MAX} bytes"));
        }
        ["arn", _, "kinesisvideo", region, _, resource] if names_stream(resource) => {
            if *region != stream.region {
                problems.push("stream.region is not the region that stream.arn names".to_owned());
            }
        }
        _ => problems.push(
            "stream.arn must be the stream's whole ARN, arn:PARTITION:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATION, as DescribeStream gives it"
                .to_owned(),
        ),
    }
    for (name, endpoint) in
        [("stream.endpoint", &stream.endpoint), ("stream.stsEndpoint", &stream.sts_endpoint)]
    {
        problems.extend(endpoint.iter().filter_map(|endpoint| endpoint_problem(name, endpoint)));
    }
    problems.extend(stream.ca_file.iter().filter_map(|path| path_problem("stream.caFile", path)));
    if let Some(role) = &stream.role_arn {
        let parts: Vec<&str> = role.splitn(6, ':').collect();
        let is_role =
            matches!(parts.as_slice(), ["arn", _, "iam", "", _, resource] if resource.starts_with("role/"));
        if !is_role {
            problems.push(
                "stream.roleArn must be the ARN of an IAM role, arn:aws:iam::ACCOUNT:role/NAME".to_owned(),
            );
        }
    }
    if stream.retention_hours.is_some_and(|hours| hours > RETENTION_HOURS_MAX) {
        problems.push(format!("stream.retentionHours must be at most {RETENTION_HOURS_MAX}"));
    }
    problems
}

/// Whether the last part of an ARN is `stream/NAME/CREATION`. Without the time of creation it would fit a successor too.
fn names_stream(resource: &str) -> bool {
    let Some((name, creation)) = resource.strip_prefix("stream/").and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    !name.is_empty() && !creation.is_empty() && creation.bytes().all(|byte| byte.is_ascii_digit())
}

fn endpoint_problem(name: &str, url: &str) -> Option<String> {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Some(format!("{name} must begin with https:// or http://"));
    }
    has_user_info(url).then(|| format!("{name} must not hold a user name or password"))
}

/// What is wrong with a source. URLs are not repeated.
fn source_problems(source: &Source) -> Vec<String> {
    let rate_problem = |rate: Option<u32>, name: &str| {
        rate.filter(|rate| !(1..=240).contains(rate))
            .map(|rate| format!("source.{name}.frameRate is {rate}, must be 1 to 240"))
    };
    match source {
        Source::Rtsp(rtsp) => rtsp_problems(rtsp),
        Source::File(file) => path_problem("source.file.path", &file.path)
            .into_iter()
            .chain(rate_problem(file.frame_rate, "file"))
            .collect(),
        Source::Fifo(pipe) => path_problem("source.fifo.path", &pipe.path)
            .into_iter()
            .chain(rate_problem(pipe.frame_rate, "fifo"))
            .collect(),
        Source::Socket(pipe) => path_problem("source.socket.path", &pipe.path)
            .into_iter()
            .chain(rate_problem(pipe.frame_rate, "socket"))
            .collect(),
        Source::TestPattern(pattern) => pattern_problem(pattern).into_iter().collect(),
    }
}

fn rtsp_problems(rtsp: &RtspSource) -> Vec<String> {
    let is_secure = rtsp.url.starts_with("rtsps://");
    if !is_secure && !rtsp.url.starts_with("rtsp://") {
        return vec!["source.rtsp.url must begin with rtsp:// or rtsps://".to_owned()];
    }
    if has_user_info(&rtsp.url) {
        return vec![
            "source.rtsp.url must not hold a user name or password: put them into files and name those in credentials"
                .to_owned(),
        ];
    }
    let mut problems = Vec::new();
    let rest = rtsp.url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.is_empty() || rest.starts_with(['/', ':', '?']) {
        problems.push("source.rtsp.url names no host".to_owned());
    }
    if rtsp.url.chars().any(char::is_control) {
        problems.push("source.rtsp.url has control characters in it".to_owned());
    }
    if is_secure && rtsp.transport == RtspTransport::Udp {
        problems.push(
            "source.rtsp.transport Udp would send the media of an rtsps:// URL in clear: use Tcp".to_owned(),
        );
    }
    if let Some(tls) = &rtsp.tls {
        if !is_secure {
            problems.push("source.rtsp.tls is for rtsps:// URLs only".to_owned());
        }
        problems.extend(tls.ca_file.iter().filter_map(|path| path_problem("source.rtsp.tls.caFile", path)));
        if tls.ca_file.is_some() && tls.insecure_skip_verify {
            problems.push(
                "source.rtsp.tls: caFile has no effect beside insecureSkipVerify, take one of them out"
                    .to_owned(),
            );
        }
    }
    problems
}

fn path_problem(name: &str, path: &str) -> Option<String> {
    if !path.starts_with('/') || path == "/" {
        return Some(format!("{name} must be an absolute path"));
    }
    let steps_out = path.split('/').any(|step| step == "..") || path.contains('\0');
    steps_out.then(|| format!("{name} must not have .. in it"))
}

fn pattern_problem(pattern: &TestPattern) -> Option<String> {
    let fits =
        |value: u32, range: std::ops::RangeInclusive<u32>| value.is_multiple_of(16) && range.contains(&value);
    if !fits(pattern.width, 160..=1920) || !fits(pattern.height, 96..=1088) {
        return Some(format!(
            "source.testPattern is {}x{}: width must be a multiple of 16 from 160 to 1920, height one from 96 to 1088",
            pattern.width, pattern.height
        ));
    }
    (!(1..=60).contains(&pattern.frame_rate))
        .then(|| format!("source.testPattern.frameRate is {}, must be 1 to 60", pattern.frame_rate))
}

/// Whether a URL's authority holds user information. Also true of malformed ones where an `@` comes before the first
/// slash: better refused than shown.
pub fn has_user_info(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.contains('@')
}

#[cfg(test)]
#[path = "problems_tests.rs"]
mod tests;
