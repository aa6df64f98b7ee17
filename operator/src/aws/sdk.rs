//! The calls by the AWS SDK.
//!
//! What is special: `ClientLimitExceededException` is a throttle (the SDK does not know it as one);
//! `UpdateDataRetention` is never retried, since its effect is relative; every call has a deadline.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::config::retry::RetryConfig;
use aws_sdk_kinesisvideo::config::timeout::TimeoutConfig;
use aws_sdk_kinesisvideo::config::{BehaviorVersion, Builder, Region};
use aws_sdk_kinesisvideo::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesisvideo::types::{Status, UpdateDataRetentionOperation};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::pace::Pacer;
use super::{
    Answer, AwsError, Caller, Cloud, Clouds, ErrorKind, NewStream, Place, RetentionChange, StreamInfo,
    StreamState, Which,
};
use crate::metrics::Metrics;

/// The deadline of a call with all its retries.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The deadline of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// The page size of `ListStreams`: the service's most (`ListStreamsInputLimit`).
const LIST_PAGE: i32 = 10_000;
/// The service's code for "fewer calls, please".
const CLIENT_LIMIT_EXCEEDED: &str = "ClientLimitExceededException";

/// Makes clients, one for each place, and keeps them.
pub struct SdkClouds {
    made: Mutex<HashMap<Place, Arc<dyn Cloud>>>,
    metrics: Arc<Metrics>,
}

impl SdkClouds {
    /// No client yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { made: Mutex::default(), metrics }
    }
}

impl Clouds for SdkClouds {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        async move {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned();
            if let Some(cloud) = made {
                return Ok(cloud);
            }
            let cloud: Arc<dyn Cloud> = Arc::new(SdkCloud::connect(place, self.metrics.clone()).await?);
            self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone(), cloud.clone());
            Ok(cloud)
        }
        .boxed()
    }

    fn forget(&self, place: &Place) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }
}

struct SdkCloud {
    kinesis_video: Client,
    sts: aws_sdk_sts::Client,
    pacer: Pacer,
    metrics: Arc<Metrics>,
}

impl SdkCloud {
    async fn connect(place: &Place, metrics: Arc<Metrics>) -> Result<Self, AwsError> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(tls_context(place)?)
            .build_https();
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(place.region.clone()))
            .http_client(http)
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(CALL_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        let mut kinesis_video = Builder::from(&shared).retry_classifier(ClientLimitExceeded);
        if let Some(endpoint) = &place.kinesis_video {
            kinesis_video = kinesis_video.endpoint_url(endpoint);
        }
        let mut sts = aws_sdk_sts::config::Builder::from(&shared);
        if let Some(endpoint) = &place.sts {
            sts = sts.endpoint_url(endpoint);
        }
        Ok(Self {
            kinesis_video: Client::from_conf(kinesis_video.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            pacer: Pacer::default(),
            metrics,
        })
    }

    /// Makes a call when it is its turn, counts it, and gives its error our form.
    async fn call<T, E>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.pacer.wait(operation).await;
        tracing::debug!(operation, "AWS is called");
        let result = request.await.map_err(|error| ours(operation, &error));
        let outcome = result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.metrics.aws_call(operation, outcome);
        tracing::debug!(operation, outcome, "AWS has answered");
        result
    }
}

impl Cloud for SdkCloud {
    fn caller(&self) -> Answer<'_, Caller> {
        async move {
            let request = self.sts.get_caller_identity();
            let identity = self.call("GetCallerIdentity", request.send()).await?;
            Ok(Caller {
                account: identity.account.unwrap_or_default(),
                arn: identity.arn.unwrap_or_default(),
            })
        }
        .boxed()
    }

    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String> {
        async move {
            let request = self
                .kinesis_video
                .create_stream()
                .stream_name(&stream.name)
                .data_retention_in_hours(stream.retention_hours)
                .set_tags(Some(stream.tags.clone().into_iter().collect()));
            let answer = self.call("CreateStream", request.send()).await?;
            Ok(answer.stream_arn.unwrap_or_default())
        }
        .boxed()
    }

    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>> {
        async move {
            let request = self.kinesis_video.describe_stream();
            let request = match which {
                Which::Name(name) => request.stream_name(name),
                Which::Arn(arn) => request.stream_arn(arn),
            };
            match self.call("DescribeStream", request.send()).await {
                Ok(answer) => Ok(answer.stream_info.as_ref().and_then(stream_info)),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>> {
        async move {
            let mut streams = Vec::new();
            let mut token = None;
            loop {
                let request = self.kinesis_video.list_streams().max_results(LIST_PAGE).set_next_token(token);
                let page = self.call("ListStreams", request.send()).await?;
                streams.extend(page.stream_info_list().iter().filter_map(stream_info));
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    return Ok(streams);
                }
            }
        }
        .boxed()
    }

    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        async move {
            let mut tags = BTreeMap::new();
            let mut token = None;
            loop {
                let request = self.kinesis_video.list_tags_for_stream().stream_arn(arn).set_next_token(token);
                let page = self.call("ListTagsForStream", request.send()).await?;
                tags.extend(page.tags.unwrap_or_default());
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    return Ok(tags);
                }
            }
        }
        .boxed()
    }

    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        async move {
            let tags = tags.clone().into_iter().collect();
            let request = self.kinesis_video.tag_stream().stream_arn(arn).set_tags(Some(tags));
            self.call("TagStream", request.send()).await.map(drop)
        }
        .boxed()
    }

    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        async move {
            let request =
                self.kinesis_video.untag_stream().stream_arn(arn).set_tag_key_list(Some(keys.to_vec()));
            self.call("UntagStream", request.send()).await.map(drop)
        }
        .boxed()
    }

    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()> {
        async move {
            let (operation, hours) = match change {
                RetentionChange::Increase(hours) => {
                    (UpdateDataRetentionOperation::IncreaseDataRetention, hours)
                }
                RetentionChange::Decrease(hours) => {
                    (UpdateDataRetentionOperation::DecreaseDataRetention, hours)
                }
            };
            let request = self
                .kinesis_video
                .update_data_retention()
                .stream_arn(arn)
                .current_version(version)
                .operation(operation)
                .data_retention_change_in_hours(hours)
                .customize()
                .config_override(Builder::new().retry_config(RetryConfig::disabled()));
            self.call("UpdateDataRetention", request.send()).await.map(drop)
        }
        .boxed()
    }

    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()> {
        async move {
            let request = self.kinesis_video.delete_stream().stream_arn(arn).current_version(version);
            match self.call("DeleteStream", request.send()).await {
                Ok(_) => Ok(()),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

/// The system's roots and those of the bundle. The SDK's client panics at a bundle that is none, so it is read here first.
fn tls_context(place: &Place) -> Result<tls::TlsContext, AwsError> {
    let invalid =
        |message: String| AwsError { operation: "ReadCaBundle", kind: ErrorKind::InvalidCaBundle, message };
    let mut store = tls::TrustStore::default();
    if let Some(bundle) = &place.ca_bundle {
        let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(bundle.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(format!("it is not PEM: {error}")))?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| invalid(format!("a certificate is unreadable: {error}")))?;
        }
        if certificates.is_empty() {
            return Err(invalid("it holds no certificate".to_owned()));
        }
        store.add_pem_certificate(bundle.as_bytes());
    }
    tls::TlsContext::builder().with_trust_store(store).build().map_err(|error| invalid(error.to_string()))
}

/// A stream as the service describes it; `None` where it leaves out what every stream has.
fn stream_info(info: &aws_sdk_kinesisvideo::types::StreamInfo) -> Option<StreamInfo> {
    let state = match info.status()? {
        Status::Creating => StreamState::Creating,
        Status::Active => StreamState::Active,
        Status::Deleting => StreamState::Deleting,
        // A state of a later service is one in which nothing should be changed.
        _ => StreamState::Updating,
    };
    Some(StreamInfo {
        name: info.stream_name()?.to_owned(),
        arn: info.stream_arn()?.to_owned(),
        version: info.version()?.to_owned(),
        state,
        retention_hours: info.data_retention_in_hours().unwrap_or(0),
        created: info.creation_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
    })
}

fn ours<E>(operation: &'static str, error: &SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("error without a code");
            (kind_of_code(code), said(code, service.err().message()))
        }
        SdkError::TimeoutError(_) => (ErrorKind::Unreachable, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            (ErrorKind::Unreachable, root(error))
        }
        other => {
            let is_credentials = is_about_credentials(&DisplayErrorContext(other).to_string());
            let kind = if is_credentials { ErrorKind::NoCredentials } else { ErrorKind::Unreachable };
            (kind, root(other))
        }
    };
    AwsError { operation, kind, message }
}

/// So much of the service's own words is repeated, in characters.
const SERVICE_TEXT_MAX: usize = 512;

/// What the service says, as it may be shown to people.
fn said(code: &str, text: Option<&str>) -> String {
    let text = text.filter(|_| !quotes_request(code)).unwrap_or_default();
    let text: String = text.chars().take(SERVICE_TEXT_MAX).collect();
    format!("{code}: {text}").trim_end_matches([':', ' ']).to_owned()
}

/// Whether the text of this error quotes the request as it should have been signed, its session token among it.
fn quotes_request(code: &str) -> bool {
    code.contains("Signature")
}

/// What the service's code means. 400s and 401s alike: the codes decide (API reference, errors of each operation).
fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        "ResourceInUseException" => ErrorKind::InUse,
        "VersionMismatchException" => ErrorKind::VersionMismatch,
        "ResourceNotFoundException" => ErrorKind::NotFound,
        "NotAuthorizedException"
        | "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "OptInRequired" => ErrorKind::Denied,
        CLIENT_LIMIT_EXCEEDED | "ThrottlingException" | "Throttling" | "TooManyRequestsException" => {
            ErrorKind::Throttled
        }
        "AccountStreamLimitExceededException"
        | "DeviceStreamLimitExceededException"
        | "TagsPerResourceExceededLimitException" => ErrorKind::Quota,
        _ => ErrorKind::Other,
    }
}

/// What lies at the bottom of an error: "connection refused" rather than "dispatch failure".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // What follows in further lines is for the SDK's own log.
    let line = text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
    crate::conditions::cut(line, 300).to_owned()
}

/// The SDK has no type for "no credentials" that reaches the caller.
fn is_about_credentials(text: &str) -> bool {
    text.contains("credentials")
}

/// Tells the SDK that the service's own throttle is one.
#[derive(Debug)]
struct ClientLimitExceeded;

impl ClassifyRetry for ClientLimitExceeded {
    fn classify_retry(&self, ctx: &InterceptorContext) -> RetryAction {
        let is_throttle = ctx
            .response()
            .and_then(|response| response.headers().get("x-amzn-errortype"))
            .is_some_and(|code| code.contains(CLIENT_LIMIT_EXCEEDED));
        if is_throttle { RetryAction::throttling_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "ClientLimitExceeded"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_signature_is_named_and_its_text_which_quotes_the_request_is_not_shown() {
        let text = "The Canonical String should have been x-amz-security-token:hunter2";
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"] {
            assert_eq!(said(code, Some(text)), code);
        }
        assert_eq!(
            said("AccessDenied", Some("no kinesisvideo:CreateStream")),
            "AccessDenied: no kinesisvideo:CreateStream"
        );
        assert!(said("InternalFailure", Some(&"x".repeat(9_999))).len() < 600);
    }

    fn place(ca_bundle: &str) -> Place {
        Place {
            region: "eu-west-1".to_owned(),
            account: "123456789012".to_owned(),
            kinesis_video: None,
            sts: None,
            ca_bundle: Some(ca_bundle.to_owned()),
        }
    }

    #[test]
    fn a_bundle_without_certificates_is_an_error_and_no_panic() {
        for bundle in ["no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = tls_context(&place(bundle)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidCaBundle, "{error}");
        }
    }

    #[test]
    fn codes_of_refusal_throttling_and_quota_are_told_apart() {
        let table = [
            ("NotAuthorizedException", ErrorKind::Denied),
            ("InvalidClientTokenId", ErrorKind::Denied),
            ("SignatureDoesNotMatch", ErrorKind::Denied),
            ("ClientLimitExceededException", ErrorKind::Throttled),
            ("AccountStreamLimitExceededException", ErrorKind::Quota),
            ("VersionMismatchException", ErrorKind::VersionMismatch),
            ("InvalidArgumentException", ErrorKind::Other),
        ];
        for (code, kind) in table {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
