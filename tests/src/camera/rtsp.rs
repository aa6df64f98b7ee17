//! RTSP messages (RFC 2326): requests from bytes, responses to bytes.

use std::fmt::Write as _;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

/// More than any client sends as a request's head.
const HEAD_MAX: usize = 16 << 10;

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A request.
    Request(Request),
    /// An interleaved packet, such as a receiver report. It shows that the client lives; nothing else is made of it.
    Packet,
}

/// A request without its body, which no method that we serve needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// In capitals, as sent.
    pub(super) method: String,
    /// The request's URI, or `*`.
    pub(super) uri: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A header's value by its name in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The client does not speak RTSP.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not an RTSP request: {0}")]
pub(super) struct Malformed(&'static str);

/// Takes the next whole message out of `buffer`; none when more bytes are needed.
pub(super) fn take_message(buffer: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
    // Some clients put an empty line between requests, as HTTP servers are to allow (RFC 2616 §4.1).
    while buffer.first().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        buffer.advance(1);
    }
    if buffer.first() == Some(&b'$') {
        let Some(length) =
            buffer.get(2..4).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
        else {
            return Ok(None);
        };
        if buffer.len() < 4 + length {
            return Ok(None);
        }
        buffer.advance(4 + length);
        return Ok(Some(Incoming::Packet));
    }
    let Some(head_length) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if buffer.len() > HEAD_MAX { Err(Malformed("its head is too long")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&buffer[..head_length]).map_err(|_| Malformed("its head is not text"))?;
    let request = parse_head(head)?;
    let body_length: usize = match request.header("Content-Length") {
        Some(value) => value.parse().map_err(|_| Malformed("its length is not a number"))?,
        None => 0,
    };
    if body_length > HEAD_MAX {
        return Err(Malformed("its body is too long"));
    }
    if buffer.len() < head_length + 4 + body_length {
        return Ok(None);
    }
    buffer.advance(head_length + 4 + body_length);
    Ok(Some(Incoming::Request(request)))
}

fn parse_head(head: &str) -> Result<Request, Malformed> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(uri), Some("RTSP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed("its first line is not METHOD URI RTSP/1.0"));
    };
    let headers = lines
        .map(|line| {
            line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()
        .ok_or(Malformed("a header has no colon"))?;
    Ok(Request { method: method.to_owned(), uri: uri.to_owned(), headers })
}

/// The statuses that a camera answers with (RFC 2326 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    SessionNotFound,
    MethodNotValidInThisState,
    UnsupportedTransport,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::Unauthorized => "401 Unauthorized",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::SessionNotFound => "454 Session Not Found",
            Self::MethodNotValidInThisState => "455 Method Not Valid in This State",
            Self::UnsupportedTransport => "461 Unsupported Transport",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    status: Status,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Response {
    /// An answer without headers and body.
    pub(super) fn new(status: Status) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a body of that type.
    pub(super) fn with_body(mut self, content_type: &'static str, body: String) -> Self {
        self.headers.push(("Content-Type", content_type.to_owned()));
        self.body = body;
        self
    }

    /// The answer to `request`, as it goes over the wire.
    pub(super) fn encode(&self, request: &Request) -> Bytes {
        let mut text = format!("RTSP/1.0 {}\r\n", self.status.line());
        let sequence = request.header("CSeq").unwrap_or("0");
        let own = [("CSeq", sequence), ("Server", "streamfleet-camera")];
        let given = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.into_iter().chain(given) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into()
    }
}

/// The two channels that a `Transport` header asks for (RFC 2326 §12.39); none when it does not ask for RTP over the
/// RTSP connection.
pub(super) fn interleaved_channels(transport: &str) -> Option<(u8, u8)> {
    let choice = transport.split(',').find(|choice| choice.trim().starts_with("RTP/AVP/TCP"))?;
    let channels = choice.split(';').find_map(|part| part.trim().strip_prefix("interleaved="));
    let Some((media, control)) = channels.and_then(|pair| pair.split_once('-')) else { return Some((0, 1)) };
    Some((media.parse().ok()?, control.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_out_whole_one_by_one_with_packets_between_them() {
        let bytes = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x02ab\
            SET_PARAMETER rtsp://h/live RTSP/1.0\r\ncseq:2\r\nContent-Length: 3\r\n\r\nxyzPLAY";
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            seen.extend(take_message(&mut buffer).unwrap());
        }
        assert_eq!(&buffer[..], b"PLAY");
        let [Incoming::Request(first), Incoming::Packet, Incoming::Request(second)] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(
            (first.method.as_str(), first.uri.as_str(), first.header("cseq")),
            ("OPTIONS", "*", Some("1"))
        );
        assert_eq!((second.method.as_str(), second.header("CSeq")), ("SET_PARAMETER", Some("2")));
    }

    #[test]
    fn what_is_not_rtsp_is_refused() {
        for bytes in ["GET / HTTP/1.1\r\n\r\n", "PLAY x RTSP/1.0\r\nno colon\r\n\r\n", "PLAY\r\n\r\n"] {
            assert!(take_message(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
        assert!(take_message(&mut BytesMut::from(vec![b'x'; HEAD_MAX + 1].as_slice())).is_err());
    }

    #[test]
    fn transport_over_the_connection_is_found_among_others() {
        assert_eq!(interleaved_channels("RTP/AVP/TCP;unicast;interleaved=2-3"), Some((2, 3)));
        assert_eq!(interleaved_channels("RTP/AVP;unicast;client_port=1-2, RTP/AVP/TCP"), Some((0, 1)));
        assert_eq!(interleaved_channels("RTP/AVP;unicast;client_port=5000-5001"), None);
        assert_eq!(interleaved_channels("RTP/AVP/TCP;interleaved=300-301"), None);
    }
}
