//! Calls that are slow: what destroys footage waits for its turn, and a user takes it back meanwhile; or a call takes effect when
//! nobody waits for its answer any more.

use std::time::Duration;

use serde_json::json;

use crate::actions::slow;
use crate::paths::STREAM;
use crate::slowness::Slow;
use crate::world::World;

/// How long a call waits in a row that others have filled.
const ROW: Duration = Duration::from_secs(4);
/// How long a call is under way whose answer nobody waits for any more: longer than an object without a stream takes to go.
const LATE: Duration = Duration::from_secs(5);
/// No call of another operator is under way any more.
const SETTLED_IN: Duration = Duration::from_secs(15);
/// All that is to come of it has come.
const OVER: Duration = Duration::from_mins(2);

impl World {
    async fn until_it_waits(&self, operation: &'static str) {
        while !self.lock().slow.waited.contains(&operation) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn was_sent(&self, operation: &str) -> bool {
        self.lock().points.iter().any(|point| point == operation)
    }
}

/// A world with the stream of `door`, where turns are waited for from now on.
fn with_rows() -> World {
    let world = World::furnished(slow());
    world.apply("door", &json!({ "retentionHours": 48, "deletionPolicy": "Delete" }));
    world.to_rest();
    let mut inner = world.lock();
    inner.slow = Slow { row: ROW, ..Slow::default() };
    drop(inner);
    world
}

fn clean(world: &World) {
    world.to_rest();
    let inner = world.lock();
    assert_eq!(inner.violations, Vec::<String>::new(), "{:#?}", inner.points);
}

#[test]
fn a_deletion_that_is_taken_back_while_it_waits_for_its_turn_is_not_sent() {
    let world = with_rows();
    let story = async {
        world.delete("door");
        world.until_it_waits("DeleteStream").await;
        world.edit("door", &json!({ "deletionPolicy": "Retain" }));
        tokio::time::sleep(OVER).await;
    };
    assert!(world.during(story));
    assert!(!world.has_object("door") && !world.was_sent("DeleteStream"));
    clean(&world);
    assert!(world.stream(STREAM).is_some());
}

#[test]
fn a_deletion_that_stands_waits_for_one_turn() {
    let world = with_rows();
    world.delete("door");
    clean(&world);
    assert!(!world.has_object("door") && world.stream(STREAM).is_none());
    assert_eq!(world.lock().slow.waited, ["DeleteStream"]);
}

#[test]
fn a_shorter_retention_that_is_taken_back_while_it_waits_for_its_turn_is_not_sent() {
    let world = with_rows();
    let story = async {
        world.edit("door", &json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" }));
        world.until_it_waits("UpdateDataRetention").await;
        world.edit("door", &json!({ "retentionHours": 48 }));
        tokio::time::sleep(OVER).await;
    };
    assert!(world.during(story));
    assert!(!world.was_sent("UpdateDataRetention"));
    clean(&world);
    assert_eq!(world.stream(STREAM).map(|stream| stream.retention_hours), Some(48));
}

#[test]
fn a_shorter_retention_that_stands_waits_for_one_turn() {
    let world = with_rows();
    world.edit("door", &json!({ "retentionHours": 24, "retentionDecreasePolicy": "Allow" }));
    clean(&world);
    assert_eq!(world.stream(STREAM).map(|stream| stream.retention_hours), Some(24));
    assert_eq!(world.lock().slow.waited, ["UpdateDataRetention"]);
}

#[test]
fn a_stream_that_appears_when_its_object_is_already_being_deleted_goes_with_it() {
    let world = World::furnished(slow());
    world.lock().slow.late = Some(("CreateStream", LATE));
    let story = async {
        tokio::time::sleep(SETTLED_IN).await;
        world.apply("door", &json!({ "deletionPolicy": "Delete" }));
        while world.lock().slow.late.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(world.stream(STREAM).is_none());
        world.delete("door");
        tokio::time::sleep(OVER).await;
        assert!(world.was_sent("DeleteStream") && !world.has_object("door"));
    };
    assert!(world.during(story));
    clean(&world);
    assert!(world.stream(STREAM).is_none());
}
