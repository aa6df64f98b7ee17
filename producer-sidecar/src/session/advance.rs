//! Carries out what `plan.rs` has decided: what is written, and what the session remembers of it.

use super::attempt::{Body, Cursor};
use super::plan::Step;
use super::queue::{Home, Place};
use super::{Output, Piece, Session, Tags, TrackSet};
use crate::buffer::GopId;
use crate::clock::Now;

impl Session {
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
                Step::LeaveOut(tracks) => {
                    self.leave_out(tracks, now);
                    return None;
                }
                Step::Header(gop, header) => {
                    self.attempt.as_mut()?.header = Some(header);
                    return Some(Piece::Header(gop, header.tracks));
                }
                Step::Begin(gop, time_ms) => {
                    self.begin_fragment(gop, time_ms, now);
                    return Some(Piece::Cluster(time_ms));
                }
                Step::Continue(gop) => self.continue_fragment(gop),
                Step::Unit => return self.take_unit(now),
                Step::Tags => {
                    self.attempt.as_mut()?.open_fragment_mut()?.tagged = true;
                    return Some(Piece::Tags(Tags::Configured));
                }
                Step::EndFragment => {
                    self.close_fragment(now);
                    return Some(Piece::Tags(Tags::EndOfFragment));
                }
            }
        }
    }

    pub(super) fn end_body(&mut self, now: Now) {
        self.close_fragment(now);
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.is_open()) else { return };
        attempt.body = Body::Ended { at: now.mono };
        self.outputs.push_back(Output::Finish(attempt.id));
    }

    fn close_fragment(&mut self, now: Now) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.close_fragment(now.mono);
        self.leave_group();
    }

    fn begin_fragment(&mut self, gop: GopId, time_ms: i64, now: Now) {
        self.close_fragment(now);
        self.pace.begin(now.mono);
        if let Some(attempt) = &mut self.attempt {
            attempt.latest_ms = attempt.latest_ms.max(time_ms);
            attempt.begin_fragment(gop, time_ms, now.mono);
        }
        self.mark_in_flight(gop);
    }

    fn continue_fragment(&mut self, gop: GopId) {
        let Some(attempt) = &mut self.attempt else { return };
        let last = attempt.cursor.and_then(|cursor| self.queue.get(cursor.gop));
        let (bytes, present) = last.map_or((0, TrackSet::NONE), |gop| (gop.bytes, gop.present));
        if let Some(fragment) = attempt.open_fragment_mut() {
            fragment.gops.push(gop);
            fragment.bytes += bytes;
            fragment.present = fragment.present.with(present);
        }
        let before = attempt.cursor.replace(Cursor { gop, units: 0 });
        self.mark_in_flight(gop);
        if let Some(before) = before {
            self.release(before.gop);
            self.unload(before.gop);
        }
    }

    fn mark_in_flight(&mut self, gop: GopId) {
        if let Some(gop) = self.queue.get_mut(gop) {
            gop.place = Place::InFlight;
        }
    }

    /// The group at the cursor is wholly written: its bytes are not needed unless the session fails.
    fn leave_group(&mut self) {
        if let Some(cursor) = self.attempt.as_ref().and_then(|attempt| attempt.cursor) {
            self.release(cursor.gop);
            self.unload(cursor.gop);
        }
    }

    /// Lets the memory of a group go that the spool has too.
    fn unload(&mut self, id: GopId) {
        if self.queue.get(id).is_some_and(|gop| gop.on_spool && gop.complete && gop.home == Home::Memory) {
            self.store(id);
        }
    }

    fn take_unit(&mut self, now: Now) -> Option<Piece> {
        let Cursor { gop, units: index } = self.attempt.as_ref()?.cursor?;
        let gop = self.queue.get(gop)?;
        let (id, last_ms) = (gop.id, gop.last_ms);
        let uplink = self.settings.catch_up_bytes_per_second.filter(|_| self.is_late(gop));
        self.pace.sent(gop.bytes / gop.units.max(1) as u64, uplink, now.mono);
        let attempt = self.attempt.as_mut()?;
        attempt.cursor = Some(Cursor { gop: id, units: index + 1 });
        // The highest time of the group, though this unit may be an earlier one: never too low.
        attempt.latest_ms = attempt.latest_ms.max(last_ms);
        let tracks = attempt.header?.tracks;
        let cluster_ms = attempt.open_fragment()?.time_ms;
        Some(Piece::Unit { gop: id, index, cluster_ms, tracks })
    }

    fn split_before(&mut self, gop: GopId, now: Now) {
        if let Some(gop) = self.queue.get_mut(gop) {
            gop.cut_before = true;
        }
        self.begin_anew(now);
    }

    fn leave_out(&mut self, tracks: TrackSet, now: Now) {
        let gops = self.attempt.as_ref().and_then(|attempt| attempt.open_fragment());
        for id in gops.map(|fragment| fragment.gops.clone()).unwrap_or_default() {
            if let Some(gop) = self.queue.get_mut(id) {
                gop.left_out = gop.left_out.with(tracks);
            }
        }
        self.begin_anew(now);
    }

    /// Gives the session up, to send what is not stored in another form.
    fn begin_anew(&mut self, now: Now) {
        if let Some(id) = self.attempt.as_ref().map(|attempt| attempt.id) {
            self.outputs.push_back(Output::Abort(id));
        }
        self.end_attempt(None, now);
        self.open_if_due(now);
    }
}
