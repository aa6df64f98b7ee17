//! What PutMedia answers: the same acknowledgements come out however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::ack::{Ack, AckError, AckParser};

fn described(found: Result<Ack, AckError>) -> Result<Ack, String> {
    found.map_err(|error| error.to_string())
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Ack, String>> {
    let (mut parser, mut found) = (AckParser::new(), Vec::new());
    for piece in pieces {
        parser.push(piece);
        found.extend(std::iter::from_fn(|| parser.next()).map(described));
    }
    found.extend(parser.finish().map(described));
    found
}

fuzz_target!(|data: &[u8]| {
    let rest = data.get(1..).unwrap_or_default();
    let whole = read(std::iter::once(rest));
    assert!(whole.len() <= rest.len() + 1);
    assert_eq!(whole, read(streamfleet_fuzz::pieces(data)));
    for ack in whole.into_iter().flatten() {
        let again = read(std::iter::once(ack.to_line().as_bytes()));
        assert_eq!(again.len(), 1, "{ack:?}");
    }
});
