//! What becomes of pictures when something breaks: `make faults-producer`, and its short form in `make test`. Counted from
//! outside: the cameras' journals against what the plain SDK reads from the archive, attempts at the proxy and at the
//! emulator (or in the producer's log, where nobody is there to count them), memory by the kernel. Each scenario fails, too,
//! when its fault is not seen to have struck.

mod attempts;
mod camera;
mod holes;
mod network;
mod process;
mod rotation;
mod service;
mod spool;
mod stepped;
mod trial;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::camera::Recipe;
use crate::figures::{Figure, columns};
use crate::steps::Steps;

pub use stepped::{Step, produce};
pub use trial::{HEAD, Limits, Played, Report, Trial};

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// What the cameras show.
    pub recipe: Recipe,
    /// Whether faults are as short as they can be and still be seen.
    pub short: bool,
}

impl Scale {
    /// 1080p at 4 Mbit/s, and faults as long as they are asked for.
    pub fn whole() -> Self {
        Self { recipe: Recipe::full_hd(), short: false }
    }

    /// What a machine that does other things can do in a minute.
    pub fn short() -> Self {
        Self { recipe: Recipe { key_interval: 25, ..Recipe::default() }, short: true }
    }

    /// The longer time, or the shorter one.
    fn seconds(&self, whole: u64, short: u64) -> Duration {
        Duration::from_secs(if self.short { short } else { whole })
    }

    /// How many pictures the cameras take in so many seconds.
    fn pictures(&self, seconds: u64) -> usize {
        seconds as usize * self.recipe.rate as usize
    }

    /// What is sent again after one break: the open fragment, the one before it that is not yet stored, and what is sent in
    /// the time that storing takes.
    fn window(&self) -> usize {
        self.pictures(2 * FRAGMENT_SECONDS + PERSIST_SECONDS_MAX)
    }
}

/// What a fragment lasts, and what the emulator takes to store one at most.
const FRAGMENT_SECONDS: u64 = 2;
const PERSIST_SECONDS_MAX: u64 = 2;
/// More than any outage here fills, at 4 Mbit/s.
const MEMORY: u64 = 256 << 20;

/// Runs one scenario.
pub type Run = fn(Scale) -> BoxFuture<'static, Result<Vec<Report>>>;

/// What can go wrong.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, for `ONLY=`.
    pub name: &'static str,
    /// Whether it needs the machine for itself.
    pub alone: bool,
    run: Run,
}

/// A scenario from its name and function.
macro_rules! scenario {
    ($name:literal, $function:path) => {
        scenario!($name, $function, false)
    };
    ($name:literal, $function:path, $alone:literal) => {
        Scenario { name: $name, alone: $alone, run: |scale| Box::pin($function(scale)) }
    };
}

/// All of them, the longest first.
pub const SCENARIOS: &[Scenario] = &[
    scenario!("spool-10h", spool::ten_hours),
    scenario!("refused-300", network::refused_300),
    scenario!("errors", service::errors),
    scenario!("session-age", service::session_age),
    scenario!("black-hole-60", network::black_hole),
    scenario!("zero-window", network::zero_window),
    scenario!("acks-stop", network::acks_stop),
    scenario!("slow-uplink", network::slow),
    scenario!("kill-9", process::kill),
    scenario!("rotation", rotation::rotation),
    scenario!("cut-15", network::cut),
    scenario!("token-expires", service::token_expires),
    scenario!("disk-full", spool::disk_full),
    scenario!("refused-30", network::refused_30),
    scenario!("refused-8", network::refused_8),
    scenario!("forbidden", service::forbidden),
    scenario!("camera-reboots", camera::reboots),
    scenario!("camera-clock-back", camera::clock_back),
    scenario!("camera-silent", camera::silent),
    scenario!("wall-clock-steps", process::wall_clock_steps),
    scenario!("50-cameras-vanish", camera::fifty_vanish, true),
];

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Result<&'static Self> {
        let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario {name:?}, have: {}", names()))
    }

    /// Runs it.
    pub async fn run(&self, scale: Scale) -> Result<Vec<Report>> {
        (self.run)(scale).await.with_context(|| format!("scenario {}", self.name))
    }
}

/// Runs scenarios, many at a time since they mostly wait, and gives the figures of all.
pub async fn producer(only: Option<&str>, steps: &Steps) -> Result<Vec<Figure>> {
    let chosen: Vec<&Scenario> = match only {
        Some(names) => names.split(',').map(Scenario::find).collect::<Result<_>>()?,
        None => SCENARIOS.iter().collect(),
    };
    let (alone, together): (Vec<&Scenario>, Vec<_>) = chosen.into_iter().partition(|scenario| scenario.alone);
    let mut outcome = Outcome::default();
    let mut running = FuturesUnordered::new();
    for (index, scenario) in together.into_iter().enumerate() {
        // Not all at once: starts take most.
        let delay = Duration::from_secs(index as u64);
        running.push(async move {
            tokio::time::sleep(delay).await;
            timed(scenario).await
        });
    }
    while let Some(ended) = running.next().await {
        outcome.take(ended, steps);
    }
    for scenario in alone {
        outcome.take(timed(scenario).await, steps);
    }
    outcome.conclude(steps)
}

async fn timed(scenario: &'static Scenario) -> (&'static Scenario, Duration, Result<Vec<Report>>) {
    let began = Instant::now();
    let result = scenario.run(Scale::whole()).await;
    (scenario, began.elapsed(), result)
}

#[derive(Default)]
struct Outcome {
    reports: Vec<Report>,
    failed: Vec<String>,
}

impl Outcome {
    fn take(&mut self, (scenario, took, result): (&Scenario, Duration, Result<Vec<Report>>), steps: &Steps) {
        let took = took.as_secs();
        match result {
            Ok(reports) => {
                let missed = reports.iter().flat_map(Report::figures).filter(Figure::is_missed).count();
                let verdict = if missed == 0 { "held".to_owned() } else { format!("{missed} limits MISSED") };
                steps.say(format!("{}: {verdict}, after {took} s", scenario.name));
                self.reports.extend(reports);
            }
            Err(error) => {
                steps.say(format!("{}: FAILED after {took} s: {error:#}", scenario.name));
                self.failed.push(scenario.name.to_owned());
            }
        }
    }

    fn conclude(self, steps: &Steps) -> Result<Vec<Figure>> {
        let rows: Vec<_> =
            std::iter::once(HEAD.map(str::to_owned)).chain(self.reports.iter().map(Report::row)).collect();
        steps.text(columns(&rows));
        if self.reports.is_empty() {
            bail!("no scenario came to its end: {}", self.failed.join(", "));
        }
        let failed = self.failed.into_iter().map(|name| {
            // What did not come to its end holds nothing.
            Figure::new(format!("{name}.lost"), None, "pictures").at_most(0.0)
        });
        Ok(self.reports.iter().flat_map(Report::figures).chain(failed).collect())
    }
}
