//! The camera's sender reports: which moments of its tracks' clocks are one, and what its wall clock shows then.

use super::CAMERA_OFFSET_MS_MAX;
use super::track::micros;
use crate::track::SenderReport;

/// Seconds from the beginning of NTP's first era (1900) to that of the Unix epoch.
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;

/// A camera's wall clock that moves against its media clock by more than this has been set.
const SET_US_MIN: i64 = 500_000;

#[derive(Debug, Clone, Copy)]
struct Report {
    ticks: i64,
    rate: u32,
    /// The camera's wall clock in microseconds of the Unix epoch.
    camera_us: i64,
    /// How far it was from the node's clock when it came.
    offset_us: i64,
}

impl Report {
    fn camera_us(&self, ticks: i64) -> i64 {
        self.camera_us.saturating_add(micros(i128::from(ticks) - i128::from(self.ticks), self.rate))
    }
}

/// The newest report of each track.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports(Vec<Option<Report>>);

impl Reports {
    pub(super) fn new(tracks: usize) -> Self {
        Self(vec![None; tracks])
    }

    pub(super) fn take(&mut self, report: &SenderReport, now_us: i64) {
        let track = usize::from(report.track);
        let Some(before) = self.0.get(track).copied() else { return };
        let camera_us = unix_us(report.ntp);
        let is_set = before.is_some_and(|before| {
            before.camera_us(report.ticks).abs_diff(camera_us) > SET_US_MIN.unsigned_abs()
        });
        if is_set {
            // What the other tracks have reported is of the clock as it was.
            self.0.fill(None);
        }
        let offset_us = camera_us.saturating_sub(now_us);
        self.0[track] = Some(Report { ticks: report.ticks, rate: report.rate, camera_us, offset_us });
    }

    pub(super) fn forget(&mut self, track: usize) {
        self.0[track] = None;
    }

    pub(super) fn has(&self, track: usize) -> bool {
        self.0.get(track).is_some_and(Option::is_some)
    }

    fn of(&self, track: usize) -> Option<&Report> {
        self.0.get(track)?.as_ref()
    }

    /// The camera's clock at `ticks` of a track, if it is one to go by.
    pub(super) fn camera_us(&self, track: usize, ticks: i64) -> Option<i64> {
        let report = self.of(track)?;
        is_sane(report.offset_us).then(|| report.camera_us(ticks))
    }

    /// How far the camera's clock is from the node's, in milliseconds, where that is too far.
    pub(super) fn refused_ms(&self, track: usize) -> Option<i64> {
        let offset_us = self.of(track)?.offset_us;
        (!is_sane(offset_us)).then_some(offset_us / 1_000)
    }

    /// The ticks of the track `other` at the moment that is `ticks` of `track`, by the camera's clock.
    pub(super) fn same_moment(&self, track: usize, ticks: i64, other: usize) -> Option<i64> {
        let (report, other) = (self.of(track)?, self.of(other)?);
        let since = i128::from(report.camera_us(ticks)) - i128::from(other.camera_us);
        let ticks = since * i128::from(other.rate) / 1_000_000 + i128::from(other.ticks);
        i64::try_from(ticks).ok()
    }
}

fn is_sane(offset_us: i64) -> bool {
    offset_us.unsigned_abs() <= CAMERA_OFFSET_MS_MAX.unsigned_abs() * 1_000
}

/// NTP's 64-bit time in microseconds of the Unix epoch. Times before 1968 are of the era that begins in 2036 (RFC 4330
/// §3).
fn unix_us(ntp: u64) -> i64 {
    let seconds = (ntp >> 32) as i64;
    let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
    let micros = (((ntp & 0xFFFF_FFFF) * 1_000_000) >> 32) as i64;
    (seconds + era - NTP_TO_UNIX_SECONDS) * 1_000_000 + micros
}
