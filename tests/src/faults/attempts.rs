//! How often a producer tries.

/// The time after a fault's beginning in which most is tried.
const FIRST_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;

/// Attempts after a fault's beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// In the first 10 s.
    pub first: usize,
    /// In the worst minute after those.
    pub worst_minute: usize,
}

/// Counts the attempts made from `began` on. Times are milliseconds of the Unix epoch, in any order.
pub fn count(times: &[i64], began: i64) -> Attempts {
    let first = times.iter().filter(|time| (began..began + FIRST_MS).contains(*time)).count();
    let mut later: Vec<i64> = times.iter().copied().filter(|time| *time >= began + FIRST_MS).collect();
    later.sort_unstable();
    let within =
        |start: &i64| later.iter().filter(|time| (*start..start + MINUTE_MS).contains(*time)).count();
    Attempts { first, worst_minute: later.iter().map(within).max().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_seconds_and_the_worst_minute_after_them_are_counted() {
        let times = [-1, 0, 9_999, 10_000, 60_000, 69_999, 70_000, 90_000, 128_000];
        // From 60,000 on: 60,000, 69,999, 70,000 and 90,000.
        assert_eq!(count(&times, 0), Attempts { first: 2, worst_minute: 4 });
        assert_eq!(count(&[], 0), Attempts::default());
        assert_eq!(count(&[5], 0), Attempts { first: 1, worst_minute: 0 });
    }
}
