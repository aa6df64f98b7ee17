//! The calls by the AWS SDK: which clients there are, and which call is which. How a call is made is in [`call`].

mod alarms;
mod call;
mod connect;
mod convert;
mod streams;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

use super::pace::Pacer;
use super::{
    Alarm, AlarmInfo, AlarmQuery, Answer, AwsError, Caller, Cloud, Clouds, CompositeAlarm, CompositeInfo,
    NewStream, Place, RetentionChange, StreamInfo, StreamUpdate, Which,
};
use crate::metrics::Metrics;

/// Makes clients, one for each place, and keeps them.
pub struct SdkClouds {
    made: Mutex<HashMap<Place, Arc<dyn Cloud>>>,
    metrics: Arc<Metrics>,
}

impl SdkClouds {
    /// No client yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { made: Mutex::default(), metrics }
    }
}

impl Clouds for SdkClouds {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        async move {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned();
            if let Some(cloud) = made {
                return Ok(cloud);
            }
            let http = connect::http_client(place.ca_bundle.as_deref())?;
            let connect::Clients { kinesis_video, sts, cloud_watch } = connect::clients(place, http).await;
            let cloud: Arc<dyn Cloud> = Arc::new(SdkCloud {
                region: place.region.clone(),
                kinesis_video,
                sts,
                cloud_watch,
                pacer: Pacer::default(),
                metrics: self.metrics.clone(),
            });
            self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone(), cloud.clone());
            Ok(cloud)
        }
        .boxed()
    }

    fn forget(&self, place: &Place) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }
}

/// The calls of one place.
struct SdkCloud {
    region: String,
    kinesis_video: aws_sdk_kinesisvideo::Client,
    sts: aws_sdk_sts::Client,
    cloud_watch: aws_sdk_cloudwatch::Client,
    pacer: Pacer,
    metrics: Arc<Metrics>,
}

impl Cloud for SdkCloud {
    fn caller(&self) -> Answer<'_, Caller> {
        self.identity().boxed()
    }

    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String> {
        self.create(stream).boxed()
    }

    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>> {
        self.describe_one(which).boxed()
    }

    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>> {
        self.list().boxed()
    }

    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        self.tags(arn).boxed()
    }

    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        self.tag(arn, tags).boxed()
    }

    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        self.untag(arn, keys).boxed()
    }

    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()> {
        self.retention(arn, version, change).boxed()
    }

    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()> {
        self.delete(arn, version).boxed()
    }

    fn update_stream<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        update: &'a StreamUpdate,
    ) -> Answer<'a, ()> {
        self.update(arn, version, update).boxed()
    }

    fn storage_tier<'a>(&'a self, arn: &'a str) -> Answer<'a, StorageTier> {
        self.tier(arn).boxed()
    }

    fn change_storage_tier<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        tier: StorageTier,
    ) -> Answer<'a, ()> {
        self.change_tier(arn, version, tier).boxed()
    }

    fn image_generation<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<ImageGeneration>> {
        self.images(arn).boxed()
    }

    fn set_image_generation<'a>(
        &'a self,
        arn: &'a str,
        images: Option<&'a ImageGeneration>,
    ) -> Answer<'a, ()> {
        self.set_images(arn, images).boxed()
    }

    fn notification<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<Notification>> {
        self.notifications(arn).boxed()
    }

    fn set_notification<'a>(
        &'a self,
        arn: &'a str,
        notification: Option<&'a Notification>,
    ) -> Answer<'a, ()> {
        self.set_notifications(arn, notification).boxed()
    }

    fn describe_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<AlarmInfo>> {
        self.metric_alarms(query).boxed()
    }

    fn describe_composite_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<CompositeInfo>> {
        self.composite_alarms(query).boxed()
    }

    fn put_alarm<'a>(&'a self, alarm: &'a Alarm) -> Answer<'a, ()> {
        self.put_metric_alarm(alarm).boxed()
    }

    fn put_composite_alarm<'a>(&'a self, alarm: &'a CompositeAlarm) -> Answer<'a, ()> {
        self.put_composite(alarm).boxed()
    }

    fn delete_alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, ()> {
        self.remove_alarms(names).boxed()
    }
}
