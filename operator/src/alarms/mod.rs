//! The CloudWatch alarms of streams and classes.
//!
//! What is wanted is a pure function of the spec, what is there comes from the sweep of `DescribeAlarms`, and only a difference is
//! written, after a fresh read of just those alarms: `PutMetricAlarm` overwrites, and may be sent three times a second in an account
//! and region. So writes have turns: a pass whose turn has not come says so and comes back.
//!
//! An alarm is ours by its name and by a mark in its description; others' are neither overwritten nor deleted. The mark has a digest
//! of what was written, so that a change by somebody else is told from one of our own wishes without a record.
//!
//! Observed streams (`managementPolicy: Observe`) have alarms too: they change nothing about the stream. A suspended one has
//! those that it had, with their actions off.
//!
//! Alarms without an object, left by a crash or by credentials that were gone when the object went, are found by the prefix of
//! the installation and removed once fresh reads say that neither the object nor its stream is there: see [`fleet`].

mod cost;
mod desired;
mod desk;
pub mod fleet;
mod kinds;
mod names;
mod orphans;
mod plan;
mod remove;
mod sites;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{
    AlarmStatus, ClassAlarms, ConditionType, DriftPolicy, VideoStreamReason, VideoStreamStatus,
};
use tokio::time::Instant;

use crate::aws::{Alarm, AlarmInfo, AlarmQuery, AwsError, Cloud, ErrorKind, Owner, Place};
use crate::backoff::jittered;
use crate::conditions::Verdict;
use crate::context::AwsSide;
use crate::events::Note;
use crate::video_stream::{AlarmSettings, Desired};

use desired::{desired, is_for_site, object, site};
use desk::lock;
use names::{Object, read_mark};
use plan::{AlarmPlan, Mode, Scope, is_ours, plan};
use status::{Look, is_passing, is_seen, notes, statuses, verdict};

pub use desk::Desk;
pub use names::prefix;
pub use status::unknown;

/// How soon it is tried again where that may help soon.
const SOON: Duration = Duration::from_secs(30);
/// What keeps alarms that go.
pub const NAMED: &str =
    "Another alarm, as that of its site, still names its alarms, and is to be without them first";
/// How soon where somebody has to do something first.
const LATER: Duration = Duration::from_mins(5);
/// The least time after which a stream comes back that was just made: its record is to be there.
const RECORDED: Duration = Duration::from_millis(250);

/// What a pass wants of the alarms of its stream.
pub struct Wish<'a> {
    /// What the object asks for.
    pub desired: &'a Desired,
    /// What its class asks for.
    pub class: &'a ClassAlarms,
    /// The name of the class.
    pub class_name: &'a str,
    /// How long the fragments are of the Camera that writes the stream.
    pub fragment_seconds: Option<i32>,
    /// Whether it is on record that the stream is this object's, or only looked at: before, nothing is written.
    pub is_on_record: bool,
    /// The status of before.
    pub before: &'a VideoStreamStatus,
}

/// What came of it.
pub struct AlarmsDone {
    /// `AlarmsReady` and `status.alarms[]`; `None` where both stay as they were.
    pub standing: Option<(Verdict, Vec<AlarmStatus>)>,
    /// What to tell.
    pub notes: Vec<Note>,
    /// When to come back.
    pub again: Option<Duration>,
    /// A call that failed.
    pub failure: Option<AwsError>,
    /// Whether there are other alarms than before, so that those of the class are to be looked at.
    pub has_others: bool,
}

/// Brings the alarms of a stream in line, as far as it is their turn.
pub async fn converge(aws: &AwsSide, wish: &Wish<'_>) -> AlarmsDone {
    let Wish { desired: asked, class, fragment_seconds, before, .. } = wish;
    let is_site_there = is_site_there(aws, wish).await;
    let wanted = desired(asked, class, *fragment_seconds, is_site_there);
    let object = object(&asked.owner);
    let known: BTreeSet<String> = before.alarms.iter().map(|alarm| alarm.name.clone()).collect();
    let has_none = known.is_empty() && never_had(&before.conditions);
    let scope =
        Scope { installation: &asked.owner.installation, object: &object, mode: mode(asked), known: &known };
    let mut pass = Work { aws, place: &asked.place, wanted: &wanted, scope, told: Vec::new() };
    let (there, failure, wait) = if wanted.is_empty() && has_none {
        // Who wants no alarms need not be let see any.
        (Vec::new(), None, None)
    } else {
        pass.work(asked, wish.is_on_record).await
    };
    let left = plan(&wanted, &there, &pass.scope);
    let look = Look {
        before,
        wanted: &wanted,
        there: &there,
        plan: &left,
        is_suspended: asked.suspend,
        failure: failure.as_ref(),
        wait,
    };
    let mut told = std::mem::take(&mut pass.told);
    let verdict = verdict(&look);
    // What could not be read is not known to have changed.
    let is_seen = failure.is_none() || !there.is_empty();
    let after = if is_seen { statuses(&look) } else { before.alarms.clone() };
    told.extend(notes(&look, &after, verdict.as_ref()));
    let has_others = names_of(&after) != names_of(&before.alarms);
    // No sweep tells a stream of the alarm of its site.
    let awaits_site = !is_site_there && !asked.suspend && is_for_site(asked, class);
    let again = again(failure.as_ref(), wait, &left).or_else(|| awaits_site.then(|| jittered(LATER)));
    AlarmsDone { standing: verdict.map(|verdict| (verdict, after)), notes: told, again, failure, has_others }
}

/// Whether the alarm of the stream's site is there. It stays while one of its streams has an alarm, whoever is told by that, so that
/// this does not turn back and forth. Where nothing can be read, nothing is written either.
async fn is_site_there(aws: &AwsSide, wish: &Wish<'_>) -> bool {
    let asked = wish.desired;
    let site = site(&asked.labels, wish.class).filter(|_| is_for_site(asked, wish.class));
    let Some(site) = site else { return false };
    let installation = &asked.owner.installation;
    let name = sites::alarm_name(installation, &Object::Class(wish.class_name.to_owned()), site);
    let found = aws.alarms.counter(&asked.place).composite_alarm(aws, &asked.place, &name).await;
    found.ok().flatten().is_some_and(|info| read_mark(&info.alarm.description, installation).is_some())
}

/// Whether the object never asked for alarms, or those that it had are known to have gone.
fn never_had(conditions: &[Condition]) -> bool {
    find_condition(conditions, ConditionType::AlarmsReady.as_str())
        .is_none_or(|condition| condition.reason == VideoStreamReason::NoAlarms.as_str())
}

fn names_of(alarms: &[AlarmStatus]) -> BTreeSet<&str> {
    alarms.iter().filter(|alarm| is_seen(alarm)).map(|alarm| alarm.name.as_str()).collect()
}

fn mode(asked: &Desired) -> Mode {
    match (asked.suspend, asked.drift) {
        (true, _) => Mode::Suspended,
        (false, DriftPolicy::Correct) => Mode::Correct,
        (false, DriftPolicy::Report) => Mode::Report,
    }
}

fn again(failure: Option<&AwsError>, wait: Option<Duration>, left: &AlarmPlan) -> Option<Duration> {
    match failure {
        Some(error) if is_passing(error.kind) => Some(jittered(SOON)),
        Some(_) => Some(jittered(LATER)),
        None if wait.is_some() => wait,
        None if !left.is_empty() => Some(jittered(SOON)),
        None if !left.foreign.is_empty() => Some(jittered(LATER)),
        None => None,
    }
}

/// The alarms of one stream in one pass.
struct Work<'a> {
    aws: &'a AwsSide,
    place: &'a Place,
    wanted: &'a [Alarm],
    scope: Scope<'a>,
    told: Vec<Note>,
}

/// The alarms as they are now, a call that failed, and how long it is until the turn comes.
type Progress = (Vec<AlarmInfo>, Option<AwsError>, Option<Duration>);

impl Work<'_> {
    async fn work(&mut self, asked: &Desired, is_on_record: bool) -> Progress {
        let counter = self.aws.alarms.counter(self.place);
        let there = match counter.alarms(self.aws, self.place, &asked.name).await {
            Ok(there) => there,
            Err(error) => return (Vec::new(), Some(error), None),
        };
        let planned = plan(self.wanted, &there, &self.scope);
        if planned.is_empty() {
            return (there, None, None);
        }
        let (key, calls) = (format!("{}/{}", asked.owner.namespace, asked.owner.name), planned.puts.len());
        if !is_on_record {
            return (there, None, Some(counter.queue(&key, calls).after.max(RECORDED)));
        }
        // Deletions have a quota of their own, and are few here.
        let _leave = match (calls > 0).then(|| counter.enter(&key, calls)).transpose() {
            Ok(leave) => leave,
            Err(later) => return (there, None, Some(later.after)),
        };
        match self.read(&planned).await {
            Ok((cloud, fresh)) => self.write(&*cloud, fresh).await,
            Err(error) => (there, Some(error), None),
        }
    }

    /// The alarms that are wanted or to go, as they are now.
    async fn read(
        &self,
        planned: &AlarmPlan,
    ) -> Result<(std::sync::Arc<dyn Cloud>, Vec<AlarmInfo>), AwsError> {
        let names: BTreeSet<String> = self
            .wanted
            .iter()
            .map(|alarm| alarm.name.clone())
            .chain(planned.deletes.iter().cloned())
            .chain(planned.puts.iter().map(|alarm| alarm.name.clone()))
            .collect();
        let cloud = self.aws.clouds.cloud(self.place).await?;
        let fresh = cloud.describe_alarms(&AlarmQuery::Names(names.into_iter().collect())).await?;
        Ok((cloud, fresh))
    }

    async fn write(&mut self, cloud: &dyn Cloud, mut there: Vec<AlarmInfo>) -> Progress {
        let planned = plan(self.wanted, &there, &self.scope);
        for alarm in &planned.puts {
            if let Err(error) = cloud.put_alarm(alarm).await {
                return (there, Some(error), None);
            }
            self.aws.observer.note_alarm(self.place, alarm);
            self.tell(alarm, &planned);
            put(&mut there, alarm);
        }
        match remove::delete(self.aws, self.place, cloud, &planned.deletes).await {
            Ok(()) => there.retain(|info| !planned.deletes.contains(&info.alarm.name)),
            // An alarm of the class names it, and is rewritten first.
            Err(error) if error.kind == ErrorKind::InvalidArgument => {
                return (there, None, Some(jittered(SOON)));
            }
            Err(error) => return (there, Some(error), None),
        }
        (there, None, None)
    }

    fn tell(&mut self, alarm: &Alarm, planned: &AlarmPlan) {
        let Some(drifted) = planned.drifted.iter().find(|drifted| drifted.name == alarm.name) else { return };
        let text = if drifted.is_gone {
            format!("Alarm {} was deleted by somebody else, and is made again", alarm.name)
        } else {
            format!("Alarm {} was changed by somebody else, and is set back", alarm.name)
        };
        self.told.push(Note::warning("AlarmCorrected", "KeepAlarms", text));
    }
}

/// What is there after an alarm was written: its state stays, a new one knows nothing.
fn put(there: &mut Vec<AlarmInfo>, alarm: &Alarm) {
    if let Some(info) = there.iter_mut().find(|info| info.alarm.name == alarm.name) {
        info.alarm = alarm.clone();
        return;
    }
    there.push(AlarmInfo {
        alarm: alarm.clone(),
        arn: String::new(),
        state: streamfleet_crds::AlarmState::InsufficientData,
        reason: "The alarm was just made".to_owned(),
        since: None,
    });
}

/// What an object leaves behind that goes.
pub struct Leaving<'a> {
    /// Where its stream is.
    pub place: &'a Place,
    /// Whose its alarms are.
    pub owner: &'a Owner,
    /// The name of its stream.
    pub stream: &'a str,
    /// The alarms on record.
    pub known: &'a [AlarmStatus],
    /// The alarms that it asks for: one that was made a moment ago may be neither on record nor in a sweep.
    pub asked: &'a AlarmSettings,
}

/// The alarms of an object stay that goes, as it is not known whose they are: the search for orphans finds out. False where that was
/// said before.
pub fn leave(aws: &AwsSide, place: &Place, owner: &Owner) -> bool {
    lock(&aws.alarms.counter(place).orphans).note_left(object(owner), &owner.uid)
}

/// What came of the alarms of an object that goes.
#[derive(Debug, PartialEq)]
pub enum Removed {
    /// They are gone.
    All,
    /// Something keeps them that passes, and the object is to wait for that.
    Later(&'static str),
    /// They stay, which is to be told, and are left to the search for orphans.
    Left(Note),
}

/// Whether the alarm of a site names one of an object's: the service deletes none that another names. As far as is known without
/// asking.
pub async fn are_named(aws: &AwsSide, place: &Place, known: &[AlarmStatus]) -> bool {
    if known.is_empty() {
        return false;
    }
    let Ok((_, composites)) = aws.alarms.counter(place).fleet_alarms(aws, place).await else { return false };
    composites.iter().any(|info| known.iter().any(|alarm| sites::names(&info.alarm.rule, &alarm.name)))
}

/// Whether an object that goes is to wait (longer) for its alarms.
pub fn may_wait(aws: &AwsSide, place: &Place, owner: &Owner) -> bool {
    lock(&aws.alarms.counter(place).orphans).may_wait(&object(owner), Instant::now())
}

/// Takes the alarms of an object away that goes, under whatever policy. What fails is left to the search for orphans.
pub async fn remove(aws: &AwsSide, leaving: &Leaving<'_>) -> Removed {
    let installation = &leaving.owner.installation;
    let object = object(leaving.owner);
    let counter = aws.alarms.counter(leaving.place);
    let mut names: BTreeSet<String> = leaving.known.iter().map(|alarm| alarm.name.clone()).collect();
    let result = match counter.alarms(aws, leaving.place, leaving.stream).await {
        Ok(there) => {
            let ours = there.into_iter().filter(|info| is_ours(&info.alarm, installation, &object));
            names.extend(ours.map(|info| info.alarm.name));
            let asked = leaving.asked.kinds.iter().flat_map(|kind| kinds::rows(*kind));
            let asked: Vec<String> =
                asked.map(|row| object.alarm_name(installation, &kinds::suffix(row))).collect();
            if aws.follows_another() && asked.iter().any(|name| !names.contains(name)) {
                return Removed::Later(
                    "Alarms may just have been made for it by the operator that led before",
                );
            }
            names.extend(asked);
            remove::remove(aws, leaving.place, installation, &object, names.into_iter().collect()).await
        }
        Err(error) if names.is_empty() => {
            tracing::debug!(%error, "Alarms cannot be read of an object that goes");
            lock(&counter.orphans).note_left(object, &leaving.owner.uid);
            return Removed::All;
        }
        Err(error) => Err(error),
    };
    let mut orphans = lock(&counter.orphans);
    match result {
        Ok(()) => {
            orphans.waits_no_more(&object);
            aws.alarms.note_gone(&leaving.owner.uid);
            Removed::All
        }
        Err(error)
            if error.kind == ErrorKind::InvalidArgument && orphans.may_wait(&object, Instant::now()) =>
        {
            Removed::Later(NAMED)
        }
        Err(error) => {
            // Under Retain its stream stays, so that nobody else would know that they are nobody's.
            orphans.note_left(object, &leaving.owner.uid);
            let text = format!(
                "Alarms could not be deleted, and stay until they are found without an object: {error}"
            );
            Removed::Left(Note::warning("AlarmsLeft", "Delete", text))
        }
    }
}
