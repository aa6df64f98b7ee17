//! What all containers have in common: they give back what was put in, wherever pieces end, and survive what is cut or damaged.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::h264::{AvcConfiguration, nals_avcc};
use crate::mkv::{Track, write};
use crate::pattern::Pattern;
use crate::track::{Access, TrackParameters};
use crate::{aac, g711};

/// Pictures a second of [`clip`].
pub(crate) const RATE: u32 = 10;

/// Some pictures, the first and the eleventh of which can be decoded by themselves.
pub(crate) fn clip(pictures: i64) -> Vec<Sample> {
    let mut pattern = Pattern::new(160, 96, RATE).unwrap();
    (0..pictures).map(|number| pattern.picture(number, 1_795_422_896_007 + number * 100)).collect()
}

/// The parameter sets of [`clip`].
pub(crate) fn parameters() -> TrackParameters {
    Pattern::new(160, 96, RATE).unwrap().parameters().clone()
}

/// A frame of sound; the number is in it.
pub(crate) fn sound(number: u8) -> Vec<u8> {
    vec![0x21, number, 0xFF, 0xF1, 0x00, number]
}

/// What a decoder must know of [`sound`].
pub(crate) const SOUND: aac::AudioConfig = aac::AudioConfig { object_type: 2, rate: 8_000, channels: 1 };

/// A picture as a byte stream, with parameter sets where decoding can start.
pub(crate) fn byte_stream(sample: &Sample) -> Vec<u8> {
    let mut out = Vec::new();
    if sample.access == Access::Start {
        let sets = AvcConfiguration::parse(&parameters().private).unwrap();
        for set in sets.sps.iter().chain(&sets.pps) {
            out.extend([&[0, 0, 0, 1][..], set].concat());
        }
    }
    for nal in nals_avcc(&sample.data) {
        out.extend([&[0, 0, 1][..], nal].concat());
    }
    out
}

fn mkv_document(pictures: i64, sound_parameters: Option<TrackParameters>, laced: bool) -> Vec<u8> {
    let tracks = [Some(parameters()), sound_parameters];
    let tracks: Vec<Track> =
        (1..).zip(tracks.iter().flatten()).map(|(n, track)| Track::of(n, track)).collect();
    let mut out = BytesMut::from(&write::header(&tracks)[..]);
    for (number, sample) in (0..).zip(clip(pictures)) {
        if number % 10 == 0 {
            out.extend_from_slice(&write::cluster_start(number * 100));
        }
        let relative = (number % 10 * 100) as i16;
        out.extend_from_slice(&write::simple_block_prefix(1, relative, number % 10 == 0, sample.data.len()));
        out.extend_from_slice(&sample.data);
        if tracks.len() == 2 {
            let frames = if laced { vec![sound(number as u8); 3] } else { vec![sound(number as u8)] };
            // Three frames of the same size: lacing 2.
            let head = if laced { vec![2] } else { Vec::new() };
            let payload = [head, frames.concat()].concat();
            let mut prefix = write::simple_block_prefix(2, relative, true, payload.len()).to_vec();
            *prefix.last_mut().unwrap() |= if laced { 4 } else { 0 };
            out.extend_from_slice(&prefix);
            out.extend_from_slice(&payload);
        }
    }
    out.to_vec()
}

/// Reads a whole input in pieces of this size; the items up to the first error, and that.
fn read(kind: Kind, input: &[u8], piece: usize) -> (Vec<Item>, Option<ContainerError>) {
    let mut demuxer = Demuxer::new(kind, RATE);
    let mut items = Vec::new();
    let mut take = |demuxer: &mut Demuxer| loop {
        match demuxer.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    };
    for piece in input.chunks(piece) {
        demuxer.push(Bytes::copy_from_slice(piece));
        if let Some(error) = take(&mut demuxer) {
            return (items, Some(error));
        }
    }
    demuxer.finish();
    let error = take(&mut demuxer);
    (items, error)
}

fn inputs(pictures: i64) -> [(Kind, Vec<u8>); 4] {
    let sound = aac::parameters(&SOUND.to_config()).unwrap();
    [
        (Kind::AnnexB, clip(pictures).iter().flat_map(byte_stream).collect()),
        (Kind::Mkv, mkv_document(pictures, Some(sound), false)),
        (Kind::MpegTs, ts::tests::stream(&clip(pictures), true)),
        (Kind::Mp4, mp4::tests::fragmented(&clip(pictures), true)),
    ]
}

#[test]
fn what_was_put_in_comes_out_wherever_pieces_end() {
    let clip = clip(13);
    for (kind, input) in inputs(13) {
        assert_eq!(detect(&input), Detection::Found(kind));
        let (whole, error) = read(kind, &input, input.len());
        assert_eq!(error, None, "{kind:?}");
        let has_sound = kind != Kind::AnnexB;
        let tracks = if has_sound { vec![Codec::H264, Codec::Aac] } else { vec![Codec::H264] };
        assert_eq!(whole[0], Item::Tracks(tracks));
        let samples = |track: u8| {
            whole.iter().filter_map(move |item| match item {
                Item::Sample(sample) if sample.track == track => Some(sample),
                _ => None,
            })
        };
        assert_eq!(samples(0).count(), clip.len(), "{kind:?}");
        for (number, (found, put)) in (0..).zip(samples(0).zip(&clip)) {
            assert_eq!(
                (&found.data, found.access, found.lost),
                (&put.data, put.access, 0),
                "{kind:?} {number}"
            );
            assert_eq!(found.ticks * 10, number * i64::from(found.rate), "{kind:?} {number}");
            assert_eq!(found.parameters, (number == 0).then(parameters), "{kind:?} {number}");
        }
        assert_eq!(samples(1).count(), if has_sound { clip.len() } else { 0 }, "{kind:?}");
        for (number, found) in (0..).zip(samples(1)) {
            assert_eq!(&found.data[..], sound(number as u8), "{kind:?} {number}");
            assert_eq!(found.ticks * 10, number * i64::from(found.rate), "{kind:?} {number}");
            let expected = (number == 0).then(|| aac::parameters(&SOUND.to_config()).unwrap());
            assert_eq!(found.parameters, expected, "{kind:?} {number}");
        }
        for piece in [1, 2, 3, 187, 188, 189, 1_000] {
            assert_eq!(read(kind, &input, piece), (whole.clone(), None), "{kind:?} in pieces of {piece}");
        }
    }
}

#[test]
fn an_input_that_is_cut_gives_what_was_before_the_cut() {
    for (kind, input) in inputs(12) {
        let (whole, _) = read(kind, &input, input.len());
        for end in 0..input.len() {
            let (items, _) = read(kind, &input[..end], 4_096);
            assert!(items.len() <= whole.len(), "{kind:?} cut at {end}");
            // What is cut within a byte stream ends there, so that the last picture is shorter.
            for (place, (found, expected)) in items.iter().zip(&whole).enumerate() {
                let is_last = place + 1 == items.len() || place + 2 == items.len();
                let (Item::Sample(found), Item::Sample(expected)) = (found, expected) else { continue };
                let is_same = found.track != expected.track || found.data == expected.data;
                assert!(is_same || is_last && kind != Kind::Mkv, "{kind:?} cut at {end}: {place}");
            }
        }
    }
}

#[test]
fn damage_never_panics_and_never_takes_much_memory() {
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for (kind, input) in inputs(12) {
        for _ in 0..1_500 {
            let mut damaged = input.clone();
            for _ in 0..=next(6) {
                let at = next(damaged.len());
                match next(4) {
                    0 => damaged[at] = next(256) as u8,
                    1 => damaged[at] ^= 1 << next(8),
                    2 => _ = damaged.remove(at),
                    _ => {
                        let end = (at + next(300)).min(damaged.len());
                        damaged.drain(at..end);
                    }
                }
                if damaged.is_empty() {
                    damaged.push(0);
                }
            }
            let (items, _) = read(kind, &damaged, 1 + next(2_000));
            let bytes: usize = items
                .iter()
                .map(|item| if let Item::Sample(sample) = item { sample.data.len() } else { 0 })
                .sum();
            assert!(
                bytes <= damaged.len() + 4 * items.len() + 4 * damaged.len() / 3,
                "{kind:?}: {bytes} bytes"
            );
        }
    }
}

#[test]
fn noise_and_zeros_are_refused_or_passed_over_in_bounded_memory() {
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for kind in [Kind::Mkv, Kind::Mp4, Kind::MpegTs, Kind::AnnexB] {
        for input in [&noise[..], &vec![0; 2 << 20]] {
            let (items, error) = read(kind, input, 65_536);
            assert_eq!((items, error.is_some()), (Vec::new(), true), "{kind:?}");
        }
    }
}

#[test]
fn containers_are_told_apart_by_their_first_bytes() {
    for (kind, input) in inputs(12) {
        for end in 0..input.len() {
            let found = detect(&input[..end]);
            assert!(
                matches!(found, Detection::More) || found == Detection::Found(kind),
                "{kind:?} {end}: {found:?}"
            );
        }
        // A transport stream may be joined in the middle of a packet.
        if kind == Kind::MpegTs {
            assert_eq!(detect(&input[77..]), Detection::Found(kind));
        }
    }
    for unknown in [&b"RIFF\x24\0\0\0WAVEfmt "[..], b"\0\0\0\x02 and so on", &[0x47; 10][..3], b"#EXTM3U\n"] {
        let long = [unknown, &[7; DETECT_BYTES]].concat();
        assert_eq!(detect(&long), Detection::Unknown, "{unknown:?}");
    }
    assert_eq!(detect(&[0; DETECT_BYTES]), Detection::Unknown);
}

#[test]
fn laced_sound_of_matroska_has_a_time_for_each_frame() {
    let input = mkv_document(2, aac::parameters(&SOUND.to_config()).ok(), true);
    let (items, error) = read(Kind::Mkv, &input, 100);
    assert_eq!(error, None);
    let ticks: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Sample(sample) if sample.track == 1 => Some(sample.ticks),
            _ => None,
        })
        .collect();
    // 1,024 samples of 8,000 a second: 128 ms.
    assert_eq!(ticks, [0, 128, 256, 100, 228, 356]);
}

#[test]
fn telephone_sound_is_carried_by_its_law() {
    let input = mkv_document(1, g711::parameters(Codec::PcmAlaw, 8_000, 1), false);
    let (items, _) = read(Kind::Mkv, &input, 100);
    assert_eq!(items[0], Item::Tracks(vec![Codec::H264, Codec::PcmAlaw]));
    assert_eq!(items.len(), 3);
}

#[test]
fn sound_that_is_not_carried_is_named_before_the_tracks() {
    let mut input = mkv_document(1, g711::parameters(Codec::PcmAlaw, 8_000, 1), false);
    let at = input.windows(8).position(|bytes| bytes == b"A_MS/ACM").unwrap();
    input[at..at + 8].copy_from_slice(b"A_MPEGL3");
    let (items, error) = read(Kind::Mkv, &input, 100);
    assert_eq!(error, None);
    assert_eq!(items[..2], [Item::LeftOut("A_MPEGL3".to_owned()), Item::Tracks(vec![Codec::H264])]);
}

#[test]
fn tracks_that_are_not_carried_are_named() {
    let only = |codec_id: &str, kind: crate::mkv::TrackKind| {
        let track = Track { codec_id: codec_id.to_owned(), kind, ..Track::video("", Bytes::new(), 16, 16) };
        let input = [&write::header(&[track])[..], &write::cluster_start(0)].concat();
        read(Kind::Mkv, &input, 1_000).1.unwrap()
    };
    let error = only("V_VP9", crate::mkv::TrackKind::Video);
    assert!(matches!(&error, ContainerError::UnsupportedCodec { codec, .. } if codec == "V_VP9"), "{error}");
    let error = only("A_OPUS", crate::mkv::TrackKind::Audio);
    assert!(matches!(&error, ContainerError::NoVideo { what, .. } if what == "A_OPUS"), "{error}");
    let error = only(crate::mkv::CODEC_H264, crate::mkv::TrackKind::Video);
    assert!(matches!(&error, ContainerError::Invalid { .. }), "no avcC: {error}");
}
