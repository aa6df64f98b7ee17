//! Writes a small corpus for each target, by our own writers: `FUZZ_CORPUS=FOLDER seeds` makes `FOLDER/TARGET/NAME`.
//!
//! A fuzz target in form, since all here is instrumented and needs libFuzzer's runtime to link.
#![no_main]

use std::path::Path;
use std::{fs, io, process};

use libfuzzer_sys::fuzz_target;
use streamfleet_fuzz::seeds;

fuzz_target!(
    init: leave(write().is_ok()),
    |_data: &[u8]| ()
);

/// Nothing is fuzzed. The type is what the macro wants.
fn leave(is_good: bool) {
    process::exit(i32::from(!is_good));
}

fn write() -> io::Result<()> {
    let folder = std::env::var_os("FUZZ_CORPUS").ok_or(io::ErrorKind::NotFound)?;
    for (target, name, bytes) in seeds::all() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
