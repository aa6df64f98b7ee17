//! 1 and 2: an operator that dies, or whose calls' answers are lost, at the worst moment.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use streamfleet_crds::ConditionType;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::objects::{SOON, has_condition};

use crate::api_proxy::{ApiProxy, Passed};
use crate::scene::{IN_SYNC, Scene, never, stays};
use crate::split::{candidate, leader};

/// An answer that takes longer than anybody waits for it here.
const HELD_MS: u64 = 60_000;
/// The end of the path of status writes that somebody else comes before.
const RACED_STATUS: &str = "/videostreams/raced/status";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_01_crash_after_create_stream_before_status() -> Result<()> {
    let mut scene = Scene::prepare("s01", &[], &json!({})).await?;
    let proxy = ApiProxy::start(&scene.world).await?;
    let through = proxy.kubeconfig(&scene.world.folder)?;
    scene.world.setup.set("KUBECONFIG", through.display().to_string());
    scene.world.start_operator().await?;

    // Killed between the effect and the answer.
    scene.fault("CreateStream", "killed", &json!({ "action": "delay-answer", "delayMs": HELD_MS })).await?;
    scene.apply("killed", &json!({})).await?;
    let made =
        until(SOON, "the stream is made", async || scene.found("killed").await.map(Look::Done)).await?;
    let status = scene.streams().get("killed").await?.status.unwrap_or_default();
    ensure!(status.stream_arn.is_none(), "it was on record before the answer had come");
    scene.world.take_operator()?.kill()?;
    scene.world.emulator.clear_faults().await?;
    scene.world.start_operator().await?;
    ensure!(scene.arn("killed").await? == made.arn, "another stream was taken or made");

    // The answer is lost.
    let lost = json!({ "action": "drop-after-effect", "count": 1 });
    scene.fault("CreateStream", "lost", &lost).await?;
    scene.active("lost", &json!({})).await?;

    // Somebody changes the object before each of the first status writes.
    proxy.race(RACED_STATUS, 3);
    scene.active("raced", &json!({})).await?;
    let is_conflict = |write: &Passed| write.status == 409 && write.path.ends_with(RACED_STATUS);
    let conflicts = proxy.writes().iter().filter(|write| is_conflict(write)).count();
    ensure!(conflicts > 0, "no status write met a conflict: {:?}", proxy.writes());

    // A call whose caller has died is in no log: of `killed` there is none but that one.
    for (name, made) in [("killed", 0), ("lost", 1), ("raced", 1)] {
        stays(&format!("streams made for {name}"), made, async || scene.done("CreateStream", name).await)
            .await?;
        ensure!(scene.found(name).await?.tags == scene.ownership(name).await?, "{name} has other tags");
    }
    ensure!(scene.world.emulator.stream_names().await?.len() == 3, "there are other streams");
    scene.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_02_ambiguous_retention_change() -> Result<()> {
    let mut scene = Scene::prepare("s02", &[], &json!({})).await?;
    let first = candidate(&scene, "a", None)?;
    leader(&scene, "a").await?;
    let second = candidate(&scene, "b", None)?;
    second.ready().await?;
    scene.active("yard", &json!({ "retentionHours": 24 })).await?;
    scene.active("led", &json!({ "retentionHours": 24 })).await?;

    // +24 h is applied, the answer is lost.
    let lost = json!({ "action": "drop-after-effect", "count": 1 });
    scene.fault("UpdateDataRetention", "yard", &lost).await?;
    scene.edit("yard", &json!({ "retentionHours": 48 })).await?;
    has_condition(&scene.streams(), "yard", IN_SYNC).await?;
    ensure!(scene.found("yard").await?.retention_hours == 48);
    stays("changes of yard", 1, async || scene.done("UpdateDataRetention", "yard").await).await?;

    // The version has changed under it: it reads and plans anew.
    let mismatch = json!({ "action": "error", "code": "VersionMismatchException", "count": 1 });
    scene.fault("UpdateDataRetention", "yard", &mismatch).await?;
    scene.edit("yard", &json!({ "retentionHours": 96 })).await?;
    has_condition(&scene.streams(), "yard", IN_SYNC).await?;
    ensure!(scene.found("yard").await?.retention_hours == 96);
    stays("changes of yard", 2, async || scene.done("UpdateDataRetention", "yard").await).await?;

    // The leader dies between the effect and the answer; the next one sees what is.
    scene
        .fault("UpdateDataRetention", "led", &json!({ "action": "delay-answer", "delayMs": HELD_MS }))
        .await?;
    scene.edit("led", &json!({ "retentionHours": 48 })).await?;
    scene.retention_is("led", 48).await?;
    first.kill()?;
    scene.world.set_operator(second);
    scene.world.emulator.clear_faults().await?;
    // Asked for while nobody leads.
    scene.edit("yard", &json!({ "retentionHours": 120 })).await?;
    leader(&scene, "b").await?;
    for (name, hours) in [("led", 48), ("yard", 120)] {
        has_condition(&scene.streams(), name, IN_SYNC).await?;
        ensure!(scene.found(name).await?.retention_hours == hours, "{name}");
    }
    // The call whose caller has died is in no log.
    stays("changes of led", 0, async || scene.done("UpdateDataRetention", "led").await).await?;
    stays("changes of yard", 3, async || scene.done("UpdateDataRetention", "yard").await).await?;

    no_decrease_from_a_stale_value(&scene).await?;
    scene.finish().await
}

/// Somebody raises it just when the spec is raised by less: what would have been an increase is a decrease, and is not sent.
async fn no_decrease_from_a_stale_value(scene: &Scene) -> Result<()> {
    scene.set_retention_foreign("yard", 240).await?;
    scene.edit("yard", &json!({ "retentionHours": 168 })).await?;
    let before = scene.calls("UpdateDataRetention", "yard").await?.len();
    let blocked = (ConditionType::Synced, "False", "ChangeBlocked");
    let (object, _) = has_condition(&scene.streams(), "yard", blocked).await?;
    let pending = object.status.map(|status| status.pending_changes).unwrap_or_default();
    let change = pending.first().context("a change is pending")?;
    ensure!((change.from.as_str(), change.to.as_str()) == ("240", "168"), "{change:?}");
    never(Duration::from_secs(3), "a change of a stream that somebody has raised", async || {
        let now = scene.calls("UpdateDataRetention", "yard").await?.len();
        Ok((now != before).then(|| format!("{now} calls")))
    })
    .await?;
    ensure!(scene.found("yard").await?.retention_hours == 240);
    Ok(())
}
