//! H.265, AAC and G.711, and the clock of reports.

use super::Packet;
use super::receiver::{Received, Receiver};
use super::sdp::{Description, Offer};
use crate::track::{Access, Codec, Format, Sample};

fn offer(description: &str) -> Offer {
    Description::parse(format!("v=0\n{description}").as_bytes()).unwrap().offers.remove(0)
}

fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Packet<'_> {
    Packet { marker, payload_type: 97, sequence, timestamp, ssrc: 1, payload }
}

/// What comes out of payloads that are sent one by one: timestamps, markers, bytes.
fn samples(description: &str, sent: &[(u32, bool, &[u8])]) -> Vec<Sample> {
    let mut receiver = Receiver::new(3, &offer(description)).unwrap();
    let mut out = Vec::new();
    for (sequence, (timestamp, marker, payload)) in (0..).zip(sent) {
        receiver.push(&packet(sequence, *timestamp, *marker, payload), (), &mut out);
    }
    receiver.close(&mut out);
    out.into_iter().map(|(sample, ())| sample).collect()
}

/// Sets of a camera of 640×368.
const H265: &str = "m=video 0 RTP/AVP 97\na=rtpmap:97 H265/90000\n\
    a=fmtp:97 sprop-vps=QAEMAf//AWAAAAMAkAAAAwAAAwA/lZgJ; sprop-sps=QgEBAWAAAAMAkAAAAwAAAwA/oAUCAXFlllZrTKwEAAADAAQAAAMAZCA=; \
    sprop-pps=RAHBcrRiQA==";

/// A slice of a type of unit: the first of its picture, or a further one.
fn slice(kind: u8, is_first: bool) -> Vec<u8> {
    vec![kind << 1, 1, if is_first { 0x80 } else { 0x20 }, 9]
}

#[test]
fn h265_comes_as_single_units_aggregates_and_fragments() {
    let (idr, more) = (slice(19, true), slice(19, false));
    let aggregate = [&[48 << 1, 1, 0, 4][..], &idr, &[0, 4], &more].concat();
    let sent: [(u32, bool, &[u8]); 6] = [
        (0, true, &aggregate),
        (3_600, false, &[49 << 1, 1, 0x81, 0x80, 1]),
        (3_600, false, &[49 << 1, 1, 0x01, 2, 3]),
        (3_600, true, &[49 << 1, 1, 0x41, 4]),
        (7_200, true, &slice(1, true)),
        (10_800, true, &slice(1, true)),
    ];
    let got = samples(H265, &sent);
    assert_eq!(got[0].data[..], [0, 0, 0, 4, 38, 1, 0x80, 9, 0, 0, 0, 4, 38, 1, 0x20, 9]);
    assert_eq!(got[1].data[..], [0, 0, 0, 7, 2, 1, 0x80, 1, 2, 3, 4]);
    let parameters = got[0].parameters.as_ref().unwrap();
    let Format::Video(video) = parameters.format else { panic!("{parameters:?}") };
    assert_eq!((parameters.codec, video.width, video.height), (Codec::H265, 640, 368));
    assert_eq!(
        (got.len(), got[0].access, got[1].access, got[0].track),
        (4, Access::Start, Access::Continue, 3)
    );
}

#[test]
fn decoding_order_numbers_are_passed_over() {
    let with = format!("{H265}; sprop-max-don-diff=1\n");
    let (idr, more) = (slice(19, true), slice(19, false));
    let aggregate = [&[48 << 1, 1, 0, 7, 0, 4][..], &idr, &[0, 0, 4], &more].concat();
    let single = [&slice(1, true)[..2], &[0, 9], &slice(1, true)[2..]].concat();
    let sent: [(u32, bool, &[u8]); 5] = [
        (0, true, &aggregate),
        (3_600, false, &[49 << 1, 1, 0x81, 0, 8, 0x80, 1]),
        (3_600, true, &[49 << 1, 1, 0x41, 4]),
        (7_200, true, &single),
        (10_800, true, &single),
    ];
    let got = samples(&with, &sent);
    let data: Vec<_> = got.iter().map(|sample| sample.data.len()).collect();
    assert_eq!(data, [16, 9, 8, 8]);
    assert_eq!(got[1].data[..], [0, 0, 0, 5, 2, 1, 0x80, 1, 4]);
}

#[test]
fn pictures_after_a_clean_random_access_are_told_apart() {
    let kinds = [21, 9, 6, 1, 1];
    let slices: Vec<_> = kinds.iter().map(|kind| slice(*kind, true)).collect();
    let sent: Vec<_> = (0..).zip(&slices).map(|(n, slice)| (n * 3_600, true, &slice[..])).collect();
    let access: Vec<_> = samples(H265, &sent).iter().map(|sample| sample.access).collect();
    let rest = [Access::SkippedLeading, Access::Continue, Access::Continue, Access::Continue];
    assert_eq!(access, [&[Access::Start][..], &rest].concat());
}

const AAC: &str = "m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/48000/2\n\
    a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\n";

#[test]
fn aac_frames_of_a_packet_have_each_its_time() {
    let got = samples(
        AAC,
        &[(1_000, true, &[0, 32, 0, 16, 0, 24, 1, 2, 3, 4, 5]), (3_048, true, &[0, 16, 0, 8, 6])],
    );
    let seen: Vec<_> = got.iter().map(|sample| (sample.ticks, sample.data.to_vec())).collect();
    assert_eq!(seen, [(1_000, vec![1, 2]), (2_024, vec![3, 4, 5]), (3_048, vec![6])]);
    let parameters = got[0].parameters.as_ref().unwrap();
    assert_eq!((parameters.codec, &parameters.private[..]), (Codec::Aac, &[0x11, 0x90][..]));
    assert!(got[1].parameters.is_none() && got[0].rate == 48_000);
}

#[test]
fn an_aac_frame_in_fragments_is_joined_and_one_with_a_part_missing_is_left_out() {
    let head = [0, 16, 0, 5 << 3];
    let first = [&head[..], &[1, 2]].concat();
    let second = [&head[..], &[3, 4, 5]].concat();
    let got = samples(AAC, &[(0, false, &first), (0, true, &second)]);
    assert_eq!((got.len(), &got[0].data[..]), (1, &[1, 2, 3, 4, 5][..]));

    let mut receiver = Receiver::new(0, &offer(AAC)).unwrap();
    let mut out = Vec::new();
    receiver.push(&packet(1, 0, false, &first), (), &mut out);
    receiver.push(&packet(3, 0, true, &second), (), &mut out);
    receiver.push(&packet(4, 1_024, true, &[0, 16, 0, 8, 6]), (), &mut out);
    assert_eq!((out.len(), out[0].0.lost), (1, 1));
}

#[test]
fn aac_of_low_bit_rate_has_short_heads() {
    let low = AAC.replace("AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3", "AAC-lbr");
    let got = samples(&low, &[(0, true, &[0, 16, 2 << 2, 1 << 2, 1, 2, 3])]);
    let sizes: Vec<_> = got.iter().map(|sample| sample.data.len()).collect();
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn broken_aac_is_malformed() {
    let mut receiver = Receiver::new(0, &offer(AAC)).unwrap();
    let mut out = Vec::new();
    let broken: [&[u8]; 5] = [&[0], &[0, 16], &[0, 8, 1, 2], &[0xFF, 0xFF, 1], &[0, 32, 0, 16, 0, 24, 1]];
    for (sequence, payload) in (0..).zip(broken) {
        let result = receiver.push(&packet(sequence, 0, true, payload), (), &mut out);
        assert_eq!(result, Received::Malformed, "{payload:?}");
    }
    assert!(out.is_empty());
}

#[test]
fn what_is_not_carried_is_named() {
    let refused = |description: &str| Receiver::<()>::new(0, &offer(description)).unwrap_err().to_string();
    let interleaved = "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2\n";
    assert!(refused(interleaved).contains("packetization mode 2"));
    assert!(refused(&AAC.replace("config=1190", "config=")).contains("configuration"));
    assert!(refused(&AAC.replace("AAC-hbr", "CELP-cbr")).contains("celp"));
    assert!(refused(&AAC.replace("config", "ctsdeltalength=8;config")).contains("ctsdeltalength"));
    assert!(refused("m=audio 0 RTP/AVP 96\na=rtpmap:96 MP4A-LATM/90000\n").contains("LATM"));
}

#[test]
fn g711_is_carried_as_it_comes() {
    for (law, codec) in [("PCMA", Codec::PcmAlaw), ("pcmu", Codec::PcmMulaw)] {
        let description = format!("m=audio 0 RTP/AVP 97\na=rtpmap:97 {law}/8000\n");
        let got = samples(&description, &[(160, true, &[1, 2, 3]), (320, false, &[4])]);
        assert_eq!((&got[0].data[..], got[0].ticks, got[1].ticks), (&[1, 2, 3][..], 160, 320));
        assert_eq!(got[0].parameters.as_ref().unwrap().codec, codec);
        assert!(got[1].parameters.is_none());
    }
}

#[test]
fn reports_are_on_the_clock_of_the_samples_whether_they_come_before_or_after() {
    let mut receiver = Receiver::new(2, &offer(AAC)).unwrap();
    let first = receiver.report(7, u32::MAX - 999);
    let mut out = Vec::new();
    receiver.push(&packet(0, 24, true, &[0, 16, 0, 8, 6]), (), &mut out);
    assert_eq!(out[0].0.ticks - first.ticks, 1_024);
    let later = receiver.report(8, 48_000);
    assert_eq!((later.ticks - out[0].0.ticks, later.track, later.rate, later.ntp), (47_976, 2, 48_000, 8));
}

/// Numbers that are the same at each run (Knuth's MMIX generator).
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn no_packets_make_it_panic_or_yield_units_that_do_not_fit() {
    let h264 = "m=video 0 RTP/AVP 97\na=rtpmap:97 H264/90000\na=fmtp:97 sprop-parameter-sets=Z2QAM6zoAoALWQ==,aO48MA==\n";
    let g711 = "m=audio 0 RTP/AVP 97\na=rtpmap:97 pcma/8000\n";
    let donl = format!("{H265}; sprop-max-don-diff=1\n");
    // Heads that lead into every branch.
    let heads: [&[u8]; 10] = [
        &[0x65, 0x88],
        &[0x41, 0x9A],
        &[24, 0, 3],
        &[0x7C, 0x85],
        &[0x7C, 0x45],
        &[0, 0, 0, 1],
        &[48 << 1, 1],
        &[49 << 1, 1, 0x93],
        &[38, 1, 0x80],
        &[0, 16],
    ];
    let mut given = 0;
    for (description, is_video) in [(h264, true), (H265, true), (&donl, true), (AAC, false), (g711, false)] {
        let mut receiver = Receiver::new(0, &offer(description)).unwrap();
        let mut random = numbers(7);
        let mut out = Vec::new();
        let (mut sequence, mut timestamp) = (0_u16, 0_u32);
        for _ in 0..30_000 {
            let mut payload = heads[random(10) as usize].to_vec();
            payload.extend(
                (0..random(12)).map(|_| [0, 1, 3, 0x65, 0x88, random(256) as u8][random(6) as usize]),
            );
            sequence = sequence.wrapping_add([1, 1, 1, 1, 1, 1, 1, 2, 0, 900][random(10) as usize]);
            timestamp = timestamp.wrapping_add([0, 0, 3_600, 3_600, 3_600, 7, u32::MAX][random(7) as usize]);
            receiver.push(&packet(sequence, timestamp, random(2) == 0, &payload), (), &mut out);
            if random(8) == 0 {
                receiver.release(&mut out);
            }
            for (sample, ()) in out.drain(..) {
                given += 1;
                if is_video {
                    let units: usize = crate::nal::nals_avcc(&sample.data).map(|nal| nal.len() + 4).sum();
                    assert_eq!(units, sample.data.len(), "{sample:?}");
                }
            }
        }
    }
    assert!(given > 20_000, "only {given} samples");
}
