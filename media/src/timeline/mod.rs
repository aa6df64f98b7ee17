//! From media clocks to producer time: one timeline for all tracks of a feed.
//!
//! The node's wall clock is read when a connection's leading track (the video, if there is one) begins: that is its
//! anchor. From there times follow the media clock, so that neither a step of the node's clock nor the network's jitter
//! reaches the media. What the two clocks drift apart is corrected slowly: by at most a millisecond for each frame, and
//! 5 ms a second. Nothing that is given out lies behind what was given out before, across connections too.
//!
//! - **Tracks are joined** by the camera's RTCP sender reports; where there are none, by a common zero of their clocks
//!   if the second track comes when that zero says, or else by arrival. The other tracks follow the leading one.
//! - **A media clock that jumps** (a camera that restarts its clock, an encoder that counts anew) is anchored anew, where
//!   the arrival of its sample says.
//! - **The wall clock** may be given a correction ([`Timeline::set_wall_offset`]: the service's `Date`). It is followed
//!   slowly; at once at the next connection. A step of the wall clock counts when the service's next `Date` confirms
//!   it, or after 30 s where none was ever heard.
//! - **The camera's own clock** dates the media instead, where that is asked for ([`Dating::Camera`]), as long as it is
//!   within [`CAMERA_OFFSET_MS_MAX`] of the node's.

mod reports;
#[cfg(test)]
mod tests;
mod track;
mod wall;

use std::time::Duration;

use self::reports::Reports;
use self::track::Clock;
pub use self::track::SLEW_US_MAX;
pub use self::wall::WALL_OFFSET_MS_MIN;
use self::wall::Wall;
use crate::track::SenderReport;

/// A camera whose own clock is further from the node's is dated by the node's: no clock that is kept by NTP is.
pub const CAMERA_OFFSET_MS_MAX: i64 = 60_000;

/// How long a connection's first sample waits for the first sender report, where the camera's clock is to date it.
/// RFC 3550 §6.2 lets the first report come 2.5 s after the beginning on average, and half as much again.
pub const CAMERA_REPORT_WAIT: Duration = Duration::from_secs(4);

/// How far the clocks of two tracks with a common zero may seem apart by their samples' arrival.
const COMMON_ZERO_US_MAX: i64 = 40_000;

/// Samples of two tracks that come together are not further apart than this: reports that say so are wrong.
const APART_US_MAX: i64 = 10_000_000;

/// The leading track is corrected by one part in this many.
const LEAD_SLEW_PART: i64 = 200;

/// The others by one part in this many: enough to follow the leading one, and not to be heard.
const FOLLOW_SLEW_PART: i64 = 50;

/// When something was read, by both clocks of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Time since some moment in the past; never goes back.
    pub mono: Duration,
    /// The wall clock in milliseconds of the Unix epoch; may step.
    pub wall_ms: i64,
}

impl Reading {
    fn mono_us(self) -> i64 {
        i64::try_from(self.mono.as_micros()).unwrap_or(i64::MAX)
    }
}

/// By which clock media is dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dating {
    /// The node's.
    #[default]
    Node,
    /// The camera's own, from its sender reports.
    Camera,
}

/// Where a sample lies on the timeline, before the order of what is given out is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Milliseconds of the Unix epoch.
    pub time_ms: i64,
    /// Whether the media clock has jumped, and was anchored anew.
    pub has_jumped: bool,
}

/// One timeline for the life of a feed.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    dating: Dating,
    wall: Wall,
    reports: Reports,
    clocks: Vec<Option<Clock>>,
    lead: usize,
    /// Corrections of the leading track, all together.
    common_us: i64,
    /// `common_us` less the correction that each other track had to begin with.
    common_then: Vec<i64>,
    latest_ms: Option<i64>,
    key_ms: Option<i64>,
}

impl Timeline {
    /// An empty timeline.
    pub fn new(dating: Dating) -> Self {
        Self { dating, ..Self::default() }
    }

    /// Dates by this clock from the next connection on.
    pub fn set_dating(&mut self, dating: Dating) {
        self.dating = dating;
    }

    /// What is to be added to the node's wall clock, in milliseconds, as the service's `Date` says. Less than
    /// [`WALL_OFFSET_MS_MIN`] is not looked at.
    pub fn set_wall_offset(&mut self, offset_ms: i64) {
        self.wall.set_offset(offset_ms);
    }

    /// Nothing is to be given out at or before this time, in milliseconds of the Unix epoch: it is stored already.
    pub fn set_floor(&mut self, floor_ms: i64) {
        self.latest_ms = self.latest_ms.max(Some(floor_ms));
    }

    /// Moves all times by this many milliseconds: everything given out before is dated anew.
    pub fn shift(&mut self, by_ms: i64) {
        for clock in self.clocks.iter_mut().flatten() {
            clock.shift(by_ms.saturating_mul(1_000));
        }
        for ms in [&mut self.latest_ms, &mut self.key_ms].into_iter().flatten() {
            *ms = ms.saturating_add(by_ms);
        }
    }

    /// A new connection stands, with this many tracks and other media clocks than before. The others follow the `lead`.
    pub fn connected(&mut self, tracks: usize, lead: usize) {
        self.clocks = vec![None; tracks];
        self.common_then = vec![0; tracks];
        self.lead = lead;
        self.reports = Reports::new(tracks);
    }

    /// The camera has said what its wall clock shows at a place of a track's media clock.
    pub fn report(&mut self, report: &SenderReport, reading: Reading) {
        let now_us = self.wall.time_us(reading);
        self.reports.take(report, now_us);
    }

    /// Whether the camera's clock is asked for, and was refused for being this far from the node's, in milliseconds.
    pub fn refused_camera_ms(&self) -> Option<i64> {
        if self.dating == Dating::Node { None } else { self.reports.refused_ms(self.lead) }
    }

    /// Whether samples can be placed that come now; else a sender report is awaited, up to [`CAMERA_REPORT_WAIT`] after
    /// the connection's first sample.
    pub fn is_ready(&self) -> bool {
        self.dating == Dating::Node || self.is_anchored() || self.reports.has(self.lead)
    }

    /// Whether the leading track has begun: the others can be placed then.
    pub fn is_anchored(&self) -> bool {
        self.clocks.get(self.lead).is_some_and(Option::is_some)
    }

    /// The place of the sample at `ticks` of a track's clock with `rate` ticks a second, read at `reading`. `is_start`:
    /// decoding can start with it. `None` for a track that there is not, and before the leading track has begun.
    pub fn place(
        &mut self,
        track: usize,
        (ticks, rate): (i64, u32),
        is_start: bool,
        reading: Reading,
    ) -> Option<Place> {
        let now_us = self.wall.time_us(reading);
        let mono_us = reading.mono_us();
        let known = self.clocks.get_mut(track)?.take();
        let mut has_jumped = false;
        let mut clock = match known {
            Some(clock) if clock.continues(ticks, rate, is_start, mono_us) => clock,
            Some(old) => {
                has_jumped = true;
                self.reports.forget(track);
                // It goes on where it would have, by its arrival.
                let us = mono_us.saturating_sub(old.least_late_us());
                self.anchored(track, Clock::new(ticks, rate, self.not_behind(us), mono_us))
            }
            None if track == self.lead => {
                let us = self.dated_us(ticks).unwrap_or(now_us);
                Clock::new(ticks, rate, self.not_behind(us), mono_us)
            }
            None => {
                let us = self.joined_us(track, (ticks, rate), mono_us)?;
                self.anchored(track, Clock::new(ticks, rate, us, mono_us))
            }
        };
        self.correct(track, &mut clock, ticks, (mono_us, now_us));
        let time_ms = clock.time_us(ticks).div_euclid(1_000);
        self.clocks[track] = Some(clock);
        Some(Place { time_ms, has_jumped })
    }

    /// The time to give out of what [`Timeline::place`] has placed, in the order of giving out. Key frames come strictly
    /// after everything given out before. Everything else comes strictly after its key frame, and may lie before earlier
    /// units where the camera reorders (B-frames).
    pub fn give(&mut self, time_ms: i64, is_key: bool) -> i64 {
        let floor = if is_key { self.latest_ms } else { self.key_ms };
        let time_ms = floor.map_or(time_ms, |floor| time_ms.max(floor.saturating_add(1)));
        if is_key {
            self.key_ms = Some(time_ms);
        }
        self.latest_ms = self.latest_ms.max(Some(time_ms));
        time_ms
    }

    /// The latest time given out, or the floor.
    pub fn latest_ms(&self) -> Option<i64> {
        self.latest_ms
    }

    fn not_behind(&self, us: i64) -> i64 {
        self.latest_ms.map_or(us, |latest| us.max(latest.saturating_add(1).saturating_mul(1_000)))
    }

    fn dated_us(&self, ticks: i64) -> Option<i64> {
        if self.dating == Dating::Node { None } else { self.reports.camera_us(self.lead, ticks) }
    }

    fn anchored(&mut self, track: usize, clock: Clock) -> Clock {
        self.common_then[track] = self.common_us;
        clock
    }

    /// Where a track begins that is not the leading one.
    fn joined_us(&self, track: usize, (ticks, rate): (i64, u32), mono_us: i64) -> Option<i64> {
        let lead = self.clocks.get(self.lead)?.as_ref()?;
        let arrived = mono_us.saturating_sub(lead.least_late_us());
        let joined = self.reports.same_moment(track, ticks, self.lead).map(|at| lead.time_us(at));
        if let Some(joined) = joined.filter(|joined| is_near(*joined, arrived, APART_US_MAX)) {
            return Some(joined);
        }
        let common = lead.zero_us().saturating_add(track::micros(ticks.into(), rate));
        Some(if is_near(common, arrived, COMMON_ZERO_US_MAX) { common } else { arrived })
    }

    fn correct(&mut self, track: usize, clock: &mut Clock, ticks: i64, (mono_us, now_us): (i64, i64)) {
        if track == self.lead {
            clock.note_arrival(ticks, mono_us, now_us.saturating_sub(mono_us));
            if let Some(us) = self.dated_us(ticks) {
                clock.goal_us = us.saturating_sub(clock.time_us(ticks)).saturating_add(clock.applied_us);
            }
            self.common_us += clock.slew(ticks, LEAD_SLEW_PART);
            return;
        }
        let lead = self.clocks.get(self.lead).and_then(Option::as_ref);
        let joined =
            self.reports.same_moment(track, ticks, self.lead).zip(lead).map(|(at, lead)| lead.time_us(at));
        let shown_us = clock.time_us(ticks);
        clock.goal_us = match joined.filter(|us| is_near(*us, shown_us, APART_US_MAX)) {
            Some(us) => us.saturating_sub(shown_us).saturating_add(clock.applied_us),
            None => self.common_us - self.common_then[track],
        };
        clock.slew(ticks, FOLLOW_SLEW_PART);
    }
}

fn is_near(one: i64, other: i64, by: i64) -> bool {
    one.abs_diff(other) <= by.unsigned_abs()
}
