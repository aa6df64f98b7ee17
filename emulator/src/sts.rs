//! STS `GetCallerIdentity`: the AWS Query protocol, a form in and XML out.

use sha2::{Digest, Sha256};

use crate::auth::{AuthError, Caller};

/// Whether a form asks for `GetCallerIdentity`.
pub fn asks_for_caller_identity(form: &[u8]) -> bool {
    url::form_urlencoded::parse(form).any(|(key, value)| key == "Action" && value == "GetCallerIdentity")
}

/// The answer.
pub fn caller_identity(caller: &Caller, request_id: &str) -> String {
    // An id of the form that IAM gives to users, always the same for one user.
    let hash = Sha256::digest(caller.arn());
    let user_id = format!("AIDA{}", hex::encode_upper(&hash[..8]));
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <GetCallerIdentityResult>\n    <Arn>{}</Arn>\n    <UserId>{user_id}</UserId>\n    \
         <Account>{}</Account>\n  </GetCallerIdentityResult>\n  <ResponseMetadata>\n    \
         <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n</GetCallerIdentityResponse>\n",
        escape(&caller.arn()),
        escape(&caller.account),
    )
}

/// A refusal.
pub fn error(code: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    \
         <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
         <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n",
        escape(message),
    )
}

/// The code that STS has for a caller who is not believed.
pub fn auth_code(error: &AuthError) -> &'static str {
    match error {
        AuthError::Missing => "MissingAuthenticationToken",
        AuthError::Incomplete(_) => "IncompleteSignature",
        AuthError::UnknownKey => "InvalidClientTokenId",
        AuthError::ExpiredKey => "ExpiredToken",
        AuthError::WrongService(_) | AuthError::Clock { .. } | AuthError::Mismatch => "SignatureDoesNotMatch",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
