//! What the operator has written to the API server, in the order of the server's revisions, seen by watches of our own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::Value;
use streamfleet_crds::{Camera, VideoStream};
use tokio::task::JoinSet;

/// A write of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The server's revision: a single order for all objects.
    pub revision: u64,
    /// When it was seen, in milliseconds of the Unix epoch.
    pub ms: u64,
    /// What was written, for people.
    pub what: String,
}

/// The writes in a namespace from a moment on. Watching ends when this is dropped.
#[derive(Debug)]
pub struct Timeline {
    writes: Arc<Mutex<Vec<Write>>>,
    _watches: JoinSet<()>,
}

impl Timeline {
    /// Begins to watch.
    pub async fn start(client: &Client, namespace: &str) -> Result<Self> {
        let writes = Arc::<Mutex<Vec<Write>>>::default();
        let mut watches = JoinSet::new();
        for resource in [
            resource::<Camera>(),
            resource::<VideoStream>(),
            resource::<Deployment>(),
            resource::<ConfigMap>(),
        ] {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let kind = resource.kind;
            let listed =
                api.list(&ListParams::default()).await.with_context(|| format!("failed to list {kind}"))?;
            let from = listed.metadata.resource_version.unwrap_or_default();
            let mut known: HashMap<String, DynamicObject> =
                listed.items.into_iter().map(|object| (object.name_any(), object)).collect();
            let writes = writes.clone();
            watches.spawn(async move {
                // For 290 s at most, which no test takes.
                let params = WatchParams::default().timeout(290);
                let Ok(events) = api.watch(&params, &from).await else { return };
                let mut events = events.into_stream().boxed();
                while let Some(Ok(event)) = events.next().await {
                    if let Some(write) = take(&kind, &mut known, event) {
                        writes.lock().unwrap_or_else(PoisonError::into_inner).push(write);
                    }
                }
            });
        }
        Ok(Self { writes, _watches: watches })
    }

    /// All writes so far, in the server's order.
    pub fn writes(&self) -> Vec<Write> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        writes.sort_by_key(|write| write.revision);
        writes
    }

    /// Whether there was a write after this revision.
    pub fn has_written_after(&self, revision: u64) -> bool {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.iter().any(|write| write.revision > revision)
    }
}

fn resource<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// The time, in milliseconds of the Unix epoch.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_millis() as u64).unwrap_or_default()
}

fn take(
    kind: &str,
    known: &mut HashMap<String, DynamicObject>,
    event: WatchEvent<DynamicObject>,
) -> Option<Write> {
    let (object, what) = match event {
        WatchEvent::Added(object) => {
            let what = added(kind);
            known.insert(object.name_any(), object.clone());
            (object, what)
        }
        WatchEvent::Modified(object) => {
            let before = known.insert(object.name_any(), object.clone());
            let what = before.and_then(|before| modified(kind, &before, &object));
            (object, what)
        }
        WatchEvent::Deleted(object) => {
            known.remove(&object.name_any());
            // The others are deleted by users and by the garbage collector.
            (object, (kind == "VideoStream").then_some("finalizer off"))
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return None,
    };
    let revision = object.resource_version()?.parse().ok()?;
    Some(Write { revision, ms: unix_ms(), what: format!("{kind} {}: {}", object.name_any(), what?) })
}

/// What it means that an object is there. Cameras are made by users, all else by the operator.
fn added(kind: &str) -> Option<&'static str> {
    (kind != "Camera").then_some("made")
}

/// What the operator has changed, if it was the operator.
fn modified(kind: &str, before: &DynamicObject, after: &DynamicObject) -> Option<&'static str> {
    let status = |object: &DynamicObject| object.data.get("status").cloned().unwrap_or(Value::Null);
    if matches!(kind, "Camera" | "VideoStream") {
        if before.metadata.finalizers != after.metadata.finalizers {
            return Some("finalizer");
        }
        if status(before) != status(after) {
            return Some("status");
        }
        // What is left is the user's: the spec, or that it is to be deleted.
        return (before.metadata.owner_references != after.metadata.owner_references).then_some("owner");
    }
    // A Deployment's status is the controller manager's; a ConfigMap has no generation.
    let changed = before.metadata.generation != after.metadata.generation
        || before.data.get("data") != after.data.get("data");
    changed.then_some("changed")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_operators_writes_are_told_from_those_of_others() {
        let before = object(json!({ "metadata": { "name": "a", "generation": 1 }, "status": { "x": 1 } }));
        let status = object(json!({ "metadata": { "name": "a", "generation": 1 }, "status": { "x": 2 } }));
        let spec = object(json!({ "metadata": { "name": "a", "generation": 2 }, "status": { "x": 1 } }));
        assert_eq!(modified("Camera", &before, &status), Some("status"));
        assert_eq!(modified("Camera", &before, &spec), None);
        assert_eq!(modified("Deployment", &before, &status), None);
        assert_eq!(modified("Deployment", &before, &spec), Some("changed"));
        assert_eq!((added("Camera"), added("VideoStream")), (None, Some("made")));
    }
}
