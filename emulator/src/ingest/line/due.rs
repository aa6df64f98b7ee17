//! What time does to a line: storing, late acknowledgements, age, silence, ends.

use std::time::Duration;

use streamfleet_media::ack::{Ack, ErrorId};

use super::{Connection, Ending, Line, LineEvent, Moment, Now, Stage};

impl Line {
    /// When [`Line::tick`] has something to do, if nothing else happens before.
    pub fn wake_at(&self, now: Now) -> Option<Duration> {
        let storing = self.pending.front().filter(|pending| !pending.storing).map(|pending| pending.due);
        let fault = self.faults.next_end(&self.settings.stream, now.mono);
        let manner = self.faults.manner(&self.settings.stream, now.mono);
        let own = self.connection.as_ref().filter(|_| !manner.frozen).and_then(|connection| {
            let late = connection.outbox.front().map(|(due, _)| *due);
            let stage = match connection.stage {
                Stage::Receiving if manner.stalled => Some(self.expires(connection)),
                Stage::Receiving => {
                    let silence = connection.silence_due(&self.settings).max(connection.free_at());
                    Some(silence.min(self.expires(connection)))
                }
                // Ends when all is stored and said, unless a fault holds the end back until it is lifted.
                Stage::Draining => None,
                Stage::Refused { until } => Some(until).filter(|until| *until > now.mono),
            };
            [late, stage].into_iter().flatten().min()
        });
        [storing, fault, own].into_iter().flatten().min()
    }

    /// Does all that is due.
    pub(super) fn settle(&mut self, now: Now) {
        self.send_what_is_due(now);
        self.store_what_is_due(now);
        self.mind_time(now);
        self.send_what_is_due(now);
        self.end_what_is_over(now);
    }

    fn store_what_is_due(&mut self, now: Now) {
        while let Some(front) = self.pending.front_mut()
            && !front.storing
            && front.due <= now.mono
        {
            match self.faults.fail(&self.settings.stream, Moment::Persisted, now.mono) {
                None => {
                    front.storing = true;
                    self.events.push_back(LineEvent::Store(front.number));
                    return;
                }
                Some((error, named)) => {
                    let Some(pending) = self.pending.pop_front() else { return };
                    self.give_up(&pending, error, named, now);
                }
            }
        }
    }

    pub(super) fn send_what_is_due(&mut self, now: Now) {
        let frozen = self.faults.manner(&self.settings.stream, now.mono).frozen;
        let Some(connection) = self.connection.as_mut().filter(|_| !frozen) else { return };
        while let Some((due, _)) = connection.outbox.front()
            && *due <= now.mono
            && let Some((_, ack)) = connection.outbox.pop_front()
        {
            self.events.push_back(LineEvent::Ack { connection: connection.id, ack });
        }
    }

    /// Age and silence.
    fn mind_time(&mut self, now: Now) {
        let manner = self.faults.manner(&self.settings.stream, now.mono);
        let Some(connection) = &mut self.connection else { return };
        if connection.stage != Stage::Receiving {
            return;
        }
        let held = manner.frozen || manner.stalled || connection.free_at() > now.mono;
        if std::mem::replace(&mut connection.held, held) || held {
            connection.excuse(now.mono);
        }
        if manner.frozen {
            return;
        }
        let expires = connection.opened.saturating_add(self.settings.session_limit);
        if expires <= now.mono {
            return self.refuse(ErrorId::MaxConnectionDurationReached, now);
        }
        if connection.silence_due(&self.settings) > now.mono {
            return;
        }
        if now.mono.saturating_sub(connection.heard) >= self.settings.idle_limit {
            let id = connection.id;
            return self.close(id, Ending::Clean);
        }
        let silent = now.mono.saturating_sub(connection.heard).as_nanos();
        let intervals = silent / self.settings.idle_ack_interval.as_nanos().max(1);
        connection.idles = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.acknowledge(Ack::idle(), now);
    }

    fn end_what_is_over(&mut self, now: Now) {
        let stream = &self.settings.stream;
        let Some(connection) = &self.connection else { return };
        let over = match connection.stage {
            Stage::Receiving => false,
            Stage::Draining => !self.pending.iter().any(|pending| pending.connection == connection.id),
            Stage::Refused { until } => until <= now.mono,
        };
        let held = self.faults.manner(stream, now.mono).frozen
            || self.faults.withholds_the_end(stream, now.mono)
            || !connection.outbox.is_empty();
        if over && !held {
            let id = connection.id;
            self.close(id, Ending::Clean);
        }
    }

    fn expires(&self, connection: &Connection) -> Duration {
        connection.opened.saturating_add(self.settings.session_limit)
    }
}
