//! Faults that are planted around the operator, so that a protection of it comes to nothing: an answer that is not true, a request
//! that is altered on its way, a write that is not kept. Each has to be found by an invariant.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use streamfleet_crds::FINALIZER;

use crate::actions::TOPIC;
use crate::api::store::{Key, Store};
use crate::cloud::perform;
use crate::facts::{FLEET, SITE, Wish, class_key};
use crate::trace::What;
use crate::world::{How, Inner};

/// What a call comes to, or its code and text.
type Called = Result<Value, (String, String)>;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A stream of another ARN passes for the one on record.
    NoArnFence,
    /// A change of retention whose answer is lost is sent again.
    ResendAfterLostAnswer,
    /// What is said about a stream comes from a cache.
    ReadFromCache,
    /// Every stream seems to have this object's tags.
    NoOwnershipCheck,
    /// The finalizer is not kept.
    NoFinalizer,
    /// The size of a change comes from an old read, its version from a new one.
    DeltaFromOldRead,
    /// Whoever changed the stream meanwhile is overwritten.
    VersionDropped,
    /// A shorter retention passes for consented to.
    ConsentAssumed,
    /// Tags that others put on go with ours.
    ForeignTagsRemoved,
    /// The stream is made without tags.
    UntaggedCreate,
    /// A second stream is made.
    SecondStream,
    /// Alarms stay.
    AlarmsStay,
    /// The ARN is not kept.
    RecordForgotten,
    /// An object that keeps its stream passes for one that does not.
    RetainIgnored,
    /// An object that is suspended passes for one that is not.
    SuspensionIgnored,
    /// What is asked for is confirmed by a cache, and written down over whatever is there.
    ConfirmedByCache,
    /// Errors hold secrets.
    SecretInErrors,
    /// The stream never seems to be as it was.
    NeverTheSame,
    /// A tier is changed, and only said to be.
    ChangeNotMade,
    /// The lease seems never to run out.
    LeaseNotChecked,
    /// The alarm of a site stays when its last stream goes.
    SiteStays,
    /// The alarm of a site tells nobody.
    SiteTellsNobody,
    /// An alarm of a class over all streams stays, unseen.
    FleetAlarmStays,
    /// The alarms of a suspended stream go on telling.
    SuspendedTells,
    /// The streams of a class are not seen.
    UsersHidden,
    /// An alarm is deleted before it is put.
    AlarmsMadeAnew,
    /// What is said about an alarm comes from a cache.
    AlarmsFromCache,
    /// A tag of somebody else passes, in the record, for one of ours.
    TagsClaimed,
}

/// The fault of a world, if it has one, and what it remembers.
#[derive(Debug, Clone, Default)]
pub struct Mutants {
    pub on: Option<Mutant>,
    /// Somebody else changes the retention once, between the operator's read and its change.
    pub meddles: bool,
    /// The retention of each stream as it was when it was read first.
    first_read: BTreeMap<String, Value>,
    count: u64,
}

impl Mutants {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.on == Some(mutant)
    }

    pub fn leaks(&self) -> bool {
        self.is(Mutant::SecretInErrors)
    }

    /// An object as it is shown.
    pub fn shown(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if object["kind"] == "VideoStream" {
            match self.on {
                Some(Mutant::ConsentAssumed) => object["spec"]["retentionDecreasePolicy"] = "Allow".into(),
                Some(Mutant::RetainIgnored) => object["spec"]["deletionPolicy"] = "Delete".into(),
                Some(Mutant::UsersHidden) => object["spec"]["streamClassName"] = "another".into(),
                Some(Mutant::SuspensionIgnored) => object["spec"]["suspend"] = false.into(),
                _ => {}
            }
        }
        object
    }

    /// An object as it was, where a read of it alone is not to be trusted.
    pub fn stale_read(&self, store: &Store, key: &Key) -> Option<Arc<Value>> {
        if !self.is(Mutant::ConfirmedByCache) || key.0 != "videostreams" {
            return None;
        }
        let now = store.get(key)?;
        let is_older = |object: &Arc<Value>| object["spec"] != now["spec"];
        let older = store.log().iter().rev().filter(|entry| entry.key == *key).map(|entry| &entry.object);
        older
            .filter(|object| object["metadata"]["uid"] == now["metadata"]["uid"])
            .find(|object| is_older(object))
            .cloned()
    }

    /// Whether a write is kept; it may be altered.
    pub fn keeps_write(&self, label: &str, body: &mut Value) -> bool {
        match self.on {
            Some(Mutant::NoFinalizer) => {
                let names = body["metadata"]["finalizers"].to_string();
                !(label == "patch videostreams" && names.contains(FINALIZER))
            }
            Some(Mutant::ConfirmedByCache) => {
                // The version of what was read protects as well: it goes too.
                if let Some(metadata) = body["metadata"].as_object_mut() {
                    metadata.remove("resourceVersion");
                }
                true
            }
            Some(Mutant::RecordForgotten) => {
                if let Some(status) = body["status"].as_object_mut() {
                    status.remove("streamARN");
                }
                true
            }
            Some(Mutant::TagsClaimed) => {
                if let Some(keys) = body["status"]["managedTags"].as_array_mut() {
                    keys.push("bill".into());
                }
                true
            }
            _ => true,
        }
    }

    /// An answer without a call.
    pub fn answers_itself(
        &self,
        inner: &mut Inner,
        operation: &'static str,
        request: &Value,
    ) -> Option<Called> {
        match (self.on?, operation) {
            (Mutant::ReadFromCache, "DescribeStream") | (Mutant::AlarmsFromCache, "DescribeAlarms") => {
                Some(perform(inner, operation, request))
            }
            (Mutant::SiteStays, "DeleteAlarms") if names(request, SITE) => Some(Ok(json!({}))),
            (Mutant::FleetAlarmStays, "DeleteAlarms") if names(request, FLEET) => Some(Ok(json!({}))),
            (Mutant::AlarmsStay, "DeleteAlarms")
            | (Mutant::ChangeNotMade, "UpdateStreamStorageConfiguration") => Some(Ok(json!({}))),
            (Mutant::ChangeNotMade, "DescribeStreamStorageConfiguration") => {
                let mut answer = perform(inner, operation, request);
                if let (Ok(answer), true) = (&mut answer, inner.mutants.count > 0) {
                    answer["StreamStorageConfiguration"]["DefaultStorageTier"] = "WARM".into();
                }
                inner.mutants.count += 1;
                Some(answer)
            }
            (Mutant::NoOwnershipCheck, "ListTagsForStream") => {
                let mut answer = perform(inner, operation, request);
                let stream = stream_of(request);
                let wish = stream.and_then(|name| Wish::of_stream(inner, &name));
                if let (Ok(answer), Some(wish)) = (&mut answer, wish) {
                    for (key, value) in wish.owner() {
                        answer["Tags"][key] = value.into();
                    }
                }
                Some(answer)
            }
            _ => None,
        }
    }

    /// What becomes of a request on its way.
    pub fn alters(&self, inner: &mut Inner, operation: &'static str, request: &mut Value) {
        if self.meddles && operation == "UpdateDataRetention" {
            inner.mutants.meddles = false;
            let others = json!({
                "StreamARN": request["StreamARN"], "CurrentVersion": current_version(inner, request),
                "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 11,
            });
            let _ = perform(inner, operation, &others);
            // States take their time: the operator's change comes when that is over.
            inner.pass_time(5_000);
        }
        let Some(mutant) = self.on else { return };
        match (mutant, operation) {
            (Mutant::SiteTellsNobody, "PutCompositeAlarm") => request["AlarmActions"] = json!([]),
            (Mutant::AlarmsMadeAnew, "PutMetricAlarm") => {
                let first = json!({ "AlarmNames": [request["AlarmName"]] });
                crate::invariants::before(inner, "DeleteAlarms", &first);
                call_again(inner, "DeleteAlarms", &first);
            }
            (Mutant::SuspendedTells, "PutMetricAlarm") => request["ActionsEnabled"] = true.into(),
            (Mutant::UntaggedCreate, "CreateStream") => {
                request.as_object_mut().unwrap().remove("Tags");
            }
            (Mutant::VersionDropped, _) if request["CurrentVersion"].is_string() => {
                if let Some(version) = current_version(inner, request) {
                    request["CurrentVersion"] = version.into();
                }
            }
            (Mutant::ForeignTagsRemoved, "UntagStream") => {
                let stream = stream_of(request).unwrap_or_default();
                let foreign = inner.facts.foreign_tags.get(&stream).cloned().unwrap_or_default();
                let keys = request["TagKeyList"].as_array_mut().unwrap();
                keys.extend(foreign.into_keys().map(Value::from));
            }
            (Mutant::NoArnFence, _) => {
                let Some(name) = stream_of(request) else { return };
                let there = inner.control.streams().find(|stream| stream.name == name);
                if let Some(arn) = there.map(|stream| stream.arn()) {
                    request["StreamARN"] = arn.into();
                }
            }
            _ => {}
        }
    }

    /// What becomes of an answer on its way, and what else happens.
    pub fn follows(&self, inner: &mut Inner, operation: &'static str, request: &Value, answer: &mut Called) {
        let Some(mutant) = self.on else { return };
        match (mutant, operation, answer) {
            (Mutant::ResendAfterLostAnswer, "UpdateDataRetention", Ok(_)) => {
                let at = inner.points.len() - 1;
                if inner.plan.is_some_and(|plan| plan.at == at && plan.how == How::LoseAnswer) {
                    // By when the first change is over.
                    inner.pass_time(5_000);
                    let mut again = request.clone();
                    again["CurrentVersion"] = current_version(inner, request).unwrap_or_default().into();
                    call_again(inner, operation, &again);
                }
            }
            (Mutant::SecondStream, "CreateStream", Ok(_)) => {
                let mut again = request.clone();
                again["StreamName"] =
                    format!("{}-2", request["StreamName"].as_str().unwrap_or_default()).into();
                call_again(inner, operation, &again);
            }
            (Mutant::NoArnFence, "DescribeStream", Ok(answer)) => {
                let name = answer["StreamInfo"]["StreamName"].as_str().unwrap_or_default();
                let recorded = Wish::of_stream(inner, name).and_then(|wish| wish.recorded);
                if let Some(recorded) = recorded {
                    answer["StreamInfo"]["StreamARN"] = recorded.into();
                }
            }
            (Mutant::DeltaFromOldRead, "DescribeStream", Ok(answer)) => {
                let info = &mut answer["StreamInfo"];
                let name = info["StreamName"].as_str().unwrap_or_default().to_owned();
                let hours = info["DataRetentionInHours"].clone();
                info["DataRetentionInHours"] = inner.mutants.first_read.entry(name).or_insert(hours).clone();
            }
            (mutant, "DescribeAlarms", Ok(answer)) => described(mutant, inner, answer),
            (Mutant::NeverTheSame, "ListStreams", Ok(answer)) => {
                inner.mutants.count += 1;
                let count = inner.mutants.count;
                for info in answer["StreamInfoList"].as_array_mut().into_iter().flatten() {
                    info["Version"] = format!("v{count}").into();
                }
            }
            (Mutant::NeverTheSame, "DescribeStream", Ok(answer)) => {
                inner.mutants.count += 1;
                answer["StreamInfo"]["Version"] = format!("v{}", inner.mutants.count).into();
            }
            _ => {}
        }
    }
}

fn named(name: &Value, prefix: &str) -> bool {
    name.as_str().is_some_and(|name| name.starts_with(prefix))
}

/// Whether a request names an alarm of this prefix.
fn names(request: &Value, prefix: &str) -> bool {
    request["AlarmNames"].as_array().into_iter().flatten().any(|name| named(name, prefix))
}

/// A call that the operator did not make, or not now.
fn call_again(inner: &mut Inner, operation: &'static str, request: &Value) {
    let answer = perform(inner, operation, request).map_err(|(code, _)| code);
    inner.note(What::Aws { operation, request: request.clone(), answer });
}

/// The name of the stream that a request is about by its ARN.
fn stream_of(request: &Value) -> Option<String> {
    let arn = request["StreamARN"].as_str()?;
    let name = arn.split('/').nth(1)?;
    Some(name.to_owned())
}

fn current_version(inner: &Inner, request: &Value) -> Option<String> {
    let name = stream_of(request)?;
    inner.control.streams().find(|stream| stream.name == name).map(|stream| stream.version.clone())
}

/// What a planted fault makes of the alarms that are told.
fn described(mutant: Mutant, inner: &Inner, answer: &mut Value) {
    match mutant {
        Mutant::SiteTellsNobody => {
            for alarm in answer["CompositeAlarms"].as_array_mut().into_iter().flatten() {
                alarm["AlarmActions"] = json!([TOPIC]);
            }
        }
        Mutant::SuspendedTells => {
            let suspended = Wish::all(inner).into_iter().filter(|wish| wish.is_suspended);
            let suspended: Vec<String> = suspended.map(|wish| wish.stream).collect();
            for alarm in answer["MetricAlarms"].as_array_mut().into_iter().flatten() {
                if suspended.iter().any(|stream| alarm["Dimensions"][0]["Value"] == **stream) {
                    alarm["ActionsEnabled"] = false.into();
                }
            }
        }
        Mutant::FleetAlarmStays => {
            if let Some(alarms) = answer["MetricAlarms"].as_array_mut() {
                let is_there = inner.store.get(&class_key("standard")).is_some_and(|class| {
                    class["spec"]["alarms"]["fleet"].as_array().is_some_and(|fleet| !fleet.is_empty())
                });
                alarms.retain(|alarm| is_there || !named(&alarm["AlarmName"], FLEET));
            }
        }
        _ => {}
    }
}
