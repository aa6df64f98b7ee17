//! `PutMedia`: one session from the request's head to the last acknowledgement.
//!
//! What the media may be is decided by [`crate::ingest`]; here are the head's rules, wall time, the connection, and the
//! order of acknowledgements. A session ends in one of the ways of [`End`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use streamfleet_media::{
    ack::{Ack, AckKind, ErrorId},
    limits::PUT_MEDIA_CONNECTIONS_MAX,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Caller,
    clock::now_ms,
    control::{Selection, select_serving, shapes},
    endpoint,
    error::ServiceError,
    ingest::{Fragment, Ingest, IngestEvent},
    number::FragmentNumber,
    operation::Operation,
    persist::{Pending, Persister},
    service::Service,
    store::{FragmentMeta, Stream, catalog::Slot, media::FragmentBytes},
    wire::{Body, Cut, body},
};

const STREAM_NAME: &str = "x-amzn-stream-name";
const STREAM_ARN: &str = "x-amzn-stream-arn";
const TIMECODE_TYPE: &str = "x-amzn-fragment-timecode-type";
const START_TIMESTAMP: &str = "x-amzn-producer-start-timestamp";

/// Acknowledgements on their way to the client; the answer ends when the session drops its sender.
pub type AckSender = mpsc::UnboundedSender<Result<Bytes, Cut>>;

/// What a cluster's time counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The epoch.
    Absolute,
    /// The start of the session, in milliseconds since the epoch.
    Relative(u64),
}

/// A request that may begin to upload.
#[derive(Debug)]
pub struct Accepted {
    service: Arc<Service>,
    stream: Arc<Stream>,
    slot: Slot,
    origin: Origin,
}

/// The stream's name as the head gives it, for the log of calls.
pub fn stream_named(headers: &HeaderMap) -> Option<String> {
    let Selection { name, arn } = selection(headers);
    name.or_else(|| arn.and_then(|arn| shapes::stream_arn(&arn).map(|arn| arn.name.to_owned())))
}

/// Checks the head of a request and takes the stream's one place for a writer.
pub fn accept(
    service: &Arc<Service>,
    caller: &Caller,
    base: &str,
    headers: &HeaderMap,
) -> Result<Accepted, ServiceError> {
    let origin = origin(headers)?;
    let stream = select_serving(service, caller, &selection(headers))?;
    endpoint::check(Operation::PutMedia, &stream.record().arn(), base)?;
    let slot = stream.writers.take(PUT_MEDIA_CONNECTIONS_MAX).ok_or_else(|| {
        ServiceError::connection_limit(
            "The stream has a PutMedia connection already; the newcomer is refused.",
        )
    })?;
    Ok(Accepted { service: service.clone(), stream, slot, origin })
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
        // Asking for the body makes the server say "100 Continue"; after the answer's head it would be too late.
        let first = if expects { incoming.frame().await } else { None };
        let (acks, receiver) = mpsc::unbounded_channel();
        let persister = Persister::start(&self.service, &self.stream, acks.downgrade());
        let session = Session {
            ingest: Ingest::new(),
            open: None,
            acks,
            persister,
            stream: self.stream,
            service: self.service,
            origin: self.origin,
        };
        tokio::spawn(session.run(incoming, first, self.slot));
        body::ok("application/json", body::unbounded(receiver))
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The request body ended: everything is still acknowledged.
    Body,
    /// An error was acknowledged.
    Refused,
    /// Nothing came for too long; the answer ends.
    Silence,
    /// The client went away, or the emulator ends.
    Gone,
    /// A fault cuts the connection.
    Cut,
}

/// The fragment that is coming in.
#[derive(Clone, Copy, Debug)]
struct OpenFragment {
    number: FragmentNumber,
    server_ms: u64,
}

struct Session {
    service: Arc<Service>,
    stream: Arc<Stream>,
    origin: Origin,
    ingest: Ingest,
    open: Option<OpenFragment>,
    acks: AckSender,
    persister: Persister,
}

type Incomer = Option<Result<Frame<Bytes>, hyper::Error>>;

impl Session {
    async fn run(mut self, mut incoming: Incoming, first: Incomer, slot: Slot) {
        let end = match first.map(|frame| self.take_frame(Some(frame))) {
            Some(Some(end)) => end,
            Some(None) | None => self.receive(&mut incoming).await,
        };
        tracing::debug!(stream = %self.stream.record().name, ?end, "A PutMedia session ends");
        match end {
            End::Body => self.await_persisted().await,
            End::Refused => self.linger(incoming).await,
            End::Cut => {
                let _ = self.acks.send(Err(Cut));
            }
            End::Silence | End::Gone => {}
        }
        // The place is free before the client can see the end of the answer, so that it may come back at once.
        drop(slot);
    }

    /// Takes in the body until something ends the session.
    async fn receive(&mut self, incoming: &mut Incoming) -> End {
        let options = &self.service.options;
        let begun = Instant::now();
        let (interval, limit) = (options.idle_ack_interval, options.idle_limit);
        let expires = begun + options.put_session_limit;
        let mut silence = Silence { last: begun, interval, limit };
        let mut watches = Watches::of(&self.service, &self.stream);
        let acks = self.acks.clone();
        let failed = self.persister.failed();
        loop {
            tokio::select! {
                biased;
                end = watches.order() => return end.unwrap_or_else(|| self.refuse(ErrorId::StreamNotActive)),
                () = acks.closed() => return End::Gone,
                () = failed.cancelled() => return End::Refused,
                () = sleep_until(expires) => return self.refuse(ErrorId::MaxConnectionDurationReached),
                () = sleep_until(silence.next()) => {
                    if silence.is_too_long() {
                        return End::Silence;
                    }
                    self.acknowledge(&Ack::idle());
                }
                frame = incoming.frame() => {
                    silence.last = Instant::now();
                    if let Some(end) = self.take_frame(frame) {
                        return end;
                    }
                }
            }
        }
    }

    /// Takes one frame of the body; an end, if it brings one.
    fn take_frame(&mut self, frame: Incomer) -> Option<End> {
        let end = match frame {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    self.ingest.push(bytes);
                }
                None
            }
            // The connection broke: what is half here was never received.
            Some(Err(_)) => return Some(End::Gone),
            None => {
                self.ingest.finish();
                Some(End::Body)
            }
        };
        while let Some(event) = self.ingest.next() {
            if self.take_event(event) == Some(End::Refused) {
                return Some(End::Refused);
            }
        }
        end
    }

    /// Tells of an event; the end, if it is one.
    fn take_event(&mut self, event: IngestEvent) -> Option<End> {
        match event {
            IngestEvent::Started { timecode, .. } => {
                let open = self.allot();
                self.open = Some(open);
                self.acknowledge(&ack(AckKind::Buffering, timecode, open.number));
                let ordered = self.service.faults.strike_fragment(&self.stream.record().name)?;
                self.fail(ErrorId::from_code(ordered), Some(timecode));
                Some(End::Refused)
            }
            IngestEvent::Received(fragment) => {
                self.take_fragment(fragment);
                None
            }
            IngestEvent::Refused { error, timecode } => {
                self.fail(error, timecode);
                Some(End::Refused)
            }
        }
    }

    fn take_fragment(&mut self, fragment: Fragment) {
        let open = self.open.take().unwrap_or_else(|| self.allot());
        let meta = FragmentMeta {
            number: open.number,
            producer_ms: self.producer_ms(&fragment),
            server_ms: open.server_ms,
            length_ms: fragment.length_ms,
            bytes: (fragment.head.len() + fragment.body.len()) as u64,
        };
        let Fragment { timecode, head, body, .. } = fragment;
        self.stream.media.receive(meta, FragmentBytes { head, body });
        self.acknowledge(&ack(AckKind::Received, timecode, open.number));
        if self.stream.record().retention_hours == 0 {
            self.stream.media.trim_unstored(now_ms());
        } else {
            self.persister.store(Pending { number: open.number, timecode });
        }
    }

    fn producer_ms(&self, fragment: &Fragment) -> u64 {
        let nanos = u128::from(fragment.timecode) * u128::from(fragment.timecode_scale);
        let millis = u64::try_from(nanos / 1_000_000).unwrap_or(u64::MAX);
        match self.origin {
            Origin::Absolute => millis,
            Origin::Relative(start) => start.saturating_add(millis),
        }
    }

    fn allot(&self) -> OpenFragment {
        let server_ms = now_ms();
        OpenFragment { number: self.stream.media.allot(server_ms), server_ms }
    }

    fn acknowledge(&self, ack: &Ack) {
        // A client that is gone is noticed where the session waits.
        let _ = self.acks.send(Ok(Bytes::from(ack.to_line())));
    }

    /// Refuses the session from outside the media.
    fn refuse(&mut self, error: ErrorId) -> End {
        let timecode = self.ingest.open_timecode();
        self.fail(error, timecode);
        End::Refused
    }

    fn fail(&mut self, error: ErrorId, timecode: Option<u64>) {
        let number = match (self.open.take(), timecode) {
            (Some(open), _) => Some(open.number),
            // Refused for its time, before it was announced.
            (None, Some(_)) => Some(self.allot().number),
            (None, None) => None,
        };
        tracing::info!(stream = %self.stream.record().name, %error, "Refused a PutMedia session");
        let number = number.and_then(|number| number.to_string().parse().ok());
        self.persister.mute();
        self.acknowledge(&Ack::failure(error, timecode.map(|timecode| timecode as i64), number));
    }

    /// The request body has ended; the answer ends when all that was received is stored.
    async fn await_persisted(&mut self) {
        let mut watches = Watches::of(&self.service, &self.stream);
        let acks = self.acks.clone();
        tokio::select! {
            () = self.persister.finish() => {}
            () = acks.closed() => {}
            end = watches.order() => match end {
                Some(End::Cut) => {
                    let _ = self.acks.send(Err(Cut));
                }
                Some(_) => {}
                None => self.fail(ErrorId::StreamNotActive, None),
            },
        }
    }

    /// Closing at once might reset the connection before the client has read the error.
    async fn linger(&self, mut incoming: Incoming) {
        const LINGER: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + LINGER;
        let rest = async {
            while let Some(Ok(_)) = incoming.frame().await {}
            // The body has ended; give the client the time to read.
        };
        tokio::select! {
            _ = timeout_at(deadline, rest) => {}
            () = self.acks.closed() => {}
        }
    }
}

fn ack(kind: AckKind, timecode: u64, number: FragmentNumber) -> Ack {
    let number = number.to_string().parse().ok();
    Ack { kind, timecode: Some(timecode as i64), number, error: None, error_code: None }
}

/// Silence on the request body.
struct Silence {
    last: Instant,
    interval: Duration,
    limit: Duration,
}

impl Silence {
    /// When something is due about the silence: an `IDLE` at each interval, the end at the limit.
    fn next(&self) -> Instant {
        let intervals = self.last.elapsed().as_nanos() / self.interval.as_nanos().max(1) + 1;
        let next = self.interval.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX));
        self.last + next.min(self.limit)
    }

    fn is_too_long(&self) -> bool {
        self.last.elapsed() >= self.limit
    }
}

/// Orders from outside that end a session.
struct Watches {
    cut: watch::Receiver<u64>,
    outage: watch::Receiver<u64>,
    media: watch::Receiver<u64>,
    shutdown: CancellationToken,
    stream: Arc<Stream>,
}

impl Watches {
    fn of(service: &Service, stream: &Arc<Stream>) -> Self {
        Self {
            cut: stream.cut_writers.subscribe(),
            outage: service.outage.subscribe(),
            media: stream.media.subscribe(),
            shutdown: service.shutdown.clone(),
            stream: stream.clone(),
        }
    }

    /// Waits for an order; `None` when the stream was deleted.
    async fn order(&mut self) -> Option<End> {
        loop {
            tokio::select! {
                biased;
                _ = self.cut.changed() => return Some(End::Cut),
                _ = self.outage.changed() => return Some(End::Cut),
                () = self.shutdown.cancelled() => return Some(End::Gone),
                _ = self.media.changed() => {
                    if self.stream.media.is_deleted() {
                        return None;
                    }
                }
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
