//! Puts datagrams back into order: those that come early wait a little for those that are late.

use std::collections::VecDeque;
use std::time::Duration;

/// How many packets wait at most: a fifth of a second of 4 Mbit/s, 64 × 1,500 bytes.
pub const HELD_MAX: u16 = 64;

/// How long a missing packet is waited for: longer than networks of one site turn packets round, shorter than a picture's
/// way to the store may take.
pub const WAIT: Duration = Duration::from_millis(40);

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Its turn has come. Those behind it may be due as well.
    Now,
    /// It was taken to wait.
    Waits,
    /// It has come before, or too late.
    Old,
    /// It is far from all others: what waits is due first ([`Reorder::drain`]), then this.
    Far,
}

/// Packets that came early, with what the caller notes of each.
#[derive(Debug)]
pub struct Reorder<T> {
    next: Option<u16>,
    /// The packet with number `next + index`; the first is missing while anything waits.
    waiting: VecDeque<Option<(Vec<u8>, T)>>,
    since: Option<Duration>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { next: None, waiting: VecDeque::new(), since: None }
    }
}

impl<T> Reorder<T> {
    /// Judges a packet that came at `at` of any steady clock. Copies it if it has to wait.
    pub fn take(&mut self, sequence: u16, packet: &[u8], note: T, at: Duration) -> Order {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next);
        if ahead == 0 {
            self.next = Some(next.wrapping_add(1));
            self.waiting.pop_front();
            return Order::Now;
        }
        if ahead > u16::MAX - HELD_MAX {
            return Order::Old;
        }
        if ahead >= HELD_MAX {
            return Order::Far;
        }
        let index = usize::from(ahead);
        while self.waiting.len() <= index {
            self.waiting.push_back(None);
        }
        if self.waiting[index].is_some() {
            return Order::Old;
        }
        self.waiting[index] = Some((packet.to_vec(), note));
        self.since.get_or_insert(at);
        Order::Waits
    }

    /// The next packet whose turn has come, or that has waited for the one before it long enough.
    pub fn pop(&mut self, at: Duration) -> Option<(Vec<u8>, T)> {
        if self.since.is_some_and(|since| at >= since + WAIT) {
            self.skip_missing();
        }
        let first = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next = self.next.map(|next| next.wrapping_add(1));
        // What is missing behind it is waited for anew.
        self.since = (!self.waiting.is_empty()).then_some(at);
        Some(first)
    }

    /// All that waits, whatever is missing; the order begins anew.
    pub fn drain(&mut self) -> impl Iterator<Item = (Vec<u8>, T)> {
        self.next = None;
        self.since = None;
        std::mem::take(&mut self.waiting).into_iter().flatten()
    }

    /// When [`Reorder::pop`] gives up what is missing.
    pub fn wake_at(&self) -> Option<Duration> {
        self.since.map(|since| since + WAIT)
    }

    fn skip_missing(&mut self) {
        while matches!(self.waiting.front(), Some(None)) {
            self.waiting.pop_front();
            self.next = self.next.map(|next| next.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(9);

    /// Gives the numbers in the order in which they come out.
    fn ordered(numbers: &[u16]) -> Vec<u16> {
        let mut reorder = Reorder::default();
        let mut out = Vec::new();
        for number in numbers {
            match reorder.take(*number, &number.to_be_bytes(), (), START) {
                Order::Now => out.push(*number),
                Order::Far => {
                    out.extend(
                        reorder.drain().map(|(packet, ())| u16::from_be_bytes([packet[0], packet[1]])),
                    );
                    assert_eq!(reorder.take(*number, &[], (), START), Order::Now);
                    out.push(*number);
                }
                Order::Waits | Order::Old => {}
            }
            while let Some((packet, ())) = reorder.pop(START) {
                out.push(u16::from_be_bytes([packet[0], packet[1]]));
            }
        }
        out
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        assert_eq!(ordered(&[65_534, 0, 65_535, 1, 1, 3, 2, 3, 4]), [65_534, 65_535, 0, 1, 2, 3, 4]);
        assert_eq!(ordered(&[5, 4, 6]), [5, 6], "what is older than the first is too late");
    }

    #[test]
    fn a_far_packet_lets_those_go_that_wait() {
        assert_eq!(ordered(&[1, 3, 4, 500, 501]), [1, 3, 4, 500, 501]);
    }

    #[test]
    fn a_missing_packet_is_waited_for_and_then_given_up() {
        let mut reorder = Reorder::default();
        assert_eq!(reorder.take(1, b"1", 'a', START), Order::Now);
        assert_eq!(reorder.wake_at(), None);
        assert_eq!(reorder.take(3, b"3", 'c', START), Order::Waits);
        assert_eq!(reorder.take(6, b"6", 'f', START + WAIT / 2), Order::Waits);
        assert_eq!(reorder.pop(START + WAIT / 2), None);
        assert_eq!(reorder.wake_at(), Some(START + WAIT));
        assert_eq!(reorder.pop(START + WAIT), Some((b"3".to_vec(), 'c')));
        assert_eq!(reorder.pop(START + WAIT), None, "4 and 5 may come yet");
        assert_eq!(reorder.pop(START + 2 * WAIT), Some((b"6".to_vec(), 'f')));
        assert_eq!((reorder.take(2, b"2", 'b', START), reorder.wake_at()), (Order::Old, None));
    }
}
