//! When the next session may be opened. Pure; randomness comes from a seeded generator.
//!
//! At most 6 attempts in the first 10 seconds of an outage and at most 5 in any later minute. So once the waits have
//! grown, 12 seconds between attempts is the least that is allowed, and the most that an outage lasts longer for us than it
//! was: attempts stay at that distance, with just enough jitter that feeds which failed together drift apart.

use std::time::Duration;

use super::Refusal;

/// Attempts are never closer together than this: each may cost two calls (`GetDataEndpoint`, `PutMedia`), and the
/// service takes 5 a second ([`streamfleet_media::limits::PUT_MEDIA_CALLS_PER_SECOND_MAX`]).
pub const SPACING_MIN: Duration = Duration::from_millis(500);

/// The first wait after a failure; it doubles.
const FIRST: Duration = Duration::from_millis(500);

/// How often it doubles: to 8 seconds. With these, six attempts take 7.75 seconds or more.
const DOUBLINGS: u32 = 4;

/// For so long after its first attempt the waits of an outage double.
const FIRST_ATTEMPTS: Duration = Duration::from_secs(10);

/// The time from attempt to attempt when waits no longer double: a fifth of a minute, and a little more.
const STEADY: Duration = Duration::from_secs(12);
const STEADY_JITTER: Duration = Duration::from_secs(1);

/// The longest wait after a session that stored something: "at once", but not all feeds in the same instant.
const AT_ONCE: Duration = Duration::from_millis(300);

/// The first and the longest wait where the service says that sending again does not help; with their jitter of a tenth
/// the waits are 30 to 300 seconds.
pub const HOLD_FIRST: Duration = Duration::from_secs(30);
const HOLD_CAP: Duration = Duration::from_secs(270);

/// The longest wait where what is missing may appear as a file at any moment; costs no call of the service.
const CREDENTIALS_CAP: Duration = Duration::from_secs(3);

/// Why the next session waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The last session ended without having stored anything, or never began.
    Failure,
    /// The service refused the session.
    Refused(Refusal),
    /// The service wants this to wait: an error of the stream, its key or the clock.
    Hold,
}

/// Counts failures and draws waits.
#[derive(Debug)]
pub struct Retry {
    failures: u32,
    holds: u32,
    /// The first attempt since something was stored, and the last of all.
    first_open: Option<Duration>,
    last_open: Option<Duration>,
    random: fastrand::Rng,
}

impl Retry {
    /// With a seed, so that a simulation can be repeated.
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { failures: 0, holds: 0, first_open: None, last_open: None, random }
    }

    /// A fragment was stored: all is well.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.holds = 0;
        self.first_open = None;
    }

    /// An attempt is made.
    pub fn opened(&mut self, now: Duration) {
        self.first_open.get_or_insert(now);
        self.last_open = Some(now);
    }

    /// When the next attempt may be made, whatever the last one came to.
    pub fn spaced(&self) -> Duration {
        self.last_open.map_or(Duration::ZERO, |last| last + SPACING_MIN)
    }

    /// When to try again after a session that stored something and then broke.
    pub fn at_once(&mut self, now: Duration) -> Duration {
        now + AT_ONCE.mul_f64(self.random.f64())
    }

    /// When to try again: waits with equal jitter, between half of it and the whole.
    pub fn after(&mut self, cause: Cause, now: Duration) -> Duration {
        if cause == Cause::Hold {
            let full = HOLD_FIRST.saturating_mul(1 << self.holds.min(8)).min(HOLD_CAP);
            self.holds = self.holds.saturating_add(1);
            return now + full.mul_f64(1.0 + 0.1 * self.random.f64());
        }
        let failures = self.failures;
        self.failures = self.failures.saturating_add(1);
        let costs_no_call = cause == Cause::Refused(Refusal::CredentialsMissing);
        let full = FIRST * (1 << failures.min(DOUBLINGS));
        let full = if costs_no_call { full.min(CREDENTIALS_CAP) } else { full };
        let waited = now + full.mul_f64(0.5 + 0.5 * self.random.f64());
        let (first, last) = (self.first_open.unwrap_or(now), self.last_open.unwrap_or(now));
        let is_young = last < first + FIRST_ATTEMPTS;
        if is_young && failures == 0 && cause == Cause::Refused(Refusal::ClockCorrected) {
            // The difference of the clocks is known now: nothing to wait for, once.
            return now;
        }
        if costs_no_call || is_young && failures <= DOUBLINGS {
            return waited;
        }
        let steady = last + STEADY + STEADY_JITTER.mul_f64(self.random.f64());
        // An attempt may have lasted longer than that.
        steady.max(now + FIRST.mul_f64(0.5 + 0.5 * self.random.f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_costs_at_most_six_attempts_in_ten_seconds_and_five_in_any_later_minute() {
        for seed in 0..1_000 {
            let mut retry = Retry::new(seed);
            let mut lasting = fastrand::Rng::with_seed(seed);
            let lasts_ms = [1, 1_000, 5_000, 30_000][lasting.usize(..4)];
            let mut at = Duration::from_hours(1);
            let mut attempts = Vec::new();
            while attempts.len() < 60 {
                at = at.max(retry.spaced());
                retry.opened(at);
                attempts.push(at);
                at = retry.after(Cause::Failure, at + Duration::from_millis(lasting.u64(0..lasts_ms)));
            }
            let within =
                |from: Duration, to: Duration| attempts.iter().filter(|&&a| a >= from && a < to).count();
            let begun = attempts[0];
            let later = begun + Duration::from_secs(10);
            assert!(within(begun, later) <= 6, "seed {seed}: {attempts:?}");
            for &start in attempts.iter().filter(|&&start| start >= later) {
                assert!(within(start, start + Duration::from_mins(1)) <= 5, "seed {seed}: {attempts:?}");
            }
            let longest = attempts.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max();
            let most = Duration::from_millis(13_000.max(lasts_ms + 8_000));
            assert!(longest <= Some(most), "seed {seed}: the end of an outage is noticed late: {longest:?}");
        }
    }

    #[test]
    fn feeds_that_fail_together_drift_apart() {
        let mut first: Vec<u128> =
            (0..50).map(|seed| Retry::new(seed).at_once(Duration::ZERO).as_millis() / 30).collect();
        first.sort_unstable();
        first.dedup();
        assert!(first.len() >= 8, "fifty feeds come back in {} of ten slots of 30 ms", first.len());
    }

    #[test]
    fn holds_last_from_thirty_seconds_to_five_minutes() {
        let mut retry = Retry::new(1);
        let waits: Vec<u64> = (0..6).map(|_| retry.after(Cause::Hold, Duration::ZERO).as_secs()).collect();
        assert!((30..=33).contains(&waits[0]) && (270..=300).contains(&waits[5]), "{waits:?}");
        retry.reset();
        assert!(retry.after(Cause::Hold, Duration::ZERO) < Duration::from_secs(34));
    }
}
