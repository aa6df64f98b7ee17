//! H.264 in RTP (RFC 6184).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| streamfleet_fuzz::rtp(
    &streamfleet_fuzz::sdp("video", "H264/90000", "packetization-mode=1"),
    data
));
