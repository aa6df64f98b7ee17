//! What acknowledgements do: free what is stored, of whichever session they are. Errors: `errors.rs`.

use streamfleet_contract::{GapReason, StoredAt};
use streamfleet_media::ack::{Ack, AckKind};

use super::attempt::{Attempt, Fragment, Heard};
use super::mutant::Mutant;
use super::queue::Place;
use super::{Output, Report, Session, SessionId};
use crate::buffer::GopId;
use crate::clock::Now;

impl Session {
    pub(super) fn on_ack(&mut self, id: SessionId, ack: &Ack, now: Now) {
        let is_current = self.attempt.as_ref().is_some_and(|attempt| attempt.id == id);
        let Some(attempt) = self.attempt_mut(id) else { return };
        let found = attempt.find(&ack.kind, ack.timecode, ack.number.as_ref());
        let fragment = found.and_then(|index| attempt.fragments.get_mut(index));
        if let Some(begun_at) =
            fragment.as_ref().filter(|fragment| !fragment.seen).map(|fragment| fragment.begun_at)
        {
            attempt.heard = Some(Heard { at: now.mono, begun_at });
        }
        let latency = note(fragment, ack, now);
        self.outputs.push_back(Output::Report(Report::Acknowledged(ack.kind.clone(), ack.error, latency)));
        let frees = match ack.kind {
            AckKind::Persisted => true,
            AckKind::Received => {
                self.settings.stored_at == StoredAt::Received || self.has(Mutant::FreesAtReceived)
            }
            _ => false,
        };
        match found {
            Some(index) if frees && (is_current || !self.has(Mutant::DeafToLateWords)) => {
                self.on_stored(id, index, now);
            }
            // A late error of a session that is over says nothing about the one that stands.
            _ if ack.kind == AckKind::Error && (is_current || self.has(Mutant::LateErrorRollsBack)) => {
                self.on_error(ack, found.filter(|_| is_current), now);
            }
            _ => {}
        }
    }

    fn attempt_mut(&mut self, id: SessionId) -> Option<&mut Attempt> {
        self.attempt.iter_mut().chain(&mut self.past).find(|attempt| attempt.id == id)
    }

    /// Frees a fragment's groups. A fragment whose end was not written cannot be stored, whatever the service says.
    fn on_stored(&mut self, id: SessionId, index: usize, now: Now) {
        let trusts = self.has(Mutant::FreesWhatIsNotWhole);
        let Some(attempt) = self.attempt_mut(id) else { return };
        let closed_at = attempt.fragments.get(index).and_then(|fragment| fragment.closed_at);
        if closed_at.is_none() && !trusts {
            return;
        }
        let Some(fragment) = attempt.fragments.remove(index) else { return };
        attempt.progressed_at = Some(now.mono);
        if let Some(at) = closed_at {
            attempt.longest_storage = attempt.longest_storage.max(now.mono.saturating_sub(at));
        }
        self.stored_until_ms = self.stored_until_ms.max(Some(fragment.last_ms));
        self.retry.reset();
        self.refused_in_a_row = 0;
        self.stalls = 0;
        self.unpersisted = 0;
        for gop in &fragment.gops {
            self.mark_stored(*gop, &fragment, trusts);
        }
        let (start_ms, last_ms) = (fragment.time_ms, fragment.last_ms);
        self.outputs.push_back(Output::Report(Report::Stored { start_ms, last_ms }));
        if fragment.given_up {
            self.outputs.push_back(Output::Report(Report::Recovered { start_ms, end_ms: last_ms }));
        }
    }

    fn mark_stored(&mut self, id: GopId, fragment: &Fragment, trusts: bool) {
        let is_last = fragment.gops.last() == Some(&id);
        let is_sent_again = self
            .attempt
            .iter()
            .flat_map(|attempt| &attempt.fragments)
            .any(|fragment| fragment.gops.contains(&id));
        let Some(gop) = self.queue.get_mut(id) else { return };
        if is_last && gop.units > fragment.last_units && !trusts {
            // It has grown since: it is sent again, whole, where it can be.
            match gop.place {
                Place::InFlight if !is_sent_again => gop.place = Place::Waiting,
                Place::Dropped if !is_sent_again => self.lose_dropped(id),
                _ => {}
            }
            return;
        }
        if gop.place == Place::Dropped {
            self.forget(id);
        } else {
            gop.place = Place::Stored;
            self.release(id);
        }
    }

    /// A group that overflow has taken on its way will not be stored.
    pub(super) fn lose_dropped(&mut self, id: GopId) {
        if let Some(gop) = self.forget(id) {
            self.report_gap(gop.start_ms, gop.end_ms, GapReason::BufferOverflow, String::new());
        }
    }

    /// Lets a group go of which all is stored, unless more of it may come or it is being sent once more.
    pub(super) fn release(&mut self, id: GopId) {
        let is_over = self.queue.get(id).is_some_and(|gop| gop.place == Place::Stored && gop.complete);
        if is_over
            && !self.is_being_sent(id)
            && let Some(gop) = self.forget(id)
        {
            // What the spool does not have leaves room in memory.
            self.fetches_ahead |= !gop.on_spool;
            self.outputs.push_back(Output::Free(id));
        }
    }

    /// Whether a group's units are being pulled: its bytes must stay.
    pub(super) fn is_being_sent(&self, id: GopId) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| {
            attempt.open_fragment().is_some() && attempt.cursor.is_some_and(|cursor| cursor.gop == id)
        })
    }
}

/// Notes in the fragment what was said of it. Gives the time since its end.
fn note(fragment: Option<&mut Fragment>, ack: &Ack, now: Now) -> Option<std::time::Duration> {
    let fragment = fragment?;
    fragment.seen = true;
    if fragment.number.is_none() {
        fragment.number.clone_from(&ack.number);
    }
    if ack.kind == AckKind::Received && fragment.closed_at.is_some() {
        fragment.received_at.get_or_insert(now.mono);
    }
    fragment.closed_at.map(|at| now.mono.saturating_sub(at))
}
