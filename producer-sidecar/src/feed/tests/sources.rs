//! What becomes of a feed when its source pauses, fails by a defect, or sends groups that no fragment can hold.

use streamfleet_contract::{Source, TestPattern};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use super::lines::{lines_with, logged};
use super::*;
use crate::source::input::{live, tests as input};
use crate::source::outlet::Outlet;

/// How long the pipe's writer may be silent here.
const SILENCE: Duration = Duration::from_millis(200);

/// How long anything may take that is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

type Gap = (GapReason, i64, Option<i64>);

impl World {
    /// Hands a feed what its source says until its gaps are as wanted.
    async fn hear(&self, driver: &mut Driver, wanted: impl Fn(&[Gap]) -> bool) -> Vec<Gap> {
        loop {
            let gaps = self.gaps();
            if wanted(&gaps) {
                return gaps;
            }
            let events = &mut driver.source.as_mut().expect("there is a source").events;
            let event = timeout(PATIENCE, events.recv()).await.unwrap_or_else(|_| panic!("{gaps:?}"));
            driver.on_source(event.expect("the source runs"), driver.ctx.clock.now());
        }
    }
}

/// The other end of the pipe that a feed reads.
fn piped(clock: Clock) -> (pipe::Sender, RunningSource) {
    let (writer, mut reader) = pipe::pipe().unwrap();
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    drop(tokio::spawn(async move {
        let mut outlet = Outlet::new(clock, sender);
        let settings = input::pipe("/pipe".to_owned());
        live::read(&mut reader, &settings, SILENCE, &mut outlet, &stopped).await
    }));
    (writer, RunningSource { events, stop })
}

#[tokio::test]
async fn a_writer_that_pauses_and_goes_on_is_stored_again_from_its_next_key_frame() {
    let world = World::new("pauses", 10 << 20);
    let mut driver = world.new_driver(|_| {});
    let (mut writer, source) = piped(driver.ctx.clock);
    driver.source = Some(source);
    // Ten pictures in a group: it pauses in the middle of the second one.
    let (all, before) = (input::document(30), input::document(15).len());
    writer.write_all(&all[..before]).await.unwrap();
    let paused = world.hear(&mut driver, |gaps| !gaps.is_empty()).await;
    let last_ms = driver.buffer.iter().last().unwrap().last_ms();
    assert_eq!(paused, [(GapReason::CameraLost, last_ms, None)]);
    writer.write_all(&all[before..]).await.unwrap();
    let ended = world.hear(&mut driver, |gaps| gaps[0].2.is_some()).await;
    let groups: Vec<_> = driver.buffer.iter().map(|gop| (gop.start_ms(), gop.len())).collect();
    assert_eq!(groups.iter().map(|(_, pictures)| *pictures).collect::<Vec<_>>(), [10, 5, 1]);
    assert_eq!(ended, [(GapReason::CameraLost, last_ms, Some(groups[2].0))]);
}

#[tokio::test]
async fn a_source_that_panics_is_started_again_and_what_is_missed_is_a_gap() {
    let (written, _guard) = logged();
    let world = World::new("panics", 10 << 20);
    let pattern = TestPattern { width: 160, height: 96, frame_rate: 10 };
    let mut driver = world.new_driver(|feed| feed.source = Source::TestPattern(pattern));
    let (sender, source) = sending(11);
    driver.source = Some(source);
    drop(tokio::spawn(async move {
        let _sender = sender;
        panic!("a defect, as wanted");
    }));
    let (_configured, configured) = watch::channel(driver.feed.clone());
    let stop = CancellationToken::new();
    let last = driver.ctx.clock.now().wall_ms + 10 * FRAME_MS;
    let running = tokio::spawn(drive(driver, configured, stop.clone()));
    let ended = async {
        while world.gaps().first().is_none_or(|gap| gap.2.is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{:?}", world.gaps()));
    let (gaps, source) = (world.gaps(), world.board.status().feeds.remove(0).source);
    assert_eq!((gaps.len(), gaps[0].0), (1, GapReason::InternalError), "{gaps:?}");
    assert!((gaps[0].1 - last).abs() < 500, "from the last picture on: {gaps:?} {last}");
    assert_eq!(source.state, SourceState::Streaming);
    assert_eq!(lines_with(&written, "The source failed by a defect").len(), 1, "{}", written.text());
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gap_that_lasts_when_a_source_panics_keeps_its_cause() {
    let world = World::new("panics-away", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..2).await;
    let failed = || SourceEvent::State(SourceState::Failed, SourceReason::Disconnected, String::new());
    driver.on_source(failed(), driver.ctx.clock.now());
    driver.source = Some(sending(0).1);
    driver.on_source_gone(driver.ctx.clock.now());
    driver.on_source(failed(), driver.ctx.clock.now());
    assert_eq!(world.gaps(), [(GapReason::CameraLost, at(2) - FRAME_MS, None)]);
    driver.take_groups(5..6).await;
    driver.source = Some(sending(0).1);
    driver.on_source_gone(driver.ctx.clock.now());
    driver.on_source(failed(), driver.ctx.clock.now());
    let away = (GapReason::CameraLost, at(2) - FRAME_MS, Some(at(5)));
    assert_eq!(world.gaps(), [away, (GapReason::InternalError, at(6) - FRAME_MS, None)]);
}

#[tokio::test]
async fn a_feed_that_is_stopped_without_a_source_ends_its_open_group() {
    let world = World::new("no-source", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    driver.source_again_at = Some(Duration::ZERO);
    driver.stop_source().await;
    assert_eq!(driver.buffer.complete(), None, "it is complete");
    driver.on_time(driver.ctx.clock.now());
    assert!(driver.source.is_none(), "what is stopped is not started again");
}

#[tokio::test]
async fn a_source_that_has_ended_because_it_was_told_to_is_no_defect() {
    let (written, _guard) = logged();
    let world = World::new("told", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    let source = sending(0).1;
    source.stop.cancel();
    driver.source = Some(source);
    driver.on_source_gone(driver.ctx.clock.now());
    assert_eq!((world.gaps(), driver.source_again_at), (vec![], None));
    assert_eq!(lines_with(&written, "defect"), [] as [&str; 0]);
}

#[tokio::test]
async fn a_group_that_is_too_long_is_a_gap_that_says_how_long_it_was() {
    let (written, _guard) = logged();
    let world = World::new("too-long", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    let detail = || world.board.status().feeds[0].gaps[0].detail.clone();
    for second in 0..=30 {
        let data = Bytes::from_static(&[0; 100]);
        let unit = AccessUnit { track: 0, time_ms: START_MS + second * 1_000, key: second % 30 == 0, data };
        let now = driver.ctx.clock.now();
        driver.keep(unit, &codec(), now, now);
        if second == 29 {
            assert_eq!(detail(), "error 4002: key frames are more than 20 s apart: 20.0 s so far");
        }
    }
    assert_eq!(world.gaps(), [(GapReason::Refused, START_MS + 20_000, Some(START_MS + 30_000))]);
    assert_eq!(detail(), "error 4002: key frames are more than 20 s apart: 30.0 s");
    let lines = lines_with(&written, "Video is given up");
    assert!(lines.len() == 1 && lines[0].contains("length_ms=20000"), "{lines:?}");
    let lines = lines_with(&written, "A gap");
    assert!(lines.len() == 1 && lines[0].contains("30.0 s"), "{lines:?}");
}

#[tokio::test]
async fn a_camera_that_is_away_within_a_group_that_is_too_long_does_not_make_it_longer() {
    let world = World::new("too-long-away", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    let unit =
        |ms: i64, key| AccessUnit { track: 0, time_ms: at(0) + ms, key, data: Bytes::from_static(b"x") };
    let now = driver.ctx.clock.now();
    driver.keep(unit(20_000, false), &codec(), now, now);
    driver.on_source(SourceEvent::State(SourceState::Failed, SourceReason::Silent, String::new()), now);
    driver.keep(unit(90_000, true), &codec(), now, now);
    let gaps = world.board.status().feeds.remove(0).gaps;
    assert!(gaps[0].detail.ends_with("20.0 s so far"), "{gaps:?}");
}

#[tokio::test]
async fn lost_packets_of_the_sound_beside_pictures_are_counted_and_are_no_gap() {
    let world = World::new("lost-sound", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    let (_sender, mut source) = sending(2);
    // It has announced a video alone.
    source.events.try_recv().unwrap();
    let mut picture = || source.events.try_recv().unwrap();
    let now = driver.ctx.clock.now();
    driver.on_source(SourceEvent::Connected(vec![Codec::H264, Codec::Aac]), now);
    driver.on_source(picture(), now);
    let sound = Sample {
        track: 1,
        ticks: 480,
        rate: 48_000,
        access: Access::Continue,
        lost: 3,
        data: Bytes::from_static(b"sound"),
        parameters: Some(TrackParameters::audio(Codec::Aac, Bytes::from_static(b"asc"), 48_000, 1)),
    };
    driver.on_source(SourceEvent::Sample(sound, now), now);
    driver.on_source(picture(), now);
    assert_eq!(driver.buffer.iter().map(crate::buffer::Gop::len).collect::<Vec<_>>(), [3]);
    assert!((world.metric("lost_packets_total") - 3.0).abs() < 0.001);
    assert_eq!(world.gaps(), []);
}
