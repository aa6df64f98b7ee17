//! What a session looks like to somebody who reads all that it sends, and the rules that it must keep to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use streamfleet_contract::StoredAt;
use streamfleet_media::ack::{Ack, AckKind};
use streamfleet_media::limits::{FRAGMENT_MS_MAX, FRAGMENT_MS_MIN, FRAGMENTS_PER_SECOND_MAX};
use streamfleet_producer::buffer::{CodecId, GopId};
use streamfleet_producer::session::{Piece, Tags, TrackSet};

use crate::store::Unit;
use crate::world::World;

/// A session as it was sent.
#[derive(Debug, Default)]
pub struct Wire {
    header: Option<(CodecId, TrackSet)>,
    latest_ms: Option<i64>,
    open: Option<Open>,
    /// Fragments that are whole: their groups, with how many units of each.
    pub whole: BTreeMap<i64, Vec<(GopId, usize)>>,
    begun_at: VecDeque<Duration>,
    /// Whether the body has ended.
    pub ended: bool,
    /// Whether nothing can be received of it any more.
    pub over: bool,
}

/// A fragment that is being sent.
#[derive(Debug)]
struct Open {
    time_ms: i64,
    parts: Vec<(GopId, usize)>,
    present: TrackSet,
    tagged: bool,
    begun_at: Duration,
}

impl World {
    /// The peer receives a piece.
    pub fn receive(&mut self, id: u64, piece: Piece) {
        if self.traced() {
            eprintln!("          {id} {piece:?}");
        }
        let unit = match piece {
            Piece::Unit { gop, index, .. } => self.unit_in_memory(gop, index),
            _ => None,
        };
        match piece {
            Piece::Header(gop, tracks) => self.receive_header(id, gop, tracks),
            Piece::Cluster(time_ms) => self.receive_cluster(id, time_ms),
            Piece::Unit { gop, index, cluster_ms, tracks } => {
                if let Some(unit) = unit.filter(|unit| tracks.contains(unit.track)) {
                    self.receive_unit(id, (gop, index), cluster_ms, unit);
                } else {
                    // Of a track that is left out: it is passed over.
                    self.count_unit(id, gop, index);
                }
            }
            Piece::Tags(Tags::Configured) => {
                self.tally.event("tags");
                let open = self.wires.get_mut(&id).and_then(|wire| wire.open.as_mut());
                let expected = open.is_some_and(|open| !std::mem::replace(&mut open.tagged, true));
                self.check(expected, || "tags without a fragment, or twice".to_owned());
            }
            Piece::Tags(Tags::EndOfFragment) => {
                self.tally.event("end of fragment");
                self.close_fragment(id, None);
            }
        }
        self.received(id, piece, unit);
    }

    fn unit_in_memory(&mut self, gop: GopId, index: usize) -> Option<Unit> {
        let group = self.store.groups.get(&gop).filter(|group| group.in_memory);
        let unit = group.and_then(|group| group.units.get(index)).copied();
        self.check(unit.is_some(), || format!("unit {index} of {gop:?} is sent, and is not in memory"));
        unit
    }

    fn receive_header(&mut self, id: u64, gop: GopId, tracks: TrackSet) {
        let oldest = self.store.groups.keys().copied().find(|gop| !self.is_stored(*gop));
        self.check(oldest == Some(gop), || format!("session {id} begins with {gop:?} instead of {oldest:?}"));
        let group = self.store.groups.get(&gop).map(|group| (group.codec, group.tracks, group.in_memory));
        let Some((codec, all, in_memory)) = group else { return };
        self.check(in_memory, || format!("a header for {gop:?}, which is not in memory"));
        self.check(tracks.without(all).is_empty() && tracks.contains(0), || {
            format!("a header of {tracks:?}")
        });
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let second = wire.header.replace((codec, tracks));
        self.check(second.is_none(), || "a second header".to_owned());
    }

    fn receive_cluster(&mut self, id: u64, time_ms: i64) {
        self.close_fragment(id, Some(time_ms));
        let earliest = self.earliest_ms();
        self.check(earliest.is_none_or(|earliest| time_ms >= earliest), || {
            format!("a fragment at {time_ms}, and {earliest:?} is stored")
        });
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let (latest, has_header) = (wire.latest_ms, wire.header.is_some());
        wire.latest_ms = Some(time_ms);
        wire.open =
            Some(Open { time_ms, parts: Vec::new(), present: TrackSet::NONE, tagged: false, begun_at: now });
        wire.begun_at.push_back(now);
        let fifth = if wire.begun_at.len() > FRAGMENTS_PER_SECOND_MAX as usize {
            wire.begun_at.pop_front()
        } else {
            None
        };
        self.check(has_header, || "a cluster before the header".to_owned());
        self.check(latest.is_none_or(|latest| time_ms > latest), || {
            format!("a cluster at {time_ms}, after a block at {latest:?}")
        });
        self.check(fifth.is_none_or(|fifth| now >= fifth + Duration::from_secs(1)), || {
            "more fragments in a second than the service takes".to_owned()
        });
    }

    fn receive_unit(&mut self, id: u64, (gop, index): (GopId, usize), cluster_ms: i64, unit: Unit) {
        // What has begun must go on, whatever is said of it then.
        let had_begun = self.wires.get(&id).and_then(|wire| wire.open.as_ref()).is_some_and(|open| {
            open.parts.is_empty() && self.acknowledged_at.get(&gop).is_some_and(|&at| at >= open.begun_at)
        });
        let again = index == 0 && self.is_stored(gop) && !had_begun;
        self.check(!again, || format!("{gop:?} goes out again after it was said to be stored"));
        let codec = self.store.groups.get(&gop).map(|group| group.codec);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let header = wire.header;
        wire.latest_ms = wire.latest_ms.max(Some(unit.time_ms));
        let open = wire.open.as_mut().map(|open| {
            open.present = open.present.with(TrackSet::only(unit.track));
            open.time_ms
        });
        self.check(header.map(|(codec, _)| codec) == codec, || format!("{gop:?} under another header"));
        self.check(open == Some(cluster_ms), || format!("a unit for {cluster_ms} while {open:?} is open"));
        let length = unit.time_ms - cluster_ms;
        self.check((0..=FRAGMENT_MS_MAX as i64).contains(&length), || format!("a fragment of {length} ms"));
        self.count_unit(id, gop, index);
    }

    fn count_unit(&mut self, id: u64, gop: GopId, index: usize) {
        let open = self.wires.get_mut(&id).and_then(|wire| wire.open.as_mut());
        let expected = match open {
            None => None,
            Some(open) if index == 0 => {
                open.parts.push((gop, 1));
                Some(0)
            }
            Some(open) => open.parts.last_mut().filter(|(last, _)| *last == gop).map(|(_, units)| {
                *units += 1;
                *units - 1
            }),
        };
        self.check(expected == Some(index), || format!("unit {index} of {gop:?}, and {expected:?} was due"));
    }

    /// The fragment that is open is over: by a cluster at `next`, by a tag, or with the body.
    pub fn close_fragment(&mut self, id: u64, next: Option<i64>) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(open) = wire.open.take() else { return };
        let missing = wire.header.map_or(TrackSet::NONE, |(_, tracks)| tracks.without(open.present));
        let time_ms = open.time_ms;
        self.check(missing.is_empty(), || format!("the fragment at {time_ms} lacks {missing:?}"));
        if let Some(next) = next {
            let length = next - time_ms;
            self.check(length >= FRAGMENT_MS_MIN as i64, || {
                format!("a fragment of {length} ms that is not the last")
            });
        }
        let tags_due = self.settings.tags > 0 && !self.tags_were_refused();
        self.check(open.tagged || !tags_due, || format!("the fragment at {time_ms} has no tags"));
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.whole.insert(time_ms, open.parts);
        }
        self.closed_at_peer(id, time_ms);
    }

    /// The session ends its body.
    pub fn finish(&mut self, id: u64) {
        self.tally.event("finish");
        self.close_fragment(id, None);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.ended = true;
        }
        self.finished_at_peer(id);
    }

    /// The session's connection is gone: what is half here never was.
    pub fn broken(&mut self, id: u64) {
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.over = true;
            wire.open = None;
        }
        self.broken_at_peer(id);
    }

    /// What an acknowledgement of storage says, if it is about a fragment that is whole.
    pub fn note_what_is_stored(&mut self, id: u64, ack: &Ack) {
        let frees = match ack.kind {
            AckKind::Persisted => true,
            AckKind::Received => self.settings.stored_at == StoredAt::Received,
            _ => false,
        };
        let Some(time_ms) = ack.timecode.filter(|_| frees) else { return };
        let Some(parts) = self.wires.get(&id).and_then(|wire| wire.whole.get(&time_ms)) else { return };
        for (gop, units) in parts {
            let acknowledged = self.acknowledged.entry(*gop).or_default();
            if *units > *acknowledged {
                *acknowledged = *units;
                self.acknowledged_at.insert(*gop, self.now);
            }
        }
        self.calls.on_stored();
    }

    /// Whether a group is on the wire of the session that stands, whole or in part.
    pub fn is_in_flight(&self, gop: GopId) -> bool {
        self.wires.values().next_back().is_some_and(|wire| {
            let open = wire.open.iter().map(|open| &open.parts);
            wire.whole.values().chain(open).flatten().any(|(part, _)| *part == gop)
        })
    }
}
