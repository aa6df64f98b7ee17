//! What is to be done about the alarms of a stream: the difference between what is wanted and what is there. Pure.

use std::collections::BTreeSet;

use super::desired::digest;
use super::names::{Object, mark, object_of, read_mark, without_mark};
use crate::aws::{Alarm, AlarmInfo, AlarmMetric};

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is wanted is made so.
    Correct,
    /// What we want is made so; what somebody else has changed or deleted is reported and left.
    Report,
    /// Nothing is changed, save that actions are switched off.
    Suspended,
}

/// Whose alarms are planned, and how.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The installation.
    pub installation: &'a str,
    /// The object.
    pub object: &'a Object,
    /// What may be done.
    pub mode: Mode,
    /// The names of those that were there before.
    pub known: &'a BTreeSet<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlarmPlan {
    /// To be made or overwritten.
    pub puts: Vec<Alarm>,
    /// To be deleted, by name.
    pub deletes: Vec<String>,
    /// Names that somebody else's alarm has.
    pub foreign: Vec<String>,
    /// What somebody else has changed or deleted, by name: to be corrected where it is in `puts` too.
    pub drifted: Vec<Drifted>,
}

/// An alarm that somebody else has changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// Its name.
    pub name: String,
    /// Whether it was deleted.
    pub is_gone: bool,
}

impl AlarmPlan {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// Compares. `there` may hold alarms of others: they are never changed.
pub fn plan(wanted: &[Alarm], there: &[AlarmInfo], scope: &Scope<'_>) -> AlarmPlan {
    let mut plan = AlarmPlan::default();
    for alarm in wanted {
        match there.iter().find(|info| info.alarm.name == alarm.name) {
            Some(info) => plan.compare(alarm, &info.alarm, scope),
            None => plan.missing(alarm, scope),
        }
    }
    for info in there.iter().filter(|info| is_ours(&info.alarm, scope.installation, scope.object)) {
        if wanted.iter().any(|alarm| alarm.name == info.alarm.name) {
            continue;
        }
        if scope.mode == Mode::Suspended {
            plan.puts.extend(hushed(&info.alarm, scope));
        } else {
            plan.deletes.push(info.alarm.name.clone());
        }
    }
    plan
}

impl AlarmPlan {
    fn missing(&mut self, alarm: &Alarm, scope: &Scope<'_>) {
        let is_gone = scope.known.contains(&alarm.name);
        if is_gone {
            self.drifted.push(Drifted { name: alarm.name.clone(), is_gone });
        }
        let is_left = match scope.mode {
            Mode::Correct => false,
            Mode::Report => is_gone,
            Mode::Suspended => true,
        };
        if !is_left {
            self.puts.push(alarm.clone());
        }
    }

    fn compare(&mut self, alarm: &Alarm, there: &Alarm, scope: &Scope<'_>) {
        let Some(digest) = our_digest(there, scope.installation, scope.object) else {
            self.foreign.push(alarm.name.clone());
            return;
        };
        if is_same(alarm, there) {
            return;
        }
        let is_drift = is_changed_by_others(alarm, there, &digest);
        if is_drift {
            self.drifted.push(Drifted { name: alarm.name.clone(), is_gone: false });
        }
        match scope.mode {
            Mode::Report if is_drift => {}
            Mode::Correct | Mode::Report => self.puts.push(alarm.clone()),
            Mode::Suspended => {
                // What was rewritten into something that we cannot write is made ours again with its actions off.
                let is_lost = matches!(there.metric, AlarmMetric::Other { .. }) && there.actions_enabled;
                self.puts.extend(if is_lost { Some(alarm.clone()) } else { hushed(there, scope) });
            }
        }
    }
}

/// The same alarm with its actions off; `None` where they are off, or it cannot be written.
fn hushed(there: &Alarm, scope: &Scope<'_>) -> Option<Alarm> {
    if !there.actions_enabled || matches!(there.metric, AlarmMetric::Other { .. }) {
        return None;
    }
    let mut hushed = Alarm { actions_enabled: false, ..there.clone() };
    let mark = mark(scope.installation, scope.object, &there.name, &digest(&hushed));
    hushed.description = super::desired::describe(without_mark(&there.description), &mark);
    Some(hushed)
}

/// Whether an alarm is of this object of this installation, by its name and its mark.
pub fn is_ours(alarm: &Alarm, installation: &str, object: &Object) -> bool {
    our_digest(alarm, installation, object).is_some()
}

fn our_digest(alarm: &Alarm, installation: &str, object: &Object) -> Option<String> {
    let mark = read_mark(&alarm.description, installation)?;
    (object_of(&alarm.name, &mark, installation).as_ref() == Some(object)).then(|| mark.digest.to_owned())
}

/// Whether two settings come to the same: the service may tell the topics in another order.
fn is_same(one: &Alarm, other: &Alarm) -> bool {
    let sorted = |alarm: &Alarm| {
        let mut actions = alarm.actions.clone();
        actions.sort();
        Alarm { actions, ..alarm.clone() }
    };
    sorted(one) == sorted(other)
}

/// Whether what is there is not what was written: its mark says what that was.
fn is_changed_by_others(wanted: &Alarm, there: &Alarm, written: &str) -> bool {
    digest(there) != written || there.stream_name() != wanted.stream_name()
}
