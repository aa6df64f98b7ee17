//! Virtual time, and everything in it: what happens next, and the carrying out of what the session decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use streamfleet_contract::{Overflow, StoredAt, UploadReason};
use streamfleet_media::ack::{Ack, ErrorId};
use streamfleet_producer::buffer::GopId;
use streamfleet_producer::clock::Now;
use streamfleet_producer::session::mutant::Mutant;
use streamfleet_producer::session::{
    Ending, Input, Output, Piece, Report, Session, SessionId, Settings, State,
};

use crate::calls::Calls;
use crate::camera::{Camera, ms};
use crate::gaps::{Begun, Gaps};
use crate::hostile::{Hostile, Word};
use crate::service::Service;
use crate::store::{Store, Unit};
use crate::tally::Tally;
use crate::wire::Wire;

/// So many things happen before the faults end.
pub const EVENTS: u64 = 500;

/// By then everything must be stored when no more faults come.
const RECOVERY: Duration = Duration::from_hours(2);

const START: Duration = Duration::from_hours(1);

/// One world to run.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What everything is drawn from.
    pub seed: u64,
    /// Who is at the other end.
    pub peer: PeerKind,
    /// A fault planted in the session.
    pub mutant: Option<Mutant>,
    /// Whether everything is told as it happens.
    pub traced: bool,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// Somebody who does whatever a service could do.
    Hostile,
    /// The emulator's own machine, with faults on order.
    Service,
}

/// The other end.
pub enum Peer {
    Hostile(Hostile),
    Service(Box<Service>),
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The camera sends.
    Unit,
    /// A group is on the spool, or could not be written.
    Stored(GopId, bool),
    /// A group is in memory, or could not be read.
    Loaded(GopId, bool),
    /// The service answers to the request for a session.
    Answer(u64),
    /// The hostile peer says something.
    Say(u64, Word),
    /// A session ends, in good order or not.
    End(u64, bool),
    /// The peer takes bytes again.
    TakeAgain(u64),
    /// The emulator's machine has something to do.
    Tick,
    /// A word of the emulator's machine arrives.
    Hear(u64, usize),
    /// A fault begins at the emulator.
    Fault,
    /// The times of what is held are moved: the oldest of it, and the earliest that it may come to.
    Retime(i64, Option<i64>),
    /// The operator of all this changes something.
    Meddle,
}

/// Everything.
pub struct World {
    /// Chance.
    pub random: fastrand::Rng,
    /// The time.
    pub now: Duration,
    /// How far the wall clock is off.
    wall_off_ms: i64,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    /// What is tried.
    pub session: Session,
    /// What it was told to do.
    pub settings: Settings,
    /// Where media comes from.
    pub camera: Camera,
    /// Where it is kept.
    pub store: Store,
    /// Where it goes.
    pub peer: Peer,
    /// The sessions as they look on the wire, over or not.
    pub wires: BTreeMap<u64, Wire>,
    /// The session that stands.
    pub current: Option<u64>,
    /// Whether it takes anything.
    pub takes: bool,
    /// All groups that the camera began.
    pub begun: BTreeMap<GopId, Begun>,
    /// How many units of a group the service has said to be stored.
    pub acknowledged: BTreeMap<GopId, usize>,
    /// When it said so.
    pub acknowledged_at: BTreeMap<GopId, Duration>,
    /// How many units of a group really are, where the service is a real one.
    pub archived: BTreeMap<GopId, usize>,
    /// Groups that no service will ever take.
    pub poison: BTreeSet<GopId>,
    /// What is said to be missing.
    pub gaps: Gaps,
    pub calls: Calls,
    earliest_ms: Option<i64>,
    /// The fragment that the last error named.
    pub refused_at: Option<i64>,
    /// What was seen.
    pub tally: Tally,
    /// What is wrong.
    pub violation: Option<String>,
    shedding: bool,
    traced: bool,
}

impl World {
    fn new(case: Case) -> Self {
        let mut random = fastrand::Rng::with_seed(case.seed);
        let received = case.peer == PeerKind::Hostile && random.u32(0..8) == 0;
        let settings = Settings {
            stored_at: if received { StoredAt::Received } else { StoredAt::Persisted },
            tags: [0, 0, 1, 9, 10][random.usize(..5)],
            overflow: if random.bool() { Overflow::DropOldest } else { Overflow::DropNewest },
            retention_ms: (random.u32(0..4) == 0).then(|| random.i64(60_000..600_000)),
            catch_up_bytes_per_second: (random.u32(0..6) == 0).then(|| random.u64(2_000..100_000)),
            ..Settings::new(1_000 * [1, 2, 2, 3, 6, 18][random.usize(..6)])
        };
        let mut session = Session::new(settings, random.u64(..));
        if let Some(mutant) = case.mutant {
            session = session.with_mutant(mutant);
        }
        let spool = (random.u32(0..3) > 0).then(|| random.u64(0..300_000));
        let store = Store::new([20_000, 50_000, 200_000, 1_000_000][random.usize(..4)], spool);
        let peer = match case.peer {
            PeerKind::Hostile => Peer::Hostile(Hostile::new(&mut random)),
            PeerKind::Service => Peer::Service(Box::new(Service::new(&mut random))),
        };
        Self {
            camera: Camera::new(&mut random),
            random,
            now: START,
            wall_off_ms: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            session,
            settings,
            store,
            peer,
            wires: BTreeMap::new(),
            current: None,
            takes: false,
            begun: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            acknowledged_at: BTreeMap::new(),
            archived: BTreeMap::new(),
            poison: BTreeSet::new(),
            gaps: Gaps::new(),
            calls: Calls::default(),
            earliest_ms: None,
            refused_at: None,
            tally: Tally::default(),
            violation: None,
            shedding: false,
            traced: case.traced,
        }
    }

    /// Runs a world to its end: gives what it saw, and what was wrong.
    pub fn run(case: Case) -> (Tally, Option<String>) {
        let mut world = Self::new(case);
        if world.store.spool.is_some() && world.random.u32(0..3) == 0 {
            world.recover();
        }
        world.after(0, Event::Unit);
        world.after(1_000, Event::Meddle);
        if case.peer == PeerKind::Service {
            world.after(100, Event::Fault);
        }
        let mut ends_at = None;
        while world.violation.is_none() && !world.is_over() {
            let limit = *ends_at.get_or_insert(Duration::MAX);
            if limit == Duration::MAX && world.is_calm() {
                ends_at = Some(world.now + RECOVERY);
                world.calm_down();
            }
            if !world.step() || world.now > limit {
                let held: Vec<_> = world.store.groups.keys().collect();
                let what = format!(
                    "not everything is stored long after the faults have ended: {held:?}, {:?}",
                    world.session
                );
                world.violate(what);
            }
        }
        world.check_end();
        (world.tally, world.violation)
    }

    /// Whether the faults have ended.
    pub fn is_calm(&self) -> bool {
        self.tally.total >= EVENTS
    }

    fn is_over(&self) -> bool {
        self.is_calm() && self.session.is_drained() && self.store.groups.is_empty()
    }

    /// What happens next; false if nothing ever does.
    fn step(&mut self) -> bool {
        self.settle();
        let event_at = self.events.peek().map(|Reverse((at, ..))| *at);
        let wake_at = self.session.wake_at(self.clock()).map(|at| at.max(self.now + ms(1)));
        match (event_at, wake_at) {
            (Some(event_at), wake_at) if wake_at.is_none_or(|wake_at| event_at <= wake_at) => {
                let Some(Reverse((at, _, event))) = self.events.pop() else { return false };
                self.now = self.now.max(at);
                self.happen(event);
                true
            }
            (_, Some(wake_at)) => {
                self.now = wake_at;
                self.tally.event("wake");
                self.session.wake(self.clock());
                self.note_state();
                self.carry_out_all();
                true
            }
            (_, None) => false,
        }
    }

    fn happen(&mut self, event: Event) {
        if self.traced {
            eprintln!("{:9.3} {event:?}", self.now.saturating_sub(START).as_secs_f64());
        }
        match event {
            Event::Unit => self.unit(),
            Event::Stored(gop, true) if self.store.stored(gop) => self.handle("stored", Input::Stored(gop)),
            Event::Stored(gop, false) if self.store.groups.contains_key(&gop) => {
                self.handle("store failed", Input::StoreFailed(gop));
            }
            Event::Loaded(gop, true) if self.store.loaded(gop) => self.handle("loaded", Input::Loaded(gop)),
            Event::Loaded(gop, false) if self.store.groups.contains_key(&gop) => {
                self.handle("load failed", Input::LoadFailed(gop));
            }
            // It was let go in the meantime.
            Event::Stored(..) | Event::Loaded(..) => {}
            Event::Answer(id) => self.answer(id),
            Event::Say(id, word) => self.say(id, &word),
            Event::End(id, good) => self.end(id, good),
            Event::TakeAgain(id) => {
                self.tally.event("takes again");
                self.takes |= self.current == Some(id);
            }
            Event::Tick => self.tick(),
            Event::Hear(id, index) => self.hear(id, index),
            Event::Fault => self.fault(),
            Event::Retime(first_ms, earliest_ms) => self.retime(first_ms, earliest_ms),
            Event::Meddle => self.meddle(),
        }
    }

    /// The readings of the clocks.
    pub fn clock(&self) -> Now {
        let mono_ms = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
        Now { mono: self.now, wall_ms: mono_ms + self.wall_off_ms }
    }

    /// Whether something with a chance of so many percent happens; never when the faults have ended.
    pub fn chance(&mut self, percent: u32) -> bool {
        !self.is_calm() && self.random.u32(0..100) < percent
    }

    /// Has something happen later.
    pub fn after(&mut self, milliseconds: u64, event: Event) {
        self.at(self.now + ms(milliseconds), event);
    }

    /// Has something happen at a time.
    pub fn at(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    /// Remembers the first thing that is wrong.
    pub fn violate(&mut self, what: String) {
        if self.traced {
            eprintln!("VIOLATION {what}");
        }
        self.violation.get_or_insert(what);
    }

    /// Remembers it if it is wrong.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    /// Tells the session something, and carries out what it says.
    pub fn handle(&mut self, what: &'static str, input: Input) {
        if self.traced {
            eprintln!("          -> {input:?}");
        }
        self.tally.event(what);
        self.session.handle(input, self.clock());
        self.note_state();
        self.carry_out_all();
    }

    /// Tells it of an acknowledgement. What the words mean is noted before, so that it can be checked what they do.
    pub fn tell(&mut self, what: &'static str, id: u64, ack: Ack) {
        let is_current = self.current == Some(id);
        if let Some(error) = ack.error {
            self.tally.error(error);
            if is_current {
                self.calls.on_error(error, self.now);
            }
        }
        self.note_what_is_stored(id, &ack);
        self.refused_at = ack.timecode.filter(|_| is_current && ack.error.is_some());
        self.expect_skipped();
        if !is_current {
            // What is due at this moment anyway is not the doing of late words.
            self.session.wake(self.clock());
            self.carry_out_all();
        }
        let before = self.current;
        let is_error = ack.error.is_some();
        self.handle(what, Input::Ack(SessionId(id), ack));
        self.refused_at = None;
        if is_error && !is_current && before.is_some() {
            self.check(self.current == before, || {
                "a late error of a finished session ended another".to_owned()
            });
        }
    }

    /// A session is over.
    pub fn close(&mut self, what: &'static str, id: u64, ending: Ending) {
        if self.current == Some(id) {
            self.current = None;
        }
        if let Ending::Refused(refusal, _) = &ending {
            self.calls.on_refused(*refusal);
        }
        self.handle(what, Input::Closed(SessionId(id), ending));
    }

    fn note_state(&mut self) {
        let state = self.session.state();
        self.tally.state(state);
        if state != State::Opening {
            let accepted = self.session.is_accepted();
            self.check(!accepted || self.current.is_some(), || "a session stands that is over".to_owned());
        }
    }

    /// Does all that can be done at this moment, as the driver's pump does.
    fn settle(&mut self) {
        let excess = self.store.excess();
        if excess > 0 {
            self.tally.event("shed");
            self.shedding = true;
            if self.traced {
                eprintln!("          shed {excess} {:?}", self.store.room());
            }
            self.session.shed(excess, self.store.room());
            self.carry_out_all();
            self.shedding = false;
            self.check_memory();
        }
        self.carry_out_all();
        while self.violation.is_none()
            && self.takes
            && let Some(id) = self.current
            && self.session.has_piece(SessionId(id), self.clock())
        {
            if let Some(piece) = self.session.pull(SessionId(id), self.clock()) {
                self.receive(id, piece);
            }
            self.carry_out_all();
        }
    }

    /// What is in memory above the budget is on its way to the spool, being sent, or fetched for that.
    fn check_memory(&mut self) {
        let largest = self.store.groups.values().map(|group| group.bytes).max().unwrap_or_default();
        let bound = self.store.budget + self.session.storing_bytes() + 6 * largest;
        let memory = self.store.memory();
        self.check(memory <= bound, || format!("memory holds {memory}, the bound is {bound}"));
    }

    fn carry_out_all(&mut self) {
        let mut freed = Vec::new();
        while let Some(output) = self.session.output() {
            if self.traced {
                eprintln!("          <- {output:?}");
            }
            if let Output::Free(gop) = output {
                freed.push(gop);
            }
            self.carry_out(output);
        }
        for gop in freed {
            self.explain(gop);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Open(SessionId(id)) => self.open(id),
            Output::Finish(SessionId(id)) => self.finish(id),
            Output::Abort(SessionId(id)) => {
                self.tally.event("aborted");
                self.current = self.current.filter(|current| *current != id);
                self.broken(id);
            }
            Output::Free(gop) => {
                self.store.free(gop);
            }
            Output::Store(gop) => {
                let held = self.store.groups.get(&gop).is_some_and(|group| group.in_memory && group.complete);
                self.check(held, || format!("{gop:?} is to be stored, and memory has it not whole"));
                let good = !self.chance(8);
                let delay = self.random.u64(0..200);
                self.after(delay, Event::Stored(gop, good));
            }
            Output::Load(gop) => {
                let held = self.store.groups.get(&gop).is_some_and(|group| group.on_spool);
                self.check(held, || format!("{gop:?} is to be loaded, and the spool has it not"));
                let good = !self.chance(4);
                let delay = self.random.u64(0..200);
                self.after(delay, Event::Loaded(gop, good));
            }
            Output::Retime { first_ms, earliest_ms } => self.after(0, Event::Retime(first_ms, earliest_ms)),
            Output::Report(report) => self.hear_report(&report),
        }
    }

    fn open(&mut self, id: u64) {
        self.tally.event("open");
        let open = self.current;
        self.check(open.is_none(), || format!("session {id} is opened while {open:?} stands"));
        if let Some(violation) = self.calls.on_open(self.now) {
            self.violate(violation);
        }
        self.current = Some(id);
        self.takes = false;
        self.wires.insert(id, Wire::default());
        self.opened_at_peer(id);
    }

    fn hear_report(&mut self, report: &Report) {
        match report {
            Report::Gap { start_ms, end_ms, reason, .. } => self.hear_gap(*start_ms, *end_ms, *reason),
            Report::GapBegan { start_ms, .. } => self.hear_gap_began(*start_ms),
            Report::Recovered { .. } => self.tally.event("gap recovered"),
            Report::Stored { .. } => self.tally.event("report of storage"),
            Report::Trouble(UploadReason::StreamHeldElsewhere, _) => self.tally.event("held elsewhere"),
            Report::Trouble(UploadReason::NoPersistedAcks, _) => self.tally.event("no acknowledgements"),
            Report::Opened | Report::Acknowledged(..) | Report::Trouble(..) => {}
        }
    }

    /// Whether room is being made.
    pub fn is_shedding(&self) -> bool {
        self.shedding
    }

    fn retime(&mut self, first_ms: i64, earliest_ms: Option<i64>) {
        if self.random.u32(0..3) == 0 {
            return;
        }
        // No clock of a camera is before 1970.
        let wanted = self.random.i64(-600_000..600_000).max(-first_ms);
        let by_ms = earliest_ms.map_or(wanted, |earliest| wanted.max(earliest - first_ms));
        self.lose_order();
        self.store.shift(by_ms);
        self.camera.time_ms += by_ms;
        for (id, begun) in &mut self.begun {
            if self.store.groups.contains_key(id) {
                begun.start_ms += by_ms;
                begun.last_ms += by_ms;
            }
        }
        // A camera whose clock has gone back sends earlier ones all the same.
        self.earliest_ms = earliest_ms.filter(|earliest| self.camera.time_ms >= *earliest);
        self.handle("retimed", Input::Retimed { by_ms });
    }

    /// The earliest time that may go out since the times were moved.
    pub fn earliest_ms(&self) -> Option<i64> {
        self.earliest_ms
    }

    fn meddle(&mut self) {
        if self.is_calm() {
            return;
        }
        match self.random.u32(0..6) {
            0 => {
                self.tally.event("renewed");
                self.session.renew();
            }
            1 => {
                self.tally.event("other settings");
                self.settings.target_ms = 1_000 * self.random.i64(1..=10);
                self.session.set_settings(self.settings);
            }
            2 => {
                self.tally.event("wall clock steps");
                self.wall_off_ms += self.random.i64(-3_600_000..3_600_000);
            }
            3 if self.current.is_some() => {
                let id = SessionId(self.current.unwrap_or_default());
                self.handle("progress", Input::Progress(id));
            }
            _ => {}
        }
        let pause = self.random.u64(1_000..60_000);
        self.after(pause, Event::Meddle);
    }

    /// Whether everything is told as it happens.
    pub fn traced(&self) -> bool {
        self.traced
    }

    /// Whether the service has ever refused tags: from then on they may be missing.
    pub fn tags_were_refused(&self) -> bool {
        self.tally.errors.contains_key(&4009)
    }

    /// The camera's clock was set back: times before those that are stored come.
    pub fn goes_back(&mut self) {
        self.lose_order();
        self.earliest_ms = None;
    }

    /// The peer is asked for a session.
    fn opened_at_peer(&mut self, id: u64) {
        // Some are never answered.
        if matches!(self.peer, Peer::Hostile(_)) && self.chance(3) {
            return self.tally.event("no answer");
        }
        let delay = self.random.u64(1..400);
        self.after(delay, Event::Answer(id));
    }

    fn answer(&mut self, id: u64) {
        if self.current != Some(id) {
            return;
        }
        match self.peer {
            Peer::Hostile(_) => self.hostile_answer(id),
            Peer::Service(_) => self.service_answer(id),
        }
    }

    /// A fragment is whole at the peer.
    pub fn closed_at_peer(&mut self, id: u64, time_ms: i64) {
        self.hostile_closed(id, time_ms);
    }

    /// A piece has arrived at the peer.
    pub fn received(&mut self, id: u64, piece: Piece, unit: Option<Unit>) {
        match self.peer {
            Peer::Hostile(_) => {
                if let Piece::Cluster(time_ms) = piece {
                    self.hostile_begun(id, time_ms);
                }
            }
            Peer::Service(_) => self.service_received(id, piece, unit),
        }
    }

    /// The end of a body has arrived at the peer.
    pub fn finished_at_peer(&mut self, id: u64) {
        self.hostile_finished(id);
        self.service_finished(id);
    }

    /// The peer's connection is gone.
    pub fn broken_at_peer(&mut self, id: u64) {
        self.service_broken(id);
    }

    fn end(&mut self, id: u64, good: bool) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if std::mem::replace(&mut wire.over, true) {
            return;
        }
        let ending = if good { Ending::Finished } else { Ending::Broken("cut".to_owned()) };
        self.close(if good { "ended" } else { "broken" }, id, ending);
    }

    /// The faults end: whoever is silent speaks again, and what is open goes on.
    fn calm_down(&mut self) {
        self.takes = self.current.is_some_and(|_| self.session.is_accepted());
        self.calm_service();
        // The third that is refused in a row is kept as long as nothing is stored: it would be for ever.
        self.poison.clear();
    }

    /// An error of any kind.
    pub fn drawn_error(&mut self) -> ErrorId {
        const CODES: [u32; 24] = [
            4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4010, 4011, 4012, 4500, 4501, 4502,
            4503, 4504, 4505, 4506, 4507, 5000, 5001, 4999,
        ];
        ErrorId::from_code(CODES[self.random.usize(..CODES.len())])
    }
}
