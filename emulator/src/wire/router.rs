//! From a request to its operation and back: who calls, what is asked, which faults strike, what is logged.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::sleep;

use super::{
    body::{self, Body, Cut},
    cloudwatch, respond,
};
use crate::{
    archive,
    auth::{self, AuthError, Caller, Revocation, SignedRequest},
    clock::now_ms,
    error::ServiceError,
    get_media,
    hooks::{
        self,
        calls::Call,
        faults::{Action, Strike, Struck},
        outage::Mode,
    },
    operation::Operation,
    plane, put_media,
    service::{Service, blocking},
    sts,
};

/// Takes any body.
const DISCARD: &str = "/discard";

type Outcome = Result<Response<Body>, ServiceError>;

/// What a path says.
struct Target<'a> {
    operation: Option<Operation>,
    /// The segment before the operation: the data endpoint's base path.
    base: &'a str,
}

/// The body of a request, as far as it is read before the operation begins.
enum Payload {
    Whole(Bytes),
    /// `PutMedia`: read while the answer is written.
    Upload(Incoming),
}

/// Answers one request. `with_hooks` on the plain listener.
pub async fn handle(
    service: Arc<Service>,
    with_hooks: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let begun_ms = now_ms();
    let (parts, incoming) = request.into_parts();
    if with_hooks && parts.uri.path().starts_with(hooks::PREFIX) {
        return answer_hook(&service, &parts, incoming).await;
    }
    match service.outage.mode() {
        Some(Mode::Drop | Mode::Refuse) => return Err(Cut),
        Some(Mode::BlackHole) => {
            service.outage.is_over(Mode::BlackHole).await;
            return Err(Cut);
        }
        None => {}
    }
    if parts.uri.path() == DISCARD {
        return discard(&service, incoming).await;
    }
    let mut target = target(&parts.uri);
    let payload = if target.operation == Some(Operation::PutMedia) {
        Payload::Upload(incoming)
    } else {
        match body::collect(incoming).await {
            Ok(Some(bytes)) => Payload::Whole(bytes),
            Ok(None) => return Err(Cut),
            Err(error) => {
                return Ok(respond::error(&error, target.operation, &respond::new_request_id()));
            }
        }
    };
    if let Payload::Whole(bytes) = &payload
        && let Some(asked) = crate::cloudwatch::wire::asked(&parts, bytes)
    {
        return cloudwatch::answer(&service, &parts, &asked, bytes, begun_ms).await;
    }
    if let Payload::Whole(form) = &payload
        && target.operation.is_none()
    {
        target.operation = sts::operation(form);
    }
    let (account, region) = claimed(&service, &parts);
    let call = Call {
        n: 0,
        ms: 0,
        begun_ms,
        operation: target.operation.map_or_else(|| parts.uri.path().to_owned(), |op| op.name().to_owned()),
        stream: stream_named(&parts.headers, &payload),
        account,
        region,
        status: 0,
        error: None,
        done: false,
        struck: false,
    };
    answer(&service, &parts, &target, payload, call).await
}

/// The account and the region that a request says that it is from.
pub(super) fn claimed(service: &Service, parts: &Parts) -> (Option<String>, Option<String>) {
    let claim = auth::claim(&parts.headers, &service.credentials, &service.options.account);
    claim.map_or((None, None), |claim| (claim.account, Some(claim.region)))
}

/// Reads a body of any length and throws it away: for peers that are no producers, in load tests.
async fn discard(service: &Service, mut incoming: Incoming) -> Result<Response<Body>, Cut> {
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Cut)?;
        if let Some(bytes) = frame.data_ref() {
            service.discarded.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    }
    Ok(body::ok("text/plain", body::full("")))
}

/// Carries out the call between the faults that strike it, and logs it.
async fn answer(
    service: &Arc<Service>,
    parts: &Parts,
    target: &Target<'_>,
    payload: Payload,
    mut call: Call,
) -> Result<Response<Body>, Cut> {
    let request_id = respond::new_request_id();
    let strike = target.operation.and_then(|operation| {
        let (stream, account) = (call.stream.as_deref(), call.account.as_deref());
        service.faults.strike(Struck { operation: operation.name(), stream, account })
    });
    call.struck = strike.is_some();
    let outcome = match before_effect(strike.as_ref()).await {
        Ok(()) => execute(service, parts, target, payload, &request_id).await,
        Err(Refused::Dropped) => {
            log(service, call, 0);
            return Err(Cut);
        }
        Err(Refused::Answered(error)) => Err(error),
    };
    call.done = outcome.is_ok();
    let outcome = after_effect(strike.as_ref(), outcome).await;
    let mut response = match outcome {
        Ok(Some(response)) => response,
        Ok(None) => {
            log(service, call, 0);
            return Err(Cut);
        }
        Err(error) => {
            call.error = Some(error.code);
            respond::error(&error, target.operation, &request_id)
        }
    };
    respond::identify(&mut response, &request_id);
    log(service, call, response.status().as_u16());
    Ok(response)
}

pub(super) fn log(service: &Service, mut call: Call, status: u16) {
    call.status = status;
    call.ms = now_ms();
    tracing::debug!(
        operation = %call.operation, stream = call.stream.as_deref(), status, error = call.error, done = call.done,
        "Call"
    );
    service.calls.enter(call);
}

/// What a fault has made of a call, before it had an effect.
pub(super) enum Refused {
    /// No answer.
    Dropped,
    /// A refusal.
    Answered(ServiceError),
}

/// Lets the faults strike that do so before the effect.
pub(super) async fn before_effect(strike: Option<&Strike>) -> Result<(), Refused> {
    let Some(Strike { action, delay, error }) = strike else { return Ok(()) };
    match action {
        Action::Drop => Err(Refused::Dropped),
        Action::Throttle => {
            Err(Refused::Answered(ServiceError::client_limit("Limit exceeded on number of requests.")))
        }
        Action::InternalFailure => Err(Refused::Answered(ServiceError::internal("ordered by a fault"))),
        Action::Error => Err(Refused::Answered(ordered(error.as_ref()))),
        Action::Delay => {
            sleep(*delay).await;
            Ok(())
        }
        Action::Forbidden => Err(Refused::Answered(ServiceError::forbidden())),
        Action::ExpiredToken => Err(Refused::Answered(ServiceError::expired_token())),
        // The rest strikes later, or is of uploads and strikes no call.
        Action::DropAfterEffect
        | Action::ErrorAfterEffect
        | Action::InternalFailureAfterEffect
        | Action::DelayAnswer
        | Action::AckError
        | Action::Withhold
        | Action::DelayAcks
        | Action::Stall
        | Action::Freeze
        | Action::Slow
        | Action::CutAtByte
        | Action::CutAtFragment => Ok(()),
    }
}

/// The outcome as the client is to see it; `None` when it is to see nothing.
pub(super) async fn after_effect(
    strike: Option<&Strike>,
    outcome: Outcome,
) -> Result<Option<Response<Body>>, ServiceError> {
    let Some(Strike { action, delay, error }) = strike else { return outcome.map(Some) };
    match action {
        Action::DropAfterEffect => Ok(None),
        Action::InternalFailureAfterEffect => Err(ServiceError::internal("ordered by a fault")),
        Action::ErrorAfterEffect => Err(ordered(error.as_ref())),
        Action::DelayAnswer => {
            sleep(*delay).await;
            outcome.map(Some)
        }
        _ => outcome.map(Some),
    }
}

/// The error of a fault, which was looked at when it was ordered.
fn ordered(error: Option<&ServiceError>) -> ServiceError {
    error.cloned().unwrap_or_else(|| ServiceError::internal("ordered by a fault"))
}

async fn execute(
    service: &Arc<Service>,
    parts: &Parts,
    target: &Target<'_>,
    payload: Payload,
    request_id: &str,
) -> Outcome {
    match payload {
        Payload::Whole(form) if target.operation == Some(Operation::AssumeRoleWithWebIdentity) => {
            sts::assume_role_with_web_identity(service, &form, request_id).map(respond::xml)
        }
        Payload::Whole(bytes) => {
            let caller = authenticate(service, parts, target.operation, Some(&bytes))?;
            let operation = target.operation.ok_or_else(ServiceError::unknown_operation)?;
            execute_whole(service, caller, (operation, target.base), bytes, request_id).await
        }
        Payload::Upload(incoming) => {
            let expects = parts.headers.contains_key(header::EXPECT);
            let accepted = match authenticate(service, parts, target.operation, None) {
                Ok(caller) => put_media::accept(service, &caller, target.base, &parts.headers).await,
                Err(error) => Err(error),
            };
            match accepted {
                Ok(accepted) => Ok(accepted.start(incoming, expects).await),
                Err(error) => {
                    // A client that waits for "100 Continue" sends nothing after a refusal.
                    if !expects {
                        tokio::spawn(body::drain(incoming));
                    }
                    Err(error)
                }
            }
        }
    }
}

async fn execute_whole(
    service: &Arc<Service>,
    caller: Caller,
    (operation, base): (Operation, &str),
    bytes: Bytes,
    request_id: &str,
) -> Outcome {
    match operation {
        Operation::GetCallerIdentity => Ok(respond::xml(sts::caller_identity(&caller, request_id))),
        Operation::AssumeRole => sts::assume_role(service, &caller, &bytes, request_id).map(respond::xml),
        Operation::GetMedia => get_media::answer(service, &caller, base, &bytes),
        Operation::ListFragments => {
            archive::list_fragments(service, &caller, base, &bytes).map(|value| respond::json(&value))
        }
        Operation::GetMediaForFragmentList => archive::get_media(service, &caller, base, &bytes),
        _ => {
            let work = move |service: &Service| plane::answer(service, &caller, operation, &bytes);
            blocking(service, work).await.map(respond::json_text)
        }
    }
}

fn authenticate(
    service: &Service,
    parts: &Parts,
    operation: Option<Operation>,
    body: Option<&[u8]>,
) -> Result<Caller, ServiceError> {
    let name = operation.map_or("kinesisvideo", Operation::signing_name);
    verify(service, parts, name, body).map_err(|error| refusal(&error, operation))
}

/// Who calls another service than these.
pub(super) fn authenticate_for(
    service: &Service,
    parts: &Parts,
    signing_name: &'static str,
    body: &[u8],
) -> Result<Caller, ServiceError> {
    verify(service, parts, signing_name, Some(body)).map_err(|error| refusal(&error, None))
}

fn verify(
    service: &Service,
    parts: &Parts,
    signing_name: &'static str,
    body: Option<&[u8]>,
) -> Result<Caller, AuthError> {
    let signed = SignedRequest {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        body,
        service: signing_name,
    };
    let caller =
        auth::verify(&signed, &service.credentials, &service.options.account, jiff::Timestamp::now())?;
    match service.revoked.of(&caller.account) {
        None => Ok(caller),
        Some(Revocation::AccessDenied) => Err(AuthError::Denied),
        Some(Revocation::ExpiredToken) => Err(AuthError::ExpiredKey),
        Some(Revocation::UnknownKey) => Err(AuthError::UnknownKey),
    }
}

/// The error that the operation's service has for a caller who is not believed.
fn refusal(error: &AuthError, operation: Option<Operation>) -> ServiceError {
    let status = match error {
        AuthError::Incomplete(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    let code = match error {
        _ if operation.is_some_and(Operation::is_of_sts) => sts::auth_code(error),
        AuthError::Missing => "MissingAuthenticationTokenException",
        AuthError::Incomplete(_) => "IncompleteSignatureException",
        AuthError::UnknownKey => "UnrecognizedClientException",
        AuthError::ExpiredKey => "ExpiredTokenException",
        AuthError::Denied => "AccessDeniedException",
        AuthError::WrongService(_) | AuthError::Clock { .. } | AuthError::Mismatch => {
            "InvalidSignatureException"
        }
    };
    ServiceError::authentication(status, code, error.to_string())
}

/// Paths end in the operation; what comes before is the endpoint's.
fn target(uri: &http::Uri) -> Target<'_> {
    let mut segments = uri.path().rsplit('/');
    let operation = segments.next().and_then(Operation::by_path_segment);
    Target { operation, base: segments.next().unwrap_or_default() }
}

fn stream_named(headers: &HeaderMap, payload: &Payload) -> Option<String> {
    match payload {
        Payload::Whole(bytes) => plane::stream_named(bytes),
        Payload::Upload(_) => put_media::stream_named(headers),
    }
}

async fn answer_hook(
    service: &Arc<Service>,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Response<Body>, Cut> {
    let Ok(Some(bytes)) = body::collect(incoming).await else { return Err(Cut) };
    let method: &Method = &parts.method;
    let query = parts.uri.query().unwrap_or_default();
    let (status, value) = hooks::answer(service, method, parts.uri.path(), query, &bytes);
    Ok(respond::hook(status, &value))
}
