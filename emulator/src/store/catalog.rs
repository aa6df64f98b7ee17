//! The streams at work: the control plane's machine behind a lock, its journal, and the media of each stream.
//!
//! Every change is in the journal before it is answered (`journal`).

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    journal::{Held, Journal},
    media::Media,
    sync_dir,
};
use crate::{
    clock::now_ms,
    cloudwatch::traffic::Traffic,
    control::{Change, Control, ControlOptions, ResourceKey, Scope, StreamRecord},
    error::ServiceError,
    upload::Shared,
};

/// More fragment numbers than one process gives to a stream in a second: see [`first_sequence`].
const SEQUENCES_PER_SECOND: u64 = 10;

/// A stream with its media and its connections.
#[derive(Debug)]
pub struct Stream {
    /// Its folder; made by its first fragment.
    dir: PathBuf,
    record: RwLock<Arc<StreamRecord>>,
    /// The fragments.
    pub media: Media,
    /// What drives its uploads, from the first on.
    pub upload: OnceLock<Arc<Shared>>,
    /// What its traffic has counted, for its metrics.
    pub traffic: Traffic,
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

#[derive(Debug)]
struct Plane {
    control: Control,
    journal: Journal,
}

/// All streams of a data folder.
#[derive(Debug)]
pub struct Catalog {
    streams_dir: PathBuf,
    streams: RwLock<BTreeMap<ResourceKey, Arc<Stream>>>,
    plane: Mutex<Plane>,
}

impl Catalog {
    /// Reads the data folder. Blocks on the disk.
    pub fn open(data: &Path, options: ControlOptions) -> io::Result<Self> {
        let streams_dir = data.join("streams");
        fs::create_dir_all(&streams_dir)?;
        sync_dir(data)?;
        let (journal, Held { streams, channels }) = Journal::open(data)?;
        remove_strangers(&streams_dir, &streams.keys().map(u64::to_string).collect())?;
        let mut control = Control::new(options);
        control.restore(streams.into_values().collect(), channels.into_values().collect());
        let mut open = BTreeMap::new();
        for record in control.streams() {
            open.insert(record.key(), Arc::new(open_stream(&streams_dir, record.clone())?));
        }
        Ok(Self { streams_dir, streams: RwLock::new(open), plane: Mutex::new(Plane { control, journal }) })
    }

    /// Calls an operation of the control plane; the answer is JSON. Blocks on the disk.
    pub fn call(&self, scope: &Scope, operation: &str, request: &Value) -> Result<String, ServiceError> {
        let mut plane = self.plane();
        let answer = plane.control.call_for_text(scope, operation, request, now_ms());
        self.settle(&mut plane)?;
        answer
    }

    /// Forgets streams whose time has come, removes their folders, and flushes the journal. Blocks on the disk.
    pub fn sweep(&self) -> io::Result<()> {
        let mut plane = self.plane();
        plane.control.tick(now_ms());
        self.settle(&mut plane)?;
        let Plane { control, journal } = &mut *plane;
        journal.compact(control.streams(), control.channels())?;
        let unflushed = journal.take_unflushed();
        drop(plane);
        unflushed.map_or(Ok(()), |file| file.sync_data())
    }

    /// How the control plane is set up.
    pub fn options(&self) -> ControlOptions {
        self.plane().control.options().clone()
    }

    /// Sets the control plane up differently.
    pub fn set_options(&self, options: ControlOptions) {
        self.plane().control.set_options(options, now_ms());
    }

    /// The stream with this key, if it is not gone.
    pub fn find(&self, key: &ResourceKey) -> Option<Arc<Stream>> {
        let stream = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        stream.record().status(now_ms()).is_some().then_some(stream)
    }

    /// All streams that are not gone, by account, region and name.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        let now = now_ms();
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().filter(|stream| stream.record().status(now).is_some()).cloned().collect()
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

    fn plane(&self) -> MutexGuard<'_, Plane> {
        // A panic in the machine leaves a record as it was or as it is to be: each is put in place whole.
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has changed, and lets the streams have it.
    fn settle(&self, plane: &mut Plane) -> io::Result<()> {
        let changes = plane.control.changes();
        plane.journal.append(changes)?;
        for change in changes {
            match change {
                Change::Stream(record) => self.put(record)?,
                Change::StreamGone(record) => self.remove(record)?,
                Change::Channel(_) | Change::ChannelGone(_) => {}
            }
        }
        Ok(())
    }

    fn put(&self, record: &Arc<StreamRecord>) -> io::Result<()> {
        let key = record.key();
        let known = self.streams.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(stream) = known.filter(|stream| stream.record().created_ms == record.created_ms) else {
            let stream = Arc::new(open_stream(&self.streams_dir, record.clone())?);
            self.streams.write().unwrap_or_else(PoisonError::into_inner).insert(key, stream);
            return Ok(());
        };
        let before = std::mem::replace(
            &mut *stream.record.write().unwrap_or_else(PoisonError::into_inner),
            record.clone(),
        );
        if record.phases.gone_at_ms.is_some() {
            // The media is unreachable from now on, whatever the status says.
            stream.media.delete();
        } else if record.kept_from_ms != before.kept_from_ms {
            stream.media.purge(record.kept_from_ms)?;
        }
        Ok(())
    }

    fn remove(&self, record: &StreamRecord) -> io::Result<()> {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        let gone = streams.remove(&record.key());
        drop(streams);
        let Some(gone) = gone else { return Ok(()) };
        gone.media.delete();
        match fs::remove_dir_all(&gone.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Removes folders of streams that are gone: the process ended before it could.
fn remove_strangers(streams_dir: &Path, known: &HashSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(streams_dir)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn open_stream(streams_dir: &Path, record: Arc<StreamRecord>) -> io::Result<Stream> {
    let dir = streams_dir.join(record.created_ms.to_string());
    let media = Media::open(dir.join("media"), first_sequence(now_ms()))?;
    if record.phases.gone_at_ms.is_some() {
        media.delete();
    }
    media.purge(record.kept_from(now_ms()))?;
    Ok(Stream {
        dir,
        record: RwLock::new(record),
        media,
        upload: OnceLock::new(),
        traffic: Traffic::default(),
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
