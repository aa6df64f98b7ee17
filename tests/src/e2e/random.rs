//! Randomness that can be had again: one seed for a test, printed, settable by `STREAMFLEET_SEED`.

use anyhow::{Context as _, Result};

/// The variable that sets the seed.
pub const SEED_VARIABLE: &str = "STREAMFLEET_SEED";

/// The seed of this run: from the environment, else drawn.
pub fn seed() -> Result<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SEED_VARIABLE} must be a number, is {text:?}")),
        Err(_) => Ok(u64::from(fastrand::u32(..))),
    }
}
