//! Packets of a transport stream (ISO/IEC 13818-1 §2.4.3).

/// Bytes in a packet.
pub(super) const PACKET: usize = 188;

/// What each packet begins with.
pub(super) const SYNC: u8 = 0x47;

/// A packet, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// Which stream it belongs to.
    pub(super) pid: u16,
    /// A section or a PES packet begins in it.
    pub(super) starts: bool,
    /// Counts the packets of a stream that have a payload.
    pub(super) continuity: u8,
    /// The count may jump here.
    pub(super) discontinuity: bool,
    /// Its payload is encrypted.
    pub(super) scrambled: bool,
    /// Empty where it has none.
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; `None` where it is marked as damaged or breaks the format.
    pub(super) fn parse(bytes: &'a [u8; PACKET]) -> Option<Self> {
        let [sync, first, second, third, rest @ ..] = bytes;
        // transport_error_indicator
        if *sync != SYNC || first & 0x80 != 0 {
            return None;
        }
        let (has_field, has_payload) = (third & 0x20 != 0, third & 0x10 != 0);
        let (field, behind): (&[u8], &[u8]) = if has_field {
            let (length, rest) = rest.split_first()?;
            rest.split_at_checked(usize::from(*length))?
        } else {
            (&[], rest)
        };
        Some(Self {
            pid: u16::from(first & 0x1F) << 8 | u16::from(*second),
            starts: first & 0x40 != 0,
            continuity: third & 0x0F,
            discontinuity: field.first().is_some_and(|flags| flags & 0x80 != 0),
            scrambled: third & 0xC0 != 0,
            payload: if has_payload { behind } else { &[] },
        })
    }
}

/// Follows the count of one stream.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    last: Option<u8>,
}

/// What a packet's count says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It follows the one before; so many are missing in between, at least.
    Next(u32),
    /// It is the one before again.
    Repeated,
}

impl Continuity {
    /// Judges a packet with a payload (§2.4.3.3).
    pub(super) fn next(&mut self, packet: &Packet<'_>) -> Order {
        let count = packet.continuity;
        let Some(last) = self.last.replace(count) else { return Order::Next(0) };
        if packet.discontinuity {
            return Order::Next(0);
        }
        if count == last {
            return Order::Repeated;
        }
        Order::Next(u32::from(count.wrapping_sub(last + 1) & 0x0F))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(head: [u8; 4], body: &[u8]) -> [u8; PACKET] {
        let mut bytes = [0xFF; PACKET];
        bytes[..4].copy_from_slice(&head);
        bytes[4..4 + body.len()].copy_from_slice(body);
        bytes
    }

    #[test]
    fn heads_are_taken_apart() {
        let bytes = packet([0x47, 0x41, 0x02, 0x1A], &[]);
        let found = Packet::parse(&bytes).unwrap();
        assert_eq!((found.pid, found.starts, found.continuity, found.payload.len()), (0x102, true, 10, 184));
        let bytes = packet([0x47, 0x01, 0x02, 0x30], &[2, 0x80, 0]);
        let found = Packet::parse(&bytes).unwrap();
        assert_eq!((found.discontinuity, found.starts, found.payload.len()), (true, false, 181));
        let bytes = packet([0x47, 0x01, 0x02, 0x20], &[183, 0]);
        assert!(Packet::parse(&bytes).unwrap().payload.is_empty());
    }

    #[test]
    fn damaged_packets_are_none() {
        for (head, body) in [
            ([0x48, 0x01, 0x02, 0x10], &[][..]),
            ([0x47, 0x81, 0x02, 0x10], &[]),
            ([0x47, 0x01, 0x02, 0x30], &[184]),
        ] {
            assert_eq!(Packet::parse(&packet(head, body)), None, "{head:?}");
        }
    }

    #[test]
    fn missing_packets_are_counted_and_repeated_ones_known() {
        let mut continuity = Continuity::default();
        let mut next = |count: u8, discontinuity: bool| {
            let payload = &[][..];
            let packet =
                Packet { pid: 1, starts: false, continuity: count, discontinuity, scrambled: false, payload };
            continuity.next(&packet)
        };
        let orders =
            [next(14, false), next(15, false), next(0, false), next(0, false), next(3, false), next(9, true)];
        assert_eq!(
            orders,
            [Order::Next(0), Order::Next(0), Order::Next(0), Order::Repeated, Order::Next(2), Order::Next(0)]
        );
    }
}
