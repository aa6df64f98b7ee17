//! The metrics of one account and region: a ring of minutes for each.
//!
//! A minute without data has no entry. So what nobody feeds costs nothing, and is missing rather than zero.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Minutes that a metric keeps: the longest that an alarm of a period below an hour looks back (`PutMetricAlarm`). The
/// service keeps them for 15 days.
const BUCKETS_MAX: usize = 1440;
/// Metrics of one account and region; what comes beyond is dropped.
const SERIES_MAX: usize = 200_000;
/// Seconds in the step of a metric of standard resolution.
const STANDARD_STEP_SECONDS: u64 = 60;

/// What an alarm or a reader makes of a period's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statistic {
    /// How many there were.
    SampleCount,
    /// Their mean.
    Average,
    /// Their sum.
    Sum,
    /// The least.
    Minimum,
    /// The greatest.
    Maximum,
}

impl Statistic {
    /// The statistic of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// Values that came together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub minimum: f64,
    /// The greatest.
    pub maximum: f64,
    /// How many.
    pub count: f64,
}

impl Sample {
    /// One value.
    pub fn of(value: f64) -> Self {
        Self { sum: value, minimum: value, maximum: value, count: 1.0 }
    }

    /// The same value, this often.
    pub fn repeated(value: f64, count: f64) -> Self {
        Self { sum: value * count, minimum: value, maximum: value, count }
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.count += other.count;
    }

    /// Both of two, as far as there are any.
    pub fn merged(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(mut one), Some(other)) => {
                one.merge(&other);
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }

    /// What a statistic makes of them.
    pub fn statistic(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::SampleCount => self.count,
            Statistic::Average if self.count > 0.0 => self.sum / self.count,
            Statistic::Average | Statistic::Sum => self.sum,
            Statistic::Minimum => self.minimum,
            Statistic::Maximum => self.maximum,
        }
    }
}

/// What makes a metric unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its dimensions, by name.
    pub dimensions: Vec<(String, String)>,
}

impl MetricKey {
    /// A key; the order of dimensions does not count.
    pub fn new(namespace: &str, name: &str, mut dimensions: Vec<(String, String)>) -> Self {
        dimensions.sort();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }

    /// The value of a dimension.
    pub fn dimension(&self, name: &str) -> Option<&str> {
        self.dimensions.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// As the first value had it.
    pub unit: Option<String>,
    /// Start (in milliseconds since the epoch) and values of each step that has any, oldest first.
    buckets: VecDeque<(u64, Sample)>,
}

impl Series {
    fn add(&mut self, start: u64, sample: &Sample) {
        let at = self.buckets.partition_point(|(known, _)| *known < start);
        match self.buckets.get_mut(at) {
            Some((known, bucket)) if *known == start => bucket.merge(sample),
            _ => self.buckets.insert(at, (start, *sample)),
        }
        if self.buckets.len() > BUCKETS_MAX {
            self.buckets.pop_front();
        }
    }

    /// All values of steps that begin in `from..to`.
    pub fn window(&self, from: u64, to: u64) -> Option<Sample> {
        let first = self.buckets.partition_point(|(start, _)| *start < from);
        let mut found: Option<Sample> = None;
        for (_, sample) in self.buckets.range(first..).take_while(|(start, _)| *start < to) {
            found = Sample::merged(found, Some(*sample));
        }
        found
    }

    /// When the newest step began.
    pub fn newest(&self) -> Option<u64> {
        self.buckets.back().map(|(start, _)| *start)
    }
}

/// A value on its way into a metric.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it was, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Its unit.
    pub unit: Option<&'a str>,
    /// Kept by the second (`StorageResolution` 1), not by the minute.
    pub by_second: bool,
}

/// The metrics of one account and region.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    series: BTreeMap<MetricKey, Series>,
    /// How long a minute is.
    minute_ms: u64,
}

impl Metrics {
    /// No metrics; a minute is as long as said.
    pub fn new(minute_ms: u64) -> Self {
        Self { series: BTreeMap::new(), minute_ms }
    }

    /// Adds values.
    pub fn add(&mut self, key: &MetricKey, sample: &Sample, entry: Entry<'_>) {
        let step =
            if entry.by_second { self.minute_ms / STANDARD_STEP_SECONDS } else { self.minute_ms }.max(1);
        let start = entry.at_ms / step * step;
        if let Some(series) = self.series.get_mut(key) {
            series.add(start, sample);
        } else if self.series.len() < SERIES_MAX {
            let mut series = Series { unit: entry.unit.map(str::to_owned), ..Series::default() };
            series.add(start, sample);
            self.series.insert(key.clone(), series);
        }
    }

    /// One metric.
    pub fn get(&self, key: &MetricKey) -> Option<&Series> {
        self.series.get(key)
    }

    /// All metrics, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&MetricKey, &Series)> {
        self.series.iter()
    }

    /// The metrics of a namespace and name, in order.
    pub fn named<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a MetricKey, &'a Series)> {
        let first = MetricKey::new(namespace, name, Vec::new());
        self.series.range(first..).take_while(move |(key, _)| key.namespace == namespace && key.name == name)
    }

    /// Forgets metrics that nobody has fed for as long as they are kept.
    pub fn expire(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(self.minute_ms * BUCKETS_MAX as u64);
        self.series.retain(|_, series| series.newest().is_some_and(|newest| newest >= oldest));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "small whole numbers are exact")]

    use super::*;

    const MINUTE: u64 = 60_000;

    fn key(stream: &str) -> MetricKey {
        MetricKey::new("AWS/KinesisVideo", "m", vec![("StreamName".to_owned(), stream.to_owned())])
    }

    fn at(at_ms: u64) -> Entry<'static> {
        Entry { at_ms, unit: None, by_second: false }
    }

    #[test]
    fn the_values_of_a_minute_come_together_and_a_minute_without_any_is_missing() {
        let mut metrics = Metrics::new(MINUTE);
        for (time, value) in [(0, 1.0), (59_999, 5.0), (120_000, 7.0), (60_000 * 5, 9.0), (1000, 3.0)] {
            metrics.add(&key("a"), &Sample::of(value), at(time));
        }
        let series = metrics.get(&key("a")).unwrap();
        let first = series.window(0, MINUTE).unwrap();
        assert_eq!(first, Sample { sum: 9.0, minimum: 1.0, maximum: 5.0, count: 3.0 });
        assert_eq!(first.statistic(Statistic::Average), 3.0);
        assert_eq!(series.window(MINUTE, 2 * MINUTE), None);
        assert_eq!(series.window(0, 3 * MINUTE).unwrap().count, 4.0);
        assert_eq!(metrics.get(&key("b")), None);
    }

    #[test]
    fn a_metric_keeps_a_day_and_is_forgotten_a_day_after_its_last_value() {
        let mut metrics = Metrics::new(MINUTE);
        for minute in 0..2000 {
            metrics.add(&key("a"), &Sample::of(1.0), at(minute * MINUTE));
        }
        assert_eq!(metrics.get(&key("a")).unwrap().window(0, u64::MAX).unwrap().count, 1440.0);
        metrics.expire((1999 + 1440) * MINUTE);
        assert!(metrics.get(&key("a")).is_some());
        metrics.expire((1999 + 1441) * MINUTE);
        assert!(metrics.get(&key("a")).is_none());
    }

    #[test]
    fn metrics_of_a_name_are_found_without_those_beside_them() {
        let mut metrics = Metrics::new(MINUTE);
        for stream in ["a", "b"] {
            metrics.add(&key(stream), &Sample::of(1.0), at(0));
        }
        metrics.add(&MetricKey::new("AWS/KinesisVideo", "n", Vec::new()), &Sample::of(1.0), at(0));
        metrics.add(&MetricKey::new("AWS/Other", "m", Vec::new()), &Sample::of(1.0), at(0));
        let found: Vec<_> = metrics
            .named("AWS/KinesisVideo", "m")
            .filter_map(|(key, _)| key.dimension("StreamName"))
            .collect();
        assert_eq!(found, ["a", "b"]);
    }
}
