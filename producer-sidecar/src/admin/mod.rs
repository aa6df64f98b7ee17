//! `/healthz`, `/readyz`, `/status` and `/metrics`, over plain HTTP. Nothing here is confidential.

mod pages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use streamfleet_contract::{STATUS_MAX_WAIT_SECONDS, STATUS_PATH};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::admin::pages::Pages;
use crate::board::Board;

/// What the endpoints show.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The feeds.
    pub board: Arc<Board>,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// Whether a configuration is in force.
    pub readiness: watch::Receiver<Readiness>,
}

/// Whether the process does what it is configured to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// No configuration could be used yet; the text says why.
    NotConfigured(String),
    /// The newest configuration is in force.
    Ready,
    /// An older configuration is in force, since the newest cannot be used; the text says why.
    Outdated(String),
}

impl Readiness {
    /// What is true after a configuration that cannot be used, and why it cannot.
    #[must_use]
    pub fn refused(&self, why: String) -> Self {
        match self {
            Self::NotConfigured(_) => Self::NotConfigured(why),
            Self::Ready | Self::Outdated(_) => Self::Outdated(why),
        }
    }
}

/// The endpoints.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(STATUS_PATH, get(status))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    match &*admin.readiness.borrow() {
        Readiness::Ready => (StatusCode::OK, "ok\n".to_owned()),
        Readiness::Outdated(why) => {
            (StatusCode::OK, format!("the newest configuration is not used: {why}\n"))
        }
        Readiness::NotConfigured(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("no configuration: {why}\n"))
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(admin): State<Admin>) -> Result<Response, StatusCode> {
    let mut pages = Pages::default();
    // Writing to memory does not fail.
    encode(&mut pages, &admin.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(pages.answer(OPEN_METRICS))
}

/// What the reader saw last, and how long it is ready to wait for something else.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen {
    instance: Option<String>,
    generation: Option<u64>,
    wait: Option<u64>,
}

async fn status(State(admin): State<Admin>, Query(seen): Query<Seen>) -> Result<Response, StatusCode> {
    let wait = Duration::from_secs(seen.wait.unwrap_or(0).min(STATUS_MAX_WAIT_SECONDS));
    let deadline = Instant::now() + wait;
    let mut generation = admin.board.generation();
    let knows_this_instance = seen.instance.as_deref() == Some(admin.board.instance());
    if let Some(known) = seen.generation.filter(|_| knows_this_instance) {
        // A timeout is an answer too: without a change.
        _ = timeout_at(deadline, generation.wait_for(|generation| *generation != known)).await;
    }
    let mut pages = Pages::default();
    admin.board.write(&mut pages).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(pages.answer("application/json"))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use streamfleet_contract::{SourceReason, Status};

    use super::*;

    fn admin() -> (Admin, Arc<Board>) {
        let board = Board::new("i".to_owned());
        let (_, readiness) = watch::channel(Readiness::Ready);
        (Admin { board: Arc::clone(&board), registry: Arc::default(), readiness }, board)
    }

    fn seen(instance: &str, generation: u64, wait: u64) -> Query<Seen> {
        Query(Seen { instance: Some(instance.to_owned()), generation: Some(generation), wait: Some(wait) })
    }

    #[test]
    fn nothing_is_said_to_be_in_force_before_something_was() {
        let why = || "no such file".to_owned();
        let first = Readiness::NotConfigured("not read yet".to_owned()).refused(why());
        assert_eq!(first, Readiness::NotConfigured(why()));
        assert_eq!(Readiness::Ready.refused(why()), Readiness::Outdated(why()));
        assert_eq!(Readiness::Outdated(String::new()).refused(why()), Readiness::Outdated(why()));
    }

    async fn told(answer: Result<Response, StatusCode>) -> Status {
        let body = axum::body::to_bytes(answer.unwrap().into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_reader_that_knows_everything_waits_for_a_change_and_others_do_not() {
        let (admin, board) = admin();
        let feed = serde_json::from_value(serde_json::json!({
            "id": "a", "source": {"rtsp": {"url": "rtsp://door.example/live"}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1"}
        }))
        .unwrap();
        let post = board.add(&feed, 0);
        let generation = board.status().generation;
        for query in [seen("other", generation, 60), seen("i", generation - 1, 60), Query(Seen::default())] {
            let answer = status(State(admin.clone()), query).now_or_never().expect("does not wait");
            assert_eq!(told(answer).await.generation, generation);
        }

        let mut waiting = std::pin::pin!(status(State(admin.clone()), seen("i", generation, 60)));
        assert!(futures::poll!(&mut waiting).is_pending());
        post.update(|status| status.source_reconnects += 1);
        assert!(futures::poll!(&mut waiting).is_pending(), "a counter is no change");
        post.update(|status| status.source.reason = SourceReason::Silent);
        assert_eq!(told(waiting.await).await.generation, generation + 1);

        let start = Instant::now();
        let unchanged = status(State(admin), seen("i", generation + 1, 1)).await;
        assert_eq!(told(unchanged).await.generation, generation + 1);
        assert!(start.elapsed() >= Duration::from_secs(1));
    }
}
