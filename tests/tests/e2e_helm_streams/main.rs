//! What a user of the chart sees: an operator that Helm has installed, with the rights that the chart gives it, real pods, and
//! what kubectl prints. Three acts at once on one installation, each with a namespace and a class of its own: streams that
//! are broken, footage that stays, and an alarm.

mod alarm;
mod broken;
mod key;
mod media;
mod printed;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use streamfleet_tests::e2e::emulator::FAST_ALARMS;
use streamfleet_tests::e2e::{Scene, World};
use streamfleet_tests::release;
use streamfleet_tests::steps::Steps;

/// What somebody else does, and what an alarm does, is seen within seconds.
const VALUES: [&str; 2] = ["observer.sweepSeconds=2", "observer.alarmsSeconds=2"];

/// The names of the operator's pods, each with how often it was restarted.
async fn operators(world: &World) -> Result<Vec<(String, i32)>> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), release::NAMESPACE);
    let listed = pods.list(&ListParams::default().labels(release::OPERATOR_SELECTOR)).await?;
    let restarts = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        containers.into_iter().flatten().map(|container| container.restart_count).sum()
    };
    let mut found: Vec<_> = listed.iter().map(|pod| (pod.name_any(), restarts(pod))).collect();
    found.sort();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn kubectl_tells_a_stranger_what_is_wrong_footage_stays_and_a_silent_camera_is_noticed() -> Result<()> {
    let steps = Steps::start();
    let mut world = World::with_emulator("helm", &FAST_ALARMS).await?;
    world.install_operator(&VALUES)?;
    let before = operators(&world).await?;
    ensure!(!before.is_empty(), "helm has installed no operator");
    steps.done(format!("helm install: {} pods of the operator are ready", before.len()));

    let keys = world.emulator.keys.clone();
    let mut namespaces = Vec::new();
    for _ in 0..3 {
        namespaces.push(world.namespace(&keys).await?);
    }
    let mut namespace = || namespaces.pop().context("a namespace for each act");
    let open = json!({ "limits": { "adoptionPolicies": ["Never", "IfOwned", "IfUnowned"] } });
    let broken = Scene::within(&world, "open", namespace()?, &open).await?;
    let media = Scene::within(&world, "kept", namespace()?, &json!({})).await?;
    let watched = json!({ "alarms": {
        "perStream": ["NoIngest"], "noIngest": { "evaluationPeriods": 3, "datapointsToAlarm": 2 },
    } });
    let alarm = Scene::within(&world, "watched", namespace()?, &watched).await?;
    tokio::try_join!(
        broken::are_told_from_their_lines_and_recover(&broken),
        media::stays(&media),
        alarm::fires_and_clears(&alarm),
    )?;

    let after = operators(&world).await?;
    ensure!(after == before, "the operator's pods were {before:?}, and now are {after:?}");
    steps.done("all of it by the same pods of the operator, without a restart");
    world.finish().await?;
    steps.done("helm uninstall");
    Ok(())
}
