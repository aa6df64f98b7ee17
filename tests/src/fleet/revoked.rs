//! Scenario 8, whole: every call of the account is denied for half an hour, and then none. Meanwhile objects are edited and deleted,
//! soon after the beginning and again at half-time, when the operator has long known.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use serde_json::json;

use super::since::Since;
use super::site::Site;
use crate::cluster::wait::{Look, until};
use crate::e2e::emulator::Call;
use crate::figures::Figure;
use crate::resources::share_of_a_core;
use crate::steps::Steps;

/// How long it is watched before.
const STEADY: Duration = Duration::from_mins(2);
/// How much more of a core it may take, in percent.
const CPU_MORE_MAX: f64 = 1.0;
/// Calls in a minute: one a second, where a steady fleet of ten thousand takes up to 3.5.
const CALLS_MAX: f64 = 60.0;
/// An object that keeps its stream is gone within so long.
const GONE_MAX: f64 = 60.0;
/// When calls are carried out again all is well within so long: the longest back-off is five minutes.
const RECOVERY_MAX: f64 = 330.0;
/// What a small fleet may say. Of a large one, each object may say that it cannot be seen to and that it is well again, and a
/// failure is in the log for less than each second of them.
const SAID: f64 = 150.0;
/// Nothing here takes longer.
const LONGEST: Duration = Duration::from_mins(10);
/// What an object may say of itself when nothing can be done for it.
const NAMED: [&str; 2] = ["AwsAccessDenied", "StreamClassNotReady"];

/// What happens to whom while nothing is allowed.
struct Act {
    /// When, as a part of the time.
    at: f64,
    retained: Vec<String>,
    edited: Vec<String>,
    doomed: Vec<String>,
}

impl Act {
    /// Twice the same, to others.
    fn both(site: &Site) -> [Self; 2] {
        let act = |number: usize, at| {
            // None of the first, nor of those that only report.
            let from = 3 + number * 20;
            let names = site.names();
            Self {
                at,
                retained: names[from..from + 10].to_vec(),
                edited: names[from + 10..from + 13].to_vec(),
                doomed: (0..2).map(|doomed| format!("doomed{number}{doomed}")).collect(),
            }
        };
        [act(0, 1.0 / 6.0), act(1, 0.5)]
    }
}

/// All figures, with credentials that are revoked for so long.
pub async fn figures(site: &Site, time: Duration, steps: &Steps) -> Result<Vec<Figure>> {
    let acts = Act::both(site);
    for name in acts.iter().flat_map(|act| &act.doomed) {
        site.make(name, &json!({ "deletionPolicy": "Delete" })).await?;
    }
    site.settle().await?;
    let pid = site.world.operator()?.pid();
    let steady = share_of_a_core(pid, STEADY).await? * 100.0;
    let since = Since::now(site).await?;
    site.world.emulator.revoke().await?;
    let (burnt, slowest) = tokio::try_join!(burn(pid, time), play(site, &acts, time))?;
    let calls = since.calls(site).await?;
    let retained = acts.iter().flat_map(|act| &act.retained);
    let (all, gone) = (retained.clone().count(), retained.filter(|name| !site.seen().knows(name)).count());
    let streams = site.names().len() as f64;
    let mut figures = vec![
        of_cpu(&burnt, steady),
        of_calls(&calls, time),
        Figure::new("revoked_retain_deletions", gone as f64, "objects").at_least(all as f64),
        Figure::new("revoked_retain_deletion_slowest", slowest.map(|slowest| slowest.as_secs_f64()), "s")
            .at_most(GONE_MAX),
        of_reasons(site, &acts),
        of_streams(site, &acts).await?,
        Figure::new("revoked_log_lines", since.loud_lines(site)? as f64, "lines")
            .at_most(SAID + streams / 2.0)
            .note("warnings and errors"),
        of_events(&since.events(site).await?, streams),
    ];
    steps.done(format!("{} min without credentials, {} calls", time.as_secs() / 60, calls.len()));
    site.world.emulator.restore().await?;
    let recovery = recover(site, &acts).await?;
    site.world.operator()?.is_alive()?;
    figures.push(
        Figure::new("revoked_recovery", recovery.as_secs_f64(), "s")
            .at_most(RECOVERY_MAX)
            .note("to all Ready, edits made and streams deleted, by the same process"),
    );
    steps.done(format!("all are Ready {:.1} s after the credentials are back", recovery.as_secs_f64()));
    Ok(figures)
}

/// The share of a core, in percent, of each third of the time.
async fn burn(pid: u32, time: Duration) -> Result<[f64; 3]> {
    let mut thirds = [0.0; 3];
    for third in &mut thirds {
        *third = share_of_a_core(pid, time / 3).await? * 100.0;
    }
    Ok(thirds)
}

fn of_cpu(thirds: &[f64; 3], steady: f64) -> Figure {
    let [first, second, third] = thirds;
    let note = format!("steady {steady:.2}; by thirds {first:.2}, {second:.2}, {third:.2}");
    Figure::new("revoked_cpu", (first + second + third) / 3.0, "% of a core")
        .at_most(steady + CPU_MORE_MAX)
        .note(note)
}

fn of_calls(calls: &[Call], time: Duration) -> Figure {
    let shown = counted(calls.iter().map(|call| call.operation.as_str()));
    Figure::new("revoked_calls", calls.len() as f64 / time.as_secs_f64() * 60.0, "1/min")
        .at_most(CALLS_MAX)
        .aim(CALLS_MAX / 3.0)
        .note(shown)
}

fn of_events(events: &[(String, String)], streams: f64) -> Figure {
    Figure::new("revoked_events", events.len() as f64, "events")
        .at_most(SAID + 2.0 * streams)
        .note(counted(events.iter().map(|(_, reason)| reason.as_str())))
}

/// How many there are of each.
fn counted<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = all.collect();
    all.sort_unstable();
    let counts = all.chunk_by(|one, other| one == other).map(|same| format!("{} {}", same[0], same.len()));
    counts.collect::<Vec<_>>().join(", ")
}

/// Plays both acts, and waits for the end. The answer is how long it took until the last object was gone that keeps its stream;
/// none where one is still there.
async fn play(site: &Site, acts: &[Act], time: Duration) -> Result<Option<Duration>> {
    let begun = Instant::now();
    let mut slowest = Some(Duration::ZERO);
    for act in acts {
        tokio::time::sleep((begun + time.mul_f64(act.at)).saturating_duration_since(Instant::now())).await;
        let since = Instant::now();
        for name in act.retained.iter().chain(&act.doomed) {
            site.api().delete(name, &DeleteParams::default()).await?;
        }
        for name in &act.edited {
            site.edit(name, &json!({ "retentionHours": 48 })).await?;
        }
        let left = (begun + time).saturating_duration_since(Instant::now()) / 2;
        let is_gone = are_gone(site, &act.retained, left).await.is_ok();
        slowest = slowest.filter(|_| is_gone).map(|slowest| slowest.max(since.elapsed()));
    }
    tokio::time::sleep((begun + time).saturating_duration_since(Instant::now())).await;
    Ok(slowest)
}

async fn are_gone(site: &Site, names: &[String], limit: Duration) -> Result<()> {
    until(limit, "the objects are gone", async || {
        let left = names.iter().filter(|name| site.seen().knows(name)).count();
        Ok(if left == 0 { Look::Done(()) } else { Look::NotYet(format!("{left} are left")) })
    })
    .await
}

/// Objects that cannot be seen through and do not say why.
fn of_reasons(site: &Site, acts: &[Act]) -> Figure {
    let waiting = acts.iter().flat_map(|act| act.edited.iter().chain(&act.doomed));
    let mute = waiting.filter(|name| !NAMED.contains(&site.seen().get(name).reason.as_str())).count();
    let shown: Vec<String> =
        site.seen().reasons().into_iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    Figure::new("revoked_without_named_reason", mute as f64, "objects").at_most(0.0).note(shown.join(", "))
}

/// Streams that are not there though nothing may delete them.
async fn of_streams(site: &Site, acts: &[Act]) -> Result<Figure> {
    let present = site.world.emulator.stream_names().await?;
    let meant = acts.iter().flat_map(|act| act.retained.iter().chain(&act.doomed));
    let lost = meant.filter(|name| !present.contains(&site.stream_name(name))).count();
    Ok(Figure::new("revoked_lost_streams", lost as f64, "streams").at_most(0.0))
}

/// From now until every object is Ready, what was edited is as its spec says, and what was to be deleted is.
async fn recover(site: &Site, acts: &[Act]) -> Result<Duration> {
    let since = Instant::now();
    site.seen().until(LONGEST, "all streams are Ready", |seen| seen.is_ready).await?;
    for act in acts {
        are_gone(site, &act.doomed, LONGEST).await?;
    }
    let took = since.elapsed();
    let emulator = &site.world.emulator;
    for name in acts.iter().flat_map(|act| &act.edited) {
        let found = emulator.find(&site.stream_name(name)).await?;
        let found = found.with_context(|| format!("{name} has lost its stream"))?;
        ensure!(found.retention_hours == 48, "{name} is Ready with {} hours", found.retention_hours);
    }
    let present = emulator.stream_names().await?;
    for name in acts.iter().flat_map(|act| &act.doomed) {
        ensure!(!present.contains(&site.stream_name(name)), "the stream of {name} was not deleted");
    }
    Ok(took)
}
