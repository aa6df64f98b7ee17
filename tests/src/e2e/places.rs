//! Everything that somebody may read who has no business with a secret: logs, objects, events, arguments, environments,
//! metrics and status documents.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::http;
use super::kubectl::kubectl;
use super::objects::admin_of;
use super::planted::{Hit, Planted};
use crate::cluster::Cluster;

/// Kinds of objects in a namespace that hold what our programs and their users write. Secrets are not among them.
const NAMESPACED: &str = "cameras.streamfleet.io,videostreams.streamfleet.io,configmaps,deployments.apps,\
    replicasets.apps,pods,events,events.events.k8s.io,serviceaccounts,services";

/// What was searched, and what was found.
#[derive(Debug, Default)]
pub struct Search {
    /// The places that were looked at, each with its size in bytes.
    pub places: Vec<(String, usize)>,
    /// The secrets that were there.
    pub hits: Vec<Hit>,
}

impl Search {
    /// Looks at one place.
    pub fn look(&mut self, planted: &Planted, place: impl Into<String>, content: &[u8]) {
        let place = place.into();
        self.hits.extend(planted.find(&place, content));
        self.places.push((place, content.len()));
    }

    /// Whether a place whose name begins so was looked at and held something.
    pub fn has_seen(&self, place: &str) -> bool {
        self.places.iter().any(|(name, size)| name.starts_with(place) && *size > 0)
    }

    /// Logs of processes on this machine.
    pub fn files(&mut self, planted: &Planted, files: &[&Path]) -> Result<()> {
        for file in files {
            let content = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
            self.look(planted, format!("file {}", file.display()), &content);
        }
        Ok(())
    }

    /// Objects of a namespace, with their managed fields.
    pub async fn objects(&mut self, planted: &Planted, cluster: &Cluster, namespace: &str) -> Result<()> {
        for kind in NAMESPACED.split(',').map(str::trim) {
            let args = ["get", kind, "--namespace", namespace, "--output", "json", "--show-managed-fields"];
            let listed = kubectl(cluster, &args, "").await?.succeeded()?;
            self.look(planted, format!("objects {namespace}/{kind}"), listed.as_bytes());
        }
        Ok(())
    }

    /// All classes.
    pub async fn classes(&mut self, planted: &Planted, cluster: &Cluster) -> Result<()> {
        let args = ["get", "streamclasses.streamfleet.io", "--output", "json", "--show-managed-fields"];
        let listed = kubectl(cluster, &args, "").await?.succeeded()?;
        self.look(planted, "objects streamclasses", listed.as_bytes());
        Ok(())
    }

    /// The pods of a namespace: their logs (also of a container that went before), status documents, metrics, and the
    /// environments of their processes.
    pub async fn pods(
        &mut self,
        planted: &Planted,
        cluster: &Cluster,
        client: &kube::Client,
        namespace: &str,
    ) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        for pod in api.list(&ListParams::default()).await? {
            let name = pod.name_any();
            for previous in ["--previous=false", "--previous=true"] {
                let args = ["logs", &name, "--namespace", namespace, "--all-containers", previous];
                let reply = kubectl(cluster, &args, "").await?;
                // A pod without a predecessor, or one that has not started, has no log: an error that is looked at too.
                self.look(planted, format!("log of pod {name} {previous}"), reply.output.as_bytes());
                self.look(planted, format!("kubectl logs {name}"), reply.error.as_bytes());
            }
            if let Ok(admin) = admin_of(&pod) {
                self.admin(planted, &format!("pod {name}"), admin, &["/status", "/metrics", "/readyz"]).await;
            }
            for process in cluster.pod_processes(pod.metadata.uid.as_deref().unwrap_or("no uid")) {
                self.process(planted, &format!("pod {name}"), process);
            }
        }
        Ok(())
    }

    /// What an admin port answers. One that does not answer is not looked at: see [`Search::has_seen`].
    pub async fn admin(&mut self, planted: &Planted, of: &str, address: SocketAddr, paths: &[&str]) {
        for path in paths {
            match http::get(address, path).await {
                Ok(answer) => self.look(planted, format!("{path} of {of}"), &answer),
                Err(error) => {
                    self.look(planted, format!("error of {path} of {of}"), format!("{error:#}").as_bytes());
                }
            }
        }
    }

    /// The environment of a process.
    pub fn process(&mut self, planted: &Planted, of: &str, pid: u32) {
        // It may have ended meanwhile.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        self.look(planted, format!("environment of {of}"), &environment);
    }

    /// The arguments of every process on this machine.
    pub fn arguments(&mut self, planted: &Planted) -> Result<()> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.parse::<u32>().is_err() {
                continue;
            }
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            self.look(planted, format!("arguments of process {name}"), &arguments);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::daemon::Daemon;
    use super::*;

    #[test]
    fn a_secret_among_arguments_and_in_an_environment_is_found() {
        let mut planted = Planted::default();
        planted.add("password", "Planted-Argument-7c1");
        planted.add("token", "Planted-Environment-7c2");
        let mut command = Command::new("sh");
        // The shell stays, with its arguments.
        command
            .args(["-c", "while :; do sleep 0.2; done", "Planted-Argument-7c1"])
            .env("TOKEN", "Planted-Environment-7c2");
        let log = std::env::temp_dir().join(format!("streamfleet-places-{}", std::process::id()));
        let process = Daemon::start("a shell", &command, &log).unwrap();
        let mut search = Search::default();
        crate::process::wait_until(std::time::Duration::from_secs(10), || {
            search = Search::default();
            search.arguments(&planted).unwrap();
            search.process(&planted, "the shell", process.pid());
            search.hits.len() >= 2
        });
        let place = format!("arguments of process {}", process.pid());
        assert!(
            search.hits.iter().any(|hit| hit.what == "password" && hit.place == place),
            "{:?}",
            search.hits
        );
        assert!(search.hits.iter().any(|hit| hit.what == "token"), "{:?}", search.hits);
        drop(process);
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_secret_in_a_file_is_found_and_the_file_counts_as_seen() {
        let mut planted = Planted::default();
        planted.add("password", "Planted-File-7c3");
        let file = std::env::temp_dir().join(format!("streamfleet-places-file-{}", std::process::id()));
        fs::write(&file, "INFO login as admin:Planted-File-7c3\n").unwrap();
        let mut search = Search::default();
        search.files(&planted, &[&file]).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(search.hits.len(), 1);
        assert!(search.has_seen("file ") && !search.has_seen("log "));
    }
}
