//! What a role may not ask: a right that it loses is named, at few calls, and that ends by itself; and the role of one class blinds
//! no other class of its account.

use std::time::Duration;

use serde_json::json;

use crate::actions::{NAMESPACE, slow};
use crate::facts::{alarms, stream_key};
use crate::paths::STREAM;
use crate::rest::condition;
use crate::trace::What;
use crate::world::World;

/// The role of the class.
const ROLE: &str = "streamfleet";
/// Longer than the sweep of settings takes.
const SWEPT: Duration = Duration::from_hours(7);
/// Longer than between two lists of the streams, and much less than between two checks of a class.
const LISTED: Duration = Duration::from_mins(2);
/// Longer than the longest back-off.
const TRIED_AGAIN: Duration = Duration::from_mins(6);

impl World {
    fn deny(&self, role: &str, operation: &'static str) {
        self.lock().denied.insert((role.to_owned(), operation));
    }

    fn allow_all(&self) {
        self.lock().denied.clear();
    }

    /// An operator starts, and works for so long.
    fn live_for(&self, time: Duration) {
        self.during(async { tokio::time::sleep(time).await });
    }

    /// Status, reason and message of a condition.
    fn says(&self, type_: &str) -> String {
        let inner = self.lock();
        let condition = condition(inner.store.get(&stream_key(NAMESPACE, "door")).unwrap(), type_);
        let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", text("status"), text("reason"), text("message"))
    }

    /// How often AWS was asked this.
    fn asked(&self, operation: &str) -> usize {
        self.lock().points.iter().filter(|point| *point == operation).count()
    }

    /// Somebody deletes the alarms.
    fn lose_alarms(&self) {
        let names: Vec<_> = alarms(&mut self.lock()).iter().map(|alarm| alarm["AlarmName"].clone()).collect();
        assert_eq!(names.len(), 1);
        self.foreign("DeleteAlarms", &json!({ "AlarmNames": names }));
        assert_eq!(alarms(&mut self.lock()).len(), 0);
    }

    fn is_denied_tags(&self) -> bool {
        self.says("Ready").starts_with("Unknown AwsAccessDenied")
            && self.says("Synced").starts_with("Unknown AwsAccessDenied")
            && self.says("Ready").contains("ListTagsForStream")
    }

    fn is_well(&self) -> bool {
        self.says("Ready").starts_with("True Active") && self.says("Synced").starts_with("True InSync")
    }
}

fn made() -> World {
    let world = World::furnished(slow());
    world.apply("door", &json!({ "retentionHours": 48 }));
    world.to_rest();
    world
}

fn clean(world: &World) {
    assert_eq!(world.lock().violations, Vec::<String>::new());
}

#[test]
fn settings_that_may_not_be_read_any_more_are_named_within_their_sweep_at_few_calls_and_that_ends_by_itself()
{
    let world = made();
    world.during(async {
        tokio::time::sleep(SWEPT).await;
        assert!(world.is_well(), "{}", world.says("Synced"));
        world.deny(ROLE, "ListTagsForStream");
        world.lock().points.clear();
        tokio::time::sleep(SWEPT).await;
        assert!(world.is_denied_tags(), "{}", world.says("Ready"));
        // Its back-off is 150 s at least in the end, and the sweep asks every 10 minutes.
        let asked = world.asked("ListTagsForStream");
        assert!((10..=7 * (24 + 6) + 10).contains(&asked), "{asked}");
        assert_eq!(world.asked("DescribeStream"), 0);
        let others = world.asked("DescribeNotificationConfiguration");
        assert!(others <= 1, "{others} calls that could come to nothing");
        world.lose_alarms();
        tokio::time::sleep(Duration::from_mins(4)).await;
        assert_eq!(alarms(&mut world.lock()).len(), 1, "alarms are looked after meanwhile");
        world.allow_all();
        tokio::time::sleep(TRIED_AGAIN).await;
        assert!(world.is_well(), "{}", world.says("Synced"));
    });
    clean(&world);
}

#[test]
fn an_account_that_refuses_everything_is_noticed_by_the_next_list_and_not_when_its_class_is_due() {
    let world = made();
    world.during(async {
        // The class is confirmed, and is due in ten minutes.
        tokio::time::sleep(LISTED).await;
        assert!(world.is_well(), "{}", world.says("Ready"));
        for operation in ["GetCallerIdentity", "ListStreams", "ListTagsForStream", "DescribeAlarms"] {
            world.deny(ROLE, operation);
        }
        tokio::time::sleep(LISTED).await;
        assert!(world.says("Ready").contains("StreamClassNotReady"), "{}", world.says("Ready"));
        world.allow_all();
        tokio::time::sleep(TRIED_AGAIN).await;
        assert!(world.is_well(), "{}", world.says("Ready"));
    });
    clean(&world);
}

#[test]
fn who_starts_anew_does_not_take_for_in_order_what_may_not_be_read() {
    let world = made();
    world.deny(ROLE, "ListTagsForStream");
    world.live_for(SWEPT);
    assert!(world.is_denied_tags(), "{}", world.says("Ready"));
    world.lock().trace.clear();
    world.live_for(Duration::from_mins(30));
    assert!(world.is_denied_tags(), "{}", world.says("Ready"));
    let is_said = |what: &What| matches!(what, What::Write { key, .. } if key.0 == "videostreams");
    let said = world.lock().trace.iter().filter(|seen| is_said(&seen.what)).count();
    assert_eq!(said, 0, "nothing else was said meanwhile");
    world.allow_all();
    world.live_for(TRIED_AGAIN);
    assert!(world.is_well(), "{}", world.says("Synced"));
    clean(&world);
}

#[test]
fn a_class_whose_role_may_not_look_blinds_no_other_class_of_its_account() {
    let world = made();
    for operation in ["ListStreams", "DescribeAlarms", "ListTagsForStream"] {
        world.deny("trial", operation);
    }
    world.during(async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        // The first by name.
        world.make_class_as("a-trial", "trial");
        tokio::time::sleep(Duration::from_mins(3)).await;
        let stream = world.stream(STREAM).unwrap();
        let decrease = json!({
            "StreamARN": stream.arn(), "CurrentVersion": stream.version, "Operation": "DECREASE_DATA_RETENTION",
            "DataRetentionChangeInHours": 24,
        });
        world.foreign("UpdateDataRetention", &decrease);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(world.stream(STREAM).unwrap().retention_hours, 48);
        world.lose_alarms();
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert_eq!(alarms(&mut world.lock()).len(), 1);
        let arn = world.stream(STREAM).unwrap().arn();
        world.foreign("UntagStream", &json!({ "StreamARN": arn, "TagKeyList": ["cost-centre"] }));
        tokio::time::sleep(SWEPT).await;
        assert_eq!(world.stream(STREAM).unwrap().tags["cost-centre"], "4711");
        assert!(world.is_well(), "{}", world.says("Synced"));
    });
    clean(&world);
}
