//! Signaling channels, and which of them store media in which stream. Nobody signals here.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, At, ChannelRecord, Control, Phases, ResourceKey, Scope, Selection, Status, name_from_token,
    requests::{
        ChannelChange, ChannelSelection, CreateChannel, GetChannelEndpoint, ListNames, UpdateMediaStorage,
    },
    streams::{check_active, names_after, own_arn},
    tags,
};
use crate::{clock::seconds, endpoint, error::ServiceError};

/// `MessageTtlSeconds` when absent (`SingleMasterConfiguration`).
const MESSAGE_TTL_SECONDS_DEFAULT: i64 = 60;
/// Channels on one page of `ListSignalingChannels` that asks for no number.
const LIST_DEFAULT: usize = 500;
/// `Type` of a channel in `DescribeMappedResourceConfiguration`. An assumption: its values are not documented.
const MAPPED_TYPE: &str = "SIGNALING_CHANNEL";

impl Control {
    pub(super) fn create_channel(&mut self, at: &At<'_>, request: CreateChannel) -> Answer {
        let tags = tags::of_list(request.tags)?;
        let name = request.channel_name;
        if self.channels.contains_key(&ResourceKey::new(at.scope, &*name)) {
            return Err(ServiceError::in_use(format!("The channel {name} already exists.")));
        }
        if names_after(&self.channels, at.scope, "", None).count() >= self.options.channels_max {
            return Err(ServiceError::too_many_channels());
        }
        let Scope { account, region } = at.scope.clone();
        let ttl =
            request.single_master_configuration.and_then(|configuration| configuration.message_ttl_seconds);
        let record = ChannelRecord {
            account,
            region,
            name,
            created_ms: self.new_created_ms(at.now),
            version: self.new_version(),
            channel_type: request.channel_type.unwrap_or_else(|| "SINGLE_MASTER".to_owned()),
            message_ttl_seconds: ttl.unwrap_or(MESSAGE_TTL_SECONDS_DEFAULT),
            tags,
            phases: Phases { active_at_ms: at.now + self.options.creating_ms, ..Phases::default() },
            stored_in: None,
        };
        Ok(json!({"ChannelARN": self.put_channel(record).arn()}))
    }

    pub(super) fn describe_channel(&self, at: &At<'_>, request: &ChannelSelection) -> Answer {
        let record = self.find_channel(at, request.name.as_deref(), request.arn.as_deref())?;
        let info = channel_info(&record, at.now).ok_or_else(ServiceError::not_found)?;
        Ok(json!({ "ChannelInfo": info }))
    }

    pub(super) fn list_channels(&self, at: &At<'_>, request: &ListNames) -> Answer {
        let after = request.next_token.as_deref().map(name_from_token).transpose()?;
        let prefix = &request.condition.comparison_value;
        let mut found = names_after(&self.channels, at.scope, prefix, after.as_deref());
        let page: Vec<_> = found.by_ref().take(request.max_results.unwrap_or(LIST_DEFAULT)).collect();
        let infos: Vec<Value> = page.iter().filter_map(|record| channel_info(record, at.now)).collect();
        let mut answer = json!({ "ChannelInfoList": infos });
        if let (Some(last), Some(_)) = (page.last(), found.next()) {
            answer["NextToken"] = hex::encode(&last.name).into();
        }
        Ok(answer)
    }

    pub(super) fn update_channel(&mut self, at: &At<'_>, request: ChannelChange) -> Answer {
        let mut record = self.changeable_channel(at, &request)?;
        let Some(configuration) = request.single_master_configuration else {
            return Err(ServiceError::invalid_argument("SingleMasterConfiguration is required"));
        };
        record.message_ttl_seconds = configuration.message_ttl_seconds.unwrap_or(record.message_ttl_seconds);
        record.phases.updated_at_ms = at.now + self.options.updating_ms;
        record.version = self.new_version();
        self.put_channel(record);
        Ok(json!({}))
    }

    pub(super) fn delete_channel(&mut self, at: &At<'_>, request: &ChannelChange) -> Answer {
        let mut record = self.changeable_channel(at, request)?;
        record.phases.gone_at_ms = Some(at.now + self.options.deleting_ms);
        self.put_channel(record);
        self.pass(at.now);
        Ok(json!({}))
    }

    pub(super) fn channel_endpoint(&self, at: &At<'_>, request: &GetChannelEndpoint) -> Answer {
        let record = self.find_channel(at, None, Some(&request.arn))?;
        check_active(&record.phases, &format!("channel {}", record.name), at.now)?;
        // What is answered to a request without either is an assumption.
        let default = || vec!["WSS".to_owned(), "HTTPS".to_owned()];
        let protocols = request.configuration.protocols.clone().unwrap_or_else(default);
        let role = request.configuration.role.as_deref().unwrap_or("VIEWER");
        if record.stored_in.is_none() && protocols.iter().any(|protocol| protocol == "WEBRTC") {
            return Err(ServiceError::invalid_argument("the channel is not configured for ingestion"));
        }
        let arn = record.arn();
        let endpoints: Vec<Value> = protocols
            .iter()
            .map(|protocol| {
                let endpoint = endpoint::of_channel(&self.options.advertise, &arn, protocol, role);
                json!({"Protocol": protocol, "ResourceEndpoint": endpoint})
            })
            .collect();
        Ok(json!({ "ResourceEndpointList": endpoints }))
    }

    pub(super) fn describe_media_storage(&self, at: &At<'_>, request: &ChannelSelection) -> Answer {
        let record = self.find_channel(at, request.name.as_deref(), request.arn.as_deref())?;
        let configuration = match &record.stored_in {
            Some(arn) => json!({"StreamARN": arn, "Status": "ENABLED"}),
            None => json!({"Status": "DISABLED"}),
        };
        Ok(json!({ "MediaStorageConfiguration": configuration }))
    }

    pub(super) fn update_media_storage(&mut self, at: &At<'_>, request: UpdateMediaStorage) -> Answer {
        let record = self.find_channel(at, None, Some(&request.arn))?;
        check_active(&record.phases, &format!("channel {}", record.name), at.now)?;
        let stored_in = match (request.configuration.status.as_str(), request.configuration.stream_arn) {
            ("ENABLED", Some(arn)) => Some(self.mappable(at, &record, arn)?),
            ("ENABLED", None) => return Err(ServiceError::invalid_argument("StreamARN is required")),
            _ => None,
        };
        self.put_channel(ChannelRecord { stored_in, ..ChannelRecord::clone(&record) });
        Ok(json!({}))
    }

    pub(super) fn describe_mapped(&self, at: &At<'_>, request: &Selection) -> Answer {
        let arn = self.find_stream(at, request)?.arn();
        let mapped: Vec<Value> = self
            .mapped_to(at.scope, &arn)
            .map(|channel| json!({"Type": MAPPED_TYPE, "ARN": channel.arn()}))
            .collect();
        Ok(json!({ "MappedResourceConfigurationList": mapped }))
    }

    /// The ARN of a stream that the channel may store in.
    fn mappable(&self, at: &At<'_>, channel: &ChannelRecord, arn: String) -> Result<String, ServiceError> {
        let stream = self.find_stream(at, &Selection { name: None, arn: Some(arn) })?;
        check_active(&stream.phases, &format!("stream {}", stream.name), at.now)?;
        if stream.retention_hours == 0 {
            return Err(ServiceError::no_data_retention());
        }
        let arn = stream.arn();
        let is_mapped_elsewhere = channel.stored_in.as_ref().is_some_and(|stored_in| *stored_in != arn);
        let others = self.mapped_to(at.scope, &arn).any(|other| other.name != channel.name);
        if is_mapped_elsewhere || others {
            return Err(ServiceError::in_use("The channel or the stream is already mapped to another."));
        }
        Ok(arn)
    }

    fn mapped_to<'a>(
        &'a self,
        scope: &'a Scope,
        arn: &'a str,
    ) -> impl Iterator<Item = &'a Arc<ChannelRecord>> {
        names_after(&self.channels, scope, "", None)
            .filter(move |channel| channel.stored_in.as_deref() == Some(arn))
    }

    pub(super) fn find_channel(
        &self,
        at: &At<'_>,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Result<Arc<ChannelRecord>, ServiceError> {
        let named = |name: &str| {
            let found = self.channels.get(&ResourceKey::new(at.scope, name)).cloned();
            found.ok_or_else(ServiceError::channel_not_found)
        };
        match (name, arn) {
            (Some(name), None) => named(name),
            (None, Some(text)) => {
                let arn = own_arn(at, text, "channel")?;
                let record = named(arn.name)?;
                let is_same = arn.region == at.scope.region && arn.created_ms == record.created_ms;
                if is_same { Ok(record) } else { Err(ServiceError::channel_not_found()) }
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(ServiceError::invalid_argument("exactly one of ChannelName and ChannelARN must be given"))
            }
        }
    }

    fn changeable_channel(
        &self,
        at: &At<'_>,
        request: &ChannelChange,
    ) -> Result<ChannelRecord, ServiceError> {
        let record = self.find_channel(at, None, Some(&request.arn))?;
        check_active(&record.phases, &format!("channel {}", record.name), at.now)?;
        if request.current_version.as_ref().is_some_and(|version| *version != record.version) {
            return Err(ServiceError::version_mismatch());
        }
        Ok(ChannelRecord::clone(&record))
    }
}

fn channel_info(record: &ChannelRecord, now: u64) -> Option<Value> {
    let status: Status = record.status(now)?;
    let mut info = json!({
        "ChannelName": record.name,
        "ChannelARN": record.arn(),
        "ChannelType": record.channel_type,
        "ChannelStatus": status,
        "CreationTime": seconds(record.created_ms),
        "Version": record.version,
    });
    if record.channel_type == "SINGLE_MASTER" {
        info["SingleMasterConfiguration"] = json!({"MessageTtlSeconds": record.message_ttl_seconds});
    }
    Some(info)
}
