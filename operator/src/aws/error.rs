//! What a call comes to that fails, and what the service's codes mean.

/// A call that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed: {message}")]
pub struct AwsError {
    /// The operation, such as `CreateStream`.
    pub operation: &'static str,
    /// What to make of it.
    pub kind: ErrorKind,
    /// The service's own code and text, or what went wrong on the way; free of secrets.
    pub message: String,
}

impl AwsError {
    /// What a refusal of a service comes to, by its code and its text.
    pub fn of_service(operation: &'static str, code: &str, text: Option<&str>) -> Self {
        Self { operation, kind: kind_of_code(code, text), message: said(code, text) }
    }
}

/// What to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The stream is being changed, or the name is taken.
    InUse,
    /// Somebody else changed the stream since it was read.
    VersionMismatch,
    /// There is no such stream.
    NotFound,
    /// No credentials were found.
    NoCredentials,
    /// The credentials themselves are refused: no call will do.
    CredentialsRefused,
    /// The role may not be assumed: no call will do.
    RoleRefused,
    /// The credentials are of another account than the class names; nothing was sent.
    WrongAccount,
    /// The credentials are good, but may not do this: the policy lacks this operation, for this stream or for all.
    Denied,
    /// Fewer calls are asked for.
    Throttled,
    /// The account may have no more streams.
    Quota,
    /// The account may have no more alarms.
    LimitExceeded,
    /// The stream would have more than 50 tags.
    TagLimit,
    /// The service refuses a value.
    InvalidArgument,
    /// The KMS key cannot be used: unknown, disabled, or not ours to use.
    KmsUnusable,
    /// The stream keeps nothing, which this setting does not go with.
    NoRetention,
    /// The endpoint cannot be reached, or its certificate is not trusted.
    Unreachable,
    /// The CA bundle holds no certificate.
    InvalidCaBundle,
    /// This process is not the leader any more, or will not be for long; nothing was sent.
    NotLeader,
    /// Something else.
    Other,
}

impl ErrorKind {
    /// For metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::VersionMismatch => "version_mismatch",
            Self::NotFound => "not_found",
            Self::NoCredentials => "no_credentials",
            Self::CredentialsRefused => "credentials_refused",
            Self::RoleRefused => "role_refused",
            Self::WrongAccount => "wrong_account",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::LimitExceeded => "limit_exceeded",
            Self::TagLimit => "tag_limit",
            Self::InvalidArgument => "invalid_argument",
            Self::KmsUnusable => "kms_unusable",
            Self::NoRetention => "no_retention",
            Self::Unreachable => "unreachable",
            Self::InvalidCaBundle => "invalid_ca_bundle",
            Self::NotLeader => "not_leader",
            Self::Other => "other",
        }
    }

    /// Whether the credentials are at fault, so that other ones may help.
    pub const fn is_about_credentials(self) -> bool {
        matches!(
            self,
            Self::NoCredentials | Self::CredentialsRefused | Self::RoleRefused | Self::WrongAccount
        )
    }

    /// Whether it was refused who asked, which other credentials or another policy may cure.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Denied) || self.is_about_credentials()
    }
}

/// The service's code for "fewer calls, please".
pub(super) const CLIENT_LIMIT_EXCEEDED: &str = "ClientLimitExceededException";

/// What the service's code means. 400s and 401s alike: the codes decide (API models of the three services, errors of each
/// operation; common errors of Signature Version 4).
pub(super) fn kind_of_code(code: &str, text: Option<&str>) -> ErrorKind {
    match code {
        "ResourceInUseException" => ErrorKind::InUse,
        "VersionMismatchException" => ErrorKind::VersionMismatch,
        "ResourceNotFoundException" | "ResourceNotFound" => ErrorKind::NotFound,
        "NotAuthorizedException"
        | "AccessDeniedException"
        | "AccessDenied"
        | "UnauthorizedOperation"
        | "AuthorizationError" => ErrorKind::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidIdentityToken"
        | "RegionDisabledException"
        | "OptInRequired" => ErrorKind::CredentialsRefused,
        CLIENT_LIMIT_EXCEEDED
        | "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown" => ErrorKind::Throttled,
        "AccountStreamLimitExceededException" | "DeviceStreamLimitExceededException" => ErrorKind::Quota,
        "LimitExceeded" | "LimitExceededFault" | "LimitExceededException" => ErrorKind::LimitExceeded,
        "TagsPerResourceExceededLimitException" => ErrorKind::TagLimit,
        "NoDataRetentionException" => ErrorKind::NoRetention,
        "InvalidArgumentException" if text.is_some_and(is_about_kms) => ErrorKind::KmsUnusable,
        "InvalidArgumentException"
        | "InvalidDeviceException"
        | "InvalidResourceFormatException"
        | "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "MissingParameter"
        | "MissingRequiredParameter"
        | "InvalidFormat"
        | "ValidationException"
        | "ValidationError" => ErrorKind::InvalidArgument,
        code if code.starts_with("KMS") || code.starts_with("Kms") => ErrorKind::KmsUnusable,
        _ => ErrorKind::Other,
    }
}

/// Whether the text of a refusal is about the key: the service has no code of its own for that.
fn is_about_kms(text: &str) -> bool {
    text.to_ascii_lowercase().contains("kms")
}

/// So much of the service's own words is repeated, in characters.
const SERVICE_TEXT_MAX: usize = 512;

/// What the service says, as it may be shown to people.
pub(super) fn said(code: &str, text: Option<&str>) -> String {
    let text = text.filter(|_| !quotes_request(code)).unwrap_or_default();
    let text: String = text.chars().take(SERVICE_TEXT_MAX).collect();
    format!("{code}: {text}").trim_end_matches([':', ' ']).to_owned()
}

/// Whether the text of this error quotes the request as it should have been signed, its session token among it.
fn quotes_request(code: &str) -> bool {
    code.contains("Signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_signature_is_named_and_its_text_which_quotes_the_request_is_not_shown() {
        let text = "The Canonical String should have been x-amz-security-token:hunter2";
        for code in ["InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"] {
            assert_eq!(said(code, Some(text)), code);
        }
        assert_eq!(
            said("AccessDenied", Some("no kinesisvideo:CreateStream")),
            "AccessDenied: no kinesisvideo:CreateStream"
        );
        assert!(said("InternalFailure", Some(&"x".repeat(9_999))).len() < 600);
    }

    /// Each error that the models of KVS (streams), CloudWatch (the calls that we make) and STS name.
    #[test]
    fn every_modeled_error_has_its_meaning() {
        let table = [
            ("AccessDeniedException", ErrorKind::Denied),
            ("AccountStreamLimitExceededException", ErrorKind::Quota),
            ("ClientLimitExceededException", ErrorKind::Throttled),
            ("DeviceStreamLimitExceededException", ErrorKind::Quota),
            ("InvalidArgumentException", ErrorKind::InvalidArgument),
            ("InvalidDeviceException", ErrorKind::InvalidArgument),
            ("InvalidResourceFormatException", ErrorKind::InvalidArgument),
            ("NoDataRetentionException", ErrorKind::NoRetention),
            ("NotAuthorizedException", ErrorKind::Denied),
            ("ResourceInUseException", ErrorKind::InUse),
            ("ResourceNotFoundException", ErrorKind::NotFound),
            ("TagsPerResourceExceededLimitException", ErrorKind::TagLimit),
            ("VersionMismatchException", ErrorKind::VersionMismatch),
            // CloudWatch
            ("LimitExceeded", ErrorKind::LimitExceeded),
            ("LimitExceededFault", ErrorKind::LimitExceeded),
            ("ResourceNotFound", ErrorKind::NotFound),
            ("InvalidParameterValue", ErrorKind::InvalidArgument),
            ("InternalServiceFault", ErrorKind::Other),
            // STS and signatures
            ("ExpiredTokenException", ErrorKind::CredentialsRefused),
            ("InvalidClientTokenId", ErrorKind::CredentialsRefused),
            ("SignatureDoesNotMatch", ErrorKind::CredentialsRefused),
            ("UnrecognizedClientException", ErrorKind::CredentialsRefused),
            ("RegionDisabledException", ErrorKind::CredentialsRefused),
            ("Throttling", ErrorKind::Throttled),
        ];
        for (code, kind) in table {
            assert_eq!(kind_of_code(code, None), kind, "{code}");
        }
    }

    #[test]
    fn a_refused_argument_that_is_the_key_says_so() {
        let text = Some("KMS key alias/nothing is not found");
        assert_eq!(kind_of_code("InvalidArgumentException", text), ErrorKind::KmsUnusable);
        assert_eq!(
            kind_of_code("InvalidArgumentException", Some("MediaType is malformed")),
            ErrorKind::InvalidArgument
        );
        assert_eq!(kind_of_code("KMSInvalidStateException", None), ErrorKind::KmsUnusable);
    }
}
