//! From a watch into a cache.

use std::collections::HashMap;
use std::fmt::Debug;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::left_out::{Gate, LeftOut, Passed};

/// A watch that leaves out objects which cannot be read, so that one broken object does not stop the rest, and those that are
/// another operator's.
pub(super) fn guarded<K>(
    api: Api<DeserializeGuard<K>>,
    cache: Store<K>,
    left_out: &LeftOut,
    is_anothers: impl Fn(&K) -> bool + Send,
) -> impl Stream<Item = Result<Passed<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()>
        + reflector::Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let mut gate = Gate::new(cache, left_out.clone(), is_anothers);
    watched(api, watcher::Config::default())
        .try_filter_map(move |event| std::future::ready(Ok(gate.pass(event))))
}

/// A watch whose objects can always be read.
pub(super) fn plain<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Passed<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()>
        + reflector::Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    watched(api, config).map_ok(Passed::from)
}

/// What the API server answers where what came since the version that is asked for has been compacted.
const COMPACTED: u16 = 410;

/// A watch that lists anew also where its very start is refused as too far back: the watcher of kube 5.0 begins again by a list only
/// where a watch that stands is told so, and else asks from the same version for ever.
fn watched<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    stream::unfold(None, move |standing| {
        let begun = || watcher(api.clone(), config.clone()).boxed();
        let mut events = standing.unwrap_or_else(begun);
        async move {
            let next = events.next().await?;
            let is_compacted = matches!(
                &next,
                Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == COMPACTED
            );
            Some((next, (!is_compacted).then_some(events)))
        }
    })
}

/// Fills a cache and calls `touched` with an object's state before and after, deletions and relists included.
pub(super) async fn follow<K>(
    events: impl Stream<Item = Result<Passed<K>, watcher::Error>> + Send,
    mut writer: Writer<K>,
    shrink: fn(&mut K),
    touched: impl Fn(Option<&K>, Option<&K>),
) where
    K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    let reader = writer.as_reader();
    let mut events = std::pin::pin!(events.default_backoff());
    while let Some(passed) = events.next().await {
        let Passed { mut event, back } = match passed {
            Ok(passed) => passed,
            Err(error) => {
                tracing::warn!(kind = %<K as Resource>::kind(&()), error = %error, "Watch broke, it is made again");
                continue;
            }
        };
        if let watcher::Event::Apply(object)
        | watcher::Event::Delete(object)
        | watcher::Event::InitApply(object) = &mut event
        {
            shrink(object);
        }
        match &event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
                let key = ObjectRef::from_obj(object);
                let before = reader.get(&key);
                writer.apply_watcher_event(&event);
                touched(before.as_deref(), reader.get(&key).as_deref());
            }
            watcher::Event::Init | watcher::Event::InitApply(_) => writer.apply_watcher_event(&event),
            watcher::Event::InitDone => {
                let mut before: HashMap<_, _> = reader
                    .state()
                    .into_iter()
                    .map(|object| (ObjectRef::from_obj(&*object), object))
                    .collect();
                writer.apply_watcher_event(&event);
                for object in reader.state() {
                    let old = before.remove(&ObjectRef::from_obj(&*object));
                    touched(old.as_deref(), Some(&object));
                }
                for object in before.into_values() {
                    touched(Some(&object), None);
                }
            }
        }
        for object in back.iter().filter_map(|key| reader.get(key)) {
            // Nobody has looked at it meanwhile.
            touched(None, Some(&object));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::FutureExt as _;
    use http::{Request, Response};
    use kube::client::Body;
    use kube::{Client, ResourceExt};
    use serde_json::json;
    use streamfleet_crds::Camera;

    use super::super::shrink;
    use super::super::testing::camera;
    use super::*;

    /// What was touched, as name, whether it was there before, and whether it is there after.
    async fn touched<T: Into<Passed<Camera>> + Send>(events: Vec<T>) -> Vec<(String, bool, bool)> {
        let seen = Mutex::new(Vec::new());
        let events = stream::iter(events.into_iter().map(|event| Ok(event.into())));
        follow(events, Writer::default(), shrink::any, |old, new| {
            let name = new.or(old).map(ResourceExt::name_any).unwrap_or_default();
            seen.lock().unwrap().push((name, old.is_some(), new.is_some()));
        })
        .await;
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        seen
    }

    fn told(name: &str, before: bool, after: bool) -> (String, bool, bool) {
        (name.to_owned(), before, after)
    }

    #[tokio::test]
    async fn what_comes_changes_and_goes_is_told() {
        let object = || camera("a", &json!({}));
        let events = vec![
            watcher::Event::Apply(object()),
            watcher::Event::Apply(object()),
            watcher::Event::Delete(object()),
        ];
        assert_eq!(
            touched(events).await,
            [told("a", false, true), told("a", true, false), told("a", true, true)]
        );
    }

    #[tokio::test]
    async fn what_went_while_the_watch_was_broken_is_told() {
        use watcher::Event::{Init, InitApply, InitDone};
        let events = vec![
            Init,
            InitApply(camera("a", &json!({}))),
            InitApply(camera("b", &json!({}))),
            InitDone,
            Init,
            InitApply(camera("b", &json!({}))),
            InitDone,
        ];
        let expected =
            [told("a", false, true), told("a", true, false), told("b", false, true), told("b", true, true)];
        assert_eq!(touched(events).await, expected);
    }

    /// An API server that refuses the first watch as too far back; by then one of two objects is gone.
    fn server(asked: &Arc<Mutex<Vec<&'static str>>>) -> Client {
        let asked = Arc::clone(asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
            let mut asked = asked.lock().unwrap();
            let is_first = !asked.contains(&"watch");
            asked.push(if is_watch { "watch" } else { "list" });
            let (code, body) = match (is_watch, is_first) {
                (true, true) => (
                    410,
                    json!({
                        "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
                        "message": "too old resource version",
                    })
                    .to_string(),
                ),
                // Nothing comes any more.
                (true, false) => return std::future::pending().left_future(),
                (false, is_first) => {
                    let names: &[&str] = if is_first { &["a", "b"] } else { &["b"] };
                    let items: Vec<Camera> = names.iter().map(|name| camera(name, &json!({}))).collect();
                    (200, json!({ "metadata": { "resourceVersion": "7" }, "items": items }).to_string())
                }
            };
            let answer = Response::builder().status(code).body(Body::from(body.into_bytes())).unwrap();
            std::future::ready(Ok::<_, Infallible>(answer)).right_future()
        });
        Client::new(service, "video")
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_may_not_begin_where_it_ended_lists_anew() {
        let asked = Arc::default();
        let events = plain(Api::<Camera>::all(server(&asked)), watcher::Config::default());
        let writer = Writer::default();
        let cache = writer.as_reader();
        let following = follow(events, writer, shrink::any, |_, _| ());
        let _ = tokio::time::timeout(Duration::from_mins(1), following).await;
        let names: Vec<_> = cache.state().iter().map(|camera| camera.name_any()).collect();
        assert_eq!(names, ["b"], "what went meanwhile is forgotten");
        assert_eq!(asked.lock().unwrap()[..4], ["list", "watch", "list", "watch"]);
    }

    #[tokio::test]
    async fn what_can_be_read_again_is_told_as_new_though_nothing_of_it_has_changed() {
        let object = || camera("a", &json!({}));
        let back =
            Passed { event: watcher::Event::Apply(object()), back: vec![ObjectRef::from_obj(&object())] };
        let expected = [told("a", false, true), told("a", false, true), told("a", true, true)];
        assert_eq!(touched(vec![Passed::from(watcher::Event::Apply(object())), back]).await, expected);
    }
}
