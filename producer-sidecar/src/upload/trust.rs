//! Whom uploads trust: the system's certificate authorities, and those of a feed's CA file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why no trust could be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA file cannot be read.
    #[error("failed to read the CA file \"{path}\": {kind}")]
    ReadFile {
        /// The file.
        path: String,
        /// What happened.
        kind: std::io::ErrorKind,
    },
    /// The CA file holds no certificate, or something that is none.
    #[error("the CA file \"{path}\" does not hold valid certificates")]
    InvalidFile {
        /// The file.
        path: String,
    },
    /// There is nobody to trust at all.
    #[error("neither the system nor a CA file has any certificate authority")]
    Nobody,
    /// The TLS library refuses its own defaults.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

/// TLS settings by CA file, made once and again when the file changes: a few hundred kilobytes of certificates that
/// feeds share.
#[derive(Debug, Default)]
pub struct Trust {
    known: Mutex<HashMap<Option<String>, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    pem: Vec<u8>,
    /// None where there is nobody to trust.
    config: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// TLS settings that trust the system and the feed's CA file.
    pub async fn client_config(&self, ca_file: Option<&str>) -> Result<Arc<ClientConfig>, TrustError> {
        self.look_up(ca_file).await?.config.ok_or(TrustError::Nobody)
    }

    async fn look_up(&self, ca_file: Option<&str>) -> Result<Known, TrustError> {
        let pem = match ca_file {
            Some(path) => {
                let read = tokio::fs::read(path).await;
                read.map_err(|error| TrustError::ReadFile { path: path.to_owned(), kind: error.kind() })?
            }
            None => Vec::new(),
        };
        let key = ca_file.map(str::to_owned);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known.filter(|known| known.pem == pem) {
            return Ok(known);
        }
        let made = build(pem, ca_file)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
        Ok(made)
    }
}

/// The system's certificate authorities, and those of a CA file with this content.
pub(crate) fn authorities(pem: &[u8], ca_file: Option<&str>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be used are passed over, as everybody does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, pem).ok_or_else(|| TrustError::InvalidFile { path: path.to_owned() })?;
    }
    Ok(roots)
}

fn build(pem: Vec<u8>, ca_file: Option<&str>) -> Result<Known, TrustError> {
    let roots = authorities(&pem, ca_file)?;
    if roots.is_empty() {
        return Ok(Known { pem, config: None });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Known { pem, config: Some(Arc::new(config)) })
}

/// Adds all certificates of a file; none where one is invalid, which is a fault of whoever wrote it.
fn add_file(roots: &mut RootCertStore, pem: &[u8]) -> Option<()> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    for certificate in &certificates {
        roots.add(certificate.clone()).ok()?;
    }
    if certificates.is_empty() { None } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_and_an_empty_ca_file_are_told_apart() {
        let trust = Trust::default();
        let error = trust.client_config(Some("/no/such/file")).await.unwrap_err();
        assert!(matches!(error, TrustError::ReadFile { .. }), "{error}");
        let path = std::env::temp_dir().join(format!("streamfleet-empty-ca-{}", std::process::id()));
        std::fs::write(&path, "nothing").unwrap();
        let error = trust.client_config(path.to_str()).await.unwrap_err();
        assert!(matches!(error, TrustError::InvalidFile { .. }), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
