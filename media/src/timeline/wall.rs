//! The node's wall clock, without its steps: what it says moves with the monotonic clock, and follows the wall clock
//! where that differs a little, or differs for long.

use super::Reading;

/// The `Date` of an answer has whole seconds, and the answer is on its way for part of one: less than this it does not say.
pub const WALL_OFFSET_MS_MIN: i64 = 2_000;

/// Clocks that are kept by NTP are corrected by less than this at a time; what is more is a step.
const STEP_US_MIN: i64 = 1_000_000;

/// A step of the wall clock is believed after this time, where no better clock has ever been heard of.
const STEP_HOLD_US: i64 = 30_000_000;

/// A wall clock that does not step.
#[derive(Debug, Clone, Default)]
pub(super) struct Wall {
    /// The monotonic and the true time of one moment.
    anchor: Option<(i64, i64)>,
    /// What is to be added to the wall clock; `None` while no better clock has been heard of.
    offset_us: Option<i64>,
    /// Whether that was said since the wall clock last agreed: then a step is the better clock's word.
    is_told: bool,
    /// A step that is not believed yet: since when, and how far.
    step: Option<(i64, i64)>,
}

impl Wall {
    /// What is to be added to the wall clock, in milliseconds, as a better clock says. Small ones are ignored.
    pub(super) fn set_offset(&mut self, offset_ms: i64) {
        let is_known = offset_ms.unsigned_abs() >= WALL_OFFSET_MS_MIN.unsigned_abs();
        self.offset_us = Some(if is_known { offset_ms.saturating_mul(1_000) } else { 0 });
        self.is_told = true;
    }

    /// The time in microseconds of the Unix epoch.
    pub(super) fn time_us(&mut self, reading: Reading) -> i64 {
        let mono = reading.mono_us();
        let shown = reading.wall_ms.saturating_mul(1_000).saturating_add(self.offset_us.unwrap_or(0));
        let Some((mono_then, time_then)) = self.anchor else {
            self.is_told = false;
            self.anchor = Some((mono, shown));
            return shown;
        };
        let time = time_then.saturating_add(mono - mono_then);
        let apart = shown.saturating_sub(time);
        if apart.unsigned_abs() < STEP_US_MIN.unsigned_abs() || self.believes(apart, mono) {
            self.step = None;
            self.is_told = false;
            self.anchor = Some((mono, shown));
            return shown;
        }
        time
    }

    /// The offset that a better clock gave holds for the wall clock as it was before the step: then only its next word
    /// counts. Meanwhile the monotonic clock is better than either.
    fn believes(&mut self, apart: i64, mono: i64) -> bool {
        if self.is_told {
            return true;
        }
        match self.step {
            Some((since, step)) if step.abs_diff(apart) < STEP_US_MIN.unsigned_abs() => {
                self.offset_us.is_none() && mono - since >= STEP_HOLD_US
            }
            _ => {
                self.step = Some((mono, apart));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(mono_ms: u64, wall_ms: i64) -> Reading {
        Reading { mono: Duration::from_millis(mono_ms), wall_ms }
    }

    #[test]
    fn a_step_is_believed_when_it_lasts_and_nothing_better_is_known() {
        let mut wall = Wall::default();
        assert_eq!(wall.time_us(at(1_000, 500_000)), 500_000_000);
        let hour = 3_600_000;
        assert_eq!(wall.time_us(at(2_000, 501_000 + hour)), 501_000_000);
        assert_eq!(wall.time_us(at(31_999, 530_999 + hour)), 530_999_000);
        assert_eq!(wall.time_us(at(32_000, 531_000 + hour)), (531_000 + hour) * 1_000);
        assert_eq!(wall.time_us(at(33_000, 532_000 + hour)), (532_000 + hour) * 1_000);
    }

    #[test]
    fn a_step_is_not_believed_where_a_better_clock_is_known_until_that_speaks() {
        let mut wall = Wall::default();
        wall.set_offset(0);
        let hour = 3_600_000;
        wall.time_us(at(1_000, 500_000));
        for second in 2..1_000 {
            let time = wall.time_us(at(second * 1_000, 499_000 + second as i64 * 1_000 + hour));
            assert_eq!(time, 499_000_000 + second as i64 * 1_000_000, "the step is wrong");
        }
        wall.set_offset(-hour);
        assert_eq!(wall.time_us(at(1_000_000, 1_499_000 + hour)), 1_499_000_000);
    }

    #[test]
    fn a_better_clock_is_believed_at_once() {
        let mut wall = Wall::default();
        wall.time_us(at(1_000, 500_000));
        wall.set_offset(100_000);
        assert_eq!(wall.time_us(at(2_000, 501_000)), 601_000_000);
    }

    #[test]
    fn small_corrections_are_followed_and_offsets_within_the_error_of_a_date_are_not() {
        let mut wall = Wall::default();
        wall.set_offset(1_999);
        assert_eq!(wall.time_us(at(1_000, 500_000)), 500_000_000);
        assert_eq!(wall.time_us(at(2_000, 501_300)), 501_300_000);
        wall.set_offset(-2_000);
        assert_eq!(Wall { anchor: None, ..wall }.time_us(at(2_000, 501_300)), 499_300_000);
    }
}
