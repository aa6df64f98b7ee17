//! The append-only files that hold a stream's fragments.
//!
//! A process never appends to a file of an earlier process: it starts a new one. So only the last record of a file can
//! be torn, and recovery verifies media only there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    media::FragmentMeta,
    record::{PREFIX_BYTES, Prefix, encode_front},
    sync_dir,
};

/// A file that has grown past this is closed and another one begun, so that expired media can be unlinked.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where a fragment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the file.
    pub file: u64,
    /// Where the record begins in it.
    offset: u64,
    prefix: Prefix,
}

impl Place {
    /// Bytes of header and body.
    pub fn media_len(&self) -> u64 {
        self.prefix.media_len()
    }
}

/// Why a stored fragment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is gone or does not answer.
    #[error("failed to read a stored fragment")]
    Io(#[from] io::Error),
    /// The bytes are not those that were written.
    #[error("a stored fragment is damaged: file {file}, offset {offset}")]
    Damaged {
        /// Number of the file.
        file: u64,
        /// Where the record begins in it.
        offset: u64,
    },
}

/// The end of a stream's log.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    next_file: u64,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    number: u64,
    file: File,
    length: u64,
}

impl LogWriter {
    /// Writes a fragment and flushes it to the disk.
    pub fn append(&mut self, meta: &FragmentMeta, head: &[u8], body: &[u8]) -> io::Result<Place> {
        let (prefix, front) = encode_front(meta, head, body)?;
        if self.open.as_ref().is_none_or(|open| open.length >= FILE_BYTES_MAX) {
            self.open = Some(self.start_file()?);
        }
        let Some(open) = self.open.as_mut() else { return Err(io::Error::other("no open log file")) };
        let place = Place { file: open.number, offset: open.length, prefix };
        let written = [&front, head, body]
            .iter()
            .try_for_each(|part| open.file.write_all(part))
            .and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // What got through is a torn record at the end of this file; the next fragment goes to a fresh one.
            let _ = open.file.set_len(place.offset);
            self.open = None;
            return Err(error);
        }
        open.length += prefix.record_len();
        Ok(place)
    }

    /// The number of the file that is being written, which must not be unlinked.
    pub fn current_file(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.number)
    }

    fn start_file(&mut self) -> io::Result<OpenFile> {
        let number = self.next_file;
        let path = file_path(&self.dir, number);
        if !self.dir.is_dir() {
            self.make_dir()?;
        }
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        sync_dir(&self.dir)?;
        self.next_file += 1;
        Ok(OpenFile { number, file, length: 0 })
    }

    /// A stream's first fragment makes its folders.
    fn make_dir(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        self.dir.ancestors().skip(1).take(2).try_for_each(sync_dir)
    }
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.log"))
}

/// Reads a fragment's header and body and checks them.
pub fn read(dir: &Path, place: &Place) -> Result<(Bytes, Bytes), ReadError> {
    let file = File::open(file_path(dir, place.file))?;
    let mut media = vec![0; place.media_len() as usize];
    file.read_exact_at(&mut media, place.offset + (PREFIX_BYTES as u64) + u64::from(place.prefix.meta_len))?;
    if !place.prefix.media_is_whole(&media) {
        return Err(ReadError::Damaged { file: place.file, offset: place.offset });
    }
    let mut head = Bytes::from(media);
    let body = head.split_off(place.prefix.head_len as usize);
    Ok((head, body))
}

/// Unlinks a file whose fragments have all expired.
pub fn remove(dir: &Path, file: u64) -> io::Result<()> {
    fs::remove_file(file_path(dir, file))
}

/// Reads the index of all logs in `dir`, cuts off what a crash left half-written, and returns the end to write at.
pub fn recover(dir: &Path) -> io::Result<(LogWriter, Vec<(FragmentMeta, Place)>)> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "log")
            && let Ok(number) = stem.parse::<u64>()
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    let mut found = Vec::new();
    for number in &numbers {
        recover_file(dir, *number, &mut found)?;
    }
    let next_file = numbers.last().map_or(1, |last| last + 1);
    Ok((LogWriter { dir: dir.to_path_buf(), next_file, open: None }, found))
}

fn recover_file(dir: &Path, number: u64, found: &mut Vec<(FragmentMeta, Place)>) -> io::Result<()> {
    let path = file_path(dir, number);
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    let length = file.metadata()?.len();
    let mut offset = 0;
    let mut last = None;
    while let Some((meta, prefix)) = read_front(&mut file, offset, length)? {
        let place = Place { file: number, offset, prefix };
        offset += prefix.record_len();
        last = Some(place);
        found.push((meta, place));
    }
    if let Some(place) = last
        && matches!(read(dir, &place), Err(ReadError::Damaged { .. }))
    {
        found.pop();
        offset = place.offset;
    }
    if offset < length {
        tracing::warn!(
            file = %path.display(), offset, dropped_bytes = length - offset,
            "Dropped an unfinished record at the end of a log"
        );
        file.set_len(offset)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The description at `offset`; `None` at the end of what is whole.
fn read_front(file: &mut File, offset: u64, length: u64) -> io::Result<Option<(FragmentMeta, Prefix)>> {
    if offset + PREFIX_BYTES as u64 > length {
        return Ok(None);
    }
    let mut bytes = [0; PREFIX_BYTES];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    let Some(prefix) = Prefix::decode(&bytes) else { return Ok(None) };
    if offset + prefix.record_len() > length {
        return Ok(None);
    }
    let mut meta = vec![0; prefix.meta_len as usize];
    file.read_exact(&mut meta)?;
    Ok(prefix.meta(&bytes, &meta).map(|meta| (meta, prefix)))
}
