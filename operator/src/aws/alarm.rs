//! Alarms of CloudWatch as the operator makes and reads them: plain data, so that a difference is `!=`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use streamfleet_crds::AlarmState;

/// What the names of all our alarms begin with; the installation follows, and a slash. The sweep asks for them by this.
pub const ALARM_NAME_PREFIX: &str = "streamfleet/";

/// An alarm on one metric. Its actions are for `ALARM` and for `OK`, so that who is called is also told that it is over.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// The name, unique in account and region; it begins with [`ALARM_NAME_PREFIX`] and the installation.
    pub name: String,
    /// What it means, for people.
    pub description: String,
    /// What it looks at.
    pub metric: AlarmMetric,
    /// How a value is compared with `threshold`.
    pub comparison: Comparison,
    /// What a value is compared with.
    pub threshold: f64,
    /// The length of a period: 10, 20, 30 or a multiple of 60.
    pub period_seconds: i32,
    /// How many periods are looked at.
    pub evaluation_periods: i32,
    /// How many of them have to breach.
    pub datapoints_to_alarm: i32,
    /// What a period without data counts as.
    pub missing_data: MissingData,
    /// ARNs of the topics that are told, at most 5.
    pub actions: Vec<String>,
    /// Whether the actions are taken.
    pub actions_enabled: bool,
    /// Tags, which the service takes only when the alarm is made and does not tell.
    pub tags: BTreeMap<String, String>,
}

/// The tags do not count: the service does not tell them, and ignores them for an alarm that is there.
impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.metric == other.metric
            && self.comparison == other.comparison
            && self.threshold.total_cmp(&other.threshold).is_eq()
            && self.period_seconds == other.period_seconds
            && self.evaluation_periods == other.evaluation_periods
            && self.datapoints_to_alarm == other.datapoints_to_alarm
            && self.missing_data == other.missing_data
            && self.actions == other.actions
            && self.actions_enabled == other.actions_enabled
    }
}

/// What an alarm looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AlarmMetric {
    /// A metric of `AWS/KinesisVideo` of one stream.
    Stream {
        /// Its name, such as `PutMedia.IncomingFragments`.
        metric: String,
        /// The stream.
        stream_name: String,
        /// How the values of a period become one.
        statistic: Statistic,
    },
    /// A query of Metrics Insights.
    Insights(String),
    /// Something that we never make: somebody has rewritten the alarm.
    Other {
        /// The stream, where it is still about one.
        stream_name: Option<String>,
    },
}

impl Alarm {
    /// The stream that it is about, where it is about one.
    pub fn stream_name(&self) -> Option<&str> {
        match &self.metric {
            AlarmMetric::Stream { stream_name, .. } => Some(stream_name),
            AlarmMetric::Other { stream_name } => stream_name.as_deref(),
            AlarmMetric::Insights(_) => None,
        }
    }
}

/// How the values of a period become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// The sum.
    Sum,
    /// The mean.
    Average,
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
    /// How many there are.
    SampleCount,
}

/// How a value is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// It breaches below.
    LessThan,
    /// It breaches below and at the threshold.
    LessThanOrEqual,
    /// It breaches above.
    GreaterThan,
    /// It breaches above and at the threshold.
    GreaterThanOrEqual,
}

/// What a period without data counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingData {
    /// As one that breaches.
    Breaching,
    /// As one that does not.
    NotBreaching,
    /// The state stays.
    Ignore,
    /// The alarm may come to have insufficient data.
    Missing,
}

/// An alarm as the service has it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmInfo {
    /// How it is set; without tags.
    pub alarm: Alarm,
    /// Its ARN.
    pub arn: String,
    /// Its state.
    pub state: AlarmState,
    /// Why it is in it, in the service's words.
    pub reason: String,
    /// Since when it is in it.
    pub since: Option<Timestamp>,
}

/// An alarm on the states of others.
#[derive(Debug, Clone)]
pub struct CompositeAlarm {
    /// The name, like that of an [`Alarm`].
    pub name: String,
    /// What it means, for people.
    pub description: String,
    /// The rule, such as `ALARM("a") OR ALARM("b")`.
    pub rule: String,
    /// ARNs of the topics that are told, at most 5.
    pub actions: Vec<String>,
    /// Whether the actions are taken.
    pub actions_enabled: bool,
    /// Tags, which the service takes only when the alarm is made and does not tell.
    pub tags: BTreeMap<String, String>,
}

/// Without the tags, as for an [`Alarm`].
impl PartialEq for CompositeAlarm {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.rule == other.rule
            && self.actions == other.actions
            && self.actions_enabled == other.actions_enabled
    }
}

/// A composite alarm as the service has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompositeInfo {
    /// How it is set; without tags.
    pub alarm: CompositeAlarm,
    /// Its ARN.
    pub arn: String,
    /// Its state.
    pub state: AlarmState,
    /// Why it is in it, in the service's words.
    pub reason: String,
    /// Since when it is in it.
    pub since: Option<Timestamp>,
}

/// Which alarms to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmQuery {
    /// Those whose names begin so.
    Prefix(String),
    /// Those of these names; more than 100 are asked for in several calls.
    Names(Vec<String>),
}
