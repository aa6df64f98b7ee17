//! Bodies of answers and requests.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, UnboundedReceiverStream},
};

use crate::error::ServiceError;

/// Largest request body of an operation that takes JSON or a form; a list of 1000 fragment numbers has 50 kB.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// How long the rest of a refused upload is read and thrown away. Closing at once would reset the connection, and the
/// client could lose the refusal that it has not read yet.
const DRAIN: Duration = Duration::from_secs(2);

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Cut>;

/// The connection is to be dropped as it is: no answer, or no end of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut")]
pub struct Cut;

/// A body that is known.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that follows the sender, chunk by chunk, until it is dropped.
pub fn unbounded(receiver: mpsc::UnboundedReceiver<Result<Bytes, Cut>>) -> Body {
    let frames = UnboundedReceiverStream::new(receiver).map(|item| item.map(Frame::data));
    StreamBody::new(frames).boxed_unsync()
}

/// As [`unbounded`], with back-pressure.
pub fn bounded(receiver: mpsc::Receiver<Result<Bytes, Cut>>) -> Body {
    let frames = ReceiverStream::new(receiver).map(|item| item.map(Frame::data));
    StreamBody::new(frames).boxed_unsync()
}

/// An answer of 200 with this body.
pub fn ok(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// The whole of a small request body; `None` when the client went away.
pub async fn collect(body: Incoming) -> Result<Option<Bytes>, ServiceError> {
    match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(collected) => Ok(Some(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ServiceError::invalid_argument("the request is too large"))
        }
        Err(_) => Ok(None),
    }
}

/// Reads on for a while and throws away.
pub async fn drain(mut body: Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // What is still coming after that is the client's own fault.
    let _ = timeout(DRAIN, rest).await;
}
