//! Nothing breaks: the producer ends its session by itself, for another one by new settings.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Limits, MEMORY, PERSIST_SECONDS_MAX, Played, Report, Scale, Trial};
use crate::figures::Figure;
use crate::rig::{Arrival, Plan, unix_ms};

/// How long nothing may come beside the wait for what the old session has sent to be stored.
const PAUSE_MAX: f64 = 2.0;
/// What a machine that does other things may add.
const BUSY: f64 = 2.0;

/// What is declared of the stream's retention changes again and again; each time the session is outdated.
pub(super) async fn rotation(scale: Scale) -> Result<Vec<Report>> {
    let (rotations, pause) = (if scale.short { 2_u32 } else { 8 }, scale.seconds(15, 7));
    let (mut trial, producer) = Trial::start(Plan::new("rotation", scale.recipe).memory(MEMORY)).await?;
    let began_ms = unix_ms();
    let before = trial.rig.service.arrivals(0, 0).await?.last().context("no picture has come")?.n;
    for days in 1..=rotations {
        trial.rig.configuration.feeds[0].stream.retention_hours = Some(24 * days);
        trial.rig.configure()?;
        tokio::time::sleep(pause).await;
    }
    let longest = longest_pause(&trial.rig.service.arrivals(0, before).await?);
    let played = Played::until_now(producer, began_ms);
    let limits =
        Limits { lost: 0, repeated: 0, recover: Duration::from_secs(10), strikes: rotations as usize };
    let mut reports = trial.conclude(played, |_| "rotation".to_owned(), |_| limits).await?;
    let figure = Figure::new("rotation.longest_pause", longest, "s");
    let busy = if scale.short { BUSY } else { 0.0 };
    reports[0].more.push(figure.at_most(PAUSE_MAX + PERSIST_SECONDS_MAX as f64 + busy));
    Ok(reports)
}

/// The longest time between a picture's arrival and the next one's, in seconds.
fn longest_pause(arrivals: &[Arrival]) -> Option<f64> {
    let pauses = arrivals.windows(2).map(|pair| pair[1].us.saturating_sub(pair[0].us));
    pauses.max().map(|longest| Duration::from_micros(longest).as_secs_f64())
}
