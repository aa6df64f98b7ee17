//! `PutMetricData`: metrics that others have measured.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    At, CloudWatch,
    alarm::Dimension,
    refusal::{invalid_combination, invalid_value},
    series::{Entry, MetricKey, Sample},
    time, typed,
};
use crate::error::ServiceError;

/// Metrics in a request, and values of one (`PutMetricData`).
const DATA_MAX: usize = 1000;
const VALUES_MAX: usize = 150;
/// A value is between -2^360 and 2^360 (`PutMetricData`).
const VALUE_EXPONENT_MAX: i32 = 360;
/// How far a value may lie back or ahead, in milliseconds (`PutMetricData`: two weeks, two hours).
const PAST_MS_MAX: u64 = 14 * 86_400_000;
const FUTURE_MS_MAX: u64 = 2 * 3_600_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    namespace: String,
    #[serde(default)]
    metric_data: Vec<Datum>,
    #[serde(default)]
    entity_metric_data: Vec<OfEntity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfEntity {
    #[serde(default)]
    metric_data: Vec<Datum>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    timestamp: Option<f64>,
    value: Option<f64>,
    statistic_values: Option<StatisticSet>,
    values: Option<Vec<f64>>,
    counts: Option<Vec<f64>>,
    unit: Option<String>,
    storage_resolution: Option<i64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl CloudWatch {
    pub(super) fn put_metric_data(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let Request { namespace, mut metric_data, entity_metric_data } = typed(input)?;
        metric_data.extend(entity_metric_data.into_iter().flat_map(|one| one.metric_data));
        // The service's own metrics are the service's.
        if namespace.starts_with("AWS/") {
            return Err(invalid_value(format!("The value {namespace} for parameter Namespace is invalid.")));
        }
        if metric_data.len() > DATA_MAX {
            return Err(invalid_value(format!(
                "The collection MetricData must not have more than {DATA_MAX} members"
            )));
        }
        let entries: Vec<(MetricKey, Datum, Sample, u64)> = metric_data
            .into_iter()
            .map(|datum| {
                let sample = sample(&datum)?;
                let time = moment(&datum, at.now_ms)?;
                let dimensions =
                    datum.dimensions.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
                let key = MetricKey::new(&namespace, &datum.metric_name, dimensions);
                Ok((key, datum, sample, time))
            })
            .collect::<Result<_, ServiceError>>()?;
        let metrics = &mut self.place(at).metrics;
        for (key, datum, sample, at_ms) in entries {
            let by_second = datum.storage_resolution == Some(1);
            metrics.add(&key, &sample, Entry { at_ms, unit: datum.unit.as_deref(), by_second });
        }
        Ok(json!({}))
    }
}

fn moment(datum: &Datum, now_ms: u64) -> Result<u64, ServiceError> {
    if !matches!(datum.storage_resolution, None | Some(1 | 60)) {
        return Err(invalid_value("StorageResolution must be 1 or 60"));
    }
    let Some(time) = datum.timestamp.map(time::millis) else { return Ok(now_ms) };
    if time < now_ms.saturating_sub(PAST_MS_MAX) || time > now_ms.saturating_add(FUTURE_MS_MAX) {
        return Err(invalid_value("Timestamp must be within two weeks past and two hours ahead"));
    }
    Ok(time)
}

fn sample(datum: &Datum) -> Result<Sample, ServiceError> {
    match (datum.value, &datum.values, datum.statistic_values) {
        (Some(value), None, None) => Ok(Sample::of(checked(value)?)),
        (None, Some(values), None) => sample_of_values(values, datum.counts.as_deref()),
        (None, None, Some(set)) => {
            let StatisticSet { sample_count, sum, minimum, maximum } = set;
            if sample_count <= 0.0 || minimum > maximum {
                return Err(invalid_value("StatisticValues contradict each other"));
            }
            [sum, minimum, maximum, sample_count]
                .into_iter()
                .try_for_each(|value| checked(value).map(drop))?;
            Ok(Sample { sum, minimum, maximum, count: sample_count })
        }
        _ => Err(invalid_combination("Exactly one of Value, Values and StatisticValues must be specified")),
    }
}

fn sample_of_values(values: &[f64], counts: Option<&[f64]>) -> Result<Sample, ServiceError> {
    if values.is_empty() || values.len() > VALUES_MAX {
        return Err(invalid_value(format!("Values must have 1 to {VALUES_MAX} members")));
    }
    if counts.is_some_and(|counts| counts.len() != values.len()) {
        return Err(invalid_value("Values and Counts must have the same number of members"));
    }
    let mut all: Option<Sample> = None;
    for (at, value) in values.iter().enumerate() {
        let count = counts.and_then(|counts| counts.get(at).copied()).unwrap_or(1.0);
        if count <= 0.0 {
            return Err(invalid_value("Counts must be positive"));
        }
        all = Sample::merged(all, Some(Sample::repeated(checked(*value)?, checked(count)?)));
    }
    all.ok_or_else(|| invalid_value("Values must not be empty"))
}

fn checked(value: f64) -> Result<f64, ServiceError> {
    let most = 2_f64.powi(VALUE_EXPONENT_MAX);
    if value.is_finite() && (-most..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid_value(format!("The value {value} is out of range")))
}
