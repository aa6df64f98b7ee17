//! 15: the definitions in the cluster are those of another release. Alone on the cluster, since these are everybody's.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::objects::{SOON, has_condition, is_gone};
use streamfleet_tests::e2e::{World, http as plain};

use crate::scene::{ACTIVE, Scene, never};

const STREAMS: &str = "videostreams.streamfleet.io";

/// Puts the definition of `VideoStreams` in place whose schema was changed so.
async fn define(world: &World, change: impl Fn(&mut Value)) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let installed = api.get(STREAMS).await?;
    let mut value = serde_json::to_value(&installed)?;
    change(&mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]);
    let wanted: CustomResourceDefinition = serde_json::from_value(value)?;
    api.replace(STREAMS, &PostParams::default(), &wanted).await?;
    Ok(())
}

/// What `/readyz` says.
async fn readiness(world: &World) -> Result<String> {
    let answer = plain::get(world.operator()?.admin(), "/readyz").await;
    Ok(answer.map_or_else(|error| format!("{error:#}"), |_| "ready".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_15_upgrade_rollback_and_crd_skew() -> Result<()> {
    let mut scene = Scene::alone("s15", &json!({})).await?;
    let api: Api<CustomResourceDefinition> = Api::all(scene.world.client.clone());
    let ours = api.get(STREAMS).await?;
    let result = with_other_definitions(&mut scene).await;
    // Whatever has come of it: others need them.
    let now = api.get(STREAMS).await?;
    if now.spec != ours.spec {
        let whole = json!({ "spec": ours.spec, "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition" });
        api.patch(STREAMS, &PatchParams::default(), &Patch::Merge(&whole)).await?;
    }
    result?;
    scene.finish().await
}

async fn with_other_definitions(scene: &mut Scene) -> Result<()> {
    scene.world.start_operator().await?;
    let arn = scene.active("yard", &json!({ "retentionHours": 48 })).await?;
    let before = scene.found("yard").await?;

    // The operator is uninstalled, the definitions and objects are kept; it comes back.
    ensure!(scene.world.take_operator()?.stop()?.success());
    let last = scene.last_call().await?;
    scene.world.start_operator().await?;
    has_condition(&scene.streams(), "yard", ACTIVE).await?;
    never(Duration::from_secs(3), "a change after a new start", async || {
        let changes = scene.changes_since(last).await?;
        Ok((!changes.is_empty()).then(|| format!("{changes:?}")))
    })
    .await?;
    ensure!(scene.world.take_operator()?.stop()?.success());

    // Older definitions, newer program: nothing is done, and it says why.
    define(&scene.world, |properties| {
        drop(properties["status"]["properties"].as_object_mut().map(|fields| fields.remove("streamARN")));
    })
    .await?;
    let last = scene.last_call().await?;
    let operator = scene.world.setup.start()?;
    scene.world.set_operator(operator);
    until(SOON, "it says what the definitions lack", async || {
        let said = readiness(&scene.world).await?;
        let log = std::fs::read_to_string(scene.world.operator_log())?;
        let lack = "videostreams.streamfleet.io lacks status.streamARN";
        Ok(if said.contains(lack) && log.contains(lack) { Look::Done(()) } else { Look::NotYet(said) })
    })
    .await?;
    scene.edit("yard", &json!({ "retentionHours": 72 })).await?;
    scene.apply("meanwhile", &json!({})).await?;
    scene.streams().delete("yard", &DeleteParams::default()).await?;
    never(Duration::from_secs(4), "something is done under old definitions", async || {
        let calls = scene.world.emulator.calls(last).await?;
        let made = scene.streams().get("meanwhile").await?;
        let is_touched = made.status.is_some() || !made.finalizers().is_empty();
        Ok((!calls.is_empty() || is_touched).then(|| format!("{calls:?} {made:?}")))
    })
    .await?;

    // The definitions come: it goes on without a restart. The deleted object had `Retain`.
    define(&scene.world, |properties| {
        properties["status"]["properties"]["streamARN"] = json!({ "type": "string" });
    })
    .await?;
    scene.arn("meanwhile").await?;
    is_gone(&scene.streams(), "yard").await?;
    ensure!(scene.found("yard").await? == before, "the stream was changed or deleted");
    scene.world.operator()?.is_alive()?;
    ensure!(
        scene.active("yard", &json!({ "retentionHours": 48 })).await? == arn,
        "its stream was not found again"
    );

    newer_definitions(scene).await
}

/// Newer definitions than the program: what it does not know is kept.
async fn newer_definitions(scene: &mut Scene) -> Result<()> {
    define(&scene.world, |properties| {
        properties["spec"]["properties"]["fromTheFuture"] = json!({ "type": "string" });
    })
    .await?;
    until(SOON, "the server knows the new field", async || {
        scene.patch("yard", &json!({ "spec": { "fromTheFuture": "x", "retentionHours": 96 } })).await?;
        let raw = raw(scene, "yard").await?;
        let has = raw["spec"]["fromTheFuture"] == "x";
        Ok(if has { Look::Done(()) } else { Look::NotYet(raw["spec"].to_string()) })
    })
    .await?;
    ensure!(scene.world.take_operator()?.stop()?.success());
    scene.world.start_operator().await?;
    scene.retention_is("yard", 96).await?;
    ensure!(raw(scene, "yard").await?["spec"]["fromTheFuture"] == "x", "the new field was lost");
    Ok(())
}

/// The object as the server has it.
async fn raw(scene: &Scene, name: &str) -> Result<Value> {
    let path = format!("/apis/streamfleet.io/v1alpha1/namespaces/{}/videostreams/{name}", scene.namespace);
    Ok(scene.world.client.request(http::Request::get(path).body(Vec::new())?).await?)
}
