//! What waits on the spool while memory is full of what the spool does not take.

use streamfleet_contract::Overflow;

use super::*;

const ROOM: SpoolRoom = SpoolRoom::Bytes(u64::MAX);

impl Scene {
    /// Groups 1 to 8 wait on the spool; 9 to 14 are in memory, where the disk has no room for those that are whole.
    fn with_a_full_disk() -> Self {
        let mut scene = Self::new();
        for id in 1..=8 {
            scene.handle(Input::Recovered(RecoveredGop {
                gop: GopId(id),
                codec: CODEC,
                tracks: TrackSet::only(0),
                present: TrackSet::only(0),
                start_ms: scene.time_ms,
                last_ms: scene.time_ms + 900,
                units: 10,
                bytes: 1_900,
            }));
            scene.time_ms += 1_000;
        }
        scene.next_gop = 9;
        for _ in 9..=14 {
            scene.gop();
        }
        scene.session.shed(5 * 1_900, ROOM);
        scene.collect();
        let stored = scene.stores();
        assert_eq!(stored.len(), 5, "all that are whole are to be written");
        for id in stored {
            scene.handle(Input::StoreFailed(id));
        }
        scene.freed();
        scene
    }

    fn stores(&mut self) -> Vec<GopId> {
        self.take(|output| match output {
            Output::Store(gop) => Some(*gop),
            _ => None,
        })
    }

    fn loads(&mut self) -> Vec<GopId> {
        self.take(|output| match output {
            Output::Load(gop) => Some(*gop),
            _ => None,
        })
    }

    /// What the driver does when memory is over by so much: the spool has what is put back there already.
    fn squeeze(&mut self, bytes: u64) {
        self.session.shed(bytes, ROOM);
        self.collect();
        for id in self.stores() {
            self.handle(Input::Stored(id));
        }
    }
}

#[test]
fn what_is_fetched_from_the_spool_is_not_given_up_for_want_of_memory() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let mut scene = Scene::with_a_full_disk();
        scene.session.set_settings(Settings { overflow, ..Settings::new(2_000) });
        let id = scene.accepted();
        assert_eq!(scene.loads(), [1, 2, 3, 4].map(GopId));
        for gop in 1..=4 {
            scene.handle(Input::Loaded(GopId(gop)));
        }
        scene.squeeze(4 * 1_900);
        let given_up = if overflow == Overflow::DropOldest { 9 } else { 14 };
        assert_eq!(scene.freed(), [given_up], "2 to 4 went back to the spool, and 1 has a place in memory");
        assert_eq!(scene.pull(id)[1..], ["cluster 100000", "gop 1"], "the next is fetched only now");
    }
}

#[test]
fn what_has_no_place_in_memory_does_not_come_and_go() {
    let mut scene = Scene::with_a_full_disk();
    let id = scene.accepted();
    for gop in scene.loads() {
        scene.handle(Input::Loaded(gop));
    }
    scene.squeeze(4 * 1_900);
    for _ in 0..10 {
        scene.pass(Duration::from_millis(100));
        assert_eq!(scene.loads(), []);
    }
    // One after the other goes out by the one place that there is.
    for next in 2..=8 {
        scene.pull(id);
        assert_eq!(scene.loads(), [GopId(next)]);
        scene.handle(Input::Loaded(GopId(next)));
        for gop in scene.stores() {
            scene.handle(Input::Stored(gop));
        }
    }
    assert_eq!(scene.freed(), [9]);
}

#[test]
fn a_session_that_may_be_refused_fetches_one_group() {
    let mut scene = Scene::with_a_full_disk();
    let id = scene.opened();
    assert_eq!(scene.loads(), [GopId(1)]);
    scene.handle(Input::Opened(id));
    assert_eq!(scene.loads(), [2, 3, 4].map(GopId));
}
