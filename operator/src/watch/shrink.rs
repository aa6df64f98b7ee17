//! What of an object is kept in the caches: what somebody here reads. The rest is most of its memory.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use kube::Resource;
use serde_json::json;

use crate::labels::{LIVE_DIGEST, REVISION_ANNOTATION, stable_hash};

/// Drops the record of who wrote what, and kubectl's copy of the object.
pub fn any<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.annotations = None;
        }
    }
}

/// Drops the spec of a producer's `Deployment`, of which only a digest is kept.
pub fn deployment(object: &mut Deployment) {
    let digest = live_digest(object);
    any(object);
    object.metadata.annotations = Some([(LIVE_DIGEST.to_owned(), digest)].into());
    object.spec = None;
    if let Some(status) = &mut object.status {
        // What says why no pod comes is there only while there is none.
        let conditions = status.conditions.take().unwrap_or_default();
        let failures: Vec<_> =
            conditions.into_iter().filter(|condition| condition.type_ == "ReplicaFailure").collect();
        *status = k8s_openapi::api::apps::v1::DeploymentStatus {
            conditions: (!failures.is_empty()).then_some(failures),
            ..Default::default()
        };
    }
}

/// Tells whether what we apply of a `Deployment` has been changed: its spec, labels and owners. What the API server and its
/// controllers fill in counts as well, since it is the same each time; the status and others' annotations do not. A digest
/// that was kept is given back.
pub fn live_digest(object: &Deployment) -> String {
    let kept = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(LIVE_DIGEST));
    if let (Some(kept), None) = (kept, &object.spec) {
        return kept.clone();
    }
    let metadata = &object.metadata;
    let counted = json!([metadata.uid, metadata.labels, metadata.owner_references, object.spec]);
    format!("{:016x}", stable_hash(counted.to_string().as_bytes()))
}

/// Keeps of a producer's pod what says where it is and how it does.
pub fn pod(object: &mut Pod) {
    any(object);
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.retain(|key, _| key == REVISION_ANNOTATION);
    }
    object.spec = object.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        // A pod without containers is none.
        containers: Vec::<Container>::new(),
        ..PodSpec::default()
    });
    object.status = object.status.take().map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        conditions: status.conditions.map(|mut conditions| {
            conditions.retain(|condition| condition.type_ == "PodScheduled" && condition.status != "True");
            conditions
        }),
        container_statuses: status
            .container_statuses
            .map(|statuses| statuses.into_iter().map(container_status).collect()),
        ..PodStatus::default()
    });
}

fn container_status(status: ContainerStatus) -> ContainerStatus {
    ContainerStatus {
        name: status.name,
        image: status.image,
        state: status.state,
        last_state: status.last_state,
        ..ContainerStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use streamfleet_crds::Camera;

    use super::*;

    #[test]
    fn what_nobody_reads_is_dropped() {
        let mut camera: Camera = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "Camera",
            "metadata": {
                "name": "a", "managedFields": [{ "manager": "x" }],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1" },
            },
            "spec": { "source": { "rtsp": { "url": "rtsp://door.example/live" } }, "streamRef": { "name": "door" } },
        }))
        .unwrap();
        any(&mut camera);
        assert_eq!(camera.metadata.managed_fields, None);
        assert_eq!(camera.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["kept"]);
    }

    fn deployment_with(change: impl Fn(&mut Value)) -> Deployment {
        let mut value = json!({
            "metadata": { "name": "a", "uid": "u", "labels": { "a": "b" }, "resourceVersion": "1" },
            "spec": {
                "replicas": 1, "selector": {},
                "template": { "spec": { "containers": [{ "name": "producer", "image": "x" }] } },
            },
            "status": { "replicas": 1, "conditions": [
                { "type": "Available", "status": "True" },
                { "type": "ReplicaFailure", "status": "True", "message": "quota" },
            ] },
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_shrunk_deployment_still_tells_whether_it_was_changed() {
        type Change = fn(&mut Value);
        let whole = deployment_with(|_| ());
        let digest = live_digest(&whole);
        let mut shrunk = whole;
        deployment(&mut shrunk);
        assert!(shrunk.spec.is_none());
        assert_eq!(live_digest(&shrunk), digest);
        let conditions = shrunk.status.unwrap().conditions.unwrap();
        assert_eq!(conditions.len(), 1);

        let same: [Change; 3] = [
            |value| value["metadata"]["resourceVersion"] = "2".into(),
            |value| value["status"]["replicas"] = 2.into(),
            |value| value["metadata"]["annotations"] = json!({ "deployment.kubernetes.io/revision": "2" }),
        ];
        for change in same {
            assert_eq!(live_digest(&deployment_with(change)), digest);
        }
        let other: [Change; 3] = [
            |value| value["spec"]["replicas"] = 2.into(),
            |value| value["spec"]["template"]["spec"]["containers"][0]["image"] = "y".into(),
            |value| value["metadata"]["labels"] = json!({}),
        ];
        for change in other {
            assert_ne!(live_digest(&deployment_with(change)), digest);
        }
    }

    #[test]
    fn a_pod_keeps_what_its_state_is_told_from() {
        let mut object: Pod = serde_json::from_value(json!({
            "metadata": { "name": "a", "annotations": { REVISION_ANNOTATION: "r", "other": "x" } },
            "spec": { "nodeName": "n", "containers": [{ "name": "producer", "image": "x", "args": ["long"] }] },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "qosClass": "Burstable",
                "conditions": [
                    { "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": "True" },
                ],
                "containerStatuses": [{
                    "name": "producer", "image": "x", "imageID": "long", "ready": true, "restartCount": 0,
                    "state": { "running": {} },
                }],
            },
        }))
        .unwrap();
        pod(&mut object);
        assert_eq!(
            object.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(),
            [REVISION_ANNOTATION]
        );
        let (spec, status) = (object.spec.unwrap(), object.status.unwrap());
        assert_eq!((spec.node_name.as_deref(), spec.containers.len()), (Some("n"), 0));
        assert_eq!((status.pod_ip.as_deref(), status.conditions.unwrap().len()), (Some("10.0.0.1"), 0));
        assert!(status.container_statuses.unwrap()[0].state.as_ref().unwrap().running.is_some());
    }
}
