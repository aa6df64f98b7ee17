//! The steady look at what is in AWS: one loop for each account and region that a verified class names, so that one that does not
//! answer holds up no other. Streams that are not as they were are put behind what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use crate::aws::observer::Places;
use crate::aws::quotas::streams_used;
use crate::aws::{AwsError, Fleet, Lane, Place};
use crate::context::Context;
use crate::stream_class::verified_place;

/// How often it is looked whether there are other accounts, regions and roles than before.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the streams are read whose settings are due.
const SETTINGS_EVERY: Duration = Duration::from_secs(5);

/// Sweeps until it is dropped.
pub async fn run(ctx: Arc<Context>) {
    let mut loops: BTreeMap<Fleet, (watch::Sender<Places>, AbortOnDropHandle<()>)> = BTreeMap::new();
    loop {
        let fleets = fleets(&ctx);
        loops.retain(|fleet, _| fleets.contains_key(fleet));
        for (fleet, places) in fleets {
            if let Some((present, _)) = loops.get(&fleet) {
                // It goes on where it is: a class that comes or goes does not put the next look off.
                present.send_replace(places);
                continue;
            }
            let (present, seen) = watch::channel(places);
            let task = tokio::spawn(Lane::Sweep.run(sweep(ctx.clone(), seen)));
            loops.insert(fleet, (present, AbortOnDropHandle::new(task)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The accounts and regions to be looked at, each with the places from which that can be done, by the names of the classes.
fn fleets(ctx: &Context) -> BTreeMap<Fleet, Places> {
    let mut classes = ctx.cluster.caches.classes.state();
    classes.retain(|class| ctx.settings.classes.covers_class(class));
    classes.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    by_fleet(classes.iter().filter_map(|class| verified_place(class)))
}

fn by_fleet(places: impl Iterator<Item = Place>) -> BTreeMap<Fleet, Places> {
    let mut fleets: BTreeMap<Fleet, Places> = BTreeMap::new();
    for place in places {
        let known = fleets.entry(place.fleet()).or_insert_with(|| Places::new(place.clone()));
        known.add(place);
    }
    fleets
}

/// Sweeps one account and region: its streams, its alarms, and bit by bit the settings of its streams. The three do not wait for
/// one another, and what the role of one class may not ask is asked by that of another.
async fn sweep(ctx: Arc<Context>, places: watch::Receiver<Places>) {
    tokio::join!(streams(&ctx, &places), alarms(&ctx, &places), settings(&ctx, &places));
}

async fn streams(ctx: &Context, places: &watch::Receiver<Places>) {
    let observer = &ctx.aws.observer;
    let mut ticks = ticks(observer.sweeps().streams);
    loop {
        ticks.tick().await;
        let places = places.borrow().clone();
        let list = async |place| {
            let answer = observer.sweep(place).await;
            if answer.as_ref().is_err_and(|error| error.kind.is_refusal()) {
                doubt(ctx, place);
            }
            answer
        };
        let (_, answer) = places.ask_from(0, |place| list(place).boxed()).await;
        let place = places.first();
        if answer.is_ok() {
            ctx.metrics.observed(&place.account, &place.region);
            tell_quota(ctx, place);
        }
        tell(ctx, place, "ListStreams", answer);
    }
}

/// Who may not list may have lost every right, or the account: STS is asked now, and not only when the class is due. Otherwise
/// its streams would be said to be in order for minutes, and each that is looked at meanwhile would be told twice.
fn doubt(ctx: &Context, place: &Place) {
    ctx.aws.checks.doubt(place);
    for class in ctx.cluster.caches.classes.state() {
        if ctx.settings.classes.covers_class(&class) && verified_place(&class).as_ref() == Some(place) {
            ctx.cluster.triggers.classes.send(ObjectRef::from_obj(&*class));
        }
    }
}

/// Tells how much of the quota of streams is used: those of others count as well.
fn tell_quota(ctx: &Context, place: &Place) {
    let (account, region) = (&place.account, &place.region);
    match streams_used(ctx.aws.observer.stream_count(place)) {
        Some(used) => ctx.metrics.quota_used("streams", account, region, used),
        None => ctx.metrics.quota_unknown("streams", account, region),
    }
}

async fn alarms(ctx: &Context, places: &watch::Receiver<Places>) {
    let observer = &ctx.aws.observer;
    let mut ticks = ticks(observer.sweeps().alarms);
    loop {
        let fleet = places.borrow().first().clone();
        tokio::select! {
            _ = ticks.tick() => {}
            // Before that nobody knows of any alarm.
            () = observer.list_is_given_up(&fleet) => {}
        }
        let places = places.borrow().clone();
        let (_, answer) = places.ask_from(0, |place| observer.sweep_alarms(place).boxed()).await;
        tell(ctx, places.first(), "DescribeAlarms", answer);
    }
}

async fn settings(ctx: &Context, places: &watch::Receiver<Places>) {
    let mut ticks = ticks(SETTINGS_EVERY);
    loop {
        ticks.tick().await;
        let places = places.borrow().clone();
        let changed = ctx.aws.observer.sweep_settings(&places).await;
        tell(ctx, places.first(), "settings", Ok(changed));
    }
}

/// A tick each time that this has passed. Replicas and accounts that start together need not ask together.
fn ticks(every: Duration) -> Interval {
    let first = Instant::now() + every.mul_f64(0.5 + fastrand::f64() / 2.0);
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Has the streams looked at that are not as they were.
fn tell(ctx: &Context, place: &Place, what: &'static str, answer: Result<Vec<String>, AwsError>) {
    let changed = match answer {
        Ok(changed) if changed.is_empty() => return,
        Ok(changed) => changed,
        Err(error) => {
            let (region, account) = (&place.region, &place.account);
            tracing::warn!(region, account, what, error = %error, "Sweep failed");
            return;
        }
    };
    let changed: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
    let streams = ctx.cluster.caches.streams.state_filter(|stream| {
        stream.status.as_ref().is_some_and(|status| {
            status.region.as_ref() == Some(&place.region)
                && status.account.as_ref() == Some(&place.account)
                && status.stream_name.as_deref().is_some_and(|name| changed.contains(name))
        })
    });
    for stream in streams {
        ctx.cluster.triggers.streams.sweep(ObjectRef::from_obj(&*stream));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_region_is_looked_at_from_the_place_of_each_class_that_names_it() {
        let place = |region: &str, role: Option<&str>| Place {
            role_arn: role.map(ToOwned::to_owned),
            ..Place::new(region, "123456789012")
        };
        let (trial, main) = (place("eu-west-1", Some("trial")), place("eu-west-1", Some("main")));
        let elsewhere = place("us-east-1", None);
        let all = [trial.clone(), main.clone(), elsewhere.clone(), trial.clone()];
        let mut both = Places::new(trial.clone());
        both.add(main);
        let expected = [(trial.fleet(), both), (elsewhere.fleet(), Places::new(elsewhere))];
        assert_eq!(by_fleet(all.into_iter()), BTreeMap::from(expected));
    }
}
