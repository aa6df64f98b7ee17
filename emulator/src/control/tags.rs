//! Tags of streams (a map) and of signaling channels (a list).

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{
    Answer, At, ChannelRecord, Control, StreamRecord,
    requests::{ListTags, ResourceTags, Tag, TagStream, UntagStream},
};
use crate::error::ServiceError;

/// Tags on one stream or channel (Kinesis Video Streams quotas).
const TAGS_MAX: usize = 50;

type Tags = BTreeMap<String, String>;

/// Refuses keys that are the service's own.
pub fn check_keys<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<(), ServiceError> {
    if keys.any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(ServiceError::invalid_argument("tag keys must not begin with aws:"));
    }
    Ok(())
}

/// A list of tags as a map; of two with the same key, none.
pub fn of_list(list: Vec<Tag>) -> Result<Tags, ServiceError> {
    let count = list.len();
    let tags: Tags = list.into_iter().map(|Tag { key, value }| (key, value)).collect();
    check_keys(tags.keys())?;
    if tags.len() == count {
        Ok(tags)
    } else {
        Err(ServiceError::invalid_argument("a tag key must not be given twice"))
    }
}

/// The tags with more of them.
fn joined(tags: &Tags, more: Tags) -> Result<Tags, ServiceError> {
    check_keys(more.keys())?;
    let mut joined = tags.clone();
    joined.extend(more);
    if joined.len() > TAGS_MAX { Err(ServiceError::too_many_tags()) } else { Ok(joined) }
}

fn without(tags: &Tags, keys: &[String]) -> Tags {
    tags.iter().filter(|(key, _)| !keys.contains(key)).map(|(key, tag)| (key.clone(), tag.clone())).collect()
}

/// 50 tags fit on one page, so that no token is ever ours.
fn check_token(token: Option<&String>) -> Result<(), ServiceError> {
    match token {
        Some(token) if !token.is_empty() => {
            Err(ServiceError::invalid_argument("NextToken is not one of ours"))
        }
        _ => Ok(()),
    }
}

impl Control {
    pub(super) fn tag_stream(&mut self, at: &At<'_>, request: TagStream) -> Answer {
        let record = self.find_stream(at, &request.stream)?;
        let tags = joined(&record.tags, request.tags)?;
        self.put_stream(StreamRecord { tags, ..StreamRecord::clone(&record) }, Some(at.now));
        Ok(json!({}))
    }

    pub(super) fn untag_stream(&mut self, at: &At<'_>, request: &UntagStream) -> Answer {
        let record = self.find_stream(at, &request.stream)?;
        let tags = without(&record.tags, &request.tag_key_list);
        self.put_stream(StreamRecord { tags, ..StreamRecord::clone(&record) }, Some(at.now));
        Ok(json!({}))
    }

    pub(super) fn list_stream_tags(&self, at: &At<'_>, request: &ListTags) -> Answer {
        check_token(request.next_token.as_ref())?;
        Ok(json!({"Tags": self.find_stream(at, &request.stream)?.tags}))
    }

    pub(super) fn tag_resource(&mut self, at: &At<'_>, request: ResourceTags) -> Answer {
        let record = self.tagged_channel(at, &request.arn)?;
        let tags = joined(&record.tags, of_list(request.tags)?)?;
        self.put_channel(ChannelRecord { tags, ..ChannelRecord::clone(&record) });
        Ok(json!({}))
    }

    pub(super) fn untag_resource(&mut self, at: &At<'_>, request: &ResourceTags) -> Answer {
        let record = self.tagged_channel(at, &request.arn)?;
        let tags = without(&record.tags, &request.tag_key_list);
        self.put_channel(ChannelRecord { tags, ..ChannelRecord::clone(&record) });
        Ok(json!({}))
    }

    pub(super) fn list_resource_tags(&self, at: &At<'_>, request: &ResourceTags) -> Answer {
        check_token(request.next_token.as_ref())?;
        Ok(json!({"Tags": self.tagged_channel(at, &request.arn)?.tags}))
    }

    /// The documents know channels only as what these operations tag.
    fn tagged_channel(&self, at: &At<'_>, arn: &str) -> Result<Arc<ChannelRecord>, ServiceError> {
        self.find_channel(at, None, Some(arn))
    }
}
