//! The cluster's certificates: one authority; everybody else is a client or server with a certificate of it.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

use super::layout::Layout;

/// Who gets a certificate and a kubeconfig: file name, common name, organisation.
fn clients(layout: Layout) -> Vec<(String, String, Option<&'static str>)> {
    let mut all = vec![
        ("admin".to_owned(), "admin".to_owned(), Some("system:masters")),
        // The API server's own client certificate towards kubelets; without it `logs` and `exec` answer Unauthorized.
        ("kubelet-client".to_owned(), "kube-apiserver-kubelet-client".to_owned(), Some("system:masters")),
        ("kcm".to_owned(), "system:kube-controller-manager".to_owned(), None),
        ("scheduler".to_owned(), "system:kube-scheduler".to_owned(), None),
        ("proxy".to_owned(), "system:kube-proxy".to_owned(), None),
    ];
    for number in layout.node_numbers() {
        let node = layout.node_name(number);
        all.push((node.clone(), format!("system:node:{node}"), Some("system:nodes")));
    }
    all
}

/// Writes `certs/*.{crt,key}` and a kubeconfig per client into the state folder.
pub fn write_all(layout: Layout) -> Result<()> {
    let state = layout.state_dir();
    let certs = state.join("certs");
    fs::create_dir_all(&certs)?;
    let authority = authority()?;
    write_private(&certs.join("ca.crt"), &authority.pem())?;
    // Service account tokens are signed with ES256. The API server takes no public key out of a PKCS #8 private key.
    let accounts = KeyPair::generate()?;
    write_private(&certs.join("sa.key"), &accounts.serialize_pem())?;
    write_private(&certs.join("sa.pub"), &accounts.public_key_pem())?;

    let mut names =
        vec![layout.control_plane().to_string(), "127.0.0.1".to_owned(), layout.api_service().to_string()];
    names.extend(
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"].map(str::to_owned),
    );
    let mut server = CertificateParams::new(names)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(&certs, "apiserver", &named(server, "kube-apiserver", None), &authority)?;

    for (file, common_name, organisation) in clients(layout) {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) =
            issue(&certs, &file, &named(params, &common_name, organisation), &authority)?;
        let config = kubeconfig(&layout.api_url(), &authority.pem(), &certificate, &key);
        write_private(&state.join(format!("{file}.kubeconfig")), &config)?;
    }
    Ok(())
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(named(params, "streamfleet local cluster", None), KeyPair::generate()?)?)
}

fn named(mut params: CertificateParams, common_name: &str, organisation: Option<&str>) -> CertificateParams {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organisation) = organisation {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params
}

/// Signs a certificate, writes it with its key, and gives both as PEM.
fn issue(
    folder: &Path,
    file: &str,
    params: &CertificateParams,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    write_private(&folder.join(format!("{file}.crt")), &certificate.pem())?;
    write_private(&folder.join(format!("{file}.key")), &key.serialize_pem())?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// A kubeconfig that needs no other file, so that it can be copied.
fn kubeconfig(server: &str, authority: &str, certificate: &str, key: &str) -> String {
    let [authority, certificate, key] = [authority, certificate, key].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: streamfleet
  cluster: {{server: \"{server}\", certificate-authority-data: {authority}}}
users:
- name: streamfleet
  user: {{client-certificate-data: {certificate}, client-key-data: {key}}}
contexts:
- name: streamfleet
  context: {{cluster: streamfleet, user: streamfleet}}
current-context: streamfleet
"
    )
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
