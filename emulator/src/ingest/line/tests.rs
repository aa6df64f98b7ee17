use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use streamfleet_media::ack::{AckKind, ErrorId};

use super::*;
use crate::ingest::tests::{cluster, head};

/// A line in virtual time that stores what it is told to at once, and what came of it in words.
struct Rig {
    line: Line,
    faults: Arc<FaultBook>,
    now: Now,
    said: Vec<String>,
}

fn settings() -> LineSettings {
    LineSettings { persist_delay: Duration::ZERO..=Duration::ZERO, ..LineSettings::new("cam") }
}

impl Rig {
    fn new(settings: LineSettings) -> Self {
        let faults = Arc::new(FaultBook::default());
        let line = Line::new(settings, faults.clone());
        let now = Now { mono: Duration::from_secs(100), wall_ms: 1_800_000_000_000 };
        Self { line, faults, now, said: Vec::new() }
    }

    fn open(&mut self) -> ConnectionId {
        self.line.open(Origin::Absolute, self.now).unwrap()
    }

    fn push(&mut self, id: ConnectionId, parts: &[Vec<u8>]) -> Vec<String> {
        self.line.push(id, Bytes::from(parts.concat()), self.now);
        self.words()
    }

    fn finish(&mut self, id: ConnectionId) -> Vec<String> {
        self.line.finish(id, self.now);
        self.words()
    }

    /// Lets time pass as a driver does: from one wake-up to the next.
    fn pass(&mut self, by: Duration) -> Vec<String> {
        let end = self.now.mono + by;
        while let Some(at) = self.line.wake_at(self.now).filter(|at| *at <= end) {
            assert!(at > self.now.mono, "woken for nothing at {at:?}");
            self.go_to(at);
            let words = self.words();
            self.said.extend(words);
        }
        self.go_to(end);
        let words = self.words();
        self.said.extend(words);
        std::mem::take(&mut self.said)
    }

    fn go_to(&mut self, mono: Duration) {
        self.now.wall_ms += mono.saturating_sub(self.now.mono).as_millis() as u64;
        self.now.mono = mono;
        self.line.tick(self.now);
    }

    /// Everything that the line wants done, in words: `b`, `r`, `p` with a time, `e` with an id and the time of the
    /// fragment named, `idle`, `end`, `cut`, `forget`.
    fn words(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(event) = self.line.next() {
            match event {
                LineEvent::Ack { ack, .. } => words.push(word(&ack)),
                LineEvent::Close { ending: Ending::Clean, .. } => words.push("end".into()),
                LineEvent::Close { ending: Ending::Cut, .. } => words.push("cut".into()),
                LineEvent::Received(_) | LineEvent::Frame(_) => {}
                LineEvent::Store(number) => self.line.stored(number, true, self.now),
                LineEvent::Forget(_) => words.push("forget".into()),
            }
        }
        words
    }
}

fn word(ack: &Ack) -> String {
    let time = ack.timecode.map(|time| time.to_string()).unwrap_or_default();
    match ack.kind {
        AckKind::Buffering => format!("b{time}"),
        AckKind::Received => format!("r{time}"),
        AckKind::Persisted => format!("p{time}"),
        AckKind::Error => format!("e{}@{time}", ack.error.unwrap().code()),
        AckKind::Idle => "idle".into(),
        AckKind::Unknown(_) => "?".into(),
    }
}

#[test]
fn acknowledgements_come_in_the_services_order() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    assert_eq!(rig.push(id, &[head(&[1]), cluster(0, &[0, 40])]), ["b0"]);
    assert_eq!(rig.push(id, &[cluster(2000, &[0])]), ["r0", "b2000", "p0"]);
    assert_eq!(rig.finish(id), ["r2000", "p2000", "end"]);
    assert_eq!(rig.line.connected(), None);
}

#[test]
fn storing_is_late_and_the_answer_waits_for_it() {
    let delay = Duration::from_millis(700);
    let mut rig = Rig::new(LineSettings { persist_delay: delay..=delay, ..settings() });
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0])]);
    assert_eq!(rig.finish(id), ["r0"]);
    assert_eq!(rig.line.wake_at(rig.now), Some(rig.now.mono + delay));
    assert_eq!(rig.pass(Duration::from_secs(1)), ["p0", "end"]);
}

#[test]
fn without_retention_nothing_is_persisted() {
    let mut rig = Rig::new(settings());
    rig.line.set_retained(false);
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0])]);
    assert_eq!(rig.finish(id), ["r0", "end"]);
}

#[test]
fn one_session_at_a_time_and_five_calls_a_second() {
    let mut rig = Rig::new(settings());
    let first = rig.open();
    for _ in 0..4 {
        assert_eq!(rig.line.open(Origin::Absolute, rig.now), Err(Refusal::ConnectionLimit));
    }
    rig.line.broken(first);
    assert_eq!(rig.line.open(Origin::Absolute, rig.now), Err(Refusal::ClientLimit));
    rig.pass(Duration::from_millis(1001));
    rig.open();
    let mut deleted = Rig::new(settings());
    deleted.line.set_active(false, deleted.now);
    assert_eq!(deleted.line.open(Origin::Absolute, deleted.now), Err(Refusal::NotActive));
}

#[test]
fn silence_is_remarked_on_every_five_seconds_and_ended_after_thirty() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0])]);
    assert_eq!(rig.pass(Duration::from_secs(12)), ["idle", "idle"]);
    rig.push(id, &[crate::ingest::tests::block(1, 40, b"x")]);
    assert_eq!(rig.pass(Duration::from_secs(29)), ["idle"; 5]);
    assert_eq!(rig.pass(Duration::from_secs(1)), ["end"]);
    assert_eq!(rig.line.unstored(), 0, "the half fragment was never received");
}

#[test]
fn a_session_ends_at_its_age_and_names_the_open_fragment() {
    let mut rig = Rig::new(LineSettings { session_limit: Duration::from_secs(3), ..settings() });
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(1000, &[0])]);
    assert_eq!(rig.pass(Duration::from_secs(3)), ["e4003@1000"]);
    assert_eq!(rig.finish(id), ["end"]);
}

#[test]
fn an_error_ends_the_session_though_the_client_does_not() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    let said = rig.push(id, &[head(&[1]), cluster(5000, &[0]), cluster(4000, &[0])]);
    assert_eq!(said, ["b5000", "r5000", "e4004@4000"], "and nothing after it, not even PERSISTED");
    assert!(rig.push(id, &[cluster(9000, &[0])]).is_empty());
    assert_eq!(rig.line.open(Origin::Absolute, rig.now), Err(Refusal::ConnectionLimit));
    assert_eq!(rig.pass(Duration::from_secs(2)), ["end"]);
    rig.open();
}

#[test]
fn fragments_shorter_than_a_second_are_refused_except_the_last() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    let said = rig.push(id, &[head(&[1]), cluster(0, &[0, 40]), cluster(80, &[0, 40])]);
    assert_eq!(said, ["b0", "e4013@0"]);
    let mut rig = Rig::new(settings());
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(1000, &[0])]);
    assert_eq!(rig.finish(id), ["r1000", "p1000", "end"]);
}

#[test]
fn a_fragment_from_the_future_is_refused_and_one_from_long_ago_is_not() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    let soon = rig.now.wall_ms + 299_000;
    let said = rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(soon, &[0]), cluster(soon + 2000, &[0])]);
    assert_eq!(
        said[1..],
        ["r0", &format!("b{soon}"), &format!("r{soon}"), &format!("e4007@{}", soon + 2000)]
    );
}

#[test]
fn what_is_received_is_stored_when_its_session_is_gone() {
    let delay = Duration::from_secs(1);
    let mut rig = Rig::new(LineSettings { persist_delay: delay..=delay, ..settings() });
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(1000, &[0])]);
    rig.line.broken(id);
    assert_eq!(rig.line.unstored(), 1);
    rig.open();
    assert!(rig.pass(Duration::from_secs(1)).is_empty(), "the newcomer hears nothing of it");
    assert_eq!(rig.line.unstored(), 0);
}

#[test]
fn a_fragment_that_cannot_be_stored_is_an_error_and_is_forgotten() {
    let mut rig = Rig::new(settings());
    let id = rig.open();
    rig.line.push(id, [head(&[1]), cluster(0, &[0]), cluster(1000, &[0])].concat().into(), rig.now);
    let mut said = Vec::new();
    while let Some(event) = rig.line.next() {
        match event {
            LineEvent::Store(number) => rig.line.stored(number, false, rig.now),
            LineEvent::Ack { ack, .. } => said.push(word(&ack)),
            LineEvent::Forget(_) => said.push("forget".into()),
            LineEvent::Close { .. } | LineEvent::Received(_) | LineEvent::Frame(_) => {}
        }
    }
    assert_eq!(said, ["b0", "r0", "b1000", "forget", "e5001@0"]);
}

fn with(fault: Fault) -> Rig {
    let rig = Rig::new(settings());
    rig.faults.add(1, FaultOrder::of(fault).times(1));
    rig
}

#[test]
fn errors_on_order_come_at_their_moment_named_or_not() {
    let table = [
        (Moment::Begun, true, vec!["b0", "e4001@0"]),
        (Moment::Begun, false, vec!["b0", "e4001@"]),
        (Moment::Received, true, vec!["b0", "e4001@0"]),
        (Moment::Persisted, true, vec!["b0", "r0", "b1000", "forget", "e4001@0"]),
        (Moment::Persisted, false, vec!["b0", "r0", "b1000", "forget", "e4001@"]),
    ];
    for (at, named, expected) in table {
        let mut rig = with(Fault::Fail { error: ErrorId::MaxFragmentSizeReached, named, at });
        let id = rig.open();
        let said = rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(1000, &[0])]);
        assert_eq!(said, expected, "{at:?} {named}");
        assert!(rig.faults.list(rig.now.mono).is_empty(), "it strikes once");
    }
}

#[test]
fn a_fault_passes_over_as_many_as_ordered() {
    let mut rig = Rig::new(settings());
    let fault = Fault::Fail { error: ErrorId::InternalError, named: true, at: Moment::Begun };
    rig.faults.add(1, FaultOrder { skip: 1, ..FaultOrder::of(fault) });
    let id = rig.open();
    let said = rig.push(id, &[head(&[1]), cluster(0, &[0]), cluster(1000, &[0])]);
    assert_eq!(said, ["b0", "r0", "b1000", "e5000@1000"]);
}

#[test]
fn acknowledgements_are_withheld_and_late_by_kind() {
    let mut rig = Rig::new(settings());
    rig.faults.add(1, FaultOrder::of(Fault::Withhold(Kinds::of(&[AckKind::Persisted]))));
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0])]);
    assert_eq!(rig.finish(id), ["r0", "end"]);
    let mut rig = Rig::new(settings());
    let (kinds, by) = (Kinds::of(&[AckKind::Received]), Duration::from_secs(3));
    rig.faults.add(1, FaultOrder::of(Fault::Delay { kinds, by }));
    let id = rig.open();
    assert_eq!(rig.push(id, &[head(&[1]), cluster(0, &[0])]), ["b0"]);
    assert!(rig.finish(id).is_empty());
    assert_eq!(rig.pass(Duration::from_secs(3)), ["r0", "p0", "end"], "in order all the same");
}

#[test]
fn all_withheld_means_no_end_either_until_it_is_over() {
    let mut rig = Rig::new(settings());
    let ends = Some(rig.now.mono + Duration::from_mins(1));
    rig.faults.add(1, FaultOrder { ends, ..FaultOrder::of(Fault::Withhold(Kinds::ALL)) });
    let id = rig.open();
    rig.push(id, &[head(&[1]), cluster(0, &[0])]);
    assert!(rig.finish(id).is_empty());
    assert!(rig.pass(Duration::from_secs(59)).is_empty());
    assert_eq!(rig.pass(Duration::from_secs(1)), ["end"]);
}

#[test]
fn a_body_that_is_not_read_is_not_silent() {
    for fault in [Fault::Stall, Fault::Freeze] {
        let mut rig = Rig::new(settings());
        let id = rig.open();
        rig.push(id, &[head(&[1]), cluster(0, &[0])]);
        let ends = Some(rig.now.mono + Duration::from_secs(75));
        rig.faults.add(1, FaultOrder { ends, ..FaultOrder::of(fault) });
        rig.line.tick(rig.now);
        assert_eq!(rig.line.reading(id, rig.now), Reading::Shut);
        assert!(rig.pass(Duration::from_secs(75)).is_empty(), "{fault:?}");
        assert_eq!(rig.line.reading(id, rig.now), Reading::Open);
        assert_eq!(rig.pass(Duration::from_secs(5)), ["idle"]);
    }
}

#[test]
fn rates_hold_the_reading_back() {
    let mut rig = Rig::new(LineSettings { bytes_per_second: Some(1000), ..settings() });
    let id = rig.open();
    rig.push(id, &[head(&[1])]);
    assert_eq!(rig.line.reading(id, rig.now), Reading::Open, "a second's worth comes at once");
    rig.push(id, &[cluster(0, &[]), crate::ingest::tests::block(1, 0, &[0; 3000])]);
    let Reading::From(at) = rig.line.reading(id, rig.now) else { panic!("not held back") };
    let wait = at.saturating_sub(rig.now.mono);
    assert!((2.0..2.3).contains(&wait.as_secs_f64()), "{wait:?}");
    let mut rig = Rig::new(settings());
    let id = rig.open();
    let clusters: Vec<_> = (0..7).map(|n| cluster(n * 1000, &[0])).collect();
    rig.push(id, &[head(&[1]), clusters.concat()]);
    assert_eq!(rig.line.reading(id, rig.now), Reading::From(rig.now.mono + Duration::from_millis(400)));
}

#[test]
fn sessions_are_cut_at_a_byte_or_a_fragment() {
    let length = head(&[1]).len() as u64;
    let mut rig = with(Fault::CutAtByte(length + 20));
    let id = rig.open();
    assert!(rig.push(id, &[head(&[1])]).is_empty());
    assert_eq!(rig.push(id, &[cluster(0, &[0]), cluster(1000, &[0])]), ["b0", "cut"]);
    let mut rig = with(Fault::CutAtFragment(2));
    let id = rig.open();
    assert_eq!(rig.push(id, &[head(&[1]), cluster(0, &[0])]), ["b0"]);
    let said = rig.push(id, &[cluster(1000, &[0]), cluster(2000, &[0])]);
    assert_eq!(said, ["r0", "b1000", "cut"]);
    assert_eq!(rig.line.connected(), None);
}
