//! One `PutMedia` session: where its body stands, and what is known of the fragments in it.

use std::collections::VecDeque;
use std::time::Duration;

use streamfleet_media::ack::AckKind;
use streamfleet_media::fragment::FragmentNumber;

use super::{SessionId, TrackSet};
use crate::buffer::{CodecId, GopId};

/// A session that was asked for. When it is over it is kept for a while, for what is still said of it.
#[derive(Debug)]
pub struct Attempt {
    /// Its name.
    pub id: SessionId,
    /// When it was asked for.
    pub opened_at: Duration,
    /// When the service accepted it.
    pub accepted_at: Option<Duration>,
    /// Where the body stands.
    pub body: Body,
    /// What its header says, once that is written.
    pub header: Option<Header>,
    /// The last group of which something was written, and how many of its units.
    pub cursor: Option<Cursor>,
    /// Fragments that are not stored yet, in the order of sending.
    pub fragments: VecDeque<Fragment>,
    /// The latest time of a block so far.
    pub latest_ms: i64,
    /// When the upload last took something, or had nothing to take.
    pub taken_at: Duration,
    /// When the last piece was pulled.
    pub pulled_at: Duration,
    /// When something of this session was last stored.
    pub progressed_at: Option<Duration>,
    /// When the service first said anything of a fragment, of those that it did so last, and when that was begun.
    pub heard: Option<Heard>,
    /// The longest time from a fragment's end to its storage.
    pub longest_storage: Duration,
    /// Whether it is to end at the next cut, for a successor with other settings.
    pub is_outdated: bool,
}

/// How far the service has read.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// When it said so.
    pub at: Duration,
    /// When the fragment was begun that it said it of.
    pub begun_at: Duration,
}

/// What a document's header says; another needs another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The parameters.
    pub codec: CodecId,
    /// The tracks of them that are sent.
    pub tracks: TrackSet,
}

/// The request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// More can be written.
    Open,
    /// It ended; acknowledgements are awaited.
    Ended {
        /// When.
        at: Duration,
    },
}

/// A place in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The group.
    pub gop: GopId,
    /// How many of its units were written.
    pub units: usize,
}

/// A fragment as it was sent: a cluster with the pictures of one or more groups.
#[derive(Debug)]
pub struct Fragment {
    /// The cluster's time, by which the service names it.
    pub time_ms: i64,
    /// The latest time of its groups, once it is whole.
    pub last_ms: i64,
    /// The number that the service gave it.
    pub number: Option<FragmentNumber>,
    /// Its groups.
    pub gops: Vec<GopId>,
    /// The units of its last group that are in it, once it is whole.
    pub last_units: usize,
    /// The bytes of its groups, without the last.
    pub bytes: u64,
    /// The tracks of its groups, without the last.
    pub present: TrackSet,
    /// Whether it carries tags.
    pub tagged: bool,
    /// When it was begun.
    pub begun_at: Duration,
    /// When its end was written: the next cluster, the tag that ends it, or the end of the body.
    pub closed_at: Option<Duration>,
    /// Whether the service has said anything of it.
    pub seen: bool,
    /// When the service said that it has arrived whole.
    pub received_at: Option<Duration>,
    /// Whether some of it was given up and reported as a gap.
    pub given_up: bool,
}

impl Attempt {
    /// A session that is being opened.
    pub fn new(id: SessionId, now: Duration) -> Self {
        Self {
            id,
            opened_at: now,
            accepted_at: None,
            body: Body::Open,
            header: None,
            cursor: None,
            fragments: VecDeque::new(),
            latest_ms: i64::MIN,
            taken_at: now,
            pulled_at: now,
            progressed_at: None,
            heard: None,
            longest_storage: Duration::ZERO,
            is_outdated: false,
        }
    }

    /// Whether something of this session was stored.
    pub fn stored_any(&self) -> bool {
        self.progressed_at.is_some()
    }

    /// Whether more can be written.
    pub fn is_open(&self) -> bool {
        self.body == Body::Open
    }

    /// The fragment that is being written.
    pub fn open_fragment(&self) -> Option<&Fragment> {
        self.fragments.back().filter(|fragment| fragment.closed_at.is_none())
    }

    /// The fragment that is being written, to change.
    pub fn open_fragment_mut(&mut self) -> Option<&mut Fragment> {
        self.fragments.back_mut().filter(|fragment| fragment.closed_at.is_none())
    }

    /// Begins a fragment with a group.
    pub fn begin_fragment(&mut self, gop: GopId, time_ms: i64, now: Duration) {
        self.cursor = Some(Cursor { gop, units: 0 });
        self.fragments.push_back(Fragment {
            time_ms,
            last_ms: time_ms,
            number: None,
            gops: vec![gop],
            last_units: 0,
            bytes: 0,
            present: TrackSet::NONE,
            tagged: false,
            begun_at: now,
            closed_at: None,
            seen: false,
            received_at: None,
            given_up: false,
        });
    }

    /// Notes that the fragment being written is whole.
    pub fn close_fragment(&mut self, now: Duration) {
        let units = self.cursor.map_or(0, |cursor| cursor.units);
        let latest_ms = self.latest_ms;
        if let Some(fragment) = self.open_fragment_mut() {
            fragment.closed_at = Some(now);
            fragment.last_units = units;
            fragment.last_ms = latest_ms;
        }
    }

    /// The fragment that an acknowledgement names: by its cluster's time, which the service gives back; an error, whose
    /// time may be 0, by its number first. Where both sides know a number it must be the same.
    pub fn find(
        &self,
        kind: &AckKind,
        timecode: Option<i64>,
        number: Option<&FragmentNumber>,
    ) -> Option<usize> {
        let by_number = || {
            let number = number?;
            self.fragments.iter().position(|fragment| fragment.number.as_ref() == Some(number))
        };
        let by_time = || {
            let time_ms = timecode?;
            self.fragments.iter().position(|fragment| {
                let agrees = match (&fragment.number, number) {
                    (Some(known), Some(said)) => known == said,
                    _ => true,
                };
                fragment.time_ms == time_ms && agrees
            })
        };
        match (kind, timecode) {
            (AckKind::Error, _) | (_, None) => by_number().or_else(by_time),
            (_, Some(_)) => by_time(),
        }
    }
}
