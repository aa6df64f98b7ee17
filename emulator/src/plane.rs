//! The control plane behind HTTP: requests come as bytes from a caller, and data-plane calls find their streams here.

use std::{io, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    auth::Caller,
    clock::now_ms,
    control::{ResourceKey, Scope, Selection, Status, arn},
    error::ServiceError,
    operation::Operation,
    service::Service,
    store::Stream,
};

/// Carries out an operation of the control plane; the answer is JSON.
pub fn answer(
    service: &Service,
    caller: &Caller,
    operation: Operation,
    body: &[u8],
) -> Result<String, ServiceError> {
    let request: Value = parse(body)?;
    service.catalog.call(&scope(caller), operation.name(), &request)
}

/// Reads a request body; an empty one is an empty object.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ServiceError::invalid_argument(error.to_string()))
}

/// The name of the stream that a request names, for the log of calls.
pub fn stream_named(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Any {
        #[serde(flatten)]
        stream: Selection,
    }
    let Any { stream } = serde_json::from_slice(body).ok()?;
    let by_arn = |text: String| arn::stream_name(&text).map(str::to_owned);
    stream.name.or_else(|| stream.arn.and_then(by_arn))
}

/// The stream that a data-plane request names, if the caller may see it; it must be `ACTIVE` (or `UPDATING`).
pub fn select_serving(
    service: &Service,
    caller: &Caller,
    selection: &Selection,
) -> Result<Arc<Stream>, ServiceError> {
    let stream = select(service, caller, selection)?;
    match stream.record().status(now_ms()) {
        Some(Status::Active | Status::Updating) => Ok(stream),
        Some(Status::Creating | Status::Deleting) | None => Err(ServiceError::not_found()),
    }
}

fn select(service: &Service, caller: &Caller, selection: &Selection) -> Result<Arc<Stream>, ServiceError> {
    let find = |name: &str| {
        let found = service.catalog.find(&ResourceKey::new(&scope(caller), name));
        found.ok_or_else(ServiceError::not_found)
    };
    match (&selection.name, &selection.arn) {
        (Some(name), None) => find(name),
        (None, Some(text)) => {
            let arn = arn::parse(text)
                .filter(|arn| arn.kind == "stream")
                .ok_or_else(|| ServiceError::invalid_argument(format!("StreamARN '{text}' is none")))?;
            if arn.account != caller.account {
                return Err(ServiceError::not_authorized("the caller may not use another account's stream"));
            }
            let stream = find(arn.name)?;
            let is_same = arn.region == caller.region && arn.created_ms == stream.record().created_ms;
            if is_same { Ok(stream) } else { Err(ServiceError::not_found()) }
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(ServiceError::invalid_argument("exactly one of StreamName and StreamARN must be given"))
        }
    }
}

fn scope(caller: &Caller) -> Scope {
    Scope::new(&*caller.account, &*caller.region)
}

impl From<io::Error> for ServiceError {
    fn from(error: io::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "The data folder does not answer");
        Self::internal("the data folder does not answer")
    }
}
