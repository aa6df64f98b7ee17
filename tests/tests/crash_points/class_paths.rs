//! The ways of a class, and of its alarms: those of sites, and those over all streams.

use std::time::Duration;

use serde_json::{Value, json};

use crate::actions::TOPIC;
use crate::facts::{FLEET, SITE, alarms};
use crate::paths::{PATHS, Path, STREAM, gone, nothing, with_stream};
use crate::world::World;

const OTHER_SITE: &str = "streamfleet/north/~class/standard/site/5";

/// A call that is waited for has begun by then, also where the operator sees nothing new for a minute.
const BEGUN_WITHIN_MS: u32 = 100_000;

/// A class with alarms of its own.
pub fn with_alarms(world: &World) {
    world.edit_class(&class_alarms());
    world.to_rest();
}

fn class_alarms() -> Value {
    json!({ "alarms": { "siteLabel": "site", "fleet": ["ErrorAcks", "ConnectionChurn"] } })
}

/// The same, with a stream at a site.
pub fn at_site(world: &World) {
    with_alarms(world);
    world.apply_at("door", Some("4"), &json!({ "retentionHours": 24 }));
    world.to_rest();
}

fn two_at_site(world: &World) {
    at_site(world);
    world.apply_at("gate", Some("4"), &json!({ "retentionHours": 24 }));
    world.to_rest();
}

fn names(world: &World) -> Vec<String> {
    let all = alarms(&mut world.lock());
    all.iter().map(|alarm| alarm["AlarmName"].as_str().unwrap_or_default().to_owned()).collect()
}

fn has(world: &World, name: &str) -> bool {
    names(world).iter().any(|found| found == name)
}

/// Only the alarms over all streams are there.
fn only_fleet(world: &World) -> bool {
    let names = names(world);
    !names.is_empty() && names.iter().all(|name| name.starts_with(FLEET))
}

/// The object is deleted while a call of this name is under way, or after it where the operator is stopped there.
fn delete_during(world: &World, operation: &str) {
    let is_begun = |world: &World| world.lock().points.iter().any(|point| point == operation);
    while !world.is_leaving("door") {
        world.during(async {
            for _ in 0..BEGUN_WITHIN_MS {
                if is_begun(world) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.delete("door");
            // Alarms that could not be deleted are searched for every five minutes, by who could not.
            tokio::time::sleep(Duration::from_mins(7)).await;
        });
    }
}

/// All ways.
pub fn all() -> Vec<&'static Path> {
    PATHS.iter().chain(CLASS_PATHS).collect()
}

/// The ways of a class.
const CLASS_PATHS: &[Path] = &[
    Path {
        name: "the first stream of a site",
        before: with_alarms,
        act: |world| world.apply_at("door", Some("4"), &json!({ "retentionHours": 24 })),
        expect: |world| has(world, SITE),
    },
    Path {
        name: "the last stream of a site leaves, retain",
        before: at_site,
        act: |world| world.delete("door"),
        expect: |world| only_fleet(world) && with_stream(world),
    },
    Path {
        name: "the last stream of a site leaves, delete",
        before: |world| {
            at_site(world);
            world.edit("door", &json!({ "deletionPolicy": "Delete" }));
        },
        act: |world| world.delete("door"),
        expect: |world| only_fleet(world) && !with_stream(world),
    },
    Path {
        name: "one of two streams leaves a site",
        before: two_at_site,
        act: |world| world.delete("door"),
        expect: |world| has(world, SITE) && !world.has_object("door"),
    },
    Path {
        name: "to another site",
        before: at_site,
        act: |world| world.patch("door", json!({ "metadata": { "labels": { "site": "5" } } })),
        expect: |world| has(world, OTHER_SITE) && !has(world, SITE),
    },
    Path {
        name: "suspended at a site",
        before: at_site,
        act: |world| world.edit("door", &json!({ "suspend": true })),
        expect: |world| with_stream(world) && !has(world, SITE),
    },
    Path {
        name: "alarms of a class",
        before: |world| {
            world.apply_at("door", Some("4"), &json!({ "retentionHours": 24 }));
            world.to_rest();
        },
        act: |world| world.edit_class(&class_alarms()),
        expect: |world| has(world, SITE),
    },
    Path {
        name: "other alarms of a class",
        before: at_site,
        act: |world| {
            let topics = [TOPIC, "arn:aws:sns:eu-west-1:123456789012:others"];
            world.edit_class(
                &json!({ "alarms": { "siteLabel": null, "fleet": ["SlowUplink"], "actionARNs": topics } }),
            );
        },
        expect: |world| !has(world, SITE) && has(world, &format!("{FLEET}SlowUplink")),
    },
    Path {
        name: "a class is made",
        before: |world| world.delete_class(),
        act: |world| {
            world.make_class();
            world.apply("door", &json!({ "retentionHours": 24 }));
        },
        expect: with_stream,
    },
    Path {
        name: "a class that is not used is deleted",
        before: with_alarms,
        act: World::delete_class,
        expect: |world| !world.has_class() && names(world).is_empty(),
    },
    Path {
        name: "a class that is used is deleted",
        before: at_site,
        act: World::delete_class,
        expect: |world| world.has_class() && world.stream(STREAM).is_some() && has(world, SITE),
    },
    Path {
        name: "a class is deleted, then its last stream",
        before: |world| {
            at_site(world);
            world.delete_class();
            world.to_rest();
        },
        act: |world| world.delete("door"),
        expect: |world| !world.has_class() && names(world).is_empty() && with_stream(world),
    },
    Path {
        name: "a class and its last stream are deleted",
        before: at_site,
        act: |world| {
            world.delete_class();
            world.delete("door");
        },
        expect: |world| !world.has_class() && names(world).is_empty() && with_stream(world),
    },
    Path {
        name: "delete while it is made",
        before: nothing,
        act: |world| {
            world.apply("door", &json!({ "deletionPolicy": "Delete" }));
            delete_during(world, "CreateStream");
        },
        expect: gone,
    },
    Path {
        name: "delete while its alarm is made",
        before: nothing,
        act: |world| {
            world.apply("door", &json!({}));
            delete_during(world, "PutMetricAlarm");
        },
        expect: |world| !world.has_object("door") && with_stream(world) && names(world).is_empty(),
    },
];
