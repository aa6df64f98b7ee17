//! The session in single situations: one cause, one expectation.

mod errors;
mod overflow;
mod spooling;

use streamfleet_contract::{GapReason, StoredAt};
use streamfleet_media::ack::{Ack, AckKind, ErrorId};
use streamfleet_media::fragment::FragmentNumber;

use super::*;
use crate::buffer::CodecId;

const CODEC: CodecId = CodecId(1);

/// A session in virtual time, with what it has said so far.
struct Scene {
    session: Session,
    now: Now,
    outputs: Vec<Output>,
    next_gop: u64,
    time_ms: i64,
}

impl Scene {
    fn new() -> Self {
        Self::storing_at(StoredAt::Persisted)
    }

    fn storing_at(stored_at: StoredAt) -> Self {
        let settings = Settings { stored_at, ..Settings::new(2_000) };
        let now = Now { mono: Duration::from_hours(1), wall_ms: 0 };
        Self { session: Session::new(settings, 7), now, outputs: Vec::new(), next_gop: 1, time_ms: 100_000 }
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.output() {
            self.outputs.push(output);
        }
    }

    /// A group of a key frame and 9 further pictures over one second, complete when the next begins.
    fn gop(&mut self) -> GopId {
        self.gop_of(CODEC, 1_000)
    }

    fn gop_of(&mut self, codec: CodecId, length_ms: i64) -> GopId {
        let gop = GopId(self.next_gop);
        self.next_gop += 1;
        if gop.0 > 1 {
            self.handle(Input::Completed(GopId(gop.0 - 1)));
        }
        self.handle(Input::Began {
            gop,
            codec,
            tracks: TrackSet::only(0),
            track: 0,
            time_ms: self.time_ms,
            bytes: 1_000,
        });
        for n in 1..10 {
            let time_ms = self.time_ms + n * length_ms / 10;
            self.handle(Input::Extended { gop, track: 0, time_ms, bytes: 100 });
        }
        self.time_ms += length_ms;
        gop
    }

    /// Lets time pass, with all that falls due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.session.wake_at(self.now).filter(|&at| at <= end) {
            assert!(at > self.now.mono || self.now.mono == end, "the session does not get on at {at:?}");
            self.now.mono = at.max(self.now.mono + Duration::from_millis(1));
            self.session.wake(self.now);
            self.collect();
        }
        self.now.mono = end;
        self.session.wake(self.now);
        self.collect();
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// The session that was opened last; it must have been opened since the last look.
    fn opened(&mut self) -> SessionId {
        let ids: Vec<_> = self.take(|output| match output {
            Output::Open(id) => Some(*id),
            _ => None,
        });
        assert_eq!(ids.len(), 1, "one session is opened");
        ids[0]
    }

    fn accepted(&mut self) -> SessionId {
        let id = self.opened();
        self.handle(Input::Opened(id));
        id
    }

    fn take<T>(&mut self, pick: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        let found = self.outputs.iter().filter_map(&pick).collect();
        self.outputs.retain(|output| pick(output).is_none());
        found
    }

    fn freed(&mut self) -> Vec<u64> {
        self.take(|output| match output {
            Output::Free(gop) => Some(gop.0),
            _ => None,
        })
    }

    fn gaps(&mut self) -> Vec<(i64, i64, GapReason, String)> {
        self.take(|output| match output {
            Output::Report(Report::Gap { start_ms, end_ms, reason, detail }) => {
                Some((*start_ms, *end_ms, *reason, detail.clone()))
            }
            _ => None,
        })
    }

    fn begun_gaps(&mut self) -> Vec<(i64, GapReason)> {
        self.take(|output| match output {
            Output::Report(Report::GapBegan { start_ms, reason, .. }) => Some((*start_ms, *reason)),
            _ => None,
        })
    }

    fn troubles(&mut self) -> Vec<UploadReason> {
        self.take(|output| match output {
            Output::Report(Report::Trouble(reason, _)) => Some(*reason),
            _ => None,
        })
    }

    /// Pulls all that there is: clusters by time, units by group.
    fn pull(&mut self, id: SessionId) -> Vec<String> {
        let mut pulled: Vec<String> = Vec::new();
        while self.session.has_piece(id, self.now) {
            let text = match self.session.pull(id, self.now) {
                Some(Piece::Header(gop, _)) => format!("header {}", gop.0),
                Some(Piece::Cluster(time_ms)) => format!("cluster {time_ms}"),
                Some(Piece::Unit { gop, .. }) => format!("gop {}", gop.0),
                Some(Piece::Tags(tags)) => format!("{tags:?}"),
                None => continue,
            };
            if pulled.last() != Some(&text) {
                pulled.push(text);
            }
        }
        self.collect();
        pulled
    }

    fn ack(&mut self, id: SessionId, kind: AckKind, time_ms: i64) {
        self.handle(Input::Ack(id, Ack::of(kind, time_ms, number(time_ms))));
    }

    fn fail(&mut self, id: SessionId, code: u32, time_ms: Option<i64>) {
        self.handle(Input::Ack(id, Ack::failure(ErrorId::from_code(code), time_ms, None)));
    }
}

fn number(time_ms: i64) -> FragmentNumber {
    format!("9{time_ms:046}").parse().unwrap()
}

#[test]
fn fragments_end_at_the_first_key_frame_after_the_target() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.gop();
    }
    let id = scene.accepted();
    let pulled = scene.pull(id);
    assert_eq!(pulled, ["header 1", "cluster 100000", "gop 1", "gop 2", "cluster 102000", "gop 3", "gop 4"]);
}

#[test]
fn a_picture_is_sent_as_soon_as_it_comes() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    assert!(!scene.session.has_piece(id, scene.now));
    scene.handle(Input::Extended { gop, track: 0, time_ms: 100_950, bytes: 100 });
    assert_eq!(
        scene.session.pull(id, scene.now),
        Some(Piece::Unit { gop, index: 10, cluster_ms: 100_000, tracks: TrackSet::only(0) })
    );
}

#[test]
fn only_the_configured_acknowledgement_frees() {
    for (stored_at, freeing) in
        [(StoredAt::Persisted, AckKind::Persisted), (StoredAt::Received, AckKind::Received)]
    {
        let mut scene = Scene::storing_at(stored_at);
        for _ in 0..3 {
            scene.gop();
        }
        let id = scene.accepted();
        scene.pull(id);
        for kind in [AckKind::Buffering, AckKind::Received, AckKind::Idle, AckKind::Persisted] {
            let frees = kind == freeing;
            scene.ack(id, kind, 100_000);
            assert_eq!(scene.freed(), if frees { vec![1, 2] } else { vec![] }, "{stored_at:?}");
        }
    }
}

#[test]
fn a_fragment_whose_end_is_not_sent_is_not_freed_whatever_the_service_says() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.ack(id, AckKind::Persisted, 100_000);
    assert_eq!(scene.freed(), Vec::<u64>::new());
}

#[test]
fn after_a_break_the_next_session_begins_at_the_first_fragment_that_is_not_stored() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.gop();
    }
    let first = scene.accepted();
    scene.pull(first);
    scene.ack(first, AckKind::Persisted, 102_000);
    scene.handle(Input::Closed(first, Ending::Broken("reset".to_owned())));
    scene.pass(retry::SPACING_MIN);
    let second = scene.accepted();
    let pulled = scene.pull(second);
    assert_eq!(pulled, ["header 1", "cluster 100000", "gop 1", "gop 2", "cluster 104000", "gop 5"]);
    scene.ack(first, AckKind::Persisted, 100_000);
    assert_eq!(scene.freed(), [3, 4, 1, 2], "what a session says late of storage holds");
}

#[test]
fn other_parameters_end_the_session_and_the_next_begins_when_it_is_over() {
    let mut scene = Scene::new();
    scene.gop();
    scene.gop_of(CodecId(2), 1_000);
    let first = scene.accepted();
    assert_eq!(scene.pull(first), ["header 1", "cluster 100000", "gop 1"]);
    assert!(scene.outputs.contains(&Output::Finish(first)));
    scene.ack(first, AckKind::Persisted, 100_000);
    assert_eq!(scene.freed(), [1]);
    scene.handle(Input::Closed(first, Ending::Finished));
    scene.pass(retry::SPACING_MIN);
    let second = scene.accepted();
    assert_eq!(scene.pull(second), ["header 2", "cluster 101000", "gop 2"]);
}

#[test]
fn a_session_is_ended_at_a_cut_before_it_is_forty_minutes_old() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    let opened_at = scene.now.mono;
    loop {
        scene.pull(id);
        if scene.outputs.contains(&Output::Finish(id)) {
            break;
        }
        for fragment in
            scene.session.attempt.as_ref().unwrap().fragments.iter().map(|f| f.time_ms).collect::<Vec<_>>()
        {
            scene.ack(id, AckKind::Persisted, fragment);
        }
        scene.seconds(1);
        scene.gop();
    }
    let age = scene.now.mono.saturating_sub(opened_at);
    assert!(age < Duration::from_mins(40) && age > Duration::from_mins(37), "{age:?}");
}

#[test]
fn a_session_of_settings_that_hold_no_longer_ends_at_the_next_cut() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    scene.gop();
    assert_eq!(scene.pull(id), ["header 1", "cluster 100000", "gop 1", "gop 2"]);
    scene.session.renew();
    scene.gop();
    scene.pull(id);
    assert!(scene.outputs.contains(&Output::Finish(id)), "{:?}", scene.outputs);
    assert_eq!(scene.freed(), Vec::<u64>::new());
    scene.ack(id, AckKind::Persisted, 100_000);
    scene.handle(Input::Closed(id, Ending::Finished));
    scene.pass(retry::SPACING_MIN);
    let next = scene.accepted();
    assert_eq!(scene.pull(next), ["header 3", "cluster 102000", "gop 3"]);
}

#[test]
fn a_stream_held_by_another_is_said_only_after_forty_five_seconds() {
    let mut scene = Scene::new();
    scene.gop();
    let mut said = Vec::new();
    for _ in 0..12 {
        let id = loop {
            scene.pass(Duration::from_millis(500));
            if scene.outputs.iter().any(|output| matches!(output, Output::Open(_))) {
                break scene.opened();
            }
        };
        let refused = Ending::Refused(Refusal::ConnectionLimit, "held".to_owned());
        scene.handle(Input::Closed(id, refused));
        let tells = |output: &Output| match output {
            Output::Report(Report::Trouble(_, message)) => message.contains("another connection holds"),
            _ => false,
        };
        assert!(scene.outputs.iter().any(tells), "the message says so from the first");
        said.push((scene.now.mono, scene.troubles()[0]));
    }
    let first = said[0].0;
    assert!(said.len() == 12 && said[11].0 > first + Duration::from_secs(45));
    for (at, reason) in said {
        let held = at >= first + Duration::from_secs(45);
        let expected = if held { UploadReason::StreamHeldElsewhere } else { UploadReason::Opening };
        assert_eq!(reason, expected, "at {at:?}");
    }
}

#[test]
fn a_session_that_takes_nothing_is_dropped_after_ten_seconds() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    scene.pass(Duration::from_millis(9_900));
    assert!(!scene.outputs.contains(&Output::Abort(id)));
    scene.pass(Duration::from_millis(200));
    assert!(scene.outputs.contains(&Output::Abort(id)));
    assert_eq!(scene.troubles(), [UploadReason::EndpointUnreachable]);
}

#[test]
fn a_session_that_nobody_answers_is_dropped_after_a_minute() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.opened();
    scene.seconds(59);
    assert!(!scene.outputs.contains(&Output::Abort(id)));
    scene.seconds(1);
    assert!(scene.outputs.contains(&Output::Abort(id)));
    assert_eq!(scene.troubles(), [UploadReason::EndpointUnreachable]);
}

#[test]
fn a_slow_camera_is_not_taken_for_a_stalled_upload() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.ack(id, AckKind::Buffering, 100_000);
    scene.seconds(14);
    scene.handle(Input::Extended { gop, track: 0, time_ms: 115_000, bytes: 10 });
    assert!(scene.session.has_piece(id, scene.now));
    assert!(!scene.outputs.contains(&Output::Abort(id)));
}

#[test]
fn a_fragment_that_nobody_acknowledges_ends_the_session_after_ten_seconds() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.seconds(10);
    assert!(scene.outputs.contains(&Output::Abort(id)));
    assert_eq!(scene.troubles(), [UploadReason::NoPersistedAcks]);
}

#[test]
fn a_fragment_on_a_slow_way_waits_behind_those_before_it() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    for _ in 0..4 {
        scene.pull(id);
        scene.seconds(1);
        scene.gop();
    }
    assert_eq!(scene.pull(id)[0], "cluster 104000");
    for (seconds, time_ms) in [(4, 100_000), (3, 102_000)] {
        scene.seconds(seconds);
        scene.ack(id, AckKind::Buffering, time_ms);
    }
    scene.pass(Duration::from_millis(9_900));
    assert!(!scene.outputs.contains(&Output::Abort(id)), "the third was begun seventeen seconds ago");
    scene.pass(Duration::from_millis(100));
    assert!(scene.outputs.contains(&Output::Abort(id)), "nothing was heard for ten seconds");
}

#[test]
fn storage_that_is_not_acknowledged_is_awaited_thirty_seconds_then_sixty() {
    let mut scene = Scene::new();
    scene.gop();
    for patience in [30, 60, 120] {
        scene.seconds(3);
        let id = scene.accepted();
        let mut whole_at = None;
        while !scene.outputs.contains(&Output::Abort(id)) {
            for piece in scene.pull(id) {
                if let Some(time_ms) = piece.strip_prefix("cluster ").map(|time| time.parse().unwrap()) {
                    if time_ms > 100_000 {
                        whole_at.get_or_insert(scene.now.mono);
                    }
                    scene.ack(id, AckKind::Buffering, time_ms);
                }
            }
            scene.gop();
            scene.seconds(1);
        }
        let waited = scene.now.mono.saturating_sub(whole_at.unwrap()).as_secs();
        assert!((patience..=patience + 1).contains(&waited), "{waited} instead of {patience}");
    }
    assert_eq!(scene.freed(), Vec::<u64>::new());
}

#[test]
fn a_camera_that_is_away_has_its_last_fragment_stored_at_once_and_finds_its_session_when_it_is_soon_back() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.ack(id, AckKind::Buffering, 100_000);
    scene.handle(Input::Completed(gop));
    scene.handle(Input::SourceEnded);
    scene.pass(Duration::from_millis(1_900));
    assert_eq!(scene.pull(id), Vec::<String>::new(), "a short interruption costs no fragment");
    scene.pass(Duration::from_millis(200));
    assert_eq!(scene.pull(id), ["EndOfFragment"]);
    scene.ack(id, AckKind::Persisted, 100_000);
    assert_eq!(scene.freed(), [1]);
    scene.seconds(5);
    scene.time_ms += 8_000;
    scene.gop();
    assert_eq!(scene.pull(id), ["cluster 109000", "gop 2"]);
}

#[test]
fn a_camera_that_stays_away_has_its_session_ended_before_the_service_does_it() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.handle(Input::Completed(gop));
    scene.handle(Input::SourceEnded);
    scene.seconds(3);
    scene.pull(id);
    scene.ack(id, AckKind::Persisted, 100_000);
    scene.seconds(11);
    assert!(!scene.outputs.contains(&Output::Finish(id)));
    scene.handle(Input::Ack(id, Ack::idle()));
    scene.seconds(5);
    assert!(scene.outputs.contains(&Output::Finish(id)));
    scene.handle(Input::Closed(id, Ending::Finished));
    scene.seconds(600);
    assert!(
        !scene.outputs.iter().any(|output| matches!(output, Output::Open(_))),
        "there is nothing to send"
    );
}

#[test]
fn a_group_that_grows_after_it_was_stored_is_sent_again_whole() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let first = scene.accepted();
    scene.pull(first);
    scene.ack(first, AckKind::Buffering, 100_000);
    scene.seconds(16);
    assert!(scene.outputs.contains(&Output::Finish(first)), "nothing came for fifteen seconds");
    scene.ack(first, AckKind::Persisted, 100_000);
    assert_eq!((scene.freed(), scene.session.backlog()), (vec![], (0, 0)), "more of it may come");
    scene.handle(Input::Closed(first, Ending::Finished));
    scene.handle(Input::Extended { gop, track: 0, time_ms: 116_500, bytes: 10 });
    scene.seconds(1);
    let second = scene.accepted();
    assert_eq!(scene.pull(second), ["header 1", "cluster 100000", "gop 1"]);
    scene.handle(Input::Completed(gop));
    scene.handle(Input::Drain);
    scene.ack(second, AckKind::Persisted, 100_000);
    assert_eq!(scene.freed(), [1]);
}

#[test]
fn draining_ends_the_open_fragment_and_is_over_when_it_is_stored() {
    let mut scene = Scene::new();
    let gop = scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.handle(Input::Completed(gop));
    scene.handle(Input::Drain);
    assert!(scene.outputs.contains(&Output::Finish(id)));
    assert!(!scene.session.is_drained());
    scene.ack(id, AckKind::Persisted, 100_000);
    assert!(scene.session.is_drained());
}

#[test]
fn a_finished_session_that_does_not_end_is_dropped_a_second_after_all_of_it_is_stored_or_after_five() {
    for stored in [true, false] {
        let mut scene = Scene::new();
        let gop = scene.gop();
        let id = scene.accepted();
        scene.pull(id);
        scene.handle(Input::Completed(gop));
        scene.handle(Input::Drain);
        if stored {
            scene.ack(id, AckKind::Persisted, 100_000);
        }
        scene.pass(Duration::from_millis(if stored { 900 } else { 4_900 }));
        assert!(!scene.outputs.contains(&Output::Abort(id)));
        scene.pass(Duration::from_millis(200));
        assert!(scene.outputs.contains(&Output::Abort(id)));
        assert_eq!(scene.troubles().is_empty(), stored);
    }
}

#[test]
fn overflow_gives_up_the_oldest_and_what_comes_in_last_of_all() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.gop();
    }
    scene.session.shed(1, SpoolRoom::None);
    scene.collect();
    assert_eq!(scene.freed(), [1]);
    assert_eq!(scene.gaps(), [(100_000, 101_000, GapReason::BufferOverflow, String::new())]);
    scene.session.shed(u64::MAX, SpoolRoom::None);
    scene.collect();
    assert_eq!(scene.freed(), [2, 3]);
    let gap = |start_ms, end_ms| (start_ms, end_ms, GapReason::BufferOverflow, String::new());
    assert_eq!(scene.gaps(), [gap(101_000, 102_000), gap(102_000, 102_900)]);
    assert_eq!(scene.begun_gaps(), []);
    scene.handle(Input::Unplaced);
    scene.handle(Input::Unplaced);
    assert_eq!(scene.begun_gaps(), [(102_900, GapReason::BufferOverflow)]);
}

#[test]
fn overflow_spares_the_group_that_is_being_sent() {
    let mut scene = Scene::new();
    scene.gop();
    let id = scene.accepted();
    scene.pull(id);
    scene.session.shed(u64::MAX, SpoolRoom::None);
    scene.collect();
    assert_eq!(scene.freed(), Vec::<u64>::new());
}

#[test]
fn what_overflow_took_on_its_way_is_a_gap_only_if_it_is_not_stored_after_all() {
    for stored in [true, false] {
        let mut scene = Scene::new();
        for _ in 0..3 {
            scene.gop();
        }
        let id = scene.accepted();
        scene.pull(id);
        scene.session.shed(1, SpoolRoom::None);
        scene.collect();
        assert_eq!((scene.freed(), scene.gaps().len()), (vec![1], 0));
        if stored {
            scene.ack(id, AckKind::Persisted, 100_000);
        }
        scene.handle(Input::Closed(id, Ending::Broken(String::new())));
        assert_eq!(scene.gaps().len(), usize::from(!stored), "stored: {stored}");
    }
}

#[test]
fn no_more_than_five_fragments_a_second_are_begun() {
    let mut scene = Scene::new();
    scene.session.set_settings(Settings::new(1_000));
    for _ in 0..12 {
        scene.gop();
    }
    let id = scene.accepted();
    let begun =
        |scene: &mut Scene| scene.pull(id).iter().filter(|piece| piece.starts_with("cluster")).count();
    assert_eq!(begun(&mut scene), 5);
    scene.pass(Duration::from_millis(999));
    assert_eq!(begun(&mut scene), 0);
    scene.pass(Duration::from_millis(1));
    assert_eq!(begun(&mut scene), 5);
}

#[test]
fn what_is_late_is_cut_anew_into_fragments_of_up_to_ten_seconds() {
    let mut scene = Scene::new();
    for _ in 0..60 {
        scene.gop();
    }
    let id = scene.accepted();
    assert_eq!(scene.session.state(), State::CatchingUp);
    let pulled = scene.pull(id);
    let clusters: Vec<_> = pulled.iter().filter(|piece| piece.starts_with("cluster")).collect();
    assert_eq!(
        clusters,
        ["cluster 100000", "cluster 110000", "cluster 120000", "cluster 130000", "cluster 140000"]
    );
}

#[test]
fn ten_minutes_at_four_megabits_are_caught_up_twenty_times_as_fast_as_they_were_filmed() {
    let mut scene = Scene::new();
    let mut next = 0;
    let mut film = |scene: &mut Scene, seconds: u64| {
        for _ in 0..seconds {
            let gop = scene.gop();
            scene.handle(Input::Extended { gop, track: 0, time_ms: scene.time_ms - 10, bytes: 498_100 });
            next += 1;
        }
    };
    film(&mut scene, 600);
    let id = scene.accepted();
    let begun = scene.now.mono;
    let mut clusters = Vec::new();
    let mut live_at = begun;
    while scene.session.state() != State::Streaming {
        for piece in scene.pull(id) {
            clusters.extend(piece.strip_prefix("cluster ").map(|time| time.parse::<i64>().unwrap()));
        }
        // Everything is stored a second after it went.
        for time_ms in clusters.drain(..clusters.len().saturating_sub(1)) {
            scene.ack(id, AckKind::Persisted, time_ms);
        }
        scene.pass(Duration::from_millis(10));
        if scene.now.mono >= live_at + Duration::from_secs(1) {
            live_at += Duration::from_secs(1);
            film(&mut scene, 1);
        }
    }
    let took = scene.now.mono.saturating_sub(begun).as_secs_f64();
    assert!(600.0 / took >= 20.0, "caught up in {took} s, {} times real time", 600.0 / took);
}

#[test]
fn long_groups_are_not_put_together_beyond_twenty_seconds() {
    let mut scene = Scene::new();
    scene.session.set_settings(Settings { stored_at: StoredAt::Persisted, ..Settings::new(18_000) });
    for _ in 0..4 {
        scene.gop_of(CODEC, 12_000);
    }
    let id = scene.accepted();
    let pulled = scene.pull(id);
    let clusters = pulled.iter().filter(|piece| piece.starts_with("cluster")).count();
    assert_eq!(clusters, 4, "{pulled:?}");
}

#[test]
fn a_group_that_grows_beyond_the_open_fragment_begins_one_in_another_session() {
    let mut scene = Scene::new();
    scene.session.set_settings(Settings { stored_at: StoredAt::Persisted, ..Settings::new(18_000) });
    scene.gop_of(CODEC, 10_000);
    let long = scene.gop_of(CODEC, 5_000);
    let first = scene.accepted();
    assert_eq!(scene.pull(first), ["header 1", "cluster 100000", "gop 1", "gop 2"]);
    scene.handle(Input::Extended { gop: long, track: 0, time_ms: 120_500, bytes: 10 });
    assert_eq!(scene.pull(first), Vec::<String>::new());
    assert!(scene.outputs.contains(&Output::Abort(first)));
    scene.seconds(1);
    let second = scene.accepted();
    assert_eq!(scene.pull(second), ["header 1", "cluster 100000", "gop 1", "cluster 110000", "gop 2"]);
}
