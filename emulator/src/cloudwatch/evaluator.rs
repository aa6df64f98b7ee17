//! The evaluator: data points to states, states of children to those of composites, transitions to actions.

use std::collections::VecDeque;

use serde_json::json;

use super::{
    Alarm, At, CloudWatch, Name, Notification, Place, Settings, State,
    alarm::{HistoryItem, MetricAlarm, Source, Watched},
    insights,
    rule::alarm_name,
    series::{Metrics, Sample, Series, Statistic},
    time,
};

/// Longest reason that the service has (`StateReason`).
const REASON_CHARS_MAX: usize = 1023;
/// Evaluations of composites that one change may bring about, for each composite: where they name each other in a
/// circle, the evaluation stops.
const EVALUATIONS_MAX: usize = 8;
/// Metrics are looked through for old ones this often, in minutes.
const EXPIRE_MINUTES: u64 = 10;

/// Why a state is what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// For people.
    pub text: String,
    /// As JSON.
    pub data: Option<String>,
}

/// A new state of an alarm, and why.
#[derive(Debug)]
struct New {
    state: State,
    reason: Reason,
}

/// What comes of a change.
#[derive(Debug, Default)]
struct Outcome {
    notifications: Vec<Notification>,
    changed: Vec<Name>,
}

/// A data point of an alarm: when its period began, and its value, if there is one.
type Point = (u64, Option<f64>);

impl CloudWatch {
    /// Time has passed: evaluates the alarms that are due. An alarm is due at the end of each minute, one with a period
    /// below a minute at the end of each of these.
    pub fn tick(&mut self, now_ms: u64) {
        self.changed.clear();
        let settings = self.settings.clone();
        let mut told = Outcome::default();
        for ((account, region), place) in &mut self.places {
            let at = At { account, region, now_ms };
            let mut changed = place.evaluate_data(&settings, at, &mut told);
            changed.extend(place.evaluate_new_composites(at, &mut told));
            place.follow(changed, at, &mut told);
        }
        self.take_in(told);
        if now_ms.saturating_sub(self.expired_ms) >= EXPIRE_MINUTES * settings.minute_ms {
            self.expired_ms = now_ms;
            self.places.values_mut().for_each(|place| place.metrics.expire(now_ms));
        }
    }

    /// Puts an alarm into a state.
    pub(super) fn set_state(&mut self, name: &str, state: State, reason: Reason, at: At<'_>) {
        let mut told = Outcome::default();
        let place = self.place(at);
        if place.change(name, New { state, reason }, at, &mut told) {
            place.follow(vec![name.to_owned()], at, &mut told);
        }
        self.take_in(told);
    }

    fn take_in(&mut self, told: Outcome) {
        for notification in told.notifications {
            self.notifications.enter(notification);
        }
        self.changed.extend(told.changed);
    }

    /// The number of the last evaluation that an alarm put now need not wait for; 0 for a composite, which is due.
    pub(super) fn evaluation_at(&self, watched: &Watched, now_ms: u64) -> u64 {
        match watched {
            Watched::Data { period, .. } => now_ms / step_ms(&self.settings, *period),
            Watched::Alarms { .. } => 0,
        }
    }
}

/// How often an alarm of this period is evaluated.
fn step_ms(settings: &Settings, period: u64) -> u64 {
    settings.scaled(period).min(settings.minute_ms)
}

impl Place {
    /// Evaluates the alarms on data that are due; the names of those whose state changed.
    fn evaluate_data(&mut self, settings: &Settings, at: At<'_>, told: &mut Outcome) -> Vec<String> {
        let mut judged = Vec::new();
        for (name, alarm) in &mut self.alarms {
            let Watched::Data { alarm: put, source, period } = &alarm.watched else { continue };
            let step = step_ms(settings, *period);
            let due = at.now_ms / step;
            if due <= alarm.evaluated {
                continue;
            }
            alarm.evaluated = due;
            let period = settings.scaled(*period);
            let state = alarm.standing.state;
            let judge = Judge { put, state, metrics: &self.metrics, end: due * step, period };
            let warm_up = put.warm_up_configuration;
            let minutes = warm_up.map_or(0, |warm_up| warm_up.warm_up_period_duration_in_minutes);
            let is_cold = at.now_ms < alarm.standing.configured_ms + minutes * settings.minute_ms;
            if !is_cold && let Some(new) = judge.judge(source) {
                judged.push((name.clone(), new));
            }
        }
        let mut changed = Vec::new();
        for (name, new) in judged {
            self.change(&name, new, at, told);
            changed.push(name);
        }
        changed
    }

    /// Evaluates the composites that were put since; the names of those whose state changed.
    fn evaluate_new_composites(&mut self, at: At<'_>, told: &mut Outcome) -> Vec<String> {
        let is_due = |alarm: &&mut Alarm| alarm.watched.is_composite() && alarm.evaluated == 0;
        let mut due = Vec::new();
        for alarm in self.alarms.values_mut().filter(is_due) {
            alarm.evaluated = 1;
            due.push(alarm.name().to_owned());
        }
        due.retain(|name| self.evaluate_composite(name, at, told));
        due
    }

    /// Evaluates the composites above alarms that have changed, and those above them.
    fn follow(&mut self, changed: Vec<String>, at: At<'_>, told: &mut Outcome) {
        let mut waiting: VecDeque<String> = changed.into();
        let mut left = EVALUATIONS_MAX * self.parents.values().flatten().count();
        while let Some(name) = waiting.pop_front() {
            for parent in self.parents.get(&name).cloned().unwrap_or_default() {
                let Some(fewer) = left.checked_sub(1) else { return };
                left = fewer;
                if self.evaluate_composite(&parent, at, told) {
                    waiting.push_back(parent);
                }
            }
        }
    }

    /// Whether the composite's state changed.
    fn evaluate_composite(&mut self, name: &str, at: At<'_>, told: &mut Outcome) -> bool {
        let Some(Alarm { watched: Watched::Alarms { rule, .. }, .. }) = self.alarms.get(name) else {
            return false;
        };
        let holds = rule.holds(&|child| self.alarms.get(child).map(|alarm| alarm.standing.state));
        let state = if holds { State::Alarm } else { State::Ok };
        let children = rule.children().join(", ");
        let text = format!(
            "The rule evaluates to {} with the alarms: {children}",
            if holds { "TRUE" } else { "FALSE" }
        );
        self.change(name, New { state, reason: Reason { text, data: None } }, at, told)
    }

    /// Puts an alarm into a state, if it is in another, and tells those who are to know.
    fn change(&mut self, name: &str, new: New, at: At<'_>, told: &mut Outcome) -> bool {
        let New { state: to, reason } = new;
        let suppressed = self.is_suppressed(name);
        let Some(alarm) = self.alarms.get_mut(name) else { return false };
        let from = alarm.standing.state;
        if from == to {
            return false;
        }
        let text: String = reason.text.chars().take(REASON_CHARS_MAX).collect();
        alarm.standing.state = to;
        alarm.standing.reason.clone_from(&text);
        alarm.standing.reason_data = reason.data;
        alarm.standing.updated_ms = at.now_ms;
        alarm.standing.transitioned_ms = at.now_ms;
        alarm.suppressed = suppressed;
        told.changed.push(at.name(name));
        let data = json!({
            "version": "1.0",
            "oldState": {"stateValue": from},
            "newState": {"stateValue": to, "stateReason": text},
        });
        let summary = format!("Alarm updated from {} to {}", from.name(), to.name());
        alarm.remember(HistoryItem {
            at_ms: at.now_ms,
            kind: "StateUpdate",
            summary,
            data: data.to_string(),
        });
        let common = alarm.watched.common();
        if suppressed || !common.actions_enabled {
            return true;
        }
        for action in common.actions(to).to_vec() {
            let summary = format!("Successfully executed action {action}");
            alarm.remember(HistoryItem { at_ms: at.now_ms, kind: "Action", summary, data: "{}".to_owned() });
            told.notifications.push(Notification {
                n: 0,
                ms: at.now_ms,
                account: at.account.to_owned(),
                region: at.region.to_owned(),
                alarm: name.to_owned(),
                from,
                to,
                reason: text.clone(),
                action,
            });
        }
        true
    }

    fn is_suppressed(&self, name: &str) -> bool {
        let Some(Alarm { watched: Watched::Alarms { alarm, .. }, .. }) = self.alarms.get(name) else {
            return false;
        };
        let suppressor =
            alarm.actions_suppressor.as_deref().and_then(|name| self.alarms.get(alarm_name(name)));
        suppressor.is_some_and(|suppressor| suppressor.standing.state == State::Alarm)
    }
}

/// An evaluation.
struct Judge<'a> {
    put: &'a MetricAlarm,
    /// The state that the alarm is in.
    state: State,
    metrics: &'a Metrics,
    /// When the newest period ends, in milliseconds since the epoch.
    end: u64,
    /// How long a period is, in milliseconds.
    period: u64,
}

impl Judge<'_> {
    /// The new state that the data asks for, and why; `None` when the alarm keeps its own.
    fn judge(&self, source: &Source) -> Option<New> {
        match source {
            Source::Metric(key, statistic) => {
                let unit = self.put.unit.as_ref();
                // A value of another unit is none of the alarm's.
                let fits = |series: &&Series| unit.is_none() || unit == series.unit.as_ref();
                let series: Vec<&Series> = self.metrics.get(key).filter(fits).into_iter().collect();
                let points = self.points(&series, *statistic);
                self.new_state(self.evaluate(&points)?, &points, None)
            }
            Source::Query(query) => self.judge_query(query),
        }
    }

    fn new_state(&self, state: State, points: &[Point], group: Option<&str>) -> Option<New> {
        // Of ten thousand alarms few change: the words are made for these alone.
        (state != self.state).then(|| New { state, reason: self.reason(points, group) })
    }

    /// Each group is judged for itself, and one in ALARM is enough. A group without any data in the evaluation range is
    /// not there.
    fn judge_query(&self, query: &insights::Query) -> Option<New> {
        let range = self.put.terms().range() as u64;
        let from = self.end.saturating_sub(range * self.period);
        let groups = query.groups(self.metrics, from, self.end);
        if groups.is_empty() {
            let points = self.points(&[], query.statistic);
            return self.new_state(self.evaluate(&points)?, &points, None);
        }
        let mut quiet = None;
        for (values, series) in &groups {
            let points = self.points(series, query.statistic);
            if self.evaluate(&points) == Some(State::Alarm) {
                return self.new_state(State::Alarm, &points, Some(&query.label(values)));
            }
            quiet = quiet.or(Some(points));
        }
        self.new_state(State::Ok, &quiet.unwrap_or_default(), None)
    }

    /// The data points of the evaluation range, newest first.
    fn points(&self, series: &[&Series], statistic: Statistic) -> Vec<Point> {
        let point = |back: u64| {
            let to = self.end.saturating_sub(back * self.period);
            let from = to.saturating_sub(self.period);
            let sample: Option<Sample> = insights::window(series, from, to);
            (from, sample.map(|sample| sample.statistic(statistic)))
        };
        (0..self.put.terms().range() as u64).map(point).collect()
    }

    fn evaluate(&self, points: &[Point]) -> Option<State> {
        let judged: Vec<Option<bool>> =
            points.iter().map(|(_, value)| value.map(|value| self.breaches(value))).collect();
        self.put.terms().evaluate(&judged)
    }

    fn breaches(&self, value: f64) -> bool {
        self.put.comparison_operator.breaches(value, self.put.threshold)
    }

    fn reason(&self, points: &[Point], group: Option<&str>) -> Reason {
        let terms = self.put.terms();
        let real: Vec<(u64, f64)> =
            points.iter().filter_map(|(at, value)| Some((*at, (*value)?))).take(terms.periods).collect();
        let missing = terms.periods.saturating_sub(real.len());
        let shown: Vec<String> =
            real.iter().map(|(at, value)| format!("{value:?} ({})", time::in_reason(*at))).collect();
        let of_group = group.map_or_else(String::new, |group| format!(" of {group}"));
        let mut text = if shown.is_empty() {
            format!("no datapoints were received for {} periods", terms.periods)
        } else {
            let bad = real.iter().filter(|(_, value)| self.breaches(*value)).count();
            format!(
                "{bad} of the last {} datapoints{of_group} [{}] were {} the threshold ({:?}), where {} make an alarm",
                real.len(),
                shown.join(", "),
                self.put.comparison_operator.words(),
                self.put.threshold,
                terms.to_alarm
            )
        };
        if missing > 0 {
            let treated =
                format!(" and {missing} missing datapoints were treated as [{}]", terms.missing.in_reason());
            text.push_str(&treated);
        }
        let points: Vec<f64> = real.iter().rev().map(|(_, value)| *value).collect();
        let data = json!({
            "version": "1.0",
            "period": self.period / 1000,
            "recentDatapoints": points,
            "threshold": self.put.threshold,
        });
        Reason { text: format!("Threshold Crossed: {text}."), data: Some(data.to_string()) }
    }
}
