//! Carries a plan out, and reads again what came of it.

use super::plan::{Observed, Plan, Recorded, StreamAction, plan};
use super::validate::Desired;
use super::{Pass, recorded, status};
use crate::apply;
use crate::aws::{AwsError, Cloud, ErrorKind};
use crate::events::Note;
use kube::ResourceExt as _;

/// How a pass ended that could be carried out.
pub struct Done {
    /// What is left to do.
    pub plan: Plan,
    /// The stream as it was read last.
    pub observed: Option<Observed>,
    /// Whether the stream was made in this pass.
    pub created: bool,
    /// What to tell.
    pub notes: Vec<Note>,
}

/// Why a pass could not be carried out.
pub enum Failure {
    /// A call to AWS failed.
    Aws(AwsError),
    /// The record of a lost stream could not be cleared.
    WriteStatus(kube::Error),
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

/// Reads, plans, executes, and reads again where something was changed.
pub async fn converge(pass: &Pass<'_>, desired: &Desired) -> Result<Done, Failure> {
    let before = pass.before();
    let mut record = recorded(&before);
    let mut notes = Vec::new();
    let mut observed = observe(pass, desired).await?;
    let mut planned = plan(desired, record, observed.as_ref());
    if planned.is_lost {
        let cleared = status::cleared(&before);
        apply::status(&pass.api, &pass.stream.name_any(), &cleared).await.map_err(Failure::WriteStatus)?;
        let text = format!("The stream {} has disappeared from AWS", record.arn.unwrap_or_default());
        notes.push(Note::warning("StreamLost", "Observe", text));
        record = Recorded::default();
        planned = plan(desired, record, None);
    }
    let mut created = false;
    if !planned.actions.is_empty() {
        let cloud = pass.ctx.aws.clouds.cloud(&desired.place).await?;
        for action in &planned.actions {
            created |= perform(&*cloud, desired, observed.as_ref(), action, &mut notes).await?;
        }
        observed = observe(pass, desired).await?;
        planned = plan(desired, record, observed.as_ref());
    }
    Ok(Done { plan: planned, observed, created, notes })
}

/// The stream of the desired name and its tags, as they are now.
async fn observe(pass: &Pass<'_>, desired: &Desired) -> Result<Option<Observed>, AwsError> {
    let observer = &pass.ctx.aws.observer;
    // By name also where an ARN is recorded: a stream of another ARN under the name is to be seen.
    let Some(info) = observer.fresh(&desired.place, &desired.name, None).await? else { return Ok(None) };
    match observer.tags(&desired.place, &info.arn).await {
        Ok(tags) => Ok(Some(Observed { info, tags })),
        // Deleted between the two reads.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes one call. True where it made the stream.
async fn perform(
    cloud: &dyn Cloud,
    desired: &Desired,
    observed: Option<&Observed>,
    action: &StreamAction,
    notes: &mut Vec<Note>,
) -> Result<bool, AwsError> {
    let arn = observed.map(|observed| observed.info.arn.as_str()).unwrap_or_default();
    match action {
        StreamAction::Create(stream) => match cloud.create_stream(stream).await {
            Ok(arn) => {
                tracing::info!(stream = stream.name, arn, "Stream is made");
                let text = format!(
                    "Stream {} was made, it keeps video for {} hours",
                    stream.name, stream.retention_hours
                );
                notes.push(Note::normal("StreamCreated", "CreateStream", text));
                Ok(true)
            }
            // Made by an earlier pass that did not live to say so, or by somebody else: the tags tell.
            Err(error) if error.kind == ErrorKind::InUse => Ok(false),
            Err(error) => Err(error),
        },
        StreamAction::ChangeRetention { version, from, to } => {
            cloud.change_retention(arn, version, StreamAction::retention_change(*from, *to)).await?;
            tracing::info!(stream = desired.name, from, to, "Retention is changed");
            let text = format!("Retention was changed from {from} to {to} hours");
            notes.push(Note::normal("RetentionChanged", "UpdateDataRetention", text));
            Ok(false)
        }
        StreamAction::Tag(tags) => cloud.tag_stream(arn, tags).await.map(|()| false),
        StreamAction::Untag(keys) => cloud.untag_stream(arn, keys).await.map(|()| false),
    }
}
