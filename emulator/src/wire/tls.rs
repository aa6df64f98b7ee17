//! The emulator's own certificate authority.
//!
//! Made once per data folder: `ca.crt` for clients to trust, `ca.key` beside it. The server's certificate is made anew at
//! each start, for the names under which the emulator may be reached then.

use std::{fs, io, net::IpAddr, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the authority cannot be read or written.
    #[error("failed to keep '{file}'")]
    Keep {
        /// The file's name.
        file: &'static str,
        #[source]
        #[doc = "Why."]
        source: io::Error,
    },
    /// A key or certificate cannot be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// The TLS library refuses them.
    #[error("failed to set up TLS")]
    SetUp(#[from] rustls::Error),
}

/// The certificate authority of a data folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the authority of `dir`, or makes one and writes `ca.crt`.
    pub fn load_or_make(dir: &Path) -> Result<Self, TlsError> {
        let params = authority_params()?;
        let key_path = dir.join("ca.key");
        let certificate_path = dir.join("ca.crt");
        if key_path.exists() && certificate_path.exists() {
            let pem =
                fs::read_to_string(&key_path).map_err(|source| TlsError::Keep { file: "ca.key", source })?;
            // Name, usage and key are those of the certificate on disk, so it vouches for what this issuer signs.
            return Ok(Self { issuer: Issuer::new(params, KeyPair::from_pem(&pem)?) });
        }
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        write(&key_path, "ca.key", &key.serialize_pem(), 0o600)?;
        write(&certificate_path, "ca.crt", &certificate.pem(), 0o644)?;
        Ok(Self { issuer: Issuer::new(params, key) })
    }

    /// A TLS acceptor with a certificate for these names and addresses.
    pub fn acceptor(&self, names: Vec<String>) -> Result<TlsAcceptor, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "streamfleet-emulator");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2049, 12, 31);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The names in a server certificate: the loopback's, the listener's address and the advertised host.
pub fn server_names(listen: IpAddr, advertised_host: Option<&str>) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    if !listen.is_unspecified() {
        add(listen.to_string());
    }
    if let Some(host) = advertised_host {
        // A URL writes IPv6 addresses in brackets.
        add(host.trim_start_matches('[').trim_end_matches(']').to_owned());
    }
    names
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "streamfleet-emulator authority");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn write(path: &Path, file: &'static str, text: &str, mode: u32) -> Result<(), TlsError> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(path)
        .and_then(|mut opened| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()))
        .map_err(|source| TlsError::Keep { file, source })
}
