//! Who is to look at what when an object comes, changes or goes.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use streamfleet_crds::{CHECK_REQUESTED, Camera, ConditionType, StreamClass, VideoStream};

use super::{Caches, Triggers};
use crate::aws::Lane;
use crate::labels;

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

pub(super) fn classes(
    caches: &Caches,
    triggers: &Triggers,
    old: Option<&StreamClass>,
    new: Option<&StreamClass>,
) {
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

pub(super) fn streams(
    caches: &Caches,
    triggers: &Triggers,
    old: Option<&VideoStream>,
    new: Option<&VideoStream>,
) {
    let Some(stream) = new.or(old) else { return };
    // A label may say of which site the stream is.
    let is_relabelled = old.map(|old| &old.metadata.labels) != new.map(|new| &new.metadata.labels);
    if asks_for_something(old, new) || is_relabelled {
        triggers.streams.send(ObjectRef::from_obj(stream));
    } else if annotation(old) != annotation(new) {
        triggers.streams.push(ObjectRef::from_obj(stream), Lane::Asked);
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

pub(super) fn cameras(caches: &Caches, triggers: &Triggers, old: Option<&Camera>, new: Option<&Camera>) {
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

pub(super) fn namespaces(
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
pub(super) fn producer(
    caches: &Caches,
    triggers: &Triggers,
    namespace: Option<String>,
    label: Option<String>,
) {
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
    use kube::runtime::{reflector, watcher};
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::super::caches;
    use super::super::testing::camera;
    use super::*;
    use crate::queue::Trigger;

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
        assert_eq!(next(&triggers.streams), Some(("door".to_owned(), Lane::Asked)));
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
