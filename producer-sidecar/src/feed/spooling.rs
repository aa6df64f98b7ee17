//! The feed's way to the spool: what is written and when, and what the session hears of it.
//!
//! In mode `Overflow` groups are written when the session says so. In mode `Journal` each unit is written soon after it
//! came, and what the session wants to have stored is most often there already.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{GapReason, SpoolMode};
use streamfleet_media::track::{AccessUnit, CodecParameters};

use super::Driver;
use super::outgoing::tracks_of;
use crate::buffer::{GOP_MS_MAX, Gop, GopId};
use crate::clock::Now;
use crate::session::{Input, RecoveredGop, SpoolRoom, TrackSet};
use crate::spool::folder::{Owner, Part};
use crate::spool::{Fault, FeedSpool, Job, Recovered, Reply};

/// A unit is handed to the spool this long after it came at the latest. Half of what is promised: the other half is the
/// thread's.
const JOURNAL_AFTER: Duration = Duration::from_millis(50);

/// What came so long ago goes with whatever wakes the feed: most often no wake-up of its own is needed.
const JOURNAL_ALONG: Duration = Duration::from_millis(25);

/// What waits for the journal is handed over at this size at the latest.
const JOURNAL_BYTES: usize = 256 << 10;

/// When jobs found no place, it is tried again after this time.
pub(super) const BLOCKED_RETRY: Duration = Duration::from_millis(20);

/// The source waits for the spool this long at a time. The camera's connection holds what it sends meanwhile.
const HELD_UP_MAX: Duration = Duration::from_secs(1);

/// After a volume has failed it is tried again after this time.
const VOLUME_RETRY: Duration = Duration::from_secs(10);

/// Groups of another process whose times cannot be are not taken over.
const GOP_SPAN_MS_MAX: i64 = GOP_MS_MAX + 1_000;

/// See the module's documentation.
pub(super) struct Spooling {
    pub(super) spool: FeedSpool,
    mode: SpoolMode,
    /// What the journal has not been handed yet.
    parts: Vec<Part>,
    parts_bytes: usize,
    parts_since: Option<Duration>,
    /// Whether a part is with the spool's thread: the next waits for it, so that what is held twice is bounded.
    pub(super) is_appending: bool,
    /// Groups that the session wants stored and that are being written.
    wanted: HashSet<GopId>,
    /// Groups that are written anew because their journal failed.
    repairs: HashSet<GopId>,
    /// Why the last write failed, if it did, and when.
    failure: Option<(Fault, Duration)>,
    /// Groups that are to be read, and how many are being read.
    loads: VecDeque<GopId>,
    loading: usize,
    /// Since when the source waits for the spool.
    held_up_since: Option<Duration>,
}

impl Spooling {
    fn new(spool: FeedSpool, mode: SpoolMode) -> Self {
        Self {
            spool,
            mode,
            parts: Vec::new(),
            parts_bytes: 0,
            parts_since: None,
            is_appending: false,
            wanted: HashSet::new(),
            repairs: HashSet::new(),
            failure: None,
            loads: VecDeque::new(),
            loading: 0,
            held_up_since: None,
        }
    }

    pub(super) fn is_journal(&self) -> bool {
        self.mode == SpoolMode::Journal
    }

    pub(super) fn used(&self) -> u64 {
        self.spool.used()
    }

    pub(super) async fn reply(&mut self) -> Reply {
        self.spool.reply().await
    }

    pub(super) fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.spool.is_blocked() {
            return Some(now + BLOCKED_RETRY);
        }
        self.parts_since.filter(|_| !self.is_appending).map(|since| since + JOURNAL_AFTER)
    }

    fn note(&mut self, gop: GopId, begins: Option<&Arc<CodecParameters>>, unit: AccessUnit, now: Duration) {
        self.parts_bytes += unit.data.len();
        self.parts_since.get_or_insert(now);
        match self.parts.last_mut().filter(|part| part.group == gop.0) {
            Some(part) => part.units.push(unit),
            None => self.parts.push(Part { group: gop.0, begins: begins.cloned(), units: vec![unit] }),
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        let old = self.parts_since.is_some_and(|since| now.saturating_sub(since) >= JOURNAL_ALONG);
        !self.is_appending && (old || self.parts_bytes >= JOURNAL_BYTES)
    }

    fn take_parts(&mut self) -> Vec<Part> {
        (self.parts_bytes, self.parts_since) = (0, None);
        std::mem::take(&mut self.parts)
    }

    fn forget(&mut self, gop: GopId) {
        self.parts.retain(|part| part.group != gop.0);
        self.loads.retain(|waiting| *waiting != gop);
        self.wanted.remove(&gop);
        self.repairs.remove(&gop);
    }
}

impl Driver {
    /// Opens the feed's folder, if there is a spool, and takes over what is in it.
    pub(super) async fn open_spool(&mut self) {
        let Some(spool) = self.ctx.spool.clone() else { return };
        let owner = Owner {
            feed: self.feed.id.clone(),
            arn: self.feed.stream.arn.clone(),
            retention_hours: self.feed.stream.retention_hours.unwrap_or(0),
        };
        match spool.open(owner).await {
            Ok(opened) => {
                self.spooling = Some(Spooling::new(opened.feed, spool.mode()));
                self.recover(opened.recovered);
            }
            // Said once for the process.
            Err(Fault::Closed) => tracing::debug!(feed = self.feed.name, "The feed goes without a spool"),
            Err(fault) => {
                tracing::error!(feed = self.feed.name, %fault, "The feed's spool cannot be opened; it goes without");
            }
        }
    }

    fn recover(&mut self, recovered: Recovered) {
        let now = self.ctx.clock.now();
        for file in &recovered.unusable {
            tracing::warn!(
                feed = self.feed.name,
                file,
                "A file of the spool cannot be used and is left alone"
            );
        }
        self.tell_damage(&recovered.damaged);
        for (start_ms, end_ms) in recovered.replaced {
            self.gap(start_ms, end_ms, GapReason::StreamReplaced, "");
        }
        self.buffer.skip_ids(recovered.last_id);
        let (mut groups, mut bytes) = (0_u64, 0);
        for group in &recovered.groups {
            if !(0..=GOP_SPAN_MS_MAX).contains(&(group.last_ms - group.start_ms)) {
                self.gap(group.start_ms, group.last_ms, GapReason::InternalError, "spooled times");
                self.submit(Job::Done(group.id));
                continue;
            }
            let codec = self.buffer.recover(group);
            let tracks = tracks_of(&group.codec);
            let present = (0..8)
                .filter(|track| group.present & (1 << track) != 0)
                .fold(TrackSet::NONE, |set, track| set.with(TrackSet::only(track)));
            (groups, bytes) = (groups + 1, bytes + group.bytes);
            self.session.handle(
                Input::Recovered(RecoveredGop {
                    gop: GopId(group.id),
                    codec,
                    tracks,
                    present,
                    start_ms: group.start_ms,
                    last_ms: group.last_ms,
                    units: group.units,
                    bytes: group.bytes,
                }),
                now,
            );
        }
        if let Some(floor_ms) = recovered.floor_ms {
            self.intake.set_floor(floor_ms);
            // A journal says exactly when the process before this one was gone.
            if self.spooling.as_ref().is_some_and(Spooling::is_journal) {
                self.kept_ms = Some(floor_ms);
                // Not of a feed that was only started or configured again; and a gap that lasts keeps its cause.
                if recovered.is_first && self.ctx.record.lasting().is_empty() {
                    self.open_gap(floor_ms, GapReason::Stopped, "the process was not running");
                }
            }
        }
        if groups > 0 {
            tracing::info!(
                feed = self.feed.name,
                groups,
                bytes,
                "Video of an earlier run waits in the spool"
            );
        }
    }

    /// What is behind damage in the spool is lost.
    fn tell_damage(&self, damaged: &[(String, Vec<(i64, i64)>)]) {
        for (place, lost) in damaged {
            tracing::error!(
                feed = self.feed.name,
                place,
                stretches = lost.len(),
                "The spool is damaged: what waited there is lost"
            );
            for &(start_ms, end_ms) in lost {
                self.gap(start_ms, end_ms, GapReason::InternalError, "the spool is damaged");
            }
        }
    }

    /// What the session may have stored.
    pub(super) fn spool_room(&self) -> SpoolRoom {
        let Some(spooling) = &self.spooling else { return SpoolRoom::None };
        let there = |bytes: u64, gop: &Gop| bytes + gop.bytes_on_both();
        let already: u64 = if spooling.is_journal() { self.buffer.iter().fold(0, there) } else { 0 };
        // A spool that is full takes more as soon as older video is given up.
        let now = self.ctx.clock.now().mono;
        let is_broken = |(fault, at): (Fault, Duration)| fault != Fault::Full && now < at + VOLUME_RETRY;
        if spooling.failure.is_some_and(is_broken) {
            SpoolRoom::None
        } else {
            SpoolRoom::Bytes(spooling.spool.room() + already)
        }
    }

    /// Notes a unit for the journal.
    pub(super) fn journal(
        &mut self,
        gop: GopId,
        begins: Option<&Arc<CodecParameters>>,
        unit: Option<AccessUnit>,
        now: Now,
    ) {
        let is_broken = self.buffer.gop(gop).is_none_or(Gop::is_broken_on_spool);
        if let (Some(unit), Some(spooling), false) = (unit, &mut self.spooling, is_broken) {
            spooling.note(gop, begins, unit, now.mono);
        }
    }

    /// What waits for the journal is of times that hold no longer.
    pub(super) fn forget_journal(&mut self) {
        let Some(spooling) = &mut self.spooling else { return };
        for part in spooling.take_parts() {
            // As if it had failed: the group is written anew when it has to be.
            self.buffer.writing(GopId(part.group));
            self.buffer.written(GopId(part.group), None);
        }
    }

    /// Hands over what is due.
    pub(super) fn flush_spool(&mut self, now: Now) {
        let Some(spooling) = &mut self.spooling else { return };
        spooling.spool.flush();
        if spooling.is_due(now.mono) {
            self.flush_journal();
        }
    }

    pub(super) fn flush_journal(&mut self) {
        let Some(spooling) = self.spooling.as_mut().filter(|spooling| !spooling.is_appending) else { return };
        let parts = spooling.take_parts();
        if parts.is_empty() {
            return;
        }
        for part in &parts {
            self.buffer.writing(GopId(part.group));
        }
        spooling.is_appending = true;
        spooling.spool.submit(Job::Append(parts));
    }

    fn submit(&mut self, job: Job) {
        if let Some(spooling) = &mut self.spooling {
            spooling.spool.submit(job);
        }
    }

    pub(super) fn free(&mut self, gop: GopId) {
        if let Some(spooling) = &mut self.spooling {
            spooling.forget(gop);
        }
        if self.buffer.free(gop) {
            self.submit(Job::Done(gop.0));
        }
    }

    /// Writes a group, if it is not written, and drops it from memory.
    pub(super) fn store(&mut self, gop: GopId) {
        let now = self.ctx.clock.now();
        if self.buffer.unload(gop) {
            return self.session.handle(Input::Stored(gop), now);
        }
        let Some(spooling) = &mut self.spooling else {
            return self.session.handle(Input::StoreFailed(gop), now);
        };
        let state = self.buffer.gop(gop).map(|found| (found.is_broken_on_spool(), found.is_on_spool()));
        let is_noted = spooling.is_appending || spooling.parts.iter().any(|part| part.group == gop.0);
        match state {
            Some((false, _)) if spooling.is_journal() && is_noted => {
                // The journal is about to have the rest of it.
                spooling.wanted.insert(gop);
                self.flush_journal();
            }
            Some(_) => self.store_whole(gop, now),
            None => self.session.handle(Input::StoreFailed(gop), now),
        }
    }

    fn store_whole(&mut self, gop: GopId, now: Now) {
        match self.buffer.to_store(gop) {
            Some(part) => {
                if let Some(spooling) = &mut self.spooling {
                    spooling.wanted.insert(gop);
                    spooling.repairs.remove(&gop);
                }
                self.submit(Job::Store(part));
            }
            // The group that is open stays in memory.
            None => self.session.handle(Input::StoreFailed(gop), now),
        }
    }

    /// Brings a group back to memory.
    pub(super) fn load(&mut self, gop: GopId) {
        match &mut self.spooling {
            Some(spooling) => spooling.loads.push_back(gop),
            None => self.session.handle(Input::LoadFailed(gop), self.ctx.clock.now()),
        }
        self.load_next();
    }

    /// Reads what is wanted: one group at a time in any case, more where there is room.
    fn load_next(&mut self) {
        let now = self.ctx.clock.now();
        while let Some(spooling) = &mut self.spooling
            && let Some(gop) = spooling.loads.front().copied()
            && (spooling.loading == 0 || self.buffer.has_room_for(gop))
        {
            spooling.loads.pop_front();
            if self.buffer.loading(gop) {
                spooling.loading += 1;
                spooling.spool.submit(Job::Load(gop.0));
            } else {
                let is_there = self.buffer.gop(gop).is_some();
                let input = if is_there { Input::Loaded(gop) } else { Input::LoadFailed(gop) };
                self.session.handle(input, now);
            }
        }
    }

    /// Whether the source has to wait, since memory is full and the spool is about to make room. Not for long: then
    /// the overflow policy decides.
    pub(super) fn is_held_up(&mut self, now: Now) -> bool {
        let is_full = self.buffer.excess() > 0;
        let Some(spooling) = &mut self.spooling else { return false };
        if !is_full || spooling.wanted.is_empty() {
            spooling.held_up_since = None;
            return false;
        }
        let since = *spooling.held_up_since.get_or_insert(now.mono);
        now.mono.saturating_sub(since) < HELD_UP_MAX
    }

    /// Bytes that the spool should have taken by now.
    pub(super) fn overdue_bytes(&self) -> u64 {
        let Some(spooling) = self.spooling.as_ref().filter(|spooling| spooling.held_up_since.is_some())
        else {
            return 0;
        };
        spooling.wanted.iter().filter_map(|gop| self.buffer.gop(*gop)).map(Gop::cost).sum()
    }

    pub(super) fn on_spool(&mut self, reply: Reply, now: Now) {
        match reply {
            Reply::Appended(parts) => {
                if let Some(spooling) = &mut self.spooling {
                    spooling.is_appending = false;
                }
                for (group, outcome) in parts {
                    self.buffer.written(GopId(group), outcome.ok());
                    self.note_fault(outcome.err());
                    self.answer_wanted(GopId(group), now);
                }
                self.repair(now);
            }
            Reply::Stored(group, outcome) => {
                let gop = GopId(group);
                let units = self.buffer.gop(gop).map(Gop::len).filter(|_| outcome.is_ok());
                self.buffer.written(gop, units);
                self.note_fault(outcome.err());
                let Some(spooling) = &mut self.spooling else { return };
                spooling.repairs.remove(&gop);
                if spooling.wanted.remove(&gop) && self.buffer.gop(gop).is_some() {
                    let input =
                        if self.buffer.unload(gop) { Input::Stored(gop) } else { Input::StoreFailed(gop) };
                    self.session.handle(input, now);
                }
                self.repair(now);
            }
            Reply::Loaded(group, outcome) => self.on_loaded(GopId(group), outcome, now),
        }
    }

    fn on_loaded(&mut self, gop: GopId, outcome: Result<Vec<AccessUnit>, Fault>, now: Now) {
        if let Some(spooling) = &mut self.spooling {
            spooling.loading = spooling.loading.saturating_sub(1);
        }
        if self.buffer.gop(gop).is_none() {
            return self.load_next();
        }
        if let Err(fault) = &outcome {
            tracing::error!(feed = self.feed.name, %fault, "Video cannot be read from the spool");
        }
        let input = if outcome.is_ok_and(|units| self.buffer.loaded(gop, units)) {
            Input::Loaded(gop)
        } else {
            self.buffer.load_failed(gop);
            Input::LoadFailed(gop)
        };
        self.session.handle(input, now);
        self.load_next();
    }

    /// Tells the session of a group that it waits for, if the journal has it now, or has failed.
    fn answer_wanted(&mut self, gop: GopId, now: Now) {
        let Some(spooling) = self.spooling.as_mut().filter(|spooling| spooling.wanted.contains(&gop)) else {
            return;
        };
        if self.buffer.unload(gop) {
            spooling.wanted.remove(&gop);
            self.session.handle(Input::Stored(gop), now);
        } else if self.buffer.gop(gop).is_none_or(Gop::is_broken_on_spool) {
            spooling.wanted.remove(&gop);
            self.store_whole(gop, now);
        } else {
            self.flush_journal();
        }
    }

    /// After the journal failed and room came back: writes the first whole group that the spool lacks.
    fn repair(&mut self, now: Now) {
        let Some(spooling) = &self.spooling else { return };
        let is_idle = spooling.repairs.is_empty() && spooling.failure.is_none() && spooling.is_journal();
        if !is_idle {
            return;
        }
        let lacking = |gop: &&Gop| gop.is_broken_on_spool() && gop.units().is_some();
        let Some(gop) = self.buffer.iter().find(lacking).map(|gop| gop.id) else { return };
        if spooling.wanted.contains(&gop) {
            return;
        }
        // `None` for the group that is open: its turn comes when it is complete.
        if let Some(part) = self.buffer.to_store(gop) {
            if let Some(spooling) = &mut self.spooling {
                spooling.repairs.insert(gop);
            }
            self.submit(Job::Store(part));
        }
        self.flush_spool(now);
    }

    fn note_fault(&mut self, fault: Option<Fault>) {
        let Some(spooling) = &mut self.spooling else { return };
        let was_failing = spooling.failure.is_some();
        match fault {
            // It is part of a group whose beginning failed, which was said.
            Some(Fault::Incomplete) => {}
            Some(fault) => {
                spooling.failure = Some((fault, self.ctx.clock.now().mono));
                if !was_failing {
                    tracing::warn!(feed = self.feed.name, %fault, "The spool does not take the feed's video");
                }
            }
            None => {
                spooling.failure = None;
                if was_failing {
                    tracing::info!(feed = self.feed.name, "The spool takes the feed's video again");
                }
            }
        }
    }
}
