//! `PutMetricAlarm` and `PutCompositeAlarm`: what may be put, and putting it.
//!
//! Both overwrite: there is no version. An update keeps state, history and tags; those of its request are ignored
//! (API reference).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{
    Alarm, At, CloudWatch, Missing, Rule, Standing,
    alarm::{Common, CompositeAlarm, DataQuery, HistoryItem, MetricAlarm, Source, Watched},
    insights::{self, Query},
    refusal::{limit_exceeded, validation},
    rule::alarm_name,
    series::Statistic,
    tags, typed,
};
use crate::error::ServiceError;

/// Longest time that an alarm looks back over, in seconds, and the same for periods below an hour (`PutMetricAlarm`).
const RANGE_SECONDS_MAX: i64 = 604_800;
const RANGE_SECONDS_MAX_OF_SHORT: i64 = 86_400;
const HOUR: i64 = 3600;
/// Composites that may name one alarm (CloudWatch quotas).
const PARENTS_MAX: usize = 150;
/// Members of `PutMetricAlarm` that the emulator does not model; it says so, rather than to ignore them.
const NOT_MODELLED: [&str; 5] = [
    "ExtendedStatistic",
    "EvaluateLowSampleCountPercentile",
    "ThresholdMetricId",
    "EvaluationCriteria",
    "EvaluationInterval",
];
/// Members that an alarm on `Metrics` must not have.
const OF_ONE_METRIC: [&str; 6] = ["Namespace", "MetricName", "Dimensions", "Period", "Unit", "Statistic"];

impl CloudWatch {
    pub(super) fn put_metric_alarm(&mut self, mut input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let tags = tags::taken_from(&mut input)?;
        self.put(watched_data(input)?, tags, at)
    }

    pub(super) fn put_composite_alarm(
        &mut self,
        mut input: Value,
        at: At<'_>,
    ) -> Result<Value, ServiceError> {
        let tags = tags::taken_from(&mut input)?;
        let alarm: CompositeAlarm = typed(input)?;
        check_common(&alarm.common)?;
        let rule = Rule::parse(&alarm.alarm_rule)?;
        let place = self.place(at);
        let suppressor = alarm.actions_suppressor.as_deref().map(alarm_name);
        let named = rule.children().into_iter().chain(suppressor);
        let absent: Vec<&str> = named.filter(|name| !place.alarms.contains_key(*name)).collect();
        if !absent.is_empty() {
            return Err(validation(format!(
                "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
                absent.join(", ")
            )));
        }
        let is_full = |name: &&str| {
            let others = place.parents.get(*name).into_iter().flatten();
            others.filter(|parent| **parent != alarm.common.alarm_name).count() >= PARENTS_MAX
        };
        if let Some(name) = rule.children().into_iter().find(is_full) {
            return Err(limit_exceeded(format!("{name} is in {PARENTS_MAX} composite alarms already")));
        }
        self.put(Watched::Alarms { alarm: Box::new(alarm), rule }, tags, at)
    }

    fn put(
        &mut self,
        watched: Watched,
        tags: BTreeMap<String, String>,
        at: At<'_>,
    ) -> Result<Value, ServiceError> {
        self.check_quota(&watched, at)?;
        let name = watched.common().alarm_name.clone();
        let arn = at.arn(&name);
        let evaluated = self.evaluation_at(&watched, at.now_ms);
        let is_composite = watched.is_composite();
        let place = self.place(at);
        let (summary, created) = match place.alarms.get_mut(&name) {
            Some(alarm) if alarm.watched.is_composite() != watched.is_composite() => {
                return Err(validation(format!("{name} is an alarm of another type")));
            }
            Some(alarm) => {
                alarm.watched = watched;
                alarm.standing.configured_ms = at.now_ms;
                alarm.evaluated = evaluated;
                (format!("Alarm \"{name}\" updated"), None)
            }
            None => {
                let standing = Standing::new(at.now_ms);
                let history = VecDeque::new();
                let alarm = Alarm { arn, watched, standing, tags, history, evaluated, suppressed: false };
                (format!("Alarm \"{name}\" created"), Some(alarm))
            }
        };
        place.alarms.extend(created.map(|alarm| (name.clone(), alarm)));
        if let Some(alarm) = place.alarms.get_mut(&name) {
            let data = json!({"version": "1.0", "updatedAlarm": {"alarmName": name}}).to_string();
            alarm.remember(HistoryItem { at_ms: at.now_ms, kind: "ConfigurationUpdate", summary, data });
        }
        if is_composite {
            place.link();
        }
        self.changed.insert(at.name(&name));
        Ok(json!({}))
    }

    fn check_quota(&mut self, watched: &Watched, at: At<'_>) -> Result<(), ServiceError> {
        let Some((alarms_max, queries_max)) = self.settings.alarms_max else { return Ok(()) };
        let place = self.place(at);
        let name = &watched.common().alarm_name;
        if !place.alarms.contains_key(name) && place.alarms.len() >= alarms_max {
            return Err(limit_exceeded(format!(
                "The limit of {alarms_max} alarms in this Region is reached."
            )));
        }
        let others =
            || place.alarms.values().filter(|alarm| alarm.watched.is_query() && alarm.name() != name);
        if watched.is_query() && others().count() >= queries_max {
            return Err(limit_exceeded(format!(
                "The limit of {queries_max} Metrics Insights alarms in this Region is reached."
            )));
        }
        Ok(())
    }
}

impl super::Place {
    /// Brings the index of composites up to date.
    pub(super) fn link(&mut self) {
        self.parents.clear();
        for (name, alarm) in &self.alarms {
            if let Watched::Alarms { rule, .. } = &alarm.watched {
                for child in rule.children() {
                    self.parents.entry(child.to_owned()).or_default().push(name.clone());
                }
            }
        }
    }
}

/// Reads and checks what `PutMetricAlarm` is given, without tags.
pub(super) fn watched_data(input: Value) -> Result<Watched, ServiceError> {
    check_members(&input)?;
    let alarm: MetricAlarm = typed(input)?;
    check_common(&alarm.common)?;
    let (source, period) = match &alarm.metrics {
        Some(queries) => source_of_queries(queries)?,
        None => source_of_metric(&alarm)?,
    };
    check_period(period)?;
    check_range(&alarm, period)?;
    let period = u64::try_from(period).unwrap_or(60);
    Ok(Watched::Data { alarm: Box::new(alarm), source, period })
}

fn check_members(input: &Value) -> Result<(), ServiceError> {
    let has = |name: &str| input.get(name).is_some();
    if let Some(name) = NOT_MODELLED.into_iter().find(|name| has(name)) {
        return Err(validation(format!("{name} is not modelled by the emulator")));
    }
    if input.pointer("/EvaluationWindow/WallClockWindow").is_some() {
        return Err(validation("WallClockWindow is not modelled by the emulator"));
    }
    match (has("MetricName"), has("Metrics")) {
        (true, true) => return Err(validation("MetricName and Metrics must not be specified together")),
        (false, false) => return Err(validation("Either MetricName or Metrics must be specified")),
        (false, true) => {
            let says = |name: &&str| input.get(*name).is_some_and(|value| *value != json!([]));
            if let Some(name) = OF_ONE_METRIC.into_iter().find(says) {
                return Err(validation(format!("{name} must not be specified together with Metrics")));
            }
        }
        (true, false) => {}
    }
    if let Some(name) =
        ["EvaluationPeriods", "ComparisonOperator", "Threshold"].into_iter().find(|name| !has(name))
    {
        return Err(validation(format!("{name} must be specified for an alarm on a static threshold")));
    }
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    let of_band =
        ["LessThanLowerOrGreaterThanUpperThreshold", "LessThanLowerThreshold", "GreaterThanUpperThreshold"];
    if text("ComparisonOperator").is_some_and(|word| of_band.contains(&word)) {
        return Err(validation(
            "The comparison operator is one of anomaly detection, which the emulator does not model",
        ));
    }
    match text("TreatMissingData") {
        Some(word) if Missing::by_name(word).is_none() => Err(validation(format!(
            "Invalid value for TreatMissingData: {word}; it must be breaching, notBreaching, ignore or missing"
        ))),
        _ => Ok(()),
    }
}

fn source_of_metric(alarm: &MetricAlarm) -> Result<(Source, i64), ServiceError> {
    let key = alarm.metric.key().ok_or_else(|| validation("Namespace must be specified with MetricName"))?;
    let statistic =
        alarm.statistic.ok_or_else(|| validation("Statistic must be specified with MetricName"))?;
    let period = alarm.period.ok_or_else(|| validation("Period must be specified with MetricName"))?;
    Ok((Source::Metric(key, statistic), period))
}

fn source_of_queries(queries: &[DataQuery]) -> Result<(Source, i64), ServiceError> {
    check_ids(queries)?;
    let mut told = queries.iter().filter(|query| query.return_data.unwrap_or(true));
    let (Some(query), None) = (told.next(), told.next()) else {
        return Err(validation("Exactly one element of the metrics list should return data"));
    };
    if queries.len() > 1 {
        return Err(validation("Metric math is not modelled by the emulator: Metrics must have one element"));
    }
    match (&query.metric_stat, &query.expression) {
        (Some(stat), None) => {
            let key =
                stat.metric.key().ok_or_else(|| validation("Metric must have Namespace and MetricName"))?;
            let statistic = Statistic::by_name(&stat.stat).ok_or_else(|| {
                validation(format!("The statistic {} is not modelled by the emulator", stat.stat))
            })?;
            Ok((Source::Metric(key, statistic), stat.period))
        }
        (None, Some(expression)) if insights::is_query(expression) => {
            let period = query.period.ok_or_else(|| validation("A Metrics Insights query needs a Period"))?;
            Ok((Source::Query(Query::parse(expression)?), period))
        }
        (None, Some(_)) => Err(validation("Metric math is not modelled by the emulator")),
        _ => Err(validation("Each element of Metrics must have either MetricStat or Expression")),
    }
}

/// Ids begin with a small letter, go on with letters, digits and underscores, and are unique (`MetricDataQuery`).
pub(super) fn check_ids(queries: &[DataQuery]) -> Result<(), ServiceError> {
    for (at, DataQuery { id, .. }) in queries.iter().enumerate() {
        let is_id = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_id {
            return Err(validation(format!("The value {id} for parameter Id is not a valid id")));
        }
        if queries.iter().take(at).any(|other| other.id == *id) {
            return Err(validation(format!("The id {id} is not unique")));
        }
    }
    Ok(())
}

fn check_period(period: i64) -> Result<(), ServiceError> {
    if matches!(period, 10 | 20 | 30) || period > 0 && period % 60 == 0 {
        return Ok(());
    }
    Err(validation("Period must be 10, 20, 30 or a multiple of 60"))
}

fn check_range(alarm: &MetricAlarm, period: i64) -> Result<(), ServiceError> {
    let MetricAlarm { evaluation_periods, datapoints_to_alarm, .. } = alarm;
    if datapoints_to_alarm.is_some_and(|count| count > *evaluation_periods) {
        return Err(validation("DatapointsToAlarm must not be greater than EvaluationPeriods"));
    }
    let most = if period < HOUR { RANGE_SECONDS_MAX_OF_SHORT } else { RANGE_SECONDS_MAX };
    if period.saturating_mul(*evaluation_periods) > most {
        return Err(validation(format!(
            "Metrics cannot be checked across more than {most} seconds (EvaluationPeriods * Period)"
        )));
    }
    Ok(())
}

fn check_common(common: &Common) -> Result<(), ServiceError> {
    if common.alarm_name.chars().any(|c| c.is_ascii_control()) {
        return Err(validation("AlarmName must not have ASCII control characters"));
    }
    let mut actions =
        common.ok_actions.iter().chain(&common.alarm_actions).chain(&common.insufficient_data_actions);
    match actions.find(|action| action.splitn(6, ':').count() < 6 || !action.starts_with("arn:")) {
        Some(action) => Err(validation(format!("Invalid arn syntax: {action}"))),
        None => Ok(()),
    }
}
