//! One trial: cameras, service and producer run well, something breaks and is whole again, and then it is counted what
//! became of the pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use streamfleet_contract::Gap;
use tokio::time::Instant;

use super::attempts::{self, Attempts};
use super::holes::{self, Match};
use crate::figures::Figure;
use crate::journal::{self, Comparison};
use crate::resources;
use crate::rig::{Plan, Producer, Rig, check_times, stream, unix_ms};

/// What waits all the time: the open fragment, and what is not yet acknowledged.
const USUAL_BACKLOG: Duration = Duration::from_secs(8);
/// What a process has beside media, at most, and with each feed.
const BESIDE_MEDIA: u64 = 8 << 20;
const BESIDE_MEDIA_PER_FEED: u64 = 512 << 10;
/// The attempts that are allowed, in the first 10 s and in any later minute.
const ATTEMPTS_FIRST_MAX: usize = 6;
const ATTEMPTS_MINUTE_MAX: usize = 5;
/// What [`check_times`] allows.
const TIME_ERROR_MS_MAX: f64 = 2_000.0;
/// Longer than anything takes to recover.
const RECOVERY_MAX: Duration = Duration::from_secs(1_000);

/// What a trial must keep to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pictures that may be lost.
    pub lost: usize,
    /// Pictures that may be stored twice: the window that was not acknowledged.
    pub repeated: usize,
    /// From the fault's end until nothing but the usual waits.
    pub recover: Duration,
    /// Attempts that the fault must have cost: with fewer it has not struck, and the trial shows nothing.
    pub strikes: usize,
}

/// What was done.
#[derive(Debug)]
pub struct Played {
    /// The producer that runs now.
    pub producer: Producer,
    /// When the fault began and ended, in milliseconds of the Unix epoch.
    pub began_ms: i64,
    /// See there.
    pub ended_ms: i64,
    /// Connections to cameras around whose ends pictures may be missing.
    pub excused: Vec<u64>,
    /// Gaps of the first feed that producers before the one that runs now have told of.
    pub told: Vec<Gap>,
    /// A moment at which no producer ran, of which the one that runs now cannot know: the hole around it is no gap.
    pub unwatched_ms: Option<i64>,
}

impl Played {
    /// A fault that began then and ends now.
    pub fn until_now(producer: Producer, began_ms: i64) -> Self {
        Self {
            producer,
            began_ms,
            ended_ms: unix_ms(),
            excused: Vec::new(),
            told: Vec::new(),
            unwatched_ms: None,
        }
    }
}

/// The highest memory of all processes that were watched.
#[derive(Debug, Clone, Default)]
pub struct Peak(Arc<AtomicU64>);

impl Peak {
    /// Watches a process until it ends.
    pub fn watch(&self, process: u32) {
        let peak = self.0.clone();
        tokio::spawn(async move {
            while let Ok(memory) = resources::memory(process) {
                peak.fetch_max(memory.anonymous, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
    }
}

/// What came out of a trial for one feed.
#[derive(Debug)]
pub struct Report {
    /// What was tried.
    pub name: String,
    /// What became of the pictures.
    pub counts: Comparison,
    /// How often a session was tried.
    pub attempts: Attempts,
    /// Seconds until nothing but the usual waited; none when that did not come.
    pub recovered: Option<f64>,
    /// The most memory, in bytes, and how much it may be.
    pub peak: (u64, u64),
    /// How far a stored picture's time is from when the camera took it, in milliseconds; or what is wrong with the times.
    pub times: std::result::Result<i64, String>,
    /// Whether the gaps that were reported are the holes.
    pub gaps: Match,
    /// What this trial alone measures.
    pub more: Vec<Figure>,
    limits: Limits,
}

impl Report {
    /// All figures of the report.
    pub fn figures(&self) -> Vec<Figure> {
        let name = |what: &str| format!("{}.{what}", self.name);
        let Comparison { journalled, stored, lost, excused, repeated, unknown, altered } = &self.counts;
        let pictures = |what: &str, count: usize| Figure::new(name(what), count as f64, "pictures");
        let bound = |count: usize| count as f64;
        let mut figures = vec![
            pictures("sent", *journalled).at_least(1.0),
            pictures("stored", *stored),
            pictures("lost", lost.len()).at_most(bound(self.limits.lost)),
            pictures("exempt", excused.values().map(Vec::len).sum()),
            pictures("stored_twice", repeated.len()).at_most(bound(self.limits.repeated)),
            pictures("altered_or_unknown", altered.len() + unknown.len()).at_most(0.0),
            match &self.times {
                Ok(error_ms) => Figure::new(name("time_error"), *error_ms as f64, "ms"),
                Err(why) => Figure::new(name("time_error"), None, "ms").note(why),
            }
            .at_most(TIME_ERROR_MS_MAX),
            Figure::new(name("recovered_after"), self.recovered, "s")
                .at_most(self.limits.recover.as_secs_f64()),
            Figure::new(name("peak_memory"), mib(self.peak.0), "MiB").at_most(mib(self.peak.1)),
        ];
        let attempted = |what: &str, count: usize| Figure::new(name(what), count as f64, "attempts");
        let Attempts { all, first, worst_minute } = self.attempts;
        figures.push(attempted("attempts", all).at_least(bound(self.limits.strikes)));
        figures.push(attempted("attempts_first_10s", first).at_most(bound(ATTEMPTS_FIRST_MAX)));
        figures.push(attempted("attempts_worst_minute", worst_minute).at_most(bound(ATTEMPTS_MINUTE_MAX)));
        let unmatched = Figure::new(name("gaps_unmatched"), self.gaps.unmatched as f64, "gaps");
        figures.push(unmatched.at_most(0.0).note(format!("{} holes {}", self.gaps.holes, self.gaps.detail)));
        figures.push(Figure::new(name("gap_error"), self.gaps.error_pictures, "pictures").at_most(1.0));
        figures.extend(self.more.iter().cloned());
        figures
    }

    /// One report of many, with the sums of what is counted and the worst of what is measured.
    pub fn together(name: &str, reports: Vec<Self>) -> Option<Self> {
        reports.into_iter().reduce(Self::and).map(|all| Self { name: name.to_owned(), ..all })
    }

    fn and(mut self, other: Self) -> Self {
        self.counts.journalled += other.counts.journalled;
        self.counts.stored += other.counts.stored;
        self.counts.lost.extend(other.counts.lost);
        for (connection, pictures) in other.counts.excused {
            // Each feed's connections count from 1.
            self.counts.excused.entry(connection).or_default().extend(pictures);
        }
        self.counts.repeated.extend(other.counts.repeated);
        self.counts.unknown.extend(other.counts.unknown);
        self.counts.altered.extend(other.counts.altered);
        self.limits.lost += other.limits.lost;
        self.limits.repeated += other.limits.repeated;
        self.recovered = self.recovered.zip(other.recovered).map(|(a, b)| a.max(b));
        let (a, b) = (self.attempts, other.attempts);
        self.attempts = Attempts {
            // The fewest: a fault that struck some feeds and not all shows too little.
            all: a.all.min(b.all),
            first: a.first.max(b.first),
            worst_minute: a.worst_minute.max(b.worst_minute),
        };
        self.times = self.times.and_then(|a| other.times.map(|b| a.max(b)));
        self.gaps = Match {
            holes: self.gaps.holes + other.gaps.holes,
            unmatched: self.gaps.unmatched + other.gaps.unmatched,
            error_pictures: self.gaps.error_pictures.max(other.gaps.error_pictures),
            detail: self.gaps.detail + &other.gaps.detail,
        };
        self
    }

    /// The report as cells of a table, see [`HEAD`].
    pub fn row(&self) -> [String; HEAD.len()] {
        let Comparison { journalled, stored, lost, repeated, .. } = &self.counts;
        let attempts = |count: usize, limit: usize| format!("{count} (<={limit})");
        let recovered = self.recovered.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1}"));
        let missed: Vec<String> =
            self.figures().into_iter().filter(Figure::is_missed).map(|figure| figure.metric).collect();
        let missed = missed.iter().filter_map(|metric| metric.split_once('.')).map(|(_, what)| what);
        [
            self.name.clone(),
            journalled.to_string(),
            stored.to_string(),
            format!("{} (<={})", lost.len(), self.limits.lost),
            format!("{} (<={})", repeated.len(), self.limits.repeated),
            attempts(self.attempts.first, ATTEMPTS_FIRST_MAX),
            attempts(self.attempts.worst_minute, ATTEMPTS_MINUTE_MAX),
            format!("{recovered} (<={:.0})", self.limits.recover.as_secs_f64()),
            format!("{:.1} (<={:.0})", mib(self.peak.0), mib(self.peak.1)),
            format!(
                "{} holes, {} unmatched, {:.1}",
                self.gaps.holes, self.gaps.unmatched, self.gaps.error_pictures
            ),
            match missed.collect::<Vec<_>>()[..] {
                [] => self.more.iter().fold("held".to_owned(), |held, figure| {
                    format!(
                        "{held}, {} {:.1} {}",
                        figure.metric,
                        figure.value.unwrap_or_default(),
                        figure.unit
                    )
                }),
                ref missed => format!("MISSED: {}", missed.join(", ")),
            },
        ]
    }
}

/// What the cells of [`Report::row`] are.
pub const HEAD: [&str; 11] = [
    "scenario",
    "sent",
    "stored",
    "lost",
    "stored twice",
    "tries 10 s",
    "tries/min",
    "recovered s",
    "peak MiB",
    "gaps, error in pictures",
    "verdict",
];

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A trial that is under way.
#[derive(Debug)]
pub struct Trial {
    /// What it is made with.
    pub rig: Rig,
    /// The memory of its producers.
    pub peak: Peak,
}

impl Trial {
    /// Starts everything, and waits until something of each feed is stored.
    pub async fn start(plan: Plan) -> Result<(Self, Producer)> {
        Self::begin(Rig::start(plan).await?).await
    }

    /// The same with a rig that stands already.
    pub async fn begin(mut rig: Rig) -> Result<(Self, Producer)> {
        let producer = rig.produce().await?;
        let peak = Peak::default();
        peak.watch(producer.id());
        let trial = Self { rig, peak };
        let deadline = Instant::now() + RECOVERY_MAX;
        while !producer.status().await?.feeds.iter().all(|feed| feed.stored.is_some()) {
            ensure!(Instant::now() < deadline, "nothing is stored:\n{}", producer.log_end());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok((trial, producer))
    }

    /// Starts another producer after one that has ended.
    pub async fn again(&mut self) -> Result<Producer> {
        let producer = self.rig.produce().await?;
        self.peak.watch(producer.id());
        Ok(producer)
    }

    /// Waits until the producer has recovered, lets it store everything, ends all, and counts.
    pub async fn conclude(
        self,
        played: Played,
        name: impl Fn(usize) -> String,
        limits: impl Fn(usize) -> Limits,
    ) -> Result<Vec<Report>> {
        let Self { rig, peak } = self;
        let Played { producer, began_ms, ended_ms, excused, told, unwatched_ms } = played;
        let recovered = recovered(&producer, ended_ms, rig.plan.feeds).await?;
        // Some of the usual, so that what comes after is seen to be whole.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut gaps: Vec<Vec<Gap>> =
            producer.status().await?.feeds.into_iter().map(|feed| feed.gaps).collect();
        gaps.iter_mut().take(1).for_each(|first| first.extend(told.iter().cloned()));
        rig.finish(producer).await?;
        let budget = rig.plan.process.memory_budget_bytes;
        let beside = BESIDE_MEDIA + BESIDE_MEDIA_PER_FEED * rig.plan.feeds as u64;
        let mut reports = Vec::new();
        for (feed, recovered) in recovered.into_iter().enumerate() {
            let (journal, archive) = (rig.journal(feed)?, rig.archived(feed).await?);
            let limits = limits(feed);
            let period_ms = rig.plan.recipes[0].picture_period().as_secs_f64() * 1_000.0;
            let mut holes = holes::holes(&archive, period_ms);
            holes.retain(|hole| {
                !unwatched_ms.is_some_and(|moment| (hole.start_ms..hole.end_ms).contains(&moment))
            });
            // What is open is the silence at the end.
            let reported: Vec<Gap> =
                gaps.get(feed).into_iter().flatten().filter(|gap| gap.end_ms.is_some()).cloned().collect();
            reports.push(Report {
                name: name(feed),
                counts: journal::compare(&journal, &archive, &excused),
                attempts: attempts::count(&attempted(&rig, feed).await?, began_ms),
                recovered,
                peak: (peak.0.load(Ordering::Relaxed), budget + beside),
                times: check_times(&journal, &archive).map_err(|error| format!("{error:#}")),
                gaps: holes::compare(&holes, &reported, period_ms),
                more: Vec::new(),
                limits,
            });
        }
        if reports.iter().flat_map(Report::figures).any(|figure| figure.is_missed()) {
            // The folder stays, with the logs.
            return Ok(reports);
        }
        rig.clear().await.context("failed to end the rig")?;
        Ok(reports)
    }
}

/// Has the producer tell of each attempt, for faults that leave no trace of it outside.
pub(super) fn telling(mut plan: Plan) -> Plan {
    plan.producer_arguments.extend(["--log", attempts::TELLING].map(str::to_owned));
    plan
}

/// When a session was tried for a feed: connections that were turned away, and calls that came through; or what the
/// producer itself tells, see [`telling`].
async fn attempted(rig: &Rig, feed: usize) -> Result<Vec<i64>> {
    if rig.plan.producer_arguments.iter().any(|argument| argument == attempts::TELLING) {
        ensure!(rig.plan.feeds == 1, "the log of many feeds is not told apart");
        return Ok(attempts::told(&rig.producer_log()?));
    }
    let stream = stream(feed);
    let calls = rig.service.calls().await?;
    let ours = calls
        .iter()
        .filter(|call| call.operation == "PutMedia" && call.stream.as_deref() == Some(stream.as_str()));
    let mut times: Vec<i64> = ours.map(|call| call.begun_ms).collect();
    // With many feeds it is not known whose they were.
    if rig.plan.feeds == 1 {
        times.extend(rig.proxy.turned_away());
    }
    Ok(times)
}

/// For each feed the seconds until something taken after the fault's end was stored and nothing but the usual waited.
async fn recovered(producer: &Producer, ended_ms: i64, feeds: usize) -> Result<Vec<Option<f64>>> {
    let mut recovered = vec![None; feeds];
    let deadline = Instant::now() + RECOVERY_MAX;
    while recovered.iter().any(Option::is_none) && Instant::now() < deadline {
        let status = producer.status().await?;
        for (recovered, feed) in recovered.iter_mut().zip(&status.feeds) {
            let is_new = feed.stored.is_some_and(|stored| stored.media_ms >= ended_ms);
            let is_usual = Duration::from_millis(feed.backlog.milliseconds) <= USUAL_BACKLOG;
            if is_new && is_usual && recovered.is_none() {
                *recovered = Some((unix_ms() - ended_ms).max(0) as f64 / 1_000.0);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lost: &[u64], excused: &[(u64, Vec<u64>)], holes: usize) -> Report {
        let counts = Comparison {
            journalled: 10,
            lost: lost.to_vec(),
            excused: excused.iter().cloned().collect(),
            ..Comparison::default()
        };
        let limits = Limits { lost: 1, repeated: 0, recover: Duration::from_secs(1), strikes: 1 };
        Report {
            name: "one".to_owned(),
            counts,
            attempts: Attempts { all: 2, first: 1, worst_minute: 0 },
            recovered: Some(0.5),
            peak: (0, 1),
            times: Ok(0),
            gaps: Match { holes, unmatched: 0, error_pictures: 0.0, detail: String::new() },
            more: Vec::new(),
            limits,
        }
    }

    #[test]
    fn reports_of_many_feeds_add_up_and_what_is_exempt_of_each_is_counted() {
        let reports =
            vec![report(&[7], &[(1, vec![3, 4])], 1), report(&[7], &[(1, vec![3]), (2, vec![9])], 2)];
        let all = Report::together("all", reports).unwrap();
        assert_eq!((all.counts.journalled, all.counts.lost.len(), all.gaps.holes), (20, 2, 3));
        let figures = all.figures();
        let exempt = figures.iter().find(|figure| figure.metric == "all.exempt").unwrap();
        assert_eq!(exempt.value, Some(4.0));
    }

    #[test]
    fn a_fault_that_has_not_struck_is_missed() {
        let missed = |attempts: Attempts| {
            let report = Report { attempts, ..report(&[], &[], 0) };
            let missed = report.figures().into_iter().filter(Figure::is_missed);
            missed.map(|figure| figure.metric).collect::<Vec<_>>()
        };
        assert_eq!(missed(Attempts { all: 1, first: 1, worst_minute: 0 }), [""; 0]);
        assert_eq!(missed(Attempts::default()), ["one.attempts"]);
        assert_eq!(missed(Attempts { all: 9, first: 7, worst_minute: 2 }), ["one.attempts_first_10s"]);
    }
}
