//! What is said about the alarms of a class: the condition `AlarmsReady`, and what they cost. Pure.

use streamfleet_crds::types::find_condition;
use streamfleet_crds::{AlarmKind, ConditionType, StreamClass, StreamClassReason as Reason, VideoStream};

use super::super::cost::Count;
use super::super::kinds::rows;
use super::super::status::is_passing;
use super::FleetAlarms;
use crate::aws::{AwsError, ErrorKind};
use crate::conditions::{Truth, Verdict};
use crate::events::Note;
use crate::video_stream::alarm_settings;

/// From this many alarms on, what they cost is an event too.
const WORTH_TELLING: usize = 100;
/// What all alarms of a class and its streams come to.
pub fn count<'a>(
    class: &StreamClass,
    streams: impl Iterator<Item = &'a VideoStream>,
    wanted: &FleetAlarms,
) -> Count {
    let mut count =
        Count { composite: wanted.sites.len(), queries: wanted.queries.len(), ..Count::default() };
    for stream in streams {
        count.analysed += wanted.queries.len();
        let settings = alarm_settings(stream.spec.alarms.as_ref(), &class.spec.alarms);
        for kind in settings.kinds {
            let period =
                if kind == AlarmKind::NoIngest { settings.no_ingest.period_seconds } else { i32::MAX };
            count.add(rows(kind).count(), period);
        }
    }
    count
}

pub fn fleet_verdict(
    class: &StreamClass,
    wanted: &FleetAlarms,
    count: &Count,
    result: &Result<usize, AwsError>,
) -> Option<Verdict> {
    let verdict = |truth, reason: Reason, message: String| {
        Some(Verdict::new(ConditionType::AlarmsReady, truth, reason.as_str(), message))
    };
    let asks_for_none = wanted.queries.is_empty() && class.spec.alarms.site_label.is_none();
    match result {
        Err(error) if !asks_for_none && !is_passing(error.kind) => {
            let (reason, advice) = refusal(error.kind);
            let asked = count.describe();
            let message =
                format!("The alarms of the class cannot be kept: {advice} ({error}). Asked for: {asked}");
            verdict(Truth::False, reason, message)
        }
        Err(_) if !asks_for_none => {
            let message = "CloudWatch does not answer; it is asked again";
            verdict(Truth::Unknown, Reason::AwsError, message.to_owned())
        }
        _ if count.alarms() == 0 => {
            verdict(Truth::True, Reason::NoAlarms, "No alarms are asked for".to_owned())
        }
        Ok(1..) => {
            let message = format!("The alarms of the class are being made. Asked for: {}", count.describe());
            verdict(Truth::False, Reason::AlarmsPending, message)
        }
        _ => {
            let message = format!("The class and its streams ask for {}", count.describe());
            verdict(Truth::True, Reason::AlarmsInSync, message)
        }
    }
}

/// The reason, and what to do, where the alarms of a class are refused.
const fn refusal(kind: ErrorKind) -> (Reason, &'static str) {
    match kind {
        ErrorKind::LimitExceeded | ErrorKind::Quota => (
            Reason::AlarmsQuota,
            "the account has no room for more alarms in this region. Ask AWS for a higher quota, or have fewer kinds in \
             spec.alarms.fleet",
        ),
        ErrorKind::InUse => (
            Reason::NameTaken,
            "an alarm of the same name is somebody else's. Delete or rename that one, or this class",
        ),
        ErrorKind::Denied => (
            Reason::AwsError,
            "AWS does not let the operator do this. Allow the named call, or take spec.alarms.fleet and spec.alarms.siteLabel away",
        ),
        ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::WrongAccount => {
            (Reason::AwsError, "AWS refuses the operator's credentials. The condition Ready says more")
        }
        ErrorKind::InvalidArgument => (
            Reason::AwsError,
            "CloudWatch refuses a value. Correct spec.alarms.actionARNs (an SNS topic must be in the class's region)",
        ),
        _ => (Reason::AwsError, "CloudWatch did not do what it was asked. Check what it says, and spec.aws"),
    }
}

/// What alarms cost is told when there are twice as many as when it was last said.
pub fn fleet_notes(class: &StreamClass, count: &Count, verdict: Option<&Verdict>) -> Vec<Note> {
    let conditions = class.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let before = find_condition(conditions, ConditionType::AlarmsReady.as_str());
    let said = before.and_then(|before| said(&before.message)).unwrap_or_default();
    let mut notes = Vec::new();
    if count.alarms() >= WORTH_TELLING.max(said * 2) {
        let text = format!("The class and its streams ask for {}", count.describe());
        notes.push(Note::normal("AlarmsCost", "KeepAlarms", text));
    }
    let trouble = verdict.filter(|verdict| {
        let is_trouble = verdict.status == Truth::False && verdict.reason != Reason::AlarmsPending.as_str();
        is_trouble && before.is_none_or(|before| before.reason != verdict.reason)
    });
    notes.extend(trouble.map(|verdict| Note::warning(verdict.reason, "KeepAlarms", verdict.message.clone())));
    notes
}

/// The number of alarms in a message.
fn said(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("about ")?;
    rest.split(' ').next()?.parse().ok()
}
