//! What the demo reads and shows: conditions of cameras, the producers' own status, memory.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use streamfleet_contract::{ADMIN_PORT, FeedStatus, STATUS_PATH, Status};
use streamfleet_crds::Camera;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Stage;
use super::figures::{FIRST_PERSISTED_LIMIT, Memory, OPERATOR_MEMORY_LIMIT, PRODUCER_MEMORY_LIMIT};
use super::install::{Applied, NAMESPACE, PRODUCER_SELECTOR};
use super::site::CAMERAS;
use crate::cluster::Cluster;
use crate::cluster::wait::{Look, until};
use crate::release;
use crate::steps::Steps;

/// How long all cameras may take to become Ready before the demo gives up.
const READY_LIMIT: Duration = Duration::from_mins(2);

/// When something happened to each camera.
pub type Times = BTreeMap<String, SystemTime>;

/// Reads the demo's cluster.
#[derive(Clone)]
pub struct Observer {
    cameras: Api<Camera>,
    producers: Api<Pod>,
    operators: Api<Pod>,
    cluster: Cluster,
}

impl Observer {
    /// Connects to the cluster's API.
    pub async fn new(stage: &Stage) -> Result<Self> {
        let client: Client = stage.cluster.client().await?;
        Ok(Self {
            cameras: Api::namespaced(client.clone(), NAMESPACE),
            producers: Api::namespaced(client.clone(), NAMESPACE),
            operators: Api::namespaced(client, release::NAMESPACE),
            cluster: stage.cluster.clone(),
        })
    }

    /// Sees when each camera appears in the API, from now on. To be asked for before they are applied.
    pub fn watch_made(&self) -> JoinHandle<Result<Times>> {
        let cameras = self.cameras.clone();
        tokio::spawn(async move {
            let mut made = BTreeMap::new();
            let mut events = std::pin::pin!(watcher(cameras, watcher::Config::default()).default_backoff());
            while made.len() < CAMERAS.len() {
                let event = events.try_next().await?.context("the watch of cameras has ended")?;
                if let watcher::Event::Apply(camera) | watcher::Event::InitApply(camera) = event {
                    made.entry(camera.name_any()).or_insert_with(SystemTime::now);
                }
            }
            Ok(made)
        })
    }

    /// Waits until every camera is Ready; prints when each was first stored. Gives the time since the start of
    /// `steps`, and those of the first stored fragments since each camera was `made`.
    pub async fn wait_all_ready(
        &self,
        applied: &Applied,
        made: JoinHandle<Result<Times>>,
        steps: &Steps,
    ) -> Result<(Duration, BTreeMap<String, Duration>)> {
        let first_stored = tokio::spawn(self.clone().watch_first_stored());
        let names = CAMERAS.map(|camera| camera.name);
        let ready = until(READY_LIMIT, "all cameras are Ready", async || {
            let mut waiting = Vec::new();
            for name in names {
                match self.condition(name, "Ready").await? {
                    (status, _) if status == "True" => {}
                    (_, why) => waiting.push(format!("{name}: {why}")),
                }
            }
            Ok(if waiting.is_empty() { Look::Done(()) } else { Look::NotYet(waiting.join("; ")) })
        });
        ready.await?;
        let all_ready = steps.elapsed();
        steps.done(format!(
            "all cameras are Ready, {:.1} s after the apply",
            applied.at.elapsed().as_secs_f64()
        ));
        let stored = first_stored.await??;
        if applied.again {
            return Ok((all_ready, BTreeMap::new()));
        }
        let made = made.await??;
        let since_made = |name: &str, wall_ms: i64| {
            let wall = UNIX_EPOCH + Duration::from_millis(wall_ms as u64);
            let time = made.get(name).and_then(|made| wall.duration_since(*made).ok());
            time.with_context(|| format!("camera {name} was stored before it was applied"))
        };
        let times: BTreeMap<_, _> = stored
            .into_iter()
            .map(|(name, at)| Ok((name.clone(), since_made(&name, at)?)))
            .collect::<Result<_>>()?;
        for (name, time) in &times {
            steps.text(format!(
                "           {name}: applied -> first PERSISTED {:.1} s (at most {} s)",
                time.as_secs_f64(),
                FIRST_PERSISTED_LIMIT.as_secs()
            ));
        }
        Ok((all_ready, times))
    }

    /// Polls the producers until each has said when it was first stored: milliseconds of the Unix epoch, by the
    /// producer's own clock. A mark is overwritten by the next fragment's, at least a second later.
    async fn watch_first_stored(self) -> Result<BTreeMap<String, i64>> {
        let started = Instant::now();
        let mut first = BTreeMap::new();
        while first.len() < CAMERAS.len() {
            for camera in CAMERAS.iter().map(|camera| camera.name) {
                if first.contains_key(camera) {
                    continue;
                }
                let mark = self.feed(camera).await.ok().flatten().and_then(|feed| feed.stored);
                first.extend(mark.map(|mark| (camera.to_owned(), mark.wall_ms)));
            }
            if started.elapsed() > READY_LIMIT {
                bail!("not every camera's video was stored within {} s", READY_LIMIT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(first)
    }

    /// Status and explanation of a camera's condition; `Unknown` while it has none.
    pub async fn condition(&self, camera: &str, kind: &str) -> Result<(String, String)> {
        let conditions = self.cameras.get(camera).await?.status.unwrap_or_default().conditions;
        let found = conditions.into_iter().find(|condition| condition.type_ == kind);
        Ok(found.map_or_else(
            || ("Unknown".to_owned(), "no condition yet".to_owned()),
            |condition| (condition.status, format!("{}: {}", condition.reason, condition.message)),
        ))
    }

    /// Waits until a camera's condition has this status, and gives its explanation.
    pub async fn wait_condition(
        &self,
        camera: &str,
        kind: &str,
        status: &str,
        limit: Duration,
    ) -> Result<String> {
        until(limit, &format!("camera {camera} has {kind}={status}"), async || {
            let (now, why) = self.condition(camera, kind).await?;
            Ok(if now == status { Look::Done(why) } else { Look::NotYet(format!("{now}, {why}")) })
        })
        .await
    }

    /// The producer pod of a camera that is not being deleted.
    pub async fn producer(&self, camera: &str) -> Result<Option<Pod>> {
        let selector = format!("{PRODUCER_SELECTOR},streamfleet.io/camera={camera}");
        let pods = self.producers.list(&ListParams::default().labels(&selector)).await?;
        Ok(pods.items.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()))
    }

    /// Deletes a pod without waiting for its end; gives its UID.
    pub async fn delete_pod(&self, pod: &Pod) -> Result<String> {
        self.producers.delete(&pod.name_any(), &DeleteParams::default()).await?;
        Ok(pod.uid().unwrap_or_default())
    }

    /// What a camera's producer says of its feed; `None` before it has an address.
    pub async fn feed(&self, camera: &str) -> Result<Option<FeedStatus>> {
        match self.producer(camera).await? {
            Some(pod) => feed_of(&pod).await,
            None => Ok(None),
        }
    }

    /// The anonymous memory of operator and producers.
    pub async fn memory(&self) -> Result<Vec<Memory>> {
        let mut figures = Vec::new();
        for pod in self.operators.list(&ListParams::default().labels(release::OPERATOR_SELECTOR)).await? {
            let anonymous = self.anonymous(&pod)?;
            let name = "operator".to_owned();
            figures.push(Memory { name, anonymous, media: 0, limit: OPERATOR_MEMORY_LIMIT });
        }
        for camera in CAMERAS.iter().map(|camera| camera.name) {
            let pod = self.producer(camera).await?.with_context(|| format!("camera {camera} has no pod"))?;
            let media = feed_of(&pod).await?.map_or(0, |feed| feed.backlog.bytes);
            let anonymous = self.anonymous(&pod)?.saturating_sub(media);
            let name = format!("producer of {camera}");
            figures.push(Memory { name, anonymous, media, limit: PRODUCER_MEMORY_LIMIT });
        }
        Ok(figures)
    }

    fn anonymous(&self, pod: &Pod) -> Result<u64> {
        let processes = self.cluster.pod_processes(&pod.uid().unwrap_or_default());
        let ours = processes.into_iter().filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("streamfleet")
        });
        let sum: u64 = ours.map(anonymous_of).sum::<Result<u64>>()?;
        anyhow::ensure!(sum > 0, "pod {} has no process on this machine", pod.name_any());
        Ok(sum)
    }
}

async fn feed_of(pod: &Pod) -> Result<Option<FeedStatus>> {
    let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.clone()) else { return Ok(None) };
    let body = get(SocketAddr::new(address.parse()?, ADMIN_PORT), STATUS_PATH).await?;
    let status: Status = serde_json::from_slice(&body).context("failed to read a producer's status")?;
    Ok(status.feeds.into_iter().next())
}

/// `GET` without keep-alive, of a document of known length.
async fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), exchange).await??;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").context("not an HTTP answer")?;
    let first_line = String::from_utf8_lossy(&answer[..head]).lines().next().unwrap_or_default().to_owned();
    anyhow::ensure!(first_line.contains(" 200 "), "{address}{path} answered {first_line}");
    Ok(answer[head + 4..].to_vec())
}

/// `Anonymous:` of `/proc/PID/smaps_rollup`, in bytes.
fn anonymous_of(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_anonymous(&text)
        .with_context(|| format!("/proc/{pid}/smaps_rollup has no line of anonymous memory"))
}

fn parse_anonymous(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_read_in_bytes() {
        let rollup = "00400000-7ff [rollup]\nRss:  5000 kB\nAnonymous:          1512 kB\nKSM: 0 kB\n";
        assert_eq!(parse_anonymous(rollup), Some(1512 << 10));
    }
}
