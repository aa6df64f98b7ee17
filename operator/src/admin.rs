//! `/healthz`, `/readyz` and `/metrics`, on a thread of their own: a process that gets too little processor time for its work
//! still answers, and one whose work hangs says so.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use jiff::Timestamp;
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{ConditionType, VideoStream};
use tokio_util::sync::CancellationToken;

use crate::aws::Lane;
use crate::metrics::Metrics;
use crate::pulse::Pulses;
use crate::watch::{Caches, Triggers};

/// The media type of the metrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is asked about.
#[derive(Clone)]
pub struct Shared {
    /// What is known of the cluster.
    pub caches: Caches,
    /// What waits to be looked at.
    pub triggers: Triggers,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The loops of the process.
    pub pulses: Pulses,
    /// Why nothing can be done yet.
    pub obstacles: Obstacles,
}

/// Why the operator cannot work, beside caches that are not filled; empty where it can.
#[derive(Debug, Clone, Default)]
pub struct Obstacles {
    reasons: Arc<Mutex<Vec<String>>>,
}

impl Obstacles {
    /// Replaces what is known.
    pub fn set(&self, reasons: Vec<String>) {
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    fn get(&self) -> Vec<String> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The server. It ends when this is dropped.
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens, and serves from a thread of its own.
///
/// # Errors
/// When the address is taken, or there is no thread to be had.
pub fn serve(address: SocketAddr, shared: Shared) -> std::io::Result<Admin> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let serving = async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            // Who still asks when we stop is not waited for.
            tokio::select! {
                result = axum::serve(listener, router(shared)) => result,
                () = stopped => Ok(()),
            }
        };
        if let Err(error) = runtime.block_on(serving) {
            tracing::error!(error = %error, "Health and metrics are served no more");
        }
    })?;
    Ok(Admin { stop, thread: Some(thread) })
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(shared)
}

/// Not healthy when a loop hangs; says which.
async fn healthy(State(shared): State<Shared>) -> Response {
    let silent = shared.pulses.silent();
    if silent.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("hangs: {}", silent.join(", "))).into_response()
}

/// Not ready before every cache has had its first list, nor with definitions that are too old; says which. A replica that stands
/// by is ready: it can take over.
async fn ready(State(shared): State<Shared>) -> Response {
    let obstacles = shared.obstacles.get();
    if !obstacles.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, obstacles.join("; ")).into_response();
    }
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
    let Shared { caches, triggers, metrics, .. } = shared;
    for lane in Lane::ALL {
        metrics.set_queue_depth("StreamClass", lane.as_str(), triggers.classes.depth(lane));
        metrics.set_queue_depth("VideoStream", lane.as_str(), triggers.streams.depth(lane));
        metrics.set_queue_depth("Camera", lane.as_str(), triggers.cameras.depth(lane));
    }
    metrics.set_objects("StreamClass", caches.classes.len());
    metrics.set_objects("VideoStream", caches.streams.len());
    metrics.set_objects("Camera", caches.cameras.len());
    metrics.set_unreadable("StreamClass", caches.left_classes.unreadable());
    metrics.set_unreadable("VideoStream", caches.left_streams.unreadable());
    metrics.set_unreadable("Camera", caches.left_cameras.unreadable());

    let ready = ConditionType::Ready.as_str();
    let (streams, cameras) = (caches.streams.state(), caches.cameras.state());
    let of_stream =
        |index: usize| streams[index].status.as_ref().map_or(&[][..], |status| &status.conditions);
    let of_camera =
        |index: usize| cameras[index].status.as_ref().map_or(&[][..], |status| &status.conditions);
    let value =
        |conditions| find_condition(conditions, ready).map_or("Unknown", |ready| ready.status.as_str());
    for wanted in ["True", "False", "Unknown"] {
        let count = (0..streams.len()).filter(|index| value(of_stream(*index)) == wanted).count();
        metrics.set_streams(wanted, count);
        let count = (0..cameras.len()).filter(|index| value(of_camera(*index)) == wanted).count();
        metrics.set_cameras(wanted, count);
    }
    metrics.set_drift_age(oldest_drift(streams.iter().map(AsRef::as_ref), Timestamp::now()));
    let ingests = |index: &usize| is_true(of_camera(*index), ConditionType::Ingesting.as_str());
    let expected = cameras.iter().filter(|camera| camera.metadata.deletion_timestamp.is_none()).count();
    metrics.set_recording(expected, (0..cameras.len()).filter(ingests).count());
}

/// For how long the oldest drift of these streams has been there; zero where there is none.
fn oldest_drift<'a>(streams: impl Iterator<Item = &'a VideoStream>, now: Timestamp) -> Duration {
    let drift = streams.filter_map(|stream| stream.status.as_ref()).flat_map(|status| &status.drift);
    let oldest = drift.map(|drift| drift.since.0).min();
    // A clock that was set back makes none older than it is.
    oldest.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_age_of_drift_is_that_of_the_oldest_and_nothing_without_any() {
        let stream = |since: &[i64]| -> VideoStream {
            let drift = since.iter().enumerate().map(|(field, since)| {
                let since = Timestamp::from_second(*since).unwrap().to_string();
                json!({ "field": field.to_string(), "desired": "1", "observed": "2", "since": since })
            });
            serde_json::from_value(json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream",
                "metadata": { "name": "door", "namespace": "shop" }, "spec": { "streamClassName": "standard" },
                "status": { "drift": drift.collect::<Vec<_>>() },
            }))
            .unwrap()
        };
        let streams = [stream(&[]), stream(&[900, 400]), stream(&[700])];
        let age = |from: usize, now| {
            oldest_drift(streams[..from].iter(), Timestamp::from_second(now).unwrap()).as_secs()
        };
        assert_eq!([age(1, 1_000), age(3, 1_000), age(3, 300)], [0, 600, 0]);
    }
}
