//! One pass over one object: what it knows, and what it reads and writes in the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{
    CHECK_REQUESTED, ConditionType, FINALIZER, ManagementPolicy, StreamClass, VideoStream, VideoStreamReason,
    VideoStreamStatus, ownership_tags,
};

use super::plan::{OWNER, Ownership, Plan, Recorded, contradicts, owner_print, successor};
use super::status::{self, Alarms, Outcome};
use super::validate::{Desired, Refusal, alarm_settings, owner, validate};
use super::{Error, new_drift, turn_notes};
use crate::alarms::Removed;
use crate::aws::{AwsError, ErrorKind, Owner, Place, StreamState};
use crate::context::{AwsSide, Context};
use crate::events::Note;
use crate::{alarms, apply, stream_class};

/// Why the alarms stay of an object whose stream was another's, and names nobody now.
const WHOSE_STREAM: &str = "another object had its stream, and its tags do not say any more which";
/// Why those of an object stay that only looked at a stream.
const WHOSE_OBSERVED: &str = "the stream, which was only observed, names another object of the same name as its owner: \
                              delete them by hand if that is gone";

/// The record of an object that has none.
static NO_RECORD: BTreeMap<String, String> = BTreeMap::new();

/// How the alarms stand after a pass.
#[derive(Default)]
pub struct AlarmsLook {
    /// For the status; `None` where that stays as it was.
    pub standing: Option<Alarms>,
    /// What to tell.
    pub notes: Vec<Note>,
    /// When to come back for them.
    pub again: Option<Duration>,
}

/// What every step of a pass needs.
pub struct Pass<'a> {
    /// The object as it was read last.
    pub stream: Arc<VideoStream>,
    /// Its class.
    pub class: Option<Arc<StreamClass>>,
    /// What every controller works with.
    pub ctx: &'a Context,
    /// Calls about the object.
    pub api: Api<VideoStream>,
    /// Its namespace.
    pub namespace: String,
    /// Whether the API server has said in this pass that the object is as it is here.
    is_current: bool,
}

impl<'a> Pass<'a> {
    /// Begins.
    pub fn new(stream: Arc<VideoStream>, ctx: &'a Context) -> Self {
        let namespace = stream.namespace().unwrap_or_default();
        let class = ctx.cluster.caches.classes.get(&ObjectRef::new(&stream.spec.stream_class_name));
        let api = Api::namespaced(ctx.cluster.client.clone(), &namespace);
        Self { stream, class, ctx, api, namespace, is_current: false }
    }

    /// What the object asks for, if its class grants it.
    pub fn validate(&self) -> Result<Desired, Refusal> {
        self.validate_with(&self.stream, self.class.as_deref())
    }

    fn validate_with(&self, stream: &VideoStream, class: Option<&StreamClass>) -> Result<Desired, Refusal> {
        validate(stream, class, &self.namespace_labels(), self.ctx.installation())
    }

    /// The labels of the namespace.
    pub fn namespace_labels(&self) -> BTreeMap<String, String> {
        let namespace = self.ctx.cluster.caches.namespaces.get(&ObjectRef::new(&self.namespace));
        namespace.and_then(|namespace| namespace.metadata.labels.clone()).unwrap_or_default()
    }

    /// Whether a refusal stands only until STS was asked about the class as it is now.
    pub fn awaits_check(&self, refusal: &Refusal) -> bool {
        refusal.reason == VideoStreamReason::StreamClassNotReady
            && self.class.as_deref().is_some_and(|class| !stream_class::is_checked(class))
    }

    /// The status as it was read last.
    pub fn before(&self) -> VideoStreamStatus {
        self.stream.status.clone().unwrap_or_default()
    }

    /// What it has on record.
    pub fn recorded(&self) -> Recorded<'_> {
        let nothing = Recorded { arn: None, managed_tags: &[], synced: &NO_RECORD };
        self.stream.status.as_ref().map_or(nothing, status::recorded)
    }

    /// The request for a check that was not acted on yet.
    pub fn requested_check(&self) -> Option<String> {
        let handled = self.stream.status.as_ref().and_then(|status| status.last_handled_check.as_ref());
        let asked = self.stream.annotations().get(CHECK_REQUESTED);
        asked.filter(|asked| Some(*asked) != handled).cloned()
    }

    /// How long the fragments are of the Camera that writes the stream.
    pub fn fragment_seconds(&self) -> Option<i32> {
        let writer = self.stream.writer()?;
        let reference = ObjectRef::new(&writer.name).within(&self.namespace);
        let camera = self.ctx.cluster.caches.cameras.get(&reference)?;
        Some(camera.spec.fragment.target_seconds)
    }

    /// Refused credentials may have been replaced where they came from: they are read anew, and STS is asked again.
    pub fn doubt(&self, place: &Place, error: &AwsError) {
        if !error.kind.is_about_credentials() {
            return;
        }
        self.ctx.aws.clouds.forget(place);
        self.ctx.aws.checks.doubt(place);
        let class = ObjectRef::new(&self.stream.spec.stream_class_name);
        self.ctx.cluster.triggers.classes.send(class);
    }

    /// Puts the finalizer on. Fails where the object has changed since it was read, as when a Camera claims it.
    pub async fn add_finalizer(&mut self) -> Result<(), Error> {
        let present = apply::add_finalizer(&self.api, &*self.stream, FINALIZER).await;
        self.stream = Arc::new(present.map_err(|error| changed_or(error, Error::AddFinalizer))?);
        self.is_current = true;
        Ok(())
    }

    /// Makes sure, by a fresh read, that the object still asks for just this, and has the record that was gone by. Where
    /// footage is to be destroyed the object is read directly before, whatever was read earlier in the pass, and its class too.
    pub async fn confirm(&mut self, desired: &Desired, is_destructive: bool) -> Result<(), Error> {
        if is_destructive {
            self.is_current = false;
        }
        if !self.is_current {
            let fresh = self.api.get_opt(&self.stream.name_any()).await.map_err(Error::ReadObject)?;
            let fresh = fresh.ok_or(Error::Changed)?;
            if !is_same(&self.stream, &fresh) {
                return Err(Error::Changed);
            }
            self.stream = Arc::new(fresh);
            self.is_current = true;
        }
        if is_destructive {
            self.class = self.read_class().await?.map(Arc::new);
        }
        if self.validate().as_ref() == Ok(desired) { Ok(()) } else { Err(Error::Changed) }
    }

    /// The class, by a fresh read.
    pub async fn read_class(&self) -> Result<Option<StreamClass>, Error> {
        let classes: Api<StreamClass> = Api::all(self.ctx.cluster.client.clone());
        classes.get_opt(&self.stream.spec.stream_class_name).await.map_err(Error::ReadClass)
    }

    /// Takes the finalizer off: the object may go.
    pub async fn remove_finalizer(&self) -> Result<(), Error> {
        let removed = apply::remove_finalizer(&self.api, &*self.stream, FINALIZER).await;
        removed.map_err(|error| changed_or(error, Error::RemoveFinalizer))
    }

    /// The alarms of the stream, brought in line as far as it is their turn. Nothing is written before it is on record that the
    /// stream is this object's, or only looked at: otherwise nobody would know that they are to go with it.
    pub async fn alarms(&self, desired: &Desired, plan: &Plan) -> AlarmsLook {
        let is_observed = desired.management == ManagementPolicy::Observe
            && matches!(plan.ownership, Ownership::Adoptable | Ownership::Refused(_));
        let before = self.before();
        // Nobody makes a stream again for a suspended object, and its alarms are to call nobody meanwhile.
        let is_hushed = desired.suspend
            && plan.ownership == Ownership::Nobody
            && !before.alarms.is_empty()
            && !is_owned_by_other(&before);
        let is_looked_at = is_hushed || !plan.is_lost && (is_observed || plan.ownership == Ownership::Ours);
        let Some(class) = self.class.as_deref().filter(|_| is_looked_at) else {
            let unknown = not_looked_at(plan).and_then(|reason| alarms::unknown(&before, reason));
            let standing = unknown.map(|(verdict, statuses)| Alarms { verdict, statuses });
            return AlarmsLook { standing, ..AlarmsLook::default() };
        };
        let wish = alarms::Wish {
            desired,
            class: &class.spec.alarms,
            class_name: &self.stream.spec.stream_class_name,
            fragment_seconds: self.fragment_seconds(),
            is_on_record: before.stream_arn.is_some() || is_observed || is_hushed,
            before: &before,
        };
        let done = alarms::converge(&self.ctx.aws, &wish).await;
        if let Some(error) = &done.failure {
            self.doubt(&desired.place, error);
        }
        if done.has_others {
            self.touch_sites(class);
        }
        let standing = done.standing.map(|(verdict, statuses)| Alarms { verdict, statuses });
        AlarmsLook { standing, notes: done.notes, again: done.again }
    }

    /// The alarms of sites name those of streams: they are looked at when these are others.
    fn touch_sites(&self, class: &StreamClass) {
        if class.spec.alarms.site_label.is_some() {
            self.ctx.cluster.triggers.classes.sweep(ObjectRef::from_obj(class));
        }
    }

    /// Takes the alarms away of a stream that is on record as this object's, unless its namesake in another cluster has taken it
    /// over: the alarms have the same names there. That nobody answers does not keep the object; what it is to wait for, as it is
    /// soon over, is the answer.
    pub async fn remove_alarms(&self) -> Option<&'static str> {
        let (class, status) = (self.class.as_deref()?, self.stream.status.as_ref()?);
        let uid = self.stream.metadata.uid.as_deref().unwrap_or_default();
        if self.ctx.aws.alarms.are_known_gone(uid) {
            // The stream itself may take long to go.
            return None;
        }
        let name = status.stream_name.as_deref()?;
        let owner = owner(&self.stream, self.ctx.installation());
        let Some(place) = stream_class::verified_place(class) else {
            return self.await_class(class, status, &owner).await;
        };
        // Before anything is asked: thousands may wait at a time. Who may have been taken over does not wait for what is not its own.
        if !is_owned_by_other(status)
            && alarms::are_named(&self.ctx.aws, &place, &status.alarms).await
            && alarms::may_wait(&self.ctx.aws, &place, &owner)
        {
            self.touch_sites(class);
            return Some(alarms::NAMED);
        }
        let is_observer = self.stream.spec.management_policy == ManagementPolicy::Observe;
        let why_not = match whose_alarms(&self.ctx.aws, &place, &owner, status).await {
            Ok(Whose::Own) => None,
            // Who had it before may be gone, or live on in another cluster: an observer cannot tell, and theirs are not to stop.
            Ok(Whose::Namesakes) if is_observer && !was_own(status, &owner) => {
                Some(WHOSE_OBSERVED.to_owned())
            }
            Ok(Whose::Namesakes) => return None,
            Ok(Whose::Unknown) => Some(WHOSE_STREAM.to_owned()),
            Err(error) => Some(format!("it cannot be read whose they are: {error}")),
        };
        if let Some(why) = why_not {
            self.leave_alarms(&place, &owner, &why).await;
            return None;
        }
        let leaving = alarms::Leaving {
            place: &place,
            owner: &owner,
            stream: name,
            known: &status.alarms,
            asked: &alarm_settings(self.stream.spec.alarms.as_ref(), &class.spec.alarms),
        };
        let removed = alarms::remove(&self.ctx.aws, &leaving).await;
        self.touch_sites(class);
        match removed {
            Removed::All => None,
            Removed::Later(why) => Some(why),
            Removed::Left(note) => {
                self.ctx.cluster.events.publish(&self.stream.object_ref(&()), &[note]).await;
                None
            }
        }
    }

    /// The alarms stay for now, and nothing waits for them; that is told once.
    async fn leave_alarms(&self, place: &Place, owner: &Owner, why: &str) {
        if alarms::leave(&self.ctx.aws, place, owner) {
            let note = Note::warning("AlarmsLeft", "Delete", format!("Alarms are not deleted, since {why}"));
            self.ctx.cluster.events.publish(&self.stream.object_ref(&()), &[note]).await;
        }
    }

    /// A class that was changed a moment ago, or is to go as well, is confirmed by its next pass.
    async fn await_class(
        &self,
        class: &StreamClass,
        status: &VideoStreamStatus,
        owner: &Owner,
    ) -> Option<&'static str> {
        if status.alarms.is_empty() {
            return None;
        }
        let place = Place::from(&class.spec.aws);
        if !stream_class::is_checked(class) && alarms::may_wait(&self.ctx.aws, &place, owner) {
            return Some("Its alarms go when its StreamClass is confirmed as it is now");
        }
        self.leave_alarms(&place, owner, "its StreamClass is not Ready").await;
        None
    }

    /// Writes the status where it differs, and tells about what turned.
    pub async fn write(
        &mut self,
        outcome: &Outcome<'_>,
        alarms: Option<Alarms>,
        notes: &[Note],
    ) -> Result<(), Error> {
        let generation = self.stream.metadata.generation;
        let after = status::status(&self.before(), outcome, alarms, generation, Timestamp::now());
        self.write_status(&after, notes).await
    }

    /// Writes this status where it differs. Fails where the object has changed since it was read: what was decided by a record
    /// that is no longer there is not to replace the one that is. The notes are about what was done, and are told in any case.
    pub async fn write_status(&mut self, after: &VideoStreamStatus, notes: &[Note]) -> Result<(), Error> {
        let about = self.stream.object_ref(&());
        let before = VideoStreamStatus { writer: None, ..self.before() };
        let mut written = Ok(());
        let mut notes = notes.to_vec();
        if *after != before {
            tracing::debug!(name = self.stream.name_any(), arn = after.stream_arn, "Status is written");
            match apply::status_as_read(&self.api, &*self.stream, after).await {
                Ok(present) => {
                    self.stream = Arc::new(present);
                    self.is_current = true;
                    notes.extend(turn_notes(&before, after));
                    self.measure(&before, after);
                }
                Err(error) => written = Err(changed_or(error, Error::WriteStatus)),
            }
        }
        self.ctx.cluster.events.publish(&about, &notes).await;
        written
    }

    /// Counts drift that was not known before, and how long a new object took to be Ready.
    fn measure(&self, before: &VideoStreamStatus, after: &VideoStreamStatus) {
        for field in new_drift(before, after) {
            // Tags have names of their own, and labels are to be few.
            let field = if field.starts_with("tags[") { "tags" } else { field };
            self.ctx.metrics.drift_detected(field, "unknown");
        }
        let ready = ConditionType::Ready.as_str();
        let was_new =
            find_condition(&before.conditions, ready).is_none_or(|ready| ready.reason == "Creating");
        if was_new
            && is_true(&after.conditions, ready)
            && let Some(created) = &self.stream.metadata.creation_timestamp
        {
            let took = Timestamp::now().duration_since(created.0).unsigned_abs();
            self.ctx.metrics.became_ready("VideoStream", took);
        }
    }
}

/// Why the alarms on record are not looked at, where the stream is not the object's (any more).
fn not_looked_at(plan: &Plan) -> Option<VideoStreamReason> {
    match &plan.ownership {
        Ownership::Other(_) => Some(VideoStreamReason::OwnedByOther),
        Ownership::Replaced { .. } => Some(VideoStreamReason::IdentityChanged),
        Ownership::Refused(_) => Some(VideoStreamReason::AdoptionRefused),
        Ownership::Leaving => Some(VideoStreamReason::Deleting),
        Ownership::Nobody if plan.is_lost => Some(VideoStreamReason::StreamLost),
        Ownership::Nobody | Ownership::Adoptable | Ownership::Ours => None,
    }
}

/// Whose the alarms of an object are that goes. Their names follow from installation, namespace and name.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    /// Its own, also where its stream is an object's of another name, or another installation's.
    Own,
    /// Its namesake's in another cluster, which has taken the stream over, and has alarms of the same names.
    Namesakes,
    /// The stream was another's, and does not say now whether that was the namesake.
    Unknown,
}

/// Decides that, by a fresh read of the stream under the name on record.
async fn whose_alarms(
    aws: &AwsSide,
    place: &Place,
    owner: &Owner,
    status: &VideoStreamStatus,
) -> Result<Whose, AwsError> {
    let was_anothers = is_owned_by_other(status);
    let unless_known = if was_anothers { Whose::Unknown } else { Whose::Own };
    let Some(name) = status.stream_name.as_deref() else { return Ok(unless_known) };
    // By name: who has taken it over may have made it anew.
    let Some(info) = aws.observer.fresh(place, name, None).await? else { return Ok(unless_known) };
    if info.state == StreamState::Deleting {
        return Ok(unless_known);
    }
    match aws.observer.fresh_tags(place, &info.arn).await {
        Ok(tags) if successor(owner, &tags).is_some() => Ok(Whose::Namesakes),
        Ok(tags) if contradicts(owner, &tags) => Ok(Whose::Own),
        Ok(tags) if tags.get(ownership_tags::UID) == Some(&owner.uid) => Ok(Whose::Own),
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(unless_known),
    }
}

/// Whether it is on record that the stream was this very object's.
fn was_own(status: &VideoStreamStatus, owner: &Owner) -> bool {
    is_owned_by_other(status) || status::recorded(status).synced.get(OWNER) == Some(&owner_print(owner))
}

/// Whether it was seen before that the stream is another object's.
fn is_owned_by_other(status: &VideoStreamStatus) -> bool {
    let condition = find_condition(&status.conditions, ConditionType::Owned.as_str());
    condition.is_some_and(|found| found.reason == VideoStreamReason::OwnedByOther.as_str())
}

/// What a refused write means: another one was faster, or the object is gone.
fn changed_or(error: kube::Error, otherwise: fn(kube::Error) -> Error) -> Error {
    match error {
        kube::Error::Api(status) if status.is_conflict() || status.is_not_found() => Error::Changed,
        error => otherwise(error),
    }
}

/// Whether an object that was read anew is the one that was seen, with the same record. What it asks for is compared apart.
fn is_same(seen: &VideoStream, fresh: &VideoStream) -> bool {
    let record = |stream: &VideoStream| {
        let status = stream.status.clone().unwrap_or_default();
        (status.stream_arn, status.managed_tags, status.last_synced)
    };
    let has_finalizer = fresh.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    seen.metadata.uid == fresh.metadata.uid
        && fresh.metadata.deletion_timestamp.is_none()
        && has_finalizer
        && record(seen) == record(fresh)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{aws, desired, in_order};
    use super::*;
    use crate::aws::fake::FakeCloud;
    use crate::conditions::{Truth, Verdict, merge};

    #[test]
    fn the_alarms_of_a_stream_that_is_not_the_objects_are_not_said_to_stand_as_they_did() {
        let why = |ownership, is_lost| {
            let plan = Plan { ownership, is_lost, changes: Vec::new(), has_work: false, steps: Vec::new() };
            not_looked_at(&plan).map(VideoStreamReason::as_str)
        };
        let replaced = Ownership::Replaced { recorded: "a".to_owned(), found: "b".to_owned() };
        assert_eq!(why(replaced, false), Some("IdentityChanged"));
        assert_eq!(why(Ownership::Other("somebody's".to_owned()), false), Some("OwnedByOther"));
        assert_eq!(why(Ownership::Nobody, true), Some("StreamLost"));
        for ownership in [Ownership::Ours, Ownership::Adoptable, Ownership::Nobody] {
            assert_eq!(why(ownership, false), None);
        }
    }

    #[tokio::test]
    async fn only_the_alarms_of_a_stream_that_the_namesake_has_taken_over_are_not_ours_to_delete() {
        let (wish, cloud) = (desired(json!({})), FakeCloud::default());
        let aws = aws(&cloud);
        let was_ours = in_order(&wish);
        let reason = VideoStreamReason::OwnedByOther.as_str();
        let verdict = Verdict::new(ConditionType::Owned, Truth::False, reason, "");
        let conditions = merge(&[], &[verdict], Some(1), Timestamp::UNIX_EPOCH);
        let was_anothers = VideoStreamStatus { conditions, ..was_ours.clone() };
        let look = async |status: &VideoStreamStatus| {
            whose_alarms(&aws, &wish.place, &wish.owner, status).await.unwrap()
        };
        let both = async || (look(&was_ours).await, look(&was_anothers).await);
        assert_eq!(both().await, (Whose::Own, Whose::Unknown), "there is no stream");
        let edited = |key: &str, value: &str| {
            let mut tags = wish.owner.tags();
            tags.insert(key.to_owned(), value.to_owned());
            tags
        };
        for (tags, expected) in [
            (wish.owner.tags(), (Whose::Own, Whose::Own)),
            (edited(ownership_tags::UID, "uid-2"), (Whose::Namesakes, Whose::Namesakes)),
            // Of another name: its alarms have other names too.
            (edited(ownership_tags::NAME, "gate"), (Whose::Own, Whose::Own)),
            (edited(ownership_tags::INSTALLATION, "south"), (Whose::Own, Whose::Own)),
            // Taken away from whoever had it.
            (BTreeMap::new(), (Whose::Own, Whose::Unknown)),
        ] {
            cloud.state().put(&wish.name, 72, tags.clone());
            assert_eq!(both().await, expected, "{tags:?}");
        }
    }

    #[test]
    fn a_stream_that_was_only_looked_at_was_not_the_objects_own() {
        let wish = desired(json!({}));
        let mut status = in_order(&wish);
        assert!(was_own(&status, &wish.owner));
        let successor = Owner { uid: "uid-2".to_owned(), ..wish.owner.clone() };
        assert!(!was_own(&status, &successor), "its namesake's of before");
        status.last_synced.clear();
        assert!(!was_own(&status, &wish.owner));
    }

    fn object(metadata: &Value, status: &Value) -> VideoStream {
        let mut whole = json!({ "name": "door", "namespace": "shop", "uid": "u", "finalizers": [FINALIZER] });
        for (key, value) in metadata.as_object().unwrap() {
            whole[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream",
            "metadata": whole, "spec": { "streamClassName": "standard" }, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn an_object_that_is_another_or_going_or_has_another_record_is_not_the_one_that_was_seen() {
        let seen = object(&json!({}), &json!({}));
        assert!(is_same(&seen, &object(&json!({ "labels": { "a": "b" } }), &json!({ "writer": null }))));
        for (metadata, status) in [
            (json!({ "uid": "other" }), json!({})),
            (json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), json!({})),
            (json!({ "finalizers": [] }), json!({})),
            (json!({}), json!({ "streamARN": "arn" })),
            (json!({}), json!({ "managedTags": ["team"] })),
            (json!({}), json!({ "lastSynced": { "owner": "1" } })),
        ] {
            assert!(!is_same(&seen, &object(&metadata, &status)), "{metadata} {status}");
        }
    }
}
