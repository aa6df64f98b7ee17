//! Carries one `PutMedia` session: connects, sends what it is given, reads acknowledgements, says how it ended.
//!
//! HTTP/1.1, full duplex: the service acknowledges while the body goes on. Nothing is decided here; when to open, finish,
//! abort and what to send is the session's ([`crate::session`]). Dropping an [`Upload`] drops its connection.

mod aws;
pub mod clock_offset;
mod control;
mod exchange;
pub mod identity;
pub mod network;
mod refusal;
mod request;
mod role;
#[cfg(test)]
mod tests;
pub mod trust;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use futures::FutureExt as _;
use streamfleet_contract::Stream;
use streamfleet_media::ack::Ack;
use streamfleet_media::mkv::write::Prefix;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::clock_offset::ClockOffset;
use self::exchange::{ChunkBody, Exchange};
use self::identity::{Held, Identity, LOOK_EVERY};
use self::network::Network;
use self::refusal::Judgement;
use self::request::Address;
use self::role::{AssumedRole, Purpose};
use crate::session::{Ending, Refusal, SessionId};

/// A data endpoint is asked for again after this time; AWS expects it about every 45 minutes.
const ENDPOINT_LIFETIME: Duration = Duration::from_mins(40);

/// Where credentials that were due could not be renewed, it is tried again after this time.
const RENEW_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Chunks that wait between the feed and the connection: little, so that what is not sent yet is still the buffer's.
const CHUNKS_WAITING_MAX: usize = 8;

/// A piece of the body: the Matroska elements, and the frame that follows them.
pub type Chunk = Chain<Prefix, Bytes>;

/// A chunk that is all elements.
pub fn plain_chunk(elements: Bytes) -> Chunk {
    Prefix::default().chain(elements)
}

/// What an upload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEvent {
    /// The service accepted the session.
    Opened,
    /// How many milliseconds the service's clock is ahead of ours, to about half a second. Once a session.
    ServerTime(i64),
    /// An acknowledgement came.
    Ack(Ack),
    /// The credentials of this session are about to expire, or were replaced: the next session will have others. The session
    /// itself goes on.
    CredentialsExpireSoon,
    /// The session is over.
    Closed(Ending),
}

/// What all feeds of the process share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Whose credentials.
    pub identity: Identity,
    /// The way to AWS.
    pub network: Network,
}

/// Opens sessions for one stream.
#[derive(Debug, Clone)]
pub struct Uploader {
    stream: Stream,
    shared: Arc<Shared>,
    offset: Arc<ClockOffset>,
    role: Arc<AssumedRole>,
    endpoint: Arc<Mutex<Option<(String, Instant)>>>,
}

/// A session that runs.
#[derive(Debug)]
pub struct Upload {
    /// Its name.
    pub id: SessionId,
    /// Takes the body; dropping it ends the body.
    pub body: Option<mpsc::Sender<Chunk>>,
    task: JoinHandle<()>,
    /// Bytes that the network has taken, and how many there were at the last look.
    sent: Arc<AtomicU64>,
    seen: u64,
}

impl Upload {
    /// Whether the network has taken anything since this was asked last: a large piece may take long on a slow way.
    pub fn has_progressed(&mut self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        std::mem::replace(&mut self.seen, sent) != sent
    }

    /// The network has taken something.
    #[cfg(test)]
    pub fn note_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Uploader {
    /// For a stream.
    pub fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        Self { stream, shared, offset: Arc::default(), role: Arc::default(), endpoint: Arc::default() }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Starts a session. Its events go to `events`; the last is [`UploadEvent::Closed`], unless it is dropped before.
    pub fn open(&self, id: SessionId, events: mpsc::Sender<(SessionId, UploadEvent)>) -> Upload {
        let (body, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let uploader = self.clone();
        let sent = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            // A defect here must not look like a session that goes on.
            let ending =
                match AssertUnwindSafe(uploader.run(id, chunks, &events, &counted)).catch_unwind().await {
                    Ok(Ok(ending)) => ending,
                    Ok(Err(judgement)) => uploader.learn(judgement).await,
                    Err(_) => Ending::Broken("internal fault".to_owned()),
                };
            // Nobody listens only when the feed is gone.
            _ = events.send((id, UploadEvent::Closed(ending))).await;
        });
        Upload { id, body: Some(body), task, sent, seen: 0 }
    }

    async fn learn(&self, judgement: Judgement) -> Ending {
        if judgement.forget_endpoint {
            *self.endpoint.lock().await = None;
        }
        Ending::Refused(judgement.refusal, judgement.message)
    }

    async fn run(
        &self,
        id: SessionId,
        chunks: mpsc::Receiver<Chunk>,
        events: &mpsc::Sender<(SessionId, UploadEvent)>,
        sent: &Arc<AtomicU64>,
    ) -> Result<Ending, Judgement> {
        let held = self.credentials().await?;
        let exchange = Exchange { uploader: self, id, events, sent };
        let outcome = self.run_as(exchange, &held, chunks).await;
        if let Err(Judgement { refusal: Refusal::CredentialsRefused, .. }) = &outcome {
            self.refused(&held).await;
        }
        outcome
    }

    async fn credentials(&self) -> Result<Held, Judgement> {
        let Shared { identity, network } = self.shared.as_ref();
        let base = identity.held(&self.stream.region, network, self.offset.corrected()).await?;
        match &self.stream.role_arn {
            Some(role) => {
                let purpose = Purpose { stream: &self.stream, role, network, offset: &self.offset };
                self.role.held(purpose, base, identity).await
            }
            None => Ok(base),
        }
    }

    async fn refused(&self, held: &Held) {
        match self.stream.role_arn {
            Some(_) => self.role.refused().await,
            None => self.shared.identity.refused(&held.credentials).await,
        }
    }

    async fn run_as(
        &self,
        exchange: Exchange<'_>,
        held: &Held,
        chunks: mpsc::Receiver<Chunk>,
    ) -> Result<Ending, Judgement> {
        let endpoint = self.data_endpoint(held).await?;
        let address =
            Address::parse(&endpoint).map_err(|error| aws::unreachable_endpoint(&error.to_string()))?;
        let body = ChunkBody { chunks };
        let time = self.offset.corrected();
        let request = request::put_media(&address, &self.stream, &held.credentials, time, body)
            .map_err(|error| aws::unreachable_endpoint(&error.to_string()))?;
        let connecting = self.shared.network.connect(&address, self.stream.ca_file.as_deref());
        let socket =
            Box::pin(connecting).await.map_err(|error| aws::unreachable_endpoint(&error.to_string()))?;
        tokio::select! {
            ending = exchange.run(socket, request) => ending,
            never = self.watch_credentials(exchange.id, held, exchange.events) => match never {},
        }
    }

    /// Says once when a session wants others.
    async fn watch_credentials(
        &self,
        id: SessionId,
        held: &Held,
        events: &mpsc::Sender<(SessionId, UploadEvent)>,
    ) -> std::convert::Infallible {
        let opened = self.offset.corrected();
        // Those that could not be renewed now are tried again later, not at each key frame.
        let due = held.renew_at.map(|at| if at > opened { at } else { opened + RENEW_AGAIN_AFTER });
        loop {
            let now = self.offset.corrected();
            let left = due.map(|due| due.duration_since(now).unwrap_or_default());
            if left.is_some_and(|left| left.is_zero()) || self.are_replaced(held).await {
                break;
            }
            sleep(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))).await;
        }
        // Nobody listens only when the feed is gone, and this task with it.
        _ = events.send((id, UploadEvent::CredentialsExpireSoon)).await;
        std::future::pending().await
    }

    async fn are_replaced(&self, held: &Held) -> bool {
        let Shared { identity, network } = self.shared.as_ref();
        let base = Box::pin(identity.held(&self.stream.region, network, self.offset.corrected())).await;
        base.is_ok_and(|base| base.generation != held.generation)
    }

    async fn data_endpoint(&self, held: &Held) -> Result<String, Judgement> {
        let mut cached = self.endpoint.lock().await;
        if let Some((endpoint, since)) = cached.as_ref()
            && since.elapsed() < ENDPOINT_LIFETIME
        {
            return Ok(endpoint.clone());
        }
        *cached = None;
        let asking = aws::data_endpoint(&self.stream, &held.credentials, &self.offset, &self.shared.network);
        let endpoint = Box::pin(asking).await?;
        *cached = Some((endpoint.clone(), Instant::now()));
        Ok(endpoint)
    }
}
