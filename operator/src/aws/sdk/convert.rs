//! The SDK's types and ours. What a later service says beyond what is known here is never taken for something known.

use aws_sdk_cloudwatch::types as cw;
use aws_sdk_kinesisvideo::error::BuildError;
use aws_sdk_kinesisvideo::types as kv;
use jiff::Timestamp;
use streamfleet_crds::{AlarmState, ImageFormat, ImageGeneration, ImageTimestamp, Notification, StorageTier};

use super::super::{
    Alarm, AlarmInfo, AlarmMetric, Comparison, CompositeAlarm, CompositeInfo, MissingData, Statistic,
    StreamInfo, StreamState,
};

/// The namespace of the service's metrics.
pub(super) const NAMESPACE: &str = "AWS/KinesisVideo";
/// The dimension that names a stream.
pub(super) const STREAM_DIMENSION: &str = "StreamName";
/// The ID of the one query of an alarm on a query.
pub(super) const QUERY_ID: &str = "q1";

/// A stream as the service describes it; `None` where it leaves out what every stream has. The texts are moved: lists are long.
pub(super) fn stream_info(info: kv::StreamInfo) -> Option<StreamInfo> {
    let state = match info.status? {
        kv::Status::Creating => StreamState::Creating,
        kv::Status::Active => StreamState::Active,
        kv::Status::Deleting => StreamState::Deleting,
        // A state of a later service is one in which nothing should be changed.
        _ => StreamState::Updating,
    };
    let text = |value: Option<String>| value.filter(|value| !value.is_empty());
    Some(StreamInfo {
        name: info.stream_name?,
        arn: info.stream_arn?,
        version: info.version?,
        state,
        // Changes are sent as differences from it: one that is not said is not taken for 0.
        retention_hours: info.data_retention_in_hours?,
        created: info.creation_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
        kms_key_id: text(info.kms_key_id),
        media_type: text(info.media_type),
        device_name: text(info.device_name),
    })
}

pub(super) fn storage_configuration(tier: StorageTier) -> Result<kv::StreamStorageConfiguration, BuildError> {
    let tier = match tier {
        StorageTier::Hot => kv::DefaultStorageTier::Hot,
        StorageTier::Warm => kv::DefaultStorageTier::Warm,
    };
    kv::StreamStorageConfiguration::builder().default_storage_tier(tier).build()
}

/// `None` for a tier that is not known here.
pub(super) fn storage_tier(configuration: &kv::StreamStorageConfiguration) -> Option<StorageTier> {
    match configuration.default_storage_tier() {
        kv::DefaultStorageTier::Hot => Some(StorageTier::Hot),
        kv::DefaultStorageTier::Warm => Some(StorageTier::Warm),
        _ => None,
    }
}

/// The key is the only one that the service knows for formats.
pub(super) fn images_to_sdk(
    images: &ImageGeneration,
    region: &str,
) -> Result<kv::ImageGenerationConfiguration, BuildError> {
    let destination = kv::ImageGenerationDestinationConfig::builder()
        .uri(&images.destination_uri)
        .destination_region(images.destination_region.as_deref().unwrap_or(region))
        .build()?;
    let mut builder = kv::ImageGenerationConfiguration::builder()
        .status(kv::ConfigurationStatus::Enabled)
        .image_selector_type(match images.timestamp {
            ImageTimestamp::Server => kv::ImageSelectorType::ServerTimestamp,
            ImageTimestamp::Producer => kv::ImageSelectorType::ProducerTimestamp,
        })
        .destination_config(destination)
        .sampling_interval(images.sampling_interval_millis)
        .format(match images.format {
            ImageFormat::Jpeg => kv::Format::Jpeg,
            ImageFormat::Png => kv::Format::Png,
        })
        .set_width_pixels(images.width_pixels)
        .set_height_pixels(images.height_pixels);
    if let Some(quality) = images.jpeg_quality {
        builder = builder.format_config(kv::FormatConfigKey::JpegQuality, quality.to_string());
    }
    builder.build()
}

/// `None` where it is off, or nothing that we could have set.
pub(super) fn images(configuration: &kv::ImageGenerationConfiguration) -> Option<ImageGeneration> {
    if *configuration.status() != kv::ConfigurationStatus::Enabled {
        return None;
    }
    let destination = configuration.destination_config()?;
    let quality =
        configuration.format_config().and_then(|config| config.get(&kv::FormatConfigKey::JpegQuality));
    Some(ImageGeneration {
        timestamp: match configuration.image_selector_type() {
            kv::ImageSelectorType::ServerTimestamp => ImageTimestamp::Server,
            kv::ImageSelectorType::ProducerTimestamp => ImageTimestamp::Producer,
            _ => return None,
        },
        destination_uri: destination.uri().to_owned(),
        destination_region: Some(destination.destination_region().to_owned()),
        sampling_interval_millis: configuration.sampling_interval(),
        format: match configuration.format() {
            kv::Format::Jpeg => ImageFormat::Jpeg,
            kv::Format::Png => ImageFormat::Png,
            _ => return None,
        },
        jpeg_quality: quality.and_then(|quality| quality.parse().ok()),
        width_pixels: configuration.width_pixels(),
        height_pixels: configuration.height_pixels(),
    })
}

pub(super) fn notification_to_sdk(
    notification: &Notification,
) -> Result<kv::NotificationConfiguration, BuildError> {
    let destination = kv::NotificationDestinationConfig::builder().uri(&notification.topic_arn).build()?;
    kv::NotificationConfiguration::builder()
        .status(kv::ConfigurationStatus::Enabled)
        .destination_config(destination)
        .build()
}

/// `None` where it is off.
pub(super) fn notification(configuration: &kv::NotificationConfiguration) -> Option<Notification> {
    let is_on = *configuration.status() == kv::ConfigurationStatus::Enabled;
    let destination = configuration.destination_config().filter(|_| is_on)?;
    Some(Notification { topic_arn: destination.uri().to_owned() })
}

pub(super) fn statistic_to_sdk(statistic: Statistic) -> cw::Statistic {
    match statistic {
        Statistic::Sum => cw::Statistic::Sum,
        Statistic::Average => cw::Statistic::Average,
        Statistic::Maximum => cw::Statistic::Maximum,
        Statistic::Minimum => cw::Statistic::Minimum,
        Statistic::SampleCount => cw::Statistic::SampleCount,
    }
}

fn statistic(statistic: &cw::Statistic) -> Option<Statistic> {
    match statistic {
        cw::Statistic::Sum => Some(Statistic::Sum),
        cw::Statistic::Average => Some(Statistic::Average),
        cw::Statistic::Maximum => Some(Statistic::Maximum),
        cw::Statistic::Minimum => Some(Statistic::Minimum),
        cw::Statistic::SampleCount => Some(Statistic::SampleCount),
        _ => None,
    }
}

pub(super) fn comparison_to_sdk(comparison: Comparison) -> cw::ComparisonOperator {
    match comparison {
        Comparison::LessThan => cw::ComparisonOperator::LessThanThreshold,
        Comparison::LessThanOrEqual => cw::ComparisonOperator::LessThanOrEqualToThreshold,
        Comparison::GreaterThan => cw::ComparisonOperator::GreaterThanThreshold,
        Comparison::GreaterThanOrEqual => cw::ComparisonOperator::GreaterThanOrEqualToThreshold,
    }
}

fn comparison(operator: &cw::ComparisonOperator) -> Option<Comparison> {
    match operator {
        cw::ComparisonOperator::LessThanThreshold => Some(Comparison::LessThan),
        cw::ComparisonOperator::LessThanOrEqualToThreshold => Some(Comparison::LessThanOrEqual),
        cw::ComparisonOperator::GreaterThanThreshold => Some(Comparison::GreaterThan),
        cw::ComparisonOperator::GreaterThanOrEqualToThreshold => Some(Comparison::GreaterThanOrEqual),
        _ => None,
    }
}

pub(super) const fn missing_data_to_sdk(missing: MissingData) -> &'static str {
    match missing {
        MissingData::Breaching => "breaching",
        MissingData::NotBreaching => "notBreaching",
        MissingData::Ignore => "ignore",
        MissingData::Missing => "missing",
    }
}

/// The service's default is `missing`.
fn missing_data(text: Option<&str>) -> MissingData {
    match text {
        Some("breaching") => MissingData::Breaching,
        Some("notBreaching") => MissingData::NotBreaching,
        Some("ignore") => MissingData::Ignore,
        _ => MissingData::Missing,
    }
}

fn alarm_state(state: Option<&cw::StateValue>) -> AlarmState {
    match state {
        Some(cw::StateValue::Ok) => AlarmState::Ok,
        Some(cw::StateValue::Alarm) => AlarmState::Alarm,
        _ => AlarmState::InsufficientData,
    }
}

fn since(
    transitioned: Option<&aws_sdk_cloudwatch::primitives::DateTime>,
    updated: Option<&aws_sdk_cloudwatch::primitives::DateTime>,
) -> Option<Timestamp> {
    transitioned.or(updated).and_then(|time| Timestamp::from_second(time.secs()).ok())
}

fn owned(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

/// A metric alarm as the service describes it; `None` where it has no name.
pub(super) fn alarm_info(alarm: &cw::MetricAlarm) -> Option<AlarmInfo> {
    let (metric, period_seconds) = metric(alarm);
    Some(AlarmInfo {
        alarm: Alarm {
            name: alarm.alarm_name()?.to_owned(),
            description: owned(alarm.alarm_description()),
            metric,
            comparison: alarm
                .comparison_operator()
                .and_then(comparison)
                .unwrap_or(Comparison::GreaterThanOrEqual),
            threshold: alarm.threshold().unwrap_or_default(),
            period_seconds,
            evaluation_periods: alarm.evaluation_periods().unwrap_or_default(),
            // Without a number all periods have to breach.
            datapoints_to_alarm: alarm
                .datapoints_to_alarm()
                .or_else(|| alarm.evaluation_periods())
                .unwrap_or_default(),
            missing_data: missing_data(alarm.treat_missing_data()),
            actions: alarm.alarm_actions().to_vec(),
            actions_enabled: alarm.actions_enabled().unwrap_or(true),
            tags: std::collections::BTreeMap::new(),
        },
        arn: owned(alarm.alarm_arn()),
        state: alarm_state(alarm.state_value()),
        reason: owned(alarm.state_reason()),
        since: since(alarm.state_transitioned_timestamp(), alarm.state_updated_timestamp()),
    })
}

/// What a metric alarm looks at, and its period. An alarm that somebody rewrote into something that we never make is `Other`, so
/// that it differs from every alarm that is wanted.
fn metric(alarm: &cw::MetricAlarm) -> (AlarmMetric, i32) {
    let dimension = alarm.dimensions().first();
    let stream = dimension
        .filter(|dimension| dimension.name() == Some(STREAM_DIMENSION) && alarm.dimensions().len() == 1)
        .and_then(|dimension| dimension.value());
    let period = alarm.period().unwrap_or_default();
    let other = || (AlarmMetric::Other { stream_name: stream.map(ToOwned::to_owned) }, period);
    let is_ours = alarm.alarm_actions() == alarm.ok_actions()
        && alarm.insufficient_data_actions().is_empty()
        && alarm.unit().is_none()
        && alarm.extended_statistic().is_none()
        && alarm.comparison_operator().is_some_and(|operator| comparison(operator).is_some());
    if !is_ours {
        return other();
    }
    match alarm.metrics() {
        [] => match (alarm.metric_name(), stream, alarm.statistic().and_then(statistic)) {
            (Some(metric), Some(stream), Some(statistic)) if alarm.namespace() == Some(NAMESPACE) => {
                let (metric, stream_name) = (metric.to_owned(), stream.to_owned());
                (AlarmMetric::Stream { metric, stream_name, statistic }, period)
            }
            _ => other(),
        },
        [query] => match query.expression() {
            Some(expression) => {
                (AlarmMetric::Insights(expression.to_owned()), query.period().unwrap_or(period))
            }
            None => other(),
        },
        _ => other(),
    }
}

/// A composite alarm as the service describes it; `None` where it has no name.
pub(super) fn composite_info(alarm: &cw::CompositeAlarm) -> Option<CompositeInfo> {
    Some(CompositeInfo {
        alarm: CompositeAlarm {
            name: alarm.alarm_name()?.to_owned(),
            description: owned(alarm.alarm_description()),
            rule: owned(alarm.alarm_rule()),
            actions: alarm.alarm_actions().to_vec(),
            actions_enabled: alarm.actions_enabled().unwrap_or(true),
            tags: std::collections::BTreeMap::new(),
        },
        arn: owned(alarm.alarm_arn()),
        state: alarm_state(alarm.state_value()),
        reason: owned(alarm.state_reason()),
        since: since(alarm.state_transitioned_timestamp(), alarm.state_updated_timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_retention_is_not_one_that_keeps_nothing() {
        let stream = |retention: Option<i32>| {
            let info = kv::StreamInfo::builder().stream_name("a").stream_arn("arn").version("v");
            let info = info.status(kv::Status::Active).set_data_retention_in_hours(retention).build();
            stream_info(info).map(|info| info.retention_hours)
        };
        assert_eq!([stream(None), stream(Some(0)), stream(Some(24))], [None, Some(0), Some(24)]);
    }
}
