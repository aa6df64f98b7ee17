//! What is stored stays: while the retention is raised, while a decrease waits for consent, and when the object is deleted.

use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::config::SharedCredentialsProvider;
use bytes::Bytes;
use kube::api::DeleteParams;
use serde_json::json;
use streamfleet_crds::{Camera, ConditionType};
use streamfleet_tests::archive;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::kubectl::kubectl;
use streamfleet_tests::e2e::manifests::camera;
use streamfleet_tests::e2e::objects::{SOON, has_condition, is_gone};

use crate::scene::{IN_SYNC, Scene};

/// As much video is there before anything is changed.
const FRAGMENTS: usize = 3;

/// A configuration for clients that read what is stored.
async fn reader(world: &World) -> SdkConfig {
    let keys = &world.emulator.keys;
    let credentials = Credentials::new(&keys.id, &keys.secret, Some(keys.token.clone()), None, "tests");
    let config = archive::sdk_config(&format!("http://{}", world.emulator.hooks())).await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn footage_stays_while_retention_is_raised_a_decrease_is_refused_and_the_object_deleted() -> Result<()>
{
    let scene = Scene::start("smedia", &[], &json!({})).await?;
    let arn = scene.active("door", &json!({ "retentionHours": 24 })).await?;
    let stored = record(&scene).await?;
    let bytes: usize = stored.iter().map(Bytes::len).sum();
    scene.steps.say(format!("{} fragments of {bytes} bytes are stored", stored.len()));
    let is_all_there = async |when: &str| {
        let now = archive::media(&reader(&scene.world).await, &scene.kvs_name("door")).await?;
        ensure!(now == stored, "{when} there are {} fragments of {} or others", now.len(), stored.len());
        ensure!(scene.found("door").await?.arn == arn, "{when} there is another stream");
        Ok(())
    };

    scene.edit("door", &json!({ "retentionHours": 720 })).await?;
    has_condition(&scene.streams(), "door", IN_SYNC).await?;
    scene.retention_is("door", 720).await?;
    is_all_there("after the raise").await?;

    scene.edit("door", &json!({ "retentionHours": 48 })).await?;
    let blocked = (ConditionType::Synced, "False", "ChangeBlocked");
    has_condition(&scene.streams(), "door", blocked).await?;
    ensure!(scene.found("door").await?.retention_hours == 720, "the decrease was sent");
    is_all_there("after the refusal").await?;

    // What is younger than two days stays.
    scene.edit("door", &json!({ "retentionDecreasePolicy": "Allow" })).await?;
    has_condition(&scene.streams(), "door", IN_SYNC).await?;
    scene.retention_is("door", 48).await?;
    is_all_there("after the decrease").await?;

    let args = ["delete", "vstream", "door", "--namespace", &scene.namespace];
    let reply = kubectl(&scene.world.cluster, &args, "").await?.succeeded()?;
    ensure!(reply.contains("deleted"), "{reply}");
    is_gone(&scene.streams(), "door").await?;
    is_all_there("after the deletion of the object").await?;
    ensure!(scene.calls("DeleteStream", "door").await?.is_empty());

    ensure!(scene.active("door", &json!({ "retentionHours": 48 })).await? == arn);
    is_all_there("after the object was applied again").await?;
    scene.finish().await
}

/// Records for a few seconds, and gives what is stored then.
async fn record(scene: &Scene) -> Result<Vec<Bytes>> {
    let mut writer = camera("door", "", &json!({ "streamRef": { "name": "door" } }));
    writer["spec"]["source"] = json!({ "testPattern": { "width": 320, "height": 192 } });
    scene.world.apply(&scene.namespace, &[writer]).await?.succeeded()?;
    let config = reader(&scene.world).await;
    let name = scene.kvs_name("door");
    until(SOON, "some fragments are stored", async || {
        let now = archive::stored_fragments(&config, &name).await?;
        Ok(if now >= FRAGMENTS { Look::Done(()) } else { Look::NotYet(format!("{now} are")) })
    })
    .await?;
    let cameras = scene.world.api::<Camera>(&scene.namespace);
    cameras.delete("door", &DeleteParams::default()).await?;
    is_gone(&cameras, "door").await?;
    until(SOON, "nobody writes any more", async || {
        let writer = scene.streams().get("door").await?.writer().cloned();
        Ok(writer.map_or(Look::Done(()), |writer| Look::NotYet(writer.name)))
    })
    .await?;
    let first = archive::media(&config, &name).await?;
    let again = archive::media(&config, &name).await?;
    ensure!(first == again, "somebody still writes");
    first.first().context("something is stored")?;
    Ok(first)
}
