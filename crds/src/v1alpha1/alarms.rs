//! `CloudWatch` alarms, as streams and classes ask for them, and as they are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// The rules are named, since streams and classes have the same ones.
const KINDS_ONCE: &str = "self.all(kind, self.exists_one(other, other == kind))";
const ACTIONS_ONCE: &str = "self.all(action, self.exists_one(other, other == action))";
const ACTIONS_ONCE_MESSAGE: &str = "alarms.actionARNs names a topic twice: write each once";
// Five actions for each state: `ResourceList` in the API model of CloudWatch.
const ACTIONS_COUNT: &str = "self.size() <= 5";
const ACTIONS_COUNT_MESSAGE: &str =
    "alarms.actionARNs may hold at most 5 topics, which is what CloudWatch takes: remove some";
const ACTIONS_FORM: &str = "self.all(action, action.matches('^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}([.]fifo)?$'))";
const ACTIONS_FORM_MESSAGE: &str =
    "alarms.actionARNs must hold ARNs of SNS topics, for example arn:aws:sns:eu-west-1:123456789012:cameras";
const PER_STREAM_ONCE_MESSAGE: &str = "alarms.perStream names a kind of alarm twice: write each once";

/// The alarms of a stream. What is not said is as the class says.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamAlarms {
    /// The alarms that the stream has of its own, for example `[NoIngest, ErrorAcks]`. By default the class's, which is
    /// `[NoIngest]` unless it says otherwise; `[]` is none. Each costs money each month, and CloudWatch takes three a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 18))]
    #[x_kube(validation = Rule::new(KINDS_ONCE).message(PER_STREAM_ONCE_MESSAGE))]
    pub per_stream: Option<Vec<AlarmKind>>,

    /// The SNS topics that are told when an alarm goes off and when it is over, at most 5, for example
    /// `["arn:aws:sns:eu-west-1:123456789012:cameras"]`. By default the class's.
    #[serde(default, rename = "actionARNs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 1024)))]
    #[x_kube(validation = Rule::new(ACTIONS_COUNT).message(ACTIONS_COUNT_MESSAGE))]
    #[x_kube(validation = Rule::new(ACTIONS_FORM).message(ACTIONS_FORM_MESSAGE))]
    #[x_kube(validation = Rule::new(ACTIONS_ONCE).message(ACTIONS_ONCE_MESSAGE))]
    pub action_arns: Option<Vec<String>>,

    /// When the alarm `NoIngest` goes off. By default as the class says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_ingest: Option<NoIngestAlarm>,
}

/// The alarms of the streams of a class, and of the class as a whole.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassAlarms {
    /// The alarms that each stream has of its own where it does not say, for example `[NoIngest, ErrorAcks]`. By default
    /// `[NoIngest]`; `[]` is none. Each costs money each month, and CloudWatch takes three a second: 10,000 take an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 18))]
    #[x_kube(validation = Rule::new(KINDS_ONCE).message(PER_STREAM_ONCE_MESSAGE))]
    pub per_stream: Option<Vec<AlarmKind>>,

    /// The SNS topics that are told when an alarm goes off and when it is over, at most 5, for example
    /// `["arn:aws:sns:eu-west-1:123456789012:cameras"]`. By default none.
    #[serde(default, rename = "actionARNs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(max = 1024)))]
    #[x_kube(validation = Rule::new(ACTIONS_COUNT).message(ACTIONS_COUNT_MESSAGE))]
    #[x_kube(validation = Rule::new(ACTIONS_FORM).message(ACTIONS_FORM_MESSAGE))]
    #[x_kube(validation = Rule::new(ACTIONS_ONCE).message(ACTIONS_ONCE_MESSAGE))]
    pub action_arns: Option<Vec<String>>,

    /// When the alarm `NoIngest` goes off. By default with three silent minutes of five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_ingest: Option<NoIngestAlarm>,

    /// One alarm for all streams of the account and region, for each of these kinds, for example `[ErrorAcks]`: a query of
    /// Metrics Insights. Never `NoIngest`: a query does not see a stream that sends nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 18))]
    #[x_kube(validation = Rule::new("!('NoIngest' in self)").message("alarms.fleet cannot hold NoIngest: a query over the fleet does not see a stream that sends nothing. Use alarms.perStream, with alarms.siteLabel for one message a site"))]
    #[x_kube(validation = Rule::new(KINDS_ONCE).message("alarms.fleet names a kind of alarm twice: write each once"))]
    pub fleet: Vec<AlarmKind>,

    /// The key of a label of each VideoStream, for example `example.com/site`. There is then one more alarm for each value of the
    /// label, which goes off when an alarm of its streams does, and the topics are told of that one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$')").message("alarms.siteLabel must be the key of a label, for example example.com/site"))]
    pub site_label: Option<String>,
}

/// What an alarm watches.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// No fragment arrives.
    NoIngest,
    /// The service answers fragments with errors.
    ErrorAcks,
    /// Too few fragments are stored.
    FragmentSuccess,
    /// Connections break, or are made too often.
    ConnectionChurn,
    /// Fragments take long to arrive.
    SlowUplink,
    /// Fragments take long to be stored.
    PersistLatency,
    /// The stream comes near to the bandwidth that the service takes.
    Bandwidth,
    /// A consumer is behind.
    ConsumerLag,
    /// Playback comes near to its quota.
    PlaybackQuota,
}

impl AlarmKind {
    /// Every kind, in the order of declaration.
    pub const ALL: &'static [Self] = &[
        Self::NoIngest,
        Self::ErrorAcks,
        Self::FragmentSuccess,
        Self::ConnectionChurn,
        Self::SlowUplink,
        Self::PersistLatency,
        Self::Bandwidth,
        Self::ConsumerLag,
        Self::PlaybackQuota,
    ];

    /// The name as it stands in specs, statuses and names of alarms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoIngest => "NoIngest",
            Self::ErrorAcks => "ErrorAcks",
            Self::FragmentSuccess => "FragmentSuccess",
            Self::ConnectionChurn => "ConnectionChurn",
            Self::SlowUplink => "SlowUplink",
            Self::PersistLatency => "PersistLatency",
            Self::Bandwidth => "Bandwidth",
            Self::ConsumerLag => "ConsumerLag",
            Self::PlaybackQuota => "PlaybackQuota",
        }
    }
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When the alarm `NoIngest` goes off: with `datapointsToAlarm` of the last `evaluationPeriods` periods without a fragment.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.datapointsToAlarm) || !has(self.evaluationPeriods) || self.datapointsToAlarm <= self.evaluationPeriods").message("alarms.noIngest.datapointsToAlarm must not be more than alarms.noIngest.evaluationPeriods: the alarm would never go off. Lower the one or raise the other"))]
#[x_kube(validation = Rule::new("!has(self.periodSeconds) || !has(self.evaluationPeriods) || self.periodSeconds * self.evaluationPeriods <= (self.periodSeconds < 3600 ? 86400 : 604800)").message("alarms.noIngest.periodSeconds times evaluationPeriods must be at most 86400 (a day), or 604800 (a week) with periods of an hour and more: CloudWatch looks no further back. Lower one of them"))]
pub struct NoIngestAlarm {
    /// How long a period is: 10, 20, 30 or a multiple of 60 seconds up to 86400. Alarms of less than a minute cost more.
    #[serde(default = "default_period_seconds")]
    #[x_kube(validation = Rule::new("self in [10, 20, 30] || (self >= 60 && self <= 86400 && self % 60 == 0)").message("alarms.noIngest.periodSeconds must be 10, 20, 30 or a multiple of 60 up to 86400, which is what CloudWatch takes"))]
    pub period_seconds: i32,

    /// How many periods are looked at, 1 to 8640.
    #[serde(default = "default_evaluation_periods")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 8640").message("alarms.noIngest.evaluationPeriods must be 1 to 8640: write how many periods are looked at, for example 5"))]
    pub evaluation_periods: i32,

    /// How many of them have to be without a fragment, 1 to `evaluationPeriods`.
    #[serde(default = "default_datapoints_to_alarm")]
    #[x_kube(validation = Rule::new("self >= 1").message("alarms.noIngest.datapointsToAlarm must be at least 1: write how many periods have to be without a fragment, for example 3"))]
    pub datapoints_to_alarm: i32,

    /// What a period counts for of which CloudWatch knows nothing: `Breaching` (the default) as one without a fragment, which is
    /// right for cameras that always send; `NotBreaching` for those that send now and then.
    #[serde(default)]
    pub missing_data: MissingData,
}

const fn default_period_seconds() -> i32 {
    60
}

const fn default_evaluation_periods() -> i32 {
    5
}

const fn default_datapoints_to_alarm() -> i32 {
    3
}

impl Default for NoIngestAlarm {
    fn default() -> Self {
        Self {
            period_seconds: default_period_seconds(),
            evaluation_periods: default_evaluation_periods(),
            datapoints_to_alarm: default_datapoints_to_alarm(),
            missing_data: MissingData::default(),
        }
    }
}

/// What a period counts for of which `CloudWatch` knows nothing.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingData {
    /// As one in which the threshold was passed.
    #[default]
    Breaching,
    /// As one in which all was well.
    NotBreaching,
}

/// An alarm of a stream, as it was when it was last looked at.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmStatus {
    /// Its name in CloudWatch.
    pub name: String,
    /// What it watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AlarmKind")]
    pub kind: Option<AlarmKind>,
    /// Its state in CloudWatch.
    pub state: AlarmState,
    /// Why it is in this state, in words.
    #[serde(default)]
    pub reason: String,
    /// Since when it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// The state of an alarm, in the words of `CloudWatch`.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AlarmState {
    /// All is well.
    #[serde(rename = "OK")]
    Ok,
    /// It has gone off.
    #[serde(rename = "ALARM")]
    Alarm,
    /// It has not seen enough yet.
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl AlarmState {
    /// The word of `CloudWatch`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl std::fmt::Display for AlarmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
