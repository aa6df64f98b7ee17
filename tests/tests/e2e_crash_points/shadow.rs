//! The real world as one of in process, so that what is looked at there is looked at here by the same code: what has settled, what
//! has come of it, and what the operator did to get there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use streamfleet_emulator::cloudwatch::{self, CloudWatch};
use streamfleet_emulator::control::{Control, StreamRecord};

use crate::actions::NAMESPACE;
use crate::alarms::{metric_alarm, put_metric};
use crate::api::store::Store;
use crate::asked::About;
use crate::facts::stream_key;
use crate::gate::Seen;
use crate::invariants;
use crate::look::{Moment, Names};
use crate::paths::STREAM;
use crate::rest;
use crate::trace::{What, is_change};
use crate::wanted;
use crate::ways;
use crate::world::{Inner, World};

/// The operations of KVS and CloudWatch that an operator calls and that are looked at.
const OPERATIONS: [&str; 15] = [
    "CreateStream",
    "DeleteStream",
    "DescribeStream",
    "UpdateStream",
    "UpdateDataRetention",
    "UpdateStreamStorageConfiguration",
    "UpdateImageGenerationConfiguration",
    "UpdateNotificationConfiguration",
    "TagStream",
    "UntagStream",
    "ListTagsForStream",
    "DescribeAlarms",
    "PutMetricAlarm",
    "PutCompositeAlarm",
    "DeleteAlarms",
];

/// What is called as often as undisturbed, and no more: each would be done twice.
const ONCE: [&str; 5] = [
    "CreateStream",
    "DeleteStream",
    "UpdateDataRetention",
    "UpdateStreamStorageConfiguration",
    "UpdateStream",
];

/// Puts the object and the streams of a moment in place of those of a world.
fn put(inner: &mut Inner, moment: &Moment) {
    let now_ms = inner.now_ms();
    let mut store = Store::default();
    for plural in ["namespaces", "streamclasses"] {
        for (key, object) in inner.store.all(plural) {
            store.create(key, (**object).clone(), now_ms).unwrap();
        }
    }
    if let Some(object) = &moment.object {
        let mut object = object.clone();
        // A new object is of the first generation.
        let is_seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if object["status"].is_object() {
            object["status"]["observedGeneration"] = i32::from(is_seen).into();
        }
        store.create(&stream_key(NAMESPACE, "door"), object, now_ms).unwrap();
    }
    inner.store = store;
    let records = moment.streams.iter().map(|stream| serde_json::from_value(stream.clone()).unwrap());
    let mut control = Control::new(inner.control.options().clone());
    control.restore(records.collect::<Vec<StreamRecord>>(), vec![]);
    inner.control = control;
}

/// A world in which there is what there was at a moment, and these alarms.
fn world(base: &World, moment: &Moment, alarms: &[Value]) -> World {
    let world = base.fork();
    let mut inner = world.lock();
    let mine = moment.streams.iter().filter(|stream| stream["name"] == STREAM).cloned().collect();
    put(&mut inner, &Moment { object: moment.object.clone(), streams: mine });
    inner.cloudwatch = CloudWatch::new(cloudwatch::Settings::default());
    let now_ms = inner.now_ms();
    for alarm in alarms {
        let request = put_metric(&metric_alarm(alarm).alarm);
        inner.cloudwatch.call(&World::scope(), "PutMetricAlarm", &request, now_ms).unwrap();
    }
    drop(inner);
    world
}

/// What has not settled.
pub fn unsettled(base: &World, moment: &Moment, alarms: &[Value]) -> Vec<String> {
    let world = world(base, moment, alarms);
    let mut inner = world.lock();
    let mut unsettled = rest::unsettled(&inner);
    if unsettled.is_empty() {
        unsettled = wanted::problems(&mut inner);
    }
    unsettled
}

/// What there is, as two runs that end alike have the same.
pub fn summary(base: &World, moment: &Moment, alarms: &[Value]) -> Value {
    ways::summary(&world(base, moment, alarms))
}

/// What of all that an operator asked is against the invariants.
pub fn against_invariants(base: &World, names: &Names, seen: &[Seen]) -> Vec<String> {
    let world = base.fork();
    let mut inner = world.lock();
    for one in seen {
        if one.asked.about == About::Others {
            if one.is_change() {
                inner.violate(format!(
                    "{} is about what nobody has changed: {}",
                    one.asked.label, one.asked.request
                ));
            }
            continue;
        }
        if one.asked.is_aws { call(&mut inner, names, one) } else { write(&mut inner, names, one) }
    }
    inner.violations.clone()
}

fn call(inner: &mut Inner, names: &Names, seen: &Seen) {
    let Some(operation) = OPERATIONS.into_iter().find(|known| *known == seen.asked.label) else {
        if is_change(&seen.asked.label) && seen.asked.label != "AssumeRole" {
            inner.violate(format!("{} is not looked at", seen.asked.label));
        }
        return;
    };
    let request = names.plain(&seen.asked.request);
    let is_about_alarms = operation.ends_with("Alarms") || operation.ends_with("Alarm");
    if is_about_alarms && request["AlarmNames"].as_array().is_none_or(Vec::is_empty) {
        inner.violate(format!("ownership: {operation} of an alarm that no operator makes"));
    }
    if let Some((before, _)) = &seen.around {
        put(inner, before);
        invariants::before(inner, operation, &request);
    }
    if let Some((_, after)) = &seen.around {
        put(inner, after);
    }
    let answer = names.plain(&seen.answer);
    let answer = if seen.is_done() { Ok(answer) } else { Err(answer.to_string()) };
    inner.note(What::Aws { operation, request, answer });
}

fn write(inner: &mut Inner, names: &Names, seen: &Seen) {
    let key = names.plain(&json!([seen.asked.key.0, seen.asked.key.1, seen.asked.key.2]));
    let part = |at: usize| key[at].as_str().unwrap_or_default().to_owned();
    let key = (part(0), part(1), part(2));
    let object = seen.is_done().then(|| Arc::new(names.plain(&seen.answer)));
    if seen.asked.is_point {
        let body = names.plain(&seen.asked.request);
        inner.note(What::Write { label: seen.asked.label.clone(), key, body, object });
    } else if !key.2.is_empty() {
        inner.note(What::Read { key, object });
    }
}

/// How often each operation was carried out that is not to be more than undisturbed.
pub fn counts(seen: &[Seen]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for one in seen.iter().filter(|one| one.is_done() && ONCE.contains(&one.asked.label.as_str())) {
        *counts.entry(one.asked.label.as_str()).or_default() += 1;
    }
    counts
}
