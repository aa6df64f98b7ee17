//! RTP, RTCP, SDP, RTSP.

use streamfleet_media::rtp::framing::interleaved;
use streamfleet_media::rtp::rtcp::receiver_report;

use super::{H265_PPS, H265_SPS, H265_VPS, Seed, clip, nals};
use crate::sdp;

/// What is odd about a packet, see [`crate::rtp`]: nothing, and the last of its picture.
const MIDDLE: u8 = 3 << 3;
const LAST: u8 = MIDDLE | 1;
/// The next picture: its time is later.
const NEXT: u8 = MIDDLE | 2 << 1;

pub fn seeds() -> Vec<Seed> {
    vec![
        ("rtp_h264", "pictures", h264()),
        ("rtp_h265", "pictures", h265()),
        ("rtp_aac", "frames", aac()),
        ("rtp_g711", "sound", payloads(&[(NEXT, &[0xD5; 160]), (NEXT, &[0x55; 160])])),
        ("rtp_packet", "some", packets()),
        ("rtcp", "sender", sender_report()),
        ("rtcp", "receiver", receiver_report(7, None, None)),
        ("sdp", "video", sdp("video", "H264/90000", "packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==").into_bytes()),
        ("sdp", "h265", sdp("video", "H265/90000", "sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwA/lZgJ;sprop-sps=QgEBAWAAAAMAkAAAAwAAAwA/oAUCAWllk=;sprop-pps=RAHBcrRiQA==").into_bytes()),
        ("sdp", "aac", sdp("audio", "MPEG4-GENERIC/48000/2", "mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3").into_bytes()),
        ("sdp", "g711", sdp("audio", "PCMA/8000", "").into_bytes()),
        ("rtsp", "whole", rtsp(0)),
        ("rtsp", "pieces", rtsp(80)),
    ]
}

fn payloads(payloads: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (odd, payload) in payloads {
        // Long ones are given in units of 16 bytes.
        let (odd, length) = if payload.len() < 256 {
            (*odd, payload.len())
        } else {
            (odd | 0x80, payload.len().min(4_080) / 16)
        };
        let taken = if odd & 0x80 == 0 { length } else { length * 16 };
        out.extend_from_slice(&[odd, length as u8]);
        out.extend_from_slice(&payload[..taken]);
    }
    out
}

fn h264() -> Vec<u8> {
    let (parameters, samples) = clip(3);
    let mut out = Vec::new();
    for (number, sample) in samples.iter().enumerate() {
        let units = nals(&parameters, sample);
        if number == 0 {
            // STAP-A with both parameter sets.
            let mut both = vec![24];
            for set in &units[..2] {
                both.extend_from_slice(&(set.len() as u16).to_be_bytes());
                both.extend_from_slice(set);
            }
            out.extend(payloads(&[(NEXT, &both)]));
        }
        let slice = &units[units.len() - 1];
        let slice = &slice[..slice.len().min(600)];
        let (head, body) = (slice[0], &slice[1..]);
        if number == 2 {
            out.extend(payloads(&[(NEXT | 1, &slice[..slice.len().min(200)])]));
            continue;
        }
        let parts: Vec<&[u8]> = body.chunks(body.len().div_ceil(3).max(1)).collect();
        for (index, part) in parts.iter().enumerate() {
            let (first, last) = (index == 0, index + 1 == parts.len());
            let unit =
                [&[head & 0xE0 | 28, u8::from(first) << 7 | u8::from(last) << 6 | head & 0x1F][..], part]
                    .concat();
            let odd = if first && number > 0 { NEXT } else { MIDDLE } | u8::from(last);
            out.extend(payloads(&[(odd, &unit)]));
        }
    }
    out
}

fn h265() -> Vec<u8> {
    let slice = [0x26, 0x01, 0xAF, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut sets = vec![48 << 1, 1];
    for set in [H265_VPS, H265_SPS, H265_PPS] {
        sets.extend_from_slice(&(set.len() as u16).to_be_bytes());
        sets.extend_from_slice(set);
    }
    let first = [49 << 1, 1, 0x80 | 19, 0xAF, 1, 2, 3];
    let last = [49 << 1, 1, 0x40 | 19, 4, 5, 6];
    let pictures = payloads(&[
        (NEXT, &sets),
        (LAST, &slice),
        (NEXT, &first),
        (LAST, &last),
        (NEXT | 1, &[0x02, 0x01, 0xD0, 1, 2, 3]),
    ]);
    [&[0][..], &pictures].concat()
}

fn aac() -> Vec<u8> {
    // Two frames of 4 and 5 bytes; then one in two parts.
    payloads(&[
        (NEXT | 1, &[0, 32, 0, 4 << 3, 0, 5 << 3, 1, 2, 3, 4, 1, 2, 3, 4, 5]),
        (NEXT, &[0, 16, 0, 8 << 3, 1, 2, 3, 4]),
        (LAST, &[0, 16, 0, 8 << 3, 5, 6, 7, 8]),
    ])
}

fn packet(number: u16, payload: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    [&[0x80, 0xE0, number[0], number[1], 0, 0, 0, number[1], 0, 0, 0, 1][..], payload].concat()
}

fn packets() -> Vec<u8> {
    let mut out = Vec::new();
    for number in [1, 2, 4, 3, 5, 5, 60_000] {
        let packet = packet(number, b"payload");
        out.extend_from_slice(&[packet.len() as u8, 10]);
        out.extend(packet);
    }
    out
}

fn sender_report() -> Vec<u8> {
    let report =
        [0x80, 200, 0, 6, 0, 0, 0, 1, 0xE0, 0, 0, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 9, 0];
    let description = [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 1, b'x', 0];
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 1];
    [&report[..], &description, &bye].concat()
}

fn rtsp(piece: u8) -> Vec<u8> {
    let mut out = vec![piece];
    out.extend_from_slice(
        b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 4\r\nSession: 7;timeout=60\r\n\r\nv=0\n",
    );
    out.extend(interleaved(0, &packet(1, b"payload")));
    out.extend(interleaved(1, &sender_report()));
    out.extend_from_slice(b"OPTIONS rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\n\r\n\r\n");
    out.extend(interleaved(0, &packet(2, b"more")));
    out
}
