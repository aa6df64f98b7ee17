//! What is remembered of a feed beyond the life of its task: its gaps, and what its task held in memory alone. So a feed
//! that fails by a defect, or gets another stream, loses no account of what was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use streamfleet_contract::{Gap, GapReason};

use super::gaps::{Counted, GapBook};
use crate::board::Post;
use crate::buffer::risk::AtRisk;
use crate::metrics::FeedMetrics;

/// One task's way to its feed's record.
#[derive(Debug, Clone)]
pub struct Record {
    book: GapBook,
    post: Post,
    metrics: FeedMetrics,
    /// What the task holds in memory alone.
    pub risk: Arc<AtRisk>,
    /// The version of the gaps that the board has.
    shown: Arc<AtomicU64>,
    is_replaced: Arc<AtomicBool>,
}

impl Record {
    /// For a feed's new task.
    pub fn new(book: GapBook, post: Post, metrics: FeedMetrics) -> Self {
        post.follow(&book);
        Self { book, post, metrics, risk: Arc::default(), shown: Arc::default(), is_replaced: Arc::default() }
    }

    /// The gaps, for the feed's next task.
    pub fn book(&self) -> GapBook {
        self.book.clone()
    }

    /// The feed has another stream now, and this task ends.
    pub fn replace(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Relaxed)
    }

    /// Records a stretch of time that is not stored. Whether it is a gap of its own.
    pub fn gap(&self, start_ms: i64, end_ms: i64, reason: GapReason, detail: &str) -> bool {
        let counted = self.book.lock().record(start_ms, end_ms, reason, detail);
        self.count(&[counted]);
        counted.is_new
    }

    /// Records that from here on nothing is stored. Gives the gaps of other causes that end here.
    pub fn open_gap(&self, start_ms: i64, reason: GapReason, detail: &str) -> Vec<Gap> {
        let mut log = self.book.lock();
        let counted = log.open(start_ms, reason, detail);
        let ended = log.take_ended();
        drop(log);
        self.count(&counted);
        ended
    }

    /// From here on pictures are stored again. Gives the gaps that end here.
    pub fn close_gaps(&self, end_ms: i64) -> Vec<Gap> {
        let mut log = self.book.lock();
        let counted = log.close(end_ms);
        let ended = log.take_ended();
        drop(log);
        self.count(&counted);
        ended
    }

    /// More is known of the gap of this cause that lasts; shown when it ends.
    pub fn explain(&self, reason: GapReason, detail: &str) {
        self.book.lock().explain(reason, detail);
    }

    /// The gaps that last.
    pub fn lasting(&self) -> Vec<Gap> {
        let mut gaps = self.book.lock().to_vec();
        gaps.retain(|gap| gap.end_ms.is_none());
        gaps
    }

    /// So much time has passed, by which open gaps have become longer.
    pub fn pass(&self, passed: Duration) {
        // The next task counts what it shares with this one.
        if !self.is_replaced() {
            let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
            let counted = self.book.lock().pass(passed_ms);
            self.count(&counted);
        }
    }

    /// What was recorded is stored after all.
    pub fn recovered(&self, start_ms: i64, end_ms: i64) {
        let recovered_ms = self.book.lock().recover(start_ms, end_ms);
        self.metrics.recovered(recovered_ms);
        self.show();
    }

    /// The task has failed by a defect: what it held in memory alone is lost, and what comes until it runs again. Gives the
    /// gaps of other causes that end here, if something is lost.
    pub fn failed(&self) -> Option<Vec<Gap>> {
        self.risk.take().map(|since_ms| self.open_gap(since_ms, GapReason::InternalError, ""))
    }

    /// Brings the board up to date, where another task has added something.
    pub fn show(&self) {
        let log = self.book.lock();
        let version = log.version();
        if self.shown.swap(version, Ordering::Relaxed) == version || self.is_replaced() {
            return;
        }
        let newest = log.newest();
        drop(log);
        self.post.update(|status| status.gaps = newest.into_iter().collect());
    }

    fn count(&self, counted: &[Counted]) {
        for Counted { reason, is_new, grown_ms } in counted {
            if *is_new {
                self.metrics.gap_began(gap_word(*reason));
            }
            self.metrics.gap(gap_word(*reason), *grown_ms);
        }
        if !counted.is_empty() {
            self.show();
        }
    }
}

fn gap_word(reason: GapReason) -> &'static str {
    match reason {
        GapReason::CameraLost => "camera_lost",
        GapReason::BufferOverflow => "buffer_overflow",
        GapReason::Refused => "refused",
        GapReason::Expired => "expired",
        GapReason::Stopped => "stopped",
        GapReason::StreamReplaced => "stream_replaced",
        GapReason::InternalError => "internal_error",
        GapReason::PacketLoss => "packet_loss",
    }
}
