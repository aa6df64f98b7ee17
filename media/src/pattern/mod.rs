//! A test pattern: a plate with date, time of day and a frame counter, as an H.264 stream that is made here.
//!
//! The pictures are of three shades of grey in blocks of four by four pixels ([`grid`]), so that each block differs from what
//! is predicted for it by one coefficient at most, and is decoded to exactly the shade that was drawn (`encoder`). A second
//! of it takes a few kilobytes and next to no time to make.

mod encoder;
pub mod font;
pub mod grid;
mod writer;

use bytes::Bytes;

use self::encoder::Encoder;
use self::font::clock_lines;
use self::grid::{Grid, Layout};
use crate::h264::AvcConfiguration;
use crate::track::{Access, Codec, Sample, TrackParameters};

/// The largest picture: what H.264 level 4.2 takes at 60 pictures a second.
const EXTENT_MAX: (u32, u32) = (1920, 1088);

/// The smallest picture: three lines of the smallest letters.
const EXTENT_MIN: (u32, u32) = (160, 96);

/// Why there is no pattern of some size or rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a test pattern of {width}x{height} at {frame_rate} pictures a second cannot be made")]
pub struct PatternError {
    width: u32,
    height: u32,
    frame_rate: u32,
}

/// Makes the pictures, one after the other.
#[derive(Debug)]
pub struct Pattern {
    encoder: Encoder,
    layout: Layout,
    parameters: TrackParameters,
    frame_rate: u32,
    /// The picture before, and the second that it belongs to.
    last: Option<(Grid, i64)>,
    /// Pictures made so far.
    count: u64,
}

impl Pattern {
    /// A pattern of `width` by `height` pixels, both multiples of 16, at 1 to 60 pictures a second.
    pub fn new(width: u32, height: u32, frame_rate: u32) -> Result<Self, PatternError> {
        let error = PatternError { width, height, frame_rate };
        let fits = |value: u32, min: u32, max: u32| value.is_multiple_of(16) && (min..=max).contains(&value);
        if !fits(width, EXTENT_MIN.0, EXTENT_MAX.0)
            || !fits(height, EXTENT_MIN.1, EXTENT_MAX.1)
            || !(1..=60).contains(&frame_rate)
        {
            return Err(error);
        }
        let encoder = Encoder::new(width, height, frame_rate);
        let configuration = AvcConfiguration {
            sps: vec![Bytes::from(encoder.sps())],
            pps: vec![Bytes::from(Encoder::pps())],
            length_size: 4,
        };
        let private = configuration.to_record().ok_or(error)?;
        let parameters = TrackParameters::video(Codec::H264, private, width, height);
        let layout = Layout::new(width, height);
        Ok(Self { encoder, layout, parameters, frame_rate, last: None, count: 0 })
    }

    /// The picture at `ticks` (of which there are as many in a second as pictures), showing the time `wall_ms` of the Unix
    /// epoch in UTC. The first of each second can be decoded by itself.
    pub fn picture(&mut self, ticks: i64, wall_ms: i64) -> Sample {
        let second = ticks.div_euclid(i64::from(self.frame_rate));
        let grid = self.layout.draw(&clock_lines(wall_ms, self.count, self.layout.is_narrow()));
        let before = self.last.take().filter(|(_, last)| *last == second).map(|(grid, _)| grid);
        let nal = match &before {
            Some(before) => self.encoder.predicted(before, &grid),
            None => self.encoder.refresh(&grid),
        };
        self.last = Some((grid, second));
        self.count += 1;
        Sample {
            track: 0,
            ticks,
            rate: self.frame_rate,
            access: if before.is_some() { Access::Continue } else { Access::Start },
            lost: 0,
            data: crate::h264::length_prefixed([&nal[..]]),
            parameters: (self.count == 1).then(|| self.parameters.clone()),
        }
    }

    /// What a decoder must know.
    pub fn parameters(&self) -> &TrackParameters {
        &self.parameters
    }
}

#[cfg(test)]
mod tests;
