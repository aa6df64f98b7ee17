//! What was said a moment ago, so that it is not said again and again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What was said within this time. A hash of each is kept, and room for twice as many as were ever said within it at most.
pub struct Told {
    lately: Duration,
    at: Mutex<HashMap<u64, Instant>>,
}

impl Told {
    /// Remembers for this time.
    pub fn within(lately: Duration) -> Self {
        Self { lately, at: Mutex::default() }
    }

    /// Whether this was not told lately; takes note of it.
    pub fn is_news(&self, what: impl Hash, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let key = hasher.finish();
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: Instant| now.saturating_duration_since(at) >= self.lately;
        if at.get(&key).is_some_and(|at| !is_old(*at)) {
            return false;
        }
        if at.len() == at.capacity() {
            at.retain(|_, at| !is_old(*at));
        }
        at.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_news_once_in_its_time_and_what_is_old_takes_no_room() {
        let (lately, now) = (Duration::from_secs(10), Instant::now());
        let told = Told::within(lately);
        assert!(told.is_news("denied", now) && told.is_news("no answer", now));
        assert!(!told.is_news("denied", now + lately / 2));
        assert!(told.is_news("denied", now + lately));
        for n in 0..10_000_u32 {
            assert!(told.is_news(n, now + lately * n));
        }
        assert!(told.at.lock().unwrap().len() < 10);
    }
}
