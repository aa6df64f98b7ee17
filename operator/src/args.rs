//! Flags and environment variables of the operator, and their defaults. Nothing else reads either.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};

use crate::scope::Scope;

/// The flags as typed.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "streamfleet-operator",
    version,
    about = "Turns StreamClass, VideoStream and Camera objects into KVS streams and producer pods"
)]
pub struct Args {
    /// Says whose the streams are, in their tags; set it to survive a move of clusters [default: the UID of the namespace
    /// `kube-system`].
    #[arg(long, env = "STREAMFLEET_INSTALLATION")]
    installation: Option<String>,

    /// The image of producer pods where a class names none.
    #[arg(long, env = "STREAMFLEET_PRODUCER_IMAGE", default_value = "localhost/streamfleet-producer:dev")]
    producer_image: String,

    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "STREAMFLEET_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    admin_listen: SocketAddr,

    /// Work only while holding a Lease, so that more than one replica can run.
    #[arg(
        long,
        env = "STREAMFLEET_LEADER_ELECTION",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    leader_election: bool,

    /// The namespace of the Lease [default: the pod's own].
    #[arg(long, env = "STREAMFLEET_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,

    /// The name of this pod, for the Lease's holder.
    #[arg(long, env = "STREAMFLEET_POD_NAME", default_value = "streamfleet-operator")]
    pod_name: String,

    /// Look after these `StreamClasses` alone, for canaries and shards: their names with commas between them, or a label
    /// selector such as `shard=2` [default: all].
    #[arg(long, env = "STREAMFLEET_CLASSES", default_value = "")]
    classes: Scope,

    /// How many seconds pass between two sweeps of an account and region by `ListStreams`.
    #[arg(long, env = "STREAMFLEET_SWEEP_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    sweep_seconds: u64,

    /// How many seconds pass between two sweeps of an account's and region's alarms by `DescribeAlarms`.
    #[arg(long, env = "STREAMFLEET_ALARMS_SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    alarms_seconds: u64,

    /// Over how many hours the reads of tags, tiers, image generation and notifications of all streams are spread.
    #[arg(long, env = "STREAMFLEET_SETTINGS_SWEEP_HOURS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=168))]
    settings_sweep_hours: u64,

    /// How log lines are written.
    #[arg(long, env = "STREAMFLEET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Which log lines are written, such as `info` or `info,streamfleet_operator=debug`.
    #[arg(long, env = "STREAMFLEET_LOG", default_value = "info")]
    log: String,

    /// Where traces are sent by OTLP over HTTP, such as `http://collector.example:4318` [default: nowhere].
    #[arg(long, env = "STREAMFLEET_OTLP_ENDPOINT", value_parser = collector)]
    otlp_endpoint: Option<String>,
}

/// An address without TLS, as of a collector in the cluster, or nothing.
fn collector(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty()) {
        return Ok(text.to_owned());
    }
    Err("it has to begin with http://")
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings, checked and ready to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose the streams are; `None` until the default is read from the cluster.
    pub installation: Option<String>,
    /// The image of producer pods where a class names none.
    pub producer_image: String,
    /// Where the admin server listens.
    pub admin_listen: SocketAddr,
    /// Whether a Lease decides who works.
    pub leader_election: bool,
    /// The namespace of the Lease; `None` is the pod's own.
    pub lease_namespace: Option<String>,
    /// The name of this pod.
    pub pod_name: String,
    /// Which classes are looked after.
    pub classes: Scope,
    /// The time between two sweeps of the streams.
    pub sweep: Duration,
    /// The time between two sweeps of the alarms.
    pub alarms_sweep: Duration,
    /// The time over which the reads of the settings of all streams are spread.
    pub settings_sweep: Duration,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log: String,
    /// Where traces are sent, if anywhere.
    pub otlp_endpoint: Option<String>,
}

impl From<Args> for Settings {
    fn from(args: Args) -> Self {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            installation: present(args.installation),
            producer_image: args.producer_image,
            admin_listen: args.admin_listen,
            leader_election: args.leader_election,
            lease_namespace: present(args.lease_namespace),
            pod_name: args.pod_name,
            classes: args.classes,
            sweep: Duration::from_secs(args.sweep_seconds),
            alarms_sweep: Duration::from_secs(args.alarms_seconds),
            settings_sweep: Duration::from_hours(args.settings_sweep_hours),
            log_format: args.log_format,
            log: args.log,
            otlp_endpoint: present(args.otlp_endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_is_held_only_where_it_is_asked_for() {
        let settings = |line: &[&str]| {
            let line = std::iter::once("streamfleet-operator").chain(line.iter().copied());
            Settings::from(Args::try_parse_from(line).unwrap())
        };
        assert!(!settings(&[]).leader_election);
        assert!(settings(&["--leader-election"]).leader_election);
        assert!(!settings(&["--leader-election=false"]).leader_election);
        assert_eq!(settings(&["--classes=a,b"]).classes, "a,b".parse().unwrap());
        assert!(Args::try_parse_from(["streamfleet-operator", "--classes=a,,b"]).is_err());
        assert_eq!(settings(&["--otlp-endpoint="]).otlp_endpoint, None);
        assert!(Args::try_parse_from(["streamfleet-operator", "--otlp-endpoint=collector:4318"]).is_err());
    }
}
