//! What the service's refusals mean.

use crate::session::Refusal;

/// Text of the service is cut to this many characters.
const MESSAGE_CHARS_MAX: usize = 200;

/// What a refusal means for the session, and what it asks the upload to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The kind.
    pub refusal: Refusal,
    /// For people, without secrets.
    pub message: String,
    /// The data endpoint may be stale.
    pub forget_endpoint: bool,
    /// The signature may be wrong because of our clock.
    pub doubt_clock: bool,
}

/// Judges a refusal of `call` by its HTTP status and the service's error code, which may be missing.
pub fn judge(call: &str, status: u16, code: &str, text: &str) -> Judgement {
    let (refusal, forget_endpoint, doubt_clock) = match code {
        "ConnectionLimitExceededException" => (Refusal::ConnectionLimit, false, false),
        "ClientLimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException" => (Refusal::Throttled, false, false),
        "ResourceNotFoundException" => (Refusal::StreamNotFound, true, false),
        "InvalidEndpointException" => (Refusal::Other, true, false),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" => {
            (Refusal::CredentialsRefused, false, true)
        }
        "NotAuthorizedException"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "AccessDenied"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => (Refusal::CredentialsRefused, false, false),
        _ => match status {
            401 | 403 => (Refusal::CredentialsRefused, false, false),
            404 => (Refusal::StreamNotFound, true, false),
            429 => (Refusal::Throttled, false, false),
            _ => (Refusal::Other, status >= 500, false),
        },
    };
    let mut message =
        format!("{call}: {status} {}", if code.is_empty() { "without an error code" } else { code });
    // A refusal of a signature quotes the request, with its session token: only its code is shown.
    if !doubt_clock && is_harmless(code) && !text.is_empty() {
        message.push_str(": ");
        message.extend(text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX));
    }
    Judgement { refusal, message, forget_endpoint, doubt_clock }
}

/// Errors whose text names resources, limits and arguments, never credentials.
fn is_harmless(code: &str) -> bool {
    matches!(
        code,
        "ConnectionLimitExceededException"
            | "ClientLimitExceededException"
            | "ResourceNotFoundException"
            | "InvalidEndpointException"
            | "InvalidArgumentException"
            | "NotAuthorizedException"
            | "AccessDeniedException"
            | "AccessDenied"
    )
}

/// Whether a refusal of a role is for the key that asks for it, not for what it may do.
pub fn blames_key(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "MissingAuthenticationToken"
            | "SignatureDoesNotMatch"
    )
}

/// The error code of a REST-JSON refusal: from the header, which may carry a namespace before `#` and a URL after `:`,
/// else from the body.
pub fn error_code(header: Option<&str>, body: &serde_json::Value) -> String {
    let raw = header
        .or_else(|| body.get("code").and_then(serde_json::Value::as_str))
        .or_else(|| body.get("__type").and_then(serde_json::Value::as_str))
        .unwrap_or_default();
    let without_url = raw.split(':').next().unwrap_or_default();
    let name = without_url.rsplit('#').next().unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_found_in_header_and_body_without_their_decoration() {
        let nothing = json!(null);
        assert_eq!(
            error_code(Some("a.b#NotAuthorizedException:http://x/"), &nothing),
            "NotAuthorizedException"
        );
        assert_eq!(
            error_code(None, &json!({"__type": "InvalidEndpointException"})),
            "InvalidEndpointException"
        );
        assert_eq!(error_code(None, &nothing), "");
    }

    #[test]
    fn each_kind_of_refusal_is_told_apart() {
        let kind = |status, code| judge("PutMedia", status, code, "").refusal;
        assert_eq!(kind(400, "ConnectionLimitExceededException"), Refusal::ConnectionLimit);
        assert_eq!(kind(400, "ClientLimitExceededException"), Refusal::Throttled);
        assert_eq!(kind(404, ""), Refusal::StreamNotFound);
        assert_eq!(kind(401, "NotAuthorizedException"), Refusal::CredentialsRefused);
        assert_eq!(kind(403, ""), Refusal::CredentialsRefused);
        assert_eq!(kind(500, "InternalFailure"), Refusal::Other);
        assert!(judge("PutMedia", 400, "InvalidEndpointException", "").forget_endpoint);
        assert!(judge("PutMedia", 403, "InvalidSignatureException", "").doubt_clock);
    }

    #[test]
    fn the_text_of_a_refused_signature_is_not_repeated() {
        let text = "The Canonical String should have been x-amz-security-token:hunter2";
        for code in ["InvalidSignatureException", "UnrecognizedClientException", ""] {
            assert!(!judge("PutMedia", 403, code, text).message.contains("hunter2"), "{code}");
        }
        assert!(
            judge("PutMedia", 404, "ResourceNotFoundException", "no stream x")
                .message
                .contains("no stream x")
        );
    }
}
