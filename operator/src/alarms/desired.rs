//! The alarms that a stream is to have. Pure.

use std::collections::BTreeMap;

use streamfleet_crds::{AlarmKind, ClassAlarms, MissingData as Wanted, NoIngestAlarm};

use super::kinds::{FRAGMENT_SECONDS_DEFAULT, Row, rows, suffix};
use super::names::{Object, hash, mark};
use crate::aws::{Alarm, AlarmMetric, Comparison, MissingData, Owner, Statistic};
use crate::video_stream::Desired;

/// The longest description (`AlarmDescription` in the API model of CloudWatch).
const DESCRIPTION_MAX: usize = 1024;

/// The object of this owner.
pub fn object(owner: &Owner) -> Object {
    Object::Stream { namespace: owner.namespace.clone(), name: owner.name.clone() }
}

/// The alarms of a stream, by name. `fragment_seconds` is what the Camera asks for that writes it; `is_site_there` says that the alarm of
/// its site has been seen at the service.
pub fn desired(
    desired: &Desired,
    class: &ClassAlarms,
    fragment_seconds: Option<i32>,
    is_site_there: bool,
) -> Vec<Alarm> {
    let object = object(&desired.owner);
    let fragment_seconds = fragment_seconds.unwrap_or(FRAGMENT_SECONDS_DEFAULT);
    let settings = &desired.alarms;
    let actions = actions(desired, class, is_site_there);
    let rows = settings.kinds.iter().flat_map(|kind| rows(*kind));
    let mut alarms: Vec<Alarm> = rows
        .map(|row| {
            let row = with_settings(row, &settings.no_ingest);
            // The stream is all of it that is an alarm's own: see `digest`.
            let statement = format!("KVS stream {}: {}. {}.", desired.name, row.what, row.advice);
            let metric = AlarmMetric::Stream {
                metric: row.metric.to_owned(),
                stream_name: desired.name.clone(),
                statistic: row.statistic,
            };
            let mut alarm = Alarm {
                name: object.alarm_name(&desired.owner.installation, &suffix(&row)),
                tags: desired.owner.tags(),
                actions: actions.clone(),
                actions_enabled: !desired.suspend,
                ..of_row(&row, metric, fragment_seconds)
            };
            sign(&mut alarm, &statement, &desired.owner.installation, &object);
            alarm
        })
        .collect();
    alarms.sort_by(|one, other| one.name.cmp(&other.name));
    alarms
}

/// An alarm of this row on this metric, without name, description, actions and tags.
pub fn of_row(row: &Row, metric: AlarmMetric, fragment_seconds: i32) -> Alarm {
    Alarm {
        name: String::new(),
        description: String::new(),
        metric,
        comparison: row.comparison,
        threshold: row.threshold.value(fragment_seconds),
        period_seconds: row.period_seconds,
        evaluation_periods: row.evaluation_periods,
        datapoints_to_alarm: row.datapoints_to_alarm,
        missing_data: row.missing_data,
        actions: Vec::new(),
        actions_enabled: true,
        tags: BTreeMap::new(),
    }
}

/// Who is told. Where the class has an alarm for each site, that one tells the class's topics once it is there, and the stream's own only
/// such as the stream names itself. Before, somebody has to hear of a dead camera.
fn actions(desired: &Desired, class: &ClassAlarms, is_site_there: bool) -> Vec<String> {
    if is_site_there && is_for_site(desired, class) { Vec::new() } else { desired.alarms.actions.clone() }
}

/// Whether the alarm of a site is to tell in place of the stream's own.
pub fn is_for_site(desired: &Desired, class: &ClassAlarms) -> bool {
    site(&desired.labels, class).is_some()
        && !desired.alarms.kinds.is_empty()
        && desired.alarms.actions == *class.action_arns.as_deref().unwrap_or_default()
}

/// The site of an object with these labels; `None` where the class has no sites, or the object no label.
pub fn site<'a>(labels: &'a BTreeMap<String, String>, class: &ClassAlarms) -> Option<&'a str> {
    let value = labels.get(class.site_label.as_ref()?)?;
    (!value.is_empty()).then_some(value.as_str())
}

fn with_settings(row: &Row, no_ingest: &NoIngestAlarm) -> Row {
    if row.kind != AlarmKind::NoIngest {
        return *row;
    }
    Row {
        period_seconds: no_ingest.period_seconds,
        evaluation_periods: no_ingest.evaluation_periods,
        datapoints_to_alarm: no_ingest.datapoints_to_alarm,
        missing_data: match no_ingest.missing_data {
            Wanted::Breaching => MissingData::Breaching,
            Wanted::NotBreaching => MissingData::NotBreaching,
        },
        ..*row
    }
}

/// Gives an alarm its description: the statement, and the mark by which it is known again.
pub fn sign(alarm: &mut Alarm, statement: &str, installation: &str, object: &Object) {
    let mark = mark(installation, object, &alarm.name, &digest(alarm));
    alarm.description = describe(statement, &mark);
}

/// A statement with a mark behind it, at most as long as the service takes.
pub fn describe(statement: &str, mark: &str) -> String {
    let room = DESCRIPTION_MAX.saturating_sub(mark.len() + 1);
    format!("{} {mark}", crate::conditions::cut(statement, room))
}

/// A digest of what is set, without what is an alarm's own: name, stream and description. So it is one for all alarms of a kind, and
/// the view of a fleet stays small.
pub fn digest(alarm: &Alarm) -> String {
    let metric = match &alarm.metric {
        AlarmMetric::Stream { metric, statistic, .. } => format!("{metric} {}", statistic_name(*statistic)),
        AlarmMetric::Insights(query) => query.clone(),
        AlarmMetric::Other { .. } => "?".to_owned(),
    };
    let mut actions = alarm.actions.clone();
    actions.sort();
    let text = format!(
        "{metric}\n{} {:016x}\n{} {} {} {}\n{} {}",
        comparison_name(alarm.comparison),
        alarm.threshold.to_bits(),
        alarm.period_seconds,
        alarm.datapoints_to_alarm,
        alarm.evaluation_periods,
        missing_name(alarm.missing_data),
        alarm.actions_enabled,
        actions.join(" "),
    );
    hash(&text).chars().take(8).collect()
}

// The names are ours and stay: a digest has to be the same in every release.

const fn statistic_name(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::Sum => "Sum",
        Statistic::Average => "Average",
        Statistic::Maximum => "Maximum",
        Statistic::Minimum => "Minimum",
        Statistic::SampleCount => "SampleCount",
    }
}

const fn comparison_name(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::LessThan => "<",
        Comparison::LessThanOrEqual => "<=",
        Comparison::GreaterThan => ">",
        Comparison::GreaterThanOrEqual => ">=",
    }
}

const fn missing_name(missing: MissingData) -> &'static str {
    match missing {
        MissingData::Breaching => "breaching",
        MissingData::NotBreaching => "notBreaching",
        MissingData::Ignore => "ignore",
        MissingData::Missing => "missing",
    }
}
