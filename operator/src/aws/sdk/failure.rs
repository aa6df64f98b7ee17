//! What an error of the SDK means.

use std::error::Error;

use aws_sdk_kinesisvideo::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use super::super::error::{kind_of_code, said};
use super::super::{AwsError, ErrorKind};

/// The error in our form. True where it may be gone at the next attempt, though what the call has done is not known.
pub(super) fn ours<E>(operation: &'static str, error: &SdkError<E>) -> (AwsError, bool)
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (kind, message, is_transient) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("error without a code");
            let text = service.err().message();
            let is_fault = error.raw_response().is_some_and(|response| response.status().is_server_error());
            (kind_of_code(code, text), said(code, text), is_fault)
        }
        SdkError::TimeoutError(_) => (ErrorKind::Unreachable, "no answer in time".to_owned(), true),
        other => match about_role(other) {
            Some((kind, message)) => (kind, message, false),
            None => unsent(other),
        },
    };
    (AwsError { operation, kind, message }, is_transient)
}

/// An error on the way.
fn unsent<E>(error: &SdkError<E>) -> (ErrorKind, String, bool)
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let is_network =
        matches!(error, SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout());
    if !is_network && is_about_credentials(&DisplayErrorContext(error).to_string()) {
        return (ErrorKind::NoCredentials, root(error), false);
    }
    (ErrorKind::Unreachable, root(error), is_network)
}

/// What STS said when it was asked for the credentials of a role, if that is what went wrong.
fn about_role(error: &(dyn Error + 'static)) -> Option<(ErrorKind, String)> {
    // Below the call itself, which may be STS's own.
    let mut cause = error.source();
    let role = loop {
        let error = cause?;
        if let Some(error) = error.downcast_ref::<SdkError<AssumeRoleError>>() {
            break ours("AssumeRole", error).0;
        }
        if let Some(error) = error.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>() {
            break ours("AssumeRoleWithWebIdentity", error).0;
        }
        cause = error.source();
    };
    let kind = match role.kind {
        kind @ (ErrorKind::Unreachable | ErrorKind::Throttled | ErrorKind::NoCredentials) => kind,
        // The operator's own credentials are no good, or not for this role.
        ErrorKind::CredentialsRefused => ErrorKind::CredentialsRefused,
        _ => ErrorKind::RoleRefused,
    };
    Some((kind, role.to_string()))
}

/// What lies at the bottom of an error: "connection refused" rather than "dispatch failure".
fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // What follows in further lines is for the SDK's own log.
    let line = text.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
    crate::conditions::cut(line, 300).to_owned()
}

/// The SDK has no type for "no credentials" that reaches the caller.
fn is_about_credentials(text: &str) -> bool {
    text.contains("credentials")
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesisvideo::error::ConnectorError;
    use aws_sdk_kinesisvideo::operation::list_streams::ListStreamsError;
    use aws_sdk_sts::error::ErrorMetadata;
    use aws_smithy_runtime_api::http::{Response, StatusCode};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answer(status: u16) -> Response {
        Response::new(StatusCode::try_from(status).unwrap(), SdkBody::empty())
    }

    fn refused(status: u16, code: &str) -> SdkError<ListStreamsError> {
        let error = ListStreamsError::generic(ErrorMetadata::builder().code(code).message("text").build());
        SdkError::service_error(error, answer(status))
    }

    #[test]
    fn a_fault_of_the_service_may_be_gone_at_the_next_attempt_and_a_refusal_is_not() {
        let (error, is_transient) = ours("ListStreams", &refused(503, "ServiceUnavailable"));
        assert_eq!((error.kind, is_transient), (ErrorKind::Other, true));
        let (error, is_transient) = ours("ListStreams", &refused(401, "NotAuthorizedException"));
        assert_eq!((error.kind, is_transient), (ErrorKind::Denied, false));
        assert_eq!(error.to_string(), "ListStreams failed: NotAuthorizedException: text");
    }

    #[test]
    fn a_broken_connection_is_told_by_its_cause() {
        let cause = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        let error: SdkError<ListStreamsError> = SdkError::dispatch_failure(ConnectorError::io(cause.into()));
        let (error, is_transient) = ours("ListStreams", &error);
        assert_eq!((error.kind, is_transient), (ErrorKind::Unreachable, true));
        assert_eq!(error.message, "Connection refused");
    }

    #[test]
    fn a_role_that_may_not_be_assumed_is_told_with_what_sts_said() {
        let metadata = ErrorMetadata::builder().code("AccessDenied").message("not for you").build();
        let refused = SdkError::service_error(AssumeRoleError::generic(metadata), answer(403));
        let cause = ConnectorError::other(Box::new(refused), None);
        let error: SdkError<ListStreamsError> = SdkError::dispatch_failure(cause);
        let (error, _) = ours("ListStreams", &error);
        assert_eq!(error.kind, ErrorKind::RoleRefused);
        assert_eq!(error.message, "AssumeRole failed: AccessDenied: not for you");
    }

    #[test]
    fn an_sts_that_cannot_be_reached_is_no_refusal() {
        let cause = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused");
        let role: SdkError<AssumeRoleError> = SdkError::dispatch_failure(ConnectorError::io(cause.into()));
        let cause = ConnectorError::other(Box::new(role), None);
        let error: SdkError<ListStreamsError> = SdkError::dispatch_failure(cause);
        assert_eq!(ours("ListStreams", &error).0.kind, ErrorKind::Unreachable);
    }

    #[test]
    fn missing_credentials_are_told_from_a_missing_network() {
        let cause = ConnectorError::other("no providers in chain provided credentials".into(), None);
        let error: SdkError<ListStreamsError> = SdkError::dispatch_failure(cause);
        assert_eq!(ours("ListStreams", &error).0.kind, ErrorKind::NoCredentials);
    }
}
