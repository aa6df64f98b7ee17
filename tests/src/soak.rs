//! Many feeds over a long time with faults drawn from a seed: what the process holds beside media must not grow, and nothing
//! may be lost. `make soak`, and a minute of it in `make test`.
//!
//! Faults come at random between checkpoints. Before a checkpoint nothing is broken until all feeds store again and their
//! backlogs are as usual; then memory, descriptors and tasks are compared with the first checkpoint.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::camera::{Order, Recipe};
use crate::figures::{Figure, median};
use crate::journal;
use crate::resources;
use crate::rig::{Plan, Producer, Rig, ends, stream, unix_ms};
use crate::steps::Steps;

/// How far memory beside media may be from the first checkpoint's: the larger of both.
const DRIFT_BYTES: f64 = 1_048_576.0;
const DRIFT_PART: f64 = 0.02;
/// The one thread that does the work, and those that wait for names and files: at most eight, which come as they are needed and
/// go by themselves (`WAITING_THREADS_MAX` of the producer).
const THREADS_MAX: f64 = 9.0;
/// What waits all the time: the open fragment, and what is not yet acknowledged.
const USUAL_BACKLOG: Duration = Duration::from_secs(9);
/// Until all feeds have recovered from anything.
const RECOVERY_MAX: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(700);

/// How long, with how much.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// Cameras, and streams.
    pub feeds: usize,
    /// With faults, in all.
    pub time: Duration,
    /// How often it is looked.
    pub checkpoints: usize,
    /// Looks at each, since a backlog goes up and down with its fragments.
    pub looks: usize,
    /// Of the faults.
    pub seed: u64,
}

impl Soak {
    /// 50 feeds for 30 minutes.
    pub fn whole(seed: u64) -> Self {
        Self { feeds: 50, time: Duration::from_mins(30), checkpoints: 5, looks: 15, seed }
    }

    /// A minute of faults, with a process that is not optimised.
    pub fn short(seed: u64) -> Self {
        Self { feeds: 8, time: Duration::from_mins(1), checkpoints: 3, looks: 6, seed }
    }
}

/// What the process holds at a checkpoint.
#[derive(Debug, Clone, Copy)]
struct Checkpoint {
    /// Anonymous memory less what waits to be acknowledged, in bytes.
    beside_media: f64,
    media: f64,
    descriptors: f64,
    threads: f64,
    /// Alive tasks of the runtime, where the producer says it.
    tasks: Option<f64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    CutUploads,
    TurnAway,
    StallUploads,
    WithholdAnswers,
    ErrorOfService,
    KillService,
    ResetCamera,
    VanishCamera,
    SilenceCamera,
    ClockJump,
    VanishAll,
}

const FAULTS: [Fault; 11] = [
    Fault::CutUploads,
    Fault::TurnAway,
    Fault::StallUploads,
    Fault::WithholdAnswers,
    Fault::ErrorOfService,
    Fault::KillService,
    Fault::ResetCamera,
    Fault::VanishCamera,
    Fault::SilenceCamera,
    Fault::ClockJump,
    Fault::VanishAll,
];

impl Soak {
    /// Runs it; the figures say what was held.
    pub async fn run(&self, steps: &Steps) -> Result<Vec<Figure>> {
        steps.say(format!("{} feeds of 300 kbit/s, seed {}", self.feeds, self.seed));
        let plan = Plan::new(format!("soak-{}", self.seed), Recipe::tiny()).memory(256 << 20);
        let mut rig = Rig::start(Plan { drain_seconds: Some(60), ..plan }.feeds(self.feeds)).await?;
        let producer = rig.produce().await?;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut checkpoints = Vec::new();
        for number in 1..=self.checkpoints {
            let part = self.time / self.checkpoints as u32;
            let faults = break_things(&mut rig, &mut random, part).await?;
            settle(&producer).await.with_context(|| format!("checkpoint {number}"))?;
            let checkpoint = Checkpoint::look(&producer, self.looks).await?;
            steps.say(format!("checkpoint {number} after {faults} faults: {checkpoint}"));
            checkpoints.push(checkpoint);
        }
        rig.finish(producer).await?;
        let lost = count(&rig, steps).await?;
        let figures = figures(&checkpoints, lost);
        if !figures.iter().any(Figure::is_missed) {
            rig.clear().await?;
        }
        Ok(figures)
    }
}

/// Breaks one thing after the other for so long; gives how many.
async fn break_things(rig: &mut Rig, random: &mut fastrand::Rng, time: Duration) -> Result<usize> {
    let until = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < until {
        let fault = FAULTS[random.usize(0..FAULTS.len())];
        play(rig, fault, random).await.with_context(|| format!("failed to play {fault:?}"))?;
        tokio::time::sleep(Duration::from_millis(random.u64(500..4_000))).await;
        count += 1;
    }
    rig.service.heal().await?;
    Ok(count)
}

/// Plays a fault to its end.
async fn play(rig: &mut Rig, fault: Fault, random: &mut fastrand::Rng) -> Result<()> {
    let a_while = Duration::from_millis(random.u64(500..6_000));
    let feed = random.usize(0..rig.cameras.len());
    match fault {
        Fault::CutUploads => rig.proxy.cut(),
        Fault::TurnAway => {
            rig.proxy.turn_away();
            tokio::time::sleep(a_while).await;
            rig.proxy.admit().await?;
        }
        Fault::StallUploads => {
            rig.proxy.stall();
            tokio::time::sleep(a_while).await;
            rig.proxy.flow();
        }
        Fault::WithholdAnswers => {
            rig.proxy.withhold_answers();
            tokio::time::sleep(a_while).await;
            rig.proxy.flow();
        }
        Fault::ErrorOfService => {
            // All of them are cured by sending again.
            let id = [4000, 4003, 5000, 5001][random.usize(0..4)];
            let error = [("operation", json!("PutMedia")), ("errorId", json!(id))];
            rig.service.fail(&stream(feed), "ack-error", &error).await?;
        }
        Fault::KillService => rig.service.kill_and_start().await?,
        Fault::ResetCamera => rig.cameras[feed].order(Order::CutReset).await?,
        Fault::VanishCamera => {
            rig.cameras[feed].order(Order::Vanish).await?;
            tokio::time::sleep(a_while).await;
            rig.cameras[feed].order(Order::Return).await?;
        }
        Fault::SilenceCamera => {
            rig.cameras[feed].order(Order::SilenceOn).await?;
            tokio::time::sleep(a_while).await;
            rig.cameras[feed].order(Order::SilenceOff).await?;
        }
        Fault::ClockJump => {
            rig.cameras[feed].order(Order::TimestampJump(random.i64(-3_600_000..3_600_000))).await?;
        }
        Fault::VanishAll => {
            rig.order(Order::Vanish).await?;
            tokio::time::sleep(a_while / 2).await;
            rig.order(Order::Return).await?;
        }
    }
    Ok(())
}

/// Waits until all feeds have stored something taken from now on, and nothing but the usual waits.
async fn settle(producer: &Producer) -> Result<()> {
    let (now, deadline) = (unix_ms(), Instant::now() + RECOVERY_MAX);
    loop {
        let status = producer.status().await?;
        let waits: Vec<&str> = status
            .feeds
            .iter()
            .filter(|feed| {
                feed.stored.is_none_or(|stored| stored.media_ms < now)
                    || Duration::from_millis(feed.backlog.milliseconds) > USUAL_BACKLOG
            })
            .map(|feed| feed.id.as_str())
            .collect();
        if waits.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "not recovered after {RECOVERY_MAX:?}: {waits:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Old sessions end, and what was held for them is let go.
    tokio::time::sleep(Duration::from_secs(5)).await;
    Ok(())
}

impl Checkpoint {
    async fn look(producer: &Producer, looks: usize) -> Result<Self> {
        let mut beside = Vec::new();
        let mut media = Vec::new();
        let mut descriptors = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..looks {
            let waits: u64 = producer.status().await?.feeds.iter().map(|feed| feed.backlog.bytes).sum();
            beside.push(producer.memory()?.anonymous as f64 - waits as f64);
            media.push(waits as f64);
            descriptors.push(resources::descriptors(producer.id())? as f64);
            tasks.extend(producer.metric("streamfleet_producer_tasks").await?);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let middle = |values: &[f64]| median(values).unwrap_or_default();
        Ok(Self {
            beside_media: middle(&beside),
            media: middle(&media),
            descriptors: least(&descriptors).unwrap_or_default(),
            threads: resources::threads(producer.id())? as f64,
            tasks: least(&tasks),
        })
    }
}

/// What is there at every look. What leaks stays; a name that is just looked up, or a question that is just answered, goes.
fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        write!(
            f,
            "{:.2} MiB beside {:.1} MiB of media, {} descriptors, {} threads, ",
            mib(self.beside_media),
            mib(self.media),
            self.descriptors,
            self.threads
        )?;
        match self.tasks {
            Some(tasks) => write!(f, "{tasks} tasks"),
            None => f.write_str("tasks unknown"),
        }
    }
}

/// Pictures that are lost without an excuse, of all feeds; ends of connections are faults of ours.
async fn count(rig: &Rig, steps: &Steps) -> Result<usize> {
    let (mut sent, mut lost) = (0, 0);
    for feed in 0..rig.plan.feeds {
        let (journal, archive) = (rig.journal(feed)?, rig.archived(feed).await?);
        let excused: Vec<u64> = ends(&journal).into_iter().map(|(connection, _)| connection).collect();
        let counts = journal::compare(&journal, &archive, &excused);
        if !counts.is_complete() {
            steps.text(format!("feed {feed}: {counts}"));
        }
        sent += counts.journalled;
        lost += counts.lost.len() + counts.unknown.len() + counts.altered.len();
    }
    steps.say(format!("{sent} pictures sent, {lost} lost or altered"));
    ensure!(sent > 0, "nothing was sent");
    Ok(lost)
}

fn figures(checkpoints: &[Checkpoint], lost: usize) -> Vec<Figure> {
    let mut figures = vec![Figure::new("soak.lost", lost as f64, "pictures").at_most(0.0)];
    let Some((first, later)) = checkpoints.split_first() else { return figures };
    let worst = |value: fn(&Checkpoint) -> f64| {
        later.iter().map(|checkpoint| (value(checkpoint) - value(first)).abs()).fold(0.0, f64::max)
    };
    let allowed = DRIFT_BYTES.max(DRIFT_PART * first.beside_media);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let drift = Figure::new("soak.memory_drift", mib(worst(|checkpoint| checkpoint.beside_media)), "MiB");
    figures.push(drift.at_most(mib(allowed)));
    let descriptors =
        Figure::new("soak.descriptors_drift", worst(|checkpoint| checkpoint.descriptors), "files");
    figures.push(descriptors.at_most(0.0));
    let threads = checkpoints.iter().map(|checkpoint| checkpoint.threads).fold(0.0, f64::max);
    figures.push(Figure::new("soak.threads", threads, "threads").at_most(THREADS_MAX));
    let known = checkpoints.iter().all(|checkpoint| checkpoint.tasks.is_some());
    let tasks = known.then(|| worst(|checkpoint| checkpoint.tasks.unwrap_or_default()));
    figures.push(Figure::new("soak.tasks_drift", tasks, "tasks").at_most(0.0));
    figures
}
