//! The fragments of one stream: those on disk, and those that are received but not yet stored.
//!
//! A fragment enters as *live* when it is whole, and moves to *stored* when it is flushed to disk and indexed. Readers
//! of `GetMedia` see both, the archive only what is stored. A stream without retention keeps a bounded live buffer.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::log::{self, LogWriter, Place, ReadError};
use crate::number::FragmentNumber;

/// How long a stream without retention can still be read (`CreateStream`: 5 minutes or 200 MB).
const UNSTORED_MS_MAX: u64 = 5 * 60 * 1000;
/// How much of a stream without retention can still be read.
const UNSTORED_BYTES_MAX: u64 = 200_000_000;

/// What is known of a fragment without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentMeta {
    /// Its number.
    pub number: FragmentNumber,
    /// When the first frame was taken, by the producer's clock, in milliseconds since the epoch.
    pub producer_ms: u64,
    /// When its first bytes came, by our clock, in milliseconds since the epoch.
    pub server_ms: u64,
    /// Time from the first frame to the last, in milliseconds.
    pub length_ms: u64,
    /// Bytes of header and body.
    pub bytes: u64,
}

/// The bytes of a fragment.
#[derive(Clone, Debug)]
pub struct FragmentBytes {
    /// EBML head, Segment, Info, Tracks, as they open a chunk of `GetMedia`.
    pub head: Bytes,
    /// The Cluster and the producer's tags after it.
    pub body: Bytes,
}

/// A fragment that can be read.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// What is known of it.
    pub meta: FragmentMeta,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Live(FragmentBytes),
    Stored(Place),
}

/// Why a fragment was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The stream was deleted meanwhile.
    #[error("the stream was deleted")]
    Deleted,
    /// The fragment is not among those that wait.
    #[error("the fragment is not waiting to be stored")]
    Unknown,
    /// The disk refused.
    #[error("failed to write a fragment")]
    Write(#[source] io::Error),
}

/// The fragments of one stream.
#[derive(Debug)]
pub struct Media {
    dir: PathBuf,
    first_sequence: u64,
    index: Mutex<Index>,
    writer: Mutex<LogWriter>,
    /// Counts changes of the index; readers at the live edge wait for it.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Index {
    stored: BTreeMap<FragmentNumber, (FragmentMeta, Place)>,
    /// How many of the stored lie in each file.
    in_file: HashMap<u64, usize>,
    live: BTreeMap<FragmentNumber, (FragmentMeta, FragmentBytes)>,
    deleted: bool,
}

impl Index {
    fn store(&mut self, meta: FragmentMeta, place: Place) {
        *self.in_file.entry(place.file).or_default() += 1;
        self.stored.insert(meta.number, (meta, place));
    }

    /// Forgets what came before a time; tells the files in which nothing is left.
    fn forget_before(&mut self, kept_from_ms: u64) -> Vec<u64> {
        self.live.retain(|_, (meta, _)| meta.server_ms >= kept_from_ms);
        let mut emptied = Vec::new();
        // Numbers grow with server time, so the oldest come first and nothing else needs a look.
        while let Some(entry) = self.stored.first_entry()
            && entry.get().0.server_ms < kept_from_ms
        {
            let file = entry.remove().1.file;
            let left = self.in_file.entry(file).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.in_file.remove(&file);
                emptied.push(file);
            }
        }
        emptied
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The index is changed by single map operations: a panic elsewhere cannot leave it half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Media {
    /// Opens the logs in `dir`. `first_sequence` must be above any number that an earlier process may have given without storing the fragment.
    pub fn open(dir: PathBuf, first_sequence: u64) -> io::Result<Self> {
        let (writer, found) = log::recover(&dir)?;
        let mut index = Index::default();
        for (meta, place) in found {
            index.store(meta, place);
        }
        let after_stored = index.stored.last_key_value().map_or(0, |(number, _)| number.sequence() + 1);
        Ok(Self {
            dir,
            first_sequence: first_sequence.max(after_stored),
            index: Mutex::new(index),
            writer: Mutex::new(writer),
            changes: watch::Sender::new(0),
        })
    }

    /// Numbers from this sequence on are above all that were ever given here.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Takes in a whole fragment: from now on `GetMedia` sees it.
    pub fn receive(&self, meta: FragmentMeta, bytes: FragmentBytes) {
        lock(&self.index).live.insert(meta.number, (meta, bytes));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Writes a received fragment to disk, flushes it and indexes it. Blocks on the disk.
    pub fn persist(&self, number: FragmentNumber) -> Result<(), PersistError> {
        let (meta, bytes) = {
            let index = lock(&self.index);
            if index.deleted {
                return Err(PersistError::Deleted);
            }
            index.live.get(&number).cloned().ok_or(PersistError::Unknown)?
        };
        let place =
            lock(&self.writer).append(&meta, &bytes.head, &bytes.body).map_err(PersistError::Write)?;
        let mut index = lock(&self.index);
        if index.deleted {
            return Err(PersistError::Deleted);
        }
        index.live.remove(&number);
        index.store(meta, place);
        Ok(())
    }

    /// A received fragment will not be stored: nobody sees it any more.
    pub fn forget(&self, number: FragmentNumber) {
        lock(&self.index).live.remove(&number);
    }

    /// Bounds the live buffer of a stream without retention.
    pub fn trim_unstored(&self, now_ms: u64) {
        let mut index = lock(&self.index);
        let mut bytes: u64 = index.live.values().map(|(meta, _)| meta.bytes).sum();
        while let Some(entry) = index.live.first_entry() {
            let meta = &entry.get().0;
            if bytes <= UNSTORED_BYTES_MAX && meta.server_ms + UNSTORED_MS_MAX >= now_ms {
                break;
            }
            bytes -= meta.bytes;
            entry.remove();
        }
    }

    /// The first readable fragment after `number`, in the order of ingestion; the oldest when there is no `number`.
    pub fn next_after(&self, number: Option<FragmentNumber>) -> Option<Chunk> {
        let index = lock(&self.index);
        let from = number.map_or(Bound::Unbounded, Bound::Excluded);
        let stored = index.stored.range((from, Bound::Unbounded)).next();
        let live = index.live.range((from, Bound::Unbounded)).next();
        match (stored, live) {
            (Some((stored, _)), Some((live, entry))) if live < stored => Some(live_chunk(entry)),
            (Some((_, entry)), _) => Some(stored_chunk(entry)),
            (None, Some((_, entry))) => Some(live_chunk(entry)),
            (None, None) => None,
        }
    }

    /// The newest readable fragment.
    pub fn latest(&self) -> Option<Chunk> {
        let index = lock(&self.index);
        let stored = index.stored.last_key_value();
        let live = index.live.last_key_value();
        match (stored, live) {
            (Some((stored, entry)), Some((live, _))) if stored > live => Some(stored_chunk(entry)),
            (_, Some((_, entry))) => Some(live_chunk(entry)),
            (Some((_, entry)), None) => Some(stored_chunk(entry)),
            (None, None) => None,
        }
    }

    /// The first fragment, in the order of ingestion, for which `wanted` holds.
    pub fn find_first(&self, wanted: impl Fn(&FragmentMeta) -> bool) -> Option<Chunk> {
        let index = lock(&self.index);
        let stored = index.stored.values().find(|(meta, _)| wanted(meta)).map(stored_chunk);
        let live = index.live.values().find(|(meta, _)| wanted(meta)).map(live_chunk);
        match (stored, live) {
            (Some(stored), Some(live)) if live.meta.number < stored.meta.number => Some(live),
            (Some(stored), _) => Some(stored),
            (None, live) => live,
        }
    }

    /// A stored fragment by its number.
    pub fn stored(&self, number: FragmentNumber) -> Option<Chunk> {
        lock(&self.index).stored.get(&number).map(stored_chunk)
    }

    /// All stored fragments for which `wanted` holds, in the order of ingestion.
    pub fn list_stored(&self, wanted: impl Fn(&FragmentMeta) -> bool) -> Vec<FragmentMeta> {
        lock(&self.index).stored.values().map(|(meta, _)| meta).filter(|meta| wanted(meta)).cloned().collect()
    }

    /// Reads the bytes of a fragment. Blocks on the disk when it is stored.
    pub fn read(&self, chunk: &Chunk) -> Result<FragmentBytes, ReadError> {
        match &chunk.source {
            Source::Live(bytes) => Ok(bytes.clone()),
            Source::Stored(place) => {
                log::read(&self.dir, place).map(|(head, body)| FragmentBytes { head, body })
            }
        }
    }

    /// Tells of every fragment received from now on, and of deletion.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Forgets what came before `kept_from_ms` and unlinks files in which nothing is left. Blocks on the disk.
    pub fn purge(&self, kept_from_ms: u64) -> io::Result<()> {
        // The writer is held throughout, so that no file that is being filled looks empty.
        let writer = lock(&self.writer);
        let emptied = lock(&self.index).forget_before(kept_from_ms);
        for file in emptied {
            if writer.current_file() != Some(file) {
                log::remove(&self.dir, file)?;
            }
        }
        Ok(())
    }

    /// Forgets everything; nothing is stored or read from now on. The caller removes the folder.
    pub fn delete(&self) {
        let mut index = lock(&self.index);
        index.deleted = true;
        index.stored.clear();
        index.live.clear();
        drop(index);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether [`Media::delete`] was called.
    pub fn is_deleted(&self) -> bool {
        lock(&self.index).deleted
    }
}

fn stored_chunk((meta, place): &(FragmentMeta, Place)) -> Chunk {
    Chunk { meta: meta.clone(), source: Source::Stored(*place) }
}

fn live_chunk((meta, bytes): &(FragmentMeta, FragmentBytes)) -> Chunk {
    Chunk { meta: meta.clone(), source: Source::Live(bytes.clone()) }
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
