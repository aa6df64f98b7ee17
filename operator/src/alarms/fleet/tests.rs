//! The alarms of a class against a cloud in memory.

use std::sync::Arc;

use serde_json::{Value, json};

use tokio::time::Instant;

use super::*;
use crate::aws::fake::FakeCloud;
use crate::aws::observer::Observer;
use crate::video_stream::testing;

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:a";
const SITE: &str = "streamfleet/north/~class/standard/site/4";
const QUERY: &str = "streamfleet/north/~class/standard/fleet/ErrorAcks";

fn alarms(value: Value) -> ClassAlarms {
    serde_json::from_value(value).unwrap()
}

fn members(count: usize, site: Option<&str>) -> Vec<Member> {
    let one = |number| Member {
        site: site.map(ToOwned::to_owned),
        alarms: vec![format!("streamfleet/north/shop/camera-{number}/NoIngest")],
    };
    (0..count).map(one).collect()
}

fn wanted(spec: Value, members: &[Member]) -> FleetAlarms {
    fleet_desired("north", "standard", &alarms(spec), members)
}

struct World {
    cloud: FakeCloud,
    aws: AwsSide,
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
        Self { cloud, aws }
    }

    async fn pass(&self, wanted: &FleetAlarms) -> Result<usize, AwsError> {
        let object = Object::Class("standard".to_owned());
        let place = testing::desired(json!({})).place;
        let work = Work { aws: &self.aws, installation: "north", place: &place, object: &object };
        work.bring_in_line(wanted).await
    }

    fn there(&self) -> Vec<String> {
        let state = self.cloud.state();
        state.alarms.keys().chain(state.composites.keys()).cloned().collect()
    }
}

#[test]
fn a_query_has_the_threshold_of_one_stream_and_shows_the_worst_first() {
    let all = wanted(json!({ "fleet": ["FragmentSuccess", "ErrorAcks", "ConnectionChurn"] }), &[]);
    let queries: Vec<&AlarmMetric> = all.queries.iter().map(|alarm| &alarm.metric).collect();
    assert_eq!(queries.len(), 4, "churn is two alarms");
    let text = |metric: &AlarmMetric| match metric {
        AlarmMetric::Insights(query) => query.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(queries[0]),
        "SELECT SUM(\"PutMedia.ErrorAckCount\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName) GROUP BY StreamName ORDER BY \
         SUM() DESC LIMIT 100"
    );
    assert!(text(queries[1]).ends_with("ORDER BY AVG() ASC LIMIT 100"), "{:?}", queries[1]);
    assert!(all.queries.iter().all(|alarm| alarm.missing_data == crate::aws::MissingData::NotBreaching));
}

#[tokio::test(start_paused = true)]
async fn sites_and_queries_are_made_once_and_go_when_nobody_asks() {
    let world = World::new();
    let spec = json!({ "fleet": ["ErrorAcks"], "siteLabel": "site", "actionARNs": [TOPIC] });
    let all = wanted(spec, &members(3, Some("4")));
    assert_eq!(world.pass(&all).await, Ok(0));
    assert_eq!(world.there(), [QUERY, SITE]);
    let site = world.cloud.state().composites[SITE].alarm.clone();
    assert_eq!(
        (site.rule.matches("ALARM(").count(), site.actions.as_slice()),
        (3, [TOPIC.to_owned()].as_slice())
    );
    world.cloud.changes();
    assert_eq!((world.pass(&all).await, world.cloud.changes()), (Ok(0), Vec::new()));
    assert_eq!(world.pass(&FleetAlarms::default()).await, Ok(0));
    assert_eq!(world.there(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_large_site_is_made_bit_by_bit_and_goes_from_the_top() {
    let world = World::new();
    let all = wanted(json!({ "siteLabel": "site" }), &members(1_500, Some("4")));
    let mut passes = 1;
    while world.pass(&all).await.unwrap() > 0 {
        passes += 1;
    }
    assert_eq!(passes, all.sites.len().div_ceil(CHANGES_AT_ONCE));
    assert_eq!(world.there().len(), all.sites.len());
    world.cloud.changes();
    while world.pass(&FleetAlarms::default()).await.unwrap() > 0 {}
    assert_eq!(
        world.cloud.changes()[0],
        format!("DeleteAlarms {SITE}"),
        "the service deletes no alarm that another names"
    );
    assert_eq!(world.there(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_alarm_is_named_and_stops_nothing_but_itself() {
    let world = World::new();
    let place = testing::desired(json!({})).place;
    let cloud = world.aws.clouds.cloud(&place).await.unwrap();
    cloud.put_composite_alarm(&crate::aws::fake::composite(SITE)).await.unwrap();
    world.cloud.changes();
    let spec = json!({ "siteLabel": "site", "fleet": ["ErrorAcks"] });
    let all = wanted(spec, &members(1, Some("4")));
    for expected in [vec![format!("PutMetricAlarm {QUERY}")], Vec::new()] {
        let error = world.pass(&all).await.unwrap_err();
        assert!(error.kind == ErrorKind::InUse && error.to_string().contains(SITE), "{error}");
        assert_eq!(world.cloud.changes(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_somebody_made_since_the_sweep_is_not_overwritten() {
    let world = World::new();
    let place = testing::desired(json!({})).place;
    world.aws.observer.sweep_alarms(&place).await.unwrap();
    let cloud = world.aws.clouds.cloud(&place).await.unwrap();
    cloud.put_composite_alarm(&crate::aws::fake::composite(SITE)).await.unwrap();
    world.cloud.changes();
    let error =
        world.pass(&wanted(json!({ "siteLabel": "site" }), &members(1, Some("4")))).await.unwrap_err();
    assert!(error.kind == ErrorKind::InUse && error.to_string().contains(SITE), "{error}");
    assert_eq!(world.cloud.changes(), Vec::<String>::new());
}

fn stream(spec: Value, status: Value) -> VideoStream {
    let mut stream = testing::stream(spec);
    stream.metadata.labels = Some(BTreeMap::from([("site".to_owned(), "4".to_owned())]));
    stream.status = serde_json::from_value(status).unwrap();
    stream
}

#[test]
fn a_site_hears_of_alarms_that_are_there_of_streams_that_are_to_tell() {
    let class = alarms(json!({ "siteLabel": "site" }));
    let status = json!({ "alarms": [
        { "name": "seen", "state": "OK", "reason": "", "since": "2026-01-01T00:00:00Z" },
        { "name": "just-made", "state": "INSUFFICIENT_DATA", "reason": "" },
    ]});
    let one = member(&stream(json!({}), status.clone()), &class).unwrap();
    assert_eq!((one.site.as_deref(), one.alarms.as_slice()), (Some("4"), ["seen".to_owned()].as_slice()));
    assert_eq!(member(&stream(json!({ "suspend": true }), status.clone()), &class), None);
    let mut leaving = stream(json!({}), status);
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(member(&leaving, &class), None);
}

#[test]
fn a_class_says_what_its_alarms_cost_and_tells_it_when_they_double() {
    let mut class = testing::class(
        json!({ "alarms": { "perStream": ["NoIngest", "ErrorAcks"], "fleet": ["Bandwidth"] } }),
    );
    let streams: Vec<VideoStream> = (0..100).map(|_| testing::stream(json!({}))).collect();
    let all = wanted(json!({ "fleet": ["Bandwidth"] }), &[]);
    let count = count(&class, streams.iter(), &all);
    assert_eq!((count.standard, count.queries, count.analysed), (200, 1, 100));
    let verdict = fleet_verdict(&class, &all, &count, &Ok(0)).unwrap();
    assert!(verdict.message.contains("about 200 alarms: about 30 USD a month"), "{}", verdict.message);
    let notes = fleet_notes(&class, &count, Some(&verdict));
    assert_eq!((notes.len(), notes[0].reason), (1, "AlarmsCost"));
    let conditions =
        crate::conditions::merge(&[], std::slice::from_ref(&verdict), None, jiff::Timestamp::UNIX_EPOCH);
    class.status = Some(streamfleet_crds::StreamClassStatus { conditions, ..Default::default() });
    assert_eq!(fleet_notes(&class, &count, Some(&verdict)), []);
    let twice = super::super::cost::Count { standard: 400, ..count };
    assert_eq!(fleet_notes(&class, &twice, Some(&verdict)).len(), 1);
}

#[test]
fn a_class_whose_alarms_are_refused_says_why_and_what_to_do() {
    use crate::aws::ErrorKind::{Denied, InUse, InvalidArgument, LimitExceeded, NoCredentials, NotFound};
    let class = testing::class(json!({ "alarms": { "fleet": ["Bandwidth"] } }));
    let all = wanted(json!({ "fleet": ["Bandwidth"] }), &[]);
    let count = count(&class, std::iter::empty(), &all);
    for (kind, reason, advice) in [
        (
            LimitExceeded,
            "AlarmsQuota",
            "Ask AWS for a higher quota, or have fewer kinds in spec.alarms.fleet",
        ),
        (InUse, "NameTaken", "Delete or rename that one, or this class"),
        (Denied, "AwsError", "Allow the named call"),
        (NoCredentials, "AwsError", "The condition Ready says more"),
        (InvalidArgument, "AwsError", "Correct spec.alarms.actionARNs"),
        (NotFound, "AwsError", "Check what it says"),
    ] {
        let error = AwsError { operation: "PutMetricAlarm", kind, message: "no".to_owned() };
        let verdict = fleet_verdict(&class, &all, &count, &Err(error)).unwrap();
        assert_eq!(verdict.reason, reason);
        let is_whole = verdict.message.contains(advice) && verdict.message.contains("PutMetricAlarm");
        assert!(is_whole, "{kind:?}: {}", verdict.message);
    }
}

#[test]
fn an_alarm_is_suspected_only_where_it_is_ours_and_its_object_is_not_known() {
    let one = |namespace: &str| {
        let mut desired = testing::desired(json!({}));
        desired.owner.namespace = namespace.to_owned();
        let alarm = super::super::desired::desired(&desired, &ClassAlarms::default(), None, false).remove(0);
        (alarm.name, alarm.description)
    };
    let alarms = [one("cached"), one("known"), one("gone"), (one("foreign").0, "By hand".to_owned())];
    let object =
        |namespace: &str| Object::Stream { namespace: namespace.to_owned(), name: "door".to_owned() };
    let mut memory = super::super::orphans::Memory::default();
    memory.note(object("known"), Instant::now());
    let suspects = memory.suspects(&alarms, "north", |other| *other == object("cached"));
    assert_eq!(suspects.into_keys().collect::<Vec<_>>(), [object("gone")]);
}

/// Whether the alarms of `shop/door` are taken for orphans, whose object is not at this API server.
async fn is_orphan(world: &World, desired: &crate::video_stream::Desired) -> bool {
    let object = super::super::desired::object(&desired.owner);
    let suspect = search::Suspect { object: &object, streams: Some([desired.name.as_str()].into()) };
    suspect.is_orphan(&world.aws, &desired.place, testing::INSTALLATION).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_cluster_keeps_its_alarms_while_its_stream_is_there() {
    let world = World::new();
    let mut desired = testing::desired(json!({}));
    assert!(is_orphan(&world, &desired).await, "neither object nor stream");
    for tags in [desired.owner.tags(), BTreeMap::new()] {
        world.cloud.state().put(&desired.name, 24, tags);
        assert!(!is_orphan(&world, &desired).await, "another cluster has it, or looks at it");
    }
    // Under Retain the stream stays, and still names the object that this process let go.
    let object = super::super::desired::object(&desired.owner);
    let counter = world.aws.alarms.counter(&desired.place);
    lock(&counter.orphans).note_left(object, &desired.owner.uid);
    world.cloud.state().put(&desired.name, 24, desired.owner.tags());
    assert!(is_orphan(&world, &desired).await);
    desired.owner.uid = "uid-of-another-cluster".to_owned();
    world.cloud.state().put(&desired.name, 24, desired.owner.tags());
    assert!(!is_orphan(&world, &desired).await, "another cluster has taken it over since");
}

#[tokio::test(start_paused = true)]
async fn the_alarms_of_a_class_are_orphans_only_where_this_process_left_them() {
    let world = World::new();
    let place = testing::desired(json!({})).place;
    let object = Object::Class("standard".to_owned());
    let suspect = search::Suspect { object: &object, streams: None };
    assert_eq!(suspect.is_orphan(&world.aws, &place, "north").await, Ok(false));
    lock(&world.aws.alarms.counter(&place).orphans).note_left(object.clone(), "uid-1");
    assert_eq!(suspect.is_orphan(&world.aws, &place, "north").await, Ok(true));
}
