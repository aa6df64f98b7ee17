//! The demo: the whole way from YAML to stored video and back, on the local cluster, told step by step; then it stays up.
//!
//! Here is the order of things. What stands outside the cluster is in [`site`], what is installed in [`install`], what
//! is read and shown in [`observe`], what is done to cameras and pods, to show that it does not matter, in [`story`], and
//! what was measured, beside its limits, in [`figures`].
//! The end-to-end test of the demo's way takes the same steps on the tests' cluster.

mod clip;
pub mod figures;
mod fleet;
pub mod install;
pub mod observe;
pub mod site;
pub mod story;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::figures::Figures;
use crate::cluster::layout::Layout;
use crate::cluster::{self, Cluster};
use crate::process::{Recorded, tail};
use crate::steps::Steps;
use crate::tools::{Tools, cache_dir};
use crate::{images, release, tools};

/// The demo's cluster; tests use another, so that both can be up at once.
const INDEX: u8 = 0;
const NODES: u8 = 2;

/// Where and with what the demo's way is gone.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The cluster, up and with images.
    pub cluster: Cluster,
    /// The folder of the binaries (emulator, camera, plugin).
    pub binaries: PathBuf,
    /// The demo's folder: the emulator's data, credentials, clips; it outlives the cluster.
    pub folder: PathBuf,
    /// Whose the streams are, over the end of the cluster.
    pub installation: String,
}

/// Nothing is done for so long before memory is measured: "idle" is after the work that the last steps made.
const IDLE: Duration = Duration::from_secs(5);

/// Brings everything up and goes the way once. An error at the end when a figure is over its limit; it stays up then too.
pub fn up(steps: &Steps) -> Result<()> {
    cluster::need_root("the demo")?;
    // What an earlier demo leaves behind.
    let is_second = data_dir().exists();
    let stage = prepare(steps)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(perform(&stage, steps)).inspect_err(|_| diagnose(&stage, steps))?;
    steps.done("the demo has gone its way, and stays up");
    let verdicts = figures.verdicts(is_second);
    for verdict in &verdicts {
        steps.text(format!("           {}", verdict.text));
    }
    next_commands(&stage, steps)?;
    let over = verdicts.iter().filter(|verdict| verdict.is_over).count();
    ensure!(over == 0, "{over} of the demo's {} figures are over their limits, see above", verdicts.len());
    Ok(())
}

/// Takes everything down; the emulator's data stay.
pub fn down(steps: &Steps) -> Result<()> {
    let layout = cluster::load(INDEX).unwrap_or(Layout { index: INDEX, nodes: NODES });
    cluster::down(layout)?;
    steps.done("the demo is down: no process, mount, namespace, link, route or cgroup of it is left");
    steps.text(format!(
        "The emulator's data stay in {}; `make demo` finds its streams again.",
        data_dir().display()
    ));
    Ok(())
}

/// Tools, cluster and images.
fn prepare(steps: &Steps) -> Result<Stage> {
    let (tools, layout) = (Tools::default(), Layout { index: INDEX, nodes: NODES });
    cluster::check_machine()?;
    tools.ensure(steps)?;
    steps.done("tools are there");
    let binaries = images::own_folder()?;
    let built = images::build_all(&binaries)?;
    steps.done("images are built");
    // Pods of a running demo would keep the images that they were started with.
    let stale = |cluster: &Cluster| built.iter().any(|image| !cluster.has_image(&image.archive));
    if Cluster::open(INDEX).is_ok_and(|cluster| stale(&cluster)) {
        steps.say("a demo with other binaries is up: taking it down first");
        cluster::down(layout)?;
    }
    cluster::up(layout, &tools, steps)?;
    let cluster = Cluster::open(INDEX)?;
    for image in &built {
        cluster.import_image(&image.archive)?;
    }
    steps.done("images are on the nodes");
    let prepared =
        Stage { cluster, binaries, folder: cache_dir().join("demo"), installation: "demo".to_owned() };
    // Early, so that somebody can look around after a failure too.
    install::write_environment(&prepared)?;
    Ok(prepared)
}

/// The way itself.
pub async fn perform(stage: &Stage, steps: &Steps) -> Result<Figures> {
    fs::create_dir_all(&stage.folder)?;
    let emulator = site::start_all(stage, steps)?;
    install::install(stage, &emulator, steps)?;
    let observer = observe::Observer::new(stage).await?;
    let made = observer.watch_made();
    let applied = install::apply_examples(stage, steps)?;
    let (ready, first_persisted) = observer.wait_all_ready(&applied, made, steps).await?;
    steps.text(install::kvs(stage, &["status", "-n", install::NAMESPACE])?);
    story::unplug_and_plug_in(stage, &observer, steps).await?;
    let deleted = story::delete_a_pod(&observer, steps).await?;
    story::recall_a_clip(stage, deleted, steps)?;
    steps.text(install::kvs(stage, &["status", "-n", install::NAMESPACE])?);
    tokio::time::sleep(IDLE).await;
    let memory = observer.memory().await?;
    Ok(Figures { first_persisted, ready, memory })
}

fn data_dir() -> PathBuf {
    cache_dir().join("demo/emulator-data")
}

/// After a failure: the ends of the logs that are likely to say why, and what to do.
pub fn diagnose(stage: &Stage, steps: &Steps) {
    let kubectl =
        |args: &[&str]| crate::process::output(stage.cluster.kubectl().args(args)).unwrap_or_default();
    steps.text("\n--- cameras, pods, events");
    steps.text(kubectl(&["get", "streamclasses,videostreams,cameras", "-A", "-o", "wide"]));
    steps.text(kubectl(&["get", "pods", "-A", "-o", "wide"]));
    let events = kubectl(&["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"]);
    steps.text(events.lines().rev().take(12).collect::<Vec<_>>().join("\n"));
    steps.text("--- the end of the operator's log");
    steps.text(release::logs(&stage.cluster, 15).unwrap_or_default());
    steps.text("--- the ends of the producers' logs");
    steps.text(kubectl(&[
        "-n",
        install::NAMESPACE,
        "logs",
        "--tail=8",
        "--prefix",
        "-l",
        install::PRODUCER_SELECTOR,
    ]));
    for process in stage.cluster.host_processes().all() {
        let runs = if process.is_alive() { "runs" } else { "HAS ENDED" };
        steps.text(format!("--- {} {runs}; the end of {}", process.name, process.log.display()));
        steps.text(tail(&process.log, 8));
    }
    let dead: Vec<_> =
        stage.cluster.processes().all().into_iter().filter(|process| !process.is_alive()).collect();
    for Recorded { name, log, .. } in dead {
        steps.text(format!(
            "--- {name} of the cluster HAS ENDED; the end of {}\n{}",
            log.display(),
            tail(&log, 8)
        ));
    }
    steps.text(format!(
        "What to do: everything is still up to be looked at (`. {}`). `make demo` goes on from here; `make demo-down` \
         and `make demo` start afresh; to forget the emulator's streams too, remove {}.",
        stage.folder.join("env").display(),
        data_dir().display()
    ));
}

/// Writes the environment for a shell, and prints what to try in it.
fn next_commands(stage: &Stage, steps: &Steps) -> Result<()> {
    let environment = install::write_environment(stage)?;
    steps.text(format!(
        "
Five commands to try next:

  . {}
  kubectl kvs status -A
  kubectl -n cameras describe camera door
  kubectl kvs clip door -n cameras --from -60s --to now -o /tmp/door.mkv && ffprobe -hide_banner /tmp/door.mkv
  kubectl -n cameras patch videostream yard --type merge -p '{{\"spec\":{{\"retentionHours\":96}}}}' && kubectl -n cameras get vstream yard -w
  make demo-down
",
        environment.display()
    ));
    Ok(())
}

/// The path of a file of this checkout.
fn repository_file(path: &str) -> Result<PathBuf> {
    let file = tools::repository().join(path);
    file.exists().then_some(()).with_context(|| format!("{} is missing", file.display()))?;
    Ok(file)
}
