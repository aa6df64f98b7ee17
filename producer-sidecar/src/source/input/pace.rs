//! When the samples of a file are due, so that it is played in real time, over and over if need be.

use std::time::Duration;

use streamfleet_media::track::Sample;

use super::dated::micros;

/// How long the last sample of a track lasts that has no other to go by.
const LAST_US: i64 = 40_000;

/// A sample lasts no longer than this: a gap in the file is not a reason to wait at its end.
const LAST_US_MAX: i64 = 1_000_000;

/// What lies further behind the time than this is given up as a clock that jumped: it is paced anew.
const JUMP_US_MAX: i64 = 10_000_000;

/// Follows one file through its rounds. Times are in microseconds of the file's clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the first sample was due, by the node's monotonic clock, and its time.
    began: Option<(Duration, i64)>,
    /// What is added in this round, so that it follows the one before.
    shift_us: i64,
    tracks: Vec<Option<TrackPace>>,
}

/// One track in one round, in microseconds.
#[derive(Debug, Clone, Copy)]
struct TrackPace {
    first: i64,
    last: i64,
    latest: i64,
    /// The shortest distance of two samples: pictures may come in another order than they are shown in.
    length: Option<i64>,
}

impl Pace {
    /// Moves a sample to its place behind earlier rounds, and says when it is due; `now` for the first.
    pub(super) fn place(&mut self, sample: &mut Sample, now: Duration) -> Duration {
        let file_us = micros(sample.ticks, sample.rate);
        self.follow(sample.track, file_us);
        let shift = i128::from(self.shift_us) * i128::from(sample.rate) / 1_000_000;
        sample.ticks = sample.ticks.saturating_add(shift as i64);
        let time_us = file_us.saturating_add(self.shift_us);
        let (began, first_us) = *self.began.get_or_insert((now, time_us));
        let due_us = whole_us(began).saturating_add(time_us.saturating_sub(first_us));
        let behind_us = whole_us(now).saturating_sub(due_us);
        if behind_us.saturating_abs() > JUMP_US_MAX {
            self.began = Some((now, time_us));
            return now;
        }
        Duration::from_micros(u64::try_from(due_us).unwrap_or(0))
    }

    fn follow(&mut self, track: u8, file_us: i64) {
        let track = usize::from(track);
        if self.tracks.len() <= track {
            self.tracks.resize(track + 1, None);
        }
        let begun = TrackPace { first: file_us, last: file_us, latest: file_us, length: None };
        let pace = self.tracks[track].get_or_insert(begun);
        let distance = file_us.saturating_sub(pace.last).saturating_abs();
        if distance > 0 {
            pace.length = Some(pace.length.map_or(distance, |length| length.min(distance)));
        }
        pace.last = file_us;
        pace.first = pace.first.min(file_us);
        pace.latest = pace.latest.max(file_us);
    }

    /// The file begins anew: what comes next follows what came last.
    pub(super) fn next_round(&mut self) {
        let ends = self
            .tracks
            .iter()
            .flatten()
            .map(|pace| pace.latest.saturating_add(pace.length.unwrap_or(LAST_US).min(LAST_US_MAX)));
        let starts = self.tracks.iter().flatten().map(|pace| pace.first);
        if let (Some(end), Some(start)) = (ends.max(), starts.min()) {
            self.shift_us = self.shift_us.saturating_add(end.saturating_sub(start));
        }
        self.tracks.clear();
    }
}

fn whole_us(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use streamfleet_media::track::Access;

    use super::*;

    fn sample(track: u8, ticks: i64, rate: u32) -> Sample {
        let (access, data) = (Access::Continue, Bytes::new());
        Sample { track, ticks, rate, access, lost: 0, data, parameters: None }
    }

    #[test]
    fn samples_are_due_by_their_times_and_rounds_follow_each_other() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(100);
        for round in 0..3 {
            for number in 0..4 {
                let due = start + Duration::from_millis(round * 400 + number * 100);
                let mut picture = sample(0, 90_000 + number as i64 * 9_000, 90_000);
                assert_eq!(pace.place(&mut picture, start), due, "round {round}, picture {number}");
                assert_eq!(picture.ticks, 90_000 + (round * 4 + number) as i64 * 9_000);
                let mut sound = sample(1, 8_000 + number as i64 * 800, 8_000);
                assert_eq!(pace.place(&mut sound, start), due);
                assert_eq!(sound.ticks, 8_000 + (round * 4 + number) as i64 * 800);
            }
            pace.next_round();
        }
    }

    #[test]
    fn a_round_ends_with_its_last_picture_also_where_pictures_are_reordered() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(100);
        for round in 0..3 {
            for number in [0, 3, 1, 2, 6, 4, 5] {
                let mut picture = sample(0, number * 40, 1_000);
                let due = pace.place(&mut picture, start);
                assert_eq!(picture.ticks, (round * 7 + number) * 40, "round {round}");
                assert_eq!(due, start + Duration::from_millis((round * 7 + number) as u64 * 40));
            }
            pace.next_round();
        }
    }

    #[test]
    fn a_clock_that_jumps_is_paced_anew() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(100);
        assert_eq!(pace.place(&mut sample(0, 0, 1_000), start), start);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.place(&mut sample(0, 5_000_000, 1_000), later), later);
        assert_eq!(pace.place(&mut sample(0, 5_000_040, 1_000), later), later + Duration::from_millis(40));
    }
}
