//! Drives the line of each stream with the clock, the disk and the connections of clients.
//!
//! What happens is decided by [`Line`]; here its events are carried out. A *keeper* for each stream minds the time and
//! stores what was received, one fragment after another, also when the client has gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use streamfleet_media::ack::ErrorId;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    arrivals::Arrivals,
    clock,
    cloudwatch::traffic::names,
    ingest::{
        Rules,
        line::{Arrived, ConnectionId, Ending, Line, LineEvent, LineSettings, Now, Origin, Reading, Refusal},
    },
    number::FragmentNumber,
    options::Keep,
    service::Service,
    store::{
        FragmentMeta, Stream,
        media::{FragmentBytes, PersistError},
    },
    wire::Cut,
};

/// Acknowledgements on their way to the client; the answer ends when all senders are dropped.
pub type AckSender = mpsc::UnboundedSender<Result<Bytes, Cut>>;

/// What a stream's requests share.
#[derive(Debug)]
pub struct Shared {
    inner: Mutex<Inner>,
    /// Frames as they came.
    pub arrivals: Arrivals,
    /// The keeper has something to do sooner than it knows.
    keeper: Notify,
    /// Counts moments at which it may have changed whether bodies are to be read.
    reading: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    line: Line,
    client: Option<Client>,
    /// What the keeper is to store next.
    store: Option<FragmentNumber>,
    /// Until when the keeper sleeps, on the monotonic clock; for ever when absent.
    keeper_sleeps: Option<std::time::Duration>,
}

#[derive(Debug)]
struct Client {
    id: ConnectionId,
    acks: AckSender,
    closed: CancellationToken,
}

/// A stream's uploads.
#[derive(Clone, Debug)]
pub struct Upload {
    service: Arc<Service>,
    stream: Arc<Stream>,
    shared: Arc<Shared>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open sessions.
    pub fn connections(&self) -> usize {
        usize::from(self.lock().line.connected().is_some())
    }
}

impl Upload {
    /// The uploads of a stream; its keeper begins with the first call.
    pub fn of(service: &Arc<Service>, stream: &Arc<Stream>) -> Self {
        let mut is_new = false;
        let shared = stream.upload.get_or_init(|| {
            is_new = true;
            let line = Line::new(settings(service, stream), service.faults.of_lines());
            let inner = Inner { line, client: None, store: None, keeper_sleeps: None };
            Arc::new(Shared {
                inner: Mutex::new(inner),
                arrivals: Arrivals::default(),
                keeper: Notify::new(),
                reading: watch::Sender::new(0),
            })
        });
        let upload = Self { service: service.clone(), stream: stream.clone(), shared: shared.clone() };
        if is_new {
            service.tasks.spawn(upload.clone().keep());
        }
        upload
    }

    /// Those of a stream that had any.
    pub fn if_begun(service: &Arc<Service>, stream: &Arc<Stream>) -> Option<Self> {
        stream.upload.get()?;
        Some(Self::of(service, stream))
    }

    /// Waits while a fault holds that nothing is answered.
    pub async fn thawed(&self) {
        let mut changes = self.shared.reading.subscribe();
        while self.act(|line, now| line.is_frozen(now)) {
            tokio::select! {
                _ = changes.changed() => {}
                () = self.service.shutdown.cancelled() => return,
            }
        }
    }

    /// Opens a session whose acknowledgements go to `acks`; the token is cancelled when it is over.
    pub fn open(
        &self,
        origin: Origin,
        acks: AckSender,
    ) -> Result<(ConnectionId, CancellationToken), Refusal> {
        let closed = CancellationToken::new();
        let mut inner = self.shared.lock();
        let now = clock::now();
        let opened = inner.line.open(origin, now);
        self.stream.traffic.asked(opened.is_ok(), now.wall_ms);
        let id = opened?;
        inner.client = Some(Client { id, acks, closed: closed.clone() });
        drop(inner);
        self.act(|_, _| ());
        Ok((id, closed))
    }

    /// Whether more of a body is to be read.
    pub fn reading(&self, id: ConnectionId) -> Reading {
        self.act(|line, now| line.reading(id, now))
    }

    /// Tells when [`Self::reading`] may have changed.
    pub fn reading_changes(&self) -> watch::Receiver<u64> {
        self.shared.reading.subscribe()
    }

    /// Bytes have come.
    pub fn push(&self, id: ConnectionId, bytes: Bytes) {
        let count = bytes.len() as f64;
        self.act(|line, now| line.push(id, bytes, now));
        self.stream.traffic.count(names::PUT_BYTES, count, clock::now_ms());
    }

    /// The body has ended.
    pub fn finish(&self, id: ConnectionId) {
        self.act(|line, now| line.finish(id, now));
    }

    /// The connection is gone.
    pub fn broken(&self, id: ConnectionId) {
        self.act(|line, _| line.broken(id));
        self.shared.lock().client.take_if(|client| client.id == id);
    }

    /// Ends the open session with an error now; how many there were.
    pub fn fail(&self, error: ErrorId, named: bool) -> usize {
        self.act(|line, now| {
            let open = usize::from(line.connected().is_some());
            line.fail_now(error, named, now);
            open
        })
    }

    /// Cuts the open session; how many there were.
    pub fn cut(&self) -> usize {
        self.act(|line, now| {
            let open = usize::from(line.connected().is_some());
            line.cut(now);
            open
        })
    }

    /// Faults have changed.
    pub fn look_again(&self) {
        self.act(Line::tick);
        self.shared.reading.send_modify(|count| *count += 1);
    }

    /// Does something to the line and carries out what comes of it.
    fn act<T>(&self, change: impl FnOnce(&mut Line, Now) -> T) -> T {
        let now = clock::now();
        let mut inner = self.shared.lock();
        inner.line.set_retained(self.stream.record().retention_hours > 0);
        let done = change(&mut inner.line, now);
        while let Some(event) = inner.line.next() {
            self.carry_out(&mut inner, event, now);
        }
        let wake = inner.line.wake_at(now);
        let sooner = wake.is_some_and(|wake| inner.keeper_sleeps.is_none_or(|sleeps| wake < sleeps));
        if sooner || inner.store.is_some() {
            self.shared.keeper.notify_one();
        }
        done
    }

    fn carry_out(&self, inner: &mut Inner, event: LineEvent, now: Now) {
        let traffic = &self.stream.traffic;
        match event {
            LineEvent::Ack { connection, ack } => {
                traffic.acknowledged(&ack, now.wall_ms);
                if let Some(client) = inner.client.as_ref().filter(|client| client.id == connection) {
                    // Nobody may be listening any more; the session's reader notices.
                    let _ = client.acks.send(Ok(Bytes::from(ack.to_line())));
                }
            }
            LineEvent::Close { connection, ending } => {
                if let Some(client) = inner.client.take_if(|client| client.id == connection) {
                    if ending == Ending::Cut {
                        traffic.count(names::PUT_CONNECTION_ERRORS, 1.0, now.wall_ms);
                        let _ = client.acks.send(Err(Cut));
                    }
                    client.closed.cancel();
                }
            }
            LineEvent::Frame(frame) => {
                traffic.count(names::PUT_FRAMES, 1.0, now.wall_ms);
                self.shared.arrivals.enter(frame, clock::now_us());
            }
            LineEvent::Received(arrived) => {
                traffic.received(arrived.number, arrived.server_ms, now.wall_ms);
                self.receive(*arrived, now);
            }
            LineEvent::Store(number) => match self.service.options.keep {
                Keep::Disk => inner.store = Some(number),
                Keep::Nothing => {
                    traffic.stored(number, now.wall_ms);
                    inner.line.stored(number, true, now);
                }
            },
            LineEvent::Forget(number) => self.stream.media.forget(number),
        }
    }

    fn receive(&self, arrived: Arrived, now: Now) {
        if self.service.options.keep == Keep::Nothing {
            return;
        }
        let Arrived { number, producer_ms, server_ms, fragment, .. } = arrived;
        let (length_ms, bytes) = (fragment.length_ms, fragment.bytes);
        let meta = FragmentMeta { number, producer_ms, server_ms, length_ms, bytes };
        self.stream.media.receive(meta, FragmentBytes { head: fragment.head, body: fragment.body });
        if self.stream.record().retention_hours == 0 {
            self.stream.media.trim_unstored(now.wall_ms);
        }
    }

    /// Minds the time and the disk until the emulator ends or the stream is deleted.
    async fn keep(self) {
        let mut media = self.stream.media.subscribe();
        let mut outage = self.service.outage.cuts();
        let mut storing: Option<JoinHandle<(FragmentNumber, bool)>> = None;
        let mut ending = false;
        loop {
            if storing.is_none() {
                storing = self.shared.lock().store.take().map(|number| self.store(number));
            }
            if storing.is_none() && (self.is_of_no_use() || ending && self.is_all_stored()) {
                return;
            }
            let wake = self.next_wake();
            tokio::select! {
                done = finished(&mut storing) => {
                    let (number, stored) = done;
                    if stored {
                        self.stream.traffic.stored(number, clock::now_ms());
                    }
                    self.act(|line, now| line.stored(number, stored, now));
                }
                () = self.shared.keeper.notified() => {}
                () = sleep_until(wake) => self.look_again(),
                _ = outage.changed() => {
                    self.cut();
                }
                _ = media.changed() => {
                    if self.stream.media.is_deleted() {
                        self.act(|line, now| line.set_active(false, now));
                    }
                }
                () = self.service.shutdown.cancelled(), if !ending => {
                    ending = true;
                    self.act(Line::hurry);
                }
            }
        }
    }

    /// The stream is deleted, and its last session is over.
    fn is_of_no_use(&self) -> bool {
        self.stream.media.is_deleted() && self.shared.connections() == 0
    }

    fn is_all_stored(&self) -> bool {
        // What is drawn late is hurried again: a fragment may have come after the order to end.
        self.act(|line, now| {
            line.hurry(now);
            line.unstored() == 0
        })
    }

    fn next_wake(&self) -> Instant {
        let mut inner = self.shared.lock();
        inner.keeper_sleeps = inner.line.wake_at(clock::now());
        clock::instant(inner.keeper_sleeps.unwrap_or(std::time::Duration::MAX))
    }

    fn store(&self, number: FragmentNumber) -> JoinHandle<(FragmentNumber, bool)> {
        let stream = self.stream.clone();
        self.service.tasks.spawn_blocking(move || match stream.media.persist(number) {
            // Purged or deleted before its turn is no failure of the disk.
            Ok(()) | Err(PersistError::Deleted | PersistError::Unknown) => (number, true),
            Err(PersistError::Write(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "A fragment was not stored");
                (number, false)
            }
        })
    }
}

/// The outcome of storing, when something is being stored.
async fn finished(storing: &mut Option<JoinHandle<(FragmentNumber, bool)>>) -> (FragmentNumber, bool) {
    match storing {
        Some(task) => {
            let done = task.await;
            *storing = None;
            match done {
                Ok(done) => done,
                // A panic while storing; the emulator is of no use any more, and says so.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        None => std::future::pending().await,
    }
}

fn settings(service: &Service, stream: &Stream) -> LineSettings {
    let options = &service.options;
    let record = stream.record();
    LineSettings {
        rules: Rules { keeps_media: options.keep == Keep::Disk, tells_frames: true, ..options.rules },
        persist_delay: options.persist_delay.clone(),
        session_limit: options.put_session_limit,
        idle_limit: options.idle_limit,
        idle_ack_interval: options.idle_ack_interval,
        future_limit: options.future_limit,
        past_limit: options.past_limit,
        calls_per_second: options.calls_per_second,
        fragments_per_second: options.fragments_per_second,
        bytes_per_second: options.bytes_per_second,
        first_sequence: stream.media.first_sequence(),
        seed: fastrand::u64(..),
        ..LineSettings::new(record.name.as_str())
    }
}
