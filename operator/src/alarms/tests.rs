//! Whole passes against a cloud in memory, and properties of the plan.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{AlarmKind, AlarmState, ConditionType};

use super::desired::digest;
use super::names::mark;
use super::*;
use crate::aws::fake::{FakeCloud, alarm as some_alarm};
use crate::aws::observer::Observer;
use crate::aws::{AlarmMetric, CompositeAlarm, MissingData, Statistic};
use crate::conditions::merge;
use crate::video_stream::testing::{self, INSTALLATION};

const NO_INGEST: &str = "streamfleet/north/shop/door/NoIngest";
const ERROR_ACKS: &str = "streamfleet/north/shop/door/ErrorAcks";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:a";

/// A stream with its status, and the cloud.
struct World {
    cloud: FakeCloud,
    aws: AwsSide,
    class: ClassAlarms,
    status: VideoStreamStatus,
}

impl World {
    fn new() -> Self {
        let cloud = FakeCloud::default();
        let clouds = Arc::new(cloud.clone());
        let aws = AwsSide {
            observer: Arc::new(Observer::new(clouds.clone(), Duration::from_mins(1))),
            clouds,
            checks: Arc::default(),
            alarms: Arc::default(),
            creations: Arc::default(),
            since: crate::context::long_ago(),
        };
        Self { cloud, aws, class: ClassAlarms::default(), status: VideoStreamStatus::default() }
    }

    async fn pass_on(&mut self, spec: Value, is_on_record: bool) -> AlarmsDone {
        let desired = testing::desired(spec);
        let wish = Wish {
            desired: &desired,
            class: &self.class,
            class_name: "standard",
            fragment_seconds: None,
            is_on_record,
            before: &self.status.clone(),
        };
        let done = converge(&self.aws, &wish).await;
        if let Some((verdict, alarms)) = &done.standing {
            let verdicts = std::slice::from_ref(verdict);
            self.status.conditions = merge(&self.status.conditions, verdicts, Some(1), Timestamp::UNIX_EPOCH);
            self.status.alarms.clone_from(alarms);
        }
        done
    }

    async fn pass(&mut self, spec: Value) -> AlarmsDone {
        self.pass_on(spec, true).await
    }

    /// A sweep, and a pass after that.
    async fn sweep(&mut self, spec: Value) -> AlarmsDone {
        // What we have written is not taken back by a sweep that began before.
        tokio::time::advance(Duration::from_secs(1)).await;
        self.aws.observer.sweep_alarms(&testing::desired(json!({})).place).await.unwrap();
        self.cloud.changes();
        self.pass(spec).await
    }

    fn reason(&self) -> String {
        let ready = ConditionType::AlarmsReady.as_str();
        find_condition(&self.status.conditions, ready).unwrap().reason.clone()
    }

    fn message(&self) -> String {
        let ready = ConditionType::AlarmsReady.as_str();
        find_condition(&self.status.conditions, ready).unwrap().message.clone()
    }

    fn there(&self) -> Vec<String> {
        self.cloud.state().alarms.keys().cloned().collect()
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut AlarmInfo)) {
        edit(self.cloud.state().alarms.get_mut(name).unwrap());
    }
}

fn kinds(kinds: &[&str]) -> Value {
    json!({ "alarms": { "perStream": kinds, "actionARNs": [TOPIC] } })
}

#[tokio::test(start_paused = true)]
async fn an_alarm_is_made_once_the_stream_is_on_record_and_then_nothing_is_called() {
    let mut world = World::new();
    let done = world.pass_on(json!({}), false).await;
    assert_eq!((world.reason().as_str(), done.again), ("AlarmsPending", Some(RECORDED)));
    assert_eq!(world.cloud.changes(), Vec::<String>::new());
    tokio::time::advance(RECORDED).await;
    world.pass(json!({})).await;
    assert_eq!(world.cloud.changes(), [format!("PutMetricAlarm {NO_INGEST}")]);
    assert_eq!((world.reason().as_str(), world.status.alarms.len()), ("AlarmsInSync", 1));
    let done = world.pass(json!({})).await;
    assert_eq!(std::mem::take(&mut world.cloud.state().calls), Vec::<String>::new());
    assert_eq!(done.again, None);
}

#[tokio::test(start_paused = true)]
async fn the_default_is_silence_alone_and_missing_data_is_silence() {
    let mut world = World::new();
    world.pass(json!({})).await;
    let alarm = world.cloud.state().alarms[NO_INGEST].alarm.clone();
    assert_eq!(world.there(), [NO_INGEST]);
    assert_eq!(
        alarm.metric,
        AlarmMetric::Stream {
            metric: "PutMedia.IncomingFragments".to_owned(),
            stream_name: "p-shop.door".to_owned(),
            statistic: Statistic::Sum
        }
    );
    assert_eq!(
        (alarm.period_seconds, alarm.datapoints_to_alarm, alarm.evaluation_periods, alarm.missing_data),
        (60, 3, 5, MissingData::Breaching)
    );
    assert!(alarm.description.contains("p-shop.door") && alarm.description.contains("kubectl describe"));
}

#[tokio::test(start_paused = true)]
async fn only_what_differs_is_written_and_what_is_no_longer_asked_for_goes() {
    let mut world = World::new();
    world.pass(kinds(&["NoIngest"])).await;
    world.cloud.changes();
    tokio::time::advance(SOON).await;
    world.pass(kinds(&["NoIngest", "ErrorAcks"])).await;
    assert_eq!(world.cloud.changes(), [format!("PutMetricAlarm {ERROR_ACKS}")]);
    world.pass(kinds(&["ErrorAcks"])).await;
    assert_eq!(world.cloud.changes(), [format!("DeleteAlarms {NO_INGEST}")]);
    world.pass(kinds(&[])).await;
    assert_eq!((world.there().len(), world.reason().as_str()), (0, "NoAlarms"));
}

#[tokio::test(start_paused = true)]
async fn the_order_in_which_the_service_tells_topics_is_no_difference() {
    let mut world = World::new();
    let spec = json!({ "alarms": { "actionARNs": [TOPIC, "arn:aws:sns:eu-west-1:123456789012:b"] } });
    world.pass(spec.clone()).await;
    world.edit(NO_INGEST, |info| info.alarm.actions.reverse());
    world.sweep(spec).await;
    assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "AlarmsInSync"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_write_twice() {
    let mut world = World::new();
    world.cloud.state().fail = Some(("PutMetricAlarm", ErrorKind::Unreachable, true));
    let done = world.pass(json!({})).await;
    assert!(done.failure.is_some() && done.again.is_some());
    world.cloud.changes();
    tokio::time::advance(SOON).await;
    world.pass(json!({})).await;
    assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "AlarmsInSync"));
}

#[tokio::test(start_paused = true)]
async fn while_suspended_actions_are_off_and_nothing_else_changes() {
    let mut world = World::new();
    world.pass(kinds(&["NoIngest"])).await;
    tokio::time::advance(SOON).await;
    let mut spec = kinds(&["ErrorAcks"]);
    spec["suspend"] = json!(true);
    world.pass(spec.clone()).await;
    assert_eq!(world.there(), [NO_INGEST]);
    assert!(!world.cloud.state().alarms[NO_INGEST].alarm.actions_enabled);
    world.cloud.changes();
    world.sweep(spec).await;
    assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "Suspended"));
    tokio::time::advance(SOON).await;
    world.pass(kinds(&["NoIngest"])).await;
    assert!(world.cloud.state().alarms[NO_INGEST].alarm.actions_enabled);
    assert_eq!(world.reason(), "AlarmsInSync");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_or_deletes_in_the_console_is_repaired_and_told() {
    let mut world = World::new();
    world.pass(json!({})).await;
    world.edit(NO_INGEST, |info| info.alarm.threshold = 5.0);
    tokio::time::advance(SOON).await;
    let done = world.sweep(json!({})).await;
    assert_eq!(done.notes[0].reason, "AlarmCorrected");
    assert!(done.notes[0].text.contains("changed by somebody else"), "{}", done.notes[0].text);
    assert_eq!(world.cloud.state().alarms[NO_INGEST].alarm.threshold.to_bits(), 1.0_f64.to_bits());
    world.cloud.state().alarms.clear();
    tokio::time::advance(SOON).await;
    let done = world.sweep(json!({})).await;
    assert!(done.notes[0].text.contains("deleted by somebody else"), "{}", done.notes[0].text);
    assert_eq!((world.there().len(), world.reason().as_str()), (1, "AlarmsInSync"));
}

#[tokio::test(start_paused = true)]
async fn under_report_it_is_left_so_and_said_while_our_own_wishes_are_still_written() {
    let report = |value: Value| {
        let mut spec = value;
        spec["driftPolicy"] = json!("Report");
        spec
    };
    let mut world = World::new();
    let both = report(kinds(&["NoIngest", "ErrorAcks"]));
    world.pass(both.clone()).await;
    world.edit(NO_INGEST, |info| info.alarm.threshold = 5.0);
    tokio::time::advance(SOON).await;
    let done = world.sweep(both.clone()).await;
    assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "DriftReported"));
    assert!(world.message().contains(NO_INGEST) && done.notes.iter().any(|note| note.warning));
    world.cloud.state().alarms.remove(NO_INGEST);
    for _ in 0..2 {
        world.sweep(both.clone()).await;
        assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "DriftReported"));
    }
    let mut other = both;
    other["alarms"]["actionARNs"] = json!([]);
    tokio::time::advance(SOON).await;
    world.pass(other).await;
    assert_eq!(world.cloud.changes(), [format!("PutMetricAlarm {ERROR_ACKS}")]);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_alarm_of_the_same_name_is_left_alone_and_named() {
    let mut world = World::new();
    let foreign = AlarmInfo { alarm: some_alarm(NO_INGEST), ..info(some_alarm(NO_INGEST)) };
    world.cloud.state().alarms.insert(NO_INGEST.to_owned(), foreign.clone());
    world.pass(json!({})).await;
    assert_eq!((world.cloud.changes(), world.reason().as_str()), (Vec::new(), "NameTaken"));
    assert!(world.message().contains(NO_INGEST) && world.status.alarms.is_empty());
    let desired = testing::desired(json!({}));
    let leaving = leaving(&desired, &world.status.alarms);
    assert_eq!(remove(&world.aws, &leaving).await, Removed::All);
    assert_eq!(world.cloud.state().alarms[NO_INGEST], foreign);
    // Once it is gone the stream gets its own.
    world.cloud.state().alarms.clear();
    tokio::time::advance(SOON).await;
    world.sweep(json!({})).await;
    assert_eq!(world.reason(), "AlarmsInSync");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_its_reason_names_the_call_and_is_over_without_a_restart() {
    for (call, kind, reason) in [
        ("PutMetricAlarm", ErrorKind::LimitExceeded, "AlarmsQuota"),
        ("PutMetricAlarm", ErrorKind::Denied, "AwsAccessDenied"),
        ("DescribeAlarms", ErrorKind::Denied, "AwsAccessDenied"),
        ("PutMetricAlarm", ErrorKind::InvalidArgument, "AwsInvalidArgument"),
        ("DescribeAlarms", ErrorKind::CredentialsRefused, "AwsAccessDenied"),
    ] {
        let mut world = World::new();
        world.cloud.state().fail = Some((call, kind, false));
        let done = world.pass(json!({})).await;
        assert_eq!(world.reason(), reason, "{call} {kind:?}");
        assert!(world.message().contains(call), "{}", world.message());
        assert!(done.notes.iter().any(|note| note.warning && note.reason == reason), "{:?}", done.notes);
        let again = done.again.unwrap();
        // Nobody asks in between.
        world.cloud.state().calls.clear();
        tokio::time::advance(again).await;
        world.pass(json!({})).await;
        assert_eq!(world.reason(), "AlarmsInSync", "{call} {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_says_nothing_about_alarms_that_were_in_order() {
    let mut world = World::new();
    world.pass(kinds(&["NoIngest"])).await;
    let before = world.status.clone();
    tokio::time::advance(SOON).await;
    world.cloud.state().fail = Some(("DescribeAlarms", ErrorKind::Unreachable, false));
    let done = world.pass(kinds(&["NoIngest", "ErrorAcks"])).await;
    assert!(done.standing.is_none() && done.again.is_some() && done.notes.is_empty());
    assert_eq!(world.status, before);
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_alarms_need_not_be_let_see_any() {
    let mut world = World::new();
    world.cloud.state().fail = Some(("DescribeAlarms", ErrorKind::Denied, false));
    let done = world.pass(kinds(&[])).await;
    assert_eq!((world.reason().as_str(), done.failure.is_none(), done.again), ("NoAlarms", true, None));
    assert_eq!(world.cloud.state().calls, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_goes_off_and_one_that_is_over_are_told_once() {
    let mut world = World::new();
    world.pass(json!({})).await;
    let mut at = 100;
    let mut turn = |world: &World, state, reason: &str| {
        at += 60;
        world.edit(NO_INGEST, |info| {
            info.state = state;
            reason.clone_into(&mut info.reason);
            info.since = Timestamp::from_second(at).ok();
        });
    };
    turn(&world, AlarmState::Ok, "Threshold Crossed: 1 datapoint");
    assert_eq!(world.sweep(json!({})).await.notes, []);
    turn(&world, AlarmState::Alarm, "no datapoints were received for 3 periods");
    let raised = world.sweep(json!({})).await.notes;
    assert_eq!((raised.len(), raised[0].warning, raised[0].reason), (1, true, "AlarmRaised"));
    assert!(raised[0].text.contains("no datapoints") && raised[0].text.contains("no video arrives"));
    assert_eq!(world.sweep(json!({})).await.notes, []);
    let status = &world.status.alarms[0];
    assert_eq!((status.state, status.kind), (AlarmState::Alarm, Some(AlarmKind::NoIngest)));
    assert_eq!(status.since.as_ref().unwrap().0, Timestamp::from_second(220).unwrap());
    turn(&world, AlarmState::Ok, "Threshold Crossed: 3 datapoints");
    let cleared = world.sweep(json!({})).await.notes;
    assert_eq!((cleared.len(), cleared[0].warning, cleared[0].reason), (1, false, "AlarmCleared"));
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_is_reworded_writes_no_status() {
    let mut world = World::new();
    world.pass(json!({})).await;
    world.edit(NO_INGEST, |info| info.since = Timestamp::from_second(100).ok());
    world.sweep(json!({})).await;
    let before = world.status.clone();
    world.edit(NO_INGEST, |info| info.reason = "Threshold Crossed: 2 datapoints".to_owned());
    world.sweep(json!({})).await;
    assert_eq!(world.status, before);
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_says_so_once_and_comes_back_in_turn() {
    let mut world = World::new();
    let counter = world.aws.alarms.counter(&testing::desired(json!({})).place);
    for number in 0..3_000 {
        counter.queue(&number.to_string(), 1);
    }
    let done = world.pass(json!({})).await;
    assert_eq!((world.reason().as_str(), world.cloud.changes()), ("AlarmsPending", Vec::new()));
    assert!(
        world.message().contains("0 of 1 alarm ") && world.message().contains("20 minutes"),
        "{}",
        world.message()
    );
    let before = world.status.clone();
    tokio::time::advance(Duration::from_mins(10)).await;
    world.pass(json!({})).await;
    assert_eq!(world.status, before, "a clock writes nothing");
    tokio::time::advance(done.again.unwrap()).await;
    world.pass(json!({})).await;
    assert_eq!(world.reason(), "AlarmsInSync");
}

fn leaving<'a>(desired: &'a Desired, known: &'a [AlarmStatus]) -> Leaving<'a> {
    Leaving {
        place: &desired.place,
        owner: &desired.owner,
        stream: &desired.name,
        known,
        asked: &desired.alarms,
    }
}

#[tokio::test(start_paused = true)]
async fn alarms_go_with_their_object_on_record_or_not_and_others_stay() {
    let mut world = World::new();
    world.pass(kinds(&["NoIngest", "ErrorAcks"])).await;
    let other = info(some_alarm("streamfleet/north/shop/gate/NoIngest"));
    world.cloud.state().alarms.insert(other.alarm.name.clone(), other.clone());
    // Made by a process that did not live to record it, and not swept since.
    let desired = testing::desired(kinds(&["NoIngest", "ErrorAcks"]));
    world.aws.observer.forget_alarms(&desired.place, &[NO_INGEST.to_owned(), ERROR_ACKS.to_owned()]);
    assert_eq!(remove(&world.aws, &leaving(&desired, &[])).await, Removed::All);
    assert_eq!(world.there(), [other.alarm.name]);
    // What is gone already is a success.
    assert_eq!(remove(&world.aws, &leaving(&desired, &world.status.alarms)).await, Removed::All);
}

#[tokio::test(start_paused = true)]
async fn lost_credentials_keep_no_object_from_going() {
    let mut world = World::new();
    world.pass(json!({})).await;
    let desired = testing::desired(json!({}));
    world.cloud.state().fail = Some(("DescribeAlarms", ErrorKind::CredentialsRefused, false));
    let started = Instant::now();
    let removed = remove(&world.aws, &leaving(&desired, &world.status.alarms)).await;
    assert!(
        matches!(&removed, Removed::Left(note) if note.warning && note.reason == "AlarmsLeft"),
        "{removed:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn the_alarms_of_many_objects_go_in_few_calls() {
    let world = World::new();
    let place = testing::desired(json!({})).place;
    let mut desireds = Vec::new();
    for number in 0..400 {
        let mut one = testing::desired(json!({}));
        one.owner.name = format!("camera-{number}");
        one.name = format!("p-shop.camera-{number}");
        for alarm in desired(&one, &world.class, None, false) {
            world.cloud.state().alarms.insert(alarm.name.clone(), info(alarm));
        }
        desireds.push(one);
    }
    world.aws.observer.sweep_alarms(&place).await.unwrap();
    world.cloud.changes();
    // While one call is under way, the others come.
    let counter = world.aws.alarms.counter(&place);
    let under_way = counter.removals.sending.lock().await;
    let all = futures::future::join_all(
        desireds.iter().map(|one| async { remove(&world.aws, &leaving(one, &[])).await }),
    );
    let (results, ()) = futures::join!(all, async { drop(under_way) });
    assert!(results.iter().all(|removed| *removed == Removed::All));
    assert_eq!(world.there(), Vec::<String>::new());
    let calls = world.cloud.changes().len();
    assert!(calls <= 4, "{calls}");
}

fn info(alarm: Alarm) -> AlarmInfo {
    AlarmInfo { alarm, arn: String::new(), state: AlarmState::Ok, reason: String::new(), since: None }
}

fn object_of_door() -> Object {
    Object::Stream { namespace: "shop".to_owned(), name: "door".to_owned() }
}

/// Alarms as they may be found: ours as they are wanted, changed, out of date, somebody else's, of another object.
fn found() -> impl Strategy<Value = (Vec<AlarmInfo>, Vec<AlarmKind>)> {
    let every: Vec<AlarmKind> = AlarmKind::ALL.to_vec();
    let one = (prop::sample::select(every.clone()), 0..7_u8, 0..100_i32);
    (prop::collection::vec(one, 0..8), prop::sample::subsequence(every.clone(), 0..=every.len())).prop_map(
        |(ones, wanted)| {
            let mut all: Vec<AlarmInfo> = Vec::new();
            for (kind, what, number) in ones {
                let spec = json!({ "alarms": { "perStream": [kind.as_str()], "actionARNs": [TOPIC] } });
                for mut alarm in desired(&testing::desired(spec), &ClassAlarms::default(), None, false) {
                    match what {
                        0 => {}
                        1 => alarm.threshold += f64::from(number),
                        2 => alarm.description = "By hand".to_owned(),
                        3 => alarm.name = format!("streamfleet/north/shop/gate/{kind}"),
                        4 => alarm.description = alarm.description.replace("north", "south"),
                        5 => alarm.metric = AlarmMetric::Other { stream_name: None },
                        _ => {
                            alarm.evaluation_periods += number;
                            let mark = mark(INSTALLATION, &object_of_door(), &alarm.name, &digest(&alarm));
                            alarm.description = format!("An older text. {mark}");
                        }
                    }
                    if !all.iter().any(|info| info.alarm.name == alarm.name) {
                        all.push(info(alarm));
                    }
                }
            }
            (all, wanted)
        },
    )
}

fn modes() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Correct, Mode::Report, Mode::Suspended])
}

proptest! {
    #[test]
    fn the_plan_touches_only_ours_and_the_plan_of_what_it_made_is_empty(
        (there, kinds) in found(), mode in modes(), is_known in any::<bool>(),
    ) {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let mut spec = json!({ "alarms": { "perStream": kinds, "actionARNs": [TOPIC] } });
        spec["suspend"] = json!(mode == Mode::Suspended);
        let wanted = desired(&testing::desired(spec), &ClassAlarms::default(), None, false);
        let known: BTreeSet<String> =
            wanted.iter().filter(|_| is_known).map(|alarm| alarm.name.clone()).collect();
        let object = object_of_door();
        let scope = Scope { installation: INSTALLATION, object: &object, mode, known: &known };
        let first = plan(&wanted, &there, &scope);
        prop_assert_eq!(&first, &plan(&wanted, &there, &scope), "the same input has the same plan");
        let mut after = there.clone();
        for put in &first.puts {
            let before = there.iter().find(|info| info.alarm.name == put.name);
            prop_assert!(before.is_none_or(|info| is_ours(&info.alarm, INSTALLATION, &object)), "{}", put.name);
            prop_assert!(mode != Mode::Suspended || !put.actions_enabled);
            super::put(&mut after, put);
        }
        for name in &first.deletes {
            let before = there.iter().find(|info| info.alarm.name == *name).unwrap();
            prop_assert!(is_ours(&before.alarm, INSTALLATION, &object), "{}", name);
        }
        after.retain(|info| !first.deletes.contains(&info.alarm.name));
        let second = plan(&wanted, &after, &scope);
        prop_assert!(second.is_empty(), "{:?}", second);
        if mode == Mode::Correct {
            prop_assert_eq!(second.drifted, Vec::new());
        }
    }
}

#[test]
fn the_digest_is_what_was_written_and_the_same_for_all_streams() {
    let alarm = |name: &str| {
        let mut one = testing::desired(json!({}));
        one.name = name.to_owned();
        desired(&one, &ClassAlarms::default(), None, false).remove(0)
    };
    let (one, other) = (alarm("one"), alarm("other"));
    assert_eq!(digest(&one), digest(&other));
    assert_eq!(read_mark(&one.description, INSTALLATION).unwrap().digest, digest(&one));
    assert_eq!(one.description.replace("one", "other"), other.description);
}

#[test]
fn a_site_is_told_in_place_of_its_streams_once_its_alarm_is_there_unless_these_name_others() {
    let class = ClassAlarms {
        site_label: Some("site".to_owned()),
        action_arns: Some(vec![TOPIC.to_owned()]),
        ..ClassAlarms::default()
    };
    let mut one = testing::desired(json!({}));
    one.alarms.actions = vec![TOPIC.to_owned()];
    assert_eq!(desired(&one, &class, None, true)[0].actions, [TOPIC], "it is of no site");
    one.labels.insert("site".to_owned(), "4".to_owned());
    assert_eq!(desired(&one, &class, None, false)[0].actions, [TOPIC], "nobody else would be told");
    assert_eq!(desired(&one, &class, None, true)[0].actions, Vec::<String>::new());
    one.alarms.actions = vec!["arn:aws:sns:eu-west-1:123456789012:b".to_owned()];
    assert_eq!(desired(&one, &class, None, true)[0].actions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_alarm_of_a_site_counts_once_it_is_there_and_ours() {
    let world = World::new();
    let class = ClassAlarms {
        site_label: Some("site".to_owned()),
        action_arns: Some(vec![TOPIC.to_owned()]),
        ..ClassAlarms::default()
    };
    let mut asked = testing::desired(json!({}));
    asked.alarms.actions = vec![TOPIC.to_owned()];
    asked.labels.insert("site".to_owned(), "4".to_owned());
    let before = VideoStreamStatus::default();
    let wish = Wish {
        desired: &asked,
        class: &class,
        class_name: "standard",
        fragment_seconds: None,
        is_on_record: true,
        before: &before,
    };
    assert!(!is_site_there(&world.aws, &wish).await);
    let done = converge(&world.aws, &wish).await;
    assert!(done.again.is_some(), "nobody else has it look again");
    assert_eq!(world.cloud.state().alarms[NO_INGEST].alarm.actions, [TOPIC]);
    let object = Object::Class("standard".to_owned());
    let owner = sites::Class { installation: INSTALLATION, object: &object, actions: &asked.alarms.actions };
    let site = sites::site_alarms(owner, "4", vec![NO_INGEST.to_owned()]).remove(0);
    let foreign = CompositeAlarm { description: "By hand".to_owned(), ..site.clone() };
    world.aws.observer.note_composite_alarm(&asked.place, &foreign);
    assert!(!is_site_there(&world.aws, &wish).await);
    world.aws.observer.note_composite_alarm(&asked.place, &site);
    assert!(is_site_there(&world.aws, &wish).await);
    // By then it is its turn to write again.
    tokio::time::advance(Duration::from_secs(1)).await;
    let done = converge(&world.aws, &wish).await;
    assert_eq!(done.again, None);
    assert_eq!(world.cloud.state().alarms[NO_INGEST].alarm.actions, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_object_waits_until_the_alarm_of_its_site_lets_its_alarms_go_and_not_for_ever() {
    let mut world = World::new();
    world.pass(json!({})).await;
    let desired = testing::desired(json!({}));
    assert!(!are_named(&world.aws, &desired.place, &world.status.alarms).await);
    let (object, actions) = (Object::Class("standard".to_owned()), Vec::new());
    let owner = sites::Class { installation: INSTALLATION, object: &object, actions: &actions };
    let site = sites::site_alarms(owner, "4", vec![NO_INGEST.to_owned()]).remove(0);
    world.aws.observer.note_composite_alarm(&desired.place, &site);
    assert!(are_named(&world.aws, &desired.place, &world.status.alarms).await);
    assert!(!are_named(&world.aws, &desired.place, &[]).await);
    // The service knows of another alarm that names it.
    world.cloud.state().fail = Some(("DeleteAlarms", ErrorKind::InvalidArgument, false));
    let known = world.status.alarms.clone();
    assert_eq!(remove(&world.aws, &leaving(&desired, &known)).await, Removed::Later(NAMED));
    tokio::time::advance(Duration::from_mins(5)).await;
    assert!(!may_wait(&world.aws, &desired.place, &desired.owner));
    world.cloud.state().fail = Some(("DeleteAlarms", ErrorKind::InvalidArgument, false));
    let removed = remove(&world.aws, &leaving(&desired, &known)).await;
    assert!(matches!(removed, Removed::Left(_)), "{removed:?}");
    world.cloud.state().fail = None;
    assert_eq!(remove(&world.aws, &leaving(&desired, &known)).await, Removed::All);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_the_earlier_leader_may_be_making_is_waited_for() {
    let mut world = World::new();
    let desired = testing::desired(json!({}));
    world.aws.since = Instant::now();
    let removed = remove(&world.aws, &leaving(&desired, &[])).await;
    assert!(matches!(removed, Removed::Later(_)), "{removed:?}");
    // It comes.
    let alarm = super::desired(&desired, &world.class, None, false).remove(0);
    world.cloud.state().alarms.insert(alarm.name.clone(), info(alarm));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(remove(&world.aws, &leaving(&desired, &[])).await, Removed::All);
    assert_eq!(world.there(), Vec::<String>::new());
}

#[test]
fn of_objects_whose_alarms_stayed_those_are_forgotten_of_which_none_is_there() {
    let mut memory = orphans::Memory::default();
    let alarm = desired(&testing::desired(json!({})), &ClassAlarms::default(), None, false).remove(0);
    let door = object(&testing::desired(json!({})).owner);
    let gate = Object::Stream { namespace: "shop".to_owned(), name: "gate".to_owned() };
    for object in [&door, &gate] {
        memory.note_left(object.clone(), "uid-1");
    }
    memory.forget_gone(&[(alarm.name, alarm.description)], INSTALLATION);
    assert_eq!((memory.left(&door).is_some(), memory.left(&gate)), (true, None));
}

#[tokio::test(start_paused = true)]
async fn alarms_of_an_object_that_goes_are_known_to_be_gone_only_once_that_was_seen() {
    let mut world = World::new();
    world.pass(json!({})).await;
    let desired = testing::desired(json!({}));
    let uid = desired.owner.uid.clone();
    world.cloud.state().fail = Some(("DeleteAlarms", ErrorKind::Denied, false));
    assert!(matches!(remove(&world.aws, &leaving(&desired, &world.status.alarms)).await, Removed::Left(_)));
    assert!(!world.aws.alarms.are_known_gone(&uid));
    world.cloud.state().fail = None;
    assert_eq!(remove(&world.aws, &leaving(&desired, &world.status.alarms)).await, Removed::All);
    assert!(world.aws.alarms.are_known_gone(&uid));
}
