//! Reports beside the media (RFC 3550 §6): what senders say is read, what a receiver says is written.

use super::sequence::Reception;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// What matters of what a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Where its wall clock and its media clock meet.
    SenderReport {
        /// Who sends.
        ssrc: u32,
        /// Seconds since 1900 with a binary fraction.
        ntp: u64,
        /// The same moment on the media clock.
        timestamp: u32,
    },
    /// It stops.
    Bye {
        /// Who.
        ssrc: u32,
    },
}

/// The messages of a compound packet; ends early where the packet is broken.
pub fn messages(mut compound: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        loop {
            let (head, rest) = compound.split_first_chunk::<4>()?;
            if head[0] >> 6 != 2 {
                return None;
            }
            let body = rest.get(..usize::from(u16::from_be_bytes([head[2], head[3]])) * 4)?;
            compound = &rest[body.len()..];
            if let Some(message) = message(head[1], body) {
                return Some(message);
            }
        }
    })
}

fn message(kind: u8, body: &[u8]) -> Option<Message> {
    let word = |index: usize| {
        let bytes = body.get(index * 4..index * 4 + 4)?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    match kind {
        SENDER_REPORT => Some(Message::SenderReport {
            ssrc: word(0)?,
            ntp: u64::from(word(1)?) << 32 | u64::from(word(2)?),
            timestamp: word(3)?,
        }),
        BYE => Some(Message::Bye { ssrc: word(0)? }),
        _ => None,
    }
}

/// A compound packet with a receiver report and the canonical name that must go with it (§6.1). `last_report` has the
/// middle 32 bits of the last sender report's time and how long ago that came, in 1/65,536 s.
pub fn receiver_report(
    own_ssrc: u32,
    reception: Option<Reception>,
    last_report: Option<(u32, u32)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(52);
    let count = u8::from(reception.is_some());
    out.extend_from_slice(&[0x80 | count, RECEIVER_REPORT, 0, 1 + 6 * count]);
    out.extend_from_slice(&own_ssrc.to_be_bytes());
    if let Some(of) = reception {
        let (middle, delay) = last_report.unwrap_or_default();
        let lost = u32::from(of.fraction_lost) << 24 | of.lost as u32 & 0xFF_FFFF;
        for word in [of.ssrc, lost, of.highest, of.jitter, middle, delay] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    // One chunk: a CNAME of eight digits, the end of the list, padded to the word (§6.5).
    out.extend_from_slice(&[0x81, SOURCE_DESCRIPTION, 0, 4]);
    out.extend_from_slice(&own_ssrc.to_be_bytes());
    out.extend_from_slice(&[1, 8]);
    out.extend_from_slice(format!("{own_ssrc:08x}").as_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender report with one report block, a source description, and a goodbye.
    fn compound() -> Vec<u8> {
        let mut bytes = vec![0x81, 200, 0, 12];
        for word in [7_u32, 0xE8F0_0001, 0x8000_0000, 90_000, 100, 200, 1, 2, 3, 4, 5, 6] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(&[0x81, 202, 0, 2, 0, 0, 0, 7, 1, 1, b'x', 0]);
        bytes.extend_from_slice(&[0x81, 203, 0, 1, 0, 0, 0, 7]);
        bytes
    }

    #[test]
    fn senders_are_understood_and_all_else_is_passed_over() {
        let report = Message::SenderReport { ssrc: 7, ntp: 0xE8F0_0001_8000_0000, timestamp: 90_000 };
        let read: Vec<_> = messages(&compound()).collect();
        assert_eq!(read, [report, Message::Bye { ssrc: 7 }]);
    }

    #[test]
    fn broken_compounds_end_early() {
        let whole = compound();
        for end in 0..52 {
            assert_eq!(messages(&whole[..end]).count(), 0, "cut at {end}");
        }
        assert_eq!(messages(&whole[..whole.len() - 1]).count(), 1);
        assert_eq!(messages(&[0x80, 200, 0, 0]).count(), 0, "a report of no words");
        assert_eq!(messages(&[0x00; 64]).count(), 0);
    }

    #[test]
    fn receiver_reports_have_the_form_of_the_standard() {
        let reception = Reception { ssrc: 7, fraction_lost: 3, lost: -2, highest: 65_540, jitter: 9 };
        let bytes = receiver_report(0xABCD_EF01, Some(reception), Some((0x0001_8000, 65_536)));
        assert_eq!(
            hex::encode(&bytes),
            "81c90007abcdef010000000703fffffe0001000400000009000180000001000081ca0004abcdef0101086162636465663031\
             0000"
        );
        assert_eq!(receiver_report(1, None, None)[..8], [0x80, 201, 0, 1, 0, 0, 0, 1]);
        assert!(bytes.len().is_multiple_of(4));
    }
}
