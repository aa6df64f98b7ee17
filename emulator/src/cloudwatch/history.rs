//! `DescribeAlarmHistory`. What is deleted has no history here; the service keeps it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Alarm, At, CloudWatch,
    alarm::HistoryItem,
    listing::{of_token, token},
    refusal::invalid_next_token,
    time, typed,
};
use crate::error::ServiceError;

/// Entries on a page, when the request does not say (`DescribeAlarmHistory`; what the default is, is not documented).
const PAGE: usize = 100;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    alarm_name: Option<String>,
    alarm_types: Option<Vec<String>>,
    history_item_type: Option<String>,
    start_date: Option<f64>,
    end_date: Option<f64>,
    max_records: Option<usize>,
    next_token: Option<String>,
    scan_by: Option<String>,
}

impl CloudWatch {
    pub(super) fn describe_alarm_history(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let request: Request = typed(input)?;
        let skipped: usize = match &request.next_token {
            Some(token) => of_token(token)?.parse().map_err(|_| invalid_next_token())?,
            None => 0,
        };
        let alarms = self.place(at).alarms.values().filter(|alarm| request.wants(alarm));
        let mut items: Vec<(&Alarm, &HistoryItem)> = alarms
            .flat_map(|alarm| alarm.history.iter().map(move |item| (alarm, item)))
            .filter(|(_, item)| request.wants_item(item))
            .collect();
        items.sort_by_key(|(_, item)| item.at_ms);
        if request.scan_by.as_deref() != Some("TimestampAscending") {
            items.reverse();
        }
        let limit = request.max_records.unwrap_or(PAGE);
        let end = skipped.saturating_add(limit);
        let more = items.len() > end;
        let page: Vec<Value> =
            items.into_iter().skip(skipped).take(limit).map(|(alarm, item)| told(alarm, item)).collect();
        let mut answer = json!({ "AlarmHistoryItems": page });
        if more {
            answer["NextToken"] = token(&end.to_string()).into();
        }
        Ok(answer)
    }
}

impl Request {
    fn wants(&self, alarm: &Alarm) -> bool {
        let of_type = match self.alarm_types.as_deref() {
            None | Some([]) => self.alarm_name.is_some() || !alarm.watched.is_composite(),
            Some(kinds) => kinds.iter().any(|wanted| wanted == kind(alarm)),
        };
        of_type && self.alarm_name.as_ref().is_none_or(|name| name == alarm.name())
    }

    fn wants_item(&self, item: &HistoryItem) -> bool {
        self.history_item_type.as_ref().is_none_or(|wanted| wanted == item.kind)
            && self.start_date.is_none_or(|start| item.at_ms >= time::millis(start))
            && self.end_date.is_none_or(|end| item.at_ms <= time::millis(end))
    }
}

fn kind(alarm: &Alarm) -> &'static str {
    if alarm.watched.is_composite() { "CompositeAlarm" } else { "MetricAlarm" }
}

fn told(alarm: &Alarm, item: &HistoryItem) -> Value {
    json!({
        "AlarmName": alarm.name(),
        "AlarmType": kind(alarm),
        "Timestamp": time::seconds(item.at_ms),
        "HistoryItemType": item.kind,
        "HistorySummary": item.summary,
        "HistoryData": item.data,
    })
}
