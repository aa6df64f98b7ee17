use std::time::Duration;

use aws_sdk_cloudwatch::{
    Client,
    operation::put_metric_alarm::builders::PutMetricAlarmFluentBuilder,
    types::{
        AlarmType, ComparisonOperator, Dimension, Metric, MetricDataQuery, MetricStat, StateValue, Statistic,
        Tag,
    },
};
use aws_smithy_types::DateTime;
use serde_json::{Value, json};
use streamfleet_emulator::cloudwatch::Settings;
use tokio::time::{Instant, sleep};

use crate::support::{REGION, Rig, cluster, head, now_ms};

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:pager";
/// A minute of the alarms here; no shorter, as a machine under load is late.
const MINUTE_MS: u64 = 1000;

fn quick(minute_ms: u64) -> Settings {
    Settings { minute_ms, ..Settings::default() }
}

async fn rig(settings: Settings) -> Rig {
    Rig::start_with(move |options| options.cloudwatch = settings).await
}

/// The alarm for a stream that sends no fragments, 3 of 5 minutes.
fn no_ingest(client: &Client, name: &str, stream: &str) -> PutMetricAlarmFluentBuilder {
    client
        .put_metric_alarm()
        .alarm_name(name)
        .namespace("AWS/KinesisVideo")
        .metric_name("PutMedia.IncomingFragments")
        .dimensions(Dimension::builder().name("StreamName").value(stream).build())
        .statistic(Statistic::Sum)
        .period(60)
        .evaluation_periods(5)
        .datapoints_to_alarm(3)
        .threshold(1.0)
        .comparison_operator(ComparisonOperator::LessThanThreshold)
        .treat_missing_data("breaching")
        .alarm_actions(TOPIC)
        .ok_actions(TOPIC)
}

async fn state(client: &Client, name: &str) -> StateValue {
    let described = client
        .describe_alarms()
        .alarm_names(name)
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .send()
        .await
        .unwrap();
    let metric = described.metric_alarms().iter().filter_map(|alarm| alarm.state_value().cloned());
    let composite = described.composite_alarms().iter().filter_map(|alarm| alarm.state_value().cloned());
    metric.chain(composite).next().unwrap()
}

async fn until(client: &Client, name: &str, wanted: StateValue) {
    let end = Instant::now() + Duration::from_secs(40);
    while state(client, name).await != wanted {
        assert!(Instant::now() < end, "{name} did not become {wanted:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_rust_sdk_puts_describes_and_deletes_alarms() {
    let rig = rig(Settings::default()).await;
    let client = rig.clients().cloudwatch();
    let tag = Tag::builder().key("owner").value("streamfleet").build();
    no_ingest(&client, "cam-quiet", "cam").alarm_description("silent").tags(tag).send().await.unwrap();
    client.put_composite_alarm().alarm_name("site").alarm_rule("ALARM(cam-quiet)").send().await.unwrap();

    let described = client.describe_alarms().alarm_name_prefix("cam").send().await.unwrap();
    assert!(described.composite_alarms().is_empty() && described.next_token().is_none());
    let alarm = &described.metric_alarms()[0];
    let arn = format!("arn:aws:cloudwatch:{REGION}:123456789012:alarm:cam-quiet");
    assert_eq!((alarm.alarm_arn(), alarm.alarm_description()), (Some(arn.as_str()), Some("silent")));
    assert_eq!(
        (alarm.threshold(), alarm.period(), alarm.datapoints_to_alarm()),
        (Some(1.0), Some(60), Some(3))
    );
    assert_eq!(alarm.state_value(), Some(&StateValue::InsufficientData));
    assert_eq!(alarm.treat_missing_data(), Some("breaching"));
    assert_eq!(alarm.alarm_actions(), [TOPIC]);
    let age_ms =
        now_ms() - u64::try_from(alarm.state_updated_timestamp().unwrap().to_millis().unwrap()).unwrap();
    assert!(age_ms < 60_000, "{age_ms}");
    let tags = client.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(tags.tags()[0].value(), Some("streamfleet"));

    let needed = client.delete_alarms().alarm_names("cam-quiet").send().await.unwrap_err();
    assert_eq!(needed.into_service_error().meta().code(), Some("ValidationError"));
    client.delete_alarms().alarm_names("site").alarm_names("cam-quiet").send().await.unwrap();
    let gone = client.delete_alarms().alarm_names("cam-quiet").send().await.unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found());
    let token = client.describe_alarms().next_token("bogus").send().await.unwrap_err();
    assert!(token.into_service_error().is_invalid_next_token());
}

#[tokio::test]
async fn an_alarm_rings_when_its_stream_falls_silent_and_its_site_rings_with_it() {
    let rig = rig(quick(MINUTE_MS)).await;
    let client = rig.clients().cloudwatch();
    rig.stream("cam", 1).await;
    no_ingest(&client, "cam-quiet", "cam").send().await.unwrap();
    client.put_composite_alarm().alarm_name("site").alarm_rule("ALARM(\"cam-quiet\")").send().await.unwrap();
    assert_eq!(state(&client, "cam-quiet").await, StateValue::InsufficientData);
    until(&client, "cam-quiet", StateValue::Alarm).await;
    until(&client, "site", StateValue::Alarm).await;

    let mut upload = rig.upload("cam").await;
    upload.send(&head(&[1])).await;
    let mut time = 0;
    while state(&client, "cam-quiet").await != StateValue::Ok {
        assert!(time < 100_000, "a camera that sends does not clear its alarm");
        upload.send(&cluster(time)).await;
        time += 1000;
        sleep(Duration::from_millis(300)).await;
    }
    until(&client, "site", StateValue::Ok).await;
    drop(upload);
    until(&client, "cam-quiet", StateValue::Alarm).await;

    let told = rig.hook("notifications", None).await;
    let of_alarm: Vec<_> =
        told.as_array().unwrap().iter().filter(|one| one["alarm"] == "cam-quiet").map(transition).collect();
    assert_eq!(of_alarm, ["INSUFFICIENT_DATA ALARM", "ALARM OK", "OK ALARM"]);
    assert!(told.as_array().unwrap().iter().all(|one| one["action"] == TOPIC), "{told}");
}

fn transition(told: &Value) -> String {
    format!("{} {}", told["from"].as_str().unwrap(), told["to"].as_str().unwrap())
}

#[tokio::test]
async fn an_upload_is_seen_in_the_metrics_of_its_stream() {
    let rig = rig(Settings::default()).await;
    let client = rig.clients().cloudwatch();
    rig.stream("cam", 1).await;
    let begun = now_ms();
    let mut upload = rig.upload("cam").await;
    upload.send(&head(&[1])).await;
    for fragment in 0..3 {
        upload.send(&cluster(fragment * 2000)).await;
    }
    upload.finish().await;
    assert_eq!(upload.rest().await.last().map(String::as_str), Some("PERSISTED 4000"));
    let query = |(id, metric, stat): &(&str, &str, &str)| {
        let dimension = Dimension::builder().name("StreamName").value("cam").build();
        let metric = Metric::builder()
            .namespace("AWS/KinesisVideo")
            .metric_name(*metric)
            .dimensions(dimension)
            .build();
        let stat = MetricStat::builder().metric(metric).period(60).stat(*stat).build();
        MetricDataQuery::builder().id(*id).metric_stat(stat).build()
    };
    let wanted = [
        ("requests", "PutMedia.Requests", "Sum"),
        ("fragments", "PutMedia.IncomingFragments", "Sum"),
        ("frames", "PutMedia.IncomingFrames", "Sum"),
        ("success", "PutMedia.Success", "Average"),
        ("persisted", "PutMedia.PersistedAckLatency", "SampleCount"),
        ("errors", "PutMedia.ErrorAckCount", "Sum"),
    ];
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let request = client
            .get_metric_data()
            .set_metric_data_queries(Some(wanted.iter().map(query).collect()))
            .start_time(DateTime::from_millis(i64::try_from(begun - 60_000).unwrap()))
            .end_time(DateTime::from_millis(i64::try_from(now_ms() + 60_000).unwrap()));
        let results = request.send().await.unwrap();
        let totals: Vec<f64> =
            results.metric_data_results().iter().map(|result| result.values().iter().sum()).collect();
        // What no one counted is missing, and no zero.
        let errors = results.metric_data_results().last().unwrap().values().len();
        if totals == [1.0, 3.0, 6.0, 1.0, 3.0, 0.0] && errors == 0 {
            return;
        }
        assert!(Instant::now() < end, "{totals:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn alarms_with_tags_and_states_survive_a_restart() {
    let rig = rig(Settings::default()).await;
    let client = rig.clients().cloudwatch();
    let tag = Tag::builder().key("owner").value("streamfleet").build();
    no_ingest(&client, "kept", "cam").tags(tag).send().await.unwrap();
    no_ingest(&client, "deleted", "cam").send().await.unwrap();
    client.put_composite_alarm().alarm_name("site").alarm_rule("ALARM(kept)").send().await.unwrap();
    let set = client.set_alarm_state().alarm_name("kept").state_value(StateValue::Ok).state_reason("a test");
    set.send().await.unwrap();
    client.delete_alarms().alarm_names("deleted").send().await.unwrap();

    let rig = rig.restart().await;
    let client = rig.clients().cloudwatch();
    let described = client
        .describe_alarms()
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .send()
        .await
        .unwrap();
    let [kept] = described.metric_alarms() else { panic!("{described:?}") };
    assert_eq!((kept.alarm_name(), kept.state_reason()), (Some("kept"), Some("a test")));
    assert_eq!(described.composite_alarms()[0].alarm_rule(), Some("ALARM(kept)"));
    let tags = client.list_tags_for_resource().resource_arn(kept.alarm_arn().unwrap()).send().await.unwrap();
    assert_eq!(tags.tags().len(), 1);
}

#[tokio::test]
async fn faults_strike_alarms_before_and_after_their_effect() {
    let rig = rig(Settings::default()).await;
    let client = rig.clients().cloudwatch();
    let order =
        |action: &str| json!({"operation": "PutMetricAlarm", "stream": "a", "action": action, "count": 1});
    rig.hook("faults", Some(order("throttle"))).await;
    let error = no_ingest(&client, "a", "cam").send().await.unwrap_err();
    assert_eq!(error.into_service_error().meta().code(), Some("Throttling"));
    assert!(client.describe_alarms().send().await.unwrap().metric_alarms().is_empty());
    rig.hook("faults", Some(order("drop-after-effect"))).await;
    assert!(no_ingest(&client, "a", "cam").send().await.is_err());
    assert_eq!(client.describe_alarms().send().await.unwrap().metric_alarms().len(), 1);
    let calls = rig.hook("calls", None).await;
    let puts: Vec<_> =
        calls.as_array().unwrap().iter().filter(|call| call["operation"] == "PutMetricAlarm").collect();
    assert_eq!(puts.iter().map(|call| call["done"] == true).collect::<Vec<_>>(), [false, true]);
    assert_eq!((&puts[0]["stream"], &puts[0]["error"]), (&json!("a"), &json!("Throttling")));
}

#[tokio::test]
async fn the_quota_lets_three_alarms_a_second_through() {
    let rig = rig(Settings::default().with_quotas()).await;
    let client = rig.clients().cloudwatch();
    let mut refused = 0;
    for n in 0..12 {
        if let Err(error) = no_ingest(&client, &format!("a{n}"), "cam").send().await {
            assert_eq!(error.into_service_error().meta().code(), Some("Throttling"));
            refused += 1;
        }
    }
    assert!(refused > 0, "twelve alarms in a moment were let through");
    let put = json!({"operation": "PutMetricAlarm", "input": {
        "AlarmName": "seeded", "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold",
    }});
    let seeded = rig.hook("cloudwatch", Some(json!({"region": REGION, "calls": vec![put; 20]}))).await;
    assert_eq!(seeded["answers"], json!(vec![json!({"answer": {}}); 20]), "hooks are beyond the rates");
}
