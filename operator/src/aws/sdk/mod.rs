//! The calls by the AWS SDK: which clients there are, and which call is which. How a call is made is in `call`.

mod alarms;
mod call;
mod connect;
mod convert;
mod failure;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kinesisvideo::config::{ProvideCredentials, SharedCredentialsProvider, SharedHttpClient};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use streamfleet_crds::{ImageGeneration, Notification, StorageTier};
use tokio::time::Instant;

use self::call::{Request, Rules};
use self::connect::Clients;
use super::breaker::Breakers;
use super::quotas::Limiter;
use super::{
    Alarm, AlarmInfo, AlarmQuery, Answer, AwsError, Caller, Cloud, Clouds, CompositeAlarm, CompositeInfo,
    Fleet, NewStream, Place, RetentionChange, StreamInfo, StreamUpdate, Turn, Which,
};
use crate::leader::Leadership;
use crate::metrics::Metrics;

/// How old clients are at least before new ones are made to read other credentials: reading them costs time.
const REMADE_AFTER: Duration = Duration::from_secs(10);
/// How long a place is remembered that nobody asks for.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// Makes clients, one for each place, and keeps them. Places of one account and region share their quotas, those that trust the
/// same authorities their connections.
pub struct SdkClouds {
    metrics: Arc<Metrics>,
    leadership: Option<Leadership>,
    credentials: Option<SharedCredentialsProvider>,
    known: Mutex<Known>,
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    places: HashMap<Place, Made>,
    limiters: HashMap<Fleet, Arc<Limiter>>,
    connections: HashMap<Option<String>, SharedHttpClient>,
}

struct Made {
    cloud: Arc<SdkCloud>,
    at: Instant,
    used: Instant,
}

impl SdkClouds {
    /// No client yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            leadership: None,
            credentials: None,
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// Each attempt of a call that changes something begins only while this replica leads, and is cut off when it does not any more.
    #[must_use]
    pub fn guarded_by(self, leadership: Leadership) -> Self {
        Self { leadership: Some(leadership), ..self }
    }

    /// These are the operator's own credentials, in place of those that the environment names.
    #[must_use]
    pub fn with_credentials(self, credentials: impl ProvideCredentials + 'static) -> Self {
        Self { credentials: Some(SharedCredentialsProvider::new(credentials)), ..self }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clients of a place, unless others are to be made.
    fn made(&self, place: &Place) -> Option<Arc<SdkCloud>> {
        let mut known = self.lock();
        let made = known.places.get_mut(place)?;
        made.used = Instant::now();
        let is_stale = made.cloud.rules.is_stale.load(Ordering::Relaxed);
        (!is_stale || made.at.elapsed() < REMADE_AFTER).then(|| made.cloud.clone())
    }

    async fn make(&self, place: &Place) -> Result<Arc<SdkCloud>, AwsError> {
        let rules = self.rules(place);
        rules.is_stale.store(false, Ordering::Relaxed);
        let clients = connect::clients(place, self.connections(place)?, self.credentials.clone()).await;
        let cloud =
            Arc::new(SdkCloud { place: place.clone(), clients, rules, is_right: AtomicBool::new(false) });
        let now = Instant::now();
        let mut known = self.lock();
        known.places.retain(|_, made| made.used.elapsed() < KEPT_FOR);
        known.places.insert(place.clone(), Made { cloud: cloud.clone(), at: now, used: now });
        Ok(cloud)
    }

    /// The rules of a place, which outlive its clients.
    fn rules(&self, place: &Place) -> Arc<Rules> {
        let mut known = self.lock();
        if let Some(made) = known.places.get(place) {
            return made.cloud.rules.clone();
        }
        Arc::new(Rules {
            limiter: known.limiters.entry(place.fleet()).or_default().clone(),
            breakers: Breakers::default(),
            leadership: self.leadership.clone(),
            metrics: self.metrics.clone(),
            is_stale: AtomicBool::new(false),
            wrong: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    fn connections(&self, place: &Place) -> Result<SharedHttpClient, AwsError> {
        if let Some(http) = self.lock().connections.get(&place.ca_bundle) {
            return Ok(http.clone());
        }
        let http = connect::http_client(place.ca_bundle.as_deref())?;
        let mut known = self.lock();
        // Only those that some place still has: a bundle may change many times.
        let Known { places, connections, .. } = &mut *known;
        connections.retain(|bundle, _| places.keys().any(|place| place.ca_bundle == *bundle));
        Ok(connections.entry(place.ca_bundle.clone()).or_insert(http).clone())
    }
}

impl Clouds for SdkClouds {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        async move {
            if let Some(cloud) = self.made(place) {
                return Ok(cloud as Arc<dyn Cloud>);
            }
            // One at a time: at the start all passes come at once.
            let _making = self.making.lock().await;
            if let Some(cloud) = self.made(place) {
                return Ok(cloud as Arc<dyn Cloud>);
            }
            Ok(self.make(place).await? as Arc<dyn Cloud>)
        }
        .boxed()
    }

    fn forget(&self, place: &Place) {
        if let Some(made) = self.lock().places.get(place) {
            made.cloud.rules.is_stale.store(true, Ordering::Relaxed);
        }
    }

    fn trouble(&self, place: &Place) -> Option<AwsError> {
        self.lock().places.get(place).and_then(|made| made.cloud.rules.breakers.trouble())
    }
}

/// The calls of one place.
struct SdkCloud {
    place: Place,
    clients: Clients,
    rules: Arc<Rules>,
    /// STS has confirmed the account.
    is_right: AtomicBool,
}

impl Cloud for SdkCloud {
    fn turn<'a>(&'a self, operation: &'static str, stream: &'a str) -> Answer<'a, Turn> {
        self.take_turn(Request::once(operation, stream)).boxed()
    }

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
