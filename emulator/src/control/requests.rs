//! The bodies of control-plane requests, as they come.

use std::collections::BTreeMap;

use serde::Deserialize;

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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamStorageConfiguration {
    pub default_storage_tier: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateStream {
    pub stream_name: Option<String>,
    pub device_name: Option<String>,
    pub media_type: Option<String>,
    pub kms_key_id: Option<String>,
    pub data_retention_in_hours: Option<i64>,
    pub tags: Option<BTreeMap<String, String>>,
    pub stream_storage_configuration: Option<StreamStorageConfiguration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StreamNameCondition {
    pub comparison_operator: Option<String>,
    pub comparison_value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListStreams {
    pub max_results: Option<i64>,
    pub next_token: Option<String>,
    pub stream_name_condition: Option<StreamNameCondition>,
}

#[derive(Debug, Deserialize)]
pub struct DeleteStream {
    #[serde(rename = "StreamARN")]
    pub arn: Option<String>,
    #[serde(rename = "CurrentVersion")]
    pub current_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: Option<String>,
    pub device_name: Option<String>,
    pub media_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateDataRetention {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: Option<String>,
    pub operation: Option<String>,
    pub data_retention_change_in_hours: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStreamStorage {
    #[serde(flatten)]
    pub stream: Selection,
    pub current_version: Option<String>,
    pub stream_storage_configuration: Option<StreamStorageConfiguration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UntagStream {
    #[serde(flatten)]
    pub stream: Selection,
    pub tag_key_list: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub struct GetDataEndpoint {
    #[serde(flatten)]
    pub stream: Selection,
    #[serde(rename = "APIName")]
    pub api_name: Option<String>,
}
