//! What tests may ask and order under `/_emulator/` on the plain listener: the log of calls, faults, cuts, outages.
//!
//! None of it exists in the real service. `README.md` of this crate is its manual.

pub mod calls;
pub mod faults;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

use crate::{operation::Operation, service::Service};
use faults::FaultOrder;

/// An outage longer than a year is a mistake.
const OUTAGE_SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// The prefix of all paths here.
pub const PREFIX: &str = "/_emulator/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CutOrder {
    /// Stream name; all streams when absent.
    stream: Option<String>,
    /// `PutMedia` (default) or `GetMedia`.
    operation: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageOrder {
    seconds: f64,
}

/// Answers a request below [`PREFIX`]: a status and JSON.
pub fn answer(
    service: &Service,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> (StatusCode, Value) {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<&str> = rest.split('/').collect();
    let outcome = match (method.as_str(), &segments[..]) {
        ("GET", ["health"]) => Ok(json!({"ok": true})),
        ("GET", ["calls"]) => calls(service, query),
        ("GET", ["connections"]) => Ok(connections(service)),
        ("GET", ["faults"]) => Ok(json!({"faults": service.faults.list()})),
        ("POST", ["faults"]) => {
            order::<FaultOrder>(body).and_then(|order| service.faults.add(order).map(|id| json!({"id": id})))
        }
        ("DELETE", ["faults"]) => {
            service.faults.clear();
            Ok(json!({}))
        }
        ("DELETE", ["faults", id]) => match id.parse() {
            Ok(id) => Ok(json!({"removed": service.faults.remove(id)})),
            Err(_) => Err("the id must be a number".to_owned()),
        },
        ("POST", ["cut"]) => order::<CutOrder>(body).and_then(|order| cut(service, &order)),
        ("POST", ["outage"]) => order::<OutageOrder>(body).and_then(|order| outage(service, &order)),
        _ => return (StatusCode::NOT_FOUND, json!({"error": "no such hook"})),
    };
    match outcome {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
    }
}

fn order<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn calls(service: &Service, query: &str) -> Result<Value, String> {
    let parameters: Vec<(_, _)> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let number = |name: &str, default: u64| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found
            .map_or(Ok(default), |(_, value)| value.parse().map_err(|_| format!("'{name}' must be a number")))
    };
    let limit = usize::try_from(number("limit", u64::MAX)?).unwrap_or(usize::MAX);
    let calls = service.calls.since(number("since", 0)?, limit);
    serde_json::to_value(calls).map_err(|error| error.to_string())
}

fn connections(service: &Service) -> Value {
    let streams: Vec<Value> = service
        .catalog
        .all()
        .iter()
        .map(|stream| {
            json!({
                "stream": stream.record().name,
                "PutMedia": stream.writers.taken(),
                "GetMedia": stream.readers.taken(),
            })
        })
        .collect();
    Value::Array(streams)
}

fn cut(service: &Service, order: &CutOrder) -> Result<Value, String> {
    let writers = match order.operation.as_deref().map(Operation::by_name) {
        None | Some(Some(Operation::PutMedia)) => true,
        Some(Some(Operation::GetMedia)) => false,
        Some(_) => return Err("only PutMedia and GetMedia can be cut".to_owned()),
    };
    let mut cut = 0;
    for stream in service.catalog.all() {
        if order.stream.as_ref().is_some_and(|name| *name != stream.record().name) {
            continue;
        }
        let (slots, orders) = if writers {
            (&stream.writers, &stream.cut_writers)
        } else {
            (&stream.readers, &stream.cut_readers)
        };
        cut += slots.taken();
        orders.send_modify(|count| *count += 1);
    }
    Ok(json!({ "cut": cut }))
}

fn outage(service: &Service, order: &OutageOrder) -> Result<Value, String> {
    let seconds = order.seconds.min(OUTAGE_SECONDS_MAX);
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    service.outage.begin(duration);
    Ok(json!({}))
}
