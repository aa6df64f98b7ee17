//! What the archive holds of a range of time, as plain values: order, duplicates, neighbours, gaps. No I/O.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use streamfleet_media::fragment::FragmentNumber;

/// The shortest stretch without a picture that counts as a gap.
pub const GAP_SHORTEST: Duration = Duration::from_millis(500);

/// A gap is longer than so many frames: cameras that send few pictures a second have long pauses anyway.
pub const GAP_FRAMES: u32 = 5;

/// What counts as a gap where the number of frames is not known: longer than the pauses of a camera that sends one picture
/// a second.
pub const GAP_UNKNOWN_RATE: Duration = Duration::from_millis(1_500);

/// One fragment of the archive, as `ListFragments` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Rises in the order of ingestion.
    pub number: FragmentNumber,
    /// The time of its first frame, by the producer's clock.
    pub producer: Timestamp,
    /// When the service received it.
    pub server: Timestamp,
    /// From the first frame to the start of the last one.
    pub length: Duration,
    /// As stored.
    pub bytes: u64,
}

impl Fragment {
    /// The time of its last frame, by the producer's clock.
    pub fn end(&self) -> Timestamp {
        self.producer.saturating_add(self.length).unwrap_or(Timestamp::MAX)
    }
}

/// A range of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first instant.
    pub from: Timestamp,
    /// The last instant.
    pub to: Timestamp,
}

impl Range {
    /// The same range with an earlier start.
    #[must_use]
    pub fn beginning_earlier(self, by: Duration) -> Self {
        Self { from: self.from.saturating_sub(by).unwrap_or(Timestamp::MIN), to: self.to }
    }

    /// The same range with a later end.
    #[must_use]
    pub fn ending_later(self, by: Duration) -> Self {
        Self { from: self.from, to: self.to.saturating_add(by).unwrap_or(Timestamp::MAX) }
    }
}

/// A stretch of time that the archive has nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last frame before it.
    pub start: Timestamp,
    /// The first frame after it.
    pub end: Timestamp,
}

impl Gap {
    fn if_longer(start: Timestamp, end: Timestamp, tolerance: Duration) -> Option<Self> {
        let gap = Self { start, end };
        (end > start && gap.length().unsigned_abs() > tolerance).then_some(gap)
    }

    /// How long it is.
    pub fn length(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }
}

/// Sorts by producer time, and keeps one fragment for each: the one with the largest number, which is the one that was
/// stored last, as the service's own playback does. Says how many were left out.
pub fn in_playback_order(mut fragments: Vec<Fragment>) -> (Vec<Fragment>, usize) {
    fragments.sort_by(|a, b| a.producer.cmp(&b.producer).then_with(|| b.number.cmp(&a.number)));
    let before = fragments.len();
    fragments.dedup_by_key(|fragment| fragment.producer);
    let left_out = before - fragments.len();
    (fragments, left_out)
}

/// Keeps the fragments that have a frame inside the range. A fragment that begins before it belongs to it as well, if
/// it reaches into it.
pub fn overlapping(fragments: Vec<Fragment>, range: Range) -> Vec<Fragment> {
    fragments
        .into_iter()
        .filter(|fragment| fragment.producer <= range.to && fragment.end() >= range.from)
        .collect()
}

/// How long the pause behind a fragment may be without being a gap. The archive's lengths leave out the last frame's own
/// duration, so that one frame's time lies between any two fragments.
pub fn tolerance(length: Duration, frames: u64) -> Duration {
    let intervals = u32::try_from(frames.saturating_sub(1)).unwrap_or(u32::MAX);
    length
        .checked_div(intervals)
        .map_or(GAP_UNKNOWN_RATE, |interval| (interval * GAP_FRAMES).max(GAP_SHORTEST))
}

/// The stretches of a range that no fragment covers, in order. The fragments are in playback order, each with its
/// [`tolerance`].
pub fn gaps(fragments: &[(Fragment, Duration)], range: Range) -> Vec<Gap> {
    let Some((_, first_tolerance)) = fragments.first() else {
        return vec![Gap { start: range.from, end: range.to }];
    };
    let mut gaps = Vec::new();
    let (mut covered_to, mut tolerance) = (range.from, *first_tolerance);
    for (fragment, own_tolerance) in fragments {
        gaps.extend(Gap::if_longer(covered_to, fragment.producer, tolerance));
        if fragment.end() >= covered_to {
            (covered_to, tolerance) = (fragment.end(), *own_tolerance);
        }
    }
    gaps.extend(Gap::if_longer(covered_to, range.to, tolerance));
    gaps
}

/// The nearest fragments on both sides of a range in which there is none.
pub fn neighbours(fragments: &[Fragment], range: Range) -> (Option<&Fragment>, Option<&Fragment>) {
    let before =
        fragments.iter().filter(|fragment| fragment.end() < range.from).max_by_key(|fragment| fragment.end());
    let after = fragments
        .iter()
        .filter(|fragment| fragment.producer > range.to)
        .min_by_key(|fragment| fragment.producer);
    (before, after)
}

/// Drops fragments that were listed twice: the service promises no order, and a page may repeat another's entry while
/// fragments are still being added.
pub(crate) fn without_repetitions(fragments: Vec<Fragment>) -> Vec<Fragment> {
    let mut seen = HashSet::new();
    fragments.into_iter().filter(|fragment| seen.insert(fragment.number.clone())).collect()
}

/// The newest fragment, by producer time.
pub fn newest(fragments: &[Fragment]) -> Option<&Fragment> {
    fragments.iter().max_by_key(|fragment| fragment.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    fn fragment(number: &str, start_ms: i64, length_ms: u64) -> Fragment {
        Fragment {
            number: number.parse().unwrap(),
            producer: at(start_ms),
            server: at(start_ms + 300),
            length: Duration::from_millis(length_ms),
            bytes: 1,
        }
    }

    fn numbers(fragments: &[Fragment]) -> Vec<&str> {
        fragments.iter().map(|fragment| fragment.number.as_str()).collect()
    }

    #[test]
    fn order_is_by_producer_time_and_the_largest_number_wins_where_two_have_the_same() {
        let (fragments, left_out) = in_playback_order(vec![
            fragment("30", 4_000, 1_960),
            fragment("9", 2_000, 1_960),
            fragment("100", 0, 1_960),
            fragment("10", 2_000, 1_960),
        ]);
        assert_eq!(numbers(&fragments), ["100", "10", "30"]);
        assert_eq!(left_out, 1);
    }

    #[test]
    fn a_fragment_that_reaches_into_the_range_belongs_to_it() {
        let all = vec![fragment("1", 0, 1_960), fragment("2", 2_000, 1_960), fragment("3", 4_000, 1_960)];
        let range = Range { from: at(1_000), to: at(4_000) };
        assert_eq!(numbers(&overlapping(all.clone(), range)), ["1", "2", "3"]);
        let range = Range { from: at(1_961), to: at(3_999) };
        assert_eq!(numbers(&overlapping(all, range)), ["2"]);
    }

    #[test]
    fn a_gap_is_longer_than_five_frames_and_than_half_a_second() {
        let ms = Duration::from_millis;
        assert_eq!(tolerance(ms(1_960), 50), ms(500), "25 pictures a second");
        assert_eq!(tolerance(ms(1_800), 10), ms(1_000), "5 pictures a second");
        assert_eq!(tolerance(ms(4_000), 5), ms(5_000), "1 picture a second");
        for frames in [0, 1] {
            assert_eq!(tolerance(ms(1_960), frames), GAP_UNKNOWN_RATE);
        }
    }

    #[test]
    fn gaps_are_between_fragments_and_at_the_ends_of_the_range() {
        let tolerance = Duration::from_millis(500);
        let fragments = [
            (fragment("1", 0, 1_960), tolerance),
            (fragment("2", 2_000, 9_960), tolerance),
            // Overlapped by the one before.
            (fragment("3", 4_000, 1_960), tolerance),
            (fragment("4", 12_000, 1_960), tolerance),
            (fragment("5", 14_900, 100), tolerance),
        ];
        let gaps_in = |from: i64, to: i64| gaps(&fragments, Range { from: at(from), to: at(to) });
        assert_eq!(gaps_in(500, 15_300), [Gap { start: at(13_960), end: at(14_900) }]);
        assert_eq!(
            gaps_in(-5_000, 20_000),
            [
                Gap { start: at(-5_000), end: at(0) },
                Gap { start: at(13_960), end: at(14_900) },
                Gap { start: at(15_000), end: at(20_000) },
            ]
        );
        assert_eq!(gaps(&[], Range { from: at(0), to: at(1) }), [Gap { start: at(0), end: at(1) }]);
    }

    #[test]
    fn the_neighbours_of_an_empty_range_are_the_nearest_on_each_side() {
        let fragments = [fragment("1", 0, 900), fragment("2", 1_000, 900), fragment("3", 60_000, 900)];
        let (before, after) = neighbours(&fragments, Range { from: at(10_000), to: at(20_000) });
        assert_eq!(before.unwrap().number.as_str(), "2");
        assert_eq!(after.unwrap().number.as_str(), "3");
        let (before, after) = neighbours(&fragments, Range { from: at(70_000), to: at(80_000) });
        assert_eq!((before.unwrap().number.as_str(), after), ("3", None));
    }

    #[test]
    fn an_entry_that_two_pages_name_counts_once() {
        let fragments =
            without_repetitions(vec![fragment("1", 0, 1), fragment("2", 5, 1), fragment("1", 0, 1)]);
        assert_eq!(numbers(&fragments), ["1", "2"]);
        assert_eq!(newest(&fragments).unwrap().number.as_str(), "2");
    }
}
