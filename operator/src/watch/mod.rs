//! One watch for each kind, whatever the number of controllers that look at it: it fills a cache and says to whom a change
//! matters.
//!
//! kube's own sharing of watches does not pass deletions on, which is what the release of a stream's writer waits for.

mod follow;
mod left_out;
mod shrink;
#[cfg(test)]
mod testing;
mod touched;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use streamfleet_crds::{Camera, StreamClass, VideoStream};

use crate::labels::{self, CAMERA_LABEL};
use crate::queue::{Limits, Trigger};
use crate::scope::Scope;

use follow::{follow, guarded, plain};
pub use left_out::LeftOut;
pub use shrink::live_digest;

/// How many `StreamClasses` are worked on at a time.
const CLASSES: Limits = Limits { total: 8, sweep: 6 };
/// How many `VideoStreams`: so many that the service's answers, and the waits for its quotas, do not bound what gets done.
const STREAMS: Limits = Limits { total: 192, sweep: 128 };
/// How many Cameras.
const CAMERAS: Limits = Limits { total: 32, sweep: 24 };

/// What the operator knows of the cluster.
#[derive(Clone)]
pub struct Caches {
    /// Every `StreamClass`.
    pub classes: Store<StreamClass>,
    /// Every `VideoStream`.
    pub streams: Store<VideoStream>,
    /// Every Camera.
    pub cameras: Store<Camera>,
    /// The metadata of every namespace.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The `Deployments` of producers, without their specs; see [`live_digest`].
    pub deployments: Store<Deployment>,
    /// The pods of producers, without what nobody reads.
    pub pods: Store<Pod>,
    /// `StreamClasses` that are not in the cache as they are.
    pub left_classes: LeftOut,
    /// `VideoStreams` that are not in the cache as they are.
    pub left_streams: LeftOut,
    /// Cameras that are not in the cache as they are.
    pub left_cameras: LeftOut,
    /// Which Cameras name which `VideoStream`.
    writers: Arc<Mutex<CamerasByStream>>,
}

/// The names of Cameras by the namespace and name of the `VideoStream` that they name.
type CamerasByStream = HashMap<(String, String), BTreeSet<String>>;

/// The other ends of the caches, for whoever fills them.
pub struct Writers {
    classes: Writer<StreamClass>,
    streams: Writer<VideoStream>,
    cameras: Writer<Camera>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
    deployments: Writer<Deployment>,
    pods: Writer<Pod>,
}

/// Where to say that an object is to be looked at.
#[derive(Clone)]
pub struct Triggers {
    /// To the `StreamClass` controller.
    pub classes: Trigger<StreamClass>,
    /// To the `VideoStream` controller.
    pub streams: Trigger<VideoStream>,
    /// To the Camera controller.
    pub cameras: Trigger<Camera>,
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            classes: Trigger::new(CLASSES),
            streams: Trigger::new(STREAMS),
            cameras: Trigger::new(CAMERAS),
        }
    }
}

/// Empty caches.
pub fn caches() -> (Caches, Writers) {
    let writers = Writers {
        classes: Writer::default(),
        streams: Writer::default(),
        cameras: Writer::default(),
        namespaces: Writer::default(),
        deployments: Writer::default(),
        pods: Writer::default(),
    };
    let caches = Caches {
        classes: writers.classes.as_reader(),
        streams: writers.streams.as_reader(),
        cameras: writers.cameras.as_reader(),
        namespaces: writers.namespaces.as_reader(),
        deployments: writers.deployments.as_reader(),
        pods: writers.pods.as_reader(),
        left_classes: LeftOut::default(),
        left_streams: LeftOut::default(),
        left_cameras: LeftOut::default(),
        writers: Arc::default(),
    };
    (caches, writers)
}

impl Caches {
    /// The kinds whose first list has not come yet.
    pub async fn missing(&self) -> Vec<&'static str> {
        // A zero wait: it is asked whether they are ready, not waited until.
        let now = std::time::Duration::ZERO;
        let mut missing = Vec::new();
        let mut note = |kind, waited: bool| {
            if !waited {
                missing.push(kind);
            }
        };
        note("streamclasses", tokio::time::timeout(now, self.classes.wait_until_ready()).await.is_ok());
        note("videostreams", tokio::time::timeout(now, self.streams.wait_until_ready()).await.is_ok());
        note("cameras", tokio::time::timeout(now, self.cameras.wait_until_ready()).await.is_ok());
        note("namespaces", tokio::time::timeout(now, self.namespaces.wait_until_ready()).await.is_ok());
        note("deployments", tokio::time::timeout(now, self.deployments.wait_until_ready()).await.is_ok());
        note("pods", tokio::time::timeout(now, self.pods.wait_until_ready()).await.is_ok());
        missing
    }

    /// Whether a class is not known as it is now: nothing is to be done about it, or by it.
    pub fn is_class_unreadable(&self, name: &str) -> bool {
        self.left_classes.is_unreadable("", name)
    }

    /// Whether a `VideoStream`, or its class, is not known as it is now.
    pub fn is_stream_unreadable(&self, stream: &VideoStream) -> bool {
        let namespace = stream.namespace().unwrap_or_default();
        self.left_streams.is_unreadable(&namespace, &stream.name_any())
            || self.is_class_unreadable(&stream.spec.stream_class_name)
    }

    /// Whether a Camera, its `VideoStream`, or the class of that, is not known as it is now.
    pub fn is_camera_unreadable(&self, camera: &Camera) -> bool {
        let namespace = camera.namespace().unwrap_or_default();
        let stream = camera.video_stream_name();
        self.left_cameras.is_unreadable(&namespace, &camera.name_any())
            || self.left_streams.is_unreadable(&namespace, stream)
            || self
                .streams
                .get(&ObjectRef::new(stream).within(&namespace))
                .is_some_and(|stream| self.is_class_unreadable(&stream.spec.stream_class_name))
    }

    /// The pods of a Camera's producer.
    pub fn producer_pods(&self, namespace: &str, camera: &str) -> Vec<Arc<Pod>> {
        let label = labels::camera_label(camera);
        self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && pod.labels().get(CAMERA_LABEL).is_some_and(|value| *value == label)
        })
    }

    /// The names of the Cameras that name this `VideoStream`.
    fn cameras_of(&self, namespace: &str, stream: &str) -> Vec<String> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let cameras = writers.get(&(namespace.to_owned(), stream.to_owned()));
        cameras.into_iter().flatten().cloned().collect()
    }

    /// Keeps in mind which `VideoStream` a Camera names.
    fn note_camera(&self, old: Option<&Camera>, new: Option<&Camera>) {
        let key =
            |camera: &Camera| (camera.namespace().unwrap_or_default(), camera.video_stream_name().to_owned());
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = old
            && new.is_none_or(|new| key(new) != key(old))
            && let Some(cameras) = writers.get_mut(&key(old))
        {
            cameras.remove(&old.name_any());
            if cameras.is_empty() {
                writers.remove(&key(old));
            }
        }
        if let Some(new) = new {
            writers.entry(key(new)).or_default().insert(new.name_any());
        }
    }
}

/// Watches everything until the process ends; a watch that breaks is made again. What is in nobody's scope here for good is left
/// out.
pub async fn run(client: Client, writers: Writers, caches: Caches, triggers: Triggers, scope: Scope) {
    let producers = watcher::Config::default().labels(&labels::producers_selector());
    let (c, t) = (&caches, &triggers);
    let of_others = move |stream: &VideoStream| scope.never_covers(stream);
    let producer = |metadata: Option<&ObjectMeta>| {
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        let label = labels.and_then(|labels| labels.get(CAMERA_LABEL).cloned());
        touched::producer(c, t, metadata.and_then(|metadata| metadata.namespace.clone()), label);
    };
    tokio::join!(
        follow(
            guarded(Api::all(client.clone()), c.classes.clone(), &c.left_classes, |_| false),
            writers.classes,
            shrink::any,
            |old, new| touched::classes(c, t, old, new)
        ),
        follow(
            guarded(Api::all(client.clone()), c.streams.clone(), &c.left_streams, of_others),
            writers.streams,
            shrink::any,
            |old, new| touched::streams(c, t, old, new)
        ),
        follow(
            guarded(Api::all(client.clone()), c.cameras.clone(), &c.left_cameras, |_| false),
            writers.cameras,
            shrink::any,
            |old, new| touched::cameras(c, t, old, new)
        ),
        follow(
            plain(Api::all(client.clone()), watcher::Config::default()),
            writers.namespaces,
            shrink::any,
            |old, new| touched::namespaces(c, t, old, new)
        ),
        follow(
            plain(Api::all(client.clone()), producers.clone()),
            writers.deployments,
            shrink::deployment,
            |old, new| producer(new.or(old).map(Resource::meta))
        ),
        follow(plain(Api::all(client), producers), writers.pods, shrink::pod, |old, new| {
            producer(new.or(old).map(Resource::meta));
        }),
    );
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use kube::runtime::reflector::Lookup;
    use kube::runtime::watcher::Event;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::left_out::Gate;
    use super::*;

    /// An object comes that cannot be read.
    fn break_it<K>(cache: Store<K>, left_out: &LeftOut, object: &Value)
    where
        K: Resource<DynamicType = ()>
            + Lookup<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + 'static,
    {
        let mut broken = object.clone();
        broken["spec"] = json!(7);
        let guard: DeserializeGuard<K> = serde_json::from_value(broken).unwrap();
        assert!(Gate::new(cache, left_out.clone(), |_: &K| false).pass(Event::Apply(guard)).is_none());
    }

    #[test]
    fn nothing_is_done_by_an_old_view_of_an_object_or_of_what_it_goes_by() {
        let (caches, mut writers) = caches();
        let class = json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass", "metadata": { "name": "standard" },
            "spec": { "aws": { "region": "eu-west-1", "accountID": "123456789012" } },
        });
        let stream = json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream",
            "metadata": { "name": "door", "namespace": "shop" }, "spec": { "streamClassName": "standard" },
        });
        let camera = testing::camera("a", &json!({}));
        let object: VideoStream = serde_json::from_value(stream.clone()).unwrap();
        writers.streams.apply_watcher_event(&Event::Apply(object.clone()));
        let blind = || {
            let class = caches.is_class_unreadable("standard");
            [class, caches.is_stream_unreadable(&object), caches.is_camera_unreadable(&camera)]
        };
        assert_eq!(blind(), [false; 3]);
        break_it(caches.cameras.clone(), &caches.left_cameras, &serde_json::to_value(&camera).unwrap());
        assert_eq!(blind(), [false, false, true]);
        caches.left_cameras.clear();
        break_it(caches.streams.clone(), &caches.left_streams, &stream);
        assert_eq!(blind(), [false, true, true]);
        caches.left_streams.clear();
        break_it(caches.classes.clone(), &caches.left_classes, &class);
        assert_eq!(blind(), [true; 3]);
    }
}
