//! A role that a feed assumes: credentials that may feed its stream, and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::config::Region;
use aws_sdk_kinesisvideo::config::retry::RetryConfig;
use aws_sdk_kinesisvideo::config::timeout::TimeoutConfig;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Credentials as StsCredentials;
use streamfleet_contract::Stream;
use tokio::sync::Mutex;

use super::aws::{judge_sdk, unreachable_endpoint};
use super::clock_offset::{ClockOffset, Corrected};
use super::control::{self, CALL_TIMEOUT};
use super::identity::{Held, Identity};
use super::network::Network;
use super::refusal::{Judgement, blames_key};

/// The longest session name (`roleSessionNameType` of STS).
const SESSION_NAME_CHARS_MAX: usize = 64;

/// For what a role is assumed, and by which way.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    /// The stream that is to be fed.
    pub stream: &'a Stream,
    /// The role's ARN.
    pub role: &'a str,
    /// The way to STS.
    pub network: &'a Network,
    /// The service's clock.
    pub offset: &'a Arc<ClockOffset>,
}

/// The credentials of the role that a feed assumes, while they are good.
#[derive(Debug, Default)]
pub struct AssumedRole {
    current: Mutex<Option<Held>>,
}

impl AssumedRole {
    /// Credentials for the purpose that are good for some minutes; `base` are those of `identity`, which may assume the role.
    pub async fn held(
        &self,
        purpose: Purpose<'_>,
        base: Held,
        identity: &Identity,
    ) -> Result<Held, Judgement> {
        let mut current = self.current.lock().await;
        let now = purpose.offset.corrected();
        let same_base = current.as_ref().filter(|held| held.generation == base.generation);
        if let Some(held) = same_base.filter(|held| held.is_fresh(now)) {
            return Ok(held.clone());
        }
        let generation = base.generation;
        match Box::pin(assume(purpose, &base.credentials)).await {
            Ok(credentials) => {
                let held = Held::taken(credentials, now, generation);
                *current = Some(held.clone());
                Ok(held)
            }
            Err((judgement, is_key)) => {
                if is_key {
                    identity.refused(&base.credentials).await;
                }
                current.clone().filter(|held| held.is_valid(now)).ok_or(judgement)
            }
        }
    }

    /// Forgets what was refused.
    pub async fn refused(&self) {
        *self.current.lock().await = None;
    }
}

/// One call, no retries: those are the session's. With a refusal, whether the base credentials are to blame.
async fn assume(purpose: Purpose<'_>, base: &Credentials) -> Result<Credentials, (Judgement, bool)> {
    let Purpose { stream, role, network, offset } = purpose;
    let mut config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(stream.region.clone()))
        .credentials_provider(base.clone())
        .http_client(control::client(network, stream.ca_file.as_deref()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_TIMEOUT).build())
        .time_source(Corrected(Arc::clone(offset)));
    config.set_endpoint_url(stream.sts_endpoint.clone());
    let client = aws_sdk_sts::Client::from_conf(config.build());
    let call = client
        .assume_role()
        .role_arn(role)
        .role_session_name(session_name(&stream.arn))
        .policy(session_policy(&stream.arn))
        .send();
    let answer = call.await.map_err(|error| {
        let is_key = error.as_service_error().and_then(|error| error.code()).is_some_and(blames_key);
        (judge_sdk("AssumeRole", &error, offset), is_key)
    })?;
    let given = answer.credentials.as_ref().and_then(from_sts);
    given.ok_or_else(|| (unreachable_endpoint("AssumeRole gave no credentials"), false))
}

fn from_sts(given: &StsCredentials) -> Option<Credentials> {
    let expiry = SystemTime::try_from(*given.expiration()).ok()?;
    let token = Some(given.session_token().to_owned());
    Some(Credentials::new(
        given.access_key_id(),
        given.secret_access_key(),
        token,
        Some(expiry),
        "AssumeRole",
    ))
}

/// What the credentials may do: less than the role may, never more.
fn session_policy(arn: &str) -> String {
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["kinesisvideo:PutMedia", "kinesisvideo:GetDataEndpoint"],
            "Resource": arn,
        }],
    })
    .to_string()
}

/// Names the stream in CloudTrail. The stream's name is the second part of the ARN's resource.
fn session_name(arn: &str) -> String {
    let name = arn.split('/').nth(1).unwrap_or_default();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "_=,.@-".contains(*c);
    "streamfleet-".chars().chain(name.chars().filter(allowed)).take(SESSION_NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_stream_and_the_session_name_is_one() {
        let arn = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/front-door/1700000000000";
        let policy: serde_json::Value = serde_json::from_str(&session_policy(arn)).unwrap();
        assert_eq!(policy["Statement"][0]["Resource"], arn);
        assert_eq!(session_name(arn), "streamfleet-front-door");
        let long = format!("arn:aws:kinesisvideo:eu-west-1:1:stream/{}/1", "x".repeat(256));
        assert_eq!(session_name(&long).len(), SESSION_NAME_CHARS_MAX);
    }
}
