//! What goes out: what the session decides, and the pieces of its bodies.

use bytes::{Buf as _, Bytes};
use streamfleet_media::limits::TAG_END_OF_FRAGMENT;
use streamfleet_media::mkv::{Track, write};
use streamfleet_media::track::CodecParameters;
use tokio::sync::mpsc;

use super::Driver;
use crate::buffer::Limit;
use crate::clock::Now;
use crate::session::{Ending, Input, Output, Piece, SessionId, SpoolRoom, Tags, TrackSet};
use crate::upload::{Chunk, plain_chunk};

impl Driver {
    /// Carries out all that can be done without waiting.
    pub(super) fn pump(&mut self) {
        self.flush_spool(self.ctx.clock.now());
        self.shed();
        loop {
            self.carry_out_all();
            if !self.send_one() {
                return;
            }
        }
    }

    /// Spools, or gives up, what passes the feed's part of the budget.
    pub(super) fn shed(&mut self) {
        let (excess, soon) = (self.buffer.excess(), self.buffer.excess_soon());
        if soon == 0 {
            return;
        }
        let room = self.spool_room();
        if room != SpoolRoom::None {
            self.session.relieve(soon, room);
            self.carry_out_all();
        }
        if excess > 0 && !self.is_held_up(self.ctx.clock.now()) {
            // What is with the spool for too long counts as if it stayed.
            self.session.shed(self.buffer.excess() + self.overdue_bytes(), room);
            self.carry_out_all();
        }
    }

    fn carry_out_all(&mut self) {
        while let Some(output) = self.session.output() {
            self.carry_out(output);
        }
    }

    /// The upload's body, if the session has something for it that it could not take yet.
    pub(super) fn room_wanted(&self) -> Option<mpsc::Sender<Chunk>> {
        let upload = self.upload.as_ref()?;
        let body = upload.body.as_ref()?;
        self.session.has_piece(upload.id, self.ctx.clock.now()).then(|| body.clone())
    }

    fn carry_out(&mut self, output: Output) {
        if !matches!(output, Output::Report(_)) {
            tracing::debug!(feed = self.feed.name, ?output, "The session decides");
        }
        match output {
            Output::Open(id) => {
                self.upload = Some(self.uploader.open(id, self.upload_events.clone()));
            }
            Output::Finish(id) => {
                if let Some(upload) = self.upload.as_mut().filter(|upload| upload.id == id) {
                    upload.body = None;
                }
            }
            Output::Abort(id) => {
                if self.upload.as_ref().is_some_and(|upload| upload.id == id) {
                    self.upload = None;
                }
            }
            Output::Free(gop) => self.free(gop),
            Output::Store(gop) => self.store(gop),
            Output::Load(gop) => self.load(gop),
            Output::Retime { first_ms, earliest_ms } => {
                self.retime(first_ms, earliest_ms, self.ctx.clock.now());
            }
            Output::Report(report) => self.on_report(report),
        }
    }

    /// Hands the next piece to the upload, if there is one and room for it. Whether to go on.
    fn send_one(&mut self) -> bool {
        let now = self.ctx.clock.now();
        let Some((id, body)) =
            self.upload.as_ref().and_then(|upload| Some((upload.id, upload.body.as_ref()?)))
        else {
            return false;
        };
        if !self.session.has_piece(id, now) {
            return false;
        }
        let Ok(permit) = body.try_reserve() else { return false };
        let Some(piece) = self.session.pull(id, now) else { return true };
        if self.is_left_out(piece) {
            return true;
        }
        if let Some(chunk) = self.chunk(piece) {
            permit.send(chunk);
        } else {
            drop(permit);
            self.lost_piece(id, now);
        }
        true
    }

    /// Whether it is a unit of a track that the header does not have.
    fn is_left_out(&self, piece: Piece) -> bool {
        let Piece::Unit { gop, index, tracks, .. } = piece else { return false };
        self.buffer.unit(gop, index).is_some_and(|unit| !tracks.contains(unit.track))
    }

    /// What to send for a piece; `None` where the buffer does not have it.
    fn chunk(&self, piece: Piece) -> Option<Chunk> {
        Some(match piece {
            Piece::Header(gop, chosen) => {
                let codec = &self.buffer.gop(gop)?.codec;
                let tracks: Vec<_> = (1u8..)
                    .zip(&codec.tracks)
                    .filter(|(number, _)| chosen.contains(number - 1))
                    .map(|(number, track)| Track::of(number.into(), track))
                    .collect();
                plain_chunk(write::header(&tracks))
            }
            Piece::Cluster(time_ms) => {
                write::cluster_start(u64::try_from(time_ms).unwrap_or(0)).chain(Bytes::new())
            }
            Piece::Tags(tags) => plain_chunk(match tags {
                Tags::Configured => write::tags(&self.tags()),
                Tags::EndOfFragment => write::tags(&[(TAG_END_OF_FRAGMENT, "")]),
            }),
            Piece::Unit { gop, index, cluster_ms, .. } => {
                let unit = self.buffer.unit(gop, index)?;
                let relative = i16::try_from(unit.time_ms - cluster_ms).ok()?;
                let number = u64::from(unit.track) + 1;
                let prefix = write::simple_block_prefix(number, relative, unit.key, unit.data.len());
                prefix.chain(unit.data.clone())
            }
        })
    }

    fn tags(&self) -> Vec<(&str, &str)> {
        self.feed.fragment.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The session named something that the buffer does not have: a defect of ours. The session is given up, so that
    /// nothing false is sent.
    fn lost_piece(&mut self, id: SessionId, now: Now) {
        tracing::error!(feed = self.feed.name, "The buffer lacks a unit that was to be sent");
        self.upload = None;
        self.session.handle(Input::Closed(id, Ending::Broken("internal fault".to_owned())), now);
    }
}

/// The tracks of these parameters.
pub(super) fn tracks_of(codec: &CodecParameters) -> TrackSet {
    TrackSet::first(codec.tracks.len())
}

/// What status calls a group that is longer than a fragment may be, and this long.
pub(super) fn limit_detail(limit: Limit, length_ms: i64) -> String {
    let seconds = length_ms as f64 / 1_000.0;
    match limit {
        Limit::Duration => format!("error 4002: key frames are more than 20 s apart: {seconds:.1} s"),
        Limit::Size => {
            format!("error 4001: a group of pictures is larger than 50 MB: {seconds:.1} s of video")
        }
    }
}
