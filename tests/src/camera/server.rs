//! The camera as a whole: its listening port, its connections, and the orders that it obeys.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::{Live, unix_now};
use super::{Options, Order, StartError, connection, control};
use crate::journal::Entry;

/// A running camera. It ends when this is dropped; [`Camera::stop`] waits for that.
#[derive(Debug)]
pub struct Camera {
    shared: Arc<Shared>,
    control: Option<SocketAddr>,
}

/// What a camera has sent, to all clients together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// How often PLAY was accepted.
    pub plays: u64,
    /// Pictures whose last byte has gone.
    pub pictures: u64,
    /// Their bytes, as they are stored: a length of four bytes before each unit.
    pub bytes: u64,
}

/// What all connections of a camera share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) live: Live,
    pub(super) faults: Faults,
    pub(super) cuts: broadcast::Sender<Cut>,
    pub(super) stopped: CancellationToken,
    address: SocketAddr,
    /// Keeps the port of `address` while nobody listens on it.
    _port: Socket,
    journal: Option<Mutex<File>>,
    tasks: TaskTracker,
    next_connection: AtomicU64,
    plays: AtomicU64,
    sent_pictures: AtomicU64,
    sent_bytes: AtomicU64,
    /// Ends the listening of now; none while the camera has vanished.
    listening: tokio::sync::Mutex<Option<Listening>>,
}

/// Faults that last.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) silent: AtomicBool,
    pub(super) reports: AtomicBool,
    pub(super) marker_on_each_slice: AtomicBool,
    pub(super) clock_shift_ms: AtomicI64,
}

/// How connections are ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Reset,
    Close,
}

#[derive(Debug)]
struct Listening {
    end: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Why an order could not be obeyed.
#[derive(Debug, Error)]
pub enum OrderError {
    /// The port was taken by somebody else meanwhile.
    #[error("failed to listen on {address} again: {source}")]
    Listen {
        /// The camera's address.
        address: SocketAddr,
        /// Why it could not be had.
        source: std::io::Error,
    },
    /// There is no clip of that index.
    #[error("there is no clip {0}")]
    NoSuchClip(usize),
}

impl Camera {
    /// Starts a camera; clients may connect when this returns.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if options.clips.is_empty() {
            return Err(StartError::NoClip);
        }
        let (port, address) = hold(options.listen)?;
        let listener = listen(address).await?;
        let control_listener = match options.control {
            Some(control) => Some(listen(control).await?),
            None => None,
        };
        let shared = Arc::new(Shared {
            live: Live::new(options.clips.clone(), options.picture_period, options.head_start),
            faults: Faults {
                silent: AtomicBool::new(false),
                reports: AtomicBool::new(true),
                marker_on_each_slice: AtomicBool::new(false),
                clock_shift_ms: AtomicI64::new(0),
            },
            cuts: broadcast::Sender::new(16),
            stopped: CancellationToken::new(),
            address,
            _port: port,
            journal: open_journal(&options)?,
            tasks: TaskTracker::new(),
            next_connection: AtomicU64::new(1),
            plays: AtomicU64::new(0),
            sent_pictures: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            listening: tokio::sync::Mutex::new(None),
            options,
        });
        let picture_micros = shared.options.picture_period.as_micros() as u64;
        let start_unix_ms = shared.live.start_unix().as_millis() as i64;
        shared.journal(&Entry::Start { unix_ms: start_unix_ms, picture_micros });
        *shared.listening.lock().await = Some(accept(&shared, listener));
        shared.spawn(|shared| async move { shared.live.run().await });
        let control = control_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        if let Some(listener) = control_listener {
            shared.spawn(|shared| take_orders(shared, listener));
        }
        Ok(Self { shared, control })
    }

    /// Where RTSP is served.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The stream's URL, by the address that is listened on.
    pub fn url(&self) -> String {
        format!("rtsp://{}{}", self.shared.address, self.shared.options.path)
    }

    /// Where orders are taken, when that was asked for.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// What has gone to all clients so far.
    pub fn sent(&self) -> Sent {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sent {
            plays: read(&self.shared.plays),
            pictures: read(&self.shared.sent_pictures),
            bytes: read(&self.shared.sent_bytes),
        }
    }

    /// Obeys an order; it is in force when this returns.
    pub async fn order(&self, order: Order) -> Result<(), OrderError> {
        self.shared.obey(order).await
    }

    /// Ends all connections, and waits until their ends are in the journal.
    pub async fn stop(self) {
        self.shared.stopped.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

impl Shared {
    /// Counts and journals that PLAY was accepted.
    pub(super) fn played(&self, connection: u64) {
        self.journal(&Entry::Play { connection, unix_ms: unix_ms() });
        self.plays.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a picture whose last byte has gone to a client.
    pub(super) fn sent(&self, bytes: u64) {
        self.sent_pictures.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn keeps_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Appends a line to the journal. A journal that cannot be written makes every count wrong, so that is said loudly.
    pub(super) fn journal(&self, entry: &Entry) {
        let Some(journal) = &self.journal else { return };
        let mut file = journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(entry.line().as_bytes()) {
            tracing::error!(%error, "Failed to write the journal: counts of loss are void");
        }
    }

    async fn obey(self: &Arc<Self>, order: Order) -> Result<(), OrderError> {
        tracing::info!(%order, "Order");
        let faults = &self.faults;
        match order {
            Order::CutReset => self.cut(Cut::Reset),
            Order::CutClose => self.cut(Cut::Close),
            Order::Vanish => self.vanish().await,
            Order::Return => return self.come_back().await,
            Order::SilenceOn => faults.silent.store(true, Ordering::Relaxed),
            Order::SilenceOff => faults.silent.store(false, Ordering::Relaxed),
            Order::ReportsOn => faults.reports.store(true, Ordering::Relaxed),
            Order::ReportsOff => faults.reports.store(false, Ordering::Relaxed),
            Order::MarkerPicture => faults.marker_on_each_slice.store(false, Ordering::Relaxed),
            Order::MarkerSlice => faults.marker_on_each_slice.store(true, Ordering::Relaxed),
            Order::TimestampJump(ms) => self.live.jump(ms),
            Order::ClockShift(ms) => faults.clock_shift_ms.store(ms, Ordering::Relaxed),
            Order::Clip(index) if self.live.show(index) => {}
            Order::Clip(index) => return Err(OrderError::NoSuchClip(index)),
        }
        Ok(())
    }

    fn cut(&self, cut: Cut) {
        // Having no connection to cut is no error.
        let _ = self.cuts.send(cut);
    }

    async fn vanish(&self) {
        if let Some(listening) = self.listening.lock().await.take() {
            listening.end.cancel();
            // The port is free when the task has gone.
            let _ = listening.task.await;
        }
        self.cut(Cut::Reset);
    }

    async fn come_back(self: &Arc<Self>) -> Result<(), OrderError> {
        let mut listening = self.listening.lock().await;
        if listening.is_none() {
            let address = self.address;
            let again =
                TcpListener::bind(address).await.map_err(|source| OrderError::Listen { address, source })?;
            *listening = Some(accept(self, again));
        }
        Ok(())
    }

    /// Runs a task until the camera stops.
    fn spawn<F>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stopped = self.stopped.clone();
        let future = task(self.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = future => {}
            }
        });
    }
}

/// Takes connections until it is told to end.
fn accept(shared: &Arc<Shared>, listener: TcpListener) -> Listening {
    let end = shared.stopped.child_token();
    let (shared, ended) = (shared.clone(), end.clone());
    let task = tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = ended.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let id = shared.next_connection.fetch_add(1, Ordering::Relaxed);
            shared.tasks.spawn(connection::serve(shared.clone(), stream, id));
        }
    });
    Listening { end, task }
}

async fn take_orders(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.spawn(|shared| {
            control::serve(stream, move |order| {
                let shared = shared.clone();
                async move { shared.obey(order).await }
            })
        });
    }
}

/// Keeps a port for the camera, a free one for port 0. Nobody listens by this; but without it the port of a camera that has
/// vanished for a while may be given to somebody's connection, and the camera cannot come back.
fn hold(address: SocketAddr) -> Result<(Socket, SocketAddr), StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // The listener binds the same port.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let held = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket, held))
    };
    bind().map_err(|source| listen_error(address, source))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| listen_error(address, source))
}

fn listen_error(address: SocketAddr, source: std::io::Error) -> StartError {
    StartError::Listen { address, source }
}

fn open_journal(options: &Options) -> Result<Option<Mutex<File>>, StartError> {
    let Some(path) = &options.journal else { return Ok(None) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened
        .map(|file| Some(Mutex::new(file)))
        .map_err(|source| StartError::OpenJournal { path: path.clone(), source })
}

/// The wall's time, in milliseconds of the Unix epoch.
pub(super) fn unix_ms() -> i64 {
    unix_now().as_millis() as i64
}
