//! From a camera's media clock to producer time.
//!
//! The wall clock is read once for each connection (the anchor); after that times follow the media clock, so that a
//! step of the node's clock never reaches the video. A camera whose own clock jumps or runs away is anchored anew.
//! Nothing that is given out lies behind what was given out before, across connections too.

use crate::clock::Now;

/// How far the media clock may part from the monotonic clock, counted from the anchor, before it is anchored anew.
/// Generous: servers send the last seconds in a burst when a connection starts.
const DRIFT_MS_MAX: i64 = 10_000;

/// How far a picture may lie before the latest one: B-frames come after the pictures that they are shown before.
const REORDER_MS_MAX: i64 = 3_000;

/// Gives each picture its producer time. One for the life of a feed; [`Timeline::reconnected`] at each connection.
#[derive(Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
    /// The latest time given out; the next key frame is after it.
    latest_ms: Option<i64>,
    /// The time of the newest key frame; no later picture is at or before it.
    key_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    media_ticks: i64,
    producer_ms: i64,
    mono_ms: i64,
}

impl Timeline {
    /// Forgets the anchor: the next picture belongs to another connection with another media clock.
    pub fn reconnected(&mut self) {
        self.anchor = None;
    }

    /// The producer time in milliseconds of the picture at `ticks` of a media clock with `rate` ticks a second.
    ///
    /// Key frames come strictly after everything given out before. Other pictures come strictly after their key
    /// frame, and may lie before earlier ones where the camera reorders (B-frames).
    pub fn place(&mut self, ticks: i64, rate: u32, key: bool, now: Now) -> i64 {
        let mono_ms = i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX);
        let anchor = match self.anchor {
            Some(anchor) if self.is_plausible(anchor, ticks, rate, mono_ms) => anchor,
            _ => self.drop_anchor(ticks, mono_ms, now.wall_ms),
        };
        let floor = if key { self.latest_ms } else { self.key_ms };
        let mut time_ms = anchor.producer_at(ticks, rate);
        if let Some(floor) = floor {
            time_ms = time_ms.max(floor + 1);
        }
        if key {
            self.key_ms = Some(time_ms);
        }
        self.latest_ms = Some(self.latest_ms.map_or(time_ms, |latest| latest.max(time_ms)));
        time_ms
    }

    fn is_plausible(&self, anchor: Anchor, ticks: i64, rate: u32, mono_ms: i64) -> bool {
        let time_ms = anchor.producer_at(ticks, rate);
        let drift_ms = (time_ms - anchor.producer_ms) - (mono_ms - anchor.mono_ms);
        let behind_ms = self.latest_ms.map_or(0, |latest| latest - time_ms);
        drift_ms.abs() <= DRIFT_MS_MAX && behind_ms <= REORDER_MS_MAX
    }

    fn drop_anchor(&mut self, media_ticks: i64, mono_ms: i64, wall_ms: i64) -> Anchor {
        let producer_ms = self.latest_ms.map_or(wall_ms, |latest| wall_ms.max(latest + 1));
        let anchor = Anchor { media_ticks, producer_ms, mono_ms };
        self.anchor = Some(anchor);
        anchor
    }
}

impl Anchor {
    fn producer_at(self, ticks: i64, rate: u32) -> i64 {
        let elapsed = i128::from(ticks) - i128::from(self.media_ticks);
        let milliseconds = elapsed * 1_000 / i128::from(rate.max(1));
        let clamped = milliseconds.clamp(-(1 << 60), 1 << 60);
        self.producer_ms.saturating_add(i64::try_from(clamped).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: u32 = 90_000;

    fn at(seconds: f64, wall_ms: i64) -> Now {
        Now { mono: Duration::from_secs_f64(100.0 + seconds), wall_ms }
    }

    #[test]
    fn times_follow_the_media_clock_and_not_a_step_of_the_wall_clock() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.place(500, RATE, true, at(0.0, 1_000_000)), 1_000_000);
        assert_eq!(timeline.place(500 + 3_600, RATE, false, at(0.05, 7_000_000)), 1_000_040);
        assert_eq!(timeline.place(500 + 7_200, RATE, true, at(0.07, 5)), 1_000_080);
    }

    #[test]
    fn a_reconnect_with_the_wall_clock_behind_never_goes_back() {
        let mut timeline = Timeline::default();
        timeline.place(0, RATE, true, at(0.0, 1_000_000));
        timeline.place(90_000, RATE, false, at(1.0, 1_001_000));
        timeline.reconnected();
        assert_eq!(timeline.place(77, RATE, true, at(2.0, 900_000)), 1_001_001);
        assert_eq!(timeline.place(77 + 9_000, RATE, false, at(2.1, 900_100)), 1_001_101);
    }

    #[test]
    fn a_jump_of_the_cameras_clock_anchors_anew_at_the_wall_clock() {
        for jump in [-50_000_000_i64, 50_000_000] {
            let mut timeline = Timeline::default();
            timeline.place(1_000_000_000, RATE, true, at(0.0, 1_000_000));
            let after = timeline.place(1_000_000_000 + jump, RATE, true, at(1.0, 1_001_000));
            assert_eq!(after, 1_001_000, "jump of {jump} ticks");
            let next = timeline.place(1_000_000_000 + jump + 3_600, RATE, false, at(1.04, 1_001_040));
            assert_eq!(next, 1_001_040, "jump of {jump} ticks");
        }
    }

    #[test]
    fn reordered_pictures_keep_their_times_and_the_next_key_frame_is_later_than_all() {
        let mut timeline = Timeline::default();
        let times: Vec<i64> = [(0, true), (10_800, false), (3_600, false), (7_200, false), (14_400, true)]
            .into_iter()
            .map(|(ticks, key)| timeline.place(ticks, RATE, key, at(0.0, 0)))
            .collect();
        assert_eq!(times, [0, 120, 40, 80, 160]);
    }

    #[test]
    fn extreme_clocks_do_not_overflow() {
        let mut timeline = Timeline::default();
        timeline.place(i64::MIN, 1, true, at(0.0, 0));
        let last = timeline.place(i64::MAX, 1, true, at(0.0, 10));
        assert_eq!(last, 10);
    }
}
