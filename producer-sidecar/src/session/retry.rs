//! When the next session may be opened. Pure; randomness comes from a seeded generator.
//!
//! The service takes at most 5 `PutMedia` calls a second for a stream. We stay far below: at most 6 attempts in the
//! first 10 seconds of an outage, at most 5 in any later minute, and after a session that stored something at once.

use std::time::Duration;

use super::Refusal;

/// Attempts are never closer together than this: half the service's limit of calls.
pub const SPACING_MIN: Duration = Duration::from_millis(400);

/// The first wait after a failure.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait after ordinary failures.
const CAP: Duration = Duration::from_secs(24);

/// The first and the longest wait where the service says that sending again does not help.
const HOLD_FIRST: Duration = Duration::from_secs(30);
const HOLD_CAP: Duration = Duration::from_mins(5);

/// How often a stream that somebody else feeds is tried: a producer that gives way is followed within a second or two.
const HELD_ELSEWHERE: Duration = Duration::from_millis(1_300);

/// The longest wait where what is missing may appear as a file at any moment; costs no call of the service.
const CREDENTIALS_CAP: Duration = Duration::from_secs(3);

/// The longest wait where credentials or the stream are refused: whoever mends it looks on.
const REFUSED_CAP: Duration = CAP;

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
    random: fastrand::Rng,
}

impl Retry {
    /// With a seed, so that a simulation can be repeated.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, holds: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// A fragment was stored: all is well.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.holds = 0;
    }

    /// How many attempts in a row have stored nothing.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The wait before the next attempt, with equal jitter: between half of it and the whole.
    pub fn wait(&mut self, cause: Cause) -> Duration {
        let full = match cause {
            Cause::Hold => {
                let full = doubled(HOLD_FIRST, self.holds, HOLD_CAP);
                self.holds = self.holds.saturating_add(1);
                // Not below the 30 seconds that the design names.
                return full + full.mul_f64(0.1 * self.random.f64());
            }
            Cause::Refused(Refusal::ConnectionLimit) => HELD_ELSEWHERE,
            Cause::Refused(Refusal::CredentialsMissing) => doubled(FIRST, self.failures, CREDENTIALS_CAP),
            Cause::Refused(Refusal::CredentialsRefused | Refusal::StreamNotFound) => {
                doubled(FIRST * 2, self.failures, REFUSED_CAP)
            }
            Cause::Failure | Cause::Refused(_) => doubled(FIRST, self.failures, CAP),
        };
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * self.random.f64())
    }
}

fn doubled(first: Duration, times: u32, cap: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_costs_at_most_six_attempts_in_ten_seconds_and_five_in_any_later_minute() {
        for seed in 0..500 {
            let mut retry = Retry::new(seed);
            let mut at = Duration::ZERO;
            let mut attempts = vec![at];
            while at < Duration::from_mins(10) {
                at += retry.wait(Cause::Failure).max(SPACING_MIN);
                attempts.push(at);
            }
            let within =
                |from: Duration, to: Duration| attempts.iter().filter(|&&a| a >= from && a < to).count();
            assert!(within(Duration::ZERO, Duration::from_secs(10)) <= 6, "seed {seed}: {attempts:?}");
            for &start in attempts.iter().filter(|&&start| start >= Duration::from_secs(10)) {
                assert!(within(start, start + Duration::from_mins(1)) <= 5, "seed {seed}: {attempts:?}");
            }
        }
    }

    #[test]
    fn holds_last_from_thirty_seconds_to_five_minutes() {
        let mut retry = Retry::new(1);
        let waits: Vec<u64> = (0..6).map(|_| retry.wait(Cause::Hold).as_secs()).collect();
        assert!((30..=33).contains(&waits[0]) && (300..=330).contains(&waits[5]), "{waits:?}");
        retry.reset();
        assert!(retry.wait(Cause::Hold) < Duration::from_secs(34));
    }
}
