use super::*;
use crate::h264::{ParameterSets, Sps, nals_avcc};

#[test]
fn sizes_and_rates_that_there_are_not_are_refused() {
    for (width, height, rate) in [(160, 96, 1), (1920, 1088, 60), (640, 352, 10)] {
        assert!(Pattern::new(width, height, rate).is_ok());
    }
    for (width, height, rate) in
        [(150, 96, 1), (160, 100, 1), (144, 96, 1), (160, 80, 1), (1936, 96, 1), (160, 96, 0), (160, 96, 61)]
    {
        assert!(Pattern::new(width, height, rate).is_err(), "{width}x{height} at {rate}");
    }
}

#[test]
fn parameters_say_the_size_and_a_level_that_takes_it() {
    for (width, height, rate, level) in [
        (160, 96, 1, 10),
        (640, 352, 10, 22),
        (640, 352, 60, 31),
        (1280, 720, 30, 31),
        (1920, 1088, 60, 42),
        (1920, 96, 1, 31),
    ] {
        let pattern = Pattern::new(width, height, rate).unwrap();
        let configuration = AvcConfiguration::parse(&pattern.parameters().private).unwrap();
        let sps = Sps::parse(&configuration.sps[0]).unwrap();
        assert_eq!((sps.width, sps.height), (width, height));
        assert_eq!(configuration.sps[0][3], level, "{width}x{height} at {rate}");
        assert!(ParameterSets::from_configuration(&configuration).is_complete());
    }
}

#[test]
fn each_second_begins_with_a_picture_of_its_own_and_the_rest_is_small() {
    let mut pattern = Pattern::new(640, 352, 10).unwrap();
    let samples: Vec<Sample> =
        (0..50).filter(|n| *n != 20).map(|n| pattern.picture(n, 1_795_422_896_007 + n * 100)).collect();
    assert!(samples[0].parameters.is_some() && samples[1..].iter().all(|sample| sample.parameters.is_none()));
    for sample in &samples {
        let start = sample.ticks % 10 == 0 || sample.ticks == 21;
        assert_eq!(sample.access == Access::Start, start, "{}", sample.ticks);
        let kind = nals_avcc(&sample.data).next().unwrap()[0];
        assert_eq!(kind, if start { 0x65 } else { 0x41 });
    }
    let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    assert!(bytes < 5 * 12_000, "{bytes} bytes in five seconds");
}
