//! Who calls: Signature Version 4 against a list of known keys.

mod credentials;
mod sigv4;

pub use credentials::{Credentials, CredentialsError};
pub use sigv4::{AuthError, SignedRequest, verify};

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
}

impl Caller {
    /// The ARN that `GetCallerIdentity` tells.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account, self.user)
    }
}
