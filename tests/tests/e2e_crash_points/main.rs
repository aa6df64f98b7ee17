//! The crash points of `crash_points`, drawn from a seed, on the real apiserver: the operator's process is killed (SIGKILL) exactly
//! there, before or after the effect of a call of AWS or of a write, and another one takes its place. What comes of it is what comes
//! of the same way undisturbed, here and in process; what the operator does on the way is looked at by the same invariants.
//!
//! `STREAMFLEET_SEED` draws the same points again, as far as the ways have the same points again. `CRASH_POINTS_PATH` names one way,
//! and with it `CRASH_POINTS_AT` a point (or a part of its name), for example `after CreateStream 1`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it is all a test: what is not there fails it; the world of in process prints its log when that is asked for"
)]

mod asked;
mod gate;
mod look;
mod real;
mod shadow;
mod ways;

// The world of in process: other tests use the rest of it.
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/actions.rs"]
mod actions;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/alarms.rs"]
mod alarms;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/api/mod.rs"]
mod api;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/cloud.rs"]
mod cloud;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/facts.rs"]
mod facts;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/invariants.rs"]
mod invariants;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/mutants.rs"]
mod mutants;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/paths.rs"]
mod paths;
#[path = "../crash_points/recorded.rs"]
mod recorded;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/rest.rs"]
mod rest;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/slowness.rs"]
mod slowness;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/trace.rs"]
mod trace;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/wanted.rs"]
mod wanted;
#[allow(dead_code, reason = "see above")]
#[path = "../crash_points/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use streamfleet_tests::e2e::OperatorLock;
use streamfleet_tests::e2e::random::{SEED_VARIABLE, seed};
use streamfleet_tests::e2e::world::claim_cluster;
use streamfleet_tests::steps::Steps;

use gate::{Point, Side};
use paths::{PATHS, Path};
use real::{Ran, Real};
use ways::Way;

/// A way that begins otherwise here: what another has asked for its stream to be tagged with is compared by other names.
const NOT_HERE: &str = "delete, of a stream that another has";
/// The ways that each run goes; one more is drawn from the others.
const ALWAYS: [&str; 9] = [
    "create",
    "adopt its own",
    "retention up",
    "retention down",
    "tier",
    "tags",
    "alarms",
    "delete, retain",
    "delete, delete",
];
/// The points that are drawn in each way.
const POINTS: usize = 2;
/// All of them.
const POINTS_ALL: usize = 20;
/// So many points of a way may be drawn again that a run did not come to: how often it looks at something that takes its time
/// differs from run to run.
const DRAWN_AGAIN_MAX: usize = 4;
/// So many ways are gone at once.
const AT_ONCE: usize = 10;
/// What is asked again and again, whatever the way: the second time is like all that come after it.
const PERIODIC: [&str; 4] = ["ListStreams", "DescribeAlarms", "GetCallerIdentity", "AssumeRole"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn twenty_crash_points_drawn_from_a_seed_end_as_in_process() -> Result<()> {
    let (steps, seed) = (Arc::new(Steps::start()), seed()?);
    steps.say(format!("crash points on the real apiserver: {SEED_VARIABLE}={seed}"));
    let ways = in_process(move || draw_ways(seed)).await??;
    steps.done(format!("{} ways are recorded in process", ways.len()));
    let (_, _, lock) = claim_cluster().await?;
    let lock = Arc::new(lock);
    let count = ways.len();
    let all = ways.into_iter().enumerate().map(|(number, way)| {
        let trial = Trial { number, seed, way: Arc::new(way), lock: lock.clone(), steps: steps.clone() };
        let name = trial.way.name;
        async move { trial.run().await.context(name) }
    });
    let tried: Vec<Result<Vec<String>>> =
        futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
    let (mut killed, mut problems) = (0, Vec::new());
    for tried in tried {
        match tried {
            Ok(of_way) => {
                killed += POINTS;
                problems.extend(of_way);
            }
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    steps.say(format!("crash points on the real apiserver: {killed} kills in {count} ways from seed {seed}"));
    ensure!(problems.is_empty(), "{SEED_VARIABLE}={seed}: {}", problems.join("\n"));
    let is_whole = chosen("CRASH_POINTS_PATH").is_none();
    ensure!(killed == POINTS_ALL || !is_whole, "{killed} of {POINTS_ALL}");
    Ok(())
}

/// Does something of in process, on a thread that has nothing to do with this runtime.
async fn in_process<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(work()).is_ok());
    result.await.context("the work of in process was broken off")
}

fn chosen(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Those of always, and one more.
fn draw_ways(seed: u64) -> Result<Vec<Way>> {
    if let Some(only) = chosen("CRASH_POINTS_PATH") {
        let path = PATHS.iter().find(|path| path.name == only).context("there is no such way")?;
        return Ok(vec![Way::of(path)?]);
    }
    let path = |name: &&str| -> Result<&'static Path> {
        PATHS.iter().find(|path| path.name == *name).with_context(|| format!("there is no way {name}"))
    };
    let mut ways = ALWAYS.iter().map(|name| Way::of(path(name)?)).collect::<Result<Vec<_>>>()?;
    let mut others: Vec<&Path> =
        PATHS.iter().filter(|path| !ALWAYS.contains(&path.name) && path.name != NOT_HERE).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut others);
    // Some are about more than one object and its stream.
    let one = others.into_iter().find_map(|path| Way::of(path).ok());
    ways.push(one.context("there is another way")?);
    Ok(ways)
}

/// A way, gone undisturbed, and then with kills.
struct Trial {
    number: usize,
    seed: u64,
    way: Arc<Way>,
    lock: Arc<OperatorLock>,
    steps: Arc<Steps>,
}

impl Trial {
    async fn run(self) -> Result<Vec<String>> {
        let mut real =
            Real::start(self.lock.clone(), &format!("kill-{}", self.number), self.way.clone()).await?;
        let plain = real.go(None).await?.context("it has settled")?;
        let mut problems = self.problems("undisturbed", &plain, None);
        self.steps.say(format!(
            "{}: {} points, in process {}",
            self.way.name,
            plain.points.len(),
            self.way.points,
        ));
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(1 + self.number as u64));
        let mut points = candidates(&plain.points);
        random.shuffle(&mut points);
        if let Some(part) = chosen("CRASH_POINTS_AT") {
            points.retain(|point| told(point).contains(&part));
            points = points.iter().flat_map(|point| vec![point.clone(); POINTS]).collect();
        }
        let (mut killed, mut missed) = (0, 0);
        while killed < POINTS {
            let point = points.pop().context("there are no points left")?;
            let told = told(&point);
            let Some(ran) = real.go(Some(&point)).await.with_context(|| told.clone())? else {
                missed += 1;
                ensure!(missed <= DRAWN_AGAIN_MAX, "{missed} points were not reached");
                self.steps.say(format!("{}: {told}: not reached, another is drawn", self.way.name));
                continue;
            };
            killed += 1;
            let found = self.problems(&told, &ran, Some(&plain));
            let verdict =
                if found.is_empty() { "ends as undisturbed and as in process" } else { "does NOT end so" };
            self.steps.say(format!("{}: {told}: {verdict}", self.way.name));
            problems.extend(found);
        }
        real.finish().await?;
        Ok(problems)
    }

    fn problems(&self, what: &str, ran: &Ran, plain: Option<&Ran>) -> Vec<String> {
        let mut problems = ran.problems.clone();
        if ran.summary != self.way.ends {
            problems.push(format!("end: not as in process:\n{}\n{}", ran.summary, self.way.ends));
        }
        if let Some(plain) = plain {
            if ran.summary != plain.summary {
                problems.push(format!("end: not as undisturbed:\n{}\n{}", ran.summary, plain.summary));
            }
            let allowed = shadow::counts(&plain.seen);
            for (operation, count) in shadow::counts(&ran.seen) {
                let most = allowed.get(operation).copied().unwrap_or(0);
                if count > most {
                    problems.push(format!("{operation} was carried out {count} times, undisturbed {most}"));
                }
            }
        }
        problems.into_iter().map(|problem| format!("{}: {what}: {problem}", self.way.name)).collect()
    }
}

fn told(point: &Point) -> String {
    let Point { label, nth, side } = point;
    let side = if *side == Side::Before { "before" } else { "after" };
    format!("killed {side} {label} {nth}")
}

/// Before and after each of these.
fn candidates(points: &[String]) -> Vec<Point> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for label in points {
        let nth = counts.entry(label).or_default();
        *nth += 1;
        if *nth > 2 && PERIODIC.contains(&label.as_str()) {
            continue;
        }
        for side in [Side::Before, Side::After] {
            all.push(Point { label: label.clone(), nth: *nth, side });
        }
    }
    all
}
