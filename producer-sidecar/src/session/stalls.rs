//! When a session counts as stalled: three timers beside what the network itself reports, since a connection can stand
//! for hours and carry nothing. Each doubles from stall to stall until something is stored, so that a slow way is not
//! taken for a broken one for ever.

use std::time::Duration;

use streamfleet_contract::UploadReason;

use super::attempt::{Attempt, Body};
use super::mutant::Mutant;
use super::retry::Cause;
use super::{Output, Session};
use crate::clock::Now;

/// A finished session of which all is stored is dropped when the service has not ended it by then.
const FINISHED_PATIENCE: Duration = Duration::from_secs(1);

/// A finished session may take this long without anything stored before it is dropped, at first. Where storing takes
/// longer it is learned: twice what the last took.
pub(super) const FINISH_PATIENCE: Duration = Duration::from_secs(5);
const FINISH_PATIENCE_MAX: Duration = Duration::from_mins(1);

/// How long the service may take to accept a session. The steps on the way there (credentials, endpoint, connection) have
/// limits of their own, which say better what has failed.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

/// How long an accepted upload may take nothing, at first.
const TAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a fragment may be on the way without any acknowledgement, at first.
const SEEN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a fragment may be whole without being stored, at first.
const STORAGE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a fragment may be received without being stored; so often in a row, and the stream's storage is at fault.
const UNPERSISTED_PATIENCE: Duration = Duration::from_mins(1);
const UNPERSISTED_MAX: u32 = 2;

/// How often the times double.
const DOUBLINGS: u32 = 3;

/// What stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The body has ended and the session has not.
    Finishing,
    /// The session is neither accepted nor refused.
    Answer,
    /// No bytes are taken.
    Taking,
    /// A fragment goes out and nothing is said of it.
    Buffering,
    /// A fragment is out and not stored.
    Storage,
    /// A fragment was received and not stored.
    Unpersisted,
}

impl Stall {
    fn explain(self) -> (UploadReason, &'static str) {
        let unreachable = UploadReason::EndpointUnreachable;
        let unstored = UploadReason::NoPersistedAcks;
        match self {
            Self::Finishing => (unstored, "the finished session did not end"),
            Self::Answer => (unreachable, "the service does not answer"),
            Self::Taking => (unreachable, "the service takes no data"),
            Self::Buffering => (unstored, "no acknowledgement of a fragment on its way"),
            Self::Storage => (unstored, "no acknowledgement of storage"),
            Self::Unpersisted => (unstored, "fragments are received but not stored"),
        }
    }
}

impl Session {
    /// When and how the session first counts as stalled.
    pub(super) fn stall(&self, now: Now) -> Option<(Duration, Stall)> {
        let attempt = self.attempt.as_ref().filter(|_| !self.has(Mutant::NoStallTimers))?;
        let times = [
            self.finishing_stall(attempt),
            (attempt.accepted_at.is_none()).then_some((attempt.opened_at + ANSWER_PATIENCE, Stall::Answer)),
            self.taking_stall(attempt, now),
            self.fragment_stall(attempt),
        ];
        times.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn finishing_stall(&self, attempt: &Attempt) -> Option<(Duration, Stall)> {
        let Body::Ended { at } = attempt.body else { return None };
        let since = at.max(attempt.progressed_at.unwrap_or(at));
        let patience = if attempt.fragments.is_empty() { FINISHED_PATIENCE } else { self.finish_patience };
        Some((since + patience, Stall::Finishing))
    }

    fn taking_stall(&self, attempt: &Attempt, now: Now) -> Option<(Duration, Stall)> {
        let accepted_at = attempt.accepted_at.filter(|_| self.has_piece(attempt.id, now))?;
        let since = attempt.taken_at.max(accepted_at).max(self.pace.bytes_at(true).min(now.mono));
        Some((since + self.patience(TAKE_PATIENCE), Stall::Taking))
    }

    fn fragment_stall(&self, attempt: &Attempt) -> Option<(Duration, Stall)> {
        let accepted_at = attempt.accepted_at?;
        let times = attempt.fragments.iter().map(|fragment| {
            if let Some(at) = fragment.received_at {
                let whole = fragment.closed_at.map_or(at, |at| at + self.patience(STORAGE_PATIENCE));
                (whole.max(at + UNPERSISTED_PATIENCE), Stall::Unpersisted)
            } else if !fragment.seen {
                // On a slow way it waits behind those that were begun before, as long as something is heard of them.
                let ahead = attempt.heard.filter(|heard| heard.begun_at < fragment.begun_at);
                let since = ahead.map_or(accepted_at, |heard| heard.at.max(accepted_at));
                (fragment.begun_at.max(since) + self.patience(SEEN_PATIENCE), Stall::Buffering)
            } else if let Some(at) = fragment.closed_at {
                (at + self.patience(STORAGE_PATIENCE), Stall::Storage)
            } else {
                (Duration::MAX, Stall::Storage)
            }
        });
        times.min_by_key(|(at, _)| *at).filter(|(at, _)| *at < Duration::MAX)
    }

    fn patience(&self, first: Duration) -> Duration {
        first * (1 << self.stalls.min(DOUBLINGS))
    }

    pub(super) fn abort_if_stalled(&mut self, now: Now) {
        let Some((_, stall)) = self.stall(now).filter(|(at, _)| *at <= now.mono) else { return };
        let Some(attempt) = &self.attempt else { return };
        let (id, all_stored) = (attempt.id, attempt.fragments.is_empty() && !attempt.is_open());
        self.outputs.push_back(Output::Abort(id));
        if all_stored {
            self.learn_finish();
            self.end_attempt(None, now);
        } else {
            let (reason, message) = stall.explain();
            self.trouble(reason, message.to_owned());
            let cause = self.note_stall(stall);
            self.end_attempt(Some(cause), now);
        }
        self.open_if_due(now);
    }

    fn note_stall(&mut self, stall: Stall) -> Cause {
        match stall {
            Stall::Finishing => self.finish_patience = (self.finish_patience * 2).min(FINISH_PATIENCE_MAX),
            Stall::Unpersisted => {
                self.unpersisted += 1;
                if self.unpersisted >= UNPERSISTED_MAX {
                    return Cause::Hold;
                }
            }
            _ => self.stalls += 1,
        }
        Cause::Failure
    }

    /// A session has ended with all of it stored: the next may take twice as long as this one's fragments did.
    pub(super) fn learn_finish(&mut self) {
        if let Some(attempt) = &self.attempt {
            let learned = attempt.longest_storage * 2;
            self.finish_patience = learned.clamp(FINISH_PATIENCE, FINISH_PATIENCE_MAX);
        }
    }
}
