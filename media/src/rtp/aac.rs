//! AAC in RTP as `mpeg4-generic` (RFC 3640), high and low bit rate: frames with a head each, several to a packet, or one in
//! fragments. Not carried: interleaving's time stamps, random access and auxiliary sections, which no camera is known to
//! send.

use bytes::Bytes;

use super::assembler::Place;
use super::h264::Malformed;
use super::sdp::Offer;
use crate::aac::{SAMPLES_PER_FRAME, parameters};
use crate::nal::bits::BitReader;
use crate::track::{Access, Sample, TrackParameters};

/// No frame has more bytes: 6,144 bits for each of 8 channels (ISO/IEC 14496-3 §4.5.3.1), doubled for safety.
const FRAME_BYTES_MAX: usize = 12_288;

/// Takes the frames of one track out of packets.
#[derive(Debug)]
pub(super) struct Frames<T> {
    track: u8,
    rate: u32,
    size_bits: u32,
    index_bits: u32,
    index_delta_bits: u32,
    /// Ticks that a frame lasts.
    frame_ticks: u32,
    parameters: Option<TrackParameters>,
    /// A frame that comes in fragments, and its whole length.
    fragments: Option<(Place<T>, Vec<u8>, usize)>,
    lost: u32,
}

impl<T: Copy> Frames<T> {
    /// Frames as the SDP describes them; else what it has that is not carried.
    pub(super) fn new(track: u8, offer: &Offer) -> Result<Self, String> {
        let number = |name: &str| offer.parameter(name).and_then(|value| value.parse::<u32>().ok());
        for section in
            ["ctsdeltalength", "dtsdeltalength", "streamstateindication", "auxiliarydatasizelength"]
        {
            if number(section).unwrap_or(0) != 0 {
                return Err(format!("AAC with {section}"));
            }
        }
        let (size, index) = match offer.parameter("mode").map(str::to_ascii_lowercase).as_deref() {
            Some("aac-hbr") | None => (13, 3),
            Some("aac-lbr") => (6, 2),
            Some(other) => return Err(format!("MPEG-4 audio of mode {}", super::sdp::shown(other))),
        };
        let config = offer.parameter("config").and_then(from_hex).ok_or("AAC without its configuration")?;
        let parameters = parameters(&config).map_err(|error| error.to_string())?;
        let of = |name: &str, usual: u32| number(name).unwrap_or(usual).min(32);
        Ok(Self {
            track,
            rate: offer.rate,
            size_bits: of("sizelength", size),
            index_bits: of("indexlength", index),
            index_delta_bits: of("indexdeltalength", index),
            frame_ticks: number("constantduration").filter(|ticks| *ticks > 0).unwrap_or(SAMPLES_PER_FRAME),
            parameters: Some(parameters),
            fragments: None,
            lost: 0,
        })
    }

    /// Packets are missing before the next one.
    pub(super) fn lose(&mut self, packets: u32) {
        self.lost = self.lost.saturating_add(packets);
        if packets > 0 {
            self.fragments = None;
        }
    }

    /// Takes a packet's payload in: the length of the heads in bits, the heads, the frames (§3.2).
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        place: Place<T>,
        out: &mut Vec<(Sample, T)>,
    ) -> Result<(), Malformed> {
        let (bits, rest) = payload.split_first_chunk::<2>().ok_or(Malformed)?;
        let head_bits = u32::from(u16::from_be_bytes(*bits));
        let heads = rest.get(..head_bits.div_ceil(8) as usize).ok_or(Malformed)?;
        let mut frames = &rest[heads.len()..];
        let first_bits = self.size_bits + self.index_bits;
        if self.size_bits == 0 || head_bits < first_bits {
            return Err(Malformed);
        }
        let later_bits = self.size_bits + self.index_delta_bits;
        let count = 1 + (head_bits - first_bits) / later_bits;
        let mut reader = BitReader::new(heads);
        let mut position = 0;
        for number in 0..count {
            let size = reader.bits(self.size_bits).map_err(|_| Malformed)? as usize;
            let index_bits = if number == 0 { self.index_bits } else { self.index_delta_bits };
            position += reader.bits(index_bits).map_err(|_| Malformed)? + u32::from(number > 0);
            if count == 1 && size > frames.len() {
                return self.fragment(place, frames, size, out);
            }
            let frame = frames.get(..size).ok_or(Malformed)?;
            frames = &frames[size..];
            if !frame.is_empty() {
                let ticks = place.ticks + i64::from(position) * i64::from(self.frame_ticks);
                self.give(Place { ticks, ..place }, Bytes::copy_from_slice(frame), out);
            }
        }
        Ok(())
    }

    /// A part of a frame that is larger than a packet; each part's head has the whole frame's size (§3.2.3).
    fn fragment(
        &mut self,
        place: Place<T>,
        part: &[u8],
        size: usize,
        out: &mut Vec<(Sample, T)>,
    ) -> Result<(), Malformed> {
        if size > FRAME_BYTES_MAX {
            return Err(Malformed);
        }
        let is_next = |(begun, _, whole): &(Place<T>, Vec<u8>, usize)| {
            begun.timestamp == place.timestamp && *whole == size
        };
        let (place, mut data, _) =
            self.fragments.take().filter(is_next).unwrap_or_else(|| (place, Vec::with_capacity(size), size));
        data.extend_from_slice(part);
        if data.len() > size {
            return Err(Malformed);
        }
        if data.len() == size {
            self.give(place, data.into(), out);
        } else {
            self.fragments = Some((place, data, size));
        }
        Ok(())
    }

    fn give(&mut self, place: Place<T>, data: Bytes, out: &mut Vec<(Sample, T)>) {
        let sample = Sample {
            track: self.track,
            ticks: place.ticks,
            rate: self.rate,
            access: Access::Continue,
            lost: std::mem::take(&mut self.lost),
            data,
            parameters: self.parameters.take(),
        };
        out.push((sample, place.note));
    }
}

/// Bytes from pairs of hexadecimal digits; `None` where there are others, or none.
fn from_hex(text: &str) -> Option<Bytes> {
    let digits = text.trim().as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() > 512 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}
