//! What the actions of alarms would have told: a list that tests read.

use std::collections::VecDeque;

use serde::Serialize;

use super::evaluate::State;

/// Older ones are forgotten.
const KEPT_MAX: usize = 100_000;

/// One action of one transition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Counts from 1.
    pub n: u64,
    /// When, in milliseconds since the epoch.
    pub ms: u64,
    /// Whose alarm.
    pub account: String,
    /// And where.
    pub region: String,
    /// The alarm's name.
    pub alarm: String,
    /// Its state before.
    pub from: State,
    /// Its state since.
    pub to: State,
    /// Why.
    pub reason: String,
    /// Where it is told: an SNS topic.
    pub action: String,
}

/// The newest of them.
#[derive(Clone, Debug, Default)]
pub struct Notifications {
    last: u64,
    kept: VecDeque<Notification>,
}

impl Notifications {
    /// Enters one; its number is given here.
    pub fn enter(&mut self, mut notification: Notification) {
        self.last += 1;
        notification.n = self.last;
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(notification);
    }

    /// Those after number `n`, oldest first, at most `limit`.
    pub fn since(&self, n: u64, limit: usize) -> Vec<Notification> {
        let first = self.kept.partition_point(|one| one.n <= n);
        self.kept.range(first..).take(limit).cloned().collect()
    }
}
