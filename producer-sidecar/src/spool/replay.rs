//! Finds what a process before this one has left in a feed's folder. Reads only; blocking.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use streamfleet_media::spool::{
    HEAD_BYTES, LostGroup, Need, ScannedGroup, Scanner, SegmentHeader, SpoolError,
};

use super::folder::Owner;

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Its segments, oldest first.
    pub segments: Vec<FoundSegment>,
    /// The number of the next segment.
    pub next_sequence: u64,
    /// Files that cannot be used: of another feed, another format, or damaged at their beginning. They stay.
    pub unusable: Vec<String>,
    /// Where its segments are damaged.
    pub damaged: Vec<Damage>,
}

/// A record of a segment that cannot be read, and what is lost with it and behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub sequence: u64,
    /// The file and the place in it.
    pub place: String,
    /// The time of the unit before it, where there is one.
    before_ms: Option<i64>,
    /// What can still be seen of the groups behind it.
    lost: Vec<LostGroup>,
}

/// How much is read at a time of what is behind damage: mostly heads are wanted.
const SEARCH_BYTES: usize = 8 << 10;

/// What follows within this time in milliseconds leaves no gap between: a lost stretch ends there.
const CONTIGUOUS_MS: i64 = 5_000;

/// A segment with what is in it.
#[derive(Debug)]
pub struct FoundSegment {
    /// Its number.
    pub sequence: u64,
    /// Its size.
    pub bytes: u64,
    /// Its groups, those too that nothing waits for.
    pub groups: Vec<ScannedGroup>,
}

impl Replayed {
    /// The groups that wait, oldest first, each once: where a group was written twice, the copy with more in it.
    pub fn waiting(&self) -> Vec<ScannedGroup> {
        let groups = self.segments.iter().flat_map(|segment| &segment.groups).filter(|group| group.waits);
        let mut groups: Vec<ScannedGroup> = groups.cloned().collect();
        groups.sort_by_key(|group| (group.id, std::cmp::Reverse(group.units)));
        groups.dedup_by_key(|group| group.id);
        groups
    }

    /// The latest time that was given to a unit, as far as the segments that are left tell.
    pub fn floor_ms(&self) -> Option<i64> {
        let read = self.segments.iter().flat_map(|segment| &segment.groups).map(|group| group.last_ms);
        read.chain(self.lost().map(|group| group.last_ms)).max()
    }

    /// The largest group id.
    pub fn last_id(&self) -> u64 {
        let read = self.segments.iter().flat_map(|segment| &segment.groups).map(|group| group.id);
        read.chain(self.lost().filter_map(|group| group.id)).max().unwrap_or(0)
    }

    fn lost(&self) -> impl Iterator<Item = &LostGroup> {
        self.damaged.iter().flat_map(|damage| &damage.lost)
    }

    /// The stretches of video that waited and are lost by this damage, in milliseconds of the Unix epoch: from the last unit
    /// before it to the first behind it, as far as these are known.
    pub fn lost_spans(&self, damage: &Damage) -> Vec<(i64, i64)> {
        let others = || self.segments.iter().filter(|segment| segment.sequence != damage.sequence);
        let is_elsewhere = |group: &LostGroup| {
            let mut copies = others().flat_map(|segment| &segment.groups);
            group.id.is_some_and(|id| copies.any(|copy| copy.id == id))
        };
        let starts = || others().flat_map(|segment| &segment.groups).map(|group| group.start_ms);
        let next_ms = |ms: i64| starts().filter(|start| *start > ms).min();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        let mut before_ms = damage.before_ms;
        for group in &damage.lost {
            let follows = |before: &i64| (0..=CONTIGUOUS_MS).contains(&(group.start_ms - before));
            let start_ms = before_ms.filter(follows).unwrap_or(group.start_ms);
            before_ms = Some(group.last_ms);
            if !group.waits || is_elsewhere(group) {
                continue;
            }
            match spans.last_mut().filter(|(_, end)| *end == start_ms) {
                Some((_, end)) => *end = group.last_ms,
                None => spans.push((start_ms, group.last_ms)),
            }
        }
        let is_last = |end: i64| damage.lost.last().is_some_and(|group| group.last_ms == end);
        if let Some((_, end)) = spans.last_mut().filter(|(_, end)| is_last(*end)) {
            *end = next_ms(*end).filter(|next| next - *end <= CONTIGUOUS_MS).unwrap_or(*end);
        }
        if damage.lost.is_empty()
            && let Some(start) = damage.before_ms
            && let Some(next) = next_ms(start)
        {
            // Nothing is left of it: all between what is before it and what is behind.
            spans.push((start, next));
        }
        spans
    }

    /// Leaves each group in one segment only, so that it is taken over once.
    fn deduplicated(mut self) -> Self {
        let kept = self.waiting();
        for segment in &mut self.segments {
            for group in &mut segment.groups {
                group.waits &= kept.contains(group);
            }
        }
        self
    }
}

/// Reads a folder. One that is not there is empty.
pub fn replay(path: &Path, owner: &Owner) -> std::io::Result<Replayed> {
    let mut files: Vec<(u64, _)> = match fs::read_dir(path) {
        Ok(entries) => {
            entries.flatten().filter_map(|entry| Some((sequence_of(&entry.path())?, entry.path()))).collect()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    files.sort();
    let mut replayed =
        Replayed { next_sequence: files.last().map_or(1, |(last, _)| last + 1), ..Replayed::default() };
    let newest = files.last().map(|(sequence, _)| *sequence);
    for (sequence, path) in files {
        // Only the last write of a process can be torn, and that is in the newest.
        match scan_file(&path, owner, newest == Some(sequence)) {
            Ok(Scanned { bytes, groups, damage }) => {
                replayed.damaged.extend(damage.map(|(at, lost)| Damage {
                    sequence,
                    place: format!("{} at byte {at} of {bytes}", path.display()),
                    before_ms: groups.last().map(|group| group.last_ms),
                    lost,
                }));
                replayed.segments.push(FoundSegment { sequence, bytes, groups });
            }
            Err(ScanFault::Segment(SpoolError::Truncated)) => {
                // Its header was being written: it holds nothing yet.
                fs::remove_file(&path)?;
            }
            Err(fault) => replayed.unusable.push(format!("{}: {fault}", path.display())),
        }
    }
    Ok(replayed.deduplicated())
}

/// Reads one segment's groups; `None` where it cannot be used.
pub fn replay_segment(segment: &Path, owner: &Owner) -> Option<Vec<ScannedGroup>> {
    scan_file(segment, owner, false).ok().map(|scanned| scanned.groups)
}

/// Reads the owner that a folder's first readable segment names.
pub fn owner_of(path: &Path) -> Option<Owner> {
    let entries = fs::read_dir(path).ok()?;
    entries.flatten().filter(|entry| sequence_of(&entry.path()).is_some()).find_map(|entry| {
        let mut bytes = Vec::new();
        File::open(entry.path()).ok()?.take(SegmentHeader::BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
        let (header, _) = SegmentHeader::decode(&bytes).ok()?;
        Some(Owner { feed: header.feed, arn: header.arn, retention_hours: header.retention_hours })
    })
}

/// The number in the name of a segment's file; `None` for other files.
pub fn sequence_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".seg").filter(|number| number.len() == 16)?.parse().ok()
}

#[derive(Debug, thiserror::Error)]
enum ScanFault {
    #[error("{0}")]
    Segment(#[from] SpoolError),
    #[error("failed to read: {0}")]
    Read(#[from] std::io::Error),
    #[error("belongs to another feed or stream")]
    Foreign,
}

/// What is in a segment's file.
struct Scanned {
    bytes: u64,
    groups: Vec<ScannedGroup>,
    /// Where a record cannot be read, and what is behind that.
    damage: Option<(u64, Vec<LostGroup>)>,
}

fn scan_file(path: &Path, owner: &Owner, verify: bool) -> Result<Scanned, ScanFault> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut beginning = Vec::new();
    file.by_ref().take(SegmentHeader::BYTES_MAX as u64).read_to_end(&mut beginning)?;
    let (header, header_bytes) = SegmentHeader::decode(&beginning)?;
    if header.feed != owner.feed || header.arn != owner.arn {
        return Err(ScanFault::Foreign);
    }
    file.seek(SeekFrom::Start(header_bytes as u64))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let scanner = Scanner::new(header_bytes as u64);
    let mut scanner = if verify { scanner.verify_units() } else { scanner };
    let (mut payload, mut damage) = (Vec::new(), None);
    // What is damaged ends the segment; what is before it is used.
    while scanner.at() < bytes {
        match scan_record(&mut reader, &mut scanner, bytes, &mut payload)? {
            Step::Next => {}
            Step::Torn => break,
            Step::Damaged => {
                damage = Some((scanner.at(), search(reader.into_inner(), &scanner, bytes)?));
                break;
            }
        }
    }
    Ok(Scanned { bytes, groups: scanner.finish(), damage })
}

/// What became of a record.
enum Step {
    Next,
    /// The file ends within it: it was being written when the process was gone.
    Torn,
    /// It is not what was written.
    Damaged,
}

fn scan_record(
    reader: &mut BufReader<File>,
    scanner: &mut Scanner,
    size: u64,
    payload: &mut Vec<u8>,
) -> std::io::Result<Step> {
    let mut head = [0; HEAD_BYTES];
    if let Err(error) = reader.read_exact(&mut head) {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(Step::Torn) } else { Err(error) };
    }
    match scanner.head(&head, size) {
        Err(SpoolError::Truncated) => Ok(Step::Torn),
        Err(_) => Ok(Step::Damaged),
        Ok(Need::Skip(bytes)) => {
            reader.seek_relative(bytes as i64 - HEAD_BYTES as i64)?;
            Ok(Step::Next)
        }
        Ok(Need::Payload) => {
            // Bounded by the size of the file, and by the format's limit.
            payload.resize(scanner.payload_bytes(), 0);
            reader.read_exact(payload)?;
            Ok(if scanner.payload(payload).is_ok() { Step::Next } else { Step::Damaged })
        }
    }
}

/// Looks for what is behind a damaged record.
fn search(mut file: File, scanner: &Scanner, size: u64) -> std::io::Result<Vec<LostGroup>> {
    let (mut at, mut search, mut bytes) = (scanner.at(), scanner.search(), Vec::new());
    while at < size {
        bytes.clear();
        file.seek(SeekFrom::Start(at))?;
        file.by_ref().take(SEARCH_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        at += search.look(&bytes, size - at);
    }
    Ok(search.finish())
}
