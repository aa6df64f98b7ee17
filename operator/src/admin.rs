//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::watch::Caches;

/// The media type of the metrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Shared {
    caches: Caches,
    metrics: Arc<Metrics>,
}

/// Serves until the token is cancelled.
pub async fn serve(
    listener: TcpListener,
    caches: Caches,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(Shared { caches, metrics });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Listens.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Not ready before every cache has had its first list; says for which it waits.
async fn ready(State(shared): State<Shared>) -> Response {
    let missing = shared.caches.missing().await;
    if missing.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}", missing.join(", "))).into_response()
}

async fn text(State(shared): State<Shared>) -> Response {
    count(&shared);
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn count(shared: &Shared) {
    let Shared { caches, metrics } = shared;
    metrics.set_objects("StreamClass", caches.classes.len());
    metrics.set_objects("VideoStream", caches.streams.len());
    metrics.set_objects("Camera", caches.cameras.len());
    let cameras = caches.cameras.state();
    for value in ["True", "False", "Unknown"] {
        let ready = cameras.iter().filter(|camera| {
            let conditions =
                camera.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let ready = streamfleet_crds::types::find_condition(conditions, "Ready");
            ready.map_or("Unknown", |ready| ready.status.as_str()) == value
        });
        metrics.set_cameras(value, ready.count());
    }
}
