//! Groups of pictures on a volume: what memory cannot hold, or everything, by the configured mode.
//!
//! Files are written, read and deleted on one thread of the process, which feeds hand [`Job`]s to and get [`Reply`]s from;
//! a slow volume delays no feed's video. The form of the files is [`streamfleet_media::spool`]'s. What is where is
//! [`folder`]'s; what belongs to no feed any more is [`leftovers`]'s.
//!
//! Nothing is synchronised with the disk: what was written survives the process, by any signal, but after a power cut
//! what the kernel had not written yet is missing (Linux: 30 s by default), and the groups before that are used.

pub mod folder;
pub mod leftovers;
mod records;
pub mod replay;
mod rights;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::SpoolMode;
use streamfleet_media::track::AccessUnit;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use self::folder::{Owner, Part};
use self::replay::{Replayed, replay};
use self::thread::{Claimed, Command};
use crate::board::Board;
use crate::buffer::pool::{Pool, ShareView};
use crate::metrics::Metrics;

/// Jobs of all feeds that wait for the thread. A feed that finds no place keeps its job, and the bytes in its own count.
const JOBS_WAITING_MAX: usize = 256;

/// So many folders are read at a time when the process starts.
const REPLAYS_MAX: usize = 2;

/// When a feed's folder is still in use, it is asked for again after this time.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long the end of the process waits for what was handed over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the spool did not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no room left: by the configured size, the feed's part of it, or the volume.
    #[error("no room is left in the spool")]
    Full,
    /// The volume cannot be used.
    #[error("the spool's volume fails: {0}")]
    Volume(std::io::ErrorKind),
    /// The beginning of the group is not there.
    #[error("the group's beginning is not in the spool")]
    Incomplete,
    /// What is there is not what was written.
    #[error("the spool is damaged")]
    Damaged,
    /// There is no spool: it could not be opened when the process started.
    #[error("the spool is not open")]
    Closed,
    /// A feed of this name and stream has not ended yet.
    #[error("the feed's folder in the spool is in use")]
    InUse,
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, UnexpectedEof};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full,
            UnexpectedEof => Self::Damaged,
            other => Self::Volume(other),
        }
    }
}

/// Something to be done for a feed. Jobs of a feed are done in their order.
#[derive(Debug)]
pub enum Job {
    /// Write parts of groups behind each other: [`Reply::Appended`].
    Append(Vec<Part>),
    /// Write a whole group: [`Reply::Stored`].
    Store(Part),
    /// Read a group: [`Reply::Loaded`].
    Load(u64),
    /// Nothing waits for a group any more. No reply.
    Done(u64),
}

/// What became of a [`Job`].
#[derive(Debug)]
pub enum Reply {
    /// Of each part: the group's id, and how many units of it were written.
    Appended(Vec<(u64, Result<usize, Fault>)>),
    /// Of a whole group.
    Stored(u64, Result<(), Fault>),
    /// The group's units.
    Loaded(u64, Result<Vec<AccessUnit>, Fault>),
}

/// The spool of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    replays: Arc<Semaphore>,
    pool: Arc<Pool>,
    mode: SpoolMode,
}

impl Spool {
    /// Opens the folder on a thread of its own. A folder that cannot be used is said on the board, and every job fails.
    pub fn start(settings: &streamfleet_contract::Spool, board: Arc<Board>, metrics: Metrics) -> Self {
        let (commands, jobs) = mpsc::channel(JOBS_WAITING_MAX);
        let pool = Pool::new(settings.max_bytes);
        let (root, mode) = (PathBuf::from(&settings.path), settings.mode);
        let thread = thread::Thread::new(root, mode, Arc::clone(&pool), board, metrics);
        let spawned = std::thread::Builder::new().name("spool".to_owned()).spawn(move || thread.run(jobs));
        if let Err(error) = spawned {
            // The other end of the channel is gone with it: every job fails.
            tracing::error!(%error, "The spool's thread cannot be started");
        }
        Self { commands, replays: Arc::new(Semaphore::new(REPLAYS_MAX)), pool, mode }
    }

    /// What is written.
    pub fn mode(&self) -> SpoolMode {
        self.mode
    }

    /// Changes how much may be taken.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.pool.set_budget(max_bytes);
        // Where there is no place for it, the thread is busy, and tells it when it is not.
        _ = self.commands.try_send(Command::Say);
    }

    /// Opens a feed's folder and reads what a process before this one has left there. Waits while it is in use.
    pub async fn open(&self, owner: Owner) -> Result<Opened, Fault> {
        let Claimed { path, share, replaced, is_first } = loop {
            match self.claim(&owner).await {
                // A feed that was taken out of the configuration and put in again: its predecessor ends soon.
                Err(Fault::InUse) => sleep(CLAIM_AGAIN_AFTER).await,
                claimed => break claimed?,
            }
        };
        let room = share.view();
        let (replayed_path, replayed_owner) = (path.clone(), owner.clone());
        let permit = self.replays.acquire().await.map_err(|_| Fault::Closed)?;
        let replayed = tokio::task::spawn_blocking(move || replay(&replayed_path, &replayed_owner)).await;
        drop(permit);
        let replayed = replayed.map_err(|_| Fault::Damaged)??;
        let (replies, receiver) = mpsc::unbounded_channel();
        let (reply, adopted) = oneshot::channel();
        let summary = Recovered { replaced, is_first, ..Recovered::of(&replayed) };
        let command = Command::Adopt { path, owner, share, replayed, replies, reply };
        self.commands.send(command).await.map_err(|_| Fault::Closed)?;
        let key = adopted.await.map_err(|_| Fault::Closed)?;
        let commands = self.commands.clone();
        let feed = FeedSpool { key, commands, replies: receiver, waiting: VecDeque::new(), room };
        Ok(Opened { feed, recovered: summary })
    }

    async fn claim(&self, owner: &Owner) -> Result<Claimed, Fault> {
        let (reply, claimed) = oneshot::channel();
        self.commands.send(Command::Claim(owner.clone(), reply)).await.map_err(|_| Fault::Closed)?;
        claimed.await.map_err(|_| Fault::Closed)?
    }

    /// Waits until what was handed over is done, but not for ever.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        let closed = async {
            if self.commands.send(Command::Sync(reply)).await.is_ok() {
                // An error says that the thread is gone, and with it what there was to wait for.
                _ = done.await;
            }
        };
        if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("The spool did not write everything in time");
        }
    }
}

/// A feed's folder, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The folder.
    pub feed: FeedSpool,
    /// What was in it.
    pub recovered: Recovered,
}

/// What a process before this one has left for a feed.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The groups that wait, oldest first.
    pub groups: Vec<streamfleet_media::spool::ScannedGroup>,
    /// The largest id of a group.
    pub last_id: u64,
    /// The latest time that was given to a unit.
    pub floor_ms: Option<i64>,
    /// Files that could not be used.
    pub unusable: Vec<String>,
    /// Where files are damaged, and the stretches of video that are lost by it.
    pub damaged: Vec<(String, Vec<(i64, i64)>)>,
    /// Stretches of video of this feed that wait for another stream than the one that it is fed to now.
    pub replaced: Vec<(i64, i64)>,
    /// Whether this process has not had the folder before: then a process before it has left what is there.
    pub is_first: bool,
}

impl Recovered {
    fn of(replayed: &Replayed) -> Self {
        Self {
            groups: replayed.waiting(),
            last_id: replayed.last_id(),
            floor_ms: replayed.floor_ms(),
            unusable: replayed.unusable.clone(),
            damaged: replayed
                .damaged
                .iter()
                .map(|damage| (damage.place.clone(), replayed.lost_spans(damage)))
                .collect(),
            ..Self::default()
        }
    }
}

/// A feed's way to its folder.
#[derive(Debug)]
pub struct FeedSpool {
    key: u64,
    commands: mpsc::Sender<Command>,
    replies: mpsc::UnboundedReceiver<Reply>,
    waiting: VecDeque<Job>,
    room: ShareView,
}

impl FeedSpool {
    /// Hands a job over, now or as soon as there is a place for it, see [`FeedSpool::flush`].
    pub fn submit(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.flush();
    }

    /// Hands over what found no place before.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(permit) = self.commands.try_reserve() else { return };
            if let Some(job) = self.waiting.pop_front() {
                permit.send(Command::Job(self.key, job));
            }
        }
    }

    /// Whether jobs wait for a place.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next reply. Pending for ever when the thread is gone.
    pub async fn reply(&mut self) -> Reply {
        match self.replies.recv().await {
            Some(reply) => reply,
            None => std::future::pending().await,
        }
    }

    /// The next reply, if there is one.
    pub fn try_reply(&mut self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// How many bytes this feed could write now.
    pub fn room(&self) -> u64 {
        self.room.room()
    }

    /// Bytes that the feed takes on the volume.
    pub fn used(&self) -> u64 {
        self.room.used()
    }
}

impl Drop for FeedSpool {
    fn drop(&mut self) {
        self.flush();
        let (commands, key) = (self.commands.clone(), self.key);
        let waiting = std::mem::take(&mut self.waiting);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Ends when the thread has taken it, or is gone.
        drop(runtime.spawn(async move {
            for job in waiting {
                _ = commands.send(Command::Job(key, job)).await;
            }
            _ = commands.send(Command::Release(key)).await;
        }));
    }
}
