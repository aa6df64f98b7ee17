//! 3, 5 and 6: what policies decide: shorter retentions, streams that somebody deletes, names that two want.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Resource as _;
use kube::api::DeleteParams;
use serde_json::json;
use streamfleet_crds::ConditionType;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::manifests::stream;
use streamfleet_tests::e2e::objects::{SOON, has_condition, is_gone};

use crate::scene::{ACTIVE, IN_SYNC, Scene, never, stays};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_03_retention_decrease_guard() -> Result<()> {
    let scene = Scene::start("s03", &[], &json!({})).await?;
    let arn = scene.active("yard", &json!({ "retentionHours": 168 })).await?;
    let short = json!({ "retentionHours": 24, "retentionDecreasePolicy": "Deny" });
    scene.apply("yard", &short).await?;
    let blocked = (ConditionType::Synced, "False", "ChangeBlocked");
    let (object, message) = has_condition(&scene.streams(), "yard", blocked).await?;
    ensure!(message.contains("retentionDecreasePolicy") && message.contains("Allow"), "{message:?}");
    let pending = object.status.map(|status| status.pending_changes).unwrap_or_default();
    let change = pending.first().context("no change is pending")?;
    let told = (change.from.as_str(), change.to.as_str(), change.destructive, change.operation.as_str());
    ensure!(told == ("168", "24", true, "UpdateDataRetention"), "{change:?}");
    scene.told("yard", "ChangeBlocked").await?;

    // GitOps applies it again and again; somebody asks for a look, and the operator starts anew.
    let mut scene = scene;
    for round in 0..5 {
        scene.apply("yard", &short).await?;
        scene.patch("yard", &json!({ "metadata": { "labels": { "round": round.to_string() } } })).await?;
        scene.check("yard").await?;
    }
    ensure!(scene.world.take_operator()?.stop()?.success());
    scene.world.start_operator().await?;
    has_condition(&scene.streams(), "yard", blocked).await?;
    never(Duration::from_secs(3), "a call while it is denied", async || {
        let calls = scene.calls("UpdateDataRetention", "yard").await?;
        Ok((!calls.is_empty()).then(|| format!("{calls:?}")))
    })
    .await?;
    ensure!(scene.found("yard").await?.retention_hours == 168);

    scene.apply("yard", &json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" })).await?;
    has_condition(&scene.streams(), "yard", IN_SYNC).await?;
    ensure!(scene.found("yard").await?.retention_hours == 24);
    stays("changes", 1, async || Ok(scene.calls("UpdateDataRetention", "yard").await?.len())).await?;
    let note = scene.told("yard", "RetentionChanged").await?;
    ensure!(note.contains("168") && note.contains("24"), "the event does not say from and to: {note:?}");
    ensure!(scene.arn("yard").await? == arn, "the stream was replaced");
    scene.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_05_stream_deleted_out_of_band() -> Result<()> {
    let scene = Scene::start("s05", &[], &json!({})).await?;
    let correct = scene.active("corrected", &json!({ "driftPolicy": "Correct" })).await?;
    let report = scene.active("reported", &json!({ "driftPolicy": "Report" })).await?;
    let replaced = scene.active("replaced", &json!({ "deletionPolicy": "Delete" })).await?;
    for (name, arn) in [("corrected", &correct), ("reported", &report), ("replaced", &replaced)] {
        if name == "replaced" {
            // So that it is somebody else's before it is made again.
            scene.world.emulator.fault(&json!({ "operation": "ListStreams", "action": "throttle" })).await?;
        }
        scene.delete_foreign(name, arn).await?;
    }
    let foreign = scene.make_foreign("replaced", &BTreeMap::new()).await?;
    scene.world.emulator.clear_faults().await?;

    // Made again, empty, and said so.
    until(SOON, "the stream is made again", async || {
        let now = scene.arn("corrected").await?;
        Ok(if now == correct { Look::NotYet(now) } else { Look::Done(()) })
    })
    .await?;
    scene.told("corrected", "StreamLost").await?;

    // Said, and left alone.
    let lost = (ConditionType::Ready, "False", "StreamLost");
    has_condition(&scene.streams(), "reported", lost).await?;
    never(Duration::from_secs(3), "a stream for which driftPolicy is Report is made again", async || {
        Ok(scene.world.emulator.find(&scene.kvs_name("reported")).await?.map(|found| found.arn))
    })
    .await?;
    scene.edit("reported", &json!({ "driftPolicy": "Correct" })).await?;
    ensure!(scene.arn("reported").await? != report);

    // Another one of that name is none of ours, also at deletion.
    let changed = (ConditionType::Ready, "False", "IdentityChanged");
    has_condition(&scene.streams(), "replaced", changed).await?;
    scene.told("replaced", "IdentityChanged").await?;
    scene.edit("replaced", &json!({ "retentionHours": 48 })).await?;
    has_condition(&scene.streams(), "replaced", changed).await?;
    let before = scene.found("replaced").await?;
    scene.streams().delete("replaced", &DeleteParams::default()).await?;
    is_gone(&scene.streams(), "replaced").await?;
    let after = scene.found("replaced").await?;
    ensure!(after == before && after.arn == foreign && after.tags.is_empty(), "{before:?} {after:?}");
    // The one deletion was by us.
    ensure!(scene.done("CreateStream", "replaced").await? == 2, "the operator has made it again");
    scene.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_06_name_collision_of_two_clusters_and_of_two_objects() -> Result<()> {
    let scene = Scene::start("s06", &[], &json!({})).await?;
    // Another installation, which looks after a class of its own in the same account and region.
    let other = format!("{}-other", scene.world.id);
    scene.other_class(&other).await?;
    let mut setup = scene.world.setup.clone();
    setup.set("STREAMFLEET_INSTALLATION", format!("{}-south", scene.world.id));
    setup.set("STREAMFLEET_CLASSES", &other);
    setup.log_to(scene.world.folder.join("operator-south.log"));
    let south = setup.start()?;
    south.ready().await?;

    // Both at the same moment.
    let gate =
        json!({ "streamName": scene.kvs_name("gate"), "deletionPolicy": "Delete", "tags": { "by": "x" } });
    let north = [stream("north", &scene.class, &gate), stream("north2", &scene.class, &gate)];
    let rival = [stream("south", &other, &gate)];
    let (one, two) = tokio::join!(
        scene.world.apply(&scene.namespace, &north),
        scene.world.apply(&scene.namespace, &rival),
    );
    one?.succeeded()?;
    two?.succeeded()?;
    let names = ["north", "north2", "south"];
    let winner = until(SOON, "one has the name, the others are told", async || {
        let mut reasons = Vec::new();
        for name in names {
            let status = scene.streams().get(name).await?.status.unwrap_or_default();
            let ready = status.conditions.into_iter().find(|found| found.type_ == "Ready");
            reasons.push(ready.map(|ready| ready.reason).unwrap_or_default());
        }
        let others = reasons.iter().filter(|reason| *reason == "OwnedByOther").count();
        let active = reasons.iter().position(|reason| reason == "Active");
        Ok(match active.filter(|_| others == 2) {
            Some(winner) => Look::Done(names[winner]),
            None => Look::NotYet(format!("{reasons:?}")),
        })
    })
    .await?;
    scene.steps.say(format!("{winner} has the name"));
    ensure!(scene.done("CreateStream", "gate").await? == 1, "two streams were made");
    for loser in names.into_iter().filter(|name| *name != winner) {
        let (_, message) =
            has_condition(&scene.streams(), loser, (ConditionType::Ready, "False", "OwnedByOther")).await?;
        ensure!(message.contains("streamName"), "it does not say what to do: {message:?}");
    }
    no_tag_war(&scene, &names).await?;

    // A loser that goes takes nothing along; when the winner goes, the name is free, and one of the others has it.
    let loser = names.into_iter().find(|name| *name != winner).context("there are losers")?;
    let before = scene.found("gate").await?;
    scene.streams().delete(loser, &DeleteParams::default()).await?;
    is_gone(&scene.streams(), loser).await?;
    ensure!(scene.found("gate").await? == before, "the loser has changed the stream");
    scene.streams().delete(winner, &DeleteParams::default()).await?;
    let last = names.into_iter().find(|name| ![loser, winner].contains(name)).context("one is left")?;
    has_condition(&scene.streams(), last, ACTIVE).await?;
    scene.streams().delete(last, &DeleteParams::default()).await?;
    is_gone(&scene.streams(), last).await?;
    ensure!(scene.world.emulator.find(&scene.kvs_name("gate")).await?.is_none());
    scene.release_class(&other).await?;
    ensure!(south.stop()?.success());
    scene.finish().await
}

/// Nobody writes anything, in AWS or in Kubernetes, though both look every second and all are asked to look now.
async fn no_tag_war(scene: &Scene, names: &[&str]) -> Result<()> {
    for name in names {
        scene.check(name).await?;
    }
    until(SOON, "the checks are done", async || {
        let mut left = Vec::new();
        for name in names {
            let object = scene.streams().get(name).await?;
            let handled = object.status.and_then(|status| status.last_handled_check);
            let asked = object.metadata.annotations.unwrap_or_default();
            if asked.get(streamfleet_crds::CHECK_REQUESTED) != handled.as_ref() {
                left.push(*name);
            }
        }
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
    })
    .await?;
    let versions = async || {
        let mut versions = Vec::new();
        for name in names {
            versions.push(scene.streams().get(name).await?.meta().resource_version.clone());
        }
        anyhow::Ok(versions)
    };
    let (last, before) = (scene.last_call().await?, versions().await?);
    never(Duration::from_secs(5), "a war about a name", async || {
        let changes = scene.changes_since(last).await?;
        let now = versions().await?;
        Ok((!changes.is_empty() || now != before).then(|| format!("{changes:?}, {before:?}, {now:?}")))
    })
    .await
}
