//! Digest authentication as cameras have it: MD5, no qop (RFC 2617 §3.2; RFC 2326 §14).

use std::fmt;
use std::path::Path;

use md5::{Digest as _, Md5};

const REALM: &str = "streamfleet-camera";

/// What clients must log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password, which may have any character in it but a line's end.
    pub password: String,
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// Reads a file whose first line is the user's name and whose second is the password.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(user), Some(password)) => Ok(Self { user: user.to_owned(), password: password.to_owned() }),
            _ => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "the credentials file must have the user's name in its first line and the password in its second",
            )),
        }
    }

    /// Whether an `Authorization` header proves knowledge of the password, for this method and our `nonce`.
    pub(super) fn admits(&self, authorization: Option<&str>, method: &str, nonce: &str) -> bool {
        let Some(parameters) = authorization.and_then(|header| header.strip_prefix("Digest ")) else {
            return false;
        };
        let parameter = |name| parameter(parameters, name);
        let Some(uri) = parameter("uri") else { return false };
        parameter("username") == Some(&self.user)
            && parameter("nonce") == Some(nonce)
            && parameter("response") == Some(&self.response(method, uri, nonce))
    }

    fn response(&self, method: &str, uri: &str, nonce: &str) -> String {
        let secret = md5_hex(&format!("{}:{REALM}:{}", self.user, self.password));
        let request = md5_hex(&format!("{method}:{uri}"));
        md5_hex(&format!("{secret}:{nonce}:{request}"))
    }
}

/// The `WWW-Authenticate` header that asks for a login.
pub(super) fn challenge(nonce: &str) -> String {
    format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=MD5")
}

/// The value of one parameter, with or without quotes. No value that a client sends back holds a comma or a quote,
/// save a user's name, whose comparison then fails.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(',').find_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

fn md5_hex(text: &str) -> String {
    hex::encode(Md5::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login { user: "viewer".to_owned(), password: "p@ss:w/rd".to_owned() }
    }

    fn authorization(login: &Login, method: &str, nonce: &str) -> String {
        let response = login.response(method, "rtsp://h/live", nonce);
        let user = &login.user;
        format!(
            "Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"rtsp://h/live\", response=\"{response}\""
        )
    }

    #[test]
    fn the_right_password_is_admitted_and_another_is_not() {
        let wrong = Login { password: "p@ss".to_owned(), ..login() };
        assert!(login().admits(Some(&authorization(&login(), "DESCRIBE", "n")), "DESCRIBE", "n"));
        assert!(!login().admits(Some(&authorization(&wrong, "DESCRIBE", "n")), "DESCRIBE", "n"));
        assert!(!login().admits(None, "DESCRIBE", "n"));
    }

    #[test]
    fn an_answer_holds_for_its_method_and_nonce_only() {
        let header = authorization(&login(), "DESCRIBE", "n");
        assert!(!login().admits(Some(&header), "SETUP", "n"));
        assert!(!login().admits(Some(&header), "DESCRIBE", "other"));
    }

    #[test]
    fn the_password_is_not_shown() {
        assert!(!format!("{:?}", login()).contains("p@ss"));
    }
}
