//! Alarms of ours whose object is gone: a crash came between, or credentials were lost when the object went. Pure.
//!
//! An alarm that no object in the cache has is no orphan yet: the cache may be behind, or the object may belong to another shard. Its
//! object is asked for at the API server, by name; only where that says that there is none is the alarm removed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::names::{Object, object_of, read_mark};
/// How often alarms are searched for ones without an object.
const SEARCH_EVERY: Duration = Duration::from_mins(5);
/// How long it is believed that an object is there which this process does not look after.
const BELIEVED: Duration = Duration::from_hours(6);
/// So many objects are asked for in one search.
const ASKED_AT_ONCE: usize = 100;

/// What is known of objects that are not in the cache.
#[derive(Debug, Default)]
pub struct Memory {
    searched: Option<Instant>,
    there: HashMap<Object, Instant>,
}

impl Memory {
    /// Whether it is time to search; that counts as done then.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.searched.is_none_or(|at| now >= at + SEARCH_EVERY);
        if is_due {
            self.searched = Some(now);
            self.there.retain(|_, seen| now < *seen + BELIEVED);
        }
        is_due
    }

    /// The object is there, though not in the cache.
    pub fn note(&mut self, object: Object, now: Instant) {
        self.there.insert(object, now);
    }

    /// The objects to ask for, with their alarms: those of our alarms that are neither in the cache nor known to be there.
    pub fn suspects(
        &self,
        alarms: &[(String, String)],
        installation: &str,
        is_cached: impl Fn(&Object) -> bool,
    ) -> BTreeMap<Object, Vec<String>> {
        let mut suspects: BTreeMap<Object, Vec<String>> = BTreeMap::new();
        for (name, description) in alarms {
            let Some(mark) = read_mark(description, installation) else { continue };
            let Some(object) = object_of(name, &mark, installation) else { continue };
            if self.there.contains_key(&object) || is_cached(&object) {
                continue;
            }
            if suspects.len() < ASKED_AT_ONCE || suspects.contains_key(&object) {
                suspects.entry(object).or_default().push(name.clone());
            }
        }
        suspects
    }
}
