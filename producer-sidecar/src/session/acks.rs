//! What acknowledgements do: free what is stored, skip what is refused for ever, and end sessions that failed.

use streamfleet_contract::{GapReason, StoredAt, UploadReason};
use streamfleet_media::ack::{Ack, AckKind, ErrorClass, ErrorId};

use super::attempt::Fragment;
use super::queue::Place;
use super::retry::Cause;
use super::stalls::STORAGE_PATIENCE;
use super::{Output, REFUSED_IN_A_ROW_MAX, Report, Session, SessionId};
use crate::buffer::GopId;
use crate::clock::Now;

/// A fragment that fails alone this often without being named is the culprit.
const FAILED_ALONE_MAX: u32 = 2;

/// "Too long" and "too large": sending the fragment's groups one by one may cure them.
const CURED_BY_CUTTING: [ErrorId; 2] = [ErrorId::MaxFragmentSizeReached, ErrorId::MaxFragmentDurationReached];

impl Session {
    pub(super) fn on_ack(&mut self, id: SessionId, ack: &Ack, now: Now) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) else { return };
        attempt.acknowledged_at = now.mono;
        let found = attempt.find(ack.timecode, ack.number.as_ref());
        let closed_at =
            found.and_then(|index| attempt.fragments.get(index)).and_then(|fragment| fragment.closed_at);
        if let Some(fragment) = found.and_then(|index| attempt.fragments.get_mut(index)) {
            fragment.seen = true;
            if fragment.number.is_none() {
                fragment.number.clone_from(&ack.number);
            }
        }
        let latency = closed_at.map(|at| now.mono.saturating_sub(at));
        self.outputs.push_back(Output::Report(Report::Acknowledged(ack.kind.clone(), ack.error, latency)));
        match (&ack.kind, found) {
            (AckKind::Persisted, Some(index)) => self.on_stored(index),
            (AckKind::Received, Some(index)) if self.settings.stored_at == StoredAt::Received => {
                self.on_stored(index);
            }
            (AckKind::Error, _) => self.on_error(ack, found, now),
            _ => {}
        }
    }

    /// Frees a fragment's groups. A fragment whose end was not written cannot be stored, whatever the service says.
    fn on_stored(&mut self, index: usize) {
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.fragments.get(index).is_none_or(|fragment| fragment.closed_at.is_none()) {
            return;
        }
        let Some(fragment) = attempt.fragments.remove(index) else { return };
        attempt.stored_any = true;
        self.retry.reset();
        self.refused_in_a_row = 0;
        self.storage_patience = STORAGE_PATIENCE;
        let mut last_ms = fragment.time_ms;
        for id in &fragment.gops {
            if let Some(gop) = self.queue.remove(*id) {
                last_ms = last_ms.max(gop.last_ms);
                if gop.place != Place::Dropped {
                    self.outputs.push_back(Output::Free(*id));
                }
            }
        }
        self.outputs.push_back(Output::Report(Report::Stored { start_ms: fragment.time_ms, last_ms }));
    }

    fn on_error(&mut self, ack: &Ack, found: Option<usize>, now: Now) {
        // An error without a number is treated like an unknown one: sent again.
        let id = ack.error.unwrap_or(ErrorId::Other(0));
        let message = format!("the service answers with error {id}");
        let mut cause = Cause::Failure;
        let mut reason = UploadReason::FragmentRefused;
        match id.class() {
            // With one track and no tags there is nothing to mend in a curable one.
            ErrorClass::Poison | ErrorClass::Curable => {
                let fragments = self.attempt.as_mut().map(|attempt| std::mem::take(&mut attempt.fragments));
                let mut fragments = fragments.unwrap_or_default();
                match found.and_then(|index| fragments.remove(index)) {
                    Some(fragment) => self.refuse(&fragment, id),
                    None => self.isolate(&fragments.iter().collect::<Vec<_>>(), id),
                }
                if let Some(attempt) = &mut self.attempt {
                    // Put back what the end of the session has to release.
                    attempt.fragments = fragments;
                }
                if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
                    cause = Cause::Hold;
                    reason = UploadReason::OnHold;
                }
            }
            ErrorClass::Hold => {
                cause = Cause::Hold;
                reason = UploadReason::OnHold;
            }
            ErrorClass::Resend => reason = UploadReason::Opening,
        }
        self.trouble(reason, message);
        if let Some(attempt) = &self.attempt {
            self.outputs.push_back(Output::Abort(attempt.id));
        }
        self.end_attempt(Some(cause), now);
    }

    /// Gives up a fragment that the service will never take; or, where its groups may be taken one by one, has them
    /// cut.
    fn refuse(&mut self, fragment: &Fragment, id: ErrorId) {
        if fragment.gops.len() > 1 && CURED_BY_CUTTING.contains(&id) {
            for gop in &fragment.gops {
                if let Some(gop) = self.queue.get_mut(*gop) {
                    gop.cut_before = true;
                    if gop.place == Place::InFlight {
                        gop.place = Place::Waiting;
                    }
                }
            }
            return;
        }
        self.refused_in_a_row += 1;
        self.failed_alone = None;
        let mut span: Option<(i64, i64)> = None;
        for name in &fragment.gops {
            if let Some(gop) = self.queue.remove(*name) {
                let (start_ms, end_ms) = span.unwrap_or((gop.start_ms, gop.end_ms));
                span = Some((start_ms.min(gop.start_ms), end_ms.max(gop.end_ms)));
                if gop.place != Place::Dropped {
                    self.outputs.push_back(Output::Free(*name));
                }
            }
        }
        if let Some((start_ms, end_ms)) = span {
            self.report_gap(start_ms, end_ms, GapReason::Refused, id.to_string());
        }
    }

    /// An error that names no fragment: from now on each is sent alone, until the one that fails alone is found.
    fn isolate(&mut self, fragments: &[&Fragment], id: ErrorId) {
        let Some(newest) = fragments.iter().flat_map(|fragment| &fragment.gops).max().copied() else {
            return;
        };
        if let [fragment] = fragments
            && let Some(&first) = fragment.gops.first()
        {
            let times = match self.failed_alone {
                Some((gop, times)) if gop == first => times + 1,
                _ => 1,
            };
            self.failed_alone = Some((first, times));
            if times >= FAILED_ALONE_MAX {
                self.refuse(fragment, id);
                return;
            }
        }
        let until: GopId = self.isolate_until.map_or(newest, |until| until.max(newest));
        self.isolate_until = Some(until);
    }
}
