//! AWS as far as an upload needs it: whose credentials, and where the stream's data endpoint is.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_kinesisvideo::config::retry::RetryConfig;
use aws_sdk_kinesisvideo::config::timeout::TimeoutConfig;
use aws_sdk_kinesisvideo::config::{Region, SharedCredentialsProvider};
use aws_sdk_kinesisvideo::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesisvideo::operation::get_data_endpoint::GetDataEndpointError;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use streamfleet_contract::Stream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::clock_offset::{ClockOffset, Corrected};
use super::refusal::{Judgement, judge};
use super::trust::{Authorities, Trust};
use crate::session::Refusal;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where nothing was found it is not searched again for this time.
const MISSING_FOR: Duration = Duration::from_secs(1);

/// Credentials are taken anew this long before they expire.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// The process's AWS identity, by the default chain: environment, profile files, web identity, container, instance.
/// Shared by all feeds.
#[derive(Debug, Default)]
pub struct Identity {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Kept while it works; made anew after a refusal, since its files are read once.
    provider: Option<SharedCredentialsProvider>,
    current: Option<Credentials>,
    /// When the chain last found nothing: all feeds ask at once, and a search may take seconds.
    missing_at: Option<Instant>,
}

impl Identity {
    /// With these credentials, until they are refused.
    #[cfg(test)]
    pub fn fixed(credentials: Credentials) -> Self {
        Self { state: Mutex::new(State { current: Some(credentials), ..State::default() }) }
    }

    /// Credentials that are good for some minutes. The region says where a role is assumed, if one is.
    pub async fn credentials(&self, region: &str, trust: &Trust) -> Result<Credentials, Judgement> {
        let mut state = self.state.lock().await;
        if let Some(current) = state.current.as_ref().filter(|current| is_fresh(current)) {
            return Ok(current.clone());
        }
        if state.missing_at.is_some_and(|at| at.elapsed() < MISSING_FOR) {
            return Err(missing());
        }
        let found = state.search(region, trust).await;
        state.missing_at = found.is_err().then(Instant::now);
        found
    }

    /// Forgets what was refused, if it is still what would be given out.
    pub async fn refused(&self, refused: &Credentials) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| current.access_key_id() == refused.access_key_id()) {
            *state = State::default();
        }
    }
}

impl State {
    async fn search(&mut self, region: &str, trust: &Trust) -> Result<Credentials, Judgement> {
        let provider = match self.provider.take() {
            Some(provider) => provider,
            None => load_provider(region, trust).await.ok_or_else(missing)?,
        };
        // The error is not shown: a provider's may quote what it has read.
        let credentials = provider.provide_credentials().await.map_err(|_| missing())?;
        self.provider = Some(provider);
        self.current = Some(credentials.clone());
        Ok(credentials)
    }
}

fn missing() -> Judgement {
    Judgement {
        refusal: Refusal::CredentialsMissing,
        message: "the default chain finds no AWS credentials".to_owned(),
        forget_endpoint: false,
        doubt_clock: false,
    }
}

fn is_fresh(credentials: &Credentials) -> bool {
    credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + EXPIRY_MARGIN)
}

async fn load_provider(region: &str, trust: &Trust) -> Option<SharedCredentialsProvider> {
    let authorities = trust.authorities(None).await.ok()?;
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(http_client(authorities))
        .load()
        .await;
    config.credentials_provider()
}

/// The SDK's HTTP client on our TLS: ring, the system's authorities and the given ones.
fn http_client(authorities: Authorities) -> SharedHttpClient {
    // The client is not told of a system's authorities where there are none: it would panic.
    let mut trusted = TrustStore::empty().with_native_roots(authorities.system);
    if !authorities.pem.is_empty() {
        trusted = trusted.with_pem_certificate(authorities.pem);
    }
    let builder =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
    match TlsContext::builder().with_trust_store(trusted).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_) => builder.build_https(),
    }
}

/// Asks for the `PutMedia` endpoint of a stream, by its ARN. One call, no retries: those are the session's.
pub async fn data_endpoint(
    stream: &Stream,
    credentials: &Credentials,
    offset: &Arc<ClockOffset>,
    trust: &Trust,
) -> Result<String, Judgement> {
    let authorities = trust.authorities(stream.ca_file.as_deref()).await;
    let authorities = authorities.map_err(|error| unreachable_endpoint(&error.to_string()))?;
    let mut config = aws_sdk_kinesisvideo::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(stream.region.clone()))
        .credentials_provider(credentials.clone())
        .http_client(http_client(authorities))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build())
        .time_source(Corrected(Arc::clone(offset)));
    config.set_endpoint_url(stream.endpoint.clone());
    let client = aws_sdk_kinesisvideo::Client::from_conf(config.build());
    let call = client.get_data_endpoint().stream_arn(&stream.arn).api_name(ApiName::PutMedia).send();
    let answer = call.await.map_err(|error| judge_sdk(&error, offset))?;
    answer.data_endpoint.ok_or_else(|| unreachable_endpoint("GetDataEndpoint named no endpoint"))
}

fn judge_sdk(error: &SdkError<GetDataEndpointError, HttpResponse>, offset: &ClockOffset) -> Judgement {
    let SdkError::ServiceError(service) = error else {
        return unreachable_endpoint(&format!("GetDataEndpoint: {}", transport_fault(error)));
    };
    let status = service.raw().status().as_u16();
    let (code, text) =
        (service.err().code().unwrap_or_default(), service.err().message().unwrap_or_default());
    let mut judgement = judge("GetDataEndpoint", status, code, text);
    if judgement.doubt_clock && offset.learn(service.raw().headers().get("date")) {
        judgement.refusal = Refusal::ClockCorrected;
    }
    judgement
}

/// The innermost cause, which names the fault ("connection refused"); the outer ones say only that there was one.
fn transport_fault<R>(error: &SdkError<GetDataEndpointError, R>) -> String
where
    R: std::fmt::Debug + 'static,
{
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

pub(super) fn unreachable_endpoint(message: &str) -> Judgement {
    Judgement {
        refusal: Refusal::Unreachable,
        message: message.to_owned(),
        forget_endpoint: true,
        doubt_clock: false,
    }
}
