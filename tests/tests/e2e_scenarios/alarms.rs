//! 14: alarms tell the truth, also when somebody deletes them or there is no room for more. (That a camera which stops is noticed
//! is in `e2e_helm_streams`.)

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use serde_json::json;
use streamfleet_crds::{AlarmState, ConditionType};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::emulator::FAST_ALARMS;
use streamfleet_tests::e2e::objects::{Expected, SOON, has_condition, is_gone};

use crate::scene::{Scene, never};

const IN_SYNC: Expected = (ConditionType::AlarmsReady, "True", "AlarmsInSync");

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_14_alarm_truth() -> Result<()> {
    let flags = [FAST_ALARMS.as_slice(), &["--alarms-max", "2"]].concat();
    let class = json!({ "alarms": { "perStream": ["NoIngest"] } });
    let scene = Scene::start("s14", &flags, &class).await?;
    scene.active("yard", &json!({})).await?;
    has_condition(&scene.streams(), "yard", IN_SYNC).await?;
    // A stream that nobody has ever written is silent, and is told so.
    let raised = scene.alarm_is("yard", AlarmState::Alarm).await?;
    ensure!(raised.since.is_some() && !raised.reason.is_empty(), "{raised:?}");
    scene.told("yard", "AlarmRaised").await?;

    deleted_in_the_console(&scene, &raised.name).await?;
    drift_is_reported(&scene).await?;
    no_room_for_more(&scene).await?;

    // They go with their streams.
    for name in ["yard", "quiet", "third"] {
        scene.streams().delete(name, &DeleteParams::default()).await?;
        is_gone(&scene.streams(), name).await?;
    }
    let left = scene.alarm_names().await?;
    ensure!(left.is_empty(), "{left:?} are left");
    scene.finish().await
}

async fn deleted_in_the_console(scene: &Scene, alarm: &str) -> Result<()> {
    scene.cloud_watch("DeleteAlarms", &json!({ "AlarmNames": [alarm] })).await?;
    until(SOON, "the alarm is made again", async || {
        let names = scene.alarm_names().await?;
        Ok(if names == [alarm] { Look::Done(()) } else { Look::NotYet(format!("{names:?}")) })
    })
    .await?;
    let note = scene.told("yard", "AlarmCorrected").await?;
    ensure!(note.contains(alarm) && note.contains("deleted"), "{note:?}");
    has_condition(&scene.streams(), "yard", IN_SYNC).await?;
    scene.alarm_is("yard", AlarmState::Alarm).await.map(drop)
}

/// Somebody switches an alarm off, and the stream's policy is to say so only.
async fn drift_is_reported(scene: &Scene) -> Result<()> {
    scene.active("quiet", &json!({ "driftPolicy": "Report" })).await?;
    has_condition(&scene.streams(), "quiet", IN_SYNC).await?;
    let names = scene.alarm_names().await?;
    let alarm = names.iter().find(|name| name.contains("/quiet/")).context("the alarm of quiet is there")?;
    scene.cloud_watch("DisableAlarmActions", &json!({ "AlarmNames": [alarm] })).await?;
    let reported = (ConditionType::AlarmsReady, "False", "DriftReported");
    let (_, message) = has_condition(&scene.streams(), "quiet", reported).await?;
    ensure!(message.contains(alarm), "{message:?}");
    let last = scene.last_call().await?;
    never(Duration::from_secs(3), "an alarm is changed under driftPolicy Report", async || {
        let changes = scene.changes_since(last).await?;
        Ok((!changes.is_empty()).then(|| format!("{changes:?}")))
    })
    .await?;
    scene.edit("quiet", &json!({ "driftPolicy": "Correct" })).await?;
    has_condition(&scene.streams(), "quiet", IN_SYNC).await.map(drop)
}

/// The account may have two alarms: the third stream says so, is recorded all the same, and has its alarm when there is room.
async fn no_room_for_more(scene: &Scene) -> Result<()> {
    scene.active("third", &json!({})).await?;
    let quota = (ConditionType::AlarmsReady, "False", "AlarmsQuota");
    let (_, message) = has_condition(&scene.streams(), "third", quota).await?;
    ensure!(message.contains("quota"), "it does not say what to do: {message:?}");
    scene.arn("third").await?;
    scene.edit("quiet", &json!({ "alarms": { "perStream": [] } })).await?;
    has_condition(&scene.streams(), "quiet", (ConditionType::AlarmsReady, "True", "NoAlarms")).await?;
    scene.check("third").await?;
    has_condition(&scene.streams(), "third", IN_SYNC).await?;
    let mut names = scene.alarm_names().await?;
    names.retain(|name| name.contains("/yard/") || name.contains("/third/"));
    ensure!(names.len() == 2, "{names:?}");
    Ok(())
}
