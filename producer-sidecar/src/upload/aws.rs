//! The control call of an upload: where the stream's data endpoint is. And what faults of the SDK mean.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::config::Region;
use aws_sdk_kinesisvideo::config::retry::RetryConfig;
use aws_sdk_kinesisvideo::config::timeout::TimeoutConfig;
use aws_sdk_kinesisvideo::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesisvideo::types::ApiName;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use streamfleet_contract::Stream;

use super::clock_offset::{ClockOffset, Corrected};
use super::control::{self, CALL_TIMEOUT};
use super::network::{Network, innermost};
use super::refusal::{Judgement, judge};
use crate::session::Refusal;

/// Asks for the `PutMedia` endpoint of a stream, by its ARN. One call, no retries: those are the session's.
pub async fn data_endpoint(
    stream: &Stream,
    credentials: &Credentials,
    offset: &Arc<ClockOffset>,
    network: &Network,
) -> Result<String, Judgement> {
    let mut config = aws_sdk_kinesisvideo::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(stream.region.clone()))
        .credentials_provider(credentials.clone())
        .http_client(control::client(network, stream.ca_file.as_deref()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build())
        .time_source(Corrected(Arc::clone(offset)));
    config.set_endpoint_url(stream.endpoint.clone());
    let client = aws_sdk_kinesisvideo::Client::from_conf(config.build());
    let call = client.get_data_endpoint().stream_arn(&stream.arn).api_name(ApiName::PutMedia).send();
    let answer = call.await.map_err(|error| judge_sdk("GetDataEndpoint", &error, offset))?;
    answer.data_endpoint.ok_or_else(|| unreachable_endpoint("GetDataEndpoint named no endpoint"))
}

/// What a fault of `call` means. The clock's offset is learnt from a refusal that may be for the clock.
pub(super) fn judge_sdk<E>(call: &str, error: &SdkError<E, HttpResponse>, offset: &ClockOffset) -> Judgement
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(service) = error else {
        return unreachable_endpoint(&format!("{call}: {}", innermost(error)));
    };
    let status = service.raw().status().as_u16();
    let (code, text) =
        (service.err().code().unwrap_or_default(), service.err().message().unwrap_or_default());
    let mut judgement = judge(call, status, code, text);
    if judgement.doubt_clock && offset.learn(service.raw().headers().get("date")) {
        judgement.refusal = Refusal::ClockCorrected;
    }
    judgement
}

pub(super) fn unreachable_endpoint(message: &str) -> Judgement {
    Judgement {
        refusal: Refusal::Unreachable,
        message: message.to_owned(),
        forget_endpoint: true,
        doubt_clock: false,
    }
}
