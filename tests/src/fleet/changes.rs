//! How soon the operator sees what happens in a large fleet: its own restart, foreign changes, new objects.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use streamfleet_crds::CHECK_REQUESTED;
use streamfleet_crds::types::RETENTION_HOURS_DEFAULT;

use super::site::{REPORTS_EVERY, Site};
use super::watched::Seen;
use crate::cluster::wait::{Look, until};
use crate::figures::Figure;
use crate::steps::Steps;

/// To which retention, from that with which streams are made.
const CHANGED_HOURS: i32 = RETENTION_HOURS_DEFAULT + 1;
/// Foreign changes, one a second: as many as there are streams that report, at most three sweeps' time.
const CHANGES_MAX: usize = 180;
/// New objects, four a second.
const NEW: usize = 100;
/// Nothing here takes longer.
const LONGEST: Duration = Duration::from_mins(5);

/// All figures.
pub async fn figures(site: &Site, steps: &Steps) -> Result<Vec<Figure>> {
    Ok(vec![foreign_changes(site, steps).await?, new_objects(site, steps).await?])
}

/// From the start of the process until every object has been looked at.
pub async fn restart(site: &mut Site) -> Result<Duration> {
    site.world.take_operator()?.stop()?;
    let started = Instant::now();
    site.start_operator().await?;
    // Of the streams: kinds without objects are done at once.
    site.world.operator()?.has_seen_all("VideoStream", LONGEST).await?;
    Ok(started.elapsed())
}

/// From the answer to somebody else's change of a retention until it is in status.
async fn foreign_changes(site: &Site, steps: &Steps) -> Result<Figure> {
    let names: Vec<&String> = site.names().iter().step_by(REPORTS_EVERY).take(CHANGES_MAX).collect();
    let mut changed = Vec::new();
    for name in names {
        let next = tokio::time::Instant::now() + Duration::from_secs(1);
        raise_retention(site, name).await?;
        changed.push((name.clone(), Instant::now()));
        tokio::time::sleep_until(next).await;
    }
    let p99 = latency(site, &changed, "known to have drifted", |seen| seen.drifted).await?;
    // That is how it shall be from now on: what comes after begins with a fleet that is Ready.
    for (name, _) in &changed {
        site.edit(name, &json!({ "retentionHours": CHANGED_HOURS })).await?;
    }
    steps.done(format!(
        "{} foreign changes are in status, the slowest after {:.1} s",
        changed.len(),
        p99.as_secs_f64()
    ));
    let note = format!("{} changes", changed.len());
    Ok(Figure::new("foreign_change_to_drift_p99", p99.as_secs_f64(), "s").at_most(90.0).aim(65.0).note(note))
}

async fn raise_retention(site: &Site, name: &str) -> Result<()> {
    let (client, stream) = (site.world.emulator.client(), site.stream_name(name));
    let described = client.describe_stream().stream_name(&stream).send().await?;
    let version = described.stream_info.and_then(|info| info.version).context("a stream has a version")?;
    client
        .update_data_retention()
        .stream_name(&stream)
        .current_version(version)
        .operation(UpdateDataRetentionOperation::IncreaseDataRetention)
        .data_retention_change_in_hours(CHANGED_HOURS - RETENTION_HOURS_DEFAULT)
        .send()
        .await?;
    Ok(())
}

/// From an object's creation until it was first taken up, while so many others are asked to be checked afresh that their looks wait
/// for the quotas all the time.
async fn new_objects(site: &Site, steps: &Steps) -> Result<Figure> {
    let creations = async {
        // The sweep is to be under way.
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.make_steadily("new", NEW, Duration::from_millis(250)).await
    };
    let made = tokio::select! {
        made = creations => made?,
        Err(error) = ask_for_checks(site) => return Err(error),
    };
    let p99 = latency(site, &made, "taken up", |seen| seen.taken_up).await?;
    let waiting = site.names().iter().filter(|name| !site.seen().get(name).is_checked).count();
    ensure!(waiting > 0, "there was no sweep any more when the last of the new objects came");
    steps.done(format!(
        "{NEW} new objects during a sweep, the slowest taken up after {:.3} s",
        p99.as_secs_f64()
    ));
    let figure = Figure::new("new_object_first_reconcile_p99", p99.as_secs_f64(), "s");
    Ok(figure.at_most(1.0).aim(0.3).note(format!("{waiting} looks still waited when the last had come")))
}

/// Asks for a look at every stream, and again, without an end.
async fn ask_for_checks(site: &Site) -> Result<Infallible> {
    let api = site.api();
    for round in 1_u32.. {
        for name in site.names() {
            let patch = json!({ "metadata": { "annotations": { CHECK_REQUESTED: round.to_string() } } });
            api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
    }
    bail!("there are no more numbers");
}

/// From the time of each until the watch showed it so: the 99th percentile.
pub async fn latency(
    site: &Site,
    since: &[(String, Instant)],
    what: &str,
    when: fn(&Seen) -> Option<Instant>,
) -> Result<Duration> {
    let mut latencies = Vec::new();
    for (name, at) in since {
        let then = until(LONGEST, &format!("{name} is {what}"), async || {
            let then = when(&site.seen().get(name));
            Ok(then.map_or_else(|| Look::NotYet("not yet".to_owned()), Look::Done))
        })
        .await?;
        latencies.push(then.saturating_duration_since(*at));
    }
    Ok(percentile(&mut latencies, 99))
}

/// The smallest value that so many percent do not exceed.
fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let mut values: Vec<Duration> = (1..=200).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(&mut values, 99), Duration::from_secs(198));
        assert_eq!(percentile(&mut values, 100), Duration::from_secs(200));
        assert_eq!(percentile(&mut [], 99), Duration::MAX, "nothing measured is no figure");
    }
}
