//! What came from the camera and is not stored yet: access units in groups of pictures, in memory or on the spool.
//!
//! A group begins with a key frame and is the unit of everything: of sending again, of dropping, of gaps. Headers and
//! cluster times are no part of it, they are made when it is sent. Which group is sent, spooled, freed or dropped is decided
//! by [`crate::session`]; this module keeps the bytes and counts them, and refuses what can never be a fragment. Files are
//! [`crate::spool`]'s; here it is known how much of each group is in them.

mod gop;
pub mod pool;
pub mod risk;

use std::collections::VecDeque;
use std::sync::Arc;

use streamfleet_media::limits::{FRAGMENT_BYTES_MAX, FRAGMENT_MS_MAX};
use streamfleet_media::spool::ScannedGroup;
use streamfleet_media::track::{AccessUnit, CodecParameters};

pub use self::gop::Gop;
use self::pool::Share;
use self::risk::AtRisk;
use crate::spool::folder::Part;

/// Names a group of pictures within a feed; grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GopId(pub u64);

/// Names a set of codec parameters within a feed; another number means other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecId(pub u32);

/// What became of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It began a group; the one before, if any, is complete now.
    Began {
        /// The new group.
        gop: GopId,
        /// Its codec parameters.
        codec: CodecId,
        /// The group that it ended.
        completed: Option<GopId>,
    },
    /// It belongs to the open group.
    Continued(GopId),
    /// No key frame has come that it could belong to.
    NoKeyFrame,
    /// The open group would pass a limit of the service with it. The group is complete, and the rest is discarded up to
    /// the next key frame.
    TooLong {
        /// The group that ended here; `None` where a key frame alone is too large.
        completed: Option<GopId>,
        /// Which limit.
        limit: Limit,
    },
}

/// A limit of the service for a fragment, which a group of pictures cannot be cut to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// 20 seconds, error 4002.
    Duration,
    /// 50 MB, error 4001.
    Size,
}

/// Room for the Matroska elements around a fragment's frames.
const SIZE_MARGIN_BYTES: u64 = 1_000_000;

/// The longest group, from its first picture to its last.
pub const GOP_MS_MAX: i64 = FRAGMENT_MS_MAX as i64 - 1;

/// The largest group.
pub const GOP_BYTES_MAX: u64 = FRAGMENT_BYTES_MAX - SIZE_MARGIN_BYTES;

/// What a unit costs beside its payload: its entry in the group and the allocator's part.
const UNIT_OVERHEAD_BYTES: u64 = 96;

/// The most that is written to the spool before memory is full.
const SPOOL_AHEAD_BYTES: u64 = 4 << 20;

/// A feed's groups of pictures, oldest first; the newest may be open.
#[derive(Debug)]
pub struct Buffer {
    gops: VecDeque<Gop>,
    open: Option<GopId>,
    next_id: u64,
    /// The newest parameters and their number; kept when no group is left that has them.
    codec: Option<Arc<CodecParameters>>,
    codec_id: CodecId,
    share: Share,
    /// Groups that were freed while a job still holds their bytes, with how many do.
    leaving: Vec<(GopId, u64, u32)>,
    risk: Arc<AtRisk>,
}

impl Buffer {
    /// An empty buffer that counts its bytes in `share`, and notes in `risk` what is in memory alone.
    pub fn new(share: Share, risk: Arc<AtRisk>) -> Self {
        Self {
            gops: VecDeque::new(),
            open: None,
            next_id: 1,
            codec: None,
            codec_id: CodecId(0),
            share,
            leaving: Vec::new(),
            risk,
        }
    }

    /// Takes over a group that the spool has kept; all of them come before the first unit, by rising id.
    pub fn recover(&mut self, group: &ScannedGroup) -> CodecId {
        let codec_id = self.note_codec(&group.codec);
        self.next_id = self.next_id.max(group.id.saturating_add(1));
        let cost = group.bytes + group.units as u64 * UNIT_OVERHEAD_BYTES;
        self.gops.push_back(Gop::on_spool(group, codec_id, cost));
        codec_id
    }

    /// The ids up to this one were used before.
    pub fn skip_ids(&mut self, last: u64) {
        self.next_id = self.next_id.max(last.saturating_add(1));
    }

    /// Takes a unit. `codec` holds for groups that begin with it.
    pub fn push(&mut self, unit: AccessUnit, codec: &Arc<CodecParameters>) -> Pushed {
        let cost = unit.data.len() as u64 + UNIT_OVERHEAD_BYTES;
        if unit.key {
            return self.begin(unit, codec, cost);
        }
        let Some(open) = self.open else { return Pushed::NoKeyFrame };
        let Some(gop) = self.gops.back_mut().filter(|gop| gop.id == open) else {
            self.open = None;
            return Pushed::NoKeyFrame;
        };
        let limit = if unit.time_ms - gop.start_ms() > GOP_MS_MAX {
            Some(Limit::Duration)
        } else if gop.cost() + cost > GOP_BYTES_MAX {
            Some(Limit::Size)
        } else {
            None
        };
        if let Some(limit) = limit {
            self.open = None;
            return Pushed::TooLong { completed: Some(open), limit };
        }
        self.risk.newest(unit.time_ms);
        gop.add(unit, cost);
        self.share.take(cost);
        Pushed::Continued(open)
    }

    fn begin(&mut self, unit: AccessUnit, codec: &Arc<CodecParameters>, cost: u64) -> Pushed {
        let completed = self.open.take();
        if cost > GOP_BYTES_MAX {
            return Pushed::TooLong { completed, limit: Limit::Size };
        }
        let codec_id = self.note_codec(codec);
        let id = GopId(self.next_id);
        self.next_id += 1;
        self.open = Some(id);
        // As many as the group before had: it need not grow, and is not larger than it must be.
        let expected = self.gops.back().map_or(0, Gop::len);
        let codec = self.codec.clone().unwrap_or_else(|| Arc::clone(codec));
        self.share.take(cost);
        self.risk.newest(unit.time_ms);
        self.gops.push_back(Gop::begin(id, (codec, codec_id), expected, (unit, cost)));
        self.note_risk();
        Pushed::Began { gop: id, codec: codec_id, completed }
    }

    fn note_codec(&mut self, codec: &Arc<CodecParameters>) -> CodecId {
        let known = self.codec.as_ref().is_some_and(|known| Arc::ptr_eq(known, codec) || known == codec);
        if !known {
            self.codec = Some(Arc::clone(codec));
            self.codec_id = CodecId(self.codec_id.0 + 1);
        }
        self.codec_id
    }

    /// Ends the open group, because nothing follows: gives its name.
    pub fn complete(&mut self) -> Option<GopId> {
        self.open.take()
    }

    /// The group of this name.
    pub fn gop(&self, id: GopId) -> Option<&Gop> {
        self.position(id).and_then(|index| self.gops.get(index))
    }

    /// A unit of a group; `None` too where the group is not in memory.
    pub fn unit(&self, id: GopId, index: usize) -> Option<&AccessUnit> {
        self.gop(id)?.unit(index)
    }

    /// All groups, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Gop> {
        self.gops.iter()
    }

    /// Lets a group go. What still comes for it is discarded. Gives whether something of it is on the spool.
    pub fn free(&mut self, id: GopId) -> bool {
        if self.open == Some(id) {
            self.open = None;
        }
        let Some(mut gop) = self.position(id).and_then(|index| self.gops.remove(index)) else { return false };
        let (held, writing) = (gop.drop_units(), gop.writing());
        if writing == 0 {
            self.share.give(held);
        } else {
            self.leaving.push((id, held, writing));
        }
        self.note_risk();
        gop.is_on_spool() || writing > 0
    }

    /// The whole group, to be written; `None` where it is not in memory or not complete. It counts as being written until
    /// [`Buffer::written`] says how that went.
    pub fn to_store(&mut self, id: GopId) -> Option<Part> {
        if self.open == Some(id) {
            return None;
        }
        let gop = self.gop_mut(id)?;
        let units = gop.units()?.to_vec();
        gop.begin_writing();
        Some(Part { group: id.0, begins: Some(Arc::clone(&gop.codec)), units })
    }

    /// A part of a group is being written.
    pub fn writing(&mut self, id: GopId) {
        if let Some(gop) = self.gop_mut(id) {
            gop.begin_writing();
        }
    }

    /// So many more units of a group are on the spool, or it failed and what is there of the group is not all.
    pub fn written(&mut self, id: GopId, units: Option<usize>) {
        if let Some(gop) = self.gop_mut(id) {
            gop.end_writing(units);
            self.note_risk();
            return;
        }
        if let Some(index) = self.leaving.iter().position(|(leaving, ..)| *leaving == id)
            && let Some((_, held, writing)) = self.leaving.get_mut(index)
        {
            *writing -= 1;
            if *writing == 0 {
                self.share.give(*held);
                self.leaving.swap_remove(index);
            }
        }
    }

    /// Drops the units of a group that is on the spool whole. Whether it was.
    pub fn unload(&mut self, id: GopId) -> bool {
        if self.open == Some(id) {
            return false;
        }
        let Some(gop) = self.gop_mut(id).filter(|gop| gop.is_wholly_on_spool()) else { return false };
        let held = gop.drop_units();
        self.share.give(held);
        true
    }

    /// Makes room for a group that is being read. Whether it has to be.
    pub fn loading(&mut self, id: GopId) -> bool {
        let Some(gop) = self.gop_mut(id) else { return false };
        let (more, is_absent) = (gop.reserve(), gop.units().is_none());
        self.share.take(more);
        is_absent
    }

    /// The units of a group were read. Whether it is in memory now.
    pub fn loaded(&mut self, id: GopId, units: Vec<AccessUnit>) -> bool {
        self.gop_mut(id).is_some_and(|gop| gop.load(units))
    }

    /// A group could not be read.
    pub fn load_failed(&mut self, id: GopId) {
        if let Some(gop) = self.gop_mut(id) {
            let held = gop.drop_units();
            self.share.give(held);
        }
    }

    /// Moves the times of all groups, those on the spool too.
    pub fn retime(&mut self, by_ms: i64) {
        for gop in &mut self.gops {
            gop.retime(by_ms);
        }
        self.note_risk();
    }

    /// Bytes that have to be freed now, see [`Share::excess`].
    pub fn excess(&self) -> u64 {
        self.share.excess()
    }

    /// Bytes that should leave memory for the spool now, before there is no room: by then it has to be written.
    pub fn excess_soon(&self) -> u64 {
        self.share.excess_with((self.share.even_part() / 8).min(SPOOL_AHEAD_BYTES))
    }

    /// Whether a group could be read without passing the budget.
    pub fn has_room_for(&self, id: GopId) -> bool {
        self.gop(id).is_none_or(|gop| gop.cost() <= self.share.room())
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> u64 {
        self.share.used()
    }

    /// How many groups are held.
    pub fn len(&self) -> usize {
        self.gops.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.gops.is_empty()
    }

    fn gop_mut(&mut self, id: GopId) -> Option<&mut Gop> {
        self.position(id).and_then(|index| self.gops.get_mut(index))
    }

    fn position(&self, id: GopId) -> Option<usize> {
        self.gops.binary_search_by_key(&id, |gop| gop.id).ok()
    }

    fn note_risk(&self) {
        self.risk.since(self.gops.iter().find_map(Gop::at_risk_since));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::pool::Pool;
    use streamfleet_media::track::{Codec, TrackParameters};

    fn parameters(private: &'static [u8]) -> Arc<CodecParameters> {
        let track = TrackParameters::video(Codec::H264, Bytes::from_static(private), 640, 360);
        Arc::new(CodecParameters::single(track))
    }

    fn unit(time_ms: i64, key: bool) -> AccessUnit {
        AccessUnit { track: 0, time_ms, key, data: Bytes::from_static(&[0; 1000]) }
    }

    fn buffer() -> (Buffer, Arc<Pool>) {
        let pool = Pool::new(1 << 30);
        (Buffer::new(pool.share(), Arc::default()), pool)
    }

    #[test]
    fn pictures_before_the_first_key_frame_are_refused() {
        let (mut buffer, _) = buffer();
        assert_eq!(buffer.push(unit(0, false), &parameters(b"a")), Pushed::NoKeyFrame);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_key_frame_ends_a_group_and_other_parameters_get_another_number() {
        let (mut buffer, _) = buffer();
        let (first, second) = (GopId(1), GopId(2));
        let began = buffer.push(unit(0, true), &parameters(b"a"));
        assert_eq!(began, Pushed::Began { gop: first, codec: CodecId(1), completed: None });
        assert_eq!(buffer.push(unit(40, false), &parameters(b"a")), Pushed::Continued(first));
        let began = buffer.push(unit(80, true), &parameters(b"a"));
        assert_eq!(began, Pushed::Began { gop: second, codec: CodecId(1), completed: Some(first) });
        let began = buffer.push(unit(120, true), &parameters(b"b"));
        assert_eq!(began, Pushed::Began { gop: GopId(3), codec: CodecId(2), completed: Some(second) });
        assert_eq!(buffer.unit(first, 1).unwrap().time_ms, 40);
        assert_eq!(buffer.unit(first, 2), None);
    }

    #[test]
    fn a_group_longer_than_a_fragment_may_be_is_cut_short_and_the_rest_refused() {
        let (mut buffer, _) = buffer();
        let codec = parameters(b"a");
        buffer.push(unit(0, true), &codec);
        assert_eq!(buffer.push(unit(GOP_MS_MAX, false), &codec), Pushed::Continued(GopId(1)));
        let cut = buffer.push(unit(GOP_MS_MAX + 40, false), &codec);
        assert_eq!(cut, Pushed::TooLong { completed: Some(GopId(1)), limit: Limit::Duration });
        assert_eq!(buffer.push(unit(GOP_MS_MAX + 80, false), &codec), Pushed::NoKeyFrame);
    }

    #[test]
    fn a_key_frame_that_no_fragment_can_hold_is_refused_with_what_depends_on_it() {
        let (mut buffer, pool) = buffer();
        let codec = parameters(b"a");
        buffer.push(unit(0, true), &codec);
        let used = pool.used();
        let huge = AccessUnit { data: Bytes::from(vec![0; GOP_BYTES_MAX as usize]), ..unit(40, true) };
        let refused = Pushed::TooLong { completed: Some(GopId(1)), limit: Limit::Size };
        assert_eq!(buffer.push(huge, &codec), refused);
        assert_eq!(buffer.push(unit(80, false), &codec), Pushed::NoKeyFrame);
        assert_eq!(pool.used(), used);
    }

    #[test]
    fn what_is_at_risk_is_what_the_spool_does_not_have() {
        let pool = Pool::new(1 << 30);
        let risk = Arc::<AtRisk>::default();
        let mut buffer = Buffer::new(pool.share(), Arc::clone(&risk));
        assert_eq!(risk.take(), None);
        for n in 0..3 {
            buffer.push(unit(n * 1_000, true), &parameters(b"a"));
            buffer.push(unit(n * 1_000 + 40, false), &parameters(b"a"));
        }
        buffer.complete();
        for (gop, since_ms) in [(1, 1_000), (2, 2_000), (3, 2_040)] {
            let part = buffer.to_store(GopId(gop)).unwrap();
            buffer.written(GopId(gop), Some(part.units.len()));
            assert!(buffer.unload(GopId(gop)));
            assert_eq!(
                risk.take(),
                Some(since_ms),
                "what comes after the newest picture is lost in any case"
            );
            buffer.note_risk();
        }
        assert_eq!((buffer.bytes(), buffer.len()), (0, 3));
    }

    #[test]
    fn bytes_that_are_being_written_count_until_they_are() {
        let (mut buffer, pool) = buffer();
        buffer.push(unit(0, true), &parameters(b"a"));
        buffer.complete();
        let part = buffer.to_store(GopId(1)).unwrap();
        let used = pool.used();
        assert!(buffer.free(GopId(1)), "something of it may be on the spool");
        assert_eq!(pool.used(), used);
        drop(part);
        buffer.written(GopId(1), Some(1));
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn times_that_are_moved_are_moved_for_what_is_read_back_too() {
        let (mut buffer, _) = buffer();
        buffer.push(unit(0, true), &parameters(b"a"));
        buffer.push(unit(1_000, true), &parameters(b"a"));
        let part = buffer.to_store(GopId(1)).unwrap();
        buffer.written(GopId(1), Some(1));
        buffer.unload(GopId(1));
        buffer.retime(500);
        assert!(buffer.loading(GopId(1)));
        assert!(buffer.loaded(GopId(1), part.units));
        let times = [1, 2].map(|gop| buffer.unit(GopId(gop), 0).unwrap().time_ms);
        assert_eq!(times, [500, 1_500]);
    }

    #[test]
    fn freeing_gives_the_bytes_back_and_ends_an_open_group() {
        let (mut buffer, pool) = buffer();
        let codec = parameters(b"a");
        for n in 0..3 {
            buffer.push(unit(n * 1_000, true), &codec);
            buffer.push(unit(n * 1_000 + 40, false), &codec);
        }
        let each = buffer.bytes() / 3;
        buffer.free(GopId(2));
        assert_eq!((buffer.len(), pool.used()), (2, 2 * each));
        assert!(buffer.gop(GopId(1)).is_some() && buffer.gop(GopId(2)).is_none());
        buffer.free(GopId(3));
        assert_eq!(buffer.push(unit(2_080, false), &codec), Pushed::NoKeyFrame);
        buffer.free(GopId(1));
        assert_eq!(pool.used(), 0);
    }
}
