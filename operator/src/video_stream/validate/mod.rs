//! What a `VideoStream` asks for, and whether its class grants it. Pure.

mod alarms;
mod limits;
#[cfg(test)]
mod tenancy;

use std::collections::BTreeMap;

use kube::ResourceExt;
use streamfleet_crds::types::{STREAM_TAGS_MAX, find_condition};
use streamfleet_crds::{
    AdoptionPolicy, ConditionType, DriftPolicy, ImageGeneration, ManagementPolicy, Notification,
    RetentionDecreasePolicy, StorageTier, StreamClass, VideoStream, VideoStreamReason,
};

use crate::aws::{Owner, Place};
use crate::stream_class::verified_place;

pub use alarms::{AlarmSettings, alarms as alarm_settings};
pub use limits::{admit_name, admit_namespace, deletion_policy, stream_name};

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
    /// Where footage is kept.
    pub storage_tier: StorageTier,
    /// The KMS key that it is made with.
    pub kms_key_id: Option<String>,
    /// Whether it has to have that key: it is the object's own wish. The class's is for streams that are made from now on.
    pub is_kms_key_fixed: bool,
    /// What it holds.
    pub media_type: Option<String>,
    /// The name of the device.
    pub device_name: Option<String>,
    /// Its pictures, with the region of the bucket.
    pub image_generation: Option<ImageGeneration>,
    /// Its messages.
    pub notification: Option<Notification>,
    /// The tags of spec and class, without those of ownership.
    pub tags: BTreeMap<String, String>,
    /// Whose the stream is.
    pub owner: Owner,
    /// Whether it is changed at all.
    pub management: ManagementPolicy,
    /// What becomes of changes by others.
    pub drift: DriftPolicy,
    /// Which stream that is there already may be taken over.
    pub adoption: AdoptionPolicy,
    /// Whether everything is left as it is for now.
    pub suspend: bool,
    /// The labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Its alarms.
    pub alarms: AlarmSettings,
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
    let spec = &stream.spec;
    let class_name = &spec.stream_class_name;
    let class = class.ok_or_else(|| {
        let message = format!(
            "There is no StreamClass {class_name}: make it, or delete this object and make it again with another \
             spec.streamClassName"
        );
        Refusal::new(VideoStreamReason::StreamClassNotFound, message)
    })?;
    let adoption = limits::admit(stream, class, namespace_labels)?;
    limits::admit_new(stream, class)?;
    let name = admit_name(stream, class)?;
    let tags = tags(stream, class)?;
    let place = verified_place(class).ok_or_else(|| not_ready(class))?;
    let defaults = &class.spec.stream;
    Ok(Desired {
        image_generation: images(spec.image_generation.as_ref(), &place)?,
        place,
        name,
        retention_hours: spec.retention_hours.unwrap_or(defaults.retention_hours),
        decrease: spec.retention_decrease_policy,
        storage_tier: spec.storage_tier.unwrap_or(defaults.storage_tier),
        kms_key_id: spec.kms_key_id.clone().or_else(|| defaults.kms_key_id.clone()),
        is_kms_key_fixed: spec.kms_key_id.is_some(),
        media_type: spec.media_type.clone(),
        device_name: spec.device_name.clone(),
        notification: spec.notification.clone(),
        tags,
        owner: owner(stream, installation),
        management: spec.management_policy,
        drift: spec.drift_policy.unwrap_or(defaults.drift_policy),
        adoption,
        suspend: spec.suspend,
        labels: stream.labels().clone(),
        alarms: alarms::alarms(spec.alarms.as_ref(), &class.spec.alarms),
    })
}

/// That the class cannot be used: why, as a name, and where that is explained. No more, for the class may be none of the tenant's
/// business, and its message would be written to each of its streams.
fn not_ready(class: &StreamClass) -> Refusal {
    let name = class.name_any();
    let conditions = class.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let caller = find_condition(conditions, ConditionType::CallerVerified.as_str());
    let why = caller.map(|caller| format!(" ({})", caller.reason)).unwrap_or_default();
    let message = format!("StreamClass {name} is not Ready{why}: see kubectl describe streamclass {name}");
    Refusal::new(VideoStreamReason::StreamClassNotReady, message)
}

/// The tags of the class and, before them, of the object.
fn tags(stream: &VideoStream, class: &StreamClass) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = class.spec.stream.tags.clone();
    tags.extend(stream.spec.tags.clone());
    let room = STREAM_TAGS_MAX - OWNERSHIP_TAGS;
    if tags.len() <= room {
        return Ok(tags);
    }
    let message = format!(
        "The tags of the object and those of StreamClass {} are {} together, and there is room for {room}: remove some of \
         spec.tags, or of the class's spec.stream.tags",
        class.name_any(),
        tags.len()
    );
    Err(Refusal::new(VideoStreamReason::TooManyTags, message))
}

/// How many tags say whose a stream is.
const OWNERSHIP_TAGS: usize = 4;

/// The pictures with the region of their bucket, which can only be the stream's.
fn images(images: Option<&ImageGeneration>, place: &Place) -> Result<Option<ImageGeneration>, Refusal> {
    let Some(images) = images else { return Ok(None) };
    match &images.destination_region {
        Some(region) if *region != place.region => {
            let message = format!(
                "spec.imageGeneration.destinationRegion is {region}, and the service takes only the region of the stream, {}: \
                 leave it out, and name a bucket in that region",
                place.region
            );
            Err(Refusal::new(VideoStreamReason::AwsInvalidArgument, message))
        }
        Some(_) | None => {
            let destination_region = Some(place.region.clone());
            Ok(Some(ImageGeneration { destination_region, ..images.clone() }))
        }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use streamfleet_crds::DeletionPolicy;

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
        let advice = "delete this object and make it again with another spec.streamClassName";
        assert!(refusal.message.contains(advice), "{}", refusal.message);
    }

    #[test]
    fn a_name_that_does_not_do_is_not_to_be_changed_but_given_to_another_object() {
        let any = json!({ "limits": { "streamNames": "Any" } });
        let long = "x".repeat(253);
        for (class_spec, stream_spec, name, reason) in [
            (json!({}), json!({ "streamName": "other" }), "door", VideoStreamReason::StreamNameNotAllowed),
            (any, json!({}), long.as_str(), VideoStreamReason::StreamNameInvalid),
        ] {
            let mut stream = stream(stream_spec);
            stream.metadata.name = Some(name.to_owned());
            let refusal =
                validate(&stream, Some(&class(class_spec)), &BTreeMap::new(), INSTALLATION).unwrap_err();
            assert_eq!(refusal.reason, reason);
            assert!(
                refusal.message.contains("delete this object and make it again with"),
                "{}",
                refusal.message
            );
        }
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
    fn a_class_that_is_being_deleted_takes_no_new_streams_and_lets_those_go_on_that_it_has() {
        let mut class = class(json!({}));
        class.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let look = |spec: Value, status: Value| {
            let mut stream = stream(spec);
            stream.status = serde_json::from_value(status).unwrap();
            validate(&stream, Some(&class), &BTreeMap::new(), INSTALLATION).map(drop)
        };
        let (manage, observe) = (json!({}), json!({ "managementPolicy": "Observe" }));
        for (spec, status) in [
            (&manage, json!(null)),
            (&manage, json!({ "streamName": "p-shop.door", "awsStatus": "ACTIVE" })),
            (&observe, json!({ "streamName": "p-shop.door" })),
        ] {
            let refusal = look(spec.clone(), status.clone()).unwrap_err();
            assert_eq!(refusal.reason, VideoStreamReason::StreamClassDeleting, "{spec} {status}");
            assert!(refusal.message.contains("standard") && refusal.message.contains("delete this object"));
        }
        assert_eq!(look(manage, json!({ "streamARN": "arn" })), Ok(()));
        assert_eq!(look(observe, json!({ "streamName": "p-shop.door", "awsStatus": "ACTIVE" })), Ok(()));
    }

    #[test]
    fn a_class_that_is_not_verified_is_not_used() {
        let mut class = class(json!({}));
        class.metadata.generation = Some(2);
        let refusal = validate(&stream(json!({})), Some(&class), &BTreeMap::new(), INSTALLATION).unwrap_err();
        assert_eq!(refusal.reason, VideoStreamReason::StreamClassNotReady);
    }
}
