//! What every scenario has: a world, beside others' or shared with them, one class and one namespace in it, and short ways
//! to look at what was done.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use streamfleet_crds::{
    AlarmState, AlarmStatus, CHECK_REQUESTED, ConditionType, StreamClass, VideoStream, ownership_tags,
};
use tokio::sync::Mutex;

use super::emulator::{Call, FoundStream, REGION};
use super::kubectl::kubectl;
use super::manifests::{class, merge, stream};
use super::objects::{Expected, SOON, has_condition, is_gone};
use super::world::claim_cluster;
use super::{OperatorLock, World, http};
use crate::cluster::wait::{Look, until};
use crate::steps::Steps;

/// The stream is there and as the spec says.
pub const ACTIVE: Expected = (ConditionType::Ready, "True", "Active");
/// Nothing is to be changed.
pub const IN_SYNC: Expected = (ConditionType::Synced, "True", "InSync");

/// What changes something in AWS.
const MUTATING: [&str; 14] = [
    "CreateStream",
    "DeleteStream",
    "UpdateStream",
    "UpdateDataRetention",
    "UpdateStreamStorageConfiguration",
    "UpdateImageGenerationConfiguration",
    "UpdateNotificationConfiguration",
    "TagStream",
    "UntagStream",
    "TagResource",
    "UntagResource",
    "PutMetricAlarm",
    "PutCompositeAlarm",
    "DeleteAlarms",
];

/// The claim on the cluster that the scenarios which run have together.
static CLAIM: Mutex<Weak<OperatorLock>> = Mutex::const_new(Weak::new());

async fn claim() -> Result<Arc<OperatorLock>> {
    let mut claim = CLAIM.lock().await;
    if let Some(lock) = claim.upgrade() {
        return Ok(lock);
    }
    let (_, _, lock) = claim_cluster().await?;
    let lock = Arc::new(lock);
    *claim = Arc::downgrade(&lock);
    Ok(lock)
}

/// A world with one class and one namespace: its own, or one that other scenes have too (`&World`).
pub struct Scene<W = World> {
    /// Where it plays.
    pub world: W,
    /// The class of its streams.
    pub class: String,
    /// Where its streams are.
    pub namespace: String,
    /// What is told of it.
    pub steps: Steps,
    name: &'static str,
}

impl Scene {
    /// Makes all but the operator. `class` is merged into the class's spec; there are no alarms unless it says so.
    pub async fn prepare(name: &'static str, flags: &[&str], class: &Value) -> Result<Self> {
        Self::furnish(World::beside(claim().await?, name, flags).await?, name, class).await
    }

    /// The same, when no other scenario runs.
    pub async fn alone(name: &'static str, class: &Value) -> Result<Self> {
        Self::furnish(World::without_operator(name).await?, name, class).await
    }

    async fn furnish(mut world: World, name: &'static str, class: &Value) -> Result<Self> {
        let steps = Steps::start();
        let mine = format!("{0}-standard,{0}-late", world.id);
        for (variable, value) in [
            ("STREAMFLEET_CLASSES", mine.as_str()),
            ("STREAMFLEET_SWEEP_SECONDS", "1"),
            ("STREAMFLEET_ALARMS_SECONDS", "1"),
        ] {
            world.setup.set(variable, value);
        }
        let keys = world.emulator.keys.clone();
        let namespace = world.namespace(&keys).await?;
        let class = world.class("standard", &with_no_alarms(class)).await?;
        Ok(Self { world, class, namespace, steps, name })
    }

    /// The same with an operator that is ready.
    pub async fn start(name: &'static str, flags: &[&str], class: &Value) -> Result<Self> {
        let mut scene = Self::prepare(name, flags, class).await?;
        scene.world.start_operator().await?;
        Ok(scene)
    }

    /// Takes everything down, and says how long it took.
    pub async fn finish(self) -> Result<()> {
        let took = self.steps.elapsed().as_secs_f64();
        self.world.finish().await?;
        self.steps.say(format!("{} holds; without set-up and taking down it took {took:.1} s", self.name));
        Ok(())
    }
}

impl<'a> Scene<&'a World> {
    /// In a world whose operator looks after other scenes too. `spec` is merged into that of its class, which has no alarms
    /// unless that says so.
    pub async fn within(
        world: &'a World,
        name: &'static str,
        namespace: String,
        spec: &Value,
    ) -> Result<Self> {
        let class = world.class(name, &with_no_alarms(spec)).await?;
        Ok(Self { world, class, namespace, steps: Steps::start(), name })
    }
}

impl<W: Borrow<World>> Scene<W> {
    fn world(&self) -> &World {
        self.world.borrow()
    }

    /// Its streams.
    pub fn streams(&self) -> Api<VideoStream> {
        self.world().api(&self.namespace)
    }

    /// The name in KVS of a stream that has the default one.
    pub fn kvs_name(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    /// `kubectl apply` of a stream.
    pub async fn apply(&self, name: &str, spec: &Value) -> Result<()> {
        self.world().apply(&self.namespace, &[stream(name, &self.class, spec)]).await?.succeeded().map(drop)
    }

    /// Applies a stream, waits until it is active, and gives its ARN.
    pub async fn active(&self, name: &str, spec: &Value) -> Result<String> {
        self.apply(name, spec).await?;
        self.arn(name).await
    }

    /// What `kubectl get vstream` prints of all streams; with these arguments besides.
    pub async fn table(&self, more: &[&str]) -> Result<String> {
        let args = [&["get", "vstream", "--namespace", &self.namespace], more].concat();
        kubectl(&self.world().cluster, &args, "").await?.succeeded()
    }

    /// What `kubectl describe vstream` prints of a stream.
    pub async fn described(&self, name: &str) -> Result<String> {
        let args = ["describe", "vstream", name, "--namespace", &self.namespace];
        kubectl(&self.world().cluster, &args, "").await?.succeeded()
    }

    /// Waits until a stream is active, and gives its ARN, which must be that of the one stream there is.
    pub async fn arn(&self, name: &str) -> Result<String> {
        let (object, _) = has_condition(&self.streams(), name, ACTIVE).await?;
        let arn = object.stream_arn().context("an active stream has its ARN in its status")?.to_owned();
        let found = self.found(name).await?;
        ensure!(found.arn == arn, "the status of {name} has {arn}, there is {}", found.arn);
        Ok(arn)
    }

    /// The stream at the emulator, which must be there.
    pub async fn found(&self, name: &str) -> Result<FoundStream> {
        let name = self.kvs_name(name);
        self.world().emulator.find(&name).await?.with_context(|| format!("there is no stream {name}"))
    }

    /// Changes the spec of a stream.
    pub async fn edit(&self, name: &str, spec: &Value) -> Result<()> {
        self.patch(name, &json!({ "spec": spec })).await
    }

    /// Asks for a look at a stream now.
    pub async fn check(&self, name: &str) -> Result<()> {
        let value = format!("{:08x}", fastrand::u32(..));
        self.patch(name, &json!({ "metadata": { "annotations": { CHECK_REQUESTED: value } } })).await
    }

    /// Merges this into a stream.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<()> {
        self.streams().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Takes the finalizers off, as another leader would when it is done, and waits until the object is gone.
    pub async fn release(&self, name: &str) -> Result<()> {
        self.patch(name, &json!({ "metadata": { "finalizers": null } })).await?;
        until(SOON, &format!("{name} is gone"), async || {
            Ok(match self.streams().get_opt(name).await? {
                None => Look::Done(()),
                Some(_) => Look::NotYet("still there".to_owned()),
            })
        })
        .await
    }

    /// The number of the last call.
    pub async fn last_call(&self) -> Result<u64> {
        self.world().emulator.last_call().await
    }

    /// The calls of this operation about this stream, those too that failed.
    pub async fn calls(&self, operation: &str, name: &str) -> Result<Vec<Call>> {
        let stream = self.kvs_name(name);
        let mut calls = self.world().emulator.calls(0).await?;
        calls.retain(|call| call.operation == operation && call.stream.as_deref() == Some(&*stream));
        Ok(calls)
    }

    /// How many of them were carried out.
    pub async fn done(&self, operation: &str, name: &str) -> Result<usize> {
        Ok(self.calls(operation, name).await?.iter().filter(|call| call.done).count())
    }

    /// The calls after number `since` that are to change something, carried out or not.
    pub async fn changes_since(&self, since: u64) -> Result<Vec<Call>> {
        let mut calls = self.world().emulator.calls(since).await?;
        calls.retain(|call| MUTATING.contains(&call.operation.as_str()));
        Ok(calls)
    }

    /// Waits until an event of this reason is on a stream; gives its note.
    pub async fn told(&self, name: &str, reason: &str) -> Result<String> {
        until(SOON, &format!("{name} has the event {reason}"), async || {
            let events = self.events(name).await?;
            let found = events.iter().find(|(one, _)| one == reason);
            Ok(found
                .map_or_else(|| Look::NotYet(format!("{events:?}")), |(_, note)| Look::Done(note.clone())))
        })
        .await
    }

    /// Reason and note of all events on a stream.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let api: Api<Event> = self.world().api(&self.namespace);
        let events = api.list(&ListParams::default()).await?.items;
        let about = |event: &Event| {
            let about = event.regarding.as_ref();
            about.is_some_and(|about| {
                about.kind.as_deref() == Some("VideoStream") && about.name.as_deref() == Some(name)
            })
        };
        let both = |event: Event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        Ok(events.into_iter().filter(about).map(both).collect())
    }

    /// Makes a class of this name that the world's own operator does not look after.
    pub async fn other_class(&self, name: &str) -> Result<()> {
        let mut object = class(name, &self.world().emulator)?;
        merge(&mut object["spec"], &with_no_alarms(&json!({})));
        self.world().apply("default", &[object]).await?.succeeded().map(drop)
    }

    /// Deletes it.
    pub async fn release_class(&self, name: &str) -> Result<()> {
        let classes: Api<StreamClass> = Api::all(self.world().client.clone());
        classes.delete(name, &DeleteParams::default()).await?;
        is_gone(&classes, name).await
    }

    /// Orders a fault for calls about one stream.
    pub async fn fault(&self, operation: &str, name: &str, more: &Value) -> Result<()> {
        let mut order = json!({ "operation": operation, "stream": self.kvs_name(name) });
        merge(&mut order, more);
        self.world().emulator.fault(&order).await
    }

    /// How many faults have not struck as often as they are to.
    pub async fn faults_left(&self) -> Result<usize> {
        let answer = http::get(self.world().emulator.hooks(), "/_emulator/faults").await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["faults"].as_array().context("the emulator lists its faults")?.len())
    }

    /// Somebody else makes a stream of this name with these tags; gives its ARN.
    pub async fn make_foreign(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<String> {
        let mut call = self.world().emulator.client().create_stream().stream_name(self.kvs_name(name));
        for (key, value) in tags {
            call = call.tags(key, value);
        }
        let answer = call.data_retention_in_hours(24).send().await?;
        answer.stream_arn.context("a stream that was made has an ARN")
    }

    /// Somebody else deletes the stream of this ARN; it is gone when this returns.
    pub async fn delete_foreign(&self, name: &str, arn: &str) -> Result<()> {
        self.world().emulator.client().delete_stream().stream_arn(arn).send().await?;
        let name = self.kvs_name(name);
        until(Duration::from_secs(20), &format!("{arn} is gone"), async || {
            let now = self.world().emulator.find(&name).await?;
            Ok(match now.filter(|now| now.arn == arn) {
                None => Look::Done(()),
                Some(_) => Look::NotYet("still there".to_owned()),
            })
        })
        .await
    }

    /// Somebody else changes the retention of a stream to so many hours.
    pub async fn set_retention_foreign(&self, name: &str, hours: i32) -> Result<()> {
        let (client, stream) = (self.world().emulator.client(), self.kvs_name(name));
        let described = client.describe_stream().stream_name(&stream).send().await?;
        let info = described.stream_info.context("a described stream has an info")?;
        let now = info.data_retention_in_hours.unwrap_or_default();
        let operation = if hours > now {
            UpdateDataRetentionOperation::IncreaseDataRetention
        } else {
            UpdateDataRetentionOperation::DecreaseDataRetention
        };
        let call = client.update_data_retention().stream_name(&stream).set_current_version(info.version);
        call.operation(operation).data_retention_change_in_hours((hours - now).abs()).send().await?;
        Ok(())
    }

    /// Waits until the stream keeps video for so many hours.
    pub async fn retention_is(&self, name: &str, hours: i32) -> Result<()> {
        until(SOON, &format!("{name} keeps video for {hours} hours"), async || {
            let now = self.found(name).await?.retention_hours;
            Ok(if now == hours { Look::Done(()) } else { Look::NotYet(format!("{now} hours")) })
        })
        .await
    }

    /// The tags by which a stream belongs to the object of this name as it is now.
    pub async fn ownership(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let uid = self.streams().get(name).await?.uid().context("an object has a UID")?;
        let tags = [
            (ownership_tags::INSTALLATION, self.world().id.clone()),
            (ownership_tags::NAMESPACE, self.namespace.clone()),
            (ownership_tags::NAME, name.to_owned()),
            (ownership_tags::UID, uid),
        ];
        Ok(tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Calls of CloudWatch by somebody else; gives the answers.
    pub async fn cloud_watch(&self, operation: &str, input: &Value) -> Result<Value> {
        let body = json!({ "region": REGION, "calls": [{ "operation": operation, "input": input }] });
        let hooks = self.world().emulator.hooks();
        let answer = http::request(hooks, "POST", "/_emulator/cloudwatch", &body.to_string()).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let first = &answer["answers"][0];
        ensure!(first["error"].is_null(), "{operation}: {first}");
        Ok(first["answer"].clone())
    }

    /// Waits until the one alarm of a stream is in this state.
    pub async fn alarm_is(&self, name: &str, state: AlarmState) -> Result<AlarmStatus> {
        until(SOON, &format!("the alarm of {name} is {state:?}"), async || {
            let status = self.streams().get(name).await?.status.unwrap_or_default();
            let seen = format!("{:?}", status.alarms);
            let found = status.alarms.into_iter().find(|alarm| alarm.state == state);
            Ok(found.map_or(Look::NotYet(seen), Look::Done))
        })
        .await
    }

    /// The names of all alarms that there are.
    pub async fn alarm_names(&self) -> Result<Vec<String>> {
        let answer = self.cloud_watch("DescribeAlarms", &json!({ "MaxRecords": 100 })).await?;
        let alarms = answer["MetricAlarms"].as_array().cloned().unwrap_or_default();
        Ok(alarms.iter().filter_map(|alarm| Some(alarm["AlarmName"].as_str()?.to_owned())).collect())
    }
}

/// The spec of a class with this merged into it; there are no alarms unless it says so.
fn with_no_alarms(more: &Value) -> Value {
    let mut spec = json!({ "alarms": { "perStream": [] } });
    merge(&mut spec, more);
    spec
}

/// Waits until so many are counted, and no more: the count is looked at again after a while.
pub async fn stays(what: &str, expected: usize, count: impl AsyncFn() -> Result<usize>) -> Result<()> {
    until(SOON, &format!("{what}: {expected}"), async || {
        let now = count().await?;
        Ok(if now >= expected { Look::Done(()) } else { Look::NotYet(now.to_string()) })
    })
    .await?;
    never(Duration::from_secs(3), what, async || {
        let now = count().await?;
        Ok((now != expected).then(|| format!("{now} instead of {expected}")))
    })
    .await
}

/// Makes sure, for so long, that something does not come about: the look gives what is wrong.
pub async fn never<F>(for_so_long: Duration, what: &str, look: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<Option<String>>>,
{
    let end = tokio::time::Instant::now() + for_so_long;
    while tokio::time::Instant::now() < end {
        if let Some(wrong) = look().await? {
            anyhow::bail!("{what}: {wrong}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}
