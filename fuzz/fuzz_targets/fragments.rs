//! Matroska as the service speaks it: what PutMedia takes, and what GetMedia gives.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use streamfleet_media::fragment::FragmentReader;
use streamfleet_media::mkv::{Demuxer, Item};

fuzz_target!(|data: &[u8]| {
    let (mut demuxer, mut given) = (Demuxer::with_limit(1 << 20), 0);
    let mut reader = FragmentReader::new();
    let (mut broken, mut ended) = (false, false);
    let mut step = |demuxer: &mut Demuxer, reader: &mut FragmentReader| {
        while !broken {
            match demuxer.next() {
                Ok(Some(item)) => {
                    given += 1;
                    if let Item::Frame(frame) = &item {
                        given += frame.payload.len();
                    }
                }
                Ok(None) => break,
                Err(_) => broken = true,
            }
            assert!(given <= data.len() * streamfleet_fuzz::GROWTH + streamfleet_fuzz::EXTRA_BYTES);
        }
        while !ended {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => ended = true,
            }
        }
    };
    for piece in streamfleet_fuzz::pieces(data) {
        demuxer.push(Bytes::copy_from_slice(piece));
        reader.push(Bytes::copy_from_slice(piece));
        step(&mut demuxer, &mut reader);
    }
    demuxer.finish();
    reader.finish();
    step(&mut demuxer, &mut reader);
});
