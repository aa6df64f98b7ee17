//! How often a producer tries.

use jiff::Timestamp;

/// What the producer has to log so that [`told`] finds its attempts.
pub const TELLING: &str = "info,streamfleet_producer::feed=debug";

/// The time after the first attempt in which most is tried.
const FIRST_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;

/// Attempts after a fault's beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// In all.
    pub all: usize,
    /// In the first 10 s.
    pub first: usize,
    /// In the worst minute after those.
    pub worst_minute: usize,
}

/// Counts the attempts made from `began` on. The first 10 s are those after the first of them: of a fault that nobody tells
/// the producer notices only later. Times are milliseconds of the Unix epoch, in any order.
pub fn count(times: &[i64], began: i64) -> Attempts {
    let mut times: Vec<i64> = times.iter().copied().filter(|time| *time >= began).collect();
    times.sort_unstable();
    let noticed = times.first().copied().unwrap_or(began);
    let first = times.partition_point(|time| *time < noticed + FIRST_MS);
    let later = &times[first..];
    let within =
        |start: &i64| later.iter().filter(|time| (*start..start + MINUTE_MS).contains(*time)).count();
    Attempts { all: times.len(), first, worst_minute: later.iter().map(within).max().unwrap_or(0) }
}

/// When the producer tried, by its own log, in milliseconds of the Unix epoch: where nobody listens or answers, attempts
/// leave no trace outside.
pub fn told(log: &str) -> Vec<i64> {
    let attempt = |line: &str| {
        let (time, said) = line.split_once(' ')?;
        let is_one = said.contains("The session decides") && said.contains("output=Open(");
        time.parse::<Timestamp>().ok().filter(|_| is_one).map(Timestamp::as_millisecond)
    };
    log.lines().filter_map(attempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_seconds_and_the_worst_minute_after_them_are_counted() {
        let times = [-1, 0, 9_999, 10_000, 60_000, 69_999, 70_000, 90_000, 128_000];
        // From 60,000 on: 60,000, 69,999, 70,000 and 90,000.
        assert_eq!(count(&times, 0), Attempts { all: 8, first: 2, worst_minute: 4 });
        assert_eq!(count(&[], 0), Attempts::default());
        assert_eq!(count(&[5], 0), Attempts { all: 1, first: 1, worst_minute: 0 });
    }

    #[test]
    fn an_outage_begins_for_the_producer_when_it_first_tries() {
        let times = [10_000, 15_500, 19_999, 20_000, 33_000];
        assert_eq!(count(&times, 0), Attempts { all: 5, first: 3, worst_minute: 2 });
    }

    #[test]
    fn attempts_are_found_in_the_producer_s_log() {
        let log = "2026-01-02T03:04:05.250000Z DEBUG streamfleet_producer::feed::outgoing: The session decides \
                   feed=\"tests/feed-0\" output=Open(SessionId(7))\n\
                   2026-01-02T03:04:05.251000Z DEBUG streamfleet_producer::feed::outgoing: The session decides \
                   feed=\"tests/feed-0\" output=Free(GopId(7))\n\
                   2026-01-02T03:04:05.252000Z  INFO streamfleet_producer::feed: Storing again\nhalf a li";
        assert_eq!(told(log), [1_767_323_045_250]);
    }
}
