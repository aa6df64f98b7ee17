//! Carries a plan out, and reads again what came of it.

use super::plan::{Observed, Plan, Recorded, StreamAction, plan};
use super::validate::Desired;
use crate::aws::{AwsError, Cloud, ErrorKind};
use crate::context::AwsSide;
use crate::events::Note;

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

/// Reads, plans, executes, and reads again where something was changed. A lost stream is reported and not made again: its record
/// has to be cleared first.
pub async fn converge(aws: &AwsSide, desired: &Desired, record: Recorded<'_>) -> Result<Done, AwsError> {
    let mut notes = Vec::new();
    let mut observed = observe(aws, desired).await?;
    let mut planned = plan(desired, record, observed.as_ref());
    let mut created = false;
    if !planned.actions.is_empty() {
        let cloud = aws.clouds.cloud(&desired.place).await?;
        for action in &planned.actions {
            created |= perform(&*cloud, desired, observed.as_ref(), action, &mut notes).await?;
        }
        observed = observe(aws, desired).await?;
        planned = plan(desired, record, observed.as_ref());
    }
    Ok(Done { plan: planned, observed, created, notes })
}

/// The stream of the desired name and its tags, as they are now.
async fn observe(aws: &AwsSide, desired: &Desired) -> Result<Option<Observed>, AwsError> {
    // By name also where an ARN is recorded: a stream of another ARN under the name is to be seen.
    let Some(info) = aws.observer.fresh(&desired.place, &desired.name, None).await? else { return Ok(None) };
    match aws.observer.tags(&desired.place, &info.arn).await {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::super::plan::Ownership;
    use super::super::testing::desired;
    use super::*;
    use crate::aws::StreamState;
    use crate::aws::fake::FakeCloud;
    use crate::aws::observer::Observer;

    fn aws(cloud: &FakeCloud) -> AwsSide {
        let clouds = Arc::new(cloud.clone());
        AwsSide {
            observer: Arc::new(Observer::new(clouds.clone(), Duration::from_mins(1))),
            clouds,
            checks: Arc::default(),
        }
    }

    fn record(arn: &str) -> Recorded<'_> {
        Recorded { arn: Some(arn), managed_tags: &[] }
    }

    #[tokio::test]
    async fn a_stream_is_made_once_and_then_left_alone() {
        let cloud = FakeCloud::default();
        let desired = desired(json!({}));
        let done = converge(&aws(&cloud), &desired, Recorded::default()).await.unwrap();
        assert!(done.created && done.plan.ownership == Ownership::Ours);
        assert_eq!(cloud.changes(), ["CreateStream p-shop.door"]);
        let arn = done.observed.unwrap().info.arn;
        let done = converge(&aws(&cloud), &desired, record(&arn)).await.unwrap();
        assert_eq!(cloud.changes(), Vec::<String>::new());
        assert!(!done.created && done.notes.is_empty());
    }

    #[tokio::test]
    async fn a_create_whose_answer_was_lost_is_found_by_the_next_pass() {
        let cloud = FakeCloud::default();
        let desired = desired(json!({}));
        cloud.state().fail = Some(("CreateStream", ErrorKind::Unreachable, true));
        assert!(converge(&aws(&cloud), &desired, Recorded::default()).await.is_err());
        let done = converge(&aws(&cloud), &desired, Recorded::default()).await.unwrap();
        assert_eq!(done.plan.ownership, Ownership::Ours);
        assert_eq!(cloud.changes(), ["CreateStream p-shop.door"]);
        assert_eq!(cloud.state().streams.len(), 1);
    }

    #[tokio::test]
    async fn a_raise_whose_answer_was_lost_is_not_sent_again() {
        let cloud = FakeCloud::default();
        let desired = desired(json!({ "retentionHours": 48 }));
        let mut tags = desired.tags.clone();
        tags.extend(desired.owner.tags());
        let arn = cloud.state().put(&desired.name, 24, tags);
        cloud.state().fail = Some(("UpdateDataRetention", ErrorKind::Unreachable, true));
        assert!(converge(&aws(&cloud), &desired, record(&arn)).await.is_err());
        let done = converge(&aws(&cloud), &desired, record(&arn)).await.unwrap();
        assert_eq!(done.observed.unwrap().info.retention_hours, 48);
        assert_eq!(cloud.changes(), ["UpdateDataRetention Increase(24)"]);
    }

    #[tokio::test]
    async fn a_stream_of_others_that_takes_the_name_is_reported_and_left() {
        let cloud = FakeCloud::default();
        let desired = desired(json!({}));
        cloud.state().put(&desired.name, 1, std::collections::BTreeMap::default());
        let done = converge(&aws(&cloud), &desired, Recorded::default()).await.unwrap();
        assert!(matches!(done.plan.ownership, Ownership::Other(_)));
        assert_eq!(cloud.changes(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_stream_that_is_being_made_is_waited_for() {
        let cloud = FakeCloud::default();
        let desired = desired(json!({ "retentionHours": 48 }));
        let mut tags = desired.tags.clone();
        tags.extend(desired.owner.tags());
        let arn = cloud.state().put(&desired.name, 24, tags);
        cloud.state().streams.get_mut(&desired.name).unwrap().0.state = StreamState::Creating;
        let done = converge(&aws(&cloud), &desired, record(&arn)).await.unwrap();
        assert_eq!(cloud.changes(), Vec::<String>::new());
        assert_eq!(done.plan.pending.len(), 1);
    }

    #[tokio::test]
    async fn a_steady_fleet_is_read_by_its_sweep_alone() {
        let cloud = FakeCloud::default();
        for number in 0..50 {
            cloud.state().put(&format!("s{number}"), 24, std::collections::BTreeMap::default());
        }
        let aws = aws(&cloud);
        let place = desired(json!({})).place;
        for number in 0..50 {
            assert!(aws.observer.cached(&place, &format!("s{number}")).await.unwrap().is_some());
        }
        assert_eq!(cloud.state().calls, ["ListStreams"]);
        cloud.state().streams.get_mut("s7").unwrap().0.retention_hours = 1;
        cloud.state().streams.remove("s8");
        let mut changed = aws.observer.sweep(&place).await.unwrap();
        changed.sort();
        assert_eq!(changed, ["s7", "s8"]);
    }
}
