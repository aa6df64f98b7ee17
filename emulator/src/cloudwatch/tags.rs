//! Tags of alarms.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Alarm, At, CloudWatch,
    refusal::{invalid_value, resource_not_found},
    typed,
};
use crate::error::ServiceError;

/// Tags of an alarm (CloudWatch quotas).
const TAGS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(default, rename = "Tags")]
    tags: Vec<Tag>,
    #[serde(default, rename = "TagKeys")]
    keys: Vec<String>,
}

/// Takes `Tags` out of a request that puts an alarm.
pub fn taken_from(input: &mut Value) -> Result<BTreeMap<String, String>, ServiceError> {
    let tags = input.as_object_mut().and_then(|members| members.remove("Tags"));
    let tags: Vec<Tag> = tags.map(typed).transpose()?.unwrap_or_default();
    let mut found = BTreeMap::new();
    add(&mut found, tags)?;
    Ok(found)
}

fn add(known: &mut BTreeMap<String, String>, tags: Vec<Tag>) -> Result<(), ServiceError> {
    let mut all = known.clone();
    for Tag { key, value } in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid_value("Tag keys must not start with aws:"));
        }
        all.insert(key, value);
    }
    if all.len() > TAGS_MAX {
        return Err(invalid_value(format!("More than {TAGS_MAX} tags")));
    }
    *known = all;
    Ok(())
}

impl CloudWatch {
    pub(super) fn tag_resource(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let Request { arn, tags, .. } = typed(input)?;
        add(&mut self.by_arn(&arn, at)?.tags, tags)?;
        Ok(json!({}))
    }

    pub(super) fn untag_resource(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let Request { arn, keys, .. } = typed(input)?;
        self.by_arn(&arn, at)?.tags.retain(|key, _| !keys.contains(key));
        Ok(json!({}))
    }

    pub(super) fn list_tags(&mut self, input: Value, at: At<'_>) -> Result<Value, ServiceError> {
        let Request { arn, .. } = typed(input)?;
        let tags: Vec<Value> = self
            .by_arn(&arn, at)?
            .tags
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        self.changed.clear();
        Ok(json!({ "Tags": tags }))
    }

    fn by_arn(&mut self, arn: &str, at: At<'_>) -> Result<&mut Alarm, ServiceError> {
        if !arn.starts_with("arn:") {
            return Err(invalid_value("ResourceARN is no ARN"));
        }
        let name = super::rule::alarm_name(arn).to_owned();
        self.changed.insert(at.name(&name));
        let alarm = self.place(at).alarms.get_mut(&name).filter(|alarm| alarm.arn == arn);
        alarm.ok_or_else(|| resource_not_found(arn))
    }
}
