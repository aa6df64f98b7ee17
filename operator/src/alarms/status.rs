//! What is said about the alarms of a stream: the condition `AlarmsReady`, `status.alarms[]`, and events. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{
    AlarmState, AlarmStatus, ConditionType, VideoStreamReason as Reason, VideoStreamStatus,
};

use super::cost::coarse;
use super::kinds::kind_of;
use super::names::without_mark;
use super::plan::AlarmPlan;
use crate::aws::{Alarm, AlarmInfo, AwsError, ErrorKind};
use crate::conditions::{Truth, Verdict, whole_seconds};
use crate::events::Note;

/// So many names are told in a message.
const NAMES_TOLD: usize = 3;

/// What is known at the end of a pass.
pub struct Look<'a> {
    /// The status of before.
    pub before: &'a VideoStreamStatus,
    /// What is wanted.
    pub wanted: &'a [Alarm],
    /// What is there.
    pub there: &'a [AlarmInfo],
    /// What is left to be done.
    pub plan: &'a AlarmPlan,
    /// Whether only actions are switched off for now.
    pub is_suspended: bool,
    /// A call that failed.
    pub failure: Option<&'a AwsError>,
    /// How long it is until the stream's turn comes.
    pub wait: Option<Duration>,
}

/// The condition; `None` where it stays as it was, since what happened says nothing about the alarms.
pub fn verdict(look: &Look<'_>) -> Option<Verdict> {
    let verdict = |truth, reason: Reason, message: String| {
        Some(Verdict::new(ConditionType::AlarmsReady, truth, reason.as_str(), message))
    };
    let before = find_condition(&look.before.conditions, ConditionType::AlarmsReady.as_str());
    if let Some(error) = look.failure {
        if is_passing(error.kind) && before.is_some() {
            return None;
        }
        let (truth, reason, advice) = refusal(error.kind);
        return verdict(truth, reason, format!("{advice} ({error})"));
    }
    if !look.plan.foreign.is_empty() {
        let message = format!(
            "Alarms of these names are there and are not ours, for their descriptions lack our mark, and are left alone: {}. \
             Delete or rename them",
            list(look.plan.foreign.iter().map(String::as_str))
        );
        return verdict(Truth::False, Reason::NameTaken, message);
    }
    if look.is_suspended {
        return suspended(look);
    }
    if !look.plan.is_empty() {
        return verdict(Truth::False, Reason::AlarmsPending, pending(look));
    }
    if !look.plan.drifted.is_empty() {
        let names = look.plan.drifted.iter().map(|drifted| drifted.name.as_str());
        let message = format!(
            "Somebody else has changed or deleted alarms, and driftPolicy Report leaves them so: {}. To have them corrected, set \
             spec.driftPolicy to Correct",
            list(names)
        );
        return verdict(Truth::False, Reason::DriftReported, message);
    }
    if look.wanted.is_empty() {
        return verdict(Truth::True, Reason::NoAlarms, "No alarms are asked for".to_owned());
    }
    verdict(Truth::True, Reason::AlarmsInSync, format!("{} are as asked for", count(look.wanted.len())))
}

#[expect(clippy::unnecessary_wraps, reason = "as the other verdicts are")]
fn suspended(look: &Look<'_>) -> Option<Verdict> {
    let (truth, message) = if look.plan.is_empty() {
        let there = look.wanted.iter().filter(|alarm| is_there(alarm, look.there)).count();
        let message = format!(
            "{there} of {} are there, and tell nobody while spec.suspend is set",
            count(look.wanted.len())
        );
        (Truth::True, message)
    } else {
        (Truth::False, "Actions are about to be switched off, since spec.suspend is set".to_owned())
    };
    Some(Verdict::new(ConditionType::AlarmsReady, truth, Reason::Suspended.as_str(), message))
}

/// How far it has come. As long as nothing more is made, the text of before stays: it is not to be written for a clock.
fn pending(look: &Look<'_>) -> String {
    let made = look
        .wanted
        .iter()
        .filter(|alarm| {
            !look.plan.puts.iter().any(|put| put.name == alarm.name) && is_there(alarm, look.there)
        })
        .count();
    let so_far = format!("{made} of {} are as asked for; ", count(look.wanted.len()));
    let before = find_condition(&look.before.conditions, ConditionType::AlarmsReady.as_str());
    if let Some(before) = before
        && before.reason == Reason::AlarmsPending.as_str()
        && before.message.starts_with(&so_far)
    {
        return before.message.clone();
    }
    let wait = coarse(look.wait.unwrap_or_default());
    format!(
        "{so_far}CloudWatch takes three changes a second in an account and region, and this stream's turn comes within {wait}"
    )
}

fn count(alarms: usize) -> String {
    if alarms == 1 { "1 alarm".to_owned() } else { format!("{alarms} alarms") }
}

fn is_there(alarm: &Alarm, there: &[AlarmInfo]) -> bool {
    there.iter().any(|info| info.alarm.name == alarm.name)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.collect();
    let more =
        if all.len() > NAMES_TOLD { format!(" and {} more", all.len() - NAMES_TOLD) } else { String::new() };
    format!("{}{more}", all[..all.len().min(NAMES_TOLD)].join(", "))
}

/// Whether an error passes by itself, and says nothing about the alarms.
pub const fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Throttled | ErrorKind::Unreachable | ErrorKind::NotLeader | ErrorKind::Other)
}

fn refusal(kind: ErrorKind) -> (Truth, Reason, &'static str) {
    match kind {
        ErrorKind::LimitExceeded | ErrorKind::Quota => (
            Truth::False,
            Reason::AlarmsQuota,
            "The account has no room for more alarms in this region: ask AWS for a higher quota, or have fewer kinds in \
             spec.alarms.perStream",
        ),
        ErrorKind::Denied => (
            Truth::False,
            Reason::AwsAccessDenied,
            "AWS does not let the operator do this: allow the named call, or set spec.alarms.perStream to []",
        ),
        ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::WrongAccount => (
            Truth::False,
            Reason::AwsAccessDenied,
            "AWS refuses the operator's credentials: kubectl describe streamclass says more",
        ),
        ErrorKind::InvalidArgument => (
            Truth::False,
            Reason::AwsInvalidArgument,
            "CloudWatch refuses a value of the alarms: correct spec.alarms.actionARNs (an SNS topic must be in the stream's \
             region) or spec.alarms.noIngest, here or in the class",
        ),
        ErrorKind::Throttled => {
            (Truth::Unknown, Reason::AwsThrottled, "CloudWatch asks for fewer calls; it is tried again")
        }
        ErrorKind::Unreachable => (
            Truth::Unknown,
            Reason::AwsUnreachable,
            "CloudWatch cannot be reached; it is tried again: check the class's spec.aws.endpoints.cloudWatch and the way out of the cluster",
        ),
        _ => (
            Truth::Unknown,
            Reason::AwsError,
            "CloudWatch did not do what it was asked; it is tried again: check what it says, and the class's spec.aws",
        ),
    }
}

/// Whether an alarm of a status has been seen at the service: one that was just made, or that somebody has deleted, has no time.
pub fn is_seen(alarm: &AlarmStatus) -> bool {
    alarm.since.is_some() || alarm.state != AlarmState::InsufficientData
}

/// `status.alarms[]`: those that are wanted and there, and those that somebody has deleted and that are left so.
pub fn statuses(look: &Look<'_>) -> Vec<AlarmStatus> {
    let known = |name: &str| look.before.alarms.iter().find(|known| known.name == name);
    let mut statuses = Vec::new();
    for alarm in look.wanted {
        let kind = kind_of(&alarm.name);
        let is_foreign = look.plan.foreign.contains(&alarm.name);
        let there = look.there.iter().find(|info| info.alarm.name == alarm.name).filter(|_| !is_foreign);
        if let Some(info) = there {
            let since = info.since.map(|since| Time(whole_seconds(since)));
            // The service rewords a reason though nothing has turned: the first one stays.
            let same = known(&alarm.name).filter(|known| known.state == info.state && known.since == since);
            let reason = same.map_or_else(|| info.reason.clone(), |known| known.reason.clone());
            statuses.push(AlarmStatus { name: alarm.name.clone(), kind, state: info.state, reason, since });
        } else if let Some(known) = known(&alarm.name).filter(|_| !is_foreign) {
            // That it was there tells a deletion from an alarm that was never made.
            statuses.push(AlarmStatus {
                state: AlarmState::InsufficientData,
                reason: "Somebody has deleted the alarm".to_owned(),
                since: None,
                ..known.clone()
            });
        }
    }
    statuses
}

/// What is said of the alarms on record of a stream that is not the object's (any more), for this reason: nothing is known of them. `None`
/// where it never had any. Their names stay, for they are to go with the object.
pub fn unknown(before: &VideoStreamStatus, reason: Reason) -> Option<(Verdict, Vec<AlarmStatus>)> {
    find_condition(&before.conditions, ConditionType::AlarmsReady.as_str())
        .filter(|known| known.reason != Reason::NoAlarms.as_str() || !before.alarms.is_empty())?;
    let alarms = before.alarms.iter().map(|alarm| AlarmStatus {
        state: AlarmState::InsufficientData,
        reason: "It is not looked at, since the stream is not this object's".to_owned(),
        since: None,
        ..alarm.clone()
    });
    let message = "The stream is not this object's, and its alarms are not looked at: see Ready";
    let verdict = Verdict::new(ConditionType::AlarmsReady, Truth::Unknown, reason.as_str(), message);
    Some((verdict, alarms.collect()))
}

/// What to tell: alarms that went off and that are over, and trouble that was not there before.
pub fn notes(look: &Look<'_>, after: &[AlarmStatus], verdict: Option<&Verdict>) -> Vec<Note> {
    let mut notes: Vec<Note> = after.iter().filter_map(|alarm| transition(look, alarm)).collect();
    let before = find_condition(&look.before.conditions, ConditionType::AlarmsReady.as_str());
    let is_news = |verdict: &&Verdict| {
        let is_trouble = verdict.status != Truth::True
            && ![Reason::AlarmsPending, Reason::Suspended]
                .iter()
                .any(|reason| reason.as_str() == verdict.reason);
        is_trouble && before.is_none_or(|before| before.reason != verdict.reason)
    };
    notes.extend(
        verdict
            .filter(is_news)
            .map(|verdict| Note::warning(verdict.reason, "KeepAlarms", verdict.message.clone())),
    );
    notes
}

fn transition(look: &Look<'_>, alarm: &AlarmStatus) -> Option<Note> {
    let before = look.before.alarms.iter().find(|known| known.name == alarm.name).map(|known| known.state);
    let kind = alarm.kind.map_or_else(|| alarm.name.clone(), |kind| kind.to_string());
    let says = look.wanted.iter().find(|wanted| wanted.name == alarm.name);
    let says = says.map_or("", |wanted| without_mark(&wanted.description));
    match (before, alarm.state) {
        (Some(AlarmState::Alarm), AlarmState::Alarm) => None,
        (_, AlarmState::Alarm) => {
            Some(Note::warning("AlarmRaised", "WatchAlarms", format!("{kind}: {says} ({})", alarm.reason)))
        }
        (Some(AlarmState::Alarm), AlarmState::Ok) => Some(Note::normal(
            "AlarmCleared",
            "WatchAlarms",
            format!("{kind}: it is over ({})", alarm.reason),
        )),
        (Some(AlarmState::Alarm | AlarmState::Ok), AlarmState::InsufficientData) => {
            let text = format!("{kind}: it is not known any more ({})", alarm.reason);
            Some(Note::normal("AlarmUnknown", "WatchAlarms", text))
        }
        // That a new alarm has seen enough is no news, for each stream has that once.
        (_, AlarmState::Ok | AlarmState::InsufficientData) => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use streamfleet_crds::AlarmKind;

    use super::*;
    use crate::conditions::merge;

    fn status(reason: Option<Reason>, alarms: Vec<AlarmStatus>) -> VideoStreamStatus {
        let verdict =
            |reason: Reason| Verdict::new(ConditionType::AlarmsReady, Truth::True, reason.as_str(), "");
        let verdicts: Vec<Verdict> = reason.map(verdict).into_iter().collect();
        let conditions = merge(&[], &verdicts, Some(1), Timestamp::UNIX_EPOCH);
        VideoStreamStatus { conditions, alarms, ..VideoStreamStatus::default() }
    }

    #[test]
    fn every_refusal_names_fields_by_their_whole_path_and_says_what_comes_next() {
        let advice = |kind| refusal(kind).2;
        for (kind, expected) in [
            (ErrorKind::LimitExceeded, "have fewer kinds in spec.alarms.perStream"),
            (ErrorKind::Denied, "set spec.alarms.perStream to []"),
            (ErrorKind::InvalidArgument, "an SNS topic must be in the stream's region"),
            (ErrorKind::InvalidArgument, "spec.alarms.noIngest"),
            (ErrorKind::Unreachable, "spec.aws.endpoints.cloudWatch"),
            (ErrorKind::Throttled, "it is tried again"),
            (ErrorKind::Other, "it is tried again: check"),
        ] {
            assert!(advice(kind).contains(expected), "{kind:?}: {}", advice(kind));
            let words = advice(kind).split([' ', ',']);
            let mut bare = words.filter(|word| word.starts_with("alarms.") || word.starts_with("aws."));
            assert_eq!(bare.next(), None, "{kind:?}: {}", advice(kind));
        }
    }

    #[test]
    fn of_a_stream_that_is_not_ours_no_alarm_is_said_to_stand_as_it_was_last_seen() {
        let alarm = AlarmStatus {
            name: "streamfleet/north/shop/door/NoIngest".to_owned(),
            kind: Some(AlarmKind::NoIngest),
            state: AlarmState::Ok,
            reason: "Threshold Crossed".to_owned(),
            since: Some(Time(Timestamp::UNIX_EPOCH)),
        };
        let before = status(Some(Reason::AlarmsInSync), vec![alarm.clone()]);
        let (verdict, alarms) = unknown(&before, Reason::IdentityChanged).unwrap();
        assert_eq!((verdict.status, verdict.reason), (Truth::Unknown, Reason::IdentityChanged.as_str()));
        assert_eq!(alarms.len(), 1);
        assert_eq!((&alarms[0].name, alarms[0].state), (&alarm.name, AlarmState::InsufficientData));
        assert!(!is_seen(&alarms[0]), "no alarm of a site counts on it");
        // It is said once, and nothing is said of alarms that there never were.
        let again = VideoStreamStatus { alarms: alarms.clone(), ..before };
        assert_eq!(unknown(&again, Reason::IdentityChanged).unwrap().1, alarms);
        assert_eq!(unknown(&status(None, Vec::new()), Reason::OwnedByOther), None);
        assert_eq!(unknown(&status(Some(Reason::NoAlarms), Vec::new()), Reason::OwnedByOther), None);
    }
}
