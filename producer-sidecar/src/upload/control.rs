//! The SDK's HTTP client for control calls, on our own connections: the same proxy, trust and memory as `PutMedia`.
//!
//! Calls are minutes apart, so each has a connection of its own and nothing is kept between them.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::network::Network;
use super::request::Address;

/// How long one call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An HTTP client for the SDK that trusts the system and the authorities of the file.
pub fn client(network: &Network, ca_file: Option<&str>) -> SharedHttpClient {
    SharedHttpClient::new(Control {
        network: network.clone(),
        ca_file: ca_file.map(str::to_owned),
        connect_timeout: None,
    })
}

#[derive(Debug, Clone)]
struct Control {
    network: Network,
    ca_file: Option<String>,
    connect_timeout: Option<Duration>,
}

impl HttpClient for Control {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self { connect_timeout: settings.connect_timeout(), ..self.clone() })
    }
}

impl HttpConnector for Control {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let control = self.clone();
        HttpConnectorFuture::new(async move {
            match timeout(CALL_TIMEOUT, control.exchange(request)).await {
                Ok(answer) => answer,
                Err(elapsed) => Err(ConnectorError::timeout(elapsed.into())),
            }
        })
    }
}

impl Control {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let (address, request) = prepare(request).map_err(ConnectorError::user)?;
        let connecting = self.network.connect(&address, self.ca_file.as_deref());
        let connected = match self.connect_timeout {
            Some(limit) => timeout(limit, connecting)
                .await
                .map_err(|elapsed| ConnectorError::timeout(elapsed.into()).never_connected())?,
            None => connecting.await,
        };
        let socket = connected.map_err(|error| ConnectorError::io(error.into()).never_connected())?;
        let io_error = |error: hyper::Error| ConnectorError::io(error.into());
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(io_error)?;
        let answer = async { collect(sender.send_request(request).await.map_err(io_error)?).await };
        // The connection does the I/O for the answer. It may end before the last of the answer is taken out.
        match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }
}

/// Makes the SDK's request one of HTTP/1.1.
fn prepare(request: HttpRequest) -> Result<(Address, http::Request<Full<Bytes>>), BoxError> {
    let request = request.try_into_http1x()?;
    let (mut head, body) = request.into_parts();
    let address = Address::parse(&head.uri.to_string())?;
    let body = Bytes::copy_from_slice(body.bytes().ok_or("the request is streamed")?);
    head.headers.insert(http::header::HOST, address.authority.parse()?);
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    Ok((address, http::Request::from_parts(head, Full::new(body))))
}

async fn collect(response: http::Response<Incoming>) -> Result<HttpResponse, ConnectorError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ConnectorError::io)?;
    let response = http::Response::from_parts(head, SdkBody::from(body.to_bytes()));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::io(error.into()))
}
