//! Finds what a process before this one has left in a feed's folder. Reads only; blocking.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use streamfleet_media::spool::{HEAD_BYTES, Need, ScannedGroup, Scanner, SegmentHeader, SpoolError};

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
}

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
        self.segments.iter().flat_map(|segment| &segment.groups).map(|group| group.last_ms).max()
    }

    /// The largest group id.
    pub fn last_id(&self) -> u64 {
        self.segments.iter().flat_map(|segment| &segment.groups).map(|group| group.id).max().unwrap_or(0)
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
            Ok((bytes, groups)) => replayed.segments.push(FoundSegment { sequence, bytes, groups }),
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
    scan_file(segment, owner, false).ok().map(|(_, groups)| groups)
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

fn scan_file(path: &Path, owner: &Owner, verify: bool) -> Result<(u64, Vec<ScannedGroup>), ScanFault> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
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
    let mut payload = Vec::new();
    while scanner.at() < size {
        // What is damaged ends the segment; what is before it is used.
        if !scan_record(&mut reader, &mut scanner, size, &mut payload)? {
            break;
        }
    }
    Ok((size, scanner.finish()))
}

/// Whether the record could be used.
fn scan_record(
    reader: &mut BufReader<File>,
    scanner: &mut Scanner,
    size: u64,
    payload: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut head = [0; HEAD_BYTES];
    if let Err(error) = reader.read_exact(&mut head) {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(error) };
    }
    match scanner.head(&head, size) {
        Err(_) => Ok(false),
        Ok(Need::Skip(bytes)) => {
            reader.seek_relative(bytes as i64 - HEAD_BYTES as i64)?;
            Ok(true)
        }
        Ok(Need::Payload) => {
            // Bounded by the size of the file, and by the format's limit.
            payload.resize(scanner.payload_bytes(), 0);
            reader.read_exact(payload)?;
            Ok(scanner.payload(payload).is_ok())
        }
    }
}
