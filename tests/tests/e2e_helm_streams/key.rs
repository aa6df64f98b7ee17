//! A KMS key that there is not. The service makes the stream all the same, and looks at the key only when video comes: the stream is
//! well, and the Camera says what is wrong.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;
use streamfleet_crds::{Camera, ConditionType};
use streamfleet_tests::e2e::manifests::camera;
use streamfleet_tests::e2e::objects::{has_condition, pod_of};
use streamfleet_tests::e2e::scene::ACTIVE;
use streamfleet_tests::e2e::{Scene, World};

/// The stream and its camera.
const NAME: &str = "keyless";
/// `KMS_KEY_NOT_FOUND`, an acknowledgement of the first fragment and of each that is tried again.
const NOT_FOUND: u32 = 4506;

/// A stream of a key that is not there, and a camera that is to be recorded in it.
pub async fn is_named_that_nobody_has(scene: &Scene<&World>) -> Result<()> {
    scene.fault("PutMedia", NAME, &json!({ "action": "ack-error", "errorId": NOT_FOUND })).await?;
    scene.apply(NAME, &json!({ "kmsKeyID": "alias/nowhere" })).await?;
    let mut writer = camera(NAME, "", &json!({ "streamRef": { "name": NAME } }));
    writer["spec"]["source"] = json!({ "testPattern": { "width": 320, "height": 192 } });
    scene.world.apply(&scene.namespace, &[writer]).await?.succeeded().map(drop)
}

/// The Camera says so, and what is to be done; gives the pod that tries to record it.
pub async fn is_missed(scene: &Scene<&World>) -> Result<Pod> {
    let unusable = (ConditionType::Ready, "False", "KmsKeyUnusable");
    let (_, message) = has_condition(&scene.world.api::<Camera>(&scene.namespace), NAME, unusable).await?;
    for text in ["enable the key", "kms:GenerateDataKey", "in its key policy", &NOT_FOUND.to_string()] {
        ensure!(message.contains(text), "the camera does not say {text:?}, but {message:?}");
    }
    has_condition(&scene.streams(), NAME, ACTIVE).await?;
    scene.steps.done(format!("{NAME}: the stream was made, and its Camera says: {message}"));
    pod_of(&scene.world.client, &scene.namespace, NAME).await
}

/// The key is there: the same pod records, without a restart.
pub async fn is_found(scene: &Scene<&World>, before: &Pod) -> Result<()> {
    let recording = (ConditionType::Ready, "True", "Recording");
    has_condition(&scene.world.api::<Camera>(&scene.namespace), NAME, recording).await?;
    let now = pod_of(&scene.world.client, &scene.namespace, NAME).await?;
    ensure!(now.uid() == before.uid(), "another pod records: {}", now.name_any());
    let restarts = now.status.and_then(|status| status.container_statuses).unwrap_or_default();
    ensure!(restarts.iter().all(|container| container.restart_count == 0), "it was restarted: {restarts:?}");
    scene.steps.done(format!("{NAME}: the key is there, and the camera is recorded by the same pod"));
    Ok(())
}
