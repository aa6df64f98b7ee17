//! What an error of the service does: skip what is refused for ever, mend what can be mended, hold, or send again.

use streamfleet_contract::{GapReason, UploadReason};
use streamfleet_media::ack::{Ack, ErrorClass, ErrorId};

use super::attempt::Fragment;
use super::mutant::Mutant;
use super::queue::Place;
use super::retry::Cause;
use super::{Output, Session, TrackSet};
use crate::buffer::GopId;
use crate::clock::Now;

/// A fragment that fails alone this often without being named is the culprit.
const FAILED_ALONE_MAX: u32 = 2;

/// So many fragments refused in a row, and it is not the fragments: this one and everything else is kept, and tried again
/// until something is stored.
const REFUSED_IN_A_ROW_MAX: u32 = 3;

/// "Too long" and "too large": sending the fragment's groups in shorter ones may cure them.
const CURED_BY_CUTTING: [ErrorId; 2] = [ErrorId::MaxFragmentSizeReached, ErrorId::MaxFragmentDurationReached];

impl Session {
    pub(super) fn on_error(&mut self, ack: &Ack, found: Option<usize>, now: Now) {
        // An error without a number is treated like an unknown one: sent again.
        let id = ack.error.unwrap_or(ErrorId::Other(0));
        let mut cause = Cause::Failure;
        let mut reason = UploadReason::FragmentRefused;
        match id.class() {
            ErrorClass::Curable if self.mend(id, found) => reason = UploadReason::Opening,
            // What cannot be mended will never be taken.
            ErrorClass::Poison | ErrorClass::Curable => {
                self.skip(id, found);
                if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
                    cause = Cause::Hold;
                    reason = UploadReason::OnHold;
                }
            }
            ErrorClass::Hold => {
                cause = Cause::Hold;
                reason = if id.is_of_key() { UploadReason::KmsKeyUnusable } else { UploadReason::OnHold };
            }
            ErrorClass::Resend => reason = UploadReason::Opening,
        }
        self.trouble(reason, format!("the service answers with error {id}"));
        if let Some(attempt) = &self.attempt {
            self.outputs.push_back(Output::Abort(attempt.id));
        }
        self.end_attempt(Some(cause), now);
        if id == ErrorId::InvalidProducerTimestamp {
            self.ask_for_other_times();
        }
    }

    /// The service finds the times wrong. What is stored by now stays before what is not.
    fn ask_for_other_times(&mut self) {
        if let Some(first_ms) = self.queue.iter().map(|gop| gop.start_ms).min() {
            let earliest_ms = self.stored_until_ms.map(|stored| stored + 1);
            self.outputs.push_back(Output::Retime { first_ms, earliest_ms });
        }
    }

    /// Changes how the fragment is sent the next time, or all of them where none is named. Whether anything changes.
    fn mend(&mut self, id: ErrorId, found: Option<usize>) -> bool {
        let Some(attempt) = &self.attempt else { return false };
        let named = |index: usize| found.is_none_or(|found| found == index);
        let fragments = attempt.fragments.iter().enumerate().filter(|(index, _)| named(*index));
        let tracks = attempt.header.map_or(TrackSet::NONE, |header| header.tracks);
        let silent = TrackSet::first(8).without(TrackSet::only(0));
        let mut mended = false;
        for id_of_gop in fragments.flat_map(|(_, fragment)| &fragment.gops) {
            let Some(gop) = self.queue.get_mut(*id_of_gop) else { continue };
            if id == ErrorId::FragmentMetadataLimitReached {
                mended |= self.settings.tags > 0 && !gop.without_tags;
                gop.without_tags = true;
            } else {
                // Which track it missed it does not say: all but the first, which the group began with.
                let left_out = gop.left_out.with(silent);
                mended |= tracks.count() > 1 && left_out != gop.left_out;
                gop.left_out = left_out;
            }
        }
        mended
    }

    /// Skips the fragment that was refused, or begins to look for it.
    fn skip(&mut self, id: ErrorId, found: Option<usize>) {
        let fragments = self.attempt.as_mut().map(|attempt| std::mem::take(&mut attempt.fragments));
        let mut fragments = fragments.unwrap_or_default();
        let found = found.map(|index| if self.has(Mutant::SkipsTheWrongOne) { 0 } else { index });
        let refused = found.or_else(|| self.isolate(&fragments.iter().collect::<Vec<_>>()));
        if let Some(index) = refused
            && let Some(fragment) = fragments.get(index)
            && self.refuse(fragment, id)
        {
            fragments.remove(index);
        }
        if let Some(attempt) = &mut self.attempt {
            // Put back what the end of the session has to release.
            attempt.fragments = fragments;
        }
    }

    /// Gives up a fragment that the service will never take; or, where its groups may be taken in shorter ones, has them
    /// cut; or, where it is not the first that is refused, keeps it. Whether it is given up.
    fn refuse(&mut self, fragment: &Fragment, id: ErrorId) -> bool {
        self.failed_alone = None;
        let is_short = fragment.gops.iter().any(|gop| self.queue.get(*gop).is_some_and(|gop| gop.cut_short));
        if fragment.gops.len() > 1 && !is_short && CURED_BY_CUTTING.contains(&id) {
            for gop in &fragment.gops {
                if let Some(gop) = self.queue.get_mut(*gop) {
                    gop.cut_short = true;
                }
            }
            return false;
        }
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
            return false;
        }
        self.give_up(fragment, id);
        true
    }

    /// Gives up a fragment's groups, and tells which stretches are missing: what another session has stored is not, also
    /// where it is in the middle.
    fn give_up(&mut self, fragment: &Fragment, id: ErrorId) {
        let mut span: Option<(i64, i64)> = None;
        for name in &fragment.gops {
            let found = self.queue.get(*name).map(|gop| (gop.place, gop.complete));
            let is_missing = |place| place != Place::Stored || self.has(Mutant::CallsTheStoredMissing);
            if !found.is_some_and(|(place, _)| is_missing(place)) {
                self.report_refused(span.take(), id);
                if found.is_some_and(|(_, complete)| complete) && self.forget(*name).is_some() {
                    self.outputs.push_back(Output::Free(*name));
                }
                continue;
            }
            if let Some(gop) = self.forget(*name) {
                self.expect_rest(&gop, true, GapReason::Refused, &id.to_string());
                let (start_ms, end_ms) = span.unwrap_or((gop.start_ms, gop.end_ms));
                span = Some((start_ms.min(gop.start_ms), end_ms.max(gop.end_ms)));
                if gop.place != Place::Dropped {
                    self.outputs.push_back(Output::Free(*name));
                }
            }
        }
        self.report_refused(span, id);
    }

    fn report_refused(&mut self, span: Option<(i64, i64)>, id: ErrorId) {
        if let Some((start_ms, end_ms)) = span {
            self.report_gap(start_ms, end_ms, GapReason::Refused, id.to_string());
        }
    }

    /// An error that names no fragment: from now on each is sent alone, until the one that fails alone is found. Gives that
    /// one.
    fn isolate(&mut self, fragments: &[&Fragment]) -> Option<usize> {
        let newest = fragments.iter().flat_map(|fragment| &fragment.gops).max().copied()?;
        if let [fragment] = fragments
            && let Some(&first) = fragment.gops.first()
        {
            let times = match self.failed_alone {
                Some((gop, times)) if gop == first => times + 1,
                _ => 1,
            };
            self.failed_alone = Some((first, times));
            if times >= FAILED_ALONE_MAX {
                return Some(0);
            }
        }
        let until: GopId = self.isolate_until.map_or(newest, |until| until.max(newest));
        self.isolate_until = Some(until);
        None
    }
}
