//! kubectl as people use it: what it is fed, and what it says.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::cluster::Cluster;

/// What kubectl said.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output.
    pub output: String,
    /// Its standard error, which holds the server's refusal.
    pub error: String,
}

impl Reply {
    /// The output; an error with what was said when it failed.
    pub fn succeeded(self) -> Result<String> {
        ensure!(self.success, "kubectl failed: {}", self.error.trim());
        Ok(self.output)
    }
}

/// Runs kubectl as the administrator, with `input` on its standard input: nothing confidential belongs into arguments.
pub async fn kubectl(cluster: &Cluster, args: &[&str], input: &str) -> Result<Reply> {
    let mut command = tokio::process::Command::from(cluster.kubectl());
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("failed to start kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has a standard input")?;
    let input = input.to_owned();
    // Beside reading its output, lest both wait for each other.
    let feeding = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let ended = child.wait_with_output().await?;
    // That kubectl did not want its input is no error.
    drop(feeding.await?);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Reply { success: ended.status.success(), output: text(&ended.stdout), error: text(&ended.stderr) })
}

/// `kubectl apply` of these objects in a namespace.
pub async fn apply(cluster: &Cluster, namespace: &str, objects: &[Value]) -> Result<Reply> {
    // Documents one after the other, as in a file of theirs: a List is validated by kubectl, not by the server.
    let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
    kubectl(cluster, &["apply", "--namespace", namespace, "--filename", "-"], &documents.join("\n---\n"))
        .await
}
