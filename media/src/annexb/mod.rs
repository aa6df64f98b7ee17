//! Bare byte streams of H.264 and H.265 (annex B of either standard), as files and pipes hold them.
//!
//! They say neither their codec nor any times: the first is found out from the parameter sets, the second is a number of
//! pictures a second that somebody gave.

mod pictures;
mod splitter;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

pub use pictures::{Found, Pictures};
pub use splitter::{Part, Splitter};

use crate::container::{ContainerError, Item};
use crate::nal::nals_annexb;
use crate::track::{Codec, Sample};

/// Parameter sets come with the first picture. Where none has come in this many bytes, it is something else.
const SEARCH_BYTES_MAX: usize = 1 << 20;

/// The codec of a byte stream, by its first parameter set; `None` while there was none.
pub fn codec_of(stream: &[u8]) -> Option<Codec> {
    nals_annexb(stream).find_map(|nal| match nal {
        // Video or sequence parameter set of the base layer (H.265 clause 7.3.1.2).
        [0x40 | 0x42, 1, _, ..] => Some(Codec::H265),
        // Sequence parameter set with a profile that there is (H.264 clause 7.3.2.1.1).
        [
            0x27 | 0x47 | 0x67,
            44 | 66 | 77 | 83 | 86 | 88 | 100 | 110 | 118 | 122 | 128 | 138 | 144 | 244,
            _,
            ..,
        ] => Some(Codec::H264),
        _ => None,
    })
}

/// Reads a byte stream: [`push`](Self::push) bytes, take items with [`next`](Self::next), [`finish`](Self::finish) at the end.
/// The ticks of its samples count the pictures.
#[derive(Debug)]
pub struct Demuxer {
    rate: u32,
    state: State,
    count: i64,
}

#[derive(Debug)]
enum State {
    /// Held until the codec is known.
    Searching {
        held: BytesMut,
        ended: bool,
    },
    Reading {
        pictures: Box<Pictures>,
        announced: Option<Codec>,
    },
}

impl Demuxer {
    /// A stream of so many pictures a second.
    pub fn new(frame_rate: u32) -> Self {
        let state = State::Searching { held: BytesMut::new(), ended: false };
        Self { rate: frame_rate.max(1), state, count: 0 }
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &Bytes) {
        match &mut self.state {
            State::Reading { pictures, .. } => pictures.push(bytes),
            State::Searching { held, .. } => {
                held.extend_from_slice(bytes);
                let found = codec_of(held).and_then(|codec| Some((codec, Pictures::new(codec)?)));
                if let Some((codec, mut pictures)) = found {
                    pictures.push(held);
                    self.state = State::Reading { pictures: Box::new(pictures), announced: Some(codec) };
                }
            }
        }
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        match &mut self.state {
            State::Searching { ended, .. } => *ended = true,
            State::Reading { pictures, .. } => pictures.finish(),
        }
    }

    /// The next item; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "a pull from a state machine: `None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ContainerError> {
        let (pictures, announced) = match &mut self.state {
            State::Reading { pictures, announced } => (pictures, announced),
            State::Searching { held, ended } if *ended || held.len() > SEARCH_BYTES_MAX => {
                let what = "no parameter set of H.264 or H.265 up to here";
                return Err(ContainerError::invalid("byte stream", held.len() as u64, what));
            }
            State::Searching { .. } => return Ok(None),
        };
        if let Some(codec) = announced.take() {
            return Ok(Some(Item::Tracks(vec![codec])));
        }
        let Some(found) = pictures.next() else { return Ok(None) };
        let ticks = self.count;
        self.count += 1;
        Ok(Some(Item::Sample(Sample {
            track: 0,
            ticks,
            rate: self.rate,
            access: found.picture.access,
            lost: found.lost,
            data: found.picture.data,
            parameters: found.picture.parameters,
        })))
    }
}
