//! AAC in RTP (RFC 3640).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parameters = "streamtype=5;mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3";
    streamfleet_fuzz::rtp(&streamfleet_fuzz::sdp("audio", "MPEG4-GENERIC/48000/2", parameters), data);
});
