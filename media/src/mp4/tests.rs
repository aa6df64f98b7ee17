use std::num::NonZeroU32;

use bytes::Bytes;
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::bitstream::aac::{Mp4aSampleEntryConfig, build_mp4a_box, parse_audio_specific_config};
use shiguredo_mp4::bitstream::h264::LengthSize;
use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, build_avc1_box_from_annexb};
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::mux::{Fmp4SegmentMuxer, Mp4FileMuxer, Sample as Muxed};

use super::*;
use crate::container::Item;
use crate::container::tests::{RATE, byte_stream, clip, sound};
use crate::track::{Access, Codec, Sample};

fn video_entry() -> SampleEntry {
    let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
    SampleEntry::Avc1(build_avc1_box_from_annexb(&byte_stream(&clip(1)[0]), &config).unwrap())
}

fn sound_entry() -> SampleEntry {
    let config = parse_audio_specific_config(&crate::container::tests::SOUND.to_config()).unwrap();
    let more = Mp4aSampleEntryConfig { es_id: 1, buffer_size_db: 0, max_bitrate: 0, avg_bitrate: 0 };
    SampleEntry::Mp4a(build_mp4a_box(&config, &more).unwrap())
}

fn muxed_picture(sample: &Sample, first: bool, data_offset: u64) -> Muxed {
    Muxed {
        track_kind: TrackKind::Video,
        sample_entry: first.then(video_entry),
        keyframe: sample.access == Access::Start,
        timescale: NonZeroU32::new(1_000 * RATE).unwrap(),
        duration: 1_000,
        composition_time_offset: None,
        data_offset,
        data_size: sample.data.len(),
    }
}

fn muxed_sound(number: u8, first: bool, data_offset: u64) -> Muxed {
    Muxed {
        track_kind: TrackKind::Audio,
        sample_entry: first.then(sound_entry),
        keyframe: true,
        timescale: NonZeroU32::new(8_000).unwrap(),
        duration: 8_000 / RATE,
        composition_time_offset: None,
        data_offset,
        data_size: sound(number).len(),
    }
}

/// A fragmented MP4 of these pictures, five in a fragment, with a frame of sound beside each.
pub(crate) fn fragmented(clip: &[Sample], with_sound: bool) -> Vec<u8> {
    let mut muxer = Fmp4SegmentMuxer::new().unwrap();
    let mut fragments = Vec::new();
    for (part, pictures) in clip.chunks(5).enumerate() {
        let first = part * 5;
        let (mut samples, mut payload) = (Vec::new(), Vec::new());
        for (number, picture) in (first..).zip(pictures) {
            samples.push(muxed_picture(picture, number == 0, payload.len() as u64));
            payload.extend_from_slice(&picture.data);
        }
        for number in (first..first + pictures.len()).filter(|_| with_sound) {
            samples.push(muxed_sound(number as u8, number == 0, payload.len() as u64));
            payload.extend(sound(number as u8));
        }
        fragments.extend(muxer.create_media_segment_metadata(&samples).unwrap());
        fragments.extend(payload);
    }
    [muxer.init_segment_bytes().unwrap(), fragments].concat()
}

/// A plain MP4 of these pictures, with a frame of sound beside each.
fn plain(clip: &[Sample]) -> Vec<u8> {
    let mut muxer = Mp4FileMuxer::new().unwrap();
    let mut file = muxer.initial_boxes_bytes().to_vec();
    for (number, picture) in clip.iter().enumerate() {
        let sample = muxed_picture(picture, number == 0, file.len() as u64);
        file.extend_from_slice(&picture.data);
        muxer.append_sample(&sample).unwrap();
        let sample = muxed_sound(number as u8, number == 0, file.len() as u64);
        file.extend(sound(number as u8));
        muxer.append_sample(&sample).unwrap();
    }
    for (offset, bytes) in muxer.finalize().unwrap().offset_and_bytes_pairs() {
        let end = offset as usize + bytes.len();
        file.resize(file.len().max(end), 0);
        file[offset as usize..end].copy_from_slice(bytes);
    }
    file
}

/// Reads a file by what the reader asks for; the items, and how it ended.
fn read(file: &[u8]) -> (Vec<Item>, Result<Step, ContainerError>) {
    let mut demuxer = FileDemuxer::default();
    let mut items = Vec::new();
    loop {
        match demuxer.step() {
            Ok(Step::Item(item)) => items.push(item),
            Ok(Step::Read { position, bytes }) => {
                let start = file.len().min(position as usize);
                let data = Bytes::copy_from_slice(&file[start..file.len().min(start.saturating_add(bytes))]);
                if let Err(error) = demuxer.give(position, &data) {
                    return (items, Err(error));
                }
            }
            end => return (items, end),
        }
    }
}

fn samples(items: &[Item], track: u8) -> Vec<&Sample> {
    let samples =
        items.iter().filter_map(|item| if let Item::Sample(sample) = item { Some(sample) } else { None });
    samples.filter(|sample| sample.track == track).collect()
}

#[test]
fn plain_files_give_what_was_put_in_both_tracks_beside_each_other() {
    let clip = clip(13);
    let (items, end) = read(&plain(&clip));
    assert_eq!((end, &items[0]), (Ok(Step::End), &Item::Tracks(vec![Codec::H264, Codec::Aac])));
    assert_eq!((samples(&items, 0).len(), samples(&items, 1).len()), (13, 13));
    for (number, (found, put)) in (0..).zip(samples(&items, 0).into_iter().zip(&clip)) {
        assert_eq!((found.ticks, found.rate, &found.data), (number * 1_000, 10_000, &put.data));
        assert_eq!(found.access, put.access);
    }
    let tracks: Vec<u8> = items[1..]
        .iter()
        .map(|item| if let Item::Sample(sample) = item { sample.track } else { 9 })
        .collect();
    assert!(tracks.chunks(2).all(|pair| pair == [0, 1]), "{tracks:?}");
}

#[test]
fn plain_files_that_are_cut_or_damaged_end_in_an_error_and_never_in_a_panic() {
    let file = plain(&clip(12));
    for end in 0..file.len() {
        let (items, ended) = read(&file[..end]);
        assert!(ended.is_err() || end == file.len(), "cut at {end}: {} items, {ended:?}", items.len());
    }
    for at in 0..file.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            let (items, _) = read(&damaged);
            assert!(items.len() <= 1_000, "byte {at}");
        }
    }
}

#[test]
fn a_fragmented_file_is_known_for_one() {
    let (items, end) = read(&fragmented(&clip(12), true));
    assert_eq!((items, end), (Vec::new(), Ok(Step::Fragmented)));
}

#[test]
fn a_plain_file_from_a_pipe_is_refused_with_what_to_do() {
    let mut demuxer = FragmentDemuxer::default();
    demuxer.push(&plain(&clip(3)));
    demuxer.finish();
    let error = loop {
        match demuxer.next() {
            Ok(item) => assert!(item.is_some(), "no error"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("-movflags frag_keyframe+empty_moov"), "{error}");
}

#[test]
fn samples_and_boxes_that_are_too_large_are_refused_before_they_are_kept() {
    let refused = |bytes: &[u8]| {
        let mut demuxer = FragmentDemuxer::default();
        demuxer.push(bytes);
        demuxer.next().unwrap_err().to_string()
    };
    let head = |size: u32, name: &[u8; 4]| [&size.to_be_bytes()[..], name].concat();
    assert!(refused(&head(0x7FFF_FFFF, b"moov")).contains("more than"));
    assert!(refused(&head(0x7FFF_FFFF, b"moof")).contains("more than"));
    assert!(refused(&head(0, b"moov")).contains("no size"));
    assert!(refused(&head(7, b"free")).contains("7 bytes"));
    assert!(refused(&[head(8, b"moof"), head(8, b"free")].concat()).contains("free follows"));
}

#[test]
fn a_run_that_names_millions_of_samples_is_refused_before_they_are_kept() {
    let mut file = fragmented(&clip(5), false);
    let run = file.windows(4).position(|name| name == b"trun").unwrap();
    // No field of each sample, and sixteen million of them.
    file[run + 4..run + 8].copy_from_slice(&[0; 4]);
    file[run + 8..run + 12].copy_from_slice(&16_000_000_u32.to_be_bytes());
    let mut demuxer = FragmentDemuxer::default();
    demuxer.push(&file);
    let error = loop {
        match demuxer.next() {
            Ok(item) => assert!(item.is_some(), "an error is due"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("16000000 samples"), "{error}");
}
