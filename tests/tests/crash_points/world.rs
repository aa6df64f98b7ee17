//! A world in virtual time: an API server, the control plane of KVS, CloudWatch, and an operator that lives in it until it is
//! stopped at a point that was chosen, and then lives again.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use clap::Parser as _;
use serde_json::Value;
use streamfleet_emulator::cloudwatch::{self, CloudWatch};
use streamfleet_emulator::control::{Control, ControlOptions, Scope};
use streamfleet_operator::args::{Args, Settings};
use streamfleet_operator::leader::Leadership;
use streamfleet_operator::run::{Operator, Surroundings};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::store::{Key, Store};
use crate::api::{self, View};
use crate::cloud::InProcess;
use crate::facts::Facts;
use crate::mutants::Mutants;
use crate::rest::{self, Patience};
use crate::trace::{Seen, What};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-west-1";
/// Whose the streams are.
pub const INSTALLATION: &str = "north";
/// What must not come out anywhere.
pub const SECRET: &str = "hunter2-external-id";
/// How long a request takes, and as long its answer.
const LATENCY: Duration = Duration::from_millis(2);
/// How long a process is away that was stopped.
const AWAY_MS: u64 = 2_000;
/// What `CRASH_POINTS_LOG` says: whether the operator's log is printed, and with `debug` all of it.
static LOG: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("CRASH_POINTS_LOG").ok());
/// More lives than any run has: each is stopped once.
const LIVES_MAX: u32 = 50;

/// What is done at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// The operator is stopped before the request has an effect.
    StopBefore,
    /// The operator is stopped when the request has had its effect, and no answer has come.
    StopAfter,
    /// The request has its effect, its answer is lost, and the operator goes on.
    LoseAnswer,
    /// The request never arrives, and the operator goes on.
    Fail,
}

impl How {
    pub const ALL: [Self; 4] = [Self::StopBefore, Self::StopAfter, Self::LoseAnswer, Self::Fail];
}

/// What happens to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interruption {
    /// At which call of AWS or write to the API server, from 0.
    pub at: usize,
    /// What.
    pub how: How,
}

/// The inside of a world.
#[derive(Clone)]
pub struct Inner {
    pub store: Store,
    pub view: View,
    pub control: Control,
    pub cloudwatch: CloudWatch,
    /// The calls of AWS and writes to the API server so far.
    pub points: Vec<String>,
    /// What is to happen.
    pub plan: Option<Interruption>,
    /// Whether it has.
    pub is_reached: bool,
    pub trace: Vec<Seen>,
    /// What is against the invariants.
    pub violations: Vec<String>,
    pub mutants: Mutants,
    pub facts: Facts,
    pub patience: Patience,
    /// How many points there were when all was settled.
    pub settled_after: usize,
    /// Whether the operator is stopped: nothing has an effect any more.
    is_stopped: bool,
    /// The time at the beginning of this life.
    base_ms: u64,
    began: Option<Instant>,
    /// When the last life ended, by the real clock.
    ended: std::time::Instant,
}

impl Inner {
    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        let lived = self.began.map(|began| began.elapsed().as_millis() as u64);
        self.base_ms + lived.unwrap_or(0)
    }

    /// Time passes in which no operator lives.
    pub fn pass_time(&mut self, ms: u64) {
        self.base_ms += ms;
    }

    /// An object as a read of it alone shows it.
    pub fn shown(&self, key: &Key) -> Option<Arc<Value>> {
        let object = self.store.get(key)?;
        let object = self.mutants.stale_read(&self.store, key).unwrap_or_else(|| object.clone());
        Some(Arc::new(self.mutants.shown(&object)))
    }

    /// Something happened.
    pub fn note(&mut self, what: What) {
        let seen = Seen { at_ms: self.now_ms(), task: tokio::task::try_id(), what };
        crate::invariants::after(self, &seen);
        self.trace.push(seen);
    }

    pub fn violate(&mut self, text: String) {
        if !self.violations.contains(&text) {
            self.violations.push(text);
        }
    }

    /// How many calls and writes may have changed something.
    pub fn changes(&self) -> usize {
        self.trace.iter().filter(|seen| seen.what.is_change()).count()
    }
}

#[derive(Default)]
struct Signals {
    changed: Notify,
    stopped: Notify,
}

/// A world; clones are the same one.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    signals: Arc<Signals>,
    logs: Logs,
}

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Rested,
}

impl World {
    /// An empty one.
    pub fn new(options: ControlOptions) -> Self {
        let base_ms = jiff::Timestamp::now().as_millisecond() as u64;
        Self::with(Inner {
            store: Store::default(),
            view: View::default(),
            control: Control::new(options),
            cloudwatch: CloudWatch::new(cloudwatch::Settings::default()),
            points: Vec::new(),
            plan: None,
            is_reached: false,
            trace: Vec::new(),
            violations: Vec::new(),
            mutants: Mutants::default(),
            facts: Facts::default(),
            patience: Patience::SHORT,
            settled_after: 0,
            is_stopped: false,
            base_ms,
            began: None,
            ended: std::time::Instant::now(),
        })
    }

    fn with(inner: Inner) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), signals: Arc::default(), logs: Logs::default() }
    }

    /// Another world, which is as this one is now.
    pub fn fork(&self) -> Self {
        let mut inner = self.lock().clone();
        inner.points.clear();
        inner.trace.clear();
        // The operator compares some times with the real clock, which goes on meanwhile: each fork is as far ahead of it.
        inner.base_ms += inner.ended.elapsed().as_millis() as u64;
        Self::with(inner)
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn scope() -> Scope {
        Scope::new(ACCOUNT, REGION)
    }

    /// Resolves when an object has changed after this call.
    pub fn changed(&self) -> Notified<'_> {
        self.signals.changed.notified()
    }

    /// Wakes the watches: something else than the operator has changed an object, or the view.
    pub fn wake(&self) {
        self.signals.changed.notify_waiters();
    }

    pub async fn latency(&self) {
        tokio::time::sleep(LATENCY).await;
    }

    /// A call of AWS or a write to the API server: `effect` takes place unless something is to happen before, and `lost` is the
    /// answer that does not come.
    pub async fn step<T>(
        &self,
        label: &str,
        effect: impl FnOnce(&mut Inner) -> T,
        lost: impl FnOnce() -> T,
    ) -> T {
        self.latency().await;
        if self.lock().is_stopped {
            return std::future::pending().await;
        }
        let how = self.reach(label);
        match how {
            Some(How::StopBefore) => return self.stop().await,
            Some(How::Fail) => return lost(),
            Some(How::StopAfter | How::LoseAnswer) | None => {}
        }
        let answer = effect(&mut self.lock());
        self.wake();
        if how == Some(How::StopAfter) {
            return self.stop().await;
        }
        self.latency().await;
        if how == Some(How::LoseAnswer) { lost() } else { answer }
    }

    /// A point is reached: what is to happen there.
    fn reach(&self, label: &str) -> Option<How> {
        let mut inner = self.lock();
        let at = inner.points.len();
        inner.points.push(label.to_owned());
        let plan = inner.plan.filter(|plan| plan.at == at)?;
        inner.is_reached = true;
        Some(plan.how)
    }

    async fn stop<T>(&self) -> T {
        self.lock().is_stopped = true;
        self.signals.stopped.notify_one();
        std::future::pending().await
    }

    /// Lets the operator work until nothing is left to do, life after life.
    pub fn to_rest(&self) {
        for _ in 0..LIVES_MAX {
            if self.live(rest::rested(self)) == End::Rested {
                return;
            }
        }
        self.lock().violate("I6: no end of lives".to_owned());
    }

    /// Lets the operator work while this runs, or until it is stopped: then what is left of this does not run, and the answer is
    /// false.
    pub fn during(&self, script: impl Future<Output = ()>) -> bool {
        self.live(script) == End::Rested
    }

    fn live(&self, script: impl Future<Output = ()>) -> End {
        fastrand::seed(7);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let run = async {
            {
                let mut inner = self.lock();
                inner.began = Some(Instant::now());
                inner.is_stopped = false;
            }
            let around = Surroundings {
                client: api::client(self),
                clouds: Arc::new(InProcess::new(self)),
                leadership: Leadership::sole(),
                settings: settings(),
            };
            let end = tokio::select! {
                biased;
                () = self.signals.stopped.notified() => End::Stopped,
                () = Operator::new().work(around, CancellationToken::new()) => panic!("the operator ended"),
                () = script => End::Rested,
            };
            // Outside of the runtime the clock is the real one.
            let mut inner = self.lock();
            (inner.base_ms, inner.began) = (inner.now_ms(), None);
            if end == End::Stopped {
                inner.base_ms += AWAY_MS;
            }
            inner.ended = std::time::Instant::now();
            end
        };
        let logs = self.logs.clone();
        let is_whole = self.lock().patience == Patience::LONG || LOG.as_deref() == Some("debug");
        let level = if is_whole { tracing::Level::DEBUG } else { tracing::Level::INFO };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || logs.clone())
            .finish();
        let end = tracing::subscriber::with_default(subscriber, || runtime.block_on(run));
        // With it go all tasks, whoever started them.
        drop(runtime);
        let logs = self.logs.take();
        if logs.contains(SECRET) {
            self.lock().violate("I7: a secret is in the log".to_owned());
        }
        end
    }
}

fn settings() -> Settings {
    let mut settings = Settings::from(Args::parse_from(["streamfleet-operator"]));
    settings.installation = Some(INSTALLATION.to_owned());
    settings
}

/// What is logged in a life.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        if LOG.is_some() {
            print!("{}", String::from_utf8_lossy(&bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
