//! What every controller works with.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use crate::alarms::Desk;
use crate::args::Settings;
use crate::aws::Clouds;
use crate::aws::observer::Observer;
use crate::camera::Applied;
use crate::events::Events;
use crate::feeds::Feeds;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::stream_class::Checks;
use crate::video_stream::Creations;
use crate::watch::{Caches, Triggers};

/// So long a call may be under way whose sender does not lead any more, or has given it up: the longest that one is waited for, and a
/// while.
pub const UNDER_WAY: Duration = Duration::from_secs(10);

/// What every controller works with.
pub struct Context {
    /// The cluster: calls, events, and what is known of it.
    pub cluster: Cluster,
    /// AWS: calls, and what is known of it.
    pub aws: AwsSide,
    /// What the producers say about their feeds.
    pub feeds: Arc<Feeds>,
    /// The settings; `installation` is set.
    pub settings: Settings,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Whether this replica may write: asked before each mutating call to AWS and each write to the API server.
    pub leadership: Leadership,
}

/// The side of the cluster.
pub struct Cluster {
    /// Calls to the API server.
    pub client: Client,
    /// Events on objects.
    pub events: Events,
    /// What is known of the cluster.
    pub caches: Caches,
    /// Where to say that an object is to be looked at.
    pub triggers: Triggers,
    /// What was applied last for each Camera.
    pub applied: Applied,
}

/// The side of AWS.
pub struct AwsSide {
    /// Calls.
    pub clouds: Arc<dyn Clouds>,
    /// What is known.
    pub observer: Arc<Observer>,
    /// Who the operator is, as STS said last.
    pub checks: Arc<Checks>,
    /// Whose turn it is to write alarms.
    pub alarms: Arc<Desk>,
    /// The streams that may still appear, though nobody waits for the answer any more.
    pub creations: Arc<Creations>,
    /// Since when this replica leads.
    pub since: Instant,
}

impl AwsSide {
    /// Whether a call of the operator that led before may still be under way: what is not on record may be there in a moment.
    pub fn follows_another(&self) -> bool {
        self.since.elapsed() < UNDER_WAY
    }
}

/// When a replica began to lead whose predecessor's calls have all ended.
#[cfg(test)]
pub fn long_ago() -> Instant {
    Instant::now().checked_sub(UNDER_WAY).unwrap()
}

impl Context {
    /// Whose the streams are.
    pub fn installation(&self) -> &str {
        self.settings.installation.as_deref().unwrap_or_default()
    }
}
