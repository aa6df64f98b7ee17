//! An outage of all endpoints. The hooks go on.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::{sync::watch, time::sleep_until};

/// What an outage looks like to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Open connections are cut, new ones end without an answer.
    #[default]
    Drop,
    /// Open connections are cut; nobody listens at the HTTPS address.
    Refuse,
    /// Connections stay open and new ones come about, but nothing is read and nothing answered.
    BlackHole,
}

/// The outage that is on, if one is.
#[derive(Debug, Default)]
pub struct Outage {
    now: Mutex<Option<(Instant, Mode)>>,
    /// Counts all beginnings and ends on order.
    changes: watch::Sender<u64>,
    /// Counts the beginnings of those that cut.
    cuts: watch::Sender<u64>,
}

impl Outage {
    /// Begins an outage, or lengthens, shortens or changes the one that is on.
    pub fn begin(&self, duration: Duration, mode: Mode) {
        let ends = Instant::now().checked_add(duration);
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = ends.map(|ends| (ends, mode));
        self.changes.send_modify(|count| *count += 1);
        if mode != Mode::BlackHole && !duration.is_zero() {
            self.cuts.send_modify(|count| *count += 1);
        }
    }

    /// The one that is on.
    pub fn mode(&self) -> Option<Mode> {
        self.until().map(|(_, mode)| mode)
    }

    /// Waits until this kind is over.
    pub async fn is_over(&self, mode: Mode) {
        let mut changes = self.changes.subscribe();
        while let Some((ends, _)) = self.until().filter(|(_, now)| *now == mode) {
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep_until(ends.into()) => {}
            }
        }
    }

    /// Waits until this kind is on.
    pub async fn is_on(&self, mode: Mode) {
        let mut changes = self.changes.subscribe();
        while self.mode() != Some(mode) {
            let _ = changes.changed().await;
        }
    }

    /// Changes when connections are to be cut.
    pub fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    fn until(&self) -> Option<(Instant, Mode)> {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.filter(|(ends, _)| *ends > Instant::now())
    }
}
