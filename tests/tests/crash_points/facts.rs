//! What a `VideoStream` asks for, read from its JSON without the operator's code; and what others did to streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use streamfleet_crds::ownership_tags;
use streamfleet_emulator::control::{Status, StreamRecord};

use crate::api::store::Key;
use crate::world::{INSTALLATION, Inner};

/// The alarm of a site of the class.
pub const SITE: &str = "streamfleet/north/~class/standard/site/4";
/// What the class's alarms over all streams begin with.
pub const FLEET: &str = "streamfleet/north/~class/standard/fleet/";

/// What others did.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The tags that others put on a stream, by its name.
    pub foreign_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The fields of a stream that others changed, by its name.
    pub touched: BTreeMap<String, BTreeSet<String>>,
    /// The streams, by name, that an earlier object of this name left behind: what it set and the next does not ask for stays.
    pub left: BTreeSet<String>,
    /// The UIDs of objects that only looked at their stream when they were deleted.
    pub observers: BTreeSet<String>,
}

impl Facts {
    /// The stream goes, with all that was done to it.
    pub fn forget(&mut self, stream: &str) {
        self.foreign_tags.remove(stream);
        self.touched.remove(stream);
        self.left.remove(stream);
    }
}

pub fn stream_key(namespace: &str, name: &str) -> Key {
    ("videostreams".to_owned(), namespace.to_owned(), name.to_owned())
}

pub fn class_key(name: &str) -> Key {
    ("streamclasses".to_owned(), String::new(), name.to_owned())
}

/// What a class asks for of its own alarms.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassWish {
    pub key: Key,
    pub name: String,
    /// The kinds of its alarms over all streams.
    pub fleet: Vec<String>,
    pub site_label: Option<String>,
    pub topics: Vec<String>,
    pub is_leaving: bool,
}

impl ClassWish {
    pub fn all(inner: &Inner) -> Vec<Self> {
        let all = inner.store.all("streamclasses");
        let of = |(key, object): (&Key, &Arc<Value>)| {
            let alarms = &object["spec"]["alarms"];
            Self {
                key: key.clone(),
                name: key.2.clone(),
                fleet: texts(&alarms["fleet"]),
                site_label: alarms["siteLabel"].as_str().map(ToOwned::to_owned),
                topics: texts(&alarms["actionARNs"]),
                is_leaving: object["metadata"]["deletionTimestamp"].is_string(),
            }
        };
        all.map(of).collect()
    }

    /// Of which site a stream is.
    pub fn site<'a>(&self, wish: &'a Wish) -> Option<&'a str> {
        let site = wish.labels.get(self.site_label.as_ref()?)?;
        (!site.is_empty()).then_some(site)
    }
}

/// What an object asks for, with its class's defaults.
#[allow(clippy::struct_excessive_bools, reason = "a spec has many switches")]
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub key: Key,
    pub uid: String,
    pub class: String,
    pub labels: BTreeMap<String, String>,
    pub stream: String,
    pub retention: i64,
    pub may_decrease: bool,
    pub tier: String,
    pub media_type: Option<String>,
    pub device_name: Option<String>,
    pub images: Value,
    pub notification: Value,
    pub tags: BTreeMap<String, String>,
    pub is_suspended: bool,
    pub is_observed: bool,
    pub is_reported: bool,
    pub adoption: String,
    pub deletes: bool,
    pub alarms: Vec<String>,
    pub topics: Vec<String>,
    pub is_leaving: bool,
    pub has_finalizer: bool,
    pub recorded: Option<String>,
}

impl Wish {
    /// Reads an object, and its class as it is now.
    pub fn of(inner: &Inner, object: &Value) -> Option<Self> {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let class_name = spec["streamClassName"].as_str()?;
        let class = inner.store.get(&class_key(class_name)).cloned().unwrap_or_default();
        let defaults = &class["spec"]["stream"];
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let (namespace, name) = (text(&metadata["namespace"])?, text(&metadata["name"])?);
        let prefix = defaults["namePrefix"].as_str().unwrap_or_default();
        let or = |name: &str, default: &str| {
            let own = text(&spec[name]).or_else(|| text(&defaults[name]));
            own.unwrap_or_else(|| default.to_owned())
        };
        let mut tags = map(&defaults["tags"]);
        tags.extend(map(&spec["tags"]));
        let alarm = |name: &str| {
            let (own, of_class) = (&spec["alarms"][name], &class["spec"]["alarms"][name]);
            if own.is_array() { own.clone() } else { of_class.clone() }
        };
        let kinds = alarm("perStream");
        Some(Self {
            uid: text(&metadata["uid"])?,
            class: class_name.to_owned(),
            labels: map(&metadata["labels"]),
            stream: text(&spec["streamName"]).unwrap_or_else(|| format!("{prefix}{namespace}.{name}")),
            key: stream_key(&namespace, &name),
            retention: spec["retentionHours"]
                .as_i64()
                .or_else(|| defaults["retentionHours"].as_i64())
                .unwrap_or(24),
            may_decrease: spec["retentionDecreasePolicy"] == "Allow",
            tier: or("storageTier", "Hot"),
            media_type: text(&spec["mediaType"]),
            device_name: text(&spec["deviceName"]),
            images: spec["imageGeneration"].clone(),
            notification: spec["notification"].clone(),
            tags,
            is_suspended: spec["suspend"] == true,
            is_observed: spec["managementPolicy"] == "Observe",
            is_reported: or("driftPolicy", "Correct") == "Report",
            adoption: or("adoptionPolicy", "IfOwned"),
            deletes: or("deletionPolicy", "Retain") == "Delete",
            alarms: if kinds.is_array() { texts(&kinds) } else { vec!["NoIngest".to_owned()] },
            topics: texts(&alarm("actionARNs")),
            is_leaving: metadata["deletionTimestamp"].is_string(),
            has_finalizer: texts(&metadata["finalizers"])
                .iter()
                .any(|name| name == streamfleet_crds::FINALIZER),
            recorded: text(&object["status"]["streamARN"]),
        })
    }

    /// Those of every `VideoStream`.
    pub fn all(inner: &Inner) -> Vec<Self> {
        inner.store.all("videostreams").filter_map(|(_, object)| Self::of(inner, object)).collect()
    }

    /// The object whose stream has this name.
    pub fn of_stream(inner: &Inner, stream: &str) -> Option<Self> {
        Self::all(inner).into_iter().find(|wish| wish.stream == stream)
    }

    /// The tags that decide whose a stream is.
    pub fn owner(&self) -> [(&'static str, &str); 3] {
        [
            (ownership_tags::INSTALLATION, INSTALLATION),
            (ownership_tags::NAMESPACE, &self.key.1),
            (ownership_tags::NAME, &self.key.2),
        ]
    }

    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        self.owner().iter().all(|(key, value)| tags.get(*key).is_some_and(|found| found == value))
    }

    /// Whether the tags name somebody else.
    pub fn is_of_other(&self, tags: &BTreeMap<String, String>) -> bool {
        self.owner().iter().any(|(key, value)| tags.get(*key).is_some_and(|found| found != value))
    }

    /// How a stream differs from this, apart from what is held back; each begins with the name of the [`field`].
    pub fn differences(&self, stream: &StreamRecord) -> Vec<String> {
        let mut all = Vec::new();
        let mut compare = |name: &str, wanted: Value, found: Value| {
            if wanted != found {
                all.push(format!("{name} is {found}, not {wanted}"));
            }
        };
        compare("retentionHours", json!(self.retention), json!(stream.retention_hours));
        compare("storageTier", json!(self.tier.to_uppercase()), json!(stream.tier));
        // What is no longer asked for cannot be taken away.
        if self.media_type.is_some() {
            compare("mediaType", json!(self.media_type), json!(stream.media_type));
        }
        if self.device_name.is_some() {
            compare("deviceName", json!(self.device_name), json!(stream.device_name));
        }
        compare("imageGeneration", images(&self.images), images_found(stream.image_generation.as_ref()));
        let found = stream.notification.as_ref().map(|found| found["DestinationConfig"]["Uri"].clone());
        compare("notification", self.notification["topicARN"].clone(), found.unwrap_or_default());
        for (key, value) in self.owner().into_iter().chain(pairs(&self.tags)) {
            compare(&format!("tags[{key}]"), json!(value), json!(stream.tags.get(key)));
        }
        all
    }
}

fn pairs(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

fn images(wish: &Value) -> Value {
    if wish.is_null() {
        return Value::Null;
    }
    let quality = if wish["format"] == "JPEG" {
        json!(wish["jpegQuality"].as_i64().unwrap_or(80))
    } else {
        json!(null)
    };
    json!([
        wish["destinationURI"],
        wish["samplingIntervalMillis"],
        wish["format"],
        quality,
        wish["widthPixels"],
        wish["heightPixels"],
        wish["timestamp"],
    ])
}

fn images_found(found: Option<&Value>) -> Value {
    let Some(found) = found.filter(|found| found["Status"] == "ENABLED") else { return Value::Null };
    let said = found["FormatConfig"]["JPEGQuality"].as_str().and_then(|quality| quality.parse::<i64>().ok());
    let quality = if found["Format"] == "JPEG" { json!(said.unwrap_or(80)) } else { json!(null) };
    let clock = if found["ImageSelectorType"] == "SERVER_TIMESTAMP" { "Server" } else { "Producer" };
    json!([
        found["DestinationConfig"]["Uri"],
        found["SamplingInterval"],
        found["Format"],
        quality,
        found["WidthPixels"],
        found["HeightPixels"],
        clock,
    ])
}

pub fn map(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

pub fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// The field that a difference is about.
pub fn field(difference: &str) -> &str {
    difference.split(" is ").next().unwrap_or_default()
}

/// Whether a difference is of an earlier object's making.
pub fn is_left(inner: &Inner, wish: &Wish, difference: &str) -> bool {
    let is_unasked = difference.starts_with("imageGeneration") && wish.images.is_null()
        || difference.starts_with("notification") && wish.notification.is_null();
    is_unasked && inner.facts.left.contains(&wish.stream)
}

/// The streams that are not on their way out.
pub fn streams(inner: &Inner) -> Vec<Arc<StreamRecord>> {
    let now_ms = inner.now_ms();
    let is_there =
        |stream: &&Arc<StreamRecord>| stream.status(now_ms).is_some_and(|status| status != Status::Deleting);
    inner.control.streams().filter(is_there).cloned().collect()
}

/// Whether an alarm was made for an object that only looked at the stream, and the stream names another of the same name, which may live
/// in another cluster: the one that goes cannot tell, and leaves the alarm.
pub fn is_left_by_observer(inner: &mut Inner, alarm: &Value, stream: &str) -> bool {
    let owner = streams(inner).into_iter().find(|record| record.name == stream);
    let owner = owner.and_then(|record| record.tags.get(ownership_tags::UID).cloned());
    let (scope, now_ms) = (crate::world::World::scope(), inner.now_ms());
    let request = json!({ "ResourceARN": alarm["AlarmArn"] });
    let answer = inner.cloudwatch.call(&scope, "ListTagsForResource", &request, now_ms).unwrap_or_default();
    let tags = answer["Tags"].as_array().into_iter().flatten();
    let made_for =
        tags.clone().find(|tag| tag["Key"] == ownership_tags::UID).and_then(|tag| tag["Value"].as_str());
    let made_for = made_for.filter(|made_for| inner.facts.observers.contains(*made_for));
    owner.zip(made_for).is_some_and(|(owner, made_for)| owner != made_for)
}

/// All alarms: those of streams, those of classes, and composite ones.
pub fn alarms(inner: &mut Inner) -> Vec<Value> {
    let (scope, now_ms) = (crate::world::World::scope(), inner.now_ms());
    let mut request = json!({ "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 100 });
    let mut all = Vec::new();
    loop {
        let page = inner.cloudwatch.call(&scope, "DescribeAlarms", &request, now_ms).unwrap_or_default();
        for part in ["MetricAlarms", "CompositeAlarms"] {
            all.extend(page[part].as_array().into_iter().flatten().cloned());
        }
        match page["NextToken"].as_str() {
            Some(token) => request["NextToken"] = token.into(),
            None => return all,
        }
    }
}
