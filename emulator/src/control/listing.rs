//! What `ListStreams` shows: the streams as they were a while ago.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{ResourceKey, Scope, StreamRecord};

/// A stream as it is from a time on; none when it is gone.
type Coming = (u64, ResourceKey, Option<Arc<StreamRecord>>);

/// The streams that lists show, and what they will show.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    shown: BTreeMap<ResourceKey, Arc<StreamRecord>>,
    coming: VecDeque<Coming>,
}

impl Listing {
    /// A stream is from the time `shown_at` on as it is `now`.
    pub fn put(&mut self, key: ResourceKey, record: Option<Arc<StreamRecord>>, (now, shown_at): (u64, u64)) {
        if shown_at <= now && self.coming.is_empty() {
            self.show(key, record);
        } else {
            self.coming.push_back((shown_at, key, record));
        }
    }

    /// Shows all whose time has come.
    pub fn catch_up(&mut self, now: u64) {
        while let Some((when, ..)) = self.coming.front()
            && *when <= now
        {
            let Some((_, key, record)) = self.coming.pop_front() else { break };
            self.show(key, record);
        }
    }

    /// What would come later than `latest` comes then.
    pub fn shorten(&mut self, latest: u64) {
        self.coming.iter_mut().for_each(|(when, ..)| *when = latest.min(*when));
    }

    /// The streams of a scope whose names begin with `prefix` and come after `after`.
    pub fn after<'a>(
        &'a self,
        scope: &'a Scope,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<StreamRecord>> {
        super::streams::names_after(&self.shown, scope, prefix, after)
    }

    fn show(&mut self, key: ResourceKey, record: Option<Arc<StreamRecord>>) {
        match record {
            Some(record) => {
                self.shown.insert(key, record);
            }
            None => {
                self.shown.remove(&key);
            }
        }
    }
}
