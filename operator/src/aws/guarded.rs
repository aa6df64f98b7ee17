//! A cloud that changes nothing once this process is not the leader any more, whatever cloud it is: a call that changes something
//! neither begins then nor goes on. The SDK's own clouds ([`SdkClouds::guarded_by`](super::sdk::SdkClouds::guarded_by)) check once
//! more before each attempt, after the wait for its turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};

use super::{
    Alarm, AlarmInfo, AlarmQuery, Answer, AwsError, Caller, Cloud, Clouds, CompositeAlarm, CompositeInfo,
    ErrorKind, NewStream, Place, RetentionChange, StreamInfo, StreamUpdate, Turn, Which,
};
use crate::leader::Leadership;

/// What a call comes to that is not sent.
pub fn not_leader(operation: &'static str) -> AwsError {
    let message = "this operator does not lead any more; nothing was sent".to_owned();
    AwsError { operation, kind: ErrorKind::NotLeader, message }
}

/// What a call comes to that was on its way when the leadership ended.
pub fn cut_off(operation: &'static str) -> AwsError {
    let message = "this operator does not lead any more; what was on its way was cut off".to_owned();
    AwsError { operation, kind: ErrorKind::NotLeader, message }
}

/// Clouds whose calls that change something are checked first.
pub struct GuardedClouds {
    inner: Arc<dyn Clouds>,
    leadership: Leadership,
}

impl GuardedClouds {
    /// Checks before each call of `inner` that changes something.
    pub fn new(inner: Arc<dyn Clouds>, leadership: Leadership) -> Self {
        Self { inner, leadership }
    }
}

impl Clouds for GuardedClouds {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        async move {
            let inner = self.inner.cloud(place).await?;
            let guarded: Arc<dyn Cloud> = Arc::new(Guarded { inner, leadership: self.leadership.clone() });
            Ok(guarded)
        }
        .boxed()
    }

    fn forget(&self, place: &Place) {
        self.inner.forget(place);
    }

    fn trouble(&self, place: &Place) -> Option<AwsError> {
        self.inner.trouble(place)
    }
}

/// A cloud whose calls that change something are checked first.
struct Guarded {
    inner: Arc<dyn Cloud>,
    leadership: Leadership,
}

impl Guarded {
    /// Makes the call if this process is the leader, and as long as it is. The first check runs when the future is first polled, not when it is made.
    fn checked<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        call: impl FnOnce(&'a dyn Cloud) -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            self.leadership.check().map_err(|_| not_leader(operation))?;
            let answer = self.leadership.during(call(&*self.inner)).await;
            answer.unwrap_or_else(|_| Err(cut_off(operation)))
        }
        .boxed()
    }
}

impl Cloud for Guarded {
    fn turn<'a>(&'a self, operation: &'static str, stream: &'a str) -> Answer<'a, Turn> {
        self.checked(operation, move |cloud| cloud.turn(operation, stream))
    }

    fn caller(&self) -> Answer<'_, Caller> {
        self.inner.caller()
    }

    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String> {
        self.checked("CreateStream", move |cloud| cloud.create_stream(stream))
    }

    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>> {
        self.inner.describe_stream(which)
    }

    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>> {
        self.inner.list_streams()
    }

    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        self.inner.list_tags(arn)
    }

    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        self.checked("TagStream", move |cloud| cloud.tag_stream(arn, tags))
    }

    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        self.checked("UntagStream", move |cloud| cloud.untag_stream(arn, keys))
    }

    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()> {
        self.checked("UpdateDataRetention", move |cloud| cloud.change_retention(arn, version, change))
    }

    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()> {
        self.checked("DeleteStream", move |cloud| cloud.delete_stream(arn, version))
    }

    fn update_stream<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        update: &'a StreamUpdate,
    ) -> Answer<'a, ()> {
        self.checked("UpdateStream", move |cloud| cloud.update_stream(arn, version, update))
    }

    fn storage_tier<'a>(&'a self, arn: &'a str) -> Answer<'a, StorageTier> {
        self.inner.storage_tier(arn)
    }

    fn change_storage_tier<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        tier: StorageTier,
    ) -> Answer<'a, ()> {
        self.checked("UpdateStreamStorageConfiguration", move |cloud| {
            cloud.change_storage_tier(arn, version, tier)
        })
    }

    fn image_generation<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<ImageGeneration>> {
        self.inner.image_generation(arn)
    }

    fn set_image_generation<'a>(
        &'a self,
        arn: &'a str,
        images: Option<&'a ImageGeneration>,
    ) -> Answer<'a, ()> {
        self.checked("UpdateImageGenerationConfiguration", move |cloud| {
            cloud.set_image_generation(arn, images)
        })
    }

    fn notification<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<Notification>> {
        self.inner.notification(arn)
    }

    fn set_notification<'a>(
        &'a self,
        arn: &'a str,
        notification: Option<&'a Notification>,
    ) -> Answer<'a, ()> {
        self.checked("UpdateNotificationConfiguration", move |cloud| {
            cloud.set_notification(arn, notification)
        })
    }

    fn describe_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<AlarmInfo>> {
        self.inner.describe_alarms(query)
    }

    fn describe_composite_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<CompositeInfo>> {
        self.inner.describe_composite_alarms(query)
    }

    fn put_alarm<'a>(&'a self, alarm: &'a Alarm) -> Answer<'a, ()> {
        self.checked("PutMetricAlarm", move |cloud| cloud.put_alarm(alarm))
    }

    fn put_composite_alarm<'a>(&'a self, alarm: &'a CompositeAlarm) -> Answer<'a, ()> {
        self.checked("PutCompositeAlarm", move |cloud| cloud.put_composite_alarm(alarm))
    }

    fn delete_alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, ()> {
        self.checked("DeleteAlarms", move |cloud| cloud.delete_alarms(names))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeCloud;
    use super::*;
    use crate::leader::Reign;

    #[tokio::test]
    async fn who_does_not_lead_any_more_reads_but_changes_nothing() {
        let fake = FakeCloud::default();
        let (reign, leadership) = Reign::begin();
        let clouds = GuardedClouds::new(Arc::new(fake.clone()), leadership);
        let cloud = clouds.cloud(&Place::new("eu-west-1", "123456789012")).await.unwrap();
        let stream = NewStream { name: "a".to_owned(), retention_hours: 1, ..NewStream::default() };
        let arn = cloud.create_stream(&stream).await.unwrap();
        fake.changes();
        // Whoever waits in no row waits in that of the cloud behind.
        let turn = cloud.turn("DeleteStream", "a").await.unwrap();
        assert_eq!((turn, fake.turns()), (Turn::new("DeleteStream", "a"), vec!["DeleteStream a".to_owned()]));
        reign.end();

        let (tags, keys) = (BTreeMap::from([("a".to_owned(), "b".to_owned())]), ["a".to_owned()]);
        let (retention, update) = (RetentionChange::Increase(1), StreamUpdate::default());
        let (alarm, composite) = (super::super::fake::alarm("x"), super::super::fake::composite("y"));
        let refused = [
            cloud.turn("DeleteStream", "a").await.map(drop),
            cloud.create_stream(&stream).await.map(drop),
            cloud.tag_stream(&arn, &tags).await,
            cloud.untag_stream(&arn, &keys).await,
            cloud.change_retention(&arn, "v1", retention).await,
            cloud.delete_stream(&arn, "v1").await,
            cloud.update_stream(&arn, "v1", &update).await,
            cloud.change_storage_tier(&arn, "v1", StorageTier::Warm).await,
            cloud.set_image_generation(&arn, None).await,
            cloud.set_notification(&arn, None).await,
            cloud.put_alarm(&alarm).await,
            cloud.put_composite_alarm(&composite).await,
            cloud.delete_alarms(&keys).await,
        ];
        for answer in refused {
            assert_eq!(answer.unwrap_err().kind, ErrorKind::NotLeader);
        }
        assert_eq!(fake.changes(), Vec::<String>::new());
        assert!(cloud.describe_stream(Which::Name("a")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_call_that_was_made_ready_before_the_lease_ended_is_checked_when_it_starts() {
        let (reign, leadership) = Reign::begin();
        let guarded = Guarded { inner: Arc::new(FakeCloud::default()), leadership };
        let names = ["x".to_owned()];
        let call = guarded.delete_alarms(&names);
        reign.end();
        assert_eq!(call.await.unwrap_err().kind, ErrorKind::NotLeader);
    }
}
