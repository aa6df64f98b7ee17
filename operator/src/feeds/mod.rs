//! What the producers say about their feeds: one long poll for each pod, and the last answer of each.

mod poll;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use streamfleet_contract::{FeedStatus, Status};
use streamfleet_crds::Camera;
use tokio_util::task::AbortOnDropHandle;

use crate::queue::Trigger;

/// After so many polls in a row without an answer, a pod counts as unreachable: after about four seconds where it refuses
/// connections, as one that is still starting does.
const TRIES: u32 = 5;
/// How long it is waited after the first poll without an answer; then twice as long each time.
const RETRY: Duration = Duration::from_millis(250);
/// The longest wait between polls of a pod that does not answer.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A pod that is polled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The namespace of the Camera and its pod.
    pub namespace: String,
    /// The name of the Camera.
    pub camera: String,
    /// The UID of the Camera, which is the id of its feed.
    pub camera_uid: String,
    /// The UID of the pod.
    pub pod_uid: String,
    /// The address and port of the pod.
    pub address: SocketAddr,
}

/// What is known from a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It was not heard yet, and may still be.
    Pending,
    /// It does not answer.
    Unreachable,
    /// It answered.
    Answered {
        /// What it says about the feed; `None` where it does not have it (yet).
        feed: Option<Box<FeedStatus>>,
    },
}

/// The polls and the last answers.
pub struct Feeds {
    cameras: Store<Camera>,
    trigger: Trigger<Camera>,
    polls: Mutex<HashMap<String, Poll>>,
    client: poll::HttpClient,
}

struct Poll {
    target: Target,
    report: Report,
    /// Dropped with the entry, and so is the poll.
    _task: AbortOnDropHandle<()>,
}

impl Feeds {
    /// No polls yet. Changes are told to `trigger`; a poll ends when its Camera is no longer in `cameras`.
    pub fn new(cameras: Store<Camera>, trigger: Trigger<Camera>) -> Self {
        Self { cameras, trigger, polls: Mutex::default(), client: poll::client() }
    }

    /// What is known from this pod. Starts to poll it where that is not done yet.
    pub fn report(self: &Arc<Self>, target: &Target) -> Report {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(poll) = polls.get(&target.camera_uid)
            && poll.target == *target
        {
            return poll.report.clone();
        }
        let task = AbortOnDropHandle::new(tokio::spawn(follow(self.clone(), target.clone())));
        let poll = Poll { target: target.clone(), report: Report::Pending, _task: task };
        polls.insert(target.camera_uid.clone(), poll);
        Report::Pending
    }

    /// Stops to poll for this Camera.
    pub fn forget(&self, camera_uid: &str) {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).remove(camera_uid);
    }

    /// Stops all polls.
    pub fn stop(&self) {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn has(&self, target: &Target) -> bool {
        let reference = ObjectRef::new(&target.camera).within(&target.namespace);
        let camera = self.cameras.get(&reference);
        camera.is_some_and(|camera| camera.metadata.uid.as_ref() == Some(&target.camera_uid))
    }

    /// Keeps a report, and tells the controller where it matters.
    fn keep(&self, target: &Target, report: Report, is_news: bool) {
        {
            let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(poll) = polls.get_mut(&target.camera_uid).filter(|poll| poll.target == *target) else {
                return;
            };
            poll.report = report;
        }
        if is_news {
            self.trigger.send(ObjectRef::new(&target.camera).within(&target.namespace));
        }
    }
}

/// Polls a pod until its Camera is gone.
async fn follow(feeds: Arc<Feeds>, target: Target) {
    let mut seen: Option<(String, u64)> = None;
    let mut failures: u32 = 0;
    while feeds.has(&target) {
        match poll::status(&feeds.client, target.address, seen.as_ref()).await {
            Ok(status) => {
                let now = (status.instance.clone(), status.generation);
                let is_news = failures >= TRIES || seen.as_ref() != Some(&now);
                failures = 0;
                seen = Some(now);
                feeds.keep(&target, Report::Answered { feed: feed_of(status, &target) }, is_news);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                seen = None;
                tracing::debug!(camera = target.camera, address = %target.address, failures, error = %error, "Producer does not answer");
                if failures == TRIES {
                    feeds.keep(&target, Report::Unreachable, true);
                }
                let pause = RETRY.saturating_mul(2_u32.saturating_pow(failures - 1)).min(RETRY_MAX);
                tokio::time::sleep(crate::backoff::jittered(pause)).await;
            }
        }
    }
    feeds.forget(&target.camera_uid);
}

/// The feed of this Camera, without its list of gaps, which is for others.
fn feed_of(status: Status, target: &Target) -> Option<Box<FeedStatus>> {
    let mut feed = status.feeds.into_iter().find(|feed| feed.id == target.camera_uid)?;
    feed.gaps = Vec::new();
    Some(Box::new(feed))
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use axum::{Json, Router, routing::get};
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::queue::{Limits, Outcome};
    use tokio::time::Instant;

    /// A Camera in a cache, and the target of its pod.
    fn camera(address: SocketAddr) -> (Writer<Camera>, Target) {
        let camera: Camera = serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": "Camera",
            "metadata": { "name": "door", "namespace": "shop", "uid": "u" },
            "spec": { "source": { "rtsp": { "url": "rtsp://door.example/live" } }, "streamRef": { "name": "door" } },
        }))
        .unwrap();
        let mut writer = Writer::default();
        writer.apply_watcher_event(&Event::Apply(camera));
        let target = Target {
            namespace: "shop".to_owned(),
            camera: "door".to_owned(),
            camera_uid: "u".to_owned(),
            pod_uid: "p".to_owned(),
            address,
        };
        (writer, target)
    }

    fn status(feed: &str) -> Status {
        serde_json::from_value(json!({
            "schemaVersion": 1, "instance": "i", "generation": 1,
            "feeds": [{
                "id": feed, "revision": "r",
                "source": { "state": "Streaming", "reason": "Streaming", "sinceMs": 1 },
                "upload": { "state": "Storing", "reason": "Persisting", "sinceMs": 1 },
                "gaps": [{ "sequence": 1, "startMs": 1, "reason": "CameraLost" }],
            }],
        }))
        .unwrap()
    }

    /// A producer that answers its first question at once and holds the others.
    async fn producer(status: Status) -> SocketAddr {
        let router = Router::new()
            .route(
                "/status",
                get(|State(status): State<Status>, uri: http::Uri| async move {
                    if uri.query().is_some_and(|query| query.contains("instance=i&generation=1&wait=")) {
                        std::future::pending::<()>().await;
                    }
                    Json(status)
                }),
            )
            .with_state(status);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn open_trigger() -> Trigger<Camera> {
        let trigger = Trigger::new(Limits { total: 9, sweep: 9 });
        trigger.queue().open();
        trigger
    }

    fn next(trigger: &Trigger<Camera>) -> Option<ObjectRef<Camera>> {
        let now = Instant::now();
        let (key, _) = trigger.queue().pop(now)?;
        trigger.queue().done(&key, Outcome::Gone, now);
        Some((*key).clone())
    }

    /// Which Camera is to be looked at next.
    async fn told(trigger: &Trigger<Camera>) -> ObjectRef<Camera> {
        loop {
            if let Some(key) = next(trigger) {
                return key;
            }
            trigger.pushed().await;
        }
    }

    #[tokio::test]
    async fn the_first_answer_is_told_and_kept_without_its_gaps() {
        let (writer, target) = camera(producer(status("u")).await);
        let trigger = open_trigger();
        let feeds = Arc::new(Feeds::new(writer.as_reader(), trigger.clone()));
        assert_eq!(feeds.report(&target), Report::Pending);
        assert_eq!(told(&trigger).await, ObjectRef::new("door").within("shop"));
        let Report::Answered { feed: Some(feed) } = feeds.report(&target) else { panic!() };
        assert_eq!((feed.id.as_str(), feed.gaps.len()), ("u", 0));
        assert!(next(&trigger).is_none(), "the second question is held until something changes");
    }

    #[tokio::test]
    async fn a_producer_without_the_feed_is_heard_all_the_same() {
        let (writer, target) = camera(producer(status("another")).await);
        let trigger = open_trigger();
        let feeds = Arc::new(Feeds::new(writer.as_reader(), trigger.clone()));
        feeds.report(&target);
        told(&trigger).await;
        assert_eq!(feeds.report(&target), Report::Answered { feed: None });
    }

    #[tokio::test]
    async fn a_pod_that_does_not_answer_is_unreachable_after_some_tries() {
        // A port that was free a moment ago refuses.
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (writer, target) = camera(free);
        let trigger = open_trigger();
        let feeds = Arc::new(Feeds::new(writer.as_reader(), trigger.clone()));
        feeds.report(&target);
        told(&trigger).await;
        assert_eq!(feeds.report(&target), Report::Unreachable);
    }

    #[tokio::test]
    async fn a_new_pod_starts_a_new_poll() {
        let (writer, target) = camera(producer(status("u")).await);
        let trigger = open_trigger();
        let feeds = Arc::new(Feeds::new(writer.as_reader(), trigger.clone()));
        feeds.report(&target);
        told(&trigger).await;
        let successor = Target { pod_uid: "q".to_owned(), ..target.clone() };
        assert_eq!(feeds.report(&successor), Report::Pending);
        assert_eq!(feeds.polls.lock().unwrap().len(), 1);
    }
}
