//! The bodies of control-plane requests, once the model has checked them: what it requires is there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The two ways to name a stream.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Selection {
    /// Its name.
    #[serde(rename = "StreamName")]
    pub name: Option<String>,
    /// Its ARN.
    #[serde(rename = "StreamARN")]
    pub arn: Option<String>,
}

/// The two ways to name a channel.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ChannelSelection {
    #[serde(rename = "ChannelName")]
    pub name: Option<String>,
    #[serde(rename = "ChannelARN")]
    pub arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamStorageConfiguration {
    pub default_storage_tier: super::Tier,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateStream {
    pub stream_name: String,
    pub device_name: Option<String>,
    pub media_type: Option<String>,
    pub kms_key_id: Option<String>,
    #[serde(default)]
    pub data_retention_in_hours: i64,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub stream_storage_configuration: Option<StreamStorageConfiguration>,
}

/// `StreamNameCondition` and `ChannelNameCondition`; there is one operator.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NameCondition {
    #[serde(default)]
    pub comparison_value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListNames {
    pub max_results: Option<usize>,
    pub next_token: Option<String>,
    #[serde(default, alias = "StreamNameCondition", alias = "ChannelNameCondition")]
    pub condition: NameCondition,
}

#[derive(Debug, Deserialize)]
pub struct DeleteStream {
    #[serde(rename = "StreamARN")]
    pub arn: String,
    #[serde(rename = "CurrentVersion")]
    pub current_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: String,
    pub device_name: Option<String>,
    pub media_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateDataRetention {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: String,
    pub operation: String,
    pub data_retention_change_in_hours: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStreamStorage {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: String,
    pub stream_storage_configuration: StreamStorageConfiguration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub tag_key_list: Vec<String>,
}

/// `ListTagsForStream`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTags {
    #[serde(flatten)]
    pub stream: Selection,
    pub next_token: Option<String>,
}

/// One tag of a channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// `TagResource`, `UntagResource` and `ListTagsForResource`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceTags {
    #[serde(rename = "ResourceARN")]
    pub arn: String,
    #[serde(default)]
    pub tags: Vec<Tag>,
    #[serde(default)]
    pub tag_key_list: Vec<String>,
    pub next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct GetDataEndpoint {
    #[serde(flatten)]
    pub stream: Selection,
    #[serde(rename = "APIName")]
    pub api_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateImageGeneration {
    #[serde(flatten)]
    pub stream: Selection,
    pub image_generation_configuration: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateNotification {
    #[serde(flatten)]
    pub stream: Selection,
    pub notification_configuration: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartEdgeUpdate {
    #[serde(flatten)]
    pub stream: Selection,
    pub edge_config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListEdge {
    pub hub_device_arn: String,
    pub max_results: Option<usize>,
    pub next_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SingleMaster {
    pub message_ttl_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateChannel {
    pub channel_name: String,
    pub channel_type: Option<String>,
    pub single_master_configuration: Option<SingleMaster>,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// `UpdateSignalingChannel` and `DeleteSignalingChannel`.
#[derive(Debug, Deserialize)]
pub struct ChannelChange {
    #[serde(rename = "ChannelARN")]
    pub arn: String,
    #[serde(rename = "CurrentVersion")]
    pub current_version: Option<String>,
    #[serde(rename = "SingleMasterConfiguration")]
    pub single_master_configuration: Option<SingleMaster>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointConfiguration {
    pub protocols: Option<Vec<String>>,
    pub role: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct GetChannelEndpoint {
    #[serde(rename = "ChannelARN")]
    pub arn: String,
    #[serde(rename = "SingleMasterChannelEndpointConfiguration", default)]
    pub configuration: EndpointConfiguration,
}

#[derive(Debug, Deserialize)]
pub struct MediaStorage {
    #[serde(rename = "StreamARN")]
    pub stream_arn: Option<String>,
    #[serde(rename = "Status")]
    pub status: String,
}

#[derive(Debug, Deserialize)]
pub struct UpdateMediaStorage {
    #[serde(rename = "ChannelARN")]
    pub arn: String,
    #[serde(rename = "MediaStorageConfiguration")]
    pub configuration: MediaStorage,
}
