//! The real thing: an apiserver, an emulator and an operator with a gate between them, in which a way is gone again and again, each
//! time with another object.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use streamfleet_crds::VideoStream;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::manifests::stream;
use streamfleet_tests::e2e::objects::SOON;
use streamfleet_tests::e2e::{OperatorLock, Planted, World, http};

use crate::asked::{About, NAMES};
use crate::gate::{Gate, Point, Seen};
use crate::look::{Eyes, Names};
use crate::shadow;
use crate::ways::{self, Step, Way};
use crate::world::SECRET;

/// States take their time, and the list is behind; a minute of alarms takes a second, so that they soon have their state.
const FLAGS: [&str; 6] = ["--state-delay", "400", "--list-lag", "500", "--alarm-period", "1"];
/// All is settled when nothing was changed for so long, and so many sweeps have shown what there is.
const QUIET: Duration = Duration::from_millis(1_500);
const SWEEPS: usize = 3;
/// Then nothing is changed for so long.
const STEADY: Duration = Duration::from_millis(2_500);
/// So often it is watched for that.
const WATCHED_MAX: usize = 4;
/// A point comes within so long.
const POINT_MAX: Duration = Duration::from_mins(1);
/// The signal by which the operator is killed.
const SIGKILL: i32 = 9;
/// Somebody else's stream.
const NEIGHBOUR: &str = "t-neighbour";

/// What a run came to.
pub struct Ran {
    /// The calls and writes of the operator until all was settled, in their order.
    pub points: Vec<String>,
    /// What was asked.
    pub seen: Vec<Seen>,
    /// What there was at the end.
    pub summary: Value,
    /// What is not as it is to be, whatever the end.
    pub problems: Vec<String>,
}

/// A place in which a way is gone.
pub struct Real {
    pub way: Arc<Way>,
    world: World,
    gate: Gate,
    eyes: Eyes,
    runs: usize,
    /// When the operator began that runs.
    began: Instant,
    neighbour: Value,
}

impl Real {
    /// Makes one, with an operator that is ready.
    pub async fn start(lock: Arc<OperatorLock>, id: &str, way: Arc<Way>) -> Result<Self> {
        let mut world = World::beside(lock, id, &FLAGS).await?;
        let hooks = world.emulator.hooks();
        let options = json!({ "retentionUpdates": true }).to_string();
        http::request(hooks, "POST", "/_emulator/options", &options).await?;
        let keys = world.emulator.keys.clone();
        let names = Names {
            installation: world.id.clone(),
            namespace: world.namespace(&keys).await?,
            class: format!("{}-standard", world.id),
            name: format!("{NAMES}00"),
        };
        let eyes = Eyes::new(world.cluster.client().await?, hooks, names);
        let gate = Gate::start(eyes.clone(), world.cluster.client().await?, hooks).await?;
        let mut spec = ways::class(&way.acted).context("there is a class in process")?;
        let endpoint = gate.aws();
        spec["aws"]["endpoints"] =
            json!({ "kinesisVideo": endpoint, "sts": endpoint, "cloudWatch": endpoint });
        // What is granted there by a label.
        spec["allowedNamespaces"] = json!({ "from": "All" });
        let class = world.class("standard", &spec).await?;
        let kubeconfig = gate.kubeconfig(&world.folder)?;
        for (variable, value) in [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("STREAMFLEET_CLASSES", class),
            ("STREAMFLEET_SWEEP_SECONDS", "1".to_owned()),
            ("STREAMFLEET_ALARMS_SECONDS", "1".to_owned()),
        ] {
            world.setup.set(variable, value);
        }
        let call = world.emulator.client().create_stream().stream_name(NEIGHBOUR).data_retention_in_hours(12);
        call.tags("streamfleet.io/installation", "south").send().await?;
        world.start_operator().await?;
        let (runs, began, neighbour) = (0, Instant::now(), Value::Null);
        let mut real = Self { way, world, gate, eyes, runs, began, neighbour };
        real.neighbour = real.neighbour_now().await?;
        Ok(real)
    }

    /// Goes the way, and kills the operator at this point; nothing when the run did not come to it.
    pub async fn go(&mut self, kill: Option<&Point>) -> Result<Option<Ran>> {
        let way = self.way.clone();
        self.runs += 1;
        self.eyes.turn_to(self.runs);
        self.gate.begin(None);
        for step in &way.before {
            self.take(step).await?;
        }
        let (moment, alarms) = (self.eyes.moment().await?, self.eyes.alarms().await?);
        let begins = shadow::summary(&way.acted, &moment, &alarms);
        ensure!(begins == way.begins, "it begins otherwise than in process:\n{begins}\n{}", way.begins);
        self.gate.begin(kill.cloned());
        let acted = Instant::now();
        for step in &way.act {
            self.take(step).await?;
        }
        if kill.is_some() && !self.is_killed(acted).await? {
            return Ok(None);
        }
        self.settled(acted).await?;
        self.look_back().await.map(Some)
    }

    /// Waits for the point, and kills the operator there; another begins in its place. Nothing is done when all has settled.
    async fn is_killed(&mut self, acted: Instant) -> Result<bool> {
        let settled = tokio::time::timeout(POINT_MAX, self.settled(acted));
        let came = tokio::select! {
            () = self.gate.is_held() => true,
            settled = settled => {
                settled.context("neither the point nor the end has come")??;
                false
            }
        };
        if came {
            let operator = self.world.take_operator()?;
            let process = operator.pid();
            let ended = operator.kill()?;
            ensure!(ended.signal() == Some(SIGKILL), "the operator ended with {ended}");
            self.gate.open().await?;
            self.began = Instant::now();
            self.world.set_operator(self.world.setup.start()?);
            ensure!(self.world.operator()?.pid() != process);
        }
        Ok(came)
    }

    /// Waits until nothing is left to do.
    async fn settled(&self, since: Instant) -> Result<()> {
        let since = since.max(self.began);
        until(SOON, &format!("{} has settled", self.way.name), async || {
            let seen = self.gate.seen();
            let sweeps = |label: &str| {
                let is_sweep = |one: &&Seen| one.asked.label == label && one.at > since && one.is_done();
                seen.iter().filter(is_sweep).count()
            };
            let sweeps = sweeps("ListStreams").min(sweeps("DescribeAlarms"));
            let last = seen.iter().rev().find(|one| one.is_change()).map(|one| one.at);
            if sweeps < SWEEPS || last.is_some_and(|last| last.elapsed() < QUIET) {
                return Ok(Look::NotYet(format!("{sweeps} sweeps")));
            }
            let (said, there) = self.eyes.counts().await?;
            if said != Some(there as u64) {
                return Ok(Look::NotYet(format!("the class has {said:?} streams of {there}")));
            }
            let (moment, alarms) = (self.eyes.moment().await?, self.eyes.alarms().await?);
            let unsettled = shadow::unsettled(&self.way.acted, &moment, &alarms);
            Ok(if unsettled.is_empty() { Look::Done(()) } else { Look::NotYet(unsettled.join(", ")) })
        })
        .await
    }

    /// What has come of a run that has settled.
    async fn look_back(&self) -> Result<Ran> {
        let settled = self.gate.seen();
        let points = settled.iter().filter(|one| one.asked.is_point && one.asked.about != About::Others);
        let points = points.map(|one| one.asked.label.clone()).collect();
        let late = self.steady(settled.len()).await;
        let seen = self.gate.seen();
        let (moment, alarms) = (self.eyes.moment().await?, self.eyes.alarms().await?);
        let summary = shadow::summary(&self.way.acted, &moment, &alarms);
        let (way, names, all) = (self.way.clone(), self.eyes.names(), seen.clone());
        let mut problems =
            tokio::task::spawn_blocking(move || shadow::against_invariants(&way.acted, &names, &all)).await?;
        problems.extend(late);
        if self.neighbour_now().await? != self.neighbour {
            problems.push("somebody else's stream was changed".to_owned());
        }
        let owned = moment.streams.iter().filter(|stream| stream["tags"]["streamfleet.io/name"] == "door");
        let owned =
            owned.filter(|stream| stream["status"].is_string() && stream["status"] != "DELETING").count();
        if owned > 1 {
            problems.push(format!("I1: there are {owned} streams of the object"));
        }
        Ok(Ran { points, seen, summary, problems })
    }

    /// Watches until nothing was changed for a while; gives what was, though it was not to be. Nothing in AWS is to be from the first.
    /// What is only told, in events and counts, comes late on a machine with much else to do, and must come to an end.
    /// `since` requests had come when all was settled.
    async fn steady(&self, mut since: usize) -> Vec<String> {
        let mut problems = Vec::new();
        for watched in 1..=WATCHED_MAX {
            tokio::time::sleep(STEADY).await;
            let seen = self.gate.seen();
            let late: Vec<&Seen> = seen[since..].iter().filter(|one| one.is_change()).collect();
            let is_wrong = |one: &&&Seen| one.asked.is_aws || watched == WATCHED_MAX;
            let told = |one: &&Seen| format!("I6: not steady: {} {}", one.asked.label, one.asked.request);
            problems.extend(late.iter().filter(is_wrong).map(told));
            if late.is_empty() {
                break;
            }
            since = seen.len();
        }
        problems
    }

    async fn neighbour_now(&self) -> Result<Value> {
        let mut all = self.eyes.streams().await?.into_iter();
        let mut found = all.find(|stream| stream["name"] == NEIGHBOUR).context("the neighbour is there")?;
        // That passes by itself.
        found["status"].take();
        Ok(found)
    }

    async fn take(&self, step: &Step) -> Result<()> {
        let names = self.eyes.names();
        let (objects, client): (Api<VideoStream>, _) =
            (self.world.api(&names.namespace), self.world.emulator.client());
        let tags = |tags: &BTreeMap<String, String>| -> Vec<(String, String)> {
            tags.iter().map(|(key, value)| (key.clone(), names.ours(value))).collect()
        };
        match step {
            Step::Apply(spec) => {
                let mut spec = spec.clone();
                spec["streamClassName"] = names.class.clone().into();
                let object = serde_json::from_value(stream(&names.name, &names.class, &spec))?;
                objects.create(&PostParams::default(), &object).await?;
            }
            Step::Edit(spec) => {
                let patch = Patch::Merge(json!({ "spec": spec }));
                objects.patch(&names.name, &PatchParams::default(), &patch).await?;
            }
            Step::Delete => {
                objects.delete(&names.name, &DeleteParams::default()).await?;
            }
            Step::Settle => self.settled(Instant::now()).await?,
            Step::MakeStream(hours, with) => {
                let call = client
                    .create_stream()
                    .stream_name(names.stream())
                    .data_retention_in_hours(i32::try_from(*hours)?);
                let with = tags(with);
                let call =
                    if with.is_empty() { call } else { call.set_tags(Some(with.into_iter().collect())) };
                call.send().await?;
            }
            Step::Tag(with) => {
                let call = client.tag_stream().stream_name(names.stream());
                call.set_tags(Some(tags(with).into_iter().collect())).send().await?;
            }
            Step::Retain(more) => {
                let described = client.describe_stream().stream_name(names.stream()).send().await?;
                let info = described.stream_info.context("a described stream has an info")?;
                let call = client
                    .update_data_retention()
                    .stream_name(names.stream())
                    .set_current_version(info.version);
                let call = call.operation(UpdateDataRetentionOperation::IncreaseDataRetention);
                call.data_retention_change_in_hours(i32::try_from(*more)?).send().await?;
            }
            Step::DeleteStream => {
                let described = client.describe_stream().stream_name(names.stream()).send().await?;
                let info = described.stream_info.context("a described stream has an info")?;
                client.delete_stream().set_stream_arn(info.stream_arn).send().await?;
            }
        }
        Ok(())
    }

    /// Takes everything down; what was secret must be in no log.
    pub async fn finish(self) -> Result<()> {
        let mut planted = Planted::default();
        planted.add("external ID", SECRET);
        planted.add("secret key", &self.world.emulator.keys.secret);
        planted.add("session token", &self.world.emulator.keys.token);
        let hits = planted.find("the operator's log", &std::fs::read(self.world.operator_log())?);
        ensure!(hits.is_empty(), "I7: {hits:?}");
        self.world.finish().await
    }
}
