//! A world for tests: one name in KVS, changed by steps as the service would, with its refusals.

use std::collections::BTreeMap;

use super::{Call, Step};
use crate::aws::{Settings, StreamInfo, StreamState};
use crate::video_stream::observed::{Freshness, Observed, View};

/// The name, and what is under it.
#[derive(Debug, Clone)]
pub struct World {
    /// The stream.
    pub stream: Option<(StreamInfo, Settings)>,
    /// Every retention that the stream has had.
    pub retentions: Vec<i32>,
    counter: u64,
}

impl World {
    /// With this stream.
    pub fn new(stream: Option<(StreamInfo, Settings)>) -> Self {
        let retentions = stream.iter().map(|(info, _)| info.retention_hours).collect();
        Self { stream, retentions, counter: 1 }
    }

    /// As a fresh read shows it.
    pub fn view(&self) -> View {
        match self.stream.clone() {
            Some((info, settings)) => View::Present(Observed::fresh(info, settings)),
            None => View::Absent(Freshness::Fresh),
        }
    }

    /// As a sweep shows it.
    pub fn cached(&self) -> View {
        match self.stream.clone() {
            Some((info, settings)) => View::Present(Observed::cached(info, settings)),
            None => View::Absent(Freshness::Cached),
        }
    }

    /// Does a step.
    ///
    /// # Panics
    /// Where the service would refuse it.
    pub fn apply(&mut self, step: &Step) {
        self.counter += 1;
        let version = format!("v{}", self.counter);
        let (fence, call) = match step {
            Step::Create(_, new) => {
                assert!(self.stream.is_none(), "the name is taken");
                let info = StreamInfo {
                    name: new.name.clone(),
                    arn: format!("arn:made/{}", self.counter),
                    version,
                    state: StreamState::Active,
                    retention_hours: new.retention_hours,
                    created: None,
                    kms_key_id: new.kms_key_id.clone(),
                    media_type: new.media_type.clone(),
                    device_name: new.device_name.clone(),
                };
                let settings = Settings {
                    tags: new.tags.clone(),
                    storage_tier: new.storage_tier.unwrap_or_default(),
                    image_generation: None,
                    notification: None,
                };
                self.retentions.push(new.retention_hours);
                self.stream = Some((info, settings));
                return;
            }
            Step::Change(fence, call) => (fence, call),
        };
        let (info, settings) = self.stream.as_mut().expect("there is no stream");
        assert_eq!((fence.arn(), fence.version()), (info.arn.as_str(), info.version.as_str()), "stale");
        assert_eq!(info.state, StreamState::Active, "in use");
        match call {
            Call::Retention(step) => {
                assert_eq!(step.from(), info.retention_hours, "computed from another value");
                info.retention_hours = step.to();
                self.retentions.push(step.to());
            }
            Call::Update(update) => {
                assert!(update.media_type.is_some() || update.device_name.is_some(), "says nothing");
                info.media_type = update.media_type.clone();
                info.device_name = update.device_name.clone();
            }
            Call::Tier(tier) => settings.storage_tier = *tier,
            Call::Tag(tags) => settings.tags.extend(tags.clone()),
            Call::Untag(keys) => settings.tags.retain(|key, _| !keys.contains(key)),
            Call::Images(images) => {
                assert!(images.is_none() || info.retention_hours > 0, "no retention");
                settings.image_generation = images.clone();
            }
            Call::Notify(notification) => {
                assert!(notification.is_none() || info.retention_hours > 0, "no retention");
                settings.notification = notification.clone();
            }
        }
        assert!(settings.tags.len() <= 50, "too many tags");
        info.version = version;
    }

    /// The tags.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.stream.as_ref().map(|(_, settings)| settings.tags.clone()).unwrap_or_default()
    }
}
