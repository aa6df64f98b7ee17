//! Checks Signature Version 4 as the service does: over exactly the headers that the client says it signed.
//!
//! The payload hash is what `x-amz-content-sha256` says, taken verbatim (the vendor's Java client says
//! `STREAMING-AWS4-HMAC-SHA256-PAYLOAD` over a plain body, others `UNSIGNED-PAYLOAD`), else the hash of the body; for `PutMedia`, whose body nobody
//! signs, the hash of nothing.

use hmac::{Hmac, Mac};
use http::{HeaderMap, Method, Uri, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest, Sha256};

use super::{Caller, credentials::Credentials, credentials::Key};

/// How far the client's clock may be from ours (AWS General Reference: 5 minutes).
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Target in any form; path and query are used.
    pub uri: &'a Uri,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The body; `None` when it is a stream that is not signed.
    pub body: Option<&'a [u8]>,
    /// The service that the request must be signed for.
    pub service: &'static str,
}

/// Why a caller is not believed. None of these holds anything secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization`.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header is not what it should be.
    #[error("Authorization header requires {0}")]
    Incomplete(&'static str),
    /// No such key, or the session token is not its own.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The key has run out.
    #[error("The security token included in the request is expired")]
    ExpiredKey,
    /// No policy of the caller allows anything.
    #[error("User is not authorized to perform this action")]
    Denied,
    /// The scope names another service.
    #[error("Credential should be scoped to correct service: '{0}'.")]
    WrongService(&'static str),
    /// The request is too old, or from the future.
    #[error("Signature {what}: {signed} is not within 5 min. of {now}")]
    Clock {
        /// `expired` or `not yet current`.
        what: &'static str,
        /// When the client says it signed.
        signed: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The secret or the signed content differs.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// The parts of an `Authorization` header.
#[derive(Debug)]
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: Vec<u8>,
}

/// Who a request says that it is from, proven or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account of the key, if there is such a key.
    pub account: Option<String>,
    /// The region of the scope.
    pub region: String,
}

/// Who a request says that it is from.
pub fn claim(headers: &HeaderMap, keys: &Credentials, default_account: &str) -> Option<Claim> {
    let authorization = parse(headers.get(AUTHORIZATION)?.to_str().ok()?).ok()?;
    let key = keys.find(authorization.access_key_id);
    let account = key.map(|key| key.account.unwrap_or_else(|| default_account.to_owned()));
    Some(Claim { account, region: authorization.region.to_owned() })
}

/// Checks the signature of a request and tells who signed it.
pub fn verify(
    request: &SignedRequest<'_>,
    keys: &Credentials,
    default_account: &str,
    now: Timestamp,
) -> Result<Caller, AuthError> {
    let header = request.headers.get(AUTHORIZATION).ok_or(AuthError::Missing)?;
    let authorization = parse(header.to_str().map_err(|_| AuthError::Incomplete("ASCII"))?)?;
    if authorization.service != request.service {
        return Err(AuthError::WrongService(request.service));
    }
    let key = keys.find(authorization.access_key_id).ok_or(AuthError::UnknownKey)?;
    check_token(&key, request.headers, now)?;
    let signed_at =
        text_header(request.headers, "x-amz-date").ok_or(AuthError::Incomplete("'X-Amz-Date'"))?;
    check_clock(signed_at, now)?;
    if !signed_at.starts_with(authorization.date) {
        return Err(AuthError::Mismatch);
    }
    let canonical = canonical_request(request, authorization.signed_headers)?;
    let expected = mac_of(&key, &authorization, signed_at, &canonical);
    expected.verify_slice(&authorization.signature).map_err(|_| AuthError::Mismatch)?;
    let account = key.account.unwrap_or_else(|| default_account.to_owned());
    Ok(Caller {
        session_arn: key.role.map(|role| role.arn(&account)),
        account,
        user: key.user.unwrap_or_else(|| key.id.clone()),
        access_key_id: key.id,
        region: authorization.region.to_owned(),
    })
}

fn parse(header: &str) -> Result<Authorization<'_>, AuthError> {
    let rest = header.strip_prefix(ALGORITHM).ok_or(AuthError::Incomplete("'AWS4-HMAC-SHA256'"))?;
    let parameter = |name: &str| {
        rest.split(',')
            .filter_map(|part| part.trim().split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    };
    let credential = parameter("Credential").ok_or(AuthError::Incomplete("'Credential' parameter"))?;
    let signed_headers =
        parameter("SignedHeaders").ok_or(AuthError::Incomplete("'SignedHeaders' parameter"))?;
    let signature = parameter("Signature").ok_or(AuthError::Incomplete("'Signature' parameter"))?;
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
        return Err(AuthError::Incomplete("a valid credential scope"));
    };
    let signature = hex::decode(signature).map_err(|_| AuthError::Mismatch)?;
    Ok(Authorization { access_key_id, date, region, service, signed_headers, signature })
}

fn check_token(key: &Key, headers: &HeaderMap, now: Timestamp) -> Result<(), AuthError> {
    let sent = text_header(headers, "x-amz-security-token");
    let known = key.session_token.as_ref().map(super::credentials::Secret::expose);
    if sent != known {
        return Err(AuthError::UnknownKey);
    }
    match key.expires {
        Some(expires) if expires <= now => Err(AuthError::ExpiredKey),
        _ => Ok(()),
    }
}

fn check_clock(signed_at: &str, now: Timestamp) -> Result<(), AuthError> {
    let parsed = DateTime::strptime("%Y%m%dT%H%M%SZ", signed_at)
        .and_then(|time| time.to_zoned(TimeZone::UTC))
        .map_err(|_| AuthError::Incomplete("a valid 'X-Amz-Date'"))?;
    let signed = parsed.timestamp();
    let ahead = signed.duration_since(now);
    if ahead < -CLOCK_SKEW_MAX {
        Err(AuthError::Clock { what: "expired", signed, now })
    } else if ahead > CLOCK_SKEW_MAX {
        Err(AuthError::Clock { what: "not yet current", signed, now })
    } else {
        Ok(())
    }
}

/// The canonical request (AWS General Reference, "Create a signed request", step 1).
fn canonical_request(request: &SignedRequest<'_>, signed_headers: &str) -> Result<String, AuthError> {
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values: Vec<String> = request
            .headers
            .get_all(name)
            .iter()
            .map(|value| collapse_spaces(&String::from_utf8_lossy(value.as_bytes())))
            .collect();
        // A signed header that did not arrive makes the signature wrong; it is not an empty one.
        if values.is_empty() {
            return Err(AuthError::Mismatch);
        }
        headers.extend([name, ":", &values.join(","), "\n"]);
    }
    let method = request.method;
    let path = canonical_path(request.uri.path());
    let query = canonical_query(request.uri.query().unwrap_or_default());
    let payload = payload_hash(request)?;
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n{signed_headers}\n{payload}"))
}

fn payload_hash(request: &SignedRequest<'_>) -> Result<String, AuthError> {
    let of_body = hex::encode(Sha256::digest(request.body.unwrap_or_default()));
    match (text_header(request.headers, "x-amz-content-sha256"), request.body) {
        (None, _) => Ok(of_body),
        // A hash (and not a word such as UNSIGNED-PAYLOAD) must be that of the body.
        (Some(said), Some(_)) if said.len() == of_body.len() && said != of_body => Err(AuthError::Mismatch),
        (Some(said), _) => Ok(said.to_owned()),
    }
}

fn canonical_path(path: &str) -> String {
    let mut canonical = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        canonical.push('/');
        // What is on the wire is already encoded once; every service but S3 signs it encoded once more.
        encode(segment, &mut canonical);
    }
    if canonical.is_empty() || path.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
}

fn collapse_spaces(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn mac_of(key: &Key, authorization: &Authorization<'_>, signed_at: &str, canonical: &str) -> Hmac<Sha256> {
    let Authorization { date, region, service, .. } = authorization;
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let hash = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("{ALGORITHM}\n{signed_at}\n{scope}\n{hash}");
    let secret = format!("AWS4{}", key.secret.expose());
    let signing_key = [*date, *region, *service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac(&key, part).finalize().into_bytes().to_vec());
    hmac(&signing_key, &to_sign)
}

fn hmac(key: &[u8], message: &str) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
