//! What a `VideoStream` asks for, and whether its class grants it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt as _};
use streamfleet_crds::types::{default_stream_name, is_stream_name};
use streamfleet_crds::{
    DeletionPolicy, From, RetentionDecreasePolicy, StreamClass, StreamNames, VideoStream, VideoStreamReason,
};

use crate::aws::{Owner, Place};
use crate::stream_class::verified_place;

/// What a `VideoStream` asks for, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Where the stream is.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// How long it keeps video.
    pub retention_hours: i32,
    /// Whether that may be shortened.
    pub decrease: RetentionDecreasePolicy,
    /// The tags of spec and class, without those of ownership.
    pub tags: BTreeMap<String, String>,
    /// Whose the stream is.
    pub owner: Owner,
}

/// Why what it asks for is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As a name.
    pub reason: VideoStreamReason,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn new(reason: VideoStreamReason, message: String) -> Self {
        Self { reason, message }
    }
}

/// Checks a `VideoStream` against its class.
pub fn validate(
    stream: &VideoStream,
    class: Option<&StreamClass>,
    namespace_labels: &BTreeMap<String, String>,
    installation: &str,
) -> Result<Desired, Refusal> {
    let class_name = &stream.spec.stream_class_name;
    let namespace = stream.namespace().unwrap_or_default();
    let class = class.ok_or_else(|| {
        let message =
            format!("There is no StreamClass {class_name}: make it, or name another in spec.streamClassName");
        Refusal::new(VideoStreamReason::StreamClassNotFound, message)
    })?;
    admit_namespace(class, &namespace, namespace_labels)?;
    let name = admit_name(stream, class, &namespace)?;
    admit_deletion_policy(stream, class)?;
    let place = verified_place(class).ok_or_else(|| {
        let message = format!("StreamClass {class_name} is not Ready: its conditions say why");
        Refusal::new(VideoStreamReason::StreamClassNotReady, message)
    })?;
    let mut tags = class.spec.stream.tags.clone();
    tags.extend(stream.spec.tags.clone());
    Ok(Desired {
        place,
        name,
        retention_hours: stream.spec.retention_hours.unwrap_or(class.spec.stream.retention_hours),
        decrease: stream.spec.retention_decrease_policy,
        tags,
        owner: owner(stream, installation),
    })
}

/// Whose the stream of this object is.
pub fn owner(stream: &VideoStream, installation: &str) -> Owner {
    Owner {
        installation: installation.to_owned(),
        namespace: stream.namespace().unwrap_or_default(),
        name: stream.name_any(),
        uid: stream.uid().unwrap_or_default(),
    }
}

/// The name of the stream of this object.
pub fn stream_name(stream: &VideoStream, class: &StreamClass) -> String {
    let generated = || {
        let namespace = stream.namespace().unwrap_or_default();
        default_stream_name(&class.spec.stream.name_prefix, &namespace, &stream.name_any())
    };
    stream.spec.stream_name.clone().unwrap_or_else(generated)
}

/// What becomes of the stream when the object goes: `Delete` only where the class allows it now.
pub fn deletion_policy(stream: &VideoStream, class: Option<&StreamClass>) -> DeletionPolicy {
    let class_default = class.map_or(DeletionPolicy::Retain, |class| class.spec.stream.deletion_policy);
    let Some(asked) = stream.spec.deletion_policy else { return class_default };
    let is_allowed = class
        .is_none_or(|class| class.spec.limits.deletion_policies.contains(&asked) || asked == class_default);
    if is_allowed { asked } else { DeletionPolicy::Retain }
}

fn admit_namespace(
    class: &StreamClass,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let allowed = &class.spec.allowed_namespaces;
    let is_allowed = match allowed.from {
        From::None => false,
        From::All => true,
        From::Selector => allowed.selector.as_ref().is_some_and(|selector| matches(selector, labels)),
    };
    if is_allowed {
        return Ok(());
    }
    let class_name = class.name_any();
    let message = match allowed.from {
        From::Selector => format!(
            "StreamClass {class_name} does not admit namespace {namespace}: its labels do not match the class's \
             spec.allowedNamespaces.selector"
        ),
        From::None | From::All => format!(
            "StreamClass {class_name} does not admit namespace {namespace}: its spec.allowedNamespaces.from must be All, or \
             Selector with a matching selector"
        ),
    };
    Err(Refusal::new(VideoStreamReason::NamespaceNotAllowed, message))
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // A selector that says nothing selects everything in Kubernetes; one that cannot be read admits nobody.
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

fn admit_name(stream: &VideoStream, class: &StreamClass, namespace: &str) -> Result<String, Refusal> {
    let name = stream_name(stream, class);
    let generated = default_stream_name(&class.spec.stream.name_prefix, namespace, &stream.name_any());
    let prefix = format!("{}{namespace}.", class.spec.stream.name_prefix);
    let is_allowed = match class.spec.limits.stream_names {
        StreamNames::Default => name == generated,
        StreamNames::Prefixed => name.starts_with(&prefix),
        StreamNames::Any => true,
    };
    if !is_allowed {
        let wanted = match class.spec.limits.stream_names {
            StreamNames::Prefixed => format!("names that begin with {prefix}"),
            StreamNames::Default | StreamNames::Any => format!("the generated name {generated}"),
        };
        let message = format!(
            "StreamClass {} does not allow the stream name {name}, only {wanted}: make the object again without \
             spec.streamName, or widen the class's spec.limits.streamNames",
            class.name_any()
        );
        return Err(Refusal::new(VideoStreamReason::StreamNameNotAllowed, message));
    }
    if !is_stream_name(&name) {
        let message = format!(
            "The generated stream name has {} characters, the service takes 256: set spec.streamName",
            name.len()
        );
        return Err(Refusal::new(VideoStreamReason::StreamNameInvalid, message));
    }
    Ok(name)
}

fn admit_deletion_policy(stream: &VideoStream, class: &StreamClass) -> Result<(), Refusal> {
    let Some(asked) = stream.spec.deletion_policy else { return Ok(()) };
    if deletion_policy(stream, Some(class)) == asked {
        return Ok(());
    }
    let message = format!(
        "StreamClass {} does not allow deletionPolicy {asked:?}: leave it out, or add it to the class's \
         spec.limits.deletionPolicies",
        class.name_any()
    );
    Err(Refusal::new(VideoStreamReason::DeletionPolicyNotAllowed, message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{INSTALLATION, class, stream};
    use super::*;

    fn refusal(class_spec: Value, stream_spec: Value) -> Option<VideoStreamReason> {
        let labels = BTreeMap::from([("video".to_owned(), "allowed".to_owned())]);
        let result = validate(&stream(stream_spec), Some(&class(class_spec)), &labels, INSTALLATION);
        result.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn defaults_come_from_the_class() {
        let desired =
            validate(&stream(json!({})), Some(&class(json!({}))), &BTreeMap::new(), INSTALLATION).unwrap();
        assert_eq!((desired.name.as_str(), desired.retention_hours), ("p-shop.door", 72));
        assert_eq!(desired.tags.get("team").map(String::as_str), Some("video"));
    }

    #[test]
    fn the_object_goes_before_the_class_and_zero_is_a_retention() {
        let spec = json!({ "retentionHours": 0, "tags": { "team": "shop" } });
        let desired =
            validate(&stream(spec), Some(&class(json!({}))), &BTreeMap::new(), INSTALLATION).unwrap();
        assert_eq!(desired.retention_hours, 0);
        assert_eq!(desired.tags.get("team").map(String::as_str), Some("shop"));
    }

    #[test]
    fn a_missing_class_is_named() {
        let refusal = validate(&stream(json!({})), None, &BTreeMap::new(), INSTALLATION).unwrap_err();
        assert_eq!(refusal.reason, VideoStreamReason::StreamClassNotFound);
        assert!(refusal.message.contains("standard"), "{}", refusal.message);
    }

    #[test]
    fn namespaces_are_admitted_as_the_class_says() {
        let no = Some(VideoStreamReason::NamespaceNotAllowed);
        let selector = |value: &str| json!({ "matchLabels": { "video": value } });
        let table = [
            (json!({ "from": "None" }), no),
            (json!({}), no),
            (json!({ "from": "All" }), None),
            (json!({ "from": "Selector", "selector": selector("allowed") }), None),
            (json!({ "from": "Selector", "selector": selector("refused") }), no),
            (json!({ "from": "Selector" }), no),
        ];
        for (allowed, expected) in table {
            let got = refusal(json!({ "allowedNamespaces": allowed }), json!({}));
            assert_eq!(got, expected, "{allowed}");
        }
    }

    #[test]
    fn stream_names_are_limited_as_the_class_says() {
        let no = Some(VideoStreamReason::StreamNameNotAllowed);
        let table = [
            ("Default", "p-shop.door", None),
            ("Default", "p-shop.other", no),
            ("Prefixed", "p-shop.other", None),
            ("Prefixed", "p-shopping.other", no),
            ("Any", "anything", None),
        ];
        for (limit, name, expected) in table {
            let got = refusal(json!({ "limits": { "streamNames": limit } }), json!({ "streamName": name }));
            assert_eq!(got, expected, "{limit} {name}");
        }
    }

    #[test]
    fn deletion_policies_are_limited_and_an_unlisted_one_never_deletes() {
        let delete = json!({ "deletionPolicy": "Delete" });
        assert_eq!(refusal(json!({}), delete.clone()), Some(VideoStreamReason::DeletionPolicyNotAllowed));
        let both = json!({ "limits": { "deletionPolicies": ["Retain", "Delete"] } });
        assert_eq!(refusal(both.clone(), delete.clone()), None);
        let policy = |class_spec| deletion_policy(&stream(delete.clone()), Some(&class(class_spec)));
        assert_eq!(policy(both), DeletionPolicy::Delete);
        assert_eq!(policy(json!({})), DeletionPolicy::Retain);
        let class_default = class(json!({ "stream": { "deletionPolicy": "Delete" } }));
        assert_eq!(deletion_policy(&stream(json!({})), Some(&class_default)), DeletionPolicy::Delete);
        assert_eq!(deletion_policy(&stream(json!({})), None), DeletionPolicy::Retain);
    }

    #[test]
    fn a_class_that_is_not_verified_is_not_used() {
        let mut class = class(json!({}));
        class.metadata.generation = Some(2);
        let refusal = validate(&stream(json!({})), Some(&class), &BTreeMap::new(), INSTALLATION).unwrap_err();
        assert_eq!(refusal.reason, VideoStreamReason::StreamClassNotReady);
    }
}
