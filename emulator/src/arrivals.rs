//! When each frame of an upload was read from its socket, for measurements of latency.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::ingest::FrameSeen;

/// Older arrivals of a stream are forgotten: more than five minutes at 25 a second.
const ARRIVALS_KEPT_MAX: usize = 8192;

/// One frame that has come in whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// Counts from 1 since the process began, in each stream.
    pub n: u64,
    /// When its last byte was read, in microseconds since the epoch.
    pub us: u64,
    /// Its track.
    pub track: u64,
    /// Its time, in the document's scale.
    pub timecode: i64,
    /// Bytes of its payload.
    pub bytes: usize,
    /// The test camera's number in it.
    pub number: Option<u64>,
}

/// The newest arrivals of a stream.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<(u64, VecDeque<Arrival>)>);

impl Arrivals {
    /// Enters a frame.
    pub fn enter(&self, frame: FrameSeen, us: u64) {
        let FrameSeen { track, timecode, bytes, number } = frame;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let n = kept.0;
        if kept.1.len() >= ARRIVALS_KEPT_MAX {
            kept.1.pop_front();
        }
        kept.1.push_back(Arrival { n, us, track, timecode, bytes, number });
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Those after number `n`, oldest first, at most `limit`.
    pub fn since(&self, n: u64, limit: usize) -> Vec<Arrival> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = usize::try_from(kept.0.saturating_sub(n)).unwrap_or(usize::MAX);
        let skipped = kept.1.len().saturating_sub(newer);
        kept.1.iter().skip(skipped).take(limit).copied().collect()
    }
}
