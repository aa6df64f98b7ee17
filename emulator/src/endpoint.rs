//! Data endpoints: one base path for each stream and API, so that a call to another API's endpoint is noticed.

use sha2::{Digest, Sha256};
use url::Url;

use crate::{error::ServiceError, operation::Operation};

/// The values of `APIName`, the kind of host that serves each, and the operation behind it where there is one here.
const APIS: [(&str, char, Option<Operation>); 8] = [
    ("PUT_MEDIA", 's', Some(Operation::PutMedia)),
    ("GET_MEDIA", 's', Some(Operation::GetMedia)),
    ("LIST_FRAGMENTS", 'b', Some(Operation::ListFragments)),
    ("GET_MEDIA_FOR_FRAGMENT_LIST", 'b', Some(Operation::GetMediaForFragmentList)),
    ("GET_HLS_STREAMING_SESSION_URL", 'b', None),
    ("GET_DASH_STREAMING_SESSION_URL", 'b', None),
    ("GET_CLIP", 'b', None),
    ("GET_IMAGES", 'b', None),
];

/// The endpoint of a stream for an `APIName`.
pub fn endpoint(advertise: &Url, arn: &str, api: &str) -> Result<String, ServiceError> {
    let (name, kind, _) = APIS
        .iter()
        .find(|(name, ..)| *name == api)
        .ok_or_else(|| ServiceError::invalid_argument("APIName must be one of the eight API names"))?;
    let base = advertise.as_str().trim_end_matches('/');
    Ok(format!("{base}/{}", label(*kind, arn, name)))
}

/// The endpoint of a signaling channel for a protocol (`WSS`, `HTTPS`, `WEBRTC`) and a role.
pub fn of_channel(advertise: &Url, arn: &str, protocol: &str, role: &str) -> String {
    let base = advertise.as_str().trim_end_matches('/');
    let label = label('v', arn, &format!("{protocol} {role}"));
    match base.strip_prefix("http") {
        // `ws` or `wss`, as it is `http` or `https`.
        Some(rest) if protocol == "WSS" => format!("ws{rest}/{label}"),
        _ => format!("{base}/{label}"),
    }
}

/// Checks that a data-plane call came by the base path that its stream and API have.
pub fn check(operation: Operation, arn: &str, base: &str) -> Result<(), ServiceError> {
    let own = APIS.iter().find(|(.., served)| *served == Some(operation));
    match own {
        Some((name, kind, _)) if label(*kind, arn, name) == base => Ok(()),
        _ => Err(ServiceError::invalid_endpoint()),
    }
}

fn label(kind: char, arn: &str, api: &str) -> String {
    let hash = Sha256::digest(format!("{arn} {api}"));
    format!("{kind}-{}", hex::encode(&hash[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_serves_its_own_stream_and_api_only() {
        let advertise = Url::parse("https://kvs.example:8443/base/").unwrap();
        let endpoint = endpoint(&advertise, "arn:1", "LIST_FRAGMENTS").unwrap();
        let base = endpoint.strip_prefix("https://kvs.example:8443/base/").unwrap();
        assert!(base.starts_with("b-"), "{endpoint}");
        assert!(check(Operation::ListFragments, "arn:1", base).is_ok());
        assert!(check(Operation::ListFragments, "arn:2", base).is_err());
        assert!(check(Operation::GetMediaForFragmentList, "arn:1", base).is_err());
    }
}
