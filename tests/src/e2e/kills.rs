//! The state of the world at the moment at which the operator was killed, and what it says about where the kill fell.
//! Nothing else writes meanwhile, so a look after the kill is a look at that moment. Pure, but for [`Snapshot::take`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use streamfleet_crds::{Camera, VideoStream};

use super::emulator::{Call, Emulator};
use super::timeline::Write;

/// What there was.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Cameras that are not being deleted, and whether they have a status.
    pub cameras: BTreeMap<String, bool>,
    /// `VideoStreams` by name.
    pub streams: BTreeMap<String, StreamObject>,
    /// Names of the cameras that have a Deployment.
    pub producers: BTreeSet<String>,
    /// The names of the streams at the emulator.
    pub stored: BTreeSet<String>,
    /// The API server's revision.
    pub revision: u64,
}

/// A `VideoStream`, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamObject {
    /// The name of its stream at the emulator.
    pub stream_name: String,
    /// The ARN in its status.
    pub arn: Option<String>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
}

/// A kill between the effect of a call and the status that would tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// The stream was made, and the object does not say so yet.
    Create(String),
    /// The stream was deleted, and the object is still there.
    Delete(String),
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name) => write!(f, "CreateStream of {name} had taken effect"),
            Self::Delete(name) => write!(f, "DeleteStream of {name} had taken effect"),
        }
    }
}

impl Snapshot {
    /// Looks at a namespace and the emulator.
    pub async fn take(client: &kube::Client, namespace: &str, emulator: &Emulator) -> Result<Self> {
        let everything = ListParams::default();
        let cameras = Api::<Camera>::namespaced(client.clone(), namespace).list(&everything).await?;
        let streams = Api::<VideoStream>::namespaced(client.clone(), namespace).list(&everything).await?;
        let deployments = Api::<Deployment>::namespaced(client.clone(), namespace).list(&everything).await?;
        let revision =
            deployments.metadata.resource_version.as_deref().context("a list has a revision")?.parse()?;
        let living = |camera: &&Camera| camera.metadata.deletion_timestamp.is_none();
        let producer = |deployment: &Deployment| deployment.labels().get("streamfleet.io/camera").cloned();
        Ok(Self {
            cameras: cameras
                .iter()
                .filter(living)
                .map(|camera| (camera.name_any(), camera.status.is_some()))
                .collect(),
            streams: streams
                .iter()
                .map(|stream| (stream.name_any(), stream_object(namespace, stream)))
                .collect(),
            producers: deployments.iter().filter_map(producer).collect(),
            stored: emulator.stream_names().await?,
            revision,
        })
    }

    /// What the operator still had to do, for people; empty when it had nothing to do.
    pub fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        for (name, has_status) in &self.cameras {
            match self.streams.get(name) {
                None => pending.push(format!("{name} has no VideoStream")),
                // Its own news, told below.
                Some(stream) if stream.is_deleting || stream.arn.is_none() => {}
                Some(_) if !self.producers.contains(name) => {
                    pending.push(format!("{name} has no Deployment"));
                }
                Some(_) if !has_status => pending.push(format!("{name} has no status")),
                Some(_) => {}
            }
        }
        for (name, stream) in &self.streams {
            if stream.is_deleting {
                pending.push(format!("{name} is being deleted"));
            } else if stream.arn.is_none() {
                pending.push(format!("{name} has no ARN"));
            }
        }
        pending
    }

    /// The calls whose effect was there and not yet told of.
    pub fn windows(&self) -> Vec<Window> {
        let window = |(name, stream): (&String, &StreamObject)| {
            let is_stored = self.stored.contains(&stream.stream_name);
            match (is_stored, &stream.arn, stream.is_deleting) {
                (true, None, false) => Some(Window::Create(name.clone())),
                (false, Some(_), true) => Some(Window::Delete(name.clone())),
                _ => None,
            }
        };
        self.streams.iter().filter_map(window).collect()
    }
}

fn stream_object(namespace: &str, stream: &VideoStream) -> StreamObject {
    StreamObject {
        stream_name: format!("{namespace}.{}", stream.name_any()),
        arn: stream.stream_arn().map(ToOwned::to_owned),
        is_deleting: stream.metadata.deletion_timestamp.is_some(),
    }
}

/// One kill.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Counts from 1.
    pub number: usize,
    /// When, in milliseconds of the Unix epoch.
    pub ms: u64,
    /// The number of the last call at the emulator.
    pub last_call: u64,
    /// What there was.
    pub at: Snapshot,
    /// The calls that had taken effect since it was started and were not yet told of.
    pub windows: Vec<Window>,
    /// Whether the operator had done anything since it was started.
    pub had_acted: bool,
    /// How the moment was chosen.
    pub moment: String,
}

impl Kill {
    /// Whether it interrupted anything.
    pub fn had_work_in_flight(&self) -> bool {
        self.had_acted && !self.at.pending().is_empty()
    }

    /// What the operator did last before it, and what its successor did first after it.
    pub fn between(&self, calls: &[Call], writes: &[Write]) -> (String, String) {
        let of_call = |call: &Call| (call.ms, call_text(call));
        let of_write = |write: &Write| (write.ms, write.what.clone());
        let calls_before = calls.iter().filter(|call| call.n <= self.last_call).map(of_call);
        let writes_before = writes.iter().filter(|write| write.revision <= self.at.revision).map(of_write);
        let calls_after = calls.iter().filter(|call| call.n > self.last_call).map(of_call);
        let writes_after = writes.iter().filter(|write| write.revision > self.at.revision).map(of_write);
        let last = calls_before.chain(writes_before).max();
        let first = calls_after.chain(writes_after).min();
        let text =
            |found: Option<(u64, String)>| found.map_or_else(|| "nothing".to_owned(), |(_, text)| text);
        (text(last), text(first))
    }
}

fn call_text(call: &Call) -> String {
    let stream = call.stream.as_deref().and_then(|stream| stream.rsplit('.').next()).unwrap_or("");
    let outcome = if call.status == 200 { String::new() } else { format!(" -> {}", call.status) };
    format!("{} {stream}{outcome}", call.operation).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(arn: Option<&str>, is_deleting: bool, is_stored: bool) -> Snapshot {
        let stream =
            StreamObject { stream_name: "ns.a".to_owned(), arn: arn.map(ToOwned::to_owned), is_deleting };
        Snapshot {
            cameras: BTreeMap::from([("a".to_owned(), true)]),
            streams: BTreeMap::from([("a".to_owned(), stream)]),
            producers: BTreeSet::from(["a".to_owned()]),
            stored: is_stored.then(|| "ns.a".to_owned()).into_iter().collect(),
            revision: 10,
        }
    }

    #[test]
    fn windows_are_effects_that_no_status_tells_of() {
        assert_eq!(snapshot(None, false, true).windows(), [Window::Create("a".to_owned())]);
        assert_eq!(snapshot(Some("arn"), true, false).windows(), [Window::Delete("a".to_owned())]);
        for other in [
            snapshot(None, false, false),
            snapshot(Some("arn"), false, true),
            snapshot(Some("arn"), true, true),
            snapshot(None, true, false),
        ] {
            assert_eq!(other.windows(), [], "{other:?}");
        }
    }

    #[test]
    fn a_settled_world_has_nothing_pending() {
        assert_eq!(snapshot(Some("arn"), false, true).pending(), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_missing_is_pending() {
        let settled = snapshot(Some("arn"), false, true);
        let without_stream = Snapshot { streams: BTreeMap::new(), ..settled.clone() };
        let without_producer = Snapshot { producers: BTreeSet::new(), ..settled.clone() };
        let without_status = Snapshot { cameras: BTreeMap::from([("a".to_owned(), false)]), ..settled };
        for (state, expected) in [
            (without_stream, "a has no VideoStream"),
            (without_producer, "a has no Deployment"),
            (without_status, "a has no status"),
            (snapshot(None, false, false), "a has no ARN"),
            (snapshot(Some("arn"), true, true), "a is being deleted"),
        ] {
            assert_eq!(state.pending(), [expected]);
        }
    }

    #[test]
    fn a_kill_falls_between_the_last_act_before_and_the_first_after() {
        let call = |n, ms, operation: &str| Call {
            n,
            ms,
            operation: operation.to_owned(),
            stream: Some("ns.a".to_owned()),
            status: 200,
            error: None,
            done: true,
            struck: false,
        };
        let write = |revision, ms, what: &str| Write { revision, ms, what: what.to_owned() };
        let kill = Kill {
            number: 1,
            ms: 105,
            last_call: 2,
            at: Snapshot { revision: 10, ..Snapshot::default() },
            windows: Vec::new(),
            had_acted: true,
            moment: String::new(),
        };
        let calls =
            [call(1, 100, "CreateStream"), call(2, 103, "DescribeStream"), call(3, 110, "DescribeStream")];
        let writes = [write(10, 101, "VideoStream a: finalizer"), write(11, 108, "Camera a: status")];
        let (before, after) = kill.between(&calls, &writes);
        assert_eq!((before.as_str(), after.as_str()), ("DescribeStream a", "Camera a: status"));
        assert!(!kill.had_work_in_flight(), "nothing was pending");
    }
}
