//! What the session knows of each group of pictures that is not stored yet: its times and sizes, not its bytes.

use std::collections::VecDeque;

use super::{RecoveredGop, TrackSet};
use crate::buffer::{CodecId, GopId};

/// A group of pictures that waits to be stored.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its name in the buffer.
    pub id: GopId,
    /// The parameters that its session has to begin with.
    pub codec: CodecId,
    /// The tracks of these parameters.
    pub tracks: TrackSet,
    /// The tracks of which it has units by now.
    pub present: TrackSet,
    /// Tracks that are to be left out, because the service missed them in a fragment.
    pub left_out: TrackSet,
    /// The time of its key frame.
    pub start_ms: i64,
    /// The latest time among its pictures.
    pub last_ms: i64,
    /// Where the next group took over; `last_ms` where none did.
    pub end_ms: i64,
    /// How many units it has by now.
    pub units: usize,
    /// The bytes of its units.
    pub bytes: u64,
    /// Whether no more units come.
    pub complete: bool,
    /// Whether a fragment has to begin here, because it grew too long or too large otherwise.
    pub cut_before: bool,
    /// Whether its fragment is to be as short as may be, because a longer one was refused as too long or too large.
    pub cut_short: bool,
    /// Whether its fragment goes without tags, because the service refused them.
    pub without_tags: bool,
    /// How far it has come.
    pub place: Place,
    /// Where its bytes are.
    pub home: Home,
    /// Whether the spool has a copy.
    pub on_spool: bool,
    /// Whether it could not be written to the spool.
    pub unspoolable: bool,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No session has begun to send it, or none that still stands.
    Waiting,
    /// The session has begun to send it.
    InFlight,
    /// All that it has by now is stored; it is kept while more may come, or while it is being sent once more.
    Stored,
    /// The session has sent it, and overflow has taken its bytes while the acknowledgement was awaited.
    Dropped,
}

/// Where the bytes of a group are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In memory.
    Memory,
    /// In memory, on their way to the spool.
    Storing,
    /// On the spool alone.
    Spool,
    /// On the spool, on their way to memory.
    Loading,
}

impl Queued {
    /// The tracks that a header for it has to name: of a whole group those that it has, of one that grows all.
    pub fn header_tracks(&self) -> TrackSet {
        let wanted = self.tracks.without(self.left_out);
        let absent = if self.complete { wanted.without(self.present) } else { TrackSet::NONE };
        wanted.without(absent)
    }
}

/// The groups that wait, oldest first, by rising id.
#[derive(Debug, Default)]
pub struct Queue {
    gops: VecDeque<Queued>,
}

/// Groups that follow each other within this time leave no gap between them.
pub(super) const CONTIGUOUS_MS: i64 = 5_000;

impl Queue {
    /// Adds a group that has begun.
    pub fn begin(&mut self, begun: RecoveredGop) {
        // Where groups between have left already, they have their own end, and what overflow took has its own gap for
        // what followed it.
        if let Some(last) = self.gops.back_mut()
            && last.id.0 + 1 == begun.gop.0
            && last.place != Place::Dropped
            && (0..=CONTIGUOUS_MS).contains(&(begun.start_ms - last.last_ms))
        {
            last.end_ms = begun.start_ms;
        }
        self.gops.push_back(Queued {
            id: begun.gop,
            codec: begun.codec,
            tracks: begun.tracks,
            present: begun.present,
            left_out: TrackSet::NONE,
            start_ms: begun.start_ms,
            last_ms: begun.last_ms,
            end_ms: begun.last_ms,
            units: begun.units,
            bytes: begun.bytes,
            complete: false,
            cut_before: false,
            cut_short: false,
            without_tags: false,
            place: Place::Waiting,
            home: Home::Memory,
            on_spool: false,
            unspoolable: false,
        });
    }

    /// Adds a whole group that the spool has.
    pub fn recover(&mut self, gop: RecoveredGop) {
        self.begin(gop);
        if let Some(last) = self.gops.back_mut() {
            last.complete = true;
            last.home = Home::Spool;
            last.on_spool = true;
        }
    }

    /// Adds a unit to a group. What was stored of it so far is not all of it any more.
    pub fn extend(&mut self, id: GopId, track: u8, time_ms: i64, bytes: u64) {
        if let Some(gop) = self.get_mut(id) {
            gop.units += 1;
            gop.bytes += bytes;
            gop.present = gop.present.with(TrackSet::only(track));
            gop.last_ms = gop.last_ms.max(time_ms);
            gop.end_ms = gop.last_ms;
            if gop.place == Place::Stored {
                gop.place = Place::Waiting;
            }
        }
    }

    /// Marks a group as complete.
    pub fn complete(&mut self, id: GopId) {
        if let Some(gop) = self.get_mut(id) {
            gop.complete = true;
        }
    }

    /// Moves all times.
    pub fn shift(&mut self, by_ms: i64) {
        for gop in &mut self.gops {
            gop.start_ms += by_ms;
            gop.last_ms += by_ms;
            gop.end_ms += by_ms;
        }
    }

    /// The group of this name.
    pub fn get(&self, id: GopId) -> Option<&Queued> {
        self.position(id).and_then(|index| self.gops.get(index))
    }

    /// The group of this name, to change.
    pub fn get_mut(&mut self, id: GopId) -> Option<&mut Queued> {
        self.position(id).and_then(|index| self.gops.get_mut(index))
    }

    /// The groups that can be sent after `id`, or from the beginning.
    pub fn to_send(&self, after: Option<GopId>) -> impl Iterator<Item = &Queued> {
        let start = after.map_or(0, |id| self.gops.partition_point(|gop| gop.id <= id));
        self.gops.range(start..).filter(|gop| gop.place == Place::Waiting)
    }

    /// The first group that can be sent after `id`, or from the beginning.
    pub fn next_to_send(&self, after: Option<GopId>) -> Option<&Queued> {
        self.to_send(after).next()
    }

    /// Takes a group out.
    pub fn remove(&mut self, id: GopId) -> Option<Queued> {
        self.position(id).and_then(|index| self.gops.remove(index))
    }

    /// All groups, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.gops.iter()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.gops.is_empty()
    }

    /// How many groups wait; one of which all is stored, and that may grow still, does not.
    pub fn len(&self) -> usize {
        match self.gops.back() {
            Some(last) if last.place == Place::Stored => self.gops.len() - 1,
            _ => self.gops.len(),
        }
    }

    /// The time from the oldest picture that waits to the newest.
    pub fn span_ms(&self) -> i64 {
        match (self.gops.front(), self.gops.back()) {
            (Some(first), Some(last)) if first.place != Place::Stored => last.last_ms - first.start_ms,
            _ => 0,
        }
    }

    /// The time from the end of the oldest whole group that is not stored to the newest picture: one that still comes
    /// keeps nobody waiting.
    pub fn behind_ms(&self) -> i64 {
        let oldest = self.gops.iter().find(|gop| gop.complete && gop.place != Place::Stored);
        match (oldest, self.gops.back()) {
            (Some(oldest), Some(newest)) => (newest.last_ms - oldest.end_ms).max(0),
            _ => 0,
        }
    }

    /// The latest time of the newest group.
    pub fn newest_ms(&self) -> Option<i64> {
        self.gops.back().map(|gop| gop.last_ms)
    }

    fn position(&self, id: GopId) -> Option<usize> {
        self.gops.binary_search_by_key(&id, |gop| gop.id).ok()
    }
}
