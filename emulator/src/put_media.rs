//! `PutMedia`: the head of a request, and the reading of its body.
//!
//! What the media may be, what is acknowledged and when a session ends is decided by [`crate::ingest::line`].

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Caller,
    clock,
    control::{Selection, arn},
    endpoint,
    error::ServiceError,
    ingest::line::{ConnectionId, Origin, Reading, Refusal},
    operation::Operation,
    plane::select_serving,
    service::Service,
    upload::{AckSender, Upload},
    wire::{Body, body},
};

const STREAM_NAME: &str = "x-amzn-stream-name";
const STREAM_ARN: &str = "x-amzn-stream-arn";
const TIMECODE_TYPE: &str = "x-amzn-fragment-timecode-type";
const START_TIMESTAMP: &str = "x-amzn-producer-start-timestamp";

/// A request that may begin to upload.
#[derive(Debug)]
pub struct Accepted {
    session: Session,
    answer: mpsc::UnboundedReceiver<Result<Bytes, crate::wire::Cut>>,
}

/// The stream's name as the head gives it, for the log of calls.
pub fn stream_named(headers: &HeaderMap) -> Option<String> {
    let Selection { name, arn } = selection(headers);
    name.or_else(|| arn.and_then(|arn| arn::stream_name(&arn).map(str::to_owned)))
}

/// Checks the head of a request and takes the stream's one place for a writer.
pub async fn accept(
    service: &Arc<Service>,
    caller: &Caller,
    base: &str,
    headers: &HeaderMap,
) -> Result<Accepted, ServiceError> {
    let origin = origin(headers)?;
    let stream = select_serving(service, caller, &selection(headers))?;
    endpoint::check(Operation::PutMedia, &stream.record().arn(), base)?;
    let upload = Upload::of(service, &stream);
    upload.thawed().await;
    let (acks, answer) = mpsc::unbounded_channel();
    let (id, closed) = upload.open(origin, acks.clone()).map_err(refused)?;
    let shutdown = service.shutdown.clone();
    Ok(Accepted { session: Session { upload, id, closed, acks, shutdown }, answer })
}

fn refused(refusal: Refusal) -> ServiceError {
    match refusal {
        Refusal::NotActive => ServiceError::not_found(),
        Refusal::ConnectionLimit => ServiceError::connection_limit(refusal.to_string()),
        Refusal::ClientLimit => ServiceError::client_limit(refusal.to_string()),
    }
}

fn selection(headers: &HeaderMap) -> Selection {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Selection { name: text(STREAM_NAME), arn: text(STREAM_ARN) }
}

fn origin(headers: &HeaderMap) -> Result<Origin, ServiceError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text(TIMECODE_TYPE) {
        // The start is not used then, and clients have been seen to send it in other units.
        Some("ABSOLUTE") => Ok(Origin::Absolute),
        Some("RELATIVE") => text(START_TIMESTAMP)
            .and_then(start_timestamp)
            .map(Origin::Relative)
            .ok_or_else(|| ServiceError::invalid_argument(format!("{START_TIMESTAMP} must be a time"))),
        _ => Err(ServiceError::invalid_argument(format!("{TIMECODE_TYPE} must be ABSOLUTE or RELATIVE"))),
    }
}

/// Seconds since the epoch with a fraction (the C SDK), or ISO 8601 (the Java client), in milliseconds.
fn start_timestamp(text: &str) -> Option<u64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(time.as_millisecond()).ok();
    }
    let seconds: f64 = text.parse().ok()?;
    let is_time = seconds.is_finite() && (0.0..1e11).contains(&seconds);
    is_time.then(|| (seconds * 1000.0).round() as u64)
}

impl Accepted {
    /// Begins the session: the answer's head goes out while the upload has only begun. A client that `expects` to be
    /// told to continue is told so before it sees the answer.
    pub async fn start(self, mut incoming: Incoming, expects: bool) -> Response<Body> {
        let Self { session, answer } = self;
        // Asking for the body makes the server say "100 Continue"; after the answer's head it would be too late.
        let first = if expects { Some(incoming.frame().await) } else { None };
        tokio::spawn(session.run(incoming, first));
        body::ok("application/json", body::unbounded(answer))
    }
}

/// A session as its reader sees it.
#[derive(Debug)]
struct Session {
    upload: Upload,
    id: ConnectionId,
    closed: CancellationToken,
    acks: AckSender,
    shutdown: CancellationToken,
}

type Incomer = Option<Result<Frame<Bytes>, hyper::Error>>;

impl Session {
    async fn run(self, incoming: Incoming, first: Option<Incomer>) {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => {}
            // The client went away.
            () = self.acks.closed() => self.upload.broken(self.id),
            () = self.shutdown.cancelled() => self.upload.broken(self.id),
            never = self.receive(incoming, first) => match never {},
        }
    }

    /// Takes in the body, as fast as the line lets it.
    async fn receive(&self, mut incoming: Incoming, first: Option<Incomer>) -> std::convert::Infallible {
        let mut changes = self.upload.reading_changes();
        let mut more = first.is_none_or(|frame| self.take(frame));
        while more {
            changes.mark_unchanged();
            match self.upload.reading(self.id) {
                Reading::Open => tokio::select! {
                    biased;
                    _ = changes.changed() => {}
                    frame = incoming.frame() => more = self.take(frame),
                },
                Reading::From(at) => tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep_until(clock::instant(at)) => {}
                },
                Reading::Shut => {
                    let _ = changes.changed().await;
                }
            }
        }
        std::future::pending().await
    }

    /// Takes one frame of the body; whether more may come.
    fn take(&self, frame: Incomer) -> bool {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    self.upload.push(self.id, bytes);
                }
                true
            }
            // The connection broke: what is half here was never received.
            Some(Err(_)) => {
                self.upload.broken(self.id);
                false
            }
            None => {
                self.upload.finish(self.id);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_in_both_forms_seen_in_the_wild() {
        assert_eq!(start_timestamp("1732012345.678"), Some(1_732_012_345_678));
        assert_eq!(start_timestamp("2026-11-22T19:01:26.548Z"), Some(1_795_374_086_548));
        assert_eq!(start_timestamp("yesterday"), None);
        assert_eq!(start_timestamp("-1"), None);
    }
}
