//! The `VideoStream` controller: one KVS stream for each object.
//!
//! A pass validates what is asked, looks at what is, plans the difference, makes one call after the other, looks again after each,
//! and writes the status. It may be killed between any two calls: creating is idempotent by name, everything else starts
//! from a fresh read, and what is written is written only over what was read.
//!
//! In steady state a pass compares the sweep's view with the spec, and neither calls AWS nor writes anything.

mod cleanup;
mod execute;
mod observed;
mod pass;
mod plan;
mod status;
#[cfg(test)]
pub mod testing;
mod validate;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{ConditionType, FINALIZER, VideoStream, VideoStreamReason, VideoStreamStatus};

use crate::aws::{AwsError, ErrorKind, StreamState};
use crate::backoff::{jittered, patient};
use crate::conditions::Truth;
use crate::context::Context;
use crate::events::{Note, turned};
use crate::queue::Action;
use crate::run;

pub use execute::Creations;
use execute::{Announce, Done};
use observed::{Observed, View};
use pass::{AlarmsLook, Pass};
use plan::{Ownership, Plan, Recorded, fields, plan};
use status::{Look, Outcome};
pub use validate::{AlarmSettings, Desired, alarm_settings};

/// How often a stream that is as it should be is looked at, though no sweep has found a change.
const LOOK_EVERY: Duration = Duration::from_mins(15);
/// How soon a stream is looked at that is not yet as it should be.
const LOOK_SOON: Duration = Duration::from_millis(250);
/// How soon a stream is looked at that the service is working on, and then less often the longer that takes.
const LOOK_WORKING: Duration = Duration::from_secs(1);
/// How soon a stream is looked at that is being made, and then less often the longer that takes. Each look is a call, and with
/// 50 streams made in a second the looks are to stay below the quota of `DescribeStream`.
const LOOK_CREATING: Duration = Duration::from_millis(400);
/// How soon it is looked at at the latest.
const LOOK_CREATING_MAX: Duration = Duration::from_secs(10);
/// How often an object is looked at whose stream is not its own, or not there.
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
    /// The class could not be read anew.
    #[error("failed to read the StreamClass")]
    ReadClass(#[source] kube::Error),
    /// The object has changed since it was read.
    #[error("the object has changed since it was read")]
    Changed,
    /// A call to AWS failed.
    #[error("failed to bring the stream in line")]
    Aws(#[source] AwsError),
}

impl run::Classified for Error {
    fn class(&self) -> &'static str {
        match self {
            Self::Aws(error) => error.kind.as_str(),
            Self::Changed => "conflict",
            Self::AddFinalizer(_)
            | Self::RemoveFinalizer(_)
            | Self::WriteStatus(_)
            | Self::ReleaseWriter(_)
            | Self::ReadObject(_)
            | Self::ReadClass(_)
            | Self::StopWriter(_) => "api_server",
        }
    }
}

/// One pass.
pub async fn reconcile(stream: Arc<VideoStream>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Where the object has changed, its watch brings it back; where that lags, it is tried less and less often.
    Box::pin(whole_pass(Pass::new(stream, &ctx))).await
}

async fn whole_pass(mut pass: Pass<'_>) -> Result<Action, Error> {
    if pass.stream.metadata.deletion_timestamp.is_some() {
        return cleanup::run(&mut pass).await;
    }
    let writer_leaves = writer::release_if_gone(&pass).await?;
    let action = match pass.validate() {
        Ok(desired) => bring_in_line(&mut pass, &desired).await?,
        // The class's next status brings the object back.
        Err(refusal) if pass.awaits_check(&refusal) => Action::requeue(jittered(LOOK_LATER)),
        Err(refusal) => {
            pass.write(&Outcome::Refused(&refusal), None, &[]).await?;
            // It follows from object, class and namespace alone, and each brings the object back when it changes.
            Action::requeue(jittered(LOOK_EVERY))
        }
    };
    Ok(writer_leaves.map_or(action, |overdue| Action::requeue(patient(overdue).max(LOOK_WORKING))))
}

async fn bring_in_line(pass: &mut Pass<'_>, desired: &Desired) -> Result<Action, Error> {
    if !pass.stream.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        // Before the first call that makes something outside the cluster.
        pass.add_finalizer().await?;
    }
    let check = pass.requested_check();
    let glanced = if check.is_none() { glance(pass, desired).await } else { Ok(None) };
    match glanced {
        Ok(Some(Glance { view, refused })) => {
            let plan = plan(desired, &pass.recorded(), &view);
            if let Some(error) = refused {
                // The alarms are other calls, and tell what the stream does meanwhile.
                let alarms = pass.alarms(desired, &plan).await;
                return failed(pass, desired, error, alarms).await;
            }
            if !plan.has_work && plan.ownership == Ownership::Ours {
                let notes = Vec::new();
                let done = Done { plan, view, is_new: false, is_busy: false, failure: None, notes };
                return finish(pass, desired, done, None).await;
            }
        }
        Ok(None) => {}
        Err(error) => return failed(pass, desired, error, AlarmsLook::default()).await,
    }
    let trusted = pass.before().version.filter(|_| check.is_none());
    let aws = &pass.ctx.aws;
    match execute::converge(aws, desired, trusted.as_deref(), &mut Herald { pass, desired }).await {
        Ok(done) if done.plan.is_lost && done.plan.has_work => forget_lost(pass, desired).await,
        Ok(done) => finish(pass, desired, done, check).await,
        Err(Error::Aws(error)) => failed(pass, desired, error, AlarmsLook::default()).await,
        Err(error) => Err(error),
    }
}

/// The end of a pass that could learn nothing about the stream.
async fn failed(
    pass: &mut Pass<'_>,
    desired: &Desired,
    error: AwsError,
    alarms: AlarmsLook,
) -> Result<Action, Error> {
    // The other replica says how things stand.
    if error.kind != ErrorKind::NotLeader {
        pass.doubt(&desired.place, &error);
        pass.write(&Outcome::Failed(desired, &error), alarms.standing, &alarms.notes).await?;
    }
    Err(Error::Aws(error))
}

/// A stream at first sight.
struct Glance {
    view: View,
    /// Its settings are not to be read any more: what is seen of them is what the record says.
    refused: Option<AwsError>,
}

/// The stream as the sweeps see it, without a call; `None` where that says too little to go by. After a start the settings are
/// not known yet; the record stands in for them until their sweep has come by. Where they were not to be read any more, that is
/// tried, and nothing else is asked while it fails: a whole fleet may lack the right to it.
async fn glance(pass: &Pass<'_>, desired: &Desired) -> Result<Option<Glance>, AwsError> {
    let Some(status) = pass.stream.status.as_ref() else { return Ok(None) };
    let (Some(arn), Some(version)) = (status.stream_arn.as_deref(), status.version.as_deref()) else {
        return Ok(None);
    };
    let (observer, place) = (&pass.ctx.aws.observer, &desired.place);
    // Where the sweep fails, the reads that follow say why.
    let Ok(Some(info)) = observer.cached(place, &desired.name).await else { return Ok(None) };
    if info.arn != arn || info.version != version || info.state != StreamState::Active {
        return Ok(None);
    }
    let is_quiet = status.drift.is_empty() && status.pending_changes.is_empty();
    let presumed = || fields::presumed(desired, &pass.recorded(), &info).filter(|_| is_quiet);
    let mut refused = None;
    let settings = match observer.known_settings(place, arn) {
        Some(settings) => Some(settings),
        None if observer.are_settings_refused(place, arn) || was_refused(status) => {
            match observer.fresh_settings(place, arn).await {
                Ok(settings) => Some(settings),
                Err(error) if error.kind == ErrorKind::NotFound => None,
                Err(error) => {
                    let presumed = presumed().ok_or_else(|| error.clone())?;
                    refused = Some(error);
                    Some(presumed)
                }
            }
        }
        None => presumed(),
    };
    let view = settings.map(|settings| View::Present(Observed::cached(info, settings)));
    Ok(view.map(|view| Glance { view, refused }))
}

/// Whether the last pass was refused what it asked, so that it is not known what there is.
fn was_refused(status: &VideoStreamStatus) -> bool {
    find_condition(&status.conditions, ConditionType::Synced.as_str()).is_some_and(|synced| {
        synced.status == Truth::Unknown.as_str()
            && synced.reason == VideoStreamReason::AwsAccessDenied.as_str()
    })
}

/// Announces a plan in the name of a pass.
struct Herald<'a, 'b> {
    pass: &'a mut Pass<'b>,
    desired: &'a Desired,
}

impl Announce for Herald<'_, '_> {
    async fn announce(&mut self, plan: &Plan, view: &View) -> Result<(), Error> {
        let is_destructive = plan.steps.iter().any(plan::Step::is_destructive);
        self.pass.confirm(self.desired, is_destructive).await?;
        // That a stream is made is told by the status that follows: a write less for each of them.
        if view.stream().is_none() {
            return Ok(());
        }
        let after = status::announced(&self.pass.before(), self.desired, plan, view, Timestamp::now());
        self.pass.write_status(&after, &[]).await
    }

    fn recorded(&self) -> Recorded<'_> {
        self.pass.recorded()
    }
}

/// The end of a pass: alarms, status, and when to look again.
async fn finish(
    pass: &mut Pass<'_>,
    desired: &Desired,
    done: Done,
    check: Option<String>,
) -> Result<Action, Error> {
    let before = pass.before();
    let AlarmsLook { standing, mut notes, again } = pass.alarms(desired, &done.plan).await;
    let warnings = status::warnings(desired, pass.fragment_seconds());
    if is_in_sync(&done) {
        // Where `Synced` says them too, so that each is told once.
        notes.extend(cost_notes(&before, &warnings));
    }
    notes.extend(done.notes);
    let look = Look {
        desired,
        plan: &done.plan,
        view: &done.view,
        is_new: done.is_new,
        failure: done.failure.as_ref(),
        warnings: &warnings,
        check: check.as_deref().or(before.last_handled_check.as_deref()),
    };
    pass.write(&Outcome::Planned(look), standing, &notes).await?;
    if let Some(error) = done.failure {
        pass.doubt(&desired.place, &error);
        return Err(Error::Aws(error));
    }
    let look = next_look(&before, &done.plan, &done.view, Timestamp::now());
    let look = if done.is_busy { look.max(LOOK_WORKING) } else { look };
    // Alarms follow when it is their turn.
    Ok(Action::requeue(again.map_or(look, |again| look.min(again))))
}

/// Clears the record of a stream that has disappeared; the next pass makes another. In one pass with that, a crash between the
/// two would leave a stream that looks like somebody else's.
async fn forget_lost(pass: &mut Pass<'_>, desired: &Desired) -> Result<Action, Error> {
    let before = pass.before();
    let arn = before.stream_arn.as_deref().unwrap_or_default();
    pass.ctx.aws.observer.forget(&desired.place, arn);
    let note = Note::warning("StreamLost", "Observe", format!("The stream {arn} has disappeared from AWS"));
    let after = status::lost(&before, pass.stream.metadata.generation, Timestamp::now());
    pass.write_status(&after, &[note]).await?;
    Ok(Action::requeue(LOOK_SOON))
}

fn next_look(before: &VideoStreamStatus, plan: &Plan, view: &View, now: Timestamp) -> Duration {
    let state = view.stream().map(|observed| observed.info.state);
    match (&plan.ownership, state) {
        (Ownership::Other(_) | Ownership::Replaced { .. } | Ownership::Refused(_), _) => jittered(LOOK_LATER),
        (Ownership::Leaving, _) | (_, Some(StreamState::Updating | StreamState::Deleting)) => {
            patient(working_for(before, state, now)).max(LOOK_WORKING)
        }
        (_, Some(StreamState::Creating)) => {
            let created = view.stream().and_then(|observed| observed.info.created).unwrap_or(now);
            let elapsed = now.duration_since(created).unsigned_abs();
            (elapsed / 2).clamp(LOOK_CREATING, LOOK_CREATING_MAX)
        }
        (_, _) if plan.has_work => LOOK_SOON,
        (Ownership::Ours, _) => jittered(LOOK_EVERY),
        (Ownership::Nobody | Ownership::Adoptable, _) => jittered(LOOK_LATER),
    }
}

/// For how long the service has been at it, by the status of before this look: what that does not show has begun just now.
fn working_for(before: &VideoStreamStatus, state: Option<StreamState>, now: Timestamp) -> Duration {
    let Some(ready) = find_condition(&before.conditions, ConditionType::Ready.as_str()) else {
        return Duration::ZERO;
    };
    let is_known = before.aws_status.as_deref() == state.map(StreamState::as_str)
        || ready.reason == VideoStreamReason::Deleting.as_str();
    if !is_known {
        return Duration::ZERO;
    }
    Duration::try_from(now.duration_since(ready.last_transition_time.0)).unwrap_or_default()
}

/// What to tell about conditions that have turned, and about drift that was not known before.
fn turn_notes(before: &VideoStreamStatus, after: &VideoStreamStatus) -> Vec<Note> {
    let types = [ConditionType::Ready, ConditionType::Synced, ConditionType::Owned];
    let mut notes: Vec<Note> = Vec::new();
    for type_ in types {
        let Some(condition) = turned(&before.conditions, &after.conditions, type_.as_str()) else { continue };
        let Some(reason) = VideoStreamReason::ALL.iter().find(|reason| reason.as_str() == condition.reason)
        else {
            continue;
        };
        // What is being made, changed or lost is told by a note of its own; what is not known is no news, and that a stream is
        // there that was being made is none either.
        let old = find_condition(&before.conditions, type_.as_str());
        let was_made = old.is_none_or(|old| old.reason == VideoStreamReason::Creating.as_str());
        let is_news = match reason {
            VideoStreamReason::Creating
            | VideoStreamReason::ChangePending
            | VideoStreamReason::Unknown
            | VideoStreamReason::Deleting
            | VideoStreamReason::InSync
            | VideoStreamReason::Created => false,
            VideoStreamReason::Active if was_made => false,
            _ => !notes.iter().any(|note| note.reason == reason.as_str()),
        };
        if is_news {
            let warning = condition.status != Truth::True.as_str();
            let text = condition.message.clone();
            notes.push(Note { warning, reason: reason.as_str(), action: "Reconcile", text });
        }
    }
    notes.extend(drift_notes(before, after));
    notes
}

fn drift_notes(before: &VideoStreamStatus, after: &VideoStreamStatus) -> Option<Note> {
    let news: Vec<&str> = new_drift(before, after).collect();
    let news: Vec<String> = after
        .drift
        .iter()
        .filter(|drift| news.contains(&drift.field.as_str()))
        .map(|drift| format!("{} is {:?} instead of {:?}", drift.field, drift.observed, drift.desired))
        .collect();
    let text = || format!("Somebody else has changed the stream: {}", news.join(", "));
    (!news.is_empty()).then(|| Note::warning("DriftDetected", "Observe", text()))
}

/// The fields that drift and did not before.
fn new_drift<'a>(
    before: &'a VideoStreamStatus,
    after: &'a VideoStreamStatus,
) -> impl Iterator<Item = &'a str> {
    let fields = after.drift.iter().map(|drift| drift.field.as_str());
    fields.filter(|field| !before.drift.iter().any(|known| known.field == *field))
}

/// Whether the stream is this object's, and as it is to be.
fn is_in_sync(done: &Done) -> bool {
    let state = done.view.stream().map(|observed| observed.info.state);
    done.plan.ownership == Ownership::Ours
        && done.plan.changes.is_empty()
        && done.failure.is_none()
        && matches!(state, Some(StreamState::Active | StreamState::Updating))
}

/// Warnings of costs that the status did not have before.
fn cost_notes(before: &VideoStreamStatus, warnings: &[String]) -> Vec<Note> {
    let said = find_condition(&before.conditions, ConditionType::Synced.as_str());
    let said = said.map_or("", |condition| condition.message.as_str());
    let news = warnings.iter().filter(|warning| !said.contains(warning.as_str()));
    news.map(|warning| Note::warning("StorageCost", "Reconcile", warning.clone())).collect()
}
