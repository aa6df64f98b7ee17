//! RTSP messages (RFC 2326) as servers send them.
//!
//! Read leniently, since that is how cameras write: lines that end in a bare line feed, no reason phrase, headers
//! without a colon, text that is not UTF-8. The crate `rtsp-types` refuses all of these, and gives URLs back other than
//! they came; so this is our own.

/// The longest head of a message, and the longest body: more than any description has. Together with a packet's prefix
/// they are no longer than the longest packet, so that one buffer has room for either.
const HEAD_MAX: usize = 15 << 10;
const BODY_MAX: usize = 48 << 10;

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind of message it is.
    pub kind: Kind,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Kinds of message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An answer, with its status.
    Response(u16),
    /// The server wants something, which is the method.
    Request(String),
}

/// It is no RTSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The first line is neither a status line nor a request.
    #[error("its first line is not RTSP")]
    FirstLine,
    /// The head does not end.
    #[error("its head is longer than {HEAD_MAX} bytes")]
    LongHead,
    /// The body is too long.
    #[error("its body is longer than {BODY_MAX} bytes")]
    LongBody,
}

impl Message {
    /// Reads the message that `bytes` begins with, and says how long it is; `None` while it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, MessageError> {
        let Some((head_end, body_start)) = head_end(bytes) else {
            return if bytes.len() > HEAD_MAX { Err(MessageError::LongHead) } else { Ok(None) };
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]);
        let mut lines = head.lines();
        let kind = Kind::parse(lines.next().unwrap_or_default()).ok_or(MessageError::FirstLine)?;
        let mut message = Self { kind, headers: headers(lines), body: Vec::new() };
        let length = message.header("Content-Length").and_then(|value| value.parse().ok()).unwrap_or(0);
        if length > BODY_MAX {
            return Err(MessageError::LongBody);
        }
        let Some(body) = bytes.get(body_start..body_start + length) else { return Ok(None) };
        message.body = body.to_vec();
        Ok(Some((message, body_start + length)))
    }

    /// A header's value by its name, in any case.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// All values of a header that may come more than once.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// The sequence number of the request that it answers, or of itself.
    pub fn sequence(&self) -> Option<u32> {
        self.header("CSeq")?.parse().ok()
    }
}

impl Kind {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        if first.starts_with("RTSP/") {
            let status = words.next()?.parse().ok().filter(|status| (100..1000).contains(status))?;
            return Some(Self::Response(status));
        }
        let version = words.nth(1)?;
        let is_method = first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        (is_method && version.starts_with("RTSP/")).then(|| Self::Request(first.to_owned()))
    }
}

/// Where the head ends and where the body starts: after an empty line.
fn head_end(bytes: &[u8]) -> Option<(usize, usize)> {
    let searched = &bytes[..bytes.len().min(HEAD_MAX + 4)];
    let feeds = searched.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut ends = feeds.filter_map(|at| match searched[at + 1..] {
        [b'\n', ..] => Some((at, at + 2)),
        [b'\r', b'\n', ..] => Some((at, at + 3)),
        _ => None,
    });
    ends.next()
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        // A line that begins with space goes on the one before it (RFC 2326 §15.1, RFC 2616 §2.2).
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let text =
            b"RTSP/1.0 200 OK\r\nCSeq: 7 \r\nContent-length:3\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\
            www-authenticate: Digest realm=\"b\",\r\n nonce=\"c\"\r\n\r\nabcREST";
        let (message, length) = Message::parse(text).unwrap().unwrap();
        assert_eq!((message.kind.clone(), message.sequence()), (Kind::Response(200), Some(7)));
        let challenges: Vec<_> = message.headers("WWW-Authenticate").collect();
        assert_eq!(challenges, ["Basic realm=\"a\"", "Digest realm=\"b\", nonce=\"c\""]);
        assert_eq!((&message.body[..], &text[length..]), (&b"abc"[..], &b"REST"[..]));
        for end in 0..length {
            assert_eq!(Message::parse(&text[..end]), Ok(None), "cut at {end}");
        }
    }

    #[test]
    fn what_cameras_write_against_the_standard_is_read() {
        let (message, length) =
            Message::parse(b"RTSP/1.0 454\nSession\nCSeq:1\nServer: \xE9\n\nx").unwrap().unwrap();
        assert_eq!((message.kind.clone(), message.sequence(), length), (Kind::Response(454), Some(1), 39));
        let (message, _) = Message::parse(b"SET_PARAMETER rtsp://h/x RTSP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!(message.kind, Kind::Request("SET_PARAMETER".to_owned()));
    }

    #[test]
    fn what_is_no_rtsp_or_too_long_is_refused() {
        for text in ["HTTP/1.1 200 OK\r\n\r\n", "RTSP/1.0 abc\r\n\r\n", "RTSP/1.0\r\n\r\n", "\r\n\r\n"] {
            assert_eq!(Message::parse(text.as_bytes()), Err(MessageError::FirstLine), "{text:?}");
        }
        assert_eq!(Message::parse(&vec![b'x'; HEAD_MAX + 1]), Err(MessageError::LongHead));
        let long = b"RTSP/1.0 200 OK\r\nContent-Length: 999999\r\n\r\n";
        assert_eq!(Message::parse(long), Err(MessageError::LongBody));
        let endless = b"RTSP/1.0 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n";
        assert!(Message::parse(endless).unwrap().is_some(), "a length that is no number counts as none");
    }
}
