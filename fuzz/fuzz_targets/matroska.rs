//! Matroska from files and pipes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::container::Kind;

fuzz_target!(|data: &[u8]| streamfleet_fuzz::container(Kind::Mkv, data));
