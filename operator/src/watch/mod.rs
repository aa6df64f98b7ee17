//! One watch for each kind, whatever the number of controllers that look at it: it fills a cache and says to whom a change
//! matters.
//!
//! kube's own sharing of watches does not pass deletions on, which is what the release of a stream's writer waits for.

mod shrink;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use streamfleet_crds::{CHECK_REQUESTED, Camera, ConditionType, StreamClass, VideoStream};

use crate::aws::Lane;
use crate::labels::{self, CAMERA_LABEL};
use crate::queue::{Limits, Trigger};
use crate::scope::Scope;

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
    let all = watcher::Config::default();
    let (c, t) = (&caches, &triggers);
    let of_others = move |stream: &VideoStream| scope.never_covers(stream);
    let producer = |metadata: Option<&ObjectMeta>| {
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        let label = labels.and_then(|labels| labels.get(CAMERA_LABEL).cloned());
        producer_touched(c, t, metadata.and_then(|metadata| metadata.namespace.clone()), label);
    };
    tokio::join!(
        follow(
            guarded(Api::all(client.clone()), all.clone(), |_| false),
            writers.classes,
            shrink::any,
            |old, new| classes(c, t, old, new)
        ),
        follow(
            guarded(Api::all(client.clone()), all.clone(), of_others),
            writers.streams,
            shrink::any,
            |old, new| streams(c, t, old, new)
        ),
        follow(
            guarded(Api::all(client.clone()), all.clone(), |_| false),
            writers.cameras,
            shrink::any,
            |old, new| cameras(c, t, old, new)
        ),
        follow(watcher(Api::all(client.clone()), all), writers.namespaces, shrink::any, |old, new| {
            namespaces(c, t, old, new);
        }),
        follow(
            watcher(Api::all(client.clone()), producers.clone()),
            writers.deployments,
            shrink::deployment,
            |old, new| producer(new.or(old).map(Resource::meta))
        ),
        follow(watcher(Api::all(client), producers), writers.pods, shrink::pod, |old, new| {
            producer(new.or(old).map(Resource::meta));
        }),
    );
}

/// A watch that leaves out objects which cannot be read, so that one broken object does not stop the rest, and those that are
/// not wanted.
fn guarded<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    is_unwanted: impl Fn(&K) -> bool + Send,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config).try_filter_map(move |event| {
        let read = |guard: DeserializeGuard<K>| match guard.0 {
            Ok(object) => (!is_unwanted(&object)).then_some(object),
            Err(broken) => {
                let name = broken.metadata.name.as_deref().unwrap_or_default();
                let namespace = broken.metadata.namespace.as_deref().unwrap_or_default();
                tracing::warn!(kind = %K::kind(&()), namespace, name, error = %broken.error, "Object is left out, it cannot be read");
                None
            }
        };
        std::future::ready(Ok(match event {
            watcher::Event::Apply(guard) => read(guard).map(watcher::Event::Apply),
            watcher::Event::Delete(guard) => read(guard).map(watcher::Event::Delete),
            watcher::Event::InitApply(guard) => read(guard).map(watcher::Event::InitApply),
            watcher::Event::Init => Some(watcher::Event::Init),
            watcher::Event::InitDone => Some(watcher::Event::InitDone),
        }))
    })
}

/// Fills a cache and calls `touched` with an object's state before and after, deletions and relists included.
async fn follow<K>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
    mut writer: Writer<K>,
    shrink: fn(&mut K),
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
        if let watcher::Event::Apply(object)
        | watcher::Event::Delete(object)
        | watcher::Event::InitApply(object) = &mut event
        {
            shrink(object);
        }
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

/// Whether what a controller goes by has changed: the spec, a finalizer that was taken away, or the wish to delete; what we write
/// ourselves, status and finalizer, does not count.
fn asks_for_something<K: Resource>(old: Option<&K>, new: Option<&K>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let (old, new) = (old.meta(), new.meta());
    let finalizers = |meta: &ObjectMeta| meta.finalizers.clone().unwrap_or_default();
    let left = finalizers(new);
    old.uid != new.uid
        || old.generation != new.generation
        || finalizers(old).iter().any(|finalizer| !left.contains(finalizer))
        || old.deletion_timestamp != new.deletion_timestamp
}

fn classes(caches: &Caches, triggers: &Triggers, old: Option<&StreamClass>, new: Option<&StreamClass>) {
    let Some(class) = new.or(old) else { return };
    if asks_for_something(old, new) {
        triggers.classes.send(ObjectRef::from_obj(class));
    }
    // What is said about alarms, which follows the number of streams, matters to none of them.
    let matters = |condition: &&Condition| condition.type_ != ConditionType::AlarmsReady.as_str();
    let conditions = |class: Option<&StreamClass>| {
        let conditions = &class?.status.as_ref()?.conditions;
        // Not the message: that of a network failure is another each time, and says nothing more to a stream.
        let said = |condition: &Condition| {
            let Condition { type_, status, reason, observed_generation, .. } = condition;
            (type_.clone(), status.clone(), reason.clone(), *observed_generation)
        };
        Some(conditions.iter().filter(matters).map(said).collect::<Vec<_>>())
    };
    // The labels say whose a class is, where its operator goes by them.
    let labels = |class: Option<&StreamClass>| class?.metadata.labels.clone();
    if !asks_for_something(old, new) && conditions(old) == conditions(new) && labels(old) == labels(new) {
        return;
    }
    let name = class.name_any();
    for stream in caches.streams.state_filter(|stream| stream.spec.stream_class_name == name) {
        triggers.streams.sweep(ObjectRef::from_obj(&*stream));
        // The class says how the producers of its streams' cameras are made.
        cameras_of(caches, triggers, &stream, Lane::Sweep);
    }
}

fn streams(caches: &Caches, triggers: &Triggers, old: Option<&VideoStream>, new: Option<&VideoStream>) {
    let Some(stream) = new.or(old) else { return };
    // A label may say of which site the stream is.
    let is_relabelled = old.map(|old| &old.metadata.labels) != new.map(|new| &new.metadata.labels);
    if asks_for_something(old, new) || annotation(old) != annotation(new) || is_relabelled {
        triggers.streams.send(ObjectRef::from_obj(stream));
    }
    if old.is_none() || new.is_none() || is_relabelled {
        triggers.classes.sweep(ObjectRef::new(&stream.spec.stream_class_name));
    }
    cameras_of(caches, triggers, stream, Lane::Fresh);
}

/// Asks for a check now, by any value that it did not have before.
fn annotation(stream: Option<&VideoStream>) -> Option<&String> {
    stream?.annotations().get(CHECK_REQUESTED)
}

fn cameras_of(caches: &Caches, triggers: &Triggers, stream: &VideoStream, lane: Lane) {
    let namespace = stream.namespace().unwrap_or_default();
    for camera in caches.cameras_of(&namespace, &stream.name_any()) {
        triggers.cameras.push(ObjectRef::new(&camera).within(&namespace), lane);
    }
}

fn cameras(caches: &Caches, triggers: &Triggers, old: Option<&Camera>, new: Option<&Camera>) {
    caches.note_camera(old, new);
    let Some(camera) = new.or(old) else { return };
    if asks_for_something(old, new) {
        triggers.cameras.send(ObjectRef::from_obj(camera));
    }
    // A Camera that went, or turned to another stream, no longer writes the one that it wrote.
    let stream = |camera: &Camera| camera.video_stream_name().to_owned();
    if let Some(old) = old
        && new.is_none_or(|new| stream(new) != stream(old) || new.metadata.uid != old.metadata.uid)
    {
        let namespace = old.namespace().unwrap_or_default();
        triggers.streams.send(ObjectRef::new(&stream(old)).within(&namespace));
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
    if !triggers.streams.is_open() {
        return;
    }
    for stream in caches.streams.state_filter(|stream| stream.metadata.namespace.as_ref() == Some(&name)) {
        triggers.streams.sweep(ObjectRef::from_obj(&*stream));
    }
}

/// A producer's pod or `Deployment` came, went or changed: that matters to its Camera, and to a `VideoStream` that waits for
/// the pod's end.
fn producer_touched(caches: &Caches, triggers: &Triggers, namespace: Option<String>, label: Option<String>) {
    let (Some(namespace), Some(label)) = (namespace, label) else { return };
    if !triggers.cameras.is_open() {
        return;
    }
    let exact = caches.cameras.get(&ObjectRef::new(&label).within(&namespace));
    let camera = exact.or_else(|| {
        caches.cameras.find(|camera| {
            camera.metadata.namespace.as_ref() == Some(&namespace)
                && labels::camera_label(&camera.name_any()) == label
        })
    });
    if let Some(camera) = camera {
        triggers.cameras.send(ObjectRef::from_obj(&*camera));
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
        triggers.streams.send(ObjectRef::from_obj(&*stream));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use futures::stream;
    use serde_json::{Value, json};
    use tokio::time::Instant;

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
        follow(events, Writer::default(), shrink::any, |old, new| {
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
            (json!({ "finalizers": ["x"] }), false),
            (json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), true),
            (json!({ "uid": "successor" }), true),
        ];
        for (change, expected) in table {
            let after = camera("a", &change);
            assert_eq!(asks_for_something(Some(&before), Some(&after)), expected, "{change}");
        }
        assert!(asks_for_something(None, Some(&before)) && asks_for_something(Some(&before), None));
        assert!(asks_for_something(Some(&camera("a", &json!({ "finalizers": ["x"] }))), Some(&before)));
    }

    /// The next object of a queue.
    fn next<K: reflector::Lookup<DynamicType = ()> + 'static>(
        trigger: &Trigger<K>,
    ) -> Option<(String, Lane)> {
        let (key, lane) = trigger.queue().pop(Instant::now())?;
        Some((key.name.clone(), lane))
    }

    fn open_triggers() -> Triggers {
        let triggers = Triggers::default();
        triggers.classes.queue().open();
        triggers.streams.queue().open();
        triggers.cameras.queue().open();
        triggers
    }

    #[test]
    fn a_camera_that_goes_brings_the_stream_back_that_it_wrote() {
        let (triggers, (caches, _writers)) = (open_triggers(), caches());
        let present = camera("a", &json!({}));
        cameras(&caches, &triggers, None, Some(&present));
        assert_eq!(next(&triggers.streams), None);
        cameras(&caches, &triggers, Some(&present), None);
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Fresh)));
        assert_eq!(next(&triggers.cameras), Some(("a".to_owned(), Lane::Fresh)));
    }

    fn stream(name: &str, changes: &Value) -> VideoStream {
        let mut value = json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": "VideoStream",
            "metadata": { "name": name, "namespace": "shop", "uid": name, "generation": 1 },
            "spec": { "streamClassName": "standard" },
        });
        for (key, value_of) in changes.as_object().into_iter().flatten() {
            value["metadata"][key] = value_of.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_stream_that_changes_brings_back_the_cameras_that_name_it() {
        let (triggers, (caches, _writers)) = (open_triggers(), caches());
        let object = stream("door", &json!({}));
        for name in ["a", "b"] {
            caches.note_camera(None, Some(&camera(name, &json!({}))));
        }
        caches.note_camera(Some(&camera("b", &json!({}))), None);
        streams(&caches, &triggers, Some(&object), Some(&object));
        assert_eq!(next(&triggers.streams), None, "nothing is asked of the stream itself");
        assert_eq!(next(&triggers.cameras), Some(("a".to_owned(), Lane::Fresh)));
        assert_eq!(next(&triggers.cameras), None);
    }

    #[test]
    fn an_annotation_asks_for_a_check_now() {
        let (triggers, (caches, _writers)) = (open_triggers(), caches());
        let plain = stream("door", &json!({}));
        let asked = stream("door", &json!({ "annotations": { CHECK_REQUESTED: "1" } }));
        streams(&caches, &triggers, Some(&plain), Some(&asked));
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Fresh)));
        triggers.streams.queue().close();
        triggers.streams.queue().open();
        streams(&caches, &triggers, Some(&asked), Some(&asked));
        assert_eq!(next(&triggers.streams), None);
    }

    #[test]
    fn another_label_brings_a_stream_back_and_has_its_class_look_at_the_sites() {
        let (triggers, (caches, _writers)) = (open_triggers(), caches());
        let (before, after) =
            (stream("door", &json!({})), stream("door", &json!({ "labels": { "site": "4" } })));
        streams(&caches, &triggers, Some(&before), Some(&after));
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Fresh)));
        assert_eq!(next(&triggers.classes), Some(("standard".to_owned(), Lane::Sweep)));
    }

    #[test]
    fn the_streams_of_a_class_that_changes_go_behind_what_is_new() {
        let (triggers, (caches, mut writers)) = (open_triggers(), caches());
        writers.streams.apply_watcher_event(&watcher::Event::Apply(stream("door", &json!({}))));
        let class: StreamClass = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass", "metadata": { "name": "standard" },
            "spec": { "aws": { "region": "eu-west-1", "accountID": "123456789012" } },
        }))
        .unwrap();
        classes(&caches, &triggers, None, Some(&class));
        assert_eq!(next(&triggers.classes), Some(("standard".to_owned(), Lane::Fresh)));
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Sweep)));
    }

    #[test]
    fn other_words_about_a_class_bring_no_stream_back_and_another_reason_does() {
        let (triggers, (caches, mut writers)) = (open_triggers(), caches());
        writers.streams.apply_watcher_event(&watcher::Event::Apply(stream("door", &json!({}))));
        let class = |reason: &str, message: &str| -> StreamClass {
            serde_json::from_value(json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass",
                "metadata": { "name": "standard", "uid": "standard", "generation": 1 },
                "spec": { "aws": { "region": "eu-west-1", "accountID": "123456789012" } },
                "status": { "conditions": [{
                    "type": "Ready", "status": "False", "reason": reason, "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }] },
            }))
            .unwrap()
        };
        let before = class("EndpointUnreachable", "timed out");
        classes(&caches, &triggers, Some(&before), Some(&class("EndpointUnreachable", "connection refused")));
        assert_eq!(next(&triggers.streams), None);
        classes(&caches, &triggers, Some(&before), Some(&class("CallerVerified", "timed out")));
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Sweep)));
    }
}
