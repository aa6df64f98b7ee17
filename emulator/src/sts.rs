//! STS: the AWS Query protocol, a form in and XML out. Who calls, and temporary keys of roles.
//!
//! What roles demand is in [`crate::roles`]; session policies are recorded, not enforced.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    auth::{AuthError, Caller, Key, RoleSession},
    error::ServiceError,
    operation::Operation,
    service::Service,
};

/// What `DurationSeconds` may be, and what it is when absent (STS API reference).
const DURATION_SECONDS: std::ops::RangeInclusive<i64> = 900..=43_200;
const DURATION_SECONDS_DEFAULT: i64 = 3600;
/// Characters of a session policy (STS API reference).
const POLICY_CHARS_MAX: usize = 2048;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The operation that a form asks for.
pub fn operation(form: &[u8]) -> Option<Operation> {
    let action = member(form, "Action")?;
    Operation::by_name(&action).filter(|operation| operation.is_of_sts())
}

fn member(form: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// `GetCallerIdentity`.
pub fn caller_identity(caller: &Caller, request_id: &str) -> String {
    // An id of the form that IAM gives to users, always the same for one user.
    let user_id = format!("AIDA{}", hex::encode_upper(&Sha256::digest(caller.arn())[..8]));
    answer(
        "GetCallerIdentity",
        &format!(
            "    <Arn>{}</Arn>\n    <UserId>{user_id}</UserId>\n    <Account>{}</Account>\n",
            escape(&caller.arn()),
            escape(&caller.account),
        ),
        request_id,
    )
}

/// `AssumeRole`.
pub fn assume_role(
    service: &Service,
    caller: &Caller,
    form: &[u8],
    request_id: &str,
) -> Result<String, ServiceError> {
    let given = give(service, form, Some(caller), Timestamp::now())?;
    tracing::debug!(by = %caller.arn(), role = %given.role.role_arn, "A role was assumed");
    Ok(answer("AssumeRole", &given.xml(), request_id))
}

/// `AssumeRoleWithWebIdentity`. The token stands for a signature; whoever has one is believed.
pub fn assume_role_with_web_identity(
    service: &Service,
    form: &[u8],
    request_id: &str,
) -> Result<String, ServiceError> {
    // 4 characters at least (STS API reference).
    if member(form, "WebIdentityToken").is_none_or(|token| token.len() < 4) {
        return Err(refusal("InvalidIdentityToken", "The web identity token that was passed is invalid"));
    }
    let given = give(service, form, None, Timestamp::now())?;
    let rest = "    <SubjectFromWebIdentityToken>subject</SubjectFromWebIdentityToken>\n    \
                <Audience>sts.amazonaws.com</Audience>\n    <Provider>streamfleet-emulator</Provider>\n";
    Ok(answer("AssumeRoleWithWebIdentity", &format!("{}{rest}", given.xml()), request_id))
}

/// `ExternalId`: 2 to 1224 characters (STS API reference).
fn external_id(form: &[u8]) -> Result<Option<String>, ServiceError> {
    let is_fine = |id: &String| {
        (2..=1224).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
    };
    match member(form, "ExternalId") {
        Some(id) if !is_fine(&id) => {
            Err(invalid("ExternalId must have 2 to 1224 letters, digits and +=,.@:/-"))
        }
        id => Ok(id),
    }
}

/// A temporary key that was just given.
struct Given {
    key: Key,
    token: String,
    account: String,
    expires: Timestamp,
    role: RoleSession,
}

fn give(
    service: &Service,
    form: &[u8],
    caller: Option<&Caller>,
    now: Timestamp,
) -> Result<Given, ServiceError> {
    let (role, account) = role_session(form, caller.is_none())?;
    let external_id = external_id(form)?;
    let by_account = caller.map(|caller| caller.account.as_str());
    if !service.roles.may_be_assumed(&role.role_arn, by_account, external_id.as_deref()) {
        let who = caller.map_or_else(|| "a web identity".to_owned(), Caller::arn);
        let message = format!(
            "User: {who} is not authorized to perform: sts:AssumeRole on resource: {}",
            role.role_arn
        );
        return Err(ServiceError::authentication(StatusCode::FORBIDDEN, "AccessDenied", message));
    }
    let seconds = match member(form, "DurationSeconds").map(|text| text.parse()) {
        None => DURATION_SECONDS_DEFAULT,
        Some(Ok(seconds)) if DURATION_SECONDS.contains(&seconds) => seconds,
        Some(_) => return Err(invalid("DurationSeconds must be 900 to 43200")),
    };
    let lifetime =
        service.options.token_lifetime.and_then(|lifetime| SignedDuration::try_from(lifetime).ok());
    let lifetime = lifetime.unwrap_or_else(|| SignedDuration::from_secs(seconds));
    let expires = now.checked_add(lifetime).map_err(|_| invalid("DurationSeconds"))?;
    let random = || format!("{:032X}", fastrand::u128(..));
    let token = format!("{}{}{}", random(), random(), random());
    let key = Key {
        id: format!("ASIA{}", &random()[..16]),
        secret: random().into(),
        session_token: Some(token.clone().into()),
        account: Some(account.clone()),
        user: Some(role.session_name.clone()),
        expires: Some(expires),
        role: Some(role.clone()),
    };
    service.credentials.add_temporary(key.clone());
    Ok(Given { key, token, account, expires, role })
}

/// The session that a form asks for, and the role's account.
fn role_session(form: &[u8], by_web_identity: bool) -> Result<(RoleSession, String), ServiceError> {
    let role_arn = member(form, "RoleArn").ok_or_else(|| invalid("RoleArn is required"))?;
    let account = account_of(&role_arn).ok_or_else(|| invalid("RoleArn is no ARN of a role"))?;
    let session_name = member(form, "RoleSessionName").unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&session_name.len()) || !session_name.chars().all(is_word) {
        return Err(invalid("RoleSessionName must have 2 to 64 of the letters, digits and _+=,.@-"));
    }
    let policy = member(form, "Policy");
    if let Some(policy) = &policy
        && (policy.chars().count() > POLICY_CHARS_MAX
            || !serde_json::from_str::<serde_json::Value>(policy).is_ok_and(|policy| policy.is_object()))
    {
        return Err(refusal(
            "MalformedPolicyDocument",
            "The session policy is no JSON document, or too long",
        ));
    }
    Ok((RoleSession { role_arn, session_name, policy, by_web_identity }, account))
}

fn account_of(role_arn: &str) -> Option<String> {
    let parts: Vec<&str> = role_arn.splitn(6, ':').collect();
    let ["arn", _, "iam", "", account, role] = parts[..] else { return None };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = role.strip_prefix("role/")?;
    (is_account && !name.is_empty()).then(|| account.to_owned())
}

impl Given {
    fn xml(&self) -> String {
        let Self { key, token, account, expires, role } = self;
        let role_id = format!("AROA{}", hex::encode_upper(&Sha256::digest(&role.role_arn)[..8]));
        // Whole seconds, as the service writes them.
        let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!(
            "    <Credentials>\n      <AccessKeyId>{}</AccessKeyId>\n      \
             <SecretAccessKey>{}</SecretAccessKey>\n      <SessionToken>{token}</SessionToken>\n      \
             <Expiration>{expires}</Expiration>\n    </Credentials>\n    <AssumedRoleUser>\n      \
             <Arn>{}</Arn>\n      <AssumedRoleId>{role_id}:{}</AssumedRoleId>\n    </AssumedRoleUser>\n",
            key.id,
            key.secret.expose(),
            escape(&role.arn(account)),
            escape(&role.session_name),
        )
    }
}

fn answer(operation: &str, result: &str, request_id: &str) -> String {
    format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\">\n  <{operation}Result>\n{result}  </{operation}Result>\n  \
         <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n\
         </{operation}Response>\n",
    )
}

fn invalid(message: &str) -> ServiceError {
    refusal("ValidationError", message)
}

fn refusal(code: &'static str, message: &str) -> ServiceError {
    ServiceError::authentication(StatusCode::BAD_REQUEST, code, message)
}

/// A refusal.
pub fn error(code: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    \
         <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
         <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n",
        escape(message),
    )
}

/// The code that STS has for an error that a fault orders.
pub fn code(code: &'static str) -> &'static str {
    match code {
        "AccessDeniedException" => "AccessDenied",
        "ExpiredTokenException" => "ExpiredToken",
        "ClientLimitExceededException" => "Throttling",
        code => code,
    }
}

/// The code that STS has for a caller who is not believed.
pub fn auth_code(error: &AuthError) -> &'static str {
    match error {
        AuthError::Missing => "MissingAuthenticationToken",
        AuthError::Incomplete(_) => "IncompleteSignature",
        AuthError::UnknownKey => "InvalidClientTokenId",
        AuthError::ExpiredKey => "ExpiredToken",
        AuthError::Denied => "AccessDenied",
        AuthError::WrongService(_) | AuthError::Clock { .. } | AuthError::Mismatch => "SignatureDoesNotMatch",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
