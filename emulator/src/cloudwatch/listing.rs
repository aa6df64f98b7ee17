//! `DescribeAlarms` and `DescribeAlarmsForMetric`.

use std::ops::Bound;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Alarm, At, CloudWatch, Place, State,
    alarm::{Dimension, Metric, Watched},
    refusal::{invalid_next_token, validation},
    series::Statistic,
    typed,
};
use crate::error::ServiceError;

/// Alarms on a page, when the request does not say; it may ask for 100 (`DescribeAlarms`).
pub const PAGE: usize = 50;
/// What a token of ours begins with, before it is written in hexadecimal.
const TOKEN: &str = "after:";

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    alarm_names: Option<Vec<String>>,
    alarm_name_prefix: Option<String>,
    alarm_types: Option<Vec<String>>,
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    state_value: Option<State>,
    action_prefix: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricRequest {
    metric_name: String,
    namespace: String,
    statistic: Option<Statistic>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<i64>,
    unit: Option<String>,
}

/// A token for what comes after this.
pub fn token(last: &str) -> String {
    hex::encode(format!("{TOKEN}{last}"))
}

/// What a token stands for.
pub fn of_token(token: &str) -> Result<String, ServiceError> {
    let bytes = hex::decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.strip_prefix(TOKEN).map(str::to_owned)).ok_or_else(invalid_next_token)
}

impl CloudWatch {
    pub(super) fn describe_alarms(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let request: Request = typed(input)?;
        check(&request)?;
        let after = request.next_token.as_deref().map(of_token).transpose()?;
        let limit = request.max_records.unwrap_or(PAGE);
        let place = self.place(at);
        let family = place.family(&request)?;
        let mut found = place.from(&request, after.as_deref()).filter(|alarm| match &family {
            Some(names) => names.iter().any(|name| name == alarm.name()),
            None => request.fits(alarm),
        });
        let page: Vec<&Alarm> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let told = |alarm: &Alarm| match (&request.children_of_alarm_name, &request.parents_of_alarm_name) {
            (Some(_), _) => {
                pick(&alarm.described(), &["AlarmName", "AlarmArn", "StateValue", "StateUpdatedTimestamp"])
            }
            (_, Some(_)) => pick(&alarm.described(), &["AlarmName", "AlarmArn"]),
            _ => alarm.described(),
        };
        let list = |composite: bool| -> Vec<Value> {
            let of_type = page.iter().filter(|alarm| alarm.watched.is_composite() == composite);
            of_type.map(|alarm| told(alarm)).collect()
        };
        let mut answer = json!({"MetricAlarms": list(false), "CompositeAlarms": list(true)});
        if let (true, Some(last)) = (more, page.last()) {
            answer["NextToken"] = token(last.name()).into();
        }
        Ok(answer)
    }

    pub(super) fn describe_alarms_for_metric(
        &mut self,
        input: Value,
        at: At<'_>,
    ) -> Result<Value, ServiceError> {
        let MetricRequest { metric_name, namespace, statistic, dimensions, period, unit } = typed(input)?;
        let metric = Metric { namespace: Some(namespace), name: Some(metric_name), dimensions };
        let key = metric.key();
        let fits = |alarm: &&Alarm| match &alarm.watched {
            Watched::Data { alarm, .. } => {
                alarm.metric.name.is_some()
                    && alarm.metric.key() == key
                    && statistic.is_none_or(|wanted| alarm.statistic == Some(wanted))
                    && period.is_none_or(|wanted| alarm.period == Some(wanted))
                    && unit.as_ref().is_none_or(|wanted| alarm.unit.as_ref() == Some(wanted))
            }
            Watched::Alarms { .. } => false,
        };
        let found: Vec<Value> = self.place(at).alarms.values().filter(fits).map(Alarm::described).collect();
        Ok(json!({ "MetricAlarms": found }))
    }
}

impl Place {
    /// The names that `ChildrenOfAlarmName` or `ParentsOfAlarmName` ask for.
    fn family(&self, request: &Request) -> Result<Option<Vec<String>>, ServiceError> {
        let of = |name: &String| self.alarms.get(name).ok_or_else(|| super::refusal::alarm_not_found(name));
        if let Some(name) = &request.children_of_alarm_name {
            return Ok(Some(match &of(name)?.watched {
                Watched::Alarms { rule, .. } => rule.children().into_iter().map(str::to_owned).collect(),
                Watched::Data { .. } => Vec::new(),
            }));
        }
        let Some(name) = &request.parents_of_alarm_name else { return Ok(None) };
        of(name)?;
        Ok(Some(self.parents.get(name).cloned().unwrap_or_default()))
    }

    /// The alarms in the order of their names, from where the request begins.
    fn from<'a>(
        &'a self,
        request: &'a Request,
        after: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = &'a Alarm> + 'a> {
        if let Some(names) = &request.alarm_names {
            let mut names: Vec<&String> = names.iter().collect();
            names.sort_unstable();
            names.dedup();
            let rest = names.into_iter().filter(move |name| after.is_none_or(|after| name.as_str() > after));
            return Box::new(rest.filter_map(|name| self.alarms.get(name)));
        }
        let prefix = request.alarm_name_prefix.as_deref().unwrap_or_default();
        let first = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.alarms.range::<str, _>((first, Bound::Unbounded));
        Box::new(range.take_while(move |(name, _)| name.starts_with(prefix)).map(|(_, alarm)| alarm))
    }
}

impl Request {
    fn fits(&self, alarm: &Alarm) -> bool {
        let kind = if alarm.watched.is_composite() { "CompositeAlarm" } else { "MetricAlarm" };
        let is_wanted = match self.alarm_types.as_deref() {
            // Metric alarms alone, when nothing is said (API reference).
            None | Some([]) => kind == "MetricAlarm",
            Some(kinds) => kinds.iter().any(|wanted| wanted == kind),
        };
        let common = alarm.watched.common();
        let mut actions =
            common.ok_actions.iter().chain(&common.alarm_actions).chain(&common.insufficient_data_actions);
        is_wanted
            && self.state_value.is_none_or(|state| alarm.standing.state == state)
            && self
                .action_prefix
                .as_ref()
                .is_none_or(|prefix| actions.any(|action| action.starts_with(prefix)))
    }
}

fn check(request: &Request) -> Result<(), ServiceError> {
    if request.alarm_names.is_some() && request.alarm_name_prefix.is_some() {
        return Err(validation("AlarmNames and AlarmNamePrefix must not be specified together"));
    }
    let of_family = [&request.children_of_alarm_name, &request.parents_of_alarm_name];
    let others = request.alarm_names.is_some()
        || request.alarm_name_prefix.is_some()
        || request.alarm_types.is_some()
        || request.state_value.is_some()
        || request.action_prefix.is_some();
    let wanted = of_family.into_iter().flatten().count();
    if wanted > 1 || wanted == 1 && others {
        return Err(validation(
            "With ChildrenOfAlarmName or ParentsOfAlarmName only MaxRecords and NextToken may be specified",
        ));
    }
    Ok(())
}

fn pick(value: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), value[*name].clone())).collect()
}
