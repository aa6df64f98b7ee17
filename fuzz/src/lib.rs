//! What the fuzz targets share: how their inputs are cut, and what no parser may do beside panicking.
//!
//! A target fails by a panic, by more than 5 s or 512 MiB for one input (libFuzzer's limits, set by `scripts/fuzz`), and by the
//! bounds asserted here: nothing gives out much more than it was given, and each step makes progress.

pub mod seeds;

use bytes::Bytes;
use streamfleet_media::container::{Demuxer, Item, Kind};
use streamfleet_media::rtp::sdp::Description;
use streamfleet_media::rtp::{Packet, Receiver};
use streamfleet_media::track::Sample;

/// What a parser may give out beyond a multiple of what it was given: parameter sets, headers.
pub const EXTRA_BYTES: usize = 64 * 1024;

/// How many times its input a parser may give out: start codes become lengths, small things get heads.
pub const GROWTH: usize = 8;

/// The input in pieces whose size the first byte says, as a socket or pipe would give it.
pub fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (size, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    rest.chunks(match size {
        // Whole, as most seeds have it: what is cut finds other paths.
        0..64 => rest.len().max(1),
        size => size - 63,
    })
}

/// Counts what comes out.
#[derive(Debug, Default)]
pub struct Counter {
    items: usize,
    bytes: usize,
}

impl Counter {
    /// Counts a sample.
    pub fn sample(&mut self, sample: &Sample) {
        self.items += 1;
        self.bytes += sample.data.len();
        self.bytes += sample.parameters.as_ref().map_or(0, |parameters| parameters.private.len());
    }

    /// Fails if more came out than `input` bytes allow.
    pub fn check(&self, input: usize) {
        let limit = input * GROWTH + EXTRA_BYTES;
        assert!(self.bytes <= limit, "{} bytes of {input}", self.bytes);
        assert!(self.items <= limit, "{} items of {input} bytes", self.items);
    }
}

/// Reads a container to its end or its first error.
pub fn container(kind: Kind, data: &[u8]) {
    let mut demuxer = Demuxer::new(kind, 25);
    let mut counter = Counter::default();
    for piece in pieces(data) {
        demuxer.push(Bytes::copy_from_slice(piece));
        if !take_items(&mut demuxer, &mut counter, data.len()) {
            return;
        }
    }
    demuxer.finish();
    take_items(&mut demuxer, &mut counter, data.len());
}

/// Whether it may go on.
fn take_items(demuxer: &mut Demuxer, counter: &mut Counter, input: usize) -> bool {
    loop {
        match demuxer.next() {
            Ok(Some(Item::Sample(sample))) => counter.sample(&sample),
            Ok(Some(Item::Tracks(tracks))) => counter.items += 1 + tracks.len(),
            Ok(Some(Item::LeftOut(_))) => counter.items += 1,
            Ok(None) => return true,
            Err(error) => {
                assert!(error.to_string().len() < 1_000, "an error is for people");
                return false;
            }
        }
        counter.check(input);
    }
}

/// Gives payloads to a receiver of what the SDP offers. Each is preceded by a byte of what is odd about its packet, and one of
/// its length; times and numbers go on as a camera's do.
pub fn rtp(sdp: &str, data: &[u8]) {
    let description = Description::parse(sdp.as_bytes()).expect("the SDP is good");
    let offer = &description.offers[0];
    let mut receiver: Receiver<()> = Receiver::new(0, offer).expect("the payload is carried");
    let (mut counter, mut out) = (Counter::default(), Vec::new());
    let (mut sequence, mut timestamp) = (65_530_u16, u32::MAX - 5_000);
    let mut rest = data;
    while let [odd, length, behind @ ..] = rest {
        let length = usize::from(*length) * if odd & 0x80 == 0 { 1 } else { 16 };
        let (payload, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        timestamp = timestamp.wrapping_add(u32::from(odd >> 1 & 3) * 1_800);
        sequence = sequence.wrapping_add(match odd >> 3 & 7 {
            0 => 2,
            1 => 0,
            2 => 65_535,
            _ => 1,
        });
        let packet = Packet {
            marker: odd & 1 == 1,
            payload_type: offer.payload_type,
            sequence,
            timestamp,
            ssrc: 1,
            payload,
        };
        receiver.push(&packet, (), &mut out);
        if odd & 0x40 != 0 {
            receiver.release(&mut out);
        }
        for (sample, ()) in out.drain(..) {
            counter.sample(&sample);
        }
        counter.check(data.len() + sdp.len());
    }
    receiver.close(&mut out);
    for (sample, ()) in out.drain(..) {
        counter.sample(&sample);
    }
    counter.check(data.len() + sdp.len());
}

/// An SDP with one medium.
pub fn sdp(media: &str, rtpmap: &str, parameters: &str) -> String {
    let fmtp = if parameters.is_empty() { String::new() } else { format!("a=fmtp:96 {parameters}\r\n") };
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm={media} 0 RTP/AVP 96\r\na=rtpmap:96 {rtpmap}\r\n{fmtp}\
         a=control:track1\r\n"
    )
}
