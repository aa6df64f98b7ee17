//! What a stream's traffic counts for the metrics of `AWS/KinesisVideo`, until the evaluator takes it.
//!
//! Names, units and meanings are those of "Monitoring Kinesis Video Streams metrics with CloudWatch" in the developer
//! guide. A stream without traffic counts nothing: its metrics are missing, not zero.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use streamfleet_media::ack::{Ack, AckKind};

use super::series::Sample;

/// The names of the metrics.
pub mod names {
    #![allow(missing_docs, reason = "each is what it says; the meanings are in the developer guide")]

    pub const PUT_REQUESTS: &str = "PutMedia.Requests";
    pub const PUT_BYTES: &str = "PutMedia.IncomingBytes";
    pub const PUT_FRAGMENTS: &str = "PutMedia.IncomingFragments";
    pub const PUT_FRAMES: &str = "PutMedia.IncomingFrames";
    pub const PUT_CONNECTIONS: &str = "PutMedia.ActiveConnections";
    pub const PUT_CONNECTION_ERRORS: &str = "PutMedia.ConnectionErrors";
    pub const PUT_LATENCY: &str = "PutMedia.Latency";
    pub const PUT_ERROR_ACKS: &str = "PutMedia.ErrorAckCount";
    pub const PUT_SUCCESS: &str = "PutMedia.Success";
    pub const PUT_INGESTION_LATENCY: &str = "PutMedia.FragmentIngestionLatency";
    pub const PUT_PERSIST_LATENCY: &str = "PutMedia.FragmentPersistLatency";
    pub const PUT_BUFFERING_LATENCY: &str = "PutMedia.BufferingAckLatency";
    pub const PUT_RECEIVED_LATENCY: &str = "PutMedia.ReceivedAckLatency";
    pub const PUT_PERSISTED_LATENCY: &str = "PutMedia.PersistedAckLatency";
    pub const GET_REQUESTS: &str = "GetMedia.Requests";
    pub const GET_BYTES: &str = "GetMedia.OutgoingBytes";
    pub const GET_FRAGMENTS: &str = "GetMedia.OutgoingFragments";
    pub const GET_FRAMES: &str = "GetMedia.OutgoingFrames";
    pub const GET_BEHIND: &str = "GetMedia.MillisBehindNow";
    pub const GET_CONNECTION_ERRORS: &str = "GetMedia.ConnectionErrors";
    pub const GET_SUCCESS: &str = "GetMedia.Success";
    pub const LIST_REQUESTS: &str = "ListFragments.Requests";
    pub const LIST_SUCCESS: &str = "ListFragments.Success";
    pub const LIST_LATENCY: &str = "ListFragments.Latency";
    pub const FRAGMENT_LIST_REQUESTS: &str = "GetMediaForFragmentList.Requests";
    pub const FRAGMENT_LIST_SUCCESS: &str = "GetMediaForFragmentList.Success";
    pub const FRAGMENT_LIST_BYTES: &str = "GetMediaForFragmentList.OutgoingBytes";
    pub const FRAGMENT_LIST_FRAGMENTS: &str = "GetMediaForFragmentList.OutgoingFragments";
    pub const CONSUMED_MEDIA: &str = "ArchivedFragmentsConsumed.Media";
    pub const CONSUMED_METADATA: &str = "ArchivedFragmentsConsumed.Metadata";
}

use names::{
    PUT_BUFFERING_LATENCY, PUT_ERROR_ACKS, PUT_FRAGMENTS, PUT_INGESTION_LATENCY, PUT_PERSIST_LATENCY,
    PUT_PERSISTED_LATENCY, PUT_RECEIVED_LATENCY, PUT_SUCCESS,
};

/// Fragments that wait to be stored, of which the times are known.
const FRAGMENTS_KEPT_MAX: usize = 1024;

/// The unit of a metric.
pub fn unit(metric: &str) -> &'static str {
    if metric.ends_with("Bytes") {
        "Bytes"
    } else if metric.ends_with("Latency") || metric.ends_with("MillisBehindNow") {
        "Milliseconds"
    } else {
        "Count"
    }
}

/// Values of a second, in seconds since the epoch.
pub type Counted = (u64, &'static str, Sample);

/// What a stream has counted.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counted: Vec<Counted>,
    /// Number and time of reception of fragments that are not stored yet.
    received: VecDeque<(String, u64)>,
}

impl Inner {
    fn count(&mut self, metric: &'static str, value: f64, now_ms: u64) {
        let (second, sample) = (now_ms / 1000, Sample::of(value));
        let same = |(known, name, _): &&mut Counted| *known == second && *name == metric;
        match self.counted.iter_mut().rev().find(same) {
            Some((.., known)) => known.merge(&sample),
            None => self.counted.push((second, metric, sample)),
        }
    }
}

impl Traffic {
    /// Counts a value.
    pub fn count(&self, metric: &'static str, value: f64, now_ms: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(metric, value, now_ms);
    }

    /// A fragment has come in whole, whose first bytes came at `begun_ms`.
    pub fn received(&self, number: &str, begun_ms: u64, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(PUT_FRAGMENTS, 1.0, now_ms);
        inner.count(PUT_INGESTION_LATENCY, now_ms.saturating_sub(begun_ms) as f64, now_ms);
        if inner.received.len() >= FRAGMENTS_KEPT_MAX {
            inner.received.pop_front();
        }
        inner.received.push_back((number.to_owned(), now_ms));
    }

    /// A fragment is stored, or could not be.
    pub fn stored(&self, number: &str, done: bool, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(PUT_SUCCESS, f64::from(u8::from(done)), now_ms);
        if let Some(at) = inner.received.iter().position(|(known, _)| known == number) {
            let latency =
                inner.received.remove(at).map_or(0, |(_, received)| now_ms.saturating_sub(received));
            if done {
                inner.count(PUT_PERSIST_LATENCY, latency as f64, now_ms);
                inner.count(PUT_PERSISTED_LATENCY, latency as f64, now_ms);
            }
        }
    }

    /// An acknowledgement goes out. Both of these are sent as soon as their cause has been read.
    pub fn acknowledged(&self, ack: &Ack, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ack.kind {
            AckKind::Buffering => inner.count(PUT_BUFFERING_LATENCY, 0.0, now_ms),
            AckKind::Received => inner.count(PUT_RECEIVED_LATENCY, 0.0, now_ms),
            AckKind::Error => {
                inner.count(PUT_ERROR_ACKS, 1.0, now_ms);
                inner.count(PUT_SUCCESS, 0.0, now_ms);
            }
            _ => {}
        }
    }

    /// Takes what was counted.
    pub fn take(&self) -> Vec<Counted> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_second_come_together_and_silence_counts_nothing() {
        let traffic = Traffic::default();
        assert!(traffic.take().is_empty());
        for (value, now_ms) in [(1.0, 1000), (2.0, 1999), (4.0, 2000)] {
            traffic.count(names::PUT_BYTES, value, now_ms);
        }
        let taken: Vec<(u64, f64)> =
            traffic.take().iter().map(|(second, _, all)| (*second, all.sum)).collect();
        assert_eq!(taken, [(1, 3.0), (2, 4.0)]);
        assert!(traffic.take().is_empty());
    }

    #[test]
    fn a_fragment_s_latencies_count_from_its_first_and_its_last_byte() {
        let traffic = Traffic::default();
        traffic.received("7", 1000, 3000);
        traffic.stored("7", true, 4500);
        traffic.stored("8", false, 4600);
        let sums = |wanted: &str| -> Vec<f64> {
            traffic
                .0
                .lock()
                .unwrap()
                .counted
                .iter()
                .filter(|(_, name, _)| *name == wanted)
                .map(|one| one.2.sum)
                .collect()
        };
        assert_eq!(sums(PUT_INGESTION_LATENCY), [2000.0]);
        assert_eq!(sums(PUT_PERSIST_LATENCY), [1500.0]);
        assert_eq!(sums(PUT_SUCCESS), [1.0]);
        assert_eq!(traffic.take().iter().find(|one| one.1 == PUT_SUCCESS).unwrap().2.count, 2.0);
    }
}
