//! Faults that are planted are found: each makes a protection void, and an invariant says so.

use serde_json::json;

use crate::actions::{NAMESPACE, slow};
use crate::api::View;
use crate::class_paths::with_alarms;
use crate::mutants::Mutant;
use crate::paths::{Path, STREAM};
use crate::world::{Held, How, Interruption, World};

/// A fault, where it shows, and what finds it.
struct Planted {
    mutant: Mutant,
    /// What happens.
    story: fn(&World),
    /// What the invariant that finds it says.
    says: &'static str,
}

fn path(name: &str) -> &'static Path {
    crate::class_paths::all().into_iter().find(|path| path.name == name).unwrap()
}

/// A way, with the fault.
fn way(world: &World, name: &str) {
    path(name).act(world);
    world.to_rest();
    path(name).expect(world);
}

fn made(world: &World) {
    world.apply("door", &json!({ "retentionHours": 24 }));
    world.to_rest();
}

/// A way, with something that happens at a call of this name: where that is is found by a first run of the same.
fn way_with(world: &World, name: &str, operation: &str, how: How) {
    let trial = world.fork();
    trial.lock().mutants.on = None;
    way(&trial, name);
    let at = trial.lock().points.iter().position(|point| point == operation).unwrap();
    world.lock().plan = Some(Interruption { at, how });
    way(world, name);
}

/// The operator goes on, and somebody else changes the retention right before its next change of it.
fn changed_meanwhile(world: &World) {
    world.lock().mutants.meddles = true;
    way(world, "retention up");
}

/// The class gets alarms of its own, and the stream a site.
fn to_site(world: &World) {
    world.patch("door", json!({ "metadata": { "labels": { "site": "4" } } }));
    with_alarms(world);
}

/// The same, and the stream leaves it, the last there is.
fn leave_site(world: &World) {
    to_site(world);
    world.delete("door");
    world.to_rest();
}

const PLANTED: &[Planted] = &[
    Planted {
        mutant: Mutant::NoArnFence,
        story: |world| {
            world.edit("door", &json!({ "deletionPolicy": "Delete" }));
            world.to_rest();
            let arn = world.stream(STREAM).map(|stream| stream.arn());
            world.foreign("DeleteStream", &json!({ "StreamARN": arn }));
            world.pass_time(10_000);
            // Made anew by somebody who copied the tags.
            let owner = [
                ("streamfleet.io/installation", crate::world::INSTALLATION),
                ("streamfleet.io/namespace", NAMESPACE),
                ("streamfleet.io/name", "door"),
                ("streamfleet.io/uid", &world.uid("door")),
            ];
            world.foreign_stream(STREAM, 24, &owner);
            world.delete("door");
            world.to_rest();
        },
        says: "I4",
    },
    Planted {
        mutant: Mutant::ResendAfterLostAnswer,
        story: |world| {
            way_with(world, "retention up", "UpdateDataRetention", How::LoseAnswer);
        },
        says: "I3",
    },
    Planted {
        mutant: Mutant::ReadFromCache,
        story: |world| {
            world.edit("door", &json!({ "deletionPolicy": "Delete" }));
            world.delete("door");
            world.to_rest();
        },
        says: "I2",
    },
    Planted {
        mutant: Mutant::NoOwnershipCheck,
        story: |world| {
            world.foreign_stream("t-shop.other", 12, &[("streamfleet.io/installation", "south")]);
            world.apply("other", &json!({ "retentionHours": 48 }));
            world.to_rest();
        },
        says: "ownership",
    },
    Planted {
        mutant: Mutant::NoFinalizer,
        story: |world| {
            world.apply("other", &json!({}));
            world.to_rest();
        },
        says: "I1: a stream of an object without finalizer",
    },
    Planted {
        mutant: Mutant::DeltaFromOldRead,
        story: |world| {
            world.edit("door", &json!({ "retentionHours": 48 }));
            world.to_rest();
            world.edit("door", &json!({ "retentionHours": 96 }));
            world.to_rest();
        },
        says: "I3",
    },
    Planted { mutant: Mutant::VersionDropped, story: changed_meanwhile, says: "I3" },
    Planted {
        mutant: Mutant::ConsentAssumed,
        story: |world| {
            world.foreign_stream("t-shop.other", 500, &[]);
            world.apply("other", &json!({ "adoptionPolicy": "IfUnowned", "retentionHours": 24 }));
            world.to_rest();
        },
        says: "I3: footage is destroyed without consent",
    },
    Planted {
        mutant: Mutant::ForeignTagsRemoved,
        story: |world| {
            world.edit("door", &json!({ "tags": { "site": "x" } }));
            world.to_rest();
            world.foreign_tags(STREAM, &[("bill", "somebody")]);
            world.edit("door", &json!({ "tags": { "site": null } }));
            world.to_rest();
        },
        says: "tags: bill is somebody else's",
    },
    Planted {
        mutant: Mutant::UntaggedCreate,
        story: |world| {
            world.apply("other", &json!({}));
            world.to_rest();
        },
        says: "I1: a stream without an owner",
    },
    Planted {
        mutant: Mutant::SecondStream,
        story: |world| {
            world.apply("other", &json!({}));
            world.to_rest();
        },
        says: "I1: 2 streams",
    },
    Planted {
        mutant: Mutant::AlarmsStay,
        story: |world| {
            world.delete("door");
            world.to_rest();
        },
        says: "I6: not settled: an alarm of t-shop.door",
    },
    Planted {
        mutant: Mutant::RecordForgotten,
        story: |world| {
            world.apply("other", &json!({ "deletionPolicy": "Delete" }));
            world.to_rest();
            world.delete("other");
            world.to_rest();
        },
        says: "I6: not settled",
    },
    Planted {
        mutant: Mutant::RetainIgnored,
        story: |world| {
            world.delete("door");
            world.to_rest();
        },
        says: "I4: a stream is deleted of an object that keeps it",
    },
    Planted {
        mutant: Mutant::SuspensionIgnored,
        story: |world| {
            world.edit("door", &json!({ "suspend": true, "retentionHours": 48 }));
            world.to_rest();
        },
        says: "hold",
    },
    Planted {
        mutant: Mutant::ConfirmedByCache,
        story: |world| {
            world.edit("door", &json!({ "retentionHours": 48 }));
            world.to_rest();
            // A user takes it back, and neither the watch nor the read before the change shows that.
            let version = world.lock().store.version();
            world.edit("door", &json!({ "retentionHours": 96 }));
            let frozen = world.lock().store.version();
            world.edit("door", &json!({ "retentionHours": 48 }));
            let mut inner = world.lock();
            let until = inner.now_ms() + 60_000;
            inner.view = View { frozen: Some((frozen, until)), ..View::default() };
            drop(inner);
            let _ = version;
            world.to_rest();
        },
        says: "I3",
    },
    Planted {
        mutant: Mutant::SecretInErrors,
        story: |world| {
            way_with(world, "retention up", "UpdateDataRetention", How::Fail);
        },
        says: "I7",
    },
    Planted {
        mutant: Mutant::NeverTheSame,
        story: |world| {
            world.edit("door", &json!({ "tags": { "a": "b" } }));
            world.to_rest();
        },
        says: "I6",
    },
    Planted {
        mutant: Mutant::ChangeNotMade,
        story: |world| {
            world.edit("door", &json!({ "storageTier": "Warm" }));
            world.to_rest();
        },
        says: "end: t-shop.door: storageTier",
    },
    Planted {
        mutant: Mutant::LeaseNotChecked,
        story: |world| {
            way_with(world, "retention up", "UpdateDataRetention", How::LoseLease(Held::Late));
        },
        says: "lease",
    },
    Planted { mutant: Mutant::SiteStays, story: leave_site, says: "the alarms of sites are" },
    Planted { mutant: Mutant::SiteTellsNobody, story: to_site, says: "site/4\" tells" },
    Planted {
        mutant: Mutant::FleetAlarmStays,
        story: |world| {
            to_site(world);
            world.edit_class(&json!({ "alarms": { "fleet": [] } }));
            world.to_rest();
        },
        says: "I6: not settled: class standard has the alarms",
    },
    Planted {
        mutant: Mutant::SuspendedTells,
        story: |world| {
            world.edit("door", &json!({ "suspend": true }));
            world.to_rest();
        },
        says: "tells of a suspended stream",
    },
    Planted {
        mutant: Mutant::UsersHidden,
        story: |world| {
            world.delete_class();
            world.to_rest();
        },
        says: "protection",
    },
    Planted {
        mutant: Mutant::AlarmsMadeAnew,
        story: |world| {
            let topics = ["arn:aws:sns:eu-west-1:123456789012:others"];
            world.edit("door", &json!({ "alarms": { "actionARNs": topics } }));
            world.to_rest();
        },
        says: "alarms: streamfleet/north/shop/door/NoIngest is deleted, which a living stream asks for",
    },
    Planted {
        mutant: Mutant::AlarmsFromCache,
        story: |world| {
            world.edit("door", &json!({ "alarms": { "perStream": [] } }));
            world.to_rest();
        },
        says: "I2: the alarm streamfleet/north/shop/door/NoIngest was not read afresh",
    },
    Planted {
        mutant: Mutant::TagsClaimed,
        story: |world| {
            world.foreign_tags(STREAM, &[("bill", "somebody")]);
            world.edit("door", &json!({ "suspend": true, "tags": { "bill": "ours" } }));
            world.to_rest();
            world.edit("door", &json!({ "suspend": null, "tags": { "bill": null } }));
            world.to_rest();
        },
        says: "tags: bill is somebody else's",
    },
];

#[test]
fn each_planted_fault_is_found_and_without_it_nothing_is() {
    let prepared = World::furnished(slow());
    made(&prepared);
    assert_eq!(prepared.lock().violations, Vec::<String>::new());
    let mut missed = Vec::new();
    let only = std::env::var("CRASH_POINTS_MUTANT").unwrap_or_default();
    for planted in PLANTED.iter().filter(|planted| format!("{:?}", planted.mutant).contains(&only)) {
        let without = prepared.fork();
        (planted.story)(&without);
        let clean = without.lock().violations.clone();
        if !clean.is_empty() {
            missed.push(format!("{:?}: without it: {clean:#?}", planted.mutant));
        }
        let with = prepared.fork();
        with.lock().mutants.on = Some(planted.mutant);
        (planted.story)(&with);
        let found = with.lock().violations.clone();
        match found.iter().find(|found| found.contains(planted.says)) {
            Some(found) => {
                println!("{:?} is found: {}", planted.mutant, found.chars().take(120).collect::<String>());
            }
            None => missed.push(format!("{:?}: not {:?} in {found:#?}", planted.mutant, planted.says)),
        }
    }
    println!("planted faults: {} of {} found", PLANTED.len() - missed.len(), PLANTED.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(PLANTED.len() >= 28, "{}", PLANTED.len());
    if only.is_empty() {
        crate::figures::say("planted faults", format!("{} planted faults, each found", PLANTED.len()));
    }
}
