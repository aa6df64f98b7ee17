//! Documents made by hand: what is read, what is refused, and where.

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::mkv::write::element;

const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
const CLUSTER: [u8; 4] = [0x1F, 0x43, 0xB6, 0x75];

/// Pushes all and reads to the end: events in short form, and the error if there was one.
fn read(bytes: &[u8]) -> (Vec<String>, Option<ReadError>) {
    read_in(bytes, bytes.len().max(1))
}

fn read_in(bytes: &[u8], size: usize) -> (Vec<String>, Option<ReadError>) {
    let mut reader = Reader::with_limit(1 << 20);
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        reader.push(Bytes::copy_from_slice(piece));
        if let Some(error) = drain(&mut reader, &mut events) {
            return (events, Some(error));
        }
    }
    reader.finish();
    let error = drain(&mut reader, &mut events);
    (events, error)
}

fn drain(reader: &mut Reader, events: &mut Vec<String>) -> Option<ReadError> {
    loop {
        events.push(match reader.next() {
            Ok(Some(Event::Start(start))) => format!("<{}", name(start.id)),
            Ok(Some(Event::Data(data))) => format!("{}:{}", name(data.id), data.payload.len()),
            Ok(Some(Event::End(end))) => format!("{}>", name(end.id)),
            Ok(None) => return None,
            Err(error) => return Some(error),
        });
    }
}

fn name(id: u32) -> String {
    ids::describe(id).map_or_else(|| format!("{id:X}"), |description| description.name.to_owned())
}

fn whole(id: u32, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    element(&mut out, id, content);
    out.to_vec()
}

/// "Unknown" in `length` bytes.
fn unknown(length: usize) -> Vec<u8> {
    let mut size = vec![0xFF; length];
    size[0] = 0xFF >> (length - 1);
    size
}

#[test]
fn unknown_sizes_are_understood_in_every_width() {
    for width in 1..=8 {
        let timecode = whole(ids::TIMECODE, &[1]);
        let document = [
            &SEGMENT[..],
            &unknown(width),
            &CLUSTER,
            &unknown(width),
            &timecode,
            &CLUSTER,
            &unknown(width),
            &timecode,
        ]
        .concat();
        let (events, error) = read(&document);
        assert_eq!(error, None, "{width} bytes");
        let expected = [
            "<Segment",
            "<Cluster",
            "Timecode:1",
            "Cluster>",
            "<Cluster",
            "Timecode:1",
            "Cluster>",
            "Segment>",
        ];
        assert_eq!(events, expected, "{width} bytes");
    }
}

#[test]
fn an_unknown_size_ends_at_the_next_document() {
    let document =
        [&SEGMENT[..], &[0xFF], &CLUSTER, &[0xFF], &whole(ids::EBML, &[]), &SEGMENT, &[0x80]].concat();
    let (events, error) = read(&document);
    assert_eq!(error, None);
    assert_eq!(
        events,
        ["<Segment", "<Cluster", "Cluster>", "Segment>", "<EBML", "EBML>", "<Segment", "Segment>"]
    );
}

#[test]
fn global_elements_end_nothing() {
    let void = whole(ids::VOID, &[0; 3]);
    let crc = whole(ids::CRC_32, &[0; 4]);
    let block = whole(ids::SIMPLE_BLOCK, &[0x81, 0, 0, 0]);
    let document = [&SEGMENT[..], &[0xFF], &CLUSTER, &[0xFF], &crc, &void, &block, &void].concat();
    let (events, _) = read(&document);
    let expected =
        ["<Segment", "<Cluster", "CRC-32:4", "Void:3", "SimpleBlock:4", "Void:3", "Cluster>", "Segment>"];
    assert_eq!(events, expected);
    let known = whole(ids::CLUSTER, &[&block[..], &void].concat());
    assert_eq!(read(&known).0, ["<Cluster", "SimpleBlock:4", "Void:3", "Cluster>"]);
}

#[test]
fn a_wrong_known_size_is_ended_by_the_next_cluster() {
    let block = whole(ids::SIMPLE_BLOCK, &[0x81, 0, 0, 0]);
    let document = [&SEGMENT[..], &[0xFF], &CLUSTER, &[0x88], &block, &CLUSTER, &[0x86], &block].concat();
    let (events, error) = read(&document);
    assert_eq!(error, None);
    let expected = [
        "<Segment",
        "<Cluster",
        "SimpleBlock:4",
        "Cluster>",
        "<Cluster",
        "SimpleBlock:4",
        "Cluster>",
        "Segment>",
    ];
    assert_eq!(events, expected);
}

#[test]
fn tags_may_hold_tags() {
    let inner = whole(ids::SIMPLE_TAG, &whole(ids::TAG_NAME, b"inner"));
    let outer = whole(ids::SIMPLE_TAG, &[&whole(ids::TAG_NAME, b"outer")[..], &inner].concat());
    let (events, error) = read(&outer);
    assert_eq!(error, None);
    assert_eq!(events, ["<SimpleTag", "TagName:5", "<SimpleTag", "TagName:5", "SimpleTag>", "SimpleTag>"]);
}

#[test]
fn elements_that_nobody_knows_are_given_as_they_are() {
    let (events, error) = read(&whole(0x7FFE, b"xyz"));
    assert_eq!((events, error), (vec!["7FFE:3".to_owned()], None));
}

#[test]
fn empty_masters_begin_and_end() {
    let document = [&SEGMENT[..], &[0xFF], &CLUSTER, &[0x80], &CLUSTER, &[0xFF]].concat();
    let (events, error) = read(&document);
    assert_eq!(error, None);
    assert_eq!(events, ["<Segment", "<Cluster", "Cluster>", "<Cluster", "Cluster>", "Segment>"]);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let huge = [&[0xA3][..], &[0x01, 0, 1, 0, 0, 0, 0, 0]].concat();
    let table: Vec<(&str, Vec<u8>, ReadError)> = vec![
        ("zeros", vec![0x1A, 0x45, 0xDF, 0xA3, 0x80, 0, 0], ReadError::InvalidId { first: 0, offset: 5 }),
        ("an id of five bytes", vec![0x08, 1, 2, 3, 4, 0x80], ReadError::InvalidId { first: 8, offset: 0 }),
        ("a size that begins with zero", vec![0xA3, 0x00], ReadError::InvalidSize { id: 0xA3, offset: 0 }),
        ("a value of unknown size", vec![0xA3, 0xFF], ReadError::UnknownSize { id: 0xA3, offset: 0 }),
        (
            "an unknown id of unknown size",
            vec![0x7F, 0xFE, 0xFF],
            ReadError::UnknownSize { id: 0x7FFE, offset: 0 },
        ),
        ("a forged size", huge, ReadError::TooLarge { id: 0xA3, offset: 0, size: 1 << 40, limit: 1 << 20 }),
        (
            "a child that is too long",
            vec![0xA0, 0x83, 0xA1, 0x82, 0],
            ReadError::BeyondParent { id: 0xA1, offset: 2, parent: 0xA0, parent_end: 5 },
        ),
        ("a cut value", vec![0xA3, 0x85, 1], ReadError::Truncated { id: 0xA3, offset: 0, end: 3 }),
        ("a cut size", vec![0xA3, 0x40], ReadError::Truncated { id: 0, offset: 0, end: 2 }),
        ("a cut id", vec![0xE7, 0x81, 1, 0x1F, 0x43], ReadError::Truncated { id: 0, offset: 3, end: 5 }),
        (
            "a cut master",
            vec![0xA0, 0x85, 0xA1, 0x81, 0],
            ReadError::Truncated { id: 0xA0, offset: 0, end: 5 },
        ),
    ];
    for (name, bytes, expected) in table {
        for size in 1..=bytes.len() {
            assert_eq!(read_in(&bytes, size).1, Some(expected.clone()), "{name} in pieces of {size}");
        }
    }
}

#[test]
fn an_error_stays() {
    let mut reader = Reader::new();
    reader.push(Bytes::from_static(&[0, 0]));
    let first = reader.next().unwrap_err();
    reader.push(Bytes::from_static(&[0xE7, 0x81, 1]));
    assert_eq!(reader.next().unwrap_err(), first);
}

#[test]
fn nesting_is_bounded() {
    let mut content = Vec::new();
    for _ in 0..40 {
        content = whole(ids::SIMPLE_TAG, &content);
    }
    let (events, error) = read(&content);
    assert_eq!(events.len(), ELEMENT_DEPTH_MAX);
    assert!(matches!(error, Some(ReadError::TooDeep { id: ids::SIMPLE_TAG, .. })), "{error:?}");
}

#[test]
fn a_payload_inside_one_push_is_not_copied() {
    let mut document = BytesMut::new();
    document.put_slice(&[0xA3, 0x84, 0x81, 0, 0, 0x80]);
    let document = document.freeze();
    let mut reader = Reader::new();
    reader.push(document.clone());
    let Some(Event::Data(data)) = reader.next().unwrap() else { panic!("no value") };
    assert_eq!(data.payload.as_ptr(), document[2..].as_ptr());
}

#[test]
fn everything_pushed_is_counted() {
    let mut reader = Reader::new();
    reader.push(Bytes::from_static(&[0xE7, 0x81]));
    assert_eq!((reader.next().unwrap(), reader.offset(), reader.buffered()), (None, 0, 2));
    reader.push(Bytes::from_static(&[1, 0xE7]));
    assert!(reader.next().unwrap().is_some());
    assert_eq!((reader.offset(), reader.buffered()), (3, 1));
}
