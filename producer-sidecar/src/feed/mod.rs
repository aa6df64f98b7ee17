//! One feed: its source, intake, buffer, spool, session and uploads, in one task. Carries out what the session decides and
//! keeps the feed's status.
//!
//! This file waits and hands on; what comes in is [`incoming`](self)'s, what goes out [`outgoing`](self)'s, files are
//! [`spooling`](self)'s, the end [`finish`](self)'s, and what people are told [`report`](self)'s.

mod finish;
pub mod gaps;
mod incoming;
pub mod intake;
mod meter;
mod outgoing;
pub mod record;
mod report;
mod spooling;
#[cfg(test)]
mod tests;
mod uplink;
mod upload_state;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{Feed, Mark, UploadReason};
use streamfleet_media::track::{Codec, CodecParameters};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::intake::{Intake, IntakeSettings};
use self::meter::Meter;
use self::record::Record;
pub use self::report::tell_gap;
use self::spooling::Spooling;
use self::uplink::Late;
pub use self::uplink::UplinkShare;
use crate::board::Post;
use crate::buffer::pool::Pool;
use crate::buffer::{Buffer, Limit};
use crate::clock::{Clock, Now};
use crate::metrics::FeedMetrics;
use crate::session::{Input, Session, SessionId, Settings};
use crate::source::{self, SourceEvent, SourceSettings};
use crate::spool::{Reply, Spool};
use crate::upload::{Chunk, Shared, Upload, UploadEvent, Uploader};

/// What a feed works with.
#[derive(Debug, Clone)]
pub struct FeedContext {
    /// The process's clocks.
    pub clock: Clock,
    /// The process's byte budget.
    pub pool: Arc<Pool>,
    /// The process's spool, if it has one.
    pub spool: Option<Spool>,
    /// What feeds that are behind share.
    pub uplink: Arc<UplinkShare>,
    /// What uploads share.
    pub shared: Arc<Shared>,
    /// The feed's place on the board.
    pub post: Post,
    /// What outlives the feed's task.
    pub record: Record,
    /// The feed's metrics.
    pub metrics: FeedMetrics,
    /// How long a stopped feed may take to have everything stored.
    pub drain: Duration,
}

/// Events that wait for the feed. Small: a feed that falls behind is to slow its sources down.
const EVENTS_WAITING_MAX: usize = 32;

/// How often the status is judged anew, for what changes by the passing of time alone.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// A source that has panicked is started again after this time.
const SOURCE_RESTART_AFTER: Duration = Duration::from_secs(1);

/// How long a source that is replaced may take to hand on what it holds.
const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a feed until it is stopped and has everything stored, or its time for that is up.
pub async fn run(ctx: FeedContext, mut configured: watch::Receiver<Feed>, stop: CancellationToken) {
    let feed = configured.borrow_and_update().clone();
    drive(Driver::new(ctx, feed), configured, stop).await;
}

async fn drive(mut driver: Driver, mut configured: watch::Receiver<Feed>, stop: CancellationToken) {
    let Some(waited) = driver.open_spool_until(&stop).await else {
        driver.stop_source().await;
        return driver.finish().await;
    };
    let drain = driver.ctx.drain.saturating_sub(waited);
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
            break;
        }
        driver.note_progress(now);
        match happening {
            Happening::Stop => {
                stop_at = Some(now.mono + drain);
                driver.stop_source().await;
                driver.session.handle(Input::Drain, driver.ctx.clock.now());
            }
            Happening::Configured(feed) => driver.reconfigure(*feed).await,
            Happening::Source(event) => driver.on_source_events(event),
            Happening::SourceGone => driver.on_source_gone(now),
            Happening::Upload(id, event) => driver.on_upload(id, event, now),
            Happening::Spool(reply) => driver.on_spool(reply, now),
            Happening::Room => {}
            Happening::Time => driver.on_time(now),
        }
        driver.judge_if_due(now);
    }
    driver.finish().await;
}

enum Happening {
    Stop,
    Configured(Box<Feed>),
    Source(SourceEvent),
    SourceGone,
    Upload(SessionId, UploadEvent),
    Spool(Reply),
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
    /// When the source is started again, after it has panicked.
    source_again_at: Option<Duration>,
    intake: Intake,
    tracks: Vec<Codec>,
    codec: Option<Arc<CodecParameters>>,
    buffer: Buffer,
    spooling: Option<Spooling>,
    session: Session,
    uploader: Uploader,
    upload: Option<Upload>,
    upload_events: mpsc::Sender<(SessionId, UploadEvent)>,
    uploads: mpsc::Receiver<(SessionId, UploadEvent)>,
    late: Option<Late>,
    /// The part of the uplink that the session was told.
    uplink_part: Option<u64>,
    meter: Meter,
    trouble: Option<(UploadReason, String)>,
    /// How far the service's clock is ahead of the node's, where that is known.
    server_ahead_ms: Option<i64>,
    /// Since when pictures come, if they do.
    pictures_since: Option<Duration>,
    last_stored: Option<Duration>,
    received: Option<Mark>,
    stored: Option<Mark>,
    /// The latest time of a unit that was kept; a gap begins there when nothing more comes.
    kept_ms: Option<i64>,
    /// When the group began that is longer than a fragment may be, while the next key frame is awaited.
    too_long: Option<(Limit, i64)>,
    source_connections: u64,
    judged_at: Duration,
    progress_at: Duration,
}

impl Driver {
    /// Opens the spool. After a stop the source sends no more, and the spool has as long as the feed may take to end. Gives
    /// how much of that has passed; `None` where the time is up.
    async fn open_spool_until(&mut self, stop: &CancellationToken) -> Option<Duration> {
        let source = self.source.as_ref().map(|source| source.stop.clone());
        let (clock, drain) = (self.ctx.clock, self.ctx.drain);
        let mut opening = pin!(self.open_spool());
        if stop.run_until_cancelled(&mut opening).await.is_some() {
            return Some(Duration::ZERO);
        }
        source.iter().for_each(CancellationToken::cancel);
        let began = clock.now().mono;
        let opened = timeout(drain, opening).await;
        opened.ok().map(|()| clock.now().mono.saturating_sub(began))
    }

    fn new(ctx: FeedContext, feed: Feed) -> Self {
        let (upload_events, uploads) = mpsc::channel(EVENTS_WAITING_MAX);
        let now = ctx.clock.now();
        Self {
            source: Some(start_source(&feed, ctx.clock)),
            source_again_at: None,
            intake: Intake::new(intake_settings(&feed)),
            tracks: Vec::new(),
            codec: None,
            buffer: Buffer::new(ctx.pool.share(), Arc::clone(&ctx.record.risk)),
            spooling: None,
            session: Session::new(session_settings(&feed, None), fastrand::u64(..)),
            uploader: Uploader::new(feed.stream.clone(), Arc::clone(&ctx.shared)),
            upload: None,
            upload_events,
            uploads,
            late: None,
            uplink_part: None,
            meter: Meter::default(),
            trouble: None,
            server_ahead_ms: None,
            pictures_since: None,
            last_stored: None,
            received: None,
            stored: None,
            kept_ms: None,
            too_long: None,
            source_connections: 0,
            judged_at: now.mono,
            progress_at: now.mono,
            ctx,
            feed,
        }
    }

    fn wake_at(&self, now: Now) -> Duration {
        let judged = self.judged_at + JUDGE_EVERY;
        let spool = self.spooling.as_ref().and_then(|spooling| spooling.wake_at(now.mono));
        [self.session.wake_at(now), self.intake.wake_at(), spool, self.source_again_at]
            .into_iter()
            .flatten()
            .fold(judged, Duration::min)
    }

    async fn next_event(
        &mut self,
        deadline: Duration,
        configured: &mut watch::Receiver<Feed>,
        stop: Option<&CancellationToken>,
    ) -> Happening {
        let pool = Arc::clone(&self.ctx.pool);
        let room = self.room_wanted();
        let is_held_up = self.is_held_up(self.ctx.clock.now());
        let source = self.source.as_mut().filter(|_| !is_held_up);
        let spool = self.spooling.as_mut();
        tokio::select! {
            () = maybe(stop.map(CancellationToken::cancelled)) => Happening::Stop,
            Ok(()) = configured.changed() => Happening::Configured(Box::new(configured.borrow_and_update().clone())),
            event = maybe(source.map(|source| source.events.recv())) => event.map_or(Happening::SourceGone, Happening::Source),
            Some((id, event)) = self.uploads.recv() => Happening::Upload(id, event),
            reply = maybe(spool.map(Spooling::reply)) => Happening::Spool(reply),
            () = maybe(room.map(wait_for_room)) => Happening::Room,
            () = pool.shrunk() => Happening::Room,
            () = sleep_until(self.ctx.clock.instant(deadline).into()) => Happening::Time,
        }
    }

    fn on_time(&mut self, now: Now) {
        if self.source_again_at.take_if(|at| now.mono >= *at).is_some() {
            self.source = Some(start_source(&self.feed, self.ctx.clock));
        }
        self.take_in(now);
        self.session.wake(now);
        self.flush_spool(now);
    }

    /// Counts, about once a second, what open gaps have grown by; and tells the session that the network takes bytes: it
    /// is not stalled then, only slow.
    fn note_progress(&mut self, now: Now) {
        if now.mono < self.progress_at + JUDGE_EVERY {
            return;
        }
        self.ctx.record.pass(now.mono.saturating_sub(self.progress_at));
        self.progress_at = now.mono;
        if let Some(upload) = self.upload.as_mut()
            && upload.has_progressed()
        {
            self.session.handle(Input::Progress(upload.id), now);
        }
    }

    async fn reconfigure(&mut self, feed: Feed) {
        let old = std::mem::replace(&mut self.feed, feed);
        self.set_session_settings();
        self.intake.set_settings(intake_settings(&self.feed));
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

    fn set_session_settings(&mut self) {
        self.session.set_settings(session_settings(&self.feed, self.uplink_part));
    }

    /// Stops the source, if it runs, and takes what it still holds. The group that is open is complete then.
    async fn stop_source(&mut self) {
        self.source_again_at = None;
        if let Some(mut source) = self.source.take() {
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
        }
        self.end_of_source(self.ctx.clock.now());
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.stop.cancel();
        }
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
    SourceSettings { source: feed.source.clone(), credentials: feed.credentials.clone(), audio: feed.audio }
}

fn intake_settings(feed: &Feed) -> IntakeSettings {
    IntakeSettings { audio: feed.audio, timestamps: feed.timestamps, target_ms: target_ms(feed) }
}

fn session_settings(feed: &Feed, catch_up_bytes_per_second: Option<u64>) -> Settings {
    const HOUR_MS: i64 = 3_600_000;
    Settings {
        target_ms: target_ms(feed),
        stored_at: feed.stored_at,
        tags: feed.fragment.tags.len(),
        overflow: feed.overflow,
        // A stream that keeps nothing takes what comes late all the same.
        retention_ms: feed
            .stream
            .retention_hours
            .filter(|hours| *hours > 0)
            .map(|hours| i64::from(hours) * HOUR_MS),
        catch_up_bytes_per_second,
    }
}

fn target_ms(feed: &Feed) -> i64 {
    i64::from(feed.fragment.target_seconds) * 1_000
}
