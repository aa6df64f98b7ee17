use bytes::{BufMut, BytesMut};
use streamfleet_media::mkv::{ids, write};

use super::*;

const KEY: bool = true;

/// An element whose size is written as eight bytes.
fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    write::element(&mut out, id, content);
    out.to_vec()
}

fn track_entry(number: u8) -> Vec<u8> {
    let content =
        [element(ids::TRACK_NUMBER, &[number]), element(ids::CODEC_ID, b"V_MPEG4/ISO/AVC")].concat();
    element(ids::TRACK_ENTRY, &content)
}

/// EBML head, Segment of unknown size, Info with a scale of 1 ms, and these tracks.
pub fn head(tracks: &[u8]) -> Vec<u8> {
    let entries: Vec<u8> = tracks.iter().flat_map(|number| track_entry(*number)).collect();
    [
        element(ids::EBML, &element(ids::DOC_TYPE, b"matroska")),
        vec![0x18, 0x53, 0x80, 0x67, 0xFF],
        element(ids::INFO, &element(ids::TIMECODE_SCALE, &1_000_000u32.to_be_bytes())),
        element(ids::TRACKS, &entries),
    ]
    .concat()
}

pub fn block(track: u8, time: i16, payload: &[u8]) -> Vec<u8> {
    let prefix = write::simple_block_prefix(u64::from(track), time, KEY, payload.len());
    [&prefix[..], payload].concat()
}

/// A cluster of unknown size at `time` with frames of track 1 at these times after it.
pub fn cluster(time: u64, frames: &[i16]) -> Vec<u8> {
    let blocks = frames.iter().flat_map(|time| block(1, *time, b"frame"));
    write::cluster_start(time).iter().copied().chain(blocks).collect()
}

/// The same with its size known, as ffmpeg writes it.
fn cluster_of_known_size(time: u32, frames: &[i16]) -> Vec<u8> {
    let mut content = element(ids::TIMECODE, &time.to_be_bytes());
    content.extend(frames.iter().flat_map(|time| block(1, *time, b"frame")));
    element(ids::CLUSTER, &content)
}

fn tags(entries: &[(&str, &str)]) -> Vec<u8> {
    write::tags(entries).to_vec()
}

fn drain(ingest: &mut Ingest) -> Vec<IngestEvent> {
    std::iter::from_fn(|| ingest.next()).collect()
}

/// Everything in one push, and the end of the body.
fn ingest(parts: &[Vec<u8>]) -> Vec<IngestEvent> {
    let mut ingest = Ingest::new();
    ingest.push(parts.concat().into());
    ingest.finish();
    drain(&mut ingest)
}

/// One word per event: `s` time, `r` time, `e` id.
fn words(events: &[IngestEvent]) -> Vec<String> {
    let word = |event: &IngestEvent| match event {
        IngestEvent::Started { timecode, .. } => format!("s{timecode}"),
        IngestEvent::Frame(frame) => format!("f{}", frame.timecode),
        IngestEvent::Received(fragment) => format!("r{}", fragment.timecode),
        IngestEvent::Refused { error, timecode } => {
            format!("e{}{}", error.code(), timecode.map_or(String::new(), |timecode| format!("@{timecode}")))
        }
    };
    events.iter().map(word).collect()
}

fn fragments(events: Vec<IngestEvent>) -> Vec<Fragment> {
    let received = |event| match event {
        IngestEvent::Received(fragment) => Some(fragment),
        IngestEvent::Started { .. } | IngestEvent::Frame(_) | IngestEvent::Refused { .. } => None,
    };
    events.into_iter().filter_map(received).collect()
}

#[test]
fn a_fragment_is_received_when_the_next_cluster_or_the_end_of_the_body_comes() {
    let mut ingest = Ingest::new();
    ingest.push(head(&[1]).into());
    assert!(drain(&mut ingest).is_empty());
    ingest.push(cluster(1000, &[0, 40]).into());
    assert_eq!(words(&drain(&mut ingest)), ["s1000"]);
    ingest.push(cluster(3000, &[0]).into());
    assert_eq!(words(&drain(&mut ingest)), ["r1000", "s3000"]);
    ingest.finish();
    assert_eq!(words(&drain(&mut ingest)), ["r3000"]);
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    let body = [
        head(&[1]),
        tags(&[("first", "1")]),
        cluster_of_known_size(0, &[0, 40]),
        tags(&[("a", "b")]),
        cluster(2000, &[0, 40, 80]),
    ]
    .concat();
    let whole = ingest(std::slice::from_ref(&body));
    assert_eq!(words(&whole), ["s0", "r0", "s2000", "r2000"]);
    for size in [1, 7, 100] {
        let mut ingest = Ingest::new();
        for piece in body.chunks(size) {
            ingest.push(Bytes::copy_from_slice(piece));
        }
        ingest.finish();
        assert_eq!(drain(&mut ingest), whole, "pieces of {size}");
    }
}

#[test]
fn a_fragment_keeps_the_bytes_of_its_cluster_and_of_the_tags_behind_it() {
    let first = [cluster_of_known_size(0, &[0, 40]), tags(&[("a", "b")])].concat();
    let second = cluster(2000, &[0, 40]);
    let received = fragments(ingest(&[head(&[1]), first.clone(), second.clone()]));
    assert_eq!(received.iter().map(|fragment| &fragment.body[..]).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!((received[0].frames, received[0].length_ms), (2, 40));
}

#[test]
fn every_head_is_the_producers_own_with_an_eight_byte_segment_size() {
    let plain = head(&[1]);
    let at = plain.windows(4).position(|four| four == [0x18, 0x53, 0x80, 0x67]).unwrap();
    let mut expected = plain[..at + 4].to_vec();
    expected.put_slice(&[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    expected.put_slice(&plain[at + 5..]);
    let received = fragments(ingest(&[plain, cluster(0, &[0]), cluster(1000, &[0])]));
    assert!(received.iter().all(|fragment| fragment.head == expected), "{received:?}");
}

#[test]
fn metadata_before_the_first_cluster_is_the_first_fragments_but_a_muxers_tags_are_everybodys() {
    let of_the_file = element(ids::TAGS, &element(ids::TAG, &element(ids::TARGETS, b"")));
    let metadata = tags(&[("name", "value")]);
    let plain_len = head(&[1]).len() + 7;
    let received = fragments(ingest(&[
        head(&[1]),
        of_the_file.clone(),
        metadata.clone(),
        cluster(0, &[0]),
        cluster(1000, &[0]),
    ]));
    let lengths: Vec<usize> = received.iter().map(|fragment| fragment.head.len()).collect();
    assert_eq!(lengths, [plain_len + of_the_file.len() + metadata.len(), plain_len + of_the_file.len()]);
}

#[test]
fn without_keeping_media_everything_is_checked_and_counted_all_the_same() {
    let body = [head(&[1]), cluster(0, &[0, 40]), tags(&[("a", "b")]), cluster(2000, &[0])];
    let run = |keeps_media| {
        let mut ingest = Ingest::with_rules(Rules { keeps_media, ..Rules::default() });
        ingest.push(body.concat().into());
        ingest.finish();
        fragments(drain(&mut ingest))
    };
    let (kept, dropped) = (run(true), run(false));
    let counts = |all: &[Fragment]| all.iter().map(|one| (one.bytes, one.frames)).collect::<Vec<_>>();
    assert_eq!(counts(&kept), counts(&dropped));
    assert!(kept.iter().all(|one| one.bytes == (one.head.len() + one.body.len()) as u64));
    assert!(dropped.iter().all(|one| one.body.is_empty()));
}

#[test]
fn frames_are_told_with_the_cameras_numbers_where_asked_for() {
    let sei = streamfleet_media::h264::sei::build_picture_number(77);
    let frame = [&(sei.len() as u32).to_be_bytes()[..], &sei].concat();
    let mut ingest = Ingest::with_rules(Rules { tells_frames: true, ..Rules::default() });
    ingest.push([head(&[1]), cluster(1000, &[]), block(1, 40, &frame)].concat().into());
    let told = drain(&mut ingest);
    let expected = FrameSeen { track: 1, timecode: 1040, bytes: frame.len(), number: Some(77) };
    assert_eq!(told[1], IngestEvent::Frame(expected));
}

#[test]
fn a_fragment_has_a_second_until_the_next_begins() {
    check(vec![
        ("999 ms", vec![head(&[1]), cluster(0, &[0]), cluster(999, &[0])], &["s0", "e4013@0"]),
        ("1000 ms", vec![head(&[1]), cluster(0, &[0]), cluster(1000, &[0])], &["s0", "r0", "s1000", "r1000"]),
        (
            "a cluster for every two frames",
            vec![head(&[1]), cluster(0, &[0, 40]), cluster(80, &[0, 40]), cluster(160, &[0, 40])],
            &["s0", "e4013@0"],
        ),
        (
            "closed by its tag",
            vec![
                head(&[1]),
                cluster(0, &[0]),
                tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]),
                cluster(100, &[0]),
            ],
            &["s0", "r0", "s100", "r100"],
        ),
        (
            "a frame before its own cluster",
            vec![head(&[1]), cluster(1000, &[0, -1])],
            &["s1000", "e4004@1000"],
        ),
    ]);
}

#[test]
fn an_end_of_fragment_tag_closes_the_fragment_at_once() {
    let mut ingest = Ingest::new();
    let parts = [head(&[1]), cluster(0, &[0]), tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])];
    ingest.push(parts.concat().into());
    assert_eq!(words(&drain(&mut ingest)), ["s0", "r0"]);
    ingest.push(cluster(5000, &[0]).into());
    ingest.finish();
    assert_eq!(words(&drain(&mut ingest)), ["s5000", "r5000"]);
}

#[test]
fn the_scale_of_the_document_counts_for_lengths() {
    let mut body = head(&[1]);
    // 1 ms becomes 10 ms a timecode.
    let at = body.windows(4).position(|four| four == 1_000_000u32.to_be_bytes()).unwrap();
    body[at..at + 4].copy_from_slice(&10_000_000u32.to_be_bytes());
    let received = fragments(ingest(&[body, cluster(0, &[0, 100])]));
    assert_eq!((received[0].length_ms, received[0].timecode_scale), (1000, 10_000_000));
}

/// A name, a body, and the words of the events that it leads to.
type Case = (&'static str, Vec<Vec<u8>>, &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (name, body, expected) in cases {
        assert_eq!(words(&ingest(&body)), expected, "{name}");
    }
}

#[test]
fn what_is_not_one_document_with_one_segment_is_refused() {
    let truncated = {
        let mut cluster = cluster(1000, &[0, 40]);
        cluster.truncate(cluster.len() - 3);
        cluster
    };
    let untimed = [vec![0x1F, 0x43, 0xB6, 0x75, 0xFF], block(1, 0, b"x")].concat();
    let headless = head(&[])[..head(&[]).len() - 5].to_vec();
    check(vec![
        (
            "a second Segment",
            vec![head(&[1]), cluster(0, &[0]), cluster(1000, &[0]), head(&[1]), cluster(2000, &[0])],
            &["s0", "r0", "s1000", "e4006@1000"],
        ),
        (
            "a second Tracks",
            vec![head(&[1]), cluster(0, &[0]), element(ids::TRACKS, &track_entry(1))],
            &["s0", "e4006@0"],
        ),
        (
            "an element before the EBML head",
            vec![element(ids::TITLE, b"x"), head(&[1]), cluster(0, &[0])],
            &["e4006"],
        ),
        ("no Matroska", vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()], &["e4006"]),
        ("no Tracks", vec![headless, cluster(0, &[0])], &["e4006"]),
        (
            "a frame that is cut off by the end",
            vec![head(&[1]), cluster(0, &[0]), truncated],
            &["s0", "r0", "s1000", "e4006@1000"],
        ),
        ("a block without a time before it", vec![head(&[1]), untimed], &["e4006"]),
        ("a body without anything", vec![], &[]),
    ]);
}

#[test]
fn time_goes_on_and_a_fragment_has_at_most_20_s() {
    check(vec![
        (
            "a cluster at the time of an earlier block",
            vec![head(&[1]), cluster(0, &[0, 900]), cluster(900, &[0])],
            &["s0", "r0", "e4004@900"],
        ),
        (
            "a cluster before an earlier block",
            vec![head(&[1]), cluster(0, &[0, 900]), cluster(500, &[0])],
            &["s0", "r0", "e4004@500"],
        ),
        (
            "a frame not later than the fragment before",
            vec![head(&[1]), cluster(0, &[0, 900]), cluster(1000, &[0, -100])],
            &["s0", "r0", "s1000", "e4004@1000"],
        ),
        (
            "frames out of order inside a fragment, as B-frames are",
            vec![head(&[1]), cluster(0, &[0, 120, 40, 80]), cluster(1160, &[0])],
            &["s0", "r0", "s1160", "r1160"],
        ),
        ("exactly 20 s", vec![head(&[1]), cluster(0, &[0, 20_000])], &["s0", "r0"]),
        ("a frame 20.001 s after the first", vec![head(&[1]), cluster(0, &[0, 20_001])], &["s0", "e4002@0"]),
    ]);
}

#[test]
fn every_track_is_declared_and_heard_of() {
    let both = [cluster(0, &[0]), block(2, 0, b"sound")].concat();
    check(vec![
        ("an undeclared track", vec![head(&[1]), cluster(0, &[0]), block(2, 10, b"x")], &["s0", "e4010@0"]),
        ("three tracks", vec![head(&[1, 2, 3])], &[]),
        ("the same track twice", vec![head(&[1, 1])], &["e4006"]),
        ("track 0", vec![head(&[0])], &["e4006"]),
        ("four tracks", vec![head(&[1, 2, 3, 4])], &["e4012"]),
        (
            "a silent track",
            vec![head(&[1, 2]), both, cluster(1000, &[0]), cluster(2000, &[0])],
            &["s0", "r0", "s1000", "e4011@1000"],
        ),
        ("a cluster without frames", vec![head(&[1]), cluster(0, &[])], &["s0", "e4011@0"]),
    ]);
}

#[test]
fn tags_keep_to_the_limits() {
    let many: Vec<(String, &str)> = (0..11).map(|n| (format!("tag{n}"), "v")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let (name, value) = ("n".repeat(129), "v".repeat(257));
    let with = |entries: &[(&str, &str)]| vec![head(&[1]), cluster(0, &[0]), tags(entries)];
    let before = |entries: &[(&str, &str)]| vec![head(&[1]), tags(entries), cluster(0, &[0])];
    check(vec![
        ("ten tags", with(&many[..10]), &["s0", "r0"]),
        ("eleven tags", with(&many), &["s0", "e4009@0"]),
        ("eleven tags before the first cluster", before(&many), &["e4009"]),
        ("the longest name and value", with(&[(&name[..128], &value[..256])]), &["s0", "r0"]),
        ("a long name", with(&[(&name, "v")]), &["s0", "e4009@0"]),
        ("a long value", with(&[("n", &value)]), &["s0", "e4009@0"]),
        ("a reserved name", with(&[("AWS_X", "v")]), &["s0", "e4009@0"]),
        ("an image tag", with(&[("AWS_KINESISVIDEO_IMAGE_GENERATION", "")]), &["s0", "r0"]),
    ]);
}

#[test]
fn a_fragment_of_more_than_50_mb_is_refused_while_it_comes() {
    let mut ingest = Ingest::new();
    ingest.push([head(&[1]), cluster(0, &[])].concat().into());
    let megabyte: Bytes = block(1, 0, &vec![7; 1_000_000]).into();
    for _ in 0..49 {
        ingest.push(megabyte.clone());
    }
    assert_eq!(words(&drain(&mut ingest)), ["s0"]);
    ingest.push(megabyte);
    assert_eq!(words(&drain(&mut ingest)), ["e4001@0"]);
}

#[test]
fn one_element_of_more_than_50_mb_is_refused_at_its_size() {
    let mut ingest = Ingest::new();
    ingest.push([head(&[1]), cluster(0, &[])].concat().into());
    let prefix = write::simple_block_prefix(1, 0, KEY, 60_000_000);
    ingest.push(prefix.to_vec().into());
    assert_eq!(words(&drain(&mut ingest)), ["s0", "e4001@0"]);
}

#[test]
fn nothing_is_read_after_a_refusal() {
    let mut ingest = Ingest::new();
    ingest.push(vec![0].into());
    assert_eq!(words(&drain(&mut ingest)), ["e4006"]);
    ingest.push([head(&[1]), cluster(0, &[0])].concat().into());
    ingest.finish();
    assert!(ingest.is_over() && drain(&mut ingest).is_empty());
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let mut ingest = Ingest::new();
    let huge = [head(&[1]), vec![0xEC, 0x13, 0xFF, 0xFF, 0xFF]].concat();
    ingest.push(huge.into());
    for _ in 0..5 {
        ingest.push(vec![0; 1 << 20].into());
    }
    assert_eq!(words(&drain(&mut ingest)), ["e4006"]);
}

proptest::proptest! {
    /// Whatever comes, in whatever pieces: no panic, the same events, and nothing after a refusal.
    #[test]
    fn damaged_bodies_are_read_alike_in_any_pieces(
        damage in proptest::collection::vec((0usize..1000, proptest::prelude::any::<u8>()), 0..6),
        piece in 1usize..200,
    ) {
        let mut body = [
            head(&[1, 2]),
            tags(&[("name", "value")]),
            cluster_of_known_size(0, &[0, 40]),
            block(2, 10, b"x"),
            tags(&[("a", "b")]),
            cluster(1000, &[0, 40]),
            block(2, 10, b"x"),
            cluster(2000, &[0]),
        ]
        .concat();
        for (at, value) in damage {
            let at = at % body.len();
            body[at] = value;
        }
        let whole = words(&ingest(std::slice::from_ref(&body)));
        let mut pieces = Ingest::new();
        for bytes in body.chunks(piece) {
            pieces.push(Bytes::copy_from_slice(bytes));
        }
        pieces.finish();
        proptest::prop_assert_eq!(words(&drain(&mut pieces)), whole.clone());
        let refusals = whole.iter().filter(|word| word.starts_with('e')).count();
        proptest::prop_assert!(refusals <= 1 && (refusals == 0 || whole.last().is_some_and(|word| word.starts_with('e'))));
    }
}
