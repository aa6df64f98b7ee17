//! The API server, in process: what the operator uses of it, behind a `kube::Client`. Reads of one object are always of its present
//! state, as those of a real one; lists and watches may lag, lose events, or be cut.

pub mod store;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::trace::What;
use crate::world::{Inner, Replica, World};
use store::{Entry, Key, Kind, Patch, Refusal, Store};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// How lists and watches see the log.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// How long it takes until something is to be seen.
    pub delay_ms: u64,
    /// Nothing newer than this version is to be seen until then.
    pub frozen: Option<(u64, u64)>,
    /// One in so many events is never sent on a watch.
    pub drops_one_in: Option<u64>,
    /// A watch from before this version is refused: what was then has been compacted.
    pub compacted: u64,
    /// Watches of an earlier age are cut.
    pub age: u64,
}

impl View {
    fn shows(&self, entry: &Entry, now_ms: u64) -> bool {
        let is_frozen = self.frozen.is_some_and(|(version, until)| entry.version > version && now_ms < until);
        !is_frozen && entry.at_ms + self.delay_ms <= now_ms
    }

    /// The newest version that is to be seen.
    fn newest(&self, store: &Store, now_ms: u64) -> u64 {
        let log = store.log();
        let shown = log.iter().rev().find(|entry| self.shows(entry, now_ms));
        shown.map_or(0, |entry| entry.version)
    }

    /// The same events are lost in each run, whoever watches.
    fn loses(&self, entry: &Entry) -> bool {
        let draw = entry.version.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        self.drops_one_in.is_some_and(|count| draw.is_multiple_of(count))
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    plural: String,
    namespace: String,
    name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    /// Reads `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`, or less.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let skipped = if parts.next()? == "api" { 1 } else { 2 };
        let rest: Vec<&str> = parts.skip(skipped).collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let text = |at: usize| rest.get(at).map(|part| (*part).to_owned());
        Some(Self { plural: text(0)?, namespace: namespace.to_owned(), name: text(1), subresource: text(2) })
    }

    fn key(&self) -> Key {
        (self.plural.clone(), self.namespace.clone(), self.name.clone().unwrap_or_default())
    }
}

/// A client of the API server of this world, for one of its operators.
pub fn client(world: &World, by: Replica) -> Client {
    let world = world.clone();
    let service = tower::service_fn(move |request| serve(world.clone(), by, request));
    Client::new(service, "default")
}

async fn serve(world: World, by: Replica, request: Request<Body>) -> Result<Answer, BoxError> {
    let (head, body) = request.into_parts();
    let target = Target::of(head.uri.path()).ok_or("no such path")?;
    let query = |name: &str| {
        let query = head.uri.query().unwrap_or_default();
        let mut all = url::form_urlencoded::parse(query.as_bytes());
        all.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    };
    if head.method == Method::GET {
        if target.name.is_some() {
            return Ok(get(&world, &target).await);
        }
        if query("watch").is_some() {
            let since = query("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
            return Ok(watch(&world, &target, since));
        }
        return Ok(list(&world, &target));
    }
    let body = body.collect_bytes().await?;
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
    let kind = head.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_apply = kind.is_some_and(|kind| kind.contains("apply-patch"));
    let write = Write {
        verb: match head.method {
            Method::POST => Verb::Create,
            Method::DELETE => Verb::Delete,
            _ => Verb::Patch,
        },
        manager: query("fieldManager").unwrap_or_else(|| "unnamed".to_owned()),
        is_apply,
        is_forced: query("force").as_deref() == Some("true"),
        target,
        body,
    };
    write.send(&world, by).await
}

async fn get(world: &World, target: &Target) -> Answer {
    world.latency().await;
    let mut inner = world.lock();
    let key = target.key();
    let found = inner.shown(&key);
    // What is true, whatever a planted fault shows.
    let object = inner.store.get(&key).cloned();
    inner.note(What::Read { key: key.clone(), object });
    match found {
        Some(object) => answer(200, &object),
        None => refuse(&Refusal::not_found(&key)),
    }
}

fn list(world: &World, target: &Target) -> Answer {
    let inner = world.lock();
    let now_ms = inner.now_ms();
    let version = inner.view.newest(&inner.store, now_ms);
    let mut items = inner.store.at(&target.plural, version);
    items
        .retain(|object| target.namespace.is_empty() || object["metadata"]["namespace"] == *target.namespace);
    let items: Vec<Value> = items.iter().map(|object| inner.mutants.shown(object)).collect();
    let list = json!({
        "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    });
    answer(200, &list)
}

fn watch(world: &World, target: &Target, since: u64) -> Answer {
    let inner = world.lock();
    if since < inner.view.compacted {
        let gone = Refusal { code: 410, reason: "Expired", message: "too old resource version".to_owned() };
        // Either is seen: the answer itself, and the first event of a watch that was granted.
        if since.is_multiple_of(2) {
            return refuse(&gone);
        }
        return answer(200, &json!({ "type": "ERROR", "object": status(&gone) }));
    }
    let age = inner.view.age;
    drop(inner);
    let cursor = (world.clone(), target.plural.clone(), since);
    let lines = futures::stream::unfold(cursor, move |(world, plural, since)| async move {
        let (line, version) = next_event(&world, &plural, since, age).await?;
        Some((Ok::<_, BoxError>(Frame::data(line)), (world, plural, version)))
    });
    Response::builder().status(200).body(StreamBody::new(lines.boxed()).boxed_unsync()).unwrap()
}

/// The next event of a kind after a version, when it is to be seen; none where the watch is cut.
async fn next_event(world: &World, plural: &str, mut since: u64, age: u64) -> Option<(Bytes, u64)> {
    loop {
        let changed = world.changed();
        let wait_ms = {
            let inner = world.lock();
            if inner.view.age != age {
                return None;
            }
            let now_ms = inner.now_ms();
            let log = inner.store.log();
            let first = log.partition_point(|entry| entry.version <= since);
            let next = log[first..].iter().find(|entry| entry.key.0 == plural);
            match next {
                Some(entry) if inner.view.loses(entry) => {
                    since = entry.version;
                    continue;
                }
                Some(entry) if inner.view.shows(entry, now_ms) => {
                    return Some((line(&inner.mutants.shown(&entry.object), entry.kind), entry.version));
                }
                Some(_) => 100,
                None => 60_000,
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_millis(wait_ms), changed).await;
    }
}

fn line(object: &Value, kind: Kind) -> Bytes {
    let mut line = json!({ "type": kind.as_str(), "object": object }).to_string();
    line.push('\n');
    Bytes::from(line)
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Patch,
    Delete,
}

/// A request that writes.
struct Write {
    verb: Verb,
    target: Target,
    manager: String,
    is_apply: bool,
    is_forced: bool,
    body: Value,
}

impl Write {
    fn label(&self) -> String {
        let Target { plural, subresource, .. } = &self.target;
        let verb = match self.verb {
            Verb::Create => "create",
            Verb::Patch if self.is_apply => "apply",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        };
        let subresource = subresource.as_deref().map(|name| format!("/{name}")).unwrap_or_default();
        format!("{verb} {plural}{subresource}")
    }

    async fn send(self, world: &World, by: Replica) -> Result<Answer, BoxError> {
        let label = self.label();
        let lost = || Err("connection reset by peer".into());
        world.step(by, &label.clone(), move |inner| Ok(self.carry_out(inner, label)), lost).await
    }

    fn carry_out(self, inner: &mut Inner, label: String) -> Answer {
        let mut key = self.target.key();
        if self.target.name.is_none() {
            self.body["metadata"]["name"].as_str().unwrap_or_default().clone_into(&mut key.2);
        }
        let is_status = self.target.subresource.as_deref() == Some("status");
        let mut body = self.body;
        let kept = inner.mutants.keeps_write(&label, &mut body);
        let now_ms = inner.now_ms();
        let mut trial;
        // A write that a planted fault swallows is answered as if it had been made.
        let store = if kept {
            &mut inner.store
        } else {
            trial = inner.store.clone();
            &mut trial
        };
        let result = match self.verb {
            Verb::Create => store.create(&key, body.clone(), now_ms),
            Verb::Delete => store.delete(&key, &body["preconditions"], now_ms),
            Verb::Patch => {
                let patch = if self.is_apply {
                    Patch::Apply { is_forced: self.is_forced, config: body.clone() }
                } else {
                    Patch::Merge(body.clone())
                };
                store.patch(&key, is_status, (&self.manager, &patch), now_ms)
            }
        };
        let object: Option<Arc<Value>> = result.as_ref().ok().cloned();
        inner.note(What::Write { label, key, body, object });
        match result {
            Ok(object) => answer(if self.verb == Verb::Create { 201 } else { 200 }, &object),
            Err(refusal) => refuse(&refusal),
        }
    }
}

fn answer(code: u16, object: &Value) -> Answer {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never| match never {});
    Response::builder().status(code).body(body.boxed_unsync()).unwrap()
}

fn refuse(refusal: &Refusal) -> Answer {
    answer(refusal.code, &status(refusal))
}

fn status(refusal: &Refusal) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": refusal.message, "reason": refusal.reason, "code": refusal.code,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use kube::runtime::watcher;
    use streamfleet_crds::VideoStream;
    use streamfleet_emulator::control::ControlOptions;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_shows_at_once_what_is_written() {
        let world = World::new(ControlOptions::default());
        world.apply("door", &json!({}));
        let api: Api<VideoStream> = Api::namespaced(client(&world, Replica::First), "shop");
        let mut events =
            watcher(Api::<VideoStream>::all(client(&world, Replica::First)), watcher::Config::default())
                .boxed();
        for _ in 0..3 {
            events.next().await.unwrap().unwrap();
        }
        let watching = tokio::spawn(async move {
            let event = events.next().await.unwrap().unwrap();
            (event, Instant::now())
        });
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(1_900)).await;
            world.wake();
        }
        let patch = Patch::Merge(json!({ "spec": { "retentionHours": 7 } }));
        api.patch("door", &PatchParams::default(), &patch).await.unwrap();
        let written = Instant::now();
        let (event, seen) = watching.await.unwrap();
        assert!(matches!(event, watcher::Event::Apply(stream) if stream.spec.retention_hours == Some(7)));
        assert!(seen <= written, "{:?} later", seen - written);
    }
}
