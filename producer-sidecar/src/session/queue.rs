//! What the session knows of each group of pictures that is not stored yet: its times and sizes, not its bytes.

use std::collections::VecDeque;

use crate::buffer::{CodecId, GopId};

/// A group of pictures that waits to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its name in the buffer.
    pub id: GopId,
    /// The parameters that its session has to begin with.
    pub codec: CodecId,
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
    /// Whether a fragment has to begin here, because it was found too long or too large otherwise.
    pub cut_before: bool,
    /// How far it has come.
    pub place: Place,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No session has begun to send it, or none that still stands.
    Waiting,
    /// The session has begun to send it.
    InFlight,
    /// The session has sent it, and overflow has taken its bytes while the acknowledgement was awaited.
    Dropped,
}

/// The groups that wait, oldest first, by rising id.
#[derive(Debug, Default)]
pub struct Queue {
    gops: VecDeque<Queued>,
}

/// Groups that follow each other within this time leave no gap between them.
const CONTIGUOUS_MS: i64 = 5_000;

impl Queue {
    /// Adds a group that has begun.
    pub fn begin(&mut self, id: GopId, codec: CodecId, start_ms: i64, bytes: u64) {
        if let Some(last) = self.gops.back_mut()
            && (0..=CONTIGUOUS_MS).contains(&(start_ms - last.last_ms))
        {
            last.end_ms = start_ms;
        }
        self.gops.push_back(Queued {
            id,
            codec,
            start_ms,
            last_ms: start_ms,
            end_ms: start_ms,
            units: 1,
            bytes,
            complete: false,
            cut_before: false,
            place: Place::Waiting,
        });
    }

    /// Adds a unit to a group.
    pub fn extend(&mut self, id: GopId, time_ms: i64, bytes: u64) {
        if let Some(gop) = self.get_mut(id) {
            gop.units += 1;
            gop.bytes += bytes;
            gop.last_ms = gop.last_ms.max(time_ms);
            gop.end_ms = gop.last_ms;
        }
    }

    /// Marks a group as complete.
    pub fn complete(&mut self, id: GopId) {
        if let Some(gop) = self.get_mut(id) {
            gop.complete = true;
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

    /// The first group that can be sent after `id`, or from the beginning.
    pub fn next_to_send(&self, after: Option<GopId>) -> Option<&Queued> {
        let start = after.map_or(0, |id| self.gops.partition_point(|gop| gop.id <= id));
        self.gops.range(start..).find(|gop| gop.place == Place::Waiting)
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

    /// The time from the oldest picture that waits to the newest.
    pub fn span_ms(&self) -> i64 {
        match (self.gops.front(), self.gops.back()) {
            (Some(first), Some(last)) => last.last_ms - first.start_ms,
            _ => 0,
        }
    }

    fn position(&self, id: GopId) -> Option<usize> {
        self.gops.binary_search_by_key(&id, |gop| gop.id).ok()
    }
}
