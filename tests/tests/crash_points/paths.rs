//! The ways through the reconciler: a world before, what somebody does, and what must have come of it.

use serde_json::{Value, json};

use crate::actions::{NAMESPACE, slow};
use crate::facts::alarms;
use crate::world::{INSTALLATION, World};

/// A way.
pub struct Path {
    pub name: &'static str,
    pub before: fn(&World),
    pub act: fn(&World),
    /// Beside what holds at the end of every way.
    pub expect: fn(&World) -> bool,
}

impl Path {
    /// The world before.
    pub fn prepared(&self) -> World {
        let world = World::furnished(slow());
        (self.before)(&world);
        world.to_rest();
        let violations = world.lock().violations.clone();
        assert_eq!(violations, Vec::<String>::new(), "{}: before anything happens", self.name);
        world
    }

    pub fn act(&self, world: &World) {
        (self.act)(world);
    }

    pub fn expect(&self, world: &World) {
        if !(self.expect)(world) {
            world.lock().violate(format!("end: not what {} is to come to", self.name));
        }
    }
}

/// The name of the stream of the object `door`.
pub const STREAM: &str = "t-shop.door";

fn full() -> Value {
    json!({
        "retentionHours": 168, "storageTier": "Warm", "mediaType": "video/h264", "deviceName": "door-3",
        "imageGeneration": images(), "notification": { "topicARN": "arn:aws:sns:eu-west-1:123456789012:fragments" },
        "tags": { "site": "berlin" },
    })
}

fn images() -> Value {
    json!({
        "timestamp": "Server", "destinationURI": "s3://example-pictures/door", "samplingIntervalMillis": 3000,
        "format": "JPEG", "jpegQuality": 70,
    })
}

pub fn nothing(_world: &World) {}

fn plain(world: &World) {
    world.apply("door", &json!({ "retentionHours": 24, "tags": { "site": "berlin", "old": "1" } }));
    world.to_rest();
    world.foreign_tags(STREAM, &[("bill", "somebody")]);
}

pub fn with_stream(world: &World) -> bool {
    world.stream(STREAM).is_some()
}

pub fn gone(world: &World) -> bool {
    !world.has_object("door") && world.stream(STREAM).is_none() && alarms(&mut world.lock()).is_empty()
}

fn kept(world: &World) -> bool {
    !world.has_object("door") && with_stream(world) && alarms(&mut world.lock()).is_empty()
}

/// The ways of a stream.
pub const PATHS: &[Path] = &[
    Path { name: "create", before: nothing, act: |world| world.apply("door", &full()), expect: with_stream },
    Path {
        name: "adopt its own",
        before: |world| {
            let owner = [
                ("streamfleet.io/installation", INSTALLATION),
                ("streamfleet.io/namespace", NAMESPACE),
                ("streamfleet.io/name", "door"),
                ("streamfleet.io/uid", "of-an-earlier-life"),
            ];
            world.foreign_stream(STREAM, 12, &owner);
            world.foreign_tags(STREAM, &[("bill", "somebody")]);
        },
        act: |world| world.apply("door", &full()),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 168),
    },
    Path {
        name: "adopt nobody's",
        before: |world| {
            world.foreign_stream(STREAM, 12, &[]);
            world.foreign_tags(STREAM, &[("bill", "somebody")]);
        },
        act: |world| {
            world.apply(
                "door",
                &json!({ "adoptionPolicy": "IfUnowned", "retentionHours": 48, "tags": { "site": "x" } }),
            );
        },
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 48),
    },
    Path {
        name: "adopt a longer retention",
        before: |world| world.foreign_stream(STREAM, 500, &[]),
        act: |world| world.apply("door", &json!({ "adoptionPolicy": "IfUnowned", "retentionHours": 48 })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 500),
    },
    Path {
        name: "retention up",
        before: plain,
        act: |world| world.edit("door", &json!({ "retentionHours": 168 })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 168),
    },
    Path {
        name: "retention down",
        before: plain,
        act: |world| world.edit("door", &json!({ "retentionHours": 6, "retentionDecreasePolicy": "Allow" })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 6),
    },
    Path {
        name: "retention down, refused",
        before: plain,
        act: |world| world.edit("door", &json!({ "retentionHours": 6 })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 24),
    },
    Path {
        name: "tier",
        before: plain,
        act: |world| world.edit("door", &json!({ "storageTier": "Warm" })),
        expect: with_stream,
    },
    Path {
        name: "tags",
        before: plain,
        act: |world| world.edit("door", &json!({ "tags": { "site": "munich", "old": null, "new": "2" } })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| !stream.tags.contains_key("old")),
    },
    Path {
        name: "settings on",
        before: plain,
        act: |world| {
            let settings = full();
            let names = ["imageGeneration", "notification", "mediaType", "deviceName"];
            let spec = names.iter().map(|name| ((*name).to_owned(), settings[*name].clone()));
            world.edit("door", &Value::Object(spec.collect()));
        },
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.image_generation.is_some()),
    },
    Path {
        name: "settings off",
        before: |world| world.apply("door", &full()),
        act: |world| world.edit("door", &json!({ "imageGeneration": null, "notification": null })),
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.image_generation.is_none()),
    },
    Path {
        name: "everything at once",
        before: |world| world.apply("door", &full()),
        act: |world| {
            world.edit("door", &json!({
                "retentionHours": 0, "retentionDecreasePolicy": "Allow", "storageTier": "Hot", "mediaType": "video/h265",
                "imageGeneration": null, "notification": null, "tags": { "site": null, "team": "a" },
                "alarms": { "perStream": ["ErrorAcks"] },
            }));
        },
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 0),
    },
    Path {
        name: "alarms",
        before: plain,
        act: |world| {
            let topic = "arn:aws:sns:eu-west-1:123456789012:others";
            world.edit(
                "door",
                &json!({ "alarms": {
                    "perStream": ["ErrorAcks", "SlowUplink"], "actionARNs": [topic],
                }}),
            );
        },
        expect: with_stream,
    },
    Path {
        name: "what others changed",
        before: |world| {
            world.apply("door", &json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" }));
            world.to_rest();
        },
        act: |world| {
            let version = world.stream(STREAM).map(|stream| stream.version);
            world.foreign(
                "UpdateDataRetention",
                &json!({
                    "StreamName": STREAM, "CurrentVersion": version, "Operation": "INCREASE_DATA_RETENTION",
                    "DataRetentionChangeInHours": 100,
                }),
            );
        },
        expect: |world| world.stream(STREAM).is_some_and(|stream| stream.retention_hours == 24),
    },
    Path {
        name: "a stream that is lost",
        before: plain,
        act: |world| {
            let arn = world.stream(STREAM).map(|stream| stream.arn());
            world.foreign("DeleteStream", &json!({ "StreamARN": arn }));
            world.lock().facts.foreign_tags.clear();
        },
        expect: with_stream,
    },
    Path { name: "delete, retain", before: plain, act: |world| world.delete("door"), expect: kept },
    Path {
        name: "delete, delete",
        before: |world| {
            plain(world);
            world.edit("door", &json!({ "deletionPolicy": "Delete" }));
        },
        act: |world| world.delete("door"),
        expect: gone,
    },
    Path {
        name: "delete, of a stream that another has",
        before: |world| {
            plain(world);
            world.foreign_tags(STREAM, &[("streamfleet.io/name", "gate"), ("streamfleet.io/uid", "of-gate")]);
            world.patch(
                "door",
                json!({ "metadata": { "annotations": { "streamfleet.io/check-requested": "1" } } }),
            );
        },
        act: |world| world.delete("door"),
        expect: kept,
    },
    Path {
        name: "delete before it is made",
        before: nothing,
        act: |world| {
            world.apply("door", &json!({ "deletionPolicy": "Delete" }));
            world.during(async { tokio::time::sleep(std::time::Duration::from_millis(150)).await });
            world.delete("door");
        },
        expect: gone,
    },
];
