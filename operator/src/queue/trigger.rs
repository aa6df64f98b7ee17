//! The shared handle of a queue.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::{Lookup, ObjectRef};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::{Limits, Queue};
use crate::aws::Lane;

/// The objects of a kind, by name.
type Keys<K> = Queue<Arc<ObjectRef<K>>>;

/// Where to say that an object of a kind is to be looked at. While this replica does not lead, what is said is forgotten: who
/// begins to lead looks at everything.
pub struct Trigger<K: Lookup<DynamicType = ()>> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Lookup<DynamicType = ()>> {
    queue: Mutex<Keys<K>>,
    wake: Notify,
}

impl<K: Lookup<DynamicType = ()>> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Lookup<DynamicType = ()> + 'static> Trigger<K>
where
    ObjectRef<K>: Hash + Eq,
{
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::new(Queue::new(limits)), wake: Notify::new() }) }
    }

    /// The object is new, or has changed.
    pub fn send(&self, object: ObjectRef<K>) {
        self.push(object, Lane::Fresh);
    }

    /// The object is to be looked at, among many others.
    pub fn sweep(&self, object: ObjectRef<K>) {
        self.push(object, Lane::Sweep);
    }

    /// The object is to be looked at.
    pub fn push(&self, object: ObjectRef<K>, lane: Lane) {
        self.queue().push(key(object), lane);
        self.shared.wake.notify_one();
    }

    /// The object was there when the queue was opened.
    pub(crate) fn push_unseen(&self, object: ObjectRef<K>, lane: Lane) {
        self.queue().push_unseen(key(object), lane);
    }

    /// Whether what is said is heard.
    pub fn is_open(&self) -> bool {
        self.queue().is_open()
    }

    /// How many objects wait for their turn in a lane.
    pub fn depth(&self, lane: Lane) -> usize {
        self.queue().depth(lane)
    }

    /// The queue itself, for who works it off.
    pub(crate) fn queue(&self) -> MutexGuard<'_, Keys<K>> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when something was put in since the last time.
    pub(crate) fn pushed(&self) -> Notified<'_> {
        self.shared.wake.notified()
    }
}

/// An object by its name: the rest of a reference does not count, and takes room.
fn key<K: Lookup<DynamicType = ()>>(object: ObjectRef<K>) -> Arc<ObjectRef<K>> {
    let ObjectRef { name, namespace, .. } = object;
    Arc::new(match namespace {
        Some(namespace) => ObjectRef::new(&name).within(&namespace),
        None => ObjectRef::new(&name),
    })
}
