#![allow(
    clippy::needless_pass_by_value,
    clippy::print_stdout,
    reason = "requests are written where they are sent; figures are shown"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Control, ControlOptions, Scope};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";

struct Plane {
    control: Control,
    now: u64,
}

impl Plane {
    fn new(edit: impl FnOnce(&mut ControlOptions)) -> Self {
        let mut options = ControlOptions::default();
        edit(&mut options);
        Self { control: Control::new(options), now: 1_700_000_000_000 }
    }

    fn call(&mut self, operation: &str, request: Value) -> Result<Value, &'static str> {
        let scope = Scope::new(ACCOUNT, REGION);
        self.control.call(&scope, operation, &request, self.now).map_err(|error| error.code)
    }

    fn create(&mut self, name: &str) -> String {
        let created = self.call("CreateStream", json!({"StreamName": name, "DataRetentionInHours": 2}));
        created.unwrap()["StreamARN"].as_str().unwrap().to_owned()
    }

    fn listed(&mut self) -> Vec<(String, String)> {
        let listed = self.call("ListStreams", json!({})).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let streams = listed["StreamInfoList"].as_array().unwrap().iter();
        streams.map(|info| (text(&info["StreamName"]), text(&info["Status"]))).collect()
    }

    fn info(&mut self, name: &str) -> Value {
        self.call("DescribeStream", json!({"StreamName": name})).unwrap()["StreamInfo"].clone()
    }
}

#[test]
fn lists_show_what_was_a_while_ago() {
    let mut plane = Plane::new(|options| (options.list_lag_ms, options.deleting_ms) = (100, 50));
    let arn = plane.create("a");
    plane.now += 99;
    assert_eq!(plane.listed(), []);
    plane.now += 1;
    let shown = |status: &str| vec![("a".to_owned(), status.to_owned())];
    assert_eq!(plane.listed(), shown("ACTIVE"));
    plane.call("DeleteStream", json!({"StreamARN": arn})).unwrap();
    plane.now += 99;
    assert_eq!(plane.call("DescribeStream", json!({"StreamName": "a"})), Err("ResourceNotFoundException"));
    assert_eq!(plane.listed(), shown("ACTIVE"));
    plane.now += 1;
    assert_eq!(plane.listed(), shown("DELETING"));
    plane.now += 50;
    assert_eq!(plane.listed(), []);
}

#[test]
fn versioned_changes_need_the_version_and_an_active_stream() {
    let mut plane = Plane::new(|options| (options.creating_ms, options.updating_ms) = (10, 10));
    plane.create("a");
    let version = plane.info("a")["Version"].clone();
    let change = json!({"StreamName": "a", "CurrentVersion": version, "MediaType": "video/h264"});
    assert_eq!(plane.call("UpdateStream", change.clone()), Err("ResourceInUseException"));
    plane.now += 10;
    plane.call("UpdateStream", change.clone()).unwrap();
    assert_eq!(plane.info("a")["Status"], "UPDATING");
    plane.now += 10;
    assert_eq!(plane.call("UpdateStream", change), Err("VersionMismatchException"));
    assert_ne!(plane.info("a")["Version"], version);
}

#[test]
fn equal_machines_answer_equally_and_a_copy_goes_its_own_way() {
    let run = || {
        let mut plane = Plane::new(|_| {});
        plane.create("a");
        (plane.info("a"), plane)
    };
    let ((one, mut plane), (other, _)) = (run(), run());
    assert_eq!(one, other);
    let copy = plane.control.clone();
    plane.create("b");
    assert_eq!((plane.control.streams().len(), copy.streams().len()), (2, 1));
}

#[test]
fn an_account_has_a_number_of_streams_in_each_region() {
    let mut plane = Plane::new(|options| options.streams_max = 1);
    let arn = plane.create("a");
    let create = json!({"StreamName": "b"});
    assert_eq!(plane.call("CreateStream", create.clone()), Err("AccountStreamLimitExceededException"));
    let elsewhere = Scope::new(ACCOUNT, "us-east-1");
    plane.control.call(&elsewhere, "CreateStream", &create, plane.now).unwrap();
    plane.call("DeleteStream", json!({"StreamARN": arn})).unwrap();
    plane.call("CreateStream", create).unwrap();
}

#[test]
fn a_decrease_of_retention_purges_and_an_increase_does_not_bring_back() {
    let mut plane = Plane::new(|_| {});
    plane.create("a");
    let mut change = |operation: &str, hours: u32| {
        let version = plane.info("a")["Version"].clone();
        let request = json!({
            "StreamName": "a", "CurrentVersion": version,
            "Operation": operation, "DataRetentionChangeInHours": hours,
        });
        plane.call("UpdateDataRetention", request).unwrap();
        plane.control.stream(&Scope::new(ACCOUNT, REGION), "a").unwrap().kept_from_ms
    };
    let kept_from = change("DECREASE_DATA_RETENTION", 1);
    assert_eq!(kept_from, 1_700_000_000_000 - 3_600_000);
    assert_eq!(change("INCREASE_DATA_RETENTION", 1), kept_from);
    assert_eq!(change("DECREASE_DATA_RETENTION", 2), 1_700_000_000_000);
}

#[test]
fn options_are_changed_member_by_member() {
    let options = ControlOptions { seed: 7, ..ControlOptions::default() };
    let changed = options.with(&json!({"listLagMs": 5, "quotas": true})).unwrap();
    assert_eq!((changed.list_lag_ms, changed.quotas, changed.seed), (5, true, 7));
    assert!(options.with(&json!({"lag": 5})).is_err());
    assert!(options.with(&json!({"quotas": 1})).is_err());
}

/// Nobody waits for a whole account. In an optimised build it is ten times as fast.
#[test]
fn an_account_of_ten_thousand_streams_is_made_and_listed_quickly() {
    let mut plane = Plane::new(|_| {});
    let begun = Instant::now();
    (0..10_000).for_each(|number| drop(plane.create(&format!("stream-{number:05}"))));
    let each = begun.elapsed() / 10_000;
    // The best of some: other tests run at the same time.
    let listed = (0..10).map(|_| {
        let begun = Instant::now();
        let scope = Scope::new(ACCOUNT, REGION);
        let listed = plane.control.call_for_text(&scope, "ListStreams", &json!({}), plane.now).unwrap();
        assert!(listed.contains("stream-09999") && !listed.contains("NextToken"));
        begun.elapsed()
    });
    let listed = listed.min().unwrap();
    println!("10,000 streams: {each:?} to create each, {listed:?} to list all");
    assert!(each < Duration::from_millis(1) && listed < Duration::from_millis(500), "{each:?}, {listed:?}");
}

#[test]
fn shapes_are_the_model_s() {
    let mut plane = Plane::new(|_| {});
    let long = "x".repeat(257);
    let many: Value = (0..51).map(|n| (n.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into();
    for (request, code) in [
        (json!({}), "InvalidArgumentException"),
        (json!({"StreamName": null}), "InvalidArgumentException"),
        (json!({"StreamName": 1}), "InvalidArgumentException"),
        (json!({"StreamName": ""}), "InvalidArgumentException"),
        (json!({"StreamName": long}), "InvalidArgumentException"),
        (json!({"StreamName": "sl/ash"}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "MediaType": "video/h264, audio/aac"}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "MediaType": "vidéo/h264"}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "DataRetentionInHours": -1}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "DataRetentionInHours": 1.5}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "DataRetentionInHours": 87_601}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "Tags": {}}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "Tags": {"k": "semi;colon"}}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "Tags": {"aws:k": ""}}), "InvalidArgumentException"),
        (json!({"StreamName": "a", "Tags": many}), "TagsPerResourceExceededLimitException"),
        (json!({"StreamName": "a", "StreamStorageConfiguration": {}}), "InvalidArgumentException"),
        (
            json!({"StreamName": "a", "StreamStorageConfiguration": {"DefaultStorageTier": "COLD"}}),
            "InvalidArgumentException",
        ),
    ] {
        assert_eq!(plane.call("CreateStream", request.clone()), Err(code), "{request}");
    }
    let fine = json!({
        "StreamName": "a_B.9-c", "MediaType": "video/h264,audio/aac", "DataRetentionInHours": 87_600,
        "Tags": {"streamfleet.io/name": "Küche 1 @home"}, "Unknown": {"to": "the model"},
    });
    plane.call("CreateStream", fine).unwrap();
    assert_eq!(
        plane.call("TagStream", json!({"StreamARN": "a", "Tags": {"k": ""}})),
        Err("InvalidResourceFormatException")
    );
}
