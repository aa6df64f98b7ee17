//! What is said of pictures that come of a group that was given up.

use streamfleet_media::ack::ErrorId;

use super::*;
use crate::session::SpoolRoom;

/// More than any fragment may have.
const TOO_LARGE: usize = 50 << 20;

impl Driver {
    /// A picture at so many milliseconds.
    fn take(&mut self, after_ms: i64, key: bool, bytes: usize) {
        let unit = AccessUnit { track: 0, time_ms: START_MS + after_ms, key, data: vec![0; bytes].into() };
        let now = self.ctx.clock.now();
        self.keep(unit, &codec(), now, now);
        self.pump();
    }

    /// Everything is given up for want of room.
    fn give_all_up(&mut self) {
        self.session.shed(u64::MAX, SpoolRoom::None);
        self.pump();
    }

    /// The service refuses the group that comes.
    fn is_refused(&mut self) {
        self.pump();
        let now = self.ctx.clock.now();
        let id = self.upload.as_ref().unwrap().id;
        self.on_upload(id, UploadEvent::Opened, now);
        self.pump();
        let ack = Ack::failure(ErrorId::InvalidMkvData, Some(at(0)), None);
        self.on_upload(id, UploadEvent::Ack(ack), now);
        self.pump();
    }

    fn source_says(&mut self, reason: SourceReason) {
        let state = SourceEvent::State(SourceState::Failed, reason, String::new());
        self.on_source(state, self.ctx.clock.now());
    }
}

#[tokio::test]
async fn the_rest_of_a_refused_group_is_missing_also_before_a_key_frame_that_is_too_large() {
    let world = World::new("refused-rest", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    driver.is_refused();
    assert_eq!(world.gaps(), [(GapReason::Refused, at(0), Some(at(1) - FRAME_MS))]);
    driver.take(1_000, false, 10);
    driver.take(4_000, false, 10);
    assert_eq!(world.gaps(), [(GapReason::Refused, at(0), None)]);
    driver.take(5_000, true, TOO_LARGE);
    driver.take(6_000, false, 10);
    driver.take(7_000, true, 10);
    assert_eq!(world.gaps(), [(GapReason::Refused, at(0), Some(at(7)))]);
}

#[tokio::test]
async fn the_rest_of_a_group_ends_where_a_file_that_is_played_once_ends() {
    for comes in [true, false] {
        let world = World::new("rest-of-file", 10 << 20);
        let mut driver = world.driver(|_| {}).await;
        driver.take_groups(0..1).await;
        driver.give_all_up();
        if comes {
            driver.take(1_000, false, 10);
            driver.take(1_500, false, 10);
            assert_eq!(world.gaps(), [(GapReason::BufferOverflow, at(0), None)]);
        }
        driver.source_says(SourceReason::Ended);
        let end_ms = if comes { at(0) + 1_500 } else { at(1) - FRAME_MS };
        assert_eq!(world.gaps(), [(GapReason::BufferOverflow, at(0), Some(end_ms))]);
    }
}

#[tokio::test]
async fn a_camera_that_is_away_after_the_rest_of_a_group_is_missing_since_its_last_picture() {
    let world = World::new("rest-away", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    driver.give_all_up();
    driver.take(1_000, false, 10);
    driver.take(1_500, false, 10);
    driver.source_says(SourceReason::Silent);
    driver.source_says(SourceReason::Disconnected);
    let last_ms = at(0) + 1_500;
    let rest = (GapReason::BufferOverflow, at(0), Some(last_ms));
    assert_eq!(world.gaps(), [rest, (GapReason::CameraLost, last_ms, None)]);
    driver.take_groups(5..6).await;
    assert_eq!(world.gaps(), [rest, (GapReason::CameraLost, last_ms, Some(at(5)))]);
}

#[tokio::test]
async fn a_camera_that_pauses_after_its_group_was_given_up_misses_nothing_more() {
    let world = World::new("rest-pauses", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..1).await;
    driver.give_all_up();
    driver.take_groups(20..21).await;
    assert_eq!(world.gaps(), [(GapReason::BufferOverflow, at(0), Some(at(1) - FRAME_MS))]);
}
