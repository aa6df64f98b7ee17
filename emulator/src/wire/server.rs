//! Listeners and connections.

use std::{sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::router;
use crate::{hooks::outage::Mode, service::Service};

/// A TLS handshake that takes longer is given up.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After a failed `accept` (no file descriptors left) the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket, plain or with TLS.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Present for HTTPS.
    pub tls: Option<TlsAcceptor>,
}

/// Serves connections until the service shuts down.
pub async fn serve(mut listener: Listener, service: Arc<Service>) {
    loop {
        let accepted = tokio::select! {
            () = service.shutdown.cancelled() => return,
            // The plain listener has the hooks.
            () = service.outage.is_on(Mode::Refuse), if listener.tls.is_some() => {
                match away(listener, &service).await {
                    Some(back) => listener = back,
                    None => return,
                }
                continue;
            }
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(greet(stream, listener.tls.clone(), service.clone()));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Nobody listens until the outage is over; `None` when the emulator ends before, or the address is lost.
async fn away(listener: Listener, service: &Service) -> Option<Listener> {
    let Listener { socket, tls } = listener;
    let address = socket.local_addr().ok()?;
    drop(socket);
    tokio::select! {
        () = service.shutdown.cancelled() => return None,
        () = service.outage.is_over(Mode::Refuse) => {}
    }
    match TcpListener::bind(address).await {
        Ok(socket) => Some(Listener { socket, tls }),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "The address was taken in an outage");
            None
        }
    }
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<Service>) {
    // Acknowledgements are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = tls else { return converse(stream, true, service).await };
    match service.outage.mode() {
        Some(Mode::Drop | Mode::Refuse) => return,
        Some(Mode::BlackHole) => return service.outage.is_over(Mode::BlackHole).await,
        None => {}
    }
    match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, false, service).await,
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "A TLS handshake failed");
        }
        Err(_) => tracing::debug!("A TLS handshake took too long"),
    }
}

async fn converse<S>(stream: S, with_hooks: bool, service: Arc<Service>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handler = service.clone();
    let answer = service_fn(move |request| router::handle(handler.clone(), with_hooks, request));
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = service.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "A connection broke");
    }
}
