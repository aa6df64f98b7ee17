//! The journal of the test camera, and what is lost: journal minus archive.
//!
//! A journal is a file of JSON lines, one [`Entry`] each. [`compare`] is pure, so that what counts as lost can be tested
//! by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What may be lost before a connection's end: pictures that the camera has given to its socket, and that the client
/// had no time to read.
pub const IN_FLIGHT_MS: i64 = 200;

/// One line of the journal. Times are milliseconds of the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// The camera has started; picture N is of the moment `unix_ms` + N × `picture_micros`.
    Start {
        /// When picture 0 was taken.
        unix_ms: i64,
        /// From one picture to the next, in microseconds.
        picture_micros: u64,
    },
    /// A client's PLAY was accepted.
    Play {
        /// The client's connection, counted from 1.
        connection: u64,
        /// When.
        unix_ms: i64,
    },
    /// The last byte of a picture has gone to a client's socket.
    Picture {
        /// The client's connection.
        connection: u64,
        /// The picture's number, counted from the camera's start.
        number: u64,
        /// When.
        unix_ms: i64,
        /// Whether decoding can begin with it.
        key: bool,
        /// [`crate::camera::picture_digest`].
        digest: String,
    },
    /// A connection that has played is over.
    End {
        /// The client's connection.
        connection: u64,
        /// When.
        unix_ms: i64,
        /// Why.
        reason: EndReason,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// By order.
    Cut,
    /// The client said TEARDOWN.
    Teardown,
    /// The client closed the connection without a word.
    ClosedByClient,
    /// The connection broke, or the client does not speak RTSP.
    Failed,
    /// The client has read nothing for many pictures.
    TooSlow,
    /// The client has not said anything for the session's timeout.
    NeglectedKeepAlive,
    /// The camera stopped.
    Stopped,
}

/// Why a journal cannot be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("failed to read the journal {path:?}")]
    Read {
        /// The journal's file.
        path: PathBuf,
        /// Why it could not be read.
        source: std::io::Error,
    },
    /// A line is not an entry.
    #[error("line {number} of the journal is not an entry")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Entry {
    /// The entry as a line with its end.
    ///
    /// # Panics
    ///
    /// Never: an entry has no map whose keys are not text.
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("an entry has no map with keys that are not text");
        line.push('\n');
        line
    }
}

/// Reads a journal file.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
    parse(&text)
}

/// Reads a journal. A last line without its end is one that is being written, and is left out.
pub fn parse(text: &str) -> Result<Vec<Entry>, JournalError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| JournalError::Line { number: index + 1, source })
        })
        .collect()
}

/// A picture as it was found in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedPicture {
    /// The number in its mark.
    pub number: u64,
    /// [`crate::camera::picture_digest`].
    pub digest: String,
    /// Whether the archive says that decoding can begin with it.
    pub key: bool,
    /// Its producer time, in milliseconds of the Unix epoch.
    pub unix_ms: i64,
    /// The number of the fragment that holds it.
    pub fragment: String,
}

/// What became of the pictures that have left a camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many different pictures were journalled.
    pub journalled: usize,
    /// How many of them are in the archive.
    pub stored: usize,
    /// Journalled, not archived, and no excuse.
    pub lost: Vec<u64>,
    /// Journalled and not archived, around an excused end of a connection: by the connection.
    pub excused: BTreeMap<u64, Vec<u64>>,
    /// Archived more than once.
    pub repeated: Vec<u64>,
    /// Archived, never journalled.
    pub unknown: Vec<u64>,
    /// Archived with slices or a key flag other than the camera has sent.
    pub altered: Vec<u64>,
}

impl Comparison {
    /// Whether all that has left the camera is stored as it was, save what is excused.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.unknown.is_empty() && self.altered.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { journalled, stored, lost, excused, repeated, unknown, altered } = self;
        write!(f, "{journalled} pictures journalled, {stored} stored, {} lost {}", lost.len(), ranges(lost))?;
        if !excused.is_empty() {
            let connections: Vec<u64> = excused.keys().copied().collect();
            let pictures: Vec<u64> = excused.values().flatten().copied().collect();
            let (connections, which) = (ranges(&connections), ranges(&pictures));
            write!(f, ", {} {which} lost around the ends of connections {connections}", pictures.len())?;
        }
        write!(f, ", {} stored more than once {}", repeated.len(), ranges(repeated))?;
        write!(
            f,
            ", {} unknown {}, {} altered {}",
            unknown.len(),
            ranges(unknown),
            altered.len(),
            ranges(altered)
        )
    }
}

/// Counts a journal against an archive. For each connection in `excused`, pictures that were journalled from
/// [`IN_FLIGHT_MS`] before its end up to the next PLAY's first key frame may be missing.
pub fn compare(journal: &[Entry], archive: &[ArchivedPicture], excused: &[u64]) -> Comparison {
    let mut stored: BTreeMap<u64, Vec<&ArchivedPicture>> = BTreeMap::new();
    for picture in archive {
        stored.entry(picture.number).or_default().push(picture);
    }
    let windows: Vec<Window> =
        excused.iter().filter_map(|connection| Window::around(journal, *connection)).collect();
    let mut comparison = Comparison::default();
    // Nothing is a count too.
    comparison.excused.extend(windows.iter().map(|window| (window.connection, Vec::new())));
    let mut seen = BTreeSet::new();
    for entry in journal {
        let Entry::Picture { number, unix_ms, key, digest, .. } = entry else { continue };
        if !seen.insert(*number) {
            continue;
        }
        match stored.get(number) {
            Some(copies) => {
                comparison.stored += 1;
                if copies.iter().any(|copy| copy.digest != *digest || copy.key != *key) {
                    comparison.altered.push(*number);
                }
            }
            None => match windows.iter().find(|window| (window.from_ms..window.until_ms).contains(unix_ms)) {
                Some(window) => comparison.excused.entry(window.connection).or_default().push(*number),
                None => comparison.lost.push(*number),
            },
        }
    }
    comparison.journalled = seen.len();
    comparison.repeated =
        stored.iter().filter(|(_, copies)| copies.len() > 1).map(|(number, _)| *number).collect();
    comparison.unknown = stored.keys().filter(|number| !seen.contains(number)).copied().collect();
    comparison
}

/// When pictures may be missing because a connection ended.
struct Window {
    connection: u64,
    from_ms: i64,
    until_ms: i64,
}

impl Window {
    /// None when the connection has not ended.
    fn around(journal: &[Entry], connection: u64) -> Option<Self> {
        let (at, end_ms) = journal.iter().enumerate().find_map(|(at, entry)| match entry {
            Entry::End { connection: ended, unix_ms, .. } if *ended == connection => Some((at, *unix_ms)),
            _ => None,
        })?;
        let next = journal[at..].iter().find_map(|entry| match entry {
            Entry::Picture { connection: other, key: true, unix_ms, .. } if *other != connection => {
                Some(*unix_ms)
            }
            _ => None,
        });
        Some(Self { connection, from_ms: end_ms - IN_FLIGHT_MS, until_ms: next.unwrap_or(i64::MAX) })
    }
}

/// Numbers for people: `[3, 7-9]`.
fn ranges(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    format!("[{}]", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key frame each 25 pictures, one picture each 40 ms.
    fn sent(connection: u64, number: u64) -> Entry {
        Entry::Picture {
            connection,
            number,
            unix_ms: number as i64 * 40,
            key: number.is_multiple_of(25),
            digest: format!("d{number}"),
        }
    }

    fn archived(number: u64) -> ArchivedPicture {
        ArchivedPicture {
            number,
            digest: format!("d{number}"),
            key: number.is_multiple_of(25),
            unix_ms: 0,
            fragment: (number / 50).to_string(),
        }
    }

    /// Connection 1 sends 0 to 109, is cut at 4,400 ms, and connection 2 sends 125 to 199.
    fn journal_with_a_cut() -> Vec<Entry> {
        let mut journal = vec![Entry::Play { connection: 1, unix_ms: 0 }];
        journal.extend((0..110).map(|number| sent(1, number)));
        journal.push(Entry::End { connection: 1, unix_ms: 4400, reason: EndReason::Cut });
        journal.push(Entry::Play { connection: 2, unix_ms: 4600 });
        journal.extend((125..200).map(|number| sent(2, number)));
        journal
    }

    fn archive_without(missing: &[u64]) -> Vec<ArchivedPicture> {
        (0..110).chain(125..200).filter(|number| !missing.contains(number)).map(archived).collect()
    }

    #[test]
    fn a_whole_archive_is_complete() {
        let comparison = compare(&journal_with_a_cut(), &archive_without(&[]), &[]);
        assert!(comparison.is_complete(), "{comparison}");
        assert_eq!((comparison.journalled, comparison.stored), (185, 185));
    }

    #[test]
    fn each_single_missing_picture_is_lost() {
        for missing in (0..110).chain(125..200) {
            let comparison = compare(&journal_with_a_cut(), &archive_without(&[missing]), &[]);
            assert_eq!(comparison.lost, [missing]);
            assert!(!comparison.is_complete());
        }
    }

    #[test]
    fn around_an_excused_end_200_ms_may_be_missing_and_no_more() {
        let (journal, archive) = (journal_with_a_cut(), archive_without(&[104, 105, 109, 125]));
        let comparison = compare(&journal, &archive, &[1]);
        // Picture 105 left at 4,200 ms, 104 before; 125 is the next PLAY's first key frame.
        assert_eq!(comparison.excused, BTreeMap::from([(1, vec![105, 109])]));
        assert_eq!(comparison.lost, [104, 125]);
        assert_eq!(compare(&journal, &archive, &[]).lost, [104, 105, 109, 125]);
        let nothing = compare(&journal, &archive_without(&[]), &[1]);
        assert!(nothing.to_string().contains("0 [] lost around the ends of connections [1]"), "{nothing}");
    }

    #[test]
    fn repeated_unknown_and_altered_pictures_are_named() {
        let mut archive = archive_without(&[]);
        archive.push(archived(7));
        archive.push(archived(115));
        archive[3].digest = "other".to_owned();
        archive[25].key = false;
        let comparison = compare(&journal_with_a_cut(), &archive, &[1]);
        assert_eq!(comparison.repeated, [7]);
        assert_eq!(comparison.unknown, [115]);
        assert_eq!(comparison.altered, [3, 25]);
        assert!(!comparison.is_complete());
    }

    #[test]
    fn an_entry_comes_back_from_its_line_and_a_half_written_line_is_left_out() {
        let journal = journal_with_a_cut();
        let mut text: String = journal.iter().map(Entry::line).collect();
        assert!(text.starts_with("{\"event\":\"play\",\"connection\":1,\"unixMs\":0}\n"), "{text}");
        text.push_str("{\"event\":\"pict");
        assert_eq!(parse(&text).unwrap(), journal);
        text.push('\n');
        assert!(matches!(parse(&text), Err(JournalError::Line { number: 189, .. })));
    }

    #[test]
    fn numbers_are_shown_as_ranges() {
        assert_eq!(ranges(&[3, 7, 8, 9, 11]), "[3, 7-9, 11]");
        assert_eq!(ranges(&[]), "[]");
    }
}
