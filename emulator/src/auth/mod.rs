//! Who calls: Signature Version 4 against a list of known keys.

mod credentials;
mod revoked;
mod sigv4;

pub use credentials::{Credentials, CredentialsError, Key, RoleSession};
pub use revoked::{Revocation, Revoked};
pub use sigv4::{AuthError, SignedRequest, claim, verify};

/// What an access key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account of the key.
    pub account: String,
    /// The user name of the key.
    pub user: String,
    /// The access key id; not a secret.
    pub access_key_id: String,
    /// The region of the credential scope.
    pub region: String,
    /// The ARN of a role's session, of a temporary key.
    pub session_arn: Option<String>,
}

impl RoleSession {
    /// The ARN that the session has as a caller.
    pub fn arn(&self, account: &str) -> String {
        let role = self.role_arn.rsplit('/').next().unwrap_or_default();
        format!("arn:aws:sts::{account}:assumed-role/{role}/{}", self.session_name)
    }
}

impl Caller {
    /// The ARN that `GetCallerIdentity` tells.
    pub fn arn(&self) -> String {
        let user = || format!("arn:aws:iam::{}:user/{}", self.account, self.user);
        self.session_arn.clone().unwrap_or_else(user)
    }
}
