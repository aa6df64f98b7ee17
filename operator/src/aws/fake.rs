//! A cloud for tests: streams in memory, states that settle when asked to, failures before and after the effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use streamfleet_crds::{AlarmState, ImageGeneration, Notification, StorageTier};

use super::{
    Alarm, AlarmInfo, AlarmMetric, AlarmQuery, Answer, AwsError, Caller, Cloud, Clouds, Comparison,
    CompositeAlarm, CompositeInfo, ErrorKind, MissingData, NewStream, Place, RetentionChange, Statistic,
    StreamInfo, StreamState, StreamUpdate, Turn, Which,
};

/// The cloud; clones share their streams.
#[derive(Clone, Default)]
pub struct FakeCloud {
    state: Arc<Mutex<State>>,
    /// As which role calls are made.
    role: Option<String>,
}

/// What is in the cloud, and what was asked of it.
#[derive(Default)]
pub struct State {
    /// Streams by name.
    pub streams: BTreeMap<String, (StreamInfo, BTreeMap<String, String>)>,
    /// What else streams are set to, by ARN; what is not there is `Hot` and has neither images nor notifications.
    pub settings: BTreeMap<String, (StorageTier, Option<ImageGeneration>, Option<Notification>)>,
    /// Alarms by name.
    pub alarms: BTreeMap<String, AlarmInfo>,
    /// Composite alarms by name.
    pub composites: BTreeMap<String, CompositeInfo>,
    /// The calls, in order.
    pub calls: Vec<String>,
    /// The turns that were waited for, in order.
    pub turns: Vec<String>,
    /// The next call of this operation fails so; true: its effect takes place nevertheless.
    pub fail: Option<(&'static str, ErrorKind, bool)>,
    /// These operations are denied to these roles, and to whoever has none.
    pub denied: Vec<(Option<&'static str>, &'static str)>,
    /// How long a list of alarms takes, if not no time.
    pub alarms_take: Option<Duration>,
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

    /// The turns that were waited for since this was last asked.
    pub fn turns(&self) -> Vec<String> {
        std::mem::take(&mut self.state().turns)
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
        if state.denied.contains(&(self.role.as_deref(), operation)) {
            return Err(error(ErrorKind::Denied));
        }
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

    /// The further settings of a stream that is there.
    pub fn settings(
        &mut self,
        arn: &str,
    ) -> Result<&mut (StorageTier, Option<ImageGeneration>, Option<Notification>), ErrorKind> {
        self.by_arn(arn)?;
        Ok(self.settings.entry(arn.to_owned()).or_insert((StorageTier::Hot, None, None)))
    }

    /// The stream of this version, which gets a new one.
    fn change(&mut self, arn: &str, version: &str) -> Result<&mut StreamInfo, ErrorKind> {
        let tick = self.tick();
        let (info, _) = self.by_arn(arn)?;
        if info.version != version {
            return Err(ErrorKind::VersionMismatch);
        }
        info.version = format!("v{tick}");
        Ok(info)
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
            kms_key_id: Some("arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesisvideo".to_owned()),
            media_type: None,
            device_name: None,
        };
        self.streams.insert(name.to_owned(), (info, tags));
        arn
    }
}

impl Cloud for FakeCloud {
    fn turn<'a>(&'a self, operation: &'static str, stream: &'a str) -> Answer<'a, Turn> {
        self.state().turns.push(format!("{operation} {stream}"));
        async move { Ok(Turn::new(operation, stream)) }.boxed()
    }

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
            let arn = state.put(&stream.name, stream.retention_hours, stream.tags.clone());
            let (info, _) = state.by_arn(&arn)?;
            info.media_type.clone_from(&stream.media_type);
            info.device_name.clone_from(&stream.device_name);
            if stream.kms_key_id.is_some() {
                info.kms_key_id.clone_from(&stream.kms_key_id);
            }
            state.settings(&arn)?.0 = stream.storage_tier.unwrap_or(StorageTier::Hot);
            Ok(arn)
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
            let info = state.change(arn, version)?;
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

    fn update_stream<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        update: &'a StreamUpdate,
    ) -> Answer<'a, ()> {
        let answer = self.call("UpdateStream", "", |state| {
            let info = state.change(arn, version)?;
            info.media_type.clone_from(&update.media_type);
            info.device_name.clone_from(&update.device_name);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn storage_tier<'a>(&'a self, arn: &'a str) -> Answer<'a, StorageTier> {
        let answer = self.call("DescribeStreamStorageConfiguration", "", |state| Ok(state.settings(arn)?.0));
        async move { answer }.boxed()
    }

    fn change_storage_tier<'a>(
        &'a self,
        arn: &'a str,
        version: &'a str,
        tier: StorageTier,
    ) -> Answer<'a, ()> {
        let answer = self.call("UpdateStreamStorageConfiguration", &format!(" {tier:?}"), |state| {
            state.change(arn, version)?;
            state.settings(arn)?.0 = tier;
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn image_generation<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<ImageGeneration>> {
        let answer =
            self.call("DescribeImageGenerationConfiguration", "", |state| Ok(state.settings(arn)?.1.clone()));
        async move { answer }.boxed()
    }

    fn set_image_generation<'a>(
        &'a self,
        arn: &'a str,
        images: Option<&'a ImageGeneration>,
    ) -> Answer<'a, ()> {
        let answer = self.call("UpdateImageGenerationConfiguration", "", |state| {
            if images.is_some() && state.by_arn(arn)?.0.retention_hours == 0 {
                return Err(ErrorKind::NoRetention);
            }
            state.settings(arn)?.1 = images.cloned();
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn notification<'a>(&'a self, arn: &'a str) -> Answer<'a, Option<Notification>> {
        let answer =
            self.call("DescribeNotificationConfiguration", "", |state| Ok(state.settings(arn)?.2.clone()));
        async move { answer }.boxed()
    }

    fn set_notification<'a>(
        &'a self,
        arn: &'a str,
        notification: Option<&'a Notification>,
    ) -> Answer<'a, ()> {
        let answer = self.call("UpdateNotificationConfiguration", "", |state| {
            if notification.is_some() && state.by_arn(arn)?.0.retention_hours == 0 {
                return Err(ErrorKind::NoRetention);
            }
            state.settings(arn)?.2 = notification.cloned();
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn describe_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<AlarmInfo>> {
        let answer = self.call("DescribeAlarms", "", |state| {
            Ok(state.alarms.values().filter(|info| asks_for(query, &info.alarm.name)).cloned().collect())
        });
        let takes = self.state().alarms_take;
        async move {
            if let Some(time) = takes {
                tokio::time::sleep(time).await;
            }
            answer
        }
        .boxed()
    }

    fn describe_composite_alarms<'a>(&'a self, query: &'a AlarmQuery) -> Answer<'a, Vec<CompositeInfo>> {
        let answer = self.call("DescribeAlarms", "", |state| {
            Ok(state.composites.values().filter(|info| asks_for(query, &info.alarm.name)).cloned().collect())
        });
        async move { answer }.boxed()
    }

    fn put_alarm<'a>(&'a self, alarm: &'a Alarm) -> Answer<'a, ()> {
        let answer = self.call("PutMetricAlarm", &format!(" {}", alarm.name), |state| {
            // The service does not tell tags.
            let alarm = Alarm { tags: BTreeMap::new(), ..alarm.clone() };
            let before = state.alarms.remove(&alarm.name);
            let new = || AlarmInfo {
                arn: format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{}", alarm.name),
                alarm: alarm.clone(),
                state: AlarmState::InsufficientData,
                reason: "Unchecked: Initial alarm creation".to_owned(),
                since: None,
            };
            let info = AlarmInfo { alarm: alarm.clone(), ..before.unwrap_or_else(new) };
            state.alarms.insert(alarm.name.clone(), info);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn put_composite_alarm<'a>(&'a self, alarm: &'a CompositeAlarm) -> Answer<'a, ()> {
        let answer = self.call("PutCompositeAlarm", &format!(" {}", alarm.name), |state| {
            let info = CompositeInfo {
                arn: format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{}", alarm.name),
                alarm: CompositeAlarm { tags: BTreeMap::new(), ..alarm.clone() },
                state: AlarmState::InsufficientData,
                reason: String::new(),
                since: None,
            };
            state.composites.insert(alarm.name.clone(), info);
            Ok(())
        });
        async move { answer }.boxed()
    }

    fn delete_alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, ()> {
        let answer = self.call("DeleteAlarms", &format!(" {}", names.join(",")), |state| {
            for name in names {
                state.alarms.remove(name);
                state.composites.remove(name);
            }
            Ok(())
        });
        async move { answer }.boxed()
    }
}

fn asks_for(query: &AlarmQuery, name: &str) -> bool {
    match query {
        AlarmQuery::Prefix(prefix) => name.starts_with(prefix.as_str()),
        AlarmQuery::Names(names) => names.iter().any(|wanted| wanted == name),
    }
}

/// An alarm on the stream `a`.
pub fn alarm(name: &str) -> Alarm {
    Alarm {
        name: name.to_owned(),
        description: "No video comes in".to_owned(),
        metric: AlarmMetric::Stream {
            metric: "PutMedia.IncomingFragments".to_owned(),
            stream_name: "a".to_owned(),
            statistic: Statistic::Sum,
        },
        comparison: Comparison::LessThan,
        threshold: 1.0,
        period_seconds: 60,
        evaluation_periods: 5,
        datapoints_to_alarm: 3,
        missing_data: MissingData::Breaching,
        actions: Vec::new(),
        actions_enabled: true,
        tags: BTreeMap::new(),
    }
}

/// A composite alarm.
pub fn composite(name: &str) -> CompositeAlarm {
    CompositeAlarm {
        name: name.to_owned(),
        description: "A site".to_owned(),
        rule: "ALARM(\"x\")".to_owned(),
        actions: Vec::new(),
        actions_enabled: true,
        tags: BTreeMap::new(),
    }
}

impl Clouds for FakeCloud {
    fn cloud<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Result<Arc<dyn Cloud>, AwsError>> {
        let cloud: Arc<dyn Cloud> = Arc::new(Self { role: place.role_arn.clone(), ..self.clone() });
        async move { Ok(cloud) }.boxed()
    }

    fn forget(&self, _place: &Place) {}

    fn trouble(&self, _place: &Place) -> Option<AwsError> {
        None
    }
}
