//! What an operator asks of AWS and of the API server, under the names that calls and writes have in process.

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde_json::{Value, json};

/// What the names of all objects of ours begin with.
pub const NAMES: &str = "door-";
/// What the names of all alarms begin with that any operator makes.
const ALARMS: &str = "streamfleet/";

/// Whom a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The object of this run, or its stream.
    Ours,
    /// That of an earlier run.
    Others,
    /// Neither.
    Nobody,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `CreateStream`; `apply videostreams/status`; `get videostreams`.
    pub label: String,
    /// Whether it is a call of AWS or a write: where an operator may be stopped.
    pub is_point: bool,
    pub is_aws: bool,
    pub about: About,
    /// Plural, namespace and name; of the API server alone.
    pub key: (String, String, String),
    /// The body. Of a call about alarms there is what names them, whose protocol is no JSON.
    pub request: Value,
}

impl Asked {
    /// A call of AWS.
    pub fn of_aws(path: &str, body: &[u8], name: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let last = path.rsplit('/').next().unwrap_or_default();
        let label = if last.is_empty() {
            // STS is asked by a form.
            let action = text.split('&').find_map(|pair| pair.strip_prefix("Action="));
            action.unwrap_or("unknown").to_owned()
        } else {
            last[..1].to_uppercase() + &last[1..]
        };
        let request = serde_json::from_slice(body).unwrap_or_else(|_| json!({ "AlarmNames": alarms(body) }));
        let key = Default::default();
        Self { label, is_point: true, is_aws: true, about: about(&text, name), key, request }
    }

    /// A request to the API server that is no watch.
    pub fn of_kubernetes(parts: &Parts, body: &[u8], name: &str) -> Self {
        let (key, subresource) = target(parts.uri.path());
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let verb = match parts.method {
            Method::GET => "get",
            Method::POST => "create",
            Method::DELETE => "delete",
            _ if kind.contains("apply-patch") => "apply",
            _ => "patch",
        };
        let label = format!("{verb} {}{subresource}", key.0);
        let text = format!("{} {}", parts.uri.path(), String::from_utf8_lossy(body));
        let request = serde_json::from_slice(body).unwrap_or_default();
        let is_point = parts.method != Method::GET;
        Self { label, is_point, is_aws: false, about: about(&text, name), key, request }
    }
}

fn about(text: &str, name: &str) -> About {
    if text.contains(name) {
        About::Ours
    } else if text.contains(NAMES) {
        About::Others
    } else {
        About::Nobody
    }
}

/// The names of alarms in a body of CBOR: each is a text of its own, with its length before it (RFC 8949, section 3).
fn alarms(body: &[u8]) -> Vec<&str> {
    let starts = (0..body.len()).filter(|at| body[*at..].starts_with(ALARMS.as_bytes()));
    let named = |at: usize| {
        let length = match body[..at] {
            [.., 0x79, high, low] => usize::from(u16::from_be_bytes([high, low])),
            [.., 0x78, length] => usize::from(length),
            [.., short @ 0x60..=0x77] => usize::from(short - 0x60),
            _ => return None,
        };
        std::str::from_utf8(body.get(at..at + length)?).ok()
    };
    starts.filter_map(named).collect()
}

/// What `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE` is about, and `/SUBRESOURCE`.
fn target(path: &str) -> ((String, String, String), String) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let skipped = if parts.first() == Some(&"api") { 2 } else { 3 };
    let (namespace, rest) = match parts.get(skipped..).unwrap_or_default() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    let subresource = if rest.len() > 2 { format!("/{}", part(2)) } else { String::new() };
    ((part(0), namespace.to_owned(), part(1)), subresource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_alarms_end_where_they_end() {
        let long = format!("{ALARMS}{}", "a".repeat(300));
        let mut body =
            b"\xbf\x6aAlarmNames\x9f\x78\x1astreamfleet/north/NoIngest\x71streamfleet/short\x79\x01\x38"
                .to_vec();
        body.extend(long.as_bytes());
        body.extend(b"\xff\x6aother text streamfleet/x\xff");
        assert_eq!(alarms(&body), ["streamfleet/north/NoIngest", "streamfleet/short", &long]);
    }
}
