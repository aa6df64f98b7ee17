//! A way of in process as steps on the real thing: what it begins with, what somebody does then and what it comes to are read from
//! the world in which it is gone in process, so that both go the same one.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Map, Value};
use streamfleet_emulator::control::{Status, StreamRecord};

use crate::actions::{NAMESPACE, slow};
use crate::facts::stream_key;
use crate::paths::{Path, STREAM};
use crate::recorded::{Recorded, record};
use crate::rest;
use crate::world::World;

/// What somebody does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `kubectl apply` of the object, which is not there yet.
    Apply(Value),
    /// `kubectl patch` of its spec.
    Edit(Value),
    /// `kubectl delete --wait=false`.
    Delete,
    /// The operator works until nothing is left to do.
    Settle,
    /// Somebody else makes the stream, with this retention and these tags.
    MakeStream(u32, BTreeMap<String, String>),
    /// Somebody else tags it.
    Tag(BTreeMap<String, String>),
    /// Somebody else adds to its retention.
    Retain(u32),
    /// Somebody else deletes it.
    DeleteStream,
}

/// A way.
pub struct Way {
    pub name: &'static str,
    pub before: Vec<Step>,
    pub act: Vec<Step>,
    /// The world of in process when somebody has acted, and no operator yet.
    pub acted: World,
    /// How many points it has in process.
    pub points: usize,
    /// What it comes to in process, undisturbed.
    pub ends: Value,
    /// What there is before, in process.
    pub begins: Value,
}

impl Way {
    /// Goes a way in process. An error for ways that are about more than one object and its stream.
    pub fn of(path: &'static Path) -> Result<Self> {
        let prepared = path.prepared();
        ensure!(class(&prepared) == class(&World::furnished(slow())), "{} has a class of its own", path.name);
        let acted = prepared.fork();
        path.act(&acted);
        ensure!(acted.lock().points.is_empty(), "{} needs the operator meanwhile", path.name);
        ensure!(class(&prepared) == class(&acted), "{} changes the class", path.name);
        let (before, act) = (beginning(&prepared), difference(&prepared, &acted));
        ensure!(!act.is_empty(), "{} does nothing to the object or its stream", path.name);
        let Recorded { points, summary: ends } = record(path, &prepared);
        let (begins, ends, points) = (summary(&prepared), comparable(ends), points.len());
        Ok(Self { name: path.name, before, act, acted, points, ends, begins })
    }
}

/// What there is in a world.
pub fn summary(world: &World) -> Value {
    comparable(rest::summary(&mut world.lock()))
}

/// Without what has to differ: on the real thing a class has the objects of more than one run, and whose a stream is has another
/// fingerprint for each installation and UID.
fn comparable(mut summary: Value) -> Value {
    if let Some(members) = summary.as_object_mut() {
        members.remove("classes");
    }
    for object in summary["objects"].as_array_mut().into_iter().flatten() {
        if object["synced"]["owner"].is_string() {
            object["synced"]["owner"] = "known".into();
        }
    }
    summary
}

/// The spec of the class.
pub fn class(world: &World) -> Option<Value> {
    let inner = world.lock();
    let mut all = inner.store.all("streamclasses").map(|(_, object)| object["spec"].clone());
    all.next()
}

/// The object and its stream.
fn moment(world: &World) -> (Option<Value>, Option<StreamRecord>) {
    let inner = world.lock();
    let object = inner.store.get(&stream_key(NAMESPACE, "door")).map(|object| (**object).clone());
    let now_ms = inner.now_ms();
    let is_there = |status| status != Status::Deleting;
    let stream = inner.control.streams().find(|stream| stream.name == STREAM);
    (
        object,
        stream.filter(|stream| stream.status(now_ms).is_some_and(is_there)).map(|stream| (**stream).clone()),
    )
}

fn beginning(world: &World) -> Vec<Step> {
    match moment(world) {
        (Some(object), _) => {
            let mut steps = vec![Step::Apply(object["spec"].clone()), Step::Settle];
            steps.extend(world.lock().facts.foreign_tags.get(STREAM).cloned().map(Step::Tag));
            steps.push(Step::Settle);
            steps
        }
        (None, Some(stream)) => vec![Step::MakeStream(stream.retention_hours, stream.tags), Step::Settle],
        (None, None) => vec![],
    }
}

fn difference(before: &World, after: &World) -> Vec<Step> {
    let ((old, old_stream), (new, new_stream)) = (moment(before), moment(after));
    let mut steps = Vec::new();
    match (old, new) {
        (None, Some(new)) => steps.push(Step::Apply(new["spec"].clone())),
        (Some(_), Some(new)) if new["metadata"]["deletionTimestamp"].is_string() => steps.push(Step::Delete),
        (Some(old), Some(new)) if old["spec"] != new["spec"] => {
            steps.push(Step::Edit(merge_patch(&old["spec"], &new["spec"])));
        }
        _ => {}
    }
    match (old_stream, new_stream) {
        (Some(_), None) => steps.push(Step::DeleteStream),
        (Some(old), Some(new)) if new.retention_hours > old.retention_hours => {
            steps.push(Step::Retain(new.retention_hours - old.retention_hours));
        }
        _ => {}
    }
    steps
}

/// The merge patch (RFC 7396) that makes one of the other.
fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
        patch.insert(
            name.clone(),
            before.get(name).map_or_else(|| value.clone(), |old| merge_patch(old, value)),
        );
    }
    Value::Object(patch)
}
