//! Works off the queue of one kind: starts passes as there is room, limits, measures and logs each, and puts the object back for
//! its next look.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Resource;
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::aws::Lane;
use crate::context::Context;
use crate::pulse::{BEAT, Pulses};
use crate::queue::{Action, Outcome, Trigger};
use crate::told::Told;

/// The longest that a pass may take.
const PASS_TIMEOUT: Duration = Duration::from_secs(90);
/// A pass that is not even ended by that has blocked its thread: the process has to be started anew.
const PASS_STUCK: Duration = Duration::from_secs(150);
/// How often the same failure is a warning, however many objects it befalls: where an account refuses or does not answer, ten thousand say
/// the same, each in its status too.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// An error of a pass, for metrics and events.
pub trait Classified: std::error::Error + 'static {
    /// A short name out of a small set.
    fn class(&self) -> &'static str;
}

/// What a controller works on, and what makes it work.
pub struct Wiring<K: Lookup<DynamicType = ()> + Clone + 'static>
where
    ObjectRef<K>: Hash + Eq,
{
    /// The kind, for logs and metrics.
    pub kind: &'static str,
    /// What is known of the objects.
    pub store: Store<K>,
    /// Which of them are to be looked at.
    pub trigger: Trigger<K>,
    /// Whether an object is this operator's to work on.
    pub covers: fn(&K, &Context) -> bool,
    /// Whether an object was seen through since it was changed last: then it can wait behind others.
    pub is_settled: fn(&K) -> bool,
    /// A pass.
    pub reconcile: fn(Arc<K>, Arc<Context>) -> PassFuture,
}

/// A pass that runs.
pub type PassFuture = futures::future::BoxFuture<'static, Result<Action, PassError>>;

/// A pass that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// It failed.
    #[error("{causes}")]
    Failed {
        /// The error's class.
        class: &'static str,
        /// The error and what caused it.
        causes: String,
    },
    /// It did not end.
    #[error("no end within {} s", PASS_TIMEOUT.as_secs())]
    TimedOut,
    /// It panicked.
    #[error("the pass panicked")]
    Panicked,
}

impl PassError {
    fn class(&self) -> &'static str {
        match self {
            Self::Failed { class, .. } => class,
            Self::TimedOut => "timeout",
            Self::Panicked => "panic",
        }
    }
}

/// The pass of a controller, whose errors are its own.
pub fn erased<E: Classified>(pass: impl Future<Output = Result<Action, E>> + Send + 'static) -> PassFuture {
    let failed = |error: E| PassError::Failed { class: error.class(), causes: causes(&error) };
    async move { pass.await.map_err(failed) }.boxed()
}

/// Closes the queue when the controller ends, however it ends.
struct Open<'a, K: Lookup<DynamicType = ()> + 'static>(&'a Trigger<K>)
where
    ObjectRef<K>: Hash + Eq;

impl<K: Lookup<DynamicType = ()> + 'static> Drop for Open<'_, K>
where
    ObjectRef<K>: Hash + Eq,
{
    fn drop(&mut self) {
        self.0.queue().close();
    }
}

/// Runs one controller until it is stopped and what was begun has ended. Dropped, it abandons what was begun.
pub async fn run<K>(wiring: Wiring<K>, stop: CancellationToken, ctx: Arc<Context>, pulses: Pulses)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    ObjectRef<K>: Hash + Eq,
{
    let pulse = pulses.start(wiring.kind);
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let _open = Open(&wiring.trigger);
    let mut first = FirstPasses::begin(&wiring);
    let (failures, mut passes) = (Arc::new(Told::within(SAY_EVERY)), JoinSet::new());
    loop {
        if !stop.is_cancelled() {
            start_passes(&wiring, &ctx, &failures, &mut passes);
        } else if passes.is_empty() {
            return;
        }
        first.look(&wiring, &ctx);
        let due = wiring.trigger.queue().next_due();
        tokio::select! {
            Some(ended) = passes.join_next() => finish(&wiring, ended),
            () = wiring.trigger.pushed() => {}
            () = wake(due) => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            _ = ticks.tick() => if !is_stuck(&wiring) {
                pulse.beat();
            },
        }
    }
}

async fn wake(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The end of a pass: of which object, and with what.
type Ended<K> = (Arc<ObjectRef<K>>, Outcome);

fn start_passes<K>(
    wiring: &Wiring<K>,
    ctx: &Arc<Context>,
    failures: &Arc<Told>,
    passes: &mut JoinSet<Ended<K>>,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    ObjectRef<K>: Hash + Eq,
{
    loop {
        let next = wiring.trigger.queue().pop(Instant::now());
        let Some((key, lane)) = next else { return };
        let object = wiring.store.get(&key).filter(|object| (wiring.covers)(object, ctx));
        let Some(object) = object else {
            wiring.trigger.queue().done(&key, Outcome::Gone, Instant::now());
            continue;
        };
        let span = tracing::info_span!(
            "pass",
            kind = wiring.kind,
            namespace = key.namespace.as_deref().unwrap_or_default(),
            name = key.name,
            lane = lane.as_str(),
        );
        let run = (wiring.reconcile)(object.clone(), ctx.clone());
        let pass = pass(wiring.kind, lane, run, ctx.clone(), failures.clone());
        passes.spawn(async move { (key, pass.await) }.instrument(span));
    }
}

fn finish<K>(wiring: &Wiring<K>, ended: Result<Ended<K>, tokio::task::JoinError>)
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
    ObjectRef<K>: Hash + Eq,
{
    // A pass catches its own panics; nobody aborts it.
    let Ok((key, outcome)) = ended else { return };
    let delay = wiring.trigger.queue().done(&key, outcome, Instant::now());
    if let Some(delay) = delay {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        tracing::debug!(kind = wiring.kind, namespace, name = key.name, delay = ?delay, "Pass is tried again");
    }
}

/// Whether a pass blocks its thread.
fn is_stuck<K>(wiring: &Wiring<K>) -> bool
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
    ObjectRef<K>: Hash + Eq,
{
    wiring.trigger.queue().oldest_pass().is_some_and(|since| since.elapsed() > PASS_STUCK)
}

/// Measures, limits and logs one pass.
async fn pass(
    kind: &'static str,
    lane: Lane,
    run: PassFuture,
    ctx: Arc<Context>,
    failures: Arc<Told>,
) -> Outcome {
    let started = Instant::now();
    let run = AssertUnwindSafe(lane.run(run)).catch_unwind();
    let result = match tokio::time::timeout(PASS_TIMEOUT, run).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(PassError::Panicked),
        Err(_) => Err(PassError::TimedOut),
    };
    let class = result.as_ref().map_or_else(PassError::class, |_| "ok");
    ctx.metrics.reconciled(kind, class, started.elapsed());
    match result {
        Ok(action) => Outcome::Done(action),
        Err(error) if ctx.leadership.check().is_err() => {
            tracing::debug!(error = %error, "Pass has ended with our leadership");
            Outcome::Failed
        }
        Err(error) if failures.is_news(error.to_string(), Instant::now()) => {
            tracing::warn!(error = %error, "Pass failed, it is tried again");
            Outcome::Failed
        }
        Err(error) => {
            tracing::debug!(error = %error, "Pass failed as others did, it is tried again");
            Outcome::Failed
        }
    }
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

/// Who begins to lead looks at every object once; says when that is done.
struct FirstPasses {
    began: Instant,
    is_done: bool,
}

impl FirstPasses {
    /// Opens the queue and puts every object in: those that are not settled go first.
    fn begin<K>(wiring: &Wiring<K>) -> Self
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
        ObjectRef<K>: Hash + Eq,
    {
        wiring.trigger.queue().open();
        for object in wiring.store.state() {
            let is_settled = object.meta().deletion_timestamp.is_none() && (wiring.is_settled)(&object);
            let lane = if is_settled { Lane::Sweep } else { Lane::Fresh };
            wiring.trigger.push_unseen(ObjectRef::from_obj(&*object), lane);
        }
        Self { began: Instant::now(), is_done: false }
    }

    fn look<K>(&mut self, wiring: &Wiring<K>, ctx: &Context)
    where
        K: Lookup<DynamicType = ()> + Clone + 'static,
        ObjectRef<K>: Hash + Eq,
    {
        if self.is_done || !wiring.trigger.queue().is_all_seen() {
            return;
        }
        self.is_done = true;
        let took = self.began.elapsed();
        ctx.metrics.first_passes_done(wiring.kind, took);
        let seconds = took.as_secs_f64();
        tracing::info!(
            kind = wiring.kind,
            objects = wiring.store.len(),
            seconds,
            "Every object was looked at"
        );
    }
}
