//! What tests may ask and order under `/_emulator/` on the plain listener: the log of calls, faults, cuts, outages.
//!
//! None of it exists in the real service. `README.md` of this crate is its manual.

pub mod calls;
mod cloudwatch;
pub mod faults;
mod line_faults;
pub mod outage;
mod state;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use streamfleet_media::ack::ErrorId;

use crate::{
    arrivals::Arrival, ingest::line, operation::Operation, service::Service, store::Stream, upload::Upload,
};
use faults::FaultOrder;
use outage::Mode;

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
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ErrorOrder {
    /// Stream name; all streams when absent.
    stream: Option<String>,
    error_id: u32,
    /// Whether it names the open fragment; it does when absent.
    named: Option<bool>,
}

/// Answers a request below [`PREFIX`]: a status and JSON.
pub fn answer(
    service: &Arc<Service>,
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
        ("GET", ["call-counts"]) => {
            serde_json::to_value(service.calls.counts()).map_err(|error| error.to_string())
        }
        ("DELETE", ["call-counts"]) => {
            service.calls.forget_counts();
            Ok(json!({}))
        }
        ("GET", ["connections"]) => Ok(connections(service)),
        ("GET", ["faults"]) => Ok(json!({"faults": service.faults.list()})),
        ("POST", ["faults"]) => order::<FaultOrder>(body).and_then(|order| {
            let id = service.faults.add(order)?;
            look_again(service);
            Ok(json!({"id": id}))
        }),
        ("DELETE", ["faults"]) => {
            service.faults.clear();
            look_again(service);
            Ok(json!({}))
        }
        ("DELETE", ["faults", id]) => match id.parse() {
            Ok(id) => {
                let removed = service.faults.remove(id);
                look_again(service);
                Ok(json!({ "removed": removed }))
            }
            Err(_) => Err("the id must be a number".to_owned()),
        },
        (_, ["options" | "streams" | "roles" | "revoked", ..]) => {
            state::answer(service, method, &segments, body)
        }
        (_, ["notifications" | "cloudwatch" | "metrics"]) => {
            cloudwatch::answer(service, method, &segments, query, body)
        }
        ("GET", ["tokens"]) => Ok(tokens(service)),
        ("POST", ["expire-tokens"]) => {
            Ok(json!({"expired": service.credentials.expire_temporary(jiff::Timestamp::now())}))
        }
        ("GET", ["discarded"]) => Ok(json!({"bytes": service.discarded.load(Ordering::Relaxed)})),
        ("GET", ["arrivals-count"]) => Ok(arrivals_count(service)),
        ("GET", ["arrivals"]) => arrivals(service, query),
        ("POST", ["error"]) => order::<ErrorOrder>(body).map(|order| fail(service, &order)),
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

/// The streams of this name, in all accounts and regions; all without a name.
fn streams<'a>(service: &Service, name: Option<&'a str>) -> impl Iterator<Item = Arc<Stream>> + use<'a> {
    service
        .catalog
        .all()
        .into_iter()
        .filter(move |stream| name.is_none_or(|name| name == stream.record().name))
}

/// Faults that hold bodies or acknowledgements back have changed.
fn look_again(service: &Arc<Service>) {
    streams(service, None)
        .filter_map(|stream| Upload::if_begun(service, &stream))
        .for_each(|u| u.look_again());
}

/// The parameters of a query.
struct Query<'a>(Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn of(query: &'a str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let parse = |value: &str| value.parse().map_err(|_| format!("'{name}' must be a number"));
        self.text(name).map_or(Ok(default), parse)
    }

    /// `since` and `limit` of a log.
    fn range(&self) -> Result<(u64, usize), String> {
        let limit = usize::try_from(self.number("limit", u64::MAX)?).unwrap_or(usize::MAX);
        Ok((self.number("since", 0)?, limit))
    }
}

fn calls(service: &Service, query: &str) -> Result<Value, String> {
    let (since, limit) = Query::of(query).range()?;
    serde_json::to_value(service.calls.since(since, limit)).map_err(|error| error.to_string())
}

fn arrivals(service: &Service, query: &str) -> Result<Value, String> {
    let query = Query::of(query);
    let name = query.text("stream").ok_or("'stream' is required")?;
    let (since, limit) = query.range()?;
    let found: Vec<Arrival> = streams(service, Some(name))
        .filter_map(|stream| Some(stream.upload.get()?.arrivals.since(since, limit)))
        .flatten()
        .collect();
    serde_json::to_value(found).map_err(|error| error.to_string())
}

fn arrivals_count(service: &Service) -> Value {
    let counted = |stream: Arc<Stream>| {
        let frames = stream.upload.get().map_or(0, |upload| upload.arrivals.count());
        json!({"stream": stream.record().name, "frames": frames})
    };
    streams(service, None).map(counted).collect()
}

/// What temporary keys were given, without anything secret.
fn tokens(service: &Service) -> Value {
    let described =
        |key: crate::auth::Key| json!({"accessKeyId": key.id, "expires": key.expires, "role": key.role});
    service.credentials.temporary().into_iter().map(described).collect()
}

fn fail(service: &Arc<Service>, order: &ErrorOrder) -> Value {
    let (error, named) = (ErrorId::from_code(order.error_id), order.named.unwrap_or(true));
    let uploads = streams(service, order.stream.as_deref()).filter_map(|one| Upload::if_begun(service, &one));
    let failed: usize = uploads.map(|upload| upload.fail(error, named)).sum();
    json!({ "failed": failed })
}

fn connections(service: &Service) -> Value {
    let streams: Vec<Value> = service
        .catalog
        .all()
        .iter()
        .map(|stream| {
            json!({
                "stream": stream.record().name,
                "PutMedia": stream.upload.get().map_or(0, |upload| upload.connections()),
                "GetMedia": stream.readers.taken(),
            })
        })
        .collect();
    Value::Array(streams)
}

fn cut(service: &Arc<Service>, order: &CutOrder) -> Result<Value, String> {
    let writers = match order.operation.as_deref().map(Operation::by_name) {
        None | Some(Some(Operation::PutMedia)) => true,
        Some(Some(Operation::GetMedia)) => false,
        Some(_) => return Err("only PutMedia and GetMedia can be cut".to_owned()),
    };
    let mut cut = 0;
    for stream in streams(service, order.stream.as_deref()) {
        if writers {
            cut += Upload::if_begun(service, &stream).map_or(0, |upload| upload.cut());
        } else {
            cut += stream.readers.taken();
            stream.cut_readers.send_modify(|count| *count += 1);
        }
    }
    Ok(json!({ "cut": cut }))
}

fn outage(service: &Arc<Service>, order: &OutageOrder) -> Result<Value, String> {
    let seconds = order.seconds.min(OUTAGE_SECONDS_MAX);
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    // Of the sessions that are open, a black hole is a fault; id 0 is given to no other.
    let book = service.faults.of_lines();
    book.remove(0);
    if order.mode == Mode::BlackHole && !duration.is_zero() {
        let ends = crate::clock::now().mono.checked_add(duration);
        book.add(0, line::FaultOrder { ends, ..line::FaultOrder::of(line::Fault::Freeze) });
    }
    service.outage.begin(duration, order.mode);
    look_again(service);
    Ok(json!({}))
}
