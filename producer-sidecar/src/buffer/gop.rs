//! One group of pictures.

use std::sync::Arc;

use streamfleet_media::spool::ScannedGroup;
use streamfleet_media::track::{AccessUnit, CodecParameters};

use super::{CodecId, GopId};

/// The most units that room is made for before they come.
const EXPECTED_MAX: usize = 4_096;

/// A group of pictures: a key frame and what depends on it.
#[derive(Debug)]
pub struct Gop {
    /// Its name.
    pub id: GopId,
    /// What its pictures need to be decoded.
    pub codec: Arc<CodecParameters>,
    /// The name of `codec`.
    pub codec_id: CodecId,
    /// Empty while the group is on the spool alone.
    units: Vec<AccessUnit>,
    /// How many units it has, in memory or not.
    count: usize,
    /// What it takes in memory.
    cost: u64,
    /// What it is counted with now.
    held: u64,
    start_ms: i64,
    last_ms: i64,
    /// How many of its units the spool has; `None` where what the spool has is not its beginning.
    on_spool: Option<usize>,
    /// Jobs that hold its bytes.
    writing: u32,
    /// What has to be added to the times that the spool has.
    shift_ms: i64,
}

impl Gop {
    /// A group that begins with this unit, which costs so much; `expected` units may follow.
    pub(super) fn begin(
        id: GopId,
        (codec, codec_id): (Arc<CodecParameters>, CodecId),
        expected: usize,
        (unit, cost): (AccessUnit, u64),
    ) -> Self {
        let (start_ms, last_ms) = (unit.time_ms, unit.time_ms);
        let mut units = Vec::with_capacity(expected.clamp(1, EXPECTED_MAX));
        units.push(unit);
        Self {
            id,
            codec,
            codec_id,
            units,
            count: 1,
            cost,
            held: cost,
            start_ms,
            last_ms,
            on_spool: Some(0),
            writing: 0,
            shift_ms: 0,
        }
    }

    /// A group that a process before this one has left.
    pub(super) fn on_spool(group: &ScannedGroup, codec_id: CodecId, cost: u64) -> Self {
        Self {
            id: GopId(group.id),
            codec: Arc::clone(&group.codec),
            codec_id,
            units: Vec::new(),
            count: group.units,
            cost,
            held: 0,
            start_ms: group.start_ms,
            last_ms: group.last_ms,
            on_spool: Some(group.units),
            writing: 0,
            shift_ms: 0,
        }
    }

    /// The time of its first unit.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The latest time among its units.
    pub fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// How many units it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none; no group is like that.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A unit, where the group is in memory.
    pub fn unit(&self, index: usize) -> Option<&AccessUnit> {
        self.units.get(index)
    }

    /// Its units, where it is in memory.
    pub fn units(&self) -> Option<&[AccessUnit]> {
        (self.units.len() == self.count).then_some(self.units.as_slice())
    }

    /// Whether all of it can be read from the spool.
    pub fn is_wholly_on_spool(&self) -> bool {
        self.on_spool == Some(self.count)
    }

    /// Whether the spool may have something of it.
    pub fn is_on_spool(&self) -> bool {
        self.on_spool != Some(0)
    }

    /// Whether it has to be written from its beginning, because what the spool has of it cannot be continued.
    pub fn is_broken_on_spool(&self) -> bool {
        self.on_spool.is_none()
    }

    /// What it takes in memory.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn add(&mut self, unit: AccessUnit, cost: u64) {
        self.last_ms = self.last_ms.max(unit.time_ms);
        self.units.push(unit);
        self.count += 1;
        self.cost += cost;
        self.held += cost;
    }

    /// Gives the bytes that it is no longer counted with.
    pub(super) fn drop_units(&mut self) -> u64 {
        self.units = Vec::new();
        std::mem::take(&mut self.held)
    }

    /// Gives the bytes that it is counted with in addition.
    pub(super) fn reserve(&mut self) -> u64 {
        let more = self.cost.saturating_sub(self.held);
        self.held = self.cost;
        more
    }

    /// Whether these are its units.
    pub(super) fn load(&mut self, mut units: Vec<AccessUnit>) -> bool {
        if units.len() != self.count || self.held == 0 {
            return false;
        }
        for unit in &mut units {
            unit.time_ms += self.shift_ms;
        }
        self.units = units;
        true
    }

    /// The bytes of memory that would come free if the group was only on the spool, where it is.
    pub fn bytes_on_both(&self) -> u64 {
        if self.is_wholly_on_spool() { self.held } else { 0 }
    }

    /// How many jobs hold its bytes.
    pub fn writing(&self) -> u32 {
        self.writing
    }

    pub(super) fn begin_writing(&mut self) {
        self.writing += 1;
    }

    /// `units` more were written, or that failed.
    pub(super) fn end_writing(&mut self, units: Option<usize>) {
        self.writing = self.writing.saturating_sub(1);
        self.on_spool = match units {
            // Written whole, whatever was there of it before.
            Some(units) if units == self.count => Some(units),
            Some(units) => self.on_spool.map(|before| (before + units).min(self.count)),
            None => None,
        };
    }

    pub(super) fn retime(&mut self, by_ms: i64) {
        self.start_ms += by_ms;
        self.last_ms += by_ms;
        for unit in &mut self.units {
            unit.time_ms += by_ms;
        }
        if self.is_wholly_on_spool() && self.writing == 0 {
            self.shift_ms += by_ms;
        } else if self.is_on_spool() || self.writing > 0 {
            // The spool has a part of it by the old times: it is not to be continued by new ones.
            self.on_spool = None;
        }
    }

    /// The time from which on it is in memory alone.
    pub(super) fn at_risk_since(&self) -> Option<i64> {
        match self.on_spool {
            Some(units) if units == self.count => None,
            Some(0) | None => Some(self.start_ms),
            Some(units) => self.units.get(units - 1).map(|unit| unit.time_ms),
        }
    }
}
