//! What the operator costs, and how soon it is done, with fleets of a hundred, a thousand and ten thousand streams: on a real
//! apiserver and etcd, with the emulator keeping the service's quotas. `make bench-operator` calls it.
//!
//! Each fleet begins with nothing: an emulator, a namespace and a class of its own. Its alarms are there before it, one for each
//! stream, since `PutMetricAlarm` alone would take an hour (3 a second). All that is measured from outside: objects by a watch,
//! calls by the emulator's log, memory and processor time by the kernel.

mod changes;
mod revoked;
mod since;
mod site;
mod steady;
mod storm;
mod watched;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::figures::Figure;
use crate::resources;
use crate::steps::Steps;
use site::{Site, Template};
use steady::Steady;

/// `CreateStream` calls in a second in an account and region (developer guide, service quotas).
const CREATE_PER_SECOND: f64 = 50.0;
/// The smaller fleets that growth is judged by.
const SMALLER: [usize; 2] = [100, 1_000];
/// A fleet is Ready after this many times the floor, or something is wrong.
const READY_MAX: f64 = 4.0;
/// What a fleet has beside its streams' own time: starting, the first lists.
const START_MAX: Duration = Duration::from_mins(2);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Order {
    /// How many streams the largest fleet has.
    pub streams: usize,
    /// Which parts.
    pub parts: Vec<Part>,
    /// For how long credentials are revoked.
    pub revoked: Duration,
}

/// A part of what is measured; all are of the largest fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From empty to all Ready, a restart, rest; and the same of smaller fleets, for the growth.
    Growth,
    /// Foreign changes, and new objects during a sweep.
    Changes,
    /// Calls are throttled at a restart.
    Storm,
    /// Every call is denied for a while.
    Revoked,
}

impl Part {
    /// All of them, in their order.
    const ALL: [(Self, &str); 4] = [
        (Self::Growth, "growth"),
        (Self::Changes, "changes"),
        (Self::Storm, "storm"),
        (Self::Revoked, "revoked"),
    ];

    /// The parts of these names with commas between them; all of no names.
    pub fn chosen(only: &str) -> Result<Vec<Self>> {
        if only.is_empty() {
            return Ok(Self::ALL.iter().map(|(part, _)| *part).collect());
        }
        let names = || Self::ALL.map(|(_, name)| name).join(", ");
        only.split(',')
            .map(|name| {
                let found = Self::ALL.iter().find(|(_, known)| *known == name);
                found
                    .map(|(part, _)| *part)
                    .with_context(|| format!("there is no part {name:?}, have: {}", names()))
            })
            .collect()
    }
}

/// What was measured of one fleet.
struct Measured {
    streams: usize,
    ready_after: Duration,
    /// Of the process that has made all of them, in bytes.
    made_anonymous: u64,
    observed_after: Duration,
    steady: Steady,
}

/// All figures that are asked for.
pub async fn operator(order: &Order, steps: &Steps) -> Result<Vec<Figure>> {
    let Order { streams, ref parts, revoked } = *order;
    ensure!(streams >= 100, "a fleet has at least 100 streams, for percentiles");
    let is_asked = |part| parts.contains(&part);
    let (template, mut fleets) = if is_asked(Part::Growth) {
        smaller(streams, steps).await?
    } else {
        (Some(template(steps).await?), Vec::new())
    };
    let mut site = Site::new(streams, template.as_ref(), steps).await?;
    let mut figures = Vec::new();
    if is_asked(Part::Growth) {
        let largest = measure(&mut site, steps).await?;
        figures.extend(of_fleet(&largest));
        fleets.push(largest);
        figures.extend(growth(&fleets));
    } else {
        settle(&mut site, steps).await?;
    }
    if is_asked(Part::Changes) {
        figures.extend(changes::figures(&site, steps).await?);
    }
    if is_asked(Part::Storm) {
        let storm = Box::pin(storm(&mut site, steps)).await;
        figures.extend(or_missed("storm", storm, steps));
    }
    if is_asked(Part::Revoked) {
        let revoked = Box::pin(self::revoked(&mut site, revoked, steps)).await;
        figures.extend(or_missed("revoked", revoked, steps));
    }
    site.leave()?;
    Ok(figures)
}

/// Begins when nothing is left of what was asked for before: a thousand looks that wait for their quota are no restart's.
async fn storm(site: &mut Site, steps: &Steps) -> Result<Vec<Figure>> {
    site.settle().await?;
    storm::figures(site, steps).await
}

/// Begins without the faults, and with the operator, that a part before it may have left or not when it failed.
async fn revoked(site: &mut Site, time: Duration, steps: &Steps) -> Result<Vec<Figure>> {
    site.world.emulator.clear_faults().await?;
    if site.world.operator().is_err() {
        site.start_operator().await?;
    }
    revoked::figures(site, time, steps).await
}

/// What a part has shown; that it did not come to its end is a figure too, lest it take those of the hour before with it.
fn or_missed(part: &str, figures: Result<Vec<Figure>>, steps: &Steps) -> Vec<Figure> {
    figures.unwrap_or_else(|error| {
        steps.done(format!("{part} has not come to its end: {error:#}"));
        vec![Figure::new(format!("{part}_not_ended"), 1.0, "").at_most(0.0).note(format!("{error:#}"))]
    })
}

/// Measures the smaller fleets, and learns from the first of them what an alarm is like.
async fn smaller(streams: usize, steps: &Steps) -> Result<(Option<Template>, Vec<Measured>)> {
    let mut template = None;
    let mut fleets = Vec::new();
    for size in SMALLER.into_iter().filter(|size| *size < streams) {
        let mut site = Site::new(size, template.as_ref(), steps).await?;
        fleets.push(measure(&mut site, steps).await?);
        if template.is_none() {
            template = Some(Template::learn(&site).await?);
        }
        site.leave()?;
    }
    Ok((template, fleets))
}

/// Learns from a single stream what an alarm is like.
async fn template(steps: &Steps) -> Result<Template> {
    let mut site = Site::new(1, None, steps).await?;
    site.start_operator().await?;
    site.seen().until(START_MAX, "a stream has its alarm", |seen| seen.has_alarm).await?;
    let template = Template::learn(&site).await?;
    site.leave()?;
    Ok(template)
}

/// From empty to all Ready, and nothing written any more: how long it took until all were Ready.
async fn settle(site: &mut Site, steps: &Steps) -> Result<Duration> {
    let streams = site.names().len();
    let floor = streams as f64 / CREATE_PER_SECOND;
    let started = Instant::now();
    site.start_operator().await?;
    let limit = Duration::from_secs_f64(floor * READY_MAX) + START_MAX;
    site.seen().until(limit, "all streams are Ready", |seen| seen.is_ready).await?;
    let ready_after = started.elapsed();
    steps.done(format!("{streams} streams are Ready after {:.1} s", ready_after.as_secs_f64()));
    site.settle().await?;
    steps.done("all alarms are told, nothing is written any more");
    Ok(ready_after)
}

/// From empty to all Ready, and then steady.
async fn measure(site: &mut Site, steps: &Steps) -> Result<Measured> {
    let ready_after = settle(site, steps).await?;
    let made_anonymous = resources::memory(site.world.operator()?.pid())?.anonymous;
    // What a process has just made it need not read for hours: only one that has begun anew reads as it does all year.
    let observed_after = changes::restart(site).await?;
    steps.done(format!("after a restart all are observed in {:.1} s", observed_after.as_secs_f64()));
    let steady = Steady::measure(site).await?;
    steps.done(format!("steady: {steady}"));
    Ok(Measured { streams: site.names().len(), ready_after, made_anonymous, observed_after, steady })
}

fn of_fleet(fleet: &Measured) -> Vec<Figure> {
    let floor = fleet.streams as f64 / CREATE_PER_SECOND;
    let ready = fleet.ready_after.as_secs_f64();
    let steady = &fleet.steady;
    vec![
        Figure::new("all_ready_over_create_floor", ready / floor, "ratio")
            .at_most(1.25)
            .aim(1.05)
            .note(format!("{} streams, {ready:.1} s over {floor:.0} s", fleet.streams)),
        Figure::new("restart_to_all_observed", fleet.observed_after.as_secs_f64(), "s")
            .at_most(60.0)
            .aim(15.0),
        Figure::new("anonymous_memory", mib(steady.anonymous.max(fleet.made_anonymous)), "MiB")
            .at_most(150.0)
            .aim(90.0)
            .note(format!(
                "{:.1} in the process that has made them all, {:.1} in its successor at rest",
                mib(fleet.made_anonymous),
                mib(steady.anonymous)
            )),
        Figure::new("aws_reads_steady", steady.reads_per_second, "1/s")
            .at_most(3.5)
            .aim(2.0)
            .note(steady.calls.clone()),
        Figure::new("aws_writes_steady", steady.mutating_calls as f64, "calls").at_most(0.0),
        Figure::new("object_writes_steady", steady.object_writes as f64, "writes").at_most(0.0),
        Figure::new("cpu_steady", steady.cpu_percent, "% of a core").at_most(3.0).aim(0.5),
    ]
}

/// How each figure grows, with the exponent over the smallest and the largest fleet: 0 is flat, 1 is in proportion.
fn growth(fleets: &[Measured]) -> Vec<Figure> {
    type Read = fn(&Measured) -> f64;
    let rows: [(&str, &str, Read); 6] = [
        ("ready_after", "s", |fleet| fleet.ready_after.as_secs_f64()),
        ("observed_after", "s", |fleet| fleet.observed_after.as_secs_f64()),
        ("anonymous", "MiB", |fleet| mib(fleet.steady.anonymous)),
        ("aws_reads", "1/s", |fleet| fleet.steady.reads_per_second),
        ("list_reads", "1/s", |fleet| fleet.steady.list_reads_per_second),
        ("cpu", "% of a core", |fleet| fleet.steady.cpu_percent),
    ];
    let mut figures = Vec::new();
    let (Some(first), Some(last)) = (fleets.first(), fleets.last()) else { return figures };
    for (name, unit, read) in rows {
        for fleet in fleets {
            figures.push(Figure::new(format!("growth.{name}.{}", fleet.streams), read(fleet), unit));
        }
        let decades = (last.streams as f64 / first.streams as f64).log10();
        if decades > 0.0 {
            let exponent = (read(last) / read(first)).log10() / decades;
            let exponent = exponent.is_finite().then_some(exponent);
            figures.push(Figure::new(format!("growth.{name}.exponent"), exponent, ""));
        }
    }
    if last.streams > first.streams {
        let more = last.steady.anonymous.saturating_sub(first.steady.anonymous) as f64;
        let each = more / 1024.0 / (last.streams - first.streams) as f64;
        figures.push(Figure::new("memory_per_further_stream", each, "KiB").aim(6.0));
    }
    figures
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(streams: usize, anonymous_mib: u64) -> Measured {
        let steady = Steady {
            anonymous: anonymous_mib << 20,
            reads_per_second: streams as f64,
            list_reads_per_second: 2.0,
            ..Steady::default()
        };
        let ready_after = Duration::from_secs(streams as u64 / 50);
        let made_anonymous = 2 * steady.anonymous;
        Measured { streams, ready_after, made_anonymous, observed_after: Duration::from_secs(1), steady }
    }

    #[test]
    fn what_is_flat_has_the_exponent_0_and_what_is_in_proportion_1() {
        let figures = growth(&[fleet(100, 10), fleet(1_000, 20), fleet(10_000, 100)]);
        let value =
            |metric: &str| figures.iter().find(|figure| figure.metric == metric).unwrap().value.unwrap();
        assert!(value("growth.list_reads.exponent").abs() < 1e-9);
        assert!((value("growth.aws_reads.exponent") - 1.0).abs() < 1e-9);
        let idle = figures.iter().find(|figure| figure.metric == "growth.cpu.exponent").unwrap();
        assert_eq!(idle.value, None, "what is 0 has no exponent");
        assert!((value("memory_per_further_stream") - 90.0 * 1024.0 / 9_900.0).abs() < 1e-9);
    }

    #[test]
    fn parts_are_chosen_by_their_names_and_none_means_all() {
        assert_eq!(Part::chosen("").unwrap().len(), 4);
        assert_eq!(Part::chosen("storm,revoked").unwrap(), [Part::Storm, Part::Revoked]);
        let error = Part::chosen("strom").unwrap_err().to_string();
        assert_eq!(error, "there is no part \"strom\", have: growth, changes, storm, revoked");
    }

    #[test]
    fn a_fleet_that_takes_longer_than_the_quota_asks_for_is_missed() {
        let mut late = fleet(10_000, 10);
        late.ready_after = Duration::from_secs(251);
        assert!(of_fleet(&late)[0].is_missed());
        late.ready_after = Duration::from_secs(249);
        assert!(!of_fleet(&late)[0].is_missed());
        assert_eq!(of_fleet(&late)[2].value, Some(20.0), "the most that a process had");
    }
}
