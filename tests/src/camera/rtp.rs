//! RTP and RTCP packets, as bytes.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use streamfleet_media::h264::{NalKind, nal_kind};

/// The payload type of the one stream; 96 is the first dynamic one (RFC 3551 §3).
pub(super) const PAYLOAD_TYPE: u8 = 96;
/// The clock of H.264 in RTP (RFC 6184 §8.2.1).
pub(super) const CLOCK_RATE: u32 = 90_000;

/// The largest payload, so that a packet would fit an Ethernet frame.
const PAYLOAD_MAX: usize = 1400;
/// NAL unit type 28: a fragment of a larger unit (RFC 6184 §5.8).
const FU_A: u8 = 28;
/// Interleaving (RFC 2326 §10.12), RTP without extensions, and the head of a fragment.
const HEAD_MAX: usize = 4 + RTP_HEAD + 2;
const RTP_HEAD: usize = 12;
/// From the NTP epoch (1900) to the Unix epoch, in seconds (RFC 5905 §6).
const NTP_TO_UNIX_SECONDS: u64 = 2_208_988_800;

/// What the marker bit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// A picture, as RFC 6184 §5.1 has it.
    Picture,
    /// Each slice, as live555 does it when it serves Matroska.
    Slice,
}

/// What one packet carries: a NAL unit, or a fragment of one. Made once for a recording, shared by all who are sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    /// What stands before a fragment (RFC 6184 §5.8); nothing stands before a whole unit.
    fragment: Option<[u8; 2]>,
    bytes: Bytes,
    /// Whether it ends a slice.
    ends_slice: bool,
}

impl Payload {
    /// A unit that fits one packet and is no slice.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { fragment: None, bytes, ends_slice: false }
    }

    /// What follows the head of the packet.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it carries the marker, given that it is its picture's last or not.
    pub(super) fn is_marked(&self, marker: Marker, is_last: bool) -> bool {
        match marker {
            Marker::Picture => is_last,
            Marker::Slice => self.ends_slice,
        }
    }
}

/// All that stands before a payload on the RTSP connection: interleaving, RTP, and what marks a fragment.
#[derive(Debug)]
pub(super) struct Head {
    bytes: [u8; HEAD_MAX],
    length: usize,
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Makes the RTP packets of one stream, and counts them for its sender reports.
#[derive(Debug)]
pub(super) struct Packetizer {
    /// Of the RTSP connection (RFC 2326 §10.12).
    channel: u8,
    ssrc: u32,
    sequence: u16,
    packets: u32,
    octets: u32,
}

impl Packetizer {
    /// `sequence` is that of the first packet.
    pub(super) fn new(channel: u8, ssrc: u32, sequence: u16) -> Self {
        Self { channel, ssrc, sequence, packets: 0, octets: 0 }
    }

    /// The sequence number of the next packet.
    pub(super) fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// What stands before a payload (RFC 2326 §10.12, RFC 3550 §5.1, RFC 6184 §5.6 and §5.8).
    pub(super) fn head(&mut self, payload: &Payload, rtp_time: u32, marked: bool) -> Head {
        let fragment = payload.fragment.as_ref().map_or(&[][..], |bytes| bytes);
        let octets = fragment.len() + payload.bytes.len();
        let mut bytes = [0; HEAD_MAX];
        let mut left = &mut bytes[..];
        left.put_slice(&[b'$', self.channel]);
        left.put_u16((RTP_HEAD + octets) as u16);
        left.put_u8(0x80); // version 2, no padding, extension or contributing sources
        left.put_u8(u8::from(marked) << 7 | PAYLOAD_TYPE);
        left.put_u16(self.sequence);
        left.put_u32(rtp_time);
        left.put_u32(self.ssrc);
        left.put_slice(fragment);
        let length = HEAD_MAX - left.len();
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        Head { bytes, length }
    }

    /// A sender report with the canonical name that RFC 3550 §6.1 asks for. `wall` counts from the Unix epoch and is
    /// the same moment as `rtp_time`.
    pub(super) fn sender_report(&self, wall: Duration, rtp_time: u32) -> Bytes {
        const NAME: &[u8] = b"camera";
        let mut report = BytesMut::new();
        report.put_slice(&[0x80, 200, 0, 6]); // sender report, no report blocks, 7 words
        report.put_u32(self.ssrc);
        report.put_u32((wall.as_secs() + NTP_TO_UNIX_SECONDS) as u32);
        report.put_u32(((u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000) as u32);
        report.put_u32(rtp_time);
        report.put_u32(self.packets);
        report.put_u32(self.octets);
        report.put_slice(&[0x81, 202, 0, 4]); // source description of one source, 5 words
        report.put_u32(self.ssrc);
        report.put_slice(&[1, NAME.len() as u8]);
        report.put_slice(NAME);
        report.put_slice(&[0; 4]); // the end of the list, padded to the word
        report.freeze()
    }
}

/// What goes into packets for one NAL unit: itself, or its fragments.
pub(super) fn payloads(nal: &Bytes) -> Vec<Payload> {
    let is_slice = matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr));
    if nal.len() <= PAYLOAD_MAX {
        return vec![Payload { fragment: None, bytes: nal.clone(), ends_slice: is_slice }];
    }
    let header = nal[0];
    let indicator = header & 0xe0 | FU_A;
    let body = nal.slice(1..);
    let count = body.len().div_ceil(PAYLOAD_MAX - 2);
    body.chunks(PAYLOAD_MAX - 2)
        .enumerate()
        .map(|(index, chunk)| {
            let start = u8::from(index == 0) << 7;
            let is_last = index + 1 == count;
            let end = u8::from(is_last) << 6;
            Payload {
                fragment: Some([indicator, start | end | header & 0x1f]),
                bytes: body.slice_ref(chunk),
                ends_slice: is_slice && is_last,
            }
        })
        .collect()
}

/// A packet as it goes over the RTSP connection (RFC 2326 §10.12).
pub(super) fn interleaved(channel: u8, packet: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(4 + packet.len());
    framed.put_slice(&[b'$', channel]);
    framed.put_u16(packet.len() as u16);
    framed.put_slice(packet);
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The RTP packets of a picture, without what interleaves them.
    fn packets(nals: &[Bytes], marker: Marker) -> Vec<Vec<u8>> {
        let mut packetizer = Packetizer::new(4, 7, 65_534);
        let payloads: Vec<Payload> = nals.iter().flat_map(payloads).collect();
        let packet = |(index, payload): (usize, &Payload)| {
            let ends = payload.is_marked(marker, index + 1 == payloads.len());
            let head = packetizer.head(payload, 90, ends);
            let packet = [head.as_ref(), payload.bytes()].concat();
            assert_eq!(packet[..2], [b'$', 4]);
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len() - 4);
            packet[4..].to_vec()
        };
        payloads.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn a_small_unit_is_one_packet_and_a_large_one_comes_back_from_its_fragments() {
        let small = Bytes::from_static(&[0x06, 1, 2]);
        let large: Bytes =
            (0..5000_u32).map(|i| if i == 0 { 0x65 } else { i as u8 }).collect::<Vec<u8>>().into();
        let packets = packets(&[small.clone(), large.clone()], Marker::Picture);
        assert_eq!(packets.len(), 5);
        assert_eq!(packets[0][12..], small);
        let mut rebuilt = vec![packets[1][12] & 0xe0 | packets[1][13] & 0x1f];
        for packet in &packets[1..] {
            assert_eq!(packet[12] & 0x1f, FU_A);
            assert!(packet.len() <= 12 + PAYLOAD_MAX);
            rebuilt.extend_from_slice(&packet[14..]);
        }
        assert_eq!(rebuilt, large);
        let flags: Vec<u8> = packets[1..].iter().map(|packet| packet[13] >> 6).collect();
        assert_eq!(flags, [0b10, 0, 0, 0b01]);
    }

    #[test]
    fn the_marker_ends_the_picture_or_each_slice_and_sequence_numbers_wrap() {
        let nals = [&[6, 1][..], &[0x41, 1], &[0x41, 2]].map(Bytes::from_static);
        let seen = |marker| -> Vec<(bool, u16)> {
            let packets = packets(&nals, marker);
            packets.iter().map(|p| (p[1] & 0x80 != 0, u16::from_be_bytes([p[2], p[3]]))).collect()
        };
        assert_eq!(seen(Marker::Picture), [(false, 65_534), (false, 65_535), (true, 0)]);
        assert_eq!(seen(Marker::Slice), [(false, 65_534), (true, 65_535), (true, 0)]);
    }

    #[test]
    fn a_sender_report_has_whole_words_and_the_ntp_time() {
        let report = Packetizer::new(0, 7, 0).sender_report(Duration::from_millis(1_700_000_000_500), 1);
        assert_eq!(report.len(), 28 + 20);
        assert_eq!(u32::from_be_bytes(report[8..12].try_into().unwrap()), 3_908_988_800);
        assert_eq!(u32::from_be_bytes(report[12..16].try_into().unwrap()), 1 << 31);
    }
}
