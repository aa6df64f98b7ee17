//! The archive: which fragments are stored, and the fragments of a list.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use streamfleet_media::limits::FRAGMENT_LIST_MAX;
use tokio::sync::mpsc;

use crate::{
    auth::Caller,
    chunk,
    clock::{now_ms, seconds},
    cloudwatch::traffic::names,
    control::Selection,
    endpoint,
    error::ServiceError,
    get_media::{CONTENT_TYPE, PartSender, Unreadable, read},
    number::FragmentNumber,
    operation::Operation,
    plane::{self, select_serving},
    service::Service,
    store::{FragmentMeta, Stream},
    wire::{Body, body},
};

/// Fragments on one page of `ListFragments`, at most and by default.
const LIST_FRAGMENTS_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    #[serde(flatten)]
    stream: Selection,
    max_results: Option<i64>,
    next_token: Option<String>,
    fragment_selector: Option<FragmentSelector>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FragmentSelector {
    fragment_selector_type: Option<String>,
    timestamp_range: Option<TimestampRange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimestampRange {
    start_timestamp: Option<f64>,
    end_timestamp: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Clock {
    Producer,
    Server,
}

/// A listing and how far it has come; what `NextToken` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    clock: Clock,
    from_ms: u64,
    to_ms: u64,
    after: Option<(u64, FragmentNumber)>,
}

/// `ListFragments`.
pub fn list_fragments(
    service: &Service,
    caller: &Caller,
    base: &str,
    request: &[u8],
) -> Result<Value, ServiceError> {
    let request: ListRequest = plane::parse(request)?;
    let limit = match request.max_results {
        None => LIST_FRAGMENTS_MAX,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=LIST_FRAGMENTS_MAX).contains(limit))
            .ok_or_else(|| ServiceError::invalid_argument("MaxResults must be 1-1000"))?,
    };
    let mut listing = match (&request.next_token, request.fragment_selector) {
        // The token alone continues; a selector beside it is not looked at.
        (Some(token), _) => listing_of_token(token)?,
        (None, Some(selector)) => listing_of_selector(&selector)?,
        (None, None) => {
            return Err(ServiceError::invalid_argument("FragmentSelector is required without NextToken"));
        }
    };
    let stream = select_serving(service, caller, &request.stream)?;
    endpoint::check(Operation::ListFragments, &stream.record().arn(), base)?;
    let (page, more) = page(&stream, &listing, limit);
    stream.traffic.listed(page.len(), now_ms());
    let mut answer = json!({"Fragments": page.iter().map(described).collect::<Vec<_>>()});
    if let (true, Some(last)) = (more, page.last()) {
        listing.after = Some(place(last));
        answer["NextToken"] = hex::encode(serde_json::to_vec(&listing).unwrap_or_default()).into();
    }
    Ok(answer)
}

/// One page, and whether there are more. The service gives no order, not even across pages; so that nobody comes to
/// rely on one, the order here is that of a hash, which new fragments do not change.
fn page(stream: &Stream, listing: &Listing, limit: usize) -> (Vec<FragmentMeta>, bool) {
    let Listing { clock, from_ms, to_ms, after } = *listing;
    let mut found = stream.media.list_stored(|meta| {
        let time = match clock {
            Clock::Producer => meta.producer_ms,
            Clock::Server => meta.server_ms,
        };
        (from_ms..=to_ms).contains(&time)
    });
    found.retain(|meta| after.is_none_or(|after| place(meta) > after));
    found.sort_by_cached_key(place);
    let more = found.len() > limit;
    found.truncate(limit);
    (found, more)
}

fn place(meta: &FragmentMeta) -> (u64, FragmentNumber) {
    let hash = Sha256::digest(meta.number.to_string());
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    (u64::from_be_bytes(first), meta.number)
}

fn described(meta: &FragmentMeta) -> Value {
    json!({
        "FragmentNumber": meta.number,
        "FragmentSizeInBytes": meta.bytes,
        "ProducerTimestamp": seconds(meta.producer_ms),
        "ServerTimestamp": seconds(meta.server_ms),
        "FragmentLengthInMilliseconds": meta.length_ms,
    })
}

fn listing_of_selector(selector: &FragmentSelector) -> Result<Listing, ServiceError> {
    let clock = match selector.fragment_selector_type.as_deref() {
        Some("PRODUCER_TIMESTAMP") => Clock::Producer,
        Some("SERVER_TIMESTAMP") => Clock::Server,
        _ => {
            return Err(ServiceError::invalid_argument(
                "FragmentSelectorType must be PRODUCER_TIMESTAMP or SERVER_TIMESTAMP",
            ));
        }
    };
    let range = selector.timestamp_range.as_ref();
    let time = |time: Option<f64>| time.filter(|time| time.is_finite()).map(|time| time.max(0.0) * 1000.0);
    let start = range.and_then(|range| time(range.start_timestamp));
    let end = range.and_then(|range| time(range.end_timestamp));
    let (Some(start), Some(end)) = (start, end) else {
        return Err(ServiceError::invalid_argument("TimestampRange needs StartTimestamp and EndTimestamp"));
    };
    if end < start {
        return Err(ServiceError::invalid_argument("EndTimestamp must not be before StartTimestamp"));
    }
    Ok(Listing { clock, from_ms: start.round() as u64, to_ms: end.round() as u64, after: None })
}

fn listing_of_token(token: &str) -> Result<Listing, ServiceError> {
    let bytes = hex::decode(token).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| ServiceError::invalid_argument("NextToken is not one of ours"))
}

#[derive(Debug, Deserialize)]
struct MediaRequest {
    #[serde(flatten)]
    stream: Selection,
    #[serde(rename = "Fragments")]
    fragments: Option<Vec<String>>,
}

/// `GetMediaForFragmentList`: the fragments in the order asked; a number that is not stored ends it with an error.
pub fn get_media(
    service: &Arc<Service>,
    caller: &Caller,
    base: &str,
    request: &[u8],
) -> Result<Response<Body>, ServiceError> {
    let request: MediaRequest = plane::parse(request)?;
    let fragments = request.fragments.unwrap_or_default();
    let is_number =
        |text: &String| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=FRAGMENT_LIST_MAX).contains(&fragments.len()) || !fragments.iter().all(is_number) {
        return Err(ServiceError::invalid_argument("Fragments must be 1-1000 fragment numbers"));
    }
    let stream = select_serving(service, caller, &request.stream)?;
    endpoint::check(Operation::GetMediaForFragmentList, &stream.record().arn(), base)?;
    stream.traffic.count(names::FRAGMENT_LIST_REQUESTS, 1.0, now_ms());
    let (parts, receiver) = mpsc::channel(4);
    tokio::spawn(send_list(service.clone(), stream, fragments, parts));
    Ok(body::ok(CONTENT_TYPE, body::bounded(receiver)))
}

async fn send_list(service: Arc<Service>, stream: Arc<Stream>, fragments: Vec<String>, parts: PartSender) {
    for number in fragments {
        let stored = number.parse().ok().and_then(|number| stream.media.stored(number));
        let bytes = match &stored {
            Some(chunk) => read(&service, &stream, chunk).await,
            None => Err(Unreadable::Gone),
        };
        let read = bytes.as_ref().ok().map(|bytes| bytes.iter().map(Bytes::len).sum());
        stream.traffic.read_from_archive(read, now_ms());
        let sent = match bytes {
            Ok(bytes) => {
                let mut sent = Ok(());
                for part in bytes {
                    sent = parts.send(Ok(part)).await;
                }
                sent
            }
            Err(problem) => {
                let (id, code, message) = match problem {
                    Unreadable::Gone => (4000, "FRAGMENT_NOT_FOUND", "The fragment is not in the archive."),
                    Unreadable::Damaged => (5000, "INTERNAL_ERROR", "The fragment cannot be read."),
                };
                let _ = parts.send(Ok(chunk::list_error(&number, id, code, message))).await;
                return;
            }
        };
        // The client has gone.
        if sent.is_err() {
            return;
        }
    }
}
