//! 7 and 8: calls are throttled when all objects are looked at anew; the account's credentials are revoked for a while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use streamfleet_crds::{Camera, ConditionType, VideoStream};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::emulator::Call;
use streamfleet_tests::e2e::manifests::{camera, stream};
use streamfleet_tests::e2e::objects::{Conditioned as _, SOON, has_condition, is_gone, pod_of, status_of};
use streamfleet_tests::e2e::operator::loud_lines;
use streamfleet_tests::resources::share_of_a_core;

use crate::scene::{ACTIVE, IN_SYNC, Scene};

const FLEET: usize = 500;
/// All objects are to be looked at within so long of a restart.
const OBSERVED_MAX: Duration = Duration::from_mins(1);
/// A new object is to be Ready within so long though everything is looked at anew and calls are throttled.
const NEWCOMER_MAX: Duration = Duration::from_secs(30);
/// A restart reads lists, with so many calls at most, where one for each object would be 500; [`calls_max`].
const CALLS_OF_A_RESTART: usize = 40;
/// Beside it a sweep goes on each second, and three of ten are throttled and come again: so many calls a second.
const CALLS_OF_SWEEPS: usize = 2;
/// Lines of warnings and errors that a restart may write.
const LINES_MAX: usize = 150;

/// How many calls a restart may have made after so long.
fn calls_max(since_start: Duration) -> usize {
    CALLS_OF_A_RESTART + CALLS_OF_SWEEPS * since_start.as_secs() as usize
}

/// How many streams are Ready.
async fn ready(scene: &Scene) -> Result<usize> {
    let all = scene.streams().list(&ListParams::default()).await?.items;
    let is_ready = |stream: &&VideoStream| {
        stream.conditions().iter().any(|found| found.type_ == "Ready" && found.status == "True")
    };
    Ok(all.iter().filter(is_ready).count())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_07_throttling_storm_and_restart_herd() -> Result<()> {
    let mut scene = Scene::start("s07", &["--quotas"], &json!({})).await?;
    make_fleet(&scene).await?;
    let (api, params) = (scene.streams(), PostParams::default());
    // Killed; at the start, three of ten calls are throttled, beside the quotas.
    scene.world.take_operator()?.kill()?;
    let said = std::fs::read_to_string(scene.world.operator_log())?.len();
    scene.world.emulator.throttle(None, 0.3).await?;
    let last = scene.last_call().await?;
    let started = Instant::now();
    scene.world.start_operator().await?;
    let newcomer = stream("newcomer", &scene.class, &json!({ "retentionHours": 48 }));
    let applied = Instant::now();
    api.create(&params, &serde_json::from_value(newcomer)?).await?;
    has_condition(&api, "newcomer", ACTIVE).await?;
    let newcomer = applied.elapsed();
    scene.world.operator()?.has_seen_all("VideoStream", SOON).await?;
    let observed = started.elapsed();
    // Some sweeps more.
    tokio::time::sleep(Duration::from_secs(5)).await;
    scene.world.emulator.clear_faults().await?;
    let (calls, calls_max) = (scene.world.emulator.calls(last).await?, calls_max(started.elapsed()));
    let changes = scene.changes_since(last).await?;
    let log = std::fs::read_to_string(scene.world.operator_log())?;
    let lines = loud_lines(&log[said..]);
    scene.steps.say(format!(
        "after the restart all were observed in {:.1} s, a new one was Ready in {:.1} s, with {} calls of {calls_max} and {lines} warnings",
        observed.as_secs_f64(),
        newcomer.as_secs_f64(),
        calls.len(),
    ));
    ensure!(calls.iter().any(|call| call.struck), "nothing was throttled");
    ensure!(!calls.iter().any(Call::is_over_quota), "of its own accord it has run into quotas: {calls:?}");
    ensure!(observed <= OBSERVED_MAX && newcomer <= NEWCOMER_MAX);
    ensure!(calls.len() <= calls_max, "{} calls, more than {calls_max}: {calls:?}", calls.len());
    ensure!(lines <= LINES_MAX, "it floods its log with {lines} lines");
    let others: Vec<_> =
        changes.iter().filter(|call| call.stream.as_deref() != Some(&*scene.kvs_name("newcomer"))).collect();
    ensure!(others.is_empty(), "a restart has changed something: {others:?}");
    ensure!(ready(&scene).await? == FLEET + 1, "some are no longer Ready");
    scene.finish().await
}

/// Makes the fleet; nothing is throttled meanwhile, since the operator keeps the quotas by itself.
async fn make_fleet(scene: &Scene) -> Result<()> {
    let api = scene.streams();
    let objects = (0..FLEET).map(|number| {
        serde_json::from_value::<VideoStream>(stream(&format!("c{number:03}"), &scene.class, &json!({})))
    });
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let params = PostParams::default();
    futures::stream::iter(&objects)
        .map(|object| api.create(&params, object))
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    until(SOON, "the fleet is Ready", async || {
        let now = ready(scene).await?;
        Ok(if now == FLEET { Look::Done(()) } else { Look::NotYet(format!("{now} are")) })
    })
    .await?;
    let calls = scene.world.emulator.calls(0).await?;
    let refused: Vec<_> = calls.iter().filter(|call| call.is_over_quota()).collect();
    ensure!(refused.is_empty(), "of its own accord it has run into quotas: {refused:?}");
    scene
        .steps
        .say(format!("{FLEET} streams were made by {} calls, none of which was throttled", calls.len()));
    Ok(())
}

/// The credentials stay revoked for so long.
const REVOKED: Duration = Duration::from_secs(20);
/// How much more of a core it may take then.
const CPU_MORE_MAX: f64 = 0.05;
/// So many calls at most are made meanwhile; without a breaker it is several a second for each object.
const REVOKED_CALLS_MAX: usize = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_08_credentials_revoked_mid_run_then_restored() -> Result<()> {
    let scene = Scene::start("s08", &[], &json!({})).await?;
    make_streams_and_a_camera(&scene).await?;
    let cameras = scene.world.api::<Camera>(&scene.namespace);
    let operator = scene.world.operator()?.pid();
    let steady = share_of_a_core(operator, Duration::from_secs(6)).await?;

    scene.world.emulator.revoke().await?;
    let (last, stored) = (scene.last_call().await?, stored(&scene).await?);
    scene.edit("c00", &json!({ "retentionHours": 48 })).await?;
    for name in ["c01", "c02", "doomed"] {
        scene.streams().delete(name, &DeleteParams::default()).await?;
    }
    let revoked = share_of_a_core(operator, REVOKED).await?;
    for name in ["c01", "c02"] {
        is_gone(&scene.streams(), name).await?;
    }
    // What is edited and what is to be deleted says why nothing goes on.
    for name in ["c00", "doomed"] {
        let object = scene.streams().get(name).await?;
        let ready = object.conditions().iter().find(|found| found.type_ == "Ready");
        let reason = ready.map(|ready| (ready.reason.as_str(), ready.message.as_str())).unwrap_or_default();
        scene.steps.say(format!("{name}: {reason:?}"));
        ensure!(["AwsAccessDenied", "StreamClassNotReady"].contains(&reason.0), "{name}: {reason:?}");
    }
    // Its producer's session lives.
    has_condition(&cameras, "gate", (ConditionType::Ready, "True", "Recording")).await?;
    let now = self::stored(&scene).await?;
    ensure!(now > stored + 10_000, "the camera has stored {} ms meanwhile", now - stored);
    let mut calls = scene.world.emulator.calls(last).await?;
    calls.retain(|call| !["PutMedia", "DescribeStream"].contains(&call.operation.as_str()) || !call.done);
    scene.steps.say(format!(
        "steady {:.2} % of a core, revoked {:.2} %, with {} calls in {} s",
        steady * 100.0,
        revoked * 100.0,
        calls.len(),
        REVOKED.as_secs()
    ));
    ensure!(revoked <= steady + CPU_MORE_MAX, "it burns CPU");
    ensure!(calls.len() <= REVOKED_CALLS_MAX, "{} calls: {calls:?}", calls.len());

    scene.world.emulator.restore().await?;
    has_condition(&scene.streams(), "c00", IN_SYNC).await?;
    has_condition(&scene.streams(), "c00", ACTIVE).await?;
    scene.retention_is("c00", 48).await?;
    is_gone(&scene.streams(), "doomed").await?;
    ensure!(scene.world.emulator.find(&scene.kvs_name("doomed")).await?.is_none());
    scene.found("c01").await?;
    scene.active("afterwards", &json!({})).await?;
    scene.world.operator()?.is_alive()?;
    scene.finish().await
}

async fn make_streams_and_a_camera(scene: &Scene) -> Result<()> {
    for number in 0..20 {
        scene.apply(&format!("c{number:02}"), &json!({})).await?;
    }
    scene.active("doomed", &json!({ "deletionPolicy": "Delete" })).await?;
    scene.active("gate", &json!({})).await?;
    let mut writer = camera("gate", "", &json!({ "streamRef": { "name": "gate" } }));
    writer["spec"]["source"] = json!({ "testPattern": { "width": 320, "height": 192 } });
    scene.world.apply(&scene.namespace, &[writer]).await?.succeeded()?;
    let cameras = scene.world.api::<Camera>(&scene.namespace);
    has_condition(&cameras, "gate", (ConditionType::Ready, "True", "Recording")).await?;
    until(SOON, "all are Ready", async || {
        let now = ready(scene).await?;
        Ok(if now == 22 { Look::Done(()) } else { Look::NotYet(format!("{now} are")) })
    })
    .await
}

/// What the camera has stored last, in milliseconds of the Unix epoch.
async fn stored(scene: &Scene) -> Result<i64> {
    let status = status_of(&pod_of(&scene.world.client, &scene.namespace, "gate").await?).await?;
    let stored = status.feeds.first().and_then(|feed| feed.stored).context("nothing is stored yet")?;
    Ok(stored.media_ms)
}
