//! What happens when a `VideoStream` is deleted: first its writer's pod is stopped, then its alarms go, then the KVS stream is kept
//! or deleted. Every step can be repeated, and already gone is a success.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use streamfleet_crds::{
    DeletionPolicy, FINALIZER, StreamClass, VideoStream, VideoStreamReason as Reason, VideoStreamStatus,
    ownership_tags,
};

use super::execute::nothing;
use super::observed::{Fence, Observed};
use super::pass::Pass;
use super::plan::{successor, taken_over};
use super::validate::{admit_name, admit_namespace, deletion_policy, owner, stream_name};
use super::{Error, status, writer};
use crate::aws::{AwsError, ErrorKind, Owner, Place, StreamState, describe_owner};
use crate::backoff::patient;
use crate::events::Note;
use crate::queue::Action;
use crate::stream_class::verified_place;

/// How often it is tried again where something outside stands in the way.
const LOOK_LATER: Duration = Duration::from_secs(15);

/// How soon it is looked again whether alarms can go: their class is looked at every five seconds.
const ALARMS_AGAIN: Duration = Duration::from_secs(5);

/// What is to be done next about a stream that is to be deleted.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is nothing (more) of ours: the object may go. The note says what became of the stream.
    Finish(Option<&'static str>, String),
    /// Write down which stream it is, before it is deleted.
    Record(String),
    /// Delete it: the one that was read just now, in the version that was read.
    Delete(Fence),
    /// Wait until the service is done with it.
    Wait,
}

/// One pass of an object that is to be deleted.
pub async fn run(pass: &mut Pass<'_>) -> Result<Action, Error> {
    if !pass.stream.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    if let Some(writer) = pass.stream.writer()
        && writer::stop(pass, writer).await?.is_some()
    {
        say(pass, Reason::Deleting, "The producer that writes the stream is being stopped").await?;
        return Ok(Action::requeue(look_soon(pass)));
    }
    if let Some(why) = pass.remove_alarms().await {
        say(pass, Reason::Deleting, why).await?;
        return Ok(Action::requeue(ALARMS_AGAIN));
    }
    if let Some(text) = kept(&pass.stream, pass.class.as_deref(), &pass.namespace_labels()) {
        return finish(pass, Some("StreamRetained"), text).await;
    }
    delete(pass).await
}

/// Why the stream is kept, where it is: by policy, or because the class does not (any longer) let this object have it. The text is
/// empty where there is no stream to speak of.
fn kept(
    stream: &VideoStream,
    class: Option<&StreamClass>,
    namespace_labels: &BTreeMap<String, String>,
) -> Option<String> {
    let arn = stream.stream_arn();
    if deletion_policy(stream, class) == DeletionPolicy::Retain {
        return Some(arn.map_or_else(String::new, |arn| format!("Stream {arn} is kept")));
    }
    let class = class?;
    let namespace = stream.namespace().unwrap_or_default();
    let refusal = admit_namespace(class, &namespace, namespace_labels)
        .and_then(|()| admit_name(stream, class).map(drop))
        .err()?;
    Some(arn.map_or_else(String::new, |arn| format!("Stream {arn} is kept: {}", refusal.message)))
}

async fn delete(pass: &mut Pass<'_>) -> Result<Action, Error> {
    let Some((place, name)) = locate(pass) else {
        if pass.stream.stream_arn().is_none() && pass.class.is_none() {
            // Nothing was ever made: nothing is made without a class.
            return finish(pass, None, String::new()).await;
        }
        let message = format!(
            "The stream cannot be deleted while StreamClass {} is not there and Ready; to let the object go and keep the \
             stream, set spec.deletionPolicy to Retain",
            pass.stream.spec.stream_class_name
        );
        say(pass, Reason::StreamClassNotReady, &message).await?;
        return Ok(Action::requeue(LOOK_LATER));
    };
    match delete_at(pass, &place, &name).await {
        Ok(action) => Ok(action),
        Err(Error::Aws(error)) if matches!(error.kind, ErrorKind::InUse | ErrorKind::VersionMismatch) => {
            Ok(Action::requeue(look_soon(pass)))
        }
        Err(Error::Aws(error)) => {
            pass.doubt(&place, &error);
            let (reason, message) = not_deleted(&error);
            say(pass, reason, &message).await?;
            Err(Error::Aws(error))
        }
        Err(error) => Err(error),
    }
}

/// What to say of a deletion that failed.
fn not_deleted(error: &AwsError) -> (Reason, String) {
    let (reason, advice) = status::reason(error.kind);
    // It takes its turn again by itself: nobody has to give it up.
    if error.kind == ErrorKind::Throttled {
        return (reason, format!("The stream is not deleted yet. {advice} ({error})"));
    }
    let message = format!(
        "The stream cannot be deleted. {advice} ({error}); to let the object go and keep the stream, set \
         spec.deletionPolicy to Retain"
    );
    (reason, message)
}

/// Where the stream is. A class that STS has not confirmed in its present form is not used.
fn locate(pass: &Pass<'_>) -> Option<(Place, String)> {
    let class = pass.class.as_deref()?;
    let recorded = pass.stream.status.as_ref().and_then(|status| status.stream_name.clone());
    Some((verified_place(class)?, recorded.unwrap_or_else(|| stream_name(&pass.stream, class))))
}

async fn delete_at(pass: &mut Pass<'_>, place: &Place, name: &str) -> Result<Action, Error> {
    let owner = owner(&pass.stream, pass.ctx.installation());
    // At most: record, delete, look.
    for _ in 0..3 {
        let recorded = pass.stream.stream_arn().map(ToOwned::to_owned);
        let observed = read(pass, place, name, recorded.as_deref()).await.map_err(Error::Aws)?;
        if recorded.is_none() && observed.is_none() && may_appear(pass) {
            // Without the object nobody would delete it.
            break;
        }
        match next(recorded.as_deref(), &owner, observed.as_ref()) {
            Step::Finish(reason, text) => return finish(pass, reason, text).await,
            Step::Record(found) => {
                let status = VideoStreamStatus {
                    stream_arn: Some(found),
                    stream_name: Some(name.to_owned()),
                    writer: None,
                    ..pass.before()
                };
                pass.write_status(&status, &[]).await?;
            }
            Step::Delete(fence) => destroy(pass, place, name, &fence).await?,
            Step::Wait => break,
        }
    }
    Ok(Action::requeue(look_soon(pass)))
}

/// Whether a stream may still appear that was asked for: by the operator that led before, or by an earlier pass that has no answer.
fn may_appear(pass: &Pass<'_>) -> bool {
    let uid = pass.stream.metadata.uid.as_deref().unwrap_or_default();
    pass.ctx.aws.follows_another() || pass.ctx.aws.creations.may_take_effect(uid)
}

/// Deletes the stream, once, if that is still asked for when it is its turn: thousands may wait at a time.
async fn destroy(pass: &Pass<'_>, place: &Place, name: &str, fence: &Fence) -> Result<(), Error> {
    let arn = fence.arn();
    let cloud = pass.ctx.aws.clouds.cloud(place).await.map_err(Error::Aws)?;
    let turn = cloud.turn("DeleteStream", arn).await.map_err(Error::Aws)?;
    confirm(pass, place).await?;
    turn.run(cloud.delete_stream(arn, fence.version())).await.map_err(Error::Aws)?;
    tracing::info!(stream = name, arn, "Stream is deleted");
    let text = format!("Stream {arn} and its footage were deleted");
    let note = Note::normal("StreamDeleted", "DeleteStream", text);
    let about = kube::Resource::object_ref(&*pass.stream, &());
    pass.ctx.cluster.events.publish(&about, &[note]).await;
    Ok(())
}

/// Makes sure, directly before a stream is deleted, that this is still asked for: the cache may be behind, and the reads of the
/// stream and the call itself may have waited long for their turns. A pass that follows sees what was changed.
async fn confirm(pass: &Pass<'_>, place: &Place) -> Result<(), Error> {
    let fresh = read_object(pass).await?.ok_or(Error::Changed)?;
    let class = pass.read_class().await?;
    let is_still = is_still_to_delete(&pass.stream, &fresh, class.as_ref(), &pass.namespace_labels(), place);
    if is_still { Ok(()) } else { Err(Error::Changed) }
}

/// The object that is cleaned up after, by a fresh read; none where it has gone, as its successor's stream is not to be
/// deleted in its stead.
async fn read_object(pass: &Pass<'_>) -> Result<Option<VideoStream>, Error> {
    let present = pass.api.get_opt(&pass.stream.name_any()).await.map_err(Error::ReadObject)?;
    Ok(present.filter(|present| {
        present.metadata.uid == pass.stream.metadata.uid && present.metadata.deletion_timestamp.is_some()
    }))
}

/// Whether the object as it is now still asks for this stream to be deleted, by the same record, its class lets it have the stream
/// and leads to the same place, and it has no writer but the one that was stopped.
fn is_still_to_delete(
    seen: &VideoStream,
    fresh: &VideoStream,
    class: Option<&StreamClass>,
    namespace_labels: &BTreeMap<String, String>,
    place: &Place,
) -> bool {
    kept(fresh, class, namespace_labels).is_none()
        && class.and_then(verified_place).as_ref() == Some(place)
        && fresh.writer() == seen.writer()
        && fresh.stream_arn() == seen.stream_arn()
}

/// A fresh read: nothing is destroyed on the word of a cache. By ARN, where one is known.
async fn read(
    pass: &Pass<'_>,
    place: &Place,
    name: &str,
    arn: Option<&str>,
) -> Result<Option<Observed>, AwsError> {
    let Some(info) = pass.ctx.aws.observer.fresh(place, name, arn).await? else { return Ok(None) };
    if info.state == StreamState::Deleting {
        return Ok(Some(Observed::cached(info, nothing())));
    }
    match pass.ctx.aws.observer.fresh_tags(place, &info.arn).await {
        // The other settings decide nothing here.
        Ok(tags) => Ok(Some(Observed::fresh(info, crate::aws::Settings { tags, ..nothing() }))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Decides.
fn next(recorded: Option<&str>, owner: &Owner, observed: Option<&Observed>) -> Step {
    let Some(observed) = observed else { return Step::Finish(None, String::new()) };
    let info = &observed.info;
    if recorded.is_some_and(|arn| arn != info.arn) {
        let text = format!("Stream {} is another one than this object's, and is left alone", info.arn);
        return Step::Finish(Some("StreamRetained"), text);
    }
    if info.state == StreamState::Deleting {
        // Whoever deletes it. Without a record it is not known to be ours, and there is nothing left to do.
        return if recorded.is_some() { Step::Wait } else { Step::Finish(None, String::new()) };
    }
    if !owner.owns(observed.tags()) {
        let text = format!("Stream {} is not deleted: {}", info.arn, describe_owner(observed.tags()));
        return Step::Finish(Some("StreamRetained"), text);
    }
    // An old cluster that is taken down does not take the stream from the one that has it now.
    if let Some(uid) = successor(owner, observed.tags()) {
        let text = format!("Stream {} is not deleted: {}", info.arn, taken_over(observed.tags(), uid));
        return Step::Finish(Some("StreamRetained"), text);
    }
    if recorded.is_none() {
        // Nothing but the tags says that this object made it or took it over, which it may have been refused; a stream that it made
        // has its UID from the beginning.
        if !observed.tags().contains_key(ownership_tags::UID) {
            let text = format!(
                "Stream {} is not deleted: {}, but not that this very object has had it",
                info.arn,
                describe_owner(observed.tags())
            );
            return Step::Finish(Some("StreamRetained"), text);
        }
        return Step::Record(info.arn.clone());
    }
    match (info.state, observed.fence()) {
        (StreamState::Active, Some(fence)) => Step::Delete(fence),
        (_, _) => Step::Wait,
    }
}

async fn finish(pass: &Pass<'_>, reason: Option<&'static str>, text: String) -> Result<Action, Error> {
    if let Some(reason) = reason.filter(|_| !text.is_empty()) {
        let about = kube::Resource::object_ref(&*pass.stream, &());
        pass.ctx.cluster.events.publish(&about, &[Note::normal(reason, "Delete", text)]).await;
    }
    if let (Some((place, _)), Some(arn)) = (locate(pass), pass.stream.stream_arn()) {
        pass.ctx.aws.observer.forget(&place, arn);
    }
    pass.remove_finalizer().await?;
    Ok(Action::await_change())
}

/// How soon it is looked whether a pod or stream has gone.
fn look_soon(pass: &Pass<'_>) -> Duration {
    let since = pass.stream.metadata.deletion_timestamp.as_ref().map(|since| since.0);
    patient(since.map_or(Duration::ZERO, |since| Timestamp::now().duration_since(since).unsigned_abs()))
}

/// Says in the status what the deletion waits for.
async fn say(pass: &mut Pass<'_>, reason: Reason, message: &str) -> Result<(), Error> {
    let generation = pass.stream.metadata.generation;
    let after = status::leaving(&pass.before(), reason, message, generation, Timestamp::now());
    pass.write_status(&after, &[]).await
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ARN, class, desired, observed};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_writer_or_class_that_was_changed_meanwhile_stops_a_deletion() {
        let object = |policy: &str, writer: serde_json::Value| -> VideoStream {
            serde_json::from_value(json!({
                "apiVersion": "streamfleet.io/v1alpha1", "kind": "VideoStream",
                "metadata": {"name": "door", "namespace": "shop"},
                "spec": {"streamClassName": "standard", "deletionPolicy": policy},
                "status": {"writer": writer},
            }))
            .unwrap()
        };
        let seen = object("Delete", json!(null));
        let class = |spec| {
            let mut class = class(spec);
            class.spec.limits.deletion_policies = vec![DeletionPolicy::Retain, DeletionPolicy::Delete];
            class
        };
        let usual = class(json!({}));
        let place = Place::from(&usual.spec.aws);
        let is_still = |fresh: &VideoStream, class: Option<&StreamClass>| {
            is_still_to_delete(&seen, fresh, class, &BTreeMap::new(), &place)
        };
        assert!(is_still(&seen, Some(&usual)));
        assert!(!is_still(&object("Retain", json!(null)), Some(&usual)));
        assert!(!is_still(&object("Delete", json!({"name": "door", "uid": "u"})), Some(&usual)));
        // So do a class that is gone, no longer admits the object, leads elsewhere, or was not verified since it changed.
        let elsewhere = json!({ "aws": { "region": "eu-west-2", "accountID": "123456789012" } });
        let mut unverified = class(json!({}));
        unverified.metadata.generation = Some(2);
        for changed in [
            None,
            Some(class(
                json!({ "allowedNamespaces": { "from": "Selector", "selector": { "matchLabels": { "a": "b" } } } }),
            )),
            Some(class(elsewhere)),
            Some(unverified),
        ] {
            assert!(!is_still(&seen, changed.as_ref()), "{changed:?}");
        }
    }

    #[test]
    fn a_deletion_that_is_to_wait_says_so_and_others_name_the_way_out() {
        let said = |kind| {
            let error = AwsError { operation: "DeleteStream", kind, message: "as ordered".to_owned() };
            not_deleted(&error)
        };
        let text = "The stream is not deleted yet. AWS asks for fewer calls; it is tried again (DeleteStream failed: as ordered)";
        assert_eq!(said(ErrorKind::Throttled), (Reason::AwsThrottled, text.to_owned()));
        let (reason, text) = said(ErrorKind::Denied);
        assert_eq!(reason, Reason::AwsAccessDenied);
        assert!(
            text.ends_with("to let the object go and keep the stream, set spec.deletionPolicy to Retain"),
            "{text}"
        );
    }

    #[test]
    fn a_stream_is_recorded_before_it_is_deleted() {
        let desired = desired(json!({}));
        let observed = observed(&desired);
        assert_eq!(next(None, &desired.owner, Some(&observed)), Step::Record(ARN.to_owned()));
        let step = next(Some(ARN), &desired.owner, Some(&observed));
        assert!(
            matches!(&step, Step::Delete(fence) if fence.arn() == ARN && fence.version() == "v1"),
            "{step:?}"
        );
    }

    #[test]
    fn what_is_gone_or_was_never_made_is_done() {
        let owner = desired(json!({})).owner;
        for recorded in [None, Some(ARN)] {
            assert_eq!(next(recorded, &owner, None), Step::Finish(None, String::new()));
        }
    }

    #[test]
    fn a_stream_with_another_arn_or_owner_is_kept() {
        let desired = desired(json!({}));
        let mut observed = observed(&desired);
        assert!(matches!(
            next(Some("arn:old"), &desired.owner, Some(&observed)),
            Step::Finish(Some("StreamRetained"), _)
        ));
        for (key, value) in [
            (ownership_tags::INSTALLATION, "south"),
            (ownership_tags::NAME, "other"),
            (ownership_tags::UID, "uid-2"),
        ] {
            let mut foreign = observed.clone();
            foreign.settings.tags.insert(key.to_owned(), value.to_owned());
            for recorded in [None, Some(ARN)] {
                let step = next(recorded, &desired.owner, Some(&foreign));
                assert!(matches!(step, Step::Finish(Some("StreamRetained"), _)), "{step:?}");
            }
        }
        observed.settings.tags.remove(ownership_tags::UID);
        let step = next(None, &desired.owner, Some(&observed));
        assert!(
            matches!(step, Step::Finish(Some("StreamRetained"), _)),
            "it was never this object's: {step:?}"
        );
        assert!(matches!(next(Some(ARN), &desired.owner, Some(&observed)), Step::Delete(_)));
        observed.settings.tags.clear();
        assert!(matches!(next(Some(ARN), &desired.owner, Some(&observed)), Step::Finish(..)));
    }

    #[test]
    fn the_object_stays_until_the_stream_has_gone() {
        let desired = desired(json!({}));
        let mut observed = observed(&desired);
        for state in [StreamState::Creating, StreamState::Updating, StreamState::Deleting] {
            observed.info.state = state;
            assert_eq!(next(Some(ARN), &desired.owner, Some(&observed)), Step::Wait, "{state:?}");
        }
    }

    #[test]
    fn what_only_a_cache_knows_is_not_deleted() {
        let desired = desired(json!({}));
        let fresh = observed(&desired);
        let cached = Observed::cached(fresh.info, fresh.settings);
        assert_eq!(next(Some(ARN), &desired.owner, Some(&cached)), Step::Wait);
    }
}
