//! Random specs of a `VideoStream`, out of its own schema: each property that the definition has is drawn, and one that is new there and
//! unknown here fails the test.

use fastrand::Rng;
use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};
use streamfleet_crds::VideoStream;

/// What cannot be changed once an object is made.
const FIXED: [&str; 3] = ["streamClassName", "streamName", "kmsKeyID"];
/// How often out of ten a field is there that may be left out.
const THERE: u8 = 6;

/// The schema of the spec.
pub struct Schema {
    spec: Value,
}

impl Schema {
    pub fn new() -> Self {
        let definition = serde_json::to_value(VideoStream::crd()).unwrap();
        Self {
            spec: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
                .clone(),
        }
    }

    /// A valid spec. Of an object that is there already, `before` is what it asks for now.
    pub fn draw(&self, rng: &mut Rng, before: Option<&Value>) -> Value {
        let mut spec = draw(&self.spec, "", rng);
        for name in FIXED {
            let kept = match before {
                Some(before) => before[name].clone(),
                // Names are drawn apart, so that no two objects have one.
                None if name == "kmsKeyID" => spec[name].clone(),
                None => Value::Null,
            };
            put(&mut spec, name, kept);
        }
        spec["streamClassName"] = "standard".into();
        within_rules(&mut spec);
        // Most objects are worked on as they are by default: what they ask for is to come true.
        if rng.u8(0..10) < 6 {
            for name in ["suspend", "managementPolicy", "driftPolicy"] {
                put(&mut spec, name, Value::Null);
            }
        }
        spec
    }
}

fn put(spec: &mut Value, name: &str, value: Value) {
    let members = spec.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

fn draw(schema: &Value, path: &str, rng: &mut Rng) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[rng.usize(0..words.len())].clone();
    }
    if let Some(value) = sample(path, rng) {
        return value;
    }
    if let Some(properties) = schema["properties"].as_object() {
        let required = crate::facts::texts(&schema["required"]);
        let mut members = Map::new();
        for (name, inner) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            // Drawn in any case, so that each property is known.
            let value = draw(inner, &path, rng);
            if required.contains(name) || rng.u8(0..10) < THERE {
                members.insert(name.clone(), value);
            }
        }
        return Value::Object(members);
    }
    if let Some(words) = schema["items"]["enum"].as_array() {
        let mut words = words.clone();
        rng.shuffle(&mut words);
        words.truncate(rng.usize(0..4));
        return Value::Array(words);
    }
    assert_eq!(schema["type"], "boolean", "there is no sample of spec.{path}: add one");
    json!(rng.u8(0..10) == 0)
}

/// Values of what the schema alone does not say enough about.
fn sample(path: &str, rng: &mut Rng) -> Option<Value> {
    fn of<T: serde::Serialize>(rng: &mut Rng, values: &[T]) -> Value {
        json!(values[rng.usize(0..values.len())])
    }
    Some(match path {
        "streamClassName" => json!("standard"),
        "streamName" => json!("drawn"),
        "retentionHours" => of(rng, &[0, 1, 24, 48, 168, 720, 87_600]),
        "mediaType" => of(rng, &["video/h264", "video/h265", "video/h264,audio/aac"]),
        "deviceName" => of(rng, &["door-1", "door-2", "a"]),
        "kmsKeyID" => of(rng, &["alias/cameras", "1234abcd-12ab-34cd-56ef-1234567890ab"]),
        "tags" => {
            let keys = ["site", "team", "floor", "Kostenstelle 7", "a.b/c:d"];
            let count = rng.usize(0..=keys.len());
            let values = ["", "x", "berlin", "@=+"];
            let tag = |at: usize| (keys[at].to_owned(), json!(values[(at + count) % values.len()]));
            Value::Object((0..count).map(tag).collect())
        }
        "imageGeneration.destinationURI" => of(rng, &["s3://example-pictures", "s3://example-pictures/a/b"]),
        "imageGeneration.destinationRegion" => json!(crate::world::REGION),
        "imageGeneration.samplingIntervalMillis" => of(rng, &[200, 3_000, 20_000]),
        "imageGeneration.jpegQuality" => of(rng, &[1, 80, 100]),
        "imageGeneration.widthPixels" => of(rng, &[1, 1_920, 3_840]),
        "imageGeneration.heightPixels" => of(rng, &[1, 1_080, 2_160]),
        "notification.topicARN" => {
            of(rng, &["arn:aws:sns:eu-west-1:123456789012:one", "arn:aws:sns:eu-west-1:123456789012:two"])
        }
        "alarms.actionARNs" => {
            let topics = ["arn:aws:sns:eu-west-1:123456789012:a", "arn:aws:sns:eu-west-1:123456789012:b"];
            json!(topics[..rng.usize(0..=2)])
        }
        "alarms.noIngest.periodSeconds" => of(rng, &[10, 30, 60, 3_600]),
        "alarms.noIngest.evaluationPeriods" => of(rng, &[3, 5, 24]),
        "alarms.noIngest.datapointsToAlarm" => of(rng, &[1, 3]),
        _ => return None,
    })
}

/// What the definition's rules ask for beyond the schema.
fn within_rules(spec: &mut Value) {
    if spec["retentionHours"] == 0 {
        put(spec, "imageGeneration", Value::Null);
        put(spec, "notification", Value::Null);
    }
    if spec["imageGeneration"]["format"] == "PNG" {
        put(&mut spec["imageGeneration"], "jpegQuality", Value::Null);
    }
    if spec["managementPolicy"] == "Observe" && spec["deletionPolicy"] == "Delete" {
        put(spec, "deletionPolicy", Value::Null);
    }
}
