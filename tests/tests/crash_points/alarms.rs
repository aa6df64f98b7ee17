//! Alarms, from and to the JSON of CloudWatch.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamfleet_crds::AlarmState;
use streamfleet_operator::aws::{
    Alarm, AlarmInfo, AlarmMetric, Comparison, CompositeAlarm, CompositeInfo, MissingData, Statistic,
};

const COMPARISONS: [(Comparison, &str); 4] = [
    (Comparison::LessThan, "LessThanThreshold"),
    (Comparison::LessThanOrEqual, "LessThanOrEqualToThreshold"),
    (Comparison::GreaterThan, "GreaterThanThreshold"),
    (Comparison::GreaterThanOrEqual, "GreaterThanOrEqualToThreshold"),
];
const STATISTICS: [(Statistic, &str); 5] = [
    (Statistic::Sum, "Sum"),
    (Statistic::Average, "Average"),
    (Statistic::Maximum, "Maximum"),
    (Statistic::Minimum, "Minimum"),
    (Statistic::SampleCount, "SampleCount"),
];
const MISSING: [(MissingData, &str); 4] = [
    (MissingData::Breaching, "breaching"),
    (MissingData::NotBreaching, "notBreaching"),
    (MissingData::Ignore, "ignore"),
    (MissingData::Missing, "missing"),
];

fn word<T: PartialEq + Copy>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(known, _)| *known == value).map_or("", |(_, word)| word)
}

fn of_word<T: Copy>(table: &[(T, &'static str)], word: &Value) -> Option<T> {
    table.iter().find(|(_, known)| word == known).map(|(value, _)| *value)
}

/// Seconds since the epoch.
pub fn time(seconds: &Value) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds.as_f64()? as i64).ok()
}

fn tags(into: &mut Value, tags: &BTreeMap<String, String>) {
    if !tags.is_empty() {
        into["Tags"] = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    }
}

/// The request that puts an alarm.
pub fn put_metric(alarm: &Alarm) -> Value {
    let mut request = json!({
        "AlarmName": alarm.name, "AlarmDescription": alarm.description, "Threshold": alarm.threshold,
        "ComparisonOperator": word(&COMPARISONS, alarm.comparison),
        "EvaluationPeriods": alarm.evaluation_periods, "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "TreatMissingData": word(&MISSING, alarm.missing_data),
        "AlarmActions": alarm.actions, "OKActions": alarm.actions, "ActionsEnabled": alarm.actions_enabled,
    });
    tags(&mut request, &alarm.tags);
    match &alarm.metric {
        AlarmMetric::Stream { metric, stream_name, statistic } => {
            request["Namespace"] = "AWS/KinesisVideo".into();
            request["MetricName"] = metric.as_str().into();
            request["Dimensions"] = json!([{ "Name": "StreamName", "Value": stream_name }]);
            request["Statistic"] = word(&STATISTICS, *statistic).into();
            request["Period"] = alarm.period_seconds.into();
        }
        AlarmMetric::Insights(expression) => {
            request["Metrics"] = json!([{
                "Id": "q1", "Expression": expression, "Period": alarm.period_seconds, "ReturnData": true,
            }]);
        }
        AlarmMetric::Other { .. } => {}
    }
    request
}

/// The request that puts a composite alarm.
pub fn put_composite(alarm: &CompositeAlarm) -> Value {
    let mut request = json!({
        "AlarmName": alarm.name, "AlarmDescription": alarm.description, "AlarmRule": alarm.rule,
        "AlarmActions": alarm.actions, "OKActions": alarm.actions, "ActionsEnabled": alarm.actions_enabled,
    });
    tags(&mut request, &alarm.tags);
    request
}

fn text(alarm: &Value, name: &str) -> String {
    alarm[name].as_str().unwrap_or_default().to_owned()
}

fn texts(alarm: &Value, name: &str) -> Vec<String> {
    let all = alarm[name].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn state(alarm: &Value) -> AlarmState {
    match alarm["StateValue"].as_str() {
        Some("OK") => AlarmState::Ok,
        Some("ALARM") => AlarmState::Alarm,
        _ => AlarmState::InsufficientData,
    }
}

fn since(alarm: &Value) -> Option<jiff::Timestamp> {
    time(&alarm["StateTransitionedTimestamp"]).or_else(|| time(&alarm["StateUpdatedTimestamp"]))
}

/// A metric alarm as it is described.
pub fn metric_alarm(alarm: &Value) -> AlarmInfo {
    let number = |name: &str| alarm[name].as_i64().map(|number| number as i32);
    let query = &alarm["Metrics"][0];
    let stream_name = alarm["Dimensions"][0]["Value"].as_str().map(ToOwned::to_owned);
    let (metric, period) = match (query["Expression"].as_str(), stream_name) {
        (Some(expression), _) => (
            AlarmMetric::Insights(expression.to_owned()),
            query["Period"].as_i64().map(|period| period as i32),
        ),
        (None, Some(stream_name)) => {
            let statistic = of_word(&STATISTICS, &alarm["Statistic"]).unwrap_or(Statistic::Sum);
            let metric = text(alarm, "MetricName");
            (AlarmMetric::Stream { metric, stream_name, statistic }, number("Period"))
        }
        (None, None) => (AlarmMetric::Other { stream_name: None }, number("Period")),
    };
    AlarmInfo {
        alarm: Alarm {
            name: text(alarm, "AlarmName"),
            description: text(alarm, "AlarmDescription"),
            metric,
            comparison: of_word(&COMPARISONS, &alarm["ComparisonOperator"])
                .unwrap_or(Comparison::GreaterThan),
            threshold: alarm["Threshold"].as_f64().unwrap_or_default(),
            period_seconds: period.unwrap_or_default(),
            evaluation_periods: number("EvaluationPeriods").unwrap_or_default(),
            datapoints_to_alarm: number("DatapointsToAlarm")
                .or_else(|| number("EvaluationPeriods"))
                .unwrap_or_default(),
            missing_data: of_word(&MISSING, &alarm["TreatMissingData"]).unwrap_or(MissingData::Missing),
            actions: texts(alarm, "AlarmActions"),
            actions_enabled: alarm["ActionsEnabled"].as_bool().unwrap_or(true),
            tags: BTreeMap::new(),
        },
        arn: text(alarm, "AlarmArn"),
        state: state(alarm),
        reason: text(alarm, "StateReason"),
        since: since(alarm),
    }
}

/// A composite alarm as it is described.
pub fn composite_alarm(alarm: &Value) -> CompositeInfo {
    CompositeInfo {
        alarm: CompositeAlarm {
            name: text(alarm, "AlarmName"),
            description: text(alarm, "AlarmDescription"),
            rule: text(alarm, "AlarmRule"),
            actions: texts(alarm, "AlarmActions"),
            actions_enabled: alarm["ActionsEnabled"].as_bool().unwrap_or(true),
            tags: BTreeMap::new(),
        },
        arn: text(alarm, "AlarmArn"),
        state: state(alarm),
        reason: text(alarm, "StateReason"),
        since: since(alarm),
    }
}
