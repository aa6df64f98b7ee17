//! What a delay or a retry should be: per object, exponential, with jitter.

use std::time::Duration;

/// The first delay after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay after failures.
const LONGEST: Duration = Duration::from_mins(5);

/// The delay after `failures` earlier failures; `jitter` from 0 to 1 shortens it by up to half, so that objects that fail
/// together do not come back together.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST);
    full.mul_f64(1.0 - jitter / 2.0)
}

/// How soon to look again at something that the service has been working on for so long: at once at first, and less often the
/// longer it takes, since each look is a call.
pub fn patient(elapsed: Duration) -> Duration {
    let tenth = elapsed / 10;
    tenth.clamp(Duration::from_millis(250), Duration::from_secs(10))
}

/// This duration, longer or shorter by up to a tenth.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<u64> = (0..11).map(|failures| delay(failures, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, 1.0), Duration::from_secs(150));
    }

    #[test]
    fn patience_grows_with_the_time_that_something_takes() {
        let after = |seconds| patient(Duration::from_secs(seconds)).as_millis();
        assert_eq!([after(0), after(2), after(30), after(3600)], [250, 250, 3000, 10_000]);
    }
}
