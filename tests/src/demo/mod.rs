//! The demo.

use anyhow::Result;

use crate::steps::Steps;

/// Placeholder.
pub fn up(_steps: &Steps) -> Result<()> {
    Ok(())
}

/// Placeholder.
pub fn down(_steps: &Steps) -> Result<()> {
    Ok(())
}
