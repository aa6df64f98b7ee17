//! What is written next: where fragments are cut and when a body ends.

use std::time::Duration;

use streamfleet_media::limits::{FRAGMENTS_PER_SECOND_MAX, PUT_MEDIA_SESSION_SECONDS_ROTATE};

use super::attempt::{Attempt, Cursor, Fragment};
use super::queue::{Place, Queued};
use super::{Output, Piece, SOURCE_PATIENCE, Session, TrackSet};
use crate::buffer::{CodecId, GOP_BYTES_MAX, GOP_MS_MAX, GopId};
use crate::clock::Now;

/// The next step of the session that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do until more comes.
    Wait,
    /// A fragment is ready, but the service's rate of fragments is used up until then.
    Pace(Duration),
    /// Write the header for this group.
    Header(GopId, CodecId),
    /// Begin a fragment with this group.
    Begin(GopId, i64),
    /// Write this group into the open fragment.
    Continue(GopId),
    /// Write the next unit of the group at the cursor.
    Unit,
    /// End the body.
    End,
    /// The open fragment has grown too long with this group: it must begin one, in another session.
    Split(GopId),
}

/// A session lasts at most this long before it is ended at the next cut; a fragment may still be running then.
const ROTATE_AFTER: Duration = Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_ROTATE - 120);

impl Session {
    /// What to do next, given all that is known.
    pub(super) fn next_step(&self, now: Now) -> Step {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.is_open()) else {
            return Step::Wait;
        };
        let Some(cursor) = attempt.cursor else { return self.first_step(attempt, now) };
        let Some(gop) = self.queue.get(cursor.gop) else {
            return self.boundary(attempt, cursor.gop, None, now);
        };
        if let Some(fragment) = attempt.fragments.back()
            && fragment.gops.first() != Some(&gop.id)
            && !fits(fragment, gop.last_ms, gop.bytes)
        {
            return Step::Split(gop.id);
        }
        if cursor.units < gop.units {
            Step::Unit
        } else if gop.complete {
            self.boundary(attempt, gop.id, attempt.fragments.back(), now)
        } else {
            Step::Wait
        }
    }

    fn first_step(&self, attempt: &Attempt, now: Now) -> Step {
        match self.queue.next_to_send(None) {
            None if self.is_waiting_for_nothing(now) => Step::End,
            None => Step::Wait,
            Some(gop) if attempt.codec == Some(gop.codec) => self.paced(gop, now),
            // The group that the header was written for is gone, and the next has other parameters.
            Some(_) if attempt.codec.is_some() => Step::End,
            Some(gop) => Step::Header(gop.id, gop.codec),
        }
    }

    /// What follows a group that is wholly written.
    fn boundary(&self, attempt: &Attempt, after: GopId, fragment: Option<&Fragment>, now: Now) -> Step {
        let Some(next) = self.queue.next_to_send(Some(after)) else {
            return if self.is_waiting_for_nothing(now) { Step::End } else { Step::Wait };
        };
        if attempt.codec != Some(next.codec) || next.start_ms <= attempt.latest_ms {
            return Step::End;
        }
        if let Some(fragment) = fragment
            && self.belongs_to(fragment, after, next)
        {
            return Step::Continue(next.id);
        }
        let age = now.mono.saturating_sub(attempt.opened_at);
        if self.is_isolating() || attempt.is_outdated || age >= ROTATE_AFTER + self.rotation_jitter {
            return Step::End;
        }
        self.paced(next, now)
    }

    /// Whether a group goes into the same fragment as the one before it.
    fn belongs_to(&self, fragment: &Fragment, after: GopId, next: &Queued) -> bool {
        let (last_ms, bytes) = if next.complete {
            (next.last_ms, next.bytes)
        } else {
            (next.last_ms.max(next.start_ms + self.longest_gop_ms), next.bytes.max(self.largest_gop_bytes))
        };
        let bytes = bytes + self.queue.get(after).map_or(0, |gop| gop.bytes);
        next.id.0 == after.0 + 1
            && !next.cut_before
            && next.start_ms - fragment.time_ms < self.settings.target_ms
            && fits(fragment, last_ms, bytes)
    }

    fn paced(&self, gop: &Queued, now: Now) -> Step {
        match self.pace() {
            Some(at) if at > now.mono => Step::Pace(at),
            _ => Step::Begin(gop.id, gop.start_ms),
        }
    }

    /// When the service's rate of fragments allows another one; none where it does so already.
    fn pace(&self) -> Option<Duration> {
        let full = self.begun_at.len() >= FRAGMENTS_PER_SECOND_MAX as usize;
        self.begun_at.front().filter(|_| full).map(|&oldest| oldest + Duration::from_secs(1))
    }

    /// When a fragment that waits for the service's rate may begin.
    pub(super) fn pace_time(&self, now: Now) -> Option<Duration> {
        match self.next_step(now) {
            Step::Pace(at) => Some(at),
            _ => None,
        }
    }

    /// Whether nothing can come that the open fragment should wait for.
    fn is_waiting_for_nothing(&self, now: Now) -> bool {
        self.draining || self.source_ended.is_some_and(|since| now.mono >= since + SOURCE_PATIENCE)
    }

    pub(super) fn is_isolating(&self) -> bool {
        match (self.isolate_until, self.queue.iter().next()) {
            (Some(until), Some(oldest)) => oldest.id <= until,
            _ => false,
        }
    }

    /// Carries out the next step; gives what is to be written.
    pub(super) fn advance(&mut self, now: Now) -> Option<Piece> {
        loop {
            match self.next_step(now) {
                Step::Wait | Step::Pace(_) => return None,
                Step::End => {
                    self.end_body(now);
                    return None;
                }
                Step::Split(gop) => {
                    self.split_before(gop, now);
                    return None;
                }
                Step::Header(gop, codec) => {
                    self.attempt.as_mut()?.codec = Some(codec);
                    return Some(Piece::Header(gop, TrackSet::first(8)));
                }
                Step::Begin(gop, time_ms) => {
                    self.begin_fragment(gop, time_ms, now);
                    return Some(Piece::Cluster(time_ms));
                }
                Step::Continue(gop) => self.continue_fragment(gop),
                Step::Unit => return self.take_unit(),
            }
        }
    }

    fn begin_fragment(&mut self, gop: GopId, time_ms: i64, now: Now) {
        self.begun_at.push_back(now.mono);
        if self.begun_at.len() > FRAGMENTS_PER_SECOND_MAX as usize {
            self.begun_at.pop_front();
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.begin_fragment(gop, time_ms, now.mono);
        }
        self.mark_in_flight(gop);
    }

    fn continue_fragment(&mut self, gop: GopId) {
        let Some(attempt) = &mut self.attempt else { return };
        let before = attempt.cursor.replace(Cursor { gop, units: 0 });
        let bytes = before.and_then(|cursor| self.queue.get(cursor.gop)).map_or(0, |gop| gop.bytes);
        if let Some(fragment) = attempt.open_fragment() {
            fragment.gops.push(gop);
            fragment.bytes += bytes;
        }
        self.mark_in_flight(gop);
    }

    fn mark_in_flight(&mut self, gop: GopId) {
        if let Some(gop) = self.queue.get_mut(gop) {
            gop.place = Place::InFlight;
        }
    }

    fn take_unit(&mut self) -> Option<Piece> {
        let attempt = self.attempt.as_mut()?;
        let cursor = attempt.cursor.as_mut()?;
        let gop = self.queue.get(cursor.gop)?;
        let index = cursor.units;
        cursor.units += 1;
        // The highest time of the group, though this unit may be an earlier one: never too low.
        attempt.latest_ms = attempt.latest_ms.max(gop.last_ms);
        let gop = gop.id;
        let cluster_ms = attempt.open_fragment()?.time_ms;
        Some(Piece::Unit { gop, index, cluster_ms, tracks: TrackSet::first(8) })
    }

    fn split_before(&mut self, gop: GopId, now: Now) {
        if let Some(gop) = self.queue.get_mut(gop) {
            gop.cut_before = true;
        }
        if let Some(id) = self.attempt.as_ref().map(|attempt| attempt.id) {
            self.outputs.push_back(Output::Abort(id));
        }
        self.end_attempt(None, now);
        self.open_if_due(now);
    }
}

/// Whether a fragment stays within the service's limits with a group that ends at `last_ms` and has `bytes`.
fn fits(fragment: &Fragment, last_ms: i64, bytes: u64) -> bool {
    last_ms - fragment.time_ms <= GOP_MS_MAX && fragment.bytes + bytes <= GOP_BYTES_MAX
}
