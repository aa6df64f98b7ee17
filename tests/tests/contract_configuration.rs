//! What the operator writes is what the sidecar reads, and what the sidecar is mounted is where it looks.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use serde_json::{Value, json};
use streamfleet_crds::{Camera, ProducerDefaults};
use streamfleet_operator::aws::Place;
use streamfleet_operator::camera::build::{self, FEEDS_FILE, ProducerPlan};

const ARN: &str = "arn:aws:kinesisvideo:eu-west-1:123456789012:stream/shop.door/1";

fn camera(credentials: Option<&str>) -> Camera {
    let mut value = json!({
        "apiVersion": "streamfleet.io/v1alpha1",
        "kind": "Camera",
        "metadata": { "name": "door", "namespace": "shop", "uid": "11111111-2222-3333-4444-555555555555" },
        "spec": {
            "source": { "rtsp": { "url": "rtsp://[fd00::1]:8554/a%40b?c=d#e: {f}" } },
            "streamRef": { "name": "door" },
            "fragment": { "targetSeconds": 7 },
            "offlineAfterSeconds": 45,
        },
    });
    if let Some(name) = credentials {
        value["spec"]["credentialsRef"] = json!({ "name": name });
    }
    serde_json::from_value(value).unwrap()
}

fn place() -> Place {
    Place {
        kinesis_video: Some("https://kvs.example:8443".to_owned()),
        ca_bundle: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
        ..Place::new("eu-west-1", "123456789012")
    }
}

/// The text of the feeds' file and the pod that reads it.
fn rendered(camera: &Camera) -> (String, Value) {
    let (place, producer) = (place(), ProducerDefaults::default());
    let plan = ProducerPlan {
        camera,
        stream_arn: ARN,
        retention_hours: Some(24),
        place: &place,
        producer: &producer,
        default_image: "image",
    };
    let map = build::config_map(&plan, build::feed(&plan).unwrap()).unwrap();
    let pod = serde_json::to_value(build::deployment(&plan).spec.unwrap().template.spec).unwrap();
    (map.data.unwrap()[FEEDS_FILE].clone(), pod)
}

#[test]
fn sidecar_reads_what_the_operator_writes() {
    let (text, _) = rendered(&camera(Some("login")));
    let configuration = streamfleet_producer::config::parse(&text).unwrap().configuration;
    let feed = &configuration.feeds[0];
    assert_eq!(feed.name, "shop/door");
    assert_eq!(feed.stream.arn, ARN);
    assert_eq!((feed.fragment.target_seconds, feed.offline_after_seconds), (7, 45));
    let streamfleet_contract::Source::Rtsp(rtsp) = &feed.source else { panic!("{:?}", feed.source) };
    assert_eq!(rtsp.url, "rtsp://[fd00::1]:8554/a%40b?c=d#e: {f}");
}

#[test]
fn credentials_are_mounted_where_the_configuration_says() {
    let (text, pod) = rendered(&camera(Some("login")));
    let feed = streamfleet_producer::config::parse(&text).unwrap().configuration.feeds.remove(0);
    let files = feed.credentials.unwrap();
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "camera").unwrap();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let folder =
        mounts.iter().find(|mount| mount["name"] == "camera").unwrap()["mountPath"].as_str().unwrap();
    let secret = &volume["projected"]["sources"][0]["secret"];
    assert_eq!((&secret["name"], &secret["optional"]), (&json!("login"), &json!(true)));
    for (key, file) in [("username", files.username_file), ("password", files.password_file)] {
        let item = secret["items"].as_array().unwrap().iter().find(|item| item["key"] == key).unwrap();
        assert_eq!(file, format!("{folder}/{}", item["path"].as_str().unwrap()));
    }
}

#[test]
fn a_camera_without_credentials_mounts_no_secret() {
    let (text, pod) = rendered(&camera(None));
    assert_eq!(streamfleet_producer::config::parse(&text).unwrap().configuration.feeds[0].credentials, None);
    assert!(!pod.to_string().contains("secret"), "{pod}");
}

#[test]
fn the_authorities_are_mounted_where_the_configuration_says() {
    let (text, pod) = rendered(&camera(None));
    let feed = streamfleet_producer::config::parse(&text).unwrap().configuration.feeds.remove(0);
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let folder =
        mounts.iter().find(|mount| mount["name"] == "config").unwrap()["mountPath"].as_str().unwrap();
    assert_eq!(feed.stream.ca_file.unwrap(), format!("{folder}/ca.crt"));
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&json!(format!("{folder}/{FEEDS_FILE}"))), "{arguments:?}");
}

#[test]
fn the_configuration_keeps_tags_to_the_limits_that_the_media_library_names() {
    use streamfleet_contract as contract;
    use streamfleet_media::limits;

    assert_eq!(contract::TAGS_MAX, limits::TAGS_PER_FRAGMENT_MAX);
    assert_eq!(contract::TAG_NAME_BYTES_MAX, limits::TAG_NAME_BYTES_MAX);
    assert_eq!(contract::TAG_VALUE_BYTES_MAX, limits::TAG_VALUE_BYTES_MAX);
    assert_eq!(contract::TAG_RESERVED_PREFIX, limits::TAG_RESERVED_PREFIX);
}
