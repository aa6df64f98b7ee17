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
use crate::number::FragmentNumber;

/// The names of the metrics.
pub mod names {
    #![allow(missing_docs, reason = "each is what it says; the meanings are in the developer guide")]

    pub const PUT_REQUESTS: &str = "PutMedia.Requests";
    pub const PUT_BYTES: &str = "PutMedia.IncomingBytes";
    pub const PUT_FRAGMENTS: &str = "PutMedia.IncomingFragments";
    pub const PUT_FRAMES: &str = "PutMedia.IncomingFrames";
    pub const PUT_CONNECTIONS: &str = "PutMedia.ActiveConnections";
    pub const PUT_CONNECTION_ERRORS: &str = "PutMedia.ConnectionErrors";
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
    pub const GET_BEHIND: &str = "GetMedia.MillisBehindNow";
    pub const GET_CONNECTION_ERRORS: &str = "GetMedia.ConnectionErrors";
    pub const GET_SUCCESS: &str = "GetMedia.Success";
    pub const LIST_REQUESTS: &str = "ListFragments.Requests";
    pub const LIST_SUCCESS: &str = "ListFragments.Success";
    pub const FRAGMENT_LIST_REQUESTS: &str = "GetMediaForFragmentList.Requests";
    pub const FRAGMENT_LIST_SUCCESS: &str = "GetMediaForFragmentList.Success";
    pub const FRAGMENT_LIST_BYTES: &str = "GetMediaForFragmentList.OutgoingBytes";
    pub const FRAGMENT_LIST_FRAGMENTS: &str = "GetMediaForFragmentList.OutgoingFragments";
    pub const CONSUMED_MEDIA: &str = "ArchivedFragmentsConsumed.Media";
    pub const CONSUMED_METADATA: &str = "ArchivedFragmentsConsumed.Metadata";
}

use names::{
    PUT_BUFFERING_LATENCY, PUT_CONNECTION_ERRORS, PUT_ERROR_ACKS, PUT_FRAGMENTS, PUT_INGESTION_LATENCY,
    PUT_PERSIST_LATENCY, PUT_PERSISTED_LATENCY, PUT_RECEIVED_LATENCY, PUT_REQUESTS, PUT_SUCCESS,
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
    received: VecDeque<(FragmentNumber, u64)>,
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
    pub fn received(&self, number: FragmentNumber, begun_ms: u64, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(PUT_FRAGMENTS, 1.0, now_ms);
        inner.count(PUT_INGESTION_LATENCY, now_ms.saturating_sub(begun_ms) as f64, now_ms);
        if inner.received.len() >= FRAGMENTS_KEPT_MAX {
            inner.received.pop_front();
        }
        inner.received.push_back((number, now_ms));
    }

    /// A fragment is stored.
    pub fn stored(&self, number: FragmentNumber, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(PUT_SUCCESS, 1.0, now_ms);
        if let Some(at) = inner.received.iter().position(|(known, _)| *known == number)
            && let Some((_, received_ms)) = inner.received.remove(at)
        {
            let latency = now_ms.saturating_sub(received_ms) as f64;
            inner.count(PUT_PERSIST_LATENCY, latency, now_ms);
            inner.count(PUT_PERSISTED_LATENCY, latency, now_ms);
        }
    }

    /// A session was asked for, and opened or refused.
    pub fn asked(&self, opened: bool, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(PUT_REQUESTS, 1.0, now_ms);
        if !opened {
            inner.count(PUT_CONNECTION_ERRORS, 1.0, now_ms);
        }
    }

    /// `GetMedia` has sent a fragment, whose first bytes came at `server_ms`.
    pub fn sent(&self, bytes: usize, server_ms: u64, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(names::GET_FRAGMENTS, 1.0, now_ms);
        inner.count(names::GET_BYTES, bytes as f64, now_ms);
        inner.count(names::GET_SUCCESS, 1.0, now_ms);
        inner.count(names::GET_BEHIND, now_ms.saturating_sub(server_ms) as f64, now_ms);
    }

    /// `ListFragments` has answered so many fragments, each of which uses a point of the quota.
    pub fn listed(&self, fragments: usize, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(names::LIST_REQUESTS, 1.0, now_ms);
        inner.count(names::LIST_SUCCESS, 1.0, now_ms);
        inner.count(names::CONSUMED_METADATA, fragments as f64, now_ms);
    }

    /// `GetMediaForFragmentList` has read a fragment of so many bytes, or failed to.
    pub fn read_from_archive(&self, bytes: Option<usize>, now_ms: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count(names::FRAGMENT_LIST_SUCCESS, f64::from(u8::from(bytes.is_some())), now_ms);
        if let Some(bytes) = bytes {
            inner.count(names::FRAGMENT_LIST_FRAGMENTS, 1.0, now_ms);
            inner.count(names::FRAGMENT_LIST_BYTES, bytes as f64, now_ms);
            inner.count(names::CONSUMED_MEDIA, 1.0, now_ms);
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
    use streamfleet_media::ack::ErrorId;

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
        let number = |sequence| FragmentNumber::new(sequence, 1000, 0);
        traffic.received(number(7), 1000, 3000);
        traffic.stored(number(7), 4500);
        traffic.acknowledged(&Ack::failure(ErrorId::ArchivalError, None, None), 4600);
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
        let taken = traffic.take();
        let success = taken.iter().find(|(_, name, _)| *name == PUT_SUCCESS).map(|(.., sample)| sample.count);
        assert_eq!(success, Some(2.0), "the refused one counts as a failure");
    }
}
