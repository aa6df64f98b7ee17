//! The producer's own process, and the machine under it.

use std::time::Duration;

use anyhow::{Result, ensure};
use streamfleet_contract::{Spool, SpoolMode};
use tokio::time::Instant;

use super::{Limits, MEMORY, Played, Report, Scale, Trial};
use crate::journal::Entry;
use crate::rig::{Plan, Producer, Rig, ends, unix_ms};

/// From a start until something is stored: what was left is sent first.
const START_MAX: Duration = Duration::from_secs(20);
/// From one step of the clock to the next, and some more.
const STEP_MAX: Duration = Duration::from_secs(45);
const HALF_AN_HOUR_MS: i64 = 1_800_000;

/// The producer is killed every 20 s, with a journal on disk.
pub(super) async fn kill(scale: Scale) -> Result<Vec<Report>> {
    let mut plan = Plan::new("kill-9", scale.recipe).memory(MEMORY);
    plan.process.spool =
        Some(Spool { path: "spool".to_owned(), max_bytes: MEMORY, mode: SpoolMode::Journal });
    let (mut trial, mut producer) = Trial::start(plan).await?;
    let (kills, distance) = if scale.short { (1, 5) } else { (5, 20) };
    let began_ms = unix_ms();
    let mut told = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_secs(distance)).await;
        // What a process tells of goes with it.
        told.extend(producer.feed(0).await?.gaps);
        producer.kill().await?;
        producer = trial.again().await?;
    }
    // What was received in the last 200 ms before a kill is exempt, and what comes before the next PLAY's first key frame.
    let journal = trial.rig.journal(0)?;
    let excused: Vec<u64> = ends(&journal).into_iter().map(|(connection, _)| connection).collect();
    let plays = journal.iter().filter(|entry| matches!(entry, Entry::Play { .. })).count();
    ensure!(plays == kills + 1, "{plays} PLAYs after {kills} kills");
    let played = Played { excused, told, ..Played::until_now(producer, began_ms) };
    let limits = Limits { lost: 0, repeated: kills * scale.window(), recover: START_MAX, strikes: kills };
    trial.conclude(played, |_| "kill-9".to_owned(), |_| limits).await
}

/// The node's clock is set an hour ahead, and later an hour back.
pub(super) async fn wall_clock_steps(scale: Scale) -> Result<Vec<Report>> {
    let apart = scale.seconds(30, 12);
    let plan = Plan {
        program: Some("streamfleet-bench".to_owned()),
        ..Plan::new("wall-clock", scale.recipe).memory(MEMORY)
    };
    let mut rig = Rig::start(plan).await?;
    let [first, next] = [apart.as_secs(); 2];
    rig.plan.producer_arguments = vec!["--steps".to_owned(), format!("{first}:3600000,{next}:-3600000")];
    let (trial, producer) = Trial::begin(rig).await?;
    let (began, began_ms) = (Instant::now(), unix_ms());
    until_clock(&producer, "an hour ahead", |off_ms| off_ms > HALF_AN_HOUR_MS).await?;
    until_clock(&producer, "right again", |off_ms| off_ms.abs() < HALF_AN_HOUR_MS).await?;
    tokio::time::sleep_until(began + apart * 3).await;
    let played = Played::until_now(producer, began_ms);
    let limits =
        Limits { lost: 0, repeated: 2 * scale.window(), recover: Duration::from_mins(1), strikes: 0 };
    trial.conclude(played, |_| "wall-clock-steps".to_owned(), |_| limits).await
}

/// Waits until the producer's wall clock is so far off the node's, by what it says of the newest picture.
async fn until_clock(producer: &Producer, what: &str, is_so: impl Fn(i64) -> bool) -> Result<()> {
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let received = producer.feed(0).await?.received;
        if received.is_some_and(|mark| is_so(mark.wall_ms - unix_ms())) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the clock is not {what} within {STEP_MAX:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
