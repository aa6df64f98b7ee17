//! A camera that stops is noticed, and so is that it is back.

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use serde_json::json;
use streamfleet_crds::{AlarmState, Camera, ConditionType};
use streamfleet_tests::camera::{self, Clip, Recipe};
use streamfleet_tests::e2e::manifests::camera;
use streamfleet_tests::e2e::objects::{has_condition, is_gone};
use streamfleet_tests::e2e::{Scene, World};
use streamfleet_tests::tools::cache_dir;

use crate::printed::{describe_says, line_says};

/// The act: a camera records, stops, and returns.
pub async fn fires_and_clears(scene: &Scene<&World>) -> Result<()> {
    let clip = Clip::read(&Recipe::default().make(&cache_dir().join("media")).await?)?;
    let mut options = camera::Options::on_loopback(clip);
    options.listen = (scene.world.cluster.bridge_address(), 0).into();
    let real = camera::Camera::start(options.clone()).await?;
    // The same one when it comes back.
    options.listen = real.address();
    scene.active("gate", &json!({})).await?;
    let writer = camera("gate", &real.url(), &json!({ "streamRef": { "name": "gate" } }));
    scene.world.apply(&scene.namespace, &[writer]).await?.succeeded()?;
    let cameras = scene.world.api::<Camera>(&scene.namespace);
    has_condition(&cameras, "gate", (ConditionType::Ready, "True", "Recording")).await?;
    scene.alarm_is("gate", AlarmState::Ok).await?;
    let well = [("READY", "True"), ("ALARM", ""), ("WRITER", "gate")];
    line_says(scene, "gate", &well).await?;
    scene.steps.done("gate: the camera records, and its alarm is OK");

    real.stop().await;
    let raised = scene.alarm_is("gate", AlarmState::Alarm).await?;
    let note = scene.told("gate", "AlarmRaised").await?;
    ensure!(note.contains("NoIngest"), "{note:?}");
    scene.steps.done(format!("gate: it has stopped, and its alarm fires: {}", raised.reason));
    // The stream itself is well.
    line_says(scene, "gate", &[("READY", "True"), ("ALARM", "NoIngest")]).await?;
    describe_says(scene, "gate", &["Alarms:", "NoIngest", &raised.reason, "ALARM", "Events:", "AlarmRaised"])
        .await?;

    let real = camera::Camera::start(options).await?;
    scene.alarm_is("gate", AlarmState::Ok).await?;
    scene.told("gate", "AlarmCleared").await?;
    line_says(scene, "gate", &well).await?;
    describe_says(scene, "gate", &["Events:", "AlarmCleared"]).await?;
    scene.steps.done("gate: it has returned, and its alarm is OK again");
    cameras.delete("gate", &DeleteParams::default()).await?;
    is_gone(&cameras, "gate").await?;
    real.stop().await;
    Ok(())
}
