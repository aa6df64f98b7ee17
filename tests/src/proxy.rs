//! A TCP proxy that breaks connections by order. It stands between a producer and the service.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// A connection on this machine is made at once or not at all.
const HOLE_IS_FULL: Duration = Duration::from_millis(300);

/// No cut is due.
const NEVER: i64 = i64::MAX;

/// A running proxy. It ends, with its connections, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listening: Option<Listening>,
    /// Kept while nothing answers: a listener whose queue is full, and what fills it.
    hole: Option<(TcpListener, Vec<TcpStream>)>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    target: OnceLock<SocketAddr>,
    /// Bytes that may still go up before the connection that carries the next one is cut.
    allowance: AtomicI64,
    carried_up: AtomicU64,
    connections: AtomicU64,
    cuts: broadcast::Sender<()>,
    flowing_up: watch::Sender<bool>,
    flowing_down: watch::Sender<bool>,
    /// Whether connections are reset as soon as they are made.
    turns_away: AtomicBool,
    /// When that was done, in milliseconds of the Unix epoch.
    turned_away: Mutex<Vec<i64>>,
    dropped: CancellationToken,
}

#[derive(Debug)]
struct Listening {
    end: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback; connections end at once until [`Proxy::forward_to`] is called.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
            target: OnceLock::new(),
            allowance: AtomicI64::new(NEVER),
            carried_up: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            cuts: broadcast::Sender::new(16),
            flowing_up: watch::Sender::new(true),
            flowing_down: watch::Sender::new(true),
            turns_away: AtomicBool::new(false),
            turned_away: Mutex::new(Vec::new()),
            dropped: CancellationToken::new(),
        });
        let listening = Some(accept(&shared, listener));
        Ok(Self { shared, listening, hole: None })
    }

    /// Says where connections go: the service may want to know our address before it has one of its own. The first call
    /// holds.
    pub fn forward_to(&self, target: SocketAddr) {
        self.shared.target.get_or_init(|| target);
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// How many connections were taken so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many bytes went from clients to the target so far.
    pub fn carried_up(&self) -> u64 {
        self.shared.carried_up.load(Ordering::Relaxed)
    }

    /// Resets all connections now.
    pub fn cut(&self) {
        // Having none is no error.
        let _ = self.shared.cuts.send(());
    }

    /// Resets the connection that carries the byte after the next `bytes` from clients to the target; those bytes
    /// arrive. Once.
    pub fn cut_after(&self, bytes: u32) {
        self.shared.allowance.store(i64::from(bytes), Ordering::Relaxed);
    }

    /// Whether a cut that was ordered by [`Proxy::cut_after`] is still to come.
    pub fn cut_is_due(&self) -> bool {
        self.shared.allowance.load(Ordering::Relaxed) != NEVER
    }

    /// Resets all connections, and refuses new ones until [`Proxy::admit`]: nobody listens.
    pub async fn refuse(&mut self) {
        self.stop_listening().await;
        self.cut();
    }

    /// Resets all connections, and new ones as soon as they are made, until [`Proxy::admit`]. Unlike those that nobody
    /// listens to they can be counted: [`Proxy::turned_away`].
    pub fn turn_away(&self) {
        self.shared.turns_away.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// When connections were turned away, in milliseconds of the Unix epoch.
    pub fn turned_away(&self) -> Vec<i64> {
        self.shared.turned_away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing comes back any more, until [`Proxy::admit`]: connections stand and carry nothing, new ones are neither made
    /// nor refused. The kernel still confirms what was sent on the old ones, as far as its buffers reach.
    pub async fn black_hole(&mut self) -> std::io::Result<()> {
        self.stop_listening().await;
        self.stall();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.shared.address)?;
        // With a full queue the kernel leaves requests for connections unanswered (listen(2), tcp(7)).
        let listener = socket.listen(0)?;
        let mut fillers = Vec::new();
        while let Ok(filler) =
            tokio::time::timeout(HOLE_IS_FULL, TcpStream::connect(self.shared.address)).await
        {
            fillers.push(filler?);
        }
        self.hole = Some((listener, fillers));
        Ok(())
    }

    /// Takes connections again.
    pub async fn admit(&mut self) -> std::io::Result<()> {
        self.shared.turns_away.store(false, Ordering::Relaxed);
        if self.hole.take().is_some() {
            self.flow();
        }
        if self.listening.is_none() {
            let listener = TcpListener::bind(self.shared.address).await?;
            self.listening = Some(accept(&self.shared, listener));
        }
        Ok(())
    }

    async fn stop_listening(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.end.cancel();
            // The port is closed when the task has gone.
            let _ = listening.task.await;
        }
    }

    /// Forwards nothing in either direction until [`Proxy::flow`]; connections stay.
    pub fn stall(&self) {
        self.shared.flowing_up.send_replace(false);
        self.shared.flowing_down.send_replace(false);
    }

    /// Forwards nothing from the target to clients until [`Proxy::flow`].
    pub fn withhold_answers(&self) {
        self.shared.flowing_down.send_replace(false);
    }

    /// Forwards again.
    pub fn flow(&self) {
        self.shared.flowing_up.send_replace(true);
        self.shared.flowing_down.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.dropped.cancel();
    }
}

fn accept(shared: &Arc<Shared>, listener: TcpListener) -> Listening {
    let end = shared.dropped.child_token();
    let (shared, ended) = (shared.clone(), end.clone());
    let task = tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = ended.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((client, _)) = accepted else { continue };
            if shared.turns_away.load(Ordering::Relaxed) {
                let _ = client.set_zero_linger();
                let mut times = shared.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
                times.push(jiff::Timestamp::now().as_millisecond());
                continue;
            }
            shared.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(carry(shared.clone(), client));
        }
    });
    Listening { end, task }
}

/// The connection is to be reset: by order, or because one of its sides was.
struct Broken;

/// Carries one connection until both sides have ended it, or it is broken.
async fn carry(shared: Arc<Shared>, mut client: TcpStream) {
    let mut cuts = shared.cuts.subscribe();
    let Some(target) = shared.target.get() else { return };
    let Ok(mut target) = TcpStream::connect(target).await else { return };
    // What is written is passed on at once: the proxy is to break connections, not to slow them.
    let _ = client.set_nodelay(true);
    let _ = target.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_target, to_target) = target.split();
    let carried = async {
        tokio::try_join!(up(&shared, from_client, to_target), down(&shared, from_target, to_client))
            .map(|_| ())
    };
    let outcome = tokio::select! {
        biased;
        () = shared.dropped.cancelled() => Err(Broken),
        _ = cuts.recv() => Err(Broken),
        outcome = carried => outcome,
    };
    if outcome.is_err() {
        let _ = client.set_zero_linger();
        let _ = target.set_zero_linger();
    }
}

/// From the client to the target, as far as the allowance goes.
async fn up(shared: &Shared, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = receive(&shared.flowing_up, &mut from, &mut buffer).await?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        let allowed = take_allowance(&shared.allowance, read);
        to.write_all(&buffer[..allowed]).await.map_err(|_| Broken)?;
        shared.carried_up.fetch_add(allowed as u64, Ordering::Relaxed);
        if allowed < read {
            // What was allowed must arrive, and a reset would overtake it.
            let _ = to.shutdown().await;
            return Err(Broken);
        }
    }
}

/// From the target to the client.
async fn down(shared: &Shared, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = receive(&shared.flowing_down, &mut from, &mut buffer).await?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        to.write_all(&buffer[..read]).await.map_err(|_| Broken)?;
    }
}

/// Waits for bytes, and then until bytes may flow.
async fn receive(
    flowing: &watch::Sender<bool>,
    from: &mut ReadHalf<'_>,
    buffer: &mut [u8],
) -> Result<usize, Broken> {
    let read = from.read(buffer).await.map_err(|_| Broken)?;
    if !*flowing.borrow() {
        flowing.subscribe().wait_for(|flows| *flows).await.map_err(|_| Broken)?;
    }
    Ok(read)
}

/// How many of `wanted` bytes may go. When that is not all, the allowance is used up and the next connection has none.
fn take_allowance(allowance: &AtomicI64, wanted: usize) -> usize {
    let wanted = wanted as i64;
    let take = |left: i64| match left {
        NEVER => None,
        left if left < wanted => Some(NEVER),
        left => Some(left - wanted),
    };
    match allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
        Ok(left) => left.min(wanted) as usize,
        Err(_) => wanted as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a proxy before it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let proxy = Proxy::start().await.unwrap();
        proxy.forward_to(target);
        proxy
    }

    async fn say(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(bytes).await?;
        let mut answer = vec![0; bytes.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_until_the_cut() {
        let proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut client, b"hello").await.unwrap(), b"hello");
        proxy.cut();
        assert!(client.read_u8().await.is_err());
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut next, b"again").await.unwrap(), b"again");
        assert_eq!((proxy.connections(), proxy.carried_up()), (2, 10));
    }

    #[tokio::test]
    async fn a_cut_after_some_bytes_lets_just_those_through_and_comes_once() {
        let proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.cut_after(7);
        assert_eq!(say(&mut client, b"hello").await.unwrap(), b"hello");
        assert!(proxy.cut_is_due());
        assert!(say(&mut client, b"hello").await.is_err());
        assert_eq!(proxy.carried_up(), 7);
        assert!(!proxy.cut_is_due());
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut next, b"a longer one").await.unwrap(), b"a longer one");
    }

    #[tokio::test]
    async fn connections_are_refused_until_they_are_admitted_again() {
        let mut proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut client, b"x").await.is_ok());
        proxy.refuse().await;
        assert!(client.read_u8().await.is_err());
        assert!(TcpStream::connect(proxy.address()).await.is_err());
        proxy.admit().await.unwrap();
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut next, b"x").await.is_ok());
    }

    #[tokio::test]
    async fn connections_that_are_turned_away_are_reset_and_counted() {
        let mut proxy = echo().await;
        proxy.turn_away();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut client, b"x").await.is_err());
        assert_eq!((proxy.turned_away().len(), proxy.connections()), (1, 0));
        proxy.admit().await.unwrap();
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut next, b"x").await.is_ok());
    }

    #[tokio::test]
    async fn a_black_hole_neither_answers_nor_refuses() {
        let mut proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut client, b"x").await.is_ok());
        proxy.black_hole().await.unwrap();
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second / 2, say(&mut client, b"held")).await.is_err());
        assert!(tokio::time::timeout(second / 2, TcpStream::connect(proxy.address())).await.is_err());
        proxy.admit().await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"held");
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut next, b"x").await.is_ok());
    }

    #[tokio::test]
    async fn answers_that_are_withheld_come_later() {
        let proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.withhold_answers();
        assert!(tokio::time::timeout(Duration::from_millis(200), say(&mut client, b"held")).await.is_err());
        proxy.flow();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, proxy.carried_up()), (b"held", 4));
    }

    #[tokio::test]
    async fn nothing_flows_while_stalled_and_nothing_is_lost_by_it() {
        let proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(say(&mut client, b"x").await.is_ok());
        proxy.stall();
        client.write_all(b"held").await.unwrap();
        let mut answer = [0; 4];
        let held = tokio::time::timeout(Duration::from_millis(200), client.read(&mut answer)).await;
        assert!(held.is_err());
        proxy.flow();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"held");
    }
}
