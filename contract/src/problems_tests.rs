use serde_json::{Value, json};

use super::*;
use crate::Configuration;

fn document() -> Value {
    json!({
        "schemaVersion": 1,
        "feeds": [{
            "id": "a", "name": "shop/door", "source": {"rtsp": {"url": "rtsp://door.example/live"}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1"}
        }]
    })
}

/// Every field, with a value other than its default.
fn full() -> Value {
    json!({
        "schemaVersion": 1,
        "process": {
            "memoryBudgetBytes": 100_000_000,
            "spool": {"path": "/spool", "maxBytes": 1_000_000_000, "mode": "Journal"},
            "uplink": {"catchUpBytesPerSecond": 1_000_000}
        },
        "feeds": [{
            "id": "a", "name": "shop/door", "revision": "7",
            "source": {"rtsp": {
                "url": "rtsps://door.example/live", "transport": "Tcp", "tls": {"caFile": "/ca/door.pem", "insecureSkipVerify": false}
            }},
            "credentials": {"usernameFile": "/secret/username", "passwordFile": "/secret/password"},
            "stream": {
                "arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1",
                "endpoint": "https://kvs.example", "caFile": "/ca/aws.pem", "roleArn": "arn:aws:iam::1:role/door",
                "stsEndpoint": "https://sts.example", "retentionHours": 24
            },
            "storedAt": "Received", "fragment": {"targetSeconds": 4, "tags": {"site": "shop"}}, "audio": "All",
            "timestamps": "Camera", "overflow": "DropNewest", "offlineAfterSeconds": 60
        }, {
            "id": "b", "name": "", "revision": "",
            "source": {"file": {"path": "/media/x.mp4", "container": "Mp4", "loop": true, "frameRate": 25}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/y/1", "region": "eu-west-1"},
            "storedAt": "Persisted", "fragment": {"targetSeconds": 2}, "audio": "Auto", "timestamps": "Node",
            "overflow": "DropOldest", "offlineAfterSeconds": 30
        }]
    })
}

/// The problems of [`document`] with the value at a JSON pointer set.
fn problems_with(mut document: Value, changes: &[(&str, Value)]) -> Vec<String> {
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    let configuration: Configuration = serde_json::from_value(document).unwrap();
    parse_problems(&configuration)
}

#[test]
fn a_minimal_configuration_and_one_with_everything_have_no_problem() {
    assert_eq!(problems_with(document(), &[]), [] as [&str; 0]);
    assert_eq!(problems_with(full(), &[]), [] as [&str; 0]);
}

#[test]
fn every_field_is_written_as_it_was_read() {
    let configuration: Configuration = serde_json::from_value(full()).unwrap();
    assert_eq!(serde_json::to_value(&configuration).unwrap(), full());
    let minimal: Configuration = serde_json::from_value(document()).unwrap();
    let again: Configuration = serde_json::from_value(serde_json::to_value(&minimal).unwrap()).unwrap();
    assert_eq!(again, minimal);
}

#[test]
fn each_fault_is_said_once_and_names_its_field() {
    let (feed, long) = ("/feeds/0", "x".repeat(300));
    let tags =
        |count: usize| (0..count).map(|n| (format!("t{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/schemaVersion", json!(2), "schemaVersion"),
        ("/process", json!({"memoryBudgetBytes": 5}), "memoryBudgetBytes"),
        ("/process", json!({"spool": {"path": "spool", "maxBytes": 2_000_000}}), "process.spool.path"),
        ("/process", json!({"spool": {"path": "/a/../b", "maxBytes": 2_000_000}}), "process.spool.path"),
        ("/process", json!({"spool": {"path": "/a", "maxBytes": 0}}), "process.spool.maxBytes"),
        ("/process", json!({"uplink": {"catchUpBytesPerSecond": 0}}), "catchUpBytesPerSecond"),
        ("/feeds/0/id", json!(""), "id is empty"),
        ("/feeds/0/id", json!(long), "id is longer"),
        ("/feeds/0/source", json!({"rtsp": {"url": "http://x/"}}), "source.rtsp.url"),
        ("/feeds/0/source", json!({"rtsp": {"url": "rtsp:///live"}}), "names no host"),
        ("/feeds/0/source", json!({"rtsp": {"url": "rtsp://a/b\nc"}}), "control characters"),
        ("/feeds/0/source", json!({"rtsp": {"url": "rtsps://a/", "transport": "Udp"}}), "transport"),
        ("/feeds/0/source", json!({"rtsp": {"url": "rtsp://a/", "tls": {}}}), "source.rtsp.tls"),
        (
            "/feeds/0/source",
            json!({"rtsp": {"url": "rtsps://a/", "tls": {"caFile": "/x", "insecureSkipVerify": true}}}),
            "insecureSkipVerify",
        ),
        ("/feeds/0/source", json!({"rtsp": {"url": "rtsps://a/", "tls": {"caFile": "x"}}}), "caFile"),
        ("/feeds/0/source", json!({"file": {"path": "x"}}), "source.file.path"),
        ("/feeds/0/source", json!({"file": {"path": "/x/../../etc"}}), "source.file.path"),
        ("/feeds/0/source", json!({"fifo": {"path": "/x", "frameRate": 0}}), "source.fifo.frameRate"),
        ("/feeds/0/source", json!({"socket": {"path": "/"}}), "source.socket.path"),
        ("/feeds/0/source", json!({"testPattern": {"width": 650}}), "source.testPattern"),
        ("/feeds/0/source", json!({"testPattern": {"frameRate": 61}}), "frameRate"),
        ("/feeds/0/credentials", json!({"usernameFile": "u", "passwordFile": "/p"}), "usernameFile"),
        ("/feeds/0/fragment", json!({"targetSeconds": 21}), "targetSeconds"),
        ("/feeds/0/fragment", json!({"tags": tags(11)}), "11 names"),
        ("/feeds/0/fragment", json!({"tags": {"awsX": "v"}}), "begin with AWS"),
        ("/feeds/0/fragment", json!({"tags": {"": "v"}}), "has 0 bytes"),
        ("/feeds/0/fragment", json!({"tags": {"a": long}}), "fragment.tags.a"),
        ("/feeds/0/stream/arn", json!("x"), "stream.arn"),
        ("/feeds/0/stream/arn", json!("arn:aws:kinesisvideo:eu-west-1:1:stream/x"), "NAME/CREATION"),
        ("/feeds/0/stream/arn", json!("arn:aws:kinesisvideo:eu-west-1:1:stream/x/"), "NAME/CREATION"),
        ("/feeds/0/stream/arn", json!("arn:aws:kinesisvideo:eu-west-1:1:stream//1"), "NAME/CREATION"),
        ("/feeds/0/stream/arn", json!("arn:aws:s3:eu-west-1:1:stream/x"), "stream.arn"),
        (
            "/feeds/0/stream/arn",
            json!(format!("arn:aws:kinesisvideo:eu-west-1:1:stream/{}", long.repeat(4))),
            "longer",
        ),
        ("/feeds/0/stream/region", json!("us-east-1"), "stream.region"),
        ("/feeds/0/stream/endpoint", json!("kvs.example"), "stream.endpoint"),
        ("/feeds/0/stream/stsEndpoint", json!("https://u:p@sts.example"), "stream.stsEndpoint"),
        ("/feeds/0/stream/caFile", json!("ca.pem"), "stream.caFile"),
        ("/feeds/0/stream/roleArn", json!("arn:aws:iam::1:user/x"), "stream.roleArn"),
        ("/feeds/0/stream/retentionHours", json!(87_601), "retentionHours"),
        ("/feeds/0/stream/retentionHours", json!(0), "storedAt must be Received"),
        ("/feeds/0/offlineAfterSeconds", json!(0), "offlineAfterSeconds"),
    ];
    for (pointer, value, expected) in cases {
        let problems = problems_with(document(), &[(pointer, value.clone())]);
        assert_eq!(problems.len(), 1, "{pointer} = {value}: {problems:?}");
        assert!(problems[0].contains(expected), "{pointer} = {value}: {problems:?}");
        assert!(!pointer.starts_with(feed) || problems[0].contains("feeds[0] ("), "{problems:?}");
    }
}

#[test]
fn a_stream_that_keeps_nothing_is_stored_when_it_is_received() {
    let changes = [("/feeds/0/stream/retentionHours", json!(0)), ("/feeds/0/storedAt", json!("Received"))];
    assert_eq!(problems_with(document(), &changes), [] as [&str; 0]);
}

#[test]
fn user_information_in_a_url_is_refused_and_neither_repeated_nor_shown() {
    let secret = json!({"rtsp": {"url": "rtsp://admin:hunter2@door/live"}});
    let problems = problems_with(document(), &[("/feeds/0/source", secret.clone())]).join("\n");
    assert!(problems.contains("shop/door") && problems.contains("credentials"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
    let source: Source = serde_json::from_value(secret).unwrap();
    assert!(!format!("{source:?}").contains("hunter2"));
}

#[test]
fn two_feeds_for_one_stream_and_two_of_one_id_are_refused() {
    let mut twice = document();
    let feed = twice["feeds"][0].clone();
    twice["feeds"].as_array_mut().unwrap().push(feed);
    let problems = problems_with(twice.clone(), &[("/feeds/1/id", json!("b"))]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("one producer"));
    let other = json!("arn:aws:kinesisvideo:eu-west-1:1:stream/z/1");
    let problems = problems_with(twice, &[("/feeds/1/stream/arn", other)]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("id is used"));
}

#[test]
fn an_unknown_schema_version_is_refused() {
    for version in [0, 2, 99] {
        assert_eq!(
            problems_with(document(), &[("/schemaVersion", json!(version))]).len(),
            1,
            "version {version}"
        );
    }
}

#[test]
fn every_field_and_every_reason_is_documented() {
    fn fields(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, value)| {
                // The names of tags are the user's own.
                if name != "site" {
                    found.push(name.clone());
                }
                fields(value, found);
            }),
            Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
            _ => {}
        }
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/producer.md");
    let page = std::fs::read_to_string(page).unwrap();
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut names = Vec::new();
    fields(&full(), &mut names);
    assert!(names.len() > 30);
    for name in names {
        assert!(words.contains(name.as_str()), "{name} is not documented");
    }
    for file in ["status.rs", "configuration.rs"] {
        let source = std::fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let variants = source
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
            .filter(|name| name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric));
        for variant in variants {
            assert!(words.contains(variant), "{variant} of {file} is not documented");
        }
    }
}
