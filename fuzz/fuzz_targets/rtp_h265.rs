//! H.265 in RTP (RFC 7798), with and without decoding order numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let parameters = if first & 1 == 0 { "" } else { "sprop-max-don-diff=2" };
    streamfleet_fuzz::rtp(&streamfleet_fuzz::sdp("video", "H265/90000", parameters), data);
});
