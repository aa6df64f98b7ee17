//! CloudWatch: alarms, the metrics that they watch, and the evaluator that moves their states.
//!
//! [`CloudWatch`] is a machine without clock and I/O, whose time comes with each call: the emulator drives it with the
//! wall clock and its own media traffic (`live`), simulations with theirs. Requests and answers are JSON in the shapes of
//! the API model, times in seconds since the epoch; the three protocols of the wire are in `wire`.
//!
//! ```
//! use serde_json::json;
//! use streamfleet_emulator::cloudwatch::{CloudWatch, Settings, State};
//! use streamfleet_emulator::control::Scope;
//!
//! let mut cloudwatch = CloudWatch::new(Settings::default());
//! let scope = Scope::new("123456789012", "eu-central-1");
//! let alarm = json!({
//!     "AlarmName": "silent", "Namespace": "AWS/KinesisVideo", "MetricName": "PutMedia.IncomingFragments",
//!     "Dimensions": [{"Name": "StreamName", "Value": "cam"}], "Statistic": "Sum", "Period": 60,
//!     "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold",
//!     "TreatMissingData": "breaching",
//! });
//! cloudwatch.call(&scope, "PutMetricAlarm", &alarm, 0).unwrap();
//! cloudwatch.record(&scope, ("PutMedia.IncomingFragments", "cam"), 1.0, 1_000);
//! cloudwatch.tick(60_000);
//! assert_eq!(cloudwatch.states(&scope)["silent"], State::Ok);
//! cloudwatch.tick(240_000);
//! assert_eq!(cloudwatch.states(&scope)["silent"], State::Alarm);
//! ```

mod alarm;
mod alarms;
mod evaluate;
mod evaluator;
mod history;
mod insights;
mod journal;
mod keeping;
mod listing;
pub(crate) mod live;
mod metric_data;
mod metric_reading;
mod model;
mod notifications;
mod put;
mod rates;
mod refusal;
mod rule;
mod series;
mod tags;
mod time;
pub(crate) mod traffic;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use alarm::Standing;
pub use evaluate::{Missing, State, Terms};
pub use notifications::Notification;
pub use rule::Rule;

use crate::{control::Scope, error::ServiceError};
use alarm::Alarm;
use model::MODEL;
use notifications::Notifications;
use rates::Rates;
use series::{Entry, MetricKey, Metrics, Sample};

/// Alarms of an account and region, where quotas hold (CloudWatch user guide, "Common features of alarms").
pub const ALARMS_MAX: usize = 5000;
/// Alarms on Metrics Insights queries of an account and region, where quotas hold (CloudWatch quotas).
pub const QUERY_ALARMS_MAX: usize = 200;
/// The namespace of the service's own metrics.
pub const NAMESPACE: &str = "AWS/KinesisVideo";
/// Their one dimension.
pub const STREAM_NAME: &str = "StreamName";
/// A minute of the clock.
const MINUTE_MS: u64 = 60_000;

/// How CloudWatch is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a minute is for alarms and metrics, in milliseconds. With 5000, an alarm of 60 seconds is evaluated every
    /// 5 seconds over the data of 5 seconds, one of 300 seconds over 25.
    pub minute_ms: u64,
    /// Whether calls per second are limited as the service does by default.
    pub rates: bool,
    /// Alarms of an account and region at most, and of those the ones on queries.
    pub alarms_max: Option<(usize, usize)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { minute_ms: MINUTE_MS, rates: false, alarms_max: None }
    }
}

impl Settings {
    /// The same, with the default quotas of the service.
    #[must_use]
    pub fn with_quotas(self) -> Self {
        Self { rates: true, alarms_max: Some((ALARMS_MAX, QUERY_ALARMS_MAX)), ..self }
    }

    /// How long some seconds of an alarm are, in milliseconds.
    fn scaled(&self, seconds: u64) -> u64 {
        (seconds.saturating_mul(self.minute_ms) / 60).max(1)
    }
}

/// Whose call it is, and when.
#[derive(Clone, Copy, Debug)]
struct At<'a> {
    account: &'a str,
    region: &'a str,
    /// Milliseconds since the epoch.
    now_ms: u64,
}

impl<'a> At<'a> {
    fn of(scope: &'a Scope, now_ms: u64) -> Self {
        Self { account: &scope.account, region: &scope.region, now_ms }
    }

    /// The ARN that an alarm of this name has.
    fn arn(self, name: &str) -> String {
        let Self { account, region, .. } = self;
        format!("arn:{}:cloudwatch:{region}:{account}:alarm:{name}", Scope::new(account, region).partition())
    }

    /// An alarm's name among those of all accounts and regions.
    fn name(self, name: &str) -> Name {
        (self.account.to_owned(), self.region.to_owned(), name.to_owned())
    }
}

/// Account, region and name of an alarm.
type Name = (String, String, String);

/// The alarms and metrics of an account and region.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    alarms: BTreeMap<String, Alarm>,
    /// The composites that name an alarm.
    parents: BTreeMap<String, Vec<String>>,
    metrics: Metrics,
}

/// CloudWatch of all accounts and regions.
#[derive(Clone, Debug)]
pub struct CloudWatch {
    settings: Settings,
    /// By account and region.
    places: BTreeMap<(String, String), Place>,
    rates: Rates,
    notifications: Notifications,
    expired_ms: u64,
    /// The alarms that the last call or tick has put, changed or deleted.
    changed: BTreeSet<Name>,
}

impl CloudWatch {
    /// One without alarms and metrics.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            places: BTreeMap::new(),
            rates: Rates::default(),
            notifications: Notifications::default(),
            expired_ms: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Whether there is an operation of this name.
    pub fn has_operation(name: &str) -> bool {
        MODEL.has(name)
    }

    /// Carries out an operation, e.g. `PutMetricAlarm`. `now_ms` are milliseconds since the epoch and do not go back.
    pub fn call(
        &mut self,
        scope: &Scope,
        operation: &str,
        input: &Value,
        now_ms: u64,
    ) -> Result<Value, ServiceError> {
        if self.settings.rates && !self.rates.take(operation, At::of(scope, now_ms)) {
            self.changed.clear();
            return Err(refusal::throttled());
        }
        self.call_beyond_rates(scope, operation, input, now_ms)
    }

    /// The same, however many there were in this second: for worlds that are set up.
    pub fn call_beyond_rates(
        &mut self,
        scope: &Scope,
        operation: &str,
        input: &Value,
        now_ms: u64,
    ) -> Result<Value, ServiceError> {
        self.changed.clear();
        if !MODEL.has(operation) {
            return Err(refusal::unknown_operation(operation));
        }
        let at = At::of(scope, now_ms);
        let input = model::without_nulls(input.clone());
        MODEL.check(operation, &input)?;
        match operation {
            "PutMetricAlarm" => self.put_metric_alarm(input, at),
            "PutCompositeAlarm" => self.put_composite_alarm(input, at),
            "DescribeAlarms" => self.describe_alarms(input, at),
            "DescribeAlarmsForMetric" => self.describe_alarms_for_metric(input, at),
            "DescribeAlarmHistory" => self.describe_alarm_history(input, at),
            "DeleteAlarms" => self.delete_alarms(input, at),
            "SetAlarmState" => self.set_alarm_state(input, at),
            "EnableAlarmActions" => self.enable_actions(input, true, at),
            "DisableAlarmActions" => self.enable_actions(input, false, at),
            "TagResource" => self.tag_resource(input, at),
            "UntagResource" => self.untag_resource(input, at),
            "ListTagsForResource" => self.list_tags(input, at),
            "PutMetricData" => self.put_metric_data(input, at),
            "GetMetricData" => self.get_metric_data(input, at),
            "GetMetricStatistics" => self.get_metric_statistics(input, at),
            "ListMetrics" => self.list_metrics(input, at),
            _ => Err(refusal::unknown_operation(operation)),
        }
    }

    /// Enters a value of one of the service's own metrics, e.g. `PutMedia.IncomingFragments`, of a stream.
    pub fn record(&mut self, scope: &Scope, (metric, stream): (&str, &str), value: f64, now_ms: u64) {
        self.record_sample(scope, (metric, stream), &Sample::of(value), now_ms);
    }

    /// Enters several values at once.
    fn record_sample(&mut self, scope: &Scope, (metric, stream): (&str, &str), sample: &Sample, now_ms: u64) {
        let key = MetricKey::new(NAMESPACE, metric, vec![(STREAM_NAME.to_owned(), stream.to_owned())]);
        let entry = Entry { at_ms: now_ms, unit: Some(traffic::unit(metric)), by_second: false };
        self.place(At::of(scope, now_ms)).metrics.add(&key, sample, entry);
    }

    /// What alarms have told since number `since`, oldest first.
    pub fn notifications(&self, since: u64, limit: usize) -> Vec<Notification> {
        self.notifications.since(since, limit)
    }

    /// The state of each alarm of an account and region, by name.
    pub fn states(&self, scope: &Scope) -> BTreeMap<String, State> {
        let place = self.places.get(&(scope.account.clone(), scope.region.clone()));
        let alarms = place.into_iter().flat_map(|place| &place.alarms);
        alarms.map(|(name, alarm)| (name.clone(), alarm.standing.state)).collect()
    }

    fn place(&mut self, at: At<'_>) -> &mut Place {
        let minute_ms = self.settings.minute_ms;
        let key = (at.account.to_owned(), at.region.to_owned());
        self.places.entry(key).or_insert_with(|| Place {
            alarms: BTreeMap::new(),
            parents: BTreeMap::new(),
            metrics: Metrics::new(minute_ms),
        })
    }
}

/// The rest of a request, typed. It has been checked against the model, so that a failure is one of the emulator.
fn typed<T: serde::de::DeserializeOwned>(input: Value) -> Result<T, ServiceError> {
    serde_json::from_value(input).map_err(|error| refusal::validation(error.to_string()))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
