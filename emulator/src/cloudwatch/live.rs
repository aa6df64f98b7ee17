//! CloudWatch of a running emulator: the machine behind a lock, its journal, the clock, and the metrics of the streams.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{CloudWatch, Notification, Settings, journal::Journal, traffic::names};
use crate::{clock::now_ms, control::Scope, error::ServiceError, service::Service};

/// The evaluator looks this often at least, and this often at most.
const LOOKS: std::ops::RangeInclusive<u64> = 100..=1000;
/// Looks in a minute.
const LOOKS_A_MINUTE: u64 = 60;

/// CloudWatch of a running emulator.
#[derive(Debug)]
pub struct Live {
    inner: Mutex<Inner>,
    /// Milliseconds between two looks.
    looks: u64,
}

#[derive(Debug)]
struct Inner {
    cloudwatch: CloudWatch,
    journal: Journal,
}

impl Inner {
    /// Writes what has changed.
    fn settle(&mut self) -> io::Result<()> {
        let Self { cloudwatch, journal } = self;
        let lines = cloudwatch.take_changes();
        if lines.is_empty() {
            return Ok(());
        }
        journal.append(&lines)?;
        if journal.is_long(cloudwatch.count()) {
            let kept: Vec<_> = cloudwatch.kept().collect();
            journal.compact(kept.into_iter())?;
        }
        Ok(())
    }
}

impl Live {
    /// Reads the alarms of a data folder. Blocks on the disk.
    pub fn open(data: &Path, settings: Settings) -> io::Result<Self> {
        let looks = (settings.minute_ms / LOOKS_A_MINUTE).clamp(*LOOKS.start(), *LOOKS.end());
        let (journal, kept) = Journal::open(data)?;
        let mut cloudwatch = CloudWatch::new(settings);
        cloudwatch.restore(kept, now_ms());
        Ok(Self { inner: Mutex::new(Inner { cloudwatch, journal }), looks })
    }

    /// Carries out an operation; `beyond_rates` for the hooks.
    pub fn call(
        &self,
        scope: &Scope,
        operation: &str,
        input: &Value,
        beyond_rates: bool,
    ) -> Result<Value, ServiceError> {
        let mut inner = self.lock();
        let cloudwatch = &mut inner.cloudwatch;
        let answer = if beyond_rates {
            cloudwatch.call_beyond_rates(scope, operation, input, now_ms())
        } else {
            cloudwatch.call(scope, operation, input, now_ms())
        };
        inner.settle()?;
        answer
    }

    /// Enters a value of a stream's metric.
    pub fn record(&self, scope: &Scope, metric: &str, stream: &str, value: f64) {
        self.lock().cloudwatch.record(scope, (metric, stream), value, now_ms());
    }

    /// What alarms have told.
    pub fn notifications(&self, since: u64, limit: usize) -> Vec<Notification> {
        self.lock().cloudwatch.notifications(since, limit)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the streams have counted, and evaluates what is due. Blocks on the disk.
    fn look(&self, service: &Service) -> io::Result<()> {
        let now_ms = now_ms();
        let mut inner = self.lock();
        for stream in service.catalog.all() {
            let counted = stream.traffic.take();
            let connections = stream.upload.get().map_or(0, |upload| upload.connections());
            if counted.is_empty() && connections == 0 {
                continue;
            }
            let record = stream.record();
            let scope = Scope::new(&*record.account, &*record.region);
            if connections > 0 {
                let open = connections as f64;
                inner.cloudwatch.record(&scope, (names::PUT_CONNECTIONS, &record.name), open, now_ms);
            }
            for (second, metric, sample) in counted {
                inner.cloudwatch.record_sample(&scope, (metric, &record.name), &sample, second * 1000);
            }
        }
        inner.cloudwatch.tick(now_ms);
        inner.settle()
    }
}

/// Drives the evaluator until the emulator ends.
pub async fn run(service: Arc<Service>) {
    let mut ticks = interval(Duration::from_millis(service.cloudwatch.looks));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = service.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let service = service.clone();
        let done = tokio::task::spawn_blocking(move || service.cloudwatch.look(&service)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(error = &error as &dyn std::error::Error, "The alarms could not be kept");
        }
    }
}
