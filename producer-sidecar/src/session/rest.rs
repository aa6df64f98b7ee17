//! What still comes of a group that was given up: it has no place, and is told as soon as there is any.

use streamfleet_contract::GapReason;

use super::mutant::Mutant;
use super::queue::{CONTIGUOUS_MS, Queued};
use super::{Output, Report, Session};

/// The rest of a group that was given up while it came.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    /// The newest unit that the group has.
    last_ms: i64,
    /// Whether the group itself is told to be missing: then its last picture lasts until the next group.
    follows_gap: bool,
    reason: GapReason,
    detail: String,
}

impl Session {
    /// A group is given up. If it still comes, what is to come of it will be missing; a camera that pauses may send nothing
    /// more of it.
    pub(super) fn expect_rest(&mut self, gop: &Queued, follows_gap: bool, reason: GapReason, detail: &str) {
        if !gop.complete && !self.has(Mutant::SilentRest) {
            let (last_ms, detail) = (gop.last_ms, detail.to_owned());
            self.rest = Some(Rest { last_ms, follows_gap, reason, detail });
        }
    }

    /// Something came of it.
    pub(super) fn on_unplaced(&mut self) {
        if let Some(Rest { last_ms, reason, detail, .. }) = self.rest.take() {
            self.outputs.push_back(Output::Report(Report::GapBegan { start_ms: last_ms, reason, detail }));
        }
    }

    /// The next group begins: nothing came of it.
    pub(super) fn end_rest(&mut self, next_ms: i64) {
        let Some(Rest { last_ms, follows_gap, reason, detail }) = self.rest.take() else { return };
        if follows_gap && (1..=CONTIGUOUS_MS).contains(&(next_ms - last_ms)) {
            self.report_gap(last_ms, next_ms, reason, detail);
        }
    }

    /// All times were moved.
    pub(super) fn shift_rest(&mut self, by_ms: i64) {
        if let Some(rest) = &mut self.rest {
            rest.last_ms += by_ms;
        }
    }
}
