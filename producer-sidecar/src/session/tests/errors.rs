//! What becomes of fragments that the service refuses.

use super::*;

#[test]
fn a_poisoned_fragment_is_skipped_named_and_the_others_are_kept() {
    let mut scene = Scene::new();
    for _ in 0..6 {
        scene.gop();
    }
    let first = scene.accepted();
    scene.pull(first);
    scene.fail(first, 4006, Some(102_000));
    assert_eq!(scene.freed(), [3, 4]);
    let gap = (102_000, 104_000, GapReason::Refused, "4006 INVALID_MKV_DATA".to_owned());
    assert_eq!(scene.gaps(), [gap]);
    assert_eq!(scene.troubles(), [UploadReason::FragmentRefused]);
    assert!(scene.outputs.contains(&Output::Abort(first)));
    scene.seconds(2);
    let second = scene.accepted();
    assert_eq!(
        scene.pull(second),
        ["header 1", "cluster 100000", "gop 1", "gop 2", "cluster 104000", "gop 5", "gop 6"]
    );
}

#[test]
fn the_gap_of_a_group_that_is_refused_while_it_comes_reaches_to_the_next_group() {
    let mut scene = Scene::new();
    scene.gop();
    let first = scene.accepted();
    scene.pull(first);
    scene.fail(first, 4006, Some(100_000));
    let gap = |start_ms, end_ms| (start_ms, end_ms, GapReason::Refused, "4006 INVALID_MKV_DATA".to_owned());
    assert_eq!(scene.gaps(), [gap(100_000, 100_900)]);
    scene.gop();
    assert_eq!(scene.gaps(), [gap(100_900, 101_000)]);
}

#[test]
fn what_still_comes_of_a_group_that_is_refused_is_a_gap_and_what_does_not_come_is_none() {
    for comes in [true, false] {
        let mut scene = Scene::new();
        scene.gop();
        let first = scene.accepted();
        scene.pull(first);
        scene.fail(first, 4006, Some(100_000));
        assert_eq!(scene.gaps().len(), 1);
        if comes {
            scene.handle(Input::Unplaced);
            scene.handle(Input::Unplaced);
            assert_eq!(scene.begun_gaps(), [(100_900, GapReason::Refused)]);
        }
        scene.seconds(12);
        scene.time_ms += 12_000;
        scene.gop();
        assert_eq!((scene.gaps(), scene.begun_gaps()), (vec![], vec![]), "comes: {comes}");
    }
}

#[test]
fn what_is_missing_since_the_camera_is_away_is_not_the_rest_of_a_group() {
    let mut scene = Scene::new();
    scene.gop();
    let first = scene.accepted();
    scene.pull(first);
    scene.fail(first, 4006, Some(100_000));
    scene.handle(Input::SourceEnded);
    assert_eq!(scene.gaps().len(), 1);
    scene.handle(Input::Unplaced);
    scene.gop();
    assert_eq!((scene.gaps(), scene.begun_gaps()), (vec![], vec![]));
}

#[test]
fn what_another_session_has_stored_of_a_fragment_that_is_refused_is_in_no_gap() {
    let mut scene = Scene::new();
    for n in 1..=4 {
        let gop = scene.gop_of(CODEC, 1_000);
        scene.handle(Input::Extended { gop, track: 0, time_ms: 100_000 + n * 1_000 - 50, bytes: 10 });
    }
    scene.session.set_settings(Settings::new(1_000));
    let first = scene.accepted();
    scene.pull(first);
    scene.handle(Input::Closed(first, Ending::Broken(String::new())));
    scene.session.set_settings(Settings::new(3_000));
    scene.seconds(5);
    let second = scene.accepted();
    assert_eq!(scene.pull(second)[1..5], ["cluster 100000", "gop 1", "gop 2", "gop 3"]);
    scene.ack(first, AckKind::Persisted, 101_000);
    scene.fail(second, 4006, Some(100_000));
    let gap = |start_ms, end_ms| (start_ms, end_ms, GapReason::Refused, "4006 INVALID_MKV_DATA".to_owned());
    assert_eq!(scene.gaps(), [gap(100_000, 101_000), gap(102_000, 103_000)]);
}

#[test]
fn a_fragment_that_is_too_long_is_sent_group_by_group_before_it_is_given_up() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.gop();
    }
    let first = scene.accepted();
    scene.pull(first);
    scene.fail(first, 4002, Some(100_000));
    assert_eq!((scene.freed(), scene.gaps().len()), (vec![], 0));
    scene.seconds(2);
    let second = scene.accepted();
    let pulled = scene.pull(second);
    let expected = ["cluster 100000", "gop 1", "cluster 101000", "gop 2", "cluster 102000", "gop 3"];
    assert_eq!(pulled[1..], expected);
}

#[test]
fn an_error_that_names_no_fragment_leads_to_the_one_that_fails_alone_twice() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.gop();
    }
    let mut id = scene.accepted();
    scene.pull(id);
    scene.fail(id, 4006, Some(0));
    // One for each session now: the first is stored, the second fails alone, twice.
    scene.seconds(2);
    id = scene.accepted();
    assert_eq!(scene.pull(id), ["header 1", "cluster 100000", "gop 1", "gop 2"]);
    scene.ack(id, AckKind::Persisted, 100_000);
    scene.handle(Input::Closed(id, Ending::Finished));
    assert_eq!(scene.freed(), [1, 2]);
    for _ in 0..2 {
        assert_eq!(scene.gaps(), []);
        scene.seconds(5);
        id = scene.accepted();
        assert_eq!(scene.pull(id), ["header 3", "cluster 102000", "gop 3", "gop 4"]);
        scene.fail(id, 4006, Some(0));
    }
    assert_eq!(scene.gaps().len(), 1);
    assert_eq!(scene.freed(), [3, 4]);
}

#[test]
fn three_poisoned_fragments_in_a_row_are_no_longer_the_fragments_fault() {
    let mut scene = Scene::new();
    for _ in 0..12 {
        scene.gop();
    }
    for n in 0..3 {
        let id = scene.accepted();
        scene.pull(id);
        scene.troubles();
        scene.fail(id, 4006, Some(100_000 + n * 2_000));
        if n < 2 {
            assert_eq!((scene.gaps().len(), scene.freed().len()), (1, 2));
            scene.seconds(10);
        }
    }
    assert_eq!(scene.troubles(), [UploadReason::OnHold]);
    scene.seconds(29);
    assert!(!scene.outputs.iter().any(|output| matches!(output, Output::Open(_))));
    scene.seconds(5);
    let id = scene.accepted();
    assert_eq!(scene.pull(id)[1], "cluster 104000", "the third is kept");
    scene.fail(id, 4006, Some(104_000));
    assert_eq!(scene.troubles(), [UploadReason::OnHold], "as long as nothing is stored");
    scene.seconds(70);
    let id = scene.accepted();
    scene.pull(id);
    assert_eq!((scene.gaps().len(), scene.freed().len()), (0, 0));
    scene.ack(id, AckKind::Persisted, 104_000);
    scene.fail(id, 4006, Some(106_000));
    assert_eq!((scene.gaps().len(), scene.freed()), (1, vec![5, 6, 7, 8]));
}

#[test]
fn an_error_of_the_key_keeps_everything_and_is_tried_again_after_thirty_seconds() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.gop();
    }
    let id = scene.accepted();
    scene.pull(id);
    scene.fail(id, 4501, None);
    assert_eq!(scene.troubles(), [UploadReason::KmsKeyUnusable]);
    scene.seconds(29);
    assert_eq!((scene.freed(), scene.gaps().len()), (vec![], 0));
    assert!(!scene.outputs.iter().any(|output| matches!(output, Output::Open(_))));
    scene.seconds(5);
    let id = scene.accepted();
    assert_eq!(scene.pull(id)[1], "cluster 100000");
}

#[test]
fn tags_end_each_fragment_and_are_left_out_where_the_service_refuses_them() {
    let mut scene = Scene::new();
    scene.session.set_settings(Settings { tags: 2, ..Settings::new(2_000) });
    for _ in 0..3 {
        scene.gop();
    }
    let first = scene.accepted();
    let pulled = scene.pull(first);
    assert_eq!(pulled[1..], ["cluster 100000", "gop 1", "gop 2", "Configured", "cluster 102000", "gop 3"]);
    scene.fail(first, 4009, Some(100_000));
    assert_eq!((scene.gaps().len(), scene.freed()), (0, vec![]));
    scene.seconds(2);
    let second = scene.accepted();
    assert_eq!(scene.pull(second)[1..], ["cluster 100000", "gop 1", "gop 2", "cluster 102000", "gop 3"]);
    scene.fail(second, 4009, Some(100_000));
    assert_eq!(scene.gaps().len(), 1, "there is nothing left to mend");
}

#[test]
fn a_track_that_is_silent_is_left_out_of_the_header_and_nothing_else_is() {
    let mut scene = Scene::new();
    let tracks = TrackSet::first(2);
    for n in 0..3_u64 {
        let (gop, time_ms) = (GopId(n + 1), 100_000 + n as i64 * 2_000);
        scene.handle(Input::Began { gop, codec: CODEC, tracks, track: 0, time_ms, bytes: 10 });
        // The one in the middle has no sound.
        if n != 1 {
            scene.handle(Input::Extended { gop, track: 1, time_ms: time_ms + 5, bytes: 1 });
        }
        scene.handle(Input::Completed(gop));
    }
    let mut headers = Vec::new();
    for expected in [100_000, 102_000, 104_000] {
        let id = scene.accepted();
        while scene.session.has_piece(id, scene.now) {
            if let Some(Piece::Header(_, tracks)) = scene.session.pull(id, scene.now) {
                headers.push(tracks);
            }
        }
        scene.collect();
        scene.ack(id, AckKind::Persisted, expected);
        scene.handle(Input::Closed(id, Ending::Finished));
        scene.seconds(20);
    }
    assert_eq!(headers[..2], [tracks, TrackSet::only(0)]);
    assert!(scene.gaps().is_empty());
}

#[test]
fn fragments_that_are_received_and_not_stored_for_a_minute_twice_are_a_hold() {
    let mut scene = Scene::new();
    scene.gop();
    for times in 1..=2 {
        let id = loop {
            scene.seconds(1);
            if scene.outputs.iter().any(|output| matches!(output, Output::Open(_))) {
                break scene.accepted();
            }
        };
        let begun = scene.now.mono;
        while !scene.outputs.contains(&Output::Abort(id)) {
            for piece in scene.pull(id) {
                if let Some(time_ms) = piece.strip_prefix("cluster ").map(|time| time.parse().unwrap()) {
                    scene.ack(id, AckKind::Buffering, time_ms);
                    scene.ack(id, AckKind::Received, time_ms - 2_000);
                    scene.ack(id, AckKind::Received, time_ms - 10_000);
                }
            }
            scene.gop();
            scene.seconds(1);
        }
        assert!(scene.now.mono >= begun + Duration::from_mins(1), "the {times}. time");
        assert!(scene.troubles().contains(&UploadReason::NoPersistedAcks));
    }
    assert_eq!(scene.session.state(), State::OnHold);
}
