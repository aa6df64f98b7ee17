//! AAC in ADTS form, from the bytes of its stream to frames with their times.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use super::marks::Marks;
use crate::aac::{self, AacError, AdtsHeader, AudioConfig};
use crate::track::{Access, Sample};

/// Ticks a second of a transport stream's times.
const RATE: u32 = 90_000;

/// Takes the stream in pieces of any size.
#[derive(Debug)]
pub(super) struct AudioStream {
    track: u8,
    held: BytesMut,
    /// The position of the first byte that is held.
    position: u64,
    /// Whether the frame before ended where this one begins.
    in_step: bool,
    marks: Marks,
    /// The time that is known last, and the samples since.
    since: Option<(i64, u64)>,
    config: Option<AudioConfig>,
    lost: u32,
    ready: VecDeque<Sample>,
}

impl AudioStream {
    pub(super) fn new(track: u8) -> Self {
        Self {
            track,
            held: BytesMut::new(),
            position: 0,
            in_step: false,
            marks: Marks::default(),
            since: None,
            config: None,
            lost: 0,
            ready: VecDeque::new(),
        }
    }

    /// What begins next has this time.
    pub(super) fn mark(&mut self, ticks: i64) {
        self.marks.push(self.position + self.held.len() as u64, ticks);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        while self.step() {}
    }

    /// Bytes are missing here: the frame that they are missing in is left out.
    pub(super) fn interrupt(&mut self, lost: u32) {
        self.skip(self.held.len());
        self.lost = self.lost.saturating_add(lost);
        self.in_step = false;
    }

    pub(super) fn next(&mut self) -> Option<Sample> {
        self.ready.pop_front()
    }

    /// Takes one frame, or leaves out one byte; false when more bytes are needed.
    fn step(&mut self) -> bool {
        let header = match AdtsHeader::parse(&self.held) {
            Ok(header) => header,
            Err(AacError::Truncated) => return false,
            Err(AacError::NoSync | AacError::Reserved) => return self.lose_step(),
        };
        if self.held.len() < header.frame_bytes {
            return false;
        }
        if !self.in_step {
            // Twelve bits may be anything; another header behind the frame tells.
            match AdtsHeader::parse(&self.held[header.frame_bytes..]) {
                Ok(_) => self.in_step = true,
                Err(AacError::Truncated) if self.position == 0 => self.in_step = true,
                Err(AacError::Truncated) => return false,
                Err(AacError::NoSync | AacError::Reserved) => return self.lose_step(),
            }
        }
        let at = self.position;
        let frame = Bytes::copy_from_slice(&self.held[header.header_bytes..header.frame_bytes]);
        self.skip(header.frame_bytes);
        self.frame(at, &header, frame);
        true
    }

    fn lose_step(&mut self) -> bool {
        if std::mem::take(&mut self.in_step) {
            self.lost = self.lost.saturating_add(1);
        }
        self.skip(1);
        true
    }

    fn skip(&mut self, count: usize) {
        self.held.advance(count);
        self.position += count as u64;
    }

    fn frame(&mut self, at: u64, header: &AdtsHeader, data: Bytes) {
        if let Some(ticks) = self.marks.take(at) {
            self.since = Some((ticks, 0));
        }
        // Without a time it cannot be placed.
        let Some((base, samples)) = &mut self.since else { return };
        let ticks =
            base.saturating_add((*samples * u64::from(RATE) / u64::from(header.config.rate.max(1))) as i64);
        *samples += u64::from(aac::SAMPLES_PER_FRAME);
        let changed = self.config != Some(header.config);
        self.config = Some(header.config);
        let parameters = if changed { aac::parameters(&header.config.to_config()).ok() } else { None };
        self.ready.push_back(Sample {
            track: self.track,
            ticks,
            rate: RATE,
            access: Access::Continue,
            lost: std::mem::take(&mut self.lost),
            data,
            parameters,
        });
    }
}
