//! The `VideoStream` controller: one KVS stream for each object.
//!
//! A pass gathers what is, validates what is asked, plans the difference, executes it, reads again and writes the status. It
//! may be killed between any two calls: creating is idempotent by name, everything else starts from a fresh read.

mod cleanup;
mod execute;
mod plan;
mod status;
#[cfg(test)]
mod testing;
mod validate;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use streamfleet_crds::{
    ConditionType, FINALIZER, StreamClass, VideoStream, VideoStreamReason, VideoStreamStatus,
};

use crate::aws::{AwsError, ErrorKind, Place, StreamState};
use crate::backoff::{jittered, patient};
use crate::conditions::Truth;
use crate::context::Context;
use crate::events::{Note, turned};
use crate::queue::Action;
use crate::{apply, run, stream_class};

use plan::{Observed, Ownership, Plan, Recorded};
use status::Outcome;
use validate::validate;
pub use validate::{AlarmSettings, Desired};

/// How often a stream that is as it should be is looked at, though no sweep has found a change.
const LOOK_EVERY: Duration = Duration::from_mins(15);
/// How often a stream is looked at while the service is working on it.
const LOOK_SOON: Duration = Duration::from_millis(250);
/// How often an object is looked at that its class does not grant anything, or whose stream is not its own.
const LOOK_LATER: Duration = Duration::from_mins(2);

/// What went wrong in a pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The finalizer could not be put on.
    #[error("failed to put the finalizer on")]
    AddFinalizer(#[source] kube::Error),
    /// The finalizer could not be taken off.
    #[error("failed to take the finalizer off")]
    RemoveFinalizer(#[source] kube::Error),
    /// The status could not be written.
    #[error("failed to write the status")]
    WriteStatus(#[source] kube::Error),
    /// The claim of a Camera that is gone could not be taken back.
    #[error("failed to release the writer")]
    ReleaseWriter(#[source] kube::Error),
    /// The producer of the stream could not be stopped.
    #[error("failed to stop the writer's pod")]
    StopWriter(#[source] kube::Error),
    /// The object could not be read anew.
    #[error("failed to read the object")]
    ReadObject(#[source] kube::Error),
    /// A call to AWS failed.
    #[error("failed to bring the stream in line")]
    Aws(#[source] AwsError),
}

impl run::Classified for Error {
    fn class(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.kind.as_str(),
            Self::AddFinalizer(_)
            | Self::RemoveFinalizer(_)
            | Self::WriteStatus(_)
            | Self::ReleaseWriter(_)
            | Self::ReadObject(_)
            | Self::StopWriter(_) => "api_server",
        }
    }
}

/// One pass.
pub async fn reconcile(stream: Arc<VideoStream>, ctx: Arc<Context>) -> Result<Action, Error> {
    let pass = Pass::new(&stream, &ctx);
    if stream.metadata.deletion_timestamp.is_some() {
        return cleanup::run(&pass).await;
    }
    let writer_leaves = writer::release_if_gone(&pass).await?;
    let action = match pass.validate() {
        Ok(desired) => bring_in_line(&pass, &desired).await?,
        // The class's next status brings the object back.
        Err(refusal) if pass.awaits_check(&refusal) => Action::requeue(jittered(LOOK_LATER)),
        Err(refusal) => {
            let outcome = Outcome::Refused(&refusal);
            pass.write(&outcome, &[]).await?;
            Action::requeue(jittered(LOOK_LATER))
        }
    };
    Ok(if writer_leaves { Action::requeue(Duration::from_secs(1)) } else { action })
}

/// What every step of a pass needs.
struct Pass<'a> {
    stream: &'a VideoStream,
    class: Option<Arc<StreamClass>>,
    ctx: &'a Context,
    api: Api<VideoStream>,
    namespace: String,
}

impl<'a> Pass<'a> {
    fn new(stream: &'a VideoStream, ctx: &'a Context) -> Self {
        let namespace = stream.namespace().unwrap_or_default();
        let class = ctx.cluster.caches.classes.get(&ObjectRef::new(&stream.spec.stream_class_name));
        let api = Api::namespaced(ctx.cluster.client.clone(), &namespace);
        Self { stream, class, ctx, api, namespace }
    }

    fn validate(&self) -> Result<Desired, validate::Refusal> {
        let namespace = self.ctx.cluster.caches.namespaces.get(&ObjectRef::new(&self.namespace));
        let labels: BTreeMap<String, String> =
            namespace.and_then(|namespace| namespace.metadata.labels.clone()).unwrap_or_default();
        validate(self.stream, self.class.as_deref(), &labels, self.ctx.installation())
    }

    /// Whether a refusal stands only until STS was asked about the class as it is now.
    fn awaits_check(&self, refusal: &validate::Refusal) -> bool {
        refusal.reason == VideoStreamReason::StreamClassNotReady
            && self.class.as_deref().is_some_and(|class| !stream_class::is_checked(class))
    }

    fn before(&self) -> VideoStreamStatus {
        self.stream.status.clone().unwrap_or_default()
    }

    /// Refused credentials may have been replaced where they came from: they are read anew, and STS is asked again.
    fn doubt(&self, place: &Place, error: &AwsError) {
        if error.kind != ErrorKind::Denied && !error.kind.is_about_credentials() {
            return;
        }
        self.ctx.aws.clouds.forget(place);
        self.ctx.aws.checks.doubt(place);
        let class = ObjectRef::new(&self.stream.spec.stream_class_name);
        self.ctx.cluster.triggers.classes.send(class);
    }

    /// Writes the status where it differs, and tells about what turned.
    async fn write(&self, outcome: &Outcome<'_>, notes: &[Note]) -> Result<(), Error> {
        let after =
            status::status(&self.before(), outcome, self.stream.metadata.generation, Timestamp::now());
        self.write_status(&after, notes).await
    }

    async fn write_status(&self, after: &VideoStreamStatus, notes: &[Note]) -> Result<(), Error> {
        let before = VideoStreamStatus { writer: None, ..self.before() };
        if *after != before {
            let name = self.stream.name_any();
            tracing::debug!(name, arn = after.stream_arn, "Status is written");
            apply::status(&self.api, &name, after).await.map_err(Error::WriteStatus)?;
        }
        let mut notes = notes.to_vec();
        notes.extend(turn_notes(&before, after));
        self.ctx.cluster.events.publish(&self.stream.object_ref(&()), &notes).await;
        Ok(())
    }
}

async fn bring_in_line(pass: &Pass<'_>, desired: &Desired) -> Result<Action, Error> {
    if !pass.stream.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        // Before the first call that makes something outside the cluster.
        match apply::add_finalizer(&pass.api, pass.stream, FINALIZER).await {
            Ok(_) => {}
            // The object has changed since it was read, as when a Camera claims it: the cache has that in a moment.
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                return Ok(Action::requeue(LOOK_SOON / 4));
            }
            Err(error) => return Err(Error::AddFinalizer(error)),
        }
    }
    // Where the sweep fails, the reads that follow say why.
    if is_steady(pass, desired).await.unwrap_or(false) {
        return Ok(Action::requeue(jittered(LOOK_EVERY)));
    }
    let before = pass.before();
    match execute::converge(&pass.ctx.aws, desired, recorded(&before)).await {
        Ok(done) if done.plan.is_lost => forget_lost(pass, &before).await,
        Ok(done) => {
            let outcome = Outcome::Planned(desired, &done.plan, done.observed.as_ref(), done.created);
            pass.write(&outcome, &done.notes).await?;
            Ok(Action::requeue(next_look(&done.plan, done.observed.as_ref(), Timestamp::now())))
        }
        Err(error) => {
            pass.doubt(&desired.place, &error);
            pass.write(&Outcome::Failed(desired, &error), &[]).await?;
            Err(Error::Aws(error))
        }
    }
}

/// Clears the record of a stream that has disappeared; the next pass makes another. In one pass with that, a crash between the
/// two would leave a stream that looks like somebody else's.
async fn forget_lost(pass: &Pass<'_>, before: &VideoStreamStatus) -> Result<Action, Error> {
    let arn = before.stream_arn.as_deref().unwrap_or_default();
    let note = Note::warning("StreamLost", "Observe", format!("The stream {arn} has disappeared from AWS"));
    pass.ctx.aws.observer.forget_tags(arn);
    let after = status::lost(before, pass.stream.metadata.generation, Timestamp::now());
    pass.write_status(&after, &[note]).await?;
    Ok(Action::requeue(LOOK_SOON))
}

/// Whether the last sweep shows the stream as the status has it, and the status says that all is done: then nothing is asked
/// of AWS.
async fn is_steady(pass: &Pass<'_>, desired: &Desired) -> Result<bool, AwsError> {
    let status = pass.before();
    let Some(arn) = &status.stream_arn else { return Ok(false) };
    let is_true = |type_: ConditionType| streamfleet_crds::types::is_true(&status.conditions, type_.as_str());
    let is_done = status.observed_generation == pass.stream.metadata.generation
        && is_true(ConditionType::Ready)
        && is_true(ConditionType::Synced)
        && status.retention_hours == Some(desired.retention_hours)
        && desired.tags.keys().all(|key| status.managed_tags.contains(key));
    if !is_done || pass.ctx.aws.observer.tags_are_due(arn) {
        return Ok(false);
    }
    let seen = pass.ctx.aws.observer.cached(&desired.place, &desired.name).await?;
    Ok(seen.is_some_and(|info| {
        info.arn == *arn
            && info.state == StreamState::Active
            && Some(info.retention_hours) == status.retention_hours
            && Some(&info.version) == status.version.as_ref()
    }))
}

fn next_look(plan: &Plan, observed: Option<&Observed>, now: Timestamp) -> Duration {
    match (&plan.ownership, observed) {
        (Ownership::Other(_) | Ownership::Replaced { .. }, _) => jittered(LOOK_LATER),
        (Ownership::Nobody, _) | (Ownership::Ours, None) => LOOK_SOON,
        (Ownership::Ours, Some(observed)) => match observed.info.state {
            StreamState::Active if plan.pending.iter().any(|change| !change.blocked) => LOOK_SOON,
            StreamState::Active => jittered(LOOK_EVERY),
            StreamState::Creating => {
                let created = observed.info.created.unwrap_or(now);
                patient(now.duration_since(created).unsigned_abs())
            }
            StreamState::Updating | StreamState::Deleting => Duration::from_secs(1),
        },
    }
}

/// What to tell about conditions that have turned.
fn turn_notes(before: &VideoStreamStatus, after: &VideoStreamStatus) -> Vec<Note> {
    let types = [ConditionType::Ready, ConditionType::Synced, ConditionType::Owned];
    let mut notes: Vec<Note> = Vec::new();
    for type_ in types {
        let Some(condition) = turned(&before.conditions, &after.conditions, type_.as_str()) else { continue };
        let Some(reason) = VideoStreamReason::ALL.iter().find(|reason| reason.as_str() == condition.reason)
        else {
            continue;
        };
        // What is being made, changed or lost is told by a note of its own; what is not known is no news.
        let is_news = match reason {
            VideoStreamReason::Creating
            | VideoStreamReason::ChangePending
            | VideoStreamReason::Unknown
            | VideoStreamReason::Deleting
            | VideoStreamReason::InSync
            | VideoStreamReason::Created
            | VideoStreamReason::StreamLost => false,
            _ => !notes.iter().any(|note| note.reason == reason.as_str()),
        };
        if is_news {
            let warning = condition.status != Truth::True.as_str();
            let text = condition.message.clone();
            notes.push(Note { warning, reason: reason.as_str(), action: "Reconcile", text });
        }
    }
    notes
}

/// The place and owner of an object's stream, as far as its class is known; for cleaning up.
fn recorded(status: &VideoStreamStatus) -> Recorded<'_> {
    Recorded { arn: status.stream_arn.as_deref(), managed_tags: &status.managed_tags }
}
