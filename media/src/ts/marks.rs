//! Times at places of an elementary stream: each is that of the first picture or frame that begins there or behind.

use std::collections::VecDeque;

/// Places that are kept. More than a few are only there where nothing begins for long.
const MARKS_MAX: usize = 256;

/// Times that have not been given to anything yet.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<(u64, i64)>);

impl Marks {
    /// What begins at or behind `position` has this time.
    pub(super) fn push(&mut self, position: u64, ticks: i64) {
        if self.0.len() == MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((position, ticks));
    }

    /// The time of what begins at `position`, if one was given since what began before it.
    pub(super) fn take(&mut self, position: u64) -> Option<i64> {
        let mut found = None;
        while let Some((_, ticks)) = self.0.pop_front_if(|(place, _)| *place <= position) {
            found = Some(ticks);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_to_the_first_that_begins_behind_it() {
        let mut marks = Marks::default();
        marks.push(0, 10);
        marks.push(100, 20);
        marks.push(101, 30);
        assert_eq!(
            [marks.take(1), marks.take(99), marks.take(200), marks.take(300)],
            [Some(10), None, Some(30), None]
        );
        for place in 0..1_000 {
            marks.push(place, 0);
        }
        assert_eq!(marks.0.len(), MARKS_MAX);
    }
}
