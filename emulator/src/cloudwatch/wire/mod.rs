//! The three protocols of CloudWatch, one layer of operations behind them.
//!
//! - smithy `rpc-v2-cbor`: the path names the operation, bodies are CBOR (what the Rust SDK and boto3 speak);
//! - AWS JSON 1.0 and 1.1: `X-Amz-Target` names it, bodies are JSON;
//! - query: a form with `Action`, answered in XML.
//!
//! The API model lists them in this order (`protocols`), and says that codes of errors are those of the query protocol in
//! each (`awsQueryCompatible`).

mod cbor;
mod form;
mod xml;

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use serde_json::{Value, json};

use super::{
    model::MODEL,
    refusal::{unknown_operation, unreadable},
};
use crate::{
    error::ServiceError,
    wire::{Body, body},
};

const TARGET_PREFIX: &str = "GraniteServiceVersion20100801";
const VERSION: &str = "2010-08-01";
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const CBOR: &str = "rpc-v2-cbor";
const FORM: &str = "application/x-www-form-urlencoded";
/// A body that is larger when it is unpacked is refused.
const UNPACKED_BYTES_MAX: u64 = 8 << 20;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// smithy `rpc-v2-cbor`.
    Cbor,
    /// AWS JSON, with the content type of the request.
    Json(&'static str),
    /// A form in, XML out.
    Query,
}

/// A request for CloudWatch, as far as the way of its head tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How the client speaks.
    pub protocol: Protocol,
    /// The operation that it names, which may be none of ours.
    pub operation: String,
}

/// Whether a request is one for CloudWatch.
pub fn asked(parts: &Parts, bytes: &[u8]) -> Option<Asked> {
    let mut path = parts.uri.path().trim_matches('/').rsplit('/');
    if let (Some(operation), Some("operation"), Some(TARGET_PREFIX)) = (path.next(), path.next(), path.next())
    {
        return Some(Asked { protocol: Protocol::Cbor, operation: operation.to_owned() });
    }
    if let Some(target) = text(&parts.headers, "x-amz-target") {
        let operation = target.strip_prefix(TARGET_PREFIX)?.strip_prefix('.')?.to_owned();
        let is_newer = text(&parts.headers, "content-type").is_some_and(|kind| kind.ends_with("1.1"));
        let kind = if is_newer { "application/x-amz-json-1.1" } else { "application/x-amz-json-1.0" };
        return Some(Asked { protocol: Protocol::Json(kind), operation });
    }
    if !text(&parts.headers, "content-type")?.starts_with(FORM) {
        return None;
    }
    let (mut operation, mut is_ours) = (None, false);
    let unpacked = unpack(&parts.headers, bytes).ok()?;
    for (name, value) in url::form_urlencoded::parse(&unpacked) {
        match name.as_ref() {
            "Action" => operation = Some(value.into_owned()),
            "Version" => is_ours = value == VERSION,
            _ => {}
        }
    }
    Some(Asked { protocol: Protocol::Query, operation: operation.filter(|_| is_ours)? })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body without its compression.
fn unpack(headers: &HeaderMap, bytes: &[u8]) -> Result<Bytes, ServiceError> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        Some(b"gzip") => {
            let mut unpacked = Vec::new();
            let read = GzDecoder::new(bytes).take(UNPACKED_BYTES_MAX).read_to_end(&mut unpacked);
            read.map_err(|_| unreadable("The body is not gzip"))?;
            Ok(unpacked.into())
        }
        _ => Ok(Bytes::copy_from_slice(bytes)),
    }
}

impl Asked {
    /// The request as JSON.
    pub fn input(&self, headers: &HeaderMap, bytes: &[u8]) -> Result<Value, ServiceError> {
        let shape = MODEL.input(&self.operation).ok_or_else(|| unknown_operation(&self.operation))?;
        let bytes = unpack(headers, bytes)?;
        match self.protocol {
            Protocol::Cbor if text(headers, SMITHY_PROTOCOL.as_str()) != Some(CBOR) => {
                Err(unreadable("The header smithy-protocol must be rpc-v2-cbor"))
            }
            _ if bytes.is_empty() => Ok(json!({})),
            Protocol::Cbor => cbor::read(&bytes),
            Protocol::Json(_) => serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(format!("The body is not JSON: {error}"))),
            Protocol::Query => form::read(shape, &bytes),
        }
    }

    /// An answer, as the protocol writes it.
    pub fn answer(&self, answer: &Value, request_id: &str) -> Response<Body> {
        let shape = MODEL.output(&self.operation);
        match self.protocol {
            Protocol::Cbor => Self::cbor(cbor::write(shape, answer)),
            Protocol::Json(kind) => body::ok(kind, body::full(answer.to_string())),
            Protocol::Query => {
                body::ok("text/xml", body::full(xml::answer(&self.operation, shape, answer, request_id)))
            }
        }
    }

    /// A refusal, as the protocol writes it.
    pub fn refusal(&self, error: &ServiceError, request_id: &str) -> Response<Body> {
        let code = error.code;
        let side = if error.status.is_server_error() { "Receiver" } else { "Sender" };
        let named = json!({"__type": format!("com.amazonaws.cloudwatch#{}", shape_of(code)), "message": error.message});
        let mut response = match self.protocol {
            Protocol::Cbor => Self::cbor(cbor::write(None, &named)),
            Protocol::Json(kind) => body::ok(kind, body::full(named.to_string())),
            Protocol::Query => {
                body::ok("text/xml", body::full(xml::refusal(code, side, &error.message, request_id)))
            }
        };
        *response.status_mut() = error.status;
        if let Ok(value) = HeaderValue::from_str(&format!("{code};{side}")) {
            response.headers_mut().insert(QUERY_ERROR, value);
        }
        response
    }

    fn cbor(bytes: Vec<u8>) -> Response<Body> {
        let mut response = body::ok("application/cbor", body::full(bytes));
        response.headers_mut().insert(SMITHY_PROTOCOL, HeaderValue::from_static(CBOR));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
        response
    }
}

/// A refusal in CloudWatch's words: faults and the gate word theirs as Kinesis Video Streams does.
pub fn worded(error: ServiceError) -> ServiceError {
    let code = match error.code {
        "ClientLimitExceededException" | "ThrottlingException" => "Throttling",
        "AccessDeniedException" => "AccessDenied",
        "ExpiredTokenException" => "ExpiredToken",
        "InternalFailure" | "InternalServiceFault" => "InternalServiceError",
        "MissingAuthenticationTokenException" => "MissingAuthenticationToken",
        "IncompleteSignatureException" => "IncompleteSignature",
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "InvalidSignatureException" => "SignatureDoesNotMatch",
        code => code,
    };
    ServiceError { code, ..error }
}

/// The name that the model has for a code of the query protocol.
fn shape_of(code: &str) -> &str {
    match code {
        "InvalidParameterValue" => "InvalidParameterValueException",
        "InvalidParameterCombination" => "InvalidParameterCombinationException",
        "LimitExceeded" => "LimitExceededFault",
        "InvalidFormat" => "InvalidFormatFault",
        "InternalServiceError" => "InternalServiceFault",
        "Throttling" => "ThrottlingException",
        "AccessDenied" => "AccessDeniedException",
        "ExpiredToken" => "ExpiredTokenException",
        other => other,
    }
}
