//! What cameras say of their codecs: parameter sets and configuration records. The first byte says which.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use streamfleet_media::h264::{self, AvcConfiguration};
use streamfleet_media::h265::{self, HevcConfiguration};
use streamfleet_media::{aac, g711};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(data);
    match which % 8 {
        0 => {
            if let Ok(configuration) = AvcConfiguration::parse(&bytes) {
                let sets = h264::ParameterSets::from_configuration(&configuration);
                (sets.size(), sets.avcc(), configuration.to_record());
            }
        }
        1 => _ = h264::Sps::parse(data),
        2 => {
            let mut sets = h264::ParameterSets::new();
            for nal in data.split(|byte| *byte == 0xFF) {
                sets.update(nal);
                (sets.size(), sets.sps_of(nal), sets.avcc());
            }
        }
        3 => {
            if let Ok(configuration) = HevcConfiguration::parse(&bytes) {
                let sets = h265::ParameterSets::from_configuration(&configuration);
                (sets.size(), sets.hvcc(), configuration.to_record());
            }
        }
        4 => _ = h265::Sps::parse(data),
        5 => {
            let mut sets = h265::ParameterSets::new();
            for nal in data.split(|byte| *byte == 0xFF) {
                sets.update(nal);
                (sets.size(), sets.sps_of(nal), sets.hvcc());
            }
        }
        6 => {
            if let Ok(config) = aac::AudioConfig::parse(data) {
                assert!(aac::AudioConfig::parse(&config.to_config()).is_ok(), "{config:?}");
            }
            (aac::parameters(&bytes).ok(), aac::AdtsHeader::parse(data).ok(), g711::parse(data));
        }
        _ => {
            assert!(h264::annexb_to_avcc(data).len() <= data.len() * 2 + 4);
            (h264::is_idr(data), h264::sei::picture_number(data), h264::sei::parse_user_data(data));
        }
    }
});
