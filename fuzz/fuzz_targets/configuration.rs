//! The configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The one file, since the producer's crate needs half an hour of AWS and TLS to build with instrumentation.
#[allow(dead_code, reason = "the file's watch is not fuzzed")]
#[path = "../../producer-sidecar/src/config.rs"]
mod config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse(text) {
        Ok(parsed) => assert!(parsed.configuration.feeds.len() <= text.len()),
        Err(error) => assert!(error.to_string().len() <= text.len() * 16 + 4_096),
    }
});
