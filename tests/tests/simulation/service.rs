//! The emulator's own machine of a stream at the other end, with the bytes that a producer would send it, and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use streamfleet_emulator::ingest::line::{
    ConnectionId, Ending as LineEnding, Fault, FaultBook, FaultOrder, Kinds, Line, LineEvent, LineSettings,
    Moment, Now, Origin, Reading, Refusal as LineRefusal,
};
use streamfleet_media::ack::{Ack, AckKind};
use streamfleet_media::limits::TAG_END_OF_FRAGMENT;
use streamfleet_media::mkv::{Track, write};
use streamfleet_media::track::{Codec, TrackParameters};
use streamfleet_producer::buffer::GopId;
use streamfleet_producer::session::{Ending, Input, Piece, Refusal, SessionId, Tags};

use crate::camera::ms;
use crate::store::Unit;
use crate::world::{Event, Peer, World};

/// The emulator's machine.
pub struct Service {
    line: Line,
    faults: Arc<FaultBook>,
    next_fault: u64,
    connections: BTreeMap<ConnectionId, u64>,
    /// Words on their way to the session.
    words: Vec<Ack>,
    /// Fragments by number: what of which groups is in them.
    received: BTreeMap<String, Vec<(GopId, usize)>>,
    ticks: BTreeSet<Duration>,
    latency_ms: u64,
    /// Whether any error was ordered.
    errors_ordered: bool,
}

impl Service {
    /// One whose storage is as slow as is drawn.
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let faults = Arc::new(FaultBook::default());
        let mut settings = LineSettings::new("camera");
        settings.seed = random.u64(..);
        settings.future_limit = None;
        let slowest = [200, 1_500, 6_000][random.usize(..3)];
        settings.persist_delay = ms(100)..=ms(slowest);
        if random.u32(0..3) == 0 {
            settings.session_limit = Duration::from_secs(random.u64(20..120));
        }
        settings.rules.keeps_media = false;
        let errors_ordered = settings.session_limit < Duration::from_mins(40);
        Self {
            line: Line::new(settings, Arc::clone(&faults)),
            faults,
            next_fault: 1,
            connections: BTreeMap::new(),
            words: Vec::new(),
            received: BTreeMap::new(),
            ticks: BTreeSet::new(),
            latency_ms: random.u64(1..150),
            errors_ordered,
        }
    }

    fn connection(&self, id: u64) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, session)| **session == id).map(|(connection, _)| *connection)
    }
}

impl World {
    fn service(&mut self) -> Option<&mut Service> {
        match &mut self.peer {
            Peer::Service(service) => Some(service),
            Peer::Hostile(_) => None,
        }
    }

    fn line_now(&self) -> Now {
        Now { mono: self.now, wall_ms: u64::try_from(self.now.as_millis()).unwrap_or(0) }
    }

    /// The emulator's machine is asked for a session.
    pub fn service_answer(&mut self, id: u64) {
        let now = self.line_now();
        let Some(service) = self.service() else { return };
        if service.line.is_frozen(now) {
            // Nothing is answered. The session gives up on its own.
            return;
        }
        let refused = |refusal| Ending::Refused(refusal, "refused".to_owned());
        match service.line.open(Origin::Absolute, now) {
            Ok(connection) => {
                service.connections.insert(connection, id);
                self.handle("accepted", Input::Opened(SessionId(id)));
            }
            Err(LineRefusal::ConnectionLimit) => {
                self.close("refused by the emulator", id, refused(Refusal::ConnectionLimit));
            }
            Err(LineRefusal::ClientLimit) => {
                self.violate("the emulator counts too many calls".to_owned());
            }
            Err(_) => self.close("refused by the emulator", id, refused(Refusal::StreamNotFound)),
        }
        self.pump_line();
    }

    /// A piece goes to the emulator's machine as the bytes that it is.
    pub fn service_received(&mut self, id: u64, piece: Piece, unit: Option<Unit>) {
        let bytes = self.bytes_of(piece, unit);
        let now = self.line_now();
        let Some(service) = self.service() else { return };
        let Some(connection) = service.connection(id) else { return };
        service.line.push(connection, bytes, now);
        self.pump_line();
    }

    fn bytes_of(&self, piece: Piece, unit: Option<Unit>) -> Bytes {
        match piece {
            Piece::Header(_, tracks) => {
                let private = Bytes::from_static(&[1, 2, 3, 4]);
                let video = TrackParameters::video(Codec::H264, private.clone(), 640, 352);
                let sound = TrackParameters::audio(Codec::Aac, private, 48_000, 1);
                let all = [video, sound];
                let named: Vec<Track> = (0u8..)
                    .zip(&all)
                    .filter(|(track, _)| tracks.contains(*track))
                    .map(|(track, parameters)| Track::of(u64::from(track) + 1, parameters))
                    .collect();
                write::header(&named)
            }
            Piece::Cluster(time_ms) => Bytes::copy_from_slice(&write::cluster_start(time_ms.unsigned_abs())),
            Piece::Tags(Tags::EndOfFragment) => write::tags(&[(TAG_END_OF_FRAGMENT, "")]),
            Piece::Tags(Tags::Configured) => {
                let names: Vec<String> = (0..self.settings.tags).map(|n| format!("name{n}")).collect();
                let tags: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "value")).collect();
                write::tags(&tags)
            }
            Piece::Unit { cluster_ms, index, tracks, .. } => {
                match unit.filter(|unit| tracks.contains(unit.track)) {
                    Some(unit) => {
                        let mut bytes = BytesMut::new();
                        let relative = i16::try_from(unit.time_ms - cluster_ms).unwrap_or(0);
                        let payload = [0; 4];
                        let track = u64::from(unit.track) + 1;
                        bytes.extend_from_slice(&write::simple_block_prefix(
                            track,
                            relative,
                            index == 0,
                            payload.len(),
                        ));
                        bytes.extend_from_slice(&payload);
                        bytes.freeze()
                    }
                    None => Bytes::new(),
                }
            }
        }
    }

    /// The body has ended.
    pub fn service_finished(&mut self, id: u64) {
        let now = self.line_now();
        let Some(service) = self.service() else { return };
        if let Some(connection) = service.connection(id) {
            service.line.finish(connection, now);
        }
        self.pump_line();
    }

    /// The connection is gone.
    pub fn service_broken(&mut self, id: u64) {
        let Some(service) = self.service() else { return };
        if let Some(connection) = service.connection(id) {
            service.line.broken(connection);
            service.connections.remove(&connection);
        }
        self.pump_line();
    }

    /// The emulator's machine does what is due.
    pub fn tick(&mut self) {
        let (now, at) = (self.line_now(), self.now);
        let Some(service) = self.service() else { return };
        service.ticks.retain(|tick| *tick > at);
        service.line.tick(now);
        self.pump_line();
    }

    fn pump_line(&mut self) {
        let now = self.line_now();
        while let Some(service) = self.service()
            && let Some(event) = service.line.next()
        {
            self.line_event(event, now);
        }
        let Some(service) = self.service() else { return };
        if let Some(at) = service.line.wake_at(now)
            && service.ticks.insert(at)
        {
            self.at(at.max(now.mono + ms(1)), Event::Tick);
        }
        self.ask_whether_it_reads();
    }

    fn ask_whether_it_reads(&mut self) {
        let now = self.line_now();
        let Some(id) = self.current else { return };
        let Some(service) = self.service() else { return };
        let reading =
            service.connection(id).map_or(Reading::Shut, |connection| service.line.reading(connection, now));
        self.takes = reading == Reading::Open;
        if let Reading::From(at) = reading {
            self.at(at, Event::Tick);
        }
    }

    fn line_event(&mut self, event: LineEvent, now: Now) {
        let Some(service) = self.service() else { return };
        match event {
            LineEvent::Ack { connection, ack } => {
                let Some(&id) = service.connections.get(&connection) else { return };
                service.words.push(ack);
                let (index, latency) = (service.words.len() - 1, service.latency_ms);
                self.after(latency, Event::Hear(id, index));
            }
            LineEvent::Close { connection, ending } => {
                let Some(id) = service.connections.remove(&connection) else { return };
                let latency = service.latency_ms;
                self.after(latency, Event::End(id, ending == LineEnding::Clean));
            }
            LineEvent::Received(arrived) => {
                let Some(&id) = service.connections.get(&arrived.connection) else { return };
                let time_ms = arrived.fragment.timecode as i64;
                let parts = self.wires.get(&id).and_then(|wire| wire.whole.get(&time_ms)).cloned();
                self.check(parts.is_some(), || {
                    format!("the emulator received a fragment at {time_ms} that never ended")
                });
                if let Some(service) = self.service() {
                    service.received.insert(arrived.number.to_string(), parts.unwrap_or_default());
                }
            }
            LineEvent::Store(number) => {
                service.line.stored(number, true, now);
                for (gop, units) in service.received.remove(&number.to_string()).unwrap_or_default() {
                    let archived = self.archived.entry(gop).or_default();
                    *archived = (*archived).max(units);
                }
            }
            LineEvent::Forget(number) => {
                service.received.remove(&number.to_string());
            }
            LineEvent::Frame(_) => {}
        }
    }

    /// A word of the emulator's machine has come through the network.
    pub fn hear(&mut self, id: u64, index: usize) {
        let newest = self.wires.keys().next_back().copied().unwrap_or_default();
        let Some(service) = self.service() else { return };
        let ack = service.words[index].clone();
        let unexpected = ack.kind == AckKind::Error && !service.errors_ordered;
        self.check(!unexpected, || format!("the emulator found something wrong: {ack:?}"));
        if id + 1 < newest {
            return;
        }
        let name = match ack.kind {
            AckKind::Buffering => "BUFFERING",
            AckKind::Received => "RECEIVED",
            AckKind::Persisted => "PERSISTED",
            AckKind::Idle => "IDLE",
            _ => "an error of the emulator",
        };
        self.tell(name, id, ack);
    }

    /// Something begins to go wrong at the emulator, for a while.
    pub fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let pause = self.random.u64(500..30_000);
        self.after(pause, Event::Fault);
        if self.random.u32(0..5) == 0 {
            return self.cut_the_network();
        }
        let fault = self.drawn_fault();
        let ends = self.now + ms(self.random.u64(500..60_000));
        let count = self.random.u32(1..4);
        let Some(service) = self.service() else { return };
        service.errors_ordered |= matches!(fault, Fault::Fail { .. });
        service.next_fault += 1;
        let counts = !matches!(fault, Fault::Stall | Fault::Freeze | Fault::Slow { .. });
        let order = FaultOrder { ends: Some(ends), count: counts.then_some(count), ..FaultOrder::of(fault) };
        service.faults.add(service.next_fault, order);
        self.tick();
    }

    fn cut_the_network(&mut self) {
        let Some(id) = self.current else { return };
        self.broken(id);
        self.close("cut", id, Ending::Broken("cut".to_owned()));
    }

    fn drawn_fault(&mut self) -> Fault {
        let (error, named) = (self.drawn_error(), self.random.bool());
        let at = [Moment::Begun, Moment::Received, Moment::Persisted][self.random.usize(..3)];
        let kinds = [
            Kinds::ALL,
            Kinds::of(&[AckKind::Persisted]),
            Kinds::of(&[AckKind::Buffering]),
            Kinds::of(&[AckKind::Received, AckKind::Persisted]),
        ][self.random.usize(..4)];
        match self.random.u32(0..10) {
            0..=3 => {
                self.tally.event("fault: error");
                Fault::Fail { error, named, at }
            }
            4 => {
                self.tally.event("fault: withheld");
                Fault::Withhold(kinds)
            }
            5 => {
                self.tally.event("fault: delayed");
                Fault::Delay { kinds, by: ms(self.random.u64(100..20_000)) }
            }
            6 => {
                self.tally.event("fault: stalled");
                Fault::Stall
            }
            7 => {
                self.tally.event("fault: frozen");
                Fault::Freeze
            }
            8 => {
                self.tally.event("fault: slow");
                Fault::Slow { bytes_per_second: self.random.u64(50..5_000) }
            }
            _ => {
                self.tally.event("fault: cut");
                Fault::CutAtFragment(self.random.u32(1..5))
            }
        }
    }

    /// No more faults.
    pub fn calm_service(&mut self) {
        let Some(service) = self.service() else { return };
        service.faults.clear();
        self.tick();
    }
}
