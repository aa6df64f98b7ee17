//! Random specs and random transitions between them, with the doings of others and stops of the operator in between: each time it
//! ends as the last spec says, and then nothing is changed any more.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::actions::{NAMESPACE, slow};
use crate::cloud::perform;
use crate::facts::{Wish, is_left, stream_key, streams};
use crate::rest::condition;
use crate::schema::Schema;
use crate::world::{How, Interruption, World};

/// How many objects there are at most.
const OBJECTS: usize = 25;
/// How many transitions there are at least.
const TRANSITIONS: usize = 2_000;
/// What the seed is, unless `CRASH_POINTS_SEED` says otherwise.
const SEED: u64 = 6;

struct Fuzz {
    world: World,
    schema: Schema,
    rng: Rng,
    /// Names of the objects that are there.
    there: BTreeSet<String>,
    transitions: usize,
    doings: usize,
    stops: usize,
    ends: usize,
    ready: usize,
}

#[test]
fn random_specs_converge_to_the_last_one_and_then_nothing_is_changed() {
    let seed = std::env::var("CRASH_POINTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let worlds = crate::in_parallel(&[seed, seed + 1], |seed| Fuzz::run(*seed, TRANSITIONS / 2));
    let sum = |count: fn(&Fuzz) -> usize| -> usize { worlds.iter().map(count).sum() };
    let (transitions, doings) = (sum(|fuzz| fuzz.transitions), sum(|fuzz| fuzz.doings));
    let (ends, ready) = (sum(|fuzz| fuzz.ends), sum(|fuzz| fuzz.ready));
    println!(
        "schema-driven: {transitions} transitions and {doings} doings of others, {} stops",
        sum(|fuzz| fuzz.stops)
    );
    println!(
        "schema-driven: {ends} ends, {ready} Ready as the spec says, the others with the reason that is due"
    );
    assert!(transitions >= TRANSITIONS);
    crate::figures::say("transitions", format!("{transitions} random transitions"));
    assert!(ready > ends / 3, "too few come true: {ready} of {ends}");
}

impl Fuzz {
    fn run(seed: u64, transitions: usize) -> Self {
        println!("seed: {seed}");
        let mut fuzz = Self {
            world: World::furnished(slow()),
            schema: Schema::new(),
            rng: Rng::with_seed(seed),
            there: BTreeSet::new(),
            transitions: 0,
            doings: 0,
            stops: 0,
            ends: 0,
            ready: 0,
        };
        for round in 1.. {
            fuzz.round();
            let violations = fuzz.world.lock().violations.clone();
            assert_eq!(violations, Vec::<String>::new(), "seed {seed}, round {round}");
            if fuzz.transitions >= transitions {
                break;
            }
        }
        fuzz
    }

    fn round(&mut self) {
        {
            let mut inner = self.world.lock();
            inner.trace.clear();
            inner.points.clear();
            inner.plan = None;
        }
        for number in 0..OBJECTS {
            self.step(&format!("cam-{number}"));
        }
        if self.rng.u8(0..4) == 0 {
            // A second wave comes while the first is under way.
            let wait = Duration::from_millis(self.rng.u64(0..6_000));
            self.world.during(async { tokio::time::sleep(wait).await });
            for number in 0..OBJECTS {
                if self.rng.bool() {
                    self.step(&format!("cam-{number}"));
                }
            }
        }
        if self.rng.bool() {
            let at = self.world.lock().points.len() + self.rng.usize(0..80);
            let how = How::ALL[self.rng.usize(0..How::ALL.len())];
            self.world.lock().plan = Some(Interruption { at, how });
        }
        self.world.to_rest();
        self.stops += usize::from(std::mem::take(&mut self.world.lock().is_reached));
        self.check();
    }

    /// One thing happens to an object, or to its stream.
    fn step(&mut self, name: &str) {
        self.there.retain(|name| self.world.has_object(name));
        if !self.there.contains(name) {
            let spec = self.schema.draw(&mut self.rng, None);
            self.world.apply(name, &spec);
            self.there.insert(name.to_owned());
            self.transitions += 1;
            return;
        }
        let object = self.object(name);
        if object["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        match self.rng.u8(0..20) {
            0 => {
                self.leave(name);
                self.world.delete(name);
                self.transitions += 1;
            }
            1..=4 => self.others(name),
            _ => {
                let spec = self.schema.draw(&mut self.rng, Some(&object["spec"]));
                self.replace(name, &object["spec"], spec);
                self.transitions += 1;
            }
        }
    }

    fn object(&self, name: &str) -> Value {
        let object = self.world.lock().store.get(&stream_key(NAMESPACE, name)).cloned();
        object.map(|object| (*object).clone()).unwrap_or_default()
    }

    /// `kubectl replace`: what the new spec has not is taken away.
    fn replace(&self, name: &str, before: &Value, mut spec: Value) {
        fn clear(before: &Value, spec: &mut Value) {
            let (Some(before), Some(spec)) = (before.as_object(), spec.as_object_mut()) else { return };
            for (name, value) in before {
                match spec.get_mut(name) {
                    Some(now) => clear(value, now),
                    None => {
                        spec.insert(name.clone(), Value::Null);
                    }
                }
            }
        }
        clear(before, &mut spec);
        self.world.edit(name, &spec);
    }

    /// What a stream that stays behind has on it is nobody's to take away for the object that comes after.
    fn leave(&self, name: &str) {
        let stream = format!("t-{NAMESPACE}.{name}");
        self.world.lock().facts.left.insert(stream);
    }

    /// Somebody else does something to the stream, where it is there and can be changed.
    fn others(&mut self, name: &str) {
        let stream = format!("t-{NAMESPACE}.{name}");
        let Some(there) = self.world.stream(&stream) else { return };
        let (arn, version) = (there.arn(), there.version.clone());
        let (operation, request) = match self.rng.u8(0..7) {
            0 => ("DeleteStream", json!({ "StreamARN": arn })),
            1 => (
                "UpdateDataRetention",
                json!({
                    "StreamARN": arn, "CurrentVersion": version, "Operation": "INCREASE_DATA_RETENTION",
                    "DataRetentionChangeInHours": 7,
                }),
            ),
            2 => (
                "UpdateStreamStorageConfiguration",
                json!({
                    "StreamARN": arn, "CurrentVersion": version,
                    "StreamStorageConfiguration": { "DefaultStorageTier": "WARM" },
                }),
            ),
            3 => (
                "UpdateStream",
                json!({ "StreamARN": arn, "CurrentVersion": version, "DeviceName": "theirs" }),
            ),
            4 => ("UntagStream", json!({ "StreamARN": arn, "TagKeyList": ["site", "streamfleet.io/name"] })),
            5 => ("UpdateNotificationConfiguration", json!({ "StreamARN": arn })),
            _ => {
                self.world.foreign_tags(&stream, &[("bill", "somebody")]);
                self.doings += 1;
                return;
            }
        };
        if perform(&mut self.world.lock(), operation, &request).is_err() {
            return;
        }
        if operation == "DeleteStream" {
            self.world.lock().facts.forget(&stream);
        }
        self.doings += 1;
        // Settings are swept over hours: a person asks for a check.
        let value = self.doings.to_string();
        self.world.patch(
            name,
            json!({ "metadata": { "annotations": { "streamfleet.io/check-requested": value } } }),
        );
    }

    /// Whoever is worked on has come true, or says why not.
    fn check(&mut self) {
        let mut inner = self.world.lock();
        let all = streams(&inner);
        let mut problems = Vec::new();
        for wish in Wish::all(&inner) {
            let object = inner.store.get(&wish.key).cloned().unwrap_or_default();
            let ready = condition(&object, "Ready");
            let reason = ready["reason"].as_str().unwrap_or_default();
            let stream = all.iter().find(|stream| stream.name == wish.stream);
            self.ends += 1;
            if reason == "Active" && ready["status"] == "True" {
                self.ready += 1;
            }
            let fits = match (reason, stream) {
                ("Active", Some(stream)) => ready["status"] == "True" && no_tags_left(&inner, &wish, stream),
                ("Suspended", _) => wish.is_suspended,
                ("Observing" | "StreamNotFound", _) => wish.is_observed,
                ("ChangeBlocked", Some(stream)) => {
                    let others =
                        wish.differences(stream).into_iter().filter(|text| !text.starts_with("retention"));
                    let others = others.filter(|text| !is_left(&inner, &wish, text)).count();
                    !wish.may_decrease
                        && wish.retention < i64::from(stream.retention_hours)
                        && (others == 0 || wish.is_reported)
                }
                ("DriftReported" | "StreamLost", _) => {
                    wish.is_reported || wish.is_observed || wish.is_suspended
                }
                // Some of the tags were taken away before this object had put its own on.
                ("OwnedByOther", Some(stream)) => {
                    let uid = stream.tags.get(streamfleet_crds::ownership_tags::UID);
                    !wish.owns(&stream.tags) && uid != Some(&wish.uid)
                }
                ("AdoptionRefused", Some(_)) => wish.adoption == "Never" || wish.recorded.is_none(),
                ("KmsKeyDiffers", Some(stream)) => {
                    stream.kms_key_id.as_deref() != object["spec"]["kmsKeyID"].as_str()
                }
                _ => false,
            };
            if !fits {
                problems.push(format!(
                    "end: {} says {reason} of {stream:#?}\nasked: {wish:#?}\n{object:#}",
                    wish.stream
                ));
            }
        }
        for problem in problems {
            inner.violate(problem);
        }
    }
}

/// Whether every tag is asked for, or somebody else's.
fn no_tags_left(
    inner: &crate::world::Inner,
    wish: &Wish,
    stream: &streamfleet_emulator::control::StreamRecord,
) -> bool {
    let foreign = inner.facts.foreign_tags.get(&stream.name).cloned().unwrap_or_default();
    let is_known = |key: &String| {
        key.starts_with("streamfleet.io/") || wish.tags.contains_key(key) || foreign.contains_key(key)
    };
    stream.tags.keys().all(is_known) || inner.facts.left.contains(&stream.name)
}
