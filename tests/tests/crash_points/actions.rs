//! What people do: to objects, and to streams behind the operator's back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamfleet_emulator::control::{ControlOptions, StreamRecord};

use crate::api::store::{Key, Patch};
use crate::cloud::perform;
use crate::facts::{class_key, stream_key};
use crate::world::{ACCOUNT, REGION, SECRET, World};

pub const NAMESPACE: &str = "shop";
/// The topic that the class's alarms tell.
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:cameras";

/// States take their time, and the list is behind.
pub fn slow() -> ControlOptions {
    ControlOptions {
        creating_ms: 2_000,
        updating_ms: 1_500,
        deleting_ms: 3_000,
        retention_updates: true,
        list_lag_ms: 5_000,
        seed: 3,
        ..ControlOptions::default()
    }
}

impl World {
    /// With a namespace and a class that grants everything, and an operator that has seen both.
    pub fn furnished(options: ControlOptions) -> Self {
        let world = Self::new(options);
        world.create(
            &("namespaces".to_owned(), String::new(), NAMESPACE.to_owned()),
            json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "labels": { "video": "allowed" } },
            }),
        );
        world.make_class();
        world.to_rest();
        world
    }

    /// `kubectl apply` of the class that grants everything.
    pub fn make_class(&self) {
        self.make_class_as("standard", "streamfleet");
    }

    /// The same under this name, as this role.
    pub fn make_class_as(&self, name: &str, role: &str) {
        self.create(&class_key(name), json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "StreamClass", "metadata": {},
            "spec": {
                "aws": {
                    "region": REGION, "accountID": ACCOUNT, "externalID": SECRET,
                    "roleARN": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
                },
                "allowedNamespaces": { "from": "Selector", "selector": { "matchLabels": { "video": "allowed" } } },
                "limits": {
                    "streamNames": "Any", "deletionPolicies": ["Retain", "Delete"],
                    "adoptionPolicies": ["Never", "IfOwned", "IfUnowned"],
                },
                "stream": { "namePrefix": "t-", "retentionHours": 24, "tags": { "cost-centre": "4711" } },
                "alarms": { "perStream": ["NoIngest"], "actionARNs": [TOPIC] },
            },
        }));
    }

    /// `kubectl patch` of the class's spec.
    pub fn edit_class(&self, spec: &Value) {
        self.merge(&class_key("standard"), json!({ "spec": spec }));
    }

    /// `kubectl delete --wait=false` of the class.
    pub fn delete_class(&self) {
        self.remove(&class_key("standard"));
    }

    /// Whether the class is there.
    pub fn has_class(&self) -> bool {
        self.lock().store.get(&class_key("standard")).is_some()
    }

    fn create(&self, key: &Key, object: Value) {
        let mut inner = self.lock();
        let now_ms = inner.now_ms();
        inner.store.create(key, object, now_ms).unwrap();
        drop(inner);
        self.wake();
    }

    /// `kubectl apply` of a new `VideoStream`.
    pub fn apply(&self, name: &str, spec: &Value) {
        self.apply_at(name, None, spec);
    }

    /// The same, of a stream at a site.
    pub fn apply_at(&self, name: &str, site: Option<&str>, spec: &Value) {
        let mut spec = spec.clone();
        spec["streamClassName"] = "standard".into();
        let metadata = site.map_or_else(|| json!({}), |site| json!({ "labels": { "site": site } }));
        self.create(
            &stream_key(NAMESPACE, name),
            json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream", "metadata": metadata, "spec": spec,
            }),
        );
    }

    /// `kubectl patch` of its spec.
    pub fn edit(&self, name: &str, spec: &Value) {
        self.patch(name, json!({ "spec": spec }));
    }

    pub fn patch(&self, name: &str, body: Value) {
        self.merge(&stream_key(NAMESPACE, name), body);
    }

    fn merge(&self, key: &Key, body: Value) {
        let mut inner = self.lock();
        let now_ms = inner.now_ms();
        let patch = Patch::Merge(body);
        inner.store.patch(key, false, ("user", &patch), now_ms).unwrap();
        drop(inner);
        self.wake();
    }

    /// `kubectl delete --wait=false`.
    pub fn delete(&self, name: &str) {
        self.remove(&stream_key(NAMESPACE, name));
    }

    fn remove(&self, key: &Key) {
        let mut inner = self.lock();
        let now_ms = inner.now_ms();
        let object = inner.store.get(key).cloned().unwrap_or_default();
        if object["spec"]["managementPolicy"] == "Observe" {
            inner.facts.observers.extend(object["metadata"]["uid"].as_str().map(ToOwned::to_owned));
        }
        inner.store.delete(key, &Value::Null, now_ms).unwrap();
        drop(inner);
        self.wake();
    }

    /// Somebody else calls AWS.
    pub fn foreign(&self, operation: &'static str, request: &Value) -> Value {
        let mut result = perform(&mut self.lock(), operation, request);
        // A change may be under way.
        for _ in 0..10 {
            if !result.as_ref().is_err_and(|(code, _)| code == "ResourceInUseException") {
                break;
            }
            self.pass_time(1_000);
            result = perform(&mut self.lock(), operation, request);
        }
        result.unwrap()
    }

    /// Somebody else makes a stream, with these tags.
    pub fn foreign_stream(&self, name: &str, retention: i64, tags: &[(&str, &str)]) {
        let tags: BTreeMap<&str, &str> = tags.iter().copied().collect();
        let mut request = json!({ "StreamName": name, "DataRetentionInHours": retention });
        if !tags.is_empty() {
            request["Tags"] = json!(tags);
        }
        self.foreign("CreateStream", &request);
        self.pass_time(10_000);
    }

    /// Somebody else tags a stream.
    pub fn foreign_tags(&self, stream: &str, tags: &[(&str, &str)]) {
        let tags: BTreeMap<String, String> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.foreign("TagStream", &json!({ "StreamName": stream, "Tags": tags }));
        self.lock().facts.foreign_tags.entry(stream.to_owned()).or_default().extend(tags);
    }

    /// The stream of this name, as it is.
    pub fn stream(&self, name: &str) -> Option<StreamRecord> {
        let inner = self.lock();
        crate::facts::streams(&inner)
            .into_iter()
            .find(|stream| stream.name == name)
            .map(|found| (*found).clone())
    }

    /// The UID of an object.
    pub fn uid(&self, name: &str) -> String {
        let inner = self.lock();
        let object = inner.store.get(&stream_key(NAMESPACE, name)).unwrap();
        object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the object is there.
    pub fn has_object(&self, name: &str) -> bool {
        self.lock().store.get(&stream_key(NAMESPACE, name)).is_some()
    }

    /// Whether it is deleted, or to be.
    pub fn is_leaving(&self, name: &str) -> bool {
        let inner = self.lock();
        let object = inner.store.get(&stream_key(NAMESPACE, name));
        object.is_none_or(|object| object["metadata"]["deletionTimestamp"].is_string())
    }

    pub fn pass_time(&self, ms: u64) {
        self.lock().pass_time(ms);
    }
}
