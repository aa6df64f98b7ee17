//! The control plane's state on disk: a file of JSON lines, one for each change, the last of a stream or channel holds.
//!
//! ```text
//! {"stream":{…}}  {"streamGone":1732012345678}  {"channel":{…}}  {"channelGone":1732012345679}
//! ```
//!
//! A line is written before its change is answered, and flushed to the disk within a second: `kill -9` loses nothing, a
//! power cut at most that second. What has become of earlier lines is dropped at the start and when they are many.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::sync_dir;
use crate::control::{Change, ChannelRecord, StreamRecord};

/// Lines beyond those that hold something before the file is written anew.
const SPENT_LINES_MAX: usize = 50_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum LineRef<'a> {
    Stream(&'a StreamRecord),
    StreamGone(u64),
    Channel(&'a ChannelRecord),
    ChannelGone(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Stream(Box<StreamRecord>),
    StreamGone(u64),
    Channel(Box<ChannelRecord>),
    ChannelGone(u64),
}

/// The records that a journal holds, by their creation times.
#[derive(Debug, Default)]
pub struct Held {
    /// Streams.
    pub streams: BTreeMap<u64, StreamRecord>,
    /// Channels.
    pub channels: BTreeMap<u64, ChannelRecord>,
}

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<File>,
    /// Bytes that are whole in the file.
    length: u64,
    /// Lines in the file.
    lines: usize,
    /// What the disk has not taken yet.
    waiting: Vec<u8>,
    is_flushed: bool,
}

impl Journal {
    /// Reads the journal of a data folder and opens it anew, without what is spent.
    pub fn open(data: &Path) -> io::Result<(Self, Held)> {
        let path = data.join("control.jsonl");
        let held = match fs::read(&path) {
            Ok(bytes) => replay(&bytes).map_err(|error| wrap(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Held::default(),
            Err(error) => return Err(error),
        };
        let streams = held.streams.values().map(LineRef::Stream);
        let channels = held.channels.values().map(LineRef::Channel);
        let journal = Self::begin(path, streams.chain(channels))?;
        Ok((journal, held))
    }

    fn begin<'a>(path: PathBuf, lines: impl Iterator<Item = LineRef<'a>>) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut count = 0;
        for line in lines {
            put(&mut text, &line)?;
            count += 1;
        }
        let new = path.with_extension("jsonl.new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_dir(path.parent().unwrap_or_else(|| Path::new(".")))?;
        let file = Arc::new(OpenOptions::new().append(true).open(&path)?);
        let length = text.len() as u64;
        Ok(Self { path, file, length, lines: count, waiting: Vec::new(), is_flushed: true })
    }

    /// Writes changes. What the disk refuses is written with the next ones.
    pub fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            let line = match change {
                Change::Stream(record) => LineRef::Stream(record),
                Change::StreamGone(record) => LineRef::StreamGone(record.created_ms),
                Change::Channel(record) => LineRef::Channel(record),
                Change::ChannelGone(record) => LineRef::ChannelGone(record.created_ms),
            };
            put(&mut self.waiting, &line)?;
            self.lines += 1;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        if let Err(error) = (&*self.file).write_all(&self.waiting) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        self.is_flushed = false;
        Ok(())
    }

    /// The file, if it has something that is not known to be on the disk; the caller flushes it, without a lock.
    pub fn take_unflushed(&mut self) -> Option<Arc<File>> {
        (!std::mem::replace(&mut self.is_flushed, true)).then(|| self.file.clone())
    }

    /// Writes the file anew when it holds much that is spent.
    pub fn compact<'a>(
        &mut self,
        streams: impl ExactSizeIterator<Item = &'a Arc<StreamRecord>>,
        channels: impl ExactSizeIterator<Item = &'a Arc<ChannelRecord>>,
    ) -> io::Result<()> {
        if self.lines <= streams.len() + channels.len() + SPENT_LINES_MAX {
            return Ok(());
        }
        let streams = streams.map(|record| LineRef::Stream(record));
        let channels = channels.map(|record| LineRef::Channel(record));
        *self = Self::begin(self.path.clone(), streams.chain(channels))?;
        Ok(())
    }
}

fn put(text: &mut Vec<u8>, line: &LineRef<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// What the lines come to. The last one may be torn: its change was not answered.
fn replay(bytes: &[u8]) -> Result<Held, serde_json::Error> {
    let mut held = Held::default();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line)? {
            Line::Stream(record) => {
                held.streams.insert(record.created_ms, *record);
            }
            Line::StreamGone(created_ms) => {
                held.streams.remove(&created_ms);
            }
            Line::Channel(record) => {
                held.channels.insert(record.created_ms, *record);
            }
            Line::ChannelGone(created_ms) => {
                held.channels.remove(&created_ms);
            }
        }
    }
    Ok(held)
}

fn wrap(path: &Path, error: &serde_json::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::{Control, ControlOptions, Scope};

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder() -> Folder {
        let path = std::env::temp_dir().join(format!("emulator-journal-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A machine that has made some things, and its journal.
    fn worked(folder: &Folder) -> (Control, Journal) {
        let (mut journal, _) = Journal::open(&folder.0).unwrap();
        let mut control = Control::new(ControlOptions::default());
        let scope = Scope::new("123456789012", "eu-central-1");
        let mut call = |operation: &str, request| {
            let answer = control.call(&scope, operation, &request, 1_700_000_000_000).unwrap();
            journal.append(control.changes()).unwrap();
            answer
        };
        let gone = call("CreateStream", json!({"StreamName": "gone"}));
        call("CreateStream", json!({"StreamName": "cam", "Tags": {"a": "1"}}));
        call("TagStream", json!({"StreamName": "cam", "Tags": {"b": "2"}}));
        call("CreateSignalingChannel", json!({"ChannelName": "ch"}));
        call("DeleteStream", json!({"StreamARN": gone["StreamARN"]}));
        (control, journal)
    }

    fn is_what_was(folder: &Folder, control: &Control) {
        let (_, held) = Journal::open(&folder.0).unwrap();
        let streams: Vec<_> = held.streams.values().collect();
        let channels: Vec<_> = held.channels.values().collect();
        assert_eq!(streams, control.streams().map(|record| &**record).collect::<Vec<_>>());
        assert_eq!(channels, control.channels().map(|record| &**record).collect::<Vec<_>>());
        assert_eq!((streams.len(), channels.len()), (1, 1));
    }

    #[test]
    fn a_journal_gives_back_what_was_and_drops_a_torn_line() {
        let folder = folder();
        let (control, journal) = worked(&folder);
        drop(journal);
        let path = folder.0.join("control.jsonl");
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(br#"{"stream":{"account":"12"#);
        fs::write(&path, &bytes).unwrap();
        is_what_was(&folder, &control);
        // Opened, it holds nothing that is spent.
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_journal_that_holds_much_that_is_spent_is_written_anew() {
        let folder = folder();
        let (control, mut journal) = worked(&folder);
        let length = journal.length;
        journal.compact(control.streams(), control.channels()).unwrap();
        assert_eq!(journal.length, length);
        journal.lines += SPENT_LINES_MAX;
        journal.compact(control.streams(), control.channels()).unwrap();
        assert!(journal.length < length && journal.lines == 2);
        is_what_was(&folder, &control);
    }

    #[test]
    fn a_journal_that_is_damaged_in_the_middle_is_refused() {
        let folder = folder();
        drop(worked(&folder));
        let path = folder.0.join("control.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("{\"stream\"", "{\"strea\"", 1)).unwrap();
        assert!(Journal::open(&folder.0).is_err());
    }
}
