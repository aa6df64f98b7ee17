//! Random specs and random transitions between them, with the doings of others and stops of the operator in between: each time it
//! ends as the last spec says, and then nothing is changed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::actions::{NAMESPACE, slow};
use crate::cloud::perform;
use crate::ends::End;
use crate::facts::{Wish, stream_key, streams};
use crate::schema::Schema;
use crate::world::{How, Interruption, World};

/// How many objects there are at most.
const OBJECTS: usize = 25;
/// How many transitions there are at least.
const TRANSITIONS: usize = 2_000;
/// So many of a hundred ends are at least Ready as the spec says: by the seeds about 50, as many shorter retentions are refused.
const READY_PERCENT: usize = 45;
/// What the seed is, unless `CRASH_POINTS_SEED` says otherwise.
const SEED: u64 = 6;

struct Fuzz {
    world: World,
    schema: Schema,
    rng: Rng,
    /// For somebody else's tags, apart: they change nothing about what is drawn besides.
    tags_rng: Rng,
    /// Names of the objects that are there.
    there: BTreeSet<String>,
    transitions: usize,
    doings: usize,
    stops: usize,
    /// How often somebody else's tag was asked for.
    claims: usize,
    /// What the objects said of themselves, and how often.
    ends: BTreeMap<String, usize>,
    ready: usize,
}

#[test]
fn random_specs_converge_to_the_last_one_and_then_nothing_is_changed() {
    let seed = std::env::var("CRASH_POINTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let worlds = crate::in_parallel(&[seed, seed + 1], |seed| Fuzz::run(*seed, TRANSITIONS / 2));
    let sum = |count: fn(&Fuzz) -> usize| -> usize { worlds.iter().map(count).sum() };
    let (transitions, doings) = (sum(|fuzz| fuzz.transitions), sum(|fuzz| fuzz.doings));
    let (ends, ready) = (sum(|fuzz| fuzz.ends.values().sum()), sum(|fuzz| fuzz.ready));
    let claims = sum(|fuzz| fuzz.claims);
    println!(
        "schema-driven: {transitions} transitions and {doings} doings of others, {} stops, {claims} times \
         somebody else's tag is asked for",
        sum(|fuzz| fuzz.stops)
    );
    println!(
        "schema-driven: {ends} ends, {ready} Ready as the spec says, the others with the reason that is due: {:?}",
        worlds.iter().map(|fuzz| &fuzz.ends).collect::<Vec<_>>()
    );
    assert!(transitions >= TRANSITIONS);
    crate::figures::say("transitions", format!("{transitions} random transitions"));
    assert!(claims > 0, "nobody asks for somebody else's tag");
    assert!(ready * 100 > ends * READY_PERCENT, "too few come true: {ready} of {ends}");
}

impl Fuzz {
    fn run(seed: u64, transitions: usize) -> Self {
        println!("seed: {seed}");
        let mut fuzz = Self {
            world: World::furnished(slow()),
            schema: Schema::new(),
            rng: Rng::with_seed(seed),
            tags_rng: Rng::with_seed(seed),
            there: BTreeSet::new(),
            transitions: 0,
            doings: 0,
            stops: 0,
            claims: 0,
            ends: BTreeMap::new(),
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
            let mut spec = self.schema.draw(&mut self.rng, None);
            self.claim(name, &mut spec);
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
                let mut spec = self.schema.draw(&mut self.rng, Some(&object["spec"]));
                self.claim(name, &mut spec);
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

    /// Where nothing is changed, somebody else's tag is at times asked for as well, with its value or another: it was never this
    /// object's, and is to stay when the next spec does not ask for it.
    fn claim(&mut self, name: &str, spec: &mut Value) {
        let is_held = spec["suspend"] == true || spec["managementPolicy"] == "Observe";
        let stream = format!("t-{NAMESPACE}.{name}");
        let foreign = self.world.lock().facts.foreign_tags.get(&stream).cloned().unwrap_or_default();
        let Some((key, theirs)) = foreign.iter().next().filter(|_| is_held && self.tags_rng.bool()) else {
            return;
        };
        spec["tags"][key] = if self.tags_rng.bool() { json!(theirs) } else { json!("ours") };
        self.claims += 1;
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
        let (operation, request, fields): (_, _, &[&str]) = match self.rng.u8(0..7) {
            0 => ("DeleteStream", json!({ "StreamARN": arn }), &[]),
            1 => (
                "UpdateDataRetention",
                json!({
                    "StreamARN": arn, "CurrentVersion": version, "Operation": "INCREASE_DATA_RETENTION",
                    "DataRetentionChangeInHours": 7,
                }),
                &["retentionHours"],
            ),
            2 => (
                "UpdateStreamStorageConfiguration",
                json!({
                    "StreamARN": arn, "CurrentVersion": version,
                    "StreamStorageConfiguration": { "DefaultStorageTier": "WARM" },
                }),
                &["storageTier"],
            ),
            3 => (
                "UpdateStream",
                json!({ "StreamARN": arn, "CurrentVersion": version, "DeviceName": "theirs" }),
                &["deviceName"],
            ),
            4 => (
                "UntagStream",
                json!({ "StreamARN": arn, "TagKeyList": ["site", "streamfleet.io/name"] }),
                &["tags[site]", "tags[streamfleet.io/name]"],
            ),
            5 => ("UpdateNotificationConfiguration", json!({ "StreamARN": arn }), &["notification"]),
            _ => {
                self.world.foreign_tags(&stream, &[("bill", "somebody")]);
                self.doings += 1;
                return;
            }
        };
        if perform(&mut self.world.lock(), operation, &request).is_err() {
            return;
        }
        {
            let facts = &mut self.world.lock().facts;
            facts.touched.entry(stream.clone()).or_default().extend(fields.iter().map(ToString::to_string));
            if operation == "DeleteStream" {
                facts.forget(&stream);
            }
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
            let stream = all.iter().find(|stream| stream.name == wish.stream).map(AsRef::as_ref);
            let end = End { inner: &inner, wish: &wish, object: &object, stream };
            let (reason, is_ready) = end.says();
            *self.ends.entry(reason.to_owned()).or_default() += 1;
            self.ready += usize::from(reason == "Active" && is_ready);
            if !end.is_due() {
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
