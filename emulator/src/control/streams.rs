//! Streams: their life, retention, storage tier and endpoints.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use serde_json::json;

use super::{
    Answer, At, Control, Phases, ResourceKey, Scope, Selection, Status, StreamRecord, Tier, arn,
    info::{StreamInfo, StreamPage},
    model::model,
    name_from_token,
    requests::{
        CreateStream, DeleteStream, GetDataEndpoint, ListNames, StreamStorageConfiguration,
        UpdateDataRetention, UpdateStream, UpdateStreamStorage,
    },
    tags,
};
use crate::{endpoint, error::ServiceError};

/// Longest retention: 10 years (`UpdateDataRetention`).
const RETENTION_HOURS_MAX: u32 = 87_600;
/// Streams on one page of `ListStreams` that asks for no number.
const LIST_STREAMS_DEFAULT: usize = 10_000;

/// `DataRetentionInHours`.
fn retention(hours: i64) -> Result<u32, ServiceError> {
    let fits = u32::try_from(hours).ok().filter(|hours| *hours <= RETENTION_HOURS_MAX);
    fits.ok_or_else(|| ServiceError::invalid_argument("DataRetentionInHours must be 0-87600"))
}

/// Those of a scope whose names begin with `prefix` and come after `after`, in the order of their names.
pub fn names_after<'a, T>(
    all: &'a BTreeMap<ResourceKey, Arc<T>>,
    scope: &'a Scope,
    prefix: &'a str,
    after: Option<&str>,
) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(ResourceKey::new(scope, after)),
        _ => Bound::Included(ResourceKey::new(scope, prefix)),
    };
    all.range((from, Bound::Unbounded))
        .take_while(move |(key, _)| key.is_in(scope) && key.name.starts_with(prefix))
        .map(|(_, found)| found)
}

/// Refuses what is not `ACTIVE`.
pub fn check_active(phases: &Phases, what: &str, now: u64) -> Result<(), ServiceError> {
    match phases.status(now) {
        Some(Status::Active) => Ok(()),
        Some(_) => Err(ServiceError::in_use(format!("The {what} is not in the ACTIVE state."))),
        None => Err(ServiceError::not_found()),
    }
}

impl Control {
    pub(super) fn create_stream(&mut self, at: &At<'_>, request: CreateStream) -> Answer {
        let retention_hours = retention(request.data_retention_in_hours)?;
        tags::check_keys(request.tags.keys())?;
        let name = request.stream_name;
        if self.streams.contains_key(&ResourceKey::new(at.scope, &*name)) {
            return Err(ServiceError::in_use(format!("The stream {name} already exists.")));
        }
        if self.counts.get(at.scope).is_some_and(|count| *count >= self.options.streams_max) {
            return Err(ServiceError::too_many_streams());
        }
        let Scope { account, region } = at.scope.clone();
        let configuration = request.stream_storage_configuration;
        let record = StreamRecord {
            account,
            region,
            name,
            created_ms: self.new_created_ms(at.now),
            version: self.new_version(),
            retention_hours,
            media_type: request.media_type,
            device_name: request.device_name,
            kms_key_id: request.kms_key_id,
            tags: request.tags,
            tier: configuration.map_or(Tier::Hot, |configuration| configuration.default_storage_tier),
            phases: Phases { active_at_ms: at.now + self.options.creating_ms, ..Phases::default() },
            kept_from_ms: 0,
            image_generation: None,
            notification: None,
            edge: None,
        };
        let record = self.put_stream(record, Some(at.now));
        Ok(json!({"StreamARN": record.arn()}))
    }

    pub(super) fn describe_stream(&self, at: &At<'_>, request: &Selection) -> Answer {
        let record = self.find_stream(at, request)?;
        let status = record.status(at.now).ok_or_else(ServiceError::not_found)?;
        Ok(json!({"StreamInfo": StreamInfo { record, status }}))
    }

    pub(super) fn list_streams(&self, at: &At<'_>, request: &ListNames) -> Result<StreamPage, ServiceError> {
        let after = request.next_token.as_deref().map(name_from_token).transpose()?;
        // The states too are those of then.
        let then = at.now.saturating_sub(self.options.list_lag_ms);
        let mut found = self
            .listing
            .after(at.scope, &request.condition.comparison_value, after.as_deref())
            .filter_map(|record| Some(StreamInfo { status: record.status(then)?, record: record.clone() }));
        let limit = request.max_results.unwrap_or(LIST_STREAMS_DEFAULT);
        let streams: Vec<StreamInfo> = found.by_ref().take(limit).collect();
        let next_token =
            streams.last().filter(|_| found.next().is_some()).map(|last| hex::encode(&last.record.name));
        Ok(StreamPage { streams, next_token })
    }

    pub(super) fn delete_stream(&mut self, at: &At<'_>, request: DeleteStream) -> Answer {
        let record = self.find_stream(at, &Selection { name: None, arn: Some(request.arn) })?;
        check_active(&record.phases, &format!("stream {}", record.name), at.now)?;
        if request.current_version.is_some_and(|version| version != record.version) {
            return Err(ServiceError::version_mismatch());
        }
        let mut record = StreamRecord::clone(&record);
        record.phases.gone_at_ms = Some(at.now + self.options.deleting_ms);
        self.put_stream(record, Some(at.now));
        self.pass(at.now);
        Ok(json!({}))
    }

    pub(super) fn update_stream(&mut self, at: &At<'_>, request: UpdateStream) -> Answer {
        let updated_at_ms = at.now + self.options.updating_ms;
        self.versioned_change(at, &request.stream, &request.current_version, |record| {
            // What is left out is kept: an assumption, the service does not say.
            record.device_name = request.device_name.or_else(|| record.device_name.take());
            record.media_type = request.media_type.or_else(|| record.media_type.take());
            record.phases.updated_at_ms = updated_at_ms;
            Ok(())
        })
    }

    pub(super) fn update_data_retention(&mut self, at: &At<'_>, request: &UpdateDataRetention) -> Answer {
        let change = request.data_retention_change_in_hours;
        let change = if request.operation == "DECREASE_DATA_RETENTION" { -change } else { change };
        let now = at.now;
        let updated_at_ms = self.options.retention_updates.then_some(now + self.options.updating_ms);
        self.versioned_change(at, &request.stream, &request.current_version, |record| {
            let hours = retention(i64::from(record.retention_hours).saturating_add(change))?;
            // A decrease deletes at once what is older, and a later increase must not bring it back.
            record.kept_from_ms = record.kept_from(now);
            record.retention_hours = hours;
            record.kept_from_ms = if hours == 0 { now } else { record.kept_from(now) };
            record.phases.updated_at_ms = updated_at_ms.unwrap_or(record.phases.updated_at_ms);
            Ok(())
        })
    }

    pub(super) fn describe_storage(&self, at: &At<'_>, request: &Selection) -> Answer {
        let record = self.find_stream(at, request)?;
        Ok(json!({
            "StreamName": record.name,
            "StreamARN": record.arn(),
            "StreamStorageConfiguration": {"DefaultStorageTier": record.tier},
        }))
    }

    pub(super) fn update_storage(&mut self, at: &At<'_>, request: &UpdateStreamStorage) -> Answer {
        let StreamStorageConfiguration { default_storage_tier: tier } = request.stream_storage_configuration;
        let updated_at_ms = at.now + self.options.updating_ms;
        self.versioned_change(at, &request.stream, &request.current_version, |record| {
            record.tier = tier;
            record.phases.updated_at_ms = updated_at_ms;
            Ok(())
        })
    }

    pub(super) fn data_endpoint(&self, at: &At<'_>, request: &GetDataEndpoint) -> Answer {
        let record = self.find_stream(at, &request.stream)?;
        if !matches!(record.status(at.now), Some(Status::Active | Status::Updating)) {
            return Err(ServiceError::not_found());
        }
        let endpoint = endpoint::endpoint(&self.options.advertise, &record.arn(), &request.api_name)?;
        Ok(json!({ "DataEndpoint": endpoint }))
    }

    /// The stream that a request names, if the caller may see it.
    pub(super) fn find_stream(
        &self,
        at: &At<'_>,
        selection: &Selection,
    ) -> Result<Arc<StreamRecord>, ServiceError> {
        match (&selection.name, &selection.arn) {
            (Some(name), None) => self.stream(at.scope, name).cloned().ok_or_else(ServiceError::not_found),
            (None, Some(text)) => {
                let arn = own_arn(at, text, "stream")?;
                let record = self.stream(at.scope, arn.name).ok_or_else(ServiceError::not_found)?;
                let is_same = arn.region == at.scope.region && arn.created_ms == record.created_ms;
                if is_same { Ok(record.clone()) } else { Err(ServiceError::not_found()) }
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(ServiceError::invalid_argument("exactly one of StreamName and StreamARN must be given"))
            }
        }
    }

    /// A change that needs the current version and gives a new one.
    fn versioned_change(
        &mut self,
        at: &At<'_>,
        selection: &Selection,
        version: &str,
        edit: impl FnOnce(&mut StreamRecord) -> Result<(), ServiceError>,
    ) -> Answer {
        let record = self.find_stream(at, selection)?;
        check_active(&record.phases, &format!("stream {}", record.name), at.now)?;
        if record.version != version {
            return Err(ServiceError::version_mismatch());
        }
        let mut record = StreamRecord::clone(&record);
        edit(&mut record)?;
        record.version = self.new_version();
        self.put_stream(record, Some(at.now));
        Ok(json!({}))
    }
}

/// An ARN of this kind in the caller's account. Another account's is refused, whether there is such a thing or not.
pub fn own_arn<'a>(at: &At<'_>, text: &'a str, kind: &str) -> Result<arn::Arn<'a>, ServiceError> {
    let operation = at.operation.name();
    let malformed = || {
        let message = format!("'{text}' is no ARN of a {kind}");
        if model().has_error(operation, "InvalidResourceFormatException") {
            ServiceError::invalid_resource_format(message)
        } else {
            ServiceError::invalid_argument(message)
        }
    };
    let arn = arn::parse(text).filter(|arn| arn.kind == kind).ok_or_else(malformed)?;
    if arn.account == at.scope.account {
        return Ok(arn);
    }
    let message = format!("the caller may not use another account's {kind}");
    Err(if model().has_error(operation, "NotAuthorizedException") {
        ServiceError::not_authorized(message)
    } else {
        ServiceError::access_denied(message)
    })
}
