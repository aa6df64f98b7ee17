//! `GetMetricData`, `GetMetricStatistics` and `ListMetrics`.
//!
//! Periods here are those of the clock, also where alarms run faster.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    At, CloudWatch,
    alarm::{DataQuery, Dimension, Metric},
    insights::{self, Query},
    listing::{of_token, token},
    put::check_ids,
    refusal::{invalid_combination, invalid_next_token, invalid_value, validation},
    series::{Metrics, Series, Statistic},
    time, typed,
};
use crate::error::ServiceError;

/// Queries of a request, and data points of an answer (`GetMetricData`).
const QUERIES_MAX: usize = 500;
const POINTS_MAX: u64 = 100_800;
/// Data points of an answer (`GetMetricStatistics`).
const STATISTICS_POINTS_MAX: u64 = 1440;
/// Metrics on a page (`ListMetrics`).
const METRICS_PAGE: usize = 500;
/// `RecentlyActive` is three hours.
const RECENT_MS: u64 = 3 * 3_600_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DataRequest {
    metric_data_queries: Vec<DataQuery>,
    start_time: f64,
    end_time: f64,
    next_token: Option<String>,
    scan_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticsRequest {
    #[serde(flatten)]
    metric: Metric,
    start_time: f64,
    end_time: f64,
    period: u64,
    statistics: Option<Vec<Statistic>>,
    extended_statistics: Option<Value>,
    unit: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListRequest {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Vec<Filter>,
    next_token: Option<String>,
    recently_active: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    name: String,
    value: Option<String>,
}

/// From when to when, and in what steps, in milliseconds.
#[derive(Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
    period: u64,
}

impl Range {
    fn new(start: f64, end: f64, period_seconds: u64, points_max: u64) -> Result<Self, ServiceError> {
        let period = period_seconds.saturating_mul(1000).max(1000);
        let (from, to) = (time::millis(start) / period * period, time::millis(end));
        if time::millis(start) >= to {
            return Err(validation("The parameter StartTime must be less than the parameter EndTime."));
        }
        if (to - from) / period > points_max {
            return Err(invalid_combination(format!("More than {points_max} data points are asked for")));
        }
        Ok(Self { from, to, period })
    }

    /// When each period with data began, and what the statistic makes of it; oldest first.
    fn read(self, series: &[&Series], statistic: Statistic) -> Vec<(u64, f64)> {
        let starts = (self.from..self.to).step_by(usize::try_from(self.period).unwrap_or(usize::MAX));
        let value = |start: u64| {
            let end = start.saturating_add(self.period).min(self.to);
            Some((start, insights::window(series, start, end)?.statistic(statistic)))
        };
        starts.filter_map(value).collect()
    }
}

impl CloudWatch {
    pub(super) fn get_metric_data(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let request: DataRequest = typed(input)?;
        if request.next_token.is_some() {
            // All is told on one page.
            return Err(invalid_next_token());
        }
        if request.metric_data_queries.len() > QUERIES_MAX {
            return Err(validation(format!("More than {QUERIES_MAX} metric data queries")));
        }
        check_ids(&request.metric_data_queries)?;
        let ascending = request.scan_by.as_deref() == Some("TimestampAscending");
        let metrics = &self.place(at).metrics;
        let mut results = Vec::new();
        for query in &request.metric_data_queries {
            let read = results_of(query, &request, metrics)?;
            if query.return_data.unwrap_or(true) {
                results
                    .extend(read.into_iter().map(|(label, points)| result(query, &label, points, ascending)));
            }
        }
        Ok(json!({"MetricDataResults": results, "Messages": []}))
    }

    pub(super) fn get_metric_statistics(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let request: StatisticsRequest = typed(input)?;
        if request.extended_statistics.is_some() {
            return Err(invalid_value("ExtendedStatistics is not modelled by the emulator"));
        }
        let wanted = request
            .statistics
            .ok_or_else(|| invalid_combination("Must specify either Statistics or ExtendedStatistics"))?;
        let range = Range::new(request.start_time, request.end_time, request.period, STATISTICS_POINTS_MAX)?;
        let metrics = &self.place(at).metrics;
        let series = request.metric.key().and_then(|key| metrics.get(&key));
        let unit = series.and_then(|series| series.unit.clone()).unwrap_or_else(|| "None".to_owned());
        let fits = request.unit.is_none_or(|asked| asked == unit);
        let series: Vec<&Series> = series.filter(|_| fits).into_iter().collect();
        let mut points: Vec<Value> = Vec::new();
        for (start, _) in range.read(&series, Statistic::SampleCount) {
            let step = Range {
                from: start,
                to: start.saturating_add(range.period).min(range.to),
                period: range.period,
            };
            let mut point = Map::from_iter([
                ("Timestamp".to_owned(), time::seconds(start)),
                ("Unit".to_owned(), json!(unit)),
            ]);
            for statistic in &wanted {
                let value = step.read(&series, *statistic).first().map(|(_, value)| *value);
                point.insert(format!("{statistic:?}"), json!(value));
            }
            points.push(Value::Object(point));
        }
        Ok(json!({"Label": request.metric.name, "Datapoints": points}))
    }

    pub(super) fn list_metrics(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let request: ListRequest = typed(input)?;
        let skipped: usize = match &request.next_token {
            Some(token) => of_token(token)?.parse().map_err(|_| invalid_next_token())?,
            None => 0,
        };
        let recent = at.now_ms.saturating_sub(RECENT_MS);
        let found = self.place(at).metrics.iter().filter(|(key, series)| {
            let has = |filter: &Filter| {
                let value = key.dimension(&filter.name);
                value.is_some() && filter.value.as_deref().is_none_or(|wanted| value == Some(wanted))
            };
            request.namespace.as_ref().is_none_or(|wanted| *wanted == key.namespace)
                && request.metric_name.as_ref().is_none_or(|wanted| *wanted == key.name)
                && request.dimensions.iter().all(has)
                && (request.recently_active.is_none()
                    || series.newest().is_some_and(|newest| newest >= recent))
        });
        let mut page: Vec<Value> = found
            .skip(skipped)
            .take(METRICS_PAGE + 1)
            .map(|(key, _)| {
                let dimensions = key.dimensions.iter();
                let dimensions: Vec<Dimension> = dimensions
                    .map(|(name, value)| Dimension { name: name.clone(), value: value.clone() })
                    .collect();
                json!({"Namespace": key.namespace, "MetricName": key.name, "Dimensions": dimensions})
            })
            .collect();
        let more = page.len() > METRICS_PAGE;
        page.truncate(METRICS_PAGE);
        let mut answer = json!({ "Metrics": page });
        if more {
            answer["NextToken"] = token(&skipped.saturating_add(METRICS_PAGE).to_string()).into();
        }
        Ok(answer)
    }
}

type Points = Vec<(u64, f64)>;

/// The series of a query, each under its label.
fn results_of(
    query: &DataQuery,
    request: &DataRequest,
    metrics: &Metrics,
) -> Result<Vec<(String, Points)>, ServiceError> {
    let range = |period: i64| {
        let period = u64::try_from(period).unwrap_or(60);
        Range::new(request.start_time, request.end_time, period, POINTS_MAX)
    };
    match (&query.metric_stat, &query.expression) {
        (Some(stat), None) => {
            let key =
                stat.metric.key().ok_or_else(|| validation("Metric must have Namespace and MetricName"))?;
            let statistic = Statistic::by_name(&stat.stat).ok_or_else(|| {
                validation(format!("The statistic {} is not modelled by the emulator", stat.stat))
            })?;
            let fits = |series: &&Series| stat.unit.is_none() || stat.unit == series.unit;
            let series: Vec<&Series> = metrics.get(&key).filter(fits).into_iter().collect();
            Ok(vec![(key.name.clone(), range(stat.period)?.read(&series, statistic))])
        }
        (None, Some(expression)) if insights::is_query(expression) => {
            let parsed = Query::parse(expression)?;
            let range =
                range(query.period.ok_or_else(|| validation("A Metrics Insights query needs a Period"))?)?;
            let groups = parsed.groups(metrics, range.from, range.to);
            let read = |(values, series): &insights::Group<'_>| {
                (parsed.label(values), range.read(series, parsed.statistic))
            };
            Ok(groups.iter().map(read).collect())
        }
        (None, Some(_)) => Err(validation("Metric math is not modelled by the emulator")),
        _ => Err(validation("Each query must have either MetricStat or Expression")),
    }
}

fn result(query: &DataQuery, label: &str, mut points: Points, ascending: bool) -> Value {
    if !ascending {
        points.reverse();
    }
    let (times, values): (Vec<Value>, Vec<f64>) =
        points.into_iter().map(|(start, value)| (time::seconds(start), value)).unzip();
    json!({
        "Id": query.id,
        "Label": query.label.as_deref().unwrap_or(label),
        "Timestamps": times,
        "Values": values,
        "StatusCode": "Complete",
    })
}
