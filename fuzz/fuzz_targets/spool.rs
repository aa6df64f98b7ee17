//! The spool's segments, which a crash or a bad disk may have left in any state: as they are when the first byte is even; with good
//! checksums when it is odd, so that what is behind them is reached.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use streamfleet_media::spool::{Head, Scanner, SegmentHeader, decode_parameters, read_units, scan};
use streamfleet_media::track::AccessUnit;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    if first & 1 == 0 {
        check(data);
    } else {
        check(&with_checksums(data));
    }
});

/// Records of which each has a byte for its kind and one for its length.
fn with_checksums(mut data: &[u8]) -> Vec<u8> {
    let header = SegmentHeader { feed: "a".to_owned(), arn: "x".to_owned(), retention_hours: 0, sequence: 1 };
    let mut out = header.encode();
    while let [kind, length, behind @ ..] = data {
        let (payload, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        data = behind;
        let head = match kind % 4 {
            0 => Head::parameters(payload),
            1 => Head {
                length: payload.len() as u32,
                ..Head::group(u64::from(*length) << 56 | u64::from(*kind))
            },
            _ => {
                let data = Bytes::copy_from_slice(payload);
                let time_ms = i64::from(*kind) << (*length % 63);
                Head::unit(&AccessUnit { track: kind >> 2, time_ms, key: kind & 2 == 0, data })
            }
        };
        out.extend_from_slice(&head.encode());
        out.extend_from_slice(payload);
    }
    out
}

fn check(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok((_, groups, end)) = scan(data) {
        assert!(end <= data.len() as u64);
        for group in &groups {
            assert!(group.offset + group.length <= data.len() as u64, "{group:?}");
            assert!(group.bytes <= data.len() as u64);
        }
    }
    let (mut at, mut search) = (0, Scanner::new(0).search());
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        let by = search.look(&rest[..rest.len().min(64)], rest.len() as u64);
        assert!((1..=rest.len() as u64).contains(&by));
        at += by as usize;
    }
    assert!(search.finish().len() * 24 <= data.len());
    let units: usize = read_units(&bytes).iter().map(|unit| unit.data.len()).sum();
    assert!(units <= data.len());
    if let Ok(parameters) = decode_parameters(data) {
        assert!(parameters.tracks.iter().map(|track| track.private.len()).sum::<usize>() <= data.len());
    }
}
