//! An alarm: what it is to watch, as it was put, and how it stands.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    evaluate::{Missing, State, Terms},
    insights::Query,
    rule::Rule,
    series::{MetricKey, Statistic},
    time::seconds,
};

/// Entries of an alarm's history that are kept; the service keeps two weeks.
const HISTORY_MAX: usize = 50;

/// What every alarm has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Common {
    /// Its name, unique in the account and region.
    pub alarm_name: String,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_description: Option<String>,
    /// Whether its actions are carried out.
    #[serde(default = "yes")]
    pub actions_enabled: bool,
    /// ARNs for the way to OK.
    #[serde(default, rename = "OKActions")]
    pub ok_actions: Vec<String>,
    /// ARNs for the way to ALARM.
    #[serde(default)]
    pub alarm_actions: Vec<String>,
    /// ARNs for the way to `INSUFFICIENT_DATA`.
    #[serde(default)]
    pub insufficient_data_actions: Vec<String>,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_configuration: Option<Value>,
}

fn yes() -> bool {
    true
}

impl Common {
    /// The actions of a new state.
    pub fn actions(&self, state: State) -> &[String] {
        match state {
            State::Ok => &self.ok_actions,
            State::Alarm => &self.alarm_actions,
            State::InsufficientData => &self.insufficient_data_actions,
        }
    }
}

/// A part of a metric's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dimension {
    /// What is told apart.
    pub name: String,
    /// This one.
    pub value: String,
}

/// A metric by its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metric {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "Its namespace."]
    pub namespace: Option<String>,
    #[serde(rename = "MetricName", skip_serializing_if = "Option::is_none")]
    #[doc = "Its name."]
    pub name: Option<String>,
    #[serde(default)]
    #[doc = "Its dimensions."]
    pub dimensions: Vec<Dimension>,
}

impl Metric {
    /// Its key; `None` when namespace or name is missing.
    pub fn key(&self) -> Option<MetricKey> {
        let dimensions = self.dimensions.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        Some(MetricKey::new(self.namespace.as_ref()?, self.name.as_ref()?, dimensions))
    }
}

/// A metric, its period and statistic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricStat {
    /// The metric.
    pub metric: Metric,
    /// In seconds.
    pub period: i64,
    /// The statistic's name.
    pub stat: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given."]
    pub unit: Option<String>,
}

/// One of `Metrics` of an alarm, or one of the queries of `GetMetricData`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DataQuery {
    /// What others call it.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "A metric, or an expression."]
    pub metric_stat: Option<MetricStat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "A Metrics Insights query; the emulator knows no metric math."]
    pub expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given."]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "Whether it is told, or what the alarm watches."]
    pub return_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "In seconds, of an expression."]
    pub period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given."]
    pub account_id: Option<String>,
}

/// How a value is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `>=`
    #[serde(rename = "GreaterThanOrEqualToThreshold")]
    AtLeast,
    /// `>`
    #[serde(rename = "GreaterThanThreshold")]
    Above,
    /// `<`
    #[serde(rename = "LessThanThreshold")]
    Below,
    /// `<=`
    #[serde(rename = "LessThanOrEqualToThreshold")]
    AtMost,
}

impl Comparison {
    /// Whether the value breaches the threshold.
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::AtLeast => value >= threshold,
            Self::Above => value > threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// As it is said in the reason of a state.
    pub fn words(self) -> &'static str {
        match self {
            Self::AtLeast => "greater than or equal to",
            Self::Above => "greater than",
            Self::Below => "less than",
            Self::AtMost => "less than or equal to",
        }
    }
}

/// A delay of the first evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WarmUp {
    /// How long.
    pub warm_up_period_duration_in_minutes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "Whether data does not end it early."]
    pub only_start_evaluating_after_warm_up_period_ends: Option<bool>,
}

/// An alarm on a metric or a query, as `PutMetricAlarm` takes it and `DescribeAlarms` tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricAlarm {
    /// What every alarm has.
    #[serde(flatten)]
    pub common: Common,
    /// The metric, when it is one.
    #[serde(flatten)]
    pub metric: Metric,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "Of the metric."]
    pub statistic: Option<Statistic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "Of the metric, in seconds."]
    pub period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given."]
    pub unit: Option<String>,
    /// How many periods are looked at.
    pub evaluation_periods: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "How many of them must breach; all without."]
    pub datapoints_to_alarm: Option<i64>,
    /// What is compared.
    pub threshold: f64,
    /// And how.
    pub comparison_operator: Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "What stands in for missing data."]
    pub treat_missing_data: Option<Missing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "The query, when it is not a metric."]
    pub metrics: Option<Vec<DataQuery>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given; only the sliding one."]
    pub evaluation_window: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "How long it is not evaluated at first."]
    pub warm_up_configuration: Option<WarmUp>,
}

impl MetricAlarm {
    /// By what it is judged.
    pub fn terms(&self) -> Terms {
        let periods = usize::try_from(self.evaluation_periods).unwrap_or(1);
        let to_alarm =
            self.datapoints_to_alarm.and_then(|count| usize::try_from(count).ok()).unwrap_or(periods);
        Terms { periods, to_alarm, missing: self.treat_missing_data.unwrap_or_default() }
    }
}

/// A composite alarm, as `PutCompositeAlarm` takes it and `DescribeAlarms` tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CompositeAlarm {
    /// What every alarm has.
    #[serde(flatten)]
    pub common: Common,
    /// Its rule, as given.
    pub alarm_rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "The alarm, by name or ARN, whose ALARM keeps its actions back."]
    pub actions_suppressor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given; not modelled."]
    pub actions_suppressor_wait_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc = "As given; not modelled."]
    pub actions_suppressor_extension_period: Option<i64>,
}

/// Where the data points of an alarm come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// One metric.
    Metric(MetricKey, Statistic),
    /// A query: one series for each group.
    Query(Query),
}

/// What an alarm watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Watched {
    /// Data points of a period in seconds.
    Data {
        /// As it was put.
        alarm: Box<MetricAlarm>,
        /// Where they come from.
        source: Source,
        /// Seconds in each.
        period: u64,
    },
    /// Other alarms.
    Alarms {
        /// As it was put.
        alarm: Box<CompositeAlarm>,
        /// Its rule, read.
        rule: Rule,
    },
}

impl Watched {
    /// What every alarm has.
    pub fn common(&self) -> &Common {
        match self {
            Self::Data { alarm, .. } => &alarm.common,
            Self::Alarms { alarm, .. } => &alarm.common,
        }
    }

    /// The same, to change.
    pub fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Data { alarm, .. } => &mut alarm.common,
            Self::Alarms { alarm, .. } => &mut alarm.common,
        }
    }

    /// As it was put, with what is so when nothing is said.
    pub fn as_put(&self) -> Value {
        let put = match self {
            Self::Data { alarm, .. } => serde_json::to_value(alarm),
            Self::Alarms { alarm, .. } => serde_json::to_value(alarm),
        };
        // Of texts and numbers, which all can be written.
        put.unwrap_or_default()
    }

    /// Whether it is a composite.
    pub fn is_composite(&self) -> bool {
        matches!(self, Self::Alarms { .. })
    }

    /// Whether it is a Metrics Insights query.
    pub fn is_query(&self) -> bool {
        matches!(self, Self::Data { source: Source::Query(_), .. })
    }
}

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Why, for people.
    pub reason: String,
    /// Why, as JSON.
    pub reason_data: Option<String>,
    /// When state or reason changed, in milliseconds since the epoch.
    pub updated_ms: u64,
    /// When the state changed.
    pub transitioned_ms: u64,
    /// When it was put.
    pub configured_ms: u64,
}

impl Standing {
    /// That of an alarm which is new.
    pub fn new(now_ms: u64) -> Self {
        Self {
            state: State::InsufficientData,
            reason: "Unchecked: Initial alarm creation".to_owned(),
            reason_data: None,
            updated_ms: now_ms,
            transitioned_ms: now_ms,
            configured_ms: now_ms,
        }
    }
}

/// An entry of an alarm's history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryItem {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// `ConfigurationUpdate`, `StateUpdate` or `Action`.
    pub kind: &'static str,
    /// For people.
    pub summary: String,
    /// JSON.
    pub data: String,
}

/// An alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Its ARN.
    pub arn: String,
    /// What it watches.
    pub watched: Watched,
    /// How it stands.
    pub standing: Standing,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Newest last.
    pub history: VecDeque<HistoryItem>,
    /// The evaluation that was made last, counted in its own steps since the epoch.
    pub evaluated: u64,
    /// Of a composite: its suppressor was in ALARM when it changed its state.
    pub suppressed: bool,
}

impl Alarm {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.watched.common().alarm_name
    }

    /// Writes into its history.
    pub fn remember(&mut self, item: HistoryItem) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(item);
    }

    /// As `DescribeAlarms` tells it.
    pub fn described(&self) -> Value {
        let mut told = self.watched.as_put();
        let Standing { state, reason, reason_data, updated_ms, transitioned_ms, configured_ms } =
            &self.standing;
        told["AlarmArn"] = json!(self.arn);
        told["StateValue"] = json!(state);
        told["StateReason"] = json!(reason);
        told["StateUpdatedTimestamp"] = seconds(*updated_ms);
        told["StateTransitionedTimestamp"] = seconds(*transitioned_ms);
        told["AlarmConfigurationUpdatedTimestamp"] = seconds(*configured_ms);
        if let Some(data) = reason_data {
            told["StateReasonData"] = json!(data);
        }
        if self.suppressed {
            told["ActionsSuppressedBy"] = json!("Alarm");
            told["ActionsSuppressedReason"] = json!("Actions suppressed by the suppressor alarm");
        }
        told
    }
}
