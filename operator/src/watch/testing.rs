//! Objects as they come by a watch.

#![allow(clippy::missing_panics_doc, reason = "fixtures panic where a test is wrong")]

use serde_json::{Value, json};
use streamfleet_crds::Camera;

/// A Camera of this name, with these changes of its metadata.
pub fn camera(name: &str, changes: &Value) -> Camera {
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
