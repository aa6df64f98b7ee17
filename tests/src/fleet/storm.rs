//! Scenario 7, whole: the operator is killed and comes back to the whole fleet while three of ten calls are throttled beside the
//! quotas. Meanwhile new objects come, and one stream is throttled at every call. That the fleet is learned from lists,
//! that quotas are kept and that nothing is flooded is judged by what the emulator, the kernel's files and the API server have.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::changes::latency;
use super::since::Since;
use super::site::Site;
use crate::cluster::wait::{Look, until};
use crate::e2e::emulator::Call;
use crate::figures::Figure;
use crate::steps::Steps;

/// How likely a call is throttled.
const THROTTLED: f64 = 0.3;
/// How long that goes on: every sweep of the streams and the alarms comes by.
const STORM: Duration = Duration::from_mins(3);
/// New objects, eight a second.
const NEW: usize = 100;
const NEW_EVERY: Duration = Duration::from_millis(125);
/// What the new ones are called.
const PREFIX: &str = "storm";
/// Nothing here takes longer.
const LONGEST: Duration = Duration::from_mins(10);
/// A restart is to be seen through within so long.
const OBSERVED_MAX: f64 = 60.0;
/// A new stream should be Ready within so long: its quota lets it be made at once, and a call that is throttled three times is
/// tried again after some seconds. That it waits until the storm is over is not allowed.
const READY_AIM: f64 = 30.0;
const READY_MAX: f64 = 60.0;
/// When nothing is throttled any more all is well within so long: the longest back-off is five minutes.
const CONVERGED_MAX: f64 = 330.0;
/// What is written or told for less than one in so many streams is no flood.
const FLOOD: usize = 10;
/// What a small fleet may say.
const SAID: usize = 150;

/// All figures.
pub async fn figures(site: &mut Site, steps: &Steps) -> Result<Vec<Figure>> {
    // One that is corrected, and not only reported.
    let target = site.names()[1].clone();
    let before = Before::note(site, &target).await?;
    let emulator = &site.world.emulator;
    emulator.throttle(Some(&site.stream_name(&target)), 1.0).await?;
    emulator.throttle(None, THROTTLED).await?;
    site.world.take_operator()?.kill()?;
    let started = Instant::now();
    site.start_operator().await?;
    site.edit(&target, &json!({ "retentionHours": 48 })).await?;
    let (observed, made) = tokio::try_join!(observed(site, started), newcomers(site))?;
    steps.done(format!("in a storm all were observed {:.1} s after a kill", observed.as_secs_f64()));
    let first = latency(site, &made, "taken up", |seen| seen.taken_up).await?;
    let mut figures = vec![
        Figure::new("storm_observed", observed.as_secs_f64(), "s")
            .at_most(OBSERVED_MAX)
            .aim(30.0)
            .note("from the start of the process, with the 15 s of its predecessor's Lease"),
        Figure::new("storm_new_object_first_reconcile_p99", first.as_secs_f64(), "s").at_most(1.0).aim(0.3),
    ];
    tokio::time::sleep((started + STORM).saturating_duration_since(Instant::now())).await;
    figures.extend(before.figures(site, started.elapsed()).await?);
    site.world.emulator.clear_faults().await?;
    let converged = converged(site, &target).await?;
    let ready = latency(site, &made, "Ready", |seen| seen.ready).await?;
    let ready = Figure::new("storm_new_object_ready_p99", ready.as_secs_f64(), "s");
    figures.push(ready.at_most(READY_MAX).aim(READY_AIM));
    figures.push(
        Figure::new("storm_converged", converged.as_secs_f64(), "s")
            .at_most(CONVERGED_MAX)
            .note("after the last call was throttled"),
    );
    steps.done(format!("all are Ready {:.1} s after the storm", converged.as_secs_f64()));
    Ok(figures)
}

async fn observed(site: &Site, started: Instant) -> Result<Duration> {
    site.world.operator()?.has_seen_all("VideoStream", LONGEST).await?;
    Ok(started.elapsed())
}

/// New objects, as soon as somebody is there to look at them.
async fn newcomers(site: &Site) -> Result<Vec<(String, Instant)>> {
    site.world.operator()?.leads(LONGEST).await?;
    site.make_steadily(PREFIX, NEW, NEW_EVERY).await
}

/// What was before the storm.
struct Before<'a> {
    since: Since,
    target: &'a str,
    writes: u64,
}

impl<'a> Before<'a> {
    async fn note(site: &Site, target: &'a str) -> Result<Self> {
        Ok(Self { since: Since::now(site).await?, target, writes: writes(site, target) })
    }

    /// What the storm has come to so far.
    async fn figures(&self, site: &Site, took: Duration) -> Result<Vec<Figure>> {
        let calls = self.since.calls(site).await?;
        let struck = calls.iter().filter(|call| call.struck).count();
        ensure!(struck > 0, "nothing was throttled");
        let target = site.stream_name(self.target);
        let fleet: HashSet<String> = site
            .names()
            .iter()
            .filter(|name| *name != self.target)
            .map(|name| site.stream_name(name))
            .collect();
        let of_fleet = |call: &&Call| call.stream.as_ref().is_some_and(|name| fleet.contains(name));
        let count = |wanted: &dyn Fn(&&Call) -> bool| calls.iter().filter(wanted).count() as f64;
        let flood = (site.names().len() / FLOOD) as f64;
        let said = flood.max(SAID as f64);
        let events = self.since.events(site).await?;
        let events = events.iter().filter(|(name, _)| !name.starts_with(PREFIX)).count();
        let unready =
            site.names().iter().filter(|name| *name != self.target && !site.seen().get(name).is_ready);
        Ok(vec![
            Figure::new("storm_quota_refusals", count(&|call| call.is_over_quota()), "calls")
                .at_most(0.0)
                .note(format!("beside {struck} of {} calls that were throttled on order", calls.len())),
            Figure::new(
                "storm_describes_of_fleet",
                count(&|call| of_fleet(call) && call.operation == "DescribeStream"),
                "calls",
            )
            .at_most(flood),
            Figure::new("storm_changes_of_fleet", count(&|call| of_fleet(call) && call.is_change()), "calls")
                .at_most(0.0),
            Figure::new(
                "storm_calls_of_refused_stream",
                count(&|call| call.stream.as_deref() == Some(&*target)),
                "calls",
            )
            .at_most(f64::from(calls_with_back_off(took)))
            .note(format!("every one was throttled, in {:.0} s", took.as_secs_f64())),
            Figure::new("storm_fleet_not_ready", unready.count() as f64, "streams").at_most(0.0),
            Figure::new("storm_fleet_writes", (writes(site, self.target) - self.writes) as f64, "writes")
                .at_most(flood),
            Figure::new("storm_log_lines", self.since.loud_lines(site)? as f64, "lines")
                .at_most(said)
                .note("warnings and errors"),
            Figure::new("storm_events", events as f64, "events").at_most(said),
        ])
    }
}

/// How often the fleet's objects were written so far, but for this one.
fn writes(site: &Site, target: &str) -> u64 {
    site.names().iter().filter(|name| *name != target).map(|name| site.seen().get(name).writes).sum()
}

/// So many calls at most are about a stream whose every call is throttled. A pass makes three; the pauses between passes that fail
/// double from a second on, and each is at least half as long as that. Some passes more are not retries: the first one, that for
/// the edit, and a look at its settings, which is four calls.
fn calls_with_back_off(time: Duration) -> u32 {
    let retries = (time.as_secs_f64() / 0.5 + 1.0).log2().floor() as u32;
    3 * (retries + 2 + 4)
}

/// From now until every object is Ready, and the stream that was throttled is as its spec says.
async fn converged(site: &Site, target: &str) -> Result<Duration> {
    let since = Instant::now();
    let name = site.stream_name(target);
    until(LONGEST, "the stream that was throttled is as its spec says", async || {
        let found = site.world.emulator.find(&name).await?;
        let hours = found.map(|found| found.retention_hours);
        Ok(if hours == Some(48) { Look::Done(()) } else { Look::NotYet(format!("{hours:?}")) })
    })
    .await?;
    site.seen().until(LONGEST, "all streams are Ready", |seen| seen.is_ready).await?;
    Ok(since.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_backs_off_calls_the_less_the_longer_it_takes() {
        let calls = |seconds| calls_with_back_off(Duration::from_secs(seconds));
        assert_eq!([calls(4), calls(60), calls(180), calls(360)], [27, 36, 42, 45]);
    }
}
