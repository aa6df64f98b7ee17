//! Memory for pictures, many in one block.
//!
//! Pictures stay until they are stored, and then whole groups go at once. An allocation for each, grown as its packets come,
//! leaves holes of all sizes between those that stay; a block that many share leaves none, and goes back as a whole.

use bytes::{Bytes, BytesMut};

/// The size of a block. Some pictures long, so that little is left over at its end; what has not been written to takes no
/// memory. As large as what allocators give back to the kernel at once.
pub const BLOCK_BYTES: usize = 128 << 10;

/// Bytes that are gathered at the end of a block. It reads as what has been gathered since [`Block::take`].
#[derive(Debug, Default)]
pub struct Block {
    bytes: BytesMut,
    /// Something was taken that lies in the same block.
    is_used: bool,
}

impl Block {
    /// Goes on in a new block where this one has no room for `more` bytes. To be called when little has been gathered.
    pub fn make_room(&mut self, more: usize) {
        if self.bytes.len() + more > self.bytes.capacity() {
            self.move_on(more);
        }
    }

    /// Goes on in a new block with room for `more` bytes, unless this one is new.
    pub fn begin(&mut self, more: usize) {
        if self.is_used {
            self.move_on(more);
        } else {
            self.make_room(more);
        }
    }

    /// Adds bytes. Where the block has no room for them, what is being gathered moves to a new one, with as much room again:
    /// what outgrows a block goes on growing. Those after it use what it leaves over.
    pub fn extend(&mut self, part: &[u8]) {
        if self.bytes.len() + part.len() > self.bytes.capacity() {
            self.move_on(part.len().max(self.bytes.len()));
        }
        self.bytes.extend_from_slice(part);
    }

    fn move_on(&mut self, more: usize) {
        let room = (self.bytes.len() + more).next_multiple_of(BLOCK_BYTES);
        let mut larger = BytesMut::with_capacity(room);
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        self.is_used = false;
    }

    /// Keeps the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// What has been gathered; the next begins behind it.
    pub fn take(&mut self) -> Bytes {
        self.is_used |= !self.bytes.is_empty();
        self.bytes.split().freeze()
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Clone for Block {
    /// The clone has a block of its own.
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.extend(self);
        clone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_behind_each_other_and_one_that_does_not_fit_moves_whole() {
        let mut block = Block::default();
        let mut taken = Vec::new();
        for n in 0..20_u8 {
            for part in vec![n; 20_000].chunks(1_400) {
                block.extend(part);
            }
            taken.push(block.take());
        }
        assert!(taken.iter().zip(0..).all(|(picture, n)| **picture == vec![n; 20_000]));
        let follows = |pair: &[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        assert_eq!(taken.windows(2).filter(|pair| follows(pair)).count(), 16, "six in each block, in order");
    }

    #[test]
    fn a_large_picture_leaves_its_room_to_the_next() {
        let mut block = Block::default();
        for _ in 0..300 {
            block.extend(&[7; 1_000]);
        }
        let large = block.take();
        assert_eq!(large, vec![7; 300_000]);
        block.extend(b"next");
        assert_eq!(block.take().as_ptr(), large.as_ptr_range().end);
    }

    #[test]
    fn a_group_begins_in_a_block_of_its_own() {
        let mut block = Block::default();
        block.begin(10);
        block.extend(b"head");
        block.begin(200_000);
        assert_eq!(*block, *b"head");
        let start = block.as_ptr();
        for _ in 0..200 {
            block.extend(&[1; 1_000]);
        }
        assert_eq!((block.as_ptr(), block.len()), (start, 200_004), "the room was made before");
        let first = block.take();
        block.begin(10);
        block.extend(b"next");
        let second = block.take();
        assert!(
            !first.as_ptr_range().contains(&second.as_ptr()) && first.as_ptr_range().end != second.as_ptr()
        );
    }

    #[test]
    fn what_is_cut_off_is_written_over() {
        let mut block = Block::default();
        block.extend(b"good, bad");
        block.truncate(4);
        block[0] = b'f';
        assert_eq!(block.take(), "food");
        assert!(block.take().is_empty());
    }
}
