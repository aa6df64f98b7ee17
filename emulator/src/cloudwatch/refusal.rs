//! The refusals of CloudWatch, with the codes of its query protocol (API model, "errors"; the other protocols carry the
//! same codes in `x-amzn-query-error`).

use http::StatusCode;

use crate::error::ServiceError;

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> ServiceError {
    ServiceError { status, code, message: message.into() }
}

/// A member breaks its shape, or members contradict each other: what most operations answer.
pub fn validation(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "ValidationError", message)
}

/// `InvalidParameterValueException`.
pub fn invalid_value(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "InvalidParameterValue", message)
}

/// `InvalidParameterCombinationException`.
pub fn invalid_combination(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "InvalidParameterCombination", message)
}

/// `InvalidFormatFault`.
pub fn invalid_format(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "InvalidFormat", message)
}

/// `InvalidNextToken`.
pub fn invalid_next_token() -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "InvalidNextToken", "The next token specified is invalid.")
}

/// `LimitExceededFault`.
pub fn limit_exceeded(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "LimitExceeded", message)
}

/// There is no such alarm.
pub fn alarm_not_found(name: &str) -> ServiceError {
    refusal(StatusCode::NOT_FOUND, "ResourceNotFound", format!("Unknown alarm: {name}"))
}

/// `ResourceNotFoundException`: no alarm has this ARN.
pub fn resource_not_found(arn: &str) -> ServiceError {
    refusal(StatusCode::NOT_FOUND, "ResourceNotFoundException", format!("Unknown resource: {arn}"))
}

/// More calls in a second than the quota lets through.
pub fn throttled() -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded")
}

/// Not an operation, or none that the emulator has.
pub fn unknown_operation(name: &str) -> ServiceError {
    refusal(
        StatusCode::BAD_REQUEST,
        "InvalidAction",
        format!("Could not find operation {name} for version 2010-08-01"),
    )
}

/// The body is not what its protocol asks for.
pub fn unreadable(message: impl Into<String>) -> ServiceError {
    refusal(StatusCode::BAD_REQUEST, "SerializationException", message)
}
