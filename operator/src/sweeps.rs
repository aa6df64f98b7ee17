//! The steady look at what is in AWS: one loop for each account and region that a verified class names, so that one that does not
//! answer holds up no other. Streams that are not as they were are put behind what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use crate::aws::{Fleet, Lane, Place};
use crate::context::Context;
use crate::stream_class::verified_place;

/// How often it is looked whether there are other accounts and regions than before.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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

async fn sweep(ctx: Arc<Context>, place: Place) {
    let every = ctx.settings.sweep;
    // Replicas and accounts that started together need not list together.
    let first = Instant::now() + every.mul_f64(0.5 + fastrand::f64() / 2.0);
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match ctx.aws.observer.sweep(&place).await {
            Ok(changed) => {
                ctx.metrics.observed(&place.account, &place.region);
                tell(&ctx, &place, &changed);
            }
            Err(error) => {
                tracing::warn!(region = place.region, account = place.account, error = %error, "Sweep failed");
            }
        }
    }
}

fn tell(ctx: &Context, place: &Place, changed: &[String]) {
    if changed.is_empty() {
        return;
    }
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
