//! The few AWS calls that the operator makes, as a trait; the SDK behind it is in [`sdk`], the cached view of a fleet in
//! [`observer`].

mod alarm;
mod breaker;
mod bucket;
mod error;
#[cfg(test)]
pub mod fake;
pub mod guarded;
pub mod lane;
pub mod observer;
mod owner;
mod place;
pub mod quotas;
pub mod sdk;
mod turn;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

pub use alarm::{
    ALARM_NAME_PREFIX, Alarm, AlarmInfo, AlarmMetric, AlarmQuery, Comparison, CompositeAlarm, CompositeInfo,
    MissingData, Statistic,
};
pub use error::{AwsError, ErrorKind};
pub use lane::Lane;
pub use owner::{Owner, describe_owner};
pub use place::{ExternalId, Fleet, Partition, Place, partition_of_arn};
pub use turn::Turn;
pub use types::{Caller, NewStream, RetentionChange, Settings, StreamInfo, StreamState, StreamUpdate, Which};

/// What an AWS call comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, AwsError>>;

/// The calls of one account and region. The implementations are the SDK's and the fake of the tests.
pub trait Cloud: Send + Sync {
    /// Waits until a call that changes this stream may be made, and takes its turn: [`Turn::run`] makes the call at once. Fails where
    /// the call would not be made for now.
    fn turn<'a>(&'a self, operation: &'static str, stream: &'a str) -> Answer<'a, Turn>;
    /// STS `GetCallerIdentity`, as the role where the place has one.
    fn caller(&self) -> Answer<'_, Caller>;
    /// `CreateStream`. The answer is the ARN.
    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String>;
    /// `DescribeStream`; `None` where there is no such stream.
    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>>;
    /// `ListStreams`, every page.
    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>>;
    /// `ListTagsForStream`, every page.
    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>>;
    /// `TagStream`.
    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()>;
    /// `UntagStream`.
    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()>;
    /// `UpdateDataRetention`, sent once: its effect is relative, so that nobody may send it again unread.
    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()>;
    /// `DeleteStream`, sent once: whoever sends it again asks first whether that is still wanted. A stream that is not there any
    /// more is a success.
    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()>;

    /// `UpdateStream`.
    fn update_stream<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        update: &'a StreamUpdate,
    ) -> Answer<'a, ()>;
    /// `DescribeStreamStorageConfiguration`.
    fn storage_tier<'a>(&'a self, arn: &'a str) -> Answer<'a, StorageTier>;
    /// `UpdateStreamStorageConfiguration`: for what is stored from now on.
    fn change_storage_tier<'a>(&'a self, arn: &'a str, version: &'a str, tier: StorageTier)
    -> Answer<'a, ()>;
    /// `DescribeImageGenerationConfiguration`; `None` where there is none or it is off. The region is always filled.
    fn image_generation<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<ImageGeneration>>;
    /// `UpdateImageGenerationConfiguration`; `None` takes the configuration away. No version protects it.
    fn set_image_generation<'a>(
        &'a self,
        arn: &'a str,
        images: Option<&'a ImageGeneration>,
    ) -> Answer<'a, ()>;
    /// `DescribeNotificationConfiguration`; `None` where there is none or it is off.
    fn notification<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<Notification>>;
    /// `UpdateNotificationConfiguration`; `None` takes the configuration away. No version protects it.
    fn set_notification<'a>(&'a self, arn: &'a str, notification: Option<&'a Notification>)
    -> Answer<'a, ()>;

    /// `DescribeAlarms`, metric alarms, every page.
    fn describe_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<AlarmInfo>>;
    /// `DescribeAlarms`, composite alarms, every page.
    fn describe_composite_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<CompositeInfo>>;
    /// `PutMetricAlarm`: makes or overwrites.
    fn put_alarm<'a>(&'a self, alarm: &'a Alarm) -> Answer<'a, ()>;
    /// `PutCompositeAlarm`: makes or overwrites.
    fn put_composite_alarm<'a>(&'a self, alarm: &'a CompositeAlarm) -> Answer<'a, ()>;
    /// `DeleteAlarms`, in calls of 100. Missing ones are a success. The service takes one composite alarm a call: give each its
    /// own.
    fn delete_alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, ()>;
}

/// Makes the [`Cloud`] of a place.
pub trait Clouds: Send + Sync {
    /// The calls of this place; the same one for equal places.
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>>;
    /// Has credentials read anew for this place, before long: those that it has were refused.
    fn forget(&self, place: &Place);
    /// What every call to a service of this place comes to for now, where that is so.
    fn trouble(&self, place: &Place) -> Option<AwsError>;
}
