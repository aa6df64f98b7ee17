//! The life of streams and their writers on the real cluster: who may write, in which order things go, what is found again,
//! kept, deleted, changed, and not changed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{LocalBoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use streamfleet_crds::{Camera, ConditionType, VideoStream, ownership_tags};
use streamfleet_tests::camera::{self, Clip, Recipe};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::emulator::FoundStream;
use streamfleet_tests::e2e::manifests::{camera, merge, stream};
use streamfleet_tests::e2e::objects::{Expected, SOON, has_condition, is_gone, pod_of, pods_of};
use streamfleet_tests::e2e::timeline::unix_ms;
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::cache_dir;

/// The end of the name of a class that allows no deletion of footage.
const CLOSED: &str = "closed";

const RECORDING: Expected = (ConditionType::Ready, "True", "Recording");
const ACTIVE: Expected = (ConditionType::Ready, "True", "Active");
const IN_SYNC: Expected = (ConditionType::Synced, "True", "InSync");

/// What is done in a namespace of its own, with a class that allows everything.
type Scenario<'a> = (&'static str, LocalBoxFuture<'a, Result<()>>);

/// All at the same time: most of each is waiting, and one operator serves them all.
fn scenarios<'a>(world: &'a World, class: &'a str, namespaces: &'a [String]) -> Vec<Scenario<'a>> {
    let [claim, order, again, foreign, policy, retention] = namespaces else { return Vec::new() };
    macro_rules! scenario {
        ($name:ident in $namespace:ident) => {
            (stringify!($name), $name(world, $namespace, class).boxed_local())
        };
    }
    vec![
        scenario!(second_camera_for_a_stream_is_told_so_and_takes_over_when_the_first_goes in claim),
        scenario!(deleted_stream_goes_only_when_its_writers_pod_has_ended in order),
        scenario!(object_that_is_deleted_and_applied_again_finds_its_own_stream in again),
        scenario!(stream_of_somebody_else_is_neither_taken_nor_deleted in foreign),
        scenario!(deletion_policy_decides_about_the_stream_and_the_class_about_the_policy in policy),
        scenario!(retention_is_raised_and_a_decrease_waits_for_consent in retention),
    ]
}

const SCENARIOS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn streams_and_their_writers_come_stay_change_and_go_as_they_should() -> Result<()> {
    let mut world = World::start("life").await?;
    let keys = world.emulator.keys.clone();
    let class = world.class("standard", &json!({})).await?;
    world.class(CLOSED, &json!({ "limits": { "deletionPolicies": ["Retain"] } })).await?;
    let mut namespaces = Vec::new();
    for _ in 0..SCENARIOS {
        namespaces.push(world.namespace(&keys).await?);
    }
    let steps = Steps::start();
    let run = async |(name, scenario): Scenario<'_>| {
        let outcome = scenario.await;
        let told = outcome.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), |()| "ok".to_owned());
        steps.say(format!("{name}: {told}"));
        outcome.is_ok()
    };
    let all = scenarios(&world, &class, &namespaces);
    ensure!(all.len() == SCENARIOS, "each scenario has a namespace");
    let outcomes = join_all(all.into_iter().map(run)).await;
    ensure!(outcomes.iter().all(|is_ok| *is_ok), "see the lines above");
    world.finish().await
}

async fn real_camera(world: &World) -> Result<camera::Camera> {
    let clip = Clip::read(&Recipe::default().make(&cache_dir().join("media")).await?)?;
    let mut options = camera::Options::on_loopback(clip);
    options.listen = (world.cluster.bridge_address(), 0).into();
    Ok(camera::Camera::start(options).await?)
}

fn writes_to(stream: &str) -> Value {
    json!({ "streamRef": { "name": stream } })
}

/// Applies a stream and waits until it is active; gives its ARN.
async fn active_stream(world: &World, namespace: &str, object: &Value) -> Result<String> {
    world.apply(namespace, std::slice::from_ref(object)).await?.succeeded()?;
    let name = object["metadata"]["name"].as_str().context("an object has a name")?;
    let (stream, _) = has_condition(&world.api::<VideoStream>(namespace), name, ACTIVE).await?;
    stream.stream_arn().map(ToOwned::to_owned).context("an active stream has its ARN in its status")
}

async fn delete_stream_object(world: &World, namespace: &str, name: &str) -> Result<()> {
    let api: Api<VideoStream> = world.api(namespace);
    api.delete(name, &DeleteParams::default()).await?;
    is_gone(&api, name).await
}

/// The stream at the emulator, which must be there.
async fn found(world: &World, name: &str) -> Result<FoundStream> {
    world.emulator.find(name).await?.with_context(|| format!("there is no stream {name}"))
}

async fn second_camera_for_a_stream_is_told_so_and_takes_over_when_the_first_goes(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let real = real_camera(world).await?;
    let arn = active_stream(world, namespace, &stream("shared", class, &json!({}))).await?;
    let cameras: Api<Camera> = world.api(namespace);
    world.apply(namespace, &[camera("first", &real.url(), &writes_to("shared"))]).await?.succeeded()?;
    has_condition(&cameras, "first", RECORDING).await?;

    world.apply(namespace, &[camera("second", &real.url(), &writes_to("shared"))]).await?.succeeded()?;
    let claimed = (ConditionType::Ready, "False", "StreamClaimed");
    let (_, message) = has_condition(&cameras, "second", claimed).await?;
    ensure!(
        message.contains("first") && message.contains("shared"),
        "the message does not name them: {message:?}"
    );
    ensure!(
        pods_of(&world.client, namespace, "second").await?.is_empty(),
        "the second camera has a producer"
    );
    has_condition(&cameras, "first", RECORDING).await?;

    cameras.delete("first", &DeleteParams::default()).await?;
    has_condition(&cameras, "second", RECORDING).await?;
    let after = world.api::<VideoStream>(namespace).get("shared").await?;
    let writer = after.writer().context("the stream has a writer")?;
    let second = cameras.get("second").await?;
    ensure!(
        (&writer.name, Some(&writer.uid)) == (&"second".to_owned(), second.metadata.uid.as_ref()),
        "{writer:?}"
    );
    ensure!(after.stream_arn() == Some(&arn), "the stream was replaced: {:?}", after.stream_arn());
    real.stop().await;
    Ok(())
}

async fn deleted_stream_goes_only_when_its_writers_pod_has_ended(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let real = real_camera(world).await?;
    let object = stream("yard", class, &json!({ "deletionPolicy": "Delete" }));
    active_stream(world, namespace, &object).await?;
    let cameras: Api<Camera> = world.api(namespace);
    world.apply(namespace, &[camera("yard", &real.url(), &writes_to("yard"))]).await?.succeeded()?;
    has_condition(&cameras, "yard", RECORDING).await?;

    let pod = pod_of(&world.client, namespace, "yard").await?.name_any();
    let ended = pod_end(world, namespace, pod).await?;
    world.api::<VideoStream>(namespace).delete("yard", &DeleteParams::default()).await?;
    is_gone(&world.api::<VideoStream>(namespace), "yard").await?;
    ensure!(world.emulator.find(&format!("{namespace}.yard")).await?.is_none(), "the stream is still there");

    let pod_ended =
        tokio::time::timeout(Duration::from_secs(5), ended).await.context("the pod has not ended")??;
    let calls = world.emulator.calls(0).await?;
    let deletion = calls.iter().find(|call| {
        let is_ours = call.stream.as_deref() == Some(&format!("{namespace}.yard"));
        call.operation == "DeleteStream" && call.done && is_ours
    });
    let deleted = deletion.context("DeleteStream is in the log of calls")?.ms;
    // Both clocks are this machine's; the end of the pod reaches us some milliseconds after it reaches the operator.
    let slack = 250;
    ensure!(
        deleted + slack >= pod_ended,
        "the stream was deleted {} ms before the pod's end",
        pod_ended - deleted
    );
    let lost = (ConditionType::Ready, "False", "VideoStreamNotFound");
    let (_, message) = has_condition(&cameras, "yard", lost).await?;
    ensure!(message.contains("yard"), "the message does not name the stream: {message:?}");
    real.stop().await;
    Ok(())
}

/// When nothing of the pod runs any more, in milliseconds of the Unix epoch.
async fn pod_end(world: &World, namespace: &str, pod: String) -> Result<tokio::task::JoinHandle<u64>> {
    let api: Api<Pod> = world.api(namespace);
    let listed = api.list(&ListParams::default()).await?;
    let from = listed.metadata.resource_version.unwrap_or_default();
    let mut events = api.watch(&WatchParams::default(), &from).await?.into_stream().boxed();
    Ok(tokio::spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            let has_ended = match &event {
                WatchEvent::Deleted(seen) => seen.name_any() == pod,
                WatchEvent::Modified(seen) if seen.name_any() == pod => {
                    let phase = seen.status.as_ref().and_then(|status| status.phase.as_deref());
                    matches!(phase, Some("Succeeded" | "Failed"))
                }
                _ => false,
            };
            if has_ended {
                return unix_ms();
            }
        }
        u64::MAX
    }))
}

async fn object_that_is_deleted_and_applied_again_finds_its_own_stream(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let object = stream("yard", class, &json!({ "tags": { "site": "berlin" } }));
    let arn = active_stream(world, namespace, &object).await?;
    let name = format!("{namespace}.yard");
    let before = found(world, &name).await?;
    ensure!(before.arn == arn, "the status names another stream than {before:?}");
    let tag = |key: &str| before.tags.get(key).map(String::as_str);
    ensure!(tag(ownership_tags::NAMESPACE) == Some(namespace) && tag("site") == Some("berlin"), "{before:?}");

    delete_stream_object(world, namespace, "yard").await?;
    ensure!(found(world, &name).await? == before, "the retained stream was changed");

    ensure!(active_stream(world, namespace, &object).await? == arn, "another stream was made or taken");
    let adopted = (ConditionType::Owned, "True", "Adopted");
    has_condition(&world.api::<VideoStream>(namespace), "yard", adopted).await?;
    Ok(())
}

async fn stream_of_somebody_else_is_neither_taken_nor_deleted(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let client = world.emulator.client();
    let theirs = [
        (ownership_tags::INSTALLATION, "another-installation"),
        (ownership_tags::NAMESPACE, namespace),
        (ownership_tags::NAME, "theirs"),
    ];
    let mut request = client.create_stream().stream_name("theirs").data_retention_in_hours(5);
    for (key, value) in theirs {
        request = request.tags(key, value);
    }
    request.send().await?;
    client.create_stream().stream_name("untagged").data_retention_in_hours(5).send().await?;
    let before = [found(world, "theirs").await?, found(world, "untagged").await?];

    let api: Api<VideoStream> = world.api(namespace);
    for (name, reason) in [("theirs", "OwnedByOther"), ("untagged", "AdoptionRefused")] {
        let more = json!({ "streamName": name, "deletionPolicy": "Delete", "retentionHours": 48 });
        world.apply(namespace, &[stream(name, class, &more)]).await?.succeeded()?;
        let (_, message) = has_condition(&api, name, (ConditionType::Owned, "False", reason)).await?;
        ensure!(message.contains("streamName"), "the message does not say what to do: {message:?}");
        has_condition(&api, name, (ConditionType::Ready, "False", reason)).await?;
    }
    for name in ["theirs", "untagged"] {
        delete_stream_object(world, namespace, name).await?;
    }
    let after = [found(world, "theirs").await?, found(world, "untagged").await?];
    ensure!(before == after, "before {before:?}, after {after:?}");
    Ok(())
}

async fn deletion_policy_decides_about_the_stream_and_the_class_about_the_policy(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let with_policy = |name, class: &str, policy| stream(name, class, &json!({ "deletionPolicy": policy }));
    active_stream(world, namespace, &with_policy("kept", class, "Retain")).await?;
    active_stream(world, namespace, &with_policy("gone", class, "Delete")).await?;
    active_stream(world, namespace, &stream("default", class, &json!({}))).await?;
    let before = found(world, &format!("{namespace}.kept")).await?;
    for name in ["kept", "gone", "default"] {
        delete_stream_object(world, namespace, name).await?;
    }
    ensure!(found(world, &format!("{namespace}.kept")).await? == before, "the retained stream was changed");
    found(world, &format!("{namespace}.default")).await?;
    let gone = world.emulator.find(&format!("{namespace}.gone")).await?;
    ensure!(gone.is_none(), "the stream under Delete is still there: {gone:?}");

    let closed = format!("{}-{CLOSED}", world.id);
    world.apply(namespace, &[with_policy("refused", &closed, "Delete")]).await?.succeeded()?;
    let refused = (ConditionType::Ready, "False", "DeletionPolicyNotAllowed");
    let (_, message) = has_condition(&world.api::<VideoStream>(namespace), "refused", refused).await?;
    ensure!(message.contains("deletionPolic"), "the message does not say what to do: {message:?}");
    ensure!(
        world.emulator.find(&format!("{namespace}.refused")).await?.is_none(),
        "a stream was made all the same"
    );
    Ok(())
}

async fn retention_is_raised_and_a_decrease_waits_for_consent(
    world: &World,
    namespace: &str,
    class: &str,
) -> Result<()> {
    let api: Api<VideoStream> = world.api(namespace);
    let name = format!("{namespace}.yard");
    let wanted = |hours: i32, more: Value| {
        let mut object = stream("yard", class, &json!({ "retentionHours": hours }));
        merge(&mut object["spec"], &more);
        object
    };
    let arn = active_stream(world, namespace, &wanted(24, json!({}))).await?;
    ensure!(found(world, &name).await?.retention_hours == 24);

    world.apply(namespace, &[wanted(72, json!({}))]).await?.succeeded()?;
    has_condition(&api, "yard", IN_SYNC).await?;
    retention_becomes(world, &name, 72).await?;

    world.apply(namespace, &[wanted(48, json!({}))]).await?.succeeded()?;
    let blocked = (ConditionType::Synced, "False", "ChangeBlocked");
    let (object, message) = has_condition(&api, "yard", blocked).await?;
    ensure!(message.contains("retentionDecreasePolicy") && message.contains("Allow"), "{message:?}");
    let pending = object.status.map(|status| status.pending_changes).unwrap_or_default();
    let change =
        pending.iter().find(|change| change.field == "retentionHours").context("no pending change")?;
    ensure!((change.from.as_str(), change.to.as_str(), change.blocked) == ("72", "48", true), "{change:?}");
    ensure!(found(world, &name).await?.retention_hours == 72, "the decrease was applied without consent");

    world
        .apply(namespace, &[wanted(48, json!({ "retentionDecreasePolicy": "Allow" }))])
        .await?
        .succeeded()?;
    let (object, _) = has_condition(&api, "yard", IN_SYNC).await?;
    retention_becomes(world, &name, 48).await?;
    ensure!(object.stream_arn() == Some(&arn), "the stream was replaced");
    Ok(())
}

async fn retention_becomes(world: &World, name: &str, hours: i32) -> Result<()> {
    until(SOON, &format!("{name} keeps video for {hours} hours"), async || {
        let now = found(world, name).await?.retention_hours;
        Ok(if now == hours { Look::Done(()) } else { Look::NotYet(format!("{now} hours")) })
    })
    .await
}
