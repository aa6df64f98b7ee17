//! Folders of the spool that no feed uses: of feeds that are not configured any more, or whose stream was replaced.
//!
//! They are kept, since a feed may be configured again, but they take room. Their segments are deleted when the stream
//! would not keep them any longer either, or when a feed that is configured lacks the room; each time it is said what
//! was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use streamfleet_media::spool::ScannedGroup;

use super::folder::{Owner, allotted, folder_bytes};
use super::replay::{owner_of, replay, replay_segment, sequence_of};
use super::rights;
use crate::buffer::pool::{Pool, Share};

/// What is appended to the name of a folder whose feed has another stream now: it is never fed, and was reported.
const REPLACED: &str = ".replaced";

/// Groups that follow each other within this time leave no gap between them.
const CONTIGUOUS_MS: i64 = 5_000;

const HOUR_MS: i64 = Duration::from_hours(1).as_millis() as i64;

/// All of them.
#[derive(Debug, Default)]
pub struct Leftovers {
    folders: Vec<Leftover>,
}

#[derive(Debug)]
struct Leftover {
    path: PathBuf,
    owner: Option<Owner>,
    share: Share,
}

/// What was deleted.
#[derive(Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Whose it was; `None` where no segment says it.
    pub owner: Option<Owner>,
    /// Its size.
    pub bytes: u64,
    /// Stretches of video in it that waited, in milliseconds of the Unix epoch.
    pub spans: Vec<(i64, i64)>,
    /// Whether it waited for a stream that was replaced, which was reported when that was.
    pub is_set_aside: bool,
}

impl Leftovers {
    /// All folders that are in the spool now.
    pub fn find(root: &Path, pool: &Arc<Pool>) -> std::io::Result<Self> {
        let mut leftovers = Self::default();
        for entry in fs::read_dir(root)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let owner = owner_of(&entry.path());
                if owner.is_some() {
                    rights::tighten(&entry.path(), rights::FOLDER);
                }
                leftovers.add(entry.path(), owner, pool.share());
            }
        }
        Ok(leftovers)
    }

    /// Adds a folder that is no longer used.
    pub fn add(&mut self, path: PathBuf, owner: Option<Owner>, mut share: Share) {
        let bytes = folder_bytes(&path);
        if bytes == 0 {
            // It was deleted with its last segment.
            return;
        }
        share.give(share.used());
        share.take(bytes);
        self.folders.push(Leftover { path, owner, share });
    }

    /// Takes a folder that is used again; gives its place in the budget.
    pub fn claim(&mut self, path: &Path) -> Option<Share> {
        let index = self.folders.iter().position(|leftover| leftover.path == path)?;
        Some(self.folders.swap_remove(index).share)
    }

    /// Sets aside what waits for other streams than the one that the owner has now. Gives the stretches of video.
    pub fn set_aside(&mut self, owner: &Owner) -> Vec<(i64, i64)> {
        let mut spans = Vec::new();
        let others = self.folders.iter_mut().filter(|leftover| {
            let other = |found: &Owner| found.feed == owner.feed && found.arn != owner.arn;
            !leftover.is_set_aside() && leftover.owner.as_ref().is_some_and(other)
        });
        for leftover in others {
            spans.extend(leftover.spans());
            let mut name = leftover.path.clone().into_os_string();
            name.push(REPLACED);
            let aside = PathBuf::from(name);
            // One of that name is from an earlier replacement of the same stream.
            match fs::rename(&leftover.path, &aside) {
                Ok(()) => leftover.path = aside,
                Err(error) => tracing::warn!(%error, "A folder of the spool cannot be set aside"),
            }
        }
        spans
    }

    /// Bytes in all of them.
    pub fn bytes(&self) -> u64 {
        self.folders.iter().map(|leftover| leftover.share.used()).sum()
    }

    /// Deletes the oldest segment of all, for want of room. `None` when there is none.
    pub fn evict(&mut self) -> Option<Evicted> {
        let oldest = self
            .folders
            .iter_mut()
            .filter_map(|leftover| Some((leftover.oldest()?, leftover)))
            .min_by_key(|((modified, _), _)| *modified);
        let Some(((_, segment), leftover)) = oldest else {
            // Only folders without segments are left, if any.
            return None;
        };
        let evicted = leftover.delete(&segment);
        self.forget_empty();
        evicted
    }

    /// Deletes the segments that their streams would not keep any longer either.
    pub fn expire(&mut self, now_ms: i64) -> Vec<Evicted> {
        let mut evicted = Vec::new();
        for leftover in &mut self.folders {
            let hours = leftover.owner.as_ref().map_or(0, |owner| owner.retention_hours);
            if hours == 0 {
                continue;
            }
            let oldest_kept = now_ms - i64::from(hours) * HOUR_MS;
            for segment in leftover.segments() {
                match leftover.newest_ms(&segment) {
                    Some(newest) if newest < oldest_kept => evicted.extend(leftover.delete(&segment)),
                    // Those behind it are newer.
                    Some(_) => break,
                    None => {}
                }
            }
        }
        self.forget_empty();
        evicted
    }

    fn forget_empty(&mut self) {
        // Fails for those that are not empty.
        self.folders.retain(|leftover| fs::remove_dir(&leftover.path).is_err());
    }
}

impl Leftover {
    fn is_set_aside(&self) -> bool {
        self.path.to_string_lossy().ends_with(REPLACED)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut segments: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| sequence_of(path).is_some()).collect();
        segments.sort();
        segments
    }

    fn oldest(&self) -> Option<(std::time::SystemTime, PathBuf)> {
        let segment = self.segments().into_iter().next()?;
        let modified = fs::metadata(&segment).and_then(|metadata| metadata.modified()).ok()?;
        Some((modified, segment))
    }

    fn delete(&mut self, segment: &Path) -> Option<Evicted> {
        // Of this segment alone is read: there may be thousands.
        let groups = self.owner.as_ref().and_then(|owner| replay_segment(segment, owner));
        let spans = spans_of(groups.iter().flatten());
        let bytes = fs::metadata(segment).map_or(0, |metadata| allotted(metadata.len()));
        fs::remove_file(segment).ok()?;
        self.share.give(bytes);
        Some(Evicted { owner: self.owner.clone(), bytes, spans, is_set_aside: self.is_set_aside() })
    }

    fn newest_ms(&self, segment: &Path) -> Option<i64> {
        let groups = replay_segment(segment, self.owner.as_ref()?)?;
        groups.iter().map(|group| group.last_ms).max()
    }

    fn spans(&self) -> Vec<(i64, i64)> {
        let Some(owner) = &self.owner else { return Vec::new() };
        let Ok(replayed) = replay(&self.path, owner) else { return Vec::new() };
        spans_of(replayed.segments.iter().flat_map(|found| &found.groups))
    }
}

/// The stretches of time of those groups that wait.
fn spans_of<'a>(groups: impl Iterator<Item = &'a ScannedGroup>) -> Vec<(i64, i64)> {
    let mut times: Vec<(i64, i64)> =
        groups.filter(|group| group.waits).map(|group| (group.start_ms, group.last_ms)).collect();
    times.sort_unstable();
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for (start, end) in times {
        match spans.last_mut() {
            Some(last) if start - last.1 <= CONTIGUOUS_MS => last.1 = last.1.max(end),
            _ => spans.push((start, end)),
        }
    }
    spans
}
