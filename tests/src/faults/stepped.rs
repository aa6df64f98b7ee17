//! The producer with a wall clock that is stepped: the same library in a process of its own, since the shipped program has
//! no way to do that.

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prometheus_client::registry::Registry;
use streamfleet_producer::admin::{self, Admin, Readiness};
use streamfleet_producer::board::Board;
use streamfleet_producer::clock;
use streamfleet_producer::config::Watch;
use streamfleet_producer::metrics::Metrics;
use streamfleet_producer::supervisor::Supervisor;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a stopped process may take to have everything stored.
const DRAIN: Duration = Duration::from_secs(20);

/// A step of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// So long after the start, or after the step before.
    pub after: Duration,
    /// By so many milliseconds.
    pub by_ms: i64,
}

impl FromStr for Step {
    type Err = anyhow::Error;

    /// `SECONDS:MILLISECONDS`, such as `20:-3600000`.
    fn from_str(text: &str) -> Result<Self> {
        let (after, by_ms) = text.split_once(':').context("a step is SECONDS:MILLISECONDS")?;
        Ok(Self { after: Duration::from_secs(after.parse()?), by_ms: by_ms.parse()? })
    }
}

/// Carries the feeds of a configuration until SIGTERM, and steps the clock.
pub async fn produce(config: &Path, admin: SocketAddr, steps: &[Step]) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut registry = Registry::with_prefix("streamfleet_producer");
    let metrics = Metrics::register(&mut registry);
    let board = Board::new("stepped".to_owned());
    let (_readiness, ready) = watch::channel(Readiness::Ready);
    let served = Admin { board: Arc::clone(&board), registry: Arc::new(registry), readiness: ready };
    let listener = TcpListener::bind(admin).await?;
    // Ends with the process.
    drop(tokio::spawn(async move { axum::serve(listener, admin::router(served)).await }));
    let mut supervisor = Supervisor::new(board, metrics, DRAIN);
    let configuration = Watch::new(config).look().await.context("there is no configuration")??.configuration;
    supervisor.apply(&configuration);
    let stepped = async {
        for step in steps {
            tokio::time::sleep(step.after).await;
            tracing::info!(by_ms = step.by_ms, "The wall clock is stepped");
            clock::step_wall(step.by_ms);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        () = stepped => {}
    }
    supervisor.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read() {
        let step: Step = "20:-3600000".parse().unwrap();
        assert_eq!(step, Step { after: Duration::from_secs(20), by_ms: -3_600_000 });
        assert!("20".parse::<Step>().is_err());
    }
}
