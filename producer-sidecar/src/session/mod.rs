//! The upload session: decides what is sent, when, in which `PutMedia` session, and what may be let go. A pure state
//! machine: it does no I/O, reads no clock, and holds no media.
//!
//! In: what came from the camera ([`Input::Began`] and its kin), what the uploads report ([`Input::Opened`],
//! [`Input::Ack`], [`Input::Closed`]), and the time. Out: [`Output`]s to carry out, and, when an upload can take
//! something, the next [`Piece`] by [`Session::pull`]. [`Session::wake_at`] says when to call [`Session::wake`].
//!
//! Invariants, held by the simulation in `tests/tests/simulation`:
//! - A group of pictures leaves by [`Output::Free`] only when the service has said that it is stored, or with a
//!   [`Report::Gap`] for it.
//! - Within a session, fragments rise in time, each later than every block before it.
//! - After any end the next session begins with the first group that is not stored.
//! - One session at a time: the service takes one connection for each stream.

mod acks;
mod attempt;
mod interface;
mod overflow;
mod plan;
mod queue;
pub mod retry;
mod stalls;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use streamfleet_contract::{GapReason, UploadReason};

use self::attempt::{Attempt, Body};
pub use self::interface::{
    Ending, Input, Output, Piece, RecoveredGop, Refusal, Report, SessionId, Settings, SpoolRoom, State, Tags,
    TrackSet,
};
use self::plan::Step;
use self::queue::{Place, Queue};
use self::retry::{Cause, Retry};
use self::stalls::STORAGE_PATIENCE;
use crate::buffer::GopId;
use crate::clock::Now;

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    queue: Queue,
    attempt: Option<Attempt>,
    /// When the next session may be opened.
    not_before: Duration,
    last_open: Option<Duration>,
    next_id: u64,
    retry: Retry,
    rotation_jitter: Duration,
    outputs: VecDeque<Output>,
    /// Since when the camera is away.
    source_ended: Option<Duration>,
    draining: bool,
    /// When the newest fragments were begun, for the service's limit on their rate.
    begun_at: VecDeque<Duration>,
    /// The longest and the largest group seen lately: how much the next one may add.
    longest_gop_ms: i64,
    largest_gop_bytes: u64,
    /// How long PERSISTED may be outstanding.
    storage_patience: Duration,
    /// Fragments refused in a row, without one stored between.
    refused_in_a_row: u32,
    /// Up to which group fragments are sent one for each session, because one of them makes the service fail without
    /// naming it; and the group that failed alone, with how often.
    isolate_until: Option<GopId>,
    failed_alone: Option<(GopId, u32)>,
    /// Since when the service has said that another connection holds the stream.
    held_since: Option<Duration>,
    own_session_ended: Option<Duration>,
}

/// How long the open fragment waits for a camera that is away: a short interruption does not cost a session.
const SOURCE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the stream must have been held by somebody else before that is said: our own last session may linger.
const HELD_ELSEWHERE_AFTER: Duration = Duration::from_secs(45);

/// So many fragments refused in a row, and it is not the fragments: everything is kept.
const REFUSED_IN_A_ROW_MAX: u32 = 3;

impl Session {
    /// A session with nothing to send.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            settings,
            queue: Queue::default(),
            attempt: None,
            not_before: Duration::ZERO,
            last_open: None,
            next_id: 1,
            rotation_jitter: Duration::from_secs(random.u64(0..90)),
            retry: Retry::new(random.u64(..)),
            outputs: VecDeque::new(),
            source_ended: None,
            draining: false,
            begun_at: VecDeque::new(),
            longest_gop_ms: 0,
            largest_gop_bytes: 0,
            storage_patience: STORAGE_PATIENCE,
            refused_in_a_row: 0,
            isolate_until: None,
            failed_alone: None,
            held_since: None,
            own_session_ended: None,
        }
    }

    /// Changes how the feed is cut and stored, from the next fragment on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Has the session that is under way end at the next cut, and the next one begin: it was opened by settings of the
    /// upload that hold no longer.
    pub fn renew(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_outdated = true;
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        let had_piece = self.attempt.as_ref().is_some_and(|attempt| self.has_piece(attempt.id, now));
        match input {
            Input::Began { gop, codec, time_ms, bytes, .. } => {
                self.source_ended = None;
                self.queue.begin(gop, codec, time_ms, bytes);
            }
            Input::Extended { gop, time_ms, bytes, .. } => self.queue.extend(gop, time_ms, bytes),
            Input::Completed(gop) => self.on_completed(gop),
            Input::SourceEnded => _ = self.source_ended.get_or_insert(now.mono),
            Input::Opened(id) => self.on_opened(id, now),
            Input::Ack(id, ack) => self.on_ack(id, &ack, now),
            Input::Closed(id, ending) => self.on_closed(id, ending, now),
            Input::Drain => self.draining = true,
            Input::Recovered(_)
            | Input::Stored(_)
            | Input::StoreFailed(_)
            | Input::Loaded(_)
            | Input::LoadFailed(_)
            | Input::Retimed { .. }
            | Input::Progress(_) => {}
        }
        if !had_piece && let Some(attempt) = &mut self.attempt {
            // There was nothing to take until now.
            attempt.taken_at = now.mono;
        }
        self.wake(now);
    }

    /// Does what is due. To be called at [`Session::wake_at`]; at any other time it does no harm.
    pub fn wake(&mut self, now: Now) {
        self.open_if_due(now);
        self.end_body_if_due(now);
        self.abort_if_stalled(now);
    }

    /// The next thing to be done.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether [`Session::pull`] would give something to this session.
    pub fn has_piece(&self, id: SessionId, now: Now) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.id == id)
            && matches!(
                self.next_step(now),
                Step::Header(..)
                    | Step::Begin(..)
                    | Step::Continue(..)
                    | Step::Unit
                    | Step::End
                    | Step::Split(..)
            )
    }

    /// The next thing to write in a session that can take something.
    pub fn pull(&mut self, id: SessionId, now: Now) -> Option<Piece> {
        if self.attempt.as_ref().is_none_or(|attempt| attempt.id != id) {
            return None;
        }
        let piece = self.advance(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.taken_at = now.mono;
        }
        piece
    }

    /// When [`Session::wake`] is next due.
    pub fn wake_at(&self, now: Now) -> Option<Duration> {
        let mut times = Vec::with_capacity(4);
        match &self.attempt {
            None if !self.queue.is_empty() => times.push(self.opening_time()),
            None => {}
            Some(attempt) => {
                times.extend(self.stall_times(attempt, now).map(|(at, _)| at));
                if attempt.is_open() {
                    times.extend(
                        self.source_ended.map(|since| since + SOURCE_PATIENCE).filter(|&at| at > now.mono),
                    );
                    times.extend(self.pace_time(now));
                }
            }
        }
        times.into_iter().min()
    }

    /// Whether everything is stored and no session is under way.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a session stands that the service has accepted.
    pub fn is_accepted(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.accepted_at.is_some())
    }

    /// How much waits: groups, and the time from the oldest picture to the newest.
    pub fn backlog(&self) -> (usize, i64) {
        (self.queue.iter().count(), self.queue.span_ms())
    }

    fn on_completed(&mut self, id: GopId) {
        self.queue.complete(id);
        if let Some(gop) = self.queue.get(id) {
            // A slow decay, so that a single long group is not remembered for ever.
            self.longest_gop_ms = (gop.end_ms - gop.start_ms).max(self.longest_gop_ms * 15 / 16);
            self.largest_gop_bytes = gop.bytes.max(self.largest_gop_bytes / 16 * 15);
        }
    }

    fn on_opened(&mut self, id: SessionId, now: Now) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) {
            attempt.accepted_at = Some(now.mono);
            attempt.acknowledged_at = now.mono;
            self.held_since = None;
            self.outputs.push_back(Output::Report(Report::Opened));
        }
    }

    fn on_closed(&mut self, id: SessionId, ending: Ending, now: Now) {
        if self.attempt.as_ref().is_none_or(|attempt| attempt.id != id) {
            return;
        }
        match ending {
            Ending::Finished => self.end_attempt(None, now),
            Ending::Broken(message) => {
                self.trouble(UploadReason::EndpointUnreachable, message);
                self.end_attempt(Some(Cause::Failure), now);
            }
            Ending::Refused(refusal, message) => {
                let reason = self.refusal_reason(refusal, now);
                self.trouble(reason, message);
                self.end_attempt(Some(Cause::Refused(refusal)), now);
            }
        }
    }

    fn refusal_reason(&mut self, refusal: Refusal, now: Now) -> UploadReason {
        match refusal {
            Refusal::Unreachable | Refusal::Other => UploadReason::EndpointUnreachable,
            Refusal::CredentialsMissing => UploadReason::AwsCredentialsMissing,
            Refusal::CredentialsRefused => UploadReason::AwsCredentialsRefused,
            Refusal::ClockCorrected => UploadReason::Opening,
            Refusal::StreamNotFound => UploadReason::StreamNotFound,
            Refusal::Throttled => UploadReason::Throttled,
            Refusal::ConnectionLimit => {
                let first = *self.held_since.get_or_insert(now.mono);
                let since = self.own_session_ended.map_or(first, |last| last.max(first));
                if now.mono.saturating_sub(since) >= HELD_ELSEWHERE_AFTER {
                    UploadReason::StreamHeldElsewhere
                } else {
                    UploadReason::Opening
                }
            }
        }
    }

    /// Ends the session: what is not stored waits again. A cause makes the next one wait, save after a session that
    /// stored something and was not refused: then it comes at once, and so does it after a good end.
    fn end_attempt(&mut self, cause: Option<Cause>, now: Now) {
        let Some(attempt) = self.attempt.take() else { return };
        if attempt.accepted_at.is_some() {
            self.own_session_ended = Some(now.mono);
        }
        for id in attempt.fragments.iter().flat_map(|fragment| &fragment.gops) {
            if let Some(gop) = self.queue.get_mut(*id).filter(|gop| gop.place == Place::InFlight) {
                gop.place = Place::Waiting;
            }
        }
        let lost: Vec<GopId> =
            self.queue.iter().filter(|gop| gop.place == Place::Dropped).map(|gop| gop.id).collect();
        for id in lost {
            if let Some(gop) = self.queue.remove(id) {
                self.report_gap(gop.start_ms, gop.end_ms, GapReason::BufferOverflow, String::new());
            }
        }
        let wait = match cause {
            None if attempt.fragments.is_empty() || attempt.stored_any => Duration::ZERO,
            None => self.retry.wait(Cause::Failure),
            Some(Cause::Failure) if attempt.stored_any => Duration::ZERO,
            // The difference of the clocks is known now: nothing to wait for, once.
            Some(Cause::Refused(Refusal::ClockCorrected)) if self.retry.failures() == 0 => {
                self.retry.wait(Cause::Failure);
                Duration::ZERO
            }
            Some(cause) => self.retry.wait(cause),
        };
        self.not_before = now.mono + wait;
    }

    fn opening_time(&self) -> Duration {
        let spaced = self.last_open.map_or(Duration::ZERO, |last| last + retry::SPACING_MIN);
        self.not_before.max(spaced)
    }

    fn open_if_due(&mut self, now: Now) {
        if self.attempt.is_some() || self.queue.is_empty() || now.mono < self.opening_time() {
            return;
        }
        let id = SessionId(self.next_id);
        self.next_id += 1;
        self.last_open = Some(now.mono);
        self.attempt = Some(Attempt::new(id, now.mono));
        self.outputs.push_back(Output::Open(id));
    }

    fn end_body_if_due(&mut self, now: Now) {
        if matches!(self.next_step(now), Step::End) {
            self.end_body(now);
        }
    }

    fn end_body(&mut self, now: Now) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.is_open()) else { return };
        attempt.close_fragment(now.mono);
        attempt.body = Body::Ended { at: now.mono };
        attempt.acknowledged_at = now.mono;
        self.outputs.push_back(Output::Finish(attempt.id));
    }

    fn report_gap(&mut self, start_ms: i64, end_ms: i64, reason: GapReason, detail: String) {
        self.outputs.push_back(Output::Report(Report::Gap { start_ms, end_ms, reason, detail }));
    }

    fn trouble(&mut self, reason: UploadReason, message: String) {
        self.outputs.push_back(Output::Report(Report::Trouble(reason, message)));
    }
}
