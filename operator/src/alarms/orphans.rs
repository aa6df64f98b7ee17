//! Alarms of ours whose object is gone: a crash came between, or credentials were lost when the object went. Pure.
//!
//! An alarm that no object in the cache has is no orphan yet: the cache may be behind, or the object may belong to another shard. Its
//! object is asked for at the API server, by name; only where that says that there is none is the alarm looked at further.
//!
//! An installation may have several clusters, between which objects move: what this API server lacks may live in another. So an alarm
//! goes only where its stream is gone too, or where this process let its object go and could not take the alarm along.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use streamfleet_crds::ownership_tags;
use tokio::time::Instant;

use super::names::{Object, object_of, read_mark};
use crate::aws::Owner;

/// How often alarms are searched for ones without an object.
const SEARCH_EVERY: Duration = Duration::from_mins(5);
/// How long it is believed that an object is there which this process does not look after.
const BELIEVED: Duration = Duration::from_hours(6);
/// So many objects are asked for in one search.
const ASKED_AT_ONCE: usize = 100;
/// So many objects are remembered whose alarms were left, or who wait for theirs: twice the largest fleet.
const LEFT_MAX: usize = 20_000;
/// So long an object that goes waits for its alarms, where what keeps them passes. Within it a class takes what goes out of the
/// alarms of its sites, a dozen of them every five seconds.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is known of objects that are not in the cache.
#[derive(Debug, Default)]
pub struct Memory {
    searched: Option<Instant>,
    there: HashMap<Object, Instant>,
    /// Objects that this process let go without all of their alarms, with their UIDs.
    left: HashMap<Object, String>,
    /// Objects that wait for their alarms to go, and since when.
    waiting: HashMap<Object, Instant>,
    /// The object that was asked for last.
    asked: Option<Object>,
}

impl Memory {
    /// What of it outlives a term of leadership: the objects that this process let go, which nobody else knows of. Who led meanwhile may
    /// have changed everything: the rest is found out anew, and what becomes of the alarms of these is decided by fresh reads.
    pub fn next_term(&self) -> Self {
        Self { left: self.left.clone(), ..Self::default() }
    }

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

    /// Whether an object that goes is to wait (longer) for its alarms, which something keeps that passes.
    pub fn may_wait(&mut self, object: &Object, now: Instant) -> bool {
        let since = match self.waiting.get(object) {
            Some(since) => *since,
            None if self.waiting.len() < LEFT_MAX => *self.waiting.entry(object.clone()).or_insert(now),
            None => return false,
        };
        now < since + PATIENCE
    }

    /// An object waits no longer.
    pub fn waits_no_more(&mut self, object: &Object) {
        self.waiting.remove(object);
    }

    /// An object of this cluster went, and alarms of it stayed. False where that was known.
    pub fn note_left(&mut self, object: Object, uid: &str) -> bool {
        self.there.remove(&object);
        self.waiting.remove(&object);
        let is_news = self.left.get(&object).is_none_or(|known| known != uid);
        if self.left.len() < LEFT_MAX {
            self.left.insert(object, uid.to_owned());
        }
        is_news
    }

    /// Whether alarms of any object stayed.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// The alarms of the object have gone too.
    pub fn forget_left(&mut self, object: &Object) {
        self.left.remove(object);
    }

    /// Of all objects whose alarms stayed, those are forgotten of which none is there any more.
    pub fn forget_gone(&mut self, alarms: &[(String, String)], installation: &str) {
        if self.left.is_empty() {
            return;
        }
        let object = |(name, description): &(String, String)| {
            object_of(name, &read_mark(description, installation)?, installation)
        };
        let there: BTreeSet<Object> = alarms.iter().filter_map(object).collect();
        self.left.retain(|object, _| there.contains(object));
    }

    /// The UID of an object that this process let go without all of its alarms.
    pub fn left(&self, object: &Object) -> Option<String> {
        self.left.get(object).cloned()
    }

    /// The objects to ask for, with their alarms: those of our alarms that are neither in the cache nor known to be there. Where they are
    /// many, as with other clusters of the installation, each search takes up where the last one ended.
    pub fn suspects(
        &mut self,
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
            suspects.entry(object).or_default().push(name.clone());
        }
        let asked = self.asked.take();
        let mut order: Vec<Object> = suspects.keys().cloned().collect();
        order.sort_by_key(|object| asked.as_ref().is_some_and(|asked| object <= asked));
        order.truncate(ASKED_AT_ONCE);
        self.asked = order.last().cloned();
        let order: BTreeSet<Object> = order.into_iter().collect();
        suspects.retain(|object, _| order.contains(object));
        suspects
    }
}

/// Whether the alarms of an object that this API server does not have are nobody's. `left` is the UID of the one that this process let
/// go; `streams` are the tags of those of its streams that are there. Another cluster may keep alarms of a stream that it only looks at,
/// so that foreign tags prove nothing.
pub fn is_nobodys(
    object: &Object,
    installation: &str,
    left: Option<&str>,
    streams: &[BTreeMap<String, String>],
) -> bool {
    match (object, left) {
        // No stream tells of a class.
        (Object::Class(_), left) => left.is_some(),
        (Object::Stream { .. }, None) => streams.is_empty(),
        (Object::Stream { namespace, name }, Some(uid)) => {
            let owner = Owner {
                installation: installation.to_owned(),
                namespace: namespace.clone(),
                name: name.clone(),
                uid: uid.to_owned(),
            };
            let was_taken_over = |tags: &BTreeMap<String, String>| {
                owner.owns(tags) && tags.get(ownership_tags::UID) != Some(&owner.uid)
            };
            !streams.iter().any(was_taken_over)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::mark;
    use super::*;

    #[test]
    fn of_many_that_are_elsewhere_each_has_its_turn_to_be_asked_for() {
        let alarms: Vec<(String, String)> = (0..250)
            .map(|number| {
                let object = Object::Stream { namespace: "shop".to_owned(), name: format!("c{number:03}") };
                let name = object.alarm_name("north", "NoIngest");
                let mark = mark("north", &object, &name, "digest");
                (name, mark)
            })
            .collect();
        let (mut memory, mut asked) = (Memory::default(), BTreeSet::new());
        for (search, expected) in [100, 200, 250, 250].into_iter().enumerate() {
            let suspects = memory.suspects(&alarms, "north", |_| false);
            assert_eq!(suspects.len(), ASKED_AT_ONCE);
            asked.extend(suspects.into_keys());
            assert_eq!(asked.len(), expected, "after search {search}");
        }
    }
}
