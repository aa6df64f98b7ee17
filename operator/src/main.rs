//! The operator process.

use anyhow::Context as _;
use clap::Parser as _;
use streamfleet_operator::{args, run, telemetry};

fn main() -> anyhow::Result<()> {
    let settings = args::Settings::from(args::Args::parse());
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    // Two threads: the work is waiting, and each thread costs stack and heap arenas.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let _inside = runtime.enter();
    // Ends before the runtime does, which sends what is left.
    let _telemetry = telemetry::start(&settings).context("failed to start logging")?;
    runtime.block_on(run::run(settings)).context("the operator failed")
}
