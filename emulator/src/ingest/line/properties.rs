//! What holds of a line whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use streamfleet_media::ack::{Ack, AckKind, ErrorId};

use super::*;
use crate::ingest::tests::{block, cluster, head};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Head,
    /// A cluster this long after the last, with frames at these times after its own.
    Cluster(u64, Vec<i16>),
    /// A frame of the open cluster, of this track.
    Frame(i16, u8),
    Garbage(Vec<u8>),
    Finish,
    Broken,
    Cut,
    Pass(Duration),
    Stored(bool),
    Impose(Fault, u32),
    Heal,
    Retain(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (prop_oneof![Just(4000u32), Just(4006), Just(5001)], any::<bool>(), 0..3u8).prop_map(
            |(id, named, at)| {
                let at = [Moment::Begun, Moment::Received, Moment::Persisted][usize::from(at)];
                Fault::Fail { error: ErrorId::from_code(id), named, at }
            }
        ),
        Just(Fault::Withhold(Kinds::of(&[AckKind::Persisted]))),
        Just(Fault::Withhold(Kinds::ALL)),
        (0..4000u64).prop_map(|ms| Fault::Delay { kinds: Kinds::ALL, by: Duration::from_millis(ms) }),
        Just(Fault::Stall),
        Just(Fault::Freeze),
        (1..100_000u64).prop_map(|bytes_per_second| Fault::Slow { bytes_per_second }),
        (0..2000u64).prop_map(Fault::CutAtByte),
        (0..5u32).prop_map(Fault::CutAtFragment),
    ];
    prop_oneof![
        3 => Just(Step::Open),
        3 => Just(Step::Head),
        12 => (900..3000u64, prop::collection::vec(0..900i16, 0..4)).prop_map(|(by, at)| Step::Cluster(by, at)),
        4 => (0..1000i16, 1..3u8).prop_map(|(at, track)| Step::Frame(at, track)),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Step::Garbage),
        2 => Just(Step::Finish),
        1 => Just(Step::Broken),
        1 => Just(Step::Cut),
        8 => (0..3000u64).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        1 => Just(Step::Pass(Duration::from_secs(40))),
        10 => prop::bool::weighted(0.9).prop_map(Step::Stored),
        2 => (fault, 1..3u32).prop_map(|(fault, count)| Step::Impose(fault, count)),
        2 => Just(Step::Heal),
        1 => any::<bool>().prop_map(Step::Retain),
    ]
}

/// What has been said of a fragment, and what became of it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Told {
    buffering: bool,
    received_event: bool,
    received: bool,
    store: bool,
    stored: bool,
    persisted: bool,
    forgotten: bool,
}

/// A line, and what it must keep to.
struct Watch {
    line: Line,
    faults: Arc<FaultBook>,
    now: Now,
    time: u64,
    open: Option<ConnectionId>,
    /// Sessions that have ended with an error or at all: nothing more is said to them.
    silent: BTreeSet<ConnectionId>,
    told: BTreeMap<String, Told>,
    to_store: Vec<FragmentNumber>,
    last_number: Option<FragmentNumber>,
    next_fault: u64,
}

impl Watch {
    fn new() -> Self {
        let faults = Arc::new(FaultBook::default());
        let settings = LineSettings {
            calls_per_second: None,
            session_limit: Duration::from_secs(50),
            ..LineSettings::new("cam")
        };
        Self {
            line: Line::new(settings, faults.clone()),
            faults,
            now: Now { mono: Duration::from_secs(10), wall_ms: 1_800_000_000_000 },
            time: 0,
            open: None,
            silent: BTreeSet::new(),
            told: BTreeMap::new(),
            to_store: Vec::new(),
            last_number: None,
            next_fault: 0,
        }
    }

    fn take(&mut self, step: Step) {
        let id = self.open;
        match (step, id) {
            (Step::Open, _) => match self.line.open(Origin::Absolute, self.now) {
                Ok(id) => {
                    self.drain();
                    assert!(self.open.is_none(), "two sessions at a time");
                    self.open = Some(id);
                }
                Err(refusal) => assert_eq!(refusal, Refusal::ConnectionLimit),
            },
            (Step::Head, Some(id)) => self.push(id, head(&[1])),
            (Step::Cluster(by, frames), Some(id)) => {
                self.time += by;
                self.push(id, cluster(self.time, &frames));
            }
            (Step::Frame(at, track), Some(id)) => self.push(id, block(track, at, b"frame")),
            (Step::Garbage(bytes), Some(id)) => self.push(id, bytes),
            (Step::Finish, Some(id)) => self.line.finish(id, self.now),
            (Step::Broken, Some(id)) => {
                self.line.broken(id);
                self.silent.insert(id);
                self.open = None;
            }
            (Step::Cut, _) => self.line.cut(self.now),
            (Step::Pass(by), _) => self.pass(by),
            (Step::Stored(done), _) => self.store(done),
            (Step::Impose(fault, count), _) => {
                self.next_fault += 1;
                let ends = Some(self.now.mono + Duration::from_secs(20));
                self.faults.add(self.next_fault, FaultOrder { ends, ..FaultOrder::of(fault).times(count) });
            }
            (Step::Heal, _) => self.faults.clear(),
            (Step::Retain(retained), _) => self.line.set_retained(retained),
            (
                Step::Head
                | Step::Cluster(..)
                | Step::Frame(..)
                | Step::Garbage(_)
                | Step::Finish
                | Step::Broken,
                None,
            ) => {}
        }
        self.look();
    }

    fn push(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        self.line.push(id, bytes.into(), self.now);
    }

    fn store(&mut self, done: bool) {
        if self.to_store.is_empty() {
            return;
        }
        let number = self.to_store.remove(0);
        self.told.get_mut(&number.to_string()).unwrap().stored = done;
        self.line.stored(number, done, self.now);
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.mono + by;
        // A driver that sleeps until each wake-up is never kept busy.
        for _ in 0..1000 {
            let at = self.line.wake_at(self.now).map_or(end, |at| at.clamp(self.now.mono, end));
            self.now.wall_ms += at.saturating_sub(self.now.mono).as_millis() as u64;
            self.now.mono = at;
            self.line.tick(self.now);
            self.look();
            if at == end {
                return;
            }
        }
        panic!("woken a thousand times before {end:?}");
    }

    fn look(&mut self) {
        self.drain();
        assert_eq!(self.line.connected(), self.open);
    }

    fn drain(&mut self) {
        while let Some(event) = self.line.next() {
            match event {
                LineEvent::Ack { connection, ack } => self.hear(connection, &ack),
                LineEvent::Close { connection, .. } => {
                    assert_eq!(self.open.take(), Some(connection), "closed twice");
                    self.silent.insert(connection);
                }
                LineEvent::Received(arrived) => {
                    let told = self.told.entry(arrived.number.to_string()).or_default();
                    assert!(!told.received_event, "received twice");
                    told.received_event = true;
                    assert!(self.last_number.is_none_or(|last| last < arrived.number), "out of order");
                    self.last_number = Some(arrived.number);
                }
                LineEvent::Store(number) => {
                    let told = self.told.get_mut(&number.to_string()).unwrap();
                    assert!(told.received_event && !told.store && !told.forgotten);
                    told.store = true;
                    assert!(self.to_store.is_empty(), "two at a time");
                    self.to_store.push(number);
                }
                LineEvent::Forget(number) => {
                    let told = self.told.get_mut(&number.to_string()).unwrap();
                    assert!(told.received_event && !told.stored && !told.forgotten);
                    told.forgotten = true;
                }
                LineEvent::Frame(_) => {}
            }
        }
    }

    fn hear(&mut self, connection: ConnectionId, ack: &Ack) {
        assert!(!self.silent.contains(&connection), "said {ack:?} behind the end or an error");
        let Some(number) = &ack.number else {
            assert!(matches!(ack.kind, AckKind::Idle | AckKind::Error), "{ack:?} names no fragment");
            if ack.kind == AckKind::Error {
                self.silent.insert(connection);
            }
            return;
        };
        let told = self.told.entry(number.to_string()).or_default();
        match ack.kind {
            AckKind::Buffering => {
                assert!(!told.buffering && !told.received);
                told.buffering = true;
            }
            AckKind::Received => {
                assert!(told.received_event && !told.received);
                told.received = true;
            }
            AckKind::Persisted => {
                assert!(told.stored && !told.persisted, "persisted before it was stored, or twice");
                told.persisted = true;
            }
            AckKind::Error => {
                assert!(!told.persisted);
                self.silent.insert(connection);
            }
            AckKind::Idle | AckKind::Unknown(_) => panic!("{ack:?} names a fragment"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_line_keeps_its_order_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        let mut watch = Watch::new();
        for step in steps {
            watch.take(step);
        }
        // When faults end and the client does, everything comes to its end.
        watch.faults.clear();
        if let Some(id) = watch.open {
            watch.line.finish(id, watch.now);
        }
        for _ in 0..300 {
            watch.take(Step::Pass(Duration::from_secs(5)));
            watch.take(Step::Stored(true));
        }
        prop_assert_eq!(watch.open, None);
        prop_assert_eq!(watch.line.unstored(), 0);
        for (number, told) in &watch.told {
            prop_assert!(!told.store || told.stored || told.forgotten, "{} is in limbo: {:?}", number, told);
        }
    }
}
