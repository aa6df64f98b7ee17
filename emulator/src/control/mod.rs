//! The control plane: operations on streams, their tags, retention and endpoints.
//!
//! Every operation here blocks on the disk: what is answered is already durable.

mod requests;
pub mod shapes;

use std::{io, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    auth::Caller,
    clock::{now_ms, seconds},
    endpoint,
    error::ServiceError,
    operation::Operation,
    service::Service,
    store::{
        Stream, StreamRecord, Tier,
        catalog::{StreamKey, StreamStatus},
    },
};
pub use requests::Selection;
use requests::{
    CreateStream, DeleteStream, GetDataEndpoint, ListStreams, StreamNameCondition,
    StreamStorageConfiguration, TagStream, UntagStream, UpdateDataRetention, UpdateStream,
    UpdateStreamStorage,
};

type Answer = Result<Value, ServiceError>;

/// Carries out an operation of the control plane.
pub fn answer(service: &Service, caller: &Caller, operation: Operation, body: &[u8]) -> Answer {
    let control = Control { service, caller };
    match operation {
        Operation::CreateStream => control.create_stream(parse(body)?),
        Operation::DescribeStream => control.describe_stream(&parse(body)?),
        Operation::ListStreams => control.list_streams(parse(body)?),
        Operation::DeleteStream => control.delete_stream(&parse(body)?),
        Operation::UpdateStream => control.update_stream(parse(body)?),
        Operation::UpdateDataRetention => control.update_data_retention(&parse(body)?),
        Operation::TagStream => control.tag_stream(parse(body)?),
        Operation::UntagStream => control.untag_stream(parse(body)?),
        Operation::ListTagsForStream => control.list_tags(&parse(body)?),
        Operation::DescribeStreamStorageConfiguration => control.describe_storage(&parse(body)?),
        Operation::UpdateStreamStorageConfiguration => control.update_storage(&parse(body)?),
        Operation::GetDataEndpoint => control.data_endpoint(&parse(body)?),
        Operation::PutMedia
        | Operation::GetMedia
        | Operation::ListFragments
        | Operation::GetMediaForFragmentList
        | Operation::GetCallerIdentity
        | Operation::AssumeRole
        | Operation::AssumeRoleWithWebIdentity => Err(ServiceError::unknown_operation()),
    }
}

/// Reads a request body; an empty one is an empty object.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ServiceError::invalid_argument(error.to_string()))
}

/// The name of the stream that a request names, for the log of calls.
pub fn stream_named(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Any {
        #[serde(flatten)]
        stream: Selection,
    }
    let Any { stream } = serde_json::from_slice(body).ok()?;
    let by_arn = |arn: String| shapes::stream_arn(&arn).map(|arn| arn.name.to_owned());
    stream.name.or_else(|| stream.arn.and_then(by_arn))
}

/// The stream that a request names, if the caller may see it.
pub fn select(
    service: &Service,
    caller: &Caller,
    selection: &Selection,
) -> Result<Arc<Stream>, ServiceError> {
    select_or(service, caller, selection, ServiceError::invalid_argument)
}

/// As [`select`]; the tag operations have an error of their own for an ARN that is none.
fn select_or(
    service: &Service,
    caller: &Caller,
    selection: &Selection,
    malformed: fn(String) -> ServiceError,
) -> Result<Arc<Stream>, ServiceError> {
    let key = |name: &str| StreamKey {
        account: caller.account.clone(),
        region: caller.region.clone(),
        name: name.to_owned(),
    };
    match (&selection.name, &selection.arn) {
        (Some(name), None) => {
            shapes::stream_name(name)?;
            service.catalog.find(&key(name)).ok_or_else(ServiceError::not_found)
        }
        (None, Some(text)) => {
            let arn =
                shapes::stream_arn(text).ok_or_else(|| malformed(format!("StreamARN '{text}' is none")))?;
            if arn.account != caller.account {
                return Err(ServiceError::not_authorized("the caller may not use another account's stream"));
            }
            let stream = service.catalog.find(&key(arn.name)).ok_or_else(ServiceError::not_found)?;
            let is_same = arn.region == caller.region && arn.created_ms == stream.record().created_ms;
            if is_same { Ok(stream) } else { Err(ServiceError::not_found()) }
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(ServiceError::invalid_argument("exactly one of StreamName and StreamARN must be given"))
        }
    }
}

/// The stream that a data-plane request names; it must be `ACTIVE` (or `UPDATING`).
pub fn select_serving(
    service: &Service,
    caller: &Caller,
    selection: &Selection,
) -> Result<Arc<Stream>, ServiceError> {
    let stream = select(service, caller, selection)?;
    match stream.record().status(now_ms()) {
        Some(StreamStatus::Active | StreamStatus::Updating) => Ok(stream),
        Some(StreamStatus::Creating | StreamStatus::Deleting) | None => Err(ServiceError::not_found()),
    }
}

fn required<T>(value: Option<T>, member: &str) -> Result<T, ServiceError> {
    value.ok_or_else(|| ServiceError::invalid_argument(format!("{member} is required")))
}

fn tier(configuration: &StreamStorageConfiguration) -> Result<Tier, ServiceError> {
    match configuration.default_storage_tier.as_deref() {
        Some("HOT") => Ok(Tier::Hot),
        Some("WARM") => Ok(Tier::Warm),
        _ => Err(ServiceError::invalid_argument("DefaultStorageTier must be HOT or WARM")),
    }
}

/// 20 letters and digits, as the service's versions look.
fn new_version() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(20).collect()
}

struct Control<'a> {
    service: &'a Service,
    caller: &'a Caller,
}

impl Control<'_> {
    fn create_stream(&self, request: CreateStream) -> Answer {
        let name = required(request.stream_name, "StreamName")?;
        shapes::stream_name(&name)?;
        request.device_name.as_deref().map_or(Ok(()), shapes::device_name)?;
        request.media_type.as_deref().map_or(Ok(()), shapes::media_type)?;
        request.kms_key_id.as_deref().map_or(Ok(()), shapes::kms_key_id)?;
        request.tags.as_ref().map_or(Ok(()), shapes::tags)?;
        let now = now_ms();
        let record = StreamRecord {
            account: self.caller.account.clone(),
            region: self.caller.region.clone(),
            name: name.clone(),
            created_ms: now,
            version: new_version(),
            retention_hours: shapes::retention(request.data_retention_in_hours.unwrap_or(0))?,
            media_type: request.media_type,
            device_name: request.device_name,
            kms_key_id: request.kms_key_id,
            tags: request.tags.unwrap_or_default(),
            tier: request.stream_storage_configuration.as_ref().map_or(Ok(Tier::Hot), tier)?,
            active_at_ms: now + self.state_delay_ms(),
            updated_at_ms: 0,
            gone_at_ms: None,
            kept_from_ms: 0,
        };
        let created = self.service.catalog.create(record)?;
        let stream =
            created.ok_or_else(|| ServiceError::in_use(format!("The stream {name} already exists.")))?;
        Ok(json!({"StreamARN": stream.record().arn()}))
    }

    fn describe_stream(&self, request: &Selection) -> Answer {
        let stream = select(self.service, self.caller, request)?;
        let record = stream.record();
        let status = record.status(now_ms()).ok_or_else(ServiceError::not_found)?;
        Ok(json!({"StreamInfo": stream_info(&record, status)}))
    }

    fn list_streams(&self, request: ListStreams) -> Answer {
        let limit = match request.max_results {
            None => shapes::LIST_STREAMS_MAX,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=shapes::LIST_STREAMS_MAX).contains(limit))
                .ok_or_else(|| ServiceError::invalid_argument("MaxResults must be 1-10000"))?,
        };
        let after = request.next_token.as_deref().map(name_from_token).transpose()?;
        let prefix = request.stream_name_condition.map(name_prefix).transpose()?.unwrap_or_default();
        let now = now_ms();
        let records = self.service.catalog.all().into_iter().map(|stream| stream.record());
        let mut found = records.filter(|record| {
            record.account == self.caller.account
                && record.region == self.caller.region
                && record.name.starts_with(&prefix)
                && after.as_ref().is_none_or(|after| record.name > *after)
        });
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let streams: Vec<Value> =
            page.iter().filter_map(|record| Some(stream_info(record, record.status(now)?))).collect();
        let mut answer = json!({ "StreamInfoList": streams });
        if let (Some(last), Some(_)) = (page.last(), found.next()) {
            answer["NextToken"] = hex::encode(&last.name).into();
        }
        Ok(answer)
    }

    fn delete_stream(&self, request: &DeleteStream) -> Answer {
        let arn = required(request.arn.clone(), "StreamARN")?;
        request.current_version.as_deref().map_or(Ok(()), shapes::version)?;
        let stream = select(self.service, self.caller, &Selection { name: None, arn: Some(arn) })?;
        let now = now_ms();
        self.service.catalog.change(&stream, |record| {
            check_active(record, now)?;
            if request.current_version.as_ref().is_some_and(|version| *version != record.version) {
                return Err(ServiceError::version_mismatch());
            }
            record.gone_at_ms = Some(now + self.state_delay_ms());
            Ok(())
        })?;
        // The media is unreachable from now on, whatever the status says.
        stream.media.delete();
        if self.state_delay_ms() == 0 {
            self.service.catalog.sweep()?;
        }
        Ok(json!({}))
    }

    fn update_stream(&self, request: UpdateStream) -> Answer {
        request.device_name.as_deref().map_or(Ok(()), shapes::device_name)?;
        request.media_type.as_deref().map_or(Ok(()), shapes::media_type)?;
        let version = required(request.current_version, "CurrentVersion")?;
        self.versioned_change(&request.stream, &version, |record| {
            // What is left out is kept: an assumption, the service does not say.
            record.device_name = request.device_name.or_else(|| record.device_name.take());
            record.media_type = request.media_type.or_else(|| record.media_type.take());
            record.updated_at_ms = now_ms() + self.state_delay_ms();
            Ok(())
        })?;
        Ok(json!({}))
    }

    fn update_data_retention(&self, request: &UpdateDataRetention) -> Answer {
        let version = required(request.current_version.as_deref(), "CurrentVersion")?;
        let change = required(request.data_retention_change_in_hours, "DataRetentionChangeInHours")?;
        if change < 1 {
            return Err(ServiceError::invalid_argument("DataRetentionChangeInHours must be at least 1"));
        }
        let change = match request.operation.as_deref() {
            Some("INCREASE_DATA_RETENTION") => change,
            Some("DECREASE_DATA_RETENTION") => -change,
            _ => {
                return Err(ServiceError::invalid_argument(
                    "Operation must be INCREASE_DATA_RETENTION or DECREASE_DATA_RETENTION",
                ));
            }
        };
        let (stream, record) = self.versioned_change(&request.stream, version, |record| {
            let now = now_ms();
            let hours = shapes::retention(i64::from(record.retention_hours).saturating_add(change))?;
            // A decrease deletes at once what is older, and a later increase must not bring it back.
            record.kept_from_ms = record.kept_from(now);
            record.retention_hours = hours;
            record.kept_from_ms = if hours == 0 { now } else { record.kept_from(now) };
            Ok(())
        })?;
        stream.media.purge(record.kept_from_ms)?;
        Ok(json!({}))
    }

    fn tag_stream(&self, request: TagStream) -> Answer {
        let tags = required(request.tags, "Tags")?;
        shapes::tags(&tags)?;
        let stream = self.select_for_tags(&request.stream)?;
        self.service.catalog.change(&stream, |record| {
            record.tags.extend(tags);
            if record.tags.len() > shapes::TAGS_MAX { Err(ServiceError::too_many_tags()) } else { Ok(()) }
        })?;
        Ok(json!({}))
    }

    fn untag_stream(&self, request: UntagStream) -> Answer {
        let keys = required(request.tag_key_list, "TagKeyList")?;
        shapes::tag_keys(&keys)?;
        let stream = self.select_for_tags(&request.stream)?;
        self.service.catalog.change(&stream, |record| {
            record.tags.retain(|key, _| !keys.contains(key));
            Ok::<(), ServiceError>(())
        })?;
        Ok(json!({}))
    }

    fn list_tags(&self, request: &Selection) -> Answer {
        let stream = self.select_for_tags(request)?;
        Ok(json!({"Tags": stream.record().tags}))
    }

    fn describe_storage(&self, request: &Selection) -> Answer {
        let record = select(self.service, self.caller, request)?.record();
        Ok(json!({
            "StreamName": record.name,
            "StreamARN": record.arn(),
            "StreamStorageConfiguration": {"DefaultStorageTier": record.tier},
        }))
    }

    fn update_storage(&self, request: &UpdateStreamStorage) -> Answer {
        let version = required(request.current_version.as_deref(), "CurrentVersion")?;
        let configuration =
            required(request.stream_storage_configuration.as_ref(), "StreamStorageConfiguration")?;
        let tier = tier(configuration)?;
        self.versioned_change(&request.stream, version, |record| {
            record.tier = tier;
            record.updated_at_ms = now_ms() + self.state_delay_ms();
            Ok(())
        })?;
        Ok(json!({}))
    }

    fn data_endpoint(&self, request: &GetDataEndpoint) -> Answer {
        let api = required(request.api_name.as_deref(), "APIName")?;
        let stream = select_serving(self.service, self.caller, &request.stream)?;
        let endpoint = endpoint::endpoint(&self.service.advertise, &stream.record().arn(), api)?;
        Ok(json!({ "DataEndpoint": endpoint }))
    }

    fn select_for_tags(&self, selection: &Selection) -> Result<Arc<Stream>, ServiceError> {
        select_or(self.service, self.caller, selection, |message| {
            ServiceError::invalid_resource_format(message)
        })
    }

    /// A change that needs the current version and gives a new one.
    fn versioned_change(
        &self,
        selection: &Selection,
        version: &str,
        edit: impl FnOnce(&mut StreamRecord) -> Result<(), ServiceError>,
    ) -> Result<(Arc<Stream>, Arc<StreamRecord>), ServiceError> {
        shapes::version(version)?;
        let stream = select(self.service, self.caller, selection)?;
        let record = self.service.catalog.change(&stream, |record| {
            check_active(record, now_ms())?;
            if record.version != version {
                return Err(ServiceError::version_mismatch());
            }
            edit(record)?;
            record.version = new_version();
            Ok(())
        })?;
        Ok((stream, record))
    }

    fn state_delay_ms(&self) -> u64 {
        self.service.options.state_delay.as_millis() as u64
    }
}

fn check_active(record: &StreamRecord, now_ms: u64) -> Result<(), ServiceError> {
    match record.status(now_ms) {
        Some(StreamStatus::Active) => Ok(()),
        Some(_) => {
            Err(ServiceError::in_use(format!("The stream {} is not in the ACTIVE state.", record.name)))
        }
        None => Err(ServiceError::not_found()),
    }
}

fn stream_info(record: &StreamRecord, status: StreamStatus) -> Value {
    let StreamRecord { region, account, .. } = record;
    let default_key = || format!("arn:aws:kms:{region}:{account}:alias/aws/kinesisvideo");
    let mut members = Map::new();
    let mut put = |member: &str, value: Value| {
        members.insert(member.to_owned(), value);
    };
    put("StreamName", record.name.as_str().into());
    put("StreamARN", record.arn().into());
    put("KmsKeyId", record.kms_key_id.clone().unwrap_or_else(default_key).into());
    put("Version", record.version.as_str().into());
    put("Status", json!(status));
    put("CreationTime", seconds(record.created_ms).into());
    put("DataRetentionInHours", record.retention_hours.into());
    if let Some(device) = &record.device_name {
        put("DeviceName", device.as_str().into());
    }
    if let Some(media_type) = &record.media_type {
        put("MediaType", media_type.as_str().into());
    }
    Value::Object(members)
}

fn name_from_token(token: &str) -> Result<String, ServiceError> {
    shapes::next_token(token)?;
    let name = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| ServiceError::invalid_argument("NextToken is not one of ours"))
}

fn name_prefix(condition: StreamNameCondition) -> Result<String, ServiceError> {
    match condition.comparison_operator.as_deref() {
        None | Some("BEGINS_WITH") => {}
        Some(_) => return Err(ServiceError::invalid_argument("ComparisonOperator must be BEGINS_WITH")),
    }
    let prefix = condition.comparison_value.unwrap_or_default();
    if !prefix.is_empty() {
        shapes::stream_name(&prefix)?;
    }
    Ok(prefix)
}

impl From<io::Error> for ServiceError {
    fn from(error: io::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "The data folder does not answer");
        Self::internal("the data folder does not answer")
    }
}
