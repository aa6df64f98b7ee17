//! RTP packets as they come: heads, order, numbers.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use streamfleet_media::rtp::Packet;
use streamfleet_media::rtp::reorder::{Order, Reorder};
use streamfleet_media::rtp::sequence::Sequence;

fuzz_target!(|data: &[u8]| {
    let (mut reorder, mut sequence, mut rest) = (Reorder::default(), Sequence::default(), data);
    let (mut at, mut taken, mut popped) = (Duration::ZERO, 0, 0);
    while let [length, wait, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        at += Duration::from_millis(u64::from(*wait));
        let Some(packet) = Packet::parse(bytes) else { continue };
        assert!(packet.payload.len() <= bytes.len());
        sequence.take(&packet);
        sequence.measure(&packet, at, 90_000);
        taken += 1;
        if matches!(reorder.take(packet.sequence, bytes, (), at), Order::Far) {
            popped += reorder.drain().count();
        }
        while reorder.pop(at).is_some() {
            popped += 1;
        }
        assert!(popped <= taken, "nothing comes twice");
        assert!(reorder.wake_at().is_none_or(|wake| wake <= at + Duration::from_secs(10)));
    }
    sequence.reception();
});
