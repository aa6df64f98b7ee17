//! Carries a plan out: one call, then a look at what came of it, until nothing is left that can be done now.
//!
//! Nothing is ever sent again unread: a call whose answer is lost ends the pass, and the next one starts from a fresh read.

mod creations;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Error;
use super::observed::{Fence, Freshness, Observed, View};
use super::plan::{Call, Ownership, Plan, Recorded, Step, plan};
use super::validate::Desired;
use crate::aws::{AwsError, Cloud, ErrorKind, NewStream, Settings, StreamInfo, StreamState, Turn};
use crate::context::AwsSide;
use crate::events::Note;

pub use creations::Creations;

/// The most calls of one pass: each kind of call once, and as many again where somebody else changes the stream meanwhile.
const CALLS_MAX: usize = 16;

/// What a pass came to that could be carried out.
pub struct Done {
    /// What is left.
    pub plan: Plan,
    /// The stream as it was seen last.
    pub view: View,
    /// Whether the stream was made in this pass.
    pub is_new: bool,
    /// Whether the service said that it is working on the stream.
    pub is_busy: bool,
    /// A call that was refused, while others could be made.
    pub failure: Option<AwsError>,
    /// What to tell.
    pub notes: Vec<Note>,
}

/// Who is asked before something is changed.
pub trait Announce {
    /// Makes sure that the plan is still wanted, by a fresh read of the object, since a cache may be behind; and writes down what
    /// is about to be done. Fails where the object is no longer as it was when the plan was made.
    fn announce(&mut self, plan: &Plan, view: &View) -> impl Future<Output = Result<(), Error>> + Send;

    /// What is on record now.
    fn recorded(&self) -> Recorded<'_>;
}

/// Looks, plans and acts. A lost stream is reported and not made again: its record has to be cleared first. `trusted` is the
/// version of the stream under which its settings are known already.
pub async fn converge(
    aws: &AwsSide,
    desired: &Desired,
    trusted: Option<&str>,
    by: &mut (impl Announce + Send),
) -> Result<Done, Error> {
    let mut run = Run {
        aws,
        desired,
        notes: Vec::new(),
        is_new: false,
        is_busy: false,
        has_mismatched: false,
        refused: Vec::new(),
        failure: None,
    };
    let mut view = look(aws, desired, trusted).await.map_err(Error::Aws)?;
    let mut announced: BTreeSet<String> = BTreeSet::new();
    let mut planned = plan(desired, &by.recorded(), &view);
    for _ in 0..CALLS_MAX {
        if !planned.has_work || planned.is_lost {
            break;
        }
        let Some(step) = planned.steps.iter().find(|step| !run.refused.contains(&step.operation())) else {
            if planned.steps.is_empty() && !view.is_fresh() {
                view = look(aws, desired, None).await.map_err(Error::Aws)?;
                planned = plan(desired, &by.recorded(), &view);
                continue;
            }
            break;
        };
        // What destroys something waits for its turn first: it is sent directly after it was asked about.
        let Some(ready) = run.wait(step).await.map_err(Error::Aws)? else { continue };
        // What destroys something is asked about anew, and so is what was not announced yet, or was held back at the time.
        let open = || planned.changes.iter().filter(|change| change.hold.is_none());
        let fields = || open().map(|change| change.field.clone());
        if step.is_destructive() || fields().any(|field| !announced.contains(&field)) {
            by.announce(&planned, &view).await?;
            announced.extend(fields());
        }
        let makes_it_ours = planned.ownership != Ownership::Ours;
        if let Some(seen) = run.perform(ready, step, &view).await.map_err(Error::Aws)? {
            view = seen;
            planned = plan(desired, &by.recorded(), &view);
        }
        // Whose it is goes on record before anything else is done.
        if makes_it_ours {
            break;
        }
    }
    let Run { notes, is_new, is_busy, failure, .. } = run;
    Ok(Done { plan: planned, view, is_new, is_busy, failure, notes })
}

/// The stream of the desired name as it is now. Its settings are read too, unless they are known from a read under the same
/// version.
pub async fn look(aws: &AwsSide, desired: &Desired, trusted: Option<&str>) -> Result<View, AwsError> {
    let place = &desired.place;
    // By name also where an ARN is recorded: a stream of another ARN under the name is to be seen.
    let Some(info) = aws.observer.fresh(place, &desired.name, None).await? else {
        return Ok(View::Absent(Freshness::Fresh));
    };
    if info.state == StreamState::Deleting {
        return Ok(View::Present(Observed::cached(info, nothing())));
    }
    if trusted == Some(info.version.as_str())
        && let Some(settings) = aws.observer.known_settings(place, &info.arn)
    {
        return Ok(View::Present(Observed::cached(info, settings)));
    }
    match aws.observer.fresh_settings(place, &info.arn).await {
        Ok(settings) => Ok(View::Present(Observed::fresh(info, settings))),
        // Deleted between the two reads.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(View::Absent(Freshness::Fresh)),
        Err(error) => Err(error),
    }
}

/// The settings of a stream that is going: nobody asks for them any more.
pub fn nothing() -> Settings {
    Settings {
        tags: BTreeMap::new(),
        storage_tier: streamfleet_crds::StorageTier::Hot,
        image_generation: None,
        notification: None,
    }
}

/// A call that can be sent.
struct Ready {
    cloud: Arc<dyn Cloud>,
    /// Its turn, where that was waited for.
    turn: Option<Turn>,
}

impl Ready {
    /// Sends a change, once.
    async fn send(self, fence: &Fence, call: &Call) -> Result<(), AwsError> {
        let sent = send(&*self.cloud, fence.arn(), fence.version(), call);
        match self.turn {
            Some(turn) => turn.run(sent).await,
            None => sent.await,
        }
    }
}

/// A pass in the middle.
struct Run<'a> {
    aws: &'a AwsSide,
    desired: &'a Desired,
    notes: Vec<Note>,
    is_new: bool,
    is_busy: bool,
    has_mismatched: bool,
    /// The operations that were refused in this pass: the others go on without them.
    refused: Vec<&'static str>,
    failure: Option<AwsError>,
}

impl Run<'_> {
    /// Gets a call ready to be sent. `None` where it would be refused.
    async fn wait(&mut self, step: &Step) -> Result<Option<Ready>, AwsError> {
        let cloud = self.aws.clouds.cloud(&self.desired.place).await?;
        let turn = match step {
            Step::Change(fence, _) if step.is_destructive() => {
                cloud.turn(step.operation(), fence.arn()).await
            }
            Step::Create(..) | Step::Change(..) => return Ok(Some(Ready { cloud, turn: None })),
        };
        match turn {
            Ok(turn) => Ok(Some(Ready { cloud, turn: Some(turn) })),
            Err(error) if is_about_the_call(error.kind) => {
                self.refuse(step.operation(), error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes one call, and looks. `None` where it was refused and nothing has changed.
    async fn perform(&mut self, ready: Ready, step: &Step, view: &View) -> Result<Option<View>, AwsError> {
        let result = match step {
            Step::Create(_, stream) => return self.create(&*ready.cloud, stream).await,
            Step::Change(fence, call) => ready.send(fence, call).await,
        };
        match (result, step) {
            (Ok(()), Step::Change(_, call)) => {
                self.tell(call, view);
                look(self.aws, self.desired, None).await.map(Some)
            }
            (Ok(()), Step::Create(..)) => Ok(None),
            // Somebody else has changed it: what is now is the new beginning. Once in a pass, so that two who are at it do not
            // keep each other busy.
            (Err(error), _) if error.kind == ErrorKind::VersionMismatch && !self.has_mismatched => {
                self.has_mismatched = true;
                look(self.aws, self.desired, None).await.map(Some)
            }
            (Err(error), _) if error.kind == ErrorKind::NotFound => {
                look(self.aws, self.desired, None).await.map(Some)
            }
            (Err(error), _) if error.kind == ErrorKind::InUse => {
                self.is_busy = true;
                self.refused.push(step.operation());
                look(self.aws, self.desired, None).await.map(Some)
            }
            (Err(error), _) if is_about_the_call(error.kind) => {
                self.refuse(step.operation(), error);
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn create(&mut self, cloud: &dyn Cloud, stream: &NewStream) -> Result<Option<View>, AwsError> {
        let place = &self.desired.place;
        let creations = &self.aws.creations;
        match creations.sent(&self.desired.owner.uid, cloud.create_stream(stream)).await {
            Ok(arn) => {
                tracing::info!(stream = stream.name, arn, "Stream is made");
                let text = format!(
                    "Stream {} was made, it keeps video for {} hours",
                    stream.name, stream.retention_hours
                );
                self.notes.push(Note::normal("StreamCreated", "CreateStream", text));
                self.is_new = true;
                // What was sent is what it has: four reads less for each new stream.
                let settings = Settings {
                    tags: stream.tags.clone(),
                    storage_tier: self.desired.storage_tier,
                    ..nothing()
                };
                self.aws.observer.note_settings(place, &arn, settings.clone());
                let info = self.aws.observer.fresh(place, &stream.name, None).await?;
                // A read that does not show it yet is no loss.
                let info = info.filter(|info| info.arn == arn).unwrap_or_else(|| made(&arn, stream));
                Ok(Some(View::Present(Observed::cached(info, settings))))
            }
            // Made by an earlier pass that did not live to say so, or by somebody else: the tags tell.
            Err(error) if error.kind == ErrorKind::InUse => {
                let view = look(self.aws, self.desired, None).await?;
                if view.stream().is_none() {
                    self.refuse("CreateStream", error);
                }
                Ok(Some(view))
            }
            Err(error) if is_about_the_call(error.kind) => {
                self.refuse("CreateStream", error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn refuse(&mut self, operation: &'static str, error: AwsError) {
        self.refused.push(operation);
        self.failure.get_or_insert(error);
    }

    fn tell(&mut self, call: &Call, view: &View) {
        let Some(observed) = view.stream() else { return };
        let name = &self.desired.name;
        tracing::info!(stream = name, operation = call.operation(), "Stream is changed");
        let (reason, text) = match call {
            Call::Retention(step) => (
                "RetentionChanged",
                format!("Retention was changed from {} to {} hours", step.from(), step.to()),
            ),
            Call::Tier(tier) => {
                let from = observed.settings.storage_tier.as_str();
                (
                    "StorageTierChanged",
                    format!("Footage from now on is kept in {}, no longer in {from}", tier.as_str()),
                )
            }
            Call::Images(Some(_)) => ("ImagesChanged", "Image generation was set".to_owned()),
            Call::Images(None) => ("ImagesChanged", "Image generation was taken away".to_owned()),
            Call::Notify(Some(_)) => ("NotificationChanged", "Notifications were set".to_owned()),
            Call::Notify(None) => ("NotificationChanged", "Notifications were taken away".to_owned()),
            Call::Update(_) => ("StreamUpdated", "Media type and device name were set".to_owned()),
            Call::Tag(tags) => ("TagsChanged", format!("Tags were set: {}", keys(tags.keys()))),
            Call::Untag(gone) => ("TagsChanged", format!("Tags were taken away: {}", keys(gone.iter()))),
        };
        self.notes.push(Note::normal(reason, call.operation(), text));
    }
}

fn keys<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A stream whose making was confirmed and which no read shows yet.
fn made(arn: &str, stream: &NewStream) -> StreamInfo {
    StreamInfo {
        name: stream.name.clone(),
        arn: arn.to_owned(),
        version: String::new(),
        state: StreamState::Creating,
        retention_hours: stream.retention_hours,
        created: None,
        kms_key_id: stream.kms_key_id.clone(),
        media_type: stream.media_type.clone(),
        device_name: stream.device_name.clone(),
    }
}

/// Whether an error is about this call alone, so that others are worth their while.
const fn is_about_the_call(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Denied
        | ErrorKind::Quota
        | ErrorKind::TagLimit
        | ErrorKind::InvalidArgument
        | ErrorKind::KmsUnusable
        | ErrorKind::NoRetention => true,
        ErrorKind::InUse
        | ErrorKind::VersionMismatch
        | ErrorKind::NotFound
        | ErrorKind::NoCredentials
        | ErrorKind::CredentialsRefused
        | ErrorKind::RoleRefused
        | ErrorKind::WrongAccount
        | ErrorKind::Throttled
        | ErrorKind::LimitExceeded
        | ErrorKind::Unreachable
        | ErrorKind::InvalidCaBundle
        | ErrorKind::NotLeader
        | ErrorKind::Other => false,
    }
}

/// Sends a change, once.
async fn send(cloud: &dyn Cloud, arn: &str, version: &str, call: &Call) -> Result<(), AwsError> {
    match call {
        Call::Retention(step) => cloud.change_retention(arn, version, step.change()).await,
        Call::Update(update) => cloud.update_stream(arn, version, update).await,
        Call::Tier(tier) => cloud.change_storage_tier(arn, version, *tier).await,
        Call::Tag(tags) => cloud.tag_stream(arn, tags).await,
        Call::Untag(keys) => cloud.untag_stream(arn, keys).await,
        Call::Images(images) => cloud.set_image_generation(arn, images.as_ref()).await,
        Call::Notify(notification) => cloud.set_notification(arn, notification.as_ref()).await,
    }
}

#[cfg(test)]
mod tests;
