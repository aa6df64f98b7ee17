//! Hands the samples of an input on, so that the feed can place all of its tracks on one timeline.
//!
//! In a container the clocks of all tracks count from the same moment. The feed joins tracks by sender reports, as cameras send
//! them; so each track's first sample is preceded by one.

use streamfleet_media::track::{Codec, Sample, SenderReport};

use crate::clock::Now;
use crate::source::outlet::{Closed, Outlet};

/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_EPOCH: i64 = 2_208_988_800;

/// Where one connection's tracks stand.
#[derive(Debug, Default)]
pub(super) struct Dated {
    /// The first sample's time by the tracks' clock, and by the wall's, in microseconds.
    origin: Option<(i64, i64)>,
    /// For each track, whether it has been joined to the others.
    joined: Vec<bool>,
}

impl Dated {
    /// Says that media comes, of these tracks.
    pub(super) async fn connected(&mut self, tracks: Vec<Codec>, outlet: &mut Outlet) -> Result<(), Closed> {
        self.joined = vec![false; tracks.len()];
        self.origin = None;
        outlet.connected(tracks).await
    }

    /// Hands on a sample whose first byte was read at `read_at`.
    pub(super) async fn sample(
        &mut self,
        sample: Sample,
        read_at: Now,
        outlet: &Outlet,
    ) -> Result<(), Closed> {
        if let Some(joined) = self.joined.get_mut(usize::from(sample.track)).filter(|joined| !**joined) {
            *joined = true;
            let report = self.report(&sample, read_at);
            outlet.report(report, read_at).await?;
        }
        outlet.sample(sample, read_at).await
    }

    fn report(&mut self, sample: &Sample, read_at: Now) -> SenderReport {
        let media_us = micros(sample.ticks, sample.rate);
        let (media_then, wall_then) =
            *self.origin.get_or_insert_with(|| (media_us, read_at.wall_ms.saturating_mul(1_000)));
        let wall_us = wall_then.saturating_add(media_us.saturating_sub(media_then));
        SenderReport { track: sample.track, ticks: sample.ticks, rate: sample.rate, ntp: ntp(wall_us) }
    }
}

/// Ticks in microseconds.
pub(super) fn micros(ticks: i64, rate: u32) -> i64 {
    let micros = i128::from(ticks) * 1_000_000 / i128::from(rate.max(1));
    micros.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4)) as i64
}

/// Microseconds of the Unix epoch in the form of NTP: seconds since 1900 and a binary fraction.
fn ntp(unix_us: i64) -> u64 {
    let seconds = unix_us.div_euclid(1_000_000).saturating_add(NTP_EPOCH);
    let fraction = (unix_us.rem_euclid(1_000_000) << 32) / 1_000_000;
    (seconds as u64) << 32 | fraction as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_ntp_count_from_1900_with_a_binary_fraction() {
        assert_eq!(ntp(0), 2_208_988_800 << 32);
        assert_eq!(ntp(1_500_000), 2_208_988_801 << 32 | 1 << 31);
        assert_eq!(micros(90_001, 90_000), 1_000_011);
        assert_eq!(micros(i64::MIN, 0), i64::MIN / 4);
    }
}
