//! Sockets that are read on a time grid which the whole process shares, not whenever a packet comes.
//!
//! A camera writes each RTP packet by itself, 150 to 500 a second; to be woken for each costs more than all that is done with
//! the bytes (`producer-facts.md` §7). So a socket that plays leaves the reactor. It is looked at once in [`TICK`], and all
//! that has come by then is read. The grid is the same for all feeds: fifty cameras are read after one wake-up. What is
//! written goes out at once; what the kernel cannot take is tried again on the grid. The end of a connection is seen at the
//! next tick.
//!
//! Give `read` memory that is initialised (`&mut [u8]`): what `read_buf` gives must be filled with zeros first.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a byte may wait in a TCP socket. Pictures come every 33 or 40 ms; one read for each is near the floor.
pub const TICK: Duration = Duration::from_millis(24);

/// How long a datagram may wait. A part of [`TICK`], so that both fall on the same instants. Shorter than that, since the kernel
/// drops what does not fit a socket's memory: at its usual size, what a camera sends in 10 ms at 100 Mbit/s.
pub const DATAGRAM_TICK: Duration = Duration::from_millis(8);

/// The memory that is asked for a datagram socket: a key frame sent at once. The kernel gives less where `rmem_max` is less.
const DATAGRAM_MEMORY: usize = 2 << 20;

/// When the grid began. Only differences to it count.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// The first instant after `now` on the grid of this period.
fn next_tick(now: Instant, period: Duration) -> Instant {
    let origin = *ORIGIN.get_or_init(|| now);
    let passed = now.saturating_duration_since(origin);
    let ticks = passed.as_millis() / period.as_millis().max(1);
    origin + period * u32::try_from(ticks + 1).unwrap_or(u32::MAX)
}

/// Opens once a tick, and stays open until it is closed.
#[derive(Debug)]
struct Gate {
    period: Duration,
    open: bool,
    sleep: Pin<Box<Sleep>>,
}

impl Gate {
    fn open(period: Duration) -> Self {
        Self { period, open: true, sleep: Box::pin(sleep_until(Instant::now())) }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.open {
            ready!(self.sleep.as_mut().poll(cx));
            self.open = true;
        }
        Poll::Ready(())
    }

    fn close(&mut self) {
        self.open = false;
        self.sleep.as_mut().reset(next_tick(Instant::now(), self.period));
    }

    /// Tries `io` while the gate is open, and again at the next tick where it would block.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut io: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        // A peer that floods must not keep the thread from the other feeds.
        let progress = ready!(coop::poll_proceed(cx));
        loop {
            ready!(self.poll_open(cx));
            match io() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.close(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    progress.made_progress();
                    return Poll::Ready(result);
                }
            }
        }
    }
}

/// A TCP socket in the reactor, until [`Ticked::leave_reactor`]; from then on it is read on the grid. TLS may lie above it.
#[derive(Debug)]
pub struct Ticked {
    io: Io,
}

#[derive(Debug)]
enum Io {
    Reactor(TcpStream),
    Grid(Grid),
    /// It could not leave the reactor.
    Lost,
}

#[derive(Debug)]
struct Grid {
    socket: std::net::TcpStream,
    read: Gate,
    write: Gate,
}

impl Ticked {
    /// A socket that is read at once, as long as its peer is only asked and answers.
    pub fn new(socket: TcpStream) -> Self {
        Self { io: Io::Reactor(socket) }
    }

    /// From now on the socket is read on the grid. To be called when media begins to come. An error ends the connection.
    pub fn leave_reactor(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.io, Io::Lost) {
            // It stays non-blocking.
            Io::Reactor(socket) => {
                let (read, write) = (Gate::open(TICK), Gate::open(TICK));
                self.io = Io::Grid(Grid { socket: socket.into_std()?, read, write });
            }
            other => self.io = other,
        }
        Ok(())
    }
}

fn lost<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl Grid {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, read, .. } = self;
        let room = buf.remaining();
        let count = ready!(read.poll(cx, || socket.read(buf.initialize_unfilled())))?;
        buf.advance(count);
        if count < room {
            // Nothing is left. The end of the connection is told again at each tick.
            read.close();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Ticked {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Reactor(socket) => Pin::new(socket).poll_read(cx, buf),
            Io::Grid(grid) => grid.poll_read(cx, buf),
            Io::Lost => lost(),
        }
    }
}

impl AsyncWrite for Ticked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Reactor(socket) => Pin::new(socket).poll_write(cx, buf),
            Io::Grid(Grid { socket, write, .. }) => write.poll(cx, || socket.write(buf)),
            Io::Lost => lost(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Reactor(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Io::Grid(Grid { socket, write, .. }) => write.poll(cx, || socket.write_vectored(bufs)),
            Io::Lost => lost(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Reactor(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Grid(grid) => Poll::Ready(grid.socket.shutdown(Shutdown::Write)),
            Io::Lost => Poll::Ready(Ok(())),
        }
    }
}

/// A datagram socket that is read on the grid, every [`DATAGRAM_TICK`].
#[derive(Debug)]
pub struct TickedDatagrams {
    socket: UdpSocket,
    read: Gate,
}

impl TickedDatagrams {
    /// Takes a bound socket.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // What the kernel gives is what there is.
        _ = SockRef::from(&socket).set_recv_buffer_size(DATAGRAM_MEMORY);
        Ok(Self { socket, read: Gate::open(DATAGRAM_TICK) })
    }

    /// The next datagram's length and sender. What does not fit `buf` is cut off.
    pub fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let Self { socket, read } = self;
        read.poll(cx, || socket.recv_from(buf))
    }

    /// The same, as a future. Nothing is lost when it is dropped.
    pub async fn recv_from(&mut self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_recv_from(cx, buf)).await
    }

    /// Sends a datagram. A full socket loses it, as any hop may.
    pub fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        match self.socket.send_to(datagram, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(drop),
        }
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::sleep;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    async fn ticked() -> (Ticked, TcpStream) {
        let (near, far) = pair().await;
        let mut near = Ticked::new(near);
        near.leave_reactor().unwrap();
        (near, far)
    }

    #[test]
    fn all_sockets_wake_at_the_same_instants_and_none_waits_longer_than_a_tick() {
        let start = Instant::now();
        let first = next_tick(start, TICK);
        for ms in 0..200 {
            let now = start + Duration::from_millis(ms);
            let tick = next_tick(now, TICK);
            assert!(tick > now && tick <= now + TICK);
            assert_eq!((tick - first).as_nanos() % TICK.as_nanos(), 0);
            assert!(next_tick(now, DATAGRAM_TICK) <= tick, "each tick is one of datagrams too");
            assert_eq!((tick - next_tick(now, DATAGRAM_TICK)).as_nanos() % DATAGRAM_TICK.as_nanos(), 0);
        }
    }

    #[tokio::test]
    async fn many_small_writes_are_read_at_few_ticks_and_the_end_is_seen() {
        let (mut near, mut far) = ticked().await;
        let start = Instant::now();
        let writer = tokio::spawn(async move {
            for n in 0..150_u8 {
                far.write_all(&[n; 100]).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
        });
        let (mut buf, mut got, mut reads) = (vec![0; 64 * 1024], Vec::new(), 0);
        loop {
            let count = near.read(&mut buf).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&buf[..count]);
            reads += 1;
        }
        writer.await.unwrap();
        assert!(got.iter().copied().eq((0..150_u8).flat_map(|n| [n; 100])), "all bytes, in order");
        let ticks = start.elapsed().as_millis() / TICK.as_millis();
        assert!(reads <= ticks + 2 && reads < 100, "{reads} reads at {ticks} ticks");
    }

    #[tokio::test]
    async fn a_reset_is_an_error() {
        let (mut near, far) = ticked().await;
        far.set_zero_linger().unwrap();
        drop(far);
        let error = near.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn what_does_not_fit_the_socket_is_written_when_the_peer_reads_again() {
        let (mut near, mut far) = ticked().await;
        let sent = vec![7; 32 << 20];
        let length = sent.len();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
            near
        });
        tokio::task::yield_now().await;
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), length);
        drop(writer.await.unwrap());
    }

    #[tokio::test]
    async fn tls_lies_above_a_socket_that_leaves_the_reactor_after_the_handshake() {
        let (near, far) = pair().await;
        let made = rcgen::generate_simple_self_signed(vec!["camera.example".to_owned()]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("camera.example").unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, Ticked::new(near));
        let (near, far) = tokio::join!(connecting, TlsAcceptor::from(Arc::new(server)).accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.get_mut().0.leave_reactor().unwrap();
        near.write_all(b"PLAY").await.unwrap();
        near.flush().await.unwrap();
        let mut asked = [0; 4];
        far.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"PLAY");
        let answer: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let sent = answer.clone();
        let writer = tokio::spawn(async move {
            far.write_all(&sent).await.unwrap();
            far.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        near.read_to_end(&mut got).await.unwrap();
        writer.await.unwrap();
        assert!(got == answer, "{} bytes", got.len());
    }

    #[tokio::test]
    async fn datagrams_come_whole_with_their_sender() {
        let camera = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut near = TickedDatagrams::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        for n in 1..=20_u8 {
            camera.send_to(&vec![n; usize::from(n)], near.local_addr().unwrap()).unwrap();
        }
        let mut buf = [0; 2_048];
        for n in 1..=20_u8 {
            let (count, from) = near.recv_from(&mut buf).await.unwrap();
            assert_eq!((count, from), (usize::from(n), camera.local_addr().unwrap()));
            assert_eq!(&buf[..count], vec![n; count]);
        }
        near.send_to(b"RR", camera.local_addr().unwrap()).unwrap();
        assert_eq!(camera.recv(&mut buf).unwrap(), 2);
    }
}
