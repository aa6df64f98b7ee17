//! The upload session: decides what is sent, when, in which `PutMedia` session, and what may be let go. A pure state
//! machine: it does no I/O, reads no clock, and holds no media.
//!
//! In: what came from the camera ([`Input::Began`] and its kin), what the spool has done ([`Input::Stored`] and its kin),
//! what the uploads report ([`Input::Opened`], [`Input::Ack`], [`Input::Closed`]), and the time. Out: [`Output`]s to
//! carry out, and, when an upload can take something, the next [`Piece`] by [`Session::pull`]. [`Session::wake_at`] says
//! when to call [`Session::wake`].
//!
//! Invariants, held by the simulation in `tests/tests/simulation`:
//! - A group of pictures leaves by [`Output::Free`] only when the service has said that it is stored, or with a
//!   [`Report::Gap`] for it.
//! - Within a session, fragments rise in time, each later than every block before it.
//! - After any end the next session begins with the first group that is not stored.
//! - One session streams at a time: the service takes one connection for each stream. What the one before says late of
//!   storage still counts, its late errors do not.
//! - Nothing is pulled that is not in memory.

mod acks;
mod advance;
mod attempt;
mod errors;
mod interface;
#[doc(hidden)]
pub mod mutant;
mod overflow;
mod pace;
mod plan;
mod queue;
mod rest;
pub mod retry;
mod spooling;
mod stalls;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use streamfleet_contract::UploadReason;

use self::attempt::Attempt;
pub use self::interface::{
    Ending, Input, Output, Piece, RecoveredGop, Refusal, Report, SessionId, Settings, SpoolRoom, State, Tags,
    TrackSet,
};
use self::mutant::Mutant;
use self::pace::Pace;
use self::plan::{IDLE_PATIENCE, SOURCE_PATIENCE, Step};
use self::queue::{Place, Queue};
use self::retry::{Cause, Retry};
use self::stalls::FINISH_PATIENCE;
use crate::buffer::GopId;
use crate::clock::Now;

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    queue: Queue,
    /// The session that stands, if one does.
    attempt: Option<Attempt>,
    /// Sessions that are over, of which something is not known to be stored: it may still be said.
    past: VecDeque<Attempt>,
    /// When the next session may be opened, and whether the service wants it to wait so long.
    not_before: Duration,
    on_hold: bool,
    next_id: u64,
    retry: Retry,
    rotation_jitter: Duration,
    outputs: VecDeque<Output>,
    /// Since when the camera is away.
    source_ended: Option<Duration>,
    /// When something last came from it, and the newest time, with when that came.
    last_arrival: Duration,
    newest: Option<(i64, Duration)>,
    draining: bool,
    pace: Pace,
    /// The longest and the largest group seen lately: how much the next one may add.
    longest_gop_ms: i64,
    largest_gop_bytes: u64,
    /// Stalls since something was stored, and those of fragments that were received but not stored.
    stalls: u32,
    unpersisted: u32,
    /// How long a finished session may go on.
    finish_patience: Duration,
    /// Fragments refused in a row, without one stored between.
    refused_in_a_row: u32,
    /// Up to which group fragments are sent one for each session, because one of them makes the service fail without
    /// naming it; and the group that failed alone, with how often.
    isolate_until: Option<GopId>,
    failed_alone: Option<(GopId, u32)>,
    rest: Option<rest::Rest>,
    /// Since when the service has said that another connection holds the stream.
    held_since: Option<Duration>,
    own_session_ended: Option<Duration>,
    /// The newest time that is stored.
    stored_until_ms: Option<i64>,
    /// What is on its way to the spool.
    storing_bytes: u64,
    storing_groups: usize,
    /// Whether memory has room to fetch more than the next group from the spool.
    fetches_ahead: bool,
    #[cfg(debug_assertions)]
    mutant: Option<Mutant>,
}

/// How long the stream must have been held by somebody else before that is said: our own last session may linger.
const HELD_ELSEWHERE_AFTER: Duration = Duration::from_secs(45);

/// So many sessions that are over are remembered. One would do, were it not that sessions may fail in quick succession.
const PAST_MAX: usize = 2;

/// Sessions of one process are not all ended at the same age.
const ROTATION_JITTER_SECONDS: u64 = 60;

impl Session {
    /// A session with nothing to send.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            settings,
            queue: Queue::default(),
            attempt: None,
            past: VecDeque::new(),
            not_before: Duration::ZERO,
            on_hold: false,
            next_id: 1,
            rotation_jitter: Duration::from_secs(random.u64(0..ROTATION_JITTER_SECONDS)),
            retry: Retry::new(random.u64(..)),
            outputs: VecDeque::new(),
            source_ended: None,
            last_arrival: Duration::ZERO,
            newest: None,
            draining: false,
            pace: Pace::default(),
            longest_gop_ms: 0,
            largest_gop_bytes: 0,
            stalls: 0,
            unpersisted: 0,
            finish_patience: FINISH_PATIENCE,
            refused_in_a_row: 0,
            isolate_until: None,
            failed_alone: None,
            rest: None,
            held_since: None,
            own_session_ended: None,
            stored_until_ms: None,
            storing_bytes: 0,
            storing_groups: 0,
            fetches_ahead: true,
            #[cfg(debug_assertions)]
            mutant: None,
        }
    }

    /// A session with a planted fault, for the simulation.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutant(mut self, mutant: Mutant) -> Self {
        self.mutant = Some(mutant);
        self
    }

    /// Whether a fault is planted; never in a release build.
    fn has(&self, mutant: Mutant) -> bool {
        #[cfg(debug_assertions)]
        return self.mutant == Some(mutant);
        #[cfg(not(debug_assertions))]
        return {
            _ = mutant;
            false
        };
    }

    /// Changes how the feed is cut and stored, from the next fragment on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Has the session that is under way end at the next cut, and the next one begin: it was opened by settings or
    /// credentials of the upload that do not hold any longer, or soon will not.
    pub fn renew(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_outdated = true;
        }
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        let had_piece = self.attempt.as_ref().is_some_and(|attempt| self.has_piece(attempt.id, now));
        match input {
            Input::Began { gop, codec, tracks, track, time_ms, bytes } => {
                self.end_rest(time_ms);
                self.arrived(time_ms, bytes, now);
                let (present, units) = (TrackSet::only(track), 1);
                let (start_ms, last_ms) = (time_ms, time_ms);
                self.queue.begin(RecoveredGop {
                    gop,
                    codec,
                    tracks,
                    present,
                    start_ms,
                    last_ms,
                    units,
                    bytes,
                });
            }
            Input::Extended { gop, track, time_ms, bytes } => {
                self.arrived(time_ms, bytes, now);
                self.queue.extend(gop, track, time_ms, bytes);
            }
            Input::Completed(gop) => self.on_completed(gop),
            Input::Recovered(gop) => self.queue.recover(gop),
            Input::Stored(gop) => self.on_spooled(gop, true),
            Input::StoreFailed(gop) => self.on_spooled(gop, false),
            Input::Loaded(gop) => self.on_loaded(gop),
            Input::LoadFailed(gop) => self.on_load_failed(gop),
            Input::Retimed { by_ms } => self.on_retimed(by_ms, now),
            Input::Unplaced => self.on_unplaced(),
            Input::SourceEnded => {
                // What is missing from here on is not for want of a place.
                self.rest = None;
                self.source_ended.get_or_insert(now.mono);
            }
            Input::Opened(id) => self.on_opened(id, now),
            Input::Progress(id) => self.on_progress(id, now),
            Input::Ack(id, ack) => self.on_ack(id, &ack, now),
            Input::Closed(id, ending) => self.on_closed(id, ending, now),
            Input::Drain => self.draining = true,
        }
        if !had_piece && let Some(attempt) = &mut self.attempt {
            // There was nothing to take until now.
            attempt.taken_at = now.mono;
        }
        self.wake(now);
    }

    /// Does what is due. To be called at [`Session::wake_at`]; at any other time it does no harm.
    pub fn wake(&mut self, now: Now) {
        self.expire(now);
        self.open_if_due(now);
        if matches!(self.next_step(now), Step::End) {
            self.end_body(now);
        }
        self.abort_if_stalled(now);
        self.load_ahead();
    }

    /// The next thing to be done.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether [`Session::pull`] would give something to this session.
    pub fn has_piece(&self, id: SessionId, now: Now) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.id == id)
            && !matches!(self.next_step(now), Step::Wait | Step::Pace(_))
    }

    /// The next thing to write in a session that can take something.
    pub fn pull(&mut self, id: SessionId, now: Now) -> Option<Piece> {
        if self.attempt.as_ref().is_none_or(|attempt| attempt.id != id) {
            return None;
        }
        let piece = self.advance(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.taken_at = now.mono;
            attempt.pulled_at = now.mono;
        }
        self.load_ahead();
        piece
    }

    /// When [`Session::wake`] is next due.
    pub fn wake_at(&self, now: Now) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut consider = |at: Option<Duration>| next = next.into_iter().chain(at).min();
        match &self.attempt {
            None => consider(self.queue.next_to_send(None).map(|_| self.opening_time())),
            Some(attempt) => {
                consider(self.stall(now).map(|(at, _)| at));
                if attempt.is_open() {
                    let quiet_at = self.source_ended.map(|since| since + SOURCE_PATIENCE);
                    consider(quiet_at.filter(|&at| at > now.mono));
                    let idle_at = self.idle_since(attempt) + IDLE_PATIENCE;
                    consider(Some(idle_at).filter(|&at| at > now.mono));
                    consider(self.pace_time(now));
                }
            }
        }
        let expires_in = self.queue.iter().next().and_then(|gop| self.expires_in(gop, now));
        consider(expires_in.map(|left| now.mono + Duration::from_millis(left.max(0).unsigned_abs() + 1)));
        next
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
        (self.queue.len(), self.queue.span_ms())
    }

    /// For how long the oldest whole group that is not stored waits, in milliseconds of the video that came since.
    pub fn behind_ms(&self) -> i64 {
        self.queue.behind_ms()
    }

    /// Bytes that are in memory only until the spool has them.
    pub fn storing_bytes(&self) -> u64 {
        self.storing_bytes
    }

    /// What the session is doing.
    pub fn state(&self) -> State {
        let oldest = self.queue.next_to_send(None);
        match &self.attempt {
            None if oldest.is_none() => State::Empty,
            None if self.on_hold => State::OnHold,
            None => State::BackingOff,
            Some(attempt) if !attempt.is_open() => State::Finishing,
            Some(attempt) if attempt.accepted_at.is_none() => State::Opening,
            Some(_) if oldest.is_some_and(|gop| self.is_late(gop)) => State::CatchingUp,
            Some(_) => State::Streaming,
        }
    }

    fn arrived(&mut self, time_ms: i64, bytes: u64, now: Now) {
        self.source_ended = None;
        self.last_arrival = now.mono;
        if self.newest.is_none_or(|(newest, _)| time_ms > newest) {
            self.newest = Some((time_ms, now.mono));
        }
        self.pace.arrived(bytes);
    }

    fn on_completed(&mut self, id: GopId) {
        self.queue.complete(id);
        if let Some(gop) = self.queue.get(id) {
            // A slow decay, so that a single long group is not remembered for ever.
            self.longest_gop_ms = (gop.end_ms - gop.start_ms).max(self.longest_gop_ms * 15 / 16);
            self.largest_gop_bytes = gop.bytes.max(self.largest_gop_bytes / 16 * 15);
        }
        self.release(id);
    }

    fn on_opened(&mut self, id: SessionId, now: Now) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) else { return };
        attempt.accepted_at = Some(now.mono);
        self.held_since = None;
        self.outputs.push_back(Output::Report(Report::Opened));
        if self.has(Mutant::ResetsAtOpening) {
            self.retry.reset();
        }
    }

    fn on_progress(&mut self, id: SessionId, now: Now) {
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.id == id) {
            attempt.taken_at = now.mono;
        }
    }

    fn on_closed(&mut self, id: SessionId, ending: Ending, now: Now) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.id == id) else { return };
        match ending {
            Ending::Finished => {
                if attempt.fragments.is_empty() {
                    self.learn_finish();
                }
                self.end_attempt(None, now);
            }
            Ending::Broken(message) => {
                self.trouble(UploadReason::EndpointUnreachable, message);
                self.end_attempt(Some(Cause::Failure), now);
            }
            Ending::Refused(refusal, message) => {
                let reason = self.refusal_reason(refusal, now);
                let message = if refusal == Refusal::ConnectionLimit {
                    format!(
                        "the service refuses the session, because another connection holds the stream: {message}"
                    )
                } else {
                    message
                };
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
        let Some(mut attempt) = self.attempt.take() else { return };
        if attempt.accepted_at.is_some() {
            self.own_session_ended = Some(now.mono);
        }
        let keeps_cursor = self.has(Mutant::CursorOfFailedAttempt) && !attempt.stored_any();
        for fragment in &mut attempt.fragments {
            for id in fragment.gops.clone() {
                match self.queue.get_mut(id) {
                    Some(gop) if gop.place == Place::InFlight && !keeps_cursor => gop.place = Place::Waiting,
                    Some(gop) if gop.place == Place::Dropped => {
                        fragment.given_up = true;
                        self.lose_dropped(id);
                    }
                    _ => self.release(id),
                }
            }
        }
        let cause = match cause {
            Some(Cause::Hold) if self.has(Mutant::ForgetsToHold) => Some(Cause::Failure),
            cause => cause,
        };
        self.on_hold = cause == Some(Cause::Hold);
        self.not_before = self.next_attempt(cause, &attempt, now.mono);
        attempt.fragments.retain(|fragment| fragment.closed_at.is_some());
        if !attempt.fragments.is_empty() {
            self.past.push_back(attempt);
        }
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    fn next_attempt(&mut self, cause: Option<Cause>, attempt: &Attempt, now: Duration) -> Duration {
        match cause {
            None if attempt.stored_any() => now,
            Some(Cause::Failure) if attempt.stored_any() => self.retry.at_once(now),
            cause => self.retry.after(cause.unwrap_or(Cause::Failure), now),
        }
    }

    fn opening_time(&self) -> Duration {
        if self.has(Mutant::NoBackOff) { Duration::ZERO } else { self.not_before.max(self.retry.spaced()) }
    }

    fn open_if_due(&mut self, now: Now) {
        if self.has(Mutant::TwoSessions)
            && self.attempt.as_ref().is_some_and(|attempt| !attempt.is_open())
            && let Some(attempt) = self.attempt.take()
        {
            self.past.push_back(attempt);
        }
        if self.attempt.is_some() || now.mono < self.opening_time() || self.queue.next_to_send(None).is_none()
        {
            return;
        }
        let id = SessionId(self.next_id);
        self.next_id += 1;
        self.retry.opened(now.mono);
        self.on_hold = false;
        self.attempt = Some(Attempt::new(id, now.mono));
        self.outputs.push_back(Output::Open(id));
    }

    fn trouble(&mut self, reason: UploadReason, message: String) {
        self.outputs.push_back(Output::Report(Report::Trouble(reason, message)));
    }
}
