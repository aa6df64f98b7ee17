//! The session against a service that does everything that a service can do, drawn from seeds, in virtual time.
//!
//! After each step it is checked that nothing is freed before it was said to be stored or its gap was reported, that
//! each session resumes at the first group that is not stored, that times rise within a session, that nothing goes out
//! again after it was said to be stored, and that calls keep their distance. When the faults end, everything that the
//! camera sent must be stored, or be in a reported gap.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use streamfleet_media::fragment::FragmentNumber;

use super::*;
use crate::buffer::pool::Pool;
use crate::buffer::{Buffer, Pushed};
use streamfleet_media::track::{AccessUnit, Codec, CodecParameters, TrackParameters};

/// About forty seconds of the camera: the longer outages pass it.
const BUDGET: u64 = 400_000;
const FAULTS_LAST: Duration = Duration::from_mins(2);
const CAMERA_LASTS: Duration = Duration::from_secs(150);
const WORLD_LASTS: Duration = Duration::from_mins(40);
const START: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Picture,
    Answer(u64),
    Say(u64, Word),
    End(u64, bool),
    TakeAgain(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Buffering(i64),
    Received(i64),
    Persisted(i64),
    Error(u32, Option<i64>),
    /// Nonsense: an acknowledgement of a time that was never sent.
    Foreign(i64),
}

/// A fragment as the service sees it.
#[derive(Debug)]
struct Seen {
    time_ms: i64,
    gops: Vec<GopId>,
}

/// A session as the service sees it.
#[derive(Debug, Default)]
struct Peer {
    takes: bool,
    header: bool,
    latest_ms: i64,
    open: Option<Seen>,
    /// Fragments that are whole.
    whole: BTreeMap<i64, Vec<GopId>>,
    ended: bool,
}

struct World {
    random: fastrand::Rng,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    session: Session,
    buffer: Buffer,
    codec: Arc<CodecParameters>,
    time_ms: i64,
    until_key: u32,
    peers: BTreeMap<u64, Peer>,
    current: Option<u64>,
    last_open: Option<Duration>,
    /// All groups that the camera began, with their start.
    begun: BTreeMap<GopId, i64>,
    /// Groups of which the session was told that they are stored.
    stored: BTreeSet<GopId>,
    freed: BTreeSet<GopId>,
    gaps: Vec<(i64, i64)>,
    poison: BTreeSet<i64>,
    counts: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let settings = Settings { target_ms: 1_000 * random.i64(1..=6), stored_at: StoredAt::Persisted };
        let mut world = Self {
            session: Session::new(settings, random.u64(..)),
            buffer: Buffer::new(Pool::new(BUDGET).share()),
            codec: parameters(0),
            random,
            now: START,
            events: BinaryHeap::new(),
            scheduled: 0,
            time_ms: 1_000_000,
            until_key: 0,
            peers: BTreeMap::new(),
            current: None,
            last_open: None,
            begun: BTreeMap::new(),
            stored: BTreeSet::new(),
            freed: BTreeSet::new(),
            gaps: Vec::new(),
            poison: BTreeSet::new(),
            counts: BTreeMap::new(),
        };
        world.after(0, Event::Picture);
        world
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall_ms: 0 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.now < START + FAULTS_LAST && self.random.u32(0..100) < percent
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn after(&mut self, milliseconds: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + Duration::from_millis(milliseconds), self.scheduled, event)));
    }

    fn run(mut self) -> BTreeMap<&'static str, u64> {
        while self.now < START + WORLD_LASTS {
            self.settle();
            let event_at = self.events.peek().map(|Reverse((at, ..))| *at);
            let wake_at =
                self.session.wake_at(self.now()).map(|at| at.max(self.now + Duration::from_millis(1)));
            match (event_at, wake_at) {
                (Some(event_at), wake_at) if wake_at.is_none_or(|wake_at| event_at <= wake_at) => {
                    let Some(Reverse((at, _, event))) = self.events.pop() else { break };
                    self.now = self.now.max(at);
                    self.happen(event);
                }
                (_, Some(wake_at)) => {
                    self.now = wake_at;
                    self.session.wake(self.now());
                }
                _ => break,
            }
        }
        self.check_end();
        self.counts
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Picture => self.picture(),
            Event::Answer(id) => self.answer(id),
            Event::Say(id, word) => self.say(id, &word),
            Event::End(id, good) => {
                self.peers.entry(id).or_default().ended = true;
                let ending = if good { Ending::Finished } else { Ending::Broken("cut".to_owned()) };
                self.count(if good { "ended" } else { "cut" });
                self.session.handle(Input::Closed(SessionId(id), ending), self.now());
            }
            Event::TakeAgain(id) => self.peers.entry(id).or_default().takes = true,
        }
    }

    fn picture(&mut self) {
        if self.now >= START + CAMERA_LASTS {
            if let Some(gop) = self.buffer.complete() {
                self.session.handle(Input::Completed(gop), self.now());
            }
            return self.session.handle(Input::Drain, self.now());
        }
        let key = self.until_key == 0;
        if key {
            self.until_key = self.random.u32(2..40);
            if self.chance(3) {
                self.codec = parameters(self.random.u8(..));
                self.count("new parameters");
            }
        } else {
            self.until_key -= 1;
        }
        self.time_ms += 100;
        let size = self.random.usize(100..2_000) * if key { 4 } else { 1 };
        let unit = AccessUnit { track: 0, time_ms: self.time_ms, key, data: Bytes::from(vec![0; size]) };
        self.push(unit, size as u64);
        if self.chance(1) {
            self.count("camera lost");
            if let Some(gop) = self.buffer.complete() {
                self.session.handle(Input::Completed(gop), self.now());
            }
            self.session.handle(Input::SourceEnded, self.now());
            self.until_key = 0;
            let away = self.random.u64(100..20_000);
            self.time_ms += i64::try_from(away).unwrap();
            return self.after(away, Event::Picture);
        }
        self.after(100, Event::Picture);
    }

    fn push(&mut self, unit: AccessUnit, bytes: u64) {
        let (time_ms, now) = (unit.time_ms, self.now());
        match self.buffer.push(unit, &self.codec.clone()) {
            Pushed::Began { gop, codec, completed } => {
                if let Some(completed) = completed {
                    self.session.handle(Input::Completed(completed), now);
                }
                self.begun.insert(gop, time_ms);
                if self.chance(2) {
                    self.poison.insert(time_ms);
                }
                self.session.handle(Input::Began { gop, codec, time_ms, bytes }, now);
            }
            Pushed::Continued(gop) => self.session.handle(Input::Extended { gop, time_ms, bytes }, now),
            Pushed::NoKeyFrame => self.count("no key frame"),
            Pushed::TooLong { .. } => unreachable!("groups are short here"),
        }
        let excess = self.buffer.excess();
        if excess > 0 {
            self.session.shed(excess);
        }
    }

    /// Carries out what the session says and lets the service take what it wants.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.session.output() {
                self.carry_out(&output);
            }
            assert!(
                self.buffer.bytes() <= BUDGET + 20_000,
                "the buffer has grown to {}",
                self.buffer.bytes()
            );
            let Some(id) = self.current.filter(|id| self.peers.get(id).is_some_and(|peer| peer.takes)) else {
                return;
            };
            if !self.session.has_piece(SessionId(id), self.now()) {
                return;
            }
            if let Some(piece) = self.session.pull(SessionId(id), self.now()) {
                self.receive(id, piece);
            }
        }
    }

    fn carry_out(&mut self, output: &Output) {
        match *output {
            Output::Open(SessionId(id)) => self.open(id),
            Output::Finish(SessionId(id)) => self.finish(id),
            Output::Abort(SessionId(id)) => {
                self.count("aborted");
                self.peers.entry(id).or_default().ended = true;
                if self.current == Some(id) {
                    self.current = None;
                }
            }
            Output::Free(gop) => {
                self.buffer.free(gop);
                assert!(self.freed.insert(gop), "{gop:?} is freed twice");
            }
            Output::Report(Report::Gap { start_ms, end_ms, .. }) => {
                self.count("gap");
                self.gaps.push((start_ms, end_ms));
            }
            Output::Report(Report::GapBegan { start_ms }) => {
                self.count("gap begun");
                self.gaps.push((start_ms, start_ms));
            }
            Output::Report(Report::Stored { .. }) => self.count("stored"),
            Output::Report(_) => {}
        }
    }

    fn open(&mut self, id: u64) {
        self.count("opened");
        if let Some(last) = self.last_open.replace(self.now) {
            assert!(self.now >= last + retry::SPACING_MIN, "sessions are opened in quick succession");
        }
        self.current = Some(id);
        self.peers.insert(id, Peer { takes: true, latest_ms: i64::MIN, ..Peer::default() });
        let delay = self.random.u64(1..200);
        if self.chance(3) {
            return self.count("no answer");
        }
        self.after(delay, Event::Answer(id));
    }

    fn answer(&mut self, id: u64) {
        if self.peers.get(&id).is_none_or(|peer| peer.ended) {
            return;
        }
        if self.chance(10) {
            let refusals = [
                Refusal::Unreachable,
                Refusal::ConnectionLimit,
                Refusal::CredentialsRefused,
                Refusal::Throttled,
                Refusal::ClockCorrected,
                Refusal::StreamNotFound,
            ];
            let refusal = refusals[self.random.usize(..refusals.len())];
            self.count("refused");
            self.peers.entry(id).or_default().ended = true;
            self.current = None;
            let ending = Ending::Refused(refusal, String::new());
            return self.session.handle(Input::Closed(SessionId(id), ending), self.now());
        }
        self.session.handle(Input::Opened(SessionId(id)), self.now());
        if self.chance(20) {
            let delay = self.random.u64(1..30_000);
            let good = self.random.bool();
            self.after(delay, Event::End(id, good));
        }
    }

    fn receive(&mut self, id: u64, piece: Piece) {
        if self.chance(1) {
            self.count("stalled");
            let delay = self.random.u64(100..20_000);
            self.peers.entry(id).or_default().takes = false;
            self.after(delay, Event::TakeAgain(id));
        }
        match piece {
            Piece::Header(gop) => {
                let peer = self.peers.entry(id).or_default();
                assert!(!std::mem::replace(&mut peer.header, true), "a second header");
                let oldest = self.begun.keys().find(|gop| !self.freed.contains(gop));
                assert_eq!(oldest, Some(&gop), "a session resumes at the first group that is not stored");
            }
            Piece::Cluster(time_ms) => self.receive_cluster(id, time_ms),
            Piece::Unit { gop, index, cluster_ms } => self.receive_unit(id, gop, index, cluster_ms),
        }
    }

    fn receive_cluster(&mut self, id: u64, time_ms: i64) {
        self.close_fragment(id);
        let peer = self.peers.entry(id).or_default();
        assert!(peer.header, "a cluster before the header");
        assert!(time_ms > peer.latest_ms, "a cluster at {time_ms}, after a block at {}", peer.latest_ms);
        peer.latest_ms = time_ms;
        peer.open = Some(Seen { time_ms, gops: Vec::new() });
        if !self.chance(3) {
            let delay = self.random.u64(5..300);
            self.after(delay, Event::Say(id, Word::Buffering(time_ms)));
        }
        if self.chance(3) {
            self.after(1, Event::Say(id, Word::Foreign(time_ms + 7)));
            // Too early: its end is not sent.
            self.after(1, Event::Say(id, Word::Persisted(-time_ms)));
        }
    }

    fn receive_unit(&mut self, id: u64, gop: GopId, index: usize, cluster_ms: i64) {
        assert!(!self.stored.contains(&gop), "{gop:?} goes out again after it was said to be stored");
        let unit = self.buffer.unit(gop, index).expect("the buffer has what is sent").clone();
        let peer = self.peers.entry(id).or_default();
        let open = peer.open.as_mut().expect("a unit belongs to a cluster");
        assert_eq!(open.time_ms, cluster_ms);
        if index == 0 {
            assert!(unit.key, "a group begins with a key frame");
            open.gops.push(gop);
        }
        assert_eq!(open.gops.last(), Some(&gop), "groups are sent whole and in order");
        assert!((0..20_000).contains(&(unit.time_ms - cluster_ms)), "a fragment is at most 20 s long");
        peer.latest_ms = peer.latest_ms.max(unit.time_ms);
    }

    fn finish(&mut self, id: u64) {
        self.close_fragment(id);
        if self.chance(10) {
            return self.count("does not end");
        }
        let delay = self.random.u64(1_600..4_000);
        self.after(delay, Event::End(id, true));
    }

    /// The fragment that was being received is whole: what comes of it is drawn.
    fn close_fragment(&mut self, id: u64) {
        let peer = self.peers.entry(id).or_default();
        let Some(Seen { time_ms, gops }) = peer.open.take() else { return };
        let poisoned = self.poison.contains(&time_ms);
        self.peers.entry(id).or_default().whole.insert(time_ms, gops);
        let delay = self.random.u64(5..500);
        if poisoned {
            let named = self.random.u32(0..3) > 0;
            return self.after(delay, Event::Say(id, Word::Error(4006, named.then_some(time_ms))));
        }
        if self.chance(3) {
            let errors = [4000, 4001, 4002, 4003, 4007, 4500, 5000, 5001, 9999];
            let code = errors[self.random.usize(..errors.len())];
            let named = self.random.bool();
            return self.after(delay, Event::Say(id, Word::Error(code, named.then_some(time_ms))));
        }
        self.after(delay, Event::Say(id, Word::Received(time_ms)));
        if self.chance(5) {
            return self.count("storage not acknowledged");
        }
        let later = delay + self.random.u64(100..1_500);
        self.after(later, Event::Say(id, Word::Persisted(time_ms)));
        if self.chance(5) {
            self.after(later + 1, Event::Say(id, Word::Persisted(time_ms)));
        }
    }

    fn say(&mut self, id: u64, word: &Word) {
        // What an ended session still says comes late, and is to do no harm.
        let late = self.peers.get(&id).is_none_or(|peer| peer.ended);
        if late && self.random.bool() {
            return;
        }
        let now = self.now();
        let ack = match word {
            Word::Buffering(at) => Ack::of(AckKind::Buffering, *at, number(*at)),
            Word::Received(at) => Ack::of(AckKind::Received, *at, number(*at)),
            Word::Persisted(at) => Ack::of(AckKind::Persisted, at.abs(), number(at.abs())),
            Word::Foreign(at) => Ack::of(AckKind::Persisted, *at, number(*at)),
            Word::Error(code, at) => {
                self.count("error");
                Ack::failure(ErrorId::from_code(*code), *at, None)
            }
        };
        // An early one counts if the fragment has become whole in the meantime.
        let acknowledged = match (word, late) {
            (Word::Persisted(at), false) => {
                self.peers.get(&id).and_then(|peer| peer.whole.get(&at.abs())).cloned()
            }
            _ => None,
        };
        let before: BTreeSet<GopId> = self.freed.clone();
        self.stored.extend(acknowledged.iter().flatten());
        self.session.handle(Input::Ack(SessionId(id), ack), now);
        while let Some(output) = self.session.output() {
            self.carry_out(&output);
        }
        if let Word::Buffering(_) | Word::Received(_) | Word::Foreign(_) = word {
            assert_eq!(before, self.freed, "{word:?} frees nothing");
        }
        if late {
            assert_eq!(before, self.freed, "a session that has ended frees nothing");
        }
        self.check_freed();
    }

    fn check_freed(&self) {
        for gop in &self.freed {
            assert!(
                self.stored.contains(gop)
                    || self.is_in_gap(*gop)
                    || self.session.queue.get(*gop).is_some_and(|g| g.place == Place::Dropped),
                "{gop:?} was freed, and is neither stored nor in a gap"
            );
        }
    }

    fn is_in_gap(&self, gop: GopId) -> bool {
        self.begun
            .get(&gop)
            .is_some_and(|start| self.gaps.iter().any(|(from, to)| (from..=to).contains(&start)))
    }

    fn check_end(&self) {
        assert!(self.session.is_drained(), "after the faults everything is stored: {:?}", self.session);
        assert!(self.buffer.is_empty());
        for gop in self.begun.keys() {
            assert!(
                self.stored.contains(gop) || self.is_in_gap(*gop),
                "{gop:?} is neither stored nor in a gap"
            );
        }
    }
}

fn parameters(variant: u8) -> Arc<CodecParameters> {
    let private = Bytes::copy_from_slice(&[variant]);
    Arc::new(CodecParameters::single(TrackParameters::video(Codec::H264, private, 640, 360)))
}

fn number(time_ms: i64) -> FragmentNumber {
    format!("9{time_ms:046}").parse().unwrap()
}

#[test]
fn nothing_is_lost_unsaid_whatever_the_service_does() {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..400 {
        let result = std::panic::catch_unwind(|| World::new(seed).run());
        let Ok(world) = result else { panic!("seed {seed} fails") };
        for (what, times) in world {
            *counts.entry(what).or_default() += times;
        }
    }
    for what in [
        "aborted",
        "camera lost",
        "cut",
        "does not end",
        "ended",
        "error",
        "gap",
        "new parameters",
        "no answer",
        "opened",
        "refused",
        "stalled",
        "storage not acknowledged",
        "stored",
    ] {
        assert!(counts.get(what).is_some_and(|&times| times >= 100), "too few of \"{what}\": {counts:?}");
    }
}
