//! The `PutMedia` request: its headers and its signature.
//!
//! As the vendor's native producers sign: service `kinesisvideo`, the payload hash of the empty body, no
//! `x-amz-content-sha256` header.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::Request;
use url::Url;

/// What is appended to the endpoint that `GetDataEndpoint` names, which may have a path of its own.
const OPERATION: &str = "/putMedia";

/// The name that signatures carry for all KVS APIs.
const SIGNING_NAME: &str = "kinesisvideo";

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The endpoint is no URL with a host.
    #[error("the data endpoint is not a URL with a host")]
    Endpoint,
    /// A header would be invalid.
    #[error("failed to build the request")]
    Build(#[source] http::Error),
    /// The signature could not be made.
    #[error("failed to sign the request")]
    Sign,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host, as TLS and resolvers want it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The Host header.
    pub authority: String,
    /// Its path, without a slash at the end.
    pub path: String,
}

impl Address {
    /// Reads `http://` and `https://` URLs.
    pub fn parse(endpoint: &str) -> Result<Self, RequestError> {
        let url = Url::parse(endpoint).map_err(|_| RequestError::Endpoint)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(RequestError::Endpoint),
        };
        let shown = url.host_str().ok_or(RequestError::Endpoint)?;
        let authority = url.port().map_or_else(|| shown.to_owned(), |port| format!("{shown}:{port}"));
        let port = url.port_or_known_default().ok_or(RequestError::Endpoint)?;
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { host: shown.trim_matches(['[', ']']).to_owned(), port, tls, authority, path })
    }
}

/// A signed request for a stream, with `body`.
pub fn put_media<B>(
    address: &Address,
    stream: &streamfleet_contract::Stream,
    credentials: &Credentials,
    time: SystemTime,
    body: B,
) -> Result<Request<B>, RequestError> {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = format!("{}.{:03}", since_epoch.as_secs(), since_epoch.subsec_millis());
    let headers = [
        ("host", address.authority.as_str()),
        ("x-amzn-stream-arn", stream.arn.as_str()),
        ("x-amzn-fragment-timecode-type", "ABSOLUTE"),
        ("x-amzn-producer-start-timestamp", start.as_str()),
        ("x-amzn-fragment-acknowledgment-required", "1"),
    ];
    let path = format!("{}{OPERATION}", address.path);
    let mut request = Request::post(&path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(body).map_err(RequestError::Build)?;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&stream.region)
        .name(SIGNING_NAME)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| RequestError::Sign)?
        .into();
    let scheme = if address.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", address.authority);
    let signable = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(&[]))
        .map_err(|_| RequestError::Sign)?;
    let (instructions, _) = sign(signable, &parameters).map_err(|_| RequestError::Sign)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn addresses_keep_an_unusual_port_in_the_host_header() {
        let address = Address::parse("https://s-1.kinesisvideo.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((address.port, address.tls), (443, true));
        assert_eq!((&address.authority, address.path.as_str()), (&address.host, ""));
        let address = Address::parse("http://[::1]:8081/").unwrap();
        assert_eq!((address.host.as_str(), address.authority.as_str()), ("::1", "[::1]:8081"));
        assert_eq!(Address::parse("http://h/base/x/").unwrap().path, "/base/x");
        assert!(Address::parse("ftp://x").is_err());
    }

    #[test]
    fn the_start_time_has_padded_milliseconds_and_the_secret_is_in_no_header() {
        let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/x/1";
        let stream = streamfleet_contract::Stream::new(arn, "eu-west-1");
        let credentials = Credentials::new("AKID", "verysecret", Some("token".to_owned()), None, "test");
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_012_005);
        let address = Address::parse("https://host.example").unwrap();
        let request = put_media(&address, &stream, &credentials, time, ()).unwrap();
        assert_eq!(request.uri().path(), "/putMedia");
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("x-amzn-producer-start-timestamp"), "1700000012.005");
        assert!(header("authorization").contains("/eu-west-1/kinesisvideo/aws4_request"));
        assert_eq!(header("x-amz-security-token"), "token");
        assert!(!format!("{request:?}").contains("verysecret"));
    }
}
