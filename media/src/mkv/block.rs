//! The inside of `SimpleBlock` and `Block`: track, time, flags and frames.

use bytes::Bytes;

use crate::ebml::varint;

/// A block, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The track that it belongs to.
    pub track: u64,
    /// Its time relative to the cluster's.
    pub timecode: i16,
    /// Flags as they are: 0x80 key (`SimpleBlock` only), 0x08 invisible, 0x06 lacing, 0x01 discardable (`SimpleBlock` only).
    pub flags: u8,
    /// Its frames: one without lacing, up to 256 with.
    pub frames: Vec<Bytes>,
}

impl Block {
    /// Whether the key flag is set.
    pub const fn is_key(&self) -> bool {
        self.flags & 0x80 != 0
    }

    /// Takes the content of a `SimpleBlock` or a `Block` apart (RFC 9559 §10). Frames are slices of `payload`.
    pub fn parse(payload: &Bytes) -> Result<Self, BlockError> {
        let first = *payload.first().ok_or(BlockError::TooShort)?;
        let length = varint::size_length(first).ok_or(BlockError::InvalidTrack)?;
        let head = payload.get(..length + 3).ok_or(BlockError::TooShort)?;
        let track = varint::size(&head[..length]).ok_or(BlockError::InvalidTrack)?;
        let timecode = i16::from_be_bytes([head[length], head[length + 1]]);
        let flags = head[length + 2];
        let content = payload.slice(length + 3..);
        let frames = match (flags >> 1) & 3 {
            0 => vec![content],
            1 => split(&content, xiph_sizes)?,
            2 => split_evenly(&content)?,
            _ => split(&content, ebml_sizes)?,
        };
        Ok(Self { track, timecode, flags, frames })
    }
}

/// Why a block cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It ends inside its own head.
    #[error("the block is too short for its head")]
    TooShort,
    /// The track number is not valid.
    #[error("the block has an invalid track number")]
    InvalidTrack,
    /// The sizes of the laced frames do not fit the block.
    #[error("the block has invalid lacing")]
    InvalidLacing,
}

/// Reads the sizes of all frames but the last; returns them with the number of bytes that they took.
type Sizes = fn(&[u8], usize) -> Option<(Vec<usize>, usize)>;

fn split(content: &Bytes, sizes: Sizes) -> Result<Vec<Bytes>, BlockError> {
    let (count, rest) = content.split_first().ok_or(BlockError::TooShort)?;
    let (sizes, used) = sizes(rest, usize::from(*count)).ok_or(BlockError::InvalidLacing)?;
    let mut rest = content.slice(1 + used..);
    let mut frames = Vec::with_capacity(sizes.len() + 1);
    for size in sizes {
        if size > rest.len() {
            return Err(BlockError::InvalidLacing);
        }
        frames.push(rest.split_to(size));
    }
    frames.push(rest);
    Ok(frames)
}

fn split_evenly(content: &Bytes) -> Result<Vec<Bytes>, BlockError> {
    let count = usize::from(*content.first().ok_or(BlockError::TooShort)?) + 1;
    let rest = content.slice(1..);
    if !rest.len().is_multiple_of(count) {
        return Err(BlockError::InvalidLacing);
    }
    let size = rest.len() / count;
    Ok((0..count).map(|index| rest.slice(index * size..(index + 1) * size)).collect())
}

fn xiph_sizes(bytes: &[u8], count: usize) -> Option<(Vec<usize>, usize)> {
    let mut used = 0;
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        let mut size = 0;
        loop {
            let byte = *bytes.get(used)?;
            used += 1;
            size += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
        sizes.push(size);
    }
    Some((sizes, used))
}

fn ebml_sizes(bytes: &[u8], count: usize) -> Option<(Vec<usize>, usize)> {
    let mut used = 0;
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    for _ in 0..count {
        let length = varint::size_length(*bytes.get(used)?)?;
        let value = varint::size(bytes.get(used..used + length)?)? as i64;
        used += length;
        let size = match sizes.last() {
            None => value,
            // Later sizes are differences, biased by half the range of their length.
            Some(previous) => *previous as i64 + value - ((1i64 << (7 * length as u32 - 1)) - 1),
        };
        sizes.push(usize::try_from(size).ok()?);
    }
    Some((sizes, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_without_lacing_has_one_frame() {
        let block = Block::parse(&Bytes::from_static(&[0x81, 0xFF, 0xFE, 0x80, 1, 2, 3])).unwrap();
        assert_eq!((block.track, block.timecode, block.is_key()), (1, -2, true));
        assert_eq!(block.frames, [Bytes::from_static(&[1, 2, 3])]);
    }

    #[test]
    fn track_number_may_take_two_bytes() {
        let block = Block::parse(&Bytes::from_static(&[0x40, 0x81, 0, 5, 0, 9])).unwrap();
        assert_eq!((block.track, block.timecode, block.is_key()), (129, 5, false));
    }

    #[test]
    fn laced_frames_are_split() {
        let table: [(&str, Vec<u8>); 3] = [
            ("xiph", vec![0x81, 0, 0, 0x02, 2, 1, 2, 0xA, 0xB, 0xB, 0xC]),
            ("ebml", vec![0x81, 0, 0, 0x06, 2, 0x81, 0xC0, 0xA, 0xB, 0xB, 0xC]),
            ("fixed", vec![0x81, 0, 0, 0x04, 2, 0xA, 0xB, 0xC]),
        ];
        for (name, bytes) in table {
            let frames = Block::parse(&Bytes::from(bytes)).unwrap().frames;
            let middle: &[u8] = if name == "fixed" { &[0xB] } else { &[0xB, 0xB] };
            assert_eq!(frames, [&[0xA][..], middle, &[0xC]], "{name}");
        }
    }

    #[test]
    fn lacing_that_does_not_fit_is_refused() {
        for bytes in [
            &[0x81, 0, 0, 0x02, 1, 200, 1][..],
            &[0x81, 0, 0, 0x04, 1, 1, 2, 3],
            &[0x81, 0, 0, 0x06, 1, 0x90, 1],
        ] {
            assert_eq!(
                Block::parse(&Bytes::copy_from_slice(bytes)),
                Err(BlockError::InvalidLacing),
                "{bytes:?}"
            );
        }
        for bytes in [&[][..], &[0x81, 0, 0], &[0x40]] {
            assert_eq!(Block::parse(&Bytes::copy_from_slice(bytes)), Err(BlockError::TooShort), "{bytes:?}");
        }
        assert_eq!(Block::parse(&Bytes::from_static(&[0, 0, 0, 0])), Err(BlockError::InvalidTrack));
    }
}
