//! Carries one `PutMedia` session: connects, sends what it is given, reads acknowledgements, says how it ended.
//!
//! HTTP/1.1, full duplex: the service acknowledges while the body goes on. Nothing is decided here; when to open, finish,
//! abort and what to send is the session's ([`crate::session`]). Dropping an [`Upload`] drops its connection.

pub mod aws;
pub mod clock_offset;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
pub mod trust;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use futures::FutureExt as _;
use futures::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use streamfleet_contract::Stream;
use streamfleet_media::ack::{Ack, AckParser};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use self::aws::Identity;
use self::clock_offset::ClockOffset;
use self::refusal::{Judgement, error_code, judge};
use self::request::Address;
use self::trust::Trust;
use crate::session::{Ending, Refusal, SessionId};

/// How long connecting, and the TLS handshake, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the service may take to accept a session.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(15);

/// A data endpoint is asked for again after this time; AWS expects it about every 45 minutes.
const ENDPOINT_LIFETIME: Duration = Duration::from_mins(40);

/// The longest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Chunks that wait between the feed and the connection: little, so that what is not sent yet is still the buffer's.
const CHUNKS_WAITING_MAX: usize = 8;

/// A piece of the body: the Matroska elements, and the frame that follows them.
pub type Chunk = Chain<Bytes, Bytes>;

/// A chunk that is all elements.
pub fn plain_chunk(elements: Bytes) -> Chunk {
    elements.chain(Bytes::new())
}

/// What an upload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEvent {
    /// The service accepted the session.
    Opened,
    /// An acknowledgement came.
    Ack(Ack),
    /// The session is over.
    Closed(Ending),
}

/// What all feeds of the process share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Whose credentials.
    pub identity: Identity,
    /// Whose certificates.
    pub trust: Trust,
}

/// Opens sessions for one stream.
#[derive(Debug, Clone)]
pub struct Uploader {
    stream: Stream,
    shared: Arc<Shared>,
    offset: Arc<ClockOffset>,
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
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Uploader {
    /// For a stream.
    pub fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        Self { stream, shared, offset: Arc::default(), endpoint: Arc::default() }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Starts a session. Its events go to `events`; the last is [`UploadEvent::Closed`], unless it is dropped before.
    pub fn open(&self, id: SessionId, events: mpsc::Sender<(SessionId, UploadEvent)>) -> Upload {
        let (body, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let uploader = self.clone();
        let task = tokio::spawn(async move {
            // A defect here must not look like a session that goes on.
            let ending = match AssertUnwindSafe(uploader.run(id, chunks, &events)).catch_unwind().await {
                Ok(Ok(ending)) => ending,
                Ok(Err(judgement)) => uploader.learn(judgement).await,
                Err(_) => Ending::Broken("internal fault".to_owned()),
            };
            // Nobody listens only when the feed is gone.
            _ = events.send((id, UploadEvent::Closed(ending))).await;
        });
        Upload { id, body: Some(body), task }
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
    ) -> Result<Ending, Judgement> {
        let credentials = self.shared.identity.credentials(&self.stream.region, &self.shared.trust).await?;
        let outcome = self.run_as(id, &credentials, chunks, events).await;
        if let Err(Judgement { refusal: Refusal::CredentialsRefused, .. }) = &outcome {
            self.shared.identity.refused(&credentials).await;
        }
        outcome
    }

    async fn run_as(
        &self,
        id: SessionId,
        credentials: &aws_credential_types::Credentials,
        chunks: mpsc::Receiver<Chunk>,
        events: &mpsc::Sender<(SessionId, UploadEvent)>,
    ) -> Result<Ending, Judgement> {
        let endpoint = self.data_endpoint(credentials).await?;
        let address =
            Address::parse(&endpoint).map_err(|error| aws::unreachable_endpoint(&error.to_string()))?;
        let body = ChunkBody { chunks };
        let request = request::put_media(&address, &self.stream, credentials, self.offset.corrected(), body)
            .map_err(|error| aws::unreachable_endpoint(&error.to_string()))?;
        let tcp = connect(&address).await?;
        let session = Exchange { uploader: self, id, events };
        if address.tls {
            let tls = self.handshake(&address, tcp).await?;
            session.exchange(tls, request).await
        } else {
            session.exchange(tcp, request).await
        }
    }

    async fn data_endpoint(
        &self,
        credentials: &aws_credential_types::Credentials,
    ) -> Result<String, Judgement> {
        let mut cached = self.endpoint.lock().await;
        if let Some((endpoint, since)) = cached.as_ref()
            && since.elapsed() < ENDPOINT_LIFETIME
        {
            return Ok(endpoint.clone());
        }
        *cached = None;
        let endpoint =
            aws::data_endpoint(&self.stream, credentials, &self.offset, &self.shared.trust).await?;
        *cached = Some((endpoint.clone(), Instant::now()));
        Ok(endpoint)
    }

    async fn handshake(
        &self,
        address: &Address,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Judgement> {
        let fault =
            |text: String| aws::unreachable_endpoint(&format!("TLS with \"{}\": {text}", address.authority));
        let config = self.shared.trust.client_config(self.stream.ca_file.as_deref()).await;
        let config = config.map_err(|error| fault(error.to_string()))?;
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| fault("no valid server name".to_owned()))?;
        let handshake = TlsConnector::from(config).connect(name, tcp);
        match timeout(CONNECT_TIMEOUT, handshake).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(fault(error.to_string())),
            Err(_) => Err(fault("no answer".to_owned())),
        }
    }
}

async fn connect(address: &Address) -> Result<TcpStream, Judgement> {
    let fault =
        |text: String| aws::unreachable_endpoint(&format!("connecting to \"{}\": {text}", address.authority));
    let tcp = match timeout(CONNECT_TIMEOUT, TcpStream::connect((address.host.as_str(), address.port))).await
    {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(fault(error.to_string())),
        Err(_) => return Err(fault("no answer".to_owned())),
    };
    // Frames are written whole, and are wanted at once.
    tcp.set_nodelay(true).map_err(|error| fault(error.to_string()))?;
    Ok(tcp)
}

/// One request and its answer.
struct Exchange<'a> {
    uploader: &'a Uploader,
    id: SessionId,
    events: &'a mpsc::Sender<(SessionId, UploadEvent)>,
}

impl Exchange<'_> {
    async fn exchange<T>(&self, io: T, request: http::Request<ChunkBody>) -> Result<Ending, Judgement>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| aws::unreachable_endpoint(&format!("PutMedia: {error}")))?;
        let answer = async {
            let response = match timeout(ACCEPT_TIMEOUT, sender.send_request(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Ok(Ending::Broken(describe(&error))),
                Err(_) => return Err(aws::unreachable_endpoint("PutMedia: the service does not answer")),
            };
            if response.status().is_success() {
                self.send(UploadEvent::Opened).await;
                Ok(self.read_acknowledgements(response.into_body()).await)
            } else {
                Err(self.refusal(response).await)
            }
        };
        // The connection does the I/O for the answer. It may end before the last of the answer is taken out.
        match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
            Either::Left((ending, _)) => ending,
            Either::Right((_, answer)) => answer.await,
        }
    }

    async fn read_acknowledgements(&self, mut body: Incoming) -> Ending {
        let mut parser = AckParser::new();
        while let Some(frame) = body.frame().await {
            let bytes = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Ending::Broken(describe(&error)),
            };
            parser.push(&bytes);
            while let Some(ack) = parser.next() {
                self.acknowledged(ack).await;
            }
        }
        if let Some(ack) = parser.finish() {
            self.acknowledged(ack).await;
        }
        Ending::Finished
    }

    async fn acknowledged(&self, ack: Result<Ack, streamfleet_media::ack::AckError>) {
        match ack {
            Ok(ack) => self.send(UploadEvent::Ack(ack)).await,
            Err(error) => {
                tracing::warn!(stream = self.uploader.stream.arn, %error, "Passed over a malformed acknowledgement");
            }
        }
    }

    async fn refusal(&self, response: http::Response<Incoming>) -> Judgement {
        let (head, body) = response.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let limited = http_body_util::Limited::new(body, REFUSAL_BYTES_MAX).collect();
        let body = match timeout(CONNECT_TIMEOUT, limited).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = error_code(text("x-amzn-errortype"), &json);
        let message = json.get("Message").or_else(|| json.get("message")).and_then(serde_json::Value::as_str);
        let mut judgement = judge("PutMedia", head.status.as_u16(), &code, message.unwrap_or_default());
        if judgement.doubt_clock && self.uploader.offset.learn(text("date")) {
            judgement.refusal = Refusal::ClockCorrected;
        }
        judgement
    }

    async fn send(&self, event: UploadEvent) {
        // Nobody listens only when the feed is gone, and this task with it.
        _ = self.events.send((self.id, event)).await;
    }
}

fn describe(error: &hyper::Error) -> String {
    let mut text = format!("PutMedia: {error}");
    if let Some(source) = std::error::Error::source(error) {
        text.push_str(": ");
        text.push_str(&source.to_string());
    }
    text
}

/// The request's body: what the feed hands over, until it lets go of its end.
struct ChunkBody {
    chunks: mpsc::Receiver<Chunk>,
}

impl Body for ChunkBody {
    type Data = Chunk;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Infallible>>> {
        self.chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
