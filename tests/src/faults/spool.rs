//! What waits on disk: a disk that is full, and ten hours that were left behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use streamfleet_contract::{Spool, SpoolMode};
use streamfleet_media::spool::{Head, SegmentHeader, encode_parameters};
use streamfleet_media::track::{AccessUnit, CodecParameters};
use streamfleet_producer::spool::folder::{Owner, segment_name};
use tokio::time::Instant;

use super::{Limits, MEMORY, PERSIST_SECONDS_MAX, Played, Report, Scale, Trial};
use crate::camera::{Clip, Recipe};
use crate::cluster::need_root;
use crate::journal::Entry;
use crate::rig::{Plan, Rig, unix_ms};
use crate::tools::cache_dir;

/// The service takes so many fragments in a second, and what waits is cut into fragments of so many seconds.
const FRAGMENTS_PER_SECOND: u64 = 5;
const FRAGMENT_SECONDS: u64 = 10;
/// What waits is sent so many times as fast as it was taken.
const CATCH_UP_SPEED: u64 = 15;
/// A session comes this long after the endpoint is back, or never.
const SESSION_MAX: Duration = Duration::from_secs(30);
/// About as large as the producer's own.
const SEGMENT_BYTES: usize = 8 << 20;

/// A small file system in memory; unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(bytes: u64) -> Result<Self> {
        need_root("a full disk")?;
        let path = std::env::temp_dir().join(format!("streamfleet-full-{:08x}", fastrand::u32(..)));
        std::fs::create_dir(&path)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&path)
            .status()?;
        ensure!(mounted.success(), "failed to mount a small file system at {}", path.display());
        Ok(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
        drop(std::fs::remove_dir(&self.0));
    }
}

/// The endpoint is gone for 60 s, memory takes some seconds of video, and the disk is full long before the spool's own limit.
pub(super) async fn disk_full(scale: Scale) -> Result<Vec<Report>> {
    let (memory, disk, outage) =
        if scale.short { (2 << 20, 2 << 20, 40) } else { (8_u64 << 20, 10_u64 << 20, 60) };
    let small = SmallDisk::mount(disk)?;
    let mut plan = Plan::new("disk-full", scale.recipe).memory(memory);
    plan.process.spool = Some(Spool {
        path: small.0.join("spool").display().to_string(),
        max_bytes: 1 << 30,
        mode: SpoolMode::Overflow,
    });
    let (mut trial, producer) = Trial::start(plan).await?;
    let stored_ms = producer.feed(0).await?.stored.context("something is stored")?.media_ms;
    let began_ms = unix_ms();
    trial.rig.proxy.turn_away();
    tokio::time::sleep(Duration::from_secs(outage)).await;
    trial.rig.proxy.admit().await?;
    let played = Played::until_now(producer, began_ms);
    let came_ms = session_after(&trial.rig, played.ended_ms).await?;
    let clip = Clip::read(&scale.recipe.make(&cache_dir().join("media")).await?)?;
    let limits = Limits {
        lost: lost_at_most(scale, clip.bytes(), memory + disk, came_ms - stored_ms),
        repeated: scale.window(),
        recover: Duration::from_secs(40),
        // Turned away, and let in at last.
        strikes: 2,
    };
    let reports = trial.conclude(played, |_| "disk-full".to_owned(), |_| limits).await?;
    // A disk that was not full shows nothing.
    ensure!(reports.iter().all(|report| !report.counts.lost.is_empty()), "the disk was not full");
    drop(small);
    Ok(reports)
}

/// How many pictures may be lost of those that the camera took between the last that was stored and the session that came
/// at last, where so many bytes are kept. Until that session has stored what waits, more come.
///
/// Of what is kept four groups are not: one that the disk had no room for whole, one that memory lets go as a whole for a
/// part of it, and the places in memory through which the groups on the disk go out, the one that is being sent and the next.
fn lost_at_most(scale: Scale, clip_bytes: u64, kept_bytes: u64, waited_ms: i64) -> usize {
    let per_second = clip_bytes / u64::from(scale.recipe.seconds);
    let group = per_second * u64::from(scale.recipe.key_interval) / u64::from(scale.recipe.rate);
    let kept_seconds = (kept_bytes - 4 * group) / per_second;
    let catching_up = kept_seconds.div_ceil(CATCH_UP_SPEED) + PERSIST_SECONDS_MAX;
    let waited_seconds = waited_ms.unsigned_abs().div_ceil(1_000);
    scale.pictures((waited_seconds + catching_up).saturating_sub(kept_seconds))
}

/// When the first session after `ended_ms` reached the service.
async fn session_after(rig: &Rig, ended_ms: i64) -> Result<i64> {
    let deadline = Instant::now() + SESSION_MAX;
    loop {
        let calls = rig.service.calls().await?;
        let came = calls.iter().filter(|call| call.operation == "PutMedia" && call.begun_ms >= ended_ms);
        if let Some(came_ms) = came.map(|call| call.begun_ms).min() {
            return Ok(came_ms);
        }
        ensure!(Instant::now() < deadline, "no session came within {SESSION_MAX:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A process finds ten hours at 64 kbit/s in its spool. They are written in its format, since nobody waits ten hours; the
/// camera goes on where they end.
pub(super) async fn ten_hours(scale: Scale) -> Result<Vec<Report>> {
    let seconds = scale.seconds(36_000, 300).as_secs();
    let recipe = Recipe {
        width: 160,
        height: 96,
        rate: 5,
        key_interval: 10,
        seconds: 20,
        kbps: Some(64),
        ..Recipe::default()
    };
    let mut plan = Plan::new("spool-10h", recipe).memory(MEMORY);
    plan.head_start = Duration::from_secs(seconds);
    plan.process.spool = Some(Spool {
        path: "spool".to_owned(),
        max_bytes: 4 * seconds * 64_000 / 8 + (64 << 20),
        mode: SpoolMode::Overflow,
    });
    let rig = Rig::start(plan).await?;
    write_spool(&rig, recipe, seconds * u64::from(recipe.rate)).await?;
    let began_ms = unix_ms();
    let (trial, producer) = Trial::begin(rig).await?;
    // When its predecessor ended an overflow spool does not say: of what the camera took before this process began nobody
    // can tell.
    let unwatched_ms = Some(began_ms);
    let played = Played { ended_ms: began_ms, unwatched_ms, ..Played::until_now(producer, began_ms) };
    let least = seconds / (FRAGMENTS_PER_SECOND * FRAGMENT_SECONDS);
    let limits =
        Limits { lost: 0, repeated: 0, recover: Duration::from_secs(least * 5 / 4 + 30), strikes: 0 };
    trial.conclude(played, |_| "spool-10h".to_owned(), |_| limits).await
}

/// Writes the camera's first pictures into the spool and into the camera's journal.
async fn write_spool(rig: &Rig, recipe: Recipe, pictures: u64) -> Result<()> {
    let clip = Clip::read(&recipe.make(&cache_dir().join("media")).await?)?;
    let journal = rig.journal(0)?;
    let Some(Entry::Start { unix_ms: start_ms, .. }) = journal.first() else {
        bail!("the journal does not begin with the camera's start")
    };
    let feed = rig.configuration.feeds.first().context("the rig has a feed")?;
    let retention_hours = feed.stream.retention_hours.unwrap_or(0);
    let owner = Owner { feed: feed.id.clone(), arn: feed.stream.arn.clone(), retention_hours };
    let spool = rig.configuration.process.spool.as_ref().context("the rig has a spool")?;
    let mut segments = Segments::new(Path::new(&spool.path), owner, &clip)?;
    let mut lines = String::new();
    for number in 0..pictures {
        let frame = clip.frame(number);
        let unix_ms = start_ms + (recipe.picture_period() * number as u32).as_millis() as i64;
        lines.push_str(
            &Entry::Picture { connection: 0, number, unix_ms, key: frame.key, digest: frame.digest }.line(),
        );
        segments.append(&AccessUnit { track: 0, time_ms: unix_ms, key: frame.key, data: frame.data })?;
    }
    segments.flush()?;
    rig.append_to_journal(0, &lines)
}

/// Segments of a spool that are being written.
struct Segments {
    folder: PathBuf,
    owner: Owner,
    parameters: Vec<u8>,
    sequence: u64,
    groups: u64,
    segment: Vec<u8>,
}

impl Segments {
    fn new(spool: &Path, owner: Owner, clip: &Clip) -> Result<Self> {
        let folder = spool.join(owner.folder_name());
        std::fs::create_dir_all(&folder)?;
        let parameters = encode_parameters(&CodecParameters::single(clip.parameters()?));
        Ok(Self { folder, owner, parameters, sequence: 0, groups: 0, segment: Vec::new() })
    }

    /// Appends a picture; a group begins with a key frame, and a segment with a group.
    fn append(&mut self, unit: &AccessUnit) -> Result<()> {
        if unit.key {
            if self.segment.len() > SEGMENT_BYTES {
                self.flush()?;
            }
            if self.segment.is_empty() {
                self.begin();
            }
            self.groups += 1;
            self.segment.extend_from_slice(&Head::group(self.groups).encode());
        }
        self.segment.extend_from_slice(&Head::unit(unit).encode());
        self.segment.extend_from_slice(&unit.data);
        Ok(())
    }

    fn begin(&mut self) {
        let Owner { feed, arn, retention_hours } = self.owner.clone();
        self.sequence += 1;
        self.segment = SegmentHeader { feed, arn, retention_hours, sequence: self.sequence }.encode();
        self.segment.extend_from_slice(&Head::parameters(&self.parameters).encode());
        self.segment.extend_from_slice(&self.parameters);
    }

    fn flush(&mut self) -> Result<()> {
        let segment = std::mem::take(&mut self.segment);
        Ok(std::fs::write(self.folder.join(segment_name(self.sequence)), segment)?)
    }
}
