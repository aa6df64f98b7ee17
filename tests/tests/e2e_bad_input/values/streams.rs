//! Values of a `VideoStream`.

use serde_json::{Value, json};

use super::{Change, Row, accepted_alarms, alarm_rows, key_rows, long, members, tag_rows};

const BUCKET: &str = "s3://example-pictures/door";

/// Everything that is refused in a stream, and in the template of a Camera.
pub fn rows() -> Vec<Row> {
    let mut rows = names_and_retention();
    rows.extend(media());
    rows.extend(images());
    rows.extend(notifications());
    rows.extend(policies());
    rows.extend(alarm_rows());
    rows.extend(key_rows(|stream| stream, "spec.kmsKeyID"));
    rows.extend(tag_rows(|stream| stream, "spec.tags", "spec.tags.site"));
    rows
}

fn names_and_retention() -> Vec<Row> {
    let (class, class_form) = ("spec.streamClassName", "must be the name of a StreamClass");
    let (name, name_form) =
        ("spec.streamName", "must be 1 to 256 letters, digits, underscores, dots or hyphens");
    let hours = "spec.retentionHours";
    vec![
        (json!({ "streamClassName": null }), class, "Required value"),
        (json!({ "streamClassName": "" }), class, class_form),
        (json!({ "streamClassName": "Standard" }), class, class_form),
        (json!({ "streamClassName": "-standard" }), class, class_form),
        (json!({ "streamClassName": long(254) }), class, "may not be more than 253"),
        (json!({ "streamName": "" }), name, name_form),
        (json!({ "streamName": "front door" }), name, name_form),
        (json!({ "streamName": "tür" }), name, name_form),
        (json!({ "streamName": long(257) }), name, name_form),
        (json!({ "streamName": long(1025) }), name, "may not be more than 1024"),
        (json!({ "retentionHours": -1 }), hours, "must not be negative"),
        (json!({ "retentionHours": 87_601 }), hours, "must be at most 87600 (10 years)"),
        (json!({ "retentionHours": "168" }), hours, "must be of type integer"),
        (json!({ "retentionHours": 1.5 }), hours, "must be of type integer"),
        (json!({ "retentionDecreasePolicy": "Ask" }), "spec.retentionDecreasePolicy", "\"Deny\", \"Allow\""),
    ]
}

fn media() -> Vec<Row> {
    let (media, form) =
        ("spec.mediaType", "must be of the form TYPE/SUBTYPE, several with commas and no spaces");
    let (device, device_form) = ("spec.deviceName", "must be 1 to 128 letters, digits, underscores");
    vec![
        (json!({ "mediaType": "h264" }), media, form),
        (json!({ "mediaType": "" }), media, form),
        (json!({ "mediaType": "video/h264, audio/aac" }), media, form),
        (json!({ "mediaType": "video/h264,audio/aac," }), media, form),
        (json!({ "mediaType": "video/h264/high" }), media, form),
        (json!({ "mediaType": format!("video/{}", long(123)) }), media, "must be at most 128 characters"),
        (json!({ "mediaType": long(1025) }), media, "may not be more than 1024"),
        (json!({ "deviceName": "" }), device, device_form),
        (json!({ "deviceName": "door 3" }), device, device_form),
        (json!({ "deviceName": long(129) }), device, device_form),
        (json!({ "deviceName": long(1025) }), device, "may not be more than 1024"),
    ]
}

/// Image generation as it is taken, with `more` merged into it.
fn image(more: &Value) -> Value {
    let mut image = json!({ "timestamp": "Server", "destinationURI": BUCKET,
        "samplingIntervalMillis": 3000, "format": "JPEG" });
    streamfleet_tests::e2e::manifests::merge(&mut image, more);
    json!({ "imageGeneration": image })
}

fn images() -> Vec<Row> {
    let (uri, uri_form) =
        ("spec.imageGeneration.destinationURI", "must be s3://BUCKET or s3://BUCKET/PREFIX");
    let (region, interval) =
        ("spec.imageGeneration.destinationRegion", "spec.imageGeneration.samplingIntervalMillis");
    let (quality, width, height) = (
        "spec.imageGeneration.jpegQuality",
        "spec.imageGeneration.widthPixels",
        "spec.imageGeneration.heightPixels",
    );
    let (format, timestamp) = ("spec.imageGeneration.format", "spec.imageGeneration.timestamp");
    vec![
        (image(&json!({ "timestamp": null })), timestamp, "Required value"),
        (image(&json!({ "timestamp": "Camera" })), timestamp, "\"Server\", \"Producer\""),
        (image(&json!({ "destinationURI": null })), uri, "Required value"),
        (image(&json!({ "destinationURI": "" })), uri, uri_form),
        (image(&json!({ "destinationURI": "example-pictures" })), uri, uri_form),
        (image(&json!({ "destinationURI": "https://example-pictures.s3.amazonaws.com" })), uri, uri_form),
        (image(&json!({ "destinationURI": "s3://Example" })), uri, uri_form),
        (image(&json!({ "destinationURI": "s3://example/door*" })), uri, uri_form),
        (
            image(&json!({ "destinationURI": format!("s3://example/{}", long(243)) })),
            uri,
            "at most 255 characters",
        ),
        (image(&json!({ "destinationURI": long(1025) })), uri, "may not be more than 1024"),
        (
            image(&json!({ "destinationRegion": "Frankfurt" })),
            region,
            "must be an AWS region, that of the stream",
        ),
        (image(&json!({ "destinationRegion": long(65) })), region, "may not be more than 64"),
        (image(&json!({ "samplingIntervalMillis": null })), interval, "Required value"),
        (image(&json!({ "samplingIntervalMillis": 199 })), interval, "must be 200 to 20000"),
        (image(&json!({ "samplingIntervalMillis": 20_001 })), interval, "must be 200 to 20000"),
        (image(&json!({ "format": null })), format, "Required value"),
        (image(&json!({ "format": "jpeg" })), format, "\"JPEG\", \"PNG\""),
        (image(&json!({ "jpegQuality": 0 })), quality, "must be 1 to 100"),
        (image(&json!({ "jpegQuality": 101 })), quality, "must be 1 to 100"),
        (image(&json!({ "format": "PNG", "jpegQuality": 80 })), "spec.imageGeneration", "is for JPEG alone"),
        (image(&json!({ "widthPixels": 0 })), width, "must be 1 to 3840"),
        (image(&json!({ "widthPixels": 3841 })), width, "must be 1 to 3840"),
        (image(&json!({ "heightPixels": 0 })), height, "must be 1 to 2160"),
        (image(&json!({ "heightPixels": 2161 })), height, "must be 1 to 2160"),
        (with_retention(0, image(&json!({}))), "spec", "imageGeneration needs footage"),
    ]
}

fn notification(topic: &str) -> Value {
    json!({ "notification": { "topicARN": topic } })
}

fn with_retention(hours: i32, mut spec: Value) -> Value {
    spec["retentionHours"] = json!(hours);
    spec
}

fn notifications() -> Vec<Row> {
    let (topic, form) = ("spec.notification.topicARN", "must be the ARN of an SNS topic");
    let fifo = "arn:aws:sns:eu-west-1:123456789012:fragments.fifo";
    let good = "arn:aws:sns:eu-west-1:123456789012:fragments";
    vec![
        (json!({ "notification": {} }), topic, "Required value"),
        (notification(""), topic, form),
        (notification("fragments"), topic, form),
        (notification("arn:aws:sqs:eu-west-1:123456789012:fragments"), topic, form),
        (notification(fifo), topic, "must name a standard topic"),
        (notification(&long(1025)), topic, "may not be more than 1024"),
        (with_retention(0, notification(good)), "spec", "notification needs footage"),
    ]
}

fn policies() -> Vec<Row> {
    let observed = "deletionPolicy cannot be Delete where managementPolicy is Observe";
    vec![
        (json!({ "storageTier": "Cold" }), "spec.storageTier", "\"Hot\", \"Warm\""),
        (json!({ "storageTier": "WARM" }), "spec.storageTier", "\"Hot\", \"Warm\""),
        (json!({ "deletionPolicy": "Orphan" }), "spec.deletionPolicy", "\"Retain\", \"Delete\""),
        (json!({ "managementPolicy": "CreateOnly" }), "spec.managementPolicy", "\"Manage\", \"Observe\""),
        (json!({ "driftPolicy": "Ignore" }), "spec.driftPolicy", "\"Correct\", \"Report\""),
        (
            json!({ "adoptionPolicy": "Always" }),
            "spec.adoptionPolicy",
            "\"Never\", \"IfOwned\", \"IfUnowned\"",
        ),
        (json!({ "managementPolicy": "Observe", "deletionPolicy": "Delete" }), "spec", observed),
        (json!({ "suspend": "yes" }), "spec.suspend", "must be of type boolean"),
    ]
}

/// Changes that are refused.
pub fn changes() -> Vec<Change> {
    let (name, key) = ("streamName cannot be changed", "kmsKeyID cannot be changed");
    let named = |name: &str| json!({ "streamName": name });
    let keyed = |key: &str| json!({ "kmsKeyID": key });
    let (class, class_says) = ("spec.streamClassName", "streamClassName cannot be changed");
    vec![
        (named("one"), named("two"), "spec", name),
        (named("one"), json!({}), "spec", name),
        (json!({}), named("two"), "spec", name),
        (keyed("alias/one"), keyed("alias/two"), "spec", key),
        (keyed("alias/one"), json!({}), "spec", key),
        (json!({}), keyed("alias/two"), "spec", key),
        (json!({}), json!({ "streamClassName": "other" }), class, class_says),
    ]
}

/// Values at the edge that are taken.
pub fn accepted() -> Vec<Value> {
    let mut all = accepted_alarms();
    let key = "1234abcd-12ab-34cd-56ef-1234567890ab";
    all.extend([
        json!({ "retentionHours": 0 }),
        json!({ "retentionHours": 87_600, "retentionDecreasePolicy": "Allow" }),
        json!({ "streamName": long(256) }),
        json!({ "streamName": "A_b.c-9" }),
        json!({ "alarms": { "actionARNs": ["arn:aws-us-gov:sns:us-gov-west-1:123456789012:a_b-C"] } }),
        json!({ "mediaType": "video/h264,audio/aac" }),
        json!({ "mediaType": format!("video/{}", long(122)) }),
        json!({ "deviceName": long(128) }),
        json!({ "kmsKeyID": key }),
        json!({ "kmsKeyID": "mrk-1234abcd12ab34cd56ef1234567890ab" }),
        json!({ "kmsKeyID": format!("arn:aws-cn:kms:cn-north-1:123456789012:key/{key}") }),
        json!({ "kmsKeyID": "arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesisvideo" }),
        json!({ "tags": members(46, &json!("a")) }),
        json!({ "tags": { "Ort + Weg": "Tür 3: links/rechts @ Hof" } }),
        json!({ "tags": { long(128): long(256), "empty": "" } }),
        image(&json!({ "jpegQuality": 100, "widthPixels": 3840, "heightPixels": 2160 })),
        image(
            &json!({ "format": "PNG", "samplingIntervalMillis": 200, "destinationRegion": "us-gov-west-1" }),
        ),
        image(&json!({ "samplingIntervalMillis": 20_000, "destinationURI": "s3://abc" })),
        with_retention(1, notification("arn:aws:sns:eu-west-1:123456789012:fragments")),
        json!({ "managementPolicy": "Observe", "deletionPolicy": "Retain", "suspend": true }),
        json!({ "storageTier": "Warm", "driftPolicy": "Report", "adoptionPolicy": "IfUnowned" }),
    ]);
    all
}
