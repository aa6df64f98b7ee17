//! Errors as the service answers them: an HTTP status, a code, and a message.
//!
//! Codes and statuses are those of the service's API model; how they are put on the wire is the business of [`crate::wire`].

use http::StatusCode;

use crate::control::model::model;

/// A refusal that a client sees.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code, e.g. `ResourceNotFoundException`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Errors that the model of the control plane does not have, with their statuses: those of all services, of STS and of
/// CloudWatch (their API references, "Common errors").
const COMMON: [(&str, u16); 15] = [
    ("ThrottlingException", 400),
    ("Throttling", 400),
    ("RequestExpired", 400),
    ("IncompleteSignatureException", 400),
    ("LimitExceeded", 400),
    ("ValidationError", 400),
    ("AccessDenied", 403),
    ("ExpiredTokenException", 403),
    ("ExpiredToken", 403),
    ("UnrecognizedClientException", 403),
    ("InvalidClientTokenId", 403),
    ("InvalidSignatureException", 403),
    ("InternalFailure", 500),
    ("InternalServiceFault", 500),
    ("ServiceUnavailable", 503),
];

/// The code and status of an error that some service has.
pub fn known(code: &str) -> Option<(&'static str, StatusCode)> {
    let common = || {
        let (code, status) = COMMON.iter().find(|(known, _)| *known == code)?;
        Some((*code, StatusCode::from_u16(*status).ok()?))
    };
    model().error(code).or_else(common)
}

impl ServiceError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A member is missing or breaks its shape.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgumentException", message)
    }

    /// A `StreamARN` of a tag operation that is no ARN of a stream.
    pub fn invalid_resource_format(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidResourceFormatException", message)
    }

    /// There is no such stream, or it is not in a state in which it can serve.
    pub fn not_found() -> Self {
        let message = "The requested stream is not found or not active.";
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// The name is taken, or the stream is not `ACTIVE`.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ResourceInUseException", message)
    }

    /// `CurrentVersion` is not the stream's version.
    pub fn version_mismatch() -> Self {
        let message = "The stream version that you specified is not the latest version.";
        Self::new(StatusCode::BAD_REQUEST, "VersionMismatchException", message)
    }

    /// More than 50 tags.
    pub fn too_many_tags() -> Self {
        let message = "You have exceeded the limit of tags that you can associate with the resource.";
        Self::new(StatusCode::BAD_REQUEST, "TagsPerResourceExceededLimitException", message)
    }

    /// The caller may not touch this resource: it is another account's.
    pub fn not_authorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
    }

    /// A second `PutMedia`, or a fourth `GetMedia`, on one stream.
    pub fn connection_limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ConnectionLimitExceededException", message)
    }

    /// A data-plane call at an endpoint that `GetDataEndpoint` did not give for it.
    pub fn invalid_endpoint() -> Self {
        let message = "The endpoint is not the one for this stream and API; call GetDataEndpoint.";
        Self::new(StatusCode::BAD_REQUEST, "InvalidEndpointException", message)
    }

    /// There is no such channel.
    pub fn channel_not_found() -> Self {
        let message = "The requested channel is not found or not active.";
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// The stream has no edge configuration.
    pub fn no_edge_configuration() -> Self {
        let message = "The stream has no edge configuration.";
        Self::new(StatusCode::NOT_FOUND, "StreamEdgeConfigurationNotFoundException", message)
    }

    /// The stream keeps nothing.
    pub fn no_data_retention() -> Self {
        let message = "The Stream data retention in hours is equal to zero.";
        Self::new(StatusCode::BAD_REQUEST, "NoDataRetentionException", message)
    }

    /// The account has as many streams as it may.
    pub fn too_many_streams() -> Self {
        let message = "The number of streams created for the account is too high.";
        Self::new(StatusCode::BAD_REQUEST, "AccountStreamLimitExceededException", message)
    }

    /// The account has as many signaling channels as it may.
    pub fn too_many_channels() -> Self {
        let message = "You have reached the maximum limit of active signaling channels for this account.";
        Self::new(StatusCode::BAD_REQUEST, "AccountChannelLimitExceededException", message)
    }

    /// The caller may not touch this resource; what newer operations answer.
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AccessDeniedException", message)
    }

    /// More calls than a quota allows.
    pub fn client_limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ClientLimitExceededException", message)
    }

    /// An error that a fault orders.
    pub fn ordered(status: StatusCode, code: &'static str, message: Option<&str>) -> Self {
        Self::new(status, code, message.unwrap_or("ordered by a fault"))
    }

    /// The caller's policy does not allow it.
    pub fn forbidden() -> Self {
        let message = "User is not authorized to perform this action";
        Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message)
    }

    /// Temporary credentials have run out.
    pub fn expired_token() -> Self {
        let message = "The security token included in the request is expired";
        Self::new(StatusCode::FORBIDDEN, "ExpiredTokenException", message)
    }

    /// No operation has this path.
    pub fn unknown_operation() -> Self {
        let message = "Unable to determine service/operation name to be authorized";
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
    }

    /// The emulator itself failed, for example its disk.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message)
    }

    /// A refusal at the gate: `status` is 400 or 403.
    pub fn authentication(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, code, message)
    }
}
