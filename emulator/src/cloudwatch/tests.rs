//! CloudWatch as its clients see it, in virtual time.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use serde_json::{Value, json};

use super::*;

const MINUTE: u64 = 60_000;
const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:pager";

struct Rig {
    cloudwatch: CloudWatch,
    scope: Scope,
    now_ms: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let scope = Scope::new("123456789012", "eu-central-1");
        // The middle of a minute, so that no call lies at its edge.
        Self { cloudwatch: CloudWatch::new(settings), scope, now_ms: 1000 * MINUTE + MINUTE / 2 }
    }

    fn call(&mut self, operation: &str, input: Value) -> Result<Value, ServiceError> {
        self.cloudwatch.call(&self.scope, operation, &input, self.now_ms)
    }

    fn put(&mut self, name: &str, changes: Value) {
        let mut input = json!({
            "AlarmName": name, "Namespace": "AWS/KinesisVideo", "MetricName": "PutMedia.IncomingFragments",
            "Dimensions": [{"Name": "StreamName", "Value": "cam"}], "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 5, "DatapointsToAlarm": 3, "Threshold": 1, "AlarmActions": [TOPIC],
            "ComparisonOperator": "LessThanThreshold", "TreatMissingData": "breaching",
        });
        for (member, value) in changes.as_object().unwrap() {
            input[member] = value.clone();
        }
        self.call("PutMetricAlarm", model::without_nulls(input)).unwrap();
    }

    /// A minute passes, in which each of these streams sends a fragment.
    fn minute(&mut self, streams: &[&str]) {
        for stream in streams {
            self.cloudwatch.record(&self.scope, ("PutMedia.IncomingFragments", stream), 1.0, self.now_ms);
        }
        self.now_ms += MINUTE;
        self.cloudwatch.tick(self.now_ms);
    }

    fn state(&self, name: &str) -> State {
        self.cloudwatch.states(&self.scope)[name]
    }

    /// The states of an alarm after each of some minutes: `1` with a fragment, `0` without.
    fn states(&mut self, name: &str, minutes: &str) -> String {
        let mut states = String::new();
        for minute in minutes.chars() {
            self.minute(if minute == '1' { &["cam"] } else { &[] });
            states.push(match self.state(name) {
                State::Ok => 'o',
                State::Alarm => 'A',
                State::InsufficientData => '?',
            });
        }
        states
    }
}

#[test]
fn a_new_alarm_knows_nothing_and_a_silent_stream_raises_it_in_the_next_minute() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({}));
    assert_eq!(rig.state("quiet"), State::InsufficientData);
    rig.cloudwatch.tick(rig.now_ms + 1000);
    assert_eq!(rig.state("quiet"), State::InsufficientData, "the minute is not over");
    assert_eq!(rig.states("quiet", "0"), "A");
}

#[test]
fn a_stream_that_falls_silent_raises_its_alarm_after_five_minutes_and_three_with_media_clear_it() {
    let mut rig = Rig::new();
    rig.minute(&["cam"]);
    for _ in 0..6 {
        rig.minute(&["cam"]);
    }
    rig.put("quiet", json!({}));
    assert_eq!(rig.states("quiet", "11000000011111"), "ooooooAAAAAooo");
}

#[test]
fn what_missing_data_means_is_the_alarm_s_choice() {
    for (missing, states) in [
        (json!("notBreaching"), "oooooo"),
        (json!("ignore"), "?ooooo"),
        (json!("missing"), "?o????"),
        (Value::Null, "?o????"),
    ] {
        let mut rig = Rig::new();
        rig.put(
            "quiet",
            json!({"EvaluationPeriods": 1, "DatapointsToAlarm": 1, "TreatMissingData": missing}),
        );
        // The evaluation range of one period is three: the one point is seen for as long.
        let seen = rig.states("quiet", "010000");
        let expected = if states == "?o????" { "?ooo??" } else { states };
        assert_eq!(seen, expected, "{missing}");
    }
}

#[test]
fn an_update_keeps_state_and_tags_and_overwrites_the_rest() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({"Tags": [{"Key": "a", "Value": "1"}], "AlarmDescription": "old"}));
    rig.minute(&[]);
    rig.put("quiet", json!({"Tags": [{"Key": "b", "Value": "2"}], "Threshold": 7}));
    let alarm = rig.call("DescribeAlarms", json!({})).unwrap()["MetricAlarms"][0].clone();
    assert_eq!((&alarm["StateValue"], &alarm["Threshold"]), (&json!("ALARM"), &json!(7.0)));
    assert_eq!(alarm.get("AlarmDescription"), None);
    let tags = rig.call("ListTagsForResource", json!({"ResourceARN": alarm["AlarmArn"]})).unwrap();
    assert_eq!(tags, json!({"Tags": [{"Key": "a", "Value": "1"}]}));
}

#[test]
fn actions_are_told_once_for_each_transition_and_not_while_they_are_off() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({"OKActions": [TOPIC, "arn:aws:sns:eu-central-1:123456789012:log"]}));
    rig.states("quiet", "0011111");
    let told = |rig: &Rig, since| -> Vec<(State, State, String)> {
        let all = rig.cloudwatch.notifications(since, 100).into_iter();
        all.map(|one| (one.from, one.to, one.action.rsplit(':').next().unwrap().to_owned())).collect()
    };
    let expected = [
        (State::InsufficientData, State::Alarm, "pager".to_owned()),
        (State::Alarm, State::Ok, "pager".to_owned()),
        (State::Alarm, State::Ok, "log".to_owned()),
    ];
    assert_eq!(told(&rig, 0), expected);
    rig.call("DisableAlarmActions", json!({"AlarmNames": ["quiet"]})).unwrap();
    assert!(rig.states("quiet", "00000000").ends_with('A'));
    assert_eq!(told(&rig, 3), []);
}

#[test]
fn a_scaled_minute_scales_all_periods() {
    let mut rig = Rig::with(Settings { minute_ms: 5000, ..Settings::default() });
    rig.put("minute", json!({"EvaluationPeriods": 1, "DatapointsToAlarm": 1}));
    rig.put("five", json!({"EvaluationPeriods": 1, "DatapointsToAlarm": 1, "Period": 300}));
    rig.cloudwatch.record(&rig.scope, ("PutMedia.IncomingFragments", "cam"), 1.0, rig.now_ms);
    let mut rings = Vec::new();
    for second in 0..120 {
        rig.cloudwatch.tick(rig.now_ms + second * 1000);
        rings.push((rig.state("minute") == State::Alarm, rig.state("five") == State::Alarm));
    }
    let at = |which: fn(&(bool, bool)) -> bool| rings.iter().position(which).unwrap();
    // Three periods each, of 5 and of 25 seconds, behind the one with a fragment.
    assert_eq!((at(|rings| rings.0), at(|rings| rings.1)), (20, 80));
}

#[test]
fn a_composite_follows_its_children_and_its_own_parents_follow_it() {
    let mut rig = Rig::new();
    rig.put("a", json!({}));
    let other = json!([{"Name": "StreamName", "Value": "other"}]);
    rig.put("b", json!({"Dimensions": other, "EvaluationPeriods": 1, "DatapointsToAlarm": 1}));
    rig.call(
        "PutCompositeAlarm",
        json!({"AlarmName": "site", "AlarmRule": "ALARM(a) AND ALARM(b)", "AlarmActions": [TOPIC]}),
    )
    .unwrap();
    rig.call("PutCompositeAlarm", json!({"AlarmName": "region", "AlarmRule": "NOT OK(site)"})).unwrap();
    assert_eq!(rig.state("site"), State::InsufficientData);
    rig.minute(&["other"]);
    assert_eq!(
        (rig.state("a"), rig.state("site"), rig.state("region")),
        (State::Alarm, State::Ok, State::Ok)
    );
    rig.states("b", "00000000");
    assert_eq!((rig.state("site"), rig.state("region")), (State::Alarm, State::Alarm));
    // Set by hand, it stays until a child changes.
    let set = json!({"AlarmName": "site", "StateValue": "OK", "StateReason": "by hand"});
    rig.call("SetAlarmState", set).unwrap();
    rig.minute(&[]);
    assert_eq!((rig.state("site"), rig.state("region")), (State::Ok, State::Ok));
    let told: Vec<String> = rig.cloudwatch.notifications(0, 100).into_iter().map(|one| one.alarm).collect();
    assert_eq!(told.iter().filter(|name| *name == "site").count(), 1);
}

#[test]
fn composites_in_a_circle_end_and_cannot_be_deleted_until_it_is_broken() {
    let mut rig = Rig::new();
    rig.put("a", json!({}));
    rig.call("PutCompositeAlarm", json!({"AlarmName": "x", "AlarmRule": "TRUE"})).unwrap();
    rig.call("PutCompositeAlarm", json!({"AlarmName": "y", "AlarmRule": "NOT ALARM(x) OR ALARM(a)"}))
        .unwrap();
    rig.call("PutCompositeAlarm", json!({"AlarmName": "x", "AlarmRule": "ALARM(y)"})).unwrap();
    rig.states("a", "0011111");
    for name in ["x", "y"] {
        let refused = rig.call("DeleteAlarms", json!({"AlarmNames": [name]})).unwrap_err();
        assert!(refused.message.contains("depending on it"), "{refused}");
    }
    rig.call("PutCompositeAlarm", json!({"AlarmName": "x", "AlarmRule": "FALSE"})).unwrap();
    rig.call("DeleteAlarms", json!({"AlarmNames": ["y"]})).unwrap();
}

#[test]
fn a_suppressor_keeps_the_actions_of_a_composite_back() {
    let mut rig = Rig::new();
    rig.put("a", json!({"AlarmActions": []}));
    rig.put("works", json!({"AlarmActions": [], "Dimensions": [{"Name": "StreamName", "Value": "never"}]}));
    let site = json!({"AlarmName": "site", "AlarmRule": "ALARM(a)", "AlarmActions": [TOPIC],
        "ActionsSuppressor": "works", "ActionsSuppressorWaitPeriod": 0, "ActionsSuppressorExtensionPeriod": 0});
    rig.minute(&["cam"]);
    rig.call("PutCompositeAlarm", site).unwrap();
    rig.states("a", "100000000");
    assert_eq!((rig.state("site"), rig.state("works")), (State::Alarm, State::Alarm));
    assert_eq!(rig.cloudwatch.notifications(0, 100), []);
    let told = rig.call("DescribeAlarms", json!({"AlarmTypes": ["CompositeAlarm"]})).unwrap();
    assert_eq!(told["CompositeAlarms"][0]["ActionsSuppressedBy"], "Alarm");
}

#[test]
fn an_alarm_on_a_query_rings_for_one_bad_stream_and_never_for_a_silent_one() {
    let mut rig = Rig::new();
    let query = "SELECT SUM(\"PutMedia.IncomingFragments\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName) \
                 GROUP BY StreamName";
    let put = json!({
        "AlarmName": "fleet", "Metrics": [{"Id": "q", "Expression": query, "Period": 60}], "EvaluationPeriods": 1,
        "Threshold": 1.5, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
    });
    rig.call("PutMetricAlarm", put).unwrap();
    assert_eq!(rig.state("fleet"), State::InsufficientData);
    rig.minute(&["cam", "other"]);
    assert_eq!(rig.state("fleet"), State::Ok);
    rig.minute(&["cam", "other", "other"]);
    assert_eq!(rig.state("fleet"), State::Alarm);
    let reason = rig.call("DescribeAlarms", json!({})).unwrap()["MetricAlarms"][0]["StateReason"].clone();
    assert!(reason.as_str().unwrap().contains("of other"), "{reason}");
    for _ in 0..6 {
        rig.minute(&["cam"]);
    }
    assert_eq!(rig.state("fleet"), State::Ok, "a stream that fell silent is not in the answer any more");
}

#[test]
fn a_warm_up_delays_the_first_evaluation() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({"WarmUpConfiguration": {"WarmUpPeriodDurationInMinutes": 3}}));
    assert_eq!(rig.states("quiet", "00000"), "??AAA");
}

#[test]
fn a_value_of_another_unit_is_not_the_alarm_s() {
    let mut rig = Rig::new();
    for unit in ["Count", "Bytes"] {
        rig.put(unit, json!({"Unit": unit, "EvaluationPeriods": 1, "DatapointsToAlarm": 1, "TreatMissingData": "missing"}));
    }
    rig.minute(&["cam"]);
    assert_eq!((rig.state("Count"), rig.state("Bytes")), (State::Ok, State::InsufficientData));
}

#[test]
fn quotas_bound_alarms_and_those_on_queries() {
    let mut rig = Rig::with(Settings { alarms_max: Some((3, 1)), ..Settings::default() });
    let query = |name: &str| {
        json!({
            "AlarmName": name, "Metrics": [{"Id": "q", "Expression": "SELECT SUM(m) FROM n", "Period": 60}],
            "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold",
        })
    };
    rig.call("PutMetricAlarm", query("q1")).unwrap();
    rig.call("PutMetricAlarm", query("q1")).unwrap();
    assert_eq!(rig.call("PutMetricAlarm", query("q2")).unwrap_err().code, "LimitExceeded");
    rig.put("a", json!({}));
    rig.put("b", json!({}));
    rig.put("b", json!({}));
    let composite = json!({"AlarmName": "c", "AlarmRule": "ALARM(a)"});
    assert_eq!(rig.call("PutCompositeAlarm", composite.clone()).unwrap_err().code, "LimitExceeded");
    rig.call("DeleteAlarms", json!({"AlarmNames": ["b"]})).unwrap();
    rig.call("PutCompositeAlarm", composite).unwrap();
}

#[test]
fn accounts_and_regions_do_not_see_each_other() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({}));
    for other in [Scope::new("123456789012", "eu-west-1"), Scope::new("210987654321", "eu-central-1")] {
        let told = rig.cloudwatch.call(&other, "DescribeAlarms", &json!({}), rig.now_ms).unwrap();
        assert_eq!(told["MetricAlarms"], json!([]));
    }
    let china = Scope::new("1", "cn-north-1");
    rig.scope = china;
    rig.put("quiet", json!({}));
    let told = rig.call("DescribeAlarms", json!({})).unwrap();
    assert_eq!(told["MetricAlarms"][0]["AlarmArn"], "arn:aws-cn:cloudwatch:cn-north-1:1:alarm:quiet");
}

#[test]
fn what_was_kept_comes_back_as_it_was() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({"Tags": [{"Key": "a", "Value": "1"}]}));
    rig.put("gone", json!({}));
    rig.call("PutCompositeAlarm", json!({"AlarmName": "site", "AlarmRule": "ALARM(quiet)"})).unwrap();
    rig.minute(&[]);
    rig.call("DeleteAlarms", json!({"AlarmNames": ["gone"]})).unwrap();
    assert_eq!(
        rig.cloudwatch.take_changes(),
        [journal::Line::Gone("123456789012".into(), "eu-central-1".into(), "gone".into())]
    );
    let both = json!({"AlarmTypes": ["MetricAlarm", "CompositeAlarm"]});
    let before = rig.call("DescribeAlarms", both.clone()).unwrap();
    let kept: Vec<_> = rig.cloudwatch.kept().collect();
    let text = serde_json::to_string(&kept).unwrap();
    rig.cloudwatch = CloudWatch::new(Settings::default());
    rig.cloudwatch.restore(serde_json::from_str(&text).unwrap(), rig.now_ms);
    assert_eq!(rig.call("DescribeAlarms", both).unwrap(), before);
    let refused = rig.call("DeleteAlarms", json!({"AlarmNames": ["quiet"]})).unwrap_err();
    assert!(refused.message.contains("composite"), "the composite knows its child again: {refused}");
}

#[test]
fn only_what_changed_is_kept_anew() {
    let mut rig = Rig::new();
    rig.put("quiet", json!({}));
    assert_eq!(rig.cloudwatch.take_changes().len(), 1);
    rig.call("DescribeAlarms", json!({})).unwrap();
    assert_eq!(rig.cloudwatch.take_changes().len(), 0);
    rig.minute(&[]);
    assert_eq!(rig.cloudwatch.take_changes().len(), 1);
    rig.minute(&[]);
    assert_eq!(rig.cloudwatch.take_changes().len(), 0, "a steady alarm is not written again");
}
