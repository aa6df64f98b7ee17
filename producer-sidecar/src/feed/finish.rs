//! The end of a feed: what is not stored goes to the spool, or is a gap.

use std::collections::HashSet;
use std::time::Duration;

use streamfleet_contract::{Backlog, GapReason};
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
    /// Leaves what is not stored to a successor, where there is a spool; else it is lost. Either is said.
    pub(super) async fn finish(&mut self) {
        self.upload = None;
        self.buffer.complete();
        let is_replaced = self.ctx.record.is_replaced();
        if !is_replaced {
            self.tell_gaps(&self.ctx.record.lasting());
        }
        let waiting = self.spans(|_| true);
        let (reason, lost) = if is_replaced {
            // The spool keeps it, but for a stream that is not fed any more.
            (GapReason::StreamReplaced, waiting.clone())
        } else {
            (GapReason::Stopped, self.spool_all().await)
        };
        for (start_ms, end_ms) in &lost {
            self.gap(*start_ms, *end_ms, reason, "");
        }
        let kept = self.buffer.iter().filter(|gop| gop.is_wholly_on_spool()).count();
        let not_stored = Backlog {
            gops: self.buffer.len() as u64,
            milliseconds: length_ms(&waiting),
            bytes: self.buffer.bytes(),
            spool_bytes: self.spooling.as_ref().map_or(0, Spooling::used),
        };
        self.tell_end(&not_stored, length_ms(&lost), kept);
        self.ctx.post.update(|status| status.backlog = not_stored);
    }

    /// Whether everything is stored, and what became of the rest.
    fn tell_end(&self, not_stored: &Backlog, lost_ms: u64, spooled_groups: usize) {
        let (feed, groups) = (&self.feed.name, not_stored.gops);
        let seconds = Duration::from_millis(not_stored.milliseconds).as_secs_f64();
        let lost_seconds = Duration::from_millis(lost_ms).as_secs_f64();
        if groups == 0 {
            tracing::info!(feed, "The feed has ended, and all its video is stored");
        } else if lost_ms == 0 && spooled_groups as u64 == groups {
            tracing::info!(
                feed,
                groups,
                seconds,
                "The feed has ended; what is not stored waits in the spool"
            );
        } else {
            tracing::warn!(
                feed,
                groups,
                seconds,
                spooled_groups,
                lost_seconds,
                "The feed has ended before everything was stored"
            );
        }
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

fn length_ms(spans: &[(i64, i64)]) -> u64 {
    spans.iter().map(|(start_ms, end_ms)| end_ms.saturating_sub(*start_ms).max(0).unsigned_abs()).sum()
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
