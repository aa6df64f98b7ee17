//! What came from the camera and is not stored yet: access units in groups of pictures, in memory.
//!
//! A group begins with a key frame and is the unit of everything: of sending again, of dropping, of gaps. Headers and
//! cluster times are no part of it, they are made when it is sent. Which group is sent, freed or dropped is decided by
//! [`crate::session`]; this module keeps the bytes, and refuses what can never be a fragment.

pub mod pool;

use std::collections::VecDeque;
use std::sync::Arc;

use streamfleet_media::limits::{FRAGMENT_BYTES_MAX, FRAGMENT_MS_MAX};

use self::pool::Share;
use streamfleet_media::track::{AccessUnit, CodecParameters};

/// Names a group of pictures within a feed; grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GopId(pub u64);

/// Names a set of codec parameters within a feed; another number means other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecId(pub u32);

/// A group of pictures: a key frame and what depends on it.
#[derive(Debug)]
pub struct Gop {
    /// Its name.
    pub id: GopId,
    /// What its pictures need to be decoded.
    pub codec: Arc<CodecParameters>,
    /// The name of `codec`.
    pub codec_id: CodecId,
    units: Vec<AccessUnit>,
    held_bytes: u64,
}

impl Gop {
    fn start_ms(&self) -> i64 {
        self.units.first().map_or(0, |unit| unit.time_ms)
    }
}

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
        /// The group that ended here.
        completed: GopId,
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
}

impl Buffer {
    /// An empty buffer that counts its bytes in `share`.
    pub fn new(share: Share) -> Self {
        Self { gops: VecDeque::new(), open: None, next_id: 1, codec: None, codec_id: CodecId(0), share }
    }

    /// Takes a unit. `codec` holds for groups that begin with it.
    pub fn push(&mut self, unit: AccessUnit, codec: &Arc<CodecParameters>) -> Pushed {
        if unit.key {
            return self.begin(unit, codec);
        }
        let Some(open) = self.open else { return Pushed::NoKeyFrame };
        let Some(gop) = self.gops.back_mut().filter(|gop| gop.id == open) else {
            self.open = None;
            return Pushed::NoKeyFrame;
        };
        let cost = unit.data.len() as u64 + UNIT_OVERHEAD_BYTES;
        let limit = if unit.time_ms - gop.start_ms() > GOP_MS_MAX {
            Some(Limit::Duration)
        } else if gop.held_bytes + cost > GOP_BYTES_MAX {
            Some(Limit::Size)
        } else {
            None
        };
        if let Some(limit) = limit {
            self.open = None;
            return Pushed::TooLong { completed: open, limit };
        }
        gop.held_bytes += cost;
        gop.units.push(unit);
        self.share.take(cost);
        Pushed::Continued(open)
    }

    fn begin(&mut self, unit: AccessUnit, codec: &Arc<CodecParameters>) -> Pushed {
        let completed = self.open.take();
        if self.codec.as_ref() != Some(codec) {
            self.codec = Some(Arc::clone(codec));
            self.codec_id = CodecId(self.codec_id.0 + 1);
        }
        let id = GopId(self.next_id);
        self.next_id += 1;
        self.open = Some(id);
        let held_bytes = unit.data.len() as u64 + UNIT_OVERHEAD_BYTES;
        self.share.take(held_bytes);
        let (codec, codec_id) = (Arc::clone(codec), self.codec_id);
        self.gops.push_back(Gop { id, codec, codec_id, units: vec![unit], held_bytes });
        Pushed::Began { gop: id, codec: codec_id, completed }
    }

    /// Ends the open group, because nothing follows: gives its name.
    pub fn complete(&mut self) -> Option<GopId> {
        self.open.take()
    }

    /// The group of this name.
    pub fn gop(&self, id: GopId) -> Option<&Gop> {
        self.gops.binary_search_by_key(&id, |gop| gop.id).ok().and_then(|index| self.gops.get(index))
    }

    /// A unit of a group.
    pub fn unit(&self, id: GopId, index: usize) -> Option<&AccessUnit> {
        self.gop(id)?.units.get(index)
    }

    /// Lets a group go. What still comes for it is discarded.
    pub fn free(&mut self, id: GopId) {
        if self.open == Some(id) {
            self.open = None;
        }
        if let Ok(index) = self.gops.binary_search_by_key(&id, |gop| gop.id)
            && let Some(gop) = self.gops.remove(index)
        {
            self.share.give(gop.held_bytes);
        }
    }

    /// Bytes that have to be freed now, see [`Share::excess`].
    pub fn excess(&self) -> u64 {
        self.share.excess()
    }

    /// Bytes held.
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
        (Buffer::new(pool.share()), pool)
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
        assert_eq!(cut, Pushed::TooLong { completed: GopId(1), limit: Limit::Duration });
        assert_eq!(buffer.push(unit(GOP_MS_MAX + 80, false), &codec), Pushed::NoKeyFrame);
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
