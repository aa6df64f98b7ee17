//! The record of what was not stored.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use streamfleet_contract::{Gap, GapReason};

/// How many gaps status keeps.
const KEPT_MAX: usize = 1_000;

/// Gaps of one cause that follow each other within this time are one: as long as a picture may last.
const JOIN_MS: i64 = 250;

/// What a change of the record adds to the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The cause.
    pub reason: GapReason,
    /// Whether it is a gap of its own, and not more of one that was counted.
    pub is_new: bool,
    /// By how much the time that was not stored has grown, in milliseconds.
    pub grown_ms: i64,
}

/// The gaps of a feed, for all tasks that it has had, and for those who ask for its status. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GapBook {
    log: Arc<Mutex<GapLog>>,
}

impl GapBook {
    /// The record, for as long as it is held.
    pub fn lock(&self) -> MutexGuard<'_, GapLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed's gaps, oldest first.
#[derive(Debug, Default)]
pub struct GapLog {
    gaps: VecDeque<Kept>,
    /// Those that have ended since they were last asked for.
    ended: Vec<Gap>,
    recorded: u64,
    version: u64,
}

/// So much less than the time that has passed is counted of a gap that is open: pictures come and are taken in with a
/// delay that differs, and counters cannot go back.
const GROWN_MARGIN_MS: i64 = 2_000;

#[derive(Debug)]
struct Kept {
    gap: Gap,
    /// How long it has lasted at least, while it is open, by the time that has passed.
    lasted_ms: i64,
    /// What the counters have of it.
    counted_ms: i64,
    recovered_ms: i64,
}

impl GapLog {
    /// Records a stretch of time.
    pub fn record(&mut self, start_ms: i64, end_ms: i64, reason: GapReason, detail: &str) -> Counted {
        self.version += 1;
        let end_ms = end_ms.max(start_ms);
        if let Some(last) = self.joined(start_ms, reason, detail) {
            return Counted {
                reason,
                is_new: false,
                grown_ms: last.end(end_ms.max(last.gap.end_ms.unwrap_or(end_ms))),
            };
        }
        self.push(start_ms, Some(end_ms), reason, detail);
        Counted { reason, is_new: true, grown_ms: end_ms - start_ms }
    }

    /// Records that a gap has begun whose end is not known; does nothing while one of this cause is open. A gap of
    /// another cause ends where this one begins.
    pub fn open(&mut self, start_ms: i64, reason: GapReason, detail: &str) -> Vec<Counted> {
        if self.gaps.iter().any(|kept| kept.gap.end_ms.is_none() && kept.gap.reason == reason) {
            return Vec::new();
        }
        let mut counted = self.close(start_ms);
        self.version += 1;
        if let Some(last) = self.joined(start_ms, reason, detail) {
            last.gap.end_ms = None;
            last.lasted_ms = last.counted_ms;
        } else {
            self.push(start_ms, None, reason, detail);
            counted.push(Counted { reason, is_new: true, grown_ms: 0 });
        }
        counted
    }

    /// Ends the open gaps.
    pub fn close(&mut self, end_ms: i64) -> Vec<Counted> {
        let mut counted = Vec::new();
        for kept in self.gaps.iter_mut().filter(|kept| kept.gap.end_ms.is_none()) {
            let grown_ms = kept.end(end_ms);
            counted.push(Counted { reason: kept.gap.reason, is_new: false, grown_ms });
            self.ended.push(kept.gap.clone());
        }
        self.version += u64::from(!counted.is_empty());
        counted
    }

    /// More is known of the gap of this cause that is open.
    pub fn explain(&mut self, reason: GapReason, detail: &str) {
        let is_open = |kept: &&mut Kept| kept.gap.end_ms.is_none() && kept.gap.reason == reason;
        if let Some(kept) = self.gaps.iter_mut().find(is_open) {
            detail.clone_into(&mut kept.gap.detail);
            self.version += 1;
        }
    }

    /// The gaps that were open and have ended since this was last asked.
    pub fn take_ended(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.ended)
    }

    /// Time has passed: open gaps have become longer by it. By the node's clock, which a camera's need not agree with.
    pub fn pass(&mut self, passed_ms: i64) -> Vec<Counted> {
        let mut counted = Vec::new();
        for kept in self.gaps.iter_mut().filter(|kept| kept.gap.end_ms.is_none()) {
            kept.lasted_ms += passed_ms;
            let grown_ms = kept.lasted_ms - GROWN_MARGIN_MS - kept.counted_ms;
            if grown_ms > 0 {
                kept.counted_ms += grown_ms;
                counted.push(Counted { reason: kept.gap.reason, is_new: false, grown_ms });
            }
        }
        counted
    }

    /// A stretch of time that was recorded is stored after all. Gives its length in milliseconds.
    pub fn recover(&mut self, start_ms: i64, end_ms: i64) -> i64 {
        self.version += 1;
        let mut recovered = 0;
        for kept in self.gaps.iter_mut().rev() {
            // What never came, or came incomplete, cannot be stored: what overlaps it is something else.
            if matches!(kept.gap.reason, GapReason::CameraLost | GapReason::PacketLoss) {
                continue;
            }
            let Some(end) = kept.gap.end_ms else { continue };
            let common = end.min(end_ms) - kept.gap.start_ms.max(start_ms);
            if common > 0 {
                kept.recovered_ms += common;
                kept.gap.recovered = kept.recovered_ms + JOIN_MS >= end - kept.gap.start_ms;
                recovered += common;
            }
        }
        recovered
    }

    /// The gaps, oldest first.
    pub fn to_vec(&self) -> Vec<Gap> {
        self.gaps.iter().map(|kept| kept.gap.clone()).collect()
    }

    /// The one that was recorded last.
    pub fn newest(&self) -> Option<Gap> {
        self.gaps.back().map(|kept| kept.gap.clone())
    }

    /// Grows with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The newest gap, where it is of this cause and ends where another begins.
    fn joined(&mut self, start_ms: i64, reason: GapReason, detail: &str) -> Option<&mut Kept> {
        let joins = |gap: &Gap| {
            let end = gap.end_ms.unwrap_or(i64::MIN);
            let follows = start_ms.abs_diff(end) <= JOIN_MS.unsigned_abs();
            // One that was stored after all stays apart: what follows it was not.
            follows && gap.reason == reason && gap.detail == detail && !gap.recovered
        };
        self.gaps.back_mut().filter(|kept| joins(&kept.gap))
    }

    fn push(&mut self, start_ms: i64, end_ms: Option<i64>, reason: GapReason, detail: &str) {
        self.recorded += 1;
        if self.gaps.len() == KEPT_MAX {
            self.gaps.pop_front();
        }
        let counted_ms = end_ms.map_or(0, |end_ms| end_ms - start_ms);
        let gap = Gap {
            sequence: self.recorded,
            start_ms,
            end_ms,
            reason,
            detail: detail.to_owned(),
            recovered: false,
        };
        self.gaps.push_back(Kept { gap, lasted_ms: 0, counted_ms, recovered_ms: 0 });
    }
}

impl Kept {
    /// Ends the gap. Gives what was not counted before.
    fn end(&mut self, end_ms: i64) -> i64 {
        let end_ms = end_ms.max(self.gap.start_ms);
        self.gap.end_ms = Some(end_ms);
        let length_ms = end_ms - self.gap.start_ms;
        let grown_ms = (length_ms - self.counted_ms).max(0);
        self.counted_ms += grown_ms;
        grown_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(log: &GapLog) -> Vec<(u64, i64, Option<i64>)> {
        log.to_vec().iter().map(|gap| (gap.sequence, gap.start_ms, gap.end_ms)).collect()
    }

    fn grown(counted: &[Counted]) -> Vec<(GapReason, i64)> {
        counted.iter().map(|counted| (counted.reason, counted.grown_ms)).collect()
    }

    #[test]
    fn neighbours_of_one_cause_are_one_gap_and_others_are_not() {
        let mut log = GapLog::default();
        let counted: Vec<_> = [
            (0, 1_000, GapReason::BufferOverflow, ""),
            (1_000, 2_000, GapReason::BufferOverflow, ""),
            (2_000, 3_000, GapReason::Refused, "4006"),
            (9_000, 10_000, GapReason::Refused, "4006"),
            (10_400, 11_400, GapReason::Refused, "4006"),
        ]
        .map(|(start, end, reason, detail)| log.record(start, end, reason, detail))
        .into();
        assert_eq!(
            spans(&log),
            [
                (1, 0, Some(2_000)),
                (2, 2_000, Some(3_000)),
                (3, 9_000, Some(10_000)),
                (4, 10_400, Some(11_400))
            ],
            "a stored picture between two gaps parts them"
        );
        assert!(counted.iter().all(|counted| counted.grown_ms == 1_000));
        assert_eq!(counted.iter().filter(|counted| counted.is_new).count(), 4);
    }

    #[test]
    fn an_open_gap_is_opened_once_and_ends_where_pictures_come_again() {
        let mut log = GapLog::default();
        assert!(log.open(5_000, GapReason::CameraLost, "")[0].is_new);
        assert_eq!(log.open(6_000, GapReason::CameraLost, ""), []);
        assert_eq!(log.to_vec().len(), 1);
        assert_eq!(grown(&log.close(8_000)), [(GapReason::CameraLost, 3_000)]);
        assert_eq!(log.close(9_000), []);
    }

    #[test]
    fn an_open_gap_is_counted_as_it_grows_and_no_more_than_it_lasted() {
        let mut log = GapLog::default();
        log.open(5_000, GapReason::CameraLost, "");
        let mut total = 0;
        for _ in 0..10 {
            total += log.pass(1_000).iter().map(|counted| counted.grown_ms).sum::<i64>();
        }
        assert_eq!(total, 8_000);
        assert_eq!(grown(&log.close(16_000)), [(GapReason::CameraLost, 3_000)]);
        assert_eq!(log.pass(60_000), [], "a gap that has ended grows no more");
        log.open(16_100, GapReason::CameraLost, "");
        assert_eq!(log.pass(2_000), [], "one that goes on begins with what was counted");
        assert_eq!(grown(&log.pass(1_000)), [(GapReason::CameraLost, 1_000)]);
    }

    #[test]
    fn more_that_is_known_of_a_gap_is_said_of_the_one_that_is_open() {
        let mut log = GapLog::default();
        log.record(0, 1_000, GapReason::Refused, "before");
        log.open(5_000, GapReason::Refused, "20 s so far");
        let version = log.version();
        log.explain(GapReason::CameraLost, "another");
        log.explain(GapReason::Refused, "30 s");
        assert!(log.version() > version);
        log.close(15_000);
        log.explain(GapReason::Refused, "late");
        let details: Vec<_> = log.to_vec().into_iter().map(|gap| gap.detail).collect();
        assert_eq!(details, ["before", "30 s"]);
    }

    #[test]
    fn two_causes_share_no_time() {
        let mut log = GapLog::default();
        log.open(1_000, GapReason::Refused, "4002");
        let counted = grown(&log.open(3_000, GapReason::CameraLost, ""));
        assert_eq!(counted, [(GapReason::Refused, 2_000), (GapReason::CameraLost, 0)]);
        assert_eq!(grown(&log.close(7_000)), [(GapReason::CameraLost, 4_000)]);
    }

    #[test]
    fn what_is_dropped_group_by_group_as_it_comes_in_is_one_gap_counted_once() {
        let mut log = GapLog::default();
        let mut total = 0;
        for group in 0..10 {
            // Each key frame ends the gap, and begins it again where it is dropped too.
            total += log.close(group * 2_000).iter().map(|counted| counted.grown_ms).sum::<i64>();
            log.open(group * 2_000, GapReason::BufferOverflow, "");
        }
        total += log.close(20_000).iter().map(|counted| counted.grown_ms).sum::<i64>();
        assert_eq!((spans(&log), total), (vec![(1, 0, Some(20_000))], 20_000));
    }

    #[test]
    fn a_gap_that_is_stored_after_all_says_so_when_all_of_it_is() {
        let mut log = GapLog::default();
        log.record(0, 2_000, GapReason::BufferOverflow, "");
        log.record(2_000, 4_000, GapReason::BufferOverflow, "");
        assert_eq!(log.recover(0, 2_000), 2_000);
        assert!(!log.to_vec()[0].recovered);
        assert_eq!(log.recover(2_000, 4_000), 2_000);
        assert!(log.to_vec()[0].recovered);
        assert_eq!(log.recover(9_000, 10_000), 0);
    }

    #[test]
    fn what_never_came_is_not_stored_after_all() {
        let mut log = GapLog::default();
        for reason in [GapReason::CameraLost, GapReason::PacketLoss] {
            log.record(0, 2_000, reason, "");
            assert_eq!(log.recover(0, 2_000), 0);
        }
        assert!(log.to_vec().iter().all(|gap| !gap.recovered));
    }

    #[test]
    fn what_follows_a_gap_that_was_stored_after_all_is_a_gap_of_its_own() {
        let mut log = GapLog::default();
        log.record(0, 2_000, GapReason::BufferOverflow, "");
        log.recover(0, 2_000);
        assert!(log.record(2_000, 4_000, GapReason::BufferOverflow, "").is_new);
        log.recover(2_000, 4_000);
        log.open(4_000, GapReason::BufferOverflow, "");
        let recovered: Vec<_> = log.to_vec().iter().map(|gap| gap.recovered).collect();
        assert_eq!(recovered, [true, true, false]);
    }

    #[test]
    fn only_the_newest_thousand_are_kept() {
        let mut log = GapLog::default();
        for n in 0..1_005 {
            log.record(n * 10_000, n * 10_000 + 1, GapReason::BufferOverflow, "");
        }
        let kept = log.to_vec();
        assert_eq!((kept.len(), kept[0].sequence, kept[999].sequence), (1_000, 6, 1_005));
    }
}
