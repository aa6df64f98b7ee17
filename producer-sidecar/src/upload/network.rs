//! Connections to AWS, for `PutMedia` and for the control calls alike: the name, the proxy, TCP, TLS.
//!
//! A proxy is taken from `HTTPS_PROXY` (or `ALL_PROXY`), with the exceptions of `NO_PROXY`, by curl's rules; for `https`
//! addresses alone. It is asked with CONNECT, so it sees the host's name and nothing else. Its password is in no error.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt as _;

use super::request::Address;
use super::trust::{Trust, TrustError};

/// How long connecting, the proxy's answer, and the TLS handshake may each take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// So much waits in the kernel to be sent, no more: on a slow way megabytes of it would delay each fragment by longer than
/// its acknowledgement is awaited.
const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// Why there is no connection. Without secrets.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP does not reach the host.
    #[error("connecting to \"{peer}\": {cause}")]
    Tcp {
        /// Host and port.
        peer: String,
        /// What happened.
        cause: io::Error,
    },
    /// Nothing came back in time.
    #[error("{what} \"{peer}\": no answer")]
    Silent {
        /// What was being done.
        what: &'static str,
        /// Host and port.
        peer: String,
    },
    /// The proxy does not connect to the host.
    #[error("the proxy \"{proxy}\" does not connect to \"{peer}\": {cause}")]
    Proxy {
        /// The proxy's host and port.
        proxy: String,
        /// Host and port.
        peer: String,
        /// What happened.
        cause: String,
    },
    /// TLS fails.
    #[error("TLS with \"{peer}\": {cause}")]
    Tls {
        /// Host and port.
        peer: String,
        /// What happened.
        cause: String,
    },
    /// Nobody can be trusted.
    #[error("TLS with \"{peer}\": {cause}")]
    Trust {
        /// Host and port.
        peer: String,
        /// Why.
        cause: TrustError,
    },
}

/// The way to AWS, shared by all feeds. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trust: Trust,
    proxies: Matcher,
}

impl Default for Network {
    /// With the proxies of the environment.
    fn default() -> Self {
        Self::new(Matcher::from_env())
    }
}

impl Network {
    /// With these proxies.
    pub fn new(proxies: Matcher) -> Self {
        Self { inner: Arc::new(Inner { trust: Trust::default(), proxies }) }
    }

    /// Connects to `address`, trusting the system's authorities and those of the file.
    pub async fn connect(&self, address: &Address, ca_file: Option<&str>) -> Result<Socket, ConnectError> {
        if !address.tls {
            return Ok(Socket::Plain(reach(&address.host, address.port, &address.authority).await?));
        }
        let tcp = match self.proxy_for(address) {
            Some(proxy) => reach_through(&proxy, address).await?,
            None => reach(&address.host, address.port, &address.authority).await?,
        };
        let tls = self.handshake(address, ca_file, tcp).await?;
        Ok(Socket::Tls(Box::new(tls)))
    }

    fn proxy_for(&self, address: &Address) -> Option<Intercept> {
        let uri = format!("https://{}/", address.authority).parse().ok()?;
        self.inner.proxies.intercept(&uri)
    }

    async fn handshake(
        &self,
        address: &Address,
        ca_file: Option<&str>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let peer = || address.authority.clone();
        let config = self.inner.trust.client_config(ca_file).await;
        let config = config.map_err(|cause| ConnectError::Trust { peer: peer(), cause })?;
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| ConnectError::Tls { peer: peer(), cause: "no valid server name".to_owned() })?;
        match timeout(CONNECT_TIMEOUT, TlsConnector::from(config).connect(name, tcp)).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(cause)) => Err(ConnectError::Tls { peer: peer(), cause: cause.to_string() }),
            Err(_) => Err(ConnectError::Silent { what: "TLS with", peer: peer() }),
        }
    }
}

async fn reach(host: &str, port: u16, peer: &str) -> Result<TcpStream, ConnectError> {
    match timeout(CONNECT_TIMEOUT, tcp(host, port)).await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(cause)) => Err(ConnectError::Tcp { peer: peer.to_owned(), cause }),
        Err(_) => Err(ConnectError::Silent { what: "connecting to", peer: peer.to_owned() }),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    // Frames are written whole, and are wanted at once.
    tcp.set_nodelay(true)?;
    // What the kernel does not take is a little slower, and nothing else.
    _ = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    Ok(tcp)
}

async fn reach_through(proxy: &Intercept, address: &Address) -> Result<TcpStream, ConnectError> {
    let name = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
    let refused =
        |cause: String| ConnectError::Proxy { proxy: name.clone(), peer: address.authority.clone(), cause };
    if proxy.uri().scheme_str() != Some("http") {
        return Err(refused("only proxies that are spoken to by plain HTTP can be used".to_owned()));
    }
    let (host, port) = (proxy.uri().host().unwrap_or_default(), proxy.uri().port_u16().unwrap_or(80));
    let host = host.trim_matches(['[', ']']).to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let host = host.clone();
        async move { tcp(&host, port).await.map(TokioIo::new) }
    });
    let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
    if let Some(authorization) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    let target = format!("https://{}/", address.authority).parse::<http::Uri>();
    let target = target.map_err(|_| refused("the address cannot be named to it".to_owned()))?;
    match timeout(CONNECT_TIMEOUT, tunnel.oneshot(target)).await {
        Ok(Ok(tcp)) => Ok(tcp.into_inner()),
        Ok(Err(error)) => Err(refused(innermost(&error))),
        Err(_) => Err(ConnectError::Silent { what: "connecting through the proxy to", peer: name }),
    }
}

/// The cause that names the fault; the outer ones say only that there was one.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A connection with or without TLS.
#[derive(Debug)]
pub enum Socket {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn head(socket: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn behind_proxy(no: &str) -> (TcpListener, Network) {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://user:hunter2@{}", proxy.local_addr().unwrap());
        (proxy, Network::new(Matcher::builder().https(url).no(no.to_owned()).build()))
    }

    #[tokio::test]
    async fn little_waits_in_the_kernel_where_nobody_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (near, far) = tokio::join!(tcp("127.0.0.1", port), listener.accept());
        let (near, _far) = (near.unwrap(), far.unwrap());
        let bytes = vec![0; 64 << 10];
        let mut taken = 0;
        while let Ok(Ok(())) = timeout(Duration::from_millis(300), near.writable()).await {
            taken += near.try_write(&bytes).unwrap_or(0);
        }
        assert!(taken < 1 << 20, "{taken} bytes");
    }

    #[tokio::test]
    async fn a_proxy_is_asked_by_name_with_its_password_and_then_speaks_tls() {
        let (proxy, network) = behind_proxy("").await;
        let address = Address::parse("https://s-1.kinesisvideo.eu-west-1.amazonaws.com/").unwrap();
        let serving = async {
            let (mut socket, _) = proxy.accept().await.unwrap();
            let asked = head(&mut socket).await;
            assert!(
                asked.starts_with("CONNECT s-1.kinesisvideo.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"),
                "{asked}"
            );
            assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n"), "{asked}");
            socket.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            // A TLS record of type handshake.
            assert_eq!(socket.read_u8().await.unwrap(), 22);
        };
        let (outcome, ()) = tokio::join!(network.connect(&address, None), serving);
        assert!(outcome.is_err(), "the proxy went away");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_without_its_password() {
        let (proxy, network) = behind_proxy("").await;
        let address = Address::parse("https://host.example:8443").unwrap();
        let serving = async {
            let (mut socket, _) = proxy.accept().await.unwrap();
            assert!(head(&mut socket).await.starts_with("CONNECT host.example:8443 "));
            socket.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n").await.unwrap();
        };
        let (outcome, ()) = tokio::join!(network.connect(&address, None), serving);
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains(&proxy.local_addr().unwrap().to_string()) && error.contains("authorization"),
            "{error}"
        );
        assert!(!error.contains("hunter2") && !format!("{network:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn exceptions_and_plain_http_go_without_the_proxy() {
        let proxies =
            Matcher::builder().https("http://proxy.example:3128").no("near.example,10.0.0.0/8").build();
        let network = Network::new(proxies);
        let by_proxy = |url: &str| network.proxy_for(&Address::parse(url).unwrap()).is_some();
        assert!(by_proxy("https://far.example"));
        assert!(!by_proxy("https://a.near.example") && !by_proxy("https://10.1.2.3:4443"));
    }
}
