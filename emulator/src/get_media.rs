//! `GetMedia`: fragments from a place in the stream on, and new ones as they come, for as long as the session may last.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use streamfleet_media::limits::GET_MEDIA_CONNECTIONS_MAX;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    auth::Caller,
    chunk,
    clock::now_ms,
    cloudwatch::traffic::names,
    control::Selection,
    endpoint,
    error::ServiceError,
    number::FragmentNumber,
    operation::Operation,
    plane::{self, select_serving},
    service::Service,
    store::{Chunk, ReadError, Stream, catalog::Slot},
    wire::{Body, Cut, body},
};

/// The content type is not documented; this is what the AWS CLI's tests have.
pub const CONTENT_TYPE: &str = "video/webm";

/// Parts of chunks that wait for a slow reader.
const PARTS_WAITING_MAX: usize = 4;

/// Parts of chunks on their way to the client.
pub type PartSender = mpsc::Sender<Result<Bytes, Cut>>;

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(flatten)]
    stream: Selection,
    #[serde(rename = "StartSelector")]
    start: Option<StartSelector>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartSelector {
    #[serde(rename = "StartSelectorType")]
    kind: Option<String>,
    after_fragment_number: Option<String>,
    start_timestamp: Option<f64>,
    continuation_token: Option<String>,
}

/// Where a session starts.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Now,
    /// Behind this fragment; `None` is a number that is none of ours.
    After(Option<FragmentNumber>, String),
    Earliest,
    ServerTime(u64),
    ProducerTime(u64),
}

/// Begins a session.
pub fn answer(
    service: &Arc<Service>,
    caller: &Caller,
    base: &str,
    request: &[u8],
) -> Result<Response<Body>, ServiceError> {
    let request: Request = plane::parse(request)?;
    let selector =
        request.start.ok_or_else(|| ServiceError::invalid_argument("StartSelector is required"))?;
    let start = start(selector)?;
    let stream = select_serving(service, caller, &request.stream)?;
    endpoint::check(Operation::GetMedia, &stream.record().arn(), base)?;
    stream.traffic.count(names::GET_REQUESTS, 1.0, now_ms());
    let slot = stream.readers.take(GET_MEDIA_CONNECTIONS_MAX).ok_or_else(|| {
        stream.traffic.count(names::GET_CONNECTION_ERRORS, 1.0, now_ms());
        ServiceError::connection_limit(
            "The stream has three GetMedia connections already; the newcomer is refused.",
        )
    })?;
    let (parts, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    let session = Session {
        ends: Instant::now() + service.options.get_session_limit,
        // Subscribed before the first look, so that nothing that comes in between is missed.
        media: stream.media.subscribe(),
        cut: stream.cut_readers.subscribe(),
        outage: service.outage.cuts(),
        service: service.clone(),
        stream,
        parts,
    };
    tokio::spawn(session.run(start, slot));
    Ok(body::ok(CONTENT_TYPE, body::bounded(receiver)))
}

fn start(selector: StartSelector) -> Result<Start, ServiceError> {
    let missing = |member: &str| ServiceError::invalid_argument(format!("StartSelector needs {member}"));
    let time = selector.start_timestamp.filter(|time| time.is_finite() && *time >= 0.0);
    let time = || time.map(|time| (time * 1000.0).round() as u64).ok_or_else(|| missing("StartTimestamp"));
    let after = |number: Option<String>, member: &str| {
        let number =
            number.filter(|number| (1..=128).contains(&number.len())).ok_or_else(|| missing(member))?;
        Ok(Start::After(number.parse().ok(), number))
    };
    match selector.kind.as_deref() {
        Some("NOW") => Ok(Start::Now),
        Some("EARLIEST") => Ok(Start::Earliest),
        Some("FRAGMENT_NUMBER") => after(selector.after_fragment_number, "AfterFragmentNumber"),
        Some("CONTINUATION_TOKEN") => after(selector.continuation_token, "ContinuationToken"),
        Some("SERVER_TIMESTAMP") => time().map(Start::ServerTime),
        Some("PRODUCER_TIMESTAMP") => time().map(Start::ProducerTime),
        _ => Err(ServiceError::invalid_argument("StartSelectorType is none of the six")),
    }
}

/// Why a session stops.
enum Stop {
    /// The answer ends.
    Clean,
    /// The connection is cut.
    Cut,
}

/// What to send next.
enum Next {
    Chunk(Chunk),
    /// All that comes after this fragment.
    After(Option<FragmentNumber>),
}

struct Session {
    service: Arc<Service>,
    stream: Arc<Stream>,
    parts: PartSender,
    media: watch::Receiver<u64>,
    cut: watch::Receiver<u64>,
    outage: watch::Receiver<u64>,
    ends: Instant,
}

impl Session {
    async fn run(mut self, start: Start, slot: Slot) {
        let stop = match self.place(start) {
            Ok(next) => self.follow(next).await,
            Err(number) => {
                let _ = self.parts.send(Ok(chunk::error(&number, 4000, "FRAGMENT_NOT_FOUND"))).await;
                Stop::Clean
            }
        };
        if matches!(stop, Stop::Cut) {
            let _ = self.parts.send(Err(Cut)).await;
        }
        drop(slot);
    }

    /// Where to begin; the number when there is no such place.
    fn place(&self, start: Start) -> Result<Next, String> {
        let media = &self.stream.media;
        let found = match start {
            Start::After(Some(number), _) => return Ok(Next::After(Some(number))),
            Start::After(None, text) => return Err(text),
            Start::Earliest => return Ok(Next::After(None)),
            Start::Now => media.latest(),
            // The fragment that contains the time, or the first one after it.
            Start::ServerTime(time) => {
                media.find_first(|meta| meta.server_ms.saturating_add(meta.length_ms) >= time)
            }
            Start::ProducerTime(time) => {
                media.find_first(|meta| meta.producer_ms.saturating_add(meta.length_ms) >= time)
            }
        };
        Ok(match found {
            Some(chunk) => Next::Chunk(chunk),
            // Nothing there yet: whatever comes.
            None => Next::After(media.latest().map(|chunk| chunk.meta.number)),
        })
    }

    async fn follow(&mut self, mut next: Next) -> Stop {
        loop {
            next = match next {
                Next::Chunk(chunk) => match self.send(&chunk).await {
                    Ok(()) => Next::After(Some(chunk.meta.number)),
                    Err(stop) => return stop,
                },
                Next::After(number) => match self.stream.media.next_after(number) {
                    Some(chunk) => Next::Chunk(chunk),
                    None => match self.wait().await {
                        Ok(()) => Next::After(number),
                        Err(stop) => return stop,
                    },
                },
            };
        }
    }

    async fn send(&mut self, chunk: &Chunk) -> Result<(), Stop> {
        let bytes = match read(&self.service, &self.stream, chunk).await {
            Ok(bytes) => bytes,
            // It expired meanwhile.
            Err(Unreadable::Gone) => return Ok(()),
            Err(Unreadable::Damaged) => {
                self.stream.traffic.count(names::GET_SUCCESS, 0.0, now_ms());
                let error = chunk::error(&chunk.meta.number.to_string(), 5000, "INTERNAL_ERROR");
                self.send_part(error).await?;
                return Err(Stop::Clean);
            }
        };
        let mut sent = 0;
        for part in bytes {
            sent += part.len();
            self.send_part(part).await?;
        }
        self.send_part(chunk::trailer(&chunk.meta, now_ms())).await?;
        self.stream.traffic.sent(sent, chunk.meta.server_ms, now_ms());
        Ok(())
    }

    async fn send_part(&mut self, part: Bytes) -> Result<(), Stop> {
        let parts = self.parts.clone();
        tokio::select! {
            biased;
            stop = self.stop() => Err(stop),
            sent = parts.send(Ok(part)) => sent.map_err(|_| Stop::Clean),
        }
    }

    /// Waits for a new fragment.
    async fn wait(&mut self) -> Result<(), Stop> {
        let mut media = self.media.clone();
        let changed = tokio::select! {
            biased;
            stop = self.stop() => return Err(stop),
            _ = media.changed() => media,
        };
        self.media = changed;
        if self.stream.media.is_deleted() { Err(Stop::Clean) } else { Ok(()) }
    }

    /// Waits until the session must stop.
    async fn stop(&mut self) -> Stop {
        tokio::select! {
            biased;
            _ = self.cut.changed() => Stop::Cut,
            _ = self.outage.changed() => Stop::Cut,
            () = self.service.shutdown.cancelled() => Stop::Clean,
            () = self.parts.closed() => Stop::Clean,
            () = sleep_until(self.ends) => Stop::Clean,
        }
    }
}

/// Why a fragment cannot be sent.
pub enum Unreadable {
    /// It was purged.
    Gone,
    /// Its bytes on disk are wrong.
    Damaged,
}

/// Reads a fragment off the threads that serve connections and puts the service's tags before its Cluster.
pub async fn read(service: &Service, stream: &Arc<Stream>, chunk: &Chunk) -> Result<[Bytes; 3], Unreadable> {
    let (stream, wanted) = (stream.clone(), chunk.clone());
    let read = service.tasks.track_future(tokio::task::spawn_blocking(move || stream.media.read(&wanted)));
    match read.await {
        Ok(Ok(bytes)) => Ok(chunk::media(&chunk.meta, bytes)),
        Ok(Err(ReadError::Io(error))) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Unreadable::Gone)
        }
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "A stored fragment cannot be read");
            Err(Unreadable::Damaged)
        }
        Err(_) => Err(Unreadable::Damaged),
    }
}
