//! Objects as the API server keeps them: versions, UIDs, generations, finalizers, the owners of fields, and a log of all that
//! happened, from which every earlier state can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

/// Plural, namespace (empty without one) and name.
pub type Key = (String, String, String);
/// Where a field is.
type Path = Vec<String>;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Added,
    Modified,
    Deleted,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub version: u64,
    pub at_ms: u64,
    pub kind: Kind,
    pub key: Key,
    pub object: Arc<Value>,
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    pub fn not_found(key: &Key) -> Self {
        Self::new(404, "NotFound", format!("{} \"{}\" not found", key.0, key.2))
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }
}

/// What a patch does.
#[derive(Debug, Clone)]
pub enum Patch {
    /// A merge patch.
    Merge(Value),
    /// Server-side apply.
    Apply { is_forced: bool, config: Value },
}

/// An object, and whose its fields are.
#[derive(Debug, Clone)]
struct Held {
    object: Arc<Value>,
    owners: BTreeMap<String, BTreeSet<Path>>,
}

/// All objects.
#[derive(Debug, Clone, Default)]
pub struct Store {
    version: u64,
    uids: u64,
    objects: BTreeMap<Key, Held>,
    log: Vec<Entry>,
}

impl Store {
    /// The version of the last change.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All that happened.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key).map(|held| &held.object)
    }

    /// The objects of a kind.
    pub fn all<'a>(&'a self, plural: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.objects.iter().filter(move |(key, _)| key.0 == plural).map(|(key, held)| (key, &held.object))
    }

    /// The objects of a kind as they were at a version.
    pub fn at(&self, plural: &str, version: u64) -> Vec<Arc<Value>> {
        let mut then: BTreeMap<&Key, &Entry> = BTreeMap::new();
        for entry in self.log.iter().filter(|entry| entry.version <= version && entry.key.0 == plural) {
            then.insert(&entry.key, entry);
        }
        then.into_values()
            .filter(|entry| entry.kind != Kind::Deleted)
            .map(|entry| entry.object.clone())
            .collect()
    }

    pub fn create(&mut self, key: &Key, mut object: Value, now_ms: u64) -> Result<Arc<Value>, Refusal> {
        if self.objects.contains_key(key) {
            return Err(Refusal::new(
                409,
                "AlreadyExists",
                format!("{} \"{}\" already exists", key.0, key.2),
            ));
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        metadata["name"] = key.2.clone().into();
        if !key.1.is_empty() {
            metadata["namespace"] = key.1.clone().into();
        }
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012}", self.uids).into();
        metadata["generation"] = 1.into();
        metadata["creationTimestamp"] = time(now_ms).into();
        self.objects.insert(key.clone(), Held { object: Arc::default(), owners: BTreeMap::new() });
        Ok(self.put(key, object, Kind::Added, now_ms))
    }

    /// Patches an object, or its status alone; a patch of the object leaves the status as it is.
    pub fn patch(
        &mut self,
        key: &Key,
        is_status: bool,
        (manager, patch): (&str, &Patch),
        now_ms: u64,
    ) -> Result<Arc<Value>, Refusal> {
        let held = self.objects.get(key).ok_or_else(|| Refusal::not_found(key))?;
        let before = held.object.clone();
        let mut owners = held.owners.clone();
        let body = match patch {
            Patch::Merge(body) => body,
            Patch::Apply { config, .. } => config,
        };
        check_preconditions(&before, &body["metadata"])?;
        let after = match patch {
            Patch::Merge(body) => merged(&before, body, is_status, manager, &mut owners),
            Patch::Apply { is_forced, config } => {
                if !is_status {
                    return Err(Refusal::new(501, "NotBuilt", "only a status is applied here"));
                }
                applied(&before, &config["status"], (manager, *is_forced), &mut owners)?
            }
        };
        let is_leaving = !before["metadata"]["deletionTimestamp"].is_null();
        if is_leaving && finalizers(&after).iter().any(|name| !finalizers(&before).contains(name)) {
            return Err(Refusal::new(
                422,
                "Invalid",
                "no new finalizers can be added if the object is being deleted",
            ));
        }
        if let Some(held) = self.objects.get_mut(key) {
            held.owners = owners;
        }
        if is_leaving && finalizers(&after).is_empty() {
            return Ok(self.remove(key, after, now_ms));
        }
        if after == *before {
            return Ok(before);
        }
        Ok(self.put(key, after, Kind::Modified, now_ms))
    }

    pub fn delete(&mut self, key: &Key, preconditions: &Value, now_ms: u64) -> Result<Arc<Value>, Refusal> {
        let before = self.get(key).ok_or_else(|| Refusal::not_found(key))?.clone();
        check_preconditions(&before, preconditions)?;
        let mut after = Value::clone(&before);
        if finalizers(&before).is_empty() {
            return Ok(self.remove(key, after, now_ms));
        }
        if before["metadata"]["deletionTimestamp"].is_null() {
            after["metadata"]["deletionTimestamp"] = time(now_ms).into();
            after["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            after["metadata"]["generation"] = (generation + 1).into();
            return Ok(self.put(key, after, Kind::Modified, now_ms));
        }
        Ok(before)
    }

    fn remove(&mut self, key: &Key, object: Value, now_ms: u64) -> Arc<Value> {
        let object = self.put(key, object, Kind::Deleted, now_ms);
        self.objects.remove(key);
        object
    }

    fn put(&mut self, key: &Key, mut object: Value, kind: Kind, now_ms: u64) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        if let Some(held) = self.objects.get_mut(key) {
            held.object = object.clone();
        }
        let entry =
            Entry { version: self.version, at_ms: now_ms, kind, key: key.clone(), object: object.clone() };
        self.log.push(entry);
        object
    }
}

/// The finalizers of an object.
pub fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn time(at_ms: u64) -> String {
    let at = jiff::Timestamp::from_second((at_ms / 1000).try_into().unwrap()).unwrap();
    at.to_string()
}

fn check_preconditions(before: &Value, wanted: &Value) -> Result<(), Refusal> {
    for member in ["uid", "resourceVersion"] {
        if let Some(wanted) = wanted[member].as_str()
            && before["metadata"][member] != wanted
        {
            return Err(Refusal::conflict(format!("the {member} is {}", before["metadata"][member])));
        }
    }
    Ok(())
}

fn merged(
    before: &Value,
    body: &Value,
    is_status: bool,
    manager: &str,
    owners: &mut BTreeMap<String, BTreeSet<Path>>,
) -> Value {
    let mut body = body.clone();
    let members: &[&str] = if is_status { &["metadata", "spec"] } else { &["status", "apiVersion", "kind"] };
    for member in members {
        body.as_object_mut().unwrap().remove(*member);
    }
    if let Some(metadata) = body["metadata"].as_object_mut() {
        // What the server keeps itself.
        for member in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "managedFields",
        ] {
            metadata.remove(member);
        }
    }
    if body["metadata"].is_null() {
        body.as_object_mut().unwrap().remove("metadata");
    }
    let mut after = before.clone();
    merge(&mut after, &body);
    if after["spec"] != before["spec"] {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
        after["metadata"]["generation"] = (generation + 1).into();
    }
    if is_status {
        let (old, new) = (leaves(&before["status"]), leaves(&after["status"]));
        let changed: BTreeSet<Path> = old
            .iter()
            .chain(&new)
            .filter(|path| get(&before["status"], path) != get(&after["status"], path))
            .cloned()
            .collect();
        for paths in owners.values_mut() {
            paths.retain(|path| !changed.contains(path));
        }
        let now_there = changed.into_iter().filter(|path| get(&after["status"], path).is_some());
        owners.entry(manager.to_owned()).or_default().extend(now_there);
    }
    after
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(there) = into.as_object_mut() else { return };
    for (name, value) in members {
        if value.is_null() {
            there.remove(name);
        } else {
            merge(there.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Server-side apply of a status: what the manager applied before and leaves out now goes, unless somebody else has it too; what
/// somebody else has with another value is a conflict, or is taken from them.
fn applied(
    before: &Value,
    config: &Value,
    (manager, is_forced): (&str, bool),
    owners: &mut BTreeMap<String, BTreeSet<Path>>,
) -> Result<Value, Refusal> {
    let mut after = before.clone();
    let status = &mut after["status"];
    if !status.is_object() {
        *status = json!({});
    }
    let wanted = leaves(config);
    let of_others = |owners: &BTreeMap<String, BTreeSet<Path>>, path: &Path| {
        owners.iter().any(|(other, paths)| other != manager && paths.contains(path))
    };
    let old = owners.get(manager).cloned().unwrap_or_default();
    for path in old.difference(&wanted) {
        if !of_others(owners, path) {
            remove(status, path);
        }
    }
    for path in &wanted {
        let value = get(config, path).cloned().unwrap_or_default();
        if get(status, path) != Some(&value) && of_others(owners, path) {
            if !is_forced {
                return Err(Refusal::conflict(format!("another manager has .status.{}", path.join("."))));
            }
            for (other, paths) in owners.iter_mut() {
                if other != manager {
                    paths.remove(path);
                }
            }
        }
        set(status, path, value);
    }
    owners.insert(manager.to_owned(), wanted);
    Ok(after)
}

/// The places of all values; a list is one value.
fn leaves(value: &Value) -> BTreeSet<Path> {
    fn walk(value: &Value, path: &mut Path, all: &mut BTreeSet<Path>) {
        match value.as_object() {
            Some(members) if !members.is_empty() => {
                for (name, value) in members {
                    path.push(name.clone());
                    walk(value, path, all);
                    path.pop();
                }
            }
            _ if path.is_empty() => {}
            _ => {
                all.insert(path.clone());
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(value, &mut Vec::new(), &mut all);
    all
}

fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn set(into: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *into = value;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    set(&mut into[name], rest, value);
}

/// Takes a value away, and the objects around it that are empty then.
fn remove(from: &mut Value, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(members) = from.as_object_mut() else { return };
    if let Some(inner) = members.get_mut(name) {
        remove(inner, rest);
        if rest.is_empty() || inner.as_object().is_some_and(Map::is_empty) {
            members.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("videostreams".to_owned(), "shop".to_owned(), "door".to_owned())
    }

    fn with(object: Value) -> Store {
        let mut store = Store::default();
        store.create(&key(), object, 0).unwrap();
        store
    }

    fn apply(store: &mut Store, manager: &str, status: &Value) -> Arc<Value> {
        let patch = Patch::Apply { is_forced: true, config: json!({ "status": status }) };
        store.patch(&key(), true, (manager, &patch), 0).unwrap()
    }

    #[test]
    fn what_a_manager_leaves_out_goes_and_what_another_has_stays() {
        let mut store = with(json!({}));
        let claim = Patch::Merge(json!({ "status": { "writer": { "name": "cam", "uid": "u" } } }));
        store.patch(&key(), true, ("claim", &claim), 0).unwrap();
        apply(&mut store, "operator", &json!({ "a": 1, "synced": { "x": "1", "y": "2" } }));
        let object = apply(&mut store, "operator", &json!({ "synced": { "y": "2" } }));
        let expected = json!({ "synced": { "y": "2" }, "writer": { "name": "cam", "uid": "u" } });
        assert_eq!(object["status"], expected);
        let version = store.version();
        apply(&mut store, "operator", &json!({ "synced": { "y": "2" } }));
        assert_eq!(store.version(), version, "what changes nothing makes no version");
    }

    #[test]
    fn an_old_version_or_another_uid_is_a_conflict() {
        let mut store = with(json!({ "spec": { "a": 1 } }));
        let write = |store: &mut Store, metadata: Value, value: i32| {
            let patch = Patch::Merge(json!({ "metadata": metadata, "spec": { "a": value } }));
            store.patch(&key(), false, ("user", &patch), 0)
        };
        assert_eq!(write(&mut store, json!({ "uid": "other" }), 2).unwrap_err().code, 409);
        let object = write(&mut store, json!({ "resourceVersion": "1" }), 2).unwrap();
        assert_eq!(object["metadata"]["generation"], 2);
        assert_eq!(write(&mut store, json!({ "resourceVersion": "1" }), 3).unwrap_err().code, 409);
    }

    #[test]
    fn an_object_with_a_finalizer_goes_when_that_is_taken_off() {
        let mut store = with(json!({ "metadata": { "finalizers": ["f"] } }));
        let object = store.delete(&key(), &Value::Null, 0).unwrap();
        assert!(object["metadata"]["deletionTimestamp"].is_string());
        let more = Patch::Merge(json!({ "metadata": { "finalizers": ["f", "g"] } }));
        assert_eq!(store.patch(&key(), false, ("user", &more), 0).unwrap_err().code, 422);
        let none = Patch::Merge(json!({ "metadata": { "finalizers": [] } }));
        store.patch(&key(), false, ("user", &none), 0).unwrap();
        assert_eq!(store.get(&key()), None);
        assert_eq!(store.log().last().unwrap().kind, Kind::Deleted);
        assert_eq!((store.at("videostreams", 2).len(), store.at("videostreams", 3).len()), (1, 0));
    }
}
