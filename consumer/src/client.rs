//! How the services are reached: region, endpoint, trust, credentials, retries. One HTTP client for all calls.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesisvideo::config::AppName;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, SharedRetryClassifier,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::archive::Archive;
use crate::error::{CallFailure, Error};

/// A connection that is not made in this time counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One attempt at a call, up to the head of its answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The service throttles per stream and second: with the pauses doubling, five attempts span up to 4.5 s.
const ATTEMPTS: u32 = 5;
/// The longest that the first pause between two attempts can be.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Where the streams are, and by whose leave they are read.
#[derive(Debug, Clone)]
pub struct Access {
    /// The AWS region.
    pub region: String,
    /// The control endpoint, where it is not the region's own.
    pub endpoint: Option<String>,
    /// Certificate authorities to trust beside the system's, as PEM.
    pub ca_bundle: Option<String>,
    /// Where credentials come from, if not from the SDK's default chain: environment, profile, web identity, container,
    /// instance.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Access {
    /// The region's own endpoint, the system's certificate authorities, and the default chain of credentials.
    pub fn of_region(region: impl Into<String>) -> Self {
        Self { region: region.into(), endpoint: None, ca_bundle: None, credentials: None }
    }
}

/// A stream, by either of its two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// Its ARN, which no other stream ever has.
    Arn(String),
    /// Its name, unique in an account and region at a time.
    Name(String),
}

impl Stream {
    pub(crate) fn arn(&self) -> Option<String> {
        match self {
            Self::Arn(arn) => Some(arn.clone()),
            Self::Name(_) => None,
        }
    }

    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Arn(_) => None,
            Self::Name(name) => Some(name.clone()),
        }
    }
}

/// A client for reading streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<SdkConfig>,
    control: aws_sdk_kinesisvideo::Client,
}

impl Client {
    /// Makes a client; calls nothing yet.
    pub async fn new(access: Access) -> Result<Self, Error> {
        let http = http_client(access.ca_bundle.as_deref())?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(access.region))
            .http_client(http)
            .retry_config(
                RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE),
            )
            .timeout_config(timeouts.build());
        if let Some(credentials) = access.credentials {
            loader = loader.credentials_provider(credentials);
        }
        if let Ok(name) = AppName::new("streamfleet-consumer") {
            loader = loader.app_name(name);
        }
        let config = loader.load().await;
        let mut control = aws_sdk_kinesisvideo::config::Builder::from(&config)
            .retry_classifier(SharedRetryClassifier::new(Throttled));
        control.set_endpoint_url(access.endpoint);
        Ok(Self {
            config: Arc::new(config),
            control: aws_sdk_kinesisvideo::Client::from_conf(control.build()),
        })
    }

    /// The archive of one stream.
    pub async fn archive(&self, stream: Stream) -> Result<Archive, Error> {
        let list = self.archive_client(&stream, ApiName::ListFragments).await?;
        let media = self.archive_client(&stream, ApiName::GetMediaForFragmentList).await?;
        Ok(Archive::new(stream, list, media))
    }

    /// Each API of a stream has an endpoint of its own; one of another API answers with an empty list, not an error.
    async fn archive_client(
        &self,
        stream: &Stream,
        api: ApiName,
    ) -> Result<aws_sdk_kinesisvideoarchivedmedia::Client, Error> {
        let answer = self
            .control
            .get_data_endpoint()
            .set_stream_arn(stream.arn())
            .set_stream_name(stream.name())
            .api_name(api)
            .send()
            .await
            .map_err(|source| Error::call("find the stream's endpoint", &source))?;
        let endpoint = answer.data_endpoint().ok_or_else(|| Error::Call {
            doing: "find the stream's endpoint",
            failure: CallFailure::Unexpected("the answer names no endpoint".to_owned()),
        })?;
        let config = aws_sdk_kinesisvideoarchivedmedia::config::Builder::from(&*self.config)
            .endpoint_url(endpoint)
            // A body of media may rest for longer than the SDK's guard allows; `archive` has its own.
            .stalled_stream_protection(
                aws_sdk_kinesisvideoarchivedmedia::config::StalledStreamProtectionConfig::disabled(),
            )
            .retry_classifier(SharedRetryClassifier::new(Throttled));
        Ok(aws_sdk_kinesisvideoarchivedmedia::Client::from_conf(config.build()))
    }
}

fn http_client(ca_bundle: Option<&str>) -> Result<SharedHttpClient, Error> {
    let mut trust = TrustStore::default();
    if let Some(pem) = ca_bundle {
        check_ca_bundle(pem)?;
        trust = trust.with_pem_certificate(pem.as_bytes());
    }
    let context = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| Error::CaBundle(error.to_string()))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

/// The SDK's HTTP client panics on a bundle that it cannot read, so it is read here first.
fn check_ca_bundle(pem: &str) -> Result<(), Error> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::CaBundle(error.to_string()))?;
    if certificates.is_empty() {
        return Err(Error::CaBundle("there is no certificate in it".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| Error::CaBundle(error.to_string()))?;
    }
    Ok(())
}

/// `ClientLimitExceededException` comes with status 400, so that the SDK's own classifiers take it for the caller's
/// mistake. It is a throttle.
#[derive(Debug)]
struct Throttled;

impl ClassifyRetry for Throttled {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let code = context.response().and_then(|response| response.headers().get("x-amzn-errortype"));
        match code {
            Some(code) if is_throttle(code) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Kinesis Video Streams limits"
    }
}

/// The header may carry a namespace before and a URL after the code.
fn is_throttle(error_type: &str) -> bool {
    let code = error_type.split(':').next().unwrap_or(error_type);
    let code = code.rsplit('#').next().unwrap_or(code);
    matches!(code, "ClientLimitExceededException" | "ConnectionLimitExceededException")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_service_are_throttles_however_the_header_spells_them() {
        for header in [
            "ClientLimitExceededException",
            "ConnectionLimitExceededException:http://internal.amazon.com/coral/com.amazonaws.kinesisvideo/",
            "com.amazonaws.kinesisvideo#ClientLimitExceededException",
        ] {
            assert!(is_throttle(header), "{header}");
        }
        assert!(!is_throttle("ResourceNotFoundException"));
    }

    #[test]
    fn a_bundle_that_holds_no_certificate_is_refused_and_does_not_panic() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(http_client(Some(pem)), Err(Error::CaBundle(_))), "{pem:?}");
        }
    }
}
