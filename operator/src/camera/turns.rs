//! What is told and measured when the conditions of a Camera turn. Pure.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{Camera, CameraReason as Reason, CameraStatus, ConditionType};

use crate::conditions::Truth;
use crate::events::{Note, turned};

/// How long a new Camera took until its video was stored, when that is so now. One whose video was stored before is not new.
pub(super) fn first_ready(
    camera: &Camera,
    before: &CameraStatus,
    after: &CameraStatus,
    now: Timestamp,
) -> Option<Duration> {
    let ready = ConditionType::Ready.as_str();
    let is_first = before.last_persisted_time.is_none()
        && is_true(&after.conditions, ready)
        && !is_true(&before.conditions, ready);
    let created = camera.metadata.creation_timestamp.as_ref().filter(|_| is_first)?;
    Some(now.duration_since(created.0).unsigned_abs())
}

/// What to tell about conditions that have turned: `Ready`, and `Reachable`, which turns earlier.
pub(super) fn notes(before: &CameraStatus, after: &CameraStatus) -> Vec<Note> {
    let mut told = HashSet::new();
    let mut notes = Vec::new();
    for type_ in [ConditionType::Ready, ConditionType::Reachable] {
        let Some(condition) = turned(&before.conditions, &after.conditions, type_.as_str()) else { continue };
        let Some(reason) = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason) else {
            continue;
        };
        let is_back = find_condition(&before.conditions, type_.as_str())
            .is_some_and(|before| before.status == Truth::False.as_str());
        let is_news = match reason {
            // Being on the way to something is no news, nor is it that a stream has to be made first.
            Reason::Connecting | Reason::ProducerStarting | Reason::NoMedia | Reason::Opening => false,
            Reason::VideoStreamNotReady => !before.conditions.is_empty(),
            Reason::Connected => is_back,
            _ => condition.status != Truth::Unknown.as_str(),
        };
        if is_news && told.insert(*reason) {
            let warning = condition.status != Truth::True.as_str();
            notes.push(Note {
                warning,
                reason: reason.as_str(),
                action: "Observe",
                text: condition.message.clone(),
            });
        }
    }
    notes
}
