//! Objects that are in the cluster, and not in the cache, or not as they are there: those that this release cannot read, and those
//! that are another operator's.
//!
//! An object that can no longer be read stays in the cache as it was, so that nothing takes it for deleted: its stream would lose its
//! writer, its class its protection. But nothing is done about it, or about what goes by it, until it can be read again. It is named in
//! the log, and counted by kind in the metrics.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;

/// A namespace, empty where there is none, and a name.
type Key = (String, String);

/// What is known of the objects of a kind that are not in the cache as they are.
#[derive(Debug, Clone, Default)]
pub struct LeftOut(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Those that cannot be read.
    unreadable: BTreeSet<Key>,
    /// Hashes of those that are another operator's: there may be a hundred thousand.
    others: HashSet<u64>,
}

impl LeftOut {
    /// Whether an object of this name is there as something that cannot be read.
    pub fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        let known = self.known();
        !known.unreadable.is_empty() && known.unreadable.contains(&(namespace.to_owned(), name.to_owned()))
    }

    /// How many cannot be read.
    pub fn unreadable(&self) -> usize {
        self.known().unreadable.len()
    }

    /// Whether an object of this name is there and another operator's. That two names have one hash only keeps something in place.
    pub fn is_anothers(&self, namespace: &str, name: &str) -> bool {
        self.known().others.contains(&hash(&(namespace.to_owned(), name.to_owned())))
    }

    /// Knows nothing any more.
    #[cfg(test)]
    pub fn clear(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// What goes on into the cache.
pub(super) struct Passed<K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + 'static> {
    /// The event.
    pub(super) event: Event<K>,
    /// Objects that can be read again: whatever their change, they are to be looked at.
    pub(super) back: Vec<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + 'static> From<Event<K>>
    for Passed<K>
{
    fn from(event: Event<K>) -> Self {
        Self { event, back: Vec::new() }
    }
}

/// What stands before a cache.
pub(super) struct Gate<K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + 'static, F> {
    cache: Store<K>,
    left_out: LeftOut,
    is_anothers: F,
    /// What a list has shown so far that is being made.
    listed: Known,
}

impl<K, F> Gate<K, F>
where
    K: Resource<DynamicType = ()>
        + reflector::Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + 'static,
    F: Fn(&K) -> bool,
{
    /// Before this cache. What it leaves out is told there.
    pub(super) fn new(cache: Store<K>, left_out: LeftOut, is_anothers: F) -> Self {
        Self { cache, left_out, is_anothers, listed: Known::default() }
    }

    /// What of an event goes on into the cache.
    pub(super) fn pass(&mut self, event: Event<DeserializeGuard<K>>) -> Option<Passed<K>> {
        match event {
            Event::Apply(DeserializeGuard(Ok(object))) => self.applied(object),
            Event::Apply(DeserializeGuard(Err(broken))) => {
                let key = self.tell(&broken);
                self.left_out.known().unreadable.insert(key);
                None
            }
            Event::Delete(guard) => self.deleted(guard.0),
            Event::Init => {
                self.listed = Known::default();
                Some(Passed::from(Event::Init))
            }
            Event::InitApply(DeserializeGuard(Ok(object))) => {
                if (self.is_anothers)(&object) {
                    self.listed.others.insert(hash(&key_of(object.meta())));
                    return None;
                }
                Some(Passed::from(Event::InitApply(object)))
            }
            Event::InitApply(DeserializeGuard(Err(broken))) => {
                let key = self.tell(&broken);
                let before = self.cached(&key);
                self.listed.unreadable.insert(key);
                before.map(|object| Passed::from(Event::InitApply(object)))
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut *self.left_out.known(), std::mem::take(&mut self.listed));
                let back = before.unreadable.iter().map(reference).collect();
                Some(Passed { event: Event::InitDone, back })
            }
        }
    }

    fn applied(&mut self, object: K) -> Option<Passed<K>> {
        let key = key_of(object.meta());
        let mut known = self.left_out.known();
        let was_unreadable = known.unreadable.remove(&key);
        if (self.is_anothers)(&object) {
            known.others.insert(hash(&key));
            return None;
        }
        let back = if was_unreadable { vec![reference(&key)] } else { Vec::new() };
        Some(Passed { event: Event::Apply(object), back })
    }

    fn deleted(&mut self, object: Result<K, InvalidObject>) -> Option<Passed<K>> {
        let key = key_of(object.as_ref().map_or_else(|broken| &broken.metadata, Resource::meta));
        {
            let mut known = self.left_out.known();
            known.unreadable.remove(&key);
            known.others.remove(&hash(&key));
        }
        // One that could not be read goes as it was.
        let gone = object.ok().filter(|object| !(self.is_anothers)(object)).or_else(|| self.cached(&key))?;
        Some(Passed::from(Event::Delete(gone)))
    }

    fn cached(&self, key: &Key) -> Option<K> {
        self.cache.get(&reference(key)).map(|object| (*object).clone())
    }

    /// Says which object cannot be read.
    fn tell(&self, broken: &InvalidObject) -> Key {
        let key = key_of(&broken.metadata);
        let is_known = self.cache.get(&reference::<K>(&key)).is_some();
        let kind = <K as Resource>::kind(&());
        let (namespace, name) = (&key.0, &key.1);
        tracing::warn!(%kind, namespace, name, is_known, error = %broken.error, "Object cannot be read, nothing is done about it");
        key
    }
}

fn key_of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn reference<K: reflector::Lookup<DynamicType = ()>>((namespace, name): &Key) -> ObjectRef<K> {
    let reference = ObjectRef::new(name);
    if namespace.is_empty() { reference } else { reference.within(namespace) }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use kube::runtime::reflector::store::Writer;
    use serde_json::{Value, json};
    use streamfleet_crds::Camera;

    use super::super::testing::camera;
    use super::*;

    fn readable(name: &str) -> DeserializeGuard<Camera> {
        DeserializeGuard(Ok(camera(name, &json!({}))))
    }

    /// One with a source that a later release knows.
    fn unreadable(name: &str) -> DeserializeGuard<Camera> {
        let mut value: Value = serde_json::to_value(camera(name, &json!({}))).unwrap();
        value["spec"] = json!({ "source": 7 });
        serde_json::from_value(value).unwrap()
    }

    struct World {
        writer: Writer<Camera>,
        left_out: LeftOut,
        gate: Gate<Camera, fn(&Camera) -> bool>,
    }

    impl World {
        fn new() -> Self {
            let (writer, left_out) = (Writer::default(), LeftOut::default());
            let is_anothers: fn(&Camera) -> bool = |camera| camera.name_any() == "theirs";
            let gate = Gate::new(writer.as_reader(), left_out.clone(), is_anothers);
            Self { writer, left_out, gate }
        }

        /// What is in the cache after these events, which of it cannot be read, and what can be read again.
        fn after(&mut self, events: Vec<Event<DeserializeGuard<Camera>>>) -> (String, String, String) {
            let mut back = Vec::new();
            for event in events {
                let Some(passed) = self.gate.pass(event) else { continue };
                self.writer.apply_watcher_event(&passed.event);
                back.extend(passed.back.iter().map(|key| key.name.clone()));
            }
            let mut there: Vec<String> =
                self.writer.as_reader().state().iter().map(|camera| camera.name_any()).collect();
            there.sort();
            let unreadable: Vec<String> =
                self.left_out.known().unreadable.iter().map(|(_, name)| name.clone()).collect();
            (there.join(" "), unreadable.join(" "), back.join(" "))
        }
    }

    fn seen(there: &str, unreadable: &str, back: &str) -> (String, String, String) {
        (there.to_owned(), unreadable.to_owned(), back.to_owned())
    }

    #[test]
    fn what_can_no_longer_be_read_stays_as_it_was_and_is_told_until_it_can_be_read_again() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut world = World::new();
        assert_eq!(world.after(vec![Apply(readable("a")), Apply(unreadable("b"))]), seen("a", "b", ""));
        assert_eq!(world.after(vec![Apply(unreadable("a"))]), seen("a", "a b", ""));
        assert!(world.left_out.is_unreadable("shop", "a") && !world.left_out.is_unreadable("bank", "a"));
        // A list that is made anew takes it for deleted no more than a change does.
        let list = || vec![Init, InitApply(unreadable("a")), InitApply(readable("c")), InitDone];
        assert_eq!(world.after(list()), seen("a c", "a", "a b"));
        assert_eq!(world.after(vec![Apply(readable("a"))]), seen("a c", "", "a"));
        assert_eq!(world.after(vec![Apply(unreadable("a"))]), seen("a c", "a", ""));
        // Nor does it stay for ever when it is deleted.
        assert_eq!(world.after(vec![Delete(unreadable("a"))]), seen("c", "", ""));
        assert_eq!(world.left_out.unreadable(), 0);
    }

    #[test]
    fn while_a_list_is_made_what_could_not_be_read_is_still_held_back() {
        let mut world = World::new();
        world.after(vec![Event::Apply(readable("a")), Event::Apply(unreadable("a"))]);
        assert_eq!(world.after(vec![Event::Init]).1, "a");
        let back = world.after(vec![Event::InitApply(readable("a")), Event::InitDone]);
        assert_eq!(back, seen("a", "", "a"));
    }

    #[test]
    fn what_is_another_operators_is_not_kept_but_known_to_be_there() {
        let mut world = World::new();
        assert_eq!(world.after(vec![Event::Apply(readable("theirs"))]), seen("", "", ""));
        assert!(world.left_out.is_anothers("shop", "theirs") && !world.left_out.is_anothers("shop", "a"));
        world.after(vec![Event::Delete(readable("theirs"))]);
        assert!(!world.left_out.is_anothers("shop", "theirs"));
        world.after(vec![Event::Init, Event::InitApply(readable("theirs")), Event::InitDone]);
        assert!(world.left_out.is_anothers("shop", "theirs"));
        world.after(vec![Event::Init, Event::InitDone]);
        assert!(!world.left_out.is_anothers("shop", "theirs"));
    }
}
