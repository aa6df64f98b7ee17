//! The alarms of a class: one for each site, which names those of its streams, and one for each kind over all streams of the account and
//! region; and the search for alarms whose object is gone.
//!
//! An alarm that a composite names cannot be deleted ("Cannot delete … as there are composite alarm(s) depending on it"). So a stream
//! that goes waits for the class's next look, which takes its alarms out of the rule.

mod say;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{ClassAlarms, ConditionType, StreamClass, VideoStream};
use tokio::time::Instant;

use super::desired::{of_row, sign, site};
use super::desk::lock;
use super::kinds::{FRAGMENT_SECONDS_MAX, Row, rows, suffix};
use super::names::{Object, object_of, read_mark};
use super::sites::{self, site_alarms};
use super::status::{is_passing, is_seen};
use super::{SOON, never_had};
use crate::aws::{
    Alarm, AlarmInfo, AlarmMetric, AlarmQuery, AwsError, Cloud, Comparison, CompositeAlarm, CompositeInfo,
    ErrorKind, Place, Statistic,
};
use crate::backoff::jittered;
use crate::conditions::{Truth, Verdict};
use crate::context::{AwsSide, Context};
use crate::events::Note;

use say::{count, fleet_notes, fleet_verdict};
use search::{search, search_now};

/// So many changes are made in one pass of a class: it has other things to do.
const CHANGES_AT_ONCE: usize = 12;
/// So many of somebody else's alarms are named in a message.
const NAMED_AT_ONCE: usize = 3;
/// How soon the next of them follow.
const NEXT: Duration = Duration::from_secs(5);
/// How long the alarms of a class that goes may take to go.
const PATIENCE: Duration = Duration::from_secs(20);
/// The series that a query answers with: the worst. As many may be told to have gone off ("Limits that apply to alarms based on Metrics
/// Insights queries").
const SERIES_MAX: usize = 100;

/// The alarms of a class.
#[derive(Debug, Default, PartialEq)]
pub struct FleetAlarms {
    /// On queries.
    pub queries: Vec<Alarm>,
    /// One for each site, those in between before.
    pub sites: Vec<CompositeAlarm>,
}

/// A stream of a class, as far as its alarms go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its site.
    pub site: Option<String>,
    /// Its alarms that are there.
    pub alarms: Vec<String>,
}

/// The alarms that a class is to have.
pub fn fleet_desired(
    installation: &str,
    class: &str,
    alarms: &ClassAlarms,
    members: &[Member],
) -> FleetAlarms {
    let object = Object::Class(class.to_owned());
    let actions = alarms.action_arns.clone().unwrap_or_default();
    let mut kinds = alarms.fleet.clone();
    kinds.sort();
    let rows = kinds.iter().flat_map(|kind| rows(*kind));
    let queries = rows.map(|row| {
        let mut alarm = Alarm {
            name: object.alarm_name(installation, &format!("fleet/{}", suffix(row))),
            actions: actions.clone(),
            ..of_row(row, AlarmMetric::Insights(query(row)), FRAGMENT_SECONDS_MAX)
        };
        let statement =
            format!("At least one KVS stream of the account and region: {}. {}.", row.what, row.advice);
        sign(&mut alarm, &statement, installation, &object);
        alarm
    });
    let queries = queries.collect();
    let mut by_site: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for member in members {
        if let Some(site) = &member.site {
            by_site.entry(site).or_default().extend(member.alarms.iter().cloned());
        }
    }
    let owner = sites::Class { installation, object: &object, actions: &actions };
    let sites = by_site.into_iter().flat_map(|(site, names)| site_alarms(owner, site, names)).collect();
    FleetAlarms { queries, sites }
}

/// Each stream is a series of its own, so that the threshold is that of one stream; the worst come first.
fn query(row: &Row) -> String {
    let function = match row.statistic {
        Statistic::Sum => "SUM",
        Statistic::Average => "AVG",
        Statistic::Maximum => "MAX",
        Statistic::Minimum => "MIN",
        Statistic::SampleCount => "COUNT",
    };
    let order = match row.comparison {
        Comparison::LessThan | Comparison::LessThanOrEqual => "ASC",
        Comparison::GreaterThan | Comparison::GreaterThanOrEqual => "DESC",
    };
    format!(
        "SELECT {function}(\"{}\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName) GROUP BY StreamName ORDER BY {function}() \
         {order} LIMIT {SERIES_MAX}",
        row.metric
    )
}

/// What came of the alarms of a class.
#[derive(Default)]
pub struct FleetDone {
    /// `AlarmsReady`; `None` where it stays as it was.
    pub verdict: Option<Verdict>,
    /// What to tell.
    pub notes: Vec<Note>,
    /// When to come back.
    pub again: Option<Duration>,
}

/// Brings the alarms of a class in line, as far as one pass may, and searches for alarms without an object where it is time.
pub async fn converge_fleet(ctx: &Context, class: &StreamClass, place: &Place) -> FleetDone {
    if let Err(after) = ctx.aws.alarms.look_at_class(class) {
        return FleetDone { again: Some(after), ..FleetDone::default() };
    }
    let streams =
        ctx.cluster.caches.streams.state_filter(|stream| stream.spec.stream_class_name == class.name_any());
    let alarms = &class.spec.alarms;
    let members: Vec<Member> = streams.iter().filter_map(|stream| member(stream, alarms)).collect();
    let wanted = fleet_desired(ctx.installation(), &class.name_any(), alarms, &members);
    let object = Object::Class(class.name_any());
    let count = count(class, streams.iter().map(AsRef::as_ref), &wanted);
    let conditions = class.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let result = if count.alarms() == 0 && never_had(conditions) {
        // Who wants no alarms need not be let see any. A class by whose default streams have some may just have lost its last.
        let wants_none = alarms.per_stream.as_ref().is_some_and(Vec::is_empty);
        if !wants_none || lock(&ctx.aws.alarms.counter(place).orphans).has_left() {
            search(ctx, place).await;
        }
        Ok(0)
    } else {
        let work = Work { aws: &ctx.aws, installation: ctx.installation(), place, object: &object };
        let result = work.bring_in_line(&wanted).await;
        if result.as_ref().err().is_none_or(|error| error.kind == ErrorKind::InUse) {
            search(ctx, place).await;
        }
        result
    };
    let verdict = fleet_verdict(class, &wanted, &count, &result);
    let notes = fleet_notes(class, &count, verdict.as_ref());
    let again = match &result {
        Ok(left) if *left > 0 => Some(NEXT),
        Ok(_) => None,
        Err(_) => Some(jittered(SOON)),
    };
    FleetDone { verdict, notes, again }
}

/// Whether there may be alarms of a class that goes, or of its streams: who never had any need not let us see some to go.
pub fn may_have_alarms(ctx: &Context, class: &StreamClass) -> bool {
    let conditions = class.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let was_confirmed = find_condition(conditions, ConditionType::CallerVerified.as_str())
        .is_some_and(|condition| condition.status == Truth::True.as_str());
    let alarms = &class.spec.alarms;
    let asks = !alarms.fleet.is_empty() || alarms.site_label.is_some();
    let place = Place::from(&class.spec.aws);
    was_confirmed && (asks || !never_had(conditions))
        || lock(&ctx.aws.alarms.counter(&place).orphans).has_left()
}

/// Takes the alarms of a class away that goes, and those that its streams could not take along: nobody may look for them later.
/// False where the class is to wait for them, since what keeps them passes; what stays for longer is remembered, for the search for
/// orphans of another class.
pub async fn remove_fleet(ctx: &Context, class: &StreamClass, place: &Place) -> bool {
    let object = Object::Class(class.name_any());
    let work = Work { aws: &ctx.aws, installation: ctx.installation(), place, object: &object };
    let all = async {
        // Each round takes away what no other alarm names any more.
        loop {
            match work.bring_in_line(&FleetAlarms::default()).await {
                Ok(0) => return Ok(()),
                // Somebody else's alarm is no business of ours.
                Err(error) if error.kind == ErrorKind::InUse => return Ok(()),
                Ok(left) => tracing::debug!(left, "Alarms of a class go"),
                Err(error) => return Err(error),
            }
        }
    };
    let slow = AwsError {
        operation: "DeleteAlarms",
        kind: ErrorKind::Unreachable,
        message: "it takes too long".to_owned(),
    };
    if let Err(error) = tokio::time::timeout(PATIENCE, all).await.unwrap_or(Err(slow)) {
        return leave_fleet(ctx, class, place, &error);
    }
    let counter = ctx.aws.alarms.counter(place);
    if lock(&counter.orphans).has_left() {
        search_now(ctx, place).await;
    }
    let mut orphans = lock(&counter.orphans);
    if orphans.has_left() && orphans.may_wait(&object, Instant::now()) {
        return false;
    }
    orphans.waits_no_more(&object);
    true
}

/// What becomes of a class that goes and whose alarms cannot be taken away: false where it waits, since what keeps them passes.
pub fn leave_fleet(ctx: &Context, class: &StreamClass, place: &Place, error: &AwsError) -> bool {
    let object = Object::Class(class.name_any());
    let counter = ctx.aws.alarms.counter(place);
    let mut orphans = lock(&counter.orphans);
    if is_passing(error.kind) && orphans.may_wait(&object, Instant::now()) {
        return false;
    }
    tracing::warn!(%error, "Alarms of a class stay that goes");
    orphans.note_left(object, &class.uid().unwrap_or_default());
    true
}

/// A stream that is there to stay, with those of its alarms that are. What is suspended tells nobody, its site neither.
fn member(stream: &VideoStream, class: &ClassAlarms) -> Option<Member> {
    if stream.metadata.deletion_timestamp.is_some() || stream.spec.suspend {
        return None;
    }
    let alarms = stream.status.as_ref().map(|status| status.alarms.as_slice()).unwrap_or_default();
    let alarms = alarms.iter().filter(|alarm| is_seen(alarm)).map(|alarm| alarm.name.clone()).collect();
    Some(Member { site: site(stream.labels(), class).map(ToOwned::to_owned), alarms })
}

/// The alarms of one class.
struct Work<'a> {
    aws: &'a AwsSide,
    installation: &'a str,
    place: &'a Place,
    object: &'a Object,
}

/// A change that is to be made.
enum Change<'a> {
    Query(&'a Alarm),
    Site(&'a CompositeAlarm),
    Delete(String),
}

/// The changes that are to be made, and what keeps others from it.
struct Changes<'a> {
    changes: Vec<Change<'a>>,
    /// Names that are to be ours, and are somebody else's.
    foreign: BTreeSet<String>,
}

impl Change<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Query(alarm) => &alarm.name,
            Self::Site(alarm) => &alarm.name,
            Self::Delete(name) => name,
        }
    }
}

impl Work<'_> {
    /// Makes some of the changes that are needed; the answer is how many are left. What somebody else's alarm keeps from being made
    /// keeps nothing else from it, and is told once the rest is done.
    async fn bring_in_line(&self, wanted: &FleetAlarms) -> Result<usize, AwsError> {
        let counter = self.aws.alarms.counter(self.place);
        let (alarms, composites) = counter.fleet_alarms(self.aws, self.place).await?;
        let Changes { changes, mut foreign } = self.changes(wanted, &alarms, &composites);
        let left = changes.len().saturating_sub(CHANGES_AT_ONCE);
        if !changes.is_empty() {
            let cloud = self.aws.clouds.cloud(self.place).await?;
            let now: Vec<&Change<'_>> = changes.iter().take(CHANGES_AT_ONCE).collect();
            let others = self.others(&*cloud, &now).await?;
            for change in now {
                if others.contains(change.name()) {
                    foreign.insert(change.name().to_owned());
                } else {
                    self.send(&*cloud, change).await?;
                }
            }
        }
        if left == 0 && !foreign.is_empty() {
            return Err(taken(&foreign));
        }
        Ok(left)
    }

    /// Queries first, then composites, children before parents; then what is no longer wanted, parents before children.
    fn changes<'b>(
        &self,
        wanted: &'b FleetAlarms,
        alarms: &[AlarmInfo],
        composites: &[CompositeInfo],
    ) -> Changes<'b> {
        let (mut changes, mut foreign) = (Vec::new(), BTreeSet::new());
        for alarm in &wanted.queries {
            match alarms.iter().find(|info| info.alarm.name == alarm.name) {
                Some(info) if !self.is_ours(&info.alarm.name, &info.alarm.description) => {
                    foreign.insert(alarm.name.clone());
                }
                Some(info)
                    if same_topics(&info.alarm.actions, &alarm.actions)
                        && Alarm { actions: alarm.actions.clone(), ..info.alarm.clone() } == *alarm => {}
                _ => changes.push(Change::Query(alarm)),
            }
        }
        for alarm in &wanted.sites {
            match composites.iter().find(|info| info.alarm.name == alarm.name) {
                Some(info) if !self.is_ours(&info.alarm.name, &info.alarm.description) => {
                    foreign.insert(alarm.name.clone());
                }
                Some(info)
                    if same_topics(&info.alarm.actions, &alarm.actions)
                        && CompositeAlarm { actions: alarm.actions.clone(), ..info.alarm.clone() }
                            == *alarm => {}
                _ => changes.push(Change::Site(alarm)),
            }
        }
        let is_wanted = |name: &str| {
            wanted.queries.iter().any(|alarm| alarm.name == name)
                || wanted.sites.iter().any(|alarm| alarm.name == name)
        };
        let of_no_use = |name: &str, description: &str| self.is_ours(name, description) && !is_wanted(name);
        let queries = alarms.iter().filter(|info| of_no_use(&info.alarm.name, &info.alarm.description));
        changes.extend(queries.map(|info| Change::Delete(info.alarm.name.clone())));
        let old =
            composites.iter().filter(|info| of_no_use(&info.alarm.name, &info.alarm.description)).collect();
        changes.extend(parents_first(old).into_iter().map(Change::Delete));
        Changes { changes, foreign }
    }

    fn is_ours(&self, name: &str, description: &str) -> bool {
        let installation = self.installation;
        read_mark(description, installation).and_then(|mark| object_of(name, &mark, installation)).as_ref()
            == Some(self.object)
    }

    /// The names of those that are somebody else's, as they are now.
    async fn others(&self, cloud: &dyn Cloud, changes: &[&Change<'_>]) -> Result<BTreeSet<String>, AwsError> {
        let names: Vec<String> = changes.iter().map(|change| change.name().to_owned()).collect();
        let query = AlarmQuery::Names(names);
        let alarms = cloud.describe_alarms(&query).await?;
        let composites = cloud.describe_composite_alarms(&query).await?;
        let alarms = alarms.into_iter().map(|info| (info.alarm.name, info.alarm.description));
        let composites = composites.into_iter().map(|info| (info.alarm.name, info.alarm.description));
        let others = alarms.chain(composites).filter(|(name, text)| !self.is_ours(name, text));
        Ok(others.map(|(name, _)| name).collect())
    }

    async fn send(&self, cloud: &dyn Cloud, change: &Change<'_>) -> Result<(), AwsError> {
        let observer = &self.aws.observer;
        match change {
            Change::Query(alarm) => {
                cloud.put_alarm(alarm).await?;
                observer.note_alarm(self.place, alarm);
            }
            Change::Site(alarm) => {
                cloud.put_composite_alarm(alarm).await?;
                observer.note_composite_alarm(self.place, alarm);
            }
            // The service takes one composite alarm a call.
            Change::Delete(name) => {
                let name = std::slice::from_ref(name);
                cloud.delete_alarms(name).await?;
                observer.forget_alarms(self.place, name);
            }
        }
        Ok(())
    }
}

fn taken(names: &BTreeSet<String>) -> AwsError {
    let list = names.iter().take(NAMED_AT_ONCE).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMED_AT_ONCE) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    AwsError {
        operation: "DescribeAlarms",
        kind: ErrorKind::InUse,
        message: format!(
            "not ours, for their descriptions lack our mark, are the alarms {list}{more}: delete or rename them"
        ),
    }
}

fn same_topics(one: &[String], other: &[String]) -> bool {
    one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
}

/// The names of these, those before that name others.
fn parents_first(mut open: Vec<&CompositeInfo>) -> Vec<String> {
    let mut order = Vec::new();
    while !open.is_empty() {
        let is_named =
            |info: &CompositeInfo| open.iter().any(|other| sites::names(&other.alarm.rule, &info.alarm.name));
        let (named, free): (Vec<&CompositeInfo>, Vec<&CompositeInfo>) =
            open.iter().copied().partition(|info| is_named(info));
        // In a circle nothing can be deleted before somebody breaks it.
        if free.is_empty() {
            break;
        }
        order.extend(free.iter().map(|info| info.alarm.name.clone()));
        open = named;
    }
    order
}

#[cfg(test)]
mod tests;
