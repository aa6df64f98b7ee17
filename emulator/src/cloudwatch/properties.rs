//! Whatever a client sends is refused or carried out: nothing panics, and the machine goes on.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    CloudWatch, Rule, Settings,
    insights::Query,
    model::MODEL,
    wire::{Asked, Protocol},
};
use crate::control::Scope;

/// The operations of the model.
const OPERATIONS: [&str; 16] = [
    "DeleteAlarms",
    "DescribeAlarmHistory",
    "DescribeAlarms",
    "DescribeAlarmsForMetric",
    "DisableAlarmActions",
    "EnableAlarmActions",
    "GetMetricData",
    "GetMetricStatistics",
    "ListMetrics",
    "ListTagsForResource",
    "PutCompositeAlarm",
    "PutMetricAlarm",
    "PutMetricData",
    "SetAlarmState",
    "TagResource",
    "UntagResource",
];

/// Values that members have, and values that they should not have.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (-10_i64..4000).prop_map(|n| Value::from(n * 10)),
        prop_oneof![Just(0.5), Just(1e300), Just(-1e300), Just(1.7e9)].prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("OK"),
            Just("Sum"),
            Just("breaching"),
            Just("ALARM(a) OR NOT OK(b)"),
            Just("FALSE"),
            Just("LessThanThreshold"),
            Just("AWS/KinesisVideo"),
            Just("61667465723a31383434363734343037333730393535313631"),
            Just("61667465723a3138343436373434303733373039353531363135"),
            Just("TimestampAscending"),
            Just("SELECT SUM(m) FROM SCHEMA(n, StreamName) GROUP BY StreamName"),
            Just(""),
            Just("arn:aws:sns:r:1:t"),
            Just("arn:aws:cloudwatch:r:1:alarm:a"),
        ]
        .prop_map(Value::from),
    ];
    let names = prop_oneof![
        Just("Name"),
        Just("Value"),
        Just("Id"),
        Just("Expression"),
        Just("Period"),
        Just("Key"),
        Just("MetricName"),
        Just("StatisticValues"),
        Just("Timestamp"),
        Just("MetricStat"),
        Just("Metric"),
        Just("Stat"),
        Just("Namespace"),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((names.clone(), inner), 0..4).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// An alarm that is in order, but for what is changed in it.
fn whole() -> Value {
    json!({
        "AlarmName": "a", "Namespace": "AWS/KinesisVideo", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 2, "Threshold": 1, "ComparisonOperator": "LessThanThreshold", "AlarmNames": ["a"],
        "StateValue": "OK", "StateReason": "r", "AlarmRule": "ALARM(a)", "ResourceARN": "arn:aws:cloudwatch:r:1:alarm:a",
        "TagKeys": ["k"], "StartTime": 0, "EndTime": 6000, "MetricDataQueries": [], "Statistics": ["Sum"],
    })
}

proptest! {
    #[test]
    fn any_request_is_refused_or_carried_out_and_the_evaluator_goes_on(
        calls in prop::collection::vec((0..OPERATIONS.len(), prop::collection::vec((any::<prop::sample::Index>(), value()), 0..4)), 1..12),
    ) {
        let mut cloudwatch = CloudWatch::new(Settings { minute_ms: 5000, ..Settings::default() });
        let scope = Scope::new("1", "r");
        for (n, (operation, changes)) in calls.into_iter().enumerate() {
            let operation = OPERATIONS[operation];
            let names = MODEL.input(operation).unwrap().member_names();
            let mut input = whole();
            input.as_object_mut().unwrap().retain(|name, _| names.contains(&name.as_str()));
            for (at, value) in changes {
                input[*at.get(&names)] = value;
            }
            let now_ms = n as u64 * 7000;
            let answer = cloudwatch.call(&scope, operation, &input, now_ms);
            if let Err(error) = answer {
                prop_assert!(error.status.is_client_error(), "{operation} {input}: {error}");
            }
            cloudwatch.record(&scope, ("m", "s"), 1.0, now_ms);
            cloudwatch.tick(now_ms + 6000);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_in_each_protocol(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut headers = http::HeaderMap::new();
        headers.insert("smithy-protocol", http::HeaderValue::from_static("rpc-v2-cbor"));
        for protocol in [Protocol::Cbor, Protocol::Json("application/x-amz-json-1.0"), Protocol::Query] {
            let asked = Asked { protocol, operation: "PutMetricAlarm".to_owned() };
            if let Err(error) = asked.input(&headers, &bytes) {
                prop_assert!(error.status.is_client_error());
            }
        }
    }

    #[test]
    fn any_text_is_a_rule_or_none_and_a_query_or_none(
        words in prop::collection::vec(prop_oneof![
            Just("ALARM"), Just("("), Just(")"), Just("AND"), Just("OR"), Just("NOT"), Just("TRUE"), Just("\""), Just("a b"),
            Just("SELECT"), Just("SUM"), Just("FROM"), Just("SCHEMA"), Just(","), Just("WHERE"), Just("="), Just("'x'"),
            Just("GROUP"), Just("BY"), Just("LIMIT"), Just("5"), Just("é"),
        ], 0..30),
    ) {
        let text = words.join(" ");
        let _ = Rule::parse(&text);
        let _ = Query::parse(&text);
        if let Ok(rule) = Rule::parse(&text) {
            let before = rule.holds(&|_| None);
            prop_assert_eq!(Rule::parse(&format!("NOT ({text})")).unwrap().holds(&|_| None), !before);
        }
    }
}
