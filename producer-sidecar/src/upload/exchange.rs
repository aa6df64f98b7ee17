//! One `PutMedia` request and its answer, which come at the same time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use streamfleet_media::ack::{Ack, AckError, AckParser};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::InspectWriter;

use super::clock_offset::ClockOffset;
use super::network::{CONNECT_TIMEOUT, Socket};
use super::refusal::{Judgement, error_code, judge};
use super::{Chunk, UploadEvent, Uploader, aws};
use crate::session::{Ending, Refusal, SessionId};

/// How long the service may take to accept a session.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// A session's request, on its way.
pub struct Exchange<'a> {
    pub uploader: &'a Uploader,
    pub id: SessionId,
    pub events: &'a mpsc::Sender<(SessionId, UploadEvent)>,
    /// Counts the bytes that the network takes.
    pub sent: &'a Arc<AtomicU64>,
}

impl Exchange<'_> {
    /// Sends the request and reads the answer to its end.
    pub async fn run(&self, socket: Socket, request: http::Request<ChunkBody>) -> Result<Ending, Judgement> {
        let sent = Arc::clone(self.sent);
        let counting = move |bytes: &[u8]| _ = sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let (mut sender, connection) = http1::handshake(TokioIo::new(InspectWriter::new(socket, counting)))
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
                if let Some(ahead_ms) = ClockOffset::difference(date(response.headers())) {
                    self.send(UploadEvent::ServerTime(ahead_ms)).await;
                }
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

    async fn acknowledged(&self, ack: Result<Ack, AckError>) {
        match ack {
            Ok(ack) => self.send(UploadEvent::Ack(ack)).await,
            Err(error) => {
                tracing::warn!(stream = self.uploader.stream.arn, %error, "Passed over a malformed acknowledgement");
            }
        }
    }

    async fn refusal(&self, response: http::Response<Incoming>) -> Judgement {
        let (head, body) = response.into_parts();
        let limited = http_body_util::Limited::new(body, REFUSAL_BYTES_MAX).collect();
        let body = match timeout(CONNECT_TIMEOUT, limited).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let error_type = head.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let code = error_code(error_type, &json);
        let message = json.get("Message").or_else(|| json.get("message")).and_then(serde_json::Value::as_str);
        let mut judgement = judge("PutMedia", head.status.as_u16(), &code, message.unwrap_or_default());
        if judgement.doubt_clock && self.uploader.offset.learn(date(&head.headers)) {
            judgement.refusal = Refusal::ClockCorrected;
        }
        judgement
    }

    async fn send(&self, event: UploadEvent) {
        // Nobody listens only when the feed is gone, and this task with it.
        _ = self.events.send((self.id, event)).await;
    }
}

fn date(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(http::header::DATE).and_then(|value| value.to_str().ok())
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
pub struct ChunkBody {
    pub chunks: mpsc::Receiver<Chunk>,
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
