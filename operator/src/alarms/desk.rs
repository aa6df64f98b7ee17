//! What the passes of all streams share about alarms: whose turn it is to write, what is to be deleted together, and what was
//! refused a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use streamfleet_crds::StreamClass;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::orphans::Memory;
use super::remove::Removals;
use super::turns::{Later, Turns};
use crate::aws::quotas::quota;
use crate::aws::{AlarmInfo, AwsError, CompositeInfo, Fleet, Place};
use crate::context::AwsSide;

/// Our share of the quota: the bucket in front of the call has a little more, so that who comes in turn hardly waits there.
const SHARE: f64 = 0.95;
/// So many passes write at a time in an account and region: more would wait for the service, and nothing else would get done.
const WRITERS: usize = 6;
/// After a refusal nobody asks again for this time.
const REFUSED: Duration = Duration::from_secs(30);

/// How long it is remembered that the alarms of an object that goes are gone; they are looked for again after that.
const GONE_FOR: Duration = Duration::from_hours(1);
/// So many such objects are remembered: twice the largest fleet.
const GONE_MAX: usize = 20_000;

/// How often the alarms of a class are looked at, at most.
const CLASS_EVERY: Duration = Duration::from_secs(5);

/// An account, and one of its regions.
type Region = (String, String);

/// What is shared in all accounts and regions.
#[derive(Default)]
pub struct Desk {
    fleets: Mutex<HashMap<Fleet, Arc<Counter>>>,
    /// What is known of alarms whose object is not in the cache, by account and region. Another endpoint leads to the same ones: what is
    /// known outlives an edit of the class's endpoints.
    orphans: Mutex<HashMap<Region, Arc<Mutex<Memory>>>>,
    /// When the alarms of which class were looked at, and its generation then.
    classes: Mutex<HashMap<String, (Instant, Option<i64>)>>,
    /// Objects that go and whose alarms have gone, by UID, and since when.
    gone: Mutex<HashMap<String, Instant>>,
}

/// What is shared in one account and region.
pub struct Counter {
    turns: Mutex<Turns>,
    writers: Semaphore,
    reading: tokio::sync::Mutex<()>,
    refused: Mutex<Option<(Instant, AwsError)>>,
    /// What is to be deleted.
    pub removals: Removals,
    /// What is known of alarms whose object is not in the cache.
    pub orphans: Arc<Mutex<Memory>>,
}

impl Desk {
    /// The desk of the next term of leadership: it knows which objects this process let go without their alarms, and nothing else.
    pub fn next_term(&self) -> Self {
        let orphans = lock(&self.orphans);
        let kept = orphans.iter().map(|(region, memory)| {
            let memory = lock(memory).next_term();
            (region.clone(), Arc::new(Mutex::new(memory)))
        });
        Self { orphans: Mutex::new(kept.collect()), ..Self::default() }
    }

    /// The counter of a place.
    pub fn counter(&self, place: &Place) -> Arc<Counter> {
        let mut fleets = lock(&self.fleets);
        let counter = fleets.entry(place.fleet()).or_insert_with_key(|fleet| {
            let region = (fleet.account.clone(), fleet.region.clone());
            Arc::new(Counter::new(lock(&self.orphans).entry(region).or_default().clone()))
        });
        counter.clone()
    }

    /// The alarms of an object that goes have gone.
    pub fn note_gone(&self, uid: &str) {
        let now = Instant::now();
        let mut gone = lock(&self.gone);
        if gone.len() >= GONE_MAX {
            gone.retain(|_, since| now < *since + GONE_FOR);
        }
        if gone.len() < GONE_MAX {
            gone.insert(uid.to_owned(), now);
        }
    }

    /// Whether the alarms of an object that goes are known to have gone: they need not be looked for with each look at its stream.
    pub fn are_known_gone(&self, uid: &str) -> bool {
        lock(&self.gone).get(uid).is_some_and(|since| since.elapsed() < GONE_FOR)
    }

    /// Whether it is time to look at the alarms of a class, else how long it is until then: each new stream has its class looked at,
    /// and there may be ten thousand.
    pub fn look_at_class(&self, class: &StreamClass) -> Result<(), Duration> {
        let now = Instant::now();
        let mut classes = lock(&self.classes);
        let generation = class.metadata.generation;
        if let Some((at, seen)) = classes.get(&class.name_any())
            && *seen == generation
            && now < *at + CLASS_EVERY
        {
            return Err(*at + CLASS_EVERY - now);
        }
        classes.retain(|_, (at, _)| now < *at + CLASS_EVERY);
        classes.insert(class.name_any(), (now, generation));
        Ok(())
    }
}

impl Counter {
    fn new(orphans: Arc<Mutex<Memory>>) -> Self {
        let per_second = quota("PutMetricAlarm").map_or(1.0, |quota| quota.account) * SHARE;
        Self {
            turns: Mutex::new(Turns::new(per_second)),
            writers: Semaphore::new(WRITERS),
            reading: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            removals: Removals::default(),
            orphans,
        }
    }

    /// The leave to write so many alarms of this object now, or when to come back.
    pub fn enter(&self, object: &str, calls: usize) -> Result<SemaphorePermit<'_>, Later> {
        let now = Instant::now();
        let mut turns = lock(&self.turns);
        turns.take(object, calls, now)?;
        self.writers.try_acquire().map_err(|_| {
            let later = turns.reserve(object, calls, now);
            Later { after: later.after.max(Duration::from_secs(1)) }
        })
    }

    /// Has a turn later, for an object that may not write yet.
    pub fn queue(&self, object: &str, calls: usize) -> Later {
        lock(&self.turns).reserve(object, calls, Instant::now())
    }

    /// The alarms on a stream, as of the last sweep. Where that has to be made first and fails, all who wait for it are told.
    pub async fn alarms(
        &self,
        aws: &AwsSide,
        place: &Place,
        stream: &str,
    ) -> Result<Vec<AlarmInfo>, AwsError> {
        self.check()?;
        let _reading = self.reading.lock().await;
        self.check()?;
        let alarms = aws.observer.alarms(place, stream).await;
        if let Err(error) = &alarms {
            *lock(&self.refused) = Some((Instant::now(), error.clone()));
        }
        alarms
    }

    /// The alarms about no single stream, likewise.
    pub async fn fleet_alarms(
        &self,
        aws: &AwsSide,
        place: &Place,
    ) -> Result<(Vec<AlarmInfo>, Vec<CompositeInfo>), AwsError> {
        self.check()?;
        let _reading = self.reading.lock().await;
        self.check()?;
        let alarms = aws.observer.fleet_alarms(place).await;
        if let Err(error) = &alarms {
            *lock(&self.refused) = Some((Instant::now(), error.clone()));
        }
        alarms
    }

    /// The composite alarm of this name, likewise.
    pub async fn composite_alarm(
        &self,
        aws: &AwsSide,
        place: &Place,
        name: &str,
    ) -> Result<Option<CompositeInfo>, AwsError> {
        self.check()?;
        let _reading = self.reading.lock().await;
        self.check()?;
        let alarm = aws.observer.composite_alarm(place, name).await;
        if let Err(error) = &alarm {
            *lock(&self.refused) = Some((Instant::now(), error.clone()));
        }
        alarm
    }

    fn check(&self) -> Result<(), AwsError> {
        match &*lock(&self.refused) {
            Some((at, error)) if at.elapsed() < REFUSED => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// A lock whose holder never leaves it half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::names::Object;

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_alarms_that_were_left_outlives_another_endpoint_and_is_no_other_regions() {
        let (desk, object) = (Desk::default(), Object::Class("standard".to_owned()));
        let place = Place::new("eu-west-1", "123456789012");
        lock(&desk.counter(&place).orphans).note_left(object.clone(), "uid-1");
        let elsewhere = Place { kinesis_video: Some("https://vpce.example".to_owned()), ..place.clone() };
        for (place, expected) in [
            (elsewhere, Some("uid-1")),
            (Place::new("eu-west-2", "123456789012"), None),
            (Place::new("eu-west-1", "210987654321"), None),
        ] {
            assert_eq!(lock(&desk.counter(&place).orphans).left(&object).as_deref(), expected, "{place:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_known_only_what_this_process_let_go_outlives_a_term() {
        let (desk, place) = (Desk::default(), Place::new("eu-west-1", "123456789012"));
        let (left, there) = (Object::Class("left".to_owned()), Object::Class("there".to_owned()));
        {
            let counter = desk.counter(&place);
            let mut orphans = lock(&counter.orphans);
            orphans.note_left(left.clone(), "uid-1");
            orphans.note(there.clone(), Instant::now());
            assert!(orphans.is_due(Instant::now()) && !orphans.is_due(Instant::now()));
        }
        desk.note_gone("uid-2");
        let next = desk.next_term();
        let counter = next.counter(&place);
        let mut orphans = lock(&counter.orphans);
        assert_eq!(orphans.left(&left).as_deref(), Some("uid-1"));
        assert!(orphans.is_due(Instant::now()), "who led meanwhile may have left some too");
        let name = there.alarm_name("north", "fleet/ErrorAcks");
        let description = crate::alarms::names::mark("north", &there, &name, "digest");
        let suspects = orphans.suspects(&[(name, description)], "north", |_| false);
        assert_eq!(suspects.into_keys().collect::<Vec<_>>(), [there], "it may have gone meanwhile");
        assert!(!next.are_known_gone("uid-2"));
    }

    #[tokio::test(start_paused = true)]
    async fn alarms_that_have_gone_are_not_looked_for_again_before_long() {
        let desk = Desk::default();
        desk.note_gone("uid-1");
        assert!(desk.are_known_gone("uid-1") && !desk.are_known_gone("uid-2"));
        tokio::time::advance(GONE_FOR).await;
        assert!(!desk.are_known_gone("uid-1"));
    }
}
