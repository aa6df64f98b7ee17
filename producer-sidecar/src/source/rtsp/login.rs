//! Answers to a server that asks who is there: basic and digest (RFC 7617, RFC 7616), by `http-auth`.

use std::fmt;

use http_auth::{PasswordClient, PasswordParams};
use streamfleet_contract::SourceReason;
use streamfleet_media::rtp::message::Message;

use crate::source::SourceError;
use crate::source::credentials::Credentials;

/// How often one request may be challenged: once for want of an answer, and again where the answer has become stale.
const CHALLENGES_MAX: u32 = 3;

/// The user's name and password, and how the server wants to have them.
pub(super) struct Login {
    credentials: Option<Credentials>,
    client: Option<PasswordClient>,
    /// The password may be sent as it is.
    allows_basic: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(not shown)")
    }
}

impl Login {
    /// A login that no server has asked for yet.
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, client: None, allows_basic: true }
    }

    /// The same at another server. It may learn that we know the password, but not the password.
    pub(super) fn elsewhere(self) -> Self {
        Self { client: None, allows_basic: false, ..self }
    }

    /// The `Authorization` header of a request, once the server has asked.
    pub(super) fn authorization(&mut self, method: &str, uri: &str) -> Option<String> {
        let Credentials { username, password } = self.credentials.as_ref()?;
        let parameters = PasswordParams { username, password, uri, method, body: Some(&[]) };
        self.client.as_mut()?.respond(&parameters).ok()
    }

    /// Takes the server's question in. Fails where there is no answer, or the one that was given is wrong; `before` says
    /// how often this request was challenged before.
    pub(super) fn challenged(&mut self, answer: &Message, before: u32) -> Result<(), SourceError> {
        if self.credentials.is_none() {
            return Err(refused("the camera asks for a user name and password, and none are configured"));
        }
        let list: Vec<&str> = answer.headers("WWW-Authenticate").collect();
        let mut builder = PasswordClient::builder();
        for challenges in list {
            builder = builder.challenges(challenges);
        }
        // The text of its error quotes what the camera sent.
        let client = builder
            .build()
            .map_err(|_| refused("the camera asks for a kind of login that is not carried"))?;
        let is_stale = matches!(&client, PasswordClient::Digest(digest) if digest.stale());
        if before >= CHALLENGES_MAX || before > 0 && !is_stale {
            return Err(refused("the camera refuses the user name or password"));
        }
        if !self.allows_basic && matches!(client, PasswordClient::Basic(_)) {
            return Err(refused("the server that the camera names would get the password in the clear"));
        }
        self.client = Some(client);
        Ok(())
    }
}

fn refused(message: &str) -> SourceError {
    SourceError::new(SourceReason::AuthenticationFailed, message)
}
