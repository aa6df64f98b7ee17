//! Parameter sets that x265 wrote, for pictures of a known size.

use bytes::Bytes;

use super::*;

/// (VPS, SPS, PPS, the `hvcC` that ffmpeg made of them)
const PLAIN: [&str; 4] = [
    "40010c01ffff01600000030090000003000003003f928090",
    "42010101600000030090000003000003003fa005020169dd6592a4932bc05a020000030002000003003210",
    "4401c172b46240",
    "0101600000009000000000003ff000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003003f928090210001002b42010101600000030090000003000003003fa005020169dd6592a4932bc05a02000003000200000300321022000100074401c172b46240",
];

/// With a hypothetical decoder, scaling lists and two slices.
const DECODER_MODEL: [&str; 4] = [
    "40010c01ffff01600000030090000003000003003f959809",
    "42010101600000030090000003000003003fa005020169dd65959a49395e02d0100000030010000003019609c905e000f424001e8488",
    "4401c172b44240",
    "0101600000009000000000003ff000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003003f959809210001003642010101600000030090000003000003003fa005020169dd65959a49395e02d0100000030010000003019609c905e000f424001e848822000100074401c172b44240",
];

/// 4:2:2 in 10 bits, two temporal layers.
const LAYERS: [&str; 4] = [
    "40010c02ffff0408000003009d0800000300003f00009598acc048",
    "4201020408000003009d0800000300003f0000b005020169ddb659598acd24995e02d0100000030010000003019080",
    "4401c172b46240",
    "0104080000009d08000000003ff000fcfefafa00001303200001001b40010c02ffff0408000003009d0800000300003f00009598acc048210001002f4201020408000003009d0800000300003f0000b005020169ddb659598acd24995e02d010000003001000000301908022000100074401c172b46240",
];

fn bytes(hex: &str) -> Bytes {
    Bytes::from(hex::decode(hex).unwrap())
}

fn sets(nals: &[&str]) -> ParameterSets {
    let mut sets = ParameterSets::new();
    for nal in nals {
        assert!(sets.update(&bytes(nal)), "{nal}");
    }
    sets
}

/// Without what says whether frames may carry further sets: ffmpeg says that they may, and here they may not.
fn comparable(record: &Bytes) -> HevcConfiguration {
    HevcConfiguration::parse(record).unwrap()
}

#[test]
fn size_and_format_are_those_that_the_encoder_was_given() {
    for (nal, layers, chroma, bits, profile) in
        [(PLAIN[1], 1, 1, 8, 1), (DECODER_MODEL[1], 1, 1, 8, 1), (LAYERS[1], 2, 2, 10, 4)]
    {
        let sps = Sps::parse(&bytes(nal)).unwrap();
        assert_eq!((sps.width, sps.height), (636, 358));
        assert_eq!((sps.temporal_layers, sps.chroma_format, sps.bit_depth_luma), (layers, chroma, bits));
        assert_eq!((sps.profile.profile(), sps.profile.level(), sps.id), (profile, 63, 0));
        assert!(!sps.profile.is_high_tier());
    }
}

#[test]
fn records_are_those_that_ffmpeg_makes() {
    for [vps, sps, pps, record] in [PLAIN, DECODER_MODEL, LAYERS] {
        let ours = sets(&[vps, sps, pps]).hvcc().unwrap();
        let theirs = bytes(record);
        assert_eq!(ours[..23], theirs[..23]);
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(comparable(&ours), comparable(&theirs));
    }
}

#[test]
fn records_read_back_and_every_cut_is_seen() {
    let record = sets(&PLAIN[..3]).hvcc().unwrap();
    let read = HevcConfiguration::parse(&record).unwrap();
    assert_eq!(read.length_size, 4);
    assert_eq!(ParameterSets::from_configuration(&read), sets(&PLAIN[..3]));
    for end in 0..record.len() {
        assert_eq!(HevcConfiguration::parse(&record.slice(..end)), Err(HvccError::Truncated), "{end}");
    }
    assert_eq!(HevcConfiguration::parse(&Bytes::from(vec![0; 30])), Err(HvccError::Version));
}

#[test]
fn a_set_repeated_changes_nothing_and_a_new_one_under_its_id_does() {
    let mut plain = sets(&PLAIN[..3]);
    assert!(
        !plain.update(&bytes(PLAIN[0])) && !plain.update(&bytes(PLAIN[1])) && !plain.update(&bytes(PLAIN[2]))
    );
    assert!(plain.update(&bytes(LAYERS[1])));
    assert_ne!(plain, sets(&PLAIN[..3]));
    assert_eq!(sets(&[PLAIN[2], PLAIN[1], PLAIN[0]]), sets(&PLAIN[..3]));
    for other in ["", "42", "4201", "2601", "4e0105", "44010000000000000000"] {
        assert!(!plain.update(&bytes(other)), "{other}");
    }
}

#[test]
fn there_is_no_record_until_every_kind_of_set_is_there() {
    for missing in 0..3 {
        let some: Vec<_> =
            PLAIN[..3].iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, s)| *s).collect();
        assert_eq!(sets(&some).hvcc(), None);
        assert!(!sets(&some).is_complete());
    }
}

#[test]
fn the_size_is_that_of_the_set_which_the_slice_names() {
    // Of plain.265: an IDR slice of 636 by 358 pictures, set 0.
    let slice = bytes("2801af1d30c6");
    assert_eq!(access(&slice), Some(crate::track::Access::Start));
    let sps = sets(&PLAIN[..3]).sps_of(&slice).unwrap();
    assert_eq!((sps.width, sps.height), (636, 358));
    assert_eq!(ParameterSets::new().sps_of(&slice), None);
    assert_eq!(sets(&PLAIN[..3]).sps_of(&bytes("2801")), None);
}

#[test]
fn any_damage_is_an_error_or_a_size_and_no_panic() {
    for hex in [PLAIN[1], DECODER_MODEL[1], LAYERS[1]] {
        let whole = bytes(hex);
        for at in 2..whole.len() {
            for value in 0..=255 {
                let mut damaged = whole.to_vec();
                damaged[at] = value;
                if let Ok(sps) = Sps::parse(&damaged) {
                    assert!((1..=33_776).contains(&sps.width) && (1..=33_776).contains(&sps.height));
                    assert!(sps.id < 16 && sps.chroma_format < 4 && sps.min_spatial_segmentation < 4_096);
                    let mut sets = sets(&[PLAIN[0], PLAIN[2]]);
                    sets.update(&damaged);
                    assert!(sets.hvcc().is_none_or(|record| HevcConfiguration::parse(&record).is_ok()));
                }
            }
            let cut = Sps::parse(&whole[..at]);
            assert!(cut.is_err() || at >= 20, "cut at {at}");
        }
    }
}
