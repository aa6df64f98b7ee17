use Access::{Continue, SkippedLeading, Start};
use Codec::{Aac, H264, H265, PcmAlaw};
use bytes::Bytes;

use super::*;

const START_MS: i64 = 1_700_000_000_000;
/// The same in seconds of NTP.
const NTP_START: u64 = (START_MS / 1_000) as u64 + 2_208_988_800;
const SETTINGS: IntakeSettings =
    IntakeSettings { audio: Audio::Auto, timestamps: Timestamps::Node, target_ms: 2_000 };

fn at(ms: i64) -> Now {
    Now { mono: Duration::from_millis((3_600_000 + ms) as u64), wall_ms: START_MS + ms }
}

fn video_parameters(private: &'static [u8]) -> TrackParameters {
    TrackParameters::video(H264, Bytes::from_static(private), 640, 360)
}

fn sound_parameters(private: &'static [u8]) -> TrackParameters {
    TrackParameters::audio(Aac, Bytes::from_static(private), 48_000, 1)
}

/// The first slice of an IDR picture, and of another.
const KEY: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];
const OTHER: &[u8] = &[0, 0, 0, 2, 0x41, 0x9A];

fn picture(ms: i64, access: Access) -> Sample {
    let data = Bytes::from_static(if access == Start { KEY } else { OTHER });
    Sample { track: 0, ticks: ms * 90, rate: 90_000, access, lost: 0, data, parameters: None }
}

fn sound(ms: i64) -> Sample {
    let data = Bytes::from_static(b"sound");
    let (track, access) = (1, Continue);
    Sample { track, ticks: ms * 48, rate: 48_000, access, lost: 0, data, parameters: None }
}

/// An intake and what it gave: `K` key frames, `P` other pictures, `S` sound, with their times; and everything else.
struct Rig {
    intake: Intake,
    given: Vec<String>,
    codec: Option<Arc<CodecParameters>>,
    others: Vec<IntakeEvent>,
    units: Vec<AccessUnit>,
}

impl Rig {
    fn new(settings: IntakeSettings, tracks: &[Codec]) -> Self {
        let mut intake = Intake::new(settings);
        intake.connected(tracks);
        // Tracks of one camera with one clock, so that times here are round.
        let ntp = NTP_START << 32;
        intake.report(&SenderReport { track: 0, ticks: 0, rate: 90_000, ntp }, at(0));
        intake.report(&SenderReport { track: 1, ticks: 0, rate: 48_000, ntp }, at(0));
        Self { intake, given: Vec::new(), codec: None, others: Vec::new(), units: Vec::new() }
    }

    fn take(&mut self, now_ms: i64) {
        while let Some(event) = self.intake.next(at(now_ms)) {
            let IntakeEvent::Unit(unit, codec, _) = event else {
                self.others.push(event);
                continue;
            };
            let kind = match (unit.key, codec.tracks[usize::from(unit.track)].codec.is_video()) {
                (true, true) => "K",
                (true, false) => "KS",
                (false, true) => "P",
                (false, false) => "S",
            };
            self.given.push(format!("{kind}{}", unit.time_ms - START_MS));
            self.codec = Some(codec);
            self.units.push(unit);
        }
    }

    fn push(&mut self, sample: Sample, now_ms: i64) {
        self.intake.push(sample, at(now_ms));
        self.take(now_ms);
    }

    /// A picture that comes when it is captured.
    fn picture(&mut self, ms: i64, access: Access) {
        self.push(picture(ms, access), ms);
    }

    fn first(&mut self, ms: i64) {
        let parameters = Some(video_parameters(b"avcC"));
        self.push(Sample { parameters, ..picture(ms, Start) }, ms);
    }

    fn first_sound(&mut self, ms: i64, now_ms: i64) {
        self.push(Sample { parameters: Some(sound_parameters(b"asc")), ..sound(ms) }, now_ms);
    }

    fn given(&mut self) -> String {
        std::mem::take(&mut self.given).join(" ")
    }

    fn others(&mut self) -> Vec<IntakeEvent> {
        std::mem::take(&mut self.others)
    }

    fn codecs(&self) -> Vec<Codec> {
        self.codec.as_ref().map_or_else(Vec::new, |c| c.tracks.iter().map(|track| track.codec).collect())
    }
}

#[test]
fn pictures_alone_pass_at_once() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    assert_eq!(rig.given(), "K0");
    rig.picture(40, Continue);
    rig.picture(80, Start);
    assert_eq!(rig.given(), "P40 K80");
    assert_eq!(rig.intake.wake_at(), None);
    assert_eq!(rig.codecs(), [H264]);
}

#[test]
fn sound_goes_between_the_pictures_by_its_time() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(10);
    assert_eq!(rig.given(), "", "the sound up to the key frame has not come");
    rig.push(sound(21), 21);
    assert_eq!(rig.given(), "K10", "sound is never before a picture that may be earlier");
    assert_eq!(rig.others(), [IntakeEvent::Dropped(Dropped::BeforeKeyFrame)]);
    rig.push(sound(42), 42);
    rig.picture(50, Continue);
    assert_eq!(rig.given(), "S21 S42 P50");
    assert_eq!(rig.codecs(), [H264, Aac]);
    assert_eq!(rig.units.iter().map(|unit| unit.track).collect::<Vec<_>>(), [0, 1, 1, 0]);
}

#[test]
fn a_key_frame_waits_for_the_sound_before_it_and_no_longer_than_half_a_second() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.push(sound(21), 21);
    rig.first(20);
    assert_eq!(rig.given(), "K20");
    rig.push(sound(41), 41);
    rig.picture(60, Start);
    rig.picture(100, Continue);
    assert_eq!(rig.given(), "S21 S41");
    assert_eq!(rig.intake.wake_at(), Some(at(560).mono));
    rig.push(sound(62), 300);
    assert_eq!(rig.given(), "K60 S62 P100", "the sound has caught up");
    rig.picture(140, Start);
    rig.take(639);
    assert_eq!(rig.given(), "");
    rig.take(640);
    assert_eq!(rig.given(), "K140", "it waits no longer");
    rig.push(sound(83), 641);
    rig.push(sound(104), 641);
    rig.push(sound(200), 641);
    rig.push(picture(220, Continue), 650);
    assert_eq!(rig.given(), "S141 S142 S200 P220", "late sound lies in the fragment that has begun");
}

#[test]
fn sound_waits_for_pictures_half_a_second_too() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.push(sound(22), 22);
    rig.first(21);
    rig.take(22);
    assert_eq!(rig.given(), "K21");
    rig.push(sound(42), 42);
    assert_eq!(rig.intake.wake_at(), Some(at(522).mono));
    rig.take(521);
    assert_eq!(rig.given(), "");
    rig.take(542);
    assert_eq!(rig.given(), "S22 S42");
}

#[test]
fn a_track_that_is_silent_leaves_at_a_key_frame_and_comes_back_at_one() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.push(sound(20), 20);
    rig.first(20);
    let mut now = 20;
    let mut second = |rig: &mut Rig, has_sound: bool| {
        for _ in 0..25 {
            now += 40;
            if has_sound {
                rig.push(sound(now), now);
            }
            rig.picture(now, if (now - 20) % 1_000 == 0 { Start } else { Continue });
        }
        // What waits for sound that does not come.
        now += 600;
        rig.take(now);
        now -= 600;
        rig.codecs()
    };
    assert_eq!(second(&mut rig, true), [H264, Aac]);
    // The first second of silence may end before the next key frame; the second does not.
    second(&mut rig, false);
    assert_eq!(second(&mut rig, false), [H264]);
    rig.others();
    assert_eq!(second(&mut rig, true), [H264], "it has not been steady for a second");
    assert_eq!(rig.others(), vec![IntakeEvent::Dropped(Dropped::SoundLeftOut); 25]);
    assert_eq!(second(&mut rig, true), [H264, Aac]);
}

#[test]
fn a_key_frame_does_not_wait_for_a_track_that_is_left_out() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first(0);
    assert_eq!(rig.given(), "", "the first waits for the announced track");
    rig.take(500);
    assert_eq!(rig.given(), "K0");
    rig.picture(2_000, Start);
    assert_eq!(rig.given(), "K2000");
    assert_eq!(rig.codecs(), [H264]);
}

#[test]
fn sound_is_chosen_by_the_settings_and_what_hls_cannot_play_is_said_once() {
    let all = IntakeSettings { audio: Audio::All, ..SETTINGS };
    let mut rig = Rig::new(all, &[H264, PcmAlaw]);
    rig.take(0);
    assert_eq!(rig.others(), [IntakeEvent::UnplayableSound(PcmAlaw)]);
    let alaw = streamfleet_media::g711::parameters(PcmAlaw, 8_000, 1);
    rig.push(Sample { parameters: alaw.clone(), ..sound(0) }, 0);
    rig.first(0);
    assert_eq!(rig.codecs(), [H264, PcmAlaw]);
    for audio in [Audio::Auto, Audio::None] {
        let mut rig = Rig::new(IntakeSettings { audio, ..SETTINGS }, &[H264, PcmAlaw]);
        rig.push(Sample { parameters: alaw.clone(), ..sound(0) }, 0);
        rig.first(0);
        assert_eq!((rig.given(), rig.codecs()), ("K0".to_owned(), vec![H264]));
        assert_eq!(rig.others(), []);
    }
}

#[test]
fn a_change_of_the_settings_takes_sound_in_without_a_new_connection() {
    let none = IntakeSettings { audio: Audio::None, ..SETTINGS };
    let mut rig = Rig::new(none, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    assert_eq!(rig.codecs(), [H264]);
    rig.intake.set_settings(SETTINGS);
    for ms in (40..=1_200).step_by(40) {
        rig.push(sound(ms), ms);
        rig.picture(ms, if ms == 1_200 { Start } else { Continue });
    }
    assert_eq!(rig.codecs(), [H264, Aac]);
    rig.intake.set_settings(none);
    rig.picture(2_000, Start);
    assert_eq!(rig.codecs(), [H264]);
}

#[test]
fn sound_alone_is_cut_by_time() {
    let mut rig = Rig::new(SETTINGS, &[Aac]);
    let piece = |ms: i64| Sample { track: 0, ..sound(ms) };
    rig.push(Sample { parameters: Some(sound_parameters(b"asc")), ..piece(0) }, 0);
    for ms in (500..=4_500).step_by(500) {
        rig.push(piece(ms), ms);
    }
    assert_eq!(rig.given(), "KS0 S500 S1000 S1500 KS2000 S2500 S3000 S3500 KS4000 S4500");
    rig.push(Sample { parameters: Some(sound_parameters(b"new")), ..piece(4_600) }, 4_600);
    assert_eq!(rig.given(), "KS4600", "other parameters begin another fragment");
    assert_eq!(rig.codecs(), [Aac]);
}

#[test]
fn nothing_is_stored_before_the_first_key_frame_and_after_a_new_connection() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.push(Sample { parameters: Some(video_parameters(b"avcC")), ..picture(0, Continue) }, 0);
    rig.picture(40, Start);
    rig.intake.connected(&[H264]);
    rig.push(Sample { parameters: Some(video_parameters(b"avcC")), ..picture(0, Continue) }, 80);
    rig.push(picture(40, Start), 120);
    assert_eq!(rig.given(), "K40 K120");
    assert_eq!(rig.others(), vec![IntakeEvent::Dropped(Dropped::BeforeKeyFrame); 2]);
    assert_eq!(rig.units.len(), 2);
}

#[test]
fn pictures_without_parameters_are_dropped() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.picture(0, Start);
    rig.picture(40, Continue);
    rig.first(80);
    assert_eq!(rig.given(), "K80");
    assert_eq!(rig.others(), vec![IntakeEvent::Dropped(Dropped::NoParameters); 2]);
}

#[test]
fn leading_pictures_are_dropped_wherever_decoding_may_start() {
    let mut rig = Rig::new(SETTINGS, &[H265]);
    let parameters = Some(TrackParameters::video(H265, Bytes::from_static(b"hvcC"), 640, 360));
    rig.push(Sample { parameters, ..picture(120, Start) }, 0);
    // Shown before it: one that refers to what is before, and one that does not.
    rig.push(picture(40, SkippedLeading), 40);
    rig.push(picture(80, Continue), 80);
    rig.push(picture(160, Continue), 120);
    rig.push(picture(280, Start), 160);
    rig.push(picture(200, SkippedLeading), 200);
    rig.push(picture(320, Continue), 240);
    assert_eq!(rig.given(), "K0 P40 K160 P200");
    assert_eq!(rig.others(), vec![IntakeEvent::Dropped(Dropped::Leading); 3]);
}

#[test]
fn what_follows_lost_packets_is_kept_and_the_hole_is_told() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    rig.picture(40, Continue);
    rig.push(Sample { lost: 3, ..picture(120, Continue) }, 120);
    rig.picture(160, Continue);
    assert_eq!(rig.given(), "K0 P40 P120 P160");
    let (start_ms, end_ms) = (START_MS + 40, START_MS + 120);
    assert_eq!(rig.others(), [IntakeEvent::Lost { start_ms, end_ms, packets: 3 }]);
}

#[test]
fn half_a_picture_is_dropped_and_half_a_key_frame_with_what_needs_it() {
    let second_slice = Bytes::from_static(&[0, 0, 0, 2, 0x41, 0x1A]);
    let second_slice_of_key = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x18]);
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    rig.push(Sample { lost: 1, data: second_slice, ..picture(40, Continue) }, 40);
    rig.picture(80, Continue);
    let lost = |start: i64, end: i64, packets| IntakeEvent::Lost {
        start_ms: START_MS + start,
        end_ms: START_MS + end,
        packets,
    };
    assert_eq!(rig.given(), "K0 P80");
    assert_eq!(rig.others(), [IntakeEvent::Dropped(Dropped::Damaged), lost(0, 80, 1)]);
    rig.push(Sample { lost: 2, data: second_slice_of_key, ..picture(120, Start) }, 120);
    rig.picture(160, Continue);
    rig.picture(200, Start);
    assert_eq!(rig.given(), "K200");
    let dropped = [Dropped::Damaged, Dropped::KeyFrameLost].map(IntakeEvent::Dropped);
    assert_eq!(rig.others(), [&dropped[..], &[lost(80, 200, 2)]].concat());
}

#[test]
fn other_parameters_hold_from_the_next_key_frame_on() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    let first = rig.codec.clone().unwrap();
    rig.push(Sample { parameters: Some(video_parameters(b"new!")), ..picture(40, Continue) }, 40);
    assert!(Arc::ptr_eq(&first, rig.codec.as_ref().unwrap()));
    rig.picture(80, Start);
    assert_eq!(rig.codec.as_ref().unwrap().tracks[0].private[..], b"new!"[..]);
    // The same after a new connection: nothing has changed.
    let before = rig.codec.clone().unwrap();
    rig.intake.connected(&[H264]);
    rig.push(Sample { parameters: Some(video_parameters(b"new!")), ..picture(0, Start) }, 3_000);
    assert!(Arc::ptr_eq(&before, rig.codec.as_ref().unwrap()));
}

#[test]
fn sound_with_other_parameters_waits_for_a_key_frame() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    rig.push(Sample { parameters: Some(sound_parameters(b"new")), ..sound(21) }, 21);
    rig.picture(40, Continue);
    assert_eq!(rig.given(), "K0 S1 P40");
    assert_eq!(rig.others(), [IntakeEvent::Dropped(Dropped::SoundLeftOut)]);
    rig.push(sound(81), 81);
    rig.picture(80, Start);
    rig.picture(120, Continue);
    assert_eq!(rig.given(), "K80 S81 P120");
    assert_eq!(rig.codec.as_ref().unwrap().tracks[1].private[..], b"new"[..]);
}

#[test]
fn parameters_that_change_too_often_are_said_until_they_do_no_more() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    for (n, private) in [&b"a"[..], b"b", b"c", b"d", b"e"].into_iter().enumerate() {
        let ms = n as i64 * 2_000;
        rig.push(Sample { parameters: Some(video_parameters(private)), ..picture(ms, Start) }, ms);
    }
    assert_eq!(rig.others(), [IntakeEvent::Unstable(true)]);
    assert_eq!(rig.intake.wake_at(), Some(at(62_000).mono));
    rig.take(61_999);
    assert_eq!(rig.others(), []);
    rig.take(62_000);
    assert_eq!(rig.others(), [IntakeEvent::Unstable(false)]);
}

#[test]
fn the_end_of_a_connection_gives_out_what_waits() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    rig.push(sound(21), 21);
    rig.push(sound(42), 42);
    rig.picture(60, Start);
    assert_eq!(rig.given(), "K0 S1 S21 S42");
    rig.intake.ended();
    rig.take(61);
    assert_eq!(rig.given(), "K60");
    assert_eq!(rig.intake.wake_at(), None);
}

#[test]
fn what_was_silent_and_goes_on_need_not_say_its_parameters_again() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    rig.push(sound(21), 21);
    rig.intake.ended();
    rig.take(10_000);
    assert_eq!(rig.given(), "K0 S1 S21");
    rig.push(sound(12_000), 12_000);
    rig.picture(12_010, Continue);
    rig.picture(12_040, Start);
    rig.push(sound(12_041), 12_041);
    assert_eq!((rig.given(), rig.codecs()), ("K12040".to_owned(), vec![H264, Aac]));
    assert_eq!(rig.others(), vec![IntakeEvent::Dropped(Dropped::BeforeKeyFrame); 2]);
    let mut rig = Rig::new(SETTINGS, &[Aac]);
    let piece = |ms: i64| Sample { track: 0, ..sound(ms) };
    rig.push(Sample { parameters: Some(sound_parameters(b"asc")), ..piece(0) }, 0);
    rig.intake.ended();
    rig.push(piece(700), 700);
    assert_eq!(rig.given(), "KS0 KS700");
}

#[test]
fn what_another_connection_sends_is_not_read_by_the_parameters_of_the_one_before() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    rig.intake.connected(&[H264]);
    rig.picture(40, Start);
    assert_eq!(rig.given(), "K0");
    assert_eq!(rig.others(), [IntakeEvent::Dropped(Dropped::NoParameters)]);
}

#[test]
fn packets_of_sound_that_are_lost_beside_pictures_are_counted_and_are_no_hole() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    rig.push(Sample { lost: 2, ..sound(21) }, 21);
    rig.picture(40, Continue);
    rig.push(Sample { lost: 1, ..sound(42) }, 42);
    rig.picture(80, Continue);
    assert_eq!(rig.given(), "K0 S1 S21 P40 S42 P80");
    assert_eq!(rig.others(), [2, 1].map(IntakeEvent::LostSound));
}

#[test]
fn the_cameras_clock_is_awaited_and_then_dates_the_first_picture() {
    let camera = IntakeSettings { timestamps: Timestamps::Camera, ..SETTINGS };
    let mut intake = Intake::new(camera);
    intake.connected(&[H264]);
    let first = Sample { parameters: Some(video_parameters(b"avcC")), ..picture(0, Start) };
    intake.push(first.clone(), at(0));
    intake.push(picture(40, Continue), at(40));
    assert_eq!(intake.next(at(40)), None);
    assert_eq!(intake.wake_at(), Some(at(4_000).mono));
    let seconds = NTP_START + 7;
    intake.report(&SenderReport { track: 0, ticks: 0, rate: 90_000, ntp: seconds << 32 }, at(50));
    let times = |intake: &mut Intake, now: i64| {
        let events = std::iter::from_fn(|| intake.next(at(now)));
        events
            .map(|event| match event {
                IntakeEvent::Unit(unit, ..) => (unit.time_ms - START_MS).to_string(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(times(&mut intake, 50), "7000 7040");
    let mut late = Intake::new(camera);
    late.connected(&[H264]);
    late.push(first, at(0));
    assert_eq!(late.next(at(3_999)), None);
    assert_eq!(times(&mut late, 4_000), "0");
    late.report(&SenderReport { track: 0, ticks: 0, rate: 90_000, ntp: (seconds + 600) << 32 }, at(4_001));
    assert_eq!(times(&mut late, 4_001), "CameraClockRefused(602999)");
}

#[test]
fn a_jump_of_the_media_clock_is_told() {
    let mut rig = Rig::new(SETTINGS, &[H264]);
    rig.first(0);
    rig.push(picture(900_000, Start), 40);
    assert_eq!(rig.given(), "K0 K40");
    assert_eq!(rig.others(), [IntakeEvent::ClockJumped]);
}

#[test]
fn what_is_dated_anew_goes_on_from_there() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    rig.first_sound(0, 0);
    rig.first(0);
    rig.push(sound(45), 45);
    rig.intake.retimed(-100_000);
    rig.picture(80, Start);
    rig.push(sound(90), 90);
    rig.picture(120, Continue);
    assert_eq!(rig.given(), "K0 S1 S-99955 K-99920 S-99910 P-99880");
}

#[test]
fn sound_without_a_picture_takes_bounded_memory() {
    let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
    for n in 0..10_000 {
        rig.push(sound(n * 20), n * 20);
    }
    assert_eq!(rig.others().len(), 8_000);
    rig.first(200_000);
    rig.take(200_600);
    assert!(rig.given().starts_with('K'));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// A camera: its group length, which part of the sound comes when, and what befalls its pictures.
    #[derive(Debug, Clone)]
    struct Camera {
        group: i64,
        sound_delay_ms: i64,
        silences: Vec<bool>,
        lost: Vec<u8>,
        reorders: bool,
    }

    fn camera() -> impl Strategy<Value = Camera> {
        let lists = (prop::collection::vec(any::<bool>(), 1..12), prop::collection::vec(0..40_u8, 1..50));
        (1..60_i64, 0..900_i64, lists, any::<bool>()).prop_map(
            |(group, sound_delay_ms, (silences, lost), reorders)| Camera {
                group,
                sound_delay_ms,
                silences,
                lost,
                reorders,
            },
        )
    }

    /// What comes when, in the order of coming.
    fn samples(camera: &Camera) -> Vec<(i64, Sample)> {
        let mut all = Vec::new();
        for n in 0..300_i64 {
            let place = n % camera.group;
            // P0 P2 B1 P4 B3: every other picture is shown before the one that came before it.
            let shift = match (camera.reorders && place > 0, place % 2) {
                (true, 1) if place + 1 < camera.group => 40,
                (true, 0) => -40,
                _ => 0,
            };
            let access = if place == 0 { Start } else { Continue };
            let parameters = (n == 0).then(|| video_parameters(b"avcC"));
            let lost = u32::from(camera.lost[n as usize % camera.lost.len()] == 1);
            all.push((n * 40, Sample { parameters, lost, ..picture(n * 40 + shift, access) }));
        }
        for n in 0..570_i64 {
            let ms = n * 21;
            if camera.silences[(ms / 1_500) as usize % camera.silences.len()] {
                continue;
            }
            let parameters = Some(sound_parameters(b"asc"));
            all.push((ms + camera.sound_delay_ms, Sample { parameters, ..sound(ms) }));
        }
        all.sort_by_key(|(when, _)| *when);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn no_block_is_as_late_as_the_key_frame_behind_it_and_nothing_vanishes(camera in camera()) {
            let mut rig = Rig::new(SETTINGS, &[H264, Aac]);
            let all = samples(&camera);
            let count = all.len();
            for (when, sample) in all {
                rig.push(sample, when);
                prop_assert!(rig.intake.wake_at().is_none_or(|wake| wake > at(when).mono), "it sleeps too late");
            }
            rig.intake.ended();
            rig.take(20_000);
            let (mut latest, mut key) = (i64::MIN, None);
            let mut tracks = [false; 2];
            for unit in &rig.units {
                if unit.key {
                    prop_assert!(unit.time_ms > latest);
                    key = Some(unit.time_ms);
                } else {
                    prop_assert!(key.is_some_and(|key| unit.time_ms > key));
                }
                latest = latest.max(unit.time_ms);
                tracks[usize::from(unit.track)] = true;
            }
            let dropped = rig.others.iter().filter(|event| matches!(event, IntakeEvent::Dropped(_))).count();
            prop_assert_eq!(rig.units.len() + dropped, count);
            let pictures = rig.units.iter().filter(|unit| unit.track == 0).count();
            prop_assert_eq!(pictures, 300, "whole pictures are kept, whatever was lost between");
        }

        #[test]
        fn no_picture_waits_longer_than_half_a_second(camera in camera()) {
            let mut intake = Intake::new(SETTINGS);
            intake.connected(&[H264, Aac]);
            let mut waiting = 0_i64;
            let mut all = samples(&camera).into_iter().peekable();
            for now in 0..13_000_i64 {
                while let Some((_, sample)) = all.next_if(|(when, _)| *when <= now) {
                    intake.push(sample, at(now));
                }
                while let Some(event) = intake.next(at(now)) {
                    if let IntakeEvent::Unit(unit, _, read_at) = event && unit.track == 0 {
                        waiting = waiting.max(at(now).mono.saturating_sub(read_at.mono).as_millis() as i64);
                    }
                }
            }
            prop_assert!(waiting <= 500, "a picture waited {waiting} ms");
        }
    }
}
