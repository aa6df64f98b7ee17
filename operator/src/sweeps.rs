//! The steady look at what is in AWS: one loop for each account and region that a verified class names, so that one that does not
//! answer holds up no other. Streams that are not as they were are put behind what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use crate::aws::quotas::streams_used;
use crate::aws::{AwsError, Fleet, Lane, Place};
use crate::context::Context;
use crate::stream_class::verified_place;

/// How often it is looked whether there are other accounts and regions than before.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the streams are read whose settings are due.
const SETTINGS_EVERY: Duration = Duration::from_secs(5);

/// Sweeps until it is dropped.
pub async fn run(ctx: Arc<Context>) {
    let mut loops: BTreeMap<Fleet, (Place, AbortOnDropHandle<()>)> = BTreeMap::new();
    loop {
        let places = places(&ctx);
        loops.retain(|fleet, (place, _)| places.get(fleet) == Some(place));
        for (fleet, place) in places {
            loops.entry(fleet).or_insert_with(|| {
                let task = tokio::spawn(Lane::Sweep.run(sweep(ctx.clone(), place.clone())));
                (place, AbortOnDropHandle::new(task))
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The accounts and regions to be looked at, each with a place from which that can be done: the first by the names of the classes.
fn places(ctx: &Context) -> BTreeMap<Fleet, Place> {
    let mut classes = ctx.cluster.caches.classes.state();
    classes.retain(|class| ctx.settings.classes.covers_class(class));
    classes.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    let mut places = BTreeMap::new();
    for place in classes.iter().filter_map(|class| verified_place(class)) {
        places.entry(place.fleet()).or_insert(place);
    }
    places
}

/// Sweeps one account and region: its streams, its alarms, and bit by bit the settings of its streams. The three do not wait for
/// one another.
async fn sweep(ctx: Arc<Context>, place: Place) {
    tokio::join!(streams(&ctx, &place), alarms(&ctx, &place), settings(&ctx, &place));
}

async fn streams(ctx: &Context, place: &Place) {
    let mut ticks = ticks(ctx.aws.observer.sweeps().streams);
    loop {
        ticks.tick().await;
        let answer = ctx.aws.observer.sweep(place).await;
        if answer.is_ok() {
            ctx.metrics.observed(&place.account, &place.region);
            tell_quota(ctx, place);
        }
        tell(ctx, place, "ListStreams", answer);
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

async fn alarms(ctx: &Context, place: &Place) {
    let mut ticks = ticks(ctx.aws.observer.sweeps().alarms);
    loop {
        ticks.tick().await;
        tell(ctx, place, "DescribeAlarms", ctx.aws.observer.sweep_alarms(place).await);
    }
}

async fn settings(ctx: &Context, place: &Place) {
    let mut ticks = ticks(SETTINGS_EVERY);
    loop {
        ticks.tick().await;
        tell(ctx, place, "settings", Ok(ctx.aws.observer.sweep_settings(place).await));
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
