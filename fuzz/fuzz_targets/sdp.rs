//! SDP, and receivers of what it offers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamfleet_media::rtp::Receiver;
use streamfleet_media::rtp::sdp::Description;

fuzz_target!(|data: &[u8]| {
    let Ok(description) = Description::parse(data) else { return };
    for offer in &description.offers {
        let sets: usize = offer.parameter_sets().iter().map(Vec::len).sum();
        assert!(sets <= data.len(), "base64 shrinks");
        assert!(offer.name().len() <= data.len() * 4 + 64);
        if let Err(unsupported) = Receiver::<()>::new(0, offer) {
            assert!(unsupported.to_string().len() <= data.len() * 4 + 256);
        }
    }
});
