//! The bytes that wait to be read: chunks as they were pushed, joined only where an element spans several.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes pushed and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// The beginning of the next element, when it spans chunks; everything in it precedes `chunks`.
    joined: BytesMut,
    chunks: VecDeque<Bytes>,
    waiting: usize,
    offset: u64,
}

impl Input {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.waiting += bytes.len();
            self.chunks.push_back(bytes);
        }
    }

    /// Bytes not yet taken.
    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    /// Bytes taken since the beginning.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next `count` bytes without taking them; `None` when there are fewer.
    pub(super) fn peek(&mut self, count: usize) -> Option<&[u8]> {
        self.gather(count).then(|| match self.chunks.front() {
            Some(front) if self.joined.is_empty() => &front[..count],
            _ => &self.joined[..count],
        })
    }

    /// Takes the next `count` bytes; `None` when there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Bytes> {
        if !self.gather(count) {
            return None;
        }
        let taken = if self.joined.is_empty() {
            let front = self.chunks.front_mut()?;
            let taken = front.split_to(count);
            if front.is_empty() {
                self.chunks.pop_front();
            }
            taken
        } else {
            // `split_to` would keep the rest of a large allocation alive through small elements: it is empty here.
            self.joined.split_to(count).freeze()
        };
        self.waiting -= count;
        self.offset += count as u64;
        Some(taken)
    }

    /// Makes the next `count` bytes contiguous; false when there are fewer. What is there is joined all the same, so
    /// that many small pushes cost one copy of each byte and not one allocation for each push.
    fn gather(&mut self, count: usize) -> bool {
        if self.joined.is_empty() && self.chunks.front().is_some_and(|front| front.len() >= count) {
            return true;
        }
        while self.joined.len() < count {
            let Some(front) = self.chunks.front_mut() else { return false };
            let part = front.split_to(front.len().min(count - self.joined.len()));
            if front.is_empty() {
                self.chunks.pop_front();
            }
            self.joined.extend_from_slice(&part);
        }
        true
    }
}
