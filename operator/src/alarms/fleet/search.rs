//! The search for alarms whose object is gone.

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::runtime::reflector::ObjectRef;
use streamfleet_crds::{StreamClass, VideoStream};
use tokio::time::Instant;

use super::super::desk::lock;
use super::super::names::Object;
use super::super::orphans::is_nobodys;
use super::super::remove;
use super::{FleetAlarms, Work};
use crate::aws::{AwsError, ErrorKind, Place};
use crate::context::{AwsSide, Context};

/// Removes alarms whose object is gone, by a fresh read of the API server and of the stream. What fails is tried again in the next search.
pub async fn search(ctx: &Context, place: &Place) {
    let is_due = lock(&ctx.aws.alarms.counter(place).orphans).is_due(Instant::now());
    if is_due {
        search_now(ctx, place).await;
    }
}

/// The same, whenever the last search was.
pub async fn search_now(ctx: &Context, place: &Place) {
    let counter = ctx.aws.alarms.counter(place);
    let Ok(alarms) = ctx.aws.observer.every_alarm(place).await else { return };
    let Ok((_, composites)) = counter.fleet_alarms(&ctx.aws, place).await else { return };
    let about: BTreeMap<String, String> = alarms
        .iter()
        .filter_map(|info| Some((info.alarm.name.clone(), info.alarm.stream_name()?.to_owned())))
        .collect();
    let composites = composites.into_iter().map(|info| (info.alarm.name, info.alarm.description));
    let alarms: Vec<(String, String)> =
        alarms.into_iter().map(|info| (info.alarm.name, info.alarm.description)).chain(composites).collect();
    let caches = &ctx.cluster.caches;
    let is_cached = |object: &Object| match object {
        Object::Stream { namespace, name } => {
            caches.streams.get(&ObjectRef::new(name).within(namespace)).is_some()
                || caches.left_streams.is_anothers(namespace, name)
        }
        Object::Class(name) => caches.classes.get(&ObjectRef::new(name)).is_some(),
    };
    let suspects = {
        let mut orphans = lock(&counter.orphans);
        orphans.forget_gone(&alarms, ctx.installation());
        orphans.suspects(&alarms, ctx.installation(), is_cached)
    };
    for (object, names) in suspects {
        match is_gone(ctx, &object).await {
            Ok(true) => {}
            Ok(false) => {
                let mut orphans = lock(&counter.orphans);
                orphans.forget_left(&object);
                orphans.note(object, Instant::now());
                continue;
            }
            Err(error) => {
                tracing::debug!(%error, "It is not known whether an object is there");
                continue;
            }
        }
        // One that is about no stream any more cannot be asked after.
        let streams: Option<BTreeSet<&str>> =
            names.iter().map(|name| about.get(name).map(String::as_str)).collect();
        let suspect = Suspect { object: &object, streams };
        match suspect.is_orphan(&ctx.aws, place, ctx.installation()).await {
            Ok(true) if !take_away(ctx, place, &object, names).await => return,
            Ok(true) => {}
            Ok(false) => lock(&counter.orphans).note(object, Instant::now()),
            Err(error) => tracing::debug!(%error, "It is not known whether a stream is there"),
        }
    }
}

/// Removes the alarms of an object that is gone. False where the service refuses for now.
async fn take_away(ctx: &Context, place: &Place, object: &Object, names: Vec<String>) -> bool {
    tracing::info!(object = ?object, alarms = names.len(), "Alarms without an object are removed");
    let result = match object {
        Object::Stream { .. } => {
            remove::remove(&ctx.aws, place, ctx.installation(), object, names).await.map(|()| 0)
        }
        Object::Class(_) => {
            let work = Work { aws: &ctx.aws, installation: ctx.installation(), place, object };
            work.bring_in_line(&FleetAlarms::default()).await
        }
    };
    match result {
        Ok(0) => lock(&ctx.aws.alarms.counter(place).orphans).forget_left(object),
        Ok(_) => {}
        // A composite alarm still names one of them.
        Err(error) if error.kind == ErrorKind::InvalidArgument => {
            tracing::debug!(%error, "Alarms without an object cannot go yet");
        }
        Err(error) => {
            tracing::warn!(%error, "Alarms without an object stay, it is tried again later");
            return false;
        }
    }
    true
}

/// An object that this API server does not have, though alarms of it are there.
pub(super) struct Suspect<'a> {
    pub(super) object: &'a Object,
    /// The names of the streams that the alarms are about; `None` where one is about none.
    pub(super) streams: Option<BTreeSet<&'a str>>,
}

impl Suspect<'_> {
    /// Whether its alarms are nobody's, by a fresh read of the streams.
    pub(super) async fn is_orphan(
        &self,
        aws: &AwsSide,
        place: &Place,
        installation: &str,
    ) -> Result<bool, AwsError> {
        let left = lock(&aws.alarms.counter(place).orphans).left(self.object);
        let Some(streams) = self.streams.as_ref().filter(|_| matches!(self.object, Object::Stream { .. }))
        else {
            return Ok(left.is_some());
        };
        let mut there = Vec::new();
        for name in streams {
            let Some(info) = aws.observer.fresh(place, name, None).await? else { continue };
            match aws.observer.fresh_tags(place, &info.arn).await {
                Ok(tags) => there.push(tags),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(is_nobodys(self.object, installation, left.as_deref(), &there))
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
