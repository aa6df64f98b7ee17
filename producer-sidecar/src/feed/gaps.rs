//! The record of what was not stored.

use std::collections::VecDeque;

use streamfleet_contract::{Gap, GapReason};

/// How many gaps status keeps.
const KEPT_MAX: usize = 1_000;

/// Gaps of one cause that follow each other within this time are one.
const JOIN_MS: i64 = 1_000;

/// A feed's gaps, oldest first.
#[derive(Debug, Default)]
pub struct GapLog {
    gaps: VecDeque<Gap>,
    recorded: u64,
}

impl GapLog {
    /// Records a stretch of time. Gives its length in milliseconds.
    pub fn record(&mut self, start_ms: i64, end_ms: i64, reason: GapReason, detail: &str) -> i64 {
        let joins = |gap: &&mut Gap| {
            gap.reason == reason
                && gap.detail == detail
                && gap.end_ms.is_some_and(|end| (start_ms - end).abs() <= JOIN_MS)
        };
        match self.gaps.back_mut().filter(joins) {
            Some(last) => last.end_ms = last.end_ms.max(Some(end_ms)),
            None => self.push(start_ms, Some(end_ms), reason, detail),
        }
        (end_ms - start_ms).max(0)
    }

    /// Records that a gap has begun whose end is not known; does nothing while one of this cause is open. A gap of
    /// another cause ends where this one begins: gives its reason and length in milliseconds.
    pub fn open(&mut self, start_ms: i64, reason: GapReason, detail: &str) -> Vec<(GapReason, i64)> {
        if self.gaps.iter().any(|gap| gap.end_ms.is_none() && gap.reason == reason) {
            return Vec::new();
        }
        let ended = self.close(start_ms);
        self.push(start_ms, None, reason, detail);
        ended
    }

    /// Ends the open gaps. Gives their reasons and lengths in milliseconds.
    pub fn close(&mut self, end_ms: i64) -> Vec<(GapReason, i64)> {
        let open = self.gaps.iter_mut().filter(|gap| gap.end_ms.is_none());
        open.map(|gap| {
            let end_ms = end_ms.max(gap.start_ms);
            gap.end_ms = Some(end_ms);
            (gap.reason, end_ms - gap.start_ms)
        })
        .collect()
    }

    /// The gaps, oldest first.
    pub fn to_vec(&self) -> Vec<Gap> {
        self.gaps.iter().cloned().collect()
    }

    fn push(&mut self, start_ms: i64, end_ms: Option<i64>, reason: GapReason, detail: &str) {
        self.recorded += 1;
        if self.gaps.len() == KEPT_MAX {
            self.gaps.pop_front();
        }
        self.gaps.push_back(Gap {
            sequence: self.recorded,
            start_ms,
            end_ms,
            reason,
            detail: detail.to_owned(),
            recovered: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_cause_are_one_gap_and_others_are_not() {
        let mut log = GapLog::default();
        log.record(0, 1_000, GapReason::BufferOverflow, "");
        log.record(1_000, 2_000, GapReason::BufferOverflow, "");
        log.record(2_000, 3_000, GapReason::Refused, "4006 INVALID_MKV_DATA");
        log.record(9_000, 10_000, GapReason::Refused, "4006 INVALID_MKV_DATA");
        let spans: Vec<_> = log.to_vec().iter().map(|gap| (gap.sequence, gap.start_ms, gap.end_ms)).collect();
        assert_eq!(spans, [(1, 0, Some(2_000)), (2, 2_000, Some(3_000)), (3, 9_000, Some(10_000))]);
    }

    #[test]
    fn an_open_gap_is_opened_once_and_ends_where_pictures_come_again() {
        let mut log = GapLog::default();
        log.open(5_000, GapReason::CameraLost, "");
        log.open(6_000, GapReason::CameraLost, "");
        assert_eq!(log.to_vec().len(), 1);
        assert_eq!(log.close(8_000), [(GapReason::CameraLost, 3_000)]);
        assert_eq!(log.close(9_000), []);
    }

    #[test]
    fn two_causes_share_no_time() {
        let mut log = GapLog::default();
        log.open(1_000, GapReason::Refused, "4002");
        assert_eq!(log.open(3_000, GapReason::CameraLost, ""), [(GapReason::Refused, 2_000)]);
        assert_eq!(log.close(7_000), [(GapReason::CameraLost, 4_000)]);
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
