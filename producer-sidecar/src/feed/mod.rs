//! One feed: its source, buffer, session and uploads, in one task. Carries out what the session decides and keeps the
//! feed's status.

mod gaps;
mod meter;
mod report;
mod upload_state;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use streamfleet_contract::{Feed, Mark, SourceReason, SourceState, UploadReason};
use streamfleet_media::limits::TAG_END_OF_FRAGMENT;
use streamfleet_media::mkv::{Track, write};
use streamfleet_media::track::{Access, AccessUnit, CodecParameters, Sample};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::gaps::GapLog;
use self::meter::Meter;
use crate::board::Post;
use crate::buffer::pool::Pool;
use crate::buffer::{Buffer, Limit, Pushed};
use crate::clock::{Clock, Now};
use crate::metrics::FeedMetrics;
use crate::session::{Ending, Input, Output, Piece, Session, SessionId, Settings, SpoolRoom, Tags, TrackSet};
use crate::source::timeline::Timeline;
use crate::source::{self, SourceEvent, SourceSettings};
use crate::upload::{Chunk, Shared, Upload, UploadEvent, Uploader, plain_chunk};

/// What a feed works with.
#[derive(Debug, Clone)]
pub struct FeedContext {
    /// The process's clocks.
    pub clock: Clock,
    /// The process's byte budget.
    pub pool: Arc<Pool>,
    /// What uploads share.
    pub shared: Arc<Shared>,
    /// The feed's place on the board.
    pub post: Post,
    /// The feed's metrics.
    pub metrics: FeedMetrics,
    /// How long a stopped feed may take to have everything stored.
    pub drain: Duration,
}

/// Events that wait for the feed. Small: a feed that falls behind is to slow its sources down.
const EVENTS_WAITING_MAX: usize = 32;

/// How often the status is judged anew, for what changes by the passing of time alone.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// How long a source that is replaced may take to hand on what it holds.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a feed until it is stopped and has everything stored, or its time for that is up.
pub async fn run(ctx: FeedContext, mut configured: watch::Receiver<Feed>, stop: CancellationToken) {
    let feed = configured.borrow_and_update().clone();
    let mut driver = Driver::new(ctx, feed);
    let mut stop_at = None;
    loop {
        driver.pump();
        if stop_at.is_some() && driver.session.is_drained() {
            break;
        }
        let now = driver.ctx.clock.now();
        let wake = driver.wake_at(now);
        let deadline = stop_at.map_or(wake, |at: Duration| at.min(wake));
        let happening =
            driver.next_event(deadline, &mut configured, stop_at.is_none().then_some(&stop)).await;
        let now = driver.ctx.clock.now();
        if stop_at.is_some_and(|at| now.mono >= at) {
            tracing::warn!(feed = driver.feed.name, "Stopped before everything was stored");
            break;
        }
        match happening {
            Happening::Stop => {
                stop_at = Some(now.mono + driver.ctx.drain);
                driver.stop_source().await;
                driver.session.handle(Input::Drain, driver.ctx.clock.now());
            }
            Happening::Configured(feed) => driver.reconfigure(*feed).await,
            Happening::Source(event) => driver.on_source(event, now),
            Happening::SourceGone => driver.source = None,
            Happening::Upload(id, event) => driver.on_upload(id, event, now),
            Happening::Room => {}
            Happening::Time => driver.session.wake(now),
        }
        driver.judge_if_due(now);
    }
}

enum Happening {
    Stop,
    Configured(Box<Feed>),
    Source(SourceEvent),
    SourceGone,
    Upload(SessionId, UploadEvent),
    Room,
    Time,
}

struct RunningSource {
    events: mpsc::Receiver<SourceEvent>,
    stop: CancellationToken,
}

struct Driver {
    ctx: FeedContext,
    feed: Feed,
    source: Option<RunningSource>,
    timeline: Timeline,
    codec: Option<Arc<CodecParameters>>,
    buffer: Buffer,
    session: Session,
    uploader: Uploader,
    upload: Option<Upload>,
    upload_events: mpsc::Sender<(SessionId, UploadEvent)>,
    uploads: mpsc::Receiver<(SessionId, UploadEvent)>,
    gaps: GapLog,
    meter: Meter,
    trouble: Option<(UploadReason, String)>,
    /// Since when pictures come, if they do.
    pictures_since: Option<Duration>,
    last_stored: Option<Duration>,
    received: Option<Mark>,
    stored: Option<Mark>,
    source_connections: u64,
    judged_at: Duration,
}

impl Driver {
    fn new(ctx: FeedContext, feed: Feed) -> Self {
        let (upload_events, uploads) = mpsc::channel(EVENTS_WAITING_MAX);
        let now = ctx.clock.now();
        Self {
            source: Some(start_source(&feed, ctx.clock)),
            timeline: Timeline::default(),
            codec: None,
            buffer: Buffer::new(ctx.pool.share()),
            session: Session::new(session_settings(&feed), fastrand::u64(..)),
            uploader: Uploader::new(feed.stream.clone(), Arc::clone(&ctx.shared)),
            upload: None,
            upload_events,
            uploads,
            gaps: GapLog::default(),
            meter: Meter::default(),
            trouble: None,
            pictures_since: None,
            last_stored: None,
            received: None,
            stored: None,
            source_connections: 0,
            judged_at: now.mono,
            ctx,
            feed,
        }
    }

    fn wake_at(&self, now: Now) -> Duration {
        let judged = self.judged_at + JUDGE_EVERY;
        self.session.wake_at(now).map_or(judged, |at| at.min(judged))
    }

    async fn next_event(
        &mut self,
        deadline: Duration,
        configured: &mut watch::Receiver<Feed>,
        stop: Option<&CancellationToken>,
    ) -> Happening {
        let pool = Arc::clone(&self.ctx.pool);
        let room = self.room_wanted();
        let source = self.source.as_mut();
        tokio::select! {
            () = maybe(stop.map(CancellationToken::cancelled)) => Happening::Stop,
            Ok(()) = configured.changed() => Happening::Configured(Box::new(configured.borrow_and_update().clone())),
            event = maybe(source.map(|source| source.events.recv())) => event.map_or(Happening::SourceGone, Happening::Source),
            Some((id, event)) = self.uploads.recv() => Happening::Upload(id, event),
            () = maybe(room.map(wait_for_room)) => Happening::Room,
            () = pool.pressed() => Happening::Room,
            () = sleep_until(self.ctx.clock.instant(deadline).into()) => Happening::Time,
        }
    }

    /// The upload's body, if the session has something for it that it could not take yet.
    fn room_wanted(&self) -> Option<mpsc::Sender<Chunk>> {
        let upload = self.upload.as_ref()?;
        let body = upload.body.as_ref()?;
        self.session.has_piece(upload.id, self.ctx.clock.now()).then(|| body.clone())
    }

    /// Carries out all that can be done without waiting.
    fn pump(&mut self) {
        let excess = self.buffer.excess();
        if excess > 0 {
            self.session.shed(excess, SpoolRoom::None);
        }
        loop {
            while let Some(output) = self.session.output() {
                self.carry_out(output);
            }
            if !self.send_one() {
                return;
            }
        }
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
            Output::Free(gop) => self.buffer.free(gop),
            // Never asked for without a spool.
            Output::Store(_) | Output::Load(_) => {}
            // Nothing is known of the service's clock here: the times stay, and it is tried again later.
            Output::Retime { .. } => {}
            Output::Report(report) => self.on_report(report),
        }
    }

    /// Hands the next piece to the upload, if there is one and room for it. Whether to go on.
    fn send_one(&mut self) -> bool {
        let now = self.ctx.clock.now();
        let Some((id, body)) =
            self.upload.as_ref().and_then(|upload| Some((upload.id, upload.body.clone()?)))
        else {
            return false;
        };
        if !self.session.has_piece(id, now) {
            return false;
        }
        let Ok(permit) = body.try_reserve() else { return false };
        match self.session.pull(id, now) {
            Some(piece) => match self.chunk(piece) {
                Some(chunk) => permit.send(chunk),
                None => self.lost_piece(id, now),
            },
            None => drop(permit),
        }
        true
    }

    fn chunk(&self, piece: Piece) -> Option<Chunk> {
        match piece {
            Piece::Header(gop, chosen) => {
                let codec = &self.buffer.gop(gop)?.codec;
                let tracks: Vec<_> = (1u8..)
                    .zip(&codec.tracks)
                    .filter(|(number, _)| chosen.contains(number - 1))
                    .map(|(number, track)| Track::of(number.into(), track))
                    .collect();
                Some(plain_chunk(write::header(&tracks)))
            }
            Piece::Cluster(time_ms) => {
                Some(plain_chunk(write::cluster_start(u64::try_from(time_ms).unwrap_or(0))))
            }
            Piece::Tags(tags) => Some(plain_chunk(match tags {
                Tags::Configured => write::tags(&self.tags()),
                Tags::EndOfFragment => write::tags(&[(TAG_END_OF_FRAGMENT, "")]),
            })),
            Piece::Unit { gop, index, cluster_ms, tracks } => {
                let unit = self.buffer.unit(gop, index)?;
                if !tracks.contains(unit.track) {
                    return Some(plain_chunk(Bytes::new()));
                }
                let relative = i16::try_from(unit.time_ms - cluster_ms).ok()?;
                let prefix = write::simple_block_prefix(
                    u64::from(unit.track) + 1,
                    relative,
                    unit.key,
                    unit.data.len(),
                );
                Some(prefix.chain(unit.data.clone()))
            }
        }
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

    fn on_source(&mut self, event: SourceEvent, now: Now) {
        match event {
            SourceEvent::Connected(_) => {
                self.timeline.reconnected();
                self.source_connections += 1;
                self.ctx.metrics.connected("source");
                let reconnects = self.source_connections - 1;
                self.ctx.post.update(|status| status.source_reconnects = reconnects);
            }
            SourceEvent::Sample(sample, read_at) => self.on_sample(sample, read_at, now),
            SourceEvent::Report(..) => {}
            SourceEvent::State(state, reason, message) => self.on_source_state(state, reason, &message, now),
        }
    }

    fn on_sample(&mut self, frame: Sample, read_at: Now, now: Now) {
        if let Some(parameters) = frame.parameters.map(CodecParameters::single)
            && self.codec.as_deref() != Some(&parameters)
        {
            self.codec = Some(Arc::new(parameters));
        }
        let key = frame.access == Access::Start;
        let Some(codec) = self.codec.clone() else { return };
        let time_ms = self.timeline.place(frame.ticks, frame.rate, key, read_at);
        let bytes = frame.data.len() as u64;
        self.ctx.metrics.frame(bytes);
        self.meter.unit(time_ms, key, bytes);
        self.received = Some(Mark { media_ms: time_ms, wall_ms: read_at.wall_ms });
        if self.pictures_since.is_none() {
            self.pictures_since = Some(now.mono);
            self.judge(now);
        }
        match self.buffer.push(AccessUnit { track: frame.track, time_ms, key, data: frame.data }, &codec) {
            Pushed::Began { gop, codec: codec_id, completed } => {
                if let Some(completed) = completed {
                    self.session.handle(Input::Completed(completed), now);
                }
                self.close_gaps(time_ms);
                let media = self.meter.media(&codec);
                self.ctx.post.update(|status| status.media = Some(media));
                let tracks = TrackSet::first(codec.tracks.len());
                let track = frame.track;
                self.session
                    .handle(Input::Began { gop, codec: codec_id, tracks, track, time_ms, bytes }, now);
            }
            Pushed::Continued(gop) => {
                self.session.handle(Input::Extended { gop, track: frame.track, time_ms, bytes }, now)
            }
            Pushed::NoKeyFrame => self.ctx.metrics.discarded(),
            Pushed::TooLong { completed, limit } => {
                self.ctx.metrics.discarded();
                self.session.handle(Input::Completed(completed), now);
                // Nothing that can be stored comes until the next key frame: the fragment is not to wait for it.
                self.session.handle(Input::SourceEnded, now);
                self.open_refused_gap(time_ms, limit);
            }
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
        if let Some(received) = self.received {
            self.open_camera_gap(received.media_ms);
        }
    }

    /// Nothing more comes of the group that is open.
    fn end_of_source(&mut self, now: Now) {
        self.meter.interrupted();
        if let Some(gop) = self.buffer.complete() {
            self.session.handle(Input::Completed(gop), now);
        }
        self.session.handle(Input::SourceEnded, now);
    }

    fn on_upload(&mut self, id: SessionId, event: UploadEvent, now: Now) {
        tracing::debug!(feed = self.feed.name, ?id, ?event, "The upload says");
        let input = match event {
            UploadEvent::Opened => {
                self.ctx.metrics.connected("upload");
                self.ctx.post.update(|status| status.upload_sessions += 1);
                Input::Opened(id)
            }
            UploadEvent::Ack(ack) => Input::Ack(id, ack),
            UploadEvent::ServerTime(_) => return,
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

    async fn reconfigure(&mut self, feed: Feed) {
        let old = std::mem::replace(&mut self.feed, feed);
        self.session.set_settings(session_settings(&self.feed));
        if self.feed.stream != old.stream {
            self.uploader = Uploader::new(self.feed.stream.clone(), Arc::clone(&self.ctx.shared));
            self.session.renew();
        }
        if source_settings(&self.feed) != source_settings(&old) {
            self.stop_source().await;
            self.source = Some(start_source(&self.feed, self.ctx.clock));
        }
        let revision = self.feed.revision.clone();
        self.ctx.post.update(|status| status.revision = revision);
        tracing::info!(feed = self.feed.name, revision = self.feed.revision, "Configuration changed");
    }

    /// Stops the source and takes what it still holds.
    async fn stop_source(&mut self) {
        let Some(mut source) = self.source.take() else { return };
        source.stop.cancel();
        let drained = async {
            while let Some(event) = source.events.recv().await {
                self.on_source(event, self.ctx.clock.now());
                self.pump();
            }
        };
        if timeout(SOURCE_STOP_TIMEOUT, drained).await.is_err() {
            tracing::warn!(feed = self.feed.name, "The source did not stop in time");
        }
        self.end_of_source(self.ctx.clock.now());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.stop.cancel();
        }
        self.ctx.metrics.forget();
    }
}

async fn maybe<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn wait_for_room(body: mpsc::Sender<Chunk>) {
    // A closed body has no room: its end is told as an event of the upload.
    if body.reserve().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn start_source(feed: &Feed, clock: Clock) -> RunningSource {
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let stop = CancellationToken::new();
    // Ends when it is stopped, and at the latest when its events have no receiver.
    drop(tokio::spawn(source::run(source_settings(feed), clock, sender, stop.clone())));
    RunningSource { events, stop }
}

fn source_settings(feed: &Feed) -> SourceSettings {
    SourceSettings { source: feed.source.clone(), credentials: feed.credentials.clone() }
}

fn session_settings(feed: &Feed) -> Settings {
    Settings {
        target_ms: i64::from(feed.fragment.target_seconds) * 1_000,
        stored_at: feed.stored_at,
        tags: feed.fragment.tags.len(),
        overflow: feed.overflow,
        retention_ms: feed.stream.retention_hours.map(|hours| i64::from(hours) * 3_600_000),
        catch_up_bytes_per_second: None,
    }
}

/// What status calls a group that is longer than a fragment may be.
fn limit_detail(limit: Limit) -> &'static str {
    match limit {
        Limit::Duration => "4002 key frames are more than 20 s apart",
        Limit::Size => "4001 a group of pictures is larger than 50 MB",
    }
}
