//! RTCP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::rtp::rtcp::messages;

fuzz_target!(|data: &[u8]| assert!(messages(data).count() <= data.len() / 4));
