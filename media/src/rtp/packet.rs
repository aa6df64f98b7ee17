//! The RTP packet (RFC 3550 §5.1).

/// An RTP packet, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Ends a picture, or begins a talk spurt; what it means is the payload format's.
    pub marker: bool,
    /// What the payload is, by the SDP.
    pub payload_type: u8,
    /// Counts packets; wraps.
    pub sequence: u16,
    /// The media clock; wraps.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; `None` where it is no RTP of version 2, or is cut short.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let sources = usize::from(head[0] & 0x0F) * 4;
        let mut payload = rest.get(sources..)?;
        if head[0] & 0x10 != 0 {
            // An extension: a profile, the length in words, and so many words (§5.3.1).
            let (extension, behind) = payload.split_first_chunk::<4>()?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            payload = behind.get(words * 4..)?;
        }
        if head[0] & 0x20 != 0 {
            // The last byte says how many bytes are padding, itself among them.
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Self {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7F,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 12] = [0x80, 0xE0, 0x12, 0x34, 0, 0, 0, 90, 0xCA, 0xFE, 0, 1];

    fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        bytes[0] = 0x80 | flags;
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn a_plain_packet_is_read() {
        let bytes = packet(0, b"xyz");
        let read = Packet::parse(&bytes).unwrap();
        let expected = Packet {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 90,
            ssrc: 0xCAFE_0001,
            payload: b"xyz",
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn sources_extension_and_padding_are_not_payload() {
        let mut rest = vec![1; 8];
        rest.extend_from_slice(&[0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        rest.extend_from_slice(b"xyz\0\0\x03");
        assert_eq!(Packet::parse(&packet(0x32, &rest)).unwrap().payload, b"xyz");
    }

    #[test]
    fn cut_packets_and_other_versions_are_none() {
        for (flags, rest) in
            [(0x01, &b"abc"[..]), (0x10, b"\0\0\0\x02abcd"), (0x10, b"ab"), (0x20, b"ab\x09"), (0x20, b"")]
        {
            assert_eq!(Packet::parse(&packet(flags, rest)), None, "{flags:x} {rest:?}");
        }
        assert_eq!(Packet::parse(&HEAD[..11]), None);
        assert_eq!(Packet::parse(&[0x40; 20]), None);
    }
}
