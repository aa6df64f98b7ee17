//! What a Camera's producer pods say about it before the producer itself can. Pure.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use streamfleet_contract::ADMIN_PORT;
use streamfleet_crds::{CameraReason as Reason, ProducerPod};

use crate::labels::CAMERA_UID_LABEL;

/// How a producer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProducerState {
    /// It runs and can be asked, at this address.
    Running {
        /// The pod's UID.
        pod_uid: String,
        /// The address and port of its admin server.
        address: SocketAddr,
    },
    /// It cannot be asked, for this reason.
    Down {
        /// As a name.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// The pod that counts: the newest that is not on its way out, else the newest.
pub fn current<'a>(pods: impl Iterator<Item = &'a Pod>, camera_uid: &str) -> Option<&'a Pod> {
    pods.filter(|pod| pod.labels().get(CAMERA_UID_LABEL).is_some_and(|uid| uid == camera_uid)).max_by_key(
        |pod| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (pod.metadata.deletion_timestamp.is_none(), created, pod.name_any())
        },
    )
}

/// Where the producer runs.
pub fn place(pod: &Pod) -> ProducerPod {
    ProducerPod {
        pod: pod.metadata.name.clone(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
    }
}

/// How the producer stands, by its pod, or by its `Deployment` where there is no pod.
pub fn state(pod: Option<&Pod>, deployment: Option<&Deployment>) -> ProducerState {
    let Some(pod) = pod else { return without_pod(deployment) };
    if pod.metadata.deletion_timestamp.is_some() {
        return down(
            Reason::ProducerStarting,
            "The producer pod is ending, its successor follows".to_owned(),
        );
    }
    let status = pod.status.as_ref();
    if let Some(message) = unscheduled(pod) {
        return down(Reason::ProducerNotScheduled, format!("No node takes the producer pod: {message}"));
    }
    let container = status.and_then(|status| status.container_statuses.as_ref()).and_then(|all| all.first());
    if let Some(down) = container.and_then(waiting) {
        return down;
    }
    let is_running = container
        .is_some_and(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    let ip = status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse::<IpAddr>().ok());
    match ip {
        Some(ip) if is_running => {
            let address = SocketAddr::new(ip, ADMIN_PORT);
            ProducerState::Running { pod_uid: pod.uid().unwrap_or_default(), address }
        }
        _ => down(Reason::ProducerStarting, "The producer pod is starting".to_owned()),
    }
}

fn down(reason: Reason, message: String) -> ProducerState {
    ProducerState::Down { reason, message }
}

fn without_pod(deployment: Option<&Deployment>) -> ProducerState {
    let conditions = deployment
        .and_then(|deployment| deployment.status.as_ref())
        .and_then(|status| status.conditions.as_ref());
    let failure = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
    match failure {
        Some(failure) => {
            let why = failure.message.clone().unwrap_or_default();
            down(Reason::ProducerNotAdmitted, format!("The producer pod may not be made: {why}"))
        }
        None => down(Reason::ProducerStarting, "The producer pod is being made".to_owned()),
    }
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let is_refused = condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable");
    is_refused.then(|| condition.message.clone().unwrap_or_default())
}

fn waiting(container: &ContainerStatus) -> Option<ProducerState> {
    let state = container.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        let message = format!(
            "The producer ended with exit code {}, it is started again: see its log",
            ended.exit_code
        );
        return Some(down(Reason::ProducerCrashing, message));
    }
    let waiting = state.waiting.as_ref()?;
    let why = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            let message = format!(
                "The producer's image {} cannot be pulled: check the class's spec.producer.image and the chart's \
                 producer.image ({why})",
                container.image
            );
            Some(down(Reason::ProducerImageUnavailable, message))
        }
        "CrashLoopBackOff" => {
            let code = container
                .last_state
                .as_ref()
                .and_then(|last| last.terminated.as_ref())
                .map(|ended| ended.exit_code);
            let code = code.map_or_else(String::new, |code| format!(", the last time with exit code {code}"));
            Some(down(
                Reason::ProducerCrashing,
                format!("The producer ends again and again{code}: see its log"),
            ))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(down(Reason::ProducerCrashing, format!("The producer cannot be started: {why}")))
        }
        _ => None,
    }
}
