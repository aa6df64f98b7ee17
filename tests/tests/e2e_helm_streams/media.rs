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
use streamfleet_tests::e2e::kubectl::kubectl;
use streamfleet_tests::e2e::manifests::camera;
use streamfleet_tests::e2e::objects::{SOON, has_condition, is_gone};
use streamfleet_tests::e2e::scene::IN_SYNC;
use streamfleet_tests::e2e::{Scene, World};

use crate::printed::{describe_says, line_says};

/// As much video is there before anything is changed.
const FRAGMENTS: usize = 3;
/// The column of the retention.
const HOURS: &str = "RETENTION HOURS";
/// What a user is to do who means it.
const ALLOW: &str = "set spec.retentionDecreasePolicy to Allow";

/// A configuration for clients that read what is stored.
async fn reader(world: &World) -> SdkConfig {
    let keys = &world.emulator.keys;
    let credentials = Credentials::new(&keys.id, &keys.secret, Some(keys.token.clone()), None, "tests");
    let config = archive::sdk_config(&format!("http://{}", world.emulator.hooks())).await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

/// The act: something is stored, and is there after each change.
pub async fn stays(scene: &Scene<&World>) -> Result<()> {
    let arn = scene.active("door", &json!({ "retentionHours": 24 })).await?;
    let stored = record(scene).await?;
    let bytes: usize = stored.iter().map(Bytes::len).sum();
    scene.steps.say(format!("door: {} fragments of {bytes} bytes are stored", stored.len()));
    let is_all_there = async |when: &str| {
        let now = archive::media(&reader(scene.world).await, &scene.kvs_name("door")).await?;
        ensure!(now == stored, "{when} there are {} fragments of {} or others", now.len(), stored.len());
        ensure!(scene.found("door").await?.arn == arn, "{when} there is another stream");
        scene.steps.say(format!("door: all {bytes} bytes are read back {when}"));
        Ok(())
    };
    line_says(scene, "door", &[("READY", "True"), ("REASON", "Active"), (HOURS, "24")]).await?;

    scene.edit("door", &json!({ "retentionHours": 720 })).await?;
    has_condition(&scene.streams(), "door", IN_SYNC).await?;
    scene.retention_is("door", 720).await?;
    line_says(scene, "door", &[("READY", "True"), ("REASON", "Active"), (HOURS, "720")]).await?;
    is_all_there("after the raise").await?;

    refused_then_allowed(scene, &is_all_there).await?;

    let args = ["delete", "vstream", "door", "--namespace", &scene.namespace];
    let reply = kubectl(&scene.world.cluster, &args, "").await?.succeeded()?;
    ensure!(reply.contains("deleted"), "{reply}");
    is_gone(&scene.streams(), "door").await?;
    is_all_there("after kubectl delete vstream").await?;
    ensure!(scene.calls("DeleteStream", "door").await?.is_empty());

    ensure!(scene.active("door", &json!({ "retentionHours": 48 })).await? == arn);
    line_says(scene, "door", &[("READY", "True"), ("REASON", "Active"), (HOURS, "48")]).await?;
    describe_says(scene, "door", &["its tags say that it is this object's", "Stream ARN:", &arn]).await?;
    is_all_there("after the object was applied again").await
}

/// A decrease waits for consent, and says so.
async fn refused_then_allowed(
    scene: &Scene<&World>,
    is_all_there: &impl AsyncFn(&str) -> Result<()>,
) -> Result<()> {
    scene.edit("door", &json!({ "retentionHours": 48 })).await?;
    let blocked = (ConditionType::Synced, "False", "ChangeBlocked");
    has_condition(&scene.streams(), "door", blocked).await?;
    ensure!(scene.found("door").await?.retention_hours == 720, "the decrease was sent");
    let cells = [("READY", "False"), ("REASON", "ChangeBlocked"), (HOURS, "720")];
    let message = line_says(scene, "door", &cells).await?;
    for text in ["720", "48", ALLOW] {
        ensure!(message.contains(text), "{text:?} is not in the line: {message:?}");
    }
    let described = [ALLOW, "Pending Changes:", "UpdateDataRetention", "Events:", "ChangeBlocked"];
    describe_says(scene, "door", &described).await?;
    is_all_there("after the refusal").await?;

    // What is younger than two days stays.
    scene.edit("door", &json!({ "retentionDecreasePolicy": "Allow" })).await?;
    has_condition(&scene.streams(), "door", IN_SYNC).await?;
    scene.retention_is("door", 48).await?;
    line_says(scene, "door", &[("READY", "True"), ("REASON", "Active"), (HOURS, "48")]).await?;
    is_all_there("after the decrease").await
}

/// Records for a few seconds, and gives what is stored then.
async fn record(scene: &Scene<&World>) -> Result<Vec<Bytes>> {
    let mut writer = camera("door", "", &json!({ "streamRef": { "name": "door" } }));
    writer["spec"]["source"] = json!({ "testPattern": { "width": 320, "height": 192 } });
    scene.world.apply(&scene.namespace, &[writer]).await?.succeeded()?;
    let config = reader(scene.world).await;
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
