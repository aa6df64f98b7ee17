//! A cloud for tests: streams in memory, states that settle when asked to, failures before and after the effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{
    Answer, AwsError, Caller, Cloud, Clouds, ErrorKind, NewStream, Place, RetentionChange, StreamInfo,
    StreamState, Which,
};

/// The cloud; clones share their streams.
#[derive(Clone, Default)]
pub struct FakeCloud {
    state: Arc<Mutex<State>>,
}

/// What is in the cloud, and what was asked of it.
#[derive(Default)]
pub struct State {
    /// Streams by name.
    pub streams: BTreeMap<String, (StreamInfo, BTreeMap<String, String>)>,
    /// The calls, in order.
    pub calls: Vec<String>,
    /// The next call of this operation fails so; true: its effect takes place nevertheless.
    pub fail: Option<(&'static str, ErrorKind, bool)>,
    /// Counts versions and ARNs.
    pub clock: i64,
}

impl FakeCloud {
    /// The inside, for arranging and looking.
    ///
    /// # Panics
    /// Where a test panicked while it held it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The names of the calls since this was last asked, without reads.
    pub fn changes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.state().calls);
        calls.into_iter().filter(|call| !call.starts_with("Describe") && !call.starts_with("List")).collect()
    }

    fn call<T>(
        &self,
        operation: &'static str,
        note: &str,
        effect: impl FnOnce(&mut State) -> Result<T, ErrorKind>,
    ) -> Result<T, AwsError> {
        let mut state = self.state();
        state.calls.push(format!("{operation}{note}"));
        let error = |kind| AwsError { operation, kind, message: "as ordered".to_owned() };
        let failure = state.fail.take_if(|(name, _, _)| *name == operation);
        match failure {
            Some((_, kind, false)) => Err(error(kind)),
            Some((_, kind, true)) => {
                let _ = effect(&mut state);
                Err(error(kind))
            }
            None => effect(&mut state).map_err(error),
        }
    }
}

impl State {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn by_arn(&mut self, arn: &str) -> Result<&mut (StreamInfo, BTreeMap<String, String>), ErrorKind> {
        self.streams.values_mut().find(|(info, _)| info.arn == arn).ok_or(ErrorKind::NotFound)
    }

    /// Makes a stream as another would.
    pub fn put(&mut self, name: &str, retention_hours: i32, tags: BTreeMap<String, String>) -> String {
        let tick = self.tick();
        let arn = format!("arn:aws:kinesisvideo:eu-west-1:123456789012:stream/{name}/{tick}");
        let info = StreamInfo {
            name: name.to_owned(),
            arn: arn.clone(),
            version: format!("v{tick}"),
            state: StreamState::Active,
            retention_hours,
            created: Timestamp::from_second(tick).ok(),
        };
        self.streams.insert(name.to_owned(), (info, tags));
        arn
    }
}

impl Cloud for FakeCloud {
    fn caller(&self) -> Answer<'_, Caller> {
        let caller =
            Caller { account: "123456789012".to_owned(), arn: "arn:aws:iam::123456789012:user/x".to_owned() };
        let answer = self.call("GetCallerIdentity", "", |_| Ok(caller));
        async move { answer }.boxed()
    }

    fn create_stream<'a>(&'a self, stream: &'a NewStream) -> Answer<'a, String> {
        let answer = self.call("CreateStream", &format!(" {}", stream.name), |state| {
            if state.streams.contains_key(&stream.name) {
                return Err(ErrorKind::InUse);
            }
            Ok(state.put(&stream.name, stream.retention_hours, stream.tags.clone()))
        });
        async move { answer }.boxed()
    }

    fn describe_stream<'a>(&'a self, which: Which<'a>) -> Answer<'a, Option<StreamInfo>> {
        let answer = self.call("DescribeStream", "", |state| {
            let found = state.streams.values().find(|(info, _)| match which {
                Which::Name(name) => info.name == name,
                Which::Arn(arn) => info.arn == arn,
            });
            Ok(found.map(|(info, _)| info.clone()))
        });
        async move { answer }.boxed()
    }

    fn list_streams(&self) -> Answer<'_, Vec<StreamInfo>> {
        let answer = self.call("ListStreams", "", |state| {
            Ok(state.streams.values().map(|(info, _)| info.clone()).collect())
        });
        async move { answer }.boxed()
    }

    fn list_tags<'a>(&'a self, arn: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        let answer = self.call("ListTagsForStream", "", |state| Ok(state.by_arn(arn)?.1.clone()));
        async move { answer }.boxed()
    }

    fn tag_stream<'a>(&'a self, arn: &'a str, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        let keys = tags.keys().cloned().collect::<Vec<_>>().join(",");
        let answer = self.call("TagStream", &format!(" {keys}"), |state| {
            state.by_arn(arn)?.1.extend(tags.clone());
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn untag_stream<'a>(&'a self, arn: &'a str, keys: &'a [String]) -> Answer<'a, ()> {
        let answer = self.call("UntagStream", &format!(" {}", keys.join(",")), |state| {
            state.by_arn(arn)?.1.retain(|key, _| !keys.contains(key));
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn change_retention<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        change: RetentionChange,
    ) -> Answer<'a, ()> {
        let answer = self.call("UpdateDataRetention", &format!(" {change:?}"), |state| {
            let tick = state.tick();
            let (info, _) = state.by_arn(arn)?;
            if info.version != version {
                return Err(ErrorKind::VersionMismatch);
            }
            info.version = format!("v{tick}");
            info.retention_hours += match change {
                RetentionChange::Increase(hours) => hours,
                RetentionChange::Decrease(hours) => -hours,
            };
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn delete_stream<'a>(&'a self, arn: &'a str, version: &'a str) -> Answer<'a, ()> {
        let answer = self.call("DeleteStream", &format!(" {arn}"), |state| {
            let Ok((info, _)) = state.by_arn(arn) else { return Ok(()) };
            if info.version != version {
                return Err(ErrorKind::VersionMismatch);
            }
            let name = info.name.clone();
            state.streams.remove(&name);
            Ok(())
        });
        async move { answer }.boxed()
    }
}

impl Clouds for FakeCloud {
    fn cloud<'a>(&'a self, _place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        let cloud: Arc<dyn Cloud> = Arc::new(self.clone());
        async move { Ok(cloud) }.boxed()
    }

    fn forget(&self, _place: &Place) {}
}
