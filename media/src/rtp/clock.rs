//! The media clock of a track: RTP timestamps have 32 bits and wrap; at 90 kHz every 13 hours.

/// Makes timestamps that do not wrap.
#[derive(Debug, Default)]
pub struct MediaClock {
    last: Option<(u32, i64)>,
}

impl MediaClock {
    /// The ticks of a timestamp: the nearest to the one before it that has these low 32 bits.
    pub fn advance(&mut self, timestamp: u32) -> i64 {
        let ticks = self.look(timestamp);
        self.last = Some((timestamp, ticks));
        ticks
    }

    /// The same for a timestamp that is not of the media itself, such as a report's, once there was one of the media.
    pub fn look(&self, timestamp: u32) -> i64 {
        match self.last {
            Some((last, ticks)) => ticks + i64::from(timestamp.wrapping_sub(last) as i32),
            None => i64::from(timestamp),
        }
    }

    /// Whether a timestamp was seen.
    pub fn has_begun(&self) -> bool {
        self.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_wrap_and_step_back() {
        let mut clock = MediaClock::default();
        let first = clock.advance(u32::MAX - 99);
        assert_eq!(clock.advance(100) - first, 200);
        assert_eq!(clock.advance(u32::MAX - 9) - first, 90, "a B-picture is shown before the one before it");
        assert_eq!(clock.look(3) - first, 103);
        assert_eq!(clock.advance(0) - first, 100, "looking changes nothing");
    }
}
