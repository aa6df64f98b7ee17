//! A call of CloudWatch on its way through the gate: signature, faults, log.

use std::sync::Arc;

use http::{Response, request::Parts};
use serde_json::Value;

use super::{
    body::{Body, Cut},
    respond,
    router::{Refused, after_effect, authenticate_for, before_effect, claimed, log},
};
use crate::{
    auth::Caller,
    cloudwatch::wire::{Asked, worded},
    control::Scope,
    error::ServiceError,
    hooks::{calls::Call, faults::Struck},
    service::{Service, blocking},
};

/// The service in the scope of the signature.
const SIGNING_NAME: &str = "monitoring";

/// Answers a call, between the faults that strike it, and logs it.
pub async fn answer(
    service: &Arc<Service>,
    parts: &Parts,
    asked: &Asked,
    bytes: &[u8],
    begun_ms: u64,
) -> Result<Response<Body>, Cut> {
    let input = asked.input(&parts.headers, bytes);
    let (account, region) = claimed(service, parts);
    let mut call = Call {
        n: 0,
        ms: 0,
        begun_ms,
        operation: asked.operation.clone(),
        stream: input.as_ref().ok().and_then(alarm_named),
        account,
        region,
        status: 0,
        error: None,
        done: false,
        struck: false,
    };
    let request_id = respond::new_request_id();
    let (stream, account) = (call.stream.as_deref(), call.account.as_deref());
    let strike = service.faults.strike(Struck { operation: &asked.operation, stream, account });
    call.struck = strike.is_some();
    let outcome = match before_effect(strike.as_ref()).await {
        Ok(()) => execute(service, parts, asked, (input, bytes)).await,
        Err(Refused::Dropped) => {
            log(service, call, 0);
            return Err(Cut);
        }
        Err(Refused::Answered(error)) => Err(error),
    };
    call.done = outcome.is_ok();
    let outcome = outcome.map(|answer| asked.answer(&answer, &request_id));
    let mut response = match after_effect(strike.as_ref(), outcome).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            log(service, call, 0);
            return Err(Cut);
        }
        Err(error) => {
            let error = worded(error);
            call.error = Some(error.code);
            asked.refusal(&error, &request_id)
        }
    };
    respond::identify(&mut response, &request_id);
    log(service, call, response.status().as_u16());
    Ok(response)
}

async fn execute(
    service: &Arc<Service>,
    parts: &Parts,
    asked: &Asked,
    (input, bytes): (Result<Value, ServiceError>, &[u8]),
) -> Result<Value, ServiceError> {
    let Caller { account, region, .. } = authenticate_for(service, parts, SIGNING_NAME, bytes)?;
    let (scope, operation, input) = (Scope::new(account, region), asked.operation.clone(), input?);
    blocking(service, move |service| service.cloudwatch.call(&scope, &operation, &input, false)).await
}

/// The alarm that a request names: it stands in the log of calls, and faults may be ordered for it, as for a stream.
fn alarm_named(input: &Value) -> Option<String> {
    let name = input.get("AlarmName").or_else(|| input.pointer("/AlarmNames/0"))?;
    name.as_str().map(str::to_owned)
}
