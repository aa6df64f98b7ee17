//! The one Camera that may write a stream: taking its claim back when it is gone, and stopping its pod.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;
use streamfleet_crds::{Camera, Writer};

use super::{Error, Pass};
use crate::apply::{self, CLAIM_MANAGER};
use crate::labels;

/// How a claim stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The Camera that made it is there and names this stream.
    Holds,
    /// That Camera is there and names another stream. Its pod goes on, and follows its configuration.
    Moved,
    /// That Camera is gone, or going.
    Gone,
}

fn standing(camera: Option<&Camera>, writer: &Writer, stream: &str) -> Standing {
    match camera.filter(|camera| camera.metadata.uid.as_deref() == Some(writer.uid.as_str())) {
        Some(camera) if camera.metadata.deletion_timestamp.is_some() => Standing::Gone,
        Some(camera) if camera.video_stream_name() == stream => Standing::Holds,
        Some(_) => Standing::Moved,
        None => Standing::Gone,
    }
}

/// Takes the claim back from a Camera that no longer holds it; where it is gone, once its pod is. While that is still ending, for
/// how long it should have ended already.
pub async fn release_if_gone(pass: &Pass<'_>) -> Result<Option<Duration>, Error> {
    let Some(writer) = pass.stream.writer() else { return Ok(None) };
    let stream = pass.stream.name_any();
    let reference = ObjectRef::new(&writer.name).within(&pass.namespace);
    let cached = pass.ctx.cluster.caches.cameras.get(&reference);
    if standing(cached.as_deref(), writer, &stream) == Standing::Holds {
        return Ok(None);
    }
    // The cache may be behind: a Camera that was just made is not to lose its claim.
    let cameras: Api<Camera> = Api::namespaced(pass.ctx.cluster.client.clone(), &pass.namespace);
    let camera = cameras.get_opt(&writer.name).await.map_err(Error::ReleaseWriter)?;
    match standing(camera.as_ref(), writer, &stream) {
        Standing::Holds => return Ok(None),
        Standing::Gone => {
            if let Some(overdue) = stop(pass, writer).await? {
                return Ok(Some(overdue));
            }
        }
        Standing::Moved => {}
    }
    let patch = json!({
        "metadata": { "resourceVersion": pass.stream.resource_version() },
        "status": { "writer": null },
    });
    let params = PatchParams { field_manager: Some(CLAIM_MANAGER.to_owned()), ..PatchParams::default() };
    match pass.api.patch_status(&stream, &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(None),
        // Something else has changed: the next pass sees it.
        Err(kube::Error::Api(status)) if status.is_conflict() => Err(Error::Changed),
        Err(error) => Err(Error::ReleaseWriter(error)),
    }
}

/// Stops the producer that writes the stream. `None` when nothing of it runs any more, by a fresh read; else for how long its pod
/// should have ended already.
pub async fn stop(pass: &Pass<'_>, writer: &Writer) -> Result<Option<Duration>, Error> {
    let client = &pass.ctx.cluster.client;
    let selector = ListParams::default().labels(&labels::camera_selector(&writer.name));
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &pass.namespace);
    for deployment in deployments.list(&selector).await.map_err(Error::StopWriter)? {
        // The successor of a deleted Camera of the same name has a producer of its own.
        let is_writers = deployment.owner_references().iter().any(|owner| owner.uid == writer.uid);
        if is_writers && deployment.metadata.deletion_timestamp.is_none() {
            let uid = deployment.uid();
            apply::delete(&deployments, &deployment.name_any(), uid.as_deref())
                .await
                .map_err(Error::StopWriter)?;
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pass.namespace);
    let pods = pods.list(&selector).await.map_err(Error::StopWriter)?;
    let running = pods.iter().filter(|pod| is_of(pod, writer) && !has_ended(pod));
    Ok(running.map(|pod| overdue(pod, Timestamp::now())).max())
}

/// For how long a pod should have ended already: the time of its deletion is that at which its grace is over.
fn overdue(pod: &Pod, now: Timestamp) -> Duration {
    let due = pod.metadata.deletion_timestamp.as_ref();
    due.map_or(Duration::ZERO, |due| Duration::try_from(now.duration_since(due.0)).unwrap_or_default())
}

/// Whether a pod is of this writer, and not of a successor of the same name.
fn is_of(pod: &Pod, writer: &Writer) -> bool {
    pod.labels().get(labels::CAMERA_UID_LABEL).is_none_or(|uid| *uid == writer.uid)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn camera(uid: &str, stream: &str, is_deleting: bool) -> Camera {
        let mut value = json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": "Camera",
            "metadata": { "name": "door", "namespace": "shop", "uid": uid },
            "spec": { "source": { "rtsp": { "url": "rtsp://door.example/live" } }, "streamRef": { "name": stream } },
        });
        if is_deleting {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_is_overdue_once_its_grace_is_over() {
        let pod = |metadata| serde_json::from_value::<Pod>(json!({ "metadata": metadata })).unwrap();
        let ending = pod(json!({ "deletionTimestamp": "1970-01-01T00:01:00Z" }));
        let after = |pod: &Pod, second| overdue(pod, Timestamp::from_second(second).unwrap()).as_secs();
        assert_eq!([after(&ending, 30), after(&ending, 360), after(&pod(json!({})), 360)], [0, 300, 0]);
    }

    #[test]
    fn a_claim_ends_with_its_camera_or_when_that_turns_to_another_stream() {
        let writer = Writer { name: "door".to_owned(), uid: "u".to_owned() };
        let table = [
            (Some(camera("u", "entrance", false)), Standing::Holds),
            (Some(camera("u", "exit", false)), Standing::Moved),
            (Some(camera("u", "entrance", true)), Standing::Gone),
            (Some(camera("successor", "entrance", false)), Standing::Gone),
            (None, Standing::Gone),
        ];
        for (camera, expected) in table {
            assert_eq!(standing(camera.as_ref(), &writer, "entrance"), expected, "{camera:?}");
        }
    }
}
