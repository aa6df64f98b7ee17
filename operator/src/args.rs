//! Flags and environment variables of the operator, and their defaults. Nothing else reads either.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

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

    /// How many seconds pass between two sweeps of an account and region by `ListStreams`.
    #[arg(long, env = "STREAMFLEET_SWEEP_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    sweep_seconds: u64,

    /// How log lines are written.
    #[arg(long, env = "STREAMFLEET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Which log lines are written, such as `info` or `info,streamfleet_operator=debug`.
    #[arg(long, env = "STREAMFLEET_LOG", default_value = "info")]
    log: String,
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
    /// The time between two sweeps.
    pub sweep: Duration,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log: String,
}

impl From<Args> for Settings {
    fn from(args: Args) -> Self {
        Self {
            installation: args.installation.filter(|installation| !installation.is_empty()),
            producer_image: args.producer_image,
            admin_listen: args.admin_listen,
            sweep: Duration::from_secs(args.sweep_seconds),
            log_format: args.log_format,
            log: args.log,
        }
    }
}
