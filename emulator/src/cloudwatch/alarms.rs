//! What is done with alarms that are there: deleting them, setting their state, their actions on and off.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    At, CloudWatch, State,
    evaluator::Reason,
    refusal::{alarm_not_found, invalid_format, validation},
    typed,
};
use crate::error::ServiceError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    alarm_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewState {
    alarm_name: String,
    state_value: State,
    state_reason: String,
    state_reason_data: Option<String>,
}

impl CloudWatch {
    /// `DeleteAlarms`: those that are there go, also when others of the request are not. Nothing goes while a composite
    /// names one of them.
    pub(super) fn delete_alarms(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let Names { alarm_names } = typed(input)?;
        let place = self.place(at);
        let is_composite =
            |name: &&String| place.alarms.get(*name).is_some_and(|alarm| alarm.watched.is_composite());
        if alarm_names.iter().filter(is_composite).count() > 1 {
            return Err(validation("You can delete only one composite alarm in one operation"));
        }
        let is_needed = |name: &&String| {
            let mut parents = place.parents.get(*name).into_iter().flatten();
            place.alarms.contains_key(*name) && parents.any(|parent| !alarm_names.contains(parent))
        };
        let needed: Vec<&str> = alarm_names.iter().filter(is_needed).map(String::as_str).collect();
        if !needed.is_empty() {
            let them = if needed.len() == 1 { "it" } else { "them" };
            return Err(validation(format!(
                "Cannot delete {} as there are composite alarm(s) depending on {them}.",
                needed.join(",")
            )));
        }
        let linked = alarm_names.iter().any(|name| is_composite(&name));
        let absent = alarm_names.iter().filter(|name| place.alarms.remove(*name).is_none()).last();
        if linked {
            place.link();
        }
        self.changed.extend(alarm_names.iter().map(|name| at.name(name)));
        absent.map_or_else(|| Ok(json!({})), |name| Err(alarm_not_found(name)))
    }

    /// `SetAlarmState`: a metric alarm keeps it until it is evaluated next, a composite until a child changes.
    pub(super) fn set_alarm_state(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let NewState { alarm_name, state_value, state_reason, state_reason_data } = typed(input)?;
        let is_json = |data: &String| serde_json::from_str::<Value>(data).is_ok();
        if state_reason_data.as_ref().is_some_and(|data| !is_json(data)) {
            return Err(invalid_format("StateReasonData is not JSON"));
        }
        if !self.place(at).alarms.contains_key(&alarm_name) {
            return Err(alarm_not_found(&alarm_name));
        }
        let reason = Reason { text: state_reason, data: state_reason_data };
        self.set_state(&alarm_name, state_value, reason, at);
        self.changed.insert(at.name(&alarm_name));
        Ok(json!({}))
    }

    /// `EnableAlarmActions` and `DisableAlarmActions`; names of no alarm are ignored.
    pub(super) fn enable_actions(
        &mut self,
        input: Value,
        enabled: bool,
        at: At<'_>,
    ) -> Result<Value, ServiceError> {
        let Names { alarm_names } = typed(input)?;
        let place = self.place(at);
        for name in &alarm_names {
            if let Some(alarm) = place.alarms.get_mut(name) {
                alarm.watched.common_mut().actions_enabled = enabled;
                alarm.standing.configured_ms = at.now_ms;
            }
        }
        self.changed.extend(alarm_names.iter().map(|name| at.name(name)));
        Ok(json!({}))
    }
}
