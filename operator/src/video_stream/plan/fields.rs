//! What of a stream is looked after, field by field: what is wanted, what is found, and what was last known to be in order.
//!
//! A difference is **drift** where the stream was in order before with just this wish: then somebody else has changed it. Where the
//! wish is a new one (an edit, another default of the class, an adoption), it is a change that is asked for. The record that tells
//! the two apart is `status.lastSynced`: for each field a short hash of the wish that the stream was last seen to fulfil, as in a
//! three-way merge. It is kept while a field differs, so that drift stays drift until it is over or the wish changes.
//!
//! What the spec does not mention is not looked after, save retention and tier, which have defaults. An image generation,
//! a notification or a tag that this object has set and no longer asks for is taken away; one that somebody else has set is not.

use std::collections::{BTreeMap, BTreeSet};

use streamfleet_crds::{ImageFormat, ImageGeneration, ownership_tags};

use super::super::observed::Observed;
use super::super::validate::Desired;
use super::Recorded;
use crate::aws::{Owner, Settings, StreamInfo};
use crate::labels::stable_hash;

/// The key of the ownership tags in the record: one for all of them.
pub const OWNER: &str = "owner";
/// The name of the field.
pub const RETENTION: &str = "retentionHours";
/// The name of the field.
pub const TIER: &str = "storageTier";
/// The name of the field.
pub const KMS_KEY: &str = "kmsKeyID";
/// The name of the field.
pub const MEDIA_TYPE: &str = "mediaType";
/// The name of the field.
pub const DEVICE_NAME: &str = "deviceName";
/// The name of the field.
pub const IMAGES: &str = "imageGeneration";
/// The name of the field.
pub const NOTIFICATION: &str = "notification";

/// The quality of JPEG pictures where none is said (`FormatConfig` in the API reference).
const JPEG_QUALITY_DEFAULT: i32 = 80;

/// A field of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the spec.
    pub name: String,
    /// Its key in the record.
    pub key: String,
    /// A hash of what is wanted under that key; none where it is to be taken away.
    pub print: Option<String>,
    /// What is wanted; `None` to take it away.
    pub wanted: Option<String>,
    /// What there is.
    pub found: Option<String>,
    /// Whether the two differ; not by their texts alone, since some are written in several ways.
    pub differs: bool,
}

impl Field {
    fn new(name: impl Into<String>, wanted: Option<String>, found: Option<String>) -> Self {
        let name = name.into();
        let differs = wanted != found;
        let print = wanted.as_deref().map(print);
        Self { key: name.clone(), name, print, wanted, found, differs }
    }

    /// Whether somebody else has made the difference.
    pub fn is_drift(&self, recorded: &Recorded<'_>) -> bool {
        self.differs && self.print.is_some() && recorded.synced.get(&self.key) == self.print.as_ref()
    }
}

/// The name of the field of a tag.
pub fn tag_field(key: &str) -> String {
    format!("tags[{key}]")
}

/// Every field that is looked after.
pub fn fields(desired: &Desired, recorded: &Recorded<'_>, observed: &Observed) -> Vec<Field> {
    let mut fields = Vec::new();
    fields.extend(owner_fields(desired, observed));
    fields.extend(info_fields(desired, observed));
    fields.extend(config_fields(desired, recorded, observed));
    fields.extend(tag_fields(desired, recorded, observed.tags()));
    fields
}

/// A hash of all ownership tags of this very object.
pub fn owner_print(owner: &Owner) -> String {
    print(&owner.tags().into_values().collect::<Vec<_>>().join("\n"))
}

fn owner_fields(desired: &Desired, observed: &Observed) -> Vec<Field> {
    let tags = desired.owner.tags();
    let whole = owner_print(&desired.owner);
    tags.into_iter()
        .map(|(key, value)| Field {
            key: OWNER.to_owned(),
            print: Some(whole.clone()),
            ..Field::new(tag_field(&key), Some(value), observed.tags().get(&key).cloned())
        })
        .collect()
}

fn info_fields(desired: &Desired, observed: &Observed) -> Vec<Field> {
    let info = &observed.info;
    let tier = |tier: streamfleet_crds::StorageTier| Some(tier.as_str().to_owned());
    let mut fields = vec![
        Field::new(
            RETENTION,
            Some(desired.retention_hours.to_string()),
            Some(info.retention_hours.to_string()),
        ),
        Field::new(TIER, tier(desired.storage_tier), tier(observed.settings.storage_tier)),
    ];
    for (name, wanted, found) in [
        (MEDIA_TYPE, &desired.media_type, &info.media_type),
        (DEVICE_NAME, &desired.device_name, &info.device_name),
    ] {
        if wanted.is_some() {
            fields.push(Field::new(name, wanted.clone(), found.clone()));
        }
    }
    if let Some(key) = desired.kms_key_id.as_ref().filter(|_| desired.is_kms_key_fixed) {
        let field = Field::new(KMS_KEY, Some(key.clone()), info.kms_key_id.clone());
        let differs = !may_be_same_key(key, info.kms_key_id.as_deref());
        fields.push(Field { differs, ..field });
    }
    fields
}

fn config_fields(desired: &Desired, recorded: &Recorded<'_>, observed: &Observed) -> Vec<Field> {
    let images = |images: &Option<ImageGeneration>| images.as_ref().map(images_text);
    let settings = &observed.settings;
    let topic = |notification: &Option<streamfleet_crds::Notification>| {
        notification.as_ref().map(|notification| notification.topic_arn.clone())
    };
    [
        (IMAGES, images(&desired.image_generation), images(&settings.image_generation)),
        (NOTIFICATION, topic(&desired.notification), topic(&settings.notification)),
    ]
    .into_iter()
    // What we have not set is not ours to take away.
    .filter(|(name, wanted, _)| wanted.is_some() || recorded.synced.contains_key(*name))
    .map(|(name, wanted, found)| Field::new(name, wanted, found))
    .collect()
}

fn tag_fields(desired: &Desired, recorded: &Recorded<'_>, tags: &BTreeMap<String, String>) -> Vec<Field> {
    let wanted = desired.tags.keys();
    let former = recorded.managed_tags.iter().filter(|key| !key.starts_with(ownership_tags::PREFIX));
    let keys: BTreeSet<&String> = wanted.chain(former).collect();
    keys.into_iter()
        .map(|key| Field::new(tag_field(key), desired.tags.get(key).cloned(), tags.get(key).cloned()))
        .collect()
}

/// The record after this look: what is in order as it is now, what is not as it was before.
pub fn synced_after(fields: &[Field], recorded: &Recorded<'_>) -> BTreeMap<String, String> {
    let mut after = BTreeMap::new();
    for field in fields {
        let differs = fields.iter().any(|other| other.key == field.key && other.differs);
        let print = if differs { recorded.synced.get(&field.key) } else { field.print.as_ref() };
        after.extend(print.map(|print| (field.key.clone(), print.clone())));
    }
    after
}

/// The record before something is set for the first time: that it was set is to be known also by who comes after a crash. An
/// empty hash is no drift and yet ours to take away.
pub fn intended(fields: &[Field], recorded: &Recorded<'_>) -> BTreeMap<String, String> {
    let mut after = recorded.synced.clone();
    for field in
        fields.iter().filter(|field| field.wanted.is_some() && [IMAGES, NOTIFICATION].contains(&&*field.name))
    {
        after.entry(field.key.clone()).or_default();
    }
    after
}

/// The settings that a stream has, by the record alone: those that are wanted, where all of them were last seen so. `None` where
/// the record says less.
pub fn presumed(desired: &Desired, recorded: &Recorded<'_>, info: &StreamInfo) -> Option<Settings> {
    let mut tags = desired.tags.clone();
    tags.extend(desired.owner.tags());
    let settings = Settings {
        tags,
        storage_tier: desired.storage_tier,
        image_generation: desired.image_generation.clone(),
        notification: desired.notification.clone(),
    };
    let observed = Observed::cached(info.clone(), settings.clone());
    let fields = fields(desired, recorded, &observed);
    let is_on_record =
        |field: &Field| field.print.is_some() && field.print.as_ref() == recorded.synced.get(&field.key);
    fields.iter().all(is_on_record).then_some(settings)
}

/// Images in one form: a default that is left out is the same as one that is written.
fn images_text(images: &ImageGeneration) -> String {
    let quality = match images.format {
        ImageFormat::Jpeg => Some(images.jpeg_quality.unwrap_or(JPEG_QUALITY_DEFAULT)),
        ImageFormat::Png => None,
    };
    let whole = ImageGeneration { jpeg_quality: quality, ..images.clone() };
    serde_json::to_string(&whole).unwrap_or_default()
}

/// Whether two names of KMS keys may be of one key. An alias says nothing about an ID: what cannot be told is no difference.
fn may_be_same_key(wanted: &str, found: Option<&str>) -> bool {
    let Some(found) = found else { return true };
    let (wanted_arn, found_arn) = (wanted.starts_with("arn:"), found.starts_with("arn:"));
    if wanted_arn && found_arn && is_alias(wanted) == is_alias(found) {
        return wanted == found;
    }
    is_alias(wanted) != is_alias(found) || tail(wanted) == tail(found)
}

fn is_alias(key: &str) -> bool {
    tail(key).starts_with("alias/")
}

/// A key without the beginning of its ARN: `alias/NAME`, or the ID.
fn tail(key: &str) -> &str {
    let tail = if key.starts_with("arn:") { key.splitn(6, ':').nth(5).unwrap_or(key) } else { key };
    tail.strip_prefix("key/").unwrap_or(tail)
}

/// A short hash, the same in every release.
fn print(text: &str) -> String {
    format!("{:08x}", stable_hash(text.as_bytes()) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_as_far_as_their_names_can_be() {
        let arn = |key: &str| format!("arn:aws:kms:eu-west-1:123456789012:{key}");
        let table = [
            ("1234", Some(arn("key/1234")), true),
            ("1234", Some(arn("key/5678")), false),
            ("alias/cameras", Some(arn("alias/cameras")), true),
            ("alias/cameras", Some(arn("alias/aws/kinesisvideo")), false),
            // Whether the alias is of that key only KMS knows.
            ("alias/cameras", Some(arn("key/1234")), true),
            (&arn("key/1234"), Some(arn("key/1234")), true),
            (&arn("key/1234"), Some("arn:aws:kms:eu-west-1:210987654321:key/1234".to_owned()), false),
            ("1234", None, true),
        ];
        for (wanted, found, expected) in table {
            assert_eq!(may_be_same_key(wanted, found.as_deref()), expected, "{wanted} {found:?}");
        }
    }
}
