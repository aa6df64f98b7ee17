//! The calls to Kinesis Video Streams.

use std::collections::BTreeMap;

use aws_sdk_kinesisvideo::error::BuildError;
use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

use super::super::{AwsError, ErrorKind, NewStream, RetentionChange, StreamInfo, StreamUpdate, Which};
use super::call::Request;
use super::{SdkCloud, convert};

/// The page size of `ListStreams`: the service's most (`ListStreamsInputLimit`).
const LIST_PAGE: i32 = 10_000;

impl SdkCloud {
    pub(super) async fn create(&self, stream: &NewStream) -> Result<String, AwsError> {
        let tags: std::collections::HashMap<_, _> = stream.tags.clone().into_iter().collect();
        let mut request = self
            .clients
            .kinesis_video
            .create_stream()
            .stream_name(&stream.name)
            .data_retention_in_hours(stream.retention_hours)
            .set_kms_key_id(stream.kms_key_id.clone())
            .set_media_type(stream.media_type.clone())
            .set_device_name(stream.device_name.clone())
            // An empty map is not valid.
            .set_tags((!tags.is_empty()).then_some(tags));
        if let Some(tier) = stream.storage_tier {
            let tier = convert::storage_configuration(tier).map_err(|error| built("CreateStream", &error))?;
            request = request.stream_storage_configuration(tier);
        }
        let answer =
            self.call(Request::change("CreateStream", &stream.name), || request.clone().send()).await?;
        Ok(answer.stream_arn.unwrap_or_default())
    }

    pub(super) async fn describe_one(&self, which: Which<'_>) -> Result<Option<StreamInfo>, AwsError> {
        let request = self.clients.kinesis_video.describe_stream();
        let (request, stream) = match which {
            Which::Name(name) => (request.stream_name(name), name),
            Which::Arn(arn) => (request.stream_arn(arn), arn),
        };
        let spec = Request::read("DescribeStream").of(stream);
        match self.call(spec, || request.clone().send()).await {
            // What cannot be read is not what is not there.
            Ok(answer) => match answer.stream_info.and_then(convert::stream_info) {
                Some(info) => Ok(Some(info)),
                None => Err(AwsError {
                    operation: "DescribeStream",
                    kind: ErrorKind::Other,
                    message: "the answer lacks what every stream has".to_owned(),
                }),
            },
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<StreamInfo>, AwsError> {
        let mut streams = Vec::new();
        let mut token = None;
        loop {
            let request =
                self.clients.kinesis_video.list_streams().max_results(LIST_PAGE).set_next_token(token);
            let page = self.call(Request::read("ListStreams"), || request.clone().send()).await?;
            streams.extend(
                page.stream_info_list.unwrap_or_default().into_iter().filter_map(convert::stream_info),
            );
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(streams);
            }
        }
    }

    pub(super) async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let mut tags = BTreeMap::new();
        let mut token = None;
        loop {
            let request =
                self.clients.kinesis_video.list_tags_for_stream().stream_arn(arn).set_next_token(token);
            let spec = Request::read("ListTagsForStream").of(arn);
            let page = self.call(spec, || request.clone().send()).await?;
            tags.extend(page.tags.unwrap_or_default());
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(tags);
            }
        }
    }

    pub(super) async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let tags = tags.clone().into_iter().collect();
        let request = self.clients.kinesis_video.tag_stream().stream_arn(arn).set_tags(Some(tags));
        self.call(Request::overwrite("TagStream").of(arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), AwsError> {
        let request =
            self.clients.kinesis_video.untag_stream().stream_arn(arn).set_tag_key_list(Some(keys.to_vec()));
        self.call(Request::overwrite("UntagStream").of(arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn retention(
        &self,
        arn: &str,
        version: &str,
        change: RetentionChange,
    ) -> Result<(), AwsError> {
        let (operation, hours) = match change {
            RetentionChange::Increase(hours) => (UpdateDataRetentionOperation::IncreaseDataRetention, hours),
            RetentionChange::Decrease(hours) => (UpdateDataRetentionOperation::DecreaseDataRetention, hours),
        };
        let request = self
            .clients
            .kinesis_video
            .update_data_retention()
            .stream_arn(arn)
            .current_version(version)
            .operation(operation)
            .data_retention_change_in_hours(hours);
        self.call(Request::once("UpdateDataRetention", arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn delete(&self, arn: &str, version: &str) -> Result<(), AwsError> {
        let request = self.clients.kinesis_video.delete_stream().stream_arn(arn).current_version(version);
        match self.call(Request::once("DeleteStream", arn), || request.clone().send()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn update(
        &self,
        arn: &str,
        version: &str,
        update: &StreamUpdate,
    ) -> Result<(), AwsError> {
        let request = self
            .clients
            .kinesis_video
            .update_stream()
            .stream_arn(arn)
            .current_version(version)
            .set_device_name(update.device_name.clone())
            .set_media_type(update.media_type.clone());
        self.call(Request::once("UpdateStream", arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn tier(&self, arn: &str) -> Result<StorageTier, AwsError> {
        const OPERATION: &str = "DescribeStreamStorageConfiguration";
        let request = self.clients.kinesis_video.describe_stream_storage_configuration().stream_arn(arn);
        let answer = self.call(Request::read(OPERATION).of(arn), || request.clone().send()).await?;
        let configuration = answer.stream_storage_configuration.as_ref();
        // A stream that was made before there were tiers is in the only one that there was.
        configuration.map_or(Ok(StorageTier::Hot), |configuration| {
            convert::storage_tier(configuration).ok_or_else(|| AwsError {
                operation: OPERATION,
                kind: ErrorKind::Other,
                message: "the stream is in a storage tier that this release does not know".to_owned(),
            })
        })
    }

    pub(super) async fn change_tier(
        &self,
        arn: &str,
        version: &str,
        tier: StorageTier,
    ) -> Result<(), AwsError> {
        const OPERATION: &str = "UpdateStreamStorageConfiguration";
        let tier = convert::storage_configuration(tier).map_err(|error| built(OPERATION, &error))?;
        let request = self
            .clients
            .kinesis_video
            .update_stream_storage_configuration()
            .stream_arn(arn)
            .current_version(version)
            .stream_storage_configuration(tier);
        self.call(Request::once(OPERATION, arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn images(&self, arn: &str) -> Result<Option<ImageGeneration>, AwsError> {
        let request = self.clients.kinesis_video.describe_image_generation_configuration().stream_arn(arn);
        let spec = Request::read("DescribeImageGenerationConfiguration").of(arn);
        let answer = self.call(spec, || request.clone().send()).await?;
        Ok(answer.image_generation_configuration.as_ref().and_then(convert::images))
    }

    pub(super) async fn set_images(
        &self,
        arn: &str,
        images: Option<&ImageGeneration>,
    ) -> Result<(), AwsError> {
        const OPERATION: &str = "UpdateImageGenerationConfiguration";
        let configuration = images
            .map(|images| convert::images_to_sdk(images, &self.place.region))
            .transpose()
            .map_err(|error| built(OPERATION, &error))?;
        let request = self
            .clients
            .kinesis_video
            .update_image_generation_configuration()
            .stream_arn(arn)
            .set_image_generation_configuration(configuration);
        self.call(Request::overwrite(OPERATION).of(arn), || request.clone().send()).await.map(drop)
    }

    pub(super) async fn notifications(&self, arn: &str) -> Result<Option<Notification>, AwsError> {
        let request = self.clients.kinesis_video.describe_notification_configuration().stream_arn(arn);
        let spec = Request::read("DescribeNotificationConfiguration").of(arn);
        let answer = self.call(spec, || request.clone().send()).await?;
        Ok(answer.notification_configuration.as_ref().and_then(convert::notification))
    }

    pub(super) async fn set_notifications(
        &self,
        arn: &str,
        notification: Option<&Notification>,
    ) -> Result<(), AwsError> {
        const OPERATION: &str = "UpdateNotificationConfiguration";
        let configuration = notification
            .map(convert::notification_to_sdk)
            .transpose()
            .map_err(|error| built(OPERATION, &error))?;
        let request = self
            .clients
            .kinesis_video
            .update_notification_configuration()
            .stream_arn(arn)
            .set_notification_configuration(configuration);
        self.call(Request::overwrite(OPERATION).of(arn), || request.clone().send()).await.map(drop)
    }
}

/// A request that the SDK does not build: a value that it needs is missing.
fn built(operation: &'static str, error: &BuildError) -> AwsError {
    AwsError { operation, kind: ErrorKind::InvalidArgument, message: error.to_string() }
}
