//! Measures the product: what it costs, and what it does when things break. `make bench-producer` calls it, and its
//! sisters do. Ends with an error where something that must be is not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use streamfleet_tests::figures::{self, Figure};
use streamfleet_tests::fleet::{Order, Part};
use streamfleet_tests::soak::Soak;
use streamfleet_tests::steps::Steps;
use streamfleet_tests::{bench, faults, fleet};

/// Measures Streamfleet.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// What the producer costs, beside ffmpeg and GStreamer.
    Producer,
    /// What becomes of pictures when something breaks.
    FaultsProducer {
        /// Only these scenarios, separated by commas.
        #[arg(long)]
        only: Option<String>,
    },
    /// What the operator costs with fleets of streams, on the cluster that `STREAMFLEET_CLUSTER` names.
    Operator {
        /// How many streams the largest fleet has.
        #[arg(long, default_value_t = 10_000)]
        streams: usize,
        /// Only these parts, separated by commas: growth, changes, storm, revoked.
        #[arg(long, default_value = "")]
        only: String,
        /// For how long every call is denied, in minutes.
        #[arg(long, default_value_t = 30)]
        revoked_minutes: u64,
    },
    /// Half an hour of faults with fifty feeds.
    Soak {
        /// Of the faults; drawn when absent.
        #[arg(long)]
        seed: Option<u64>,
        /// With faults, in minutes.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
    },
    /// As `streamfleet-producer run`, with a wall clock that is stepped.
    #[command(hide = true)]
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Where /status is served.
        #[arg(long)]
        admin_listen: SocketAddr,
        /// SECONDS:MILLISECONDS, each after the one before.
        #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
        steps: Vec<faults::Step>,
    },
    /// Plays cameras and throws away what they send.
    Read {
        /// For how long.
        #[arg(long)]
        seconds: u64,
        /// The cameras.
        urls: Vec<String>,
    },
}

fn main() -> ExitCode {
    let steps = Steps::start();
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(Args::parse().command, &steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps.say(format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Subject, steps: &Steps) -> Result<()> {
    let mut runtime = match command {
        // One thread: cameras, and whoever looks at clocks and counters, take little, and leave the rest to what is
        // measured.
        Subject::Producer | Subject::Read { .. } | Subject::Run { .. } => {
            tokio::runtime::Builder::new_current_thread()
        }
        Subject::FaultsProducer { .. } | Subject::Operator { .. } | Subject::Soak { .. } => {
            tokio::runtime::Builder::new_multi_thread()
        }
    };
    runtime.enable_all().build()?.block_on(perform(command, steps))
}

async fn perform(command: Subject, steps: &Steps) -> Result<()> {
    match command {
        Subject::Producer => conclude("producer", &Box::pin(bench::producer(steps)).await?, steps),
        Subject::FaultsProducer { only } => {
            let figures = faults::producer(only.as_deref().filter(|only| !only.is_empty()), steps).await?;
            conclude("faults-producer", &figures, steps)
        }
        Subject::Operator { streams, only, revoked_minutes } => {
            let (parts, revoked) = (Part::chosen(&only)?, Duration::from_mins(revoked_minutes));
            let order = Order { streams, parts, revoked };
            conclude("operator", &Box::pin(fleet::operator(&order, steps)).await?, steps)
        }
        Subject::Soak { seed, minutes } => {
            let soak = Soak::whole(seed.unwrap_or_else(|| fastrand::u64(..)));
            let soak = Soak { time: Duration::from_mins(minutes), ..soak };
            conclude("soak", &soak.run(steps).await?, steps)
        }
        Subject::Run { config, admin_listen, steps: stepped } => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).init();
            faults::produce(&config, admin_listen, &stepped).await
        }
        Subject::Read { seconds, urls } => {
            let counts = bench::read(&urls, Duration::from_secs(seconds)).await?;
            steps.text(format!("{} bytes from {} cameras", counts.iter().sum::<u64>(), counts.len()));
            Ok(())
        }
    }
}

/// Shows the figures, keeps them, and says whether all are as they must be.
fn conclude(name: &str, figures: &[Figure], steps: &Steps) -> Result<()> {
    steps.text(figures::table(figures));
    let path = figures::write(name, figures)?;
    steps.text(format!("written to {}", path.display()));
    let missed: Vec<&str> =
        figures.iter().filter(|figure| figure.is_missed()).map(|figure| figure.metric.as_str()).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join(", "));
    }
    Ok(())
}
