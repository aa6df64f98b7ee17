//! The thread that all files of the spool are written, read and deleted on.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streamfleet_contract::{SpoolMode, SpoolState, SpoolStatus};
use tokio::sync::{mpsc, oneshot};

use super::folder::{Folder, Owner, Part};
use super::leftovers::{Evicted, Leftovers};
use super::replay::Replayed;
use super::{Fault, Job, Reply, rights};
use crate::board::Board;
use crate::buffer::pool::{Pool, Share};
use crate::metrics::Metrics;

/// How long a predecessor may take to let go of the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

const LOCK_POLL: Duration = Duration::from_millis(200);

/// How often leftovers are looked at for their age.
const EXPIRE_EVERY: Duration = Duration::from_mins(10);

/// How often the status is renewed while its state does not change.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A spool is full no longer when one of so many parts of it is free, or nothing has failed for this time.
const ROOM_PART: u64 = 16;
const CALM: Duration = Duration::from_secs(30);

/// The file that says that a process uses the folder.
const LOCK_NAME: &str = ".lock";

/// What the thread is asked for.
#[derive(Debug)]
pub enum Command {
    /// Give out a feed's folder.
    Claim(Owner, oneshot::Sender<Result<Claimed, Fault>>),
    /// Take a folder in that was read. Answers with its key.
    Adopt {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: Owner,
        /// Its place in the budget.
        share: Share,
        /// What was found in it.
        replayed: Replayed,
        /// Where replies go.
        replies: mpsc::UnboundedSender<Reply>,
        /// Where the key goes.
        reply: oneshot::Sender<u64>,
    },
    /// A feed's job.
    Job(u64, Job),
    /// A feed ended.
    Release(u64),
    /// Tell how the spool stands.
    Say,
    /// Answer when everything before is done.
    Sync(oneshot::Sender<()>),
}

/// A folder that nobody else uses.
#[derive(Debug)]
pub struct Claimed {
    /// The folder.
    pub path: PathBuf,
    /// Its place in the budget, with what is in it.
    pub share: Share,
    /// See [`super::Recovered::replaced`].
    pub replaced: Vec<(i64, i64)>,
    /// See [`super::Recovered::is_first`].
    pub is_first: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Thread {
    root: PathBuf,
    mode: SpoolMode,
    pool: Arc<Pool>,
    board: Arc<Board>,
    metrics: Metrics,
    open: HashMap<u64, InUse>,
    /// Every folder that a feed of this process has had.
    claimed: HashSet<PathBuf>,
    leftovers: Leftovers,
    next_key: u64,
    /// Why the folder cannot be used at all.
    unusable: Option<Fault>,
    standing: (SpoolState, String),
    failed_at: Option<Instant>,
    said_at: Option<Instant>,
    expired_at: Option<Instant>,
}

#[derive(Debug)]
struct InUse {
    folder: Folder,
    path: PathBuf,
    owner: Owner,
    replies: mpsc::UnboundedSender<Reply>,
}

impl Thread {
    /// For a folder, which is opened when it runs.
    pub fn new(root: PathBuf, mode: SpoolMode, pool: Arc<Pool>, board: Arc<Board>, metrics: Metrics) -> Self {
        Self {
            root,
            mode,
            pool,
            board,
            metrics,
            open: HashMap::new(),
            claimed: HashSet::new(),
            leftovers: Leftovers::default(),
            next_key: 1,
            unusable: None,
            standing: (SpoolState::Ready, String::new()),
            failed_at: None,
            said_at: None,
            // Not at once: what is there belongs to feeds that are about to claim it.
            expired_at: Some(Instant::now()),
        }
    }

    /// Works until nobody can ask for anything any more.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let lock = self.unlock();
        self.say();
        while let Some(command) = commands.blocking_recv() {
            self.carry_out(command);
            self.expire_if_due();
            // What is told last holds until something happens again, so it has to be right.
            if commands.is_empty() || self.said_at.is_none_or(|at| at.elapsed() >= STATUS_EVERY) {
                self.say();
            }
        }
        drop(lock);
    }

    /// Makes the folder ready; gives what keeps others from it.
    fn unlock(&mut self) -> Option<File> {
        let root = self.root.clone();
        let opened = open_root(&root, || {
            tracing::warn!(path = %root.display(), "Another process uses the spool; feeds wait up to 10 s for it");
            self.standing = (SpoolState::Failed, "another process uses the spool; waiting for it".to_owned());
            self.say();
        });
        match opened.and_then(|lock| Ok((lock, Leftovers::find(&root, &self.pool)?))) {
            Ok((lock, leftovers)) => {
                self.leftovers = leftovers;
                self.standing = (SpoolState::Ready, String::new());
                Some(lock)
            }
            Err(error) => {
                tracing::error!(%error, path = %self.root.display(), "The spool cannot be opened; feeds go without it");
                self.unusable = Some(Fault::Closed);
                self.standing = (SpoolState::Failed, format!("the spool cannot be opened: {error}"));
                None
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            // Whoever asked may be gone.
            Command::Claim(owner, reply) => _ = reply.send(self.claim(&owner)),
            Command::Adopt { path, owner, share, replayed, replies, reply } => {
                let key = self.next_key;
                self.next_key += 1;
                for _ in &replayed.damaged {
                    self.failed(Fault::Damaged);
                }
                let folder = Folder::new(path.clone(), owner.clone(), self.mode, share, &replayed);
                self.open.insert(key, InUse { folder, path, owner, replies });
                _ = reply.send(key);
            }
            Command::Job(key, job) => self.job(key, job),
            Command::Release(key) => {
                if let Some(InUse { folder, path, owner, .. }) = self.open.remove(&key) {
                    // Its successor for another stream is there already, or will be.
                    let mut owners = self.open.values().map(|used| &used.owner);
                    let successor = owners.find(|used| used.feed == owner.feed).cloned();
                    self.leftovers.add(path, Some(owner), folder.into_share());
                    // What is set aside was reported by the feed that ended.
                    if let Some(successor) = successor {
                        drop(self.leftovers.set_aside(&successor));
                    }
                }
            }
            Command::Say => self.say(),
            Command::Sync(reply) => _ = reply.send(()),
        }
    }

    fn claim(&mut self, owner: &Owner) -> Result<Claimed, Fault> {
        if let Some(fault) = self.unusable {
            return Err(fault);
        }
        let path = self.root.join(owner.folder_name());
        if self.open.values().any(|used| used.path == path) {
            return Err(Fault::InUse);
        }
        let replaced = self.leftovers.set_aside(owner);
        let share = self.leftovers.claim(&path).unwrap_or_else(|| self.pool.share());
        let is_first = self.claimed.insert(path.clone());
        Ok(Claimed { path, share, replaced, is_first })
    }

    fn job(&mut self, key: u64, job: Job) {
        let reply = match job {
            Job::Append(parts) => {
                let mut outcomes = Vec::with_capacity(parts.len());
                for part in parts {
                    let outcome = self.write(key, &part).map(|()| part.units.len());
                    outcomes.push((part.group, outcome));
                }
                Some(Reply::Appended(outcomes))
            }
            Job::Store(part) => Some(Reply::Stored(part.group, self.write(key, &part))),
            Job::Load(group) => {
                let loaded =
                    self.open.get(&key).ok_or(Fault::Closed).and_then(|used| used.folder.load(group));
                if let Err(fault) = &loaded {
                    self.failed(*fault);
                }
                Some(Reply::Loaded(group, loaded))
            }
            Job::Done(group) => {
                let done = self.open.get_mut(&key).map_or(Ok(()), |used| used.folder.done(group));
                if let Err(fault) = done {
                    self.failed(fault);
                }
                None
            }
        };
        if let (Some(reply), Some(used)) = (reply, self.open.get(&key)) {
            // The feed may have ended meanwhile.
            _ = used.replies.send(reply);
        }
    }

    /// Writes a part; leftovers give way for it.
    fn write(&mut self, key: u64, part: &Part) -> Result<(), Fault> {
        let used = self.open.get_mut(&key).ok_or(Fault::Closed)?;
        loop {
            match used.folder.append(part) {
                Ok(()) => {
                    self.wrote();
                    return Ok(());
                }
                Err(Fault::Full) => {
                    let Some(evicted) = self.leftovers.evict() else {
                        self.failed(Fault::Full);
                        return Err(Fault::Full);
                    };
                    tell_evicted(&self.metrics, &evicted, "buffer_overflow");
                }
                // Said when the beginning failed.
                Err(Fault::Incomplete) => return Err(Fault::Incomplete),
                Err(fault) => {
                    self.failed(fault);
                    return Err(fault);
                }
            }
        }
    }

    /// Something was written. A spool that is full now and then stays so until it has some room, or has not failed for a
    /// while: nobody is to hear of each change.
    fn wrote(&mut self) {
        if self.standing.0 == SpoolState::Ready {
            return;
        }
        let has_room = self.pool.budget().saturating_sub(self.pool.used()) > self.pool.budget() / ROOM_PART;
        if has_room || self.failed_at.is_none_or(|at| at.elapsed() >= CALM) {
            self.standing = (SpoolState::Ready, String::new());
            tracing::info!("The spool takes video again");
            self.say();
        }
    }

    fn failed(&mut self, fault: Fault) {
        self.metrics.spool_failed(match fault {
            Fault::Full => "full",
            Fault::Volume(_) | Fault::Closed | Fault::InUse => "volume",
            Fault::Incomplete | Fault::Damaged => "damaged",
        });
        let state = match fault {
            Fault::Full => SpoolState::Full,
            Fault::Volume(_) | Fault::Closed | Fault::InUse => SpoolState::Failed,
            // What was damaged is lost; what comes can be written.
            Fault::Incomplete | Fault::Damaged => return,
        };
        self.failed_at = Some(Instant::now());
        if self.standing.0 != state {
            tracing::warn!(%fault, "The spool does not take video");
            self.standing = (state, fault.to_string());
            self.say();
        }
    }

    fn say(&mut self) {
        self.said_at = Some(Instant::now());
        let status = SpoolStatus {
            state: self.standing.0,
            message: self.standing.1.clone(),
            used_bytes: self.pool.used(),
            max_bytes: self.pool.budget(),
            leftover_bytes: self.leftovers.bytes(),
        };
        self.metrics.spool(&status);
        self.board.set_spool(status);
    }

    fn expire_if_due(&mut self) {
        if self.expired_at.is_some_and(|at| at.elapsed() < EXPIRE_EVERY) {
            return;
        }
        self.expired_at = Some(Instant::now());
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        for evicted in self.leftovers.expire(now_ms) {
            tell_evicted(&self.metrics, &evicted, "expired");
        }
    }
}

/// Opens the folder and its lock; `waits` is called once, when another process has it.
fn open_root(root: &Path, waits: impl FnOnce()) -> std::io::Result<File> {
    rights::folder_builder().create(root)?;
    let lock = rights::file_options().open(root.join(LOCK_NAME))?;
    rights::tighten(&root.join(LOCK_NAME), rights::FILE);
    let start = Instant::now();
    let mut waits = Some(waits);
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                waits.take().into_iter().for_each(|waits| waits());
                std::thread::sleep(LOCK_POLL);
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(std::io::Error::other("another process uses it"));
            }
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn tell_evicted(metrics: &Metrics, evicted: &Evicted, reason: &str) {
    let feed = evicted.owner.as_ref().map_or("", |owner| owner.feed.as_str());
    let stream = evicted.owner.as_ref().map_or("", |owner| owner.arn.as_str());
    let length_ms: i64 = evicted.spans.iter().map(|(start, end)| end - start).sum();
    if evicted.spans.is_empty() {
        return;
    }
    // What was set aside was counted then.
    if !evicted.is_set_aside {
        metrics.gap_of(feed, reason, length_ms);
    }
    tracing::warn!(
        feed,
        stream,
        reason,
        bytes = evicted.bytes,
        spans = ?evicted.spans,
        "Video of a feed that is not configured any more was given up"
    );
}
