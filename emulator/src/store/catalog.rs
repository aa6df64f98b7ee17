//! The streams: their records on disk and in memory.
//!
//! Every change is written to disk and flushed before it is visible. Life cycle states follow from times in the record
//! (`CREATING` until `active_at_ms`, gone from `gone_at_ms` on), so that they go on correctly after a restart.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{media::Media, sync_dir};
use crate::{clock::now_ms, upload::Shared};

/// More fragment numbers than one process gives to a stream in a second: see [`first_sequence`].
const SEQUENCES_PER_SECOND: u64 = 10;

/// What makes a stream unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// Stream name.
    pub name: String,
}

/// Where a stream's fragments are kept; playback does not differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    /// The default.
    #[default]
    Hot,
    /// Cheaper to keep, dearer to write.
    Warm,
}

/// The status of a stream as `DescribeStream` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StreamStatus {
    /// Not usable yet.
    Creating,
    /// Usable.
    Active,
    /// A change is under way.
    Updating,
    /// Not usable any more; the name is still taken.
    Deleting,
}

/// The control plane's record of a stream, as it is on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRecord {
    /// Account id.
    pub account: String,
    /// Region.
    pub region: String,
    /// Stream name.
    pub name: String,
    /// Creation time in milliseconds since the epoch; unique in the data folder; ends the ARN.
    pub created_ms: u64,
    /// Changes with every versioned change.
    pub version: String,
    /// Retention in hours; 0 means that nothing is stored.
    pub retention_hours: u32,
    /// As given.
    pub media_type: Option<String>,
    /// As given.
    pub device_name: Option<String>,
    /// As given; the default key is filled in when it is told.
    pub kms_key_id: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Storage tier.
    pub tier: Tier,
    /// `CREATING` before this time, in milliseconds since the epoch.
    pub active_at_ms: u64,
    /// `UPDATING` before this time.
    #[serde(default)]
    pub updated_at_ms: u64,
    /// `DELETING` before this time, gone from then on.
    pub gone_at_ms: Option<u64>,
    /// Media received before this time was purged.
    pub kept_from_ms: u64,
}

impl StreamRecord {
    /// The ARN.
    pub fn arn(&self) -> String {
        let Self { region, account, name, created_ms, .. } = self;
        let partition = match region {
            cn if cn.starts_with("cn-") => "aws-cn",
            gov if gov.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:kinesisvideo:{region}:{account}:stream/{name}/{created_ms}")
    }

    /// The status at a time; `None` when the stream is gone.
    pub fn status(&self, now_ms: u64) -> Option<StreamStatus> {
        match self.gone_at_ms {
            Some(gone) if gone <= now_ms => None,
            Some(_) => Some(StreamStatus::Deleting),
            None if now_ms < self.active_at_ms => Some(StreamStatus::Creating),
            None if now_ms < self.updated_at_ms => Some(StreamStatus::Updating),
            None => Some(StreamStatus::Active),
        }
    }

    /// The time from which media is kept, given retention and earlier purges.
    pub fn kept_from(&self, now_ms: u64) -> u64 {
        let retention_ms = u64::from(self.retention_hours) * 3_600_000;
        match retention_ms {
            // Without retention the live buffer has its own bounds.
            0 => self.kept_from_ms,
            _ => self.kept_from_ms.max(now_ms.saturating_sub(retention_ms)),
        }
    }

    fn key(&self) -> StreamKey {
        StreamKey { account: self.account.clone(), region: self.region.clone(), name: self.name.clone() }
    }
}

/// A stream with its media and its connections.
#[derive(Debug)]
pub struct Stream {
    dir: PathBuf,
    record: RwLock<Arc<StreamRecord>>,
    /// The fragments.
    pub media: Media,
    /// What drives its uploads, from the first on.
    pub upload: OnceLock<Arc<Shared>>,
    /// Open `GetMedia` connections.
    pub readers: Slots,
    /// Counts orders to cut `GetMedia` connections.
    pub cut_readers: watch::Sender<u64>,
}

impl Stream {
    /// The record as it is now.
    pub fn record(&self) -> Arc<StreamRecord> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A limited number of connections.
#[derive(Debug, Default)]
pub struct Slots(Arc<AtomicUsize>);

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Slots {
    /// Takes a place when fewer than `limit` are taken.
    pub fn take(&self, limit: usize) -> Option<Slot> {
        let more = |taken| (taken < limit).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Slot(self.0.clone()))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// All streams of a data folder.
#[derive(Debug)]
pub struct Catalog {
    streams_dir: PathBuf,
    streams: RwLock<HashMap<StreamKey, Arc<Stream>>>,
    /// Held while a change is written, so that changes come one after another.
    changing: Mutex<()>,
}

impl Catalog {
    /// Reads the data folder. Blocks on the disk.
    pub fn open(data: &Path) -> io::Result<Self> {
        let streams_dir = data.join("streams");
        fs::create_dir_all(&streams_dir)?;
        sync_dir(data)?;
        let mut streams = HashMap::new();
        for entry in fs::read_dir(&streams_dir)? {
            let dir = entry?.path();
            if let Some(stream) = load(&dir)? {
                streams.insert(stream.record().key(), Arc::new(stream));
            }
        }
        Ok(Self { streams_dir, streams: RwLock::new(streams), changing: Mutex::new(()) })
    }

    /// The stream with this key, if it is not gone.
    pub fn find(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        let stream = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        stream.record().status(now_ms()).is_some().then_some(stream)
    }

    /// All streams that are not gone, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let now = now_ms();
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            streams.values().filter(|stream| stream.record().status(now).is_some()).cloned().collect();
        drop(streams);
        all.sort_by_cached_key(|stream| stream.record().key());
        all
    }

    /// Makes a stream; `None` when the name is taken. `created_ms` is moved on until it is unique. Blocks on the disk.
    pub fn create(&self, mut record: StreamRecord) -> io::Result<Option<Arc<Stream>>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep_gone()?;
        let key = record.key();
        if self.find(&key).is_some() {
            return Ok(None);
        }
        let mut dir = self.streams_dir.join(record.created_ms.to_string());
        while dir.exists() {
            record.created_ms += 1;
            dir = self.streams_dir.join(record.created_ms.to_string());
        }
        fs::create_dir_all(dir.join("media"))?;
        write_record(&dir, &record)?;
        sync_dir(&self.streams_dir)?;
        let stream = Arc::new(open_stream(&dir, record)?);
        self.streams.write().unwrap_or_else(PoisonError::into_inner).insert(key, stream.clone());
        Ok(Some(stream))
    }

    /// Changes a record: `edit` sees the current one and may refuse. Blocks on the disk.
    pub fn change<E: From<io::Error>>(
        &self,
        stream: &Stream,
        edit: impl FnOnce(&mut StreamRecord) -> Result<(), E>,
    ) -> Result<Arc<StreamRecord>, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = StreamRecord::clone(&stream.record());
        edit(&mut record)?;
        write_record(&stream.dir, &record)?;
        let record = Arc::new(record);
        *stream.record.write().unwrap_or_else(PoisonError::into_inner) = record.clone();
        Ok(record)
    }

    /// Forgets streams whose time has come, and removes their folders. Blocks on the disk.
    pub fn sweep(&self) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep_gone()
    }

    fn sweep_gone(&self) -> io::Result<()> {
        let now = now_ms();
        let mut gone = Vec::new();
        self.streams.write().unwrap_or_else(PoisonError::into_inner).retain(|_, stream| {
            let stays = stream.record().status(now).is_some();
            if !stays {
                gone.push(stream.clone());
            }
            stays
        });
        for stream in gone {
            stream.media.delete();
            fs::remove_dir_all(&stream.dir)?;
        }
        Ok(())
    }

    /// Applies retention to every stream. Blocks on the disk.
    pub fn expire(&self) -> io::Result<()> {
        let now = now_ms();
        for stream in self.all() {
            let record = stream.record();
            stream.media.purge(record.kept_from(now))?;
            if record.retention_hours == 0 {
                stream.media.trim_unstored(now);
            }
        }
        Ok(())
    }
}

fn load(dir: &Path) -> io::Result<Option<Stream>> {
    let path = dir.join("stream.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        // Made by a create that was killed before it wrote the record, and so before it answered; or half removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::remove_dir_all(dir)?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let record: StreamRecord = serde_json::from_slice(&text)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    if record.status(now_ms()).is_none() {
        fs::remove_dir_all(dir)?;
        return Ok(None);
    }
    open_stream(dir, record).map(Some)
}

fn open_stream(dir: &Path, record: StreamRecord) -> io::Result<Stream> {
    let media = Media::open(dir.join("media"), first_sequence(now_ms()))?;
    media.purge(record.kept_from(now_ms()))?;
    Ok(Stream {
        dir: dir.to_path_buf(),
        record: RwLock::new(Arc::new(record)),
        media,
        upload: OnceLock::new(),
        readers: Slots::default(),
        cut_readers: watch::Sender::new(0),
    })
}

/// The first sequence number that a process may give. An earlier process may have given numbers to fragments that it
/// never stored; it gave fewer than ten a second (the service takes five), so that counting in tenths of seconds since
/// the epoch stays above them without a write per number.
fn first_sequence(now_ms: u64) -> u64 {
    now_ms / 1000 * SEQUENCES_PER_SECOND
}

/// Replaces the record so that a crash leaves the old or the new one.
fn write_record(dir: &Path, record: &StreamRecord) -> io::Result<()> {
    let new = dir.join("stream.json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(record)?)?;
    file.sync_all()?;
    fs::rename(&new, dir.join("stream.json"))?;
    sync_dir(dir)
}
