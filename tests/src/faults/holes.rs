//! Whether the gaps that a producer reports are the holes that its archive has.

use std::collections::BTreeMap;

use streamfleet_contract::Gap;

use crate::journal::ArchivedPicture;

/// A stretch of producer time without pictures, in milliseconds of the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// One period after the last picture before it.
    pub start_ms: i64,
    /// The first picture after it.
    pub end_ms: i64,
}

/// Holes and gaps beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// How many holes the archive has.
    pub holes: usize,
    /// Holes that no gap tells of, and gaps without a hole.
    pub unmatched: usize,
    /// The largest distance of an edge of a gap from its hole's, in pictures.
    pub error_pictures: f64,
    /// Both sides, where they do not match.
    pub detail: String,
}

/// The holes between the first and the last picture of an archive, whose camera takes a picture each `period_ms`.
pub fn holes(archive: &[ArchivedPicture], period_ms: f64) -> Vec<Hole> {
    let taken: BTreeMap<u64, i64> = archive.iter().map(|picture| (picture.number, picture.unix_ms)).collect();
    let pictures: Vec<(u64, i64)> = taken.into_iter().collect();
    let apart = pictures.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1);
    apart.map(|pair| Hole { start_ms: pair[0].1 + period_ms.round() as i64, end_ms: pair[1].1 }).collect()
}

/// Compares holes with the gaps that are reported and not recovered. Gaps that touch each other are one.
pub fn compare(holes: &[Hole], gaps: &[Gap], period_ms: f64) -> Match {
    let reported = joined(gaps, period_ms);
    let overlap = |gap: &Hole, hole: &Hole| gap.start_ms < hole.end_ms && hole.start_ms < gap.end_ms;
    let mut result = Match { holes: holes.len(), unmatched: 0, error_pictures: 0.0, detail: String::new() };
    for hole in holes {
        match reported.iter().filter(|gap| overlap(gap, hole)).collect::<Vec<_>>()[..] {
            [gap] => {
                let distance =
                    (gap.start_ms - hole.start_ms).abs().max((gap.end_ms - hole.end_ms).abs()) as f64;
                result.error_pictures = result.error_pictures.max(distance / period_ms);
            }
            _ => result.unmatched += 1,
        }
    }
    // A gap shorter than a picture is none.
    let is_real = |gap: &&Hole| (gap.end_ms - gap.start_ms) as f64 > period_ms;
    let alone = |gap: &&Hole| !holes.iter().any(|hole| overlap(gap, hole));
    result.unmatched += reported.iter().filter(is_real).filter(alone).count();
    if result.unmatched > 0 || result.error_pictures > 1.0 {
        result.detail = format!("holes {}, gaps {}", list(holes), list(&reported));
    }
    result
}

/// Each by its start, in the last digits of the milliseconds, and its length.
fn list(holes: &[Hole]) -> String {
    let one = |hole: &Hole| format!("{}+{}", hole.start_ms % 10_000_000, hole.end_ms - hole.start_ms);
    holes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Gaps with an end that were not recovered, in order; those that are at most a picture apart are one.
fn joined(gaps: &[Gap], period_ms: f64) -> Vec<Hole> {
    let kept = gaps.iter().filter(|gap| !gap.recovered);
    let mut all: Vec<Hole> =
        kept.filter_map(|gap| Some(Hole { start_ms: gap.start_ms, end_ms: gap.end_ms? })).collect();
    all.sort_by_key(|gap| gap.start_ms);
    let mut whole: Vec<Hole> = Vec::new();
    for gap in all {
        match whole.last_mut() {
            Some(last) if (gap.start_ms - last.end_ms) as f64 <= period_ms + 1.0 => {
                last.end_ms = last.end_ms.max(gap.end_ms);
            }
            _ => whole.push(gap),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use streamfleet_contract::GapReason;

    use super::*;

    fn archive(numbers: impl Iterator<Item = u64>) -> Vec<ArchivedPicture> {
        let picture = |number: u64| ArchivedPicture {
            number,
            digest: String::new(),
            key: false,
            unix_ms: 1_000 + number as i64 * 40,
            fragment: String::new(),
        };
        numbers.map(picture).collect()
    }

    fn gap(start_ms: i64, end_ms: i64) -> Gap {
        Gap {
            sequence: 1,
            start_ms,
            end_ms: Some(end_ms),
            reason: GapReason::CameraLost,
            detail: String::new(),
            recovered: false,
        }
    }

    #[test]
    fn a_hole_is_between_two_pictures_that_do_not_follow_each_other() {
        let found = holes(&archive((0..10).chain(15..20).chain(17..20)), 40.0);
        assert_eq!(found, [Hole { start_ms: 1_400, end_ms: 1_600 }]);
    }

    #[test]
    fn a_gap_matches_its_hole_as_well_as_its_edges_do() {
        let holes = [Hole { start_ms: 1_400, end_ms: 1_600 }];
        let exact = compare(&holes, &[gap(1_400, 1_600)], 40.0);
        assert_eq!((exact.holes, exact.unmatched), (1, 0));
        assert!(exact.error_pictures < 0.01);
        assert!((compare(&holes, &[gap(1_360, 1_520)], 40.0).error_pictures - 2.0).abs() < 0.01);
        // In two pieces that touch, of different reasons.
        assert_eq!(compare(&holes, &[gap(1_440, 1_600), gap(1_400, 1_440)], 40.0).unmatched, 0);
    }

    #[test]
    fn what_is_only_on_one_side_is_counted() {
        let holes = [Hole { start_ms: 1_400, end_ms: 1_600 }];
        assert_eq!(compare(&holes, &[], 40.0).unmatched, 1);
        assert_eq!(compare(&[], &[gap(1_400, 1_600)], 40.0).unmatched, 1);
        assert_eq!(compare(&[], &[gap(1_400, 1_440)], 40.0).unmatched, 0);
        let recovered = Gap { recovered: true, ..gap(1_400, 1_600) };
        assert_eq!(compare(&[], &[recovered], 40.0).unmatched, 0);
    }
}
