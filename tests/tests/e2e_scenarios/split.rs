//! 9: two operators that both think they lead.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use streamfleet_crds::ConditionType;
use streamfleet_operator::leader::LEASE;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::objects::{SOON, has_condition};
use streamfleet_tests::e2e::{Operator, http};
use streamfleet_tests::process::signal_process;
use tokio::time::Instant;

use crate::api_proxy::ApiProxy;
use crate::scene::{IN_SYNC, Scene};

/// The old leader is paused for so long past the end of its lease.
const PAUSED_PAST_LEASE: Duration = Duration::from_mins(1);
/// Its call takes effect so late: when it is nearly to come back, and the next one has long acted.
const CALL_TAKES: Duration = LEASE.saturating_add(PAUSED_PAST_LEASE);
/// The old leader is watched for so long after it has come back.
const WATCHED: Duration = Duration::from_secs(8);

/// Starts a replica that stands for election, under this name, with a log of its own.
pub fn candidate(scene: &Scene, name: &str, kubeconfig: Option<PathBuf>) -> Result<Operator> {
    let mut setup = scene.world.setup.clone();
    setup.set("STREAMFLEET_LEADER_ELECTION", "true");
    setup.set("STREAMFLEET_LEASE_NAMESPACE", &scene.namespace);
    setup.set("STREAMFLEET_POD_NAME", name);
    setup.log_to(log(scene, name));
    if let Some(kubeconfig) = kubeconfig {
        setup.set("KUBECONFIG", kubeconfig.display().to_string());
    }
    setup.start()
}

fn log(scene: &Scene, name: &str) -> PathBuf {
    scene.world.folder.join(format!("operator-{name}.log"))
}

/// Waits until the replica of this name holds the lease.
pub async fn leader(scene: &Scene, name: &str) -> Result<()> {
    let leases: Api<Lease> = scene.world.api(&scene.namespace);
    until(SOON, &format!("replica {name} leads"), async || {
        let all = leases.list(&ListParams::default()).await?.items;
        let holder = all.into_iter().filter_map(|lease| lease.spec?.holder_identity).collect::<Vec<_>>();
        let leads = holder.iter().any(|holder| holder.starts_with(&format!("{name}_")));
        Ok(if leads { Look::Done(()) } else { Look::NotYet(format!("{holder:?}")) })
    })
    .await
}

/// How many calls that change something a replica says that it has made.
async fn changes_made(operator: &Operator) -> Result<f64> {
    let text = String::from_utf8(http::get(operator.admin(), "/metrics").await?)?;
    let is_change = |line: &&str| {
        line.starts_with("streamfleet_operator_aws_requests_total{")
            && ["Create", "Delete", "Update", "Put", "Tag", "Untag"]
                .iter()
                .any(|verb| line.contains(&format!("operation=\"{verb}")))
    };
    let count = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
    Ok(text.lines().filter(is_change).filter_map(count).sum())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_09_leader_split() -> Result<()> {
    let mut scene = Scene::prepare("s09", &[], &json!({ "alarms": { "perStream": ["NoIngest"] } })).await?;
    let proxy = ApiProxy::start(&scene.world).await?;
    let old = candidate(&scene, "old", Some(proxy.kubeconfig(&scene.world.folder)?))?;
    old.ready().await?;
    leader(&scene, "old").await?;
    let new = candidate(&scene, "new", None)?;
    new.ready().await?;
    scene.active("before", &json!({ "retentionHours": 24 })).await?;
    has_condition(&scene.streams(), "before", (ConditionType::AlarmsReady, "True", "AlarmsInSync")).await?;
    let made = changes_made(&old).await?;
    ensure!(made >= 2.0, "the leader has made {made} changes: a stream and an alarm were to be");

    // Paused when its call is on the way, which takes effect when another one leads.
    let late = json!({ "action": "delay", "delayMs": CALL_TAKES.as_millis() as u64, "count": 1 });
    scene.fault("CreateStream", "during", &late).await?;
    scene.apply("during", &json!({})).await?;
    until(SOON, "the call is on its way", async || {
        let left = scene.faults_left().await?;
        Ok(if left == 0 { Look::Done(()) } else { Look::NotYet(format!("{left} faults")) })
    })
    .await?;
    signal_process(old.pid(), "STOP");
    // It has renewed its lease just now at the latest.
    let lease_ends = Instant::now() + LEASE;
    scene.edit("before", &json!({ "retentionHours": 48 })).await?;
    leader(&scene, "new").await?;
    scene.steps.say("the new one leads");
    scene.arn("during").await?;
    has_condition(&scene.streams(), "before", IN_SYNC).await?;
    scene.retention_is("before", 48).await?;
    until(SOON, "the old leader's call is over", async || {
        let calls = scene.calls("CreateStream", "during").await?;
        Ok(if calls.len() >= 2 { Look::Done(()) } else { Look::NotYet(format!("{calls:?}")) })
    })
    .await?;
    tokio::time::sleep_until(lease_ends + PAUSED_PAST_LEASE).await;
    let (written, last) = (proxy.writes().len(), scene.last_call().await?);

    signal_process(old.pid(), "CONT");
    scene.active("after", &json!({})).await?;
    tokio::time::sleep(WATCHED).await;
    let writes = proxy.writes().split_off(written);
    ensure!(writes.is_empty(), "the old leader has written: {writes:?}");
    let since = changes_made(&old).await? - made;
    ensure!(since <= 1.0, "the old leader has made {since} changes since, one was on the way");
    nothing_is_there_twice(&scene, last).await?;

    // The new one goes; the old one takes over, and works.
    ensure!(new.stop()?.success(), "the new leader did not end well");
    leader(&scene, "old").await?;
    scene.edit("before", &json!({ "retentionHours": 72 })).await?;
    scene.retention_is("before", 72).await?;
    scene.world.set_operator(old);
    scene.finish().await
}

/// One stream, one alarm, one change for each that was asked for. `last` is the last call before the old leader came back.
async fn nothing_is_there_twice(scene: &Scene, last: u64) -> Result<()> {
    for name in ["before", "during", "after"] {
        has_condition(&scene.streams(), name, (ConditionType::AlarmsReady, "True", "AlarmsInSync")).await?;
        ensure!(scene.done("CreateStream", name).await? == 1, "{name} was made more than once");
    }
    ensure!(scene.done("UpdateDataRetention", "before").await? == 1, "the retention was changed twice");
    ensure!(scene.world.emulator.stream_names().await?.len() == 3, "there are other streams");
    let alarms = scene.alarm_names().await?;
    ensure!(alarms.len() == 3, "{alarms:?}");
    let changes = scene.changes_since(0).await?;
    let puts = changes.iter().filter(|call| call.operation == "PutMetricAlarm" && call.done).count();
    ensure!(puts == 3, "{puts} alarms were put: {changes:?}");
    let later = scene.changes_since(last).await?;
    let of_after = |operation: &str| later.iter().filter(|call| call.operation == operation).count();
    let counts = (of_after("CreateStream"), of_after("PutMetricAlarm"), later.len());
    ensure!(counts == (1, 1, 2), "more than the new stream and its alarm was made: {later:?}");
    let said = std::fs::read_to_string(log(scene, "old")).context("the old leader has a log")?;
    ensure!(said.contains("does not lead any more"), "the old leader does not know that it is not one");
    Ok(())
}
