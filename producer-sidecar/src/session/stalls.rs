//! When a session counts as stalled: three timers beside what the network itself reports, since a connection can stand
//! for hours and carry nothing.

use std::time::Duration;

use streamfleet_contract::UploadReason;

use super::attempt::{Attempt, Body};
use super::retry::Cause;
use super::{Output, Session};
use crate::clock::Now;

/// A finished session may take this long without a sign of life before it is dropped.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

/// How long the service may take to accept a session. The steps on the way there (credentials, endpoint, connection) have
/// limits of their own, which say better what has failed.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);

/// How long an accepted upload may take nothing.
const TAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a fragment may be on the way without any acknowledgement.
const SEEN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a fragment may be whole without being stored, at first; doubles each time, up to the second.
pub const STORAGE_PATIENCE: Duration = Duration::from_secs(30);
const STORAGE_PATIENCE_MAX: Duration = Duration::from_mins(4);

impl Session {
    /// The moments at which the session counts as stalled, and what that is called.
    pub(super) fn stall_times<'a>(
        &'a self,
        attempt: &'a Attempt,
        now: Now,
    ) -> impl Iterator<Item = (Duration, (UploadReason, &'static str))> + 'a {
        let unreachable = UploadReason::EndpointUnreachable;
        let finished = match attempt.body {
            Body::Ended { at } => Some((
                at.max(attempt.acknowledged_at) + FINISH_PATIENCE,
                (UploadReason::NoPersistedAcks, "the finished session did not end"),
            )),
            Body::Open => None,
        };
        let unanswered = match attempt.accepted_at {
            None => Some((attempt.opened_at + ANSWER_PATIENCE, (unreachable, "the service does not answer"))),
            Some(_) => None,
        };
        let taking = attempt.accepted_at.filter(|_| self.has_piece(attempt.id, now)).map(|accepted_at| {
            (attempt.taken_at.max(accepted_at) + TAKE_PATIENCE, (unreachable, "the service takes no data"))
        });
        let unseen = attempt.fragments.iter().find(|fragment| !fragment.seen).zip(attempt.accepted_at).map(
            |(fragment, accepted_at)| {
                (
                    fragment.begun_at.max(accepted_at) + SEEN_PATIENCE,
                    (UploadReason::NoPersistedAcks, "no acknowledgement of a fragment on its way"),
                )
            },
        );
        let unstored = attempt.fragments.iter().find_map(|fragment| fragment.closed_at).map(|at| {
            (at + self.storage_patience, (UploadReason::NoPersistedAcks, "no acknowledgement of storage"))
        });
        [finished, unanswered, taking, unseen, unstored].into_iter().flatten()
    }

    pub(super) fn abort_if_stalled(&mut self, now: Now) {
        let Some(attempt) = &self.attempt else { return };
        let Some((_, (reason, message))) =
            self.stall_times(attempt, now).filter(|(at, _)| *at <= now.mono).min_by_key(|(at, _)| *at)
        else {
            return;
        };
        let id = attempt.id;
        let all_stored = attempt.fragments.is_empty() && !attempt.is_open();
        if attempt
            .fragments
            .iter()
            .any(|fragment| fragment.closed_at.is_some_and(|at| at + self.storage_patience <= now.mono))
        {
            self.storage_patience = (self.storage_patience * 2).min(STORAGE_PATIENCE_MAX);
        }
        self.outputs.push_back(Output::Abort(id));
        if all_stored {
            self.end_attempt(None, now);
        } else {
            self.trouble(reason, message.to_owned());
            self.end_attempt(Some(Cause::Failure), now);
        }
        self.open_if_due(now);
    }
}
