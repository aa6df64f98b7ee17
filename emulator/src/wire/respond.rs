//! Answers and errors as each service writes them.

use http::{HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::body::{self, Body};
use crate::{error::ServiceError, operation::Operation, sts};

/// The documents say `x-amz-`, the SDKs read `x-amzn-`: both are sent.
const REQUEST_ID: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-requestid"), HeaderName::from_static("x-amz-requestid")];
const ERROR_TYPE: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-errortype"), HeaderName::from_static("x-amz-errortype")];

/// An id in the form of those of the service.
pub fn new_request_id() -> String {
    let bits = fastrand::u128(..);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A JSON answer.
pub fn json(value: &Value) -> Response<Body> {
    json_text(value.to_string())
}

/// A JSON answer that is written already.
pub fn json_text(text: String) -> Response<Body> {
    body::ok("application/json", body::full(text))
}

/// An XML answer.
pub fn xml(text: String) -> Response<Body> {
    body::ok("text/xml", body::full(text))
}

/// A refusal, as the operation's service words it.
pub fn error(error: &ServiceError, operation: Option<Operation>, request_id: &str) -> Response<Body> {
    let is_of_sts = operation.is_some_and(Operation::is_of_sts);
    let code = if is_of_sts { sts::code(error.code) } else { error.code };
    let mut response = if is_of_sts {
        xml(sts::error(code, &error.message, request_id))
    } else {
        json(&json!({"Message": error.message}))
    };
    *response.status_mut() = error.status;
    let code = HeaderValue::from_static(code);
    for name in ERROR_TYPE {
        response.headers_mut().insert(name, code.clone());
    }
    response
}

/// Marks an answer with the id of its request.
pub fn identify(response: &mut Response<Body>, request_id: &str) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        for name in REQUEST_ID {
            response.headers_mut().insert(name, id.clone());
        }
    }
}

/// An answer of the hooks.
pub fn hook(status: http::StatusCode, value: &Value) -> Response<Body> {
    let mut response = json(value);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
