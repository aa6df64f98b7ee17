//! The `Deployment` of a producer.
//!
//! Whatever changes in the pod template here restarts every producer of every installation at its next upgrade: a golden file
//! holds it still.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::KeyToPath;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    HTTPGetAction, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use streamfleet_contract::ADMIN_PORT;
use streamfleet_crds::{ProducerDefaults, Resources, Spool};

use super::{FEEDS_FILE, ProducerPlan, source};
use crate::labels;

/// The folder of the configuration.
pub const CONFIG_FOLDER: &str = "/etc/streamfleet";
/// The folder under which each camera's credentials have a folder of their own.
const CAMERA_SECRETS: &str = "/var/run/secrets/streamfleet/camera";
/// The folder of the volume with a file that is played.
pub const INPUT_FOLDER: &str = "/var/lib/streamfleet/input";
/// The folder that the producer shares with a container that is its source.
const FEED_FOLDER: &str = "/var/run/streamfleet-feed";
/// The socket in it, which the producer listens on.
pub const FEED_SOCKET: &str = "/var/run/streamfleet-feed/feed.sock";
/// The environment variable by which the container learns of it.
const FEED_SOCKET_VARIABLE: &str = "STREAMFLEET_SOCKET";
/// The folder of the spool.
pub const SPOOL_FOLDER: &str = "/var/lib/streamfleet/spool";
/// The folder of the AWS credentials for trials.
const AWS_SECRET: &str = "/var/run/secrets/streamfleet/aws";
/// The key of the Secret with AWS credentials, and the name of its file.
const AWS_SECRET_KEY: &str = "credentials";
/// The user that the producer runs as.
const USER: i64 = 65532;
/// Memory that a producer may use beside its buffer, in MiB.
const BESIDE_THE_BUFFER_MIB: u64 = 96;
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
        containers: std::iter::once(container(plan)).chain(source_container(plan)).collect(),
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
        resources: Some(resources(plan.producer)),
        security_context: Some(restricted()),
        volume_mounts: Some(mounts(plan)),
        ..Container::default()
    }
}

/// What no container of the pod may pass.
fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// The container that a Camera brings as its source. It sees the shared folder and none of the producer's Secrets.
fn source_container(plan: &ProducerPlan<'_>) -> Option<Container> {
    let source = plan.camera.spec.source.container.as_ref()?;
    let socket = EnvVar {
        name: FEED_SOCKET_VARIABLE.to_owned(),
        value: Some(FEED_SOCKET.to_owned()),
        ..EnvVar::default()
    };
    let given = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    Some(Container {
        name: "source".to_owned(),
        image: Some(source.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: given(&source.command),
        args: given(&source.args),
        env: Some(std::iter::once(socket).chain(source.env.iter().cloned()).collect()),
        resources: source.resources.as_ref().map(written),
        security_context: Some(restricted()),
        volume_mounts: Some(vec![feed_mount()]),
        ..Container::default()
    })
}

fn feed_mount() -> VolumeMount {
    VolumeMount { name: "feed".to_owned(), mount_path: FEED_FOLDER.to_owned(), ..VolumeMount::default() }
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

fn resources(producer: &ProducerDefaults) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    if let Some(wanted) = &producer.resources {
        return written(wanted);
    }
    // What the buffer may take; the process, its connections and their buffers in the kernel take less than the rest.
    let buffer = source::bytes(&producer.buffer.memory).unwrap_or(0) >> 20;
    let limit = format!("{}Mi", buffer + BESIDE_THE_BUFFER_MIB);
    written(&Resources {
        requests: quantities(&[("cpu", "20m"), ("memory", "32Mi")]),
        limits: quantities(&[("memory", &limit)]),
    })
}

fn written(resources: &Resources) -> ResourceRequirements {
    let given =
        |quantities: &BTreeMap<String, Quantity>| (!quantities.is_empty()).then(|| quantities.clone());
    ResourceRequirements {
        requests: given(&resources.requests),
        limits: given(&resources.limits),
        claims: None,
    }
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
    if plan.camera.spec.source.file.is_some() {
        mounts.push(mount("input", INPUT_FOLDER));
    }
    if plan.camera.spec.source.container.is_some() {
        mounts.push(feed_mount());
    }
    if plan.producer.buffer.spool.is_some() {
        mounts.push(VolumeMount { read_only: None, ..mount("spool", SPOOL_FOLDER) });
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
    if let Some(file) = &plan.camera.spec.source.file {
        volumes.push(Volume {
            name: "input".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: file.claim_name.clone(),
                read_only: Some(true),
            }),
            ..Volume::default()
        });
    }
    if plan.camera.spec.source.container.is_some() {
        let empty_dir = Some(EmptyDirVolumeSource::default());
        volumes.push(Volume { name: "feed".to_owned(), empty_dir, ..Volume::default() });
    }
    volumes.extend(plan.producer.buffer.spool.as_ref().map(spool_volume));
    volumes
}

/// The kubelet evicts a pod that passes the size limit: the producer keeps below its own, the file system's overhead is
/// beside that.
fn spool_volume(spool: &Spool) -> Volume {
    let size_mib = source::bytes(&spool.size).unwrap_or(0) >> 20;
    let limit = format!("{}Mi", size_mib + size_mib / 16 + 16);
    Volume {
        name: "spool".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity(limit)) }),
        ..Volume::default()
    }
}

fn camera_secret(name: &str, feed: &str) -> SecretProjection {
    let item = |key: &str| KeyToPath { key: key.to_owned(), path: format!("{feed}/{key}"), mode: None };
    SecretProjection {
        name: name.to_owned(),
        optional: Some(true),
        items: Some(vec![item("username"), item("password")]),
    }
}
