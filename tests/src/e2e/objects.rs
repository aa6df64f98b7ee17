//! Objects on the cluster: their conditions, the pods of cameras, and waiting for them.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{Camera, ConditionType, StreamClass, VideoStream};

use super::http;
use crate::cluster::wait::{Look, until};

/// States that need a pod, a sweep or a retry come within so long on a machine with much else to do.
pub const SOON: Duration = Duration::from_mins(2);

/// Kinds with conditions.
pub trait Conditioned: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    /// Its conditions; none before the first status.
    fn conditions(&self) -> &[Condition];
}

impl Conditioned for StreamClass {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for VideoStream {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for Camera {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

/// Type, status and reason of a condition.
pub type Expected = (ConditionType, &'static str, &'static str);

/// Waits until the object has this condition for its present spec; gives the object and the condition's message.
pub async fn has_condition<K: Conditioned>(
    api: &Api<K>,
    name: &str,
    expected: Expected,
) -> Result<(K, String)> {
    let (type_, status, reason) = expected;
    let what = format!("{} {name} has {type_}={status}, {reason}", K::kind(&()));
    until(SOON, &what, async || {
        let object = api.get(name).await?;
        let generation = object.meta().generation;
        let found = find_condition(object.conditions(), type_.as_str());
        let message = found.and_then(|found| {
            let matches = found.status == status && found.reason == reason;
            (matches && found.observed_generation == generation).then(|| found.message.clone())
        });
        let seen = shown(object.conditions());
        Ok(message.map_or(Look::NotYet(seen), |message| Look::Done((object, message))))
    })
    .await
}

/// Waits until the object is no more.
pub async fn is_gone<K: Conditioned>(api: &Api<K>, name: &str) -> Result<()> {
    until(SOON, &format!("{} {name} is gone", K::kind(&())), async || {
        Ok(match api.get_opt(name).await? {
            None => Look::Done(()),
            Some(object) => Look::NotYet(shown(object.conditions())),
        })
    })
    .await
}

/// Conditions in one line, for people.
pub fn shown(conditions: &[Condition]) -> String {
    let one =
        |found: &Condition| format!("{}={} {} ({})", found.type_, found.status, found.reason, found.message);
    conditions.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The producer pods of a camera, those that are ending included.
pub async fn pods_of(client: &Client, namespace: &str, camera: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("app.kubernetes.io/name=streamfleet-producer,streamfleet.io/camera={camera}");
    Ok(pods.list(&ListParams::default().labels(&selector)).await?.items)
}

/// The one producer pod of a camera, once it has an address.
pub async fn pod_of(client: &Client, namespace: &str, camera: &str) -> Result<Pod> {
    until(SOON, &format!("camera {camera} has one pod with an address"), async || {
        let mut pods = pods_of(client, namespace, camera).await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let seen = format!("{} pods", pods.len());
        Ok(match pods.pop() {
            Some(pod) if pods.is_empty() && admin_of(&pod).is_ok() => Look::Done(pod),
            _ => Look::NotYet(seen),
        })
    })
    .await
}

/// Where a producer pod serves its status and metrics.
pub fn admin_of(pod: &Pod) -> Result<SocketAddr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    let address = address.with_context(|| format!("pod {} has no address yet", pod.name_any()))?;
    Ok(SocketAddr::new(address.parse()?, streamfleet_contract::ADMIN_PORT))
}

/// What a producer pod says about its feeds.
pub async fn status_of(pod: &Pod) -> Result<streamfleet_contract::Status> {
    let answer = http::get(admin_of(pod)?, streamfleet_contract::STATUS_PATH).await?;
    serde_json::from_slice(&answer).context("failed to read the status of a producer")
}
