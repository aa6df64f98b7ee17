//! The `Deployment` of a producer.
//!
//! Whatever changes in the pod template here restarts every producer of every installation at its next upgrade: a golden file
//! holds it still.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::KeyToPath;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, HTTPGetAction, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecretProjection, SecretVolumeSource, SecurityContext, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use streamfleet_contract::ADMIN_PORT;
use streamfleet_crds::Resources;

use super::{FEEDS_FILE, ProducerPlan};
use crate::labels;

/// The folder of the configuration.
pub const CONFIG_FOLDER: &str = "/etc/streamfleet";
/// The folder under which each camera's credentials have a folder of their own.
const CAMERA_SECRETS: &str = "/var/run/secrets/streamfleet/camera";
/// The folder of the AWS credentials for trials.
const AWS_SECRET: &str = "/var/run/secrets/streamfleet/aws";
/// The key of the Secret with AWS credentials, and the name of its file.
const AWS_SECRET_KEY: &str = "credentials";
/// The user that the producer runs as.
const USER: i64 = 65532;
/// The producer closes the open fragment and waits for its acknowledgement.
const GRACE_SECONDS: i64 = 30;

/// The folder of a feed's credentials.
pub fn credentials_folder(feed: &str) -> String {
    format!("{CAMERA_SECRETS}/{feed}")
}

/// The `Deployment`: one pod, the old one out before the new one comes in, since a stream takes one connection.
pub fn deployment(plan: &ProducerPlan<'_>) -> Deployment {
    let camera = plan.camera.name_any();
    let name = labels::producer_name(&camera);
    let metadata = labels::owned_by_camera(plan.camera, name);
    Deployment {
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            revision_history_limit: Some(1),
            strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
            // By the UID too: the pods of a deleted Camera of the same name are not this one's.
            selector: LabelSelector { match_labels: metadata.labels.clone(), match_expressions: None },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: metadata.labels.clone(), ..ObjectMeta::default() }),
                spec: Some(pod(plan)),
            },
            ..DeploymentSpec::default()
        }),
        metadata,
        ..Deployment::default()
    }
}

fn pod(plan: &ProducerPlan<'_>) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: plan.producer.service_account_name.clone(),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(plan)],
        volumes: Some(volumes(plan)),
        ..PodSpec::default()
    }
}

fn container(plan: &ProducerPlan<'_>) -> Container {
    let image = plan.producer.image.clone().unwrap_or_else(|| plan.default_image.to_owned());
    Container {
        name: "producer".to_owned(),
        image: Some(image),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(["run", "--config", &format!("{CONFIG_FOLDER}/{FEEDS_FILE}")].map(str::to_owned).to_vec()),
        env: environment(plan),
        ports: Some(vec![ContainerPort {
            name: Some("admin".to_owned()),
            container_port: i32::from(ADMIN_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        resources: Some(resources(plan.producer.resources.as_ref())),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(plan)),
        ..Container::default()
    }
}

fn environment(plan: &ProducerPlan<'_>) -> Option<Vec<EnvVar>> {
    plan.producer.credentials_secret_name.as_ref()?;
    let variable =
        |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() };
    Some(vec![
        variable("AWS_SHARED_CREDENTIALS_FILE", format!("{AWS_SECRET}/{AWS_SECRET_KEY}")),
        // With credentials of its own, a producer is not to fall back to those of its node.
        variable("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ])
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn resources(wanted: Option<&Resources>) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    let (requests, limits) = match wanted {
        Some(wanted) => (wanted.requests.clone(), wanted.limits.clone()),
        // The buffer may take 64 MiB; the process and its connections a few more.
        None => (quantities(&[("cpu", "20m"), ("memory", "32Mi")]), quantities(&[("memory", "160Mi")])),
    };
    let given = |quantities: BTreeMap<String, Quantity>| (!quantities.is_empty()).then_some(quantities);
    ResourceRequirements { requests: given(requests), limits: given(limits), claims: None }
}

fn mounts(plan: &ProducerPlan<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount("config", CONFIG_FOLDER)];
    if plan.camera.spec.credentials_ref.is_some() {
        mounts.push(mount("camera", CAMERA_SECRETS));
    }
    if plan.producer.credentials_secret_name.is_some() {
        mounts.push(mount("aws", AWS_SECRET));
    }
    mounts
}

/// Every Secret is optional: that one is missing is for the producer to say, and it may come later.
fn volumes(plan: &ProducerPlan<'_>) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: labels::producer_name(&plan.camera.name_any()),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if let Some(reference) = &plan.camera.spec.credentials_ref {
        volumes.push(Volume {
            name: "camera".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    secret: Some(camera_secret(&reference.name, &plan.camera.uid().unwrap_or_default())),
                    ..VolumeProjection::default()
                }]),
                default_mode: None,
            }),
            ..Volume::default()
        });
    }
    if let Some(secret) = &plan.producer.credentials_secret_name {
        volumes.push(Volume {
            name: "aws".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.clone()),
                optional: Some(true),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    volumes
}

fn camera_secret(name: &str, feed: &str) -> SecretProjection {
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: format!("{feed}/{key}"), mode: None };
    SecretProjection {
        name: name.to_owned(),
        optional: Some(true),
        items: Some(vec![item("username"), item("password")]),
    }
}
