//! The way to the service breaks.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::trial::telling;
use super::{Limits, MEMORY, Played, Report, Scale, Trial};
use crate::camera::Clip;
use crate::rig::{Plan, stream, unix_ms};
use crate::tools::cache_dir;

/// The longest pause between two attempts: at most five in a minute, drawn around a mean.
const PAUSE_MAX: u64 = 24;
/// From a picture until it is stored, with the fragment that it is in.
const STORE_MAX: u64 = 6;

fn plan(name: &str, scale: Scale) -> Plan {
    Plan::new(name, scale.recipe).memory(MEMORY)
}

/// What follows an outage of so many seconds: the pause before the next attempt, then what waited at fifteen times real
/// time.
fn limits(scale: Scale, breaks: usize, outage: Duration) -> Limits {
    let seconds = PAUSE_MAX + outage.as_secs().div_ceil(15) + STORE_MAX;
    Limits {
        lost: 0,
        repeated: breaks * scale.window(),
        recover: Duration::from_secs(seconds),
        // Each break costs a session; an outage costs one in vain beside the one that comes at last.
        strikes: breaks + usize::from(!outage.is_zero()),
    }
}

/// Connections are reset every 15 s, five times.
pub(super) async fn cut(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(plan("cut", scale)).await?;
    let (cuts, distance) = if scale.short { (2, 6) } else { (5, 15) };
    let began_ms = unix_ms();
    for _ in 0..cuts {
        tokio::time::sleep(Duration::from_secs(distance)).await;
        trial.rig.proxy.cut();
    }
    let played = Played::until_now(producer, began_ms);
    trial.conclude(played, |_| "cut-15".to_owned(), |_| limits(scale, cuts, Duration::ZERO)).await
}

/// Nobody listens for 8 s.
pub(super) async fn refused_8(scale: Scale) -> Result<Vec<Report>> {
    let (mut trial, producer) = Trial::start(telling(plan("refused-8", scale))).await?;
    let (began_ms, outage) = (unix_ms(), Duration::from_secs(8));
    trial.rig.proxy.refuse().await;
    tokio::time::sleep(outage).await;
    trial.rig.proxy.admit().await?;
    let played = Played::until_now(producer, began_ms);
    trial.conclude(played, |_| "refused-8".to_owned(), |_| limits(scale, 1, outage)).await
}

/// Connections are reset as soon as they are made, for 30 s.
pub(super) async fn refused_30(scale: Scale) -> Result<Vec<Report>> {
    turned_away("refused-30", scale, scale.seconds(30, 15)).await
}

/// The same for 300 s.
pub(super) async fn refused_300(scale: Scale) -> Result<Vec<Report>> {
    turned_away("refused-300", scale, scale.seconds(300, 30)).await
}

async fn turned_away(name: &'static str, scale: Scale, outage: Duration) -> Result<Vec<Report>> {
    let (mut trial, producer) = Trial::start(plan(name, scale)).await?;
    let began_ms = unix_ms();
    trial.rig.proxy.turn_away();
    tokio::time::sleep(outage).await;
    trial.rig.proxy.admit().await?;
    let played = Played::until_now(producer, began_ms);
    trial.conclude(played, |_| name.to_owned(), |_| limits(scale, 1, outage)).await
}

/// Nothing comes back for 60 s, and nothing is refused.
pub(super) async fn black_hole(scale: Scale) -> Result<Vec<Report>> {
    let (mut trial, producer) = Trial::start(telling(plan("black-hole", scale))).await?;
    let (began_ms, outage) = (unix_ms(), scale.seconds(60, 20));
    trial.rig.proxy.black_hole().await?;
    tokio::time::sleep(outage).await;
    trial.rig.proxy.admit().await?;
    let played = Played::until_now(producer, began_ms);
    trial.conclude(played, |_| "black-hole-60".to_owned(), |_| limits(scale, 1, outage)).await
}

/// The uplink carries less than the camera sends for 60 s.
pub(super) async fn slow(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(plan("slow-uplink", scale)).await?;
    let (began_ms, time, percent) = if scale.short { (unix_ms(), 20, 40) } else { (unix_ms(), 60, 80) };
    let clip = Clip::read(&scale.recipe.make(&cache_dir().join("media")).await?)?;
    let rate = clip.bytes() / u64::from(scale.recipe.seconds) * percent / 100;
    let more = [("bytesPerSecond", json!(rate)), ("seconds", json!(time)), ("count", json!(null))];
    trial.rig.service.fail(&stream(0), "slow", &more).await?;
    tokio::time::sleep(Duration::from_secs(time)).await;
    let played = Played::until_now(producer, began_ms);
    let behind = Duration::from_millis(played.producer.feed(0).await?.backlog.milliseconds);
    let least = Duration::from_secs(time * (100 - percent) / 100);
    ensure!(behind >= least, "only {behind:?} waited behind an uplink that was {least:?} too slow");
    // A slow way is no broken one: the session goes on.
    let recover = Duration::from_secs(least.as_secs().div_ceil(15) + STORE_MAX);
    let limits = Limits { lost: 0, repeated: 0, recover, strikes: 0 };
    trial.conclude(played, |_| "slow-uplink".to_owned(), |_| limits).await
}

/// The service's side stops reading for 75 s: the window closes.
pub(super) async fn zero_window(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(telling(plan("zero-window", scale))).await?;
    let (began_ms, outage) = (unix_ms(), scale.seconds(75, 25));
    trial.rig.proxy.stall();
    tokio::time::sleep(outage).await;
    trial.rig.proxy.flow();
    let played = Played::until_now(producer, began_ms);
    // What had got through when the old connection was given up is stored, and nobody was told: as much as fits the
    // buffers of four sockets, some of it twice.
    let limits =
        Limits { repeated: scale.pictures(outage.as_secs()) + scale.window(), ..limits(scale, 1, outage) };
    trial.conclude(played, |_| "zero-window".to_owned(), |_| limits).await
}

/// Acknowledgements stop for 80 s, while all that is sent arrives and is stored.
pub(super) async fn acks_stop(scale: Scale) -> Result<Vec<Report>> {
    let (trial, producer) = Trial::start(telling(plan("acks-stop", scale))).await?;
    let (began_ms, outage) = (unix_ms(), scale.seconds(80, 40));
    trial.rig.proxy.withhold_answers();
    tokio::time::sleep(outage).await;
    trial.rig.proxy.flow();
    let played = Played::until_now(producer, began_ms);
    // All of it was not acknowledged.
    let limits =
        Limits { repeated: scale.pictures(outage.as_secs()) + scale.window(), ..limits(scale, 1, outage) };
    trial.conclude(played, |_| "acks-stop".to_owned(), |_| limits).await
}
