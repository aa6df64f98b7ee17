//! The log of calls: what clients asked, and what they were answered.

use std::{
    collections::VecDeque,
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
    /// The HTTP status; 0 when a fault dropped the connection without an answer.
    pub status: u16,
    /// The error code of a refusal.
    pub error: Option<&'static str>,
    /// Whether the operation was carried out, though the answer may have been dropped.
    pub done: bool,
}

/// The log.
#[derive(Debug, Default)]
pub struct Calls {
    kept: Mutex<(u64, VecDeque<Call>)>,
}

impl Calls {
    /// Enters a call; its number is set here.
    pub fn enter(&self, mut call: Call) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        call.n = kept.0;
        if kept.1.len() >= CALLS_KEPT_MAX {
            kept.1.pop_front();
        }
        kept.1.push_back(call);
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
            status: 200,
            error: None,
            done: true,
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
