//! What holds for every plan: statements over arbitrary wishes, records and worlds.

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use streamfleet_crds::{
    DriftPolicy, ManagementPolicy, RetentionDecreasePolicy, VideoStreamStatus, ownership_tags,
};

use super::fields::fields;
use super::model::World;
use super::{Hold, Ownership, Plan, Step, plan};
use crate::aws::{Settings, StreamInfo, StreamState};
use crate::video_stream::observed::View;
use crate::video_stream::status::{Look, Outcome, announced, recorded, status};
use crate::video_stream::testing::{ARN, desired, observed};
use crate::video_stream::validate::Desired;

/// More steps than any change needs: each kind of call once, and the ownership tags.
const STEPS_MAX: usize = 9;

fn image() -> impl Strategy<Value = Value> {
    (200..1000_i32, prop::bool::ANY).prop_map(|(interval, is_jpeg)| {
        json!({
            "timestamp": "Server", "destinationURI": "s3://pictures", "samplingIntervalMillis": interval,
            "format": if is_jpeg { "JPEG" } else { "PNG" },
        })
    })
}

/// Any wish. The tags and values are few, so that wishes and worlds meet.
fn wish() -> impl Strategy<Value = Desired> {
    let spec = (
        (select(vec![0, 1, 24, 168]), select(vec!["Allow", "Deny"]), select(vec!["Hot", "Warm"])),
        (prop::option::of(image()), prop::option::of(Just("arn:aws:sns:eu-west-1:123456789012:one"))),
        (
            prop::option::of(select(vec!["video/h264", "video/h265"])),
            prop::option::of(select(vec!["a", "b"])),
        ),
        prop::collection::btree_map(select(vec!["site", "team", "owner"]), select(vec!["x", "y"]), 0..3),
        (select(vec!["Manage", "Manage", "Observe"]), select(vec!["Correct", "Report"])),
        (select(vec!["Never", "IfOwned"]), prop::bool::weighted(0.1)),
        prop::option::of(select(vec!["alias/one", "alias/two"])),
    );
    spec.prop_map(|(retention, configs, names, tags, policies, (adoption, suspend), key)| {
        let mut spec = json!({
            "retentionHours": retention.0, "retentionDecreasePolicy": retention.1, "storageTier": retention.2,
            "tags": tags, "managementPolicy": policies.0, "driftPolicy": policies.1,
            "adoptionPolicy": adoption, "suspend": suspend,
        });
        let optional = [
            ("imageGeneration", configs.0),
            ("notification", configs.1.map(|topic| json!({ "topicARN": topic }))),
            ("mediaType", names.0.map(Value::from)),
            ("deviceName", names.1.map(Value::from)),
            ("kmsKeyID", key.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                spec[name] = value;
            }
        }
        desired(spec)
    })
}

/// Any stream under the name: that of another wish, with the ownership tags of somebody, and a foreign tag.
fn stream() -> impl Strategy<Value = (StreamInfo, Settings)> {
    let states = vec![StreamState::Active, StreamState::Active, StreamState::Active, StreamState::Updating];
    (wish(), subsequence(vec![0, 1, 2, 3], 0..=4), select(vec![None, Some("south")]), select(states))
        .prop_map(|(wish, kept, other, state)| {
            let mut seen = observed(&wish);
            let keys: Vec<String> = wish.owner.tags().into_keys().collect();
            for (at, key) in keys.iter().enumerate() {
                if !kept.contains(&at) {
                    seen.settings.tags.remove(key);
                }
            }
            if let Some(other) = other {
                seen.settings.tags.insert(ownership_tags::INSTALLATION.to_owned(), other.to_owned());
            }
            seen.settings.tags.insert("foreign".to_owned(), "1".to_owned());
            seen.info.state = state;
            (seen.info, seen.settings)
        })
}

/// Any record: none, one that was in order with some wish, or one of another stream.
fn record() -> impl Strategy<Value = VideoStreamStatus> {
    (wish(), select(vec![None, Some(ARN), Some("arn:old")])).prop_map(|(wish, arn)| match arn {
        None => VideoStreamStatus::default(),
        Some(arn) => {
            let view =
                View::Present(observed(&Desired { management: ManagementPolicy::Manage, ..wish.clone() }));
            let after = pass(&VideoStreamStatus::default(), &wish, &view);
            VideoStreamStatus { stream_arn: Some(arn.to_owned()), ..after }
        }
    })
}

/// One wish after another for the tag `site`, each with a hold or without one.
fn wishes_for_a_tag() -> impl Strategy<Value = Vec<(Desired, Option<&'static str>, Hold)>> {
    let holds = select(vec![Hold::Suspended, Hold::Observe, Hold::Report]);
    prop::collection::vec((wish(), prop::option::of(select(vec!["x", "y"])), holds), 1..5)
}

/// The wish, held back like this, with the tag `site` or without it.
fn held(wish: Desired, site: Option<&str>, hold: Hold) -> Desired {
    let mut desired = Desired {
        suspend: hold == Hold::Suspended,
        management: if hold == Hold::Observe { ManagementPolicy::Observe } else { ManagementPolicy::Manage },
        ..wish
    };
    desired.tags.remove("site");
    desired.tags.extend(site.map(|site| ("site".to_owned(), site.to_owned())));
    desired
}

/// The status after a pass that finds this.
fn pass(before: &VideoStreamStatus, desired: &Desired, view: &View) -> VideoStreamStatus {
    let plan = plan(desired, &recorded(before), view);
    let look = Look { desired, plan: &plan, view, is_new: false, failure: None, warnings: &[], check: None };
    status(before, &Outcome::Planned(look), None, Some(1), Timestamp::UNIX_EPOCH)
}

/// Drives the world as the controller does, to where nothing is left to do: the status and the plan that are then.
fn drive(
    world: &mut World,
    desired: &Desired,
    mut before: VideoStreamStatus,
) -> (VideoStreamStatus, Plan, usize) {
    for steps in 0.. {
        assert!(steps <= STEPS_MAX, "no end: {:?}", plan(desired, &recorded(&before), &world.view()).steps);
        let view = world.view();
        let planned = plan(desired, &recorded(&before), &view);
        if planned.is_lost && planned.has_work {
            before = VideoStreamStatus::default();
            continue;
        }
        let Some(step) = planned.steps.first() else {
            before = pass(&before, desired, &view);
            let planned = plan(desired, &recorded(&before), &world.view());
            return (before, planned, steps);
        };
        before = announced(&before, desired, &planned, &view, Timestamp::UNIX_EPOCH);
        world.apply(step);
        before = pass(&before, desired, &world.view());
        if let Some((info, _)) = &mut world.stream {
            info.state = StreamState::Active;
        }
    }
    unreachable!()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_same_input_makes_the_same_plan(desired in wish(), stream in prop::option::of(stream()), record in record()) {
        let view = World::new(stream).view();
        let recorded = recorded(&record);
        prop_assert_eq!(plan(&desired, &recorded, &view), plan(&desired, &recorded, &view));
    }

    #[test]
    fn the_plan_of_a_converged_world_is_empty(desired in wish()) {
        prop_assume!(!(desired.retention_hours == 0 && desired.image_generation.is_some()));
        let desired = Desired { management: ManagementPolicy::Manage, suspend: false, ..desired };
        let view = View::Present(observed(&desired));
        let before = pass(&VideoStreamStatus::default(), &desired, &view);
        let planned = plan(&desired, &recorded(&before), &view);
        prop_assert_eq!((&planned.changes[..], &planned.steps[..], planned.has_work), (&[][..], &[][..], false));
        prop_assert_eq!(pass(&before, &desired, &view), before);
    }

    #[test]
    fn no_plan_holds_a_step_from_a_cached_read(
        desired in wish(), stream in prop::option::of(stream()), record in record(),
    ) {
        let world = World::new(stream);
        let recorded = recorded(&record);
        let (fresh, cached) = (plan(&desired, &recorded, &world.view()), plan(&desired, &recorded, &world.cached()));
        prop_assert!(cached.steps.is_empty());
        prop_assert_eq!(Plan { steps: Vec::new(), ..fresh }, cached);
    }

    #[test]
    fn nothing_is_touched_that_is_not_ours_or_is_only_looked_at(
        desired in wish(), stream in prop::option::of(stream()), record in record(),
    ) {
        let planned = plan(&desired, &recorded(&record), &World::new(stream).view());
        let is_ours = matches!(planned.ownership, Ownership::Ours | Ownership::Adoptable | Ownership::Nobody);
        let is_still = desired.suspend || desired.management == ManagementPolicy::Observe;
        if !is_ours || is_still {
            prop_assert!(planned.steps.is_empty() && !planned.has_work);
        }
        if desired.decrease == RetentionDecreasePolicy::Deny {
            prop_assert!(!planned.steps.iter().any(Step::is_destructive));
        }
    }

    #[test]
    fn applying_a_plan_converges_to_the_spec_and_then_it_is_empty(
        desired in wish(), stream in prop::option::of(stream()), record in record(),
    ) {
        let mut world = World::new(stream);
        if let Some((info, _)) = &mut world.stream {
            info.state = StreamState::Active;
        }
        let foreign = world.tags().get("foreign").cloned();
        let first = world.retentions.first().copied();
        let (after, planned, _) = drive(&mut world, &desired, record);
        prop_assert!(!planned.has_work && planned.steps.is_empty());
        prop_assert_eq!(pass(&after, &desired, &world.view()), after.clone(), "a second look changes the status");
        prop_assert_eq!(world.tags().get("foreign").cloned(), foreign, "a foreign tag was touched");
        let allowed = |hours: &i32| Some(*hours) == first || *hours == desired.retention_hours;
        prop_assert!(world.retentions.iter().all(allowed), "{:?}", world.retentions);
        if planned.ownership == Ownership::Ours && let View::Present(seen) = world.view() {
            for field in fields(&desired, &recorded(&after), &seen).iter().filter(|field| field.differs) {
                let hold = planned.changes.iter().find(|change| change.field == field.name).and_then(|change| change.hold);
                prop_assert!(hold.is_some(), "{field:?}");
            }
        }
    }

    #[test]
    fn a_foreign_tag_that_is_asked_for_only_while_nothing_is_changed_is_never_touched(
        first in wish(), foreign in select(vec!["x", "y"]), wishes in wishes_for_a_tag(), last in wish(),
    ) {
        let mut world = World::new(None);
        let (mut status, ..) =
            drive(&mut world, &held(first, None, Hold::Report), VideoStreamStatus::default());
        world.stream.as_mut().unwrap().1.tags.insert("site".to_owned(), foreign.to_owned());
        for (wish, site, hold) in wishes {
            let site = site.filter(|_| hold != Hold::Report);
            (status, ..) = drive(&mut world, &held(wish, site, hold), status);
        }
        let (after, ..) = drive(&mut world, &held(last, None, Hold::Report), status);
        prop_assert_eq!(world.tags().get("site").cloned(), Some(foreign.to_owned()));
        prop_assert!(!after.managed_tags.iter().any(|key| key == "site"));
    }

    #[test]
    fn a_tag_that_was_set_is_taken_away_whatever_was_asked_for_while_nothing_was_changed(
        first in wish(), wishes in wishes_for_a_tag(), last in wish(),
    ) {
        let mut world = World::new(None);
        let (mut status, ..) =
            drive(&mut world, &held(first, Some("x"), Hold::Report), VideoStreamStatus::default());
        for (wish, site, hold) in wishes.into_iter().filter(|(_, _, hold)| *hold != Hold::Report) {
            (status, ..) = drive(&mut world, &held(wish, site, hold), status);
        }
        drive(&mut world, &held(last, None, Hold::Report), status);
        prop_assert_eq!(world.tags().get("site").cloned(), None);
    }

    #[test]
    fn what_others_change_is_reported_or_taken_back_and_an_edit_is_applied_in_any_case(
        desired in wish(), hours in select(vec![1, 24, 168]), tag in prop::bool::ANY, edit in select(vec!["x", "y", "z"]),
    ) {
        let desired = Desired {
            management: ManagementPolicy::Manage, suspend: false, decrease: RetentionDecreasePolicy::Allow,
            retention_hours: desired.retention_hours.max(1), is_kms_key_fixed: false, ..desired
        };
        let mut world = World::new(None);
        let (before, ..) = drive(&mut world, &desired, VideoStreamStatus::default());
        let (info, settings) = world.stream.as_mut().unwrap();
        info.retention_hours = hours;
        if tag {
            settings.tags.remove(ownership_tags::NAME);
        }
        let mut edited = desired.clone();
        edited.tags.insert("edited".to_owned(), edit.to_owned());
        let seen = pass(&before, &edited, &world.cached());
        let is_drifting = |field: &str| seen.drift.iter().any(|drift| drift.field == field);
        prop_assert_eq!(is_drifting("retentionHours"), hours != desired.retention_hours);
        prop_assert_eq!(is_drifting("tags[streamfleet.io/name]"), tag);
        prop_assert!(!is_drifting("tags[edited]"));

        let (_, planned, _) = drive(&mut world, &edited, seen);
        let tags = world.tags();
        prop_assert_eq!(tags.get("edited").map(String::as_str), Some(edit));
        let is_report = desired.drift == DriftPolicy::Report;
        let expected = if is_report { hours } else { desired.retention_hours };
        prop_assert_eq!(world.stream.as_ref().unwrap().0.retention_hours, expected);
        prop_assert_eq!(tags.contains_key(ownership_tags::NAME), !(tag && is_report));
        let is_reported = planned.is_held(Hold::Report);
        prop_assert_eq!(is_reported, is_report && (tag || hours != desired.retention_hours));
    }
}

#[test]
fn what_was_set_and_is_no_longer_asked_for_is_taken_away_and_what_others_set_is_left() {
    let with = desired(json!({
        "tags": { "site": "x" }, "notification": { "topicARN": "arn:aws:sns:eu-west-1:123456789012:one" },
    }));
    let without = desired(json!({}));
    let mut world = World::new(None);
    let (before, ..) = drive(&mut world, &with, VideoStreamStatus::default());
    let (after, ..) = drive(&mut world, &without, before);
    let (_, settings) = world.stream.as_mut().unwrap();
    assert_eq!((settings.notification.clone(), settings.tags.contains_key("site")), (None, false));
    settings.notification = with.notification.clone();
    settings.tags.insert("site".to_owned(), "foreign".to_owned());
    let planned = plan(&without, &recorded(&after), &world.view());
    assert_eq!(planned.changes, []);
}
