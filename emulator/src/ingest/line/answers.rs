//! What a line says to its client, and how a session ends with an error.

use streamfleet_media::ack::{Ack, AckKind, ErrorId};

use super::{Announced, ConnectionId, Ending, Line, LineEvent, Now, Pending, Stage};
use crate::{ingest::MIN_FRAGMENT_DURATION_REACHED, number::FragmentNumber};

impl Line {
    pub(super) fn allot(&mut self, now: Now) -> Announced {
        let number = FragmentNumber::new(self.next_sequence, now.wall_ms, self.random.u32(..));
        self.next_sequence += 1;
        Announced { number, server_ms: now.wall_ms }
    }

    /// Ends the session with an error from outside the media, which names the open fragment.
    pub(super) fn refuse(&mut self, error: ErrorId, now: Now) {
        let timecode = self.connection.as_ref().and_then(|connection| connection.ingest.open_timecode());
        self.fail(error, timecode, now);
    }

    /// Ends the session with an error about the fragment with this time, if it is one's.
    pub(super) fn fail(&mut self, error: ErrorId, timecode: Option<u64>, now: Now) {
        let Some(connection) = &mut self.connection else { return };
        let number = match (connection.open.take(), timecode) {
            (Some(open), _) => Some(open.number),
            // Refused for its time, before it was announced.
            (None, Some(_)) => Some(self.allot(now).number),
            (None, None) => None,
        };
        self.end_with(error, timecode, number, now);
    }

    /// The same, where the fragment is named or not as ordered.
    pub(super) fn fail_by_order(&mut self, error: ErrorId, timecode: Option<u64>, now: Now) {
        let open = self.connection.as_mut().and_then(|connection| connection.open.take());
        let number = open.filter(|_| timecode.is_some()).map(|open| open.number);
        self.end_with(error, timecode, number, now);
    }

    pub(super) fn end_with(
        &mut self,
        error: ErrorId,
        timecode: Option<u64>,
        number: Option<FragmentNumber>,
        now: Now,
    ) {
        let until = now.mono.saturating_add(self.settings.error_linger);
        let Some(connection) = &mut self.connection else { return };
        if matches!(connection.stage, Stage::Refused { .. }) {
            return;
        }
        let number = number.and_then(|number| number.to_string().parse().ok());
        let mut ack = Ack::failure(error, timecode.map(|timecode| timecode as i64), number);
        ack.error_code = Some(name(error));
        self.acknowledge(ack, now);
        if let Some(connection) = &mut self.connection {
            // A client that has ended its body is not waited for.
            let ended = connection.stage == Stage::Draining;
            connection.stage = Stage::Refused { until: if ended { now.mono } else { until } };
        }
    }

    /// An error in place of storing.
    pub(super) fn give_up(&mut self, pending: &Pending, error: ErrorId, named: bool, now: Now) {
        self.events.push_back(LineEvent::Forget(pending.number));
        if self.connected() == Some(pending.connection) {
            let number = named.then_some(pending.number);
            self.end_with(error, named.then_some(pending.timecode), number, now);
        }
    }

    pub(super) fn acknowledge_of(&mut self, pending: &Pending, kind: AckKind, now: Now) {
        let listens = self.connection.as_ref().is_some_and(|connection| {
            // After an error the client hears of nothing more.
            connection.id == pending.connection && !matches!(connection.stage, Stage::Refused { .. })
        });
        if listens {
            self.acknowledge(told(kind, pending.timecode, pending.number), now);
        }
    }

    /// Says something to the client, when the faults let it.
    pub(super) fn acknowledge(&mut self, ack: Ack, now: Now) {
        let stream = &self.settings.stream;
        if self.faults.withholds(stream, &ack.kind, now.mono) {
            return;
        }
        let due = now.mono.saturating_add(self.faults.delay(stream, &ack.kind, now.mono));
        if let Some(connection) = &mut self.connection {
            let due = connection.outbox.back().map_or(due, |(last, _)| due.max(*last));
            connection.outbox.push_back((due, ack));
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId, ending: Ending) {
        if self.connection.take_if(|connection| connection.id == id).is_some() {
            self.events.push_back(LineEvent::Close { connection: id, ending });
        }
    }
}

/// An acknowledgement of a fragment that is well.
pub(super) fn told(kind: AckKind, timecode: u64, number: FragmentNumber) -> Ack {
    let number = number.to_string().parse().ok();
    Ack { kind, timecode: Some(timecode as i64), number, error: None, error_code: None }
}

/// The error's name on the wire.
fn name(error: ErrorId) -> String {
    let name =
        if error == MIN_FRAGMENT_DURATION_REACHED { "MIN_FRAGMENT_DURATION_REACHED" } else { error.name() };
    name.to_owned()
}
