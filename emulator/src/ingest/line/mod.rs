//! One stream's `PutMedia` life as a machine without I/O and without a clock: who may open a session, what is
//! acknowledged in which order, what silence, age, errors and faults do.
//!
//! Time comes in with each call, and so do bytes; out come [`LineEvent`]s. The server of this crate drives its streams with
//! it, and simulations may drive it in virtual time: both see the same service.
//!
//! A fragment's way: its Cluster begins (`BUFFERING`), it is whole ([`LineEvent::Received`], `RECEIVED`), after a delay it is
//! to be stored ([`LineEvent::Store`], answered by [`Line::stored`]), and then it is `PERSISTED`. Without retention it ends
//! with `RECEIVED`. What was received is stored whatever becomes of its session.

mod answers;
mod connection;
mod due;
mod faults;
mod settings;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use streamfleet_media::{
    ack::{Ack, AckKind, ErrorId},
    limits::PUT_MEDIA_CALLS_PER_SECOND_MAX,
};

use super::{Fragment, FrameSeen, Ingest, IngestEvent};
use crate::number::FragmentNumber;
use answers::told;
use connection::{Announced, Connection, Stage};
pub use connection::{ConnectionId, Ending, Origin, Reading};
pub use faults::{Fault, FaultBook, FaultOrder, Kinds, Moment};
pub use settings::{LineSettings, Now};

/// What a rate may exceed at once: a second's worth.
const BURST: Duration = Duration::from_secs(1);

/// Why a session is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `ResourceNotFoundException`: the stream is not `ACTIVE`.
    #[error("the stream is not active")]
    NotActive,
    /// `ConnectionLimitExceededException`: the stream has its one session; the newcomer is refused.
    #[error("the stream has a PutMedia connection already; the newcomer is refused")]
    ConnectionLimit,
    /// `ClientLimitExceededException`: too many requests in this second.
    #[error("more than {PUT_MEDIA_CALLS_PER_SECOND_MAX} PutMedia calls in a second")]
    ClientLimit,
}

/// A whole fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its session.
    pub connection: ConnectionId,
    /// Its number.
    pub number: FragmentNumber,
    /// When it was taken, by the producer's clock, in milliseconds since the epoch.
    pub producer_ms: u64,
    /// When its first bytes came, in milliseconds since the epoch.
    pub server_ms: u64,
    /// Its bytes.
    pub fragment: Fragment,
}

/// What a line wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineEvent {
    /// Send this to the client.
    Ack {
        /// Whose.
        connection: ConnectionId,
        /// What.
        ack: Ack,
    },
    /// End the answer. The line knows the session no more.
    Close {
        /// Whose.
        connection: ConnectionId,
        /// How.
        ending: Ending,
    },
    /// A frame has come in whole, where the rules ask for frames.
    Frame(FrameSeen),
    /// From now on live readers see this fragment.
    Received(Box<Arrived>),
    /// Store a fragment that was received, and say so with [`Line::stored`]. One at a time.
    Store(FragmentNumber),
    /// A received fragment will not be stored: nobody is to see it any more.
    Forget(FragmentNumber),
}

/// A fragment that is received and waits to be stored.
#[derive(Clone, Copy, Debug)]
struct Pending {
    connection: ConnectionId,
    number: FragmentNumber,
    timecode: u64,
    due: Duration,
    /// [`LineEvent::Store`] is out.
    storing: bool,
}

/// One stream's `PutMedia` life.
#[derive(Debug)]
pub struct Line {
    settings: LineSettings,
    faults: Arc<FaultBook>,
    active: bool,
    retained: bool,
    connection: Option<Connection>,
    /// In the order in which they are stored.
    pending: VecDeque<Pending>,
    /// When sessions were asked for, within the last second.
    calls: VecDeque<Duration>,
    last_id: u64,
    next_sequence: u64,
    random: fastrand::Rng,
    events: VecDeque<LineEvent>,
}

impl Line {
    /// A line of an `ACTIVE` stream with retention, without sessions.
    pub fn new(settings: LineSettings, faults: Arc<FaultBook>) -> Self {
        Self {
            active: true,
            retained: true,
            connection: None,
            pending: VecDeque::new(),
            calls: VecDeque::new(),
            last_id: 0,
            next_sequence: settings.first_sequence,
            random: fastrand::Rng::with_seed(settings.seed),
            events: VecDeque::new(),
            settings,
            faults,
        }
    }

    /// Whether the stream stores what it receives; a retention of 0 does not.
    pub fn set_retained(&mut self, retained: bool) {
        self.retained = retained;
    }

    /// Whether the stream is `ACTIVE`. When it is no more, its session ends with error 4008 and nothing is stored.
    pub fn set_active(&mut self, active: bool, now: Now) {
        self.active = active;
        if !active {
            self.pending.clear();
            self.refuse(ErrorId::StreamNotActive, now);
            self.settle(now);
        }
    }

    /// A request whose head is in order asks for a session.
    pub fn open(&mut self, origin: Origin, now: Now) -> Result<ConnectionId, Refusal> {
        self.settle(now);
        if let Some(limit) = self.settings.calls_per_second {
            let second_ago = now.mono.saturating_sub(Duration::from_secs(1));
            self.calls.retain(|call| *call > second_ago || now.mono < Duration::from_secs(1));
            if self.calls.len() >= limit as usize {
                return Err(Refusal::ClientLimit);
            }
            self.calls.push_back(now.mono);
        }
        if !self.active {
            return Err(Refusal::NotActive);
        }
        if self.connection.is_some() {
            return Err(Refusal::ConnectionLimit);
        }
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let ingest = Ingest::with_rules(self.settings.rules);
        self.connection = Some(Connection::new(id, origin, ingest, now.mono));
        Ok(id)
    }

    /// The session that has the stream's one place.
    pub fn connected(&self) -> Option<ConnectionId> {
        self.connection.as_ref().map(|connection| connection.id)
    }

    /// Whether a fault holds that nothing is answered, not even a request.
    pub fn is_frozen(&self, now: Now) -> bool {
        self.faults.manner(&self.settings.stream, now.mono).frozen
    }

    /// Whether more of the session's body is to be read. Bytes that come all the same are taken.
    pub fn reading(&self, id: ConnectionId, now: Now) -> Reading {
        let Some(connection) = self.connection.as_ref().filter(|connection| connection.id == id) else {
            return Reading::Open;
        };
        let manner = self.faults.manner(&self.settings.stream, now.mono);
        match connection.stage {
            _ if manner.frozen => Reading::Shut,
            Stage::Receiving if manner.stalled => Reading::Shut,
            Stage::Receiving if connection.free_at() > now.mono => Reading::From(connection.free_at()),
            Stage::Receiving | Stage::Draining | Stage::Refused { .. } => Reading::Open,
        }
    }

    /// The next bytes of the session's body.
    pub fn push(&mut self, id: ConnectionId, mut bytes: Bytes, now: Now) {
        self.settle(now);
        let Some(connection) = self.receiving(id) else { return };
        connection.excuse(now.mono);
        connection.bytes += bytes.len() as u64;
        let come = connection.bytes;
        let cut_at = self.faults.cut_at_byte(&self.settings.stream, come, now.mono);
        if let Some(at) = cut_at {
            let beyond = usize::try_from(come - at).unwrap_or(usize::MAX);
            bytes.truncate(bytes.len().saturating_sub(beyond));
        }
        self.pace(bytes.len() as u64, now);
        if let Some(connection) = self.receiving(id) {
            connection.ingest.push(bytes);
        }
        self.take_events(now);
        if cut_at.is_some() {
            self.cut(now);
        }
        self.settle(now);
    }

    /// The session's body has ended as it should.
    pub fn finish(&mut self, id: ConnectionId, now: Now) {
        self.settle(now);
        if let Some(connection) = self.receiving(id) {
            connection.ingest.finish();
            self.take_events(now);
        }
        if let Some(connection) = self.connection.as_mut().filter(|connection| connection.id == id) {
            match &mut connection.stage {
                Stage::Receiving => connection.stage = Stage::Draining,
                // The client has ended too: nothing is left to wait for.
                Stage::Refused { until } => *until = now.mono,
                Stage::Draining => {}
            }
        }
        self.settle(now);
    }

    /// The session's connection is gone. What was received is stored; what is half here never was.
    pub fn broken(&mut self, id: ConnectionId) {
        self.connection.take_if(|connection| connection.id == id);
    }

    /// Drops the session's connection as it is.
    pub fn cut(&mut self, now: Now) {
        self.send_what_is_due(now);
        if let Some(id) = self.connected() {
            self.close(id, Ending::Cut);
        }
    }

    /// Ends the session with an error now, which names the open fragment or none.
    pub fn fail_now(&mut self, error: ErrorId, named: bool, now: Now) {
        if named {
            self.refuse(error, now);
        } else {
            self.fail_by_order(error, None, now);
        }
        self.settle(now);
    }

    /// A fragment of [`LineEvent::Store`] is stored, or could not be.
    pub fn stored(&mut self, number: FragmentNumber, done: bool, now: Now) {
        let Some(at) = self.pending.iter().position(|pending| pending.number == number) else { return };
        let Some(pending) = self.pending.remove(at) else { return };
        if done {
            self.acknowledge_of(&pending, AckKind::Persisted, now);
        } else {
            self.give_up(&pending, ErrorId::ArchivalError, true, now);
        }
        self.settle(now);
    }

    /// Nothing more will come: what is received is stored without delay.
    pub fn hurry(&mut self, now: Now) {
        for pending in &mut self.pending {
            pending.due = now.mono;
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.settle(now);
    }

    /// The next thing to do.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Option<LineEvent> {
        self.events.pop_front()
    }

    /// Fragments that are received and not yet stored.
    pub fn unstored(&self) -> usize {
        self.pending.len()
    }

    fn receiving(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connection
            .as_mut()
            .filter(|connection| connection.id == id && connection.stage == Stage::Receiving)
    }

    fn pace(&mut self, bytes: u64, now: Now) {
        let slow = self.faults.manner(&self.settings.stream, now.mono).bytes_per_second;
        let limit = self.settings.bytes_per_second;
        let Some(connection) = &mut self.connection else { return };
        if let Some(rate) = slow {
            connection.pace_bytes(bytes, rate, Duration::ZERO, now.mono);
        } else if let Some(rate) = limit {
            connection.pace_bytes(bytes, rate, BURST, now.mono);
        }
    }

    fn take_events(&mut self, now: Now) {
        while let Some(connection) = &mut self.connection
            && connection.stage == Stage::Receiving
            && let Some(event) = connection.ingest.next()
        {
            match event {
                IngestEvent::Started { timecode, timecode_scale } => {
                    self.begin(timecode, timecode_scale, now);
                }
                IngestEvent::Frame(frame) => self.events.push_back(LineEvent::Frame(frame)),
                IngestEvent::Received(fragment) => self.receive(fragment, now),
                IngestEvent::Refused { error, timecode } => self.fail(error, timecode, now),
            }
        }
    }

    fn begin(&mut self, timecode: u64, timecode_scale: u64, now: Now) {
        let announced = self.allot(now);
        let stream = &self.settings.stream;
        let fragments_per_second = self.settings.fragments_per_second;
        let Some(connection) = &mut self.connection else { return };
        connection.fragments += 1;
        if let Some(rate) = fragments_per_second {
            connection.pace_fragment(rate, BURST, now.mono);
        }
        connection.open = Some(announced);
        let begun = connection.fragments;
        let producer_ms = producer_ms(connection.origin, timecode, timecode_scale);
        let ordered = self.faults.fail(stream, Moment::Begun, now.mono);
        let cut = self.faults.cut_at_fragment(stream, begun, now.mono);
        if self.is_out_of_time(producer_ms, now) {
            return self.fail(ErrorId::InvalidProducerTimestamp, Some(timecode), now);
        }
        self.acknowledge(told(AckKind::Buffering, timecode, announced.number), now);
        if cut {
            self.cut(now);
        } else if let Some((error, named)) = ordered {
            self.fail_by_order(error, named.then_some(timecode), now);
        }
    }

    fn is_out_of_time(&self, producer_ms: u64, now: Now) -> bool {
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let ahead = self
            .settings
            .future_limit
            .is_some_and(|limit| producer_ms > now.wall_ms.saturating_add(millis(limit)));
        let behind = self
            .settings
            .past_limit
            .is_some_and(|limit| producer_ms < now.wall_ms.saturating_sub(millis(limit)));
        ahead || behind
    }

    fn receive(&mut self, fragment: Fragment, now: Now) {
        let Some(connection) = &mut self.connection else { return };
        let (id, origin) = (connection.id, connection.origin);
        let announced = connection.open.take();
        let Announced { number, server_ms } = announced.unwrap_or_else(|| self.allot(now));
        let timecode = fragment.timecode;
        if let Some((error, named)) = self.faults.fail(&self.settings.stream, Moment::Received, now.mono) {
            if let Some(connection) = &mut self.connection {
                connection.open = Some(Announced { number, server_ms });
            }
            return self.fail_by_order(error, named.then_some(timecode), now);
        }
        let producer_ms = producer_ms(origin, timecode, fragment.timecode_scale);
        let arrived = Arrived { connection: id, number, producer_ms, server_ms, fragment };
        self.events.push_back(LineEvent::Received(Box::new(arrived)));
        self.acknowledge(told(AckKind::Received, timecode, number), now);
        if self.retained {
            let due = now.mono.saturating_add(self.draw_delay());
            // In order: one that is drawn late holds the ones behind it.
            let due = self.pending.back().map_or(due, |last| due.max(last.due));
            self.pending.push_back(Pending { connection: id, number, timecode, due, storing: false });
        }
    }

    fn draw_delay(&mut self) -> Duration {
        let nanos = |delay: Duration| u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let (from, to) =
            (nanos(*self.settings.persist_delay.start()), nanos(*self.settings.persist_delay.end()));
        Duration::from_nanos(self.random.u64(from..=to.max(from)))
    }
}

fn producer_ms(origin: Origin, timecode: u64, timecode_scale: u64) -> u64 {
    let nanos = u128::from(timecode) * u128::from(timecode_scale);
    let millis = u64::try_from(nanos / 1_000_000).unwrap_or(u64::MAX);
    match origin {
        Origin::Absolute => millis,
        Origin::Relative(start) => start.saturating_add(millis),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
