//! The order of work, in virtual time.

use super::*;

const LIMITS: Limits = Limits { total: 3, sweep: 2 };

fn open() -> (Queue<&'static str>, Instant) {
    let mut queue = Queue::new(LIMITS);
    queue.open();
    (queue, Instant::now())
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Takes and ends everything that can be taken now, one after the other; the names in their order.
fn drain(queue: &mut Queue<&'static str>, now: Instant) -> Vec<&'static str> {
    let mut order = Vec::new();
    while let Some((key, _)) = queue.pop(now) {
        queue.done(&key, Outcome::Gone, now);
        order.push(key);
    }
    order
}

#[test]
fn what_is_new_goes_ahead_of_a_sweep_that_is_under_way() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Sweep);
    queue.push("b", Lane::Sweep);
    queue.push("new", Lane::Fresh);
    assert_eq!((queue.depth(Lane::Fresh), queue.depth(Lane::Sweep)), (1, 2));
    assert_eq!(drain(&mut queue, now), ["new", "a", "b"]);
    assert!(queue.entries.is_empty());
}

#[test]
fn a_sweep_leaves_room_for_what_is_new() {
    let (mut queue, now) = open();
    for key in ["a", "b", "c"] {
        queue.push(key, Lane::Sweep);
    }
    assert_eq!(
        [queue.pop(now).is_some(), queue.pop(now).is_some(), queue.pop(now).is_some()],
        [true, true, false]
    );
    queue.push("new", Lane::Fresh);
    assert_eq!(queue.pop(now), Some(("new", Lane::Fresh)));
    queue.push("another", Lane::Fresh);
    assert_eq!(queue.pop(now), None, "all places are taken");
    queue.done(&"a", Outcome::Gone, now);
    assert_eq!(queue.pop(now), Some(("another", Lane::Fresh)));
}

#[test]
fn looks_that_were_asked_for_go_ahead_of_a_sweep_and_leave_room_for_what_is_new() {
    let (mut queue, now) = open();
    queue.push("swept", Lane::Sweep);
    for key in ["a", "b", "c"] {
        queue.push(key, Lane::Asked);
    }
    assert_eq!(queue.pop(now), Some(("a", Lane::Asked)));
    assert_eq!(queue.pop(now), Some(("b", Lane::Asked)));
    assert_eq!(queue.pop(now), None, "the third place is kept free");
    queue.push("c", Lane::Fresh);
    assert_eq!(queue.pop(now), Some(("c", Lane::Fresh)), "it has changed as well");
    queue.done(&"a", Outcome::Gone, now);
    assert_eq!(queue.pop(now), Some(("swept", Lane::Sweep)));
}

#[test]
fn an_object_waits_once_and_in_the_lane_that_goes_first() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Sweep);
    queue.push("b", Lane::Fresh);
    queue.push("a", Lane::Fresh);
    queue.push("b", Lane::Sweep);
    queue.push("a", Lane::Fresh);
    assert_eq!((queue.depth(Lane::Fresh), queue.depth(Lane::Sweep)), (2, 0));
    assert_eq!(drain(&mut queue, now), ["b", "a"]);
}

#[test]
fn an_object_is_not_worked_on_twice_at_a_time_and_comes_back_when_it_changed_meanwhile() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Sweep);
    assert_eq!(queue.pop(now), Some(("a", Lane::Sweep)));
    queue.push("a", Lane::Fresh);
    assert_eq!(queue.pop(now), None);
    queue.done(&"a", Outcome::Done(Action::requeue(seconds(3600))), now);
    assert_eq!(queue.next_due(), Some(now + SETTLE), "the caches are to show what the pass wrote");
    assert_eq!(queue.pop(now + SETTLE), Some(("a", Lane::Fresh)));
    queue.done(&"a", Outcome::Done(Action::requeue(seconds(3600))), now);
    assert_eq!(queue.next_due(), Some(now + seconds(3600)));
}

#[test]
fn what_is_under_way_goes_ahead_of_what_has_not_been_begun() {
    let (mut queue, now) = open();
    queue.push("begun", Lane::Sweep);
    assert_eq!(queue.pop(now), Some(("begun", Lane::Sweep)));
    queue.push("waiting", Lane::Sweep);
    queue.done(&"begun", Outcome::Done(Action::requeue(seconds(1))), now);
    assert_eq!(queue.pop(now + seconds(1)), Some(("begun", Lane::Fresh)));
    queue.done(&"begun", Outcome::Failed, now);
    assert_eq!(queue.pop(now + seconds(10)), Some(("waiting", Lane::Sweep)), "failures have no such right");
}

#[test]
fn a_sweep_that_names_what_is_under_way_does_not_put_it_behind_what_has_not_been_begun() {
    let (mut queue, now) = open();
    for key in ["waits", "runs", "later"] {
        queue.push(key, Lane::Fresh);
        assert_eq!(queue.pop(now), Some((key, Lane::Fresh)));
    }
    queue.done(&"waits", Outcome::Done(Action::requeue(seconds(1))), now);
    queue.push("waits", Lane::Sweep);
    queue.push("runs", Lane::Sweep);
    queue.done(&"runs", Outcome::Done(Action::requeue(seconds(1))), now);
    // In its lane, but no longer under way.
    queue.done(&"later", Outcome::Done(Action::requeue(seconds(30))), now);
    queue.push("later", Lane::Sweep);
    queue.push("not begun", Lane::Sweep);
    assert_eq!((queue.depth(Lane::Fresh), queue.depth(Lane::Sweep)), (2, 1));
    for key in ["waits", "later", "runs"] {
        assert_eq!(queue.pop(now + SETTLE), Some((key, Lane::Fresh)), "at once, or when it has settled");
    }
    assert_eq!(queue.pop(now + SETTLE), None, "all places are taken");
    queue.done(&"runs", Outcome::Gone, now);
    assert_eq!(queue.pop(now + SETTLE), Some(("not begun", Lane::Sweep)));
}

#[test]
fn a_sweep_gives_what_is_steady_or_has_failed_no_right_to_go_first() {
    let (mut queue, now) = open();
    for outcome in [Outcome::Done(Action::requeue(seconds(3600))), Outcome::Failed] {
        // Named while it waits, and while it runs.
        for is_running in [false, true] {
            queue.push("a", Lane::Fresh);
            queue.pop(now + seconds(1)).unwrap();
            if is_running {
                queue.push("a", Lane::Sweep);
            }
            queue.done(&"a", outcome, now + seconds(1));
            queue.push("a", Lane::Sweep);
            assert_eq!((queue.depth(Lane::Fresh), queue.depth(Lane::Sweep)), (0, 1), "{outcome:?}");
        }
    }
    // Its failures are counted nevertheless.
    queue.pop(now + seconds(1)).unwrap();
    let wait = queue.done(&"a", Outcome::Failed, now + seconds(1)).unwrap();
    assert!(wait >= seconds(2), "{wait:?}, its third");
}

#[test]
fn what_is_unfinished_keeps_its_lane_and_what_is_steady_goes_behind() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Fresh);
    for (after, lane) in [(1, Lane::Fresh), (59, Lane::Fresh), (900, Lane::Sweep)] {
        let (key, _) = queue.pop(now + seconds(60)).unwrap();
        queue.done(&key, Outcome::Done(Action::requeue(seconds(after))), now);
        assert_eq!(queue.pop(now + seconds(after - 1)), None);
        let popped = queue.pop(now + seconds(after));
        assert_eq!(popped, Some(("a", lane)));
        queue.done(&"a", Outcome::Done(Action::requeue(Duration::ZERO)), now);
        queue.push("a", Lane::Fresh);
    }
}

#[test]
fn a_change_does_not_wait_for_a_later_look() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Fresh);
    queue.pop(now);
    queue.done(&"a", Outcome::Done(Action::requeue(seconds(3600))), now);
    queue.push("a", Lane::Fresh);
    assert_eq!(queue.next_due(), None);
    assert_eq!(drain(&mut queue, now), ["a"]);
    assert_eq!(drain(&mut queue, now + seconds(4000)), Vec::<&str>::new());
}

#[test]
fn each_object_waits_by_its_own_failures_and_success_clears_them() {
    let (mut queue, mut now) = open();
    let mut waits = Vec::new();
    for outcome in
        [Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Done(Action::requeue(seconds(0)))]
    {
        queue.push("a", Lane::Fresh);
        now += seconds(1000);
        queue.pop(now).unwrap();
        waits.push(queue.done(&"a", outcome, now));
    }
    for (wait, full) in waits[..3].iter().zip([1, 2, 4]) {
        let wait = wait.unwrap();
        assert!(wait <= seconds(full) && wait >= seconds(full) / 2, "{wait:?}");
    }
    assert_eq!(waits[3], None);
    queue.push("b", Lane::Fresh);
    while let Some((key, _)) = queue.pop(now) {
        let wait = queue.done(&key, Outcome::Failed, now);
        assert!(wait.unwrap() <= seconds(1), "{key} {wait:?}");
    }
}

#[test]
fn a_failed_object_is_tried_again_behind_what_is_new() {
    let (mut queue, now) = open();
    queue.push("broken", Lane::Fresh);
    queue.pop(now);
    queue.done(&"broken", Outcome::Failed, now);
    queue.push("new", Lane::Fresh);
    assert_eq!(drain(&mut queue, now + seconds(2)), ["new", "broken"]);
}

#[test]
fn ten_thousand_that_fail_together_do_not_come_back_together() {
    let mut queue = Queue::new(Limits { total: 10_000, sweep: 10_000 });
    queue.open();
    let now = Instant::now();
    for key in 0..10_000 {
        queue.push(key, Lane::Sweep);
    }
    while let Some((key, _)) = queue.pop(now) {
        queue.done(&key, Outcome::Failed, now);
    }
    let mut most = 0;
    for step in 50..=100 {
        let mut count = 0;
        while let Some((key, _)) = queue.pop(now + Duration::from_millis(step * 10)) {
            queue.done(&key, Outcome::Gone, now);
            count += 1;
        }
        most = most.max(count);
    }
    assert!(most < 400 && queue.entries.is_empty(), "{most} of them in the same hundredth of a second");
}

#[test]
fn who_does_not_lead_hears_nothing_and_forgets_everything() {
    let mut queue = Queue::new(LIMITS);
    queue.push("a", Lane::Fresh);
    let now = Instant::now();
    assert_eq!(queue.pop(now), None);
    queue.open();
    queue.push("a", Lane::Fresh);
    queue.push("b", Lane::Fresh);
    queue.pop(now);
    queue.close();
    assert!(queue.entries.is_empty() && queue.next_due().is_none() && queue.oldest_pass().is_none());
    assert_eq!(queue.done(&"a", Outcome::Failed, now), None, "a pass of an earlier term");
    queue.open();
    assert_eq!(queue.pop(now), None);
}

#[test]
fn the_pass_that_runs_longest_is_known() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Fresh);
    queue.push("b", Lane::Fresh);
    queue.pop(now);
    queue.pop(now + seconds(5));
    assert_eq!(queue.oldest_pass(), Some(now));
    queue.done(&"a", Outcome::Gone, now);
    assert_eq!(queue.oldest_pass(), Some(now + seconds(5)));
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let (mut queue, now) = open();
    queue.push("a", Lane::Fresh);
    assert_eq!(drain(&mut queue, now), ["a"]);
    assert!(queue.entries.is_empty() && queue.later.is_empty());
}

#[test]
fn it_is_known_when_all_that_was_there_has_had_a_pass_though_some_are_not_finished() {
    let (mut queue, now) = open();
    for key in ["a", "b"] {
        queue.push_unseen(key, Lane::Sweep);
    }
    queue.push_unseen("a", Lane::Fresh);
    queue.push("new", Lane::Fresh);
    for (key, is_all_seen) in [("a", false), ("new", false), ("b", true)] {
        assert!(!queue.is_all_seen());
        assert_eq!(queue.pop(now).unwrap().0, key);
        queue.done(&key, Outcome::Done(Action::requeue(seconds(1))), now);
        assert_eq!(queue.is_all_seen(), is_all_seen, "{key}");
    }
    assert!(queue.pop(now + seconds(1)).is_some(), "there is more to do");
}
