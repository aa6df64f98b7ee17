//! Stands between an operator and all that it changes, AWS and the API server: writes down what it asks, and holds one request at
//! a point that was chosen, before it takes effect or when it has taken effect and its answer is due.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::Body as KubeBody;
use serde_json::{Value, json};
use streamfleet_tests::cluster::wait::{Look, until};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::asked::{About, Asked};
use crate::look::{Eyes, Moment};
use crate::trace::is_change;

/// No request of the operator has a body of that size.
const BODY_MAX: usize = 4 << 20;
/// What was passed on is answered within so long.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// When a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It never takes effect.
    Before,
    /// It has taken effect; its answer never arrives.
    After,
}

/// Where an operator is killed: at which call or write of this kind, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub label: String,
    pub nth: usize,
    pub side: Side,
}

/// Something that was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub asked: Asked,
    pub at: Instant,
    /// The HTTP status, once it was answered.
    pub status: Option<u16>,
    /// What was answered, where that is JSON.
    pub answer: Value,
    /// What there was before and after a call that changes something.
    pub around: Option<(Moment, Moment)>,
    /// Whether it was passed on.
    is_passed: bool,
}

impl Seen {
    /// Whether it was carried out.
    pub fn is_done(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether it was to change something.
    pub fn is_change(&self) -> bool {
        // A role that is assumed leaves nothing behind.
        self.asked.is_point && is_change(&self.asked.label) && self.asked.label != "AssumeRole"
    }
}

#[derive(Default)]
struct Book {
    /// Counts the beginnings.
    run: u64,
    seen: Vec<Seen>,
    plan: Option<Point>,
    /// Nothing passes any more that would be a point.
    is_shut: bool,
}

/// A running gate. It ends when this is dropped.
pub struct Gate {
    shared: Arc<Shared>,
    aws: SocketAddr,
    kubernetes: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
}

struct Shared {
    eyes: Eyes,
    client: Client,
    emulator: SocketAddr,
    http: HttpClient<HttpConnector, Full<Bytes>>,
    book: Mutex<Book>,
    held: watch::Sender<bool>,
}

/// An answer that is to be passed back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A run, and which of its requests.
type Place = (u64, usize);

/// What becomes of a request.
enum Turn {
    Pass(Place),
    HoldBefore,
    HoldAfter(Place),
    Never,
}

impl Gate {
    /// Starts one before this emulator and this API server.
    pub async fn start(eyes: Eyes, client: Client, emulator: SocketAddr) -> Result<Self> {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        let (book, held) = (Mutex::default(), watch::Sender::new(false));
        let shared = Arc::new(Shared { eyes, client, emulator, http, book, held });
        let aws = Router::new().fallback(to_aws).with_state(shared.clone());
        let kubernetes = Router::new().fallback(to_kubernetes).with_state(shared.clone());
        let ((aws, first), (kubernetes, second)) = (serve(aws).await?, serve(kubernetes).await?);
        Ok(Self { shared, aws, kubernetes, _tasks: [first, second] })
    }

    /// Where AWS is, for an operator.
    pub fn aws(&self) -> String {
        format!("http://{}", self.aws)
    }

    /// Writes a kubeconfig that leads here.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("through-the-gate.kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gate",
            "clusters": [{ "name": "gate", "cluster": { "server": format!("http://{}", self.kubernetes) } }],
            "users": [{ "name": "gate", "user": {} }],
            "contexts": [{ "name": "gate", "context": { "cluster": "gate", "user": "gate" } }],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// What was asked so far is forgotten; the next request that fits is held.
    pub fn begin(&self, plan: Option<Point>) {
        let mut book = self.shared.book();
        *book = Book { run: book.run + 1, plan, ..Book::default() };
        self.shared.held.send_replace(false);
    }

    /// Resolves when the request is held; nothing passes any more then.
    pub async fn is_held(&self) {
        // The sender lives as long as this.
        drop(self.shared.held.subscribe().wait_for(|held| *held).await);
    }

    /// Waits until all that was passed on is answered, and lets everything pass again: the operator is dead.
    pub async fn open(&self) -> Result<()> {
        until(ANSWER_MAX, "what was under way is answered", async || {
            let under_way =
                self.shared.book().seen.iter().filter(|one| one.is_passed && one.status.is_none()).count();
            Ok(if under_way == 0 { Look::Done(()) } else { Look::NotYet(format!("{under_way} are not")) })
        })
        .await?;
        let mut book = self.shared.book();
        (book.plan, book.is_shut) = (None, false);
        Ok(())
    }

    /// All that was asked since the beginning.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.book().seen.clone()
    }
}

async fn serve(router: Router) -> Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
    Ok((address, AbortOnDropHandle::new(task)))
}

async fn to_aws(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let passed = async {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_MAX).await?;
        let asked = Asked::of_aws(parts.uri.path(), &body, &shared.eyes.name());
        shared.carry(asked, Onward { parts, body, is_aws: true }).await
    };
    passed.await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
}

async fn to_kubernetes(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let passed = async {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_MAX).await?;
        if parts.method == Method::GET && parts.uri.query().is_some_and(|query| query.contains("watch=")) {
            let (head, body) = shared.client.send(kubernetes_request(&parts, &body)?).await?.into_parts();
            let mut response = Response::new(Body::new(body));
            *response.status_mut() = head.status;
            return Ok(response);
        }
        let asked = Asked::of_kubernetes(&parts, &body, &shared.eyes.name());
        shared.carry(asked, Onward { parts, body, is_aws: false }).await
    };
    passed.await.unwrap_or_else(|error: anyhow::Error| {
        (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()
    })
}

/// A request on its way.
struct Onward {
    parts: Parts,
    body: Bytes,
    is_aws: bool,
}

fn kubernetes_request(parts: &Parts, body: &Bytes) -> Result<http::Request<KubeBody>> {
    let target = parts.uri.path_and_query().context("a request has a path")?.as_str();
    let mut onward = http::Request::builder().method(parts.method.clone()).uri(target);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    Ok(onward.body(KubeBody::from(body.to_vec()))?)
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self: &Arc<Self>, asked: Asked, onward: Onward) -> Result<Response> {
        let is_point = asked.is_point;
        let (at, is_held) = match self.turn(asked) {
            Turn::Pass(at) => (at, false),
            Turn::HoldAfter(at) => (at, true),
            Turn::HoldBefore => {
                self.held.send_replace(true);
                return std::future::pending().await;
            }
            Turn::Never => return std::future::pending().await,
        };
        // In a task of its own: it takes effect also when whoever has sent it dies meanwhile.
        let answer = tokio::spawn(self.clone().pass(at, onward)).await?;
        if is_held {
            self.held.send_replace(true);
        }
        // What was under way when another request was held is not answered either.
        if is_held || is_point && self.book().is_shut {
            return std::future::pending().await;
        }
        let answer = answer?;
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }

    /// A request has come: what becomes of it.
    fn turn(&self, asked: Asked) -> Turn {
        let mut book = self.book();
        if book.is_shut && asked.is_point {
            return Turn::Never;
        }
        let is_counted = |asked: &Asked| asked.is_point && asked.about != About::Others;
        let alike = |one: &&Seen| is_counted(&one.asked) && one.asked.label == asked.label;
        let nth = book.seen.iter().filter(alike).count() + 1;
        let side = book.plan.as_ref().and_then(|plan| {
            (is_counted(&asked) && plan.label == asked.label && plan.nth == nth).then_some(plan.side)
        });
        book.is_shut |= side.is_some();
        let is_passed = side != Some(Side::Before);
        let (at, now) = ((book.run, book.seen.len()), Instant::now());
        book.seen.push(Seen { asked, at: now, status: None, answer: Value::Null, around: None, is_passed });
        match side {
            None => Turn::Pass(at),
            Some(Side::Before) => Turn::HoldBefore,
            Some(Side::After) => Turn::HoldAfter(at),
        }
    }

    async fn pass(self: Arc<Self>, (run, at): Place, onward: Onward) -> Result<Answer> {
        let is_looked_at = onward.is_aws && self.book().seen.get(at).is_some_and(Seen::is_change);
        let before = if is_looked_at { Some(self.eyes.moment().await?) } else { None };
        let answer =
            if onward.is_aws { self.ask_aws(onward).await } else { self.ask_kubernetes(onward).await };
        let after = if is_looked_at { Some(self.eyes.moment().await?) } else { None };
        let mut book = self.book();
        let book_run = book.run;
        if let Some(seen) = book.seen.get_mut(at).filter(|_| book_run == run) {
            let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
            seen.status = Some(status);
            seen.answer = answer
                .as_ref()
                .ok()
                .and_then(|answer| serde_json::from_slice(&answer.body).ok())
                .unwrap_or_default();
            seen.around = before.zip(after);
        }
        answer
    }

    async fn ask_aws(&self, onward: Onward) -> Result<Answer> {
        let target = onward.parts.uri.path_and_query().context("a request has a path")?.as_str();
        let uri = format!("http://{}{target}", self.emulator);
        let mut request =
            http::Request::builder().method(onward.parts.method).uri(uri).body(Full::new(onward.body))?;
        // The name of the host too: it is signed.
        *request.headers_mut() = onward.parts.headers;
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        let (head, body) = self.http.request(request).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    async fn ask_kubernetes(&self, onward: Onward) -> Result<Answer> {
        let request = kubernetes_request(&onward.parts, &onward.body)?;
        let (head, body) = self.client.send(request).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}
