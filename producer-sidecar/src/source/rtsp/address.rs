//! Where an RTSP server is, by its URL.

use std::fmt;

use streamfleet_contract::SourceReason;
use url::Url;

use crate::source::SourceError;

/// RFC 2326 §3.2; RFC 7826 §4.2.
const PORT: u16 = 554;
const TLS_PORT: u16 = 322;

/// A server, and what to ask it for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name or an address, an IPv6 one without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// The URL as requests name it: without user name and password.
    pub(super) url: String,
}

impl fmt::Debug for Address {
    /// Without path and query: some cameras take passwords there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}:{})", self.host, self.port)
    }
}

impl Address {
    /// Reads an `rtsp` or `rtsps` URL.
    pub(super) fn parse(url: &str) -> Result<Self, SourceError> {
        let refused = |message: String| SourceError::new(SourceReason::Refused, message);
        // The parser's error does not quote its input.
        let mut url =
            Url::parse(url).map_err(|error| refused(format!("the camera's URL is invalid: {error}")))?;
        let tls = match url.scheme() {
            "rtsp" => false,
            "rtsps" => true,
            _ => {
                return Err(refused(
                    "the camera's URL begins neither with rtsp:// nor with rtsps://".to_owned(),
                ));
            }
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| SourceError::new(SourceReason::HostNotFound, "the camera's URL names no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap_or(if tls { TLS_PORT } else { PORT });
        // Fails only for URLs that can have neither.
        _ = url.set_username("");
        _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Self { host, port, tls, url: url.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_scheme_s_own_and_user_information_is_left_out() {
        let plain = Address::parse("rtsp://admin:hunter2@door.example/live?channel=1&a=b").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.tls), ("door.example", 554, false));
        assert_eq!(plain.url, "rtsp://door.example/live?channel=1&a=b");
        let secure = Address::parse("rtsps://[::1]/x").unwrap();
        assert_eq!((secure.host.as_str(), secure.port, secure.tls), ("::1", 322, true));
        assert_eq!(Address::parse("rtsps://[::1]:8554/x").unwrap().port, 8554);
        assert!(!format!("{plain:?}").contains("channel"));
    }

    #[test]
    fn other_urls_are_refused() {
        for (url, reason) in [
            ("http://h/x", SourceReason::Refused),
            ("door", SourceReason::Refused),
            ("rtsp:///x", SourceReason::HostNotFound),
        ] {
            assert_eq!(Address::parse(url).unwrap_err().reason, reason, "{url}");
        }
    }
}
