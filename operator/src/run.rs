//! Puts the parts together: caches, controllers, the sweep, the admin server; and stops them together.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::args::Settings;
use crate::aws::observer::Observer;
use crate::aws::sdk::SdkClouds;
use crate::aws::{Clouds, Place};
use crate::backoff::{Backoff, jittered};
use crate::context::{AwsSide, Cluster, Context};
use crate::events::Events;
use crate::feeds::Feeds;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::stream_class::verified_place;
use crate::watch::{self, Caches, Triggers};
use crate::{admin, camera, stream_class, video_stream};

/// How many objects of a kind are worked on at a time.
const CONCURRENCY: u16 = 8;
/// How long changes of an object are gathered before it is looked at.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The longest that a pass may take: the client's own retries could otherwise hold it for minutes.
const PASS_TIMEOUT: Duration = Duration::from_secs(90);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to a cluster.
    #[error("failed to find the cluster: neither a service account nor a kubeconfig")]
    Infer(#[source] kube::config::InferConfigError),
    /// The client could not be made.
    #[error("failed to make the client")]
    Client(#[source] kube::Error),
    /// The default of `--installation` could not be read.
    #[error("failed to read the UID of namespace kube-system; set --installation")]
    Installation(#[source] kube::Error),
    /// The admin address is taken.
    #[error("failed to listen for /healthz, /readyz and /metrics")]
    Listen(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("failed to wait for signals")]
    Signal(#[source] std::io::Error),
}

/// An error of a pass, for metrics and events.
pub trait Classified: std::error::Error + Send + 'static {
    /// A short name out of a small set.
    fn class(&self) -> &'static str;
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(mut settings: Settings) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let listener = admin::listen(settings.admin_listen).await.map_err(Error::Listen)?;
    let client =
        Client::try_from(kube::Config::infer().await.map_err(Error::Infer)?).map_err(Error::Client)?;
    let installation = match settings.installation.take() {
        Some(installation) => installation,
        None => default_installation(&client).await?,
    };
    tracing::info!(installation, version = env!("CARGO_PKG_VERSION"), "Operator starts");
    settings.installation = Some(installation);

    let (caches, writers) = watch::caches();
    let (classes, for_classes) = unbounded_channel();
    let (streams, for_streams) = unbounded_channel();
    let (cameras, for_cameras) = unbounded_channel();
    let triggers = Triggers { classes, streams, cameras };
    let ctx = Arc::new(context(settings, client.clone(), caches.clone(), triggers.clone()));

    let watching = tokio::spawn(watch::run(client, writers, caches.clone(), triggers.clone()));
    let serving = tokio::spawn(admin::serve(listener, caches.clone(), ctx.metrics.clone(), stop.clone()));
    let sweeping = tokio::spawn(sweep(ctx.clone()));
    let controllers = async {
        ready(&ctx).await;
        let classes = Wiring { kind: "StreamClass", store: caches.classes, triggers: for_classes };
        let streams = Wiring { kind: "VideoStream", store: caches.streams, triggers: for_streams };
        let cameras = Wiring { kind: "Camera", store: caches.cameras, triggers: for_cameras };
        tokio::join!(
            control(classes, &stop, ctx.clone(), stream_class::reconcile),
            control(streams, &stop, ctx.clone(), video_stream::reconcile),
            control(cameras, &stop, ctx.clone(), camera::reconcile),
        );
    };
    let mut controllers = std::pin::pin!(controllers);
    tokio::select! {
        () = &mut controllers => {}
        signal = signalled() => {
            signal?;
            tracing::info!("Operator stops");
            stop.cancel();
            // What is in flight may end; what does not end soon is as a crash, and a crash does no harm.
            let _ = tokio::time::timeout(Duration::from_secs(10), controllers).await;
        }
    }
    watching.abort();
    sweeping.abort();
    let _ = serving.await;
    Ok(())
}

fn context(settings: Settings, client: Client, caches: Caches, triggers: Triggers) -> Context {
    let metrics = Arc::new(Metrics::default());
    let clouds: Arc<dyn Clouds> = Arc::new(SdkClouds::new(metrics.clone()));
    Context {
        aws: AwsSide {
            observer: Arc::new(Observer::new(clouds.clone(), settings.sweep)),
            clouds,
            checks: Arc::default(),
        },
        feeds: Arc::new(Feeds::new(caches.cameras.clone(), triggers.cameras.clone())),
        cluster: Cluster { events: Events::new(client.clone()), client, caches, triggers },
        settings,
        backoff: Backoff::default(),
        metrics,
        leadership: Leadership::sole(),
    }
}

async fn default_installation(client: &Client) -> Result<String, Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get("kube-system").await.map_err(Error::Installation)?;
    Ok(system.uid().unwrap_or_default())
}

async fn signalled() -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for the first list of every cache: before it, what is missing may only not have come yet.
async fn ready(ctx: &Context) {
    let mut told = Instant::now();
    loop {
        let missing = ctx.cluster.caches.missing().await;
        if missing.is_empty() {
            return;
        }
        if told.elapsed() > Duration::from_secs(10) {
            tracing::info!(
                missing = missing.join(","),
                "Waiting for first lists; are the definitions installed?"
            );
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a controller works on, and what makes it work.
struct Wiring<K: reflector::Lookup + Clone + 'static>
where
    ObjectRef<K>: Hash + Eq,
    K::DynamicType: Hash + Eq,
{
    kind: &'static str,
    store: Store<K>,
    triggers: UnboundedReceiver<ObjectRef<K>>,
}

/// Runs one controller until it is stopped.
async fn control<K, Fut, E>(
    wiring: Wiring<K>,
    stop: &CancellationToken,
    ctx: Arc<Context>,
    mut reconcile: impl FnMut(Arc<K>, Arc<Context>) -> Fut,
) where
    K: Resource<DynamicType = ()>
        + reflector::Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
    K: Unpin,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    E: Classified + Sync,
    ObjectRef<K>: Hash + Eq,
{
    let Wiring { kind, store, triggers } = wiring;
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    // What triggers it comes from the shared watches alone.
    Controller::for_stream(futures::stream::pending(), store)
        .with_config(config)
        .reconcile_on(UnboundedReceiverStream::new(triggers))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            move |object, ctx| pass(kind, reconcile(object.clone(), ctx.clone()), object, ctx),
            |object, failure: &PassError<E>, ctx| {
                let delay = ctx.backoff.failed(object.uid().as_deref().unwrap_or_default());
                tracing::debug!(kind, delay = ?delay, class = failure.class(), "Pass is tried again");
                Action::requeue(delay)
            },
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

/// A pass that came to nothing.
#[derive(Debug, thiserror::Error)]
enum PassError<E: Classified> {
    /// It failed.
    #[error(transparent)]
    Failed(E),
    /// It did not end.
    #[error("no end within {} s", PASS_TIMEOUT.as_secs())]
    TimedOut,
}

impl<E: Classified> PassError<E> {
    fn class(&self) -> &'static str {
        match self {
            Self::Failed(error) => error.class(),
            Self::TimedOut => "timeout",
        }
    }
}

/// Measures, limits and logs one pass.
async fn pass<K, E: Classified>(
    kind: &'static str,
    reconcile: impl Future<Output = Result<Action, E>>,
    object: Arc<K>,
    ctx: Arc<Context>,
) -> Result<Action, PassError<E>>
where
    K: Resource<DynamicType = ()>,
{
    let started = Instant::now();
    let result = match tokio::time::timeout(PASS_TIMEOUT, reconcile).await {
        Ok(result) => result.map_err(PassError::Failed),
        Err(_) => Err(PassError::TimedOut),
    };
    let outcome = result.as_ref().map_or_else(PassError::class, |_| "ok");
    ctx.metrics.reconciled(kind, outcome, started.elapsed());
    match &result {
        Ok(_) => ctx.backoff.succeeded(object.uid().as_deref().unwrap_or_default()),
        Err(error) => {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            let causes = causes(error);
            tracing::warn!(kind, namespace, name, error = causes, "Pass failed, it is tried again");
        }
    }
    result
}

/// An error and what caused it. Those of kube repeat their cause in their own text.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Sweeps every place that a verified class names, and has the streams looked at that are not as they were.
async fn sweep(ctx: Arc<Context>) {
    ready(&ctx).await;
    loop {
        tokio::time::sleep(jittered(ctx.settings.sweep)).await;
        let classes = ctx.cluster.caches.classes.state();
        let places: BTreeSet<Place> = classes.iter().filter_map(|class| verified_place(class)).collect();
        for place in places {
            match ctx.aws.observer.sweep(&place).await {
                Ok(changed) => tell(&ctx, &place, &changed),
                Err(error) => {
                    tracing::warn!(region = place.region, account = place.account, error = %error, "Sweep failed");
                }
            }
        }
    }
}

fn tell(ctx: &Context, place: &Place, changed: &[String]) {
    if changed.is_empty() {
        return;
    }
    let changed: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
    let streams = ctx.cluster.caches.streams.state_filter(|stream| {
        stream.status.as_ref().is_some_and(|status| {
            status.region.as_ref() == Some(&place.region)
                && status.account.as_ref() == Some(&place.account)
                && status.stream_name.as_deref().is_some_and(|name| changed.contains(name))
        })
    });
    for stream in streams {
        let _ = ctx.cluster.triggers.streams.send(ObjectRef::from_obj(&*stream));
    }
}
