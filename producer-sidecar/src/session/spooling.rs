//! Which groups are in memory and which on the spool: what is sent next is fetched a little ahead, and what the spool
//! has does not wait for its acknowledgement in memory.

use streamfleet_contract::GapReason;

use super::mutant::Mutant;
use super::queue::{Home, Place, Queued};
use super::{Output, Report, Session};
use crate::buffer::GopId;
use crate::clock::Now;

/// So many groups, and so many bytes, are fetched before they are needed; one in any case.
pub(super) const AHEAD_GROUPS: usize = 4;
const AHEAD_BYTES: u64 = 8 << 20;

impl Session {
    /// Asks for what is sent next where it is not in memory: one group for a session that may yet be refused, or where
    /// memory had no room for more.
    pub(super) fn load_ahead(&mut self) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.is_open()) else { return };
        let cursor = attempt.cursor.map(|cursor| cursor.gop);
        let ahead = if attempt.accepted_at.is_some() && self.fetches_ahead { AHEAD_GROUPS } else { 1 };
        let mut bytes = 0;
        let mut wanted = Vec::new();
        for gop in self.queue.to_send(cursor).take(ahead) {
            bytes += gop.bytes;
            if gop.home == Home::Spool {
                wanted.push(gop.id);
            }
            if bytes >= AHEAD_BYTES {
                break;
            }
        }
        for id in wanted {
            if let Some(gop) = self.queue.get_mut(id) {
                gop.home = Home::Loading;
            }
            self.outputs.push_back(Output::Load(id));
        }
    }

    /// Asks for a group to be written to the spool and to leave memory.
    pub(super) fn store(&mut self, id: GopId) {
        if let Some(gop) =
            self.queue.get_mut(id).filter(|gop| gop.home == Home::Memory && gop.place != Place::Dropped)
        {
            gop.home = Home::Storing;
            self.storing_bytes += gop.bytes;
            self.storing_groups += 1;
            self.outputs.push_back(Output::Store(id));
        }
    }

    pub(super) fn on_spooled(&mut self, id: GopId, written: bool) {
        let Some(gop) = self.queue.get_mut(id).filter(|gop| gop.home == Home::Storing) else { return };
        let bytes = gop.bytes;
        if written {
            gop.home = Home::Spool;
            gop.on_spool = true;
        } else {
            gop.home = Home::Memory;
            gop.unspoolable = true;
        }
        self.no_longer_storing(bytes);
    }

    pub(super) fn on_loaded(&mut self, id: GopId) {
        if let Some(gop) = self.queue.get_mut(id).filter(|gop| gop.home == Home::Loading) {
            gop.home = Home::Memory;
        }
    }

    /// The spool has lost a group. Nothing else depends on it.
    pub(super) fn on_load_failed(&mut self, id: GopId) {
        if self.queue.get(id).is_none_or(|gop| gop.home != Home::Loading) {
            return;
        }
        let Some(gop) = self.forget(id) else { return };
        self.outputs.push_back(Output::Free(id));
        if !self.has(Mutant::SilentLoadFailure) && gop.place != Place::Stored {
            let detail = "the spool could not be read".to_owned();
            self.report_gap(gop.start_ms, gop.end_ms, GapReason::InternalError, detail);
        }
    }

    /// Takes a group out, with all that is counted of it.
    pub(super) fn forget(&mut self, id: GopId) -> Option<Queued> {
        let gop = self.queue.remove(id)?;
        if gop.home == Home::Storing {
            self.no_longer_storing(gop.bytes);
        }
        Some(gop)
    }

    pub(super) fn no_longer_storing(&mut self, bytes: u64) {
        self.storing_bytes = self.storing_bytes.saturating_sub(bytes);
        self.storing_groups = self.storing_groups.saturating_sub(1);
    }

    /// Gives up what waits longer than the stream would keep it. What is on its way may arrive yet.
    pub(super) fn expire(&mut self, now: Now) {
        loop {
            let oldest = self.queue.iter().next();
            let expired = oldest.filter(|gop| self.expires_in(gop, now).is_some_and(|left| left < 0));
            let Some(id) = expired.map(|gop| gop.id) else { return };
            let Some(gop) = self.forget(id) else { return };
            self.outputs.push_back(Output::Free(id));
            if !self.has(Mutant::SilentExpiry) {
                self.report_gap(gop.start_ms, gop.end_ms, GapReason::Expired, String::new());
            }
        }
    }

    /// In how many milliseconds a group that waits is too old.
    pub(super) fn expires_in(&self, gop: &Queued, now: Now) -> Option<i64> {
        let retention_ms = self.settings.retention_ms?;
        let waits = gop.place == Place::Waiting && gop.complete && gop.home != Home::Loading;
        waits.then(|| gop.last_ms.saturating_add(retention_ms).saturating_sub(self.media_now(now)))
    }

    /// The time that the camera's pictures of this moment have; by the node's clock where none has come yet.
    fn media_now(&self, now: Now) -> i64 {
        match self.newest {
            Some((media_ms, at)) => {
                let since = now.mono.saturating_sub(at).as_millis();
                media_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
            }
            None => now.wall_ms,
        }
    }

    /// All times were moved, the session's own too: what is under way has the old ones.
    pub(super) fn on_retimed(&mut self, by_ms: i64, now: Now) {
        if let Some(id) = self.attempt.as_ref().map(|attempt| attempt.id) {
            self.outputs.push_back(Output::Abort(id));
            self.end_attempt(None, now);
        }
        self.queue.shift(by_ms);
        self.shift_rest(by_ms);
        self.newest = self.newest.map(|(media_ms, at)| (media_ms + by_ms, at));
    }

    /// Tells that a stretch will not be stored.
    pub(super) fn report_gap(&mut self, start_ms: i64, end_ms: i64, reason: GapReason, detail: String) {
        let end_ms = if self.has(Mutant::GapEndsAtItsStart) { start_ms } else { end_ms };
        self.outputs.push_back(Output::Report(Report::Gap { start_ms, end_ms, reason, detail }));
    }
}
