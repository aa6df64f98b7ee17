use proptest::prelude::*;

use super::*;

const RATE: u32 = 90_000;
const SOUND_RATE: u32 = 48_000;
/// When everything here begins.
const START_MS: i64 = 1_700_000_000_000;

/// Both clocks of a node that agree, this long after the beginning.
fn at(ms: i64) -> Reading {
    off(ms, 0)
}

/// The same with the wall clock wrong by `wrong_ms`.
fn off(ms: i64, wrong_ms: i64) -> Reading {
    Reading { mono: Duration::from_millis((3_600_000 + ms) as u64), wall_ms: START_MS + ms + wrong_ms }
}

fn video(ms: i64) -> (i64, u32) {
    (ms * 90, RATE)
}

fn sound(ms: i64) -> (i64, u32) {
    (ms * 48, SOUND_RATE)
}

fn ntp(ms: i64) -> u64 {
    let seconds = (START_MS + ms) as u64 / 1_000 + 2_208_988_800;
    let fraction = (((START_MS + ms) as u64 % 1_000) << 32) / 1_000;
    (seconds << 32) + fraction
}

fn connected(tracks: usize) -> Timeline {
    let mut timeline = Timeline::default();
    timeline.connected(tracks, 0);
    timeline
}

/// The place of a picture, since the beginning.
fn place(timeline: &mut Timeline, at: (i64, u32), reading: Reading) -> i64 {
    timeline.place(0, at, false, reading).unwrap().time_ms - START_MS
}

fn place_sound(timeline: &mut Timeline, at: (i64, u32), reading: Reading) -> Option<i64> {
    timeline.place(1, at, false, reading).map(|place| place.time_ms - START_MS)
}

/// Feeds pictures every 40 ms of a camera whose clock runs at `speed`, from one moment to another; gives the last place.
/// Checks that no frame is moved by more than is allowed.
fn run(timeline: &mut Timeline, (from, to): (i64, i64), speed: f64, wrong_ms: i64) -> i64 {
    let mut last: Option<(i64, i64)> = None;
    for ms in (from..=to).step_by(40) {
        let ticks = (ms as f64 * 90.0 * speed) as i64;
        let time = place(timeline, (ticks, RATE), off(ms, wrong_ms));
        if let Some((ticks_before, before)) = last {
            let moved = (time - before) - (ticks - ticks_before) / 90;
            assert!(moved.abs() <= 2, "moved by {moved} ms at {ms} ms");
        }
        last = Some((ticks, time));
    }
    last.unwrap().1
}

#[test]
fn times_follow_the_media_clock_and_not_a_step_of_the_wall_clock() {
    for step in [-3_600_000, 3_600_000] {
        let mut timeline = connected(1);
        timeline.set_wall_offset(0);
        assert_eq!(place(&mut timeline, video(500), at(0)), 0);
        assert_eq!(place(&mut timeline, video(540), off(47, step)), 40);
        // They came half a second early, so they lie at their arrival in the end.
        let end = run(&mut timeline, (580, 600_020), 1.0, step);
        assert!((599_999..=600_020).contains(&end), "{end} after a step by {step}");
    }
}

#[test]
fn a_reconnect_with_the_wall_clock_behind_never_goes_back() {
    let mut timeline = connected(1);
    place(&mut timeline, video(0), at(0));
    let time = place(&mut timeline, video(1_000), at(1_000));
    timeline.give(START_MS + time, true);
    // A node that has slept: its clocks begin anew.
    timeline.wall = Wall::default();
    timeline.connected(1, 0);
    assert_eq!(place(&mut timeline, video(77), off(2_000, -100_000)), 1_001);
    assert_eq!(place(&mut timeline, video(177), off(2_100, -100_000)), 1_101);
    let end = run(&mut timeline, (177, 20_000), 1.0, -100_000);
    assert!(end < 20_924 && end > 20_700, "it goes back slowly: {end}");
}

#[test]
fn a_jump_of_the_cameras_clock_goes_on_by_arrival() {
    for jump in [-600_000, -2_000, -500, 5_000, 600_000] {
        let mut timeline = connected(1);
        run(&mut timeline, (1_000_000, 1_001_000), 1.0, 0);
        let placed = timeline.place(0, video(1_001_040 + jump), true, at(1_001_040)).unwrap();
        assert!(placed.has_jumped, "by {jump} ms");
        assert_eq!(placed.time_ms - START_MS, 1_001_040, "by {jump} ms");
        let next = timeline.place(0, video(1_001_080 + jump), false, at(1_001_085)).unwrap();
        assert_eq!(next, Place { time_ms: START_MS + 1_001_080, has_jumped: false }, "by {jump} ms");
    }
}

#[test]
fn a_pause_and_what_was_held_up_are_no_jumps() {
    let mut timeline = connected(1);
    run(&mut timeline, (0, 20_000), 1.0, 0);
    // Nothing for five seconds, then what was captured meanwhile, then some of that is missing.
    assert_eq!(place(&mut timeline, video(20_040), at(25_000)), 20_040);
    assert_eq!(place(&mut timeline, video(20_080), at(25_001)), 20_080);
    assert_eq!(place(&mut timeline, video(24_960), at(25_002)), 24_960);
    // The camera sent nothing for nine seconds.
    assert_eq!(place(&mut timeline, video(34_000), at(34_010)), 34_000);
}

#[test]
fn reordered_pictures_keep_their_times_and_the_next_key_frame_is_later_than_all() {
    let mut timeline = connected(1);
    let given: Vec<i64> = [(0, true), (120, false), (40, false), (80, false), (160, true), (160, false)]
        .into_iter()
        .map(|(ms, key)| {
            let place = timeline.place(0, video(ms), key, at(0)).unwrap();
            assert!(!place.has_jumped);
            timeline.give(place.time_ms, key) - START_MS
        })
        .collect();
    assert_eq!(given, [0, 120, 40, 80, 160, 161]);
    assert_eq!(timeline.give(START_MS + 150, true), START_MS + 162);
}

#[test]
fn a_clock_that_runs_fast_or_slow_is_kept_to_the_nodes() {
    for speed in [1.0003, 0.9997] {
        let mut timeline = connected(1);
        let end = run(&mut timeline, (0, 3_600_000), speed, 0);
        assert!((end - 3_600_000).abs() < 60, "{end} at {speed}");
    }
}

#[test]
fn a_burst_at_the_beginning_is_corrected_slowly() {
    let mut timeline = connected(1);
    // Two seconds of pictures at once: they were captured before.
    for ms in (0..2_000).step_by(40) {
        assert_eq!(place(&mut timeline, video(ms), at(0)), ms);
    }
    let mut last = 1_960;
    for ms in (2_000..600_000).step_by(40) {
        let time = place(&mut timeline, video(ms), at(ms - 2_000));
        assert!(time > last && time <= last + 41, "{last} then {time}");
        last = time;
    }
    assert!((last - 597_960).abs() <= 21, "{last}");
}

#[test]
fn sound_with_reports_lies_where_the_camera_says() {
    let mut timeline = connected(2);
    // Clocks with other zeros: the sound's began seven seconds before the video's.
    timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(50_000) }, at(0));
    timeline.report(&SenderReport { track: 1, ticks: 7_000 * 48, rate: SOUND_RATE, ntp: ntp(50_000) }, at(5));
    assert_eq!(place_sound(&mut timeline, sound(7_020), at(10)), None, "there is no video yet");
    assert_eq!(place(&mut timeline, video(40), at(60)), 60);
    assert_eq!(place_sound(&mut timeline, sound(7_020), at(300)), Some(40));
    assert_eq!(place_sound(&mut timeline, sound(7_120), at(301)), Some(140));
}

#[test]
fn reports_that_come_late_join_the_tracks_slowly() {
    let mut timeline = connected(2);
    place(&mut timeline, video(0), at(0));
    // By arrival it lies 200 ms too late.
    assert_eq!(place_sound(&mut timeline, sound(1_000), at(200)), Some(200));
    timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(0) }, at(210));
    timeline.report(&SenderReport { track: 1, ticks: 1_000 * 48, rate: SOUND_RATE, ntp: ntp(0) }, at(210));
    let mut last = 200;
    for ms in (20..20_000).step_by(20) {
        place(&mut timeline, video(ms), at(ms));
        let time = place_sound(&mut timeline, sound(1_000 + ms), at(ms + 200)).unwrap();
        assert!((19..=21).contains(&(time - last)), "{last} then {time}");
        last = time;
    }
    assert!((last - 19_980).abs() <= 1, "{last}");
}

#[test]
fn sound_without_reports_lies_where_it_comes_or_at_the_common_zero() {
    for (common, expected) in [(true, 100), (false, 115)] {
        let mut timeline = connected(2);
        place(&mut timeline, video(0), at(0));
        let ticks = if common { 100 } else { 5_000 };
        assert_eq!(place_sound(&mut timeline, sound(ticks), at(115)), Some(expected));
    }
}

#[test]
fn sound_without_reports_follows_what_corrects_the_pictures() {
    let mut timeline = connected(2);
    let mut apart = 0;
    for ms in (0..1_200_000).step_by(40) {
        // Both clocks run fast by one part in two thousand.
        let fast = ms + ms / 2_000;
        let picture = place(&mut timeline, video(fast), at(ms));
        apart = place_sound(&mut timeline, sound(fast), at(ms)).unwrap() - picture;
        assert!(apart.abs() <= 1, "{apart} ms apart after {ms} ms");
    }
    assert!(timeline.common_us < -400_000, "the pictures were corrected by {} us", timeline.common_us);
    assert!(apart.abs() <= 1);
}

#[test]
fn a_cameras_wall_clock_that_is_set_between_two_reports_moves_nothing() {
    let mut timeline = connected(2);
    timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(0) }, at(0));
    timeline.report(&SenderReport { track: 1, ticks: 0, rate: SOUND_RATE, ntp: ntp(0) }, at(0));
    for ms in (0..10_000).step_by(20) {
        if ms == 5_000 {
            // Of the sound alone; the next of the pictures has not come.
            let report = SenderReport { track: 1, ticks: 5_000 * 48, rate: SOUND_RATE, ntp: ntp(8_000) };
            timeline.report(&report, at(ms));
        }
        assert_eq!(place(&mut timeline, video(ms), at(ms)), ms);
        assert_eq!(place_sound(&mut timeline, sound(ms), at(ms)), Some(ms));
    }
}

#[test]
fn tracks_of_one_clock_are_joined_whenever_they_come() {
    let mut timeline = connected(2);
    // As files and pipes report them: before the first sample of each track.
    timeline.report(&SenderReport { track: 0, ticks: 30_000 * 90, rate: RATE, ntp: ntp(0) }, at(0));
    place(&mut timeline, video(30_000), at(0));
    let ticks = 29_500 * 48;
    timeline.report(&SenderReport { track: 1, ticks, rate: SOUND_RATE, ntp: ntp(-500) }, at(700));
    assert_eq!(place_sound(&mut timeline, sound(29_500), at(700)), Some(-500));
}

#[test]
fn reports_that_cannot_be_are_not_followed() {
    let mut timeline = connected(2);
    timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(0) }, at(0));
    timeline.report(&SenderReport { track: 1, ticks: 0, rate: SOUND_RATE, ntp: ntp(100_000) }, at(0));
    place(&mut timeline, video(0), at(0));
    assert_eq!(place_sound(&mut timeline, sound(500), at(530)), Some(500));
}

#[test]
fn the_cameras_clock_dates_where_it_is_asked_for() {
    let mut timeline = Timeline::new(Dating::Camera);
    timeline.connected(1, 0);
    assert!(!timeline.is_ready());
    timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(-4_000) }, at(10));
    assert!(timeline.is_ready());
    assert_eq!(timeline.refused_camera_ms(), None);
    assert_eq!(place(&mut timeline, video(40), at(60)), -3_960);
    // Its clock is found to be 100 ms further back.
    timeline.report(&SenderReport { track: 0, ticks: 5_000 * 90, rate: RATE, ntp: ntp(900) }, at(5_060));
    let end = run(&mut timeline, (5_040, 65_040), 1.0, 0);
    // NTP's fraction is rounded.
    assert!((60_939..=60_940).contains(&end), "{end}");
}

#[test]
fn a_cameras_clock_that_is_far_off_is_refused() {
    for wrong in [-61_000, 61_000, 86_400_000] {
        let mut timeline = Timeline::new(Dating::Camera);
        timeline.connected(1, 0);
        timeline.report(&SenderReport { track: 0, ticks: 0, rate: RATE, ntp: ntp(wrong) }, at(0));
        assert_eq!(timeline.refused_camera_ms(), Some(wrong));
        assert_eq!(place(&mut timeline, video(40), at(60)), 60);
    }
}

#[test]
fn nothing_is_dated_at_or_before_the_floor() {
    let mut timeline = Timeline::default();
    timeline.set_floor(START_MS + 500);
    timeline.connected(1, 0);
    assert_eq!(place(&mut timeline, video(0), at(0)), 501);
    assert_eq!(timeline.give(START_MS, true), START_MS + 501);
    assert_eq!(timeline.latest_ms(), Some(START_MS + 501));
}

#[test]
fn the_services_clock_corrects_the_anchor_and_later_ones_slowly() {
    let mut timeline = Timeline::default();
    timeline.set_wall_offset(90_000);
    timeline.connected(1, 0);
    assert_eq!(place(&mut timeline, video(0), at(0)), 90_000);
    timeline.set_wall_offset(95_000);
    let end = run(&mut timeline, (40, 60_000), 1.0, 0);
    assert!((150_200..150_350).contains(&end), "{end}");
    timeline.connected(1, 0);
    assert_eq!(place(&mut timeline, video(0), at(61_000)), 156_000);
}

#[test]
fn what_is_dated_anew_goes_on_from_there() {
    let mut timeline = connected(2);
    let first = place(&mut timeline, video(0), at(0));
    timeline.give(START_MS + first, true);
    timeline.shift(-3_600_000);
    assert_eq!(place(&mut timeline, video(40), at(40)), 40 - 3_600_000);
    assert_eq!(place_sound(&mut timeline, sound(60), at(60)), Some(60 - 3_600_000));
    assert_eq!(timeline.give(START_MS + 40 - 3_600_000, false), START_MS + 40 - 3_600_000);
}

#[test]
fn extreme_clocks_do_not_overflow() {
    let extremes = [i64::MIN, -1, 0, 1, i64::MAX];
    for first in extremes {
        for second in extremes {
            for (rate, wall_ms) in [(0, i64::MIN), (1, 0), (u32::MAX, i64::MAX)] {
                let mut timeline = connected(2);
                let now = Reading { mono: Duration::MAX, wall_ms };
                for (track, ticks) in [(0, first), (1, second), (0, second), (1, first)] {
                    let ntp = first as u64;
                    timeline.report(&SenderReport { track, ticks, rate, ntp }, now);
                    let place = timeline.place(track.into(), (ticks, rate), true, now).unwrap();
                    timeline.give(place.time_ms, true);
                }
                timeline.shift(second);
            }
        }
    }
}

/// What may happen to a feed's timeline.
#[derive(Debug, Clone)]
enum Event {
    /// A group of pictures of this length, each with this many that are shown before the one that they follow.
    Group {
        pictures: i64,
        reordered: i64,
        delay_ms: i64,
    },
    Sound {
        pieces: i64,
    },
    Report {
        track: u8,
        wrong_ms: i64,
    },
    WallStep(i64),
    Offset(i64),
    MediaJump {
        track: usize,
        by_ms: i64,
    },
    Pause(i64),
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..60_i64, 0..4_i64, 0..2_000_i64)
            .prop_map(|(pictures, reordered, delay_ms)| Event::Group { pictures, reordered, delay_ms }),
        4 => (1..50_i64).prop_map(|pieces| Event::Sound { pieces }),
        2 => (0..2_u8, -100_000..100_000_i64).prop_map(|(track, wrong_ms)| Event::Report { track, wrong_ms }),
        1 => (-4_000_000..4_000_000_i64).prop_map(Event::WallStep),
        1 => (-4_000_000..4_000_000_i64).prop_map(Event::Offset),
        1 => (0..2_usize, -100_000_000..100_000_000_i64)
            .prop_map(|(track, by_ms)| Event::MediaJump { track, by_ms }),
        1 => (0..90_000_i64).prop_map(Event::Pause),
        1 => Just(Event::Reconnect),
    ]
}

/// A camera, and what is checked of everything that its timeline gives.
struct World {
    timeline: Timeline,
    now_ms: i64,
    wall_wrong_ms: i64,
    media_ms: [i64; 2],
    /// Of each track: the media time and place of its latest sample, where the clock has not jumped since.
    before: [Option<(i64, i64)>; 2],
    latest: i64,
    key: i64,
}

impl World {
    fn sample(&mut self, track: usize, media_ms: i64, delay_ms: i64, key: bool) {
        let reading = off(self.now_ms + delay_ms, self.wall_wrong_ms);
        let ticks = if track == 0 { video(media_ms) } else { sound(media_ms) };
        let Some(place) = self.timeline.place(track, ticks, key, reading) else { return };
        if let Some((media_before, before)) = self.before[track].filter(|_| !place.has_jumped) {
            let moved = (place.time_ms - before) - (media_ms - media_before);
            // A millisecond, and the rounding of both.
            assert!(moved.abs() <= 2, "track {track} was moved by {moved} ms");
        }
        self.before[track] = Some((media_ms, place.time_ms));
        let given = self.timeline.give(place.time_ms, key);
        if key {
            assert!(given > self.latest, "a key frame at {given} after {}", self.latest);
            self.key = given;
        } else {
            assert!(given > self.key, "{given} at or before the key frame at {}", self.key);
        }
        self.latest = self.latest.max(given);
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Group { pictures, reordered, delay_ms } => {
                for n in 0..pictures {
                    // A picture that is shown later, then those that are shown before it.
                    let (run, within) = (n / (reordered + 1), n % (reordered + 1));
                    let shown = if n == 0 { 0 } else { run * (reordered + 1) + (reordered + 1 - within) };
                    self.sample(0, self.media_ms[0] + shown * 40, delay_ms, n == 0);
                    self.now_ms += 40;
                }
                self.media_ms[0] += (pictures + reordered + 1) * 40;
            }
            Event::Sound { pieces } => {
                for _ in 0..pieces {
                    self.sample(1, self.media_ms[1], 0, false);
                    self.media_ms[1] += 21;
                    self.now_ms += 21;
                }
            }
            Event::Report { track, wrong_ms } => {
                let (ticks, rate) = match track {
                    0 => video(self.media_ms[0]),
                    _ => sound(self.media_ms[1]),
                };
                let report = SenderReport { track, ticks, rate, ntp: ntp(self.now_ms + wrong_ms) };
                self.timeline.report(&report, off(self.now_ms, self.wall_wrong_ms));
            }
            Event::WallStep(ms) => self.wall_wrong_ms += ms,
            Event::Offset(ms) => self.timeline.set_wall_offset(ms),
            Event::MediaJump { track, by_ms } => self.media_ms[track] += by_ms,
            Event::Pause(ms) => {
                self.now_ms += ms;
                self.media_ms = self.media_ms.map(|media| media + ms);
            }
            Event::Reconnect => {
                self.timeline.connected(2, 0);
                self.before = [None; 2];
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_times_rise_and_no_frame_is_moved_far(
        events in prop::collection::vec(event(), 1..60),
        is_dated_by_camera: bool,
        floor_ms in -10_000..10_000_i64,
    ) {
        let dating = if is_dated_by_camera { Dating::Camera } else { Dating::Node };
        let mut timeline = Timeline::new(dating);
        timeline.set_floor(START_MS + floor_ms);
        timeline.connected(2, 0);
        let latest = START_MS + floor_ms;
        let mut world = World {
            timeline, now_ms: 0, wall_wrong_ms: 0, media_ms: [0; 2], before: [None; 2], latest, key: i64::MIN,
        };
        for event in &events {
            world.happen(event);
        }
    }
}
