//! One watch for each kind, whatever the number of controllers that look at it: it fills a cache and says to whom a change
//! matters.
//!
//! kube's own sharing of watches does not pass deletions on, which is what the release of a stream's writer waits for.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use streamfleet_crds::{Camera, StreamClass, VideoStream};
use tokio::sync::mpsc::UnboundedSender;

use crate::labels::{self, CAMERA_LABEL};

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
    /// The `Deployments` of producers.
    pub deployments: Store<Deployment>,
    /// The pods of producers.
    pub pods: Store<Pod>,
}

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
    pub classes: UnboundedSender<ObjectRef<StreamClass>>,
    /// To the `VideoStream` controller.
    pub streams: UnboundedSender<ObjectRef<VideoStream>>,
    /// To the Camera controller.
    pub cameras: UnboundedSender<ObjectRef<Camera>>,
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

    /// The pods of a Camera's producer.
    pub fn producer_pods(&self, namespace: &str, camera: &str) -> Vec<Arc<Pod>> {
        let label = labels::camera_label(camera);
        self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && pod.labels().get(CAMERA_LABEL).is_some_and(|value| *value == label)
        })
    }
}

/// Watches everything until the process ends; a watch that breaks is made again.
pub async fn run(client: Client, writers: Writers, caches: Caches, triggers: Triggers) {
    let producers = watcher::Config::default().labels(&labels::producers_selector());
    let all = watcher::Config::default();
    let (c, t) = (&caches, &triggers);
    tokio::join!(
        follow(guarded(Api::all(client.clone()), all.clone()), writers.classes, |old, new| classes(
            c, t, old, new
        )),
        follow(guarded(Api::all(client.clone()), all.clone()), writers.streams, |old, new| streams(
            c, t, old, new
        )),
        follow(guarded(Api::all(client.clone()), all.clone()), writers.cameras, |old, new| cameras(
            t, old, new
        )),
        follow(watcher(Api::all(client.clone()), all), writers.namespaces, |old, new| namespaces(
            c, t, old, new
        )),
        follow(watcher(Api::all(client.clone()), producers.clone()), writers.deployments, |old, new| {
            let touched =
                new.or(old).map(|deployment| (deployment.namespace(), camera_label(deployment.labels())));
            producer_touched(c, t, touched);
        }),
        follow(watcher(Api::all(client), producers), writers.pods, |old, new| {
            let touched = new.or(old).map(|pod| (pod.namespace(), camera_label(pod.labels())));
            producer_touched(c, t, touched);
        }),
    );
}

/// A watch that leaves out objects which cannot be read, so that one broken object does not stop the rest.
fn guarded<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config).try_filter_map(|event| async move {
        let read = |guard: DeserializeGuard<K>| match guard.0 {
            Ok(object) => Some(object),
            Err(broken) => {
                let name = broken.metadata.name.as_deref().unwrap_or_default();
                let namespace = broken.metadata.namespace.as_deref().unwrap_or_default();
                tracing::warn!(kind = %K::kind(&()), namespace, name, error = %broken.error, "Object is left out, it cannot be read");
                None
            }
        };
        Ok(match event {
            watcher::Event::Apply(guard) => read(guard).map(watcher::Event::Apply),
            watcher::Event::Delete(guard) => read(guard).map(watcher::Event::Delete),
            watcher::Event::InitApply(guard) => read(guard).map(watcher::Event::InitApply),
            watcher::Event::Init => Some(watcher::Event::Init),
            watcher::Event::InitDone => Some(watcher::Event::InitDone),
        })
    })
}

/// Fills a cache and calls `touched` with an object's state before and after, deletions and relists included.
async fn follow<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
    mut writer: Writer<K>,
    touched: impl Fn(Option<&K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    let reader = writer.as_reader();
    let mut events = std::pin::pin!(events.default_backoff());
    while let Some(event) = events.next().await {
        let mut event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %<K as Resource>::kind(&()), error = %error, "Watch broke, it is made again");
                continue;
            }
        };
        strip(&mut event);
        match &event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                let key = ObjectRef::from_obj(object);
                let before = reader.get(&key);
                writer.apply_watcher_event(&event);
                touched(before.as_deref(), reader.get(&key).as_deref());
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => writer.apply_watcher_event(&event),
            watcher::Event::InitDone => {
                let mut before: HashMap<_, _> = reader
                    .state()
                    .into_iter()
                    .map(|object| (ObjectRef::from_obj(&*object), object))
                    .collect();
                writer.apply_watcher_event(&event);
                for object in reader.state() {
                    let old = before.remove(&ObjectRef::from_obj(&*object));
                    touched(old.as_deref(), Some(&object));
                }
                for object in before.into_values() {
                    touched(Some(&object), None);
                }
            }
        }
    }
}

/// Drops what nobody here reads, which is most of an object's memory.
fn strip<K: Resource>(event: &mut watcher::Event<K>) {
    let (watcher::Event::Apply(object) | watcher::Event::Delete(object) | watcher::Event::InitApply(object)) =
        event
    else {
        return;
    };
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Whether what a controller goes by has changed: the spec, the finalizers or the wish to delete; our own status writes do
/// not count.
fn asks_for_something<K: Resource>(old: Option<&K>, new: Option<&K>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let (old, new) = (old.meta(), new.meta());
    old.uid != new.uid
        || old.generation != new.generation
        || old.finalizers != new.finalizers
        || old.deletion_timestamp != new.deletion_timestamp
}

/// Sends; the receiver is gone only when the process ends.
fn send<K: Resource<DynamicType = ()>>(to: &UnboundedSender<ObjectRef<K>>, object: &K) {
    let _ = to.send(ObjectRef::from_obj(object));
}

fn classes(caches: &Caches, triggers: &Triggers, old: Option<&StreamClass>, new: Option<&StreamClass>) {
    let Some(class) = new.or(old) else { return };
    if asks_for_something(old, new) {
        send(&triggers.classes, class);
    }
    let conditions = |class: Option<&StreamClass>| {
        class.and_then(|class| class.status.as_ref()).map(|status| status.conditions.clone())
    };
    if !asks_for_something(old, new) && conditions(old) == conditions(new) {
        return;
    }
    let name = class.name_any();
    for stream in caches.streams.state_filter(|stream| stream.spec.stream_class_name == name) {
        send(&triggers.streams, &*stream);
        // The class says how the producers of its streams' cameras are made.
        cameras_of(caches, triggers, &stream);
    }
}

fn streams(caches: &Caches, triggers: &Triggers, old: Option<&VideoStream>, new: Option<&VideoStream>) {
    let Some(stream) = new.or(old) else { return };
    if asks_for_something(old, new) {
        send(&triggers.streams, stream);
    }
    if old.is_none() || new.is_none() {
        let _ = triggers.classes.send(ObjectRef::new(&stream.spec.stream_class_name));
    }
    cameras_of(caches, triggers, stream);
}

fn cameras_of(caches: &Caches, triggers: &Triggers, stream: &VideoStream) {
    let (namespace, name) = (stream.namespace(), stream.name_any());
    let cameras = caches
        .cameras
        .state_filter(|camera| camera.namespace() == namespace && camera.video_stream_name() == name);
    for camera in cameras {
        send(&triggers.cameras, &*camera);
    }
}

fn cameras(triggers: &Triggers, old: Option<&Camera>, new: Option<&Camera>) {
    let Some(camera) = new.or(old) else { return };
    if asks_for_something(old, new) {
        send(&triggers.cameras, camera);
    }
    // A Camera that went, or turned to another stream, no longer writes the one that it wrote.
    let stream = |camera: &Camera| camera.video_stream_name().to_owned();
    if let Some(old) = old
        && new.is_none_or(|new| stream(new) != stream(old) || new.metadata.uid != old.metadata.uid)
    {
        let namespace = old.namespace().unwrap_or_default();
        let _ = triggers.streams.send(ObjectRef::new(&stream(old)).within(&namespace));
    }
}

fn namespaces(
    caches: &Caches,
    triggers: &Triggers,
    old: Option<&PartialObjectMeta<Namespace>>,
    new: Option<&PartialObjectMeta<Namespace>>,
) {
    if let (Some(old), Some(new)) = (old, new)
        && old.metadata.labels == new.metadata.labels
    {
        return;
    }
    let Some(name) = new.or(old).and_then(|namespace| namespace.metadata.name.clone()) else { return };
    for stream in caches.streams.state_filter(|stream| stream.metadata.namespace.as_ref() == Some(&name)) {
        send(&triggers.streams, &*stream);
    }
}

fn camera_label(labels: &std::collections::BTreeMap<String, String>) -> Option<String> {
    labels.get(CAMERA_LABEL).cloned()
}

/// A producer's pod or `Deployment` came, went or changed: that matters to its Camera, and to a `VideoStream` that waits for
/// the pod's end.
fn producer_touched(caches: &Caches, triggers: &Triggers, touched: Option<(Option<String>, Option<String>)>) {
    let Some((Some(namespace), Some(label))) = touched else { return };
    let exact = caches.cameras.get(&ObjectRef::new(&label).within(&namespace));
    let camera = exact.or_else(|| {
        caches.cameras.find(|camera| {
            camera.metadata.namespace.as_ref() == Some(&namespace)
                && labels::camera_label(&camera.name_any()) == label
        })
    });
    if let Some(camera) = camera {
        send(&triggers.cameras, &*camera);
    }
    let waits_for_it = |stream: &VideoStream| {
        stream.metadata.namespace.as_ref() == Some(&namespace)
            && stream.writer().is_some_and(|writer| labels::camera_label(&writer.name) == label)
    };
    let is_waiting = |stream: &VideoStream| {
        stream.metadata.deletion_timestamp.is_some()
            || stream.writer().is_some_and(|writer| {
                caches.cameras.get(&ObjectRef::new(&writer.name).within(&namespace)).is_none()
            })
    };
    for stream in caches.streams.state_filter(|stream| waits_for_it(stream) && is_waiting(stream)) {
        send(&triggers.streams, &*stream);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;
    use serde_json::{Value, json};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn camera(name: &str, changes: &Value) -> Camera {
        let mut value = json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": "Camera",
            "metadata": { "name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "1" },
            "spec": { "source": { "rtsp": { "url": "rtsp://door.example/live" } }, "streamRef": { "name": "door" } },
        });
        for (key, value_of) in changes.as_object().into_iter().flatten() {
            value["metadata"][key] = value_of.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    /// What was touched, as name, whether it was there before, and whether it is there after.
    async fn touched(events: Vec<watcher::Event<Camera>>) -> Vec<(String, bool, bool)> {
        let seen = Mutex::new(Vec::new());
        let events = stream::iter(events.into_iter().map(Ok));
        follow(events, Writer::default(), |old, new| {
            let name = new.or(old).map(ResourceExt::name_any).unwrap_or_default();
            seen.lock().unwrap().push((name, old.is_some(), new.is_some()));
        })
        .await;
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        seen
    }

    fn told(name: &str, before: bool, after: bool) -> (String, bool, bool) {
        (name.to_owned(), before, after)
    }

    #[tokio::test]
    async fn what_comes_changes_and_goes_is_told() {
        let object = || camera("a", &json!({}));
        let events = vec![
            watcher::Event::Apply(object()),
            watcher::Event::Apply(object()),
            watcher::Event::Delete(object()),
        ];
        assert_eq!(
            touched(events).await,
            [told("a", false, true), told("a", true, false), told("a", true, true)]
        );
    }

    #[tokio::test]
    async fn what_went_while_the_watch_was_broken_is_told() {
        use watcher::Event::{Init, InitApply, InitDone};
        let events = vec![
            Init,
            InitApply(camera("a", &json!({}))),
            InitApply(camera("b", &json!({}))),
            InitDone,
            Init,
            InitApply(camera("b", &json!({}))),
            InitDone,
        ];
        let expected =
            [told("a", false, true), told("a", true, false), told("b", false, true), told("b", true, true)];
        assert_eq!(touched(events).await, expected);
    }

    #[test]
    fn our_own_status_writes_bring_nobody_back() {
        let before = camera("a", &json!({}));
        let table = [
            (json!({ "resourceVersion": "2" }), false),
            (json!({ "generation": 2 }), true),
            (json!({ "finalizers": ["x"] }), true),
            (json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), true),
            (json!({ "uid": "successor" }), true),
        ];
        for (change, expected) in table {
            let after = camera("a", &change);
            assert_eq!(asks_for_something(Some(&before), Some(&after)), expected, "{change}");
        }
        assert!(asks_for_something(None, Some(&before)) && asks_for_something(Some(&before), None));
    }

    #[test]
    fn a_camera_that_goes_brings_the_stream_back_that_it_wrote() {
        let (classes, _classes) = unbounded_channel();
        let (streams, mut for_streams) = unbounded_channel();
        let (to_cameras, mut for_cameras) = unbounded_channel();
        let triggers = Triggers { classes, streams, cameras: to_cameras };
        let present = camera("a", &json!({}));
        cameras(&triggers, None, Some(&present));
        assert!(for_streams.try_recv().is_err());
        cameras(&triggers, Some(&present), None);
        assert_eq!(for_streams.try_recv().unwrap(), ObjectRef::new("door").within("shop"));
        assert_eq!(for_cameras.try_recv().unwrap(), ObjectRef::new("a").within("shop"));
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let mut event = watcher::Event::Apply(camera(
            "a",
            &json!({
                "managedFields": [{ "manager": "x" }],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1" },
            }),
        ));
        strip(&mut event);
        let watcher::Event::Apply(camera) = event else { panic!() };
        assert_eq!(camera.metadata.managed_fields, None);
        assert_eq!(camera.annotations().keys().collect::<Vec<_>>(), ["kept"]);
    }
}
