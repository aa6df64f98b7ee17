//! The `StreamClass` controller: whose are the operator's credentials, and is the class still in use.

mod check;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource, ResourceExt};
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{ConditionType, FINALIZER, StreamClass, StreamClassReason, StreamClassStatus};
use tokio::time::Instant;

use crate::alarms::fleet::{FleetDone, converge_fleet, leave_fleet, may_have_alarms, remove_fleet};
use crate::aws::{AwsError, Caller, Clouds, Place};
use crate::backoff::jittered;
use crate::conditions::{Verdict, merge};
use crate::context::Context;
use crate::events::{Note, turned};
use crate::queue::Action;
use crate::{apply, conditions};

pub use check::{is_checked, verified_place};

/// How often the caller is asked for where it was the right one.
const CHECK_EVERY: Duration = Duration::from_mins(10);
/// How soon it is asked for again where it was not.
const CHECK_AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the account still answers, which costs no call.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How often the number of streams is written at most: it changes with each of thousands that are applied at once.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How soon the alarms of a class that was just confirmed are looked at: when its status has come back to us.
const FLEET_SOON: Duration = Duration::from_secs(1);

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
}

impl crate::run::Classified for Error {
    fn class(&self) -> &'static str {
        "api_server"
    }
}

/// An answer of STS, and when it came.
type Answer = (Instant, Result<Caller, AwsError>);

/// The last answer of STS for each place, so that the many passes of a class make one call.
#[derive(Default)]
pub struct Checks {
    answers: Mutex<HashMap<Place, Answer>>,
    /// When the status of a class was last written, by its name.
    written: Mutex<HashMap<String, Instant>>,
}

impl Checks {
    async fn caller(&self, clouds: &dyn Clouds, place: &Place) -> Result<Caller, AwsError> {
        if let Some(answer) = self.recent(place) {
            return answer;
        }
        let answer = ask(clouds, place).await;
        if !is_right(place, &answer) {
            // The credentials may be in a file that changes: the next client reads it anew.
            clouds.forget(place);
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (at, _)| at.elapsed() < CHECK_EVERY);
        answers.insert(place.clone(), (Instant::now(), answer.clone()));
        answer
    }

    /// Has STS asked again soon: a call to this place was refused, so that what it said last may no longer hold.
    pub fn doubt(&self, place: &Place) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|known, (at, _)| known != place || at.elapsed() < CHECK_AGAIN);
    }

    /// Whether a status was written so lately that a mere change of the count can wait.
    fn was_written_lately(&self, class: &str) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(class).is_some_and(|at| at.elapsed() < COUNT_EVERY)
    }

    fn note_written(&self, class: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|_, at| at.elapsed() < COUNT_EVERY);
        written.insert(class.to_owned(), Instant::now());
    }

    fn recent(&self, place: &Place) -> Option<Result<Caller, AwsError>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = answers.get(place)?;
        // A little less than the time between passes, so that the pass that comes for it asks.
        let valid = if is_right(place, answer) { CHECK_EVERY } else { CHECK_AGAIN }.mul_f64(0.8);
        (at.elapsed() < valid).then(|| answer.clone())
    }
}

fn is_right(place: &Place, answer: &Result<Caller, AwsError>) -> bool {
    answer.as_ref().is_ok_and(|caller| caller.account == place.account)
}

async fn ask(clouds: &dyn Clouds, place: &Place) -> Result<Caller, AwsError> {
    clouds.cloud(place).await?.caller().await
}

/// One pass.
pub async fn reconcile(class: Arc<StreamClass>, ctx: Arc<Context>) -> Result<Action, Error> {
    let api: Api<StreamClass> = Api::all(ctx.cluster.client.clone());
    let name = class.name_any();
    let in_use =
        ctx.cluster.caches.streams.state_filter(|stream| stream.spec.stream_class_name == name).len();
    // What cannot be read may refer to any class.
    let unreadable = ctx.cluster.caches.left_streams.unreadable();
    let has_finalizer = class.finalizers().iter().any(|finalizer| finalizer == FINALIZER);

    if class.metadata.deletion_timestamp.is_some() {
        if !has_finalizer {
            return Ok(Action::await_change());
        }
        if in_use == 0 && unreadable == 0 {
            return let_go(&ctx, &api, &class).await;
        }
    } else if !has_finalizer {
        apply::add_finalizer(&api, &*class, FINALIZER).await.map_err(Error::AddFinalizer)?;
    }

    let place = Place::from(&class.spec.aws);
    let answer = match check::mistake(&class.spec.aws) {
        Some(mistake) => Err(mistake),
        None => ctx.aws.checks.caller(&*ctx.aws.clouds, &place).await,
    };
    if check::is_no_news(&class, &answer) {
        // An account that was confirmed does not become another because nobody answers for a while.
        return Ok(Action::requeue(jittered(CHECK_AGAIN)));
    }
    let is_deleting = class.metadata.deletion_timestamp.is_some();
    let trouble = ctx.aws.clouds.trouble(&place);
    let seen = check::Seen { answer: &answer, trouble: trouble.as_ref(), is_deleting, in_use, unreadable };
    let verdicts = check::verdicts(&class.spec.aws, &seen);
    // Its streams and alarms are looked after also while it waits for them to go.
    let is_right = trouble.is_none() && is_verified(&verdicts);

    let before = class.status.clone().unwrap_or_default();
    let fleet = if is_right { fleet(&ctx, &class, &place).await } else { FleetDone::default() };
    let mut conditions = merge(&before.conditions, &verdicts, class.metadata.generation, Timestamp::now());
    match &fleet.verdict {
        Some(verdict) => {
            let alarms = std::slice::from_ref(verdict);
            conditions.extend(merge(&before.conditions, alarms, class.metadata.generation, Timestamp::now()));
        }
        None => conditions.extend(alarms_ready(&before).cloned()),
    }
    let after = StreamClassStatus {
        observed_generation: class.metadata.generation,
        conditions,
        caller_arn: answer.ok().map(|caller| caller.arn),
        streams: i64::try_from(in_use).ok(),
    };
    if after != before {
        let is_count = StreamClassStatus { streams: before.streams, ..after.clone() } == before;
        if is_count && ctx.aws.checks.was_written_lately(&name) {
            return Ok(Action::requeue(COUNT_EVERY));
        }
        apply::status(&api, &name, &after).await.map_err(Error::WriteStatus)?;
        ctx.aws.checks.note_written(&name);
        tell(&ctx, &class, &before, &after).await;
    }
    ctx.cluster.events.publish(&class.object_ref(&()), &fleet.notes).await;
    let look = jittered(if is_right && !is_deleting { LOOK_EVERY } else { CHECK_AGAIN });
    Ok(Action::requeue(fleet.again.map_or(look, |again| look.min(again))))
}

/// The alarms of a class. Its streams wait for it to be confirmed, and are not to wait for a list of all alarms besides, which
/// takes 11 s for 10,000.
async fn fleet(ctx: &Context, class: &StreamClass, place: &Place) -> FleetDone {
    if verified_place(class).is_some() {
        converge_fleet(ctx, class, place).await
    } else {
        FleetDone { again: Some(FLEET_SOON), ..FleetDone::default() }
    }
}

fn is_verified(verdicts: &[Verdict]) -> bool {
    let is_true = |verdict: &Verdict| verdict.status == conditions::Truth::True;
    verdicts.iter().any(|verdict| verdict.type_ == ConditionType::CallerVerified && is_true(verdict))
}

/// Takes the alarms of a class away that nobody uses, and lets it go.
async fn let_go(ctx: &Context, api: &Api<StreamClass>, class: &StreamClass) -> Result<Action, Error> {
    if may_have_alarms(ctx, class) && check::mistake(&class.spec.aws).is_none() {
        let place = Place::from(&class.spec.aws);
        // That it is to be deleted is another generation, which its status knows nothing of yet.
        let answer = ctx.aws.checks.caller(&*ctx.aws.clouds, &place).await;
        let is_done = match &answer {
            answer if is_right(&place, answer) => remove_fleet(ctx, class, &place).await,
            Err(error) => leave_fleet(ctx, class, &place, error),
            Ok(_) => true,
        };
        if !is_done {
            return Ok(Action::requeue(jittered(CHECK_AGAIN)));
        }
    }
    apply::remove_finalizer(api, class, FINALIZER).await.map_err(Error::RemoveFinalizer)?;
    Ok(Action::await_change())
}

fn alarms_ready(status: &StreamClassStatus) -> Option<&Condition> {
    find_condition(&status.conditions, ConditionType::AlarmsReady.as_str())
}

async fn tell(ctx: &Context, class: &StreamClass, before: &StreamClassStatus, after: &StreamClassStatus) {
    let Some(condition) = turned(&before.conditions, &after.conditions, ConditionType::Ready.as_str()) else {
        return;
    };
    let reason = StreamClassReason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
    let Some(reason) = reason else { return };
    let note = Note {
        warning: condition.status != conditions::Truth::True.as_str(),
        reason: reason.as_str(),
        action: "VerifyCaller",
        text: condition.message.clone(),
    };
    ctx.cluster.events.publish(&class.object_ref(&()), &[note]).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::FakeCloud;

    fn place() -> Place {
        Place::new("eu-west-1", "123456789012")
    }

    async fn asked(checks: &Checks, cloud: &FakeCloud, place: &Place) -> (bool, usize) {
        let answer = checks.caller(cloud, place).await;
        (is_right(place, &answer), std::mem::take(&mut cloud.state().calls).len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_passes_of_a_class_share_one_question_and_a_role_has_its_own() {
        let (checks, cloud) = (Checks::default(), FakeCloud::default());
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 1));
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 0));
        let role = Place { role_arn: Some("arn:aws:iam::123456789012:role/x".to_owned()), ..place() };
        assert_eq!(asked(&checks, &cloud, &role).await, (true, 1));
        tokio::time::advance(CHECK_EVERY.mul_f64(0.9)).await;
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_account_and_a_doubted_one_are_asked_again_soon_and_not_at_once() {
        let (checks, cloud) = (Checks::default(), FakeCloud::default());
        let wrong = Place { account: "210987654321".to_owned(), ..place() };
        assert_eq!(asked(&checks, &cloud, &wrong).await, (false, 1));
        assert_eq!(asked(&checks, &cloud, &wrong).await, (false, 0));
        asked(&checks, &cloud, &place()).await;
        checks.doubt(&place());
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 0), "it was asked a moment ago");
        tokio::time::advance(CHECK_AGAIN).await;
        assert_eq!(asked(&checks, &cloud, &wrong).await, (false, 1));
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 0));
        checks.doubt(&place());
        assert_eq!(asked(&checks, &cloud, &place()).await, (true, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_count_of_streams_waits_a_moment_after_a_write_and_no_longer() {
        let checks = Checks::default();
        assert!(!checks.was_written_lately("a"));
        checks.note_written("a");
        assert!(checks.was_written_lately("a") && !checks.was_written_lately("b"));
        tokio::time::advance(COUNT_EVERY).await;
        assert!(!checks.was_written_lately("a"));
    }
}
