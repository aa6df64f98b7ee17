//! The status of all feeds, as `/status` tells it. Each feed writes its own; readers wait for changes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};
use streamfleet_contract::{
    Backlog, Feed, FeedStatus, GapReason, SCHEMA_VERSION, SourceReason, SourceState, SourceStatus,
    SpoolStatus, Status, UploadReason, UploadState, UploadStatus,
};
use tokio::sync::watch;

use crate::feed::gaps::GapBook;

/// All feeds' status. Its generation grows with changes that somebody should hear of; times and counters are none.
#[derive(Debug)]
pub struct Board {
    instance: String,
    generation: watch::Sender<u64>,
    feeds: Mutex<Entries>,
    spool: Mutex<Option<SpoolStatus>>,
}

/// Status by a number of its own: a feed that drains may still write while its successor of the same id does.
#[derive(Debug, Default)]
struct Entries {
    next: u64,
    feeds: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// With the newest gap alone.
    status: FeedStatus,
    /// All gaps; there may be many, so they are kept once.
    gaps: GapBook,
}

impl Board {
    /// An empty board. `instance` differs for each start of a process.
    pub fn new(instance: String) -> Arc<Self> {
        Arc::new(Self {
            instance,
            generation: watch::Sender::new(1),
            feeds: Mutex::default(),
            spool: Mutex::default(),
        })
    }

    /// The instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Adds a feed, at its beginning.
    pub fn add(self: &Arc<Self>, feed: &Feed, now_ms: i64) -> Post {
        let mut entries = self.lock();
        entries.feeds.retain(|entry| entry.status.id != feed.id);
        let number = entries.next;
        entries.next += 1;
        entries.feeds.push(Entry { number, status: beginning(feed, now_ms), gaps: GapBook::default() });
        drop(entries);
        self.changed();
        Post { board: Arc::clone(self), number }
    }

    /// Takes a feed off.
    pub fn remove(&self, id: &str) {
        self.lock().feeds.retain(|entry| entry.status.id != id);
        self.changed();
    }

    /// Writes the document. Gaps make it long, so it is never there as a whole: of each feed only while it is written.
    pub fn write(&self, out: impl io::Write) -> serde_json::Result<()> {
        // The generation first: what changes between is told again, not lost.
        let generation = *self.generation.borrow();
        let status = Status {
            schema_version: SCHEMA_VERSION,
            instance: self.instance.clone(),
            generation,
            spool: self.lock_spool().clone(),
            feeds: Listed(self),
        };
        serde_json::to_writer(out, &status)
    }

    /// The document, as a reader has it.
    #[cfg(test)]
    #[expect(clippy::missing_panics_doc, reason = "a test")]
    pub fn status(&self) -> Status {
        let mut text = Vec::new();
        self.write(&mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Says how the spool stands. A change of its state is worth telling.
    pub fn set_spool(&self, status: SpoolStatus) {
        let state = status.state;
        let before = self.lock_spool().replace(status);
        if before.is_none_or(|before| before.state != state) {
            self.changed();
        }
    }

    /// Follows the generation.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_spool(&self) -> MutexGuard<'_, Option<SpoolStatus>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed's place on the board.
#[derive(Debug, Clone)]
pub struct Post {
    board: Arc<Board>,
    number: u64,
}

/// The feeds of a board, as they stand while they are written.
struct Listed<'a>(&'a Board);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.lock().feeds.iter().map(Entry::whole))
    }
}

impl Entry {
    fn whole(&self) -> FeedStatus {
        FeedStatus { gaps: self.gaps.lock().to_vec(), ..self.status.clone() }
    }
}

impl Post {
    /// Where the feed's gaps are. One that is told by `update` is the newest of them, so that readers hear of it.
    pub fn follow(&self, gaps: &GapBook) {
        let mut entries = self.board.lock();
        if let Some(entry) = entries.feeds.iter_mut().find(|entry| entry.number == self.number) {
            entry.gaps = gaps.clone();
        }
    }

    /// Changes the feed's status; readers hear of it where it is a change that they should hear of.
    pub fn update(&self, change: impl FnOnce(&mut FeedStatus)) {
        let mut entries = self.board.lock();
        let found = entries.feeds.iter_mut().find(|entry| entry.number == self.number);
        let Some(Entry { status, .. }) = found else { return };
        let before = Notable::of(status);
        change(status);
        let changed = before != Notable::of(status);
        drop(entries);
        if changed {
            self.board.changed();
        }
    }
}

/// What of a status is worth telling: states, reasons, codec, gaps.
#[derive(PartialEq, Eq)]
struct Notable {
    revision: String,
    source: (SourceState, SourceReason),
    upload: (UploadState, UploadReason),
    media: Option<(String, u32, u32)>,
    gap: Option<(u64, bool, GapReason, bool)>,
}

impl Notable {
    fn of(status: &FeedStatus) -> Self {
        Self {
            revision: status.revision.clone(),
            source: (status.source.state, status.source.reason),
            upload: (status.upload.state, status.upload.reason),
            media: status.media.as_ref().map(|media| (media.codec.clone(), media.width, media.height)),
            gap: status
                .gaps
                .last()
                .map(|gap| (gap.sequence, gap.end_ms.is_none(), gap.reason, gap.recovered)),
        }
    }
}

fn beginning(feed: &Feed, now_ms: i64) -> FeedStatus {
    FeedStatus {
        id: feed.id.clone(),
        revision: feed.revision.clone(),
        source: SourceStatus {
            state: SourceState::Connecting,
            reason: SourceReason::Connecting,
            message: String::new(),
            since_ms: now_ms,
        },
        upload: UploadStatus {
            state: UploadState::Waiting,
            reason: UploadReason::NoMedia,
            message: String::new(),
            since_ms: now_ms,
        },
        media: None,
        received: None,
        stored: None,
        backlog: Backlog::default(),
        source_reconnects: 0,
        upload_sessions: 0,
        gaps: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use streamfleet_contract::Mark;

    use super::*;

    fn feed() -> Feed {
        serde_json::from_value(serde_json::json!({
            "id": "a", "source": {"rtsp": {"url": "rtsp://door.example/live"}},
            "stream": {"arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1"}
        }))
        .unwrap()
    }

    #[test]
    fn readers_hear_of_states_and_not_of_times_and_counters() {
        let board = Board::new("i".to_owned());
        let post = board.add(&feed(), 0);
        let before = board.status().generation;
        post.update(|status| {
            status.received = Some(Mark { media_ms: 1, wall_ms: 2 });
            status.source_reconnects += 1;
            status.upload.message = "12 s behind".to_owned();
        });
        assert_eq!(board.status().generation, before);
        post.update(|status| status.source.reason = SourceReason::Silent);
        assert_eq!(board.status().generation, before + 1);
    }

    #[test]
    fn a_feed_that_is_taken_off_is_gone_and_what_it_still_says_is_nothing() {
        let board = Board::new("i".to_owned());
        let post = board.add(&feed(), 0);
        board.remove("a");
        let generation = board.status().generation;
        post.update(|status| status.source.reason = SourceReason::Silent);
        assert_eq!(board.status().feeds, []);
        assert_eq!(board.status().generation, generation);
        board.add(&feed(), 0);
        post.update(|status| status.source.reason = SourceReason::Silent);
        assert_eq!(
            board.status().feeds[0].source.reason,
            SourceReason::Connecting,
            "its successor is another"
        );
    }
}
