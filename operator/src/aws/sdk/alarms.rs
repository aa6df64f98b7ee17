//! The calls to CloudWatch.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{AlarmType, Dimension, MetricDataQuery, Tag};

use super::super::{
    Alarm, AlarmInfo, AlarmMetric, AlarmQuery, AwsError, CompositeAlarm, CompositeInfo, ErrorKind,
};
use super::call::Request;
use super::{SdkCloud, convert};

/// The page size of `DescribeAlarms`: the service's most (`MaxRecords`).
const DESCRIBE_PAGE: i32 = 100;
/// The most names of a `DescribeAlarms` or `DeleteAlarms` (`AlarmNames`).
const NAMES_MAX: usize = 100;

/// So often a page is asked for again that was refused for the number of calls, each time after the tries of a call: a list of
/// a hundred pages is not begun anew for one of them.
const PAGE_TRIES: usize = 10;

/// A page of `DescribeAlarms`.
type Page = aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
type PageRequest = aws_sdk_cloudwatch::operation::describe_alarms::builders::DescribeAlarmsFluentBuilder;

impl SdkCloud {
    pub(super) async fn metric_alarms(&self, query: &AlarmQuery) -> Result<Vec<AlarmInfo>, AwsError> {
        self.describe(query, AlarmType::MetricAlarm, |page| {
            page.metric_alarms().iter().filter_map(convert::alarm_info).collect()
        })
        .await
    }

    pub(super) async fn composite_alarms(&self, query: &AlarmQuery) -> Result<Vec<CompositeInfo>, AwsError> {
        self.describe(query, AlarmType::CompositeAlarm, |page| {
            page.composite_alarms().iter().filter_map(convert::composite_info).collect()
        })
        .await
    }

    /// Every page of every part of the query.
    async fn describe<T>(
        &self,
        query: &AlarmQuery,
        kind: AlarmType,
        found: impl Fn(&Page) -> Vec<T>,
    ) -> Result<Vec<T>, AwsError> {
        let base = self.clients.cloud_watch.describe_alarms().alarm_types(kind).max_records(DESCRIBE_PAGE);
        let parts = match query {
            AlarmQuery::Prefix(prefix) => vec![base.alarm_name_prefix(prefix)],
            AlarmQuery::Names(names) => names
                .chunks(NAMES_MAX)
                .map(|names| base.clone().set_alarm_names(Some(names.to_vec())))
                .collect(),
        };
        let mut all = Vec::new();
        for part in parts {
            let mut token = None;
            loop {
                let request = part.clone().set_next_token(token);
                let page = self.alarms_page(&request).await?;
                all.extend(found(&page));
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(all)
    }

    async fn alarms_page(&self, request: &PageRequest) -> Result<Page, AwsError> {
        let mut tries = 1;
        loop {
            let spec = Request::read("DescribeAlarms").to_cloud_watch();
            match self.call(spec, || request.clone().send()).await {
                Err(error) if error.kind == ErrorKind::Throttled && tries < PAGE_TRIES => tries += 1,
                answer => return answer,
            }
        }
    }

    pub(super) async fn put_metric_alarm(&self, alarm: &Alarm) -> Result<(), AwsError> {
        let mut request = self
            .clients
            .cloud_watch
            .put_metric_alarm()
            .alarm_name(&alarm.name)
            .alarm_description(&alarm.description)
            .comparison_operator(convert::comparison_to_sdk(alarm.comparison))
            .threshold(alarm.threshold)
            .evaluation_periods(alarm.evaluation_periods)
            .datapoints_to_alarm(alarm.datapoints_to_alarm)
            .treat_missing_data(convert::missing_data_to_sdk(alarm.missing_data))
            .set_alarm_actions(Some(alarm.actions.clone()))
            .set_ok_actions(Some(alarm.actions.clone()))
            .actions_enabled(alarm.actions_enabled)
            .set_tags(tags(&alarm.tags));
        request = match &alarm.metric {
            AlarmMetric::Stream { metric, stream_name, statistic } => request
                .namespace(convert::NAMESPACE)
                .metric_name(metric)
                .dimensions(Dimension::builder().name(convert::STREAM_DIMENSION).value(stream_name).build())
                .statistic(convert::statistic_to_sdk(*statistic))
                .period(alarm.period_seconds),
            AlarmMetric::Insights(expression) => request.metrics(
                MetricDataQuery::builder()
                    .id(convert::QUERY_ID)
                    .expression(expression)
                    .period(alarm.period_seconds)
                    .return_data(true)
                    .build(),
            ),
            AlarmMetric::Other { .. } => {
                return Err(AwsError {
                    operation: "PutMetricAlarm",
                    kind: ErrorKind::InvalidArgument,
                    message: "an alarm that somebody else rewrote cannot be written again".to_owned(),
                });
            }
        };
        let spec = Request::overwrite("PutMetricAlarm").to_cloud_watch().of(&alarm.name);
        self.call(spec, || request.clone().send()).await.map(drop)
    }

    pub(super) async fn put_composite(&self, alarm: &CompositeAlarm) -> Result<(), AwsError> {
        let request = self
            .clients
            .cloud_watch
            .put_composite_alarm()
            .alarm_name(&alarm.name)
            .alarm_description(&alarm.description)
            .alarm_rule(&alarm.rule)
            .set_alarm_actions(Some(alarm.actions.clone()))
            .set_ok_actions(Some(alarm.actions.clone()))
            .actions_enabled(alarm.actions_enabled)
            .set_tags(tags(&alarm.tags));
        let spec = Request::overwrite("PutCompositeAlarm").to_cloud_watch().of(&alarm.name);
        self.call(spec, || request.clone().send()).await.map(drop)
    }

    pub(super) async fn remove_alarms(&self, names: &[String]) -> Result<(), AwsError> {
        for names in names.chunks(NAMES_MAX) {
            let request = self.clients.cloud_watch.delete_alarms().set_alarm_names(Some(names.to_vec()));
            let spec = Request::overwrite("DeleteAlarms").to_cloud_watch();
            // A policy goes by their names, and one refusal is of all of them.
            let spec = names.first().map_or(spec, |name| spec.of(name));
            match self.call(spec, || request.clone().send()).await {
                Ok(_) => {}
                // The others are deleted nevertheless (API reference of DeleteAlarms).
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// `None` for none: an empty list is not valid.
fn tags(tags: &BTreeMap<String, String>) -> Option<Vec<Tag>> {
    let tags: Vec<Tag> =
        tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    (!tags.is_empty()).then_some(tags)
}
