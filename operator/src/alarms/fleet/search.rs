//! The search for alarms whose object is gone.

use kube::Api;
use kube::runtime::reflector::ObjectRef;
use streamfleet_crds::{StreamClass, VideoStream};
use tokio::time::Instant;

use super::super::desk::lock;
use super::super::names::Object;
use super::super::remove;
use super::{FleetAlarms, Work};
use crate::aws::{ErrorKind, Place};
use crate::context::Context;

/// Removes alarms whose object is gone, by a fresh read of the API server. What fails is tried again in the next search.
pub async fn search(ctx: &Context, place: &Place) {
    let counter = ctx.aws.alarms.counter(place);
    if !lock(&counter.orphans).is_due(Instant::now()) {
        return;
    }
    let Ok(alarms) = ctx.aws.observer.every_alarm(place).await else { return };
    let Ok((_, composites)) = counter.fleet_alarms(&ctx.aws, place).await else { return };
    let composites = composites.into_iter().map(|info| (info.alarm.name, info.alarm.description));
    let alarms: Vec<(String, String)> =
        alarms.into_iter().map(|info| (info.alarm.name, info.alarm.description)).chain(composites).collect();
    let caches = &ctx.cluster.caches;
    let is_cached = |object: &Object| match object {
        Object::Stream { namespace, name } => {
            caches.streams.get(&ObjectRef::new(name).within(namespace)).is_some()
        }
        Object::Class(name) => caches.classes.get(&ObjectRef::new(name)).is_some(),
    };
    let suspects = lock(&counter.orphans).suspects(&alarms, ctx.installation(), is_cached);
    for (object, names) in suspects {
        match is_gone(ctx, &object).await {
            Ok(true) => {
                tracing::info!(object = ?object, alarms = names.len(), "Alarms without an object are removed");
                let result = match &object {
                    Object::Stream { .. } => {
                        remove::remove(&ctx.aws, place, ctx.installation(), &object, names).await
                    }
                    Object::Class(_) => {
                        Work { aws: &ctx.aws, installation: ctx.installation(), place, object: &object }
                            .bring_in_line(&FleetAlarms::default())
                            .await
                            .map(drop)
                    }
                };
                match result {
                    Ok(()) => {}
                    // A composite alarm still names one of them.
                    Err(error) if error.kind == ErrorKind::InvalidArgument => {
                        tracing::debug!(%error, "Alarms without an object cannot go yet");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "Alarms without an object stay, it is tried again later");
                        return;
                    }
                }
            }
            Ok(false) => lock(&counter.orphans).note(object, Instant::now()),
            Err(error) => tracing::debug!(%error, "It is not known whether an object is there"),
        }
    }
}

/// Whether the API server has no such object.
async fn is_gone(ctx: &Context, object: &Object) -> Result<bool, kube::Error> {
    let client = ctx.cluster.client.clone();
    match object {
        Object::Stream { namespace, name } => {
            let streams: Api<VideoStream> = Api::namespaced(client, namespace);
            Ok(streams.get_metadata_opt(name).await?.is_none())
        }
        Object::Class(name) => {
            let classes: Api<StreamClass> = Api::all(client);
            Ok(classes.get_metadata_opt(name).await?.is_none())
        }
    }
}
