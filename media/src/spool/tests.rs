use bytes::Bytes;

use super::*;
use crate::mkv::AudioFormat;
use crate::track::{AccessUnit, Codec, CodecParameters, Format, TrackParameters};

fn header() -> SegmentHeader {
    SegmentHeader { feed: "a".to_owned(), arn: "arn:x".to_owned(), retention_hours: 24, sequence: 7 }
}

fn parameters() -> CodecParameters {
    let sound = AudioFormat { sampling_frequency: 48_000.0, channels: 2, bit_depth: Some(16) };
    CodecParameters {
        tracks: vec![
            TrackParameters::video(Codec::H265, Bytes::from_static(b"hvcC"), 1_920, 1_080),
            TrackParameters {
                codec: Codec::Aac,
                private: Bytes::from_static(&[0x11, 0x90]),
                format: Format::Audio(sound),
            },
        ],
    }
}

fn unit(time_ms: i64, key: bool, size: usize) -> AccessUnit {
    AccessUnit { track: 1, time_ms, key, data: Bytes::from(vec![time_ms as u8; size]) }
}

fn put(out: &mut Vec<u8>, head: &Head, payload: &[u8]) {
    out.extend_from_slice(&head.encode());
    out.extend_from_slice(payload);
}

/// A segment with two groups of three units, and where each record ends.
fn segment() -> (Vec<u8>, Vec<usize>) {
    let mut out = header().encode();
    let mut ends = vec![out.len()];
    let payload = encode_parameters(&parameters());
    put(&mut out, &Head::parameters(&payload), &payload);
    ends.push(out.len());
    for group in 0..2 {
        put(&mut out, &Head::group(10 + group), &[]);
        ends.push(out.len());
        for n in 0..3 {
            let unit = unit(group as i64 * 1_000 + n * 40, n == 0, 100 + n as usize);
            put(&mut out, &Head::unit(&unit), &unit.data);
            ends.push(out.len());
        }
    }
    (out, ends)
}

#[test]
fn what_was_written_is_read() {
    let (segment, _) = segment();
    let (found, groups, end) = scan(&segment).unwrap();
    assert_eq!((found, end), (header(), segment.len() as u64));
    let told: Vec<_> = groups
        .iter()
        .map(|group| (group.id, group.waits, group.start_ms, group.last_ms, group.units))
        .collect();
    assert_eq!(told, [(10, true, 0, 80, 3), (11, true, 1_000, 1_080, 3)]);
    assert_eq!(*groups[1].codec, parameters());
    assert_eq!((groups[1].bytes, groups[1].present), (303, 0b10));
    let start = groups[1].offset as usize;
    let bytes = Bytes::copy_from_slice(&segment[start + HEAD_BYTES..start + groups[1].length as usize]);
    let units: Vec<_> = (0..3).map(|n| unit(1_000 + n * 40, n == 0, 100 + n as usize)).collect();
    assert_eq!(read_units(&bytes), units);
}

#[test]
fn a_segment_that_is_torn_anywhere_keeps_the_whole_units_before() {
    let (segment, ends) = segment();
    for cut in 0..segment.len() {
        let torn = &segment[..cut];
        if cut < ends[0] {
            assert_eq!(scan(torn).unwrap_err(), SpoolError::Truncated, "cut at {cut}");
            continue;
        }
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        let (_, groups, end) = scan(torn).unwrap();
        assert_eq!(end, ends[whole] as u64, "cut at {cut}");
        // Records: parameters, then for each group its head and three units.
        let units = [whole.saturating_sub(2).min(3), whole.saturating_sub(6)];
        let found: Vec<_> = groups.iter().map(|group| group.units).collect();
        assert_eq!(found, units.into_iter().filter(|units| *units > 0).collect::<Vec<_>>(), "cut at {cut}");
    }
}

#[test]
fn a_changed_bit_anywhere_is_seen_or_is_the_mark() {
    let (segment, _) = segment();
    let (_, whole, _) = scan(&segment).unwrap();
    for bit in 0..segment.len() * 8 {
        let mut changed = segment.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok((_, groups, _)) = scan(&changed) else { continue };
        let is_mark = whole.iter().any(|group| group.offset + Head::MARK_AT == bit as u64 / 8);
        if is_mark {
            assert_eq!(groups.iter().filter(|group| group.waits).count(), 1, "bit {bit}");
        } else {
            // A mark byte of another record means nothing.
            let same = groups == whole;
            let fewer = groups.iter().map(|group| group.units).sum::<usize>() < 6;
            assert!(same || fewer, "bit {bit} was not noticed");
            let unmarked = segment[bit / 8] == 0xFF;
            assert!(!same || unmarked, "bit {bit} was not noticed");
        }
    }
}

#[test]
fn a_group_is_done_by_one_byte_in_place() {
    let (mut segment, _) = segment();
    let (_, groups, _) = scan(&segment).unwrap();
    segment[(groups[0].offset + Head::MARK_AT) as usize] = Head::MARK_DONE;
    let (_, groups, _) = scan(&segment).unwrap();
    assert_eq!(groups.iter().map(|group| group.waits).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn passing_over_payloads_finds_the_same_groups() {
    let (segment, ends) = segment();
    let mut scanner = Scanner::new(ends[0] as u64);
    let mut read = 0;
    while (scanner.at() as usize) < segment.len() {
        let rest = &segment[scanner.at() as usize..];
        match scanner.head(&rest[..HEAD_BYTES], segment.len() as u64).unwrap() {
            Need::Skip(_) => {}
            Need::Payload => {
                read += 1;
                let end = HEAD_BYTES + scanner.payload_bytes();
                scanner.payload(&rest[HEAD_BYTES..end]).unwrap();
            }
        }
    }
    assert_eq!(read, 1, "of the parameters alone");
    assert_eq!(scanner.finish(), scan(&segment).unwrap().1);
}

#[test]
fn lengths_that_nobody_writes_are_refused_before_anything_is_allocated() {
    let mut head = Head::unit(&unit(0, true, 1));
    head.length = 60_000_000;
    assert_eq!(Head::decode(&head.encode()), Err(SpoolError::Field("length")));
    let mut head = Head::group(1);
    head.length = 1;
    assert_eq!(Head::decode(&head.encode()), Err(SpoolError::Field("length")));
    assert_eq!(decode_parameters(&[4]), Err(SpoolError::Field("number of tracks")));
    let mut other = header().encode();
    other[8] = 9;
    assert_eq!(SegmentHeader::decode(&other), Err(SpoolError::Version(9)));
    assert_eq!(SegmentHeader::decode(b"something else, long enough"), Err(SpoolError::NotASegment));
}

#[test]
fn a_unit_before_any_group_and_a_group_before_its_parameters_end_the_segment() {
    let mut out = header().encode();
    let start = out.len() as u64;
    put(&mut out, &Head::group(1), &[]);
    let (_, groups, end) = scan(&out).unwrap();
    assert_eq!((groups.len(), end), (0, start));
    let mut out = header().encode();
    let unit = unit(0, true, 10);
    put(&mut out, &Head::unit(&unit), &unit.data);
    let (_, groups, end) = scan(&out).unwrap();
    assert_eq!((groups.len(), end), (0, start));
}

/// What a search says is lost behind damage at this byte: id, whether it waits, first and last time.
fn lost_behind(segment: &[u8]) -> Vec<(Option<u64>, bool, i64, i64)> {
    let (_, header_bytes) = SegmentHeader::decode(segment).unwrap();
    let mut scanner = Scanner::new(header_bytes as u64).verify_units();
    while let Ok(need) = scanner.head(&segment[scanner.at() as usize..], segment.len() as u64) {
        let start = scanner.at() as usize + HEAD_BYTES;
        let payload = segment.get(start..start + scanner.payload_bytes());
        if need == Need::Payload && payload.is_none_or(|payload| scanner.payload(payload).is_err()) {
            break;
        }
    }
    let (mut at, mut search) = (scanner.at() as usize, scanner.search());
    while at < segment.len() {
        // In small pieces, as a file is read.
        let bytes = &segment[at..segment.len().min(at + 40)];
        at += usize::try_from(search.look(bytes, (segment.len() - at) as u64)).unwrap();
    }
    search.finish().iter().map(|group| (group.id, group.waits, group.start_ms, group.last_ms)).collect()
}

#[test]
fn what_is_behind_damage_is_told_by_group_and_time() {
    let (segment, ends) = segment();
    let damaged = |record: usize| {
        let mut segment = segment.clone();
        segment[ends[record]..ends[record] + 3].fill(0);
        segment
    };
    let second = (Some(11), true, 1_000, 1_080);
    assert_eq!(lost_behind(&segment), []);
    assert_eq!(lost_behind(&damaged(0)), [(Some(10), true, 0, 80), second], "of the parameters");
    assert_eq!(lost_behind(&damaged(1)), [(None, true, 0, 80), second], "of the first group's head");
    assert_eq!(lost_behind(&damaged(2)), [(Some(10), true, 40, 80), second], "of its first unit");
    assert_eq!(lost_behind(&damaged(4)), [second], "of its last");
    assert_eq!(lost_behind(&damaged(5)), [(None, true, 1_000, 1_080)], "of the second's head");
    assert_eq!(lost_behind(&damaged(7)), [(Some(11), true, 1_080, 1_080)]);
    let mut payload = segment.clone();
    payload[ends[3] - 1] ^= 1;
    assert_eq!(lost_behind(&payload), [(Some(10), true, 0, 80), second], "its own time is known too");
    let mut done = damaged(3);
    done[ends[5] + Head::MARK_AT as usize] = Head::MARK_DONE;
    assert_eq!(lost_behind(&done), [(Some(10), true, 80, 80), (Some(11), false, 1_000, 1_080)]);
}
