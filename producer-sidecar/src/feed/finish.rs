//! The end of a feed: what is not stored goes to the spool, or is a gap.

use streamfleet_contract::GapReason;

use super::Driver;
use crate::buffer::Gop;

/// Groups that follow each other within this time leave no gap between them.
const CONTIGUOUS_MS: i64 = 5_000;

impl Driver {
    /// Leaves what is not stored to a successor, where there is a spool; else it is lost, and that is said.
    pub(super) async fn finish(&mut self) {
        self.upload = None;
        self.buffer.complete();
        if self.buffer.is_empty() {
            return;
        }
        let (reason, lost) = if self.ctx.record.is_replaced() {
            // The spool keeps it, but for a stream that is not fed any more.
            (GapReason::StreamReplaced, self.spans(|_| true))
        } else {
            (GapReason::Stopped, self.spool_all().await)
        };
        let lost_ms: i64 = lost.iter().map(|(start_ms, end_ms)| end_ms - start_ms).sum();
        let kept = self.buffer.iter().filter(|gop| gop.is_wholly_on_spool()).count();
        if lost.is_empty() {
            tracing::info!(feed = self.feed.name, groups = kept, "What is not stored yet waits in the spool");
            return;
        }
        for (start_ms, end_ms) in lost {
            self.ctx.record.gap(start_ms, end_ms, reason, "");
        }
        tracing::warn!(
            feed = self.feed.name,
            ?reason,
            lost_ms,
            spooled_groups = kept,
            "Stopped before everything was stored"
        );
    }

    /// From when to when groups last.
    pub(super) fn spans(&self, which: impl Fn(&Gop) -> bool) -> Vec<(i64, i64)> {
        let mut groups = self.buffer.iter().peekable();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        while let Some(group) = groups.next() {
            let next_ms = groups.peek().map_or(group.last_ms(), |next| next.start_ms());
            let follows = (0..=CONTIGUOUS_MS).contains(&(next_ms - group.last_ms()));
            let end_ms = if follows { next_ms } else { group.last_ms() };
            if !which(group) {
                continue;
            }
            match spans.last_mut().filter(|(_, end)| *end == group.start_ms()) {
                Some((_, end)) => *end = end_ms,
                None => spans.push((group.start_ms(), end_ms)),
            }
        }
        spans
    }
}
