//! One feed's folder in the spool: its segments, and where its groups lie in them. Does its work at once, by blocking
//! calls: it is used on the spool's own thread.
//!
//! Sizes are counted as the file system does, in blocks: of each file, and one for the folder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use streamfleet_contract::SpoolMode;
use streamfleet_media::spool::{HEAD_BYTES, Head, SegmentHeader, encode_parameters, read_units};
use streamfleet_media::track::{AccessUnit, CodecParameters};

use super::Fault;
use super::records::{Record, write_all};
use super::replay::{Replayed, sequence_of};
use super::rights;
use crate::buffer::pool::{Share, ShareView};

/// A segment that has grown to this size is followed by another. Small, since room comes back by whole segments; large
/// enough that files are made seldom. Less where the spool is small, see `segment_bytes`.
pub const SEGMENT_BYTES: u64 = 2 << 20;

/// The least of that.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Of a feed's even part of the spool, a segment takes at most one of so many.
const SEGMENTS_IN_PART: u64 = 8;

/// What file systems allot.
const BLOCK_BYTES: u64 = 4_096;

/// A stretch of a group, to be written.
#[derive(Debug, Clone)]
pub struct Part {
    /// The group's id.
    pub group: u64,
    /// The group's codec parameters, where the part is its beginning.
    pub begins: Option<Arc<CodecParameters>>,
    /// Its units.
    pub units: Vec<AccessUnit>,
}

/// Whom a folder belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The feed's id.
    pub feed: String,
    /// The ARN of its stream.
    pub arn: String,
    /// For how many hours that keeps anything; 0 where it is not known.
    pub retention_hours: u32,
}

impl Owner {
    /// The name of the folder: readable, and different for each feed and stream. The segments say whom they belong to.
    pub fn folder_name(&self) -> String {
        let readable: String = self
            .feed
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(64)
            .collect();
        let (feed, arn) = (crc32fast::hash(self.feed.as_bytes()), crc32fast::hash(self.arn.as_bytes()));
        format!("{readable}-{feed:08x}{arn:08x}")
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
    length: u64,
    units: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    bytes: u64,
    /// Groups in it that wait.
    waiting: usize,
    /// Whether it need not stay though it is the newest.
    is_retired: bool,
}

#[derive(Debug)]
struct Current {
    file: File,
    sequence: u64,
    length: u64,
    codec: Option<Arc<CodecParameters>>,
    /// The group that the last record belongs to.
    group: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    owner: Owner,
    mode: SpoolMode,
    share: Share,
    segments: BTreeMap<u64, Segment>,
    groups: BTreeMap<u64, Place>,
    current: Option<Current>,
    next_sequence: u64,
    /// The largest id of a group that was written, and the latest time of a unit.
    last: Option<(u64, i64)>,
}

impl Folder {
    /// Takes over what was found in a folder, or begins with none. `share` already counts what is there.
    pub fn new(path: PathBuf, owner: Owner, mode: SpoolMode, share: Share, replayed: &Replayed) -> Self {
        let mut folder = Self {
            path,
            owner,
            mode,
            share,
            segments: BTreeMap::new(),
            groups: BTreeMap::new(),
            current: None,
            next_sequence: replayed.next_sequence,
            last: replayed.floor_ms().map(|floor_ms| (replayed.last_id(), floor_ms)),
        };
        for found in &replayed.segments {
            rights::tighten(&folder.segment_path(found.sequence), rights::FILE);
            folder.segments.insert(found.sequence, Segment { bytes: found.bytes, ..Segment::default() });
            for group in found.groups.iter().filter(|group| group.waits) {
                let (offset, length, units) = (group.offset, group.length, group.units);
                let place = Place { segment: found.sequence, offset, length, units };
                folder.place(group.id, place);
            }
        }
        folder.sweep();
        folder
    }

    /// Its place in the spool's budget.
    pub fn view(&self) -> ShareView {
        self.share.view()
    }

    /// Writes a part behind what is there. On failure nothing of it is there.
    pub fn append(&mut self, part: &Part) -> Result<(), Fault> {
        match self.append_to_current(part) {
            Err(Fault::Full) if part.begins.is_some() && self.retire_idle() => self.append_to_current(part),
            outcome => outcome,
        }
    }

    /// Deletes the segment that is written, if nothing waits in it. Whether that was so.
    fn retire_idle(&mut self) -> bool {
        let idle = |current: &mut Current| {
            self.segments.get(&current.sequence).is_some_and(|segment| segment.waiting == 0)
        };
        let Some(current) = self.current.take_if(idle) else { return false };
        self.segments.entry(current.sequence).and_modify(|segment| segment.is_retired = true);
        self.delete_idle();
        true
    }

    fn append_to_current(&mut self, part: &Part) -> Result<(), Fault> {
        let begins = part.begins.as_ref();
        let continues = self.current.as_ref().is_some_and(|current| current.group == Some(part.group));
        match begins {
            Some(_) if self.current.as_ref().is_none_or(|current| current.length >= self.segment_bytes()) => {
                self.roll()?;
            }
            Some(_) => {}
            None if continues => {}
            // Its beginning could not be written.
            None => return Err(Fault::Incomplete),
        }
        let heads = self.heads(part);
        let written = self.write(part, &heads);
        if written.is_err() {
            // What follows must not stand behind what is missing.
            self.current.iter_mut().for_each(|current| current.group = None);
        }
        let offset = written?;
        let length: u64 = heads.iter().map(Record::bytes).sum();
        self.note_last(part);
        match begins {
            Some(codec) => {
                let skipped = heads.first().filter(|record| record.is_parameters()).map_or(0, Record::bytes);
                if let Some(current) = &mut self.current {
                    (current.codec, current.group) = (Some(Arc::clone(codec)), Some(part.group));
                    let (segment, offset, length) = (current.sequence, offset + skipped, length - skipped);
                    self.place(part.group, Place { segment, offset, length, units: part.units.len() });
                }
            }
            None => {
                if let Some(place) = self.groups.get_mut(&part.group) {
                    place.length += length;
                    place.units += part.units.len();
                }
            }
        }
        Ok(())
    }

    /// Reads a group.
    pub fn load(&self, group: u64) -> Result<Vec<AccessUnit>, Fault> {
        let place = self.groups.get(&group).ok_or(Fault::Incomplete)?;
        let file = File::open(self.segment_path(place.segment))?;
        let head = HEAD_BYTES as u64;
        let mut bytes = vec![0; place.length.saturating_sub(head) as usize];
        file.read_exact_at(&mut bytes, place.offset + head)?;
        let units = read_units(&Bytes::from(bytes));
        if units.len() == place.units { Ok(units) } else { Err(Fault::Damaged) }
    }

    /// Nothing waits for a group any more. Segments without any that waits are deleted; of a journal, a small one stays
    /// that tells a successor how far time has come.
    pub fn done(&mut self, group: u64) -> Result<(), Fault> {
        if self.current.as_ref().is_some_and(|current| current.group == Some(group)) {
            // What still comes of it is of no use.
            self.current.iter_mut().for_each(|current| current.group = None);
        }
        let Some(place) = self.groups.remove(&group) else { return Ok(()) };
        self.release(place)
    }

    /// Its place in the spool's budget, when nothing more is written.
    pub fn into_share(mut self) -> Share {
        self.sweep();
        self.share
    }

    /// The groups that wait.
    pub fn waiting(&self) -> usize {
        self.groups.len()
    }

    fn release(&mut self, place: Place) -> Result<(), Fault> {
        let last = self.segments.get_mut(&place.segment).is_some_and(|segment| {
            segment.waiting = segment.waiting.saturating_sub(1);
            segment.waiting == 0
        });
        let marked = self.mark(place);
        if last {
            self.sweep();
        }
        marked
    }

    fn mark(&self, place: Place) -> Result<(), Fault> {
        let at = place.offset + Head::MARK_AT;
        match self.current.as_ref().filter(|current| current.sequence == place.segment) {
            Some(current) => current.file.write_all_at(&[Head::MARK_DONE], at)?,
            None => OpenOptions::new()
                .write(true)
                .open(self.segment_path(place.segment))?
                .write_all_at(&[Head::MARK_DONE], at)?,
        }
        Ok(())
    }

    fn place(&mut self, group: u64, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.waiting += 1;
        }
        if let Some(before) = self.groups.insert(group, place) {
            // It was written in part before, and whole now.
            if let Err(fault) = self.release(before) {
                tracing::debug!(feed = self.owner.feed, %fault, "A group in the spool cannot be marked");
            }
        }
    }

    fn heads(&self, part: &Part) -> Vec<Record> {
        let mut records = Vec::with_capacity(part.units.len() + 2);
        if let Some(codec) = &part.begins {
            let known = self.current.as_ref().and_then(|current| current.codec.as_ref());
            if known != Some(codec) {
                let payload = encode_parameters(codec);
                records.push(Record::new(&Head::parameters(&payload), Bytes::from(payload)));
            }
            records.push(Record::new(&Head::group(part.group), Bytes::new()));
        }
        records.extend(part.units.iter().map(|unit| Record::new(&Head::unit(unit), unit.data.clone())));
        records
    }

    /// Writes records behind what is there; gives where. On failure the file is as it was.
    fn write(&mut self, part: &Part, records: &[Record]) -> Result<u64, Fault> {
        let Some(current) = &mut self.current else { return Err(Fault::Incomplete) };
        let start = current.length;
        let bytes: u64 = records.iter().map(Record::bytes).sum();
        let more = allotted(start + bytes) - allotted(start);
        if !self.share.try_take(more) {
            return Err(Fault::Full);
        }
        let pieces: Vec<&[u8]> =
            records.iter().flat_map(|record| [record.head.as_slice(), &record.payload]).collect();
        if let Err(error) = write_all(&mut current.file, &pieces) {
            tracing::debug!(feed = self.owner.feed, group = part.group, %error, "A write to the spool failed");
            self.share.give(more);
            let restored =
                current.file.set_len(start).and_then(|()| current.file.seek(SeekFrom::Start(start)));
            if restored.is_err() {
                // Nothing more goes behind a place that may be torn.
                self.current = None;
            }
            return Err(error.into());
        }
        current.length = start + bytes;
        if let Some(segment) = self.segments.get_mut(&current.sequence) {
            segment.bytes = current.length;
        }
        Ok(start)
    }

    /// Ends the segment that is written, and begins the next.
    fn roll(&mut self) -> Result<(), Fault> {
        let sequence = self.next_sequence;
        let header = self.header(sequence);
        let length = header.len() as u64;
        let is_first = self.share.used() == 0;
        let more = allotted(length) + if is_first { BLOCK_BYTES } else { 0 };
        if !self.share.try_take(more) {
            return Err(Fault::Full);
        }
        match self.create(sequence, &header) {
            Ok(file) => {
                self.next_sequence += 1;
                self.segments.insert(sequence, Segment { bytes: length, ..Segment::default() });
                self.current = Some(Current { file, sequence, length, codec: None, group: None });
                self.delete_idle();
                Ok(())
            }
            Err(error) => {
                // What is there of it holds no group; a leftover of it is deleted at the next start.
                _ = fs::remove_file(self.segment_path(sequence));
                self.share.give(more);
                Err(error.into())
            }
        }
    }

    fn create(&self, sequence: u64, header: &[u8]) -> std::io::Result<File> {
        rights::folder_builder().create(&self.path)?;
        let path = self.segment_path(sequence);
        let mut file = rights::file_options().truncate(true).open(path)?;
        file.write_all(header)?;
        Ok(file)
    }

    fn header(&self, sequence: u64) -> Vec<u8> {
        let Owner { feed, arn, retention_hours } = self.owner.clone();
        SegmentHeader { feed, arn, retention_hours, sequence }.encode()
    }

    fn note_last(&mut self, part: &Part) {
        let time_ms = part.units.iter().map(|unit| unit.time_ms).max();
        let (last_id, last_ms) = self.last.unwrap_or((part.group, i64::MIN));
        self.last = Some((last_id.max(part.group), last_ms.max(time_ms.unwrap_or(i64::MIN))));
    }

    /// Deletes segments in which nothing waits, the newest too.
    fn sweep(&mut self) {
        if let Some((sequence, newest)) = self.segments.last_key_value()
            && newest.waiting == 0
        {
            let sequence = *sequence;
            let is_retired = match self.mode {
                SpoolMode::Overflow => true,
                // How far time had come says when the process was gone.
                SpoolMode::Journal => allotted(newest.bytes) > BLOCK_BYTES && self.remember().is_ok(),
            };
            if is_retired {
                self.current.take_if(|current| current.sequence == sequence);
                self.segments.entry(sequence).and_modify(|segment| segment.is_retired = true);
            }
        }
        self.delete_idle();
    }

    /// Writes a segment with one group that nothing waits for: it says what the last id and the latest time were.
    fn remember(&mut self) -> Result<(), Fault> {
        let Some((last_id, time_ms)) = self.last else { return Err(Fault::Incomplete) };
        let sequence = self.next_sequence;
        let parameters = encode_parameters(&CodecParameters { tracks: Vec::new() });
        let unit = AccessUnit { track: 0, time_ms, key: true, data: Bytes::new() };
        let content = [
            self.header(sequence).as_slice(),
            &Head::parameters(&parameters).encode(),
            &parameters,
            &Head { waits: false, ..Head::group(last_id) }.encode(),
            &Head::unit(&unit).encode(),
        ]
        .concat();
        let bytes = content.len() as u64;
        if !self.share.try_take(allotted(bytes)) {
            return Err(Fault::Full);
        }
        if let Err(error) = self.create(sequence, &content) {
            _ = fs::remove_file(self.segment_path(sequence));
            self.share.give(allotted(bytes));
            return Err(error.into());
        }
        self.next_sequence += 1;
        self.segments.insert(sequence, Segment { bytes, ..Segment::default() });
        Ok(())
    }

    /// Deletes segments in which nothing waits, save the newest; and the folder, when it is empty.
    fn delete_idle(&mut self) {
        let Some(newest) = self.segments.keys().next_back().copied() else { return };
        let idle = |(sequence, segment): (&u64, &mut Segment)| {
            segment.waiting == 0 && (*sequence != newest || segment.is_retired)
        };
        let gone: Vec<_> = self.segments.extract_if(.., |s, g| idle((s, g))).collect();
        for (sequence, segment) in gone {
            match fs::remove_file(self.segment_path(sequence)) {
                Ok(()) => self.share.give(allotted(segment.bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => self.share.give(allotted(segment.bytes)),
                // It still takes its room, and is counted.
                Err(error) => {
                    tracing::warn!(feed = self.owner.feed, %error, "A file of the spool cannot be deleted");
                }
            }
        }
        // Fails where it is not empty: files that cannot be used stay.
        if self.segments.is_empty() && fs::remove_dir(&self.path).is_ok() {
            self.share.give(BLOCK_BYTES);
        }
    }

    fn segment_bytes(&self) -> u64 {
        (self.share.even_part() / SEGMENTS_IN_PART).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES)
    }

    fn segment_path(&self, sequence: u64) -> PathBuf {
        self.path.join(segment_name(sequence))
    }
}

/// The name of a segment's file.
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:016}.seg")
}

/// What a file of this length takes.
pub fn allotted(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// What a folder takes, with the segments in it.
pub fn folder_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let files = entries.flatten().filter(|entry| sequence_of(&entry.path()).is_some());
    BLOCK_BYTES
        + files
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| allotted(metadata.len()))
            .sum::<u64>()
}
