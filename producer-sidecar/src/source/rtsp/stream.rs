//! The connection to a server as bytes: plain or within TLS, read at once or on the process's grid.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use streamfleet_contract::{RtspTls, SourceReason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::tls;
use crate::source::SourceError;
use crate::source::tick::Ticked;

/// How long it may take to find a server's address, to connect, and to agree on TLS, each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Ticked),
    Tls(Box<TlsStream<Ticked>>),
}

impl Stream {
    /// Connects, and says to which address.
    pub(super) async fn connect(
        address: &Address,
        trust: Option<&RtspTls>,
    ) -> Result<(Self, std::net::SocketAddr), SourceError> {
        let socket = connect(address).await?;
        // Requests are small and each waits for its answer.
        _ = socket.set_nodelay(true);
        let peer = socket.peer_addr().map_err(|error| unreachable(address, error.kind()))?;
        let plain = Ticked::new(socket);
        if !address.tls {
            return Ok((Self::Plain(plain), peer));
        }
        let connector = TlsConnector::from(tls::client_config(trust).await?);
        let handshake = connector.connect(tls::server_name(&address.host)?, plain);
        match timeout(CONNECT_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => Ok((Self::Tls(Box::new(stream)), peer)),
            Ok(Err(error)) => Err(tls::refusal(&error)),
            Err(_) => Err(unreachable(address, io::ErrorKind::TimedOut)),
        }
    }

    /// From now on it is read on the process's grid.
    pub(super) fn leave_reactor(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.leave_reactor(),
            Self::Tls(stream) => stream.get_mut().0.leave_reactor(),
        }
    }
}

async fn connect(address: &Address) -> Result<TcpStream, SourceError> {
    let host = &address.host;
    let not_found = || SourceError::new(SourceReason::HostNotFound, format!("no address for \"{host}\""));
    let lookup = tokio::net::lookup_host((host.as_str(), address.port));
    let found = timeout(CONNECT_TIMEOUT, lookup).await.map_err(|_| not_found())?.map_err(|_| not_found())?;
    let mut failure = not_found();
    for candidate in found {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failure = unreachable(address, error.kind()),
            Err(_) => failure = unreachable(address, io::ErrorKind::TimedOut),
        }
    }
    Err(failure)
}

fn unreachable(address: &Address, kind: io::ErrorKind) -> SourceError {
    let Address { host, port, .. } = address;
    SourceError::new(SourceReason::Unreachable, format!("no connection to {host}:{port}: {kind}"))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
