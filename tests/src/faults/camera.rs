//! The camera is not what it was.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::trial::telling;
use super::{Limits, MEMORY, Played, Report, Scale, Trial};
use crate::camera::{Order, Recipe};
use crate::journal::Entry;
use crate::rig::{Plan, Rig, unix_ms};

/// From the camera's return until something is stored again: an attempt, a key frame, a fragment and its storage.
const RETURN_MAX: Duration = Duration::from_secs(20);

/// What the producer logs when a camera's clock jumps.
const JUMPED: &str = "The camera's media clock has jumped";

/// Passes on reports of a camera that was away; an error where no picture is missing of one: it was not.
fn with_holes(reports: Vec<Report>) -> Result<Vec<Report>> {
    let whole: Vec<&str> =
        reports.iter().filter(|report| report.gaps.holes == 0).map(|report| report.name.as_str()).collect();
    ensure!(whole.is_empty(), "the camera was never away: {whole:?}");
    Ok(reports)
}

fn limits(scale: Scale) -> Limits {
    Limits { lost: 0, repeated: scale.window(), recover: RETURN_MAX, strikes: 0 }
}

/// Connections of the first camera that have ended so far: around their ends pictures may be missing.
fn ended(rig: &Rig) -> Result<Vec<u64>> {
    let end = |entry: &Entry| match entry {
        Entry::End { connection, .. } => Some(*connection),
        _ => None,
    };
    Ok(rig.journal(0)?.iter().filter_map(end).collect())
}

/// A camera vanishes, and comes back with other parameter sets and another clock.
pub(super) async fn reboots(scale: Scale) -> Result<Vec<Report>> {
    let other = Recipe { width: 640, height: 352, kbps: Some(1_000), ..scale.recipe };
    let plan = Plan { recipes: vec![scale.recipe, other], ..Plan::new("reboots", scale.recipe) };
    let (trial, producer) = Trial::start(plan.memory(MEMORY)).await?;
    let began_ms = unix_ms();
    trial.rig.order(Order::Vanish).await?;
    trial.rig.order(Order::Clip(1)).await?;
    trial.rig.order(Order::TimestampJump(1_234_567)).await?;
    tokio::time::sleep(scale.seconds(20, 6)).await;
    trial.rig.order(Order::Return).await?;
    let excused = ended(&trial.rig)?;
    let played = Played { excused, ..Played::until_now(producer, began_ms) };
    with_holes(trial.conclude(played, |_| "camera-reboots".to_owned(), |_| limits(scale)).await?)
}

/// A camera's clock jumps an hour back, in its pictures and in its reports.
pub(super) async fn clock_back(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) =
        Trial::start(telling(Plan::new("clock-back", scale.recipe).memory(MEMORY))).await?;
    let began_ms = unix_ms();
    trial.rig.order(Order::TimestampJump(-3_600_000)).await?;
    trial.rig.order(Order::ClockShift(-3_600_000)).await?;
    tokio::time::sleep(scale.seconds(10, 5)).await;
    ensure!(trial.rig.producer_log()?.contains(JUMPED), "the camera's clock has not jumped");
    let played = Played::until_now(producer, began_ms);
    trial.conclude(played, |_| "camera-clock-back".to_owned(), |_| limits(scale)).await
}

/// A camera's connection stands, and no picture comes for a while.
pub(super) async fn silent(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(Plan::new("silent", scale.recipe).memory(MEMORY)).await?;
    let began_ms = unix_ms();
    trial.rig.order(Order::SilenceOn).await?;
    tokio::time::sleep(scale.seconds(40, 12)).await;
    trial.rig.order(Order::SilenceOff).await?;
    let excused = ended(&trial.rig)?;
    let played = Played { excused, ..Played::until_now(producer, began_ms) };
    with_holes(trial.conclude(played, |_| "camera-silent".to_owned(), |_| limits(scale)).await?)
}

/// Fifty cameras of one process vanish, and come back at once.
pub(super) async fn fifty_vanish(scale: Scale) -> Result<Vec<Report>> {
    let (recipe, feeds) = if scale.short { (Recipe::tiny(), 10) } else { (scale.recipe, 50) };
    let plan = Plan::new("vanish", recipe).memory(2 * MEMORY).feeds(feeds);
    let (trial, producer) = Trial::start(plan).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began_ms = unix_ms();
    trial.rig.order(Order::Vanish).await?;
    tokio::time::sleep(scale.seconds(10, 5)).await;
    trial.rig.order(Order::Return).await?;
    // Each camera has had one connection.
    let played = Played { excused: vec![1], ..Played::until_now(producer, began_ms) };
    let reports =
        trial.conclude(played, |feed| format!("50-cameras-vanish-{feed}"), |_| limits(scale)).await?;
    Ok(Report::together("50-cameras-vanish", with_holes(reports)?).into_iter().collect())
}
