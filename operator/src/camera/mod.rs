//! The Camera controller: a producer pod for each Camera, and what that pod says in the Camera's status.

mod applied;
pub mod build;
mod claim;
mod pods;
mod reasons;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use streamfleet_contract::{Feed, StoredAt};
use streamfleet_crds::types::is_true;
use streamfleet_crds::{
    Camera, CameraReason as Reason, ConditionType, StreamClass, StreamTemplate, VideoStream,
};
use tokio::time::Instant;

use crate::backoff::jittered;
use crate::context::Context;
use crate::feeds::{Report, Target};
use crate::labels::{self, REVISION_ANNOTATION};
use crate::queue::Action;
use crate::stream_class::verified_place;
use crate::{apply, run};

pub use applied::Applied;
use build::{BuildError, ProducerPlan};
use claim::Claim;
use pods::ProducerState;
use reasons::{being_deleted, not_ready};
use status::{Facts, Situation};

/// How often a Camera is looked at though nothing says that it has changed: then its times are written too, which is worth it
/// after ten minutes; so it is a little more than that, jitter included.
const LOOK_EVERY: Duration = Duration::from_secs(670);
/// How soon it is looked again where something is about to turn.
const LOOK_SOON: Duration = Duration::from_millis(500);
/// How soon it is looked again where it waits for something else whose change is seen anyway.
const LOOK_LATER: Duration = Duration::from_mins(1);

/// What went wrong in a pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The `VideoStream` of the template could not be applied.
    #[error("failed to apply the VideoStream")]
    ApplyVideoStream(#[source] kube::Error),
    /// The stream could not be claimed.
    #[error("failed to claim the stream")]
    Claim(#[source] kube::Error),
    /// An object could not be built.
    #[error("failed to build the producer")]
    Build(#[source] BuildError),
    /// The `ConfigMap` could not be applied.
    #[error("failed to apply the ConfigMap")]
    ApplyConfigMap(#[source] kube::Error),
    /// The `Deployment` could not be applied.
    #[error("failed to apply the Deployment")]
    ApplyDeployment(#[source] kube::Error),
    /// The `Deployment` could not be deleted.
    #[error("failed to delete the Deployment")]
    DeleteDeployment(#[source] kube::Error),
    /// A pod could not be told to look at its configuration.
    #[error("failed to annotate the producer pod")]
    AnnotatePod(#[source] kube::Error),
    /// The status could not be written.
    #[error("failed to write the status")]
    WriteStatus(#[source] kube::Error),
}

impl run::Classified for Error {
    fn class(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            _ => "api_server",
        }
    }
}

/// One pass.
pub async fn reconcile(camera: Arc<Camera>, ctx: Arc<Context>) -> Result<Action, Error> {
    let pass = Pass::new(&camera, &ctx);
    if camera.metadata.deletion_timestamp.is_some() {
        // What belongs to it goes by its owner reference, its claim by the VideoStream's controller.
        ctx.feeds.forget(&pass.uid);
        ctx.cluster.applied.forget(&pass.uid);
        return Ok(Action::await_change());
    }
    let grant = match pass.grant().await? {
        Ok(grant) => grant,
        Err(held) => return pass.hold(held).await,
    };
    let (deployment, feed) = match pass.apply_producer(&grant).await? {
        Ok(applied) => applied,
        Err(held) => return pass.hold(held).await,
    };
    let pod = pass.pod();
    let producer = pods::state(pod.as_deref(), deployment.as_ref());
    let situation = pass.ask(&producer);
    if let (Some(pod), Situation::Fed(status)) = (&pod, &situation)
        && let Some(feed) = &feed
        && status.revision != feed.revision
    {
        pass.nudge(pod, &feed.revision).await?;
    }
    let facts = pass.facts(Some(&grant.stream), pod.as_deref());
    pass.write(&situation, &facts).await
}

/// Why a Camera gets no producer.
struct Held {
    reason: Reason,
    message: String,
    /// Whether a producer that runs is stopped.
    stops: bool,
    again: Duration,
}

impl Held {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stops: false, again: LOOK_LATER }
    }

    fn stopping(self) -> Self {
        Self { stops: true, ..self }
    }

    fn soon(self) -> Self {
        Self { again: LOOK_SOON, ..self }
    }
}

/// What was applied, as far as there is something.
type Producer = (Option<Deployment>, Option<Feed>);

/// An object that the API server refuses, by a quota or an admission rule, is the Camera's to tell: trying again does not help.
fn not_admitted(kind: &str, error: kube::Error) -> Result<Held, kube::Error> {
    match error {
        kube::Error::Api(status) if status.is_forbidden() || status.is_invalid() => {
            let message = format!("The producer's {kind} is refused: {}", status.message);
            Ok(Held::new(Reason::ProducerNotAdmitted, message))
        }
        error => Err(error),
    }
}

/// The stream that a Camera may write.
struct Grant {
    stream: Arc<VideoStream>,
    class: Arc<StreamClass>,
    arn: String,
    retention_hours: Option<i32>,
}

/// What every step of a pass needs.
struct Pass<'a> {
    camera: &'a Camera,
    ctx: &'a Context,
    namespace: String,
    name: String,
    uid: String,
}

impl<'a> Pass<'a> {
    fn new(camera: &'a Camera, ctx: &'a Context) -> Self {
        Self {
            camera,
            ctx,
            namespace: camera.namespace().unwrap_or_default(),
            name: camera.name_any(),
            uid: camera.uid().unwrap_or_default(),
        }
    }

    /// The stream that the Camera may write: there, claimed, made.
    async fn grant(&self) -> Result<Result<Grant, Held>, Error> {
        let stream = match self.video_stream().await? {
            Ok(stream) => stream,
            Err(held) => return Ok(Err(held)),
        };
        if stream.metadata.deletion_timestamp.is_some() {
            let message = being_deleted(self.camera, &stream.name_any());
            return Ok(Err(Held::new(Reason::VideoStreamNotReady, message).stopping()));
        }
        let api: Api<VideoStream> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
        match claim::claim(&api, self.camera, &stream).await.map_err(Error::Claim)? {
            Claim::Held => {}
            Claim::Other(holder) => {
                let message = format!(
                    "Camera {holder} writes VideoStream {}: a stream takes one writer. Give this Camera a stream of its own, or \
                     delete the other",
                    stream.name_any()
                );
                return Ok(Err(Held::new(Reason::StreamClaimed, message).stopping()));
            }
            Claim::Later => {
                let message = format!("VideoStream {} is being claimed", stream.name_any());
                return Ok(Err(Held::new(Reason::VideoStreamNotReady, message).soon()));
            }
        }
        Ok(self.made(stream))
    }

    /// Whether the stream is there in KVS, and known to be this `VideoStream`'s.
    fn made(&self, stream: Arc<VideoStream>) -> Result<Grant, Held> {
        let status = stream.status.clone().unwrap_or_default();
        let is_owned = is_true(&status.conditions, ConditionType::Owned.as_str());
        let is_usable = matches!(status.aws_status.as_deref(), Some("ACTIVE" | "UPDATING"));
        let class = self.ctx.cluster.caches.classes.get(&ObjectRef::new(&stream.spec.stream_class_name));
        match (status.stream_arn, class) {
            (Some(_), Some(class)) if !self.may_use_source(&class) => {
                let message = format!(
                    "StreamClass {} does not allow containers as sources: have spec.producer.allowContainerSources set in it, or \
                     use another source",
                    class.name_any()
                );
                Err(Held::new(Reason::ContainerSourceNotAllowed, message).stopping())
            }
            (Some(arn), Some(class)) if is_owned && is_usable => {
                Ok(Grant { arn, class, retention_hours: status.retention_hours, stream })
            }
            (_, _) => {
                let message = not_ready(&stream.name_any(), &status.conditions);
                Err(Held::new(Reason::VideoStreamNotReady, message))
            }
        }
    }

    fn may_use_source(&self, class: &StreamClass) -> bool {
        self.camera.spec.source.container.is_none() || class.spec.producer.allow_container_sources
    }

    async fn video_stream(&self) -> Result<Result<Arc<VideoStream>, Held>, Error> {
        let name = self.camera.video_stream_name();
        let cached = self.ctx.cluster.caches.streams.get(&ObjectRef::new(name).within(&self.namespace));
        let Some(template) = &self.camera.spec.stream_template else {
            let message = || {
                format!(
                    "There is no VideoStream {name} in namespace {}: make it, or name another in spec.streamRef.name",
                    self.namespace
                )
            };
            return Ok(cached.ok_or_else(|| Held::new(Reason::VideoStreamNotFound, message()).stopping()));
        };
        self.apply_template(template, cached).await
    }

    async fn apply_template(
        &self,
        template: &StreamTemplate,
        cached: Option<Arc<VideoStream>>,
    ) -> Result<Result<Arc<VideoStream>, Held>, Error> {
        if let Some(cached) = &cached
            && !cached.owner_references().iter().any(|owner| owner.uid == self.uid)
        {
            let message = if cached.metadata.deletion_timestamp.is_some() {
                format!("VideoStream {} of an earlier Camera of this name is being deleted", self.name)
            } else {
                format!(
                    "A VideoStream {} exists that is not this Camera's: name it in spec.streamRef of a new Camera, or delete it \
                     (its stream is kept unless its deletionPolicy is Delete)",
                    self.name
                )
            };
            return Ok(Err(Held::new(Reason::VideoStreamNotOwned, message)));
        }
        if let Some(cached) = cached.as_ref().filter(|cached| cached.spec == template.spec) {
            return Ok(Ok(cached.clone()));
        }
        let api: Api<VideoStream> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
        let wanted = build::video_stream(self.camera, &template.spec);
        match api.patch(&self.name, &apply::apply_params(), &Patch::Apply(&wanted)).await {
            Ok(applied) => Ok(Ok(Arc::new(applied))),
            // One of another owner, which the cache does not have yet; or a rule of the cluster.
            Err(kube::Error::Api(status)) if status.is_invalid() || status.is_forbidden() => {
                let message = format!("VideoStream {} is refused: {}", self.name, status.message);
                Ok(Err(Held::new(Reason::VideoStreamNotOwned, message)))
            }
            Err(error) => Err(Error::ApplyVideoStream(error)),
        }
    }

    /// Applies the producer's objects, the configuration before the pod that reads it. While the class is not verified in its
    /// present form, what is there is left as it is.
    async fn apply_producer(&self, grant: &Grant) -> Result<Result<Producer, Held>, Error> {
        let reference = ObjectRef::new(&labels::producer_name(&self.name)).within(&self.namespace);
        let present = self.ctx.cluster.caches.deployments.get(&reference);
        let Some(place) = verified_place(&grant.class) else {
            return Ok(Ok((present.as_deref().cloned(), None)));
        };
        let plan = ProducerPlan {
            camera: self.camera,
            stream_arn: &grant.arn,
            retention_hours: grant.retention_hours,
            place: &place,
            producer: &grant.class.spec.producer,
            default_image: &self.ctx.settings.producer_image,
        };
        let feed = build::feed(&plan).map_err(Error::Build)?;
        let config_map = build::config_map(&plan, feed.clone()).map_err(Error::Build)?;
        let deployment = build::deployment(&plan);

        let deployments: Api<Deployment> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
        if let Some(present) = present.as_ref().filter(|present| !self.is_mine(&***present)) {
            // Of an earlier Camera of this name; its selector could not be changed.
            apply::delete(&deployments, &present.name_any(), present.uid().as_deref())
                .await
                .map_err(Error::DeleteDeployment)?;
            return Ok(Ok((None, Some(feed))));
        }
        if let Err(held) = self.apply_config(&config_map, &feed).await? {
            return Ok(Err(held));
        }
        let applied = &self.ctx.cluster.applied;
        if let Some(present) = &present
            && applied.has_deployment(&self.uid, &deployment, present)
        {
            return Ok(Ok((Some((**present).clone()), Some(feed))));
        }
        match apply::child(&deployments, &deployment).await {
            Ok(answer) => {
                applied.note_deployment(&self.uid, &deployment, &answer);
                Ok(Ok((Some(answer), Some(feed))))
            }
            Err(error) => not_admitted("Deployment", error).map(Err).map_err(Error::ApplyDeployment),
        }
    }

    /// Applies the configuration, unless it was applied before and the producer runs by it.
    async fn apply_config(&self, config_map: &ConfigMap, feed: &Feed) -> Result<Result<(), Held>, Error> {
        let applied = &self.ctx.cluster.applied;
        let now = Instant::now();
        if applied.has_config(&self.uid, config_map, self.is_in_force(feed), now) {
            return Ok(Ok(()));
        }
        let config_maps: Api<ConfigMap> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
        match apply::child(&config_maps, config_map).await {
            Ok(_) => {
                applied.note_config(&self.uid, config_map, now);
                Ok(Ok(()))
            }
            Err(error) => not_admitted("ConfigMap", error).map(Err).map_err(Error::ApplyConfigMap),
        }
    }

    /// Whether the producer says that it runs by this configuration.
    fn is_in_force(&self, feed: &Feed) -> bool {
        let pod = self.pod();
        let Some(pod @ ProducerState::Running { .. }) =
            pod.as_deref().map(|pod| pods::state(Some(pod), None))
        else {
            return false;
        };
        matches!(self.ask(&pod), Situation::Fed(status) if status.revision == feed.revision)
    }

    fn is_mine<K: Resource>(&self, object: &K) -> bool {
        object.owner_references().iter().any(|owner| owner.uid == self.uid)
    }

    fn pod(&self) -> Option<Arc<Pod>> {
        let all = self.ctx.cluster.caches.producer_pods(&self.namespace, &self.name);
        let name = pods::current(all.iter().map(|pod| &**pod), &self.uid)?.name_any();
        all.into_iter().find(|pod| pod.name_any() == name)
    }

    /// What the producer says.
    fn ask(&self, producer: &ProducerState) -> Situation {
        match producer {
            ProducerState::Down { reason, message } => {
                self.ctx.feeds.forget(&self.uid);
                Situation::Down { reason: *reason, message: message.clone() }
            }
            ProducerState::Running { pod_uid, address } => {
                let target = Target {
                    namespace: self.namespace.clone(),
                    camera: self.name.clone(),
                    camera_uid: self.uid.clone(),
                    pod_uid: pod_uid.clone(),
                    address: *address,
                };
                match self.ctx.feeds.report(&target) {
                    Report::Pending => Situation::Unheard,
                    Report::Answered { feed: None } => Situation::Down {
                        reason: Reason::ProducerStarting,
                        message: "The producer has not taken up its configuration: see its log".to_owned(),
                    },
                    Report::Unreachable => Situation::Unreachable,
                    Report::Answered { feed: Some(feed) } => Situation::Fed(feed),
                }
            }
        }
    }

    /// Changes an annotation of the pod, so that the kubelet brings its files up to date at once.
    async fn nudge(&self, pod: &Pod, revision: &str) -> Result<(), Error> {
        if pod.annotations().get(REVISION_ANNOTATION).is_some_and(|present| present == revision) {
            return Ok(());
        }
        let api: Api<Pod> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
        let patch = json!({ "metadata": { "annotations": { REVISION_ANNOTATION: revision } } });
        match api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Error::AnnotatePod(error)),
        }
    }

    /// Says why there is no producer, and stops one that should not run.
    async fn hold(&self, held: Held) -> Result<Action, Error> {
        let reference = ObjectRef::new(&labels::producer_name(&self.name)).within(&self.namespace);
        let deployment = self.ctx.cluster.caches.deployments.get(&reference);
        if let Some(deployment) = deployment.filter(|deployment| held.stops && self.is_mine(&**deployment)) {
            let api: Api<Deployment> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
            apply::delete(&api, &deployment.name_any(), deployment.uid().as_deref())
                .await
                .map_err(Error::DeleteDeployment)?;
        }
        if held.stops {
            self.ctx.feeds.forget(&self.uid);
            self.ctx.cluster.applied.forget(&self.uid);
        }
        let pod = self.pod();
        let situation = match pod.as_deref().map(|pod| pods::state(Some(pod), None)) {
            // What runs goes on while its stream's class is being looked at.
            Some(producer @ ProducerState::Running { .. }) if !held.stops => self.ask(&producer),
            _ => Situation::Held { reason: held.reason, message: held.message },
        };
        let reference = ObjectRef::new(self.camera.video_stream_name()).within(&self.namespace);
        let stream = self.ctx.cluster.caches.streams.get(&reference).filter(|_| !held.stops);
        let facts = self.facts(stream.as_deref(), pod.as_deref());
        self.write(&situation, &facts).await?;
        Ok(Action::requeue(jittered(held.again)))
    }

    fn facts(&self, stream: Option<&VideoStream>, pod: Option<&Pod>) -> Facts {
        let status = stream.and_then(|stream| stream.status.as_ref());
        Facts {
            stream_name: status.and_then(|status| status.stream_name.clone()),
            producer: pod.map(pods::place),
            has_credentials: self.camera.spec.credentials_ref.is_some(),
            stored_at: if status.is_some_and(|status| status.retention_hours == Some(0)) {
                StoredAt::Received
            } else {
                StoredAt::Persisted
            },
            offline_after: SignedDuration::from_secs(i64::from(self.camera.spec.offline_after_seconds)),
        }
    }

    /// Writes the status where that is worth it, and tells about what turned.
    async fn write(&self, situation: &Situation, facts: &Facts) -> Result<Action, Error> {
        let before = self.camera.status.clone().unwrap_or_default();
        let now = Timestamp::now();
        let decision = status::decide(&before, situation, facts, self.camera.metadata.generation, now);
        if status::is_worth_writing(&before, &decision.status) {
            let api: Api<Camera> = Api::namespaced(self.ctx.cluster.client.clone(), &self.namespace);
            apply::status(&api, &self.name, &decision.status).await.map_err(Error::WriteStatus)?;
            if let Some(took) = turns::first_ready(self.camera, &before, &decision.status, now) {
                self.ctx.metrics.became_ready("Camera", took);
            }
            let notes = turns::notes(&before, &decision.status);
            self.ctx.cluster.events.publish(&self.camera.object_ref(&()), &notes).await;
        }
        let soon = decision.ready_until.map(|until| {
            let left = until.duration_since(now).unsigned_abs();
            left + Duration::from_millis(500)
        });
        Ok(Action::requeue(soon.map_or_else(|| jittered(LOOK_EVERY), |soon| soon.min(LOOK_EVERY))))
    }
}
