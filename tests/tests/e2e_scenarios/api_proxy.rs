//! Stands between an operator and the API server, and makes its view of `VideoStreams` stale: watch events come late or never, the
//! server says that it has compacted what is asked for, somebody changes an object just before the operator writes it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body as KubeBody;
use serde_json::json;
use streamfleet_tests::e2e::World;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// No request of the operator has a body of that size.
const BODY_MAX: usize = 4 << 20;

/// What becomes of watch events about `VideoStreams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// They come as they are.
    Flowing,
    /// They come when they flow again.
    Held,
    /// They never come, and nobody is told.
    Lost,
}

/// A request that was passed on, and what came of it.
#[derive(Debug, Clone)]
pub struct Passed {
    pub method: Method,
    pub path: String,
    pub status: u16,
}

/// A running proxy. It ends when this is dropped.
pub struct ApiProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    client: Client,
    view: watch::Sender<View>,
    cuts: watch::Sender<u64>,
    is_compacted: AtomicBool,
    refused_watches: AtomicUsize,
    /// The end of the path of a write before which somebody else is to change the object, and how often.
    raced: Mutex<Option<(String, usize)>>,
    passed: Mutex<Vec<Passed>>,
}

impl ApiProxy {
    /// Starts one that passes everything on.
    pub async fn start(world: &World) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            client: world.cluster.client().await?,
            view: watch::Sender::new(View::Flowing),
            cuts: watch::Sender::new(0),
            is_compacted: AtomicBool::new(false),
            refused_watches: AtomicUsize::new(0),
            raced: Mutex::default(),
            passed: Mutex::default(),
        });
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, shared, _task: AbortOnDropHandle::new(task) })
    }

    /// Writes a kubeconfig that leads here.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(format!("through-{}.kubeconfig", self.address.port()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "proxy", "user": {} }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    pub fn set_view(&self, view: View) {
        self.shared.view.send_replace(view);
    }

    /// Ends all watches of `VideoStreams`.
    pub fn cut_watches(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on until there was a new list, whoever asks for a watch is told that its resource version is compacted.
    pub fn compact(&self) {
        self.shared.is_compacted.store(true, Ordering::SeqCst);
    }

    /// How many watches were refused so.
    pub fn refused_watches(&self) -> usize {
        self.shared.refused_watches.load(Ordering::SeqCst)
    }

    /// So many times somebody else changes the object just before a write to a path that ends so.
    pub fn race(&self, path_end: &str, times: usize) {
        *lock(&self.shared.raced) = Some((path_end.to_owned(), times));
    }

    /// All requests that were passed on and answered, but for watches.
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.shared.passed).clone()
    }

    /// Those of them that write.
    pub fn writes(&self) -> Vec<Passed> {
        let mut all = self.passed();
        all.retain(|passed| passed.method != Method::GET);
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match try_pass(&shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn try_pass(shared: &Arc<Shared>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch="));
    let is_about_streams = path.ends_with("/videostreams") && method == Method::GET;
    if is_about_streams && is_watch && shared.is_compacted.load(Ordering::SeqCst) {
        shared.refused_watches.fetch_add(1, Ordering::SeqCst);
        return Ok(compacted());
    }
    if method != Method::GET {
        change_first(shared, &path).await?;
    }
    let body = axum::body::to_bytes(body, BODY_MAX).await?;
    let mut onward = http::Request::builder().method(method.clone());
    onward = onward.uri(parts.uri.path_and_query().context("a request has a path")?.as_str());
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let answer = shared.client.send(onward.body(KubeBody::from(body.to_vec()))?).await?;
    let (head, body) = answer.into_parts();
    let mut response = Response::builder().status(head.status);
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    if is_watch {
        return Ok(response.body(if is_about_streams { filtered(shared, body) } else { Body::new(body) })?);
    }
    let whole = body.collect().await?.to_bytes();
    if is_about_streams {
        shared.is_compacted.store(false, Ordering::SeqCst);
    }
    lock(&shared.passed).push(Passed { method, path, status: head.status.as_u16() });
    Ok(response.body(Body::from(whole))?)
}

/// What an API server sends whose etcd has compacted the resource version.
fn compacted() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "The resourceVersion for the provided watch is too old.",
    });
    let line = format!("{}\n", json!({ "type": "ERROR", "object": status }));
    ([(header::CONTENT_TYPE, "application/json")], line).into_response()
}

/// Changes the object, where that was ordered, so that the write that follows is over an older one.
async fn change_first(shared: &Shared, path: &str) -> Result<()> {
    {
        let mut raced = lock(&shared.raced);
        let Some((end, times)) = raced.as_mut() else { return Ok(()) };
        if *times == 0 || !path.ends_with(&*end) {
            return Ok(());
        }
        *times -= 1;
    }
    let object = path.strip_suffix("/status").unwrap_or(path);
    let mark =
        json!({ "metadata": { "annotations": { "example.com/race": format!("{:x}", fastrand::u64(..)) } } });
    let request = http::Request::patch(object).header(header::CONTENT_TYPE, "application/merge-patch+json");
    let answer = shared.client.send(request.body(KubeBody::from(mark.to_string().into_bytes()))?).await?;
    anyhow::ensure!(answer.status().is_success(), "the change before the write came to {}", answer.status());
    Ok(())
}

fn filtered(shared: &Arc<Shared>, body: KubeBody) -> Body {
    let (sender, receiver) = unbounded();
    tokio::spawn(relay(shared.clone(), body, sender));
    Body::from_stream(receiver.map(Ok::<Bytes, Infallible>))
}

/// Passes watch events on, one line each, as the view is at the time.
async fn relay(shared: Arc<Shared>, body: KubeBody, sender: UnboundedSender<Bytes>) {
    let (mut view, mut cuts) = (shared.view.subscribe(), shared.cuts.subscribe());
    let mut data = body.into_data_stream();
    let (mut unread, mut held) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            chunk = data.next() => {
                let Some(Ok(chunk)) = chunk else { return };
                unread.extend_from_slice(&chunk);
                while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                    let line = Bytes::from(unread.drain(..=end).collect::<Vec<_>>());
                    let now = *view.borrow();
                    match now {
                        View::Flowing => if sender.unbounded_send(line).is_err() { return },
                        View::Held => held.push(line),
                        View::Lost => {}
                    }
                }
            }
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                if *view.borrow_and_update() == View::Flowing {
                    for line in held.drain(..) {
                        drop(sender.unbounded_send(line));
                    }
                }
            }
            _ = cuts.changed() => return,
        }
    }
}
