//! The end of a feed: what is not stored goes to the spool, or is a gap.

use std::collections::HashSet;
use std::time::Duration;

use streamfleet_contract::GapReason;
use tokio::time::timeout;

use super::Driver;
use super::spooling::{BLOCKED_RETRY, Spooling};
use crate::buffer::{Gop, GopId};
use crate::spool::{Job, Reply};

/// How long the end of a feed waits for one write.
const SPOOL_TIMEOUT: Duration = Duration::from_secs(5);

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
            self.tell_gap(start_ms, end_ms, reason, "");
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
    fn spans(&self, which: impl Fn(&Gop) -> bool) -> Vec<(i64, i64)> {
        let mut groups = self.buffer.iter().peekable();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        while let Some(group) = groups.next() {
            let next_ms = groups.peek().map_or_else(|| group.last_ms(), |next| next.start_ms());
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

    /// Hands everything that is in memory alone to the spool, and waits until it is written. Gives what could not be.
    async fn spool_all(&mut self) -> Vec<(i64, i64)> {
        self.flush_journal();
        if let Some(mut spooling) = self.spooling.take() {
            let mut tried = HashSet::new();
            loop {
                self.submit_lacking(&mut spooling, &mut tried);
                if !self.buffer.iter().any(|gop| gop.writing() > 0) {
                    break;
                }
                let Some(reply) = next_reply(&mut spooling).await else { break };
                self.settle(&mut spooling, reply);
            }
            self.spooling = Some(spooling);
        }
        self.spans(|gop| !gop.is_wholly_on_spool())
    }

    /// Hands over each group once that the spool lacks, and that no job is about to write.
    fn submit_lacking(&mut self, spooling: &mut Spooling, tried: &mut HashSet<GopId>) {
        let lacking = |gop: &&Gop| !gop.is_wholly_on_spool() && gop.writing() == 0;
        let lacking: Vec<GopId> = self.buffer.iter().filter(lacking).map(|gop| gop.id).collect();
        for gop in lacking {
            if tried.insert(gop)
                && let Some(part) = self.buffer.to_store(gop)
            {
                spooling.spool.submit(Job::Store(part));
            }
        }
    }

    fn settle(&mut self, spooling: &mut Spooling, reply: Reply) {
        match reply {
            Reply::Appended(parts) => {
                spooling.is_appending = false;
                for (group, outcome) in parts {
                    self.buffer.written(GopId(group), outcome.ok());
                }
            }
            Reply::Stored(group, outcome) => {
                let units = self.buffer.gop(GopId(group)).map(Gop::len);
                self.buffer.written(GopId(group), units.filter(|_| outcome.is_ok()));
            }
            Reply::Loaded(..) => {}
        }
    }
}

/// The next reply, unless the spool's volume hangs.
async fn next_reply(spooling: &mut Spooling) -> Option<Reply> {
    let reply = async {
        loop {
            spooling.spool.flush();
            if let Ok(reply) = timeout(BLOCKED_RETRY, spooling.spool.reply()).await {
                return reply;
            }
        }
    };
    timeout(SPOOL_TIMEOUT, reply).await.ok()
}
