//! The table of values that the server refuses, with what it says, and of values at the edge that it takes.

mod cameras;
mod classes;
mod streams;

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use streamfleet_tests::e2e::manifests::merge;

/// The kinds that have rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    VideoStream,
    StreamClass,
    Camera,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::VideoStream, Self::StreamClass, Self::Camera];

    pub const fn name(self) -> &'static str {
        match self {
            Self::VideoStream => "VideoStream",
            Self::StreamClass => "StreamClass",
            Self::Camera => "Camera",
        }
    }

    /// A spec that the server takes.
    fn good(self) -> Value {
        match self {
            Self::VideoStream => json!({ "streamClassName": "standard" }),
            Self::StreamClass => json!({ "aws": { "region": "eu-west-1", "accountID": "123456789012" } }),
            Self::Camera => json!({ "source": { "testPattern": {} }, "streamRef": { "name": "yard" } }),
        }
    }

    /// The good spec with `more` merged into it; what is null there is left out.
    fn spec(self, more: &Value) -> Value {
        let mut spec = self.good();
        merge(&mut spec, more);
        without_nulls(&mut spec);
        spec
    }
}

/// A spec that is refused.
#[derive(Debug, Clone)]
pub struct Refused {
    pub kind: Kind,
    /// The spec of the object that is there, where the change from it is what is refused.
    pub before: Option<Value>,
    pub spec: Value,
    /// The field that the refusal is about.
    pub field: String,
    /// What it says.
    pub says: String,
}

/// A row of the tables: what is merged into a good spec, the field that is refused, and what is said about it.
type Row = (Value, &'static str, &'static str);
/// The same for a change: what is merged before and after.
type Change = (Value, Value, &'static str, &'static str);

/// Everything that is refused.
pub fn refused() -> Vec<Refused> {
    let mut all = Vec::new();
    let stream_rows = streams::rows();
    let stream_changes = streams::changes();
    all.extend(stream_rows.iter().map(|row| in_template(&of_row(Kind::VideoStream, row))));
    all.extend(stream_changes.iter().map(|change| in_template(&of_change(Kind::VideoStream, change))));
    for (kind, rows, changes) in [
        (Kind::VideoStream, stream_rows, stream_changes),
        (Kind::StreamClass, classes::rows(), classes::changes()),
        (Kind::Camera, cameras::rows(), cameras::changes()),
    ] {
        all.extend(rows.iter().map(|row| of_row(kind, row)));
        all.extend(changes.iter().map(|change| of_change(kind, change)));
        let says = "Required value".to_owned();
        all.push(Refused { kind, before: None, spec: Value::Null, field: "spec".to_owned(), says });
    }
    all
}

/// Specs at the edges of the rules, which are taken.
pub fn accepted() -> Vec<(Kind, Value)> {
    let of = |kind: Kind, rows: Vec<Value>| rows.into_iter().map(move |more| (kind, kind.spec(&more)));
    let mut all: Vec<_> = of(Kind::VideoStream, streams::accepted()).collect();
    all.extend(of(Kind::StreamClass, classes::accepted()));
    all.extend(of(Kind::Camera, cameras::accepted()));
    all.extend(Kind::ALL.map(|kind| (kind, kind.good())));
    all
}

/// The specs in the YAML files of these folders of the repository: samples of every field, and the examples.
pub fn written(folders: &[&str]) -> Result<Vec<(Kind, Value)>> {
    let mut all = Vec::new();
    for folder in folders {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{} is missing", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let object: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)
                .with_context(|| format!("{} is no object", path.display()))?;
            // Secrets and namespaces are Kubernetes's own.
            let kind = Kind::ALL.into_iter().find(|kind| object["kind"] == kind.name());
            all.extend(kind.map(|kind| (kind, object["spec"].clone())));
        }
    }
    Ok(all)
}

fn of_row(kind: Kind, (more, field, says): &Row) -> Refused {
    let (field, says) = ((*field).to_owned(), (*says).to_owned());
    Refused { kind, before: None, spec: kind.spec(more), field, says }
}

fn of_change(kind: Kind, (before, after, field, says): &Change) -> Refused {
    let row = (after.clone(), *field, *says);
    Refused { before: Some(kind.spec(before)), ..of_row(kind, &row) }
}

/// The same in the template of a Camera, which has all fields of a stream.
fn in_template(stream: &Refused) -> Refused {
    let template =
        |spec: &Value| json!({ "source": { "testPattern": {} }, "streamTemplate": { "spec": spec } });
    Refused {
        kind: Kind::Camera,
        before: stream.before.as_ref().map(template),
        spec: template(&stream.spec),
        field: stream.field.replacen("spec", "spec.streamTemplate.spec", 1),
        says: stream.says.clone(),
    }
}

fn without_nulls(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.retain(|_, member| !member.is_null());
    members.values_mut().for_each(without_nulls);
}

/// A text of this many letters.
fn long(length: usize) -> String {
    "x".repeat(length)
}

/// As many members as that, each with this value.
fn members(count: usize, value: &Value) -> Value {
    (0..count)
        .map(|number| (format!("key-{number}"), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The rows about alarms, which streams and classes have alike.
fn alarm_rows() -> Vec<Row> {
    let alarms = |alarms: Value| json!({ "alarms": alarms });
    let no_ingest = |alarm: Value| json!({ "alarms": { "noIngest": alarm } });
    let topic = "arn:aws:sns:eu-west-1:123456789012:cameras";
    let topics = |count: usize| -> Vec<_> { (0..count).map(|number| format!("{topic}-{number}")).collect() };
    let (kinds, actions) = ("spec.alarms.perStream", "spec.alarms.actionARNs");
    let (form, twice) = ("must hold ARNs of SNS topics, for example arn:aws:sns:", "write each once");
    let (period, periods) = ("spec.alarms.noIngest.periodSeconds", "spec.alarms.noIngest.evaluationPeriods");
    let (points, whole) = ("spec.alarms.noIngest.datapointsToAlarm", "spec.alarms.noIngest");
    let period_says = "must be 10, 20, 30 or a multiple of 60 up to 86400";
    let back_says = "must be at most 86400 (a day), or 604800 (a week)";
    vec![
        (
            alarms(json!({ "perStream": ["Silence"] })),
            "spec.alarms.perStream[0]",
            "supported values: \"NoIngest\"",
        ),
        (
            alarms(json!({ "perStream": ["noIngest"] })),
            "spec.alarms.perStream[0]",
            "supported values: \"NoIngest\"",
        ),
        (alarms(json!({ "perStream": ["NoIngest", "ErrorAcks", "NoIngest"] })), kinds, twice),
        (alarms(json!({ "perStream": vec!["NoIngest"; 19] })), kinds, "must have at most 18 items"),
        (alarms(json!({ "perStream": "NoIngest" })), kinds, "must be of type array"),
        (alarms(json!({ "actionARNs": ["ops@example.com"] })), actions, form),
        (alarms(json!({ "actionARNs": ["arn:aws:sqs:eu-west-1:123456789012:cameras"] })), actions, form),
        (alarms(json!({ "actionARNs": ["arn:aws:sns:eu-west-1:12345:cameras"] })), actions, form),
        (alarms(json!({ "actionARNs": [topic, format!("{topic}:subscription")] })), actions, form),
        (alarms(json!({ "actionARNs": [topic, topic] })), actions, twice),
        (alarms(json!({ "actionARNs": topics(6) })), actions, "at most 5 topics"),
        (alarms(json!({ "actionARNs": topics(51) })), actions, "must have at most 50 items"),
        (
            alarms(json!({ "actionARNs": [long(1025)] })),
            "spec.alarms.actionARNs[0]",
            "may not be more than 1024",
        ),
        (no_ingest(json!({ "periodSeconds": 0 })), period, period_says),
        (no_ingest(json!({ "periodSeconds": 45 })), period, period_says),
        (no_ingest(json!({ "periodSeconds": 90 })), period, period_says),
        (no_ingest(json!({ "periodSeconds": -60 })), period, period_says),
        (no_ingest(json!({ "periodSeconds": 86_460, "evaluationPeriods": 3 })), period, period_says),
        (no_ingest(json!({ "periodSeconds": "1m" })), period, "must be of type integer"),
        (no_ingest(json!({ "evaluationPeriods": 0, "datapointsToAlarm": 1 })), periods, "must be 1 to 8640"),
        (no_ingest(json!({ "periodSeconds": 10, "evaluationPeriods": 8641 })), periods, "must be 1 to 8640"),
        (no_ingest(json!({ "datapointsToAlarm": 0 })), points, "must be at least 1"),
        (no_ingest(json!({ "datapointsToAlarm": 6 })), whole, "the alarm would never go off"),
        (no_ingest(json!({ "evaluationPeriods": 2 })), whole, "Lower the one or raise the other"),
        (no_ingest(json!({ "periodSeconds": 60, "evaluationPeriods": 1441 })), whole, back_says),
        (no_ingest(json!({ "periodSeconds": 3540, "evaluationPeriods": 25 })), whole, back_says),
        (no_ingest(json!({ "periodSeconds": 3600, "evaluationPeriods": 169 })), whole, back_says),
        (
            no_ingest(json!({ "missingData": "Ignore" })),
            "spec.alarms.noIngest.missingData",
            "\"NotBreaching\"",
        ),
    ]
}

/// Alarms at the edge.
fn accepted_alarms() -> Vec<Value> {
    let no_ingest = |alarm: Value| json!({ "alarms": { "noIngest": alarm } });
    vec![
        json!({ "alarms": { "perStream": [] } }),
        json!({ "alarms": { "perStream": ["NoIngest", "ErrorAcks", "FragmentSuccess", "ConnectionChurn",
            "SlowUplink", "PersistLatency", "Bandwidth", "ConsumerLag", "PlaybackQuota"] } }),
        json!({ "alarms": { "actionARNs": ["arn:aws:sns:eu-west-1:123456789012:a_b-C"] } }),
        no_ingest(json!({})),
        no_ingest(json!({ "periodSeconds": 10, "evaluationPeriods": 8640 })),
        no_ingest(json!({ "periodSeconds": 3600, "evaluationPeriods": 168, "datapointsToAlarm": 168 })),
        no_ingest(json!({ "periodSeconds": 86_400, "evaluationPeriods": 7 })),
    ]
}

/// The rows about tags of streams and classes, below this field.
fn tag_rows(within: fn(Value) -> Value, field: &'static str, entry: &'static str) -> Vec<Row> {
    let one = |key: &str, value: &str| {
        let mut tags = serde_json::Map::new();
        tags.insert(key.to_owned(), json!(value));
        within(json!({ "tags": tags }))
    };
    let (reserved, keys) = ("may not hold keys that begin with streamfleet.io/ or aws:", "keys of 1 to 128");
    vec![
        (one("streamfleet.io/name", "door"), field, reserved),
        (one("aws:created", "me"), field, reserved),
        (one("cost!centre", "4711"), field, keys),
        (one("", "4711"), field, keys),
        (one(&long(129), "4711"), field, keys),
        (one("site", "100 %"), field, "values of at most 256"),
        (one("site", &long(257)), field, "values of at most 256"),
        (one("site", &long(1025)), entry, "may not be more than 1024"),
        (within(json!({ "tags": { "site": 7 } })), entry, "must be of type string"),
        (within(json!({ "tags": members(47, &json!("a")) })), field, "may hold at most 46"),
        (within(json!({ "tags": members(201, &json!("a")) })), field, "must have at most 200 items"),
    ]
}

/// The rows about KMS keys, below this field.
fn key_rows(within: fn(Value) -> Value, field: &'static str) -> Vec<Row> {
    let key = |key: &str| within(json!({ "kmsKeyID": key }));
    let form = "must be the ID or the ARN of a KMS key, or an alias, for example alias/cameras";
    vec![
        (key(""), field, form),
        (key("cameras"), field, form),
        (key("1234abcd-12ab-34cd-56ef"), field, form),
        (key("arn:aws:kms:eu-west-1:123456789012:cameras"), field, form),
        (key("arn:aws:iam::123456789012:role/x"), field, form),
        (key(&long(2049)), field, "may not be more than 2048"),
    ]
}
