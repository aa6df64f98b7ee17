//! The chart as a Helm release on a local cluster: the operator's development image, with AWS credentials from a Secret as in a
//! trial. The demo and the end-to-end tests install it so.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::output;
use crate::{images, tools};

/// The namespace of the release.
pub const NAMESPACE: &str = "streamfleet-system";
/// The name of the release.
pub const NAME: &str = "streamfleet";
/// The operator's pods.
pub const OPERATOR_SELECTOR: &str = "app.kubernetes.io/name=streamfleet-operator";
/// The Secret with AWS credentials.
pub const AWS_SECRET: &str = "streamfleet-aws";

/// Installs or upgrades the release with these credentials (an AWS shared credentials file) and values (`KEY=VALUE`), and waits
/// until the operator is ready.
pub fn install(cluster: &Cluster, installation: &str, credentials: &str, values: &[&str]) -> Result<()> {
    cluster.apply(&[
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        aws_secret(NAMESPACE, credentials),
    ])?;
    let (repository, tag) = images::OPERATOR.rsplit_once(':').context("the image has a tag")?;
    let mut command = cluster.helm();
    command.args(["upgrade", "--install", NAME]).arg(tools::repository().join("charts/streamfleet"));
    command.args(["--namespace", NAMESPACE, "--wait", "--timeout", "90s"]);
    let own = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        format!("producer.image={}", images::PRODUCER),
        format!("aws.credentialsSecretName={AWS_SECRET}"),
        format!("installation={installation}"),
    ];
    for value in own.iter().map(String::as_str).chain(values.iter().copied()) {
        command.args(["--set", value]);
    }
    output(&mut command).map(drop)
}

/// Removes the release and waits until it is gone; its definitions stay. The right to give the Lease back goes with it, so the Lease
/// is removed too: the next release would wait until it has run out.
pub fn uninstall(cluster: &Cluster) -> Result<()> {
    output(cluster.helm().args(["uninstall", NAME, "--namespace", NAMESPACE, "--wait"]))?;
    output(cluster.kubectl().args(["-n", NAMESPACE, "delete", "leases.coordination.k8s.io", "--all"]))
        .map(drop)
}

/// The ends of the operators' logs.
pub fn logs(cluster: &Cluster, lines: u32) -> Result<String> {
    let tail = format!("--tail={lines}");
    output(cluster.kubectl().args(["-n", NAMESPACE, "logs", &tail, "--prefix", "-l", OPERATOR_SELECTOR]))
}

/// The Secret with AWS credentials in a namespace.
pub fn aws_secret(namespace: &str, credentials: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": AWS_SECRET, "namespace": namespace },
        "stringData": { "credentials": credentials },
    })
}
