//! The control plane: streams, signaling channels, their settings and tags, as a machine without I/O and clock.
//!
//! The emulator drives one behind HTTP, with a journal on disk; tests drive one in process, in virtual time:
//!
//! ```
//! use serde_json::json;
//! use streamfleet_emulator::control::{Control, ControlOptions, Scope};
//!
//! let mut control = Control::new(ControlOptions::default());
//! let scope = Scope::new("123456789012", "eu-central-1");
//! let created = control.call(&scope, "CreateStream", &json!({"StreamName": "cam"}), 1_000).unwrap();
//! assert!(created["StreamARN"].as_str().unwrap().ends_with(":stream/cam/1000"));
//! let again = control.call(&scope, "CreateStream", &json!({"StreamName": "cam"}), 1_001);
//! assert_eq!(again.unwrap_err().code, "ResourceInUseException");
//! ```
//!
//! Requests and answers are the JSON bodies of the service. The same calls at the same times on equal machines give the
//! same answers: versions are drawn from the machine's own seed.

pub mod arn;
mod channels;
mod edge;
mod info;
mod listing;
pub mod model;
mod options;
mod quotas;
mod record;
mod requests;
mod settings;
mod streams;
mod tags;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{error::ServiceError, operation::Operation};
use info::StreamPage;
use listing::Listing;
pub use options::ControlOptions;
use quotas::Quotas;
pub use record::{ChannelRecord, EdgeRecord, Phases, ResourceKey, Scope, Status, StreamRecord, Tier};
pub use requests::Selection;

type Answer = Result<Value, ServiceError>;

/// An answer that is not written yet.
enum Answered {
    Whole(Value),
    Streams(StreamPage),
}

/// What a call, or the passing of time, has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A stream is new or different.
    Stream(Arc<StreamRecord>),
    /// A stream is gone.
    StreamGone(Arc<StreamRecord>),
    /// A channel is new or different.
    Channel(Arc<ChannelRecord>),
    /// A channel is gone.
    ChannelGone(Arc<ChannelRecord>),
}

/// Something that is `DELETING`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leaving {
    Stream(ResourceKey),
    Channel(ResourceKey),
}

/// Who calls what, when.
#[derive(Clone, Copy, Debug)]
struct At<'a> {
    scope: &'a Scope,
    operation: Operation,
    now: u64,
}

/// The control planes of all accounts and regions.
#[derive(Clone, Debug)]
pub struct Control {
    options: ControlOptions,
    random: fastrand::Rng,
    streams: BTreeMap<ResourceKey, Arc<StreamRecord>>,
    channels: BTreeMap<ResourceKey, Arc<ChannelRecord>>,
    /// How many streams each scope has.
    counts: BTreeMap<Scope, usize>,
    /// What `ListStreams` shows.
    listing: Listing,
    leaving: BTreeSet<(u64, Leaving)>,
    quotas: Quotas,
    /// The newest creation time; the next is later, so that each ARN and each folder on disk is of one stream.
    newest_ms: u64,
    changes: Vec<Change>,
}

impl Control {
    /// A service without streams.
    pub fn new(options: ControlOptions) -> Self {
        Self {
            random: fastrand::Rng::with_seed(options.seed),
            options,
            streams: BTreeMap::new(),
            channels: BTreeMap::new(),
            counts: BTreeMap::new(),
            listing: Listing::default(),
            leaving: BTreeSet::new(),
            quotas: Quotas::default(),
            newest_ms: 0,
            changes: Vec::new(),
        }
    }

    /// Takes records in as they were in another machine. Lists show them at once.
    pub fn restore(&mut self, streams: Vec<StreamRecord>, channels: Vec<ChannelRecord>) {
        for record in streams {
            self.put_stream(record, None);
        }
        for record in channels {
            self.put_channel(record);
        }
        self.changes.clear();
    }

    /// Calls an operation by its name, e.g. `CreateStream`, with the JSON body of its request. `now_ms` are milliseconds
    /// since the epoch and do not go back. The answer is the JSON body of the service's, or its error.
    pub fn call(&mut self, scope: &Scope, operation: &str, request: &Value, now_ms: u64) -> Answer {
        self.answer(scope, operation, request, now_ms).and_then(|answer| match answer {
            Answered::Whole(value) => Ok(value),
            Answered::Streams(page) => serde_json::to_value(page).map_err(|error| unwritten(&error)),
        })
    }

    /// As [`call`](Self::call); the answer is written already. A page of 10,000 streams is not held twice.
    pub fn call_for_text(
        &mut self,
        scope: &Scope,
        operation: &str,
        request: &Value,
        now_ms: u64,
    ) -> Result<String, ServiceError> {
        self.answer(scope, operation, request, now_ms).and_then(|answer| match answer {
            Answered::Whole(value) => Ok(value.to_string()),
            Answered::Streams(page) => serde_json::to_string(&page).map_err(|error| unwritten(&error)),
        })
    }

    fn answer(
        &mut self,
        scope: &Scope,
        operation: &str,
        request: &Value,
        now_ms: u64,
    ) -> Result<Answered, ServiceError> {
        self.changes.clear();
        self.pass(now_ms);
        let operation = Operation::by_name(operation).ok_or_else(ServiceError::unknown_operation)?;
        let at = At { scope, operation, now: now_ms };
        let request = model::model().check(operation.name(), request)?;
        if self.options.quotas {
            self.quotas.take(at, &request)?;
        }
        if at.operation == Operation::ListStreams {
            return self.list_streams(&at, &read(&request)?).map(Answered::Streams);
        }
        self.dispatch(&at, &request).map(Answered::Whole)
    }

    /// Lets time pass: what was `DELETING` long enough is gone, lists catch up.
    pub fn tick(&mut self, now_ms: u64) {
        self.changes.clear();
        self.pass(now_ms);
    }

    /// What the last call or tick has changed.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The streams that are not gone, by account, region and name; those that are `DELETING` are among them.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = &Arc<StreamRecord>> {
        self.streams.values()
    }

    /// The stream with this name.
    pub fn stream(&self, scope: &Scope, name: &str) -> Option<&Arc<StreamRecord>> {
        self.streams.get(&ResourceKey::new(scope, name))
    }

    /// The channels that are not gone.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &Arc<ChannelRecord>> {
        self.channels.values()
    }

    /// How it is set up.
    pub fn options(&self) -> &ControlOptions {
        &self.options
    }

    /// Sets it up differently from now on. What is under way takes the time that it had; a list that lagged longer
    /// catches up by the new lag.
    pub fn set_options(&mut self, options: ControlOptions, now_ms: u64) {
        self.listing.shorten(now_ms.saturating_add(options.list_lag_ms));
        if !options.quotas {
            self.quotas = Quotas::default();
        }
        self.options = options;
    }

    fn pass(&mut self, now: u64) {
        while let Some((when, _)) = self.leaving.first()
            && *when <= now
        {
            let Some((when, leaving)) = self.leaving.pop_first() else { break };
            match leaving {
                Leaving::Stream(key) => self.remove_stream(&key, when),
                Leaving::Channel(key) => {
                    let gone = self.channels.remove(&key);
                    self.changes.extend(gone.map(Change::ChannelGone));
                }
            }
        }
        self.listing.catch_up(now);
    }

    fn dispatch(&mut self, at: &At<'_>, request: &Value) -> Answer {
        match at.operation {
            Operation::CreateStream => self.create_stream(at, read(request)?),
            Operation::DescribeStream => self.describe_stream(at, &read(request)?),
            Operation::DeleteStream => self.delete_stream(at, read(request)?),
            Operation::UpdateStream => self.update_stream(at, read(request)?),
            Operation::UpdateDataRetention => self.update_data_retention(at, &read(request)?),
            Operation::DescribeStreamStorageConfiguration => self.describe_storage(at, &read(request)?),
            Operation::UpdateStreamStorageConfiguration => self.update_storage(at, &read(request)?),
            Operation::GetDataEndpoint => self.data_endpoint(at, &read(request)?),
            Operation::TagStream => self.tag_stream(at, read(request)?),
            Operation::UntagStream => self.untag_stream(at, &read(request)?),
            Operation::ListTagsForStream => self.list_stream_tags(at, &read(request)?),
            Operation::TagResource => self.tag_resource(at, read(request)?),
            Operation::UntagResource => self.untag_resource(at, &read(request)?),
            Operation::ListTagsForResource => self.list_resource_tags(at, &read(request)?),
            _ => self.dispatch_settings(at, request),
        }
    }

    fn dispatch_settings(&mut self, at: &At<'_>, request: &Value) -> Answer {
        match at.operation {
            Operation::DescribeImageGenerationConfiguration => self.describe_images(at, &read(request)?),
            Operation::UpdateImageGenerationConfiguration => self.update_images(at, read(request)?),
            Operation::DescribeNotificationConfiguration => self.describe_notification(at, &read(request)?),
            Operation::UpdateNotificationConfiguration => self.update_notification(at, read(request)?),
            Operation::DescribeEdgeConfiguration => self.describe_edge(at, &read(request)?),
            Operation::StartEdgeConfigurationUpdate => self.start_edge_update(at, read(request)?),
            Operation::DeleteEdgeConfiguration => self.delete_edge(at, &read(request)?),
            Operation::ListEdgeAgentConfigurations => self.list_edge(at, &read(request)?),
            Operation::CreateSignalingChannel => self.create_channel(at, read(request)?),
            Operation::DescribeSignalingChannel => self.describe_channel(at, &read(request)?),
            Operation::ListSignalingChannels => self.list_channels(at, &read(request)?),
            Operation::UpdateSignalingChannel => self.update_channel(at, read(request)?),
            Operation::DeleteSignalingChannel => self.delete_channel(at, &read(request)?),
            Operation::GetSignalingChannelEndpoint => self.channel_endpoint(at, &read(request)?),
            Operation::DescribeMediaStorageConfiguration => self.describe_media_storage(at, &read(request)?),
            Operation::UpdateMediaStorageConfiguration => self.update_media_storage(at, read(request)?),
            Operation::DescribeMappedResourceConfiguration => self.describe_mapped(at, &read(request)?),
            _ => Err(ServiceError::unknown_operation()),
        }
    }

    /// 20 letters and digits, as the service's versions look.
    fn new_version(&mut self) -> String {
        std::iter::repeat_with(|| self.random.alphanumeric()).take(20).collect()
    }

    /// A creation time that no other has.
    fn new_created_ms(&mut self, now: u64) -> u64 {
        self.newest_ms = now.max(self.newest_ms + 1);
        self.newest_ms
    }

    /// Enters a stream, new or changed; lists show it at once, or by the time `now` with their lag.
    fn put_stream(&mut self, record: StreamRecord, now: Option<u64>) -> Arc<StreamRecord> {
        let record = Arc::new(record);
        let key = record.key();
        self.newest_ms = self.newest_ms.max(record.created_ms);
        if let Some(gone) = record.phases.gone_at_ms {
            self.leaving.insert((gone, Leaving::Stream(key.clone())));
        }
        let shown_at = now.map_or(0, |now| now.saturating_add(self.options.list_lag_ms));
        self.listing.put(key.clone(), Some(record.clone()), (now.unwrap_or(0), shown_at));
        if self.streams.insert(key, record.clone()).is_none() {
            *self.counts.entry(record.scope()).or_default() += 1;
        }
        self.changes.push(Change::Stream(record.clone()));
        record
    }

    fn remove_stream(&mut self, key: &ResourceKey, when: u64) {
        let Some(gone) = self.streams.remove(key) else { return };
        if let Some(count) = self.counts.get_mut(&gone.scope()) {
            *count = count.saturating_sub(1);
        }
        let shown_until = when.saturating_add(self.options.list_lag_ms);
        self.listing.put(key.clone(), None, (when, shown_until));
        self.changes.push(Change::StreamGone(gone));
    }

    fn put_channel(&mut self, record: ChannelRecord) -> Arc<ChannelRecord> {
        let record = Arc::new(record);
        let key = record.key();
        self.newest_ms = self.newest_ms.max(record.created_ms);
        if let Some(gone) = record.phases.gone_at_ms {
            self.leaving.insert((gone, Leaving::Channel(key.clone())));
        }
        self.channels.insert(key, record.clone());
        self.changes.push(Change::Channel(record.clone()));
        record
    }
}

fn unwritten(error: &serde_json::Error) -> ServiceError {
    ServiceError::internal(error.to_string())
}

/// Reads a request that the model has checked.
fn read<T: DeserializeOwned>(request: &Value) -> Result<T, ServiceError> {
    T::deserialize(request).map_err(|error| ServiceError::invalid_argument(error.to_string()))
}

/// A page of names after a token: the token is the last name in hexadecimal.
fn name_from_token(token: &str) -> Result<String, ServiceError> {
    let name = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| ServiceError::invalid_argument("NextToken is not one of ours"))
}
