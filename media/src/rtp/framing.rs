//! What an RTSP server sends over its connection: messages, and between them packets (RFC 2326 §10.12), in place.

use super::message::{Message, MessageError};

/// How many stray bytes may come in one row before the connection is given up.
const STRAY_MAX: usize = 64 << 10;

/// No item is longer: a buffer of this size can always be emptied.
pub const ITEM_BYTES_MAX: usize = PREFIX + u16::MAX as usize;

/// The bytes before a packet: `$`, its channel, its length.
const PREFIX: usize = 4;

/// The longest prefix of a packet or message that must be there to know it as one.
const LOOK_AHEAD: usize = 16;

/// Methods that a server may ask a client with.
const METHODS: [&[u8]; 6] =
    [b"OPTIONS ", b"GET_PARAMETER ", b"SET_PARAMETER ", b"ANNOUNCE ", b"REDIRECT ", b"TEARDOWN "];

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A packet on a channel.
    Packet {
        /// The channel.
        channel: u8,
        /// The packet.
        bytes: &'a [u8],
    },
    /// A message.
    Message(Message),
    /// Bytes that are neither: some cameras send some between packets.
    Stray,
}

/// The server does not speak RTSP, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Too many bytes are neither messages nor packets.
    #[error("more than {STRAY_MAX} bytes are neither RTSP nor RTP")]
    Stray,
    /// A message is broken.
    #[error("an RTSP message is broken: {0}")]
    Message(#[from] MessageError),
}

/// Cuts a connection's bytes into messages and packets.
#[derive(Debug)]
pub struct Framing {
    /// The channels that packets are expected on.
    known: [bool; 256],
    /// How many stray bytes came since the last thing that was none.
    stray: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self { known: [false; 256], stray: 0 }
    }
}

impl Framing {
    /// Expects packets on a channel.
    pub fn expect(&mut self, channel: u8) {
        self.known[usize::from(channel)] = true;
    }

    /// What `bytes` begins with, and how long that is; `None` while it is not whole.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Item<'a>, usize)>, FramingError> {
        let Some(first) = bytes.first() else { return Ok(None) };
        match first {
            // Empty lines between messages.
            b'\r' | b'\n' => Ok(Some((Item::Stray, 1))),
            b'$' => self.packet(bytes),
            _ if bytes.starts_with(b"RTSP/") || METHODS.iter().any(|method| bytes.starts_with(method)) => {
                let message = Message::parse(bytes)?;
                if message.is_some() {
                    self.stray = 0;
                }
                Ok(message.map(|(message, length)| (Item::Message(message), length)))
            }
            _ if may_become_message(bytes) => Ok(None),
            _ => self.stray(bytes).map(Some),
        }
    }

    fn packet<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Item<'a>, usize)>, FramingError> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
        // A dollar sign among stray bytes is most likely one of them.
        if self.stray > 0 && !self.is_likely_packet(bytes) {
            return if bytes.len() > PREFIX { self.stray(bytes).map(Some) } else { Ok(None) };
        }
        let length = usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
        let Some(packet) = rest.get(..length) else { return Ok(None) };
        self.stray = 0;
        Ok(Some((Item::Packet { channel: prefix[1], bytes: packet }, PREFIX + length)))
    }

    /// Whether these bytes begin with a packet on a known channel, of RTP's or RTCP's only version.
    fn is_likely_packet(&self, bytes: &[u8]) -> bool {
        matches!(bytes, [b'$', channel, _, _, head, ..] if self.known[usize::from(*channel)] && head >> 6 == 2)
    }

    /// Passes over what is neither message nor packet, up to where one may begin.
    fn stray<'a>(&mut self, bytes: &[u8]) -> Result<(Item<'a>, usize), FramingError> {
        let may_begin = |at: &usize| {
            let rest = &bytes[*at..];
            let is_short = rest.len() <= PREFIX && rest[0] == b'$';
            is_short
                || self.is_likely_packet(rest)
                || rest.starts_with(b"RTSP/1.")
                || b"RTSP/1.".starts_with(rest)
        };
        let length = (1..bytes.len()).find(may_begin).unwrap_or(bytes.len());
        self.stray += length;
        if self.stray > STRAY_MAX { Err(FramingError::Stray) } else { Ok((Item::Stray, length)) }
    }
}

/// Whether more bytes are needed to know whether a message begins here.
fn may_become_message(bytes: &[u8]) -> bool {
    bytes.len() < LOOK_AHEAD
        && (b"RTSP/".starts_with(bytes) || METHODS.iter().any(|method| method.starts_with(bytes)))
}

/// A packet as a client sends it over the connection.
pub fn interleaved(channel: u8, packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + packet.len());
    out.extend_from_slice(&[b'$', channel]);
    out.extend_from_slice(&(packet.len() as u16).to_be_bytes());
    out.extend_from_slice(packet);
    out
}

#[cfg(test)]
mod tests {
    use super::super::message::Kind;
    use super::*;

    /// What comes out when the bytes come in pieces of this size.
    fn items(bytes: &[u8], piece: usize) -> Result<Vec<String>, FramingError> {
        let mut framing = Framing::default();
        framing.expect(0);
        framing.expect(1);
        let mut buffer = Vec::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some((item, length)) = framing.next(&buffer)? {
                match item {
                    Item::Packet { channel, bytes } => out.push(format!("{channel}:{}", bytes.len())),
                    Item::Message(Message { kind: Kind::Response(status), .. }) => {
                        out.push(status.to_string());
                    }
                    Item::Message(Message { kind: Kind::Request(method), .. }) => out.push(method),
                    Item::Stray => {}
                }
                buffer.drain(..length);
            }
        }
        assert!(buffer.is_empty(), "{buffer:?}");
        Ok(out)
    }

    #[test]
    fn packets_answers_and_requests_come_out_in_order() {
        let mut bytes = interleaved(0, b"\x80abc");
        bytes.extend_from_slice(b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n$\0\0\x01x");
        bytes.extend_from_slice(&interleaved(9, b"unknown"));
        bytes.extend_from_slice(b"\r\nOPTIONS * RTSP/1.0\r\n\r\n");
        bytes.extend_from_slice(&interleaved(1, b""));
        for piece in 1..bytes.len() {
            assert_eq!(items(&bytes, piece).unwrap(), ["0:4", "200", "9:7", "OPTIONS", "1:0"], "{piece}");
        }
    }

    #[test]
    fn stray_bytes_are_passed_over_up_to_the_next_packet_or_answer() {
        let mut bytes = b"some $ noise $\0\0\0\x01 and $\x07\0\x04".to_vec();
        bytes.extend_from_slice(&interleaved(0, b"\x80abc"));
        bytes.extend_from_slice(b"RTXRTSP/1.0 404 Not Found\r\n\r\n");
        for piece in 1..bytes.len() {
            assert_eq!(items(&bytes, piece).unwrap(), ["0:4", "404"], "{piece}");
        }
    }

    #[test]
    fn too_many_stray_bytes_end_the_connection() {
        for noise in [vec![b'x'; STRAY_MAX + 1], vec![b'R'; STRAY_MAX + 1_000]] {
            assert_eq!(items(&noise, 1_000), Err(FramingError::Stray));
        }
        assert!(items(&vec![b'x'; STRAY_MAX], 1_000).unwrap().is_empty());
    }
}
