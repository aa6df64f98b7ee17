//! A world in virtual time: an API server, the control plane of KVS, CloudWatch, and an operator that lives in it until it is
//! stopped at a point that was chosen, and then lives again.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use clap::Parser as _;
use serde_json::Value;
use streamfleet_emulator::cloudwatch::{self, CloudWatch};
use streamfleet_emulator::control::{Control, ControlOptions, Scope};
use streamfleet_operator::args::{Args, Settings};
use streamfleet_operator::leader::{LEASE_MARGIN, Leadership, Lender};
use streamfleet_operator::run::{Operator, Surroundings};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::store::{Key, Store};
use crate::api::{self, View};
use crate::cloud::InProcess;
use crate::facts::Facts;
use crate::mutants::{Mutant, Mutants};
use crate::rest::{self, Patience};
use crate::slowness::Slow;
use crate::trace::{Seen, What, is_change};

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
/// Longer than any life.
const ALWAYS: Duration = Duration::from_hours(24 * 365);
/// After the second operator has taken over, what the first had sent takes effect after one of these times: between two of the
/// second's first calls, which take 4 ms each, or later.
const LATE: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(9),
    Duration::from_millis(13),
    Duration::from_millis(21),
    Duration::from_millis(45),
    Duration::from_millis(600),
    Duration::from_secs(4),
];
/// Where it takes effect before the second operator begins.
const IN_TIME: Duration = Duration::from_secs(1);
/// After so long the lease comes back to the first operator.
const SECOND_LEADS: Duration = Duration::from_mins(1);

/// Which of the operators of a life: the second stands by for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    First,
    Second,
}

/// What becomes of a request of an operator that has no time left of its lease when it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// It takes effect before another operator leads.
    InTime,
    /// It takes effect when another operator is at work.
    Late,
    /// It has no effect. The lease comes back to this operator a while later.
    Never,
}

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
    /// The operator loses its lease while the request is under way, and another takes over.
    LoseLease(Held),
}

impl How {
    pub const ALL: [Self; 7] = [
        Self::StopBefore,
        Self::StopAfter,
        Self::LoseAnswer,
        Self::Fail,
        Self::LoseLease(Held::InTime),
        Self::LoseLease(Held::Late),
        Self::LoseLease(Held::Never),
    ];

    /// Whether this is another thing for a read than one of the others. One that never arrives is one whose answer is lost, and
    /// it is all the same when it is answered to whoever does not lead any more.
    pub fn suits(self, label: &str) -> bool {
        is_change(label) || !matches!(self, Self::Fail | Self::LoseLease(Held::Late | Held::Never))
    }
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
    /// What makes calls slow.
    pub slow: Slow,
    /// The operations that a role, by its name, may not call.
    pub denied: BTreeSet<(String, &'static str)>,
    pub facts: Facts,
    pub patience: Patience,
    /// How many points there were when all was settled.
    pub settled_after: usize,
    /// Whether the operator is stopped: nothing has an effect any more.
    is_stopped: bool,
    /// Who holds the lease.
    leader: Option<Replica>,
    /// The task by which something takes effect that was sent earlier.
    pub acting: Option<tokio::task::Id>,
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

    /// The task that does what is done now.
    pub fn task(&self) -> Option<tokio::task::Id> {
        self.acting.or_else(tokio::task::try_id)
    }

    /// An operator begins a call.
    fn begin(&mut self, by: Replica, label: &str) {
        if is_change(label) && self.leader != Some(by) {
            self.violate(format!("lease: the {by:?} operator begins {label}, and does not lead"));
        }
    }

    /// Something happened.
    pub fn note(&mut self, what: What) {
        let seen = Seen { at_ms: self.now_ms(), task: self.task(), what };
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
    /// The first operator has no time left of its lease.
    lost: Notify,
    /// Those of the first and the second operator.
    lenders: Mutex<Option<[Lender; 2]>>,
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
            slow: Slow::default(),
            denied: BTreeSet::new(),
            facts: Facts::default(),
            patience: Patience::SHORT,
            settled_after: 0,
            is_stopped: false,
            leader: None,
            acting: None,
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
    pub async fn step<T: Send + 'static>(
        &self,
        by: Replica,
        label: &str,
        effect: impl FnOnce(&mut Inner) -> T + Send + 'static,
        lost: impl FnOnce() -> T,
    ) -> T {
        self.lock().begin(by, label);
        self.latency().await;
        if self.lock().is_stopped {
            return std::future::pending().await;
        }
        let how = self.reach(label);
        match how {
            Some(How::StopBefore) => return self.stop().await,
            Some(How::Fail) => return lost(),
            Some(How::LoseLease(held)) => return self.lose_lease(held, effect).await.unwrap_or_else(lost),
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

    /// The first operator has no time left of its lease, as late as it may know that: the lease runs out when that margin is over.
    /// What is under way takes effect, or not, whatever becomes of the operator that has sent it.
    async fn lose_lease<T: Send + 'static>(
        &self,
        held: Held,
        effect: impl FnOnce(&mut Inner) -> T + Send + 'static,
    ) -> Option<T> {
        let over = Instant::now() + LEASE_MARGIN;
        let (at, task) = {
            let mut inner = self.lock();
            inner.leader = None;
            (inner.points.len(), inner.task())
        };
        if !self.lock().mutants.is(Mutant::LeaseNotChecked) {
            self.lend(Replica::First, over);
        }
        self.signals.lost.notify_one();
        let (world, (answer, answered)) = (self.clone(), oneshot::channel());
        tokio::spawn(async move {
            let takes_effect = match held {
                Held::InTime => Instant::now() + IN_TIME,
                Held::Late | Held::Never => over + LATE[at % LATE.len()],
            };
            let effect = async {
                tokio::time::sleep_until(takes_effect).await;
                if held == Held::Never {
                    return;
                }
                let came = {
                    let mut inner = world.lock();
                    inner.acting = task;
                    let came = effect(&mut inner);
                    inner.acting = None;
                    came
                };
                world.wake();
                // Whoever has sent it may not wait for it any more.
                let _ = answer.send(came);
            };
            tokio::join!(effect, world.hand_over(over, held));
        });
        answered.await.ok()
    }

    /// The first operator loses its lease to the second, and has it back by the end.
    pub async fn lead_in_turn(&self) {
        let over = Instant::now() + LEASE_MARGIN;
        self.lock().leader = None;
        self.lend(Replica::First, over);
        self.signals.lost.notify_one();
        self.hand_over(over, Held::Never).await;
    }

    /// The second operator leads from then, and perhaps the first again later.
    async fn hand_over(&self, at: Instant, held: Held) {
        tokio::time::sleep_until(at).await;
        self.lock().leader = Some(Replica::Second);
        self.lend(Replica::Second, Instant::now() + ALWAYS);
        if held != Held::Never {
            return;
        }
        tokio::time::sleep(SECOND_LEADS).await;
        self.lock().leader = None;
        self.lend(Replica::Second, Instant::now() + LEASE_MARGIN);
        tokio::time::sleep(LEASE_MARGIN).await;
        self.lock().leader = Some(Replica::First);
        self.lend(Replica::First, Instant::now() + ALWAYS);
    }

    fn lend(&self, to: Replica, until: Instant) {
        if let Some(lenders) = &*self.signals.lenders.lock().unwrap() {
            lenders[to as usize].lend_until(until);
        }
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

    /// An operator at work.
    async fn operate(&self, by: Replica, leadership: Leadership) {
        let around = Surroundings {
            client: api::client(self, by),
            clouds: Arc::new(InProcess::new(self, by)),
            leadership,
            settings: settings(),
        };
        Operator::new().work(around, CancellationToken::new()).await;
    }

    /// A life begins: who leads in it, the first operator and the second.
    fn begin(&self) -> [Leadership; 2] {
        let mut inner = self.lock();
        inner.began = Some(Instant::now());
        inner.is_stopped = false;
        inner.leader = Some(Replica::First);
        let ((first, leads), (second, stands_by)) = (Leadership::lent(), Leadership::lent());
        first.lend_until(Instant::now() + ALWAYS);
        *self.signals.lenders.lock().unwrap() = Some([first, second]);
        [leads, stands_by]
    }

    fn live(&self, script: impl Future<Output = ()>) -> End {
        fastrand::seed(7);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let run = async {
            let [first, second] = self.begin();
            // It has filled its caches by the time that it may lead.
            let standby = async {
                self.signals.lost.notified().await;
                self.operate(Replica::Second, second).await;
            };
            let end = tokio::select! {
                biased;
                () = self.signals.stopped.notified() => End::Stopped,
                () = self.operate(Replica::First, first) => panic!("the operator ended"),
                () = standby => panic!("the second operator ended"),
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
