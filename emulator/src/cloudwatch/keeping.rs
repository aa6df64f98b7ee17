//! What of the alarms outlives a process, and bringing it back.

use std::collections::VecDeque;

use serde_json::Value;

use super::{
    Alarm, At, CloudWatch, Rule,
    alarm::{CompositeAlarm, Watched},
    journal::{Kept, Line},
    put::watched_data,
    typed,
};
use crate::error::ServiceError;

impl CloudWatch {
    /// How many alarms there are.
    pub(super) fn count(&self) -> usize {
        self.places.values().map(|place| place.alarms.len()).sum()
    }

    /// All alarms, to keep.
    pub(super) fn kept(&self) -> impl Iterator<Item = Kept> {
        self.places.iter().flat_map(|((account, region), place)| {
            place.alarms.values().map(move |alarm| kept(account, region, alarm))
        })
    }

    /// What the last call or tick has changed, to keep.
    pub(super) fn take_changes(&mut self) -> Vec<Line> {
        let changed = std::mem::take(&mut self.changed);
        let line = |(account, region, name): (String, String, String)| {
            let place = self.places.get(&(account.clone(), region.clone()));
            match place.and_then(|place| place.alarms.get(&name)) {
                Some(alarm) => Line::Alarm(Box::new(kept(&account, &region, alarm))),
                None => Line::Gone(account, region, name),
            }
        };
        changed.into_iter().map(line).collect()
    }

    /// Brings alarms back: their states stay, their evaluation begins anew. One that cannot be read any more is left out.
    pub(super) fn restore(&mut self, kept: Vec<Kept>, now_ms: u64) {
        for one in kept {
            let name = one.name.clone();
            if let Err(error) = self.restore_one(one, now_ms) {
                tracing::warn!(alarm = name, error = &error as &dyn std::error::Error, "An alarm is lost");
            }
        }
        self.places.values_mut().for_each(super::Place::link);
    }

    fn restore_one(&mut self, kept: Kept, now_ms: u64) -> Result<(), ServiceError> {
        let Kept { account, region, name, input, tags, standing } = kept;
        let at = At { account: &account, region: &region, now_ms };
        let watched = watched(input)?;
        let evaluated = self.evaluation_at(&watched, now_ms);
        let (arn, history) = (at.arn(&name), VecDeque::new());
        let alarm = Alarm { arn, watched, standing, tags, history, evaluated, suppressed: false };
        self.place(at).alarms.insert(name, alarm);
        Ok(())
    }
}

/// As it was put. Only composites have a rule.
fn watched(input: Value) -> Result<Watched, ServiceError> {
    if input.get("AlarmRule").is_none() {
        return watched_data(input);
    }
    let alarm: CompositeAlarm = typed(input)?;
    let rule = Rule::parse(&alarm.alarm_rule)?;
    Ok(Watched::Alarms { alarm: Box::new(alarm), rule })
}

fn kept(account: &str, region: &str, alarm: &Alarm) -> Kept {
    Kept {
        account: account.to_owned(),
        region: region.to_owned(),
        name: alarm.name().to_owned(),
        input: alarm.watched.as_put(),
        tags: alarm.tags.clone(),
        standing: alarm.standing.clone(),
    }
}
