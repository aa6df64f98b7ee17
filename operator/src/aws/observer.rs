//! What is, in an account and region: one sweep by `ListStreams` feeds the reads of every reconcile, so that their number does
//! not grow with the fleet. What decides something destructive, or follows a change, is read anew and kept here too.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{AwsError, Clouds, Place, StreamInfo, Which};

/// How often the tags of a stream are read where nothing suggests that they have changed.
const TAGS_EVERY: Duration = Duration::from_hours(1);

/// The view of every place.
pub struct Observer {
    clouds: Arc<dyn Clouds>,
    sweep_every: Duration,
    places: Mutex<HashMap<Place, Arc<tokio::sync::Mutex<Fleet>>>>,
    tags_read: Mutex<HashMap<String, Instant>>,
}

/// The streams of a place as of the last sweep and of what was read since.
#[derive(Default)]
struct Fleet {
    swept: Option<Instant>,
    streams: HashMap<String, StreamInfo>,
}

impl Observer {
    /// Knows nothing yet.
    pub fn new(clouds: Arc<dyn Clouds>, sweep_every: Duration) -> Self {
        Self { clouds, sweep_every, places: Mutex::default(), tags_read: Mutex::default() }
    }

    /// The stream of this name as of the last sweep, which is made now where it is missing or too old.
    pub async fn cached(&self, place: &Place, name: &str) -> Result<Option<StreamInfo>, AwsError> {
        let fleet = self.fleet(place);
        let mut fleet = fleet.lock().await;
        let too_old = self.sweep_every.saturating_mul(3);
        if fleet.swept.is_none_or(|swept| swept.elapsed() > too_old) {
            self.refresh(place, &mut fleet).await?;
        }
        Ok(fleet.streams.get(name).cloned())
    }

    /// The stream as the service describes it now.
    pub async fn fresh(
        &self,
        place: &Place,
        name: &str,
        arn: Option<&str>,
    ) -> Result<Option<StreamInfo>, AwsError> {
        let cloud = self.clouds.cloud(place).await?;
        let info = cloud.describe_stream(arn.map_or(Which::Name(name), Which::Arn)).await?;
        let fleet = self.fleet(place);
        let mut fleet = fleet.lock().await;
        match &info {
            Some(info) => drop(fleet.streams.insert(name.to_owned(), info.clone())),
            None => drop(fleet.streams.remove(name)),
        }
        Ok(info)
    }

    /// The tags of a stream, as they are now.
    pub async fn tags(&self, place: &Place, arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let tags = self.clouds.cloud(place).await?.list_tags(arn).await?;
        let mut read = self.tags_read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(arn.to_owned(), Instant::now());
        Ok(tags)
    }

    /// Whether it is time to read the tags of a stream, though nothing suggests that they have changed. After a start the
    /// reads are spread over the whole interval.
    pub fn tags_are_due(&self, arn: &str) -> bool {
        let mut read = self.tags_read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let last = read
            .entry(arn.to_owned())
            .or_insert_with(|| now.checked_sub(TAGS_EVERY.mul_f64(fastrand::f64())).unwrap_or(now));
        last.elapsed() >= TAGS_EVERY
    }

    /// Forgets a stream that is no longer ours to look after.
    pub fn forget_tags(&self, arn: &str) {
        self.tags_read.lock().unwrap_or_else(PoisonError::into_inner).remove(arn);
    }

    /// Sweeps a place now. The answer names the streams that are not as they were.
    pub async fn sweep(&self, place: &Place) -> Result<Vec<String>, AwsError> {
        let fleet = self.fleet(place);
        let mut fleet = fleet.lock().await;
        self.refresh(place, &mut fleet).await
    }

    async fn refresh(&self, place: &Place, fleet: &mut Fleet) -> Result<Vec<String>, AwsError> {
        let streams = self.clouds.cloud(place).await?.list_streams().await?;
        let streams = streams.into_iter().map(|info| (info.name.clone(), info)).collect();
        let before = std::mem::replace(&mut fleet.streams, streams);
        fleet.swept = Some(Instant::now());
        Ok(changed(&before, &fleet.streams))
    }

    fn fleet(&self, place: &Place) -> Arc<tokio::sync::Mutex<Fleet>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(place.clone()).or_default().clone()
    }
}

/// The names of streams that came, went or changed.
fn changed(before: &HashMap<String, StreamInfo>, after: &HashMap<String, StreamInfo>) -> Vec<String> {
    let came_or_changed = after.iter().filter(|(name, info)| before.get(*name) != Some(*info));
    let went = before.keys().filter(|name| !after.contains_key(*name));
    came_or_changed.map(|(name, _)| name.clone()).chain(went.cloned()).collect()
}
