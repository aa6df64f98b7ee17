//! How a control plane is set up.

use serde::{Deserialize, Serialize};
use url::Url;

/// Streams of an account in a region, before it asks for more (Kinesis Video Streams quotas).
const STREAMS_MAX: usize = 10_000;
/// Signaling channels of an account in a region; 10,000 in two regions (WebRTC quotas).
const CHANNELS_MAX: usize = 5_000;

/// How a control plane is set up. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlOptions {
    /// How long streams and channels are `CREATING`.
    pub creating_ms: u64,
    /// How long they are `UPDATING`, and edge configurations `SYNCING`.
    pub updating_ms: u64,
    /// How long they are `DELETING`, edge configurations too.
    pub deleting_ms: u64,
    /// Whether `UpdateDataRetention` makes a stream `UPDATING`; the service does not say whether it does.
    pub retention_updates: bool,
    /// By how much `ListStreams` is behind: what it shows is what was so long ago.
    pub list_lag_ms: u64,
    /// Whether calls in a second are limited as in the service.
    pub quotas: bool,
    /// Streams of an account in a region.
    pub streams_max: usize,
    /// Signaling channels of an account in a region.
    pub channels_max: usize,
    /// What `GetDataEndpoint` answers, before a base path for each stream and API.
    #[serde(skip, default = "nowhere")]
    pub advertise: Url,
    /// What versions are drawn from.
    #[serde(skip)]
    pub seed: u64,
}

fn nowhere() -> Url {
    Url::parse("https://kinesisvideo.invalid").expect("it is a URL")
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            creating_ms: 0,
            updating_ms: 0,
            deleting_ms: 0,
            retention_updates: false,
            list_lag_ms: 0,
            quotas: false,
            streams_max: STREAMS_MAX,
            channels_max: CHANNELS_MAX,
            advertise: nowhere(),
            seed: 0,
        }
    }
}

impl ControlOptions {
    /// These options with the members of a JSON object in place of their own.
    pub fn with(&self, members: &serde_json::Value) -> Result<Self, String> {
        let Some(members) = members.as_object() else { return Err("an object is wanted".to_owned()) };
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, value) in members {
            all[name] = value.clone();
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        Ok(Self { advertise: self.advertise.clone(), seed: self.seed, ..changed })
    }
}
