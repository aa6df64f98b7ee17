//! What happens when a `VideoStream` is deleted: first its writer's pod is stopped, then the KVS stream is kept or deleted.
//! Every step can be repeated, and already gone is a success.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use streamfleet_crds::{
    ConditionType, DeletionPolicy, FINALIZER, StreamClass, VideoStream, VideoStreamReason as Reason,
    VideoStreamStatus,
};

use super::plan::Observed;
use super::validate::{deletion_policy, owner, stream_name};
use super::{Error, Pass, writer};
use crate::apply;
use crate::aws::{AwsError, ErrorKind, Owner, Place, StreamState, describe_owner};
use crate::backoff::patient;
use crate::conditions::{Truth, Verdict, merge};
use crate::events::Note;
use crate::queue::Action;
use crate::stream_class::verified_place;

/// How often it is tried again where something outside stands in the way.
const LOOK_LATER: Duration = Duration::from_secs(15);

/// What is to be done next about a stream that is to be deleted.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is nothing (more) of ours: the object may go. The note says what became of the stream.
    Finish(Option<&'static str>, String),
    /// Write down which stream it is, before it is deleted.
    Record(String),
    /// Delete it.
    Delete { arn: String, version: String },
    /// Wait until the service is done with it.
    Wait,
}

/// One pass of an object that is to be deleted.
pub async fn run(pass: &Pass<'_>) -> Result<Action, Error> {
    if !pass.stream.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    if let Some(writer) = pass.stream.writer()
        && !writer::stop(pass, writer).await?
    {
        say(pass, Reason::Deleting, "The producer that writes the stream is being stopped").await?;
        return Ok(Action::requeue(look_soon(pass)));
    }
    if deletion_policy(pass.stream, pass.class.as_deref()) == DeletionPolicy::Retain {
        let text = pass.stream.stream_arn().map_or_else(String::new, |arn| format!("Stream {arn} is kept"));
        return finish(pass, Some("StreamRetained"), text).await;
    }
    delete(pass).await
}

async fn delete(pass: &Pass<'_>) -> Result<Action, Error> {
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
            let reason = match error.kind {
                ErrorKind::Denied | ErrorKind::CredentialsRefused | ErrorKind::NoCredentials => Reason::AwsAccessDenied,
                ErrorKind::Throttled => Reason::AwsThrottled,
                ErrorKind::Unreachable => Reason::AwsUnreachable,
                _ => Reason::AwsError,
            };
            let message = format!(
                "The stream cannot be deleted ({error}); to let the object go and keep the stream, set \
                 spec.deletionPolicy to Retain"
            );
            say(pass, reason, &message).await?;
            Err(Error::Aws(error))
        }
        Err(error) => Err(error),
    }
}

/// Where the stream is. A class that STS has not confirmed in its present form is not used.
fn locate(pass: &Pass<'_>) -> Option<(Place, String)> {
    let class = pass.class.as_deref()?;
    let recorded = pass.stream.status.as_ref().and_then(|status| status.stream_name.clone());
    Some((verified_place(class)?, recorded.unwrap_or_else(|| stream_name(pass.stream, class))))
}

async fn delete_at(pass: &Pass<'_>, place: &Place, name: &str) -> Result<Action, Error> {
    let owner = owner(pass.stream, pass.ctx.installation());
    let Some(fresh) = read_object(pass).await? else { return Ok(Action::await_change()) };
    if !is_still_to_delete(pass.stream, &fresh, pass.class.as_deref()) {
        // The cache is behind; the pass that follows sees what was changed.
        return Ok(Action::requeue(look_soon(pass)));
    }
    let mut arn = pass.stream.stream_arn().map(ToOwned::to_owned);
    // At most: record, delete, look.
    for _ in 0..3 {
        let observed = read(pass, place, name, arn.as_deref()).await.map_err(Error::Aws)?;
        match next(arn.as_deref(), &owner, observed.as_ref()) {
            Step::Finish(reason, text) => return finish(pass, reason, text).await,
            Step::Record(found) => {
                let status = VideoStreamStatus {
                    stream_arn: Some(found.clone()),
                    stream_name: Some(name.to_owned()),
                    writer: None,
                    ..pass.before()
                };
                apply::status(&pass.api, &pass.stream.name_any(), &status)
                    .await
                    .map_err(Error::WriteStatus)?;
                arn = Some(found);
            }
            Step::Delete { arn, version } => {
                let cloud = pass.ctx.aws.clouds.cloud(place).await.map_err(Error::Aws)?;
                cloud.delete_stream(&arn, &version).await.map_err(Error::Aws)?;
                tracing::info!(stream = name, arn, "Stream is deleted");
                let note = Note::normal(
                    "StreamDeleted",
                    "DeleteStream",
                    format!("Stream {arn} and its footage were deleted"),
                );
                let about = kube::Resource::object_ref(pass.stream, &());
                pass.ctx.cluster.events.publish(&about, &[note]).await;
            }
            Step::Wait => break,
        }
    }
    Ok(Action::requeue(look_soon(pass)))
}

/// The object that is cleaned up after, by a fresh read; none where it has gone, as its successor's stream is not to be
/// deleted in its stead.
async fn read_object(pass: &Pass<'_>) -> Result<Option<VideoStream>, Error> {
    let present = pass.api.get_opt(&pass.stream.name_any()).await.map_err(Error::ReadObject)?;
    Ok(present.filter(|present| {
        present.metadata.uid == pass.stream.metadata.uid && present.metadata.deletion_timestamp.is_some()
    }))
}

/// Whether the object as it is now still asks for its stream to be deleted, and has no writer but the one that was stopped.
fn is_still_to_delete(seen: &VideoStream, fresh: &VideoStream, class: Option<&StreamClass>) -> bool {
    deletion_policy(fresh, class) == DeletionPolicy::Delete && fresh.writer() == seen.writer()
}

/// A fresh read: nothing is destroyed on the word of a cache.
async fn read(
    pass: &Pass<'_>,
    place: &Place,
    name: &str,
    arn: Option<&str>,
) -> Result<Option<Observed>, AwsError> {
    let Some(info) = pass.ctx.aws.observer.fresh(place, name, arn).await? else { return Ok(None) };
    if info.state == StreamState::Deleting {
        return Ok(Some(Observed { info, tags: std::collections::BTreeMap::default() }));
    }
    match pass.ctx.aws.observer.tags(place, &info.arn).await {
        Ok(tags) => Ok(Some(Observed { info, tags })),
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
    if !owner.owns(&observed.tags) {
        let text = format!("Stream {} is not deleted: {}", info.arn, describe_owner(&observed.tags));
        return Step::Finish(Some("StreamRetained"), text);
    }
    if recorded.is_none() {
        return Step::Record(info.arn.clone());
    }
    match info.state {
        StreamState::Active => Step::Delete { arn: info.arn.clone(), version: info.version.clone() },
        StreamState::Creating | StreamState::Updating | StreamState::Deleting => Step::Wait,
    }
}

async fn finish(pass: &Pass<'_>, reason: Option<&'static str>, text: String) -> Result<Action, Error> {
    if let Some(reason) = reason.filter(|_| !text.is_empty()) {
        let about = kube::Resource::object_ref(pass.stream, &());
        pass.ctx.cluster.events.publish(&about, &[Note::normal(reason, "Delete", text)]).await;
    }
    if let Some(arn) = pass.stream.stream_arn() {
        pass.ctx.aws.observer.forget_tags(arn);
    }
    apply::remove_finalizer(&pass.api, pass.stream, FINALIZER).await.map_err(Error::RemoveFinalizer)?;
    Ok(Action::await_change())
}

/// How soon it is looked whether a pod or stream has gone.
fn look_soon(pass: &Pass<'_>) -> Duration {
    let since = pass.stream.metadata.deletion_timestamp.as_ref().map(|since| since.0);
    patient(since.map_or(Duration::ZERO, |since| Timestamp::now().duration_since(since).unsigned_abs()))
}

/// Says in the status what the deletion waits for.
async fn say(pass: &Pass<'_>, reason: Reason, message: &str) -> Result<(), Error> {
    let before = pass.before();
    let mut after = VideoStreamStatus { writer: None, ..before.clone() };
    let verdict = [Verdict::new(ConditionType::Ready, Truth::False, reason.as_str(), message)];
    let ready = merge(&before.conditions, &verdict, pass.stream.metadata.generation, Timestamp::now());
    after.conditions.retain(|condition| condition.type_ != ConditionType::Ready.as_str());
    after.conditions.extend(ready);
    after.conditions.sort_by_key(|condition| condition.type_ != ConditionType::Ready.as_str());
    pass.write_status(&after, &[]).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use streamfleet_crds::ownership_tags;

    use super::super::testing::{ARN, desired, observed};
    use super::*;

    fn delete() -> Step {
        Step::Delete { arn: ARN.to_owned(), version: "v1".to_owned() }
    }

    #[test]
    fn a_policy_or_writer_that_was_changed_meanwhile_stops_a_deletion() {
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
        assert!(is_still_to_delete(&seen, &object("Delete", json!(null)), None));
        assert!(!is_still_to_delete(&seen, &object("Retain", json!(null)), None));
        assert!(!is_still_to_delete(&seen, &object("Delete", json!({"name": "door", "uid": "u"})), None));
    }

    #[test]
    fn a_stream_is_recorded_before_it_is_deleted() {
        let desired = desired(json!({}));
        let observed = observed(&desired);
        assert_eq!(next(None, &desired.owner, Some(&observed)), Step::Record(ARN.to_owned()));
        assert_eq!(next(Some(ARN), &desired.owner, Some(&observed)), delete());
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
        for (key, value) in [(ownership_tags::INSTALLATION, "south"), (ownership_tags::NAME, "other")] {
            let mut foreign = observed.clone();
            foreign.tags.insert(key.to_owned(), value.to_owned());
            for recorded in [None, Some(ARN)] {
                let step = next(recorded, &desired.owner, Some(&foreign));
                assert!(matches!(step, Step::Finish(Some("StreamRetained"), _)), "{step:?}");
            }
        }
        observed.tags.clear();
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
}
