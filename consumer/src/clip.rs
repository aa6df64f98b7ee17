//! A range of time as one playable file.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use streamfleet_media::merge::SegmentMerger;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::archive::Archive;
use crate::document::Placement;
use crate::error::Error;
use crate::timeline::{Fragment, Gap, Range, gaps, tolerance};

/// What has been written, against what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was asked for.
    pub asked: Range,
    /// The time of the first picture written; whole fragments are written, so that it may lie before what was asked for.
    pub first: Timestamp,
    /// The time of the last picture written.
    pub last: Timestamp,
    /// How many fragments were written.
    pub fragments: usize,
    /// Fragments left out because a newer one has the same producer time.
    pub superseded: usize,
    /// Pictures, and blocks of sound.
    pub blocks: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Stretches of what was asked for that nothing is stored of, as [`gaps`] finds them.
    pub gaps: Vec<Gap>,
    /// Matroska segments: more than one where the format changed, which most players do not go beyond.
    pub segments: u64,
}

impl Report {
    /// From the first picture to the last.
    pub fn length(&self) -> SignedDuration {
        self.last.duration_since(self.first)
    }
}

/// Writes all fragments that have a picture inside the range into one Matroska file, and flushes it. A range that holds
/// nothing is an error.
pub async fn write<W>(archive: &Archive, range: Range, out: &mut W) -> Result<Report, Error>
where
    W: AsyncWrite + Unpin,
{
    let listing = archive.list(range).await?;
    let (Some(first), Some(last)) =
        (listing.fragments.first(), listing.fragments.iter().map(Fragment::end).max())
    else {
        return Err(archive.nothing_in(range).await);
    };
    let mut report = Report {
        asked: range,
        first: first.producer,
        last,
        fragments: 0,
        superseded: listing.superseded,
        blocks: 0,
        bytes: 0,
        gaps: Vec::new(),
        segments: 0,
    };
    let mut recall = archive.recall(&listing.fragments);
    let mut merger = SegmentMerger::new();
    let mut written = Vec::with_capacity(listing.fragments.len());
    while let Some((fragment, document)) = recall.next().await? {
        report.fragments += 1;
        report.blocks += document.blocks;
        let placement = Placement {
            offset: fragment.producer.duration_since(report.first).unsigned_abs(),
            clip_start: report.first,
            clip_length: report.length().unsigned_abs(),
        };
        merger.push(document.placed(placement));
        report.bytes += drain(&mut merger, out).await?;
        let tolerance = tolerance(fragment.length, document.blocks);
        written.push((fragment, tolerance));
    }
    merger.finish();
    report.bytes += drain(&mut merger, out).await?;
    report.segments = merger.segments();
    report.gaps = gaps(&written, range);
    out.flush().await.map_err(Error::Write)?;
    Ok(report)
}

async fn drain<W: AsyncWrite + Unpin>(merger: &mut SegmentMerger, out: &mut W) -> Result<u64, Error> {
    let mut written = 0;
    while let Some(bytes) = next_of(merger)? {
        out.write_all(&bytes).await.map_err(Error::Write)?;
        written += bytes.len() as u64;
    }
    Ok(written)
}

fn next_of(merger: &mut SegmentMerger) -> Result<Option<Bytes>, Error> {
    merger.next().map_err(|error| Error::Media(error.to_string()))
}
