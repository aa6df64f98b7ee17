//! What is written next: where fragments are cut and when a body ends. Decides only; `advance.rs` carries out.

use std::time::Duration;

use streamfleet_media::limits::{FRAGMENT_MS_MIN, PUT_MEDIA_SESSION_SECONDS_ROTATE, TAGS_PER_FRAGMENT_MAX};

use super::attempt::{Attempt, Fragment, Header};
use super::mutant::Mutant;
use super::queue::{Home, Queued};
use super::{Session, TrackSet};
use crate::buffer::{GOP_BYTES_MAX, GOP_MS_MAX, GopId};
use crate::clock::Now;

/// The next step of the session that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do until more comes.
    Wait,
    /// Something is ready, but a rate is used up until then.
    Pace(Duration),
    /// Write the header for this group.
    Header(GopId, Header),
    /// Begin a fragment with this group.
    Begin(GopId, i64),
    /// Write this group into the open fragment.
    Continue(GopId),
    /// Write the next unit of the group at the cursor.
    Unit,
    /// Write the open fragment's tags.
    Tags,
    /// End the open fragment, though no other follows.
    EndFragment,
    /// End the body.
    End,
    /// The open fragment has grown too long with this group: it must begin one, in another session.
    Split(GopId),
    /// The open fragment is over and lacks these tracks: it is sent again in a session without them.
    LeaveOut(TrackSet),
}

/// A session lasts at most this long before it is ended at the next cut; a fragment may still be running then.
const ROTATE_AFTER: Duration = Duration::from_secs(PUT_MEDIA_SESSION_SECONDS_ROTATE - 120);

/// How long the open fragment waits for a camera that is away: a short interruption does not cost a fragment.
pub(super) const SOURCE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a session stays open when nothing comes: half of what the service allows
/// ([`streamfleet_media::limits::PUT_MEDIA_IDLE_SECONDS_MAX`]).
pub(super) const IDLE_PATIENCE: Duration = Duration::from_secs(15);

/// Fragments of what is late are as long as this, so that their rate allows to catch up.
const LATE_FRAGMENT_MS: i64 = 10_000;

/// What is older than this and a fragment's length, by the newest that has come, is late.
const LATE_AFTER_MS: i64 = 10_000;

const SHORTEST_MS: i64 = FRAGMENT_MS_MIN as i64;

impl Session {
    /// What to do next, given all that is known.
    pub(super) fn next_step(&self, now: Now) -> Step {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.is_open()) else {
            return Step::Wait;
        };
        let step = self.step(attempt, now);
        let ends_fragment = matches!(step, Step::Begin(..) | Step::EndFragment | Step::End);
        let Some(fragment) = attempt.open_fragment().filter(|_| ends_fragment) else { return step };
        let missing = self.missing(attempt, fragment);
        if !missing.is_empty() && !self.has(Mutant::TrackMissing) {
            Step::LeaveOut(missing)
        } else if self.tags_due(fragment) {
            Step::Tags
        } else {
            step
        }
    }

    fn step(&self, attempt: &Attempt, now: Now) -> Step {
        let Some(cursor) = attempt.cursor else { return self.first_step(attempt, now) };
        let Some(gop) = self.queue.get(cursor.gop) else { return self.boundary(attempt, cursor.gop, now) };
        let open = attempt.open_fragment();
        if let Some(fragment) = open
            && fragment.gops.first() != Some(&gop.id)
            && !fits(fragment, gop.last_ms, gop.bytes)
            && !self.has(Mutant::CutsTooLong)
        {
            return Step::Split(gop.id);
        }
        if open.is_some() && cursor.units < gop.units {
            self.unit_step(gop, now)
        } else if gop.complete {
            self.boundary(attempt, gop.id, now)
        } else if self.is_idle(attempt, now) {
            Step::End
        } else {
            Step::Wait
        }
    }

    fn first_step(&self, attempt: &Attempt, now: Now) -> Step {
        let skipped = usize::from(self.has(Mutant::ResumesLate));
        let Some(gop) = self.queue.to_send(None).nth(skipped) else {
            return if self.is_quiet(now) || self.is_idle(attempt, now) { Step::End } else { Step::Wait };
        };
        match attempt.header {
            _ if gop.home != Home::Memory => Step::Wait,
            None => Step::Header(gop.id, header_for(gop)),
            Some(header) if header == header_for(gop) => self.paced(gop, now),
            // The group that the header was written for is gone, and the next has other parameters.
            Some(_) => Step::End,
        }
    }

    /// What follows a group that is wholly written.
    fn boundary(&self, attempt: &Attempt, after: GopId, now: Now) -> Step {
        let fragment = attempt.open_fragment();
        let Some(next) = self.queue.next_to_send(Some(after)) else {
            return self.nothing_follows(attempt, now);
        };
        let goes_back = next.start_ms <= attempt.latest_ms && !self.has(Mutant::TimeGoesBack);
        if attempt.header != Some(header_for(next)) || goes_back {
            return Step::End;
        }
        if let Some(fragment) = fragment
            && self.belongs_to(attempt, fragment, next)
        {
            return match self.unit_step(next, now) {
                Step::Unit => Step::Continue(next.id),
                step => step,
            };
        }
        let age = now.mono.saturating_sub(attempt.opened_at);
        let is_over =
            self.is_isolating() || attempt.is_outdated || age >= ROTATE_AFTER + self.rotation_jitter;
        // A fragment that is too short can only be a session's last.
        let too_short = fragment.is_some_and(|fragment| next.start_ms - fragment.time_ms < SHORTEST_MS);
        if is_over || too_short && !self.has(Mutant::CutsTooShort) {
            Step::End
        } else if next.home == Home::Memory {
            self.paced(next, now)
        } else {
            Step::Wait
        }
    }

    fn nothing_follows(&self, attempt: &Attempt, now: Now) -> Step {
        // The tag that ends a fragment is one more than those that it has.
        let may_tag = self.settings.tags < TAGS_PER_FRAGMENT_MAX;
        match attempt.open_fragment() {
            _ if self.draining || self.is_idle(attempt, now) => Step::End,
            Some(_) if self.is_quiet(now) => {
                if may_tag {
                    Step::EndFragment
                } else {
                    Step::End
                }
            }
            _ => Step::Wait,
        }
    }

    /// Whether a group goes into the open fragment.
    fn belongs_to(&self, attempt: &Attempt, fragment: &Fragment, next: &Queued) -> bool {
        if self.has(Mutant::CutsTooLong) || self.has(Mutant::CutsTooShort) {
            return self.has(Mutant::CutsTooLong);
        }
        let last = attempt.cursor.and_then(|cursor| self.queue.get(cursor.gop));
        let (last_ms, bytes) = if next.complete {
            (next.last_ms, next.bytes)
        } else {
            (next.last_ms.max(next.start_ms + self.longest_gop_ms), next.bytes.max(self.largest_gop_bytes))
        };
        let bytes = bytes + last.map_or(0, |gop| gop.bytes);
        let follows = attempt.cursor.is_some_and(|cursor| next.id.0 == cursor.gop.0 + 1);
        let short = next.cut_short || last.is_some_and(|gop| gop.cut_short);
        let target_ms = if short { SHORTEST_MS } else { self.settings.target_ms.max(SHORTEST_MS) };
        let is_due = next.start_ms - fragment.time_ms >= target_ms;
        let grows_late = !short && self.is_late(next) && next.end_ms - fragment.time_ms <= LATE_FRAGMENT_MS;
        follows
            && !next.cut_before
            && fits(fragment, last_ms, bytes)
            && (!is_due || grows_late || !self.missing(attempt, fragment).is_empty())
    }

    fn paced(&self, gop: &Queued, now: Now) -> Step {
        match self.pace.fragment_at() {
            Some(at) if at > now.mono && !self.has(Mutant::NoPace) => Step::Pace(at),
            _ => Step::Begin(gop.id, gop.start_ms),
        }
    }

    fn unit_step(&self, gop: &Queued, now: Now) -> Step {
        let at = self.pace.bytes_at(self.is_late(gop));
        if gop.home != Home::Memory {
            Step::Wait
        } else if at > now.mono && !self.has(Mutant::NoPace) {
            Step::Pace(at)
        } else {
            Step::Unit
        }
    }

    /// Whether a group is sent late: the catching up of an outage, not the usual way from the camera to the store.
    pub(super) fn is_late(&self, gop: &Queued) -> bool {
        gop.complete
            && self.queue.newest_ms().is_some_and(|newest| {
                newest - gop.last_ms > LATE_AFTER_MS.saturating_add(self.settings.target_ms)
            })
    }

    /// When something that waits for a rate may be sent.
    pub(super) fn pace_time(&self, now: Now) -> Option<Duration> {
        match self.next_step(now) {
            Step::Pace(at) => Some(at),
            _ => None,
        }
    }

    /// Whether nothing can come that the open fragment should wait for.
    fn is_quiet(&self, now: Now) -> bool {
        self.draining || self.source_ended.is_some_and(|since| now.mono >= since + SOURCE_PATIENCE)
    }

    fn is_idle(&self, attempt: &Attempt, now: Now) -> bool {
        now.mono >= self.idle_since(attempt) + IDLE_PATIENCE
    }

    /// Since when nothing has come, as far as this session is concerned.
    pub(super) fn idle_since(&self, attempt: &Attempt) -> Duration {
        self.last_arrival.max(attempt.pulled_at)
    }

    pub(super) fn is_isolating(&self) -> bool {
        match (self.isolate_until, self.queue.iter().next()) {
            (Some(until), Some(oldest)) => oldest.id <= until,
            _ => false,
        }
    }

    /// The tracks of the header that the open fragment has no unit of.
    fn missing(&self, attempt: &Attempt, fragment: &Fragment) -> TrackSet {
        let last = attempt.cursor.and_then(|cursor| self.queue.get(cursor.gop));
        match (attempt.header, last) {
            (Some(header), Some(last)) => header.tracks.without(fragment.present.with(last.present)),
            _ => TrackSet::NONE,
        }
    }

    fn tags_due(&self, fragment: &Fragment) -> bool {
        let refused = |id: &GopId| self.queue.get(*id).is_some_and(|gop| gop.without_tags);
        self.settings.tags > 0 && !fragment.tagged && !fragment.gops.iter().any(refused)
    }
}

fn header_for(gop: &Queued) -> Header {
    Header { codec: gop.codec, tracks: gop.header_tracks() }
}

/// Whether a fragment stays within the service's limits with a group that ends at `last_ms` and has `bytes`.
fn fits(fragment: &Fragment, last_ms: i64, bytes: u64) -> bool {
    last_ms - fragment.time_ms <= GOP_MS_MAX && fragment.bytes + bytes <= GOP_BYTES_MAX
}
