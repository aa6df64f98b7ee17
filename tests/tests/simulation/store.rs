//! The acting side of the buffer and the spool, as simple as can be: groups with their units, in memory or not.

use std::collections::BTreeMap;

use streamfleet_producer::buffer::{CodecId, GopId};
use streamfleet_producer::session::{SpoolRoom, TrackSet};

/// A unit of a group.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Its track.
    pub track: u8,
    /// Its time.
    pub time_ms: i64,
    /// Its size.
    pub bytes: u64,
}

/// A group of pictures.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its units; the first is a key frame.
    pub units: Vec<Unit>,
    /// Its parameters.
    pub codec: CodecId,
    /// The tracks of these.
    pub tracks: TrackSet,
    /// Whether no more come.
    pub complete: bool,
    /// Whether memory has it.
    pub in_memory: bool,
    /// Whether the spool has it.
    pub on_spool: bool,
    /// The sizes of its units.
    pub bytes: u64,
}

/// All groups that are held.
#[derive(Debug)]
pub struct Store {
    /// By name.
    pub groups: BTreeMap<GopId, Group>,
    /// The one that grows.
    pub open: Option<GopId>,
    /// How many bytes memory may hold.
    pub budget: u64,
    /// How many bytes the spool may hold, if there is one.
    pub spool: Option<u64>,
    memory: u64,
    spooled: u64,
}

impl Store {
    /// An empty one.
    pub fn new(budget: u64, spool: Option<u64>) -> Self {
        Self { groups: BTreeMap::new(), open: None, budget, spool, memory: 0, spooled: 0 }
    }

    /// Begins a group.
    pub fn begin(&mut self, id: GopId, codec: CodecId, tracks: TrackSet, unit: Unit) {
        self.open = Some(id);
        self.memory += unit.bytes;
        self.groups.insert(
            id,
            Group {
                units: vec![unit],
                codec,
                tracks,
                complete: false,
                in_memory: true,
                on_spool: false,
                bytes: unit.bytes,
            },
        );
    }

    /// Adds a group that the spool has had from before.
    pub fn recover(&mut self, id: GopId, group: Group) {
        self.spooled += group.bytes;
        self.groups.insert(id, group);
    }

    /// Adds a unit to the group that grows; nothing if there is none.
    pub fn extend(&mut self, unit: Unit) -> Option<GopId> {
        let id = self.open?;
        let group = self.groups.get_mut(&id)?;
        group.units.push(unit);
        group.bytes += unit.bytes;
        self.memory += unit.bytes;
        Some(id)
    }

    /// The group that grows is whole.
    pub fn complete(&mut self) -> Option<GopId> {
        let id = self.open.take()?;
        self.groups.get_mut(&id)?.complete = true;
        Some(id)
    }

    /// Lets a group go.
    pub fn free(&mut self, id: GopId) -> Option<Group> {
        if self.open == Some(id) {
            self.open = None;
        }
        let group = self.groups.remove(&id)?;
        self.memory -= if group.in_memory { group.bytes } else { 0 };
        self.spooled -= if group.on_spool { group.bytes } else { 0 };
        Some(group)
    }

    /// A group is on the spool now, and not in memory. Whether it is held at all.
    pub fn stored(&mut self, id: GopId) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        self.memory -= if group.in_memory { group.bytes } else { 0 };
        self.spooled += if group.on_spool { 0 } else { group.bytes };
        (group.in_memory, group.on_spool) = (false, true);
        true
    }

    /// A group is in memory again. Whether it is held at all.
    pub fn loaded(&mut self, id: GopId) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        self.memory += if group.in_memory { 0 } else { group.bytes };
        group.in_memory = true;
        true
    }

    /// Bytes that memory holds beyond its budget.
    pub fn excess(&self) -> u64 {
        self.memory.saturating_sub(self.budget)
    }

    /// Bytes in memory.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// What the spool has room for.
    pub fn room(&self) -> SpoolRoom {
        self.spool.map_or(SpoolRoom::None, |size| SpoolRoom::Bytes(size.saturating_sub(self.spooled)))
    }

    /// Moves all times.
    pub fn shift(&mut self, by_ms: i64) {
        for unit in self.groups.values_mut().flat_map(|group| &mut group.units) {
            unit.time_ms += by_ms;
        }
    }
}
