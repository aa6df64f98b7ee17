//! Streams as they are told: `StreamInfo`, alone and on pages.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{Status, StreamRecord, record::partition};
use crate::clock::seconds;

/// Members of `StreamInfo`.
const MEMBERS: usize = 9;

/// A stream as it is told at a time.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// The stream.
    pub record: Arc<StreamRecord>,
    /// Its status then.
    pub status: Status,
}

/// A page of `ListStreams`.
#[derive(Debug, Serialize)]
pub struct StreamPage {
    /// The streams.
    #[serde(rename = "StreamInfoList")]
    pub streams: Vec<StreamInfo>,
    /// What the next page begins behind.
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

impl Serialize for StreamInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { record, status } = self;
        let StreamRecord { region, account, .. } = &**record;
        let mut info = serializer.serialize_struct("StreamInfo", MEMBERS)?;
        info.serialize_field("StreamName", &record.name)?;
        info.serialize_field("StreamARN", &record.arn())?;
        if let Some(key) = &record.kms_key_id {
            info.serialize_field("KmsKeyId", key)?;
        } else {
            let key = format!("arn:{}:kms:{region}:{account}:alias/aws/kinesisvideo", partition(region));
            info.serialize_field("KmsKeyId", &key)?;
        }
        info.serialize_field("Version", &record.version)?;
        info.serialize_field("Status", status)?;
        info.serialize_field("CreationTime", &seconds(record.created_ms))?;
        info.serialize_field("DataRetentionInHours", &record.retention_hours)?;
        if let Some(device) = &record.device_name {
            info.serialize_field("DeviceName", device)?;
        }
        if let Some(media_type) = &record.media_type {
            info.serialize_field("MediaType", media_type)?;
        }
        info.end()
    }
}
