//! The `VideoStream` that is made from a Camera's template.

use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use streamfleet_crds::{Camera, VideoStream, VideoStreamSpec};

use crate::labels;

/// The `VideoStream`, with only the fields that the template has: what is left out stays the API server's default.
pub fn video_stream(camera: &Camera, spec: &VideoStreamSpec) -> Value {
    let mut labels = labels::producer_labels(&camera.name_any());
    // It is not part of a producer.
    labels.remove(labels::NAME_LABEL);
    json!({
        "apiVersion": VideoStream::api_version(&()),
        "kind": VideoStream::kind(&()),
        "metadata": {
            "name": camera.name_any(),
            "namespace": camera.namespace(),
            "labels": labels,
            "ownerReferences": [labels::owner_reference(camera)],
        },
        "spec": spec,
    })
}
