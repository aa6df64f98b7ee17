//! The vendor's captures of `GetMedia`, against what the vendor's Java library makes of them: counts, metadata, a digest
//! of all events, and the bytes of merged output. How the expected values were made: `tests/fixtures/captures/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use streamfleet_media::ebml::{Event, ReadError, Reader};
use streamfleet_media::fragment::{Fragment, FragmentError, FragmentReader};
use streamfleet_media::h264::{AvcConfiguration, ParameterSets, is_idr, nals_avcc};
use streamfleet_media::merge::SegmentMerger;
use streamfleet_media::mkv::{DemuxError, Demuxer, Item, ids};

const ALL: [&str; 4] = [
    "output_get_media",
    "kinesis_video_renderer_example_output",
    "test_mixed_tags",
    "test_tags_empty_cluster",
];

/// Sizes of the pieces in which each capture is fed; 0 is whole. Single bytes take their time.
const PIECES: [usize; 5] = [0, 1, 7, 1024, 65_536];
const LARGE_PIECES: [usize; 3] = [0, 1021, 65_536];

fn capture(name: &str) -> Bytes {
    let path = format!("{}/../tests/fixtures/captures/{name}.mkv", env!("CARGO_MANIFEST_DIR"));
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("failed to read {path}: {error}")))
}

fn pieces(whole: &Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    let size = if size == 0 { whole.len() } else { size };
    (0..whole.len()).step_by(size).map(move |at| whole.slice(at..whole.len().min(at + size)))
}

fn events(whole: &Bytes, size: usize) -> Vec<Event> {
    let mut reader = Reader::new();
    let mut events = Vec::new();
    for piece in pieces(whole, size) {
        reader.push(piece);
        while let Some(event) = reader.next().unwrap() {
            events.push(event);
        }
    }
    reader.finish();
    while let Some(event) = reader.next().unwrap() {
        events.push(event);
    }
    events
}

/// One line for each event, as defined for the Java library: see the README of the captures.
fn event_digest(events: &[Event]) -> String {
    let mut digest = Sha256::new();
    for event in events {
        let line = match event {
            Event::Start(start) => {
                format!(
                    "S {:X} {}\n",
                    start.id,
                    start.size.map_or_else(|| "-1".to_owned(), |size| size.to_string())
                )
            }
            Event::Data(data) => {
                format!(
                    "D {:X} {} {}\n",
                    data.id,
                    data.payload.len(),
                    hex::encode(Sha256::digest(&data.payload))
                )
            }
            Event::End(end) => format!("E {:X}\n", end.id),
        };
        digest.update(line);
    }
    hex::encode(digest.finalize())
}

fn fragments(whole: &Bytes, size: usize) -> Vec<Fragment> {
    let mut reader = FragmentReader::new();
    let mut fragments = Vec::new();
    for piece in pieces(whole, size) {
        reader.push(piece);
        while let Some(fragment) = reader.next().unwrap() {
            fragments.push(fragment);
        }
    }
    reader.finish();
    while let Some(fragment) = reader.next().unwrap() {
        fragments.push(fragment);
    }
    fragments
}

fn merge(whole: &Bytes, size: usize) -> Bytes {
    let mut merger = SegmentMerger::new();
    let mut out = BytesMut::new();
    for piece in pieces(whole, size) {
        merger.push(piece);
        while let Some(bytes) = merger.next().unwrap() {
            out.put(bytes);
        }
    }
    merger.finish();
    while let Some(bytes) = merger.next().unwrap() {
        out.put(bytes);
    }
    out.freeze()
}

fn count(events: &[Event], wanted: u32) -> usize {
    let id = |event: &Event| match event {
        Event::Start(start) => Some(start.id),
        Event::Data(data) => Some(data.id),
        Event::End(_) => None,
    };
    events.iter().filter(|event| id(event) == Some(wanted)).count()
}

#[test]
fn events_are_those_of_the_java_library_however_the_bytes_come() {
    let table = [
        (
            "kinesis_video_renderer_example_output",
            (185, 844),
            "0d4471c49a69ca504a5c61392dd78f62faccea81c59571b75d0b32bf0b060c7d",
        ),
        ("output_get_media", (191, 671), "4891121aa8caaf65d8a80386753b2689cf43da58c47bee9124d907c28eab3567"),
        ("test_mixed_tags", (325, 530), "36469c76f29f2fc7cdc6b8bef16d28156c1fa03a1058ffe5953752c12dadf723"),
        (
            "test_tags_empty_cluster",
            (17, 17),
            "2cfd9f8a68b11cb0d7980c71c0b608d98529c89200f86eec0b6655b7e2ff55c0",
        ),
    ];
    for (name, (masters, values), digest) in table {
        let whole = capture(name);
        for size in PIECES {
            let events = events(&whole, size);
            let starts = events.iter().filter(|event| matches!(event, Event::Start(_))).count();
            let ends = events.iter().filter(|event| matches!(event, Event::End(_))).count();
            assert_eq!(
                (starts, events.len() - starts - ends, ends),
                (masters, values, masters),
                "{name} in {size}"
            );
            assert_eq!(event_digest(&events), digest, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn the_raw_bytes_of_all_events_are_the_capture_and_offsets_are_theirs() {
    for name in ALL {
        let whole = capture(name);
        for size in LARGE_PIECES {
            let mut copy = BytesMut::new();
            for event in events(&whole, size) {
                let (raw, offset) = match event {
                    Event::Start(start) => (start.raw, start.offset),
                    Event::Data(data) => (data.raw, data.offset),
                    Event::End(end) => {
                        assert_eq!(end.offset, copy.len() as u64, "{name} in pieces of {size}");
                        continue;
                    }
                };
                assert_eq!(offset, copy.len() as u64, "{name} in pieces of {size}");
                copy.put(raw);
            }
            assert_eq!(copy, whole, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn counts_are_those_of_the_java_library() {
    let table = [
        ("output_get_media", [5, 5, 5, 300, 60]),
        ("kinesis_video_renderer_example_output", [8, 8, 8, 444, 40]),
        ("test_mixed_tags", [10, 10, 10, 100, 105]),
        ("test_tags_empty_cluster", [1, 1, 0, 0, 5]),
    ];
    for (name, expected) in table {
        let events = events(&capture(name), 0);
        let found = [ids::EBML, ids::SEGMENT, ids::CLUSTER, ids::SIMPLE_BLOCK, ids::TAG_NAME]
            .map(|id| count(&events, id));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn fragments_have_the_metadata_that_the_java_library_reads() {
    let whole = capture("output_get_media");
    let fragments = fragments(&whole, 1024);
    let numbers: Vec<_> =
        fragments.iter().map(|fragment| fragment.metadata.number.clone().unwrap()).collect();
    let first = &fragments[0].metadata;
    let last = &fragments[4].metadata;
    assert_eq!(fragments.len(), 5);
    assert_eq!(numbers[0].as_str(), "91343852333181432392682062607743920146159169392");
    assert_eq!(numbers[4].as_str(), "91343852333181432412489103236310005892133364608");
    assert!(numbers.is_sorted());
    assert_eq!(
        (first.server_timestamp, first.producer_timestamp),
        (Some(1_511_852_109_126), Some(1_511_852_108_513))
    );
    assert_eq!((first.millis_behind_now, last.millis_behind_now), (Some(15_858), Some(12_093)));
    assert!(
        fragments.iter().all(|fragment| fragment.metadata.is_complete() && !fragment.metadata.is_error())
    );
    for (fragment, number) in fragments.iter().zip(&numbers) {
        assert_eq!(fragment.metadata.continuation_token.as_deref(), Some(number.as_str()));
        assert_eq!(fragment.tags.len(), 7);
    }
    let times: Vec<_> = fragments.iter().map(|fragment| fragment.timecode.unwrap()).collect();
    assert_eq!(times, [0, 2000, 4000, 6000, 8000]);
}

#[test]
fn fragments_are_the_same_however_the_bytes_come() {
    for (name, count, frames) in [
        ("output_get_media", 5, 300),
        ("kinesis_video_renderer_example_output", 8, 444),
        ("test_mixed_tags", 10, 100),
    ] {
        let whole = capture(name);
        let expected = fragments(&whole, 0);
        assert_eq!(expected.len(), count, "{name}");
        assert_eq!(expected.iter().map(|fragment| fragment.frames.len()).sum::<usize>(), frames, "{name}");
        for fragment in &expected {
            assert!(fragment.frames[0].key, "{name}: a fragment begins with a key frame");
            assert_eq!(fragment.frames.iter().filter(|frame| frame.key).count(), 1, "{name}");
        }
        for size in LARGE_PIECES {
            assert_eq!(fragments(&whole, size), expected, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn tags_belong_to_the_fragment_that_precedes_them() {
    let fragments = fragments(&capture("test_mixed_tags"), 0);
    let counts: Vec<_> = fragments.iter().map(|fragment| fragment.tags.len()).collect();
    assert_eq!(counts, [10, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    assert_eq!(fragments[0].metadata.producer_timestamp, Some(0));
    assert_eq!(fragments[0].metadata.server_timestamp, Some(1_537_574_915_281));
    assert_eq!(
        fragments[0].metadata.number.as_ref().unwrap().as_str(),
        "91343852333713038908964877623801423530396737899"
    );
}

#[test]
fn tags_alone_are_a_fragment_without_media() {
    let fragments = fragments(&capture("test_tags_empty_cluster"), 0);
    assert_eq!(fragments.len(), 1);
    assert_eq!((fragments[0].timecode, fragments[0].tags.len()), (None, 5));
    assert!(fragments[0].metadata.number.is_none() && !fragments[0].metadata.is_complete());
}

#[test]
fn a_fragment_is_given_with_its_last_byte_and_not_when_the_next_begins() {
    let whole = capture("output_get_media");
    let documents: Vec<u64> = events(&whole, 0)
        .iter()
        .filter_map(|event| {
            if let Event::Start(start) = event {
                (start.id == ids::EBML).then_some(start.offset)
            } else {
                None
            }
        })
        .collect();
    let mut reader = FragmentReader::new();
    let second = documents[1] as usize;
    reader.push(whole.slice(..second - 1));
    assert_eq!(reader.next().unwrap(), None);
    reader.push(whole.slice(second - 1..second));
    assert!(reader.next().unwrap().unwrap().metadata.is_complete());
}

#[test]
fn merged_output_is_that_of_the_java_library_byte_by_byte() {
    let table = [
        ("output_get_media", 2_501_281, "2b72e9ca4e69abd796b8fec469d1ae3fa7d4d90e703f9f225f9464fdc3c1481e"),
        (
            "kinesis_video_renderer_example_output",
            1_199_252,
            "edb06fe69af7dcc398d7e1c0f70ac54659eb7e8588e88cb977218b0872c8a35c",
        ),
    ];
    for (name, size, digest) in table {
        let whole = capture(name);
        for piece in LARGE_PIECES {
            let merged = merge(&whole, piece);
            assert_eq!(merged.len(), size, "{name} in pieces of {piece}");
            assert_eq!(hex::encode(Sha256::digest(&merged)), digest, "{name} in pieces of {piece}");
        }
    }
}

/// The Java library makes two Segments of this capture, since it looks at the Tracks only where no Tags precede them.
#[test]
fn tags_before_the_tracks_do_not_break_the_merged_segment() {
    let whole = capture("test_mixed_tags");
    let merged = merge(&whole, 0);
    let events = events(&merged, 0);
    let found = [ids::EBML, ids::SEGMENT, ids::CLUSTER, ids::SIMPLE_BLOCK, ids::TAG_NAME]
        .map(|id| count(&events, id));
    assert_eq!(found, [1, 1, 10, 100, 105]);
}

#[test]
fn merging_keeps_every_frame_in_place_and_time() {
    for name in ALL {
        let whole = capture(name);
        let frames = |bytes: &Bytes| {
            let mut demuxer = Demuxer::new();
            demuxer.push(bytes.clone());
            demuxer.finish();
            let mut frames = Vec::new();
            while let Some(item) = demuxer.next().unwrap() {
                if let Item::Frame(frame) = item {
                    frames.push(frame);
                }
            }
            frames
        };
        assert_eq!(frames(&merge(&whole, 0)), frames(&whole), "{name}");
    }
}

#[test]
fn every_truncation_is_said_with_its_place() {
    // Two documents and a half: every element of the capture occurs in them.
    let whole = capture("test_mixed_tags").slice(..6000);
    let boundaries: HashSet<u64> = events(&capture("test_mixed_tags"), 0)
        .iter()
        .flat_map(|event| match event {
            Event::Start(start) => vec![start.offset, start.offset + start.raw.len() as u64],
            Event::Data(data) => vec![data.offset, data.offset + data.raw.len() as u64],
            Event::End(_) => Vec::new(),
        })
        .collect();
    for end in 1..whole.len() {
        let mut reader = Reader::new();
        reader.push(whole.slice(..end));
        reader.finish();
        let error = loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        match error {
            // Between elements, where nothing but masters of unknown size is open, a cut cannot be seen.
            None => assert!(boundaries.contains(&(end as u64)), "a cut at {end} was not seen"),
            Some(ReadError::Truncated { offset, end: at, .. }) => {
                assert_eq!(at, end as u64);
                assert!(boundaries.contains(&offset), "{offset} is no element");
            }
            Some(other) => panic!("a cut at {end} is {other}"),
        }
    }
}

#[test]
fn a_body_that_breaks_off_inside_a_fragment_gives_the_ones_before_and_an_error() {
    let whole = capture("output_get_media");
    let mut reader = FragmentReader::new();
    reader.push(whole.slice(..whole.len() - 300_000));
    reader.finish();
    for _ in 0..4 {
        assert!(reader.next().unwrap().unwrap().metadata.is_complete());
    }
    let error = reader.next().unwrap_err();
    assert!(matches!(error, FragmentError::Demux(DemuxError::Read(ReadError::Truncated { .. }))), "{error}");
}

#[test]
fn damaged_captures_never_panic_and_never_loop() {
    // A generator of our own, so that a failure can be repeated: the seed is the case's number.
    let whole = capture("test_mixed_tags");
    for seed in 1..=400u64 {
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut damaged = whole.to_vec();
        for _ in 0..=random(8) {
            let at = random(damaged.len());
            damaged[at] = random(256) as u8;
        }
        let damaged = Bytes::from(damaged);
        let mut demuxer = Demuxer::new();
        let mut merger = SegmentMerger::new();
        demuxer.push(damaged.clone());
        merger.push(damaged.clone());
        demuxer.finish();
        merger.finish();
        let mut items = 0;
        while let Ok(Some(_)) = demuxer.next() {
            items += 1;
            assert!(items <= damaged.len(), "seed {seed}");
        }
        let mut written = 0;
        while let Ok(Some(bytes)) = merger.next() {
            written += bytes.len();
            assert!(written <= damaged.len() * 2, "seed {seed}");
        }
    }
}

#[test]
fn codec_private_data_of_the_captures_reads_and_writes_back() {
    for (name, size) in
        [("output_get_media", (640, 360)), ("kinesis_video_renderer_example_output", (640, 480))]
    {
        let fragments = fragments(&capture(name), 0);
        let track = &fragments[0].header.tracks[0];
        assert_eq!(track.codec_id, "V_MPEG4/ISO/AVC");
        let configuration = AvcConfiguration::parse(&track.codec_private).unwrap();
        let sets = ParameterSets::from_configuration(&configuration);
        let sps = sets.sps().unwrap();
        assert_eq!((sps.width, sps.height), size, "{name}");
        assert_eq!(
            track.video.map(|video| (video.width, video.height)),
            Some((size.0.into(), size.1.into()))
        );
        let written = AvcConfiguration::parse(&sets.avcc().unwrap()).unwrap();
        assert_eq!(written, configuration, "{name}");
        for fragment in &fragments {
            for frame in &fragment.frames {
                assert_eq!(is_idr(&frame.payload), frame.key, "{name}");
                let used: usize = nals_avcc(&frame.payload).map(|nal| nal.len() + 4).sum();
                assert_eq!(used, frame.payload.len(), "{name}: the frame is NAL units to its end");
            }
        }
    }
}
