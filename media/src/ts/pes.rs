//! Packets of elementary streams (ISO/IEC 13818-1 §2.4.3.6), and their times.

/// Bytes before the optional ones: start code, stream, length, flags, and how many optional ones follow.
const HEAD: usize = 9;

/// How much of a PES packet's head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Too little to say.
    More,
    /// It is no PES packet of an elementary stream.
    Invalid,
    /// It takes so many bytes, and has this presentation time.
    Whole { bytes: usize, time: Option<u64> },
}

/// Reads the head of a PES packet.
pub(super) fn head(bytes: &[u8]) -> Head {
    let start = &bytes[..bytes.len().min(3)];
    if start != &[0, 0, 1][..start.len()] {
        return Head::Invalid;
    }
    let Some(head) = bytes.get(..HEAD) else { return Head::More };
    // The marker bits of the form that all but padding and a few private streams have.
    if head[6] & 0xC0 != 0x80 {
        return Head::Invalid;
    }
    let length = HEAD + usize::from(head[8]);
    let Some(optional) = bytes.get(HEAD..length) else { return Head::More };
    let has_time = head[7] & 0x80 != 0;
    Head::Whole { bytes: length, time: optional.first_chunk().filter(|_| has_time).copied().map(time) }
}

/// Thirty-three bits, with a marker behind each part of them.
fn time(field: [u8; 5]) -> u64 {
    let [first, second, third, fourth, fifth] = field.map(u64::from);
    (first >> 1 & 7) << 30 | second << 22 | (third >> 1) << 15 | fourth << 7 | fifth >> 1
}

/// Bits of a time.
const TIME_BITS: u32 = 33;

/// Turns times that wrap after 26 hours into ticks that do not, counted from the first.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<(u64, i64)>,
}

impl Clock {
    /// Ticks of this time: what is nearest to the time before.
    pub(super) fn ticks(&mut self, time: u64) -> i64 {
        let ticks = match self.last {
            None => 0,
            Some((before, ticks)) => {
                let shift = u64::BITS - TIME_BITS;
                let difference = (time.wrapping_sub(before) << shift) as i64 >> shift;
                ticks.saturating_add(difference)
            }
        };
        self.last = Some((time, ticks));
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_their_length_and_time() {
        // 5 optional bytes, PTS 0x1_2345_6789 (of 33 bits), and two of stuffing.
        let pts = 0x1_2345_6789_u64;
        let field = [
            0x21 | (pts >> 29 & 0x0E) as u8,
            (pts >> 22) as u8,
            1 | (pts >> 14) as u8 & 0xFE,
            (pts >> 7) as u8,
            1 | (pts << 1) as u8,
        ];
        let bytes = [&[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 7][..], &field, &[0xFF, 0xFF, 0xAA]].concat();
        assert_eq!(head(&bytes), Head::Whole { bytes: 16, time: Some(pts) });
        for end in 0..16 {
            assert_eq!(head(&bytes[..end]), Head::More, "{end}");
        }
        let without = [0, 0, 1, 0xC0, 0, 0, 0x80, 0, 0];
        assert_eq!(head(&without), Head::Whole { bytes: 9, time: None });
        assert_eq!(head(&[0, 0, 2]), Head::Invalid);
        assert_eq!(head(&[0, 0, 1, 0xBE, 0, 0, 0xFF, 0, 0]), Head::Invalid);
        // A time that is announced but not there.
        assert_eq!(head(&[0, 0, 1, 0xC0, 0, 0, 0x80, 0x80, 0]), Head::Whole { bytes: 9, time: None });
    }

    #[test]
    fn times_go_on_where_they_wrap_and_may_go_back() {
        let mut clock = Clock::default();
        let end = 1 << 33;
        assert_eq!(clock.ticks(end - 3_000), 0);
        assert_eq!(clock.ticks(end - 6_000), -3_000);
        assert_eq!(clock.ticks(600), 3_600);
        assert_eq!(clock.ticks(end - 1), 2_999);
        assert_eq!(clock.ticks(90_000), 93_000);
    }
}
