//! Views that are old: the API server's cache is behind, watch events are lost or a version is compacted, `ListStreams` does not show
//! a new stream yet or still shows one that is gone. Every way ends as with a view that is true.

use std::time::Duration;

use serde_json::json;

use crate::actions::{NAMESPACE, slow};
use crate::api::View;
use crate::facts::stream_key;
use crate::paths::{Path, STREAM};
use crate::rest;
use crate::world::{How, INSTALLATION, Interruption, World};

/// A view, the lag of `ListStreams`, and where the operator is stopped besides.
struct Age {
    name: &'static str,
    view: fn(&World) -> View,
    list_lag_ms: u64,
}

const AGES: &[Age] = &[
    Age {
        name: "everything comes three seconds late",
        view: |_| View { delay_ms: 3_000, ..View::default() },
        list_lag_ms: 5_000,
    },
    Age {
        name: "nothing new for a minute",
        view: |world| {
            let inner = world.lock();
            View { frozen: Some((inner.store.version(), inner.now_ms() + 60_000)), ..View::default() }
        },
        list_lag_ms: 5_000,
    },
    Age {
        name: "every second event is lost",
        view: |_| View { drops_one_in: Some(2), ..View::default() },
        list_lag_ms: 5_000,
    },
    Age {
        name: "every event is lost",
        view: |_| View { drops_one_in: Some(1), ..View::default() },
        list_lag_ms: 5_000,
    },
    Age { name: "the list is two minutes behind", view: |_| View::default(), list_lag_ms: 110_000 },
];

/// Alarms of objects that are gone are looked for every five minutes, with a look at a class, which comes each minute.
const ORPHANS_FOUND: Duration = Duration::from_mins(7);
/// With each age one of so many points is disturbed.
const EVERY: usize = 11;

/// The runs that are to be disturbed, and those that were: with an old view there may be fewer points.
#[derive(Default)]
struct Disturbed {
    planned: usize,
    reached: usize,
}

impl World {
    /// Cuts every watch, and compacts what was: they have to list anew, and see all that is.
    fn compact(&self) {
        let mut inner = self.lock();
        let age = inner.view.age + 1;
        inner.view = View { age, compacted: inner.store.version(), ..View::default() };
        drop(inner);
        self.wake();
    }
}

/// With an old view for a while; then it is true again.
fn with_age(world: &World, age: &Age, act: impl FnOnce(&World)) {
    let options = world.lock().control.options().clone();
    let now_ms = world.lock().now_ms();
    let lagging = streamfleet_emulator::control::ControlOptions { list_lag_ms: age.list_lag_ms, ..options };
    world.lock().control.set_options(lagging, now_ms);
    let view = (age.view)(world);
    world.lock().view = view;
    act(world);
    let some_time = || async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        // A real watch that has lost something does not stay: what was is compacted one day, and the list is made anew.
        world.compact();
        // What an operator leaves because an answer was lost, it alone finds again.
        tokio::time::sleep(ORPHANS_FOUND).await;
    };
    // Again where the operator was stopped meanwhile.
    while !world.during(some_time()) {}
    world.to_rest();
}

#[test]
fn with_old_views_every_way_ends_as_with_true_ones() {
    let paths: Vec<&Path> = crate::class_paths::all();
    let tried = crate::in_parallel(&paths, |path| {
        let (mut runs, mut seen, mut problems) = (0, Disturbed::default(), Vec::new());
        let prepared = path.prepared();
        let plain = prepared.fork();
        path.act(&plain);
        plain.to_rest();
        let expected = rest::summary(&mut plain.lock());
        let points = plain.lock().settled_after;
        for (index, age) in AGES.iter().enumerate() {
            // Undisturbed, and disturbed at some points as well: at others with each age, and in all ways by turns.
            let disturbed = (2 * index..points).step_by(EVERY).map(Some);
            for stop in disturbed.chain([None]) {
                let world = prepared.fork();
                world.lock().plan =
                    stop.map(|at| Interruption { at, how: How::ALL[(at / EVERY + index) % How::ALL.len()] });
                with_age(&world, age, |world| path.act(world));
                path.expect(&world);
                let mut inner = world.lock();
                let found = rest::summary(&mut inner);
                if found != expected {
                    inner.violate(format!("end: not as with a true view:\n{found}\n{expected}"));
                }
                if !inner.violations.is_empty() {
                    problems.push(format!("{}, {}, {stop:?}: {:#?}", path.name, age.name, inner.violations));
                }
                runs += 1;
                seen.planned += usize::from(stop.is_some());
                seen.reached += usize::from(inner.is_reached);
            }
        }
        (runs, seen, problems)
    });
    let runs: usize = tried.iter().map(|(runs, ..)| runs).sum();
    let planned: usize = tried.iter().map(|(_, seen, _)| seen.planned).sum();
    let reached: usize = tried.iter().map(|(_, seen, _)| seen.reached).sum();
    let problems: Vec<String> = tried.into_iter().flat_map(|(.., problems)| problems).collect();
    println!(
        "stale views: {runs} runs of {} ways with {} ages, {reached} of {planned} disturbances reached",
        paths.len(),
        AGES.len()
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(reached * 10 > planned * 9, "too few points are reached: {reached} of {planned}");
    let kinds = AGES.len();
    crate::figures::say(
        "stale views",
        format!("{runs} runs with {kinds} kinds of old views, stopped in {reached}"),
    );
}

fn ready() -> World {
    let world = World::furnished(slow());
    world.apply("door", &json!({ "retentionHours": 24, "deletionPolicy": "Delete" }));
    world.to_rest();
    world
}

fn freeze(world: &World, ms: u64) {
    let mut inner = world.lock();
    let (version, until) = (inner.store.version(), inner.now_ms() + ms);
    inner.view.frozen = Some((version, until));
}

fn clean(world: &World) {
    let inner = world.lock();
    assert_eq!(inner.violations, Vec::<String>::new(), "{:#?}", inner.points);
}

#[test]
fn an_old_object_without_deletion_timestamp_makes_no_stream_again() {
    let world = ready();
    world.delete("door");
    world.to_rest();
    assert_eq!((world.has_object("door"), world.stream(STREAM)), (false, None));
    // The cache goes back in time: the object is there, without deletion timestamp, and its stream is gone.
    let then = {
        let inner = world.lock();
        let gone = inner.store.log().iter().find(|entry| {
            entry.key.0 == "videostreams" && entry.object["metadata"]["deletionTimestamp"].is_string()
        });
        gone.map_or(0, |entry| entry.version - 1)
    };
    let mut inner = world.lock();
    let until = inner.now_ms() + 60_000;
    inner.view.frozen = Some((then, until));
    drop(inner);
    world.to_rest();
    clean(&world);
    assert_eq!((world.has_object("door"), world.stream(STREAM)), (false, None));
}

#[test]
fn the_stream_of_an_object_that_was_made_again_is_not_deleted_by_the_word_of_the_old_one() {
    let world = ready();
    let first = world.stream(STREAM).unwrap();
    world.delete("door");
    let deleting = world.lock().store.version();
    world.to_rest();
    assert_eq!(world.stream(STREAM), None);
    world.apply("door", &json!({ "retentionHours": 24 }));
    world.to_rest();
    let second = world.stream(STREAM).unwrap();
    assert_ne!(first.arn(), second.arn());
    // The cache shows the old object that is to be deleted, with the old ARN and UID.
    let mut inner = world.lock();
    let until = inner.now_ms() + 60_000;
    inner.view.frozen = Some((deleting, until));
    drop(inner);
    world.to_rest();
    clean(&world);
    assert_eq!(world.stream(STREAM).map(|stream| stream.arn()), Some(second.arn()));
    assert!(world.has_object("door"));
}

#[test]
fn an_object_that_is_applied_again_while_its_cache_is_old_keeps_its_stream() {
    let world = ready();
    world.edit("door", &json!({ "deletionPolicy": "Retain" }));
    world.to_rest();
    let stream = world.stream(STREAM).unwrap();
    let old_uid = world.lock().store.get(&stream_key(NAMESPACE, "door")).unwrap()["metadata"]["uid"].clone();
    world.delete("door");
    world.to_rest();
    freeze(&world, 30_000);
    world.apply("door", &json!({ "retentionHours": 24 }));
    world.to_rest();
    clean(&world);
    let new_uid = world.lock().store.get(&stream_key(NAMESPACE, "door")).unwrap()["metadata"]["uid"].clone();
    assert_ne!(old_uid, new_uid);
    assert_eq!(world.stream(STREAM).map(|stream| stream.arn()), Some(stream.arn()));
}

#[test]
fn a_stream_that_somebody_made_again_is_neither_changed_nor_deleted() {
    let world = ready();
    let arn = world.stream(STREAM).map(|stream| stream.arn());
    world.foreign("DeleteStream", &json!({ "StreamARN": arn }));
    world.pass_time(4_000);
    world.foreign_stream(STREAM, 99, &[("streamfleet.io/installation", INSTALLATION)]);
    let other = world.stream(STREAM).unwrap();
    world.to_rest();
    world.edit("door", &json!({ "retentionHours": 48 }));
    world.to_rest();
    world.delete("door");
    world.to_rest();
    clean(&world);
    assert!(!world.has_object("door"));
    let left = world.stream(STREAM).unwrap();
    assert_eq!((left.arn(), left.retention_hours, left.tags), (other.arn(), 99, other.tags));
}
