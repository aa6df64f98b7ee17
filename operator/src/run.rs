//! Puts the parts together: caches, election, controllers, sweeps, the admin server; and stops them together.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::{self, Obstacles, Shared};
use crate::alarms::Desk;
use crate::args::Settings;
use crate::aws::Clouds;
use crate::aws::guarded::GuardedClouds;
use crate::aws::observer::{Observer, Sweeps};
use crate::aws::sdk::SdkClouds;
use crate::backoff::jittered;
use crate::camera::Applied;
use crate::context::{AwsSide, Cluster, Context};
use crate::controller::{self, Wiring, erased};
use crate::events::Events;
use crate::feeds::Feeds;
use crate::leader::{self, Candidate, Leadership, Stand};
use crate::metrics::Metrics;
use crate::pulse::{BEAT, Pulses};
use crate::watch::{self, Caches, Triggers, Writers};
use crate::{alarms, camera, definitions, stream_class, sweeps, video_stream};

pub use crate::controller::Classified;

/// At a stop, how long what is in flight may take to end; what does not end then is as a crash, and a crash does no harm.
const DRAIN: Duration = Duration::from_secs(10);
/// How often definitions are looked at again that will not do.
const DEFINITIONS_AGAIN: Duration = Duration::from_secs(10);
/// How often definitions are looked at that will do: somebody may install others.
const DEFINITIONS_EVERY: Duration = Duration::from_mins(10);

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
    /// The definitions in the cluster have become others.
    #[error("the custom resource definitions were replaced by ones that are too old: {0}")]
    Definitions(String),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See [`enum@Error`]; what can pass is waited for instead.
pub async fn run(mut settings: Settings) -> Result<(), Error> {
    let operator = Operator::new();
    let _admin = admin::serve(settings.admin_listen, operator.shared()).map_err(Error::Listen)?;
    let stop = CancellationToken::new();
    let mut signal = std::pin::pin!(signalled());
    let prepared = tokio::select! {
        prepared = prepare(&mut settings, &operator.obstacles) => prepared?,
        signal = &mut signal => return signal,
    };
    let (leadership, stand) = election(&settings, &prepared);
    let surroundings = Surroundings {
        // Asked when a call's turn has come, which may be long after the pass that makes it began.
        clouds: Arc::new(SdkClouds::new(operator.metrics.clone()).guarded_by(leadership.clone())),
        client: prepared.clone(),
        leadership,
        settings,
    };
    let mut work = Box::pin(operator.work(surroundings, stop.clone()));
    let (result, is_over) = tokio::select! {
        () = &mut work => (Ok(()), true),
        problems = unfit(&prepared) => (Err(Error::Definitions(problems)), false),
        signal = &mut signal => (signal, false),
    };
    tracing::info!("Operator stops");
    stop.cancel();
    let rest = async move {
        if !is_over {
            work.await;
        }
    };
    // The lease is held until nothing writes any more.
    stand.end_after(rest, DRAIN).await;
    result
}

/// Makes the client, and waits until the cluster is as it has to be.
async fn prepare(settings: &mut Settings, obstacles: &Obstacles) -> Result<Client, Error> {
    let mut config = kube::Config::infer().await.map_err(Error::Infer)?;
    // Tries are counted, and each is checked against the lease: see `leader::guarded`.
    config.default_retry = false;
    let client = Client::try_from(config).map_err(Error::Client)?;
    let installation = match settings.installation.take() {
        Some(installation) => installation,
        None => default_installation(&client).await?,
    };
    let (version, classes) = (env!("CARGO_PKG_VERSION"), settings.classes.to_string());
    tracing::info!(installation, version, classes, "Operator starts");
    settings.installation = Some(installation);
    fit(&client, obstacles).await;
    Ok(client)
}

fn election(settings: &Settings, client: &Client) -> (Leadership, Stand) {
    if !settings.leader_election {
        return (Leadership::sole(), Stand::alone());
    }
    let namespace = settings.lease_namespace.clone();
    let candidate = Candidate {
        namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
        lease: settings.classes.lease_name(),
        pod: settings.pod_name.clone(),
    };
    leader::stand(client, &candidate)
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

/// Returns when the definitions in the cluster will do.
async fn fit(client: &Client, obstacles: &Obstacles) {
    let mut told = Vec::new();
    loop {
        let problems = match definitions::check(client).await {
            Ok(problems) => problems,
            Err(error) => vec![format!("the custom resource definitions cannot be read: {error}")],
        };
        obstacles.set(problems.clone());
        if problems.is_empty() {
            return;
        }
        if told != problems {
            tracing::error!(
                problems = problems.join("; "),
                "Nothing is done before the custom resource definitions of this release are installed"
            );
            told = problems;
        }
        tokio::time::sleep(DEFINITIONS_AGAIN).await;
    }
}

/// Returns when the definitions in the cluster will not do any more.
async fn unfit(client: &Client) -> String {
    loop {
        tokio::time::sleep(jittered(DEFINITIONS_EVERY)).await;
        // Where they cannot be read, nothing is known.
        if let Ok(problems) = definitions::check(client).await
            && !problems.is_empty()
        {
            return problems.join("; ");
        }
    }
}

/// What the operator works with and in.
pub struct Surroundings {
    /// The API server. Writes are checked against the leadership by the operator.
    pub client: Client,
    /// AWS. Calls that change something are checked likewise.
    pub clouds: Arc<dyn Clouds>,
    /// Whether this replica works.
    pub leadership: Leadership,
    /// The settings; `installation` is set.
    pub settings: Settings,
}

/// The operator without its process: caches, queues and metrics.
pub struct Operator {
    caches: Caches,
    writers: Writers,
    triggers: Triggers,
    metrics: Arc<Metrics>,
    pulses: Pulses,
    obstacles: Obstacles,
}

impl Default for Operator {
    fn default() -> Self {
        Self::new()
    }
}

impl Operator {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        let (caches, writers) = watch::caches();
        let obstacles = Obstacles::default();
        obstacles.set(vec!["starting".to_owned()]);
        Self {
            caches,
            writers,
            triggers: Triggers::default(),
            metrics: Arc::default(),
            pulses: Pulses::default(),
            obstacles,
        }
    }

    fn shared(&self) -> Shared {
        Shared {
            caches: self.caches.clone(),
            triggers: self.triggers.clone(),
            metrics: self.metrics.clone(),
            pulses: self.pulses.clone(),
            obstacles: self.obstacles.clone(),
        }
    }

    /// Watches the cluster, and works whenever this replica leads; ends after `stop`, when what is in flight has ended.
    pub async fn work(self, around: Surroundings, stop: CancellationToken) {
        let Self { caches, writers, triggers, metrics, pulses, .. } = self;
        let (client, scope) = (around.client.clone(), around.settings.classes.clone());
        let watching = watch::run(client, writers, caches.clone(), triggers.clone(), scope);
        let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
        tokio::select! {
            () = ready(&caches) => {}
            () = stop.cancelled() => return,
        }
        let leadership = around.leadership.clone();
        let pulse = pulses.start("election");
        let mut desk = Arc::<Desk>::default();
        loop {
            tokio::select! {
                () = leadership.gained() => {}
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {
                    pulse.beat();
                    continue;
                }
            }
            metrics.set_leader(true);
            // What was known of AWS in an earlier term may be long out of date. But nobody else knows of alarms that were left in it.
            desk = Arc::new(desk.next_term());
            let ctx = Arc::new(context(&around, &caches, &triggers, &metrics, &desk));
            let term = async {
                tokio::select! {
                    () = controllers(ctx.clone(), &stop, &pulses) => true,
                    () = leadership.lost() => false,
                    () = beats(&pulse) => false,
                }
            };
            let is_over = term.await;
            ctx.feeds.stop();
            metrics.set_leader(false);
            metrics.unobserved();
            if is_over {
                return;
            }
        }
    }
}

async fn beats(pulse: &crate::pulse::Pulse) {
    loop {
        pulse.beat();
        tokio::time::sleep(BEAT).await;
    }
}

/// Runs the controllers and the sweeps until they are stopped.
async fn controllers(ctx: Arc<Context>, stop: &CancellationToken, pulses: &Pulses) {
    let caches = &ctx.cluster.caches;
    let triggers = &ctx.cluster.triggers;
    let classes = Wiring {
        kind: "StreamClass",
        store: caches.classes.clone(),
        trigger: triggers.classes.clone(),
        covers: |class, ctx| {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            ctx.settings.classes.covers_class(class) && !ctx.cluster.caches.is_class_unreadable(name)
        },
        is_settled: |class| {
            is_observed(class, class.status.as_ref().and_then(|status| status.observed_generation))
        },
        reconcile: |class, ctx| erased(stream_class::reconcile(class, ctx)),
    };
    let streams = Wiring {
        kind: "VideoStream",
        store: caches.streams.clone(),
        trigger: triggers.streams.clone(),
        covers: |stream, ctx| {
            let caches = &ctx.cluster.caches;
            ctx.settings.classes.covers_stream(stream, &caches.classes)
                && !caches.is_stream_unreadable(stream)
        },
        is_settled: |stream| {
            is_observed(stream, stream.status.as_ref().and_then(|status| status.observed_generation))
        },
        reconcile: |stream, ctx| erased(video_stream::reconcile(stream, ctx)),
    };
    let cameras = Wiring {
        kind: "Camera",
        store: caches.cameras.clone(),
        trigger: triggers.cameras.clone(),
        covers: |camera, ctx| {
            let caches = &ctx.cluster.caches;
            ctx.settings.classes.covers_camera(camera, &caches.streams, &caches.classes)
                && !caches.is_camera_unreadable(camera)
        },
        is_settled: |camera| {
            is_observed(camera, camera.status.as_ref().and_then(|status| status.observed_generation))
        },
        reconcile: |camera, ctx| erased(camera::reconcile(camera, ctx)),
    };
    let all = async {
        tokio::join!(
            controller::run(classes, stop.clone(), ctx.clone(), pulses.clone()),
            controller::run(streams, stop.clone(), ctx.clone(), pulses.clone()),
            controller::run(cameras, stop.clone(), ctx.clone(), pulses.clone()),
        )
    };
    tokio::select! {
        _ = all => {}
        () = sweeps::run(ctx.clone()) => {}
    }
}

fn is_observed<K: kube::Resource>(object: &K, observed: Option<i64>) -> bool {
    observed.is_some() && observed == object.meta().generation
}

fn context(
    around: &Surroundings,
    caches: &Caches,
    triggers: &Triggers,
    metrics: &Arc<Metrics>,
    desk: &Arc<Desk>,
) -> Context {
    let Surroundings { client, clouds, leadership, settings } = around;
    let client = leader::guarded(client, leadership, metrics);
    let clouds: Arc<dyn Clouds> = Arc::new(GuardedClouds::new(clouds.clone(), leadership.clone()));
    let sweeps = Sweeps {
        streams: settings.sweep,
        alarms: settings.alarms_sweep,
        settings: settings.settings_sweep,
        alarm_prefix: alarms::prefix(settings.installation.as_deref().unwrap_or_default()),
    };
    Context {
        aws: AwsSide {
            observer: Arc::new(Observer::new(clouds.clone(), sweeps)),
            clouds,
            checks: Arc::default(),
            alarms: desk.clone(),
            creations: Arc::default(),
            since: Instant::now(),
        },
        feeds: Arc::new(Feeds::new(caches.cameras.clone(), triggers.cameras.clone())),
        cluster: Cluster {
            events: Events::new(client.clone(), &settings.pod_name),
            client,
            caches: caches.clone(),
            triggers: triggers.clone(),
            applied: Applied::default(),
        },
        settings: settings.clone(),
        metrics: metrics.clone(),
        leadership: leadership.clone(),
    }
}

/// Waits for the first list of every cache: before it, what is missing may only not have come yet.
async fn ready(caches: &Caches) {
    let mut told = Instant::now();
    loop {
        let missing = caches.missing().await;
        if missing.is_empty() {
            return;
        }
        if told.elapsed() > Duration::from_secs(10) {
            tracing::info!(missing = missing.join(","), "Waiting for first lists");
            told = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
