//! What is written is read back; and documents that other writers make.

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::ebml::{Event, Reader, varint};
use write::element;

fn whole(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    element(&mut out, id, content);
    out.to_vec()
}

fn items(document: &[u8]) -> Result<Vec<Item>, DemuxError> {
    let mut demuxer = Demuxer::with_limit(1 << 20);
    demuxer.push(Bytes::copy_from_slice(document));
    demuxer.finish();
    let mut items = Vec::new();
    while let Some(item) = demuxer.next()? {
        items.push(item);
    }
    Ok(items)
}

/// A document with one Cluster that holds `content` behind its timecode of 1000.
fn cluster_of(content: &[u8]) -> Vec<u8> {
    let head = write::header(&[Track::video(CODEC_H264, Bytes::new(), 640, 360)]);
    [&head[..], &write::cluster_start(1000), content].concat()
}

fn frames(document: &[u8]) -> Vec<Frame> {
    let frame = |item| if let Item::Frame(frame) = item { Some(frame) } else { None };
    items(document).unwrap().into_iter().filter_map(frame).collect()
}

fn audio_track() -> Track {
    Track {
        number: 2,
        uid: 0xABCD,
        kind: TrackKind::Audio,
        name: Some("microphone".into()),
        codec_id: CODEC_AAC.into(),
        codec_private: Bytes::from_static(&[0x11, 0x90]),
        video: None,
        audio: Some(AudioFormat { sampling_frequency: 44_100.0, channels: 2, bit_depth: Some(16) }),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let tracks = [Track::video(CODEC_H264, Bytes::from_static(b"avcC"), 1920, 1080), audio_track()];
    let mut document = BytesMut::from(&write::header(&tracks)[..]);
    let start = 1_700_000_000_123;
    document.put(write::cluster_start(start));
    let blocks: [(u64, i16, bool, &[u8]); 4] =
        [(1, 0, true, b"key"), (2, -5, true, b""), (1, 40, false, b"delta"), (1, i16::MAX, false, &[0; 300])];
    for (track, timecode, key, payload) in blocks {
        document.put(write::simple_block_prefix(track, timecode, key, payload.len()));
        document.put_slice(payload);
    }
    document.put(write::tags(&[("colour", "blue"), ("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]));
    let items = items(&document).unwrap();
    let header = Header { timecode_scale: 1_000_000, tracks: tracks.to_vec() };
    assert_eq!(items[..3], [Item::Document, Item::Header(header), Item::Cluster { timecode: start as i64 }]);
    for (item, (track, timecode, key, payload)) in items[3..7].iter().zip(blocks) {
        let timecode = start as i64 + i64::from(timecode);
        assert_eq!(
            *item,
            Item::Frame(Frame { track, timecode, key, payload: Bytes::copy_from_slice(payload) })
        );
    }
    let tag = |name: &str, value: &str| Item::Tag { name: name.into(), value: value.into() };
    let expected = [
        Item::ClusterEnd,
        tag("colour", "blue"),
        tag("AWS_KINESISVIDEO_END_OF_FRAGMENT", ""),
        Item::TagsEnd,
        Item::SegmentEnd,
    ];
    assert_eq!(items[7..], expected);
}

/// The layout of `MkvStatics.c`, as far as the service could mind it.
#[test]
fn written_elements_have_the_sizes_of_the_native_producer() {
    let head = write::header(&[Track::video(CODEC_H264, Bytes::from_static(b"x"), 640, 360)]);
    assert_eq!(
        hex::encode(&head[..45]),
        concat!(
            "1a45dfa3a3",
            "42868101",
            "42f78101",
            "42f28104",
            "42f38108",
            "4282886d6174726f736b61",
            "42878102",
            "42858102",
            "18538067ff",
        )
    );
    assert_eq!(hex::encode(write::cluster_start(0x0102)), "1f43b675ffe7880000000000000102");
    assert_eq!(hex::encode(write::simple_block_prefix(1, -2, true, 1000)), "a301000000000003ec81fffe80");
    let mut reader = Reader::new();
    reader.push(head);
    let mut scale = None;
    while let Some(event) = reader.next().unwrap() {
        if let Event::Data(data) = event
            && data.id == ids::TIMECODE_SCALE
        {
            scale = Some(data.payload);
        }
    }
    assert_eq!(scale.unwrap()[..], 1_000_000u64.to_be_bytes());
}

#[test]
fn empty_tags_have_no_value() {
    let tags = write::tags(&[("name", "")]);
    assert!(!tags.windows(2).any(|bytes| bytes == [0x44, 0x87]), "{tags:?}");
}

#[test]
fn block_groups_are_frames_and_references_make_them_no_keys() {
    let block = whole(ids::BLOCK, &[0x81, 0, 7, 0, 0xAA]);
    let reference = whole(ids::REFERENCE_BLOCK, &[0xF0]);
    let duration = whole(ids::BLOCK_DURATION, &[40]);
    let key = whole(ids::BLOCK_GROUP, &[&block[..], &duration].concat());
    let delta = whole(ids::BLOCK_GROUP, &[&reference[..], &block].concat());
    let found = frames(&cluster_of(&[key, delta].concat()));
    let flags: Vec<_> = found.iter().map(|frame| (frame.timecode, frame.key, &frame.payload[..])).collect();
    assert_eq!(flags, [(1007, true, &[0xAA][..]), (1007, false, &[0xAA])]);
}

#[test]
fn laced_frames_are_frames_of_their_own() {
    let block = whole(ids::SIMPLE_BLOCK, &[0x81, 0, 0, 0x84, 1, 0xAA, 0xBB]);
    let found = frames(&cluster_of(&block));
    assert_eq!(found.iter().map(|frame| frame.payload[0]).collect::<Vec<_>>(), [0xAA, 0xBB]);
    assert!(found.iter().all(|frame| frame.key && frame.timecode == 1000));
}

#[test]
fn audio_formats_have_the_defaults_of_the_standard() {
    let entry = |audio: &[u8]| {
        let content = [&whole(ids::TRACK_NUMBER, &[1])[..], &whole(ids::TRACK_TYPE, &[2]), audio].concat();
        let tracks = whole(ids::TRACKS, &whole(ids::TRACK_ENTRY, &content));
        let items = items(&whole(ids::SEGMENT, &tracks)).unwrap();
        let Item::Header(header) = items[0].clone() else { panic!("no header: {items:?}") };
        header.tracks[0].audio.unwrap()
    };
    assert_eq!(entry(&[]), AudioFormat { sampling_frequency: 8000.0, channels: 1, bit_depth: None });
    let single = whole(ids::AUDIO, &whole(ids::SAMPLING_FREQUENCY, &48_000f32.to_be_bytes()));
    assert_eq!(entry(&single), AudioFormat { sampling_frequency: 48_000.0, channels: 1, bit_depth: None });
}

#[test]
fn times_follow_the_scale_of_the_document() {
    let table = [
        (None, 1500),
        (Some(1_000_000u64), 1500),
        (Some(100_000), 150),
        (Some(1_000_000_000), 1_500_000),
        (Some(0), 1500),
    ];
    for (scale, expected) in table {
        let scale = scale.map_or_else(Vec::new, |scale| whole(ids::TIMECODE_SCALE, &scale.to_be_bytes()));
        let document = whole(ids::SEGMENT, &[whole(ids::INFO, &scale), whole(ids::TRACKS, &[])].concat());
        let items = items(&document).unwrap();
        let Item::Header(header) = &items[0] else { panic!("no header: {items:?}") };
        assert_eq!(header.millis(1500), expected);
    }
}

#[test]
fn padded_texts_end_at_their_padding() {
    let content = [
        whole(ids::TRACK_NUMBER, &[1]),
        whole(ids::CODEC_ID, b"V_MPEG4/ISO/AVC\0\0\0"),
        whole(ids::NAME, b"\0"),
    ]
    .concat();
    let items = items(&whole(ids::SEGMENT, &whole(ids::TRACKS, &whole(ids::TRACK_ENTRY, &content)))).unwrap();
    let Item::Header(header) = &items[0] else { panic!("no header: {items:?}") };
    assert_eq!(
        (header.tracks[0].codec_id.as_str(), header.tracks[0].name.as_deref()),
        (CODEC_H264, Some(""))
    );
    assert_eq!(header.track(1), Some(&header.tracks[0]));
    assert_eq!(header.track(2), None);
}

#[test]
fn blocks_without_a_time_are_refused_with_their_place() {
    let block = whole(ids::SIMPLE_BLOCK, &[0x81, 0, 0, 0x80]);
    let outside = [&write::header(&[])[..], &block].concat();
    let offset = write::header(&[]).len() as u64;
    assert_eq!(items(&outside), Err(DemuxError::BlockWithoutTime { offset }));
    let before_time = [&write::header(&[])[..], &whole(ids::CLUSTER, &block)].concat();
    assert_eq!(items(&before_time), Err(DemuxError::BlockWithoutTime { offset: offset + 5 }));
}

#[test]
fn blocks_that_cannot_be_taken_apart_are_refused_with_their_place() {
    let document = cluster_of(&whole(ids::SIMPLE_BLOCK, &[0x81]));
    let offset = document.len() as u64 - 3;
    assert_eq!(items(&document), Err(DemuxError::Block { error: BlockError::TooShort, offset }));
}

#[test]
fn an_endless_header_is_refused() {
    let mut demuxer = Demuxer::new();
    demuxer.push(write::header(&[]));
    let track = Bytes::from(whole(
        ids::TRACKS,
        &whole(ids::TRACK_ENTRY, &whole(ids::CODEC_PRIVATE, &vec![0; 1 << 18])),
    ));
    let error = (0..100).find_map(|_| {
        demuxer.push(track.clone());
        loop {
            match demuxer.next() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        }
    });
    assert!(matches!(error, Some(DemuxError::HeaderTooLarge { .. })), "{error:?}");
}

#[test]
fn sizes_are_written_as_short_as_they_go() {
    let mut out = BytesMut::new();
    element(&mut out, ids::VOID, &[0; 127]);
    assert_eq!(out[..3], [0xEC, 0x40, 0x7F]);
    assert_eq!(varint::shortest_size(126), [0xFE]);
}

#[test]
fn what_stands_before_a_frame_is_read_in_parts() {
    use bytes::Buf as _;

    let whole = write::simple_block_prefix(3, 40, false, 5);
    let mut rest = whole;
    let mut read = Vec::new();
    while rest.has_remaining() {
        read.push(rest.chunk()[0]);
        rest.advance(1);
    }
    assert_eq!(read, whole.to_vec());
    let document = [&cluster_of(&[])[..], &whole, b"frame"].concat();
    assert_eq!(frames(&document)[0].payload[..], b"frame"[..]);
    // Track numbers of any length fit.
    let longest = write::simple_block_prefix((1 << 56) - 2, i16::MAX, true, usize::MAX >> 9);
    assert_eq!(longest.len(), 20);
}
