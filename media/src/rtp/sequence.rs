//! Sequence numbers (RFC 3550 §5.1): what is lost, what comes twice, and the figures of a receiver report (§6.4.1).

use std::time::Duration;

use super::packet::Packet;

/// A step forward that is larger than this, or a larger step back, is a sender that has begun anew (RFC 3550 §A.1).
const DROPOUT_MAX: u16 = 3_000;
const MISORDER_MAX: u16 = 100;

/// How a packet follows those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one, after so many that were lost.
    Next {
        /// How many are missing before it.
        lost: u32,
    },
    /// It has come before, or too late.
    Old,
    /// The sender has begun anew: how many are missing nobody knows.
    Restarted,
}

/// What a receiver report says of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reception {
    /// Of whom.
    pub ssrc: u32,
    /// The part that was lost since the last report, of 256.
    pub fraction_lost: u8,
    /// How many were lost since the beginning; negative where some came twice.
    pub lost: i32,
    /// The highest sequence number, with the number of wraps in the upper half.
    pub highest: u32,
    /// How unevenly packets come, in ticks of the media clock.
    pub jitter: u32,
}

/// The order of one sender's packets.
#[derive(Debug, Default)]
pub struct Sequence {
    sender: Option<Sender>,
}

#[derive(Debug)]
struct Sender {
    ssrc: u32,
    first: u32,
    /// With the number of wraps in the upper half.
    highest: u32,
    received: u32,
    /// Expected and received as of the last report.
    reported: (u32, u32),
    jitter: f64,
    transit: Option<f64>,
}

impl Sequence {
    /// Takes note of a packet.
    pub fn take(&mut self, packet: &Packet<'_>) -> Arrival {
        let Some(sender) = self.sender.as_mut().filter(|sender| sender.ssrc == packet.ssrc) else {
            let is_first = self.sender.is_none();
            self.sender = Some(Sender::begin(packet));
            return if is_first { Arrival::Next { lost: 0 } } else { Arrival::Restarted };
        };
        let ahead = packet.sequence.wrapping_sub(sender.highest as u16).wrapping_sub(1);
        if ahead > u16::MAX - MISORDER_MAX {
            sender.received = sender.received.wrapping_add(1);
            return Arrival::Old;
        }
        if ahead > DROPOUT_MAX {
            self.sender = Some(Sender::begin(packet));
            return Arrival::Restarted;
        }
        sender.highest = sender.highest.wrapping_add(u32::from(ahead) + 1);
        sender.received = sender.received.wrapping_add(1);
        Arrival::Next { lost: ahead.into() }
    }

    /// Measures how unevenly packets come (RFC 3550 §A.8): this one at `at` of any steady clock, of a media clock with
    /// `rate` ticks a second.
    pub fn measure(&mut self, packet: &Packet<'_>, at: Duration, rate: u32) {
        let Some(sender) = &mut self.sender else { return };
        let transit = at.as_secs_f64() * f64::from(rate) - f64::from(packet.timestamp);
        if let Some(before) = sender.transit.replace(transit) {
            // A clock that wraps or jumps is no jitter.
            let difference = (transit - before).abs().min(f64::from(rate));
            sender.jitter += (difference - sender.jitter) / 16.0;
        }
    }

    /// The figures for a receiver report; `None` before the first packet. The next one counts from here.
    pub fn reception(&mut self) -> Option<Reception> {
        let sender = self.sender.as_mut()?;
        let expected = sender.highest.wrapping_sub(sender.first).wrapping_add(1);
        let (expected_before, received_before) =
            std::mem::replace(&mut sender.reported, (expected, sender.received));
        let expected_now = expected.wrapping_sub(expected_before);
        let lost_now = expected_now.saturating_sub(sender.received.wrapping_sub(received_before));
        let fraction = (u64::from(lost_now) << 8).checked_div(expected_now.into()).unwrap_or(0);
        Some(Reception {
            ssrc: sender.ssrc,
            fraction_lost: fraction.min(255) as u8,
            // 24 bits with a sign (§6.4.1).
            lost: (expected.wrapping_sub(sender.received) as i32).clamp(-0x80_0000, 0x7F_FFFF),
            highest: sender.highest,
            jitter: sender.jitter as u32,
        })
    }
}

impl Sender {
    fn begin(packet: &Packet<'_>) -> Self {
        let first = u32::from(packet.sequence);
        let Packet { ssrc, .. } = *packet;
        Self { ssrc, first, highest: first, received: 1, reported: (0, 0), jitter: 0.0, transit: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, ssrc: u32) -> Packet<'static> {
        Packet { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc, payload: &[] }
    }

    fn arrivals(numbers: &[u16]) -> Vec<Arrival> {
        let mut sequence = Sequence::default();
        numbers.iter().map(|number| sequence.take(&packet(*number, 1))).collect()
    }

    const NEXT: Arrival = Arrival::Next { lost: 0 };

    #[test]
    fn numbers_wrap_and_what_is_missing_is_counted() {
        assert_eq!(arrivals(&[65_534, 65_535, 0, 3]), [NEXT, NEXT, NEXT, Arrival::Next { lost: 2 }]);
    }

    #[test]
    fn doubles_and_late_ones_are_old_and_far_ones_a_new_beginning() {
        assert_eq!(arrivals(&[10, 10, 9, 11]), [NEXT, Arrival::Old, Arrival::Old, NEXT]);
        assert_eq!(arrivals(&[10, 30_000, 30_001]), [NEXT, Arrival::Restarted, NEXT]);
        assert_eq!(arrivals(&[50_000, 10, 11]), [NEXT, Arrival::Restarted, NEXT]);
        let mut sequence = Sequence::default();
        sequence.take(&packet(7, 1));
        assert_eq!(sequence.take(&packet(8, 2)), Arrival::Restarted, "another sender");
    }

    #[test]
    fn reports_count_from_the_last_one_and_over_wraps() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.reception(), None);
        for number in [65_534, 65_535, 1, 2] {
            sequence.take(&packet(number, 5));
        }
        let report = sequence.reception().unwrap();
        let expected = Reception { ssrc: 5, fraction_lost: 51, lost: 1, highest: 65_536 + 2, jitter: 0 };
        assert_eq!(report, expected);
        sequence.take(&packet(3, 5));
        assert_eq!(sequence.reception().unwrap().fraction_lost, 0);
        assert_eq!(sequence.reception().unwrap().lost, 1, "a report of nothing new");
    }

    #[test]
    fn even_packets_have_no_jitter() {
        let mut sequence = Sequence::default();
        let mut jitter = |late_ms: u64| {
            for n in 0..100_u32 {
                let packet = Packet { timestamp: n * 900, ..packet(n as u16, 1) };
                sequence.take(&packet);
                let late = if n % 2 == 0 { 0 } else { late_ms };
                sequence.measure(&packet, Duration::from_millis(u64::from(n) * 10 + late), 90_000);
            }
            let jitter = sequence.reception().unwrap().jitter;
            sequence = Sequence::default();
            jitter
        };
        assert_eq!(jitter(0), 0);
        assert!((400..=450).contains(&jitter(5)), "5 ms are 450 ticks");
    }
}
