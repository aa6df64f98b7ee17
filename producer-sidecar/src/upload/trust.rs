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
    /// The CA file holds nothing to use.
    #[error("the CA file \"{path}\" holds no valid certificate")]
    NoCertificate {
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
    config: Arc<ClientConfig>,
}

impl Trust {
    /// The content of a feed's CA file; empty where it has none.
    pub async fn read_pem(ca_file: Option<&str>) -> Result<Vec<u8>, TrustError> {
        let Some(path) = ca_file else { return Ok(Vec::new()) };
        let read = tokio::fs::read(path).await;
        read.map_err(|error| TrustError::ReadFile { path: path.to_owned(), kind: error.kind() })
    }

    /// TLS settings that trust the system and the feed's CA file.
    pub async fn client_config(&self, ca_file: Option<&str>) -> Result<Arc<ClientConfig>, TrustError> {
        let pem = Self::read_pem(ca_file).await?;
        let key = ca_file.map(str::to_owned);
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.get(&key).filter(|known| known.pem == pem) {
                return Ok(Arc::clone(&known.config));
            }
        }
        let config = Arc::new(build(&pem, ca_file)?);
        let made = Known { pem, config: Arc::clone(&config) };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made);
        Ok(config)
    }
}

fn build(pem: &[u8], ca_file: Option<&str>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    // Certificates of the system that cannot be used are passed over, as everybody does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(TrustError::NoCertificate { path: path.to_owned() });
        }
    }
    if roots.is_empty() {
        return Err(TrustError::Nobody);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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
        assert!(matches!(error, TrustError::NoCertificate { .. }), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
