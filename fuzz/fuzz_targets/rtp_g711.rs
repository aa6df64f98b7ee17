//! G.711 in RTP (RFC 3551).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| streamfleet_fuzz::rtp(&streamfleet_fuzz::sdp("audio", "PCMA/8000/1", ""), data));
