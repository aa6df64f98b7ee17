//! One fragment as bytes in a log: a fixed prefix, a description in JSON, the header bytes, the body bytes.
//!
//! ```text
//! 0   "SFF1"
//! 4   length of the description   (little endian, as all that follow)
//! 8   length of the header bytes
//! 12  length of the body bytes
//! 16  CRC-32 of the 16 bytes above and the description
//! 20  CRC-32 of header and body bytes
//! ```
//!
//! The first checksum lets the index be read without the media; the second finds a torn write.

use super::media::FragmentMeta;

/// Bytes before the description.
pub const PREFIX_BYTES: usize = 24;
/// Opens every record.
const MAGIC: [u8; 4] = *b"SFF1";
/// A description is some 200 bytes; more than this is damage.
const META_BYTES_MAX: u32 = 64 * 1024;

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the description.
    pub meta_len: u32,
    /// Bytes of the header: EBML head, Segment, Info, Tracks.
    pub head_len: u32,
    /// Bytes of the cluster and of the tags that follow it.
    pub body_len: u32,
    meta_crc: u32,
    media_crc: u32,
}

impl Prefix {
    /// Reads a prefix; `None` when it is none or its lengths cannot be.
    pub fn decode(bytes: &[u8; PREFIX_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(four)
        };
        let prefix = Self {
            meta_len: word(4),
            head_len: word(8),
            body_len: word(12),
            meta_crc: word(16),
            media_crc: word(20),
        };
        (bytes[..4] == MAGIC && prefix.meta_len <= META_BYTES_MAX).then_some(prefix)
    }

    /// Bytes of the whole record.
    pub fn record_len(&self) -> u64 {
        PREFIX_BYTES as u64 + u64::from(self.meta_len) + self.media_len()
    }

    /// Bytes of header and body together.
    pub fn media_len(&self) -> u64 {
        u64::from(self.head_len) + u64::from(self.body_len)
    }

    /// The description, when `meta` is undamaged.
    pub fn meta(&self, prefix: &[u8; PREFIX_BYTES], meta: &[u8]) -> Option<FragmentMeta> {
        (crc32(&[&prefix[..16], meta]) == self.meta_crc).then(|| serde_json::from_slice(meta).ok())?
    }

    /// Whether `media` (header and body) is undamaged.
    pub fn media_is_whole(&self, media: &[u8]) -> bool {
        media.len() as u64 == self.media_len() && crc32(&[media]) == self.media_crc
    }
}

/// The bytes that go before `head` and `body`, and their prefix.
pub fn encode_front(meta: &FragmentMeta, head: &[u8], body: &[u8]) -> serde_json::Result<(Prefix, Vec<u8>)> {
    let meta = serde_json::to_vec(meta)?;
    let mut front = Vec::with_capacity(PREFIX_BYTES + meta.len());
    front.extend_from_slice(&MAGIC);
    for length in [meta.len(), head.len(), body.len()] {
        // A fragment is at most 50 MB, so no length passes 32 bits.
        front.extend_from_slice(&(length as u32).to_le_bytes());
    }
    let meta_crc = crc32(&[&front, &meta]);
    let media_crc = crc32(&[head, body]);
    front.extend_from_slice(&meta_crc.to_le_bytes());
    front.extend_from_slice(&media_crc.to_le_bytes());
    front.extend_from_slice(&meta);
    let prefix = Prefix {
        meta_len: meta.len() as u32,
        head_len: head.len() as u32,
        body_len: body.len() as u32,
        meta_crc,
        media_crc,
    };
    Ok((prefix, front))
}

/// CRC-32 (IEEE 802.3) over the parts as if they were one.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32_and_does_not_depend_on_the_split() {
        assert_eq!(crc32(&[b"123456789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xCBF4_3926);
    }
}
