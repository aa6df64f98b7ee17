//! A feed without a camera and without a service: what comes in is handed to it, and nothing goes out.

mod lines;
mod rest;
mod sources;

use std::path::PathBuf;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use streamfleet_contract::{GapReason, Overflow, SourceReason, SourceState, SpoolMode, StoredAt};
use streamfleet_media::ack::{Ack, AckKind};
use streamfleet_media::track::{Access, AccessUnit, Sample, TrackParameters};

use super::gaps::GapBook;
use super::*;
use crate::board::Board;
use crate::buffer::GopId;
use crate::metrics::Metrics;
use crate::session::{Output, Report};

const START_MS: i64 = 1_700_000_000_000;
const FRAME_MS: i64 = 100;
/// Pictures in a group: one second of them.
const FRAMES: i64 = 10;
const FRAME_BYTES: usize = 10_000;

/// The process around feeds.
struct World {
    folder: PathBuf,
    board: Arc<Board>,
    registry: Registry,
    metrics: Metrics,
    pool: Arc<Pool>,
    settings: Option<streamfleet_contract::Spool>,
    spool: Option<Spool>,
}

impl World {
    fn new(name: &str, memory: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("streamfleet-feed-{}-{name}", std::process::id()));
        // Of an earlier run that was killed.
        _ = std::fs::remove_dir_all(&folder);
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let board = Board::new("i".to_owned());
        Self { folder, board, registry, metrics, pool: Pool::new(memory), settings: None, spool: None }
    }

    fn with_spool(mut self, mode: SpoolMode, max_bytes: u64) -> Self {
        let path = self.folder.display().to_string();
        self.settings = Some(streamfleet_contract::Spool { path, max_bytes, mode });
        self.restart();
        self
    }

    /// Another process comes, with the same spool.
    fn restart(&mut self) {
        // The one before lets go of the folder when the last of its feeds has.
        self.spool = None;
        let settings = self.settings.as_ref().unwrap();
        self.spool = Some(Spool::start(settings, Arc::clone(&self.board), self.metrics.clone()));
    }

    async fn driver(&self, change: impl FnOnce(&mut Feed)) -> Driver {
        let mut driver = self.new_driver(change);
        driver.open_spool().await;
        driver
    }

    /// One whose spool is not open yet.
    fn new_driver(&self, change: impl FnOnce(&mut Feed)) -> Driver {
        let mut feed: Feed = serde_json::from_value(serde_json::json!({
            "id": "a", "name": "shop/door", "source": {"file": {"path": "/nowhere"}},
            "stream": {
                "arn": "arn:aws:kinesisvideo:eu-west-1:1:stream/x/1", "region": "eu-west-1",
                "endpoint": "http://127.0.0.1:1"
            }
        }))
        .unwrap();
        change(&mut feed);
        let post = self.board.add(&feed, 0);
        let metrics = self.metrics.feed(&feed.id, &feed.name);
        let ctx = FeedContext {
            clock: Clock::start(),
            pool: Arc::clone(&self.pool),
            spool: self.spool.clone(),
            uplink: Arc::default(),
            shared: Arc::default(),
            record: Record::new(GapBook::default(), post.clone(), metrics.clone()),
            post,
            metrics,
            drain: Duration::from_secs(1),
        };
        let mut driver = Driver::new(ctx, feed);
        driver.source = None;
        driver
    }

    fn gaps(&self) -> Vec<(GapReason, i64, Option<i64>)> {
        let feeds = self.board.status().feeds;
        feeds[0].gaps.iter().map(|gap| (gap.reason, gap.start_ms, gap.end_ms)).collect()
    }

    fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("0 0");
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn codec() -> Arc<CodecParameters> {
    let track = TrackParameters::video(Codec::H264, Bytes::from_static(b"avcC"), 640, 360);
    Arc::new(CodecParameters::single(track))
}

impl Driver {
    /// Takes whole groups, each a second long, from this one on; carries out all that follows at once.
    async fn take_groups(&mut self, groups: std::ops::Range<i64>) {
        let codec = codec();
        for frame in groups.start * FRAMES..groups.end * FRAMES {
            let unit = AccessUnit {
                track: 0,
                time_ms: START_MS + frame * FRAME_MS,
                key: frame % FRAMES == 0,
                data: Bytes::from(vec![frame as u8; FRAME_BYTES]),
            };
            let now = self.ctx.clock.now();
            self.keep(unit, &codec, now, now);
            self.shed();
            while self.is_held_up(self.ctx.clock.now()) {
                self.hear_spool().await;
            }
        }
    }

    async fn hear_spool(&mut self) {
        let reply = self.spooling.as_mut().unwrap().reply();
        let reply = timeout(Duration::from_secs(10), reply).await.expect("the spool answers");
        self.on_spool(reply, self.ctx.clock.now());
        self.pump();
    }

    /// Waits until the journal has everything.
    async fn settle_journal(&mut self) {
        while self.buffer.iter().any(|gop| !gop.is_wholly_on_spool()) {
            let later =
                Now { mono: self.ctx.clock.now().mono + Duration::from_secs(1), ..self.ctx.clock.now() };
            self.flush_spool(later);
            self.hear_spool().await;
        }
    }
}

fn at(group: i64) -> i64 {
    START_MS + group * FRAMES * FRAME_MS
}

#[tokio::test]
async fn what_memory_cannot_hold_is_a_gap_from_its_first_picture_to_the_next_that_is_kept() {
    let world = World::new("oldest", 1_000_000);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..20).await;
    assert_eq!(world.gaps().len(), 1, "{:?}", world.gaps());
    let (reason, start, end) = world.gaps()[0];
    assert_eq!((reason, start), (GapReason::BufferOverflow, at(0)));
    let oldest = driver.buffer.iter().next().unwrap();
    assert_eq!(end, Some(oldest.start_ms()), "nothing is both kept and given up");
    assert!(world.pool.used() <= 1_000_000);
    let seconds = world.metric("gap_seconds_total");
    assert!((seconds - (oldest.start_ms() - at(0)) as f64 / 1_000.0).abs() < 0.001, "{seconds}");
    assert!((world.metric("gaps_total") - 1.0).abs() < 0.001);
}

#[tokio::test]
async fn the_other_policy_keeps_the_oldest() {
    let world = World::new("newest", 1_000_000);
    let mut driver = world.driver(|feed| feed.overflow = Overflow::DropNewest).await;
    driver.take_groups(0..20).await;
    assert_eq!(driver.buffer.iter().next().unwrap().start_ms(), at(0));
    let kept: Vec<_> = driver.buffer.iter().map(|gop| (gop.start_ms(), gop.last_ms())).collect();
    for (reason, start, end) in world.gaps() {
        assert_eq!(reason, GapReason::BufferOverflow);
        let overlaps = |(first, last): &(i64, i64)| *last >= start && end.is_none_or(|end| *first < end);
        assert!(!kept.iter().any(overlaps), "{start}..{end:?} and {kept:?}");
    }
}

#[tokio::test]
async fn what_memory_cannot_hold_goes_to_the_spool_and_nothing_is_lost() {
    let world = World::new("spool", 1_000_000).with_spool(SpoolMode::Overflow, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..60).await;
    assert_eq!(world.gaps(), []);
    assert_eq!(driver.buffer.len(), 60);
    let unit = FRAME_BYTES as u64 + 200;
    assert!(world.pool.used() <= 1_000_000 + unit, "{} bytes", world.pool.used());
    driver.buffer.complete();
    driver.finish().await;
    assert_eq!(world.gaps(), [], "the successor has it");
    drop(driver);
    let driver = world.driver(|_| {}).await;
    assert_eq!(driver.buffer.len(), 60);
    assert_eq!(driver.session.backlog().0, 60);
    assert_eq!(
        driver.buffer.iter().map(crate::buffer::Gop::start_ms).collect::<Vec<_>>(),
        (0..60).map(at).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_process_that_is_killed_finds_its_journal_and_says_from_when_to_when_it_was_gone() {
    let mut world = World::new("journal", 10 << 20).with_spool(SpoolMode::Journal, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.settle_journal().await;
    driver.free(GopId(1));
    // No word to anybody: the task is gone.
    drop(driver);
    world.restart();
    let mut driver = world.driver(|_| {}).await;
    let found: Vec<_> = driver.buffer.iter().map(|gop| (gop.id.0, gop.start_ms(), gop.len())).collect();
    assert_eq!(found, [(2, at(1), 10), (3, at(2), 10)], "what was stored is not sent again");
    assert_eq!(world.gaps(), [(GapReason::Stopped, at(3) - FRAME_MS, None)]);
    driver.take_groups(7..8).await;
    assert_eq!(world.gaps(), [(GapReason::Stopped, at(3) - FRAME_MS, Some(at(7)))]);
    assert_eq!(driver.buffer.iter().last().unwrap().id, GopId(4), "names are not given twice");
    driver.load(GopId(2));
    driver.hear_spool().await;
    let unit = driver.buffer.unit(GopId(2), 9).unwrap();
    assert_eq!((unit.time_ms, unit.data.len()), (at(2) - FRAME_MS, FRAME_BYTES));
}

#[tokio::test]
async fn a_feed_that_fails_or_is_configured_again_was_never_a_process_that_was_not_running() {
    let world = World::new("running", 10 << 20).with_spool(SpoolMode::Journal, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.settle_journal().await;
    let book = driver.ctx.record.book();
    driver.ctx.record.failed().expect("pictures came");
    drop(driver);
    let mut driver = world.new_driver(|_| {});
    driver.ctx.record = Record::new(book, driver.ctx.post.clone(), driver.ctx.metrics.clone());
    driver.open_spool().await;
    assert_eq!(world.gaps(), [(GapReason::InternalError, at(3) - FRAME_MS, None)]);
    driver.take_groups(7..8).await;
    assert_eq!(world.gaps(), [(GapReason::InternalError, at(3) - FRAME_MS, Some(at(7)))]);
    drop(driver);
    let again = world.driver(|_| {}).await;
    assert_eq!(
        (world.gaps(), again.kept_ms),
        (vec![], Some(at(3) - FRAME_MS)),
        "it was not to be stored meanwhile"
    );
}

#[tokio::test]
async fn a_gap_that_lasts_when_the_journal_is_found_keeps_its_cause() {
    let mut world = World::new("cause", 10 << 20).with_spool(SpoolMode::Journal, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.settle_journal().await;
    drop(driver);
    world.restart();
    // The first task of this process failed before it had the folder.
    let mut driver = world.new_driver(|_| {});
    driver.ctx.record.open_gap(at(2), GapReason::InternalError, "");
    driver.open_spool().await;
    assert_eq!(world.gaps(), [(GapReason::InternalError, at(2), None)]);
}

#[tokio::test]
async fn what_is_behind_damage_in_the_spool_is_a_gap_and_counted() {
    let mut world = World::new("damaged", 10 << 20).with_spool(SpoolMode::Journal, 100 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..4).await;
    driver.settle_journal().await;
    drop(driver);
    let folders = std::fs::read_dir(&world.folder).unwrap().flatten().map(|entry| entry.path());
    let folder = folders.into_iter().find(|path| path.is_dir()).unwrap();
    let file = std::fs::read_dir(folder).unwrap().flatten().next().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    // Within the second of four groups.
    let middle = bytes.len() * 3 / 8;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    world.restart();
    let driver = world.driver(|_| {}).await;
    assert_eq!(driver.buffer.len(), 2);
    let gaps = world.gaps();
    let (reason, start, end) = gaps[0];
    assert_eq!((reason, end), (GapReason::InternalError, Some(at(4) - FRAME_MS)));
    assert_eq!(start, driver.buffer.iter().last().unwrap().last_ms(), "from the last that is whole");
    assert_eq!(gaps[1..], [(GapReason::Stopped, at(4) - FRAME_MS, None)]);
    assert!((world.metric("spool_failures_total{kind=\"damaged\"}") - 1.0).abs() < 0.001);
}

#[tokio::test]
async fn a_journal_that_is_full_is_made_up_for_when_room_returns() {
    let world = World::new("full", 100 << 20).with_spool(SpoolMode::Journal, 1_000_000);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..20).await;
    let later = Now { mono: driver.ctx.clock.now().mono + Duration::from_secs(1), ..driver.ctx.clock.now() };
    driver.flush_spool(later);
    driver.hear_spool().await;
    let lacking = |driver: &Driver| driver.buffer.iter().filter(|gop| !gop.is_wholly_on_spool()).count();
    assert!(lacking(&driver) > 5);
    assert_eq!((world.gaps(), driver.buffer.len()), (vec![], 20), "memory has it");
    world.spool.as_ref().unwrap().set_max_bytes(100 << 20);
    driver.take_groups(20..21).await;
    driver.buffer.complete();
    driver.settle_journal().await;
    assert_eq!(lacking(&driver), 0);
}

#[tokio::test]
async fn what_a_stop_leaves_without_a_spool_is_a_gap_and_a_replaced_stream_s_another() {
    let world = World::new("stop", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(0..3).await;
    driver.finish().await;
    assert_eq!(world.gaps(), [(GapReason::Stopped, at(0), Some(at(3) - FRAME_MS))]);
    let mut driver = world.driver(|_| {}).await;
    driver.take_groups(5..6).await;
    let book = driver.ctx.record.book();
    driver.ctx.record.replace();
    driver.finish().await;
    drop(driver);
    let mut successor = world.driver(|_| {}).await;
    successor.ctx.record = Record::new(book, successor.ctx.post.clone(), successor.ctx.metrics.clone());
    successor.judge(successor.ctx.clock.now());
    assert_eq!(world.gaps(), [(GapReason::StreamReplaced, at(5), Some(at(6) - FRAME_MS))]);
}

/// A source that has sent this many pictures, a key frame and others, and sends no more when it is stopped.
fn sent(pictures: u8) -> RunningSource {
    let (sender, source) = sending(pictures);
    let stopped = source.stop.clone();
    drop(tokio::spawn(async move {
        stopped.cancelled().await;
        drop(sender);
    }));
    source
}

/// A source that has sent this many pictures, and its way to send more.
fn sending(pictures: u8) -> (mpsc::Sender<SourceEvent>, RunningSource) {
    let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let stop = CancellationToken::new();
    let clock = Clock::start();
    sender.try_send(SourceEvent::Connected(vec![Codec::H264])).unwrap();
    for n in 0..pictures {
        let (access, nal) = if n == 0 { (Access::Start, 0x65) } else { (Access::Continue, 0x41) };
        let track = TrackParameters::video(Codec::H264, Bytes::from_static(b"avcC"), 640, 360);
        let sample = Sample {
            track: 0,
            ticks: i64::from(n) * FRAME_MS * 90,
            rate: 90_000,
            access,
            lost: 0,
            data: Bytes::from(vec![0, 0, 0, 2, nal, 0x88]),
            parameters: (n == 0).then_some(track),
        };
        sender.try_send(SourceEvent::Sample(sample, clock.now())).unwrap();
    }
    (sender, RunningSource { events, stop })
}

#[tokio::test]
async fn a_stop_while_the_spool_is_being_opened_forgets_nothing_that_came() {
    let world = World::new("opening", 10 << 20).with_spool(SpoolMode::Overflow, 100 << 20);
    let stop = CancellationToken::new();
    stop.cancel();
    let run = |mut driver: Driver| {
        driver.source = Some(sent(11));
        let (_, configured) = watch::channel(driver.feed.clone());
        drive(driver, configured, stop.clone())
    };
    let user = world.driver(|_| {}).await;
    run(world.new_driver(|_| {})).await;
    let gaps = world.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (reason, start, end) = gaps[0];
    assert_eq!((reason, end), (GapReason::Stopped, Some(start + 10 * FRAME_MS)));
    drop(user);
    run(world.new_driver(|_| {})).await;
    assert_eq!(world.gaps(), [], "the spool was opened in time");
    let successor = world.driver(|_| {}).await;
    assert_eq!(successor.buffer.iter().map(crate::buffer::Gop::len).collect::<Vec<_>>(), [11]);
}

#[tokio::test]
async fn what_counts_as_stored_is_what_frees() {
    let received = (AckKind::Received, Some(Duration::from_millis(700)));
    let persisted = (AckKind::Persisted, Some(Duration::from_millis(700)));
    for (stored_at, (kind, latency), counts) in [
        (StoredAt::Persisted, received.clone(), false),
        (StoredAt::Received, received, true),
        (StoredAt::Persisted, persisted, true),
        (StoredAt::Persisted, (AckKind::Persisted, None), false),
    ] {
        let world = World::new("counts", 10 << 20);
        let mut driver = world.driver(|feed| feed.stored_at = stored_at).await;
        driver.on_report(Report::Acknowledged(kind.clone(), None, latency));
        let last = world.metric("last_stored_timestamp_seconds{");
        assert_eq!(last > 0.0, counts, "{stored_at:?} {kind:?} {latency:?}");
    }
}

#[tokio::test]
async fn a_camera_that_is_away_is_a_gap_from_its_last_picture_to_its_next_key_frame() {
    let world = World::new("away", 10 << 20);
    let mut driver = world.driver(|_| {}).await;
    let now = driver.ctx.clock.now();
    let failed = || SourceEvent::State(SourceState::Failed, SourceReason::Disconnected, String::new());
    driver.on_source(failed(), now);
    assert_eq!(world.gaps(), [], "nothing was there that could be missed");
    driver.take_groups(0..2).await;
    driver.on_source(failed(), now);
    driver.on_source(failed(), now);
    driver.take_groups(5..6).await;
    assert_eq!(world.gaps(), [(GapReason::CameraLost, at(2) - FRAME_MS, Some(at(5)))]);
}

#[tokio::test]
async fn a_gap_is_counted_while_it_lasts() {
    let world = World::new("lasts", 1 << 20);
    let mut driver = world.driver(|_| {}).await;
    driver.ctx.record.open_gap(START_MS, GapReason::CameraLost, "");
    let mut now = driver.ctx.clock.now();
    now.mono = driver.progress_at + Duration::from_secs(10);
    driver.note_progress(now);
    assert!((world.metric("gap_seconds_total") - 8.0).abs() < 0.01);
}

#[tokio::test]
async fn an_upload_that_the_network_takes_is_not_stalled() {
    for progressed in [false, true] {
        let world = World::new("progress", 10 << 20);
        let mut driver = world.driver(|_| {}).await;
        driver.take_groups(0..3).await;
        driver.pump();
        // More waits to be taken, and of what is on its way something is heard.
        driver.take_groups(3..5).await;
        let now = driver.ctx.clock.now();
        let upload = driver.upload.as_ref().unwrap();
        if progressed {
            upload.note_sent();
        }
        let id = upload.id;
        driver.on_upload(id, UploadEvent::Opened, now);
        for group in 0..3 {
            let number = format!("9{:046}", at(group)).parse().unwrap();
            driver.on_upload(id, UploadEvent::Ack(Ack::of(AckKind::Buffering, at(group), number)), now);
        }
        let later = |seconds| Now { mono: now.mono + Duration::from_secs(seconds), ..now };
        driver.note_progress(later(9));
        driver.session.wake(later(11));
        let outputs: Vec<_> = std::iter::from_fn(|| driver.session.output()).collect();
        assert_eq!(outputs.contains(&Output::Abort(id)), !progressed, "{outputs:?}");
    }
}
