//! Command line and environment, and the process's defaults. Nowhere else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use streamfleet_contract::ADMIN_PORT;

/// Carries cameras' video into Amazon Kinesis Video Streams.
#[derive(Debug, Parser)]
#[command(name = "streamfleet-producer", version, about)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Carry the feeds of a configuration file until stopped.
    Run(Run),
}

/// How to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Run {
    /// The configuration file; it is read again when it changes.
    #[arg(long)]
    pub config: PathBuf,
    /// Where /healthz, /readyz, /status and /metrics are served.
    #[arg(long, env = "STREAMFLEET_ADMIN_LISTEN", default_value_t = SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT)))]
    pub admin_listen: SocketAddr,
    /// How many seconds a stopped process may take to have everything stored.
    #[arg(long, env = "STREAMFLEET_DRAIN_SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,
    /// What is logged, such as `info` or `streamfleet_producer=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// How it is logged.
    #[arg(long, env = "STREAMFLEET_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl Run {
    /// How long a stopped process may take to have everything stored.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
