//! `kubectl kvs status`: one row for each camera, from its status and, live, from its producer.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use streamfleet_contract::{FeedStatus, SourceState, Status, UploadState};
use streamfleet_crds::{Camera, ConditionType};

use crate::args::{Output, StatusArgs};
use crate::cluster::{Cluster, Scope};
use crate::table;
use crate::time::short;

/// How many pods are asked at a time: each is a request that the API server passes on.
const PODS_AT_A_TIME: usize = 16;

/// What a camera's producer says, or why it says nothing.
type Answer = Result<Status, String>;

pub async fn run(cluster: &Cluster, args: &StatusArgs) -> anyhow::Result<()> {
    let scope = if args.all_namespaces { Scope::All } else { Scope::Namespace };
    let mut cameras = cluster.cameras(&scope).await?;
    if !args.cameras.is_empty() {
        cameras
            .retain(|camera| camera.metadata.name.as_ref().is_some_and(|name| args.cameras.contains(name)));
    }
    let answers: Vec<Answer> = futures::stream::iter(&cameras)
        .map(|camera| ask(cluster, camera))
        .buffered(PODS_AT_A_TIME)
        .collect()
        .await;
    let mut rows: Vec<Row> =
        cameras.iter().zip(&answers).map(|(camera, answer)| Row::new(camera, answer)).collect();
    rows.sort_by(|a, b| (&a.namespace, &a.camera).cmp(&(&b.namespace, &b.camera)));
    let text = match args.output {
        Output::Json => as_json(&rows),
        Output::Table if rows.is_empty() => match scope {
            Scope::All => "No cameras found\n".to_owned(),
            Scope::Namespace => format!("No cameras found in namespace {}\n", cluster.namespace()),
        },
        Output::Table => as_table(&rows, Timestamp::now()),
    };
    std::io::stdout().write_all(text.as_bytes()).context("failed to write the answer")
}

async fn ask(cluster: &Cluster, camera: &Camera) -> Answer {
    let pod = producer_pod(camera).ok_or_else(|| "it has no producer pod".to_owned())?;
    let namespace = camera.metadata.namespace.as_deref().unwrap_or_default();
    cluster.producer_status(namespace, pod).await.map_err(|error| crate::in_one_line(&error))
}

fn producer_pod(camera: &Camera) -> Option<&str> {
    camera.status.as_ref()?.producer.as_ref()?.pod.as_deref()
}

/// What is said about one camera.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    namespace: String,
    camera: String,
    /// The condition's status, `-` where there is none yet.
    ready: String,
    reason: String,
    state: String,
    stream: String,
    /// When storage was last acknowledged.
    last_persisted: Option<Timestamp>,
    /// The time of the last stored picture; only the producer knows it.
    stored_until: Option<Timestamp>,
    /// Why `last_persisted` is only what the status last said; none where it is live.
    not_live: Option<String>,
    offline_since: Option<Timestamp>,
    pod: Option<String>,
}

impl Row {
    fn new(camera: &Camera, answer: &Answer) -> Self {
        let status = camera.status.clone().unwrap_or_default();
        let ready =
            status.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
        let feed = feed_of(camera, answer);
        let recorded_offline = status.offline_since.as_ref().map(|time| time.0);
        let stored = feed.as_ref().ok().and_then(|feed| feed.stored);
        let last_persisted = match &feed {
            // A producer that has stored nothing since it started does not know what its predecessor stored.
            Ok(_) => stored.and_then(|mark| Timestamp::from_millisecond(mark.wall_ms).ok()),
            Err(_) => None,
        };
        let recorded = status.last_persisted_time.as_ref().map(|time| time.0);
        Self {
            namespace: camera.metadata.namespace.clone().unwrap_or_default(),
            camera: camera.metadata.name.clone().unwrap_or_default(),
            ready: ready.map_or_else(|| "-".to_owned(), |condition| condition.status.clone()),
            reason: ready.map(|condition| condition.reason.clone()).unwrap_or_default(),
            state: status.state.clone().unwrap_or_else(|| "-".to_owned()),
            stream: status.stream_name.clone().unwrap_or_else(|| "-".to_owned()),
            last_persisted: last_persisted.or(recorded),
            stored_until: stored.and_then(|mark| Timestamp::from_millisecond(mark.media_ms).ok()),
            not_live: match &feed {
                Ok(_) if last_persisted.is_some() => None,
                Ok(_) => Some("its producer has stored nothing yet".to_owned()),
                Err(reason) => Some(reason.clone()),
            },
            offline_since: match &feed {
                // What the operator wrote last is older than what the producer says now.
                Ok(feed) if is_well(feed) => None,
                _ => recorded_offline.or_else(|| feed.as_ref().ok().and_then(|feed| lost_since(feed))),
            },
            pod: producer_pod(camera).map(str::to_owned),
        }
    }

    fn as_cells(&self, now: Timestamp) -> [String; 7] {
        let star = if self.not_live.is_some() { " *" } else { "" };
        let last_persisted = self
            .last_persisted
            .map_or_else(|| "-".to_owned(), |time| format!("{} ago{star}", short(now.duration_since(time))));
        let since = self
            .offline_since
            .map(|time| format!("{time:.0} ({})", short(now.duration_since(time))))
            .unwrap_or_default();
        let [namespace, camera, ready] = [&self.namespace, &self.camera, &self.ready].map(Clone::clone);
        [namespace, camera, ready, self.state.clone(), self.stream.clone(), last_persisted, since]
    }

    fn as_json(&self) -> Value {
        json!({
            "namespace": self.namespace,
            "camera": self.camera,
            "ready": self.ready,
            "reason": self.reason,
            "state": self.state,
            "stream": self.stream,
            "lastPersistedTime": self.last_persisted.map(|time| format!("{time:.3}")),
            "storedUntil": self.stored_until.map(|time| format!("{time:.3}")),
            "live": self.not_live.is_none(),
            "notLiveBecause": self.not_live,
            "offlineSince": self.offline_since.map(|time| format!("{time:.3}")),
            "pod": self.pod,
        })
    }
}

/// The camera's own feed in what its producer says: a producer may carry several.
fn feed_of<'a>(camera: &Camera, answer: &'a Answer) -> Result<&'a FeedStatus, String> {
    let status = answer.as_ref().map_err(Clone::clone)?;
    let uid = camera.metadata.uid.as_deref().unwrap_or_default();
    let feed = status.feeds.iter().find(|feed| feed.id == uid);
    feed.ok_or_else(|| "its producer does not carry it yet".to_owned())
}

/// Whether video comes and is stored.
fn is_well(feed: &FeedStatus) -> bool {
    feed.source.state == SourceState::Streaming && feed.upload.state == UploadState::Storing
}

/// Since when a feed is lost, by its producer: the operator's own `offlineSince` is the better one where it is there.
fn lost_since(feed: &FeedStatus) -> Option<Timestamp> {
    let since_ms = match (feed.source.state, feed.upload.state) {
        (SourceState::Failed, _) => feed.source.since_ms,
        (_, UploadState::Failed) => feed.upload.since_ms,
        _ => return None,
    };
    Timestamp::from_millisecond(since_ms).ok()
}

fn as_json(rows: &[Row]) -> String {
    let rows: Vec<Value> = rows.iter().map(Row::as_json).collect();
    format!("{:#}\n", Value::from(rows))
}

const HEAD: [&str; 7] = ["NAMESPACE", "CAMERA", "READY", "STATE", "STREAM", "LAST PERSISTED", "SINCE"];

fn as_table(rows: &[Row], now: Timestamp) -> String {
    let cells: Vec<_> = rows.iter().map(|row| row.as_cells(now)).collect();
    let mut text = table::render(HEAD, &cells);
    // Each reason once, with the cameras that it holds for.
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.last_persisted.is_some()) {
        if let Some(reason) = &row.not_live {
            reasons.entry(reason).or_default().push(&row.camera);
        }
    }
    if !reasons.is_empty() {
        text.push_str("\n* not live, but as the Camera's status last said:\n");
    }
    text.extend(reasons.iter().map(|(reason, cameras)| format!("  {}: {reason}\n", some_of(cameras))));
    text
}

/// A list that stays on one line.
fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn camera(name: &str, status: &Value) -> Camera {
        serde_json::from_value(json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": "Camera",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
            "spec": {"source": {"rtsp": {"url": "rtsp://x.example/live"}}, "streamRef": {"name": name}},
            "status": status,
        }))
        .unwrap()
    }

    fn ready(status: &str, reason: &str) -> Value {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-23T09:00:00Z"}])
    }

    fn recording(name: &str) -> Camera {
        camera(
            name,
            &json!({"conditions": ready("True", "Recording"), "state": "Recording", "streamName": format!("shop.{name}"),
                   "lastPersistedTime": "2026-11-23T09:52:00Z", "producer": {"pod": format!("pod-{name}")}}),
        )
    }

    fn status(camera: &str, wall: &str) -> Status {
        let wall: Timestamp = wall.parse().unwrap();
        serde_json::from_value(json!({
            "schemaVersion": 1, "instance": "i", "generation": 1,
            "feeds": [
                {"id": "another", "revision": "r",
                 "source": {"state": "Failed", "reason": "Unreachable", "sinceMs": 1},
                 "upload": {"state": "Failed", "reason": "SourceLost", "sinceMs": 1},
                 "stored": {"mediaMs": 1, "wallMs": 1}},
                {"id": format!("uid-{camera}"), "revision": "r",
                 "source": {"state": "Streaming", "reason": "Streaming", "sinceMs": 1},
                 "upload": {"state": "Storing", "reason": "Persisting", "sinceMs": 1},
                 "stored": {"mediaMs": wall.as_millisecond() - 700, "wallMs": wall.as_millisecond()}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_table_shows_live_values_marks_the_others_and_says_why() {
        let offline = camera(
            "yard",
            &json!({"conditions": ready("False", "Unreachable"), "state": "Camera unreachable", "streamName": "shop.yard",
                   "lastPersistedTime": "2026-11-23T09:55:00Z", "offlineSince": "2026-11-23T09:55:02Z",
                   "producer": {"pod": "pod-yard"}}),
        );
        let new = camera("new", &Value::Null);
        let rows = [
            Row::new(&recording("door"), &Ok(status("door", "2026-11-23T09:59:58.5Z"))),
            Row::new(&new, &Err("it has no producer pod".to_owned())),
            Row::new(&offline, &Err("no answer within 4 s".to_owned())),
        ];
        let table = as_table(&rows, now());
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            [
                "NAMESPACE   CAMERA   READY   STATE                STREAM      LAST PERSISTED   SINCE",
                "shop        door     True    Recording            shop.door   1s ago",
                "shop        new      -       -                    -           -",
                "shop        yard     False   Camera unreachable   shop.yard   5m ago *         2026-11-23T09:55:02Z (4m58s)",
                "",
                "* not live, but as the Camera's status last said:",
                "  yard: no answer within 4 s",
            ]
        );
    }

    #[test]
    fn a_feed_that_is_well_again_is_not_shown_as_lost_whatever_was_written_last() {
        let written = camera(
            "door",
            &json!({"conditions": ready("False", "Unreachable"),
            "offlineSince": "2026-11-23T09:55:02Z", "producer": {"pod": "pod-door"}}),
        );
        let row = Row::new(&written, &Ok(status("door", "2026-11-23T09:59:58Z")));
        assert_eq!(row.offline_since, None);
    }

    #[test]
    fn the_feed_is_the_camera_s_own_where_a_producer_carries_several() {
        let row = Row::new(&recording("door"), &Ok(status("door", "2026-11-23T09:59:58Z")));
        assert_eq!(row.last_persisted, Some("2026-11-23T09:59:58Z".parse().unwrap()));
        assert_eq!(row.stored_until, Some("2026-11-23T09:59:57.3Z".parse().unwrap()));
        assert_eq!((row.not_live, row.offline_since), (None, None));
        let row = Row::new(&recording("hall"), &Ok(status("door", "2026-11-23T09:59:58Z")));
        assert_eq!(row.last_persisted, Some("2026-11-23T09:52:00Z".parse().unwrap()));
        assert_eq!(row.not_live.as_deref(), Some("its producer does not carry it yet"));
    }

    #[test]
    fn a_successor_that_has_stored_nothing_yet_does_not_hide_what_was_stored_before() {
        let mut status = status("door", "2026-11-23T09:59:58Z");
        for feed in &mut status.feeds {
            feed.stored = None;
        }
        let row = Row::new(&recording("door"), &Ok(status));
        assert_eq!(row.last_persisted, Some("2026-11-23T09:52:00Z".parse().unwrap()));
        assert_eq!(row.not_live.as_deref(), Some("its producer has stored nothing yet"));
    }

    #[test]
    fn a_lost_camera_that_the_operator_has_not_written_down_yet_shows_since_when() {
        let mut status = status("door", "2026-11-23T09:59:00Z");
        let feed = &mut status.feeds[1];
        feed.source.state = SourceState::Failed;
        feed.source.since_ms = now().as_millisecond() - 30_000;
        let row = Row::new(&recording("door"), &Ok(status));
        assert_eq!(row.offline_since, Some("2026-11-23T09:59:30Z".parse().unwrap()));
    }

    #[test]
    fn json_has_every_field_and_null_where_nothing_is_known() {
        let rows = [Row::new(&camera("new", &Value::Null), &Err("it has no producer pod".to_owned()))];
        let value: Value = serde_json::from_str(&as_json(&rows)).unwrap();
        assert_eq!(
            value,
            json!([{"namespace": "shop", "camera": "new", "ready": "-", "reason": "", "state": "-", "stream": "-",
                    "lastPersistedTime": null, "storedUntil": null, "live": false,
                    "notLiveBecause": "it has no producer pod", "offlineSince": null, "pod": null}])
        );
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        assert_eq!(some_of(&["a", "b"]), "a, b");
        assert_eq!(some_of(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
