//! More than one term of leadership: the lease goes to the other operator, and comes back.

use std::time::Duration;

use serde_json::json;

use crate::actions::slow;
use crate::facts::alarms;
use crate::paths::STREAM;
use crate::world::{How, Interruption, World};

/// Longer than a search for alarms without an object is away.
const SEARCHED_WITHIN: Duration = Duration::from_mins(7);

fn alarm_count(world: &World) -> usize {
    alarms(&mut world.lock()).len()
}

/// The object is deleted, and its stream stays.
async fn delete(world: &World) {
    world.delete("door");
    while world.has_object("door") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn alarms_that_an_object_could_not_take_along_go_when_who_let_it_go_leads_again() {
    let world = World::furnished(slow());
    world.apply("door", &json!({ "retentionHours": 24 }));
    world.to_rest();
    assert_eq!(alarm_count(&world), 1);
    let trial = world.fork();
    assert!(trial.during(delete(&trial)));
    assert_eq!(alarm_count(&trial), 0);
    let at = trial.lock().points.iter().position(|point| point == "DeleteAlarms").unwrap();
    // The stream tells from then on of an object that may live in another cluster: only who let it go knows better.
    let world = world.fork();
    world.lock().plan = Some(Interruption { at, how: How::Fail });
    assert!(world.during(async {
        delete(&world).await;
        assert_eq!(alarm_count(&world), 1, "the deletion never arrived");
        world.lead_in_turn().await;
        assert_eq!(alarm_count(&world), 1, "the other operator does not know whose it is");
        tokio::time::sleep(SEARCHED_WITHIN).await;
    }));
    assert_eq!((alarm_count(&world), world.stream(STREAM).is_some()), (0, true));
    assert_eq!(world.lock().violations, Vec::<String>::new());
}
