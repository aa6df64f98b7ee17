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

/// Makes the RTP packets of one stream, and counts them for its sender reports.
#[derive(Debug)]
pub(super) struct Packetizer {
    ssrc: u32,
    sequence: u16,
    packets: u32,
    octets: u32,
}

impl Packetizer {
    /// `sequence` is that of the first packet.
    pub(super) fn new(ssrc: u32, sequence: u16) -> Self {
        Self { ssrc, sequence, packets: 0, octets: 0 }
    }

    /// The sequence number of the next packet.
    pub(super) fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// The packets of one picture (RFC 6184 §5.6 and §5.8).
    pub(super) fn picture(&mut self, nals: &[Bytes], rtp_time: u32, marker: Marker) -> Vec<Bytes> {
        let mut packets = Vec::new();
        for (index, nal) in nals.iter().enumerate() {
            let is_marked = match marker {
                Marker::Picture => index + 1 == nals.len(),
                Marker::Slice => matches!(nal_kind(nal), Some(NalKind::Slice | NalKind::Idr)),
            };
            let payloads = payloads(nal);
            let last = payloads.len() - 1;
            for (index, payload) in payloads.iter().enumerate() {
                packets.push(self.packet(payload, rtp_time, is_marked && index == last));
            }
        }
        packets
    }

    fn packet(&mut self, payload: &Bytes, rtp_time: u32, marker: bool) -> Bytes {
        let mut packet = BytesMut::with_capacity(12 + payload.len());
        packet.put_u8(0x80); // version 2, no padding, extension or contributing sources (RFC 3550 §5.1)
        packet.put_u8(u8::from(marker) << 7 | PAYLOAD_TYPE);
        packet.put_u16(self.sequence);
        packet.put_u32(rtp_time);
        packet.put_u32(self.ssrc);
        packet.put_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        packet.freeze()
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
fn payloads(nal: &Bytes) -> Vec<Bytes> {
    if nal.len() <= PAYLOAD_MAX {
        return vec![nal.clone()];
    }
    let header = nal[0];
    let indicator = header & 0xe0 | FU_A;
    let body = nal.slice(1..);
    let count = body.len().div_ceil(PAYLOAD_MAX - 2);
    body.chunks(PAYLOAD_MAX - 2)
        .enumerate()
        .map(|(index, chunk)| {
            let start = u8::from(index == 0) << 7;
            let end = u8::from(index + 1 == count) << 6;
            let mut payload = BytesMut::with_capacity(chunk.len() + 2);
            payload.put_slice(&[indicator, start | end | header & 0x1f]);
            payload.put_slice(chunk);
            payload.freeze()
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

    #[test]
    fn a_small_unit_is_one_packet_and_a_large_one_comes_back_from_its_fragments() {
        let small = Bytes::from_static(&[0x06, 1, 2]);
        let large: Bytes =
            (0..5000_u32).map(|i| if i == 0 { 0x65 } else { i as u8 }).collect::<Vec<u8>>().into();
        let mut packetizer = Packetizer::new(7, 65_534);
        let packets = packetizer.picture(&[small.clone(), large.clone()], 90, Marker::Picture);
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
        let nals =
            vec![Bytes::from_static(&[6, 1]), Bytes::from_static(&[0x41, 1]), Bytes::from_static(&[0x41, 2])];
        let seen = |marker| -> Vec<(bool, u16)> {
            let packets = Packetizer::new(7, 65_534).picture(&nals, 90, marker);
            packets.iter().map(|p| (p[1] & 0x80 != 0, u16::from_be_bytes([p[2], p[3]]))).collect()
        };
        assert_eq!(seen(Marker::Picture), [(false, 65_534), (false, 65_535), (true, 0)]);
        assert_eq!(seen(Marker::Slice), [(false, 65_534), (true, 65_535), (true, 0)]);
    }

    #[test]
    fn a_sender_report_has_whole_words_and_the_ntp_time() {
        let report = Packetizer::new(7, 0).sender_report(Duration::from_millis(1_700_000_000_500), 1);
        assert_eq!(report.len(), 28 + 20);
        assert_eq!(u32::from_be_bytes(report[8..12].try_into().unwrap()), 3_908_988_800);
        assert_eq!(u32::from_be_bytes(report[12..16].try_into().unwrap()), 1 << 31);
    }
}
