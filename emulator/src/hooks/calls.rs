//! The log of calls: what clients asked, and what they were answered.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Older calls are forgotten.
const CALLS_KEPT_MAX: usize = 200_000;

/// One call, entered when its effect is done and its answer is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts from 1 since the process began.
    pub n: u64,
    /// When it was answered, in milliseconds since the epoch.
    pub ms: u64,
    /// When its head had come.
    pub begun_ms: u64,
    /// The operation; the path when it is none.
    pub operation: String,
    /// The stream's name, when the request names one.
    pub stream: Option<String>,
    /// The account of the key that the request names, proven or not.
    pub account: Option<String>,
    /// The region of its signature.
    pub region: Option<String>,
    /// The HTTP status; 0 when a fault dropped the connection without an answer.
    pub status: u16,
    /// The error code of a refusal.
    pub error: Option<&'static str>,
    /// Whether the operation was carried out, though the answer may have been dropped.
    pub done: bool,
    /// Whether a fault on order struck it.
    pub struck: bool,
}

/// How many calls of one operation there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All of them.
    calls: u64,
    /// Those that were answered with an error, by its code; `dropped` when they were not answered.
    errors: BTreeMap<&'static str, u64>,
}

/// The log.
#[derive(Debug, Default)]
pub struct Calls {
    kept: Mutex<(u64, VecDeque<Call>)>,
    counts: Mutex<BTreeMap<String, Count>>,
}

impl Calls {
    /// Enters a call; its number is set here.
    pub fn enter(&self, mut call: Call) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(call.operation.clone()).or_default();
        count.calls += 1;
        if let Some(error) = call.error.or_else(|| (call.status == 0).then_some("dropped")) {
            *count.errors.entry(error).or_default() += 1;
        }
        drop(counts);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        call.n = kept.0;
        if kept.1.len() >= CALLS_KEPT_MAX {
            kept.1.pop_front();
        }
        kept.1.push_back(call);
    }

    /// How many calls there were, by operation, since the start or the last time that they were forgotten.
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to count from nothing.
    pub fn forget_counts(&self) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The calls after number `n`, oldest first, at most `limit`.
    pub fn since(&self, n: u64, limit: usize) -> Vec<Call> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = usize::try_from(kept.0.saturating_sub(n)).unwrap_or(usize::MAX);
        let skipped = kept.1.len().saturating_sub(newer);
        kept.1.iter().skip(skipped).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: &str) -> Call {
        Call {
            n: 0,
            ms: 1,
            begun_ms: 1,
            operation: operation.to_owned(),
            stream: None,
            account: None,
            region: None,
            status: 200,
            error: None,
            done: true,
            struck: false,
        }
    }

    #[test]
    fn calls_are_numbered_and_told_from_a_number_on() {
        let calls = Calls::default();
        for operation in ["a", "b", "c"] {
            calls.enter(call(operation));
        }
        let names = |since| {
            let found = calls.since(since, 10);
            found.into_iter().map(|call| (call.n, call.operation)).collect::<Vec<_>>()
        };
        assert_eq!(names(1), [(2, "b".to_owned()), (3, "c".to_owned())]);
        assert_eq!(names(3), []);
        assert_eq!(names(99), []);
        assert_eq!(calls.since(0, 1).len(), 1);
    }
}
