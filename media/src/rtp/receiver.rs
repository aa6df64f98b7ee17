//! One track of one connection: from its packets to whole pictures, or pieces of sound.

use bytes::Bytes;

use super::aac::Frames;
use super::assembler::{Assembler, Place};
use super::clock::MediaClock;
use super::h264::Malformed;
use super::packet::Packet;
use super::sdp::Offer;
use super::sequence::{Arrival, Sequence};
use super::{h264, h265};
use crate::g711;
use crate::track::{Access, Codec, Sample, SenderReport, TrackParameters};

/// The track's payload is of a kind that is not carried; says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not carried")]
pub struct UnsupportedPayload(pub String);

/// What a packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A part of the media.
    Media,
    /// Something else, or what has come before.
    Ignored,
    /// Not what its payload type says.
    Malformed,
}

/// Takes a track's packets and gives its samples. The caller may note something of each packet, such as when it came, and
/// gets the note of a sample's first packet back.
#[derive(Debug)]
pub struct Receiver<T> {
    track: u8,
    rate: u32,
    payload_type: u8,
    clock: MediaClock,
    sequence: Sequence,
    payload: Payload<T>,
}

#[derive(Debug)]
enum Payload<T> {
    H264(Assembler<T>),
    H265 { assembler: Assembler<T>, donl: bool },
    Aac(Frames<T>),
    G711 { track: u8, rate: u32, parameters: Option<TrackParameters>, lost: u32 },
}

impl<T: Copy> Receiver<T> {
    /// A receiver of what the SDP offers, as track number `track`.
    pub fn new(track: u8, offer: &Offer) -> Result<Self, UnsupportedPayload> {
        let payload = Payload::new(track, offer).map_err(UnsupportedPayload)?;
        Ok(Self {
            track,
            rate: offer.rate,
            payload_type: offer.payload_type,
            clock: MediaClock::default(),
            sequence: Sequence::default(),
            payload,
        })
    }

    /// Takes a packet in, in the order of sequence numbers as far as that can be had.
    pub fn push(&mut self, packet: &Packet<'_>, note: T, out: &mut Vec<(Sample, T)>) -> Received {
        if packet.payload_type != self.payload_type {
            return Received::Ignored;
        }
        match self.sequence.take(packet) {
            Arrival::Next { lost } => self.payload.lose(lost),
            Arrival::Restarted => self.payload.lose(1),
            Arrival::Old => return Received::Ignored,
        }
        let ticks = self.clock.advance(packet.timestamp);
        if packet.payload.is_empty() {
            return Received::Ignored;
        }
        let place = Place { timestamp: packet.timestamp, ticks, note };
        if self.payload.push(packet, place, out) == Err(Malformed) {
            self.payload.lose(1);
            return Received::Malformed;
        }
        Received::Media
    }

    /// Gives out a picture that is whole beyond doubt. To be called when no more packets are there for now.
    pub fn release(&mut self, out: &mut Vec<(Sample, T)>) {
        if let Payload::H264(assembler) | Payload::H265 { assembler, .. } = &mut self.payload {
            assembler.release(out);
        }
    }

    /// Gives out the last picture, if it is whole: nothing comes any more.
    pub fn close(&mut self, out: &mut Vec<(Sample, T)>) {
        if let Payload::H264(assembler) | Payload::H265 { assembler, .. } = &mut self.payload {
            assembler.close(out);
        }
    }

    /// A sender's report of this track on the clock of its samples.
    pub fn report(&mut self, ntp: u64, timestamp: u32) -> SenderReport {
        // The first one comes before the media, and then says where the media's clock begins.
        let ticks =
            if self.clock.has_begun() { self.clock.look(timestamp) } else { self.clock.advance(timestamp) };
        SenderReport { track: self.track, ticks, rate: self.rate, ntp }
    }

    /// The order of packets so far, for receiver reports.
    pub fn sequence(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Ticks a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }
}

impl<T: Copy> Payload<T> {
    fn new(track: u8, offer: &Offer) -> Result<Self, String> {
        let codec = offer.codec().ok_or_else(|| offer.name())?;
        let assembler = || Assembler::new(codec, track, offer.rate, &offer.parameter_sets());
        let is_zero = |name: &str| offer.parameter(name).is_none_or(|value| value.trim() == "0");
        match codec {
            Codec::H264 if offer.parameter("packetization-mode") == Some("2") => {
                Err("interleaved H.264 (packetization mode 2)".to_owned())
            }
            Codec::H264 => assembler().map(Self::H264).ok_or_else(|| offer.name()),
            Codec::H265 => {
                let donl = !is_zero("sprop-max-don-diff") || !is_zero("sprop-depack-buf-nalus");
                let assembler = assembler().ok_or_else(|| offer.name())?;
                Ok(Self::H265 { assembler, donl })
            }
            Codec::Aac => Frames::new(track, offer).map(Self::Aac),
            Codec::PcmAlaw | Codec::PcmMulaw => {
                let parameters = g711::parameters(codec, offer.rate, offer.channels);
                let parameters = parameters.ok_or_else(|| offer.name())?;
                Ok(Self::G711 { track, rate: offer.rate, parameters: Some(parameters), lost: 0 })
            }
        }
    }

    fn lose(&mut self, packets: u32) {
        match self {
            Self::H264(assembler) | Self::H265 { assembler, .. } => assembler.lose(packets),
            Self::Aac(frames) => frames.lose(packets),
            Self::G711 { lost, .. } => *lost = lost.saturating_add(packets),
        }
    }

    fn push(
        &mut self,
        packet: &Packet<'_>,
        place: Place<T>,
        out: &mut Vec<(Sample, T)>,
    ) -> Result<(), Malformed> {
        let pushed = match self {
            Self::H264(assembler) => h264::push(assembler, packet.payload, place, out),
            Self::H265 { assembler, donl } => h265::push(assembler, *donl, packet.payload, place, out),
            Self::Aac(frames) => return frames.push(packet.payload, place, out),
            Self::G711 { track, rate, parameters, lost } => {
                let sample = Sample {
                    track: *track,
                    ticks: place.ticks,
                    rate: *rate,
                    access: Access::Continue,
                    lost: std::mem::take(lost),
                    data: Bytes::copy_from_slice(packet.payload),
                    parameters: parameters.take(),
                };
                out.push((sample, place.note));
                return Ok(());
            }
        };
        if let Self::H264(assembler) | Self::H265 { assembler, .. } = self {
            if pushed.is_err() {
                assembler.spoil();
            }
            if packet.marker {
                assembler.mark(place.timestamp);
            }
        }
        pushed
    }
}
