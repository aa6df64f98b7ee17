//! What must hold at every step (operators-facts §8.2): looked at before each call that changes something, and after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use streamfleet_crds::{FINALIZER, ownership_tags};
use streamfleet_emulator::control::StreamRecord;

use crate::api::store::{Key, Kind};
use crate::facts::{Wish, map, stream_key, streams, texts};
use crate::trace::{Seen, What, is_change};
use crate::world::{INSTALLATION, Inner, SECRET};

/// Before a call that changes something.
pub fn before(inner: &mut Inner, operation: &'static str, request: &Value) {
    let problems = match operation {
        "CreateStream" => of_create(inner, request),
        "PutMetricAlarm" | "PutCompositeAlarm" | "DeleteAlarms" => of_alarms(inner, operation, request),
        _ => of_stream(inner, operation, request),
    };
    for problem in problems {
        inner.violate(format!("{problem} ({operation})"));
    }
}

/// After anything that the operator did.
pub fn after(inner: &mut Inner, seen: &Seen) {
    match &seen.what {
        What::Write { label, key, body, object } => {
            if body.to_string().contains(SECRET) {
                inner.violate(format!("I7: a secret was written ({label})"));
            }
            if let Some(problem) = object.as_ref().and_then(|object| unprotected(inner, key, object)) {
                inner.violate(problem);
            }
        }
        What::Aws { operation, request, answer } if is_change(operation) && answer.is_ok() => {
            if *operation == "DeleteStream" {
                let name =
                    request["StreamARN"].as_str().and_then(|arn| arn.split('/').nth(1)).unwrap_or_default();
                inner.facts.forget(name);
            }
            for problem in one_stream_each(inner).into_iter().chain(retention(inner, operation, request)) {
                inner.violate(problem);
            }
        }
        What::Read { .. } | What::Aws { .. } => {}
    }
}

/// A class stays while a `VideoStream` refers to it.
fn unprotected(inner: &Inner, key: &Key, written: &Value) -> Option<String> {
    let is_protected = texts(&written["metadata"]["finalizers"]).iter().any(|name| name == FINALIZER);
    if key.0 != "streamclasses" || is_protected {
        return None;
    }
    let users = Wish::all(inner).into_iter().filter(|wish| wish.class == key.2 && wish.recorded.is_some());
    let users: Vec<String> = users.map(|wish| wish.stream).collect();
    (!users.is_empty()).then(|| format!("protection: class {} is let go, and {users:?} have it", key.2))
}

/// I1: at most one stream for each object, and none without an owner that nobody took away.
fn one_stream_each(inner: &Inner) -> Vec<String> {
    let mut owners: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for stream in streams(inner) {
        let keys = [ownership_tags::INSTALLATION, ownership_tags::NAMESPACE, ownership_tags::NAME];
        let owner: Option<Vec<String>> = keys.iter().map(|key| stream.tags.get(*key).cloned()).collect();
        if let Some(owner) = owner.filter(|owner| owner[0] == INSTALLATION) {
            *owners.entry(owner).or_default() += 1;
        }
    }
    let twice = owners.into_iter().filter(|(_, count)| *count > 1);
    twice.map(|(owner, count)| format!("I1: {count} streams of {owner:?}")).collect()
}

/// I3: retention moves only to what is asked for.
fn retention(inner: &Inner, operation: &str, request: &Value) -> Option<String> {
    if operation != "UpdateDataRetention" {
        return None;
    }
    let stream = by_arn(inner, request)?;
    let wishes = wishes(inner, &stream.name);
    let hours = i64::from(stream.retention_hours);
    let is_asked_for = wishes.iter().any(|wish| wish.retention == hours);
    (!is_asked_for).then(|| format!("I3: retention is {hours}, which nobody asked for"))
}

fn by_arn(inner: &Inner, request: &Value) -> Option<Arc<StreamRecord>> {
    let arn = request["StreamARN"].as_str()?;
    inner.control.streams().find(|stream| stream.arn() == arn).cloned()
}

/// What the object of a stream asks for: now, and as the task that calls has read it last.
fn wishes(inner: &Inner, stream: &str) -> Vec<Wish> {
    let now = Wish::of_stream(inner, stream);
    let seen = as_read(inner, stream);
    now.into_iter().chain(seen).collect()
}

/// The object of a stream as the task that calls has last read it, or been answered about it.
fn as_read(inner: &Inner, stream: &str) -> Option<Wish> {
    let task = inner.task();
    let mine = inner.trace.iter().rev().filter(|seen| seen.task == task);
    let objects = mine.filter_map(|seen| match &seen.what {
        What::Read { key, object: Some(object) } | What::Write { key, object: Some(object), .. } => {
            (key.0 == "videostreams").then_some(object)
        }
        What::Read { .. } | What::Write { .. } | What::Aws { .. } => None,
    });
    let mut wishes = objects.filter_map(|object| Wish::of(inner, object));
    wishes.find(|wish| wish.stream == stream)
}

/// I2: whether the task that calls has read this version of the stream since it changed anything, and the object at all.
fn unread(inner: &Inner, stream: &StreamRecord, key: &Key) -> Option<String> {
    let task = inner.task();
    let (mut has_stream, mut has_object) = (false, false);
    for seen in inner.trace.iter().rev().filter(|seen| seen.task == task) {
        match &seen.what {
            What::Aws { operation: "DescribeStream", answer: Ok(answer), .. } => {
                let info = &answer["StreamInfo"];
                has_stream |= info["StreamARN"] == stream.arn() && info["Version"] == stream.version;
            }
            What::Aws { operation, .. } if is_change(operation) && !has_stream => break,
            What::Read { key: read, .. } | What::Write { key: read, object: Some(_), .. } => {
                has_object |= read == key;
            }
            What::Aws { .. } | What::Write { .. } => {}
        }
    }
    let what = match (has_stream, has_object) {
        (true, true) => return None,
        (false, _) => "the stream",
        (true, false) => "the object",
    };
    Some(format!("I2: {what} was not read afresh before something was destroyed"))
}

fn of_create(inner: &Inner, request: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let stream = request["StreamName"].as_str().unwrap_or_default();
    let Some(now) = Wish::of_stream(inner, stream) else {
        // It went after it was read.
        let was_there = as_read(inner, stream).is_some();
        return if was_there { vec![] } else { vec!["I1: a stream of no object".to_owned()] };
    };
    let tags = map(&request["Tags"]);
    if !now.owns(&tags) || !tags.contains_key(ownership_tags::UID) {
        problems.push("I1: a stream without an owner".to_owned());
    }
    match as_read(inner, stream) {
        None => problems.push("I1: a stream is made on the word of a cache".to_owned()),
        Some(read) if read.is_leaving => problems.push("I1: a stream of an object that goes".to_owned()),
        Some(read) if read.is_suspended || read.is_observed => {
            problems.push("hold: a stream is made of an object that is only looked at".to_owned());
        }
        Some(_) => {}
    }
    if !now.has_finalizer {
        problems.push("I1: a stream of an object without finalizer".to_owned());
    }
    problems
}

fn of_alarms(inner: &Inner, operation: &str, request: &Value) -> Vec<String> {
    let mut names = texts(&request["AlarmNames"]);
    names.extend(request["AlarmName"].as_str().map(ToOwned::to_owned));
    let of_others = names.iter().filter(|name| !name.starts_with(&alarms_prefix()));
    let mut problems: Vec<String> =
        of_others.map(|name| format!("ownership: the alarm {name} is not ours")).collect();
    if operation == "DeleteAlarms" {
        let unread = names.iter().filter(|name| !is_alarm_read(inner, name));
        problems.extend(unread.map(|name| format!("I2: the alarm {name} was not read afresh as ours")));
        let wanted = names.iter().filter(|name| is_alarm_wanted(inner, name).unwrap_or_default());
        problems
            .extend(wanted.map(|name| format!("alarms: {name} is deleted, which a living stream asks for")));
    }
    problems
}

/// What the names of all our alarms begin with.
fn alarms_prefix() -> String {
    format!("streamfleet/{INSTALLATION}/")
}

/// Whether the task that calls has asked for this alarm by name, and what it found, if anything, has our mark.
fn is_alarm_read(inner: &Inner, name: &str) -> bool {
    let task = inner.task();
    let mine = inner.trace.iter().filter(|seen| seen.task == task);
    let reads = mine.filter_map(|seen| match &seen.what {
        What::Aws { operation: "DescribeAlarms", request, answer: Ok(answer) } => {
            texts(&request["AlarmNames"]).iter().any(|asked| asked == name).then_some(answer)
        }
        What::Aws { .. } | What::Read { .. } | What::Write { .. } => None,
    });
    let mark = format!("Kept by Streamfleet (installation {INSTALLATION},");
    let is_marked = |answer: &Value| {
        let parts = ["MetricAlarms", "CompositeAlarms"].map(|part| answer[part].as_array());
        let found = parts.into_iter().flatten().flatten().filter(|alarm| alarm["AlarmName"] == *name);
        found
            .map(|alarm| alarm["AlarmDescription"].as_str())
            .all(|text| text.unwrap_or_default().contains(&mark))
    };
    let mut reads = reads.map(is_marked).peekable();
    reads.peek().is_some() && reads.all(|is_marked| is_marked)
}

/// Whether this is the alarm of an object that is to stay, and that has asked for this kind ever since the task that calls began.
fn is_alarm_wanted(inner: &Inner, name: &str) -> Option<bool> {
    let mut parts = name.strip_prefix(&alarms_prefix())?.splitn(3, '/');
    let key = stream_key(parts.next()?, parts.next()?);
    // Some kinds are more than one alarm: `KIND.PART`.
    let kind = parts.next()?.split('.').next()?;
    let task = inner.task();
    let began = inner.trace.iter().find(|seen| seen.task == task)?.at_ms;
    let asks = |object: &Value| {
        Wish::of(inner, object)
            .is_some_and(|wish| !wish.is_leaving && wish.alarms.iter().any(|asked| asked == kind))
    };
    for entry in inner.store.log().iter().rev().filter(|entry| entry.key == key) {
        if entry.kind == Kind::Deleted || !asks(&entry.object) {
            return Some(false);
        }
        if entry.at_ms <= began {
            return Some(true);
        }
    }
    None
}

fn of_stream(inner: &Inner, operation: &str, request: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    // Nothing comes of a call about a stream that is gone.
    let Some(stream) = by_arn(inner, request) else { return problems };
    let arn = stream.arn();
    let wishes = wishes(inner, &stream.name);
    let Some(now) = wishes.first() else { return vec!["I4: the stream of no object".to_owned()] };
    if now.recorded.as_ref().is_some_and(|recorded| *recorded != arn) {
        problems.push("I4: not the stream that is on record".to_owned());
    }
    if now.is_of_other(&stream.tags) {
        problems.push("ownership: the stream is somebody else's".to_owned());
    }
    if operation == "DeleteStream" {
        problems.extend(of_delete(inner, &stream, now));
        return problems;
    }
    let is_open = |wish: &Wish| !wish.is_suspended && !wish.is_observed && !wish.is_leaving;
    if !wishes.iter().any(is_open) {
        problems.push("hold: the object is suspended, only looks, or goes".to_owned());
    }
    let may_adopt = wishes.iter().any(|wish| wish.adoption == "IfUnowned");
    let is_ours = now.owns(&stream.tags) || now.recorded.as_ref() == Some(&arn);
    let takes = operation == "TagStream" && now.owns(&map(&request["Tags"]));
    if !(is_ours || may_adopt && takes) {
        problems.push("ownership: the stream is nobody's".to_owned());
    }
    match operation {
        "UpdateDataRetention" => problems.extend(of_retention(inner, &stream, &wishes, request)),
        "TagStream" => {
            let may = |key: &String| {
                key.starts_with(ownership_tags::PREFIX)
                    || wishes.iter().any(|wish| wish.tags.contains_key(key))
            };
            let keys = map(&request["Tags"]).into_keys().filter(|key| !may(key));
            problems.extend(keys.map(|key| format!("tags: {key} was not asked for")));
        }
        "UntagStream" => {
            let foreign = inner.facts.foreign_tags.get(&stream.name).cloned().unwrap_or_default();
            let keys = texts(&request["TagKeyList"]).into_iter().filter(|key| foreign.contains_key(key));
            problems.extend(keys.map(|key| format!("tags: {key} is somebody else's")));
        }
        _ => {}
    }
    problems
}

fn of_delete(inner: &Inner, stream: &StreamRecord, now: &Wish) -> Vec<String> {
    let mut problems = Vec::new();
    if now.recorded.as_deref() != Some(&stream.arn()) {
        problems.push("I4: a stream is deleted that is not on record".to_owned());
    }
    if !now.is_leaving || !now.deletes {
        problems.push("I4: a stream is deleted of an object that keeps it".to_owned());
    }
    problems.extend(unread(inner, stream, &now.key));
    problems
}

fn of_retention(inner: &Inner, stream: &StreamRecord, wishes: &[Wish], request: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if request["CurrentVersion"] != json!(stream.version) {
        // The service refuses it.
        return problems;
    }
    if request["Operation"] == "DECREASE_DATA_RETENTION" {
        if !wishes.iter().any(|wish| wish.may_decrease) {
            problems.push("I3: footage is destroyed without consent".to_owned());
        }
        if let Some(wish) = wishes.first() {
            problems.extend(unread(inner, stream, &wish.key));
        }
    }
    problems
}
