//! Matroska, MP4, transport streams, byte streams.

use std::num::NonZeroU32;

use shiguredo_mp4::TrackKind;
use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, LengthSize, build_avc1_box_from_annexb};
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::mux::{Fmp4SegmentMuxer, Mp4FileMuxer, Sample as Muxed};
use streamfleet_media::mkv::{Track, write};
use streamfleet_media::track::{Access, Sample, TrackParameters};

use super::{Seed, byte_stream, clip};

/// Pictures are cut to this size: what is in them matters to nobody here.
const PICTURE_BYTES_MAX: usize = 120;

pub fn seeds() -> Vec<Seed> {
    let (parameters, mut samples) = clip(4);
    let stream = byte_stream(&parameters, &samples[..2]);
    for sample in &mut samples {
        sample.data = sample.data.slice(..sample.data.len().min(PICTURE_BYTES_MAX));
    }
    let samples = samples;
    let (whole, pieces) = (0, 100);
    let with = |first: u8, bytes: &[u8]| [&[first], bytes].concat();
    let matroska = matroska(&parameters, &samples);
    let transport = transport(&byte_stream(&parameters, &samples[..1]));
    vec![
        ("matroska", "whole", with(whole, &matroska)),
        ("matroska", "pieces", with(pieces, &matroska)),
        ("fragments", "whole", with(whole, &matroska)),
        ("fragments", "pieces", with(pieces, &matroska)),
        ("mp4", "fragmented", with(whole, &fragmented(&parameters, &samples))),
        ("mp4", "plain", with(1, &plain(&parameters, &samples))),
        ("mpeg_ts", "whole", with(whole, &transport)),
        ("mpeg_ts", "pieces", with(pieces, &transport)),
        ("annex_b", "h264", with(whole, &stream[..stream.len().min(2_000)])),
        ("annex_b", "h265", with(whole, &h265())),
    ]
}

fn h265() -> Vec<u8> {
    let slice = [0x26, 0x01, 0xAF, 1, 2, 3];
    let units = [super::H265_VPS, super::H265_SPS, super::H265_PPS, &slice, &[0x02, 0x01, 0xD0, 1]];
    units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect()
}

fn matroska(parameters: &TrackParameters, samples: &[Sample]) -> Vec<u8> {
    let mut out = write::header(&[Track::of(1, parameters)]).to_vec();
    for (cluster, samples) in samples.chunks(2).enumerate() {
        out.extend_from_slice(&write::cluster_start(1_700_000_000_000 + cluster as u64 * 200));
        for (index, sample) in samples.iter().enumerate() {
            let key = sample.access == Access::Start;
            out.extend_from_slice(&write::simple_block_prefix(1, index as i16 * 100, key, sample.data.len()));
            out.extend_from_slice(&sample.data);
        }
        out.extend_from_slice(&write::tags(&[("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "7"), ("own", "")]));
    }
    out
}

fn entry(parameters: &TrackParameters) -> SampleEntry {
    let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
    let stream = byte_stream(parameters, &clip(1).1);
    SampleEntry::Avc1(build_avc1_box_from_annexb(&stream, &config).expect("the pattern is H.264"))
}

fn muxed(parameters: &TrackParameters, sample: &Sample, first: bool, data_offset: u64) -> Muxed {
    Muxed {
        track_kind: TrackKind::Video,
        sample_entry: first.then(|| entry(parameters)),
        keyframe: sample.access == Access::Start,
        timescale: NonZeroU32::new(10_000).expect("it is not zero"),
        duration: 1_000,
        composition_time_offset: None,
        data_offset,
        data_size: sample.data.len(),
    }
}

fn fragmented(parameters: &TrackParameters, samples: &[Sample]) -> Vec<u8> {
    let mut muxer = Fmp4SegmentMuxer::new().expect("a muxer");
    let mut fragments = Vec::new();
    for (part, samples) in samples.chunks(2).enumerate() {
        let (mut described, mut payload) = (Vec::new(), Vec::new());
        for (index, sample) in samples.iter().enumerate() {
            described.push(muxed(parameters, sample, part + index == 0, payload.len() as u64));
            payload.extend_from_slice(&sample.data);
        }
        fragments.extend(muxer.create_media_segment_metadata(&described).expect("a fragment"));
        fragments.extend(payload);
    }
    [muxer.init_segment_bytes().expect("a head"), fragments].concat()
}

fn plain(parameters: &TrackParameters, samples: &[Sample]) -> Vec<u8> {
    let mut muxer = Mp4FileMuxer::new().expect("a muxer");
    let mut file = muxer.initial_boxes_bytes().to_vec();
    for (number, sample) in samples.iter().enumerate() {
        let described = muxed(parameters, sample, number == 0, file.len() as u64);
        file.extend_from_slice(&sample.data);
        muxer.append_sample(&described).expect("a sample");
    }
    for (offset, bytes) in muxer.finalize().expect("a file").offset_and_bytes_pairs() {
        let end = offset as usize + bytes.len();
        file.resize(file.len().max(end), 0);
        file[offset as usize..end].copy_from_slice(bytes);
    }
    file
}

/// Program tables and a picture in packets of 188 bytes.
fn transport(picture: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    table(&mut out, 0, 0, &[0, 1, 0xF0, 0]);
    table(&mut out, 0x1000, 2, &[0xE1, 0, 0xF0, 0, 0x1B, 0xE1, 0, 0xF0, 0, 0x0F, 0xE1, 1, 0xF0, 0]);
    for number in 0..2_u8 {
        let time = [0x21, 0, number * 16 | 1, 0, 1];
        let head = [&[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5][..], &time].concat();
        unit(&mut out, 0x100, number * 8, &[&head, picture].concat());
        let adts = [0xFF, 0xF1, 0x6C, 0x40, 0x01, 0x3F, 0xFC, 0x21, 0x01];
        let head = [&[0, 0, 1, 0xC0, 0, 0, 0x80, 0x80, 5][..], &time].concat();
        unit(&mut out, 0x101, number, &[&head[..], &adts].concat());
    }
    out
}

fn table(out: &mut Vec<u8>, pid: u16, table: u8, content: &[u8]) {
    let length = (5 + content.len() + 4) as u8;
    let mut section = [&[table, 0xB0, length, 0, 1, 0xC1, 0, 0], content].concat();
    section.extend(checksum(&section).to_be_bytes());
    unit(out, pid, 0, &[&[0], &section[..]].concat());
}

fn unit(out: &mut Vec<u8>, pid: u16, count: u8, bytes: &[u8]) {
    for (index, part) in bytes.chunks(184).enumerate() {
        let starts = if index == 0 { 0x40 } else { 0 };
        let stuffing = 184 - part.len();
        let control = if stuffing > 0 { 0x30 } else { 0x10 };
        out.extend([0x47, starts | (pid >> 8) as u8, pid as u8, control | (count + index as u8) % 16]);
        if stuffing > 0 {
            let mut field = vec![0xFF; stuffing];
            field[0] = stuffing as u8 - 1;
            if stuffing > 1 {
                field[1] = 0;
            }
            out.extend(field);
        }
        out.extend_from_slice(part);
    }
}

/// CRC-32 as transport streams have it (ISO 13818-1 annex A).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum >> 31 == 1 { sum << 1 ^ 0x04C1_1DB7 } else { sum << 1 }
        })
    })
}
