//! What comes in: from the source through the intake to the buffer, and from uploads.

use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{GapReason, Mark, SourceReason, SourceState};
use streamfleet_media::track::{AccessUnit, CodecParameters};

use super::intake::{Dropped, IntakeEvent};
use super::outgoing::{limit_detail, tracks_of};
use super::{Driver, SOURCE_RESTART_AFTER};
use crate::buffer::{Gop, GopId, Limit, Pushed};
use crate::clock::Now;
use crate::session::{Input, SessionId};
use crate::source::SourceEvent;
use crate::upload::UploadEvent;

/// So many events of a source are taken at a time, before others have their turn.
const TAKEN_AT_ONCE_MAX: usize = 64;

impl Driver {
    /// Takes an event, and those that are there already: one turn for what was read at once.
    pub(super) fn on_source_events(&mut self, event: SourceEvent) {
        let mut next = Some(event);
        for _ in 0..TAKEN_AT_ONCE_MAX {
            let Some(event) = next else { return };
            self.on_source(event, self.ctx.clock.now());
            // The budget is kept at every unit.
            self.shed();
            if self.is_held_up(self.ctx.clock.now()) {
                return;
            }
            next = self.source.as_mut().and_then(|source| source.events.try_recv().ok());
        }
        if let Some(event) = next {
            self.on_source(event, self.ctx.clock.now());
        }
    }

    pub(super) fn on_source(&mut self, event: SourceEvent, now: Now) {
        match event {
            SourceEvent::Connected(tracks) => {
                self.intake.connected(&tracks);
                self.tracks = tracks;
                self.source_connections += 1;
                self.ctx.metrics.connected("source");
                let reconnects = self.source_connections - 1;
                self.ctx.post.update(|status| status.source_reconnects = reconnects);
            }
            SourceEvent::Sample(sample, read_at) => {
                self.ctx.metrics.frame(sample.data.len() as u64);
                if self.pictures_since.is_none() {
                    self.pictures_since = Some(now.mono);
                    self.judge(now);
                }
                self.intake.push(sample, read_at);
            }
            SourceEvent::Report(report, read_at) => self.intake.report(&report, read_at),
            SourceEvent::State(state, reason, message) => self.on_source_state(state, reason, &message, now),
        }
        self.take_in(now);
    }

    /// Takes what the intake has ready.
    pub(super) fn take_in(&mut self, now: Now) {
        while let Some(event) = self.intake.next(now) {
            match event {
                IntakeEvent::Unit(unit, codec, read_at) => self.keep(unit, &codec, read_at, now),
                IntakeEvent::Lost { start_ms, end_ms, packets } => {
                    self.ctx.metrics.lost_packets(packets.into());
                    tracing::debug!(feed = self.feed.name, packets, "Packets were lost on the way");
                    self.gap(start_ms, end_ms, GapReason::PacketLoss, "");
                }
                IntakeEvent::LostSound(packets) => self.ctx.metrics.lost_packets(packets.into()),
                IntakeEvent::Dropped(why) => self.ctx.metrics.dropped(dropped_word(why), 1),
                IntakeEvent::ClockJumped => {
                    tracing::info!(feed = self.feed.name, "The camera's media clock has jumped");
                }
                IntakeEvent::Unstable(is_unstable) => self.on_unstable(is_unstable, now),
                IntakeEvent::UnplayableSound(codec) => tracing::warn!(
                    feed = self.feed.name,
                    codec = codec.name(),
                    "The sound is stored, but the service's HLS and clips cannot play it"
                ),
                IntakeEvent::CameraClockRefused(offset_ms) => tracing::warn!(
                    feed = self.feed.name,
                    offset_ms,
                    "The camera's clock is too far off to date its video; the node's does"
                ),
            }
        }
    }

    pub(super) fn keep(&mut self, unit: AccessUnit, codec: &Arc<CodecParameters>, read_at: Now, now: Now) {
        let (track, time_ms, key) = (unit.track, unit.time_ms, unit.key);
        let bytes = unit.data.len() as u64;
        if track == 0 {
            self.meter.unit(time_ms, key, bytes);
            self.received = Some(Mark { media_ms: time_ms, wall_ms: read_at.wall_ms });
        } else {
            self.meter.sound(bytes);
        }
        // Of the spool's journal: a reference, no copy.
        let copy = self.spooling.as_ref().filter(|spooling| spooling.is_journal()).map(|_| unit.clone());
        match self.buffer.push(unit, codec) {
            Pushed::Began { gop, codec: codec_id, completed } => {
                if let Some(completed) = completed {
                    self.session.handle(Input::Completed(completed), now);
                }
                self.explain_too_long(time_ms);
                self.close_gaps(time_ms);
                self.note_codec(codec);
                let tracks = tracks_of(codec);
                self.session
                    .handle(Input::Began { gop, codec: codec_id, tracks, track, time_ms, bytes }, now);
                self.journal(gop, Some(codec), copy, now);
            }
            Pushed::Continued(gop) => {
                self.session.handle(Input::Extended { gop, track, time_ms, bytes }, now);
                self.journal(gop, None, copy, now);
            }
            Pushed::NoKeyFrame => {
                self.ctx.metrics.dropped("given_up", 1);
                return self.session.handle(Input::Unplaced, now);
            }
            Pushed::TooLong { completed, limit } => {
                // A key frame that is too large alone has ended another group.
                let group = completed.filter(|_| !key).and_then(|gop| self.buffer.gop(gop));
                let began_ms = group.map_or(time_ms, Gop::start_ms);
                return self.give_up(completed, (limit, began_ms), time_ms, now);
            }
        }
        self.kept_ms = self.kept_ms.max(Some(time_ms));
    }

    /// Gives up what comes from here to the next key frame, since the group that began then has no place in a fragment.
    fn give_up(&mut self, completed: Option<GopId>, (limit, began_ms): (Limit, i64), time_ms: i64, now: Now) {
        self.ctx.metrics.dropped("too_long", 1);
        if let Some(completed) = completed {
            self.session.handle(Input::Completed(completed), now);
        }
        // Nothing that can be stored comes until the next key frame: the fragment is not to wait for it.
        self.session.handle(Input::SourceEnded, now);
        self.too_long = Some((limit, began_ms));
        let length_ms = time_ms - began_ms;
        let detail = format!("{} so far", limit_detail(limit, length_ms));
        tracing::warn!(
            feed = self.feed.name,
            length_ms,
            "Video is given up up to the next key frame: {detail}"
        );
        self.open_gap(time_ms, GapReason::Refused, &detail);
    }

    /// A key frame has come at this time: now it is known how long a group was that was too long.
    fn explain_too_long(&mut self, time_ms: i64) {
        if let Some((limit, began_ms)) = self.too_long.take() {
            self.ctx.record.explain(GapReason::Refused, &limit_detail(limit, time_ms - began_ms));
        }
    }

    fn note_codec(&mut self, codec: &Arc<CodecParameters>) {
        if self.codec.as_ref().is_some_and(|known| Arc::ptr_eq(known, codec)) {
            return;
        }
        self.codec = Some(Arc::clone(codec));
        let media = self.meter.media(codec);
        self.ctx.post.update(|status| status.media = Some(media));
    }

    fn on_unstable(&mut self, is_unstable: bool, now: Now) {
        let (reason, message) = if is_unstable {
            (SourceReason::UnstableParameterSets, "the parameter sets change more than three times a minute")
        } else {
            (SourceReason::Streaming, "")
        };
        if self.pictures_since.is_some() {
            self.note_source_state(SourceState::Streaming, reason, message, now);
        }
    }

    fn on_source_state(&mut self, state: SourceState, reason: SourceReason, message: &str, now: Now) {
        if state != SourceState::Streaming {
            self.pictures_since = None;
        }
        self.note_source_state(state, reason, message, now);
        if state == SourceState::Streaming {
            return;
        }
        self.end_of_source(now);
        // Before the first picture of this process, nothing new is missing.
        let Some(received_ms) = self.received.map(|mark| mark.media_ms) else { return };
        if reason == SourceReason::Ended {
            // A file that is played once owes nothing more.
            self.close_gaps(received_ms);
        } else if let Some(kept_ms) = self.kept_ms {
            // What came and was given up is in the gap that lasts.
            let had_gap = !self.ctx.record.lasting().is_empty();
            self.open_gap(
                if had_gap { kept_ms.max(received_ms) } else { kept_ms },
                GapReason::CameraLost,
                "",
            );
        }
    }

    /// The source's task is gone. Where nobody has stopped it, it has panicked: it is started again, and what the camera sends
    /// until then is lost.
    pub(super) fn on_source_gone(&mut self, now: Now) {
        let Some(source) = self.source.take() else { return };
        self.end_of_source(now);
        if source.stop.is_cancelled() {
            return;
        }
        tracing::error!(feed = self.feed.name, "The source failed by a defect and is started again");
        // Taken, so that its next attempts to connect begin no gap by another cause until something is kept again.
        let kept_ms = self.kept_ms.take().filter(|_| self.received.is_some());
        if let Some(kept_ms) = kept_ms.filter(|_| self.ctx.record.lasting().is_empty()) {
            self.open_gap(kept_ms, GapReason::InternalError, "reading the source failed");
        }
        let message = "the reading of the source failed by a defect of the producer, and begins anew";
        self.on_source_state(SourceState::Failed, SourceReason::Disconnected, message, now);
        self.source_again_at = Some(now.mono + SOURCE_RESTART_AFTER);
    }

    /// Nothing more comes of the group that is open.
    pub(super) fn end_of_source(&mut self, now: Now) {
        self.intake.ended();
        self.take_in(now);
        self.meter.interrupted();
        self.too_long = None;
        if let Some(gop) = self.buffer.complete() {
            self.session.handle(Input::Completed(gop), now);
        }
        self.session.handle(Input::SourceEnded, now);
    }

    pub(super) fn on_upload(&mut self, id: SessionId, event: UploadEvent, now: Now) {
        tracing::debug!(feed = self.feed.name, ?id, ?event, "The upload says");
        let input = match event {
            UploadEvent::Opened => {
                self.ctx.metrics.connected("upload");
                self.ctx.post.update(|status| status.upload_sessions += 1);
                Input::Opened(id)
            }
            UploadEvent::Ack(ack) => Input::Ack(id, ack),
            UploadEvent::ServerTime(ahead_ms) => {
                self.server_ahead_ms = Some(ahead_ms);
                self.intake.set_wall_offset(ahead_ms);
                return;
            }
            UploadEvent::CredentialsExpireSoon => return self.session.renew(),
            UploadEvent::Closed(ending) => {
                if self.upload.as_ref().is_some_and(|upload| upload.id == id) {
                    self.upload = None;
                }
                Input::Closed(id, ending)
            }
        };
        self.session.handle(input, now);
    }

    /// Moves the times of everything that is held, so that the newest is the service's time.
    pub(super) fn retime(&mut self, first_ms: i64, earliest_ms: Option<i64>, now: Now) {
        let Some(newest_ms) = self.buffer.iter().map(Gop::last_ms).max() else { return };
        let Some(ahead_ms) = self.server_ahead_ms else { return };
        let wanted = now.wall_ms + ahead_ms - newest_ms;
        let by_ms = earliest_ms.map_or(wanted, |earliest| wanted.max(earliest - first_ms));
        if by_ms.unsigned_abs() < RETIME_MIN.as_millis() as u64 {
            return;
        }
        tracing::warn!(feed = self.feed.name, by_ms, "What waits is dated anew, by the service's clock");
        self.buffer.retime(by_ms);
        self.intake.retimed(by_ms);
        self.forget_journal();
        self.kept_ms = self.kept_ms.map(|kept_ms| kept_ms + by_ms);
        self.too_long = self.too_long.map(|(limit, began_ms)| (limit, began_ms + by_ms));
        self.session.handle(Input::Retimed { by_ms }, now);
    }
}

/// Times that differ less from the service's are not the reason for its refusal.
const RETIME_MIN: Duration = Duration::from_secs(2);

fn dropped_word(why: Dropped) -> &'static str {
    match why {
        Dropped::BeforeKeyFrame => "before_key_frame",
        Dropped::KeyFrameLost => "key_frame_lost",
        Dropped::Damaged => "damaged",
        Dropped::Leading => "leading",
        Dropped::NoParameters => "no_parameters",
        Dropped::SoundLeftOut => "sound_left_out",
    }
}
