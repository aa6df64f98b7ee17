//! What is said of what overflow takes.

use super::*;

#[test]
fn what_still_comes_of_a_group_that_overflow_takes_on_its_way_or_stored_is_a_gap_if_anything_does() {
    for (stored, comes) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut scene = Scene::new();
        scene.gop();
        let id = scene.accepted();
        scene.pull(id);
        scene.ack(id, AckKind::Buffering, 100_000);
        // The camera pauses, and its fragment is ended.
        scene.seconds(16);
        if stored {
            scene.ack(id, AckKind::Persisted, 100_000);
        }
        scene.session.shed(u64::MAX, SpoolRoom::None);
        scene.collect();
        assert_eq!(scene.freed(), [1]);
        assert_eq!(scene.begun_gaps(), [], "nothing more has come of it");
        if comes {
            scene.handle(Input::Unplaced);
            assert_eq!(scene.begun_gaps(), [(100_900, GapReason::BufferOverflow)]);
        }
        scene.ack(id, AckKind::Persisted, 100_000);
        scene.gop();
        assert_eq!((scene.gaps(), scene.session.backlog().0), (vec![], 1), "stored: {stored}");
        scene.handle(Input::Unplaced);
        assert_eq!(scene.begun_gaps(), [], "of another group");
    }
}

#[test]
fn the_gap_of_a_group_does_not_reach_over_those_after_it_that_are_stored() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.gop();
    }
    let id = scene.accepted();
    scene.pull(id);
    scene.handle(Input::Completed(GopId(4)));
    scene.handle(Input::SourceEnded);
    scene.seconds(3);
    scene.pull(id);
    scene.ack(id, AckKind::Persisted, 102_000);
    assert_eq!(scene.freed(), [3, 4]);
    scene.gop();
    scene.session.shed(u64::MAX, SpoolRoom::None);
    scene.collect();
    scene.handle(Input::Closed(id, Ending::Broken(String::new())));
    let gap = |start_ms, end_ms| (start_ms, end_ms, GapReason::BufferOverflow, String::new());
    assert_eq!(scene.gaps(), [gap(104_000, 104_900), gap(100_000, 101_000), gap(101_000, 102_000)]);
}
