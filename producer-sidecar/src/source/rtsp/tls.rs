//! RTSP over TLS: whom a camera's certificate must come from.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use streamfleet_contract::{RtspTls, SourceReason};

use crate::source::SourceError;
use crate::upload::trust;

/// TLS settings for one camera. Read anew at each connection: the file may have changed.
pub(super) async fn client_config(trust: Option<&RtspTls>) -> Result<Arc<ClientConfig>, SourceError> {
    let trust = trust.cloned().unwrap_or_default();
    // Files are read and certificates parsed: not on a thread that feeds share.
    let made = tokio::task::spawn_blocking(move || build(&trust)).await;
    made.map_err(|_| untrusted("failed to set up TLS"))?.map(Arc::new)
}

fn build(trust: &RtspTls) -> Result<ClientConfig, SourceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(format!("failed to set up TLS: {error}")))?;
    if trust.insecure_skip_verify {
        let any = Arc::new(AnyCertificate { provider });
        return Ok(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth());
    }
    let file = trust.ca_file.as_deref();
    let pem = match file {
        Some(path) => std::fs::read(path)
            .map_err(|error| untrusted(format!("failed to read the CA file \"{path}\": {}", error.kind())))?,
        None => Vec::new(),
    };
    let roots = trust::authorities(&pem, file).map_err(|error| untrusted(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The name that the certificate must have: the URL's host, which may be an address.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, SourceError> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| untrusted(format!("\"{host}\" is no name that a certificate can have")))
}

/// Why TLS did not come about.
pub(super) fn refusal(error: &io::Error) -> SourceError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            untrusted(format!("the camera's certificate is not trusted: {reason}"))
        }
        Some(other) => {
            SourceError::new(SourceReason::Refused, format!("the camera does not agree on TLS: {other}"))
        }
        None => SourceError::new(
            SourceReason::Disconnected,
            format!("the camera ended the connection during the TLS handshake: {}", error.kind()),
        ),
    }
}

fn untrusted(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceReason::CertificateNotTrusted, message)
}

/// Takes any certificate, and only checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
