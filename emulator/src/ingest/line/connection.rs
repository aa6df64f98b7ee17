//! One `PutMedia` session as its line keeps it.

use std::{collections::VecDeque, time::Duration};

use streamfleet_media::ack::Ack;

use super::settings::LineSettings;
use crate::{ingest::Ingest, number::FragmentNumber};

/// Names a session; no two of one line have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// What a Cluster's time counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The epoch.
    Absolute,
    /// The start of the session, in milliseconds since the epoch.
    Relative(u64),
}

/// Whether more of a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// At once.
    Open,
    /// From this time on: what has come exceeds a rate.
    From(Duration),
    /// Not until something changes.
    Shut,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Clean,
    /// The connection is dropped as it is.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The body is coming in.
    Receiving,
    /// The body has ended; the answer ends when all of it is stored.
    Draining,
    /// An error was acknowledged; the rest of the body is thrown away until then.
    Refused { until: Duration },
}

/// The fragment that is coming in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    pub(super) number: FragmentNumber,
    pub(super) server_ms: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) origin: Origin,
    pub(super) ingest: Ingest,
    pub(super) open: Option<Announced>,
    pub(super) stage: Stage,
    pub(super) opened: Duration,
    /// When bytes came last.
    pub(super) heard: Duration,
    /// `IDLE`s since then.
    pub(super) idles: u32,
    pub(super) bytes: u64,
    pub(super) fragments: u32,
    /// Acknowledgements that are late, with the time of each.
    pub(super) outbox: VecDeque<(Duration, Ack)>,
    /// The body was not to be read when last looked at.
    pub(super) held: bool,
    /// When the rate of bytes lets more be read.
    bytes_from: Duration,
    /// When the rate of fragments lets more be read.
    fragments_from: Duration,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, origin: Origin, ingest: Ingest, mono: Duration) -> Self {
        Self {
            id,
            origin,
            ingest,
            open: None,
            stage: Stage::Receiving,
            opened: mono,
            heard: mono,
            idles: 0,
            bytes: 0,
            fragments: 0,
            outbox: VecDeque::new(),
            held: false,
            bytes_from: Duration::ZERO,
            fragments_from: Duration::ZERO,
        }
    }

    /// When something is due about silence: an `IDLE` at each interval, the end at the limit.
    pub(super) fn silence_due(&self, settings: &LineSettings) -> Duration {
        let next = settings.idle_ack_interval.saturating_mul(self.idles.saturating_add(1));
        self.heard.saturating_add(next.min(settings.idle_limit))
    }

    /// Not read by our own doing is not silence of the client's.
    pub(super) fn excuse(&mut self, mono: Duration) {
        self.heard = mono;
        self.idles = 0;
    }

    /// When the rates let more be read.
    pub(super) fn free_at(&self) -> Duration {
        self.bytes_from.max(self.fragments_from)
    }

    /// Accounts for bytes that may come at this rate, and `burst` of it at once.
    pub(super) fn pace_bytes(&mut self, bytes: u64, rate: u64, burst: Duration, mono: Duration) {
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.bytes_from = self.bytes_from.max(mono.saturating_sub(burst)).saturating_add(cost);
    }

    /// Accounts for a fragment.
    pub(super) fn pace_fragment(&mut self, rate: u32, burst: Duration, mono: Duration) {
        let cost = Duration::from_secs(1) / rate.max(1);
        self.fragments_from = self.fragments_from.max(mono.saturating_sub(burst)).saturating_add(cost);
    }
}
