//! How often the parameters change. Each change costs a session of its own.

use std::collections::VecDeque;
use std::time::Duration;

/// More changes than this within [`WITHIN`] are too many.
pub const CHANGES_MAX: usize = 3;

/// The time within which changes are counted.
pub const WITHIN: Duration = Duration::from_mins(1);

/// The changes of the last minute. Turns unstable with the change that is one too many, and stable when no more than
/// [`CHANGES_MAX`] lie within the last minute.
#[derive(Debug, Default)]
pub(super) struct Changes {
    times: VecDeque<Duration>,
    is_unstable: bool,
}

impl Changes {
    pub(super) fn note(&mut self, now: Duration) {
        // More need not be remembered: the oldest of these says how long it is too many.
        if self.times.len() > CHANGES_MAX {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }

    /// Whether it has turned unstable (true) or stable (false) since it was last asked.
    pub(super) fn turned(&mut self, now: Duration) -> Option<bool> {
        while self.times.front().is_some_and(|at| now >= *at + WITHIN) {
            self.times.pop_front();
        }
        let is_unstable = self.times.len() > CHANGES_MAX;
        (std::mem::replace(&mut self.is_unstable, is_unstable) != is_unstable).then_some(is_unstable)
    }

    /// When it will be stable, if nothing changes any more.
    pub(super) fn clears_at(&self) -> Option<Duration> {
        self.times.front().filter(|_| self.is_unstable).map(|at| *at + WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_change_in_a_minute_is_one_too_many_until_a_minute_has_three() {
        let second = Duration::from_secs;
        let mut changes = Changes::default();
        for at in [10, 20, 30] {
            changes.note(second(at));
            assert_eq!(changes.turned(second(at)), None, "{at}");
        }
        changes.note(second(69));
        assert_eq!(changes.turned(second(69)), Some(true));
        assert_eq!(changes.turned(second(69)), None, "said once");
        assert_eq!(changes.clears_at(), Some(second(70)));
        assert_eq!(changes.turned(second(70)), Some(false));
        assert_eq!(changes.clears_at(), None);
    }

    #[test]
    fn changes_that_are_a_minute_apart_are_never_too_many() {
        let mut changes = Changes::default();
        for n in 0..20 {
            let now = Duration::from_secs(n * 20);
            changes.note(now);
            assert_eq!(changes.turned(now), None);
        }
    }
}
