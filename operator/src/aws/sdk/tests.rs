//! How calls are made, to a service in this process that answers as it is told.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesisvideo::config::Credentials;
use aws_sdk_kinesisvideo::error::{ErrorMetadata, SdkError};
use aws_sdk_kinesisvideo::operation::tag_stream::TagStreamError;
use aws_smithy_runtime_api::http::{Response as HttpResponse, StatusCode};
use aws_smithy_types::body::SdkBody;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode as HttpStatus, Uri};
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::super::{ErrorKind, Lane, NewStream, Which};
use super::call::Request;
use super::*;
use crate::leader::{LEASE_MARGIN, Leadership, Reign};
use crate::telemetry::testing::Spans;

const ACCOUNT: &str = "123456789012";

/// The service: the paths that were called, and what the next calls get. After that each is answered well.
#[derive(Clone, Default)]
struct Service {
    calls: Arc<Mutex<Vec<String>>>,
    next: Arc<Mutex<VecDeque<Next>>>,
}

enum Next {
    /// Fewer calls are asked for.
    Throttled,
    /// There is no answer.
    Silence,
}

async fn answer(State(service): State<Service>, uri: Uri, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body);
    if body.contains("GetCallerIdentity") {
        let text = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{ACCOUNT}:user/x</Arn><UserId>x</UserId><Account>{ACCOUNT}</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        return ([("content-type", "text/xml")], text).into_response();
    }
    service.calls.lock().unwrap().push(uri.path().trim_matches('/').to_owned());
    let next = service.next.lock().unwrap().pop_front();
    match next {
        Some(Next::Throttled) => {
            let code = [("x-amzn-errortype", "ClientLimitExceededException")];
            (HttpStatus::BAD_REQUEST, code, "{\"Message\":\"fewer\"}").into_response()
        }
        Some(Next::Silence) => std::future::pending().await,
        None => "{\"StreamARN\":\"arn:made\",\"StreamInfoList\":[]}".into_response(),
    }
}

impl Service {
    /// Clouds whose changes go by this leadership, and the calls of this service by them.
    async fn cloud(&self, leadership: Leadership) -> Arc<dyn Cloud> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let place = Place {
            kinesis_video: endpoint.clone(),
            sts: endpoint.clone(),
            cloud_watch: endpoint,
            ..Place::new("eu-west-1", ACCOUNT)
        };
        let keys = Credentials::new("AKIAHUNTER2", "hunter2", None, None, "test");
        let clouds = SdkClouds::new(Arc::default()).with_credentials(keys).guarded_by(leadership);
        clouds.cloud(&place).await.unwrap()
    }

    fn then(&self, next: impl IntoIterator<Item = Next>) {
        self.next.lock().unwrap().extend(next);
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn stream(name: &str) -> NewStream {
    NewStream { name: name.to_owned(), retention_hours: 24, ..NewStream::default() }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_change_is_checked_anew_and_reads_go_on() {
    let (reign, leadership) = Reign::begin();
    let keys = Credentials::new("x", "x", None, None, "test");
    let clouds = SdkClouds::new(Arc::default()).with_credentials(keys).guarded_by(leadership);
    let cloud = clouds.make(&Place::new("eu-west-1", ACCOUNT)).await.unwrap();
    cloud.is_right.store(true, Ordering::Relaxed);
    let attempts = AtomicU32::new(0);
    let ends_at = AtomicU32::new(u32::MAX);
    // Fewer calls are asked for each time.
    let send = || async {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst);
        if attempt >= ends_at.load(Ordering::SeqCst) {
            reign.end();
        }
        let metadata = ErrorMetadata::builder().code("ClientLimitExceededException").build();
        let answer = HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        Err::<(), _>(SdkError::service_error(TagStreamError::generic(metadata), answer))
    };
    let tag = Request::overwrite("TagStream").of("door");
    let mut kinds = Vec::new();
    for ends in [u32::MAX, 0] {
        attempts.store(0, Ordering::SeqCst);
        ends_at.store(ends, Ordering::SeqCst);
        kinds.push((cloud.call(tag, send).await.unwrap_err().kind, attempts.load(Ordering::SeqCst)));
    }
    assert_eq!(kinds, [(ErrorKind::Throttled, 3), (ErrorKind::NotLeader, 1)]);
    assert_eq!(cloud.call(tag, send).await.unwrap_err().kind, ErrorKind::NotLeader);
    assert_eq!(attempts.swap(0, Ordering::SeqCst), 1, "nothing more is sent");
    let read = Request::read("DescribeStream").of("door");
    assert_eq!(cloud.call(read, send).await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_was_waited_for_is_made_at_once_and_the_next_waits_again() {
    let keys = Credentials::new("x", "x", None, None, "test");
    let clouds = SdkClouds::new(Arc::default()).with_credentials(keys);
    let cloud = clouds.make(&Place::new("eu-west-1", ACCOUNT)).await.unwrap();
    cloud.is_right.store(true, Ordering::Relaxed);
    // Four seconds of others.
    for _ in 0..200 {
        let limiter = cloud.rules.limiter.clone();
        tokio::spawn(async move { limiter.wait("DeleteStream", None, Lane::Fresh).await });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/door/1";
    let delete = Request::once("DeleteStream", arn);
    let send = || async { Ok::<(), SdkError<TagStreamError>>(()) };
    let started = Instant::now();
    let turn = cloud.turn("DeleteStream", arn).await.unwrap();
    assert!(started.elapsed() > Duration::from_secs(4), "{:?}", started.elapsed());
    let sending = Instant::now();
    turn.run(Box::pin(cloud.call(delete, send))).await.unwrap();
    assert_eq!(sending.elapsed(), Duration::ZERO);
    cloud.call(delete, send).await.unwrap();
    // One gap of 50 calls a second: the turn was taken once for both the wait and the call.
    assert!((18..=23).contains(&sending.elapsed().as_millis()), "{:?}", sending.elapsed());
}

#[tokio::test]
async fn a_deletion_that_comes_over_the_quota_is_not_sent_again() {
    let service = Service::default();
    let cloud = service.cloud(Leadership::sole()).await;
    service.then([Next::Throttled]);
    let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/door/1";
    assert_eq!(cloud.delete_stream(arn, "v").await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(service.calls(), ["deleteStream"]);
}

#[tokio::test]
async fn a_change_that_is_not_answered_is_given_up_while_the_lease_still_has_its_margin() {
    let (service, (reign, leadership)) = (Service::default(), Reign::begin());
    let cloud = service.cloud(leadership.clone()).await;
    cloud.list_streams().await.unwrap();
    service.calls();
    service.then([Next::Silence]);
    reign.lasts(LEASE_MARGIN + Duration::from_secs(1));
    let started = Instant::now();
    let error = cloud.create_stream(&stream("a")).await.unwrap_err();
    let took = started.elapsed();
    assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
    assert!(error.message.contains("cut off"), "{error}");
    assert!(took < connect::ATTEMPT_TIMEOUT.min(LEASE_MARGIN + Duration::from_secs(1)), "{took:?}");
    assert_eq!(service.calls(), ["createStream"]);
}

#[tokio::test]
async fn each_call_is_a_span_of_its_pass_with_service_operation_stream_and_code_and_no_secret() {
    let (service, spans) = (Service::default(), Spans::default());
    let _kept = spans.keep();
    let cloud = service.cloud(Leadership::sole()).await;
    let pass = tracing::info_span!("pass");
    cloud.describe_stream(Which::Name("door")).instrument(pass.clone()).await.unwrap_err();
    service.then([Next::Throttled]);
    let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/door/1";
    cloud.change_retention(arn, "v", RetentionChange::Increase(1)).instrument(pass).await.unwrap_err();
    let spans = spans.named("aws_call");
    let fields = |operation, code| {
        format!(
            "pass/aws_call otel.kind=\"client\" service=\"kinesisvideo\" operation=\"{operation}\" about=\"door\" code=\"{code}\""
        )
    };
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(spans[0].contains("operation=\"GetCallerIdentity\""), "{}", spans[0]);
    assert_eq!(spans[1..], [fields("DescribeStream", "ok"), fields("UpdateDataRetention", "throttled")]);
    assert!(!spans.iter().any(|span| span.to_lowercase().contains("hunter2")), "{spans:?}");
}
