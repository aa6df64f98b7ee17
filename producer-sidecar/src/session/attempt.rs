//! One `PutMedia` session: where its body stands, and what is known of the fragments in it.

use std::collections::VecDeque;
use std::time::Duration;

use streamfleet_media::fragment::FragmentNumber;

use super::SessionId;
use crate::buffer::{CodecId, GopId};

/// A session that was asked for and has not ended.
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
    /// The parameters in its header, once that is written.
    pub codec: Option<CodecId>,
    /// The last group of which something was written, and how many of its units.
    pub cursor: Option<Cursor>,
    /// Fragments that are not stored yet, in the order of sending.
    pub fragments: VecDeque<Fragment>,
    /// The latest time of a block so far.
    pub latest_ms: i64,
    /// When the upload last took something, or had nothing to take.
    pub taken_at: Duration,
    /// When the last acknowledgement came.
    pub acknowledged_at: Duration,
    /// How many fragments were begun.
    pub begun: u32,
    /// Whether something of this session was stored.
    pub stored_any: bool,
    /// Whether it is to end at the next cut, for a successor with other settings.
    pub is_outdated: bool,
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
    /// The number that the service gave it.
    pub number: Option<FragmentNumber>,
    /// Its groups.
    pub gops: Vec<GopId>,
    /// The bytes of its groups, without the last.
    pub bytes: u64,
    /// When it was begun.
    pub begun_at: Duration,
    /// When its end was written: the next cluster, or the end of the body.
    pub closed_at: Option<Duration>,
    /// Whether the service has said anything of it.
    pub seen: bool,
}

impl Attempt {
    /// A session that is being opened.
    pub fn new(id: SessionId, now: Duration) -> Self {
        Self {
            id,
            opened_at: now,
            accepted_at: None,
            body: Body::Open,
            codec: None,
            cursor: None,
            fragments: VecDeque::new(),
            latest_ms: i64::MIN,
            taken_at: now,
            acknowledged_at: now,
            begun: 0,
            stored_any: false,
            is_outdated: false,
        }
    }

    /// Whether more can be written.
    pub fn is_open(&self) -> bool {
        self.body == Body::Open
    }

    /// The fragment that is being written.
    pub fn open_fragment(&mut self) -> Option<&mut Fragment> {
        self.fragments.back_mut().filter(|fragment| fragment.closed_at.is_none())
    }

    /// Begins a fragment with a group; ends the one before.
    pub fn begin_fragment(&mut self, gop: GopId, time_ms: i64, now: Duration) {
        self.close_fragment(now);
        self.begun += 1;
        self.cursor = Some(Cursor { gop, units: 0 });
        self.fragments.push_back(Fragment {
            time_ms,
            number: None,
            gops: vec![gop],
            bytes: 0,
            begun_at: now,
            closed_at: None,
            seen: false,
        });
    }

    /// Notes that the fragment being written is whole.
    pub fn close_fragment(&mut self, now: Duration) {
        if let Some(fragment) = self.open_fragment() {
            fragment.closed_at = Some(now);
        }
    }

    /// The fragment that an acknowledgement names, by number where both sides know one, else by time.
    pub fn find(&self, timecode: Option<i64>, number: Option<&FragmentNumber>) -> Option<usize> {
        let by_number = number.and_then(|number| {
            self.fragments.iter().position(|fragment| fragment.number.as_ref() == Some(number))
        });
        by_number.or_else(|| {
            let time_ms = timecode?;
            self.fragments.iter().position(|fragment| fragment.time_ms == time_ms)
        })
    }
}
