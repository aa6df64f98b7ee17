//! What a feed tells: status, metrics, and a line in the log where something changes.

use std::time::Duration;

use streamfleet_contract::{
    Backlog, FeedStatus, Gap, GapReason, Mark, SourceReason, SourceState, StoredAt, UploadReason, UploadState,
};
use streamfleet_media::ack::{AckKind, ErrorId};

use super::Driver;
use super::spooling::Spooling;
use super::upload_state::{Evidence, judge};
use crate::clock::Now;
use crate::session::Report;

/// A feed that keeps up may be this far behind, beside twice its fragment length.
const BACKLOG_USUAL_MS: i64 = 15_000;

impl Driver {
    pub(super) fn on_report(&mut self, report: Report) {
        let now = self.ctx.clock.now();
        match report {
            Report::Opened => {}
            Report::Acknowledged(kind, error, latency) => {
                self.ctx.metrics.acknowledged(word(&kind));
                if let Some(error) = error {
                    self.ctx.metrics.error(&error_word(error));
                }
                let frees = match kind {
                    AckKind::Persisted => true,
                    AckKind::Received => self.feed.stored_at == StoredAt::Received,
                    _ => false,
                };
                // Without a latency it is of no fragment of ours.
                if frees && latency.is_some() {
                    self.ctx.metrics.stored(latency, now.wall_ms);
                }
            }
            Report::Stored { last_ms, .. } => {
                let had_trouble =
                    self.trouble.take().is_some_and(|(reason, _)| reason != UploadReason::Opening);
                self.last_stored = Some(now.mono);
                let media_ms = self.stored.map_or(last_ms, |mark| mark.media_ms.max(last_ms));
                self.stored = Some(Mark { media_ms, wall_ms: now.wall_ms });
                if !self.judge(now) && had_trouble {
                    tracing::info!(feed = self.feed.name, "Storing again");
                }
            }
            Report::Gap { start_ms, end_ms, reason, detail } => {
                self.gap(start_ms, end_ms, reason, &detail);
            }
            Report::GapBegan { start_ms, reason, detail } => self.open_gap(start_ms, reason, &detail),
            Report::Recovered { start_ms, end_ms } => {
                tracing::info!(feed = self.feed.name, start_ms, end_ms, "Video of a gap is stored after all");
                self.ctx.record.recovered(start_ms, end_ms);
            }
            Report::Trouble(reason, message) => {
                let is_news = self.trouble.as_ref().is_none_or(|(before, _)| *before != reason);
                self.trouble = Some((reason, message.clone()));
                if self.judge(now) || !is_news {
                    // It is said.
                } else if reason == UploadReason::Opening {
                    tracing::info!(feed = self.feed.name, detail = message, "Another session is tried");
                } else {
                    tracing::warn!(
                        feed = self.feed.name,
                        ?reason,
                        detail = message,
                        "Video cannot be stored for now"
                    );
                }
            }
        }
    }

    /// Records a gap that has an end, and says so.
    pub(super) fn gap(&self, start_ms: i64, end_ms: i64, reason: GapReason, detail: &str) {
        self.ctx.record.gap(start_ms, end_ms, reason, detail);
        tell_stretch(&self.feed.name, (start_ms, end_ms), reason, detail);
    }

    /// Records that a gap begins. It is told when it ends, and those of other causes that it ends are told now.
    pub(super) fn open_gap(&self, start_ms: i64, reason: GapReason, detail: &str) {
        self.tell_gaps(&self.ctx.record.open_gap(start_ms, reason, detail));
    }

    /// Pictures are stored again: the gaps that lasted end here.
    pub(super) fn close_gaps(&self, end_ms: i64) {
        self.tell_gaps(&self.ctx.record.close_gaps(end_ms));
    }

    pub(super) fn tell_gaps(&self, gaps: &[Gap]) {
        for gap in gaps {
            tell_gap(&self.feed.name, gap);
        }
    }

    pub(super) fn note_source_state(
        &mut self,
        state: SourceState,
        reason: SourceReason,
        message: &str,
        now: Now,
    ) {
        let mut changed = false;
        self.ctx.post.update(|status| {
            changed = (status.source.state, status.source.reason) != (state, reason);
            if changed {
                status.source.since_ms = now.wall_ms;
            }
            status.source.state = state;
            status.source.reason = reason;
            message.clone_into(&mut status.source.message);
        });
        if !changed {
            return;
        }
        match state {
            SourceState::Failed if reason == SourceReason::Ended => {
                tracing::info!(feed = self.feed.name, "The file has come to its end");
            }
            SourceState::Failed => {
                tracing::warn!(feed = self.feed.name, ?reason, detail = message, "Camera does not stream");
            }
            SourceState::Connecting => tracing::debug!(feed = self.feed.name, "Camera is being connected"),
            SourceState::Streaming if message.is_empty() => {
                tracing::info!(feed = self.feed.name, "Camera streams");
            }
            SourceState::Streaming => {
                tracing::warn!(feed = self.feed.name, detail = message, "Camera streams");
            }
        }
        self.judge(now);
    }

    pub(super) fn judge_if_due(&mut self, now: Now) {
        if now.mono.saturating_sub(self.judged_at) >= super::JUDGE_EVERY {
            self.judge(now);
        }
    }

    /// Takes a part of the uplink while the feed is behind.
    fn share_uplink(&mut self, is_late: bool) {
        let before = self.late.as_ref().and_then(super::Late::part);
        match (is_late, &self.late) {
            (true, None) => self.late = Some(self.ctx.uplink.join()),
            (false, Some(_)) => self.late = None,
            _ if before == self.uplink_part => return,
            _ => {}
        }
        self.uplink_part = self.late.as_ref().and_then(super::Late::part);
        self.set_session_settings();
    }

    /// Brings status and metrics up to date. Whether the upload's state has changed, which is one line then.
    pub(super) fn judge(&mut self, now: Now) -> bool {
        self.judged_at = now.mono;
        let (gops, backlog_ms) = self.session.backlog();
        let behind_ms = self.session.behind_ms();
        let usual_ms = BACKLOG_USUAL_MS + i64::from(self.feed.fragment.target_seconds) * 2_000;
        self.share_uplink(behind_ms > usual_ms);
        let (state, reason, message) = judge(&Evidence {
            now: now.mono,
            pictures_since: self.pictures_since,
            had_pictures: self.received.is_some(),
            last_stored: self.last_stored,
            offline_after: Duration::from_secs(u64::from(self.feed.offline_after_seconds)),
            something_waits: gops > 0,
            span_ms: backlog_ms,
            behind_ms,
            behind_usual_ms: usual_ms,
            accepted: self.session.is_accepted(),
            trouble: self.trouble.clone(),
        });
        let spool_bytes = self.spooling.as_ref().map_or(0, Spooling::used);
        self.ctx.metrics.buffered(self.buffer.bytes(), spool_bytes, backlog_ms);
        self.ctx.record.show();
        let backlog = Backlog {
            bytes: self.buffer.bytes(),
            spool_bytes,
            gops: gops as u64,
            milliseconds: u64::try_from(backlog_ms).unwrap_or(0),
        };
        let (received, stored, codec) = (self.received, self.stored, self.codec.clone());
        let media = codec.map(|codec| self.meter.media(&codec));
        let mut changed = false;
        self.ctx.post.update(|status| {
            status.backlog = backlog;
            status.received = received;
            status.stored = stored;
            status.media = media;
            changed = set_upload(status, state, reason, message.clone(), now.wall_ms);
        });
        let is_bad = self.trouble.as_ref().is_some_and(|(trouble, _)| *trouble == reason);
        if changed && is_bad && reason != UploadReason::Opening {
            tracing::warn!(
                feed = self.feed.name,
                ?state,
                ?reason,
                detail = message,
                "Video cannot be stored for now"
            );
        } else if changed {
            tracing::info!(feed = self.feed.name, ?state, ?reason, detail = message, "Upload state changed");
        }
        changed
    }
}

/// A line for a gap. One that has no end lasts.
pub fn tell_gap(feed: &str, gap: &Gap) {
    if let Some(end_ms) = gap.end_ms {
        tell_stretch(feed, (gap.start_ms, end_ms), gap.reason, &gap.detail);
    } else {
        let start = date(gap.start_ms);
        let Gap { reason, detail, .. } = gap;
        tracing::warn!(feed, ?reason, detail, start, "A gap that lasts: from here on no video is stored");
    }
}

fn tell_stretch(feed: &str, (start_ms, end_ms): (i64, i64), reason: GapReason, detail: &str) {
    let (start, end) = (date(start_ms), date(end_ms));
    let seconds = Duration::from_millis((end_ms - start_ms).max(0).unsigned_abs()).as_secs_f64();
    tracing::warn!(feed, ?reason, detail, start, end, seconds, "A gap: this video is not stored");
}

fn set_upload(
    status: &mut FeedStatus,
    state: UploadState,
    reason: UploadReason,
    message: String,
    wall_ms: i64,
) -> bool {
    let changed = (status.upload.state, status.upload.reason) != (state, reason);
    if changed {
        status.upload.since_ms = wall_ms;
    }
    status.upload.state = state;
    status.upload.reason = reason;
    status.upload.message = message;
    changed
}

/// As in RFC 3339; the number where it is no date.
fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

fn word(kind: &AckKind) -> &'static str {
    match kind {
        AckKind::Buffering => "buffering",
        AckKind::Received => "received",
        AckKind::Persisted => "persisted",
        AckKind::Error => "error",
        AckKind::Idle => "idle",
        // Not the service's own word: labels are bounded.
        AckKind::Unknown(_) => "unknown",
    }
}

/// The error's id, where it is one that the service documents: labels are bounded.
fn error_word(error: ErrorId) -> String {
    match error {
        ErrorId::Other(_) => "unknown".to_owned(),
        known => known.code().to_string(),
    }
}
