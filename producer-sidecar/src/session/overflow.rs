//! What is done when memory is full: groups go to the spool while it has room, then some are given up, by the policy that
//! the feed names and by whole groups.

use streamfleet_contract::{GapReason, Overflow};

use super::mutant::Mutant;
use super::queue::{Home, Place, Queued};
use super::spooling::AHEAD_GROUPS;
use super::{Output, Session, SpoolRoom};
use crate::buffer::GopId;

/// How much may be on its way to the spool, and in memory still, at a time; or one group.
const STORING_BYTES_MAX: u64 = 8 << 20;

impl Session {
    /// Has about `bytes` of memory freed.
    ///
    /// To the spool goes first what is needed last: the newest that is whole. The group that is being sent stays, and so
    /// do the next ones, if there is another way. What is given up by age takes first what is on its way: most likely it will
    /// be stored all the same, and what is given up is only the means to send it again; whether it is a gap is said when
    /// it is known. What was fetched from the spool is never given up for memory: it goes back there, save the group that is
    /// sent next.
    pub fn shed(&mut self, bytes: u64, room: SpoolRoom) {
        let on_the_way = if self.storing_groups > 1 {
            self.storing_bytes.min(STORING_BYTES_MAX)
        } else {
            self.storing_bytes
        };
        let mut missing = bytes.saturating_sub(on_the_way);
        if let SpoolRoom::Bytes(room) = room
            && self.storing_bytes < STORING_BYTES_MAX
        {
            missing = self.store_newest(missing, room.saturating_sub(self.storing_bytes));
        }
        while missing > 0 {
            let victim = match self.settings.overflow {
                Overflow::DropOldest => self.oldest(room),
                Overflow::DropNewest => self.newest_of_memory(),
            };
            let Some((id, size)) = victim else { break };
            self.drop_gop(id);
            missing = missing.saturating_sub(size.max(1));
        }
        // One that was to be sent next may be gone.
        self.load_ahead();
    }

    /// Has about `bytes` sent to the spool before memory is full. Nothing is given up.
    pub fn relieve(&mut self, bytes: u64, room: SpoolRoom) {
        let missing = bytes.saturating_sub(self.storing_bytes);
        if let SpoolRoom::Bytes(room) = room
            && self.storing_bytes < STORING_BYTES_MAX
        {
            self.store_newest(missing, room.saturating_sub(self.storing_bytes));
        }
    }

    /// Sends groups to the spool; gives what is missing then.
    fn store_newest(&mut self, mut missing: u64, mut room: u64) -> u64 {
        let cursor = self.attempt.as_ref().and_then(|attempt| attempt.cursor).map(|cursor| cursor.gop);
        let ahead: Vec<GopId> = self.queue.to_send(cursor).take(AHEAD_GROUPS).map(|gop| gop.id).collect();
        let first = ahead.first().copied();
        for keeps_ahead in [true, false] {
            let stays = |id: &GopId| Some(*id) == first || keeps_ahead && ahead.contains(id);
            let mut chosen = Vec::new();
            for gop in self.queue.iter().rev().filter(|gop| can_be_stored(gop)) {
                let cost = if gop.on_spool { 0 } else { gop.bytes };
                if missing == 0 {
                    break;
                }
                if !stays(&gop.id) && !self.is_being_sent(gop.id) && cost <= room {
                    missing = missing.saturating_sub(gop.bytes.max(1));
                    room -= cost;
                    chosen.push(gop.id);
                }
            }
            for id in chosen {
                // There is no room to fetch so far ahead: it would come and go without end.
                self.fetches_ahead &= !ahead.contains(&id);
                self.store(id);
            }
        }
        missing
    }

    /// The oldest group that can be given up: one that the spool has, also where it was fetched, makes room there for one
    /// in memory, if there is one that it takes.
    fn oldest(&self, room: SpoolRoom) -> Option<(GopId, u64)> {
        let is_room_of_use = room != SpoolRoom::None
            && self
                .queue
                .iter()
                .rev()
                .any(|gop| can_be_stored(gop) && !gop.on_spool && !self.is_being_sent(gop.id));
        let next = self.fetched_next();
        let helps = |gop: &&Queued| (!gop.on_spool || is_room_of_use) && Some(gop.id) != next;
        self.queue.iter().filter(helps).find(|gop| self.may_go(gop)).map(|gop| (gop.id, gop.bytes))
    }

    /// The group of the spool that the session that stands sends next: it is about to be gone anyway, and all that waits
    /// behind it would be given up in its place, one after the other.
    fn fetched_next(&self) -> Option<GopId> {
        let attempt = self.attempt.as_ref().filter(|attempt| attempt.accepted_at.is_some())?;
        let next = self.queue.next_to_send(attempt.cursor.map(|cursor| cursor.gop))?;
        next.on_spool.then_some(next.id)
    }

    fn newest_of_memory(&self) -> Option<(GopId, u64)> {
        let in_memory = |gop: &&Queued| gop.home == Home::Memory && !gop.on_spool;
        let newest = self.queue.iter().rev().filter(in_memory).find(|gop| self.may_go(gop));
        newest.map(|gop| (gop.id, gop.bytes))
    }

    fn may_go(&self, gop: &Queued) -> bool {
        gop.place != Place::Dropped && !self.is_being_sent(gop.id)
    }

    fn drop_gop(&mut self, id: GopId) {
        let Some(gop) = self.queue.get(id).cloned() else { return };
        self.expect_rest(&gop, gop.place == Place::Waiting, GapReason::BufferOverflow, "");
        match gop.place {
            Place::InFlight => self.drop_on_its_way(id),
            _ => _ = self.forget(id),
        }
        if gop.place == Place::Waiting && !self.has(Mutant::SilentOverflow) {
            self.report_gap(gop.start_ms, gop.end_ms, GapReason::BufferOverflow, String::new());
        }
        self.outputs.push_back(Output::Free(id));
    }

    /// Whether it is a gap is said when it is known.
    fn drop_on_its_way(&mut self, id: GopId) {
        let Some(gop) = self.queue.get_mut(id) else { return };
        gop.place = Place::Dropped;
        // The buffer forgets it: nobody will say that it is.
        gop.complete = true;
        let (bytes, home) = (gop.bytes, std::mem::replace(&mut gop.home, Home::Memory));
        if home == Home::Storing {
            self.no_longer_storing(bytes);
        }
    }
}

fn can_be_stored(gop: &Queued) -> bool {
    gop.complete
        && gop.home == Home::Memory
        && !gop.unspoolable
        && matches!(gop.place, Place::Waiting | Place::InFlight)
}
