//! Bare H.264 and H.265 with start codes, and what a pipe's first bytes say of its format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::container::{Kind, detect};

fuzz_target!(|data: &[u8]| {
    detect(data);
    streamfleet_fuzz::container(Kind::AnnexB, data);
});
