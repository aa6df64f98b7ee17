//! The one Camera that may write a stream: taking its claim back when it is gone, and stopping its pod.

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

/// Whether a Camera holds a claim: it is the one that made it, it is not going, and it still names this stream.
fn holds(camera: &Camera, writer: &Writer, stream: &str) -> bool {
    camera.metadata.uid.as_deref() == Some(writer.uid.as_str())
        && camera.metadata.deletion_timestamp.is_none()
        && camera.video_stream_name() == stream
}

/// Takes the claim back from a Camera that no longer holds it, once its pod is gone. True while the pod is still ending.
pub async fn release_if_gone(pass: &Pass<'_>) -> Result<bool, Error> {
    let Some(writer) = pass.stream.writer() else { return Ok(false) };
    let stream = pass.stream.name_any();
    let reference = ObjectRef::new(&writer.name).within(&pass.namespace);
    if pass.ctx.cluster.caches.cameras.get(&reference).is_some_and(|camera| holds(&camera, writer, &stream)) {
        return Ok(false);
    }
    // The cache may be behind: a Camera that was just made is not to lose its claim.
    let cameras: Api<Camera> = Api::namespaced(pass.ctx.cluster.client.clone(), &pass.namespace);
    let camera = cameras.get_opt(&writer.name).await.map_err(Error::ReleaseWriter)?;
    if camera.is_some_and(|camera| holds(&camera, writer, &stream)) {
        return Ok(false);
    }
    if !stop(pass, writer).await? {
        return Ok(true);
    }
    let patch = json!({
        "metadata": { "resourceVersion": pass.stream.resource_version() },
        "status": { "writer": null },
    });
    let params = PatchParams { field_manager: Some(CLAIM_MANAGER.to_owned()), ..PatchParams::default() };
    match pass.api.patch_status(&stream, &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(false),
        // Something else has changed: the next pass sees it.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(true),
        Err(error) => Err(Error::ReleaseWriter(error)),
    }
}

/// Stops the producer that writes the stream. True when nothing of it runs any more, by a fresh read.
pub async fn stop(pass: &Pass<'_>, writer: &Writer) -> Result<bool, Error> {
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
    Ok(!pods.iter().any(|pod| is_of(pod, writer) && !has_ended(pod)))
}

/// Whether a pod is of this writer, and not of a successor of the same name.
fn is_of(pod: &Pod, writer: &Writer) -> bool {
    pod.labels().get(labels::CAMERA_UID_LABEL).is_none_or(|uid| *uid == writer.uid)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
