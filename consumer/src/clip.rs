//! A range of time as one playable file.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use streamfleet_media::merge::SegmentMerger;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::archive::Archive;
use crate::document::Placement;
use crate::error::Error;
use crate::timeline::{Fragment, Gap, Range, gaps};

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
    /// Stretches inside what was asked for that nothing is stored of, longer than the threshold; also at both ends.
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

/// Writes all fragments that have a picture inside the range into one Matroska file, and flushes it. Stretches longer than
/// `gap_threshold` without a fragment are reported as gaps. A range that holds nothing is an error.
pub async fn write<W>(
    archive: &Archive,
    range: Range,
    gap_threshold: Duration,
    out: &mut W,
) -> Result<Report, Error>
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
        gaps: all_gaps(&listing.fragments, range, gap_threshold),
        segments: 0,
    };
    let mut recall = archive.recall(&listing.fragments);
    let mut merger = SegmentMerger::new();
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
    }
    merger.finish();
    report.bytes += drain(&mut merger, out).await?;
    report.segments = merger.segments();
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

/// The gaps between fragments, and those at the ends of what was asked for.
fn all_gaps(fragments: &[Fragment], range: Range, threshold: Duration) -> Vec<Gap> {
    let mut all = gaps(fragments, threshold);
    let (Some(first), Some(last)) = (fragments.first(), fragments.iter().map(Fragment::end).max()) else {
        return all;
    };
    let long = |gap: &Gap| gap.end > gap.start && gap.length().unsigned_abs() > threshold;
    all.splice(0..0, Some(Gap { start: range.from, end: first.producer }).filter(long));
    all.extend(Some(Gap { start: last, end: range.to }).filter(long));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    fn fragment(number: &str, start_ms: i64, length_ms: u64) -> Fragment {
        Fragment {
            number: number.parse().unwrap(),
            producer: at(start_ms),
            server: at(start_ms),
            length: Duration::from_millis(length_ms),
            bytes: 1,
        }
    }

    #[test]
    fn gaps_at_the_ends_of_what_was_asked_for_count_too() {
        let fragments = [fragment("1", 0, 1_960), fragment("2", 2_000, 1_960), fragment("3", 10_000, 1_960)];
        let threshold = Duration::from_secs(1);
        let range = Range { from: at(-5_000), to: at(20_000) };
        assert_eq!(
            all_gaps(&fragments, range, threshold),
            [
                Gap { start: at(-5_000), end: at(0) },
                Gap { start: at(3_960), end: at(10_000) },
                Gap { start: at(11_960), end: at(20_000) },
            ]
        );
        let range = Range { from: at(500), to: at(11_000) };
        assert_eq!(all_gaps(&fragments, range, threshold), [Gap { start: at(3_960), end: at(10_000) }]);
    }
}
