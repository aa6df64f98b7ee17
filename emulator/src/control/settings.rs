//! Image generation and notifications of streams.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, At, Control, Selection, StreamRecord,
    requests::{UpdateImageGeneration, UpdateNotification},
    streams::check_active,
};
use crate::error::ServiceError;

/// The shortest `SamplingInterval` in milliseconds (`ImageGenerationConfiguration`).
const SAMPLING_MS_MIN: i64 = 200;
/// What `JPEGQuality` may be (`ImageGenerationConfiguration`).
const JPEG_QUALITY: std::ops::RangeInclusive<u32> = 1..=100;

impl Control {
    pub(super) fn describe_images(&self, at: &At<'_>, request: &Selection) -> Answer {
        let record = self.find_stream(at, request)?;
        Ok(configuration("ImageGenerationConfiguration", record.image_generation.as_ref()))
    }

    pub(super) fn update_images(&mut self, at: &At<'_>, request: UpdateImageGeneration) -> Answer {
        let image_generation = request.image_generation_configuration;
        image_generation.as_ref().map_or(Ok(()), |configuration| check_images(at, configuration))?;
        let record = self.configurable(at, &request.stream, image_generation.is_some())?;
        self.put_stream(StreamRecord { image_generation, ..StreamRecord::clone(&record) }, Some(at.now));
        Ok(json!({}))
    }

    pub(super) fn describe_notification(&self, at: &At<'_>, request: &Selection) -> Answer {
        let record = self.find_stream(at, request)?;
        Ok(configuration("NotificationConfiguration", record.notification.as_ref()))
    }

    pub(super) fn update_notification(&mut self, at: &At<'_>, request: UpdateNotification) -> Answer {
        let notification = request.notification_configuration;
        notification.as_ref().map_or(Ok(()), check_notification)?;
        let record = self.configurable(at, &request.stream, notification.is_some())?;
        self.put_stream(StreamRecord { notification, ..StreamRecord::clone(&record) }, Some(at.now));
        Ok(json!({}))
    }

    /// The stream, if it can be configured now. That a configuration can be taken away without retention is an assumption.
    fn configurable(
        &self,
        at: &At<'_>,
        selection: &Selection,
        is_set: bool,
    ) -> Result<Arc<StreamRecord>, ServiceError> {
        let record = self.find_stream(at, selection)?;
        check_active(&record.phases, &format!("stream {}", record.name), at.now)?;
        if is_set && record.retention_hours == 0 {
            return Err(ServiceError::no_data_retention());
        }
        Ok(record)
    }
}

fn configuration(member: &str, configuration: Option<&Value>) -> Value {
    configuration.map_or_else(|| json!({}), |configuration| json!({ member: configuration }))
}

/// What the documents say beyond the shapes.
fn check_images(at: &At<'_>, configuration: &Value) -> Result<(), ServiceError> {
    let refuse = |message: &str| Err(ServiceError::invalid_argument(message));
    if configuration["SamplingInterval"].as_i64().is_none_or(|interval| interval < SAMPLING_MS_MIN) {
        return refuse("SamplingInterval must be at least 200");
    }
    if configuration["DestinationConfig"]["DestinationRegion"].as_str() != Some(&at.scope.region) {
        return refuse("DestinationRegion must be the stream's region");
    }
    match &configuration["FormatConfig"]["JPEGQuality"] {
        Value::String(quality) if !quality.parse().is_ok_and(|quality| JPEG_QUALITY.contains(&quality)) => {
            refuse("JPEGQuality must be 1 to 100")
        }
        _ => Ok(()),
    }
}

/// FIFO topics are not supported (the page on notifications); that they are refused here is an assumption.
fn check_notification(configuration: &Value) -> Result<(), ServiceError> {
    match configuration["DestinationConfig"]["Uri"].as_str() {
        Some(uri) if uri.rsplit('.').next() == Some("fifo") => {
            Err(ServiceError::invalid_argument("the topic must be a standard one"))
        }
        _ => Ok(()),
    }
}
