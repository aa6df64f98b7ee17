//! The operator is killed again and again while cameras come and go. Afterwards nothing is there twice, nothing is lost, and
//! nothing is left over.
//!
//! The producers are real pods; their cameras are an address where nothing listens, which is light: the state of a feed
//! does not matter here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use streamfleet_crds::Camera;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::emulator::{FoundStream, free_port};
use streamfleet_tests::e2e::kills::{Kill, Snapshot, Window};
use streamfleet_tests::e2e::manifests::{camera, own_stream};
use streamfleet_tests::e2e::random::{SEED_VARIABLE, seed};
use streamfleet_tests::e2e::timeline::{Timeline, unix_ms};
use streamfleet_tests::steps::Steps;

/// So many cameras live at a time.
const ALIVE: usize = 20;
/// So many come or go in a round.
const AT_ONCE: usize = 2;
/// At least so many kills with work in flight.
const KILLS: usize = 25;
/// At least so many of them between the effect of `CreateStream` or `DeleteStream` and the next status write.
const KILLS_IN_WINDOW: usize = 5;
/// After so many rounds something is wrong with the test.
const ROUNDS_MAX: usize = 70;
/// What the emulator adds to each answer, so that the moments between calls are no needle's eyes.
const ANSWER_DELAY_MS: u64 = 30;
/// From the operator's first act to the kill, at most.
const MOMENT_MAX_MS: u64 = 400;
/// From the effect of a call whose answer is held back to the kill, at most.
const HELD_MAX_MS: u64 = 150;
/// A deletion waits for the garbage collector and for a pod to end before the stream goes.
const EFFECT_MAX: Duration = Duration::from_mins(1);

/// What is known about a camera's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Alive,
    /// Its stream was so when the camera was deleted.
    Retained(FoundStream),
    Deleted,
}

struct Test {
    world: World,
    namespace: String,
    class: String,
    url: String,
    rng: Rng,
    steps: Steps,
    timeline: Timeline,
    cameras: BTreeMap<String, Fate>,
    /// The ARN under which each stream was first recorded.
    arns: BTreeMap<String, String>,
    kills: Vec<Kill>,
}

/// A call whose answer is held back once it has taken effect.
#[derive(Debug, Clone)]
enum Held {
    Create(String),
    Delete(String),
}

/// Odd ones are deleted with their footage, even ones are retained.
fn is_deleted_with(name: &str) -> bool {
    name.ends_with(['1', '3', '5', '7', '9'])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn killed_at_any_moment_the_operator_leaves_one_stream_and_one_pod_per_living_camera() -> Result<()> {
    let seed = seed()?;
    let mut test = Test::start(Rng::with_seed(seed)).await?;
    test.steps.text(format!("seed {seed} (set {SEED_VARIABLE}={seed} to draw the same moments)"));
    test.run_until_killed_enough().await?;
    test.world.emulator.clear_faults().await?;
    test.world.start_operator().await?;
    let settled = test.settle().await;
    // Also where it does not settle: the kills are what the search for the cause begins with.
    test.report().await?;
    settled?;
    test.streams_are_as_they_should_be().await?;
    test.steps.done("every living camera has one stream and one pod, nothing is left of the deleted ones");
    test.world.finish().await
}

impl Test {
    async fn start(rng: Rng) -> Result<Self> {
        let mut world = World::without_operator("kills").await?;
        let keys = world.emulator.keys.clone();
        let namespace = world.namespace(&keys).await?;
        let class = world.class("standard", &json!({})).await?;
        let url = format!("rtsp://{}/nobody", free_port(world.cluster.bridge_address())?);
        let timeline = Timeline::start(&world.client, &namespace).await?;
        let (cameras, arns, kills) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let steps = Steps::start();
        Ok(Self { world, namespace, class, url, rng, steps, timeline, cameras, arns, kills })
    }

    /// Rounds until there were enough kills, and as many cameras live as should.
    async fn run_until_killed_enough(&mut self) -> Result<()> {
        for round in 0.. {
            ensure!(
                round < ROUNDS_MAX,
                "after {round} rounds there were not enough kills with work in flight"
            );
            let counted = self.counted().count();
            let in_window = self.counted().filter(|kill| !kill.windows.is_empty()).count();
            let enough = counted >= KILLS && in_window >= KILLS_IN_WINDOW;
            let deleted = self.cameras.len() - self.living().len();
            if enough && deleted >= ALIVE / 2 && self.living().len() == ALIVE {
                return Ok(());
            }
            self.round(round).await.with_context(|| format!("round {round}"))?;
        }
        Ok(())
    }

    /// The kills that count.
    fn counted(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().filter(|kill| kill.had_work_in_flight())
    }

    fn living(&self) -> Vec<String> {
        let alive = self.cameras.iter().filter(|(_, fate)| **fate == Fate::Alive);
        alive.map(|(name, _)| name.clone()).collect()
    }

    /// Cameras come or go, the operator is started, and killed at a moment that is drawn.
    async fn round(&mut self, round: usize) -> Result<()> {
        // The operator does not run: what is read here is no call of its.
        let before = self.snapshot().await?;
        let full = self.living().len() >= ALIVE;
        let (coming, going) =
            if full { (vec![], self.victims(&before).await?) } else { (self.newcomers(), vec![]) };
        let held = self.held(round, &coming, &going);
        self.order_faults(held.as_ref()).await?;
        let calls_before = self.last_call().await?;
        let operator = self.world.setup.start()?;
        self.world.set_operator(operator);
        self.make(&coming).await?;
        self.delete(&going).await?;

        let moment = if let Some(held) = &held {
            self.effect(held).await?;
            let wait = self.rng.u64(..=HELD_MAX_MS);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            format!("{wait} ms after the effect of {held:?}, whose answer is held back")
        } else {
            self.first_act(calls_before, before.revision).await?;
            let wait = self.rng.u64(..=MOMENT_MAX_MS);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            format!("{wait} ms after its first act")
        };
        self.world.take_operator()?.kill()?;
        self.note_kill(moment, calls_before, &before).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&self.world.client, &self.namespace, &self.world.emulator).await
    }

    async fn last_call(&self) -> Result<u64> {
        Ok(self.world.emulator.calls(0).await?.last().map_or(0, |call| call.n))
    }

    fn newcomers(&self) -> Vec<String> {
        let first = self.cameras.len();
        (first..first + AT_ONCE).map(|number| format!("c{number:02}")).collect()
    }

    /// One whose stream is deleted and one whose stream is retained, both with streams on record.
    async fn victims(&mut self, at: &Snapshot) -> Result<Vec<String>> {
        let has_stream = |name: &String| at.streams.get(name).is_some_and(|stream| stream.arn.is_some());
        let (delete, retain): (Vec<_>, Vec<_>) =
            self.living().into_iter().filter(has_stream).partition(|name| is_deleted_with(name));
        let victims: Vec<_> =
            [delete, retain].iter().filter_map(|names| self.rng.choice(names).cloned()).collect();
        for name in victims.iter().filter(|name| !is_deleted_with(name)) {
            let stream = self.world.emulator.find(&self.stream_name(name)).await?;
            let stream = stream.with_context(|| format!("the stream of {name} is not there"))?;
            self.cameras.insert(name.clone(), Fate::Retained(stream));
        }
        Ok(victims)
    }

    fn stream_name(&self, camera: &str) -> String {
        format!("{}.{camera}", self.namespace)
    }

    /// In every third round with newcomers and every other round with victims one call's answer is held back.
    fn held(&mut self, round: usize, coming: &[String], going: &[String]) -> Option<Held> {
        let going: Vec<_> = going.iter().filter(|name| is_deleted_with(name)).collect();
        if round.is_multiple_of(3)
            && let Some(name) = self.rng.choice(coming)
        {
            return Some(Held::Create(name.clone()));
        }
        let name = self.rng.choice(going)?;
        self.rng.bool().then(|| Held::Delete(name.clone()))
    }

    async fn order_faults(&self, held: Option<&Held>) -> Result<()> {
        self.world.emulator.clear_faults().await?;
        if let Some(held) = held {
            let (operation, camera) = match held {
                Held::Create(camera) => ("CreateStream", camera),
                Held::Delete(camera) => ("DeleteStream", camera),
            };
            let stream = self.stream_name(camera);
            let order = json!({
                "operation": operation, "stream": stream, "action": "delay-answer", "delayMs": 120_000, "count": 1,
            });
            self.world.emulator.fault(&order).await?;
        }
        // The first fault that fits strikes, so this comes second.
        self.world.emulator.fault(&json!({ "action": "delay-answer", "delayMs": ANSWER_DELAY_MS })).await
    }

    async fn make(&mut self, names: &[String]) -> Result<()> {
        let api: Api<Camera> = self.world.api(&self.namespace);
        for name in names {
            let mut more = own_stream(&self.class);
            let policy = if is_deleted_with(name) { "Delete" } else { "Retain" };
            more["streamTemplate"]["spec"]["deletionPolicy"] = json!(policy);
            let object = serde_json::from_value(camera(name, &self.url, &more))?;
            api.create(&PostParams::default(), &object).await?;
            self.cameras.insert(name.clone(), Fate::Alive);
        }
        Ok(())
    }

    async fn delete(&mut self, names: &[String]) -> Result<()> {
        let api: Api<Camera> = self.world.api(&self.namespace);
        for name in names {
            api.delete(name, &DeleteParams::default()).await?;
            if is_deleted_with(name) {
                self.cameras.insert(name.clone(), Fate::Deleted);
            }
        }
        Ok(())
    }

    /// Waits until the call whose answer is held back has taken effect.
    async fn effect(&self, held: &Held) -> Result<()> {
        let (camera, is_made) = match held {
            Held::Create(camera) => (camera, true),
            Held::Delete(camera) => (camera, false),
        };
        let name = self.stream_name(camera);
        soon(EFFECT_MAX, &format!("the effect of {held:?}"), async || {
            Ok(self.world.emulator.stream_names().await?.contains(&name) == is_made)
        })
        .await
    }

    /// Waits until the operator has changed something, at AWS or on the API server.
    async fn first_act(&self, calls_before: u64, revision: u64) -> Result<()> {
        soon(EFFECT_MAX, "the operator does something", async || self.has_acted(calls_before, revision).await)
            .await
    }

    async fn has_acted(&self, calls_before: u64, revision: u64) -> Result<bool> {
        let calls = self.world.emulator.calls(calls_before).await?;
        let changes = ["CreateStream", "DeleteStream", "TagStream", "UntagStream", "UpdateDataRetention"];
        let has_called = calls.iter().any(|call| changes.contains(&call.operation.as_str()));
        Ok(has_called || self.timeline.has_written_after(revision))
    }

    async fn note_kill(&mut self, moment: String, calls_before: u64, before: &Snapshot) -> Result<()> {
        let ms = unix_ms();
        let at = self.snapshot().await?;
        for (name, stream) in &at.streams {
            let Some(arn) = &stream.arn else { continue };
            let first = self.arns.entry(name.clone()).or_insert_with(|| arn.clone());
            ensure!(first == arn, "{name} had the stream {first}, and has {arn}");
        }
        let last_call = self.last_call().await?;
        // Those that an earlier kill has left open do not count again.
        let open_before = before.windows();
        let windows: Vec<_> =
            at.windows().into_iter().filter(|window| !open_before.contains(window)).collect();
        let had_acted = self.has_acted(calls_before, before.revision).await? || !windows.is_empty();
        let number = self.kills.len() + 1;
        self.kills.push(Kill { number, ms, last_call, at, windows, had_acted, moment });
        Ok(())
    }

    /// Prints between which calls each kill fell.
    async fn report(&self) -> Result<()> {
        let calls = self.world.emulator.calls(0).await?;
        let writes = self.timeline.writes();
        for kill in &self.kills {
            let (before, after) = kill.between(&calls, &writes);
            let windows: Vec<_> = kill.windows.iter().map(Window::to_string).collect();
            let pending = kill.at.pending();
            let counted = if kill.had_work_in_flight() { "" } else { " NOT COUNTED: nothing was in flight;" };
            self.steps.text(format!(
                "kill {:2}:{counted} {}; between [{before}] and [{after}]; in flight: {}{}",
                kill.number,
                kill.moment,
                pending.join(", "),
                if windows.is_empty() {
                    String::new()
                } else {
                    format!("; IN WINDOW: {}", windows.join(", "))
                },
            ));
        }
        let counted = self.counted().count();
        let in_window = self.counted().filter(|kill| !kill.windows.is_empty()).count();
        self.steps.done(format!(
            "{} kills, {counted} with work in flight, {in_window} between an effect and the next status write",
            self.kills.len(),
        ));
        ensure!(counted >= KILLS && in_window >= KILLS_IN_WINDOW, "too few kills counted");
        Ok(())
    }

    /// Waits until there is one running pod for each living camera, and nothing else.
    async fn settle(&self) -> Result<()> {
        let pods: Api<Pod> = self.world.api(&self.namespace);
        let living: BTreeSet<_> = self.living().into_iter().collect();
        until(EFFECT_MAX * 3, "one pod runs for each living camera, and no other", async || {
            let at = self.snapshot().await?;
            let mut wrong = at.pending();
            wrong.extend(
                at.streams
                    .keys()
                    .filter(|name| !living.contains(*name))
                    .map(|name| format!("{name} is left")),
            );
            let mut running = BTreeMap::<String, usize>::new();
            for pod in pods.list(&ListParams::default()).await? {
                let camera = pod.labels().get("streamfleet.io/camera").cloned().unwrap_or_default();
                let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                if !living.contains(&camera)
                    || pod.metadata.deletion_timestamp.is_some()
                    || phase != "Running"
                {
                    wrong.push(format!("pod {} of {camera} is {phase}", pod.name_any()));
                }
                *running.entry(camera).or_default() += 1;
            }
            wrong.extend(
                running
                    .iter()
                    .filter(|(_, count)| **count > 1)
                    .map(|(name, count)| format!("{name} has {count} pods")),
            );
            wrong.extend(
                living
                    .iter()
                    .filter(|name| !running.contains_key(*name))
                    .map(|name| format!("{name} has no pod")),
            );
            Ok(if wrong.is_empty() { Look::Done(()) } else { Look::NotYet(wrong.join("; ")) })
        })
        .await
    }

    /// One stream per living camera, the one that it had from the first; of the deleted ones those under Retain, unchanged.
    async fn streams_are_as_they_should_be(&self) -> Result<()> {
        let at = self.snapshot().await?;
        let kept = self.cameras.iter().filter(|(_, fate)| **fate != Fate::Deleted);
        let expected: BTreeSet<_> = kept.map(|(name, _)| self.stream_name(name)).collect();
        ensure!(at.stored == expected, "the streams are {:?}, should be {expected:?}", at.stored);
        for (name, fate) in &self.cameras {
            let found = self.world.emulator.find(&self.stream_name(name)).await?;
            match (fate, found) {
                (Fate::Deleted, None) => {}
                (Fate::Retained(before), Some(after)) => {
                    ensure!(*before == after, "{name} was retained as {before:?}, and is {after:?}");
                }
                (Fate::Alive, Some(found)) => {
                    let recorded = at.streams.get(name).and_then(|stream| stream.arn.clone());
                    ensure!(
                        recorded.as_deref() == Some(&found.arn),
                        "{name} records {recorded:?}, has {found:?}"
                    );
                    let first = self.arns.get(name).unwrap_or(&found.arn);
                    ensure!(*first == found.arn, "{name} had {first} at first, and has {found:?}");
                }
                (fate, found) => anyhow::bail!("{name} is {fate:?}, and its stream is {found:?}"),
            }
        }
        self.no_stream_was_made_twice().await
    }

    async fn no_stream_was_made_twice(&self) -> Result<()> {
        let mut made = BTreeMap::<String, usize>::new();
        for call in self.world.emulator.calls(0).await? {
            if call.operation == "CreateStream" && call.done && call.status == 200 {
                *made.entry(call.stream.unwrap_or_default()).or_default() += 1;
            }
        }
        let twice: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "made more than once: {twice:?}");
        Ok(())
    }
}

/// As [`until`], but looking so often that a moment is not missed.
async fn soon(limit: Duration, what: &str, look: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let waiting = async {
        while !look().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    tokio::time::timeout(limit, waiting)
        .await
        .with_context(|| format!("waited {} s until {what}", limit.as_secs()))?
}
