//! The end of a run: everything settled, and then nothing changed any more.

use std::time::Duration;

use serde_json::{Value, json};
use streamfleet_crds::{StreamClassReason, VideoStreamReason};

use crate::facts::{ClassWish, Wish, alarms, is_left, streams};
use crate::trace::What;
use crate::wanted;
use crate::world::{Inner, World};

/// So long nothing has changed: the second sweep of alarms, which come every two minutes, tells what CloudWatch makes of a new one.
const QUIET_MS: u64 = 250_000;
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);

/// How long the operator is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// What is to come has begun by then.
    pub looked_at: Duration,
    /// By when all is settled, once nothing stands in the way any more.
    pub within: Duration,
    /// Nothing changes for so long once all is settled.
    pub steady: Duration,
}

impl Patience {
    /// Nothing has changed for [`QUIET_MS`] by then, which is long enough for the sweeps of streams and alarms.
    pub const SHORT: Self = Self {
        looked_at: Duration::from_secs(250),
        within: Duration::from_mins(25),
        steady: Duration::from_secs(5),
    };
    /// Long enough for the regular look at each object too.
    pub const LONG: Self = Self { steady: Duration::from_mins(40), ..Self::SHORT };
}

/// Resolves when everything is settled, and has been steady after that; what is not is against the invariants.
pub async fn rested(world: &World) {
    let Patience { looked_at, within, steady } = world.lock().patience;
    let mut lived = Duration::ZERO;
    loop {
        tokio::time::sleep(LOOK).await;
        lived += LOOK;
        let mut inner = world.lock();
        let mut unsettled = unsettled(&inner);
        if unsettled.is_empty() {
            unsettled = wanted::problems(&mut inner);
        }
        let last = inner.trace.iter().rev().find(|seen| seen.what.is_change());
        let is_quiet = last.is_none_or(|seen| seen.at_ms + QUIET_MS <= inner.now_ms());
        if unsettled.is_empty() && is_quiet && lived >= looked_at {
            inner.settled_after = inner.points.len();
            break;
        }
        if lived >= within {
            inner.violate(format!("I6: not settled: {}", unsettled.join(", ")));
            return;
        }
    }
    let before = world.lock().changes();
    tokio::time::sleep(steady).await;
    let mut inner = world.lock();
    if inner.changes() != before {
        let last = inner.trace.iter().rev().find(|seen| seen.what.is_change());
        let text = last.map(|seen| match &seen.what {
            What::Aws { operation, .. } => (*operation).to_owned(),
            What::Write { label, body, .. } => format!("{label} {body}"),
            What::Read { .. } => String::new(),
        });
        inner.violate(format!("I6: not steady: {}", text.unwrap_or_default()));
    }
    let problems = wrong_ends(&mut inner);
    for problem in problems {
        inner.violate(problem);
    }
}

/// Reasons that pass by themselves.
fn passes(reason: VideoStreamReason) -> bool {
    use VideoStreamReason as Reason;
    matches!(
        reason,
        Reason::Creating
            | Reason::Deleting
            | Reason::ChangePending
            | Reason::Unknown
            | Reason::AlarmsPending
            | Reason::NameTaken
            | Reason::AwsUnreachable
            | Reason::AwsThrottled
            | Reason::AwsError
            | Reason::StreamClassNotReady
    )
}

/// Objects whose conditions are not their last word.
pub fn unsettled(inner: &Inner) -> Vec<String> {
    let streams = inner.store.all("videostreams").filter_map(|(key, object)| {
        let ready = condition(object, "Ready");
        let reason = ready["reason"].as_str().unwrap_or_default();
        let known = VideoStreamReason::ALL.iter().find(|known| known.as_str() == reason);
        let alarms = condition(object, "AlarmsReady")["reason"] != "AlarmsPending";
        let is_last = known.is_some_and(|reason| !passes(*reason)) && alarms;
        let is_seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let is_leaving = object["metadata"]["deletionTimestamp"].is_string();
        (!is_last || !is_seen || is_leaving).then(|| format!("{} {}: {}", key.1, key.2, object["status"]))
    });
    let classes = ClassWish::all(inner).into_iter().filter_map(|wish| {
        let object = inner.store.get(&wish.key)?;
        let is_used = Wish::all(inner).iter().any(|stream| stream.class == wish.name);
        let due = if wish.is_leaving && is_used {
            StreamClassReason::StillReferenced
        } else {
            StreamClassReason::CallerVerified
        };
        let ready = condition(object, "Ready")["reason"] == due.as_str();
        let alarms = condition(object, "AlarmsReady");
        let is_last = alarms["status"] != "Unknown" && alarms["reason"] != "AlarmsPending";
        let is_seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let is_done = ready && is_last && is_seen && (is_used || !wish.is_leaving);
        (!is_done).then(|| format!("class {}: {}", wish.name, object["status"]))
    });
    streams.chain(classes).collect()
}

pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// What is not as the objects ask, where they say that all is well.
fn wrong_ends(inner: &mut Inner) -> Vec<String> {
    let alarms = wanted::problems(inner).into_iter().map(|problem| format!("end: {problem}"));
    let inner = &*inner;
    let mut problems: Vec<String> = alarms.collect();
    let streams = streams(inner);
    let wishes = Wish::all(inner);
    for wish in &wishes {
        let object = inner.store.get(&wish.key).cloned().unwrap_or_default();
        let is_held = wish.is_suspended || wish.is_observed;
        let ready = condition(&object, "Ready");
        if is_held || ready["status"] != "True" || ready["reason"] != "Active" {
            continue;
        }
        let Some(stream) = streams.iter().find(|stream| stream.name == wish.stream) else {
            problems.push(format!("end: {} is Ready, and has no stream", wish.stream));
            continue;
        };
        if wish.recorded.as_deref() != Some(&stream.arn()) {
            problems.push(format!("end: {} is Ready, and another stream is on record", wish.stream));
        }
        let differences = wish.differences(stream).into_iter().filter(|text| !is_left(inner, wish, text));
        problems.extend(differences.map(|text| format!("end: {}: {text}", wish.stream)));
    }
    for (name, tags) in &inner.facts.foreign_tags {
        if let Some(stream) = streams.iter().find(|stream| stream.name == *name) {
            let gone = tags.iter().filter(|(key, value)| stream.tags.get(*key) != Some(value));
            problems.extend(gone.map(|(key, _)| format!("end: the foreign tag {key} of {name} is gone")));
        }
    }
    problems
}

/// What there is, without times, versions and UIDs: two runs that end alike have the same.
pub fn summary(inner: &mut Inner) -> Value {
    let alarm = |alarm: &Value| {
        json!([alarm["AlarmName"], alarm["AlarmActions"], alarm["ActionsEnabled"], alarm["AlarmRule"]])
    };
    let alarms: Vec<Value> = alarms(inner).iter().map(alarm).collect();
    let classes: Vec<Value> =
        inner.store.all("streamclasses").map(|(_, object)| class_summary(object)).collect();
    let objects: Vec<Value> = inner
        .store
        .all("videostreams")
        .map(|(key, object)| {
            let status = &object["status"];
            let conditions: Vec<Value> = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                // Who made the stream is not known to the operator that comes after one that was stopped.
                .map(|condition| match condition["type"].as_str() {
                    Some("Owned") => json!(["Owned", condition["status"]]),
                    _ => json!([condition["type"], condition["status"], condition["reason"]]),
                })
                .collect();
            json!({
                "name": key.2, "finalizers": object["metadata"]["finalizers"], "conditions": conditions,
                "synced": status["lastSynced"], "managed": status["managedTags"], "pending": status["pendingChanges"],
                "retention": status["retentionHours"], "tier": status["storageTier"], "drift": status["drift"].is_array(),
                "has": status["streamARN"].is_string(),
            })
        })
        .collect();
    let streams: Vec<Value> = streams(inner)
        .iter()
        .map(|stream| {
            let mut tags = stream.tags.clone();
            tags.remove(streamfleet_crds::ownership_tags::UID);
            json!([
                stream.name,
                stream.retention_hours,
                stream.tier,
                stream.media_type,
                stream.device_name,
                stream.image_generation,
                stream.notification,
                tags,
            ])
        })
        .collect();
    json!({ "objects": objects, "classes": classes, "streams": streams, "alarms": alarms })
}

fn class_summary(class: &Value) -> Value {
    let conditions = class["status"]["conditions"].as_array().into_iter().flatten();
    let conditions: Vec<Value> =
        conditions.map(|one| json!([one["type"], one["status"], one["reason"]])).collect();
    json!({
        "name": class["metadata"]["name"], "finalizers": class["metadata"]["finalizers"],
        "conditions": conditions, "streams": class["status"]["streams"],
    })
}
