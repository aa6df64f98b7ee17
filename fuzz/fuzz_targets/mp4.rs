//! MP4: from pipes when the first byte is even, from files when it is odd.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use streamfleet_fuzz::Counter;
use streamfleet_media::container::{Item, Kind};
use streamfleet_media::mp4::{FileDemuxer, Step};

/// More is never read at once.
const READ_BYTES_MAX: usize = 64 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    if first & 1 == 0 {
        streamfleet_fuzz::container(Kind::Mp4, data);
    } else {
        file(rest);
    }
});

fn file(file: &[u8]) {
    let (mut demuxer, mut counter) = (FileDemuxer::default(), Counter::default());
    // Samples may name the same bytes again and again: so many are looked at.
    for _ in 0..10_000 {
        let step = match demuxer.step() {
            Ok(step) => step,
            Err(_) => return,
        };
        match step {
            Step::Read { position, bytes } => {
                assert!(bytes <= READ_BYTES_MAX, "{bytes} bytes at once");
                let start = usize::try_from(position).unwrap_or(usize::MAX).min(file.len());
                let end = start.saturating_add(bytes).min(file.len());
                let found = Bytes::copy_from_slice(&file[start..end]);
                if demuxer.give(position, &found).is_err() {
                    return;
                }
            }
            Step::Item(Item::Sample(sample)) => counter.sample(&sample),
            Step::Item(Item::Tracks(_) | Item::LeftOut(_)) => {}
            Step::Fragmented | Step::End => return,
        }
    }
}
