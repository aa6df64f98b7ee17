//! Clients for a place: whom they trust, which way they go, and as whom they call.

use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesisvideo::config::retry::RetryConfig;
use aws_sdk_kinesisvideo::config::timeout::TimeoutConfig;
use aws_sdk_kinesisvideo::config::{SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Builder, Connector, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::super::{AwsError, ErrorKind, Place};

/// The deadline of one attempt of a call.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// The deadline of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The name of the role's sessions, as `CloudTrail` shows them.
const SESSION_NAME: &str = "streamfleet-operator";

/// The clients of the three services.
pub(super) struct Clients {
    pub(super) kinesis_video: aws_sdk_kinesisvideo::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) cloud_watch: aws_sdk_cloudwatch::Client,
}

/// The connections of all clients that trust the same authorities. A proxy is taken from `HTTPS_PROXY`, `HTTP_PROXY` or
/// `ALL_PROXY`, with the exceptions of `NO_PROXY`.
pub(super) fn http_client(ca_bundle: Option<&str>) -> Result<SharedHttpClient, AwsError> {
    let tls_context = tls_context(ca_bundle)?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(tls_context.clone());
        builder.set_connector_settings(settings.cloned());
        builder
            .set_sleep_impl(components.and_then(aws_sdk_cloudwatch::config::RuntimeComponents::sleep_impl));
        builder.build()
    }))
}

/// Clients for a place. Nothing is sent yet, but files and variables with credentials are read, unless some are given.
pub(super) async fn clients(
    place: &Place,
    http: SharedHttpClient,
    credentials: Option<SharedCredentialsProvider>,
) -> Clients {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(place.region.clone()))
        .http_client(http)
        // Ours: each attempt takes its place in the row.
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let own = loader.load().await;
    let shared = match &place.role_arn {
        Some(role) => as_role(role, place, &own).await,
        None => own,
    };
    Clients {
        kinesis_video: aws_sdk_kinesisvideo::Client::new(&at(&shared, place, place.kinesis_video.as_ref())),
        sts: aws_sdk_sts::Client::new(&at(&shared, place, place.sts.as_ref())),
        cloud_watch: aws_sdk_cloudwatch::Client::new(&at(&shared, place, place.cloud_watch.as_ref())),
    }
}

/// The configuration with the credentials of the role, which are asked for when they are needed and before they expire.
async fn as_role(role: &str, place: &Place, own: &SdkConfig) -> SdkConfig {
    let mut builder = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&at(
        own,
        place,
        place.sts.as_ref(),
    ));
    if let Some(id) = &place.external_id {
        builder = builder.external_id(id.expose());
    }
    let provider = builder.build().await;
    own.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

/// The configuration for one service: an endpoint of one's own is taken as it is, FIPS or not.
fn at(config: &SdkConfig, place: &Place, endpoint: Option<&String>) -> SdkConfig {
    let builder = config.to_builder();
    match endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint).use_fips(false).build(),
        None => builder.use_fips(place.fips).build(),
    }
}

/// The system's roots and those of the bundle. The SDK's client panics at a bundle that is none, so it is read here first.
fn tls_context(ca_bundle: Option<&str>) -> Result<tls::TlsContext, AwsError> {
    let invalid =
        |message: String| AwsError { operation: "ReadCaBundle", kind: ErrorKind::InvalidCaBundle, message };
    let mut store = tls::TrustStore::default();
    if let Some(bundle) = ca_bundle {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_an_error_and_no_panic() {
        for bundle in ["no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = tls_context(Some(bundle)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidCaBundle, "{error}");
        }
    }

    #[test]
    fn each_partition_has_endpoints_of_its_own_for_each_service_with_fips_and_without() {
        use aws_sdk_kinesisvideo::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let table = [
            ("eu-west-1", false, "https://kinesisvideo.eu-west-1.amazonaws.com"),
            ("cn-north-1", false, "https://kinesisvideo.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", false, "https://kinesisvideo.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, "https://kinesisvideo-fips.us-gov-west-1.amazonaws.com"),
        ];
        for (region, fips, expected) in table {
            let params = Params::builder().region(region).use_fips(fips).build().unwrap();
            let endpoint =
                futures::executor::block_on(DefaultResolver::new().resolve_endpoint(&params)).unwrap();
            assert_eq!(endpoint.url(), expected);
        }
    }

    #[test]
    fn an_endpoint_of_ones_own_is_taken_as_it_is_though_fips_is_asked_for() {
        let place = Place { fips: true, ..Place::new("us-gov-west-1", "123456789012") };
        let config = SdkConfig::builder().build();
        assert_eq!(at(&config, &place, None).use_fips(), Some(true));
        let own = at(&config, &place, Some(&"https://kvs.example".to_owned()));
        assert_eq!((own.use_fips(), own.endpoint_url()), (Some(false), Some("https://kvs.example")));
    }
}
