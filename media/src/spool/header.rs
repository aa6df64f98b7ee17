//! The beginning of a segment.

use super::{SpoolError, take, take_slice};

const MAGIC: [u8; 8] = *b"SFSPOOL\n";
const VERSION: u16 = 1;

/// Magic, version, and the lengths of what follows.
const FIXED_BYTES: usize = 8 + 2 + 2 + 2 + 4 + 8;

/// What a segment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The feed's id, at most [`SegmentHeader::TEXT_BYTES_MAX`] bytes.
    pub feed: String,
    /// The ARN of the stream that it is to be stored in, and in no other; as long at most.
    pub arn: String,
    /// For how many hours the stream keeps what is stored; 0 where that is not known.
    pub retention_hours: u32,
    /// Rises from segment to segment of a feed.
    pub sequence: u64,
}

impl SegmentHeader {
    /// The longest feed id, and the longest ARN (AWS: at most 1,024 characters).
    pub const TEXT_BYTES_MAX: usize = 1_024;

    /// The most bytes that a header takes.
    pub const BYTES_MAX: usize = FIXED_BYTES + 2 * Self::TEXT_BYTES_MAX + 4;

    /// The header as it stands in a file. Texts that are too long are cut, and so are of nobody's segment.
    pub fn encode(&self) -> Vec<u8> {
        let cut = |text: &str| -> Vec<u8> { text.bytes().take(Self::TEXT_BYTES_MAX).collect() };
        let (feed, arn) = (cut(&self.feed), cut(&self.arn));
        let mut out = Vec::with_capacity(FIXED_BYTES + feed.len() + arn.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(feed.len() as u16).to_le_bytes());
        out.extend_from_slice(&(arn.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.retention_hours.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&feed);
        out.extend_from_slice(&arn);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header; gives its length too. `bytes` may go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), SpoolError> {
        let mut rest = bytes;
        if take::<8>(&mut rest)? != MAGIC {
            return Err(SpoolError::NotASegment);
        }
        let version = u16::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(SpoolError::Version(version));
        }
        let feed_bytes = usize::from(u16::from_le_bytes(take(&mut rest)?));
        let arn_bytes = usize::from(u16::from_le_bytes(take(&mut rest)?));
        if feed_bytes.max(arn_bytes) > Self::TEXT_BYTES_MAX {
            return Err(SpoolError::Field("length of a name"));
        }
        let retention_hours = u32::from_le_bytes(take(&mut rest)?);
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| SpoolError::Field("name"));
        let (feed, arn) = (take_slice(&mut rest, feed_bytes)?, take_slice(&mut rest, arn_bytes)?);
        let covered = FIXED_BYTES + feed_bytes + arn_bytes;
        if bytes.get(..covered).map(crc32fast::hash) != Some(u32::from_le_bytes(take(&mut rest)?)) {
            return Err(SpoolError::Checksum);
        }
        let header = Self { feed: text(feed)?, arn: text(arn)?, retention_hours, sequence };
        Ok((header, covered + 4))
    }
}
