//! The producer's process: arguments, logging, signals, and the configuration file's changes.

mod args;
mod memory;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use prometheus_client::registry::Registry;
use streamfleet_producer::admin::{self, Admin, Readiness};
use streamfleet_producer::board::Board;
use streamfleet_producer::config::{ConfigError, Parsed, Watch};
use streamfleet_producer::logging::{self, Quiet};
use streamfleet_producer::metrics::Metrics;
use streamfleet_producer::supervisor::Supervisor;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Args, Command, LogFormat, Run};

/// How often the configuration file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Threads for what the kernel cannot do without waiting: looking up names, reading files.
const WAITING_THREADS_MAX: usize = 8;
/// How long such a thread waits for more work. Each has a stack and pieces of the heap of its own, and work goes round among
/// those that wait: with the runtime's 10 s all that an outage had called for would stay, kept by looks at files alone.
const WAITING_THREADS_STAY: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let Command::Run(run) = Args::parse().command;
    let quiet = match logging::init(&run.log, run.log_format == LogFormat::Json) {
        Ok(quiet) => quiet,
        Err(error) => return complain(&anyhow::Error::new(error)),
    };
    // One thread: all feeds are read after one wake-up, and hand on from task to task without waking another thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(WAITING_THREADS_MAX)
        .thread_keep_alive(WAITING_THREADS_STAY)
        .enable_all()
        .build();
    let outcome = runtime.context("failed to start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(serve(run, quiet));
        // Name lookups cannot be interrupted; they are not waited for.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

#[expect(clippy::print_stderr, reason = "logging may be what has failed")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("streamfleet-producer: {error:#}");
    ExitCode::FAILURE
}

async fn serve(run: Run, quiet: Quiet) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("failed to install the TLS provider");
    }
    let mut signals = Signals::new().context("failed to listen for signals")?;
    let mut registry = Registry::with_prefix("streamfleet_producer");
    let metrics = Metrics::register(&mut registry);
    let board = Board::new(instance());
    let (readiness, ready) = watch::channel(Readiness::NotConfigured("not read yet".to_owned()));
    let admin = Admin { board: Arc::clone(&board), registry: Arc::new(registry), readiness: ready };
    listen(run.admin_listen, admin).await?;
    let mut supervisor = Supervisor::new(board, metrics, run.drain());
    let mut watch = Watch::new(&run.config);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "Stopping: open fragments are ended and their storage is awaited");
                break;
            }
            _ = looks.tick() => {
                quiet.report();
                if let Some(looked) = watch.look().await {
                    take_configuration(looked, &mut supervisor, &readiness);
                }
            }
        }
    }
    tokio::select! {
        () = supervisor.stop() => {
            tracing::info!("Stopped");
            Ok(())
        }
        name = signals.next() => anyhow::bail!("aborted by a second signal, {name}"),
    }
}

fn take_configuration(
    looked: Result<Parsed, ConfigError>,
    supervisor: &mut Supervisor,
    readiness: &watch::Sender<Readiness>,
) {
    match looked {
        Ok(Parsed { configuration, unknown }) => {
            if !unknown.is_empty() {
                tracing::warn!(
                    fields = unknown.join(", "),
                    "The configuration has fields that are not known here: they are ignored"
                );
            }
            tracing::info!(feeds = configuration.feeds.len(), "Configuration read");
            supervisor.apply(&configuration);
            readiness.send_replace(Readiness::Ready);
        }
        Err(error) => {
            let after = readiness.borrow().refused(error.to_string());
            match &after {
                Readiness::Outdated(why) => {
                    tracing::error!(
                        error = why,
                        "The configuration cannot be used; what was in force stays so"
                    );
                }
                Readiness::NotConfigured(why) => {
                    tracing::error!(
                        error = why,
                        "The configuration cannot be used; nothing is carried until it can"
                    );
                }
                Readiness::Ready => {}
            }
            readiness.send_replace(after);
        }
    }
}

async fn listen(address: SocketAddr, admin: Admin) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address} for administration"))?;
    let address = listener.local_addr().context("failed to read the administration address")?;
    tracing::info!(%address, "Serving /healthz, /readyz, /status and /metrics");
    // Ends with the process.
    drop(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, admin::router(admin)).await {
            tracing::error!(%error, "Administration is not served any more");
        }
    }));
    Ok(())
}

/// Differs for each start: a restarted pod keeps its name, so it does not serve.
fn instance() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The signals that stop the process. As process 1 of a container there is no default for them.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
