//! The way of the demo, on the tests' cluster with development builds: the chart, `examples/` as they are, three cameras,
//! an unplugged one, a deleted pod, a clip; and once more after everything in Kubernetes was deleted.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use streamfleet_crds::{ConditionType, VideoStream};
use streamfleet_tests::cluster::Cluster;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::demo::figures::FIRST_PERSISTED_LIMIT;
use streamfleet_tests::demo::observe::Observer;
use streamfleet_tests::demo::{self, Stage, install, site, story};
use streamfleet_tests::e2e::OperatorLock;
use streamfleet_tests::e2e::objects::has_condition;
use streamfleet_tests::e2e::world::let_go;
use streamfleet_tests::images::own_folder;
use streamfleet_tests::process::output;
use streamfleet_tests::release;
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::cache_dir;
use tokio::runtime::Handle;

/// Ends what a test has started outside the cluster, and its operator, on every way out.
struct Cleanup(Stage);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let cluster = &self.0.cluster;
        drop(delete(cluster, "namespace", install::NAMESPACE, "60s"));
        drop(delete(cluster, "streamclass", install::CLASS, "20s"));
        drop(release::uninstall(cluster));
        // What the operator did not let go of would stay for ever, and the next test would find it in deletion.
        let all = |name: &str| [install::NAMESPACE, install::CLASS].contains(&name);
        let freed = async { let_go(&cluster.client().await?, all).await };
        drop(tokio::task::block_in_place(|| Handle::current().block_on(freed)));
        drop(delete(cluster, "namespace", install::NAMESPACE, "60s"));
        for process in self.0.cluster.host_processes().all() {
            let own = process.name == site::EMULATOR
                || site::CAMERAS.iter().any(|camera| camera.name == process.name);
            if own {
                process.stop(Duration::from_secs(5));
            }
        }
    }
}

/// Deletes an object, and waits until it is gone.
fn delete(cluster: &Cluster, kind: &str, name: &str, limit: &str) -> Result<String> {
    let limit = format!("--timeout={limit}");
    output(cluster.kubectl().args(["delete", kind, name, "--ignore-not-found", &limit]))
}

fn stage() -> Result<Stage> {
    let folder = cache_dir().join("run/e2e-demo-way");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(Stage {
        cluster: Cluster::from_env()?,
        binaries: own_folder()?,
        folder,
        installation: "e2e-demo-way".to_owned(),
    })
}

/// The ARN of each VideoStream.
async fn arns(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let streams: Api<VideoStream> = Api::namespaced(stage.cluster.client().await?, install::NAMESPACE);
    let listed = streams.list(&ListParams::default()).await?;
    let arn = |stream: &VideoStream| stream.status.as_ref().and_then(|status| status.stream_arn.clone());
    listed
        .items
        .iter()
        .map(|stream| {
            Ok((stream.name_any(), arn(stream).with_context(|| format!("{} has no ARN", stream.name_any()))?))
        })
        .collect()
}

/// Waits until the way's events are on the objects, as the operator writes them with the rights that the chart gives it:
/// each stream was made, the unplugged camera went and came back.
async fn told_by_events(stage: &Stage) -> Result<()> {
    let events: Api<Event> = Api::namespaced(stage.cluster.client().await?, install::NAMESPACE);
    let mut expected: Vec<_> =
        site::CAMERAS.iter().map(|camera| ("VideoStream", camera.name, "Normal", "StreamCreated")).collect();
    let unplugged = site::CAMERAS[story::UNPLUGGED].name;
    expected.push(("Camera", unplugged, "Warning", "Unreachable"));
    expected.push(("Camera", unplugged, "Normal", "Connected"));
    until(Duration::from_secs(30), "the way is told by events", async || {
        let told = events.list(&ListParams::default()).await?.items;
        let is_told = |(kind, name, type_, reason): &(&str, &str, &str, &str)| {
            told.iter().any(|event| {
                let about = event.regarding.as_ref();
                about.and_then(|about| about.kind.as_deref()) == Some(*kind)
                    && about.and_then(|about| about.name.as_deref()) == Some(*name)
                    && event.type_.as_deref() == Some(*type_)
                    && event.reason.as_deref() == Some(*reason)
            })
        };
        let missing: Vec<_> = expected.iter().filter(|event| !is_told(event)).collect();
        Ok(if missing.is_empty() { Look::Done(()) } else { Look::NotYet(format!("missing: {missing:?}")) })
    })
    .await
}

/// Waits until each stream has its alarms: the class leads to the emulator's CloudWatch too.
async fn have_alarms(stage: &Stage) -> Result<()> {
    let streams: Api<VideoStream> = Api::namespaced(stage.cluster.client().await?, install::NAMESPACE);
    for camera in site::CAMERAS {
        has_condition(&streams, camera.name, (ConditionType::AlarmsReady, "True", "AlarmsInSync")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn the_demo_goes_its_way_and_a_second_one_finds_its_streams_again() {
    let stage = stage().unwrap();
    let _lock = OperatorLock::acquire(&stage.cluster).await.unwrap();
    let cleanup = Cleanup(stage.clone());
    let steps = Steps::start();

    let figures = match demo::perform(&stage, &steps).await {
        Ok(figures) => figures,
        Err(error) => {
            demo::diagnose(&stage, &steps);
            panic!("{error:#}");
        }
    };
    assert_eq!(figures.first_persisted.len(), site::CAMERAS.len());
    for (camera, time) in &figures.first_persisted {
        assert!(*time <= FIRST_PERSISTED_LIMIT, "{camera} was first stored {time:?} after the apply");
    }
    told_by_events(&stage).await.unwrap();
    have_alarms(&stage).await.unwrap();
    let before = arns(&stage).await.unwrap();
    assert_eq!(before.len(), site::CAMERAS.len(), "{before:?}");

    // Everything in Kubernetes goes; the streams are retained, and found again by their tags.
    delete(&stage.cluster, "namespace", install::NAMESPACE, "90s").unwrap();
    let emulator = site::start_all(&stage, &steps).unwrap();
    install::install(&stage, &emulator, &steps).unwrap();
    let observer = Observer::new(&stage).await.unwrap();
    let made = observer.watch_made();
    let applied = install::apply_examples(&stage, &steps).unwrap();
    observer.wait_all_ready(&applied, made, &steps).await.unwrap();
    assert_eq!(arns(&stage).await.unwrap(), before);

    // A Camera that is deleted takes its producer along.
    let mut lobby = stage.cluster.kubectl();
    output(lobby.args(["-n", install::NAMESPACE, "delete", "camera", "lobby", "--timeout=60s"])).unwrap();
    until(Duration::from_mins(1), "the deleted camera has no pod", async || {
        Ok(match observer.producer("lobby").await? {
            None => Look::Done(()),
            Some(pod) => Look::NotYet(pod.name_any()),
        })
    })
    .await
    .unwrap();

    // The operator lets go of all by itself, of alarms too.
    delete(&stage.cluster, "namespace", install::NAMESPACE, "90s").unwrap();
    delete(&stage.cluster, "streamclass", install::CLASS, "60s").unwrap();
    drop(cleanup);
}
