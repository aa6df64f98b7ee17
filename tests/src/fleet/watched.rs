//! What a watch of the fleet's objects has shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use streamfleet_crds::{AlarmState, CHECK_REQUESTED, VideoStream};

use crate::cluster::wait::{Look, until};

/// What is known of one object.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Seen {
    /// `Ready` is True, for the spec as it is now.
    pub is_ready: bool,
    /// When it first was so.
    pub ready: Option<Instant>,
    /// The reason of `Ready`.
    pub reason: String,
    /// It has alarms.
    pub has_alarm: bool,
    /// It has alarms, and the state of each is settled: no media comes, so all are to be in ALARM.
    pub is_alarmed: bool,
    /// When it first had a finalizer: the first thing that a pass does.
    pub taken_up: Option<Instant>,
    /// When its retention first was in `status.drift`.
    pub drifted: Option<Instant>,
    /// The check that was last asked for has been made.
    pub is_checked: bool,
    /// How often it was written, its creation included.
    pub writes: u64,
    version: String,
}

/// The objects of a namespace, and how often they were written.
#[derive(Debug)]
pub struct Watched {
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, Seen>,
    writes: u64,
    last_write: Option<Instant>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watched {
    /// Begins to watch.
    pub fn new(api: Api<VideoStream>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let taking = state.clone();
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let mut state = taking.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => state.take(&object),
                    Ok(Event::Delete(object)) => drop(state.objects.remove(&object.name_any())),
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        Self { state, task }
    }

    /// How often objects were written, their creation included.
    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).writes
    }

    /// How long ago the last write was seen.
    pub fn quiet(&self) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_write.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// What is known of an object.
    pub fn get(&self, name: &str) -> Seen {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.objects.get(name).cloned().unwrap_or_default()
    }

    /// Whether there is such an object.
    pub fn knows(&self, name: &str) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).objects.contains_key(name)
    }

    /// How many objects there are by the reason of their `Ready`.
    pub fn reasons(&self) -> BTreeMap<String, usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = BTreeMap::new();
        for seen in state.objects.values() {
            *reasons.entry(seen.reason.clone()).or_default() += 1;
        }
        reasons
    }

    /// Waits until so many objects have been seen at all.
    pub async fn count(&self, limit: Duration, count: usize) -> Result<()> {
        until(limit, "the watch shows all objects", async || {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let known = state.objects.len();
            Ok(if known >= count { Look::Done(()) } else { Look::NotYet(format!("{known} of {count}")) })
        })
        .await
    }

    /// Waits until all objects are as asked for.
    pub async fn until(&self, limit: Duration, what: &str, wanted: fn(&Seen) -> bool) -> Result<()> {
        until(limit, what, async || {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let all = state.objects.len();
            let good = state.objects.values().filter(|seen| wanted(seen)).count();
            Ok(if good == all { Look::Done(()) } else { Look::NotYet(format!("{good} of {all}")) })
        })
        .await
    }
}

impl State {
    fn take(&mut self, object: &VideoStream) {
        let seen = self.objects.entry(object.name_any()).or_default();
        let version = object.resource_version().unwrap_or_default();
        if seen.version == version {
            return;
        }
        seen.version = version;
        seen.writes += 1;
        self.writes += 1;
        self.last_write = Some(Instant::now());
        if !object.finalizers().is_empty() {
            seen.taken_up.get_or_insert_with(Instant::now);
        }
        let Some(status) = &object.status else { return };
        seen.is_checked = object.annotations().get(CHECK_REQUESTED) == status.last_handled_check.as_ref();
        let ready = status.conditions.iter().find(|found| found.type_ == "Ready");
        seen.reason = ready.map(|found| found.reason.clone()).unwrap_or_default();
        seen.is_ready = ready.is_some_and(|found| {
            found.status == "True" && found.observed_generation == object.metadata.generation
        });
        if seen.is_ready {
            seen.ready.get_or_insert_with(Instant::now);
        }
        seen.has_alarm = !status.alarms.is_empty();
        seen.is_alarmed =
            seen.has_alarm && status.alarms.iter().all(|alarm| alarm.state == AlarmState::Alarm);
        if status.drift.iter().any(|drift| drift.field == "retentionHours") {
            seen.drifted.get_or_insert_with(Instant::now);
        }
    }
}
