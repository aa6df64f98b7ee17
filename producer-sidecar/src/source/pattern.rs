//! The test pattern, a picture at a time.

use streamfleet_contract::{SourceReason, TestPattern};
use streamfleet_media::pattern::Pattern;
use streamfleet_media::track::Codec;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::outlet::{Closed, Outlet};
use super::{Ending, SourceError};

/// Makes pictures until it is stopped. Each shows the time at which it is made.
pub async fn run(
    pattern: &TestPattern,
    outlet: &mut Outlet,
    stop: &CancellationToken,
) -> Result<Ending, Closed> {
    let mut pictures = match Pattern::new(pattern.width, pattern.height, pattern.frame_rate) {
        Ok(pictures) => pictures,
        Err(error) => return Ok(SourceError::new(SourceReason::InputUnavailable, error.to_string()).into()),
    };
    let began = outlet.now().mono;
    let rate = u128::from(pattern.frame_rate.max(1));
    outlet.connected(vec![Codec::H264]).await?;
    let mut ticks = 0;
    loop {
        let due = began + std::time::Duration::from_micros((ticks * 1_000_000 / rate) as u64);
        if stop.run_until_cancelled(sleep_until(outlet.clock().instant(due).into())).await.is_none() {
            return Ok(Ending::Stopped);
        }
        let now = outlet.now();
        // What a busy machine has not come to is left out: the clock is to be right.
        ticks = ticks.max((now.mono.saturating_sub(began)).as_micros() * rate / 1_000_000);
        let sample = pictures.picture(ticks as i64, now.wall_ms);
        outlet.sample(sample, now).await?;
        ticks += 1;
    }
}
