//! Whose turn it is to write alarms. Three calls a second is all there is, and ten thousand streams may ask at once: were they to wait
//! in their passes, nothing else would get done. So each is told when its turn comes, and comes back then. Pure, time is an
//! argument.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// A turn that nobody has come for is free again after this time: the object is gone, or has nothing to write any more.
const KEPT: Duration = Duration::from_mins(2);

/// The turns of one account and region.
#[derive(Debug)]
pub struct Turns {
    gap: Duration,
    next: Option<Instant>,
    held: HashMap<Box<str>, Instant>,
    cleared: Option<Instant>,
}

/// When to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// After this time.
    pub after: Duration,
}

impl Turns {
    /// Turns for calls of which so many may be made a second.
    pub fn new(per_second: f64) -> Self {
        Self {
            gap: Duration::from_secs_f64(1.0 / per_second),
            next: None,
            held: HashMap::new(),
            cleared: None,
        }
    }

    /// Takes the turn of this object for so many calls, if it has come. Else it has one from then on.
    pub fn take(&mut self, object: &str, calls: usize, now: Instant) -> Result<(), Later> {
        self.clear(now);
        if let Some(at) = self.held.get(object) {
            if *at > now {
                return Err(Later { after: *at - now });
            }
            self.held.remove(object);
            return Ok(());
        }
        let later = self.reserve(object, calls, now);
        if later.after.is_zero() {
            self.held.remove(object);
            return Ok(());
        }
        Err(later)
    }

    /// Has a turn for this object, now or later; it keeps one that it has.
    pub fn reserve(&mut self, object: &str, calls: usize, now: Instant) -> Later {
        if let Some(at) = self.held.get(object) {
            return Later { after: at.saturating_duration_since(now) };
        }
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + self.gap * u32::try_from(calls.max(1)).unwrap_or(u32::MAX));
        self.held.insert(object.into(), at);
        Later { after: at - now }
    }

    fn clear(&mut self, now: Instant) {
        if self.cleared.is_some_and(|at| now < at + KEPT) {
            return;
        }
        self.cleared = Some(now);
        self.held.retain(|_, at| now < *at + KEPT);
        if self.held.is_empty() {
            self.held.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_come_one_after_the_other_at_the_pace_of_the_quota() {
        let (mut turns, now) = (Turns::new(2.0), Instant::now());
        assert_eq!(turns.take("a", 1, now), Ok(()));
        assert_eq!(turns.take("b", 2, now), Err(Later { after: SECOND / 2 }));
        assert_eq!(turns.take("c", 1, now), Err(Later { after: SECOND * 3 / 2 }));
        // Who comes too early is told the same.
        assert_eq!(turns.take("c", 1, now + SECOND), Err(Later { after: SECOND / 2 }));
        assert_eq!(turns.take("c", 1, now + SECOND * 2), Ok(()));
        assert_eq!(turns.take("b", 2, now + SECOND * 2), Ok(()));
        assert_eq!(turns.take("b", 2, now + SECOND * 9), Ok(()));
    }

    #[test]
    fn ten_thousand_take_as_long_as_the_quota_says() {
        let (mut turns, now) = (Turns::new(3.0), Instant::now());
        let last = (0..10_000).map(|number| turns.reserve(&number.to_string(), 1, now).after).max().unwrap();
        assert!((last.as_secs_f64() - 3_333.0).abs() < 1.0, "{last:?}");
    }

    #[test]
    fn turns_that_nobody_came_for_are_forgotten() {
        let (mut turns, now) = (Turns::new(1.0), Instant::now());
        for number in 0..100 {
            turns.reserve(&number.to_string(), 1, now);
        }
        let later = now + Duration::from_hours(1);
        assert_eq!(turns.take("new", 1, later), Ok(()));
        assert!(turns.held.is_empty());
    }
}
