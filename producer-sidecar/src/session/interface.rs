//! What goes into a session and what comes out of it.

use std::time::Duration;

use streamfleet_contract::{GapReason, Overflow, StoredAt, UploadReason};
use streamfleet_media::ack::{Ack, AckKind, ErrorId};

use crate::buffer::{CodecId, GopId};

/// Names a `PutMedia` session within a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A set of tracks, by their index in the codec parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct TrackSet(u8);

impl TrackSet {
    /// No track.
    pub const NONE: Self = Self(0);

    /// The track of this index alone. An index beyond the seventh is none that the service takes.
    pub const fn only(track: u8) -> Self {
        Self(if track < 8 { 1 << track } else { 0 })
    }

    /// The first `count` tracks.
    pub fn first(count: usize) -> Self {
        (0..8).take(count).fold(Self::NONE, |set, track| set.with(Self::only(track)))
    }

    /// The tracks that are in either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The tracks that are in this and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the track of this index is in it.
    pub const fn contains(self, track: u8) -> bool {
        self.0 & Self::only(track).0 != 0
    }

    /// Whether no track is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many tracks are in it.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// How a feed is cut and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A fragment ends at the first key frame after this time.
    pub target_ms: i64,
    /// Which acknowledgement frees.
    pub stored_at: StoredAt,
    /// How many tags each fragment carries; the driver writes them at [`Piece::Tags`].
    pub tags: usize,
    /// What is given up where there is no room.
    pub overflow: Overflow,
    /// What is older than this is given up as expired.
    pub retention_ms: Option<i64>,
    /// Bytes a second for what is sent late: this feed's part of [`streamfleet_contract::Uplink`].
    pub catch_up_bytes_per_second: Option<u64>,
}

impl Settings {
    /// Cut at `target_ms`; everything else by default.
    pub fn new(target_ms: i64) -> Self {
        Self {
            target_ms,
            stored_at: StoredAt::default(),
            tags: 0,
            overflow: Overflow::default(),
            retention_ms: None,
            catch_up_bytes_per_second: None,
        }
    }
}

/// What the spool has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolRoom {
    /// There is no spool, or nothing can be written to it.
    None,
    /// So many bytes, what was asked for by [`Output::Store`] and is not done yet not taken off.
    Bytes(u64),
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A group began with a key frame of `bytes` at `time_ms`.
    Began {
        /// The group.
        gop: GopId,
        /// Its codec parameters.
        codec: CodecId,
        /// The tracks that these have.
        tracks: TrackSet,
        /// The key frame's track.
        track: u8,
        /// The key frame's time.
        time_ms: i64,
        /// The key frame's size.
        bytes: u64,
    },
    /// A unit was added to a group.
    Extended {
        /// The group.
        gop: GopId,
        /// The unit's track.
        track: u8,
        /// The unit's time.
        time_ms: i64,
        /// The unit's size.
        bytes: u64,
    },
    /// A unit came that is of no group: the one that it is of is no longer held.
    Unplaced,
    /// No more units come for a group.
    Completed(GopId),
    /// A whole group was found in the spool at the start; all of them come before the first [`Input::Began`], in order.
    Recovered(RecoveredGop),
    /// A group is on the spool and no longer in memory, as [`Output::Store`] asked.
    Stored(GopId),
    /// It could not be written: the disk is full or broken. It is in memory still.
    StoreFailed(GopId),
    /// A group is in memory again, as [`Output::Load`] asked. The spool keeps it too.
    Loaded(GopId),
    /// It could not be read.
    LoadFailed(GopId),
    /// The times of everything that is not stored were moved, as [`Output::Retime`] asked; `by_ms` is what was added.
    Retimed {
        /// What was added to each time.
        by_ms: i64,
    },
    /// The camera is away: nothing comes until the next [`Input::Began`].
    SourceEnded,
    /// The service accepted a session.
    Opened(SessionId),
    /// The network took bytes of a session since the last piece was pulled: it is slow, but alive.
    Progress(SessionId),
    /// The service acknowledged a fragment, or refused one.
    Ack(SessionId, Ack),
    /// A session is over; nothing comes of it any more.
    Closed(SessionId, Ending),
    /// The process stops: everything is to be stored as soon as it can be.
    Drain,
}

/// A whole group that the spool has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredGop {
    /// The group.
    pub gop: GopId,
    /// Its codec parameters.
    pub codec: CodecId,
    /// The tracks that these have.
    pub tracks: TrackSet,
    /// The tracks that it has units of.
    pub present: TrackSet,
    /// The key frame's time.
    pub start_ms: i64,
    /// The latest time in it.
    pub last_ms: i64,
    /// How many units it has.
    pub units: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The service ended it in good order.
    Finished,
    /// The connection broke.
    Broken(String),
    /// It was refused, or never began.
    Refused(Refusal, String),
}

/// Why a session was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No connection, or no trust in the other side.
    Unreachable,
    /// No AWS credentials were found.
    CredentialsMissing,
    /// AWS refuses the credentials or what they may do.
    CredentialsRefused,
    /// Our clock was wrong; the difference is known now.
    ClockCorrected,
    /// No such stream.
    StreamNotFound,
    /// Another connection feeds the stream.
    ConnectionLimit,
    /// Too many calls.
    Throttled,
    /// Anything else.
    Other,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a session; its body is pulled.
    Open(SessionId),
    /// End the session's body, go on reading acknowledgements.
    Finish(SessionId),
    /// Drop the session's connection. No [`Input::Closed`] is expected, and none does harm.
    Abort(SessionId),
    /// Let go of a group's bytes, in memory and on the spool.
    Free(GopId),
    /// Write a group to the spool, if it is not there, then drop its bytes from memory; [`Input::Stored`] or
    /// [`Input::StoreFailed`] answers.
    Store(GopId),
    /// Bring a group back to memory; [`Input::Loaded`] or [`Input::LoadFailed`] answers. The spool keeps it.
    Load(GopId),
    /// The service finds the times wrong: move those of everything that is held and of what is to come so that the newest
    /// is the service's time, but the oldest no earlier than `earliest_ms`, then say so by [`Input::Retimed`]. Nothing is to
    /// be said where nothing can be mended, such as where the service's time is not known.
    Retime {
        /// The time of the oldest group.
        first_ms: i64,
        /// The newest time that is stored, plus one.
        earliest_ms: Option<i64>,
    },
    /// Say something.
    Report(Report),
}

/// What people and metrics are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A session was accepted.
    Opened,
    /// An acknowledgement came, with its error if it is one; the latency is counted from the fragment's end where that is
    /// known.
    Acknowledged(AckKind, Option<ErrorId>, Option<Duration>),
    /// A fragment is stored.
    Stored {
        /// The time of its first picture.
        start_ms: i64,
        /// The time of its last picture.
        last_ms: i64,
    },
    /// A stretch of video will not be stored.
    Gap {
        /// Its start.
        start_ms: i64,
        /// Its end.
        end_ms: i64,
        /// Its cause.
        reason: GapReason,
        /// More about it.
        detail: String,
    },
    /// What comes in is of a group that was given up: nothing up to the next key frame will be stored.
    GapBegan {
        /// Its start.
        start_ms: i64,
        /// Its cause.
        reason: GapReason,
        /// More about it.
        detail: String,
    },
    /// What was reported as a gap is stored after all.
    Recovered {
        /// Its start.
        start_ms: i64,
        /// Its end.
        end_ms: i64,
    },
    /// Something keeps video from being stored.
    Trouble(UploadReason, String),
}

/// Something to write, in this order: a header, then fragments, each with its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The document's header, with the parameters of this group for these tracks.
    Header(GopId, TrackSet),
    /// The beginning of a fragment at this time.
    Cluster(i64),
    /// A unit of a group.
    Unit {
        /// The group.
        gop: GopId,
        /// The unit's index in it.
        index: usize,
        /// The time of its cluster.
        cluster_ms: i64,
        /// The tracks of the header: a unit of another is passed over.
        tracks: TrackSet,
    },
    /// Tags of the fragment before it.
    Tags(Tags),
}

/// What tags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// The feed's own, as configured.
    Configured,
    /// The fragment is whole, though no other follows.
    EndOfFragment,
}

/// What a session is doing, for people and for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing waits to be stored.
    Empty,
    /// Something waits; the next attempt is not due.
    BackingOff,
    /// Something waits, and the service wants it to wait.
    OnHold,
    /// A session was asked for and is not accepted yet.
    Opening,
    /// A session is open and carries what is new.
    Streaming,
    /// A session is open and carries what is late.
    CatchingUp,
    /// A session's body has ended; its last acknowledgements are awaited.
    Finishing,
}
