//! `kubectl kvs`: what is recording and what is not, and video back out of Kinesis Video Streams.

mod args;
mod clip;
mod cluster;
mod status;
mod table;
mod time;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use args::{Cli, Command};
use cluster::Cluster;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done where standard error is closed.
            drop(writeln!(std::io::stderr(), "error: {}", in_one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: &Cli) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("failed to set up TLS: another cryptography provider is installed");
    }
    let cluster = Cluster::connect(&cli.cluster).await.context("failed to reach the cluster")?;
    match &cli.command {
        Command::Status(args) => status::run(&cluster, args).await,
        Command::Clip(args) => clip::run(&cluster, args).await,
    }
}

/// The causes, outermost first. Several libraries repeat their cause in their own text: each is said once.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_repeated_by_the_library_is_said_once() {
        let error = anyhow::anyhow!("no such file")
            .context("failed to read x: no such file")
            .context("failed to connect");
        assert_eq!(in_one_line(&error), "failed to connect: failed to read x: no such file");
    }
}
