//! What is, in an account and region, for all classes together: one sweep by `ListStreams`, one by `DescribeAlarms` and a slow one
//! over further settings feed the reads of every reconcile, so that their number does not grow with the fleet. What decides
//! something destructive, or follows a change, is read anew and kept here too.

mod alarms;
mod places;
mod settings;
mod streams;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::alarms::Alarms;
pub use self::places::Places;
use self::settings::SettingsKept;
use self::streams::Streams;
use super::{
    ALARM_NAME_PREFIX, Alarm, AlarmInfo, AlarmQuery, AwsError, Cloud, Clouds, CompositeAlarm, CompositeInfo,
    ErrorKind, Fleet, Lane, Place, Settings, StreamInfo, Which,
};

/// How many streams' settings are read at a time by the sweep.
const SETTINGS_AT_ONCE: usize = 8;
/// How many streams' settings one call of the sweep reads at most.
const SETTINGS_AT_MOST: usize = 200;
/// A view that is older than so many sweeps is read anew by whoever needs it.
const OVERDUE: u32 = 3;
/// How long a pass waits for a list of all alarms, its own or another's: 10,000 of them take 11 s, and minutes where calls are throttled.
/// What is known of the streams is not to wait for it, nor are new ones, which find no room while too many passes wait: the sweep sees it
/// through.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

/// How often what is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweeps {
    /// All streams, by `ListStreams`.
    pub streams: Duration,
    /// All alarms of the installation, by `DescribeAlarms`.
    pub alarms: Duration,
    /// The tags, tier, images and notifications of each stream that is looked after: four calls for each, spread over this time.
    pub settings: Duration,
    /// What the names of the installation's alarms begin with.
    pub alarm_prefix: String,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            streams: Duration::from_mins(1),
            alarms: Duration::from_mins(2),
            settings: Duration::from_hours(6),
            alarm_prefix: ALARM_NAME_PREFIX.to_owned(),
        }
    }
}

/// With this between two lists of all streams, and all else as usual.
impl From<Duration> for Sweeps {
    fn from(streams: Duration) -> Self {
        Self { streams, ..Self::default() }
    }
}

/// The view of every account and region.
pub struct Observer {
    clouds: Arc<dyn Clouds>,
    sweeps: Sweeps,
    fleets: Mutex<HashMap<Fleet, Arc<View>>>,
}

/// The view of one account and region. Lists are made one at a time; what is known can be read meanwhile.
#[derive(Default)]
struct View {
    known: Mutex<Known>,
    listing: tokio::sync::Mutex<()>,
    describing: tokio::sync::Mutex<()>,
    /// A pass has begun a list of alarms and does not wait for its end.
    given_up: Notify,
}

#[derive(Default)]
struct Known {
    listed: Option<Instant>,
    streams: Streams,
    settings: SettingsKept,
    described: Option<Instant>,
    /// When the list of alarms that is being made was begun, or else the last one.
    describing_since: Option<Instant>,
    /// Somebody has asked for alarms: before that they are not looked at, which the operator may not be allowed to.
    alarms_wanted: bool,
    alarms: Alarms,
    /// Streams that a list made for one object has found changed: the next sweep names them.
    untold: BTreeSet<String>,
}

impl View {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the list of alarms that is being made, for as long as lists usually take; `None` where this one takes longer.
    async fn turn_to_describe(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if let Ok(turn) = self.describing.try_lock() {
            return Some(turn);
        }
        let since = self.known().describing_since.unwrap_or_else(Instant::now);
        tokio::time::timeout_at(since + LIST_PATIENCE, self.describing.lock()).await.ok()
    }

    /// Leaves what was found to the next sweep. Before the first list there was nothing to go by, and nobody to be told.
    fn tell_later(&self, is_first: bool, changed: Vec<String>) {
        if !is_first {
            self.known().untold.extend(changed);
        }
    }

    /// What a sweep has found, with what was left to it.
    fn with_untold(&self, changed: Vec<String>) -> Vec<String> {
        let mut all = std::mem::take(&mut self.known().untold);
        all.extend(changed);
        all.into_iter().collect()
    }
}

impl Observer {
    /// Knows nothing yet.
    pub fn new(clouds: Arc<dyn Clouds>, sweeps: impl Into<Sweeps>) -> Self {
        Self { clouds, sweeps: sweeps.into(), fleets: Mutex::default() }
    }

    /// How often what is looked at.
    pub fn sweeps(&self) -> &Sweeps {
        &self.sweeps
    }

    /// The stream of this name as of the last list, which is made now where it is missing or too old.
    pub async fn cached(&self, place: &Place, name: &str) -> Result<Option<StreamInfo>, AwsError> {
        let view = self.view(place);
        if Self::is_overdue(view.known().listed, self.sweeps.streams) {
            let _listing = view.listing.lock().await;
            // Somebody else may have made it meanwhile.
            let before = view.known().listed;
            if Self::is_overdue(before, self.sweeps.streams) {
                let changed = self.list(place, &view).await?;
                view.tell_later(before.is_none(), changed);
            }
        }
        Ok(view.known().streams.get(name))
    }

    /// How many streams there are, as of the last list.
    pub fn stream_count(&self, place: &Place) -> usize {
        self.view(place).known().streams.len()
    }

    /// The stream as the service describes it now.
    pub async fn fresh(
        &self,
        place: &Place,
        name: &str,
        arn: Option<&str>,
    ) -> Result<Option<StreamInfo>, AwsError> {
        let begun = Instant::now();
        let cloud = self.clouds.cloud(place).await?;
        let info = cloud.describe_stream(arn.map_or(Which::Name(name), Which::Arn)).await?;
        // A stream that is gone by its ARN may have a successor of the same name.
        if info.is_some() || arn.is_none() {
            self.view(place).known().streams.described(name, info.as_ref(), begun);
        }
        Ok(info)
    }

    /// The settings of a stream as of the last sweep, or of what was read or set since; they are read now where they are not known.
    pub async fn settings(&self, place: &Place, arn: &str) -> Result<Settings, AwsError> {
        match self.known_settings(place, arn) {
            Some(settings) => Ok(settings),
            None => self.fresh_settings(place, arn).await,
        }
    }

    /// The settings of a stream as far as they are known, without a call; what was known before a read was refused does not count.
    /// Whoever asks has the sweep look after the stream from then on, and is told of what it finds.
    pub fn known_settings(&self, place: &Place, arn: &str) -> Option<Settings> {
        let now = Instant::now();
        let (settings, read) = self.view(place).known().settings.get(arn, self.sweeps.settings, now)?;
        (!Self::is_overdue(Some(read), self.sweeps.settings)).then_some(settings)
    }

    /// Whether the settings of a stream were not to be read when that was tried last.
    pub fn are_settings_refused(&self, place: &Place, arn: &str) -> bool {
        self.view(place).known().settings.refused(arn).is_some()
    }

    /// The settings of a stream, as they are now.
    pub async fn fresh_settings(&self, place: &Place, arn: &str) -> Result<Settings, AwsError> {
        let read = self.read_settings(place, arn).await;
        if let Err(error) = &read
            && error.kind.is_refusal()
        {
            self.view(place).known().settings.refuse(arn, error.operation, Instant::now());
        }
        read.map(|(settings, _)| settings)
    }

    /// The tags of a stream, as they are now.
    pub async fn fresh_tags(&self, place: &Place, arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.clouds.cloud(place).await?.list_tags(arn).await
    }

    /// Keeps what we have set ourselves.
    pub fn note_settings(&self, place: &Place, arn: &str, settings: Settings) {
        self.view(place).known().settings.put(arn, settings, self.sweeps.settings, Instant::now());
    }

    /// Forgets a stream that is no longer ours to look after.
    pub fn forget(&self, place: &Place, arn: &str) {
        self.view(place).known().settings.forget(arn);
    }

    /// The alarms on a stream as of the last sweep, which is made now where it is missing or too old.
    pub async fn alarms(&self, place: &Place, stream_name: &str) -> Result<Vec<AlarmInfo>, AwsError> {
        let view = self.with_alarms(place).await?;
        let alarms = view.known().alarms.of(stream_name);
        Ok(alarms)
    }

    /// The alarms of the installation that are about no single stream: on queries, and composite ones.
    pub async fn fleet_alarms(
        &self,
        place: &Place,
    ) -> Result<(Vec<AlarmInfo>, Vec<CompositeInfo>), AwsError> {
        let view = self.with_alarms(place).await?;
        let known = view.known();
        Ok((known.alarms.apart().to_vec(), known.alarms.composites().to_vec()))
    }

    /// The composite alarm of this name.
    pub async fn composite_alarm(
        &self,
        place: &Place,
        name: &str,
    ) -> Result<Option<CompositeInfo>, AwsError> {
        let view = self.with_alarms(place).await?;
        let known = view.known();
        Ok(known.alarms.composites().iter().find(|info| info.alarm.name == name).cloned())
    }

    /// Every alarm of the installation on a metric or a query.
    pub async fn every_alarm(&self, place: &Place) -> Result<Vec<AlarmInfo>, AwsError> {
        let view = self.with_alarms(place).await?;
        let alarms = view.known().alarms.all();
        Ok(alarms)
    }

    /// Keeps an alarm that we have put ourselves.
    pub fn note_alarm(&self, place: &Place, alarm: &Alarm) {
        let arn = alarm_arn(place, &alarm.name);
        self.view(place).known().alarms.set(alarm, arn, Instant::now());
    }

    /// Keeps a composite alarm that we have put ourselves.
    pub fn note_composite_alarm(&self, place: &Place, alarm: &CompositeAlarm) {
        let arn = alarm_arn(place, &alarm.name);
        self.view(place).known().alarms.set_composite(alarm, arn, Instant::now());
    }

    /// Forgets alarms that we have deleted ourselves.
    pub fn forget_alarms(&self, place: &Place, names: &[String]) {
        self.view(place).known().alarms.forget(names, Instant::now());
    }

    /// Lists all streams now. The answer names those that are not as they were.
    pub async fn sweep(&self, place: &Place) -> Result<Vec<String>, AwsError> {
        let view = self.view(place);
        let _listing = view.listing.lock().await;
        let changed = self.list(place, &view).await?;
        Ok(view.with_untold(changed))
    }

    /// Waits until a pass has given up a list of all alarms, which is to be made without it.
    pub async fn list_is_given_up(&self, place: &Place) {
        self.view(place).given_up.notified().await;
    }

    /// Describes all alarms now, if anybody has ever asked for some. The answer names the streams whose alarms are not as they
    /// were.
    pub async fn sweep_alarms(&self, place: &Place) -> Result<Vec<String>, AwsError> {
        let view = self.view(place);
        if !view.known().alarms_wanted {
            return Ok(Vec::new());
        }
        let _describing = view.describing.lock().await;
        let changed = self.describe(place, &view).await?;
        Ok(view.with_untold(changed))
    }

    /// Reads the settings of the streams whose time has come, from wherever they may be read; to be called every few seconds. The
    /// answer names those streams whose settings are not as they were, or are not to be read any more. A stream whose settings
    /// cannot be read is looked at later, and holds up no other.
    pub async fn sweep_settings(&self, places: &Places) -> Vec<String> {
        let due = self.view(places.first()).known().settings.due(SETTINGS_AT_MOST, Instant::now());
        let read =
            |(arn, reader): (Arc<str>, usize)| async move { self.sweep_one(places, &arn, reader).await };
        let reads = futures::stream::iter(due).map(read).buffer_unordered(SETTINGS_AT_ONCE);
        reads.filter_map(std::future::ready).collect().await
    }

    async fn sweep_one(&self, places: &Places, arn: &str, reader: usize) -> Option<String> {
        let read = |place| Lane::Sweep.run(self.read_settings(place, arn)).boxed();
        let (reader, answer) = places.ask_from(reader, read).await;
        let view = self.view(places.first());
        let mut known = view.known();
        let is_news = match answer {
            Ok((_, is_news)) => {
                known.settings.read_from(arn, reader);
                is_news
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                known.settings.forget(arn);
                true
            }
            Err(error) => {
                tracing::debug!(stream = arn, %error, "Settings are not read, it is tried again later");
                let now = Instant::now();
                known.settings.postpone(arn, now);
                error.kind.is_refusal() && known.settings.refuse(arn, error.operation, now)
            }
        };
        stream_name(arn).filter(|_| is_news).map(ToOwned::to_owned)
    }

    /// Reads the settings of a stream. True where they are not what was known.
    async fn read_settings(&self, place: &Place, arn: &str) -> Result<(Settings, bool), AwsError> {
        let cloud = self.clouds.cloud(place).await?;
        let refused = self.view(place).known().settings.refused(arn);
        if let Some(call) = refused {
            // By itself: where all streams are refused one of the calls, the others are not to be made in vain for each of them.
            make_again(&*cloud, call, arn).await?;
        }
        let (tags, storage_tier, image_generation, notification) = tokio::try_join!(
            cloud.list_tags(arn),
            cloud.storage_tier(arn),
            cloud.image_generation(arn),
            cloud.notification(arn)
        )?;
        let settings = Settings { tags, storage_tier, image_generation, notification };
        let view = self.view(place);
        let is_new = view.known().settings.put(arn, settings.clone(), self.sweeps.settings, Instant::now());
        Ok((settings, is_new))
    }

    async fn list(&self, place: &Place, view: &View) -> Result<Vec<String>, AwsError> {
        let begun = Instant::now();
        let list = self.clouds.cloud(place).await?.list_streams().await?;
        let mut known = view.known();
        let Known { listed, streams, settings, .. } = &mut *known;
        let changed = streams.listed(&list, begun, Instant::now());
        *listed = Some(begun);
        settings
            .retain(|arn| stream_name(arn).is_none_or(|name| streams.is_arn_of(name, arn).unwrap_or(false)));
        Ok(changed)
    }

    async fn with_alarms(&self, place: &Place) -> Result<Arc<View>, AwsError> {
        let view = self.view(place);
        view.known().alarms_wanted = true;
        if Self::is_overdue(view.known().described, self.sweeps.alarms) {
            let _describing = view.turn_to_describe().await.ok_or_else(still_described)?;
            // Somebody else may have made it meanwhile.
            let before = view.known().described;
            if Self::is_overdue(before, self.sweeps.alarms) {
                let list = tokio::time::timeout(LIST_PATIENCE, self.describe(place, &view)).await;
                let changed = list.map_err(|_| {
                    view.given_up.notify_one();
                    still_described()
                })??;
                view.tell_later(before.is_none(), changed);
            }
        }
        Ok(view)
    }

    async fn describe(&self, place: &Place, view: &View) -> Result<Vec<String>, AwsError> {
        let begun = Instant::now();
        view.known().describing_since = Some(begun);
        let cloud = self.clouds.cloud(place).await?;
        let query = AlarmQuery::Prefix(self.sweeps.alarm_prefix.clone());
        let alarms = cloud.describe_alarms(&query).await?;
        let composites = cloud.describe_composite_alarms(&query).await?;
        let mut known = view.known();
        known.described = Some(begun);
        Ok(known.alarms.described(alarms, composites, begun))
    }

    fn is_overdue(at: Option<Instant>, every: Duration) -> bool {
        at.is_none_or(|at| at.elapsed() > every.saturating_mul(OVERDUE))
    }

    fn view(&self, place: &Place) -> Arc<View> {
        let mut fleets = self.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.entry(place.fleet()).or_default().clone()
    }
}

/// Makes a call again that was refused when the settings of a stream were read.
async fn make_again(cloud: &dyn Cloud, call: &str, arn: &str) -> Result<(), AwsError> {
    match call {
        "ListTagsForStream" => cloud.list_tags(arn).await.map(drop),
        "DescribeStreamStorageConfiguration" => cloud.storage_tier(arn).await.map(drop),
        "DescribeImageGenerationConfiguration" => cloud.image_generation(arn).await.map(drop),
        "DescribeNotificationConfiguration" => cloud.notification(arn).await.map(drop),
        // It did not come to that: there were no credentials.
        _ => Ok(()),
    }
}

/// What those are told who do not wait for the list of alarms any longer.
fn still_described() -> AwsError {
    AwsError {
        operation: "DescribeAlarms",
        kind: ErrorKind::Throttled,
        message: "the list of all alarms takes longer than usual".to_owned(),
    }
}

fn alarm_arn(place: &Place, name: &str) -> String {
    let Place { region, account, .. } = place;
    format!("arn:{}:cloudwatch:{region}:{account}:alarm:{name}", place.partition().id)
}

/// The name of a stream, of its ARN.
fn stream_name(arn: &str) -> Option<&str> {
    arn.split('/').nth(1)
}

#[cfg(test)]
mod tests;
