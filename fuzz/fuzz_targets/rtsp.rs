//! An RTSP connection: messages, interleaved packets, and what is neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::rtp::framing::{Framing, Item};

fuzz_target!(|data: &[u8]| {
    let mut framing = Framing::default();
    framing.expect(0);
    framing.expect(1);
    let mut held = Vec::new();
    for piece in streamfleet_fuzz::pieces(data) {
        held.extend_from_slice(piece);
        loop {
            let used = match framing.next(&held) {
                Ok(Some((item, used))) => {
                    if let Item::Message(message) = &item {
                        assert!(message.body.len() <= used);
                        message.sequence();
                    }
                    used
                }
                Ok(None) => break,
                Err(_) => return,
            };
            assert!(used > 0 && used <= held.len(), "{used} of {}", held.len());
            held.drain(..used);
        }
        assert!(held.len() <= 70_000 + piece.len(), "no message or packet is so long: {}", held.len());
    }
});
