//! The parameter sets in force, by their ids.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::avcc::AvcConfiguration;
use super::bits::BitReader;
use super::nal::{NalKind, nal_kind, remove_emulation_prevention};
use super::sps::Sps;

/// Sequence and picture parameter sets as a stream has last sent them, by id. Two are equal when every id has the same
/// bytes, in whatever order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterSets {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
}

impl ParameterSets {
    /// No parameter sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sets of a decoder configuration.
    pub fn from_configuration(configuration: &AvcConfiguration) -> Self {
        let mut sets = Self::new();
        for nal in configuration.sps.iter().chain(&configuration.pps) {
            sets.take(nal);
        }
        sets
    }

    /// Takes a NAL unit in if it is a parameter set; true when that changed what is in force. Sets whose id cannot be
    /// read are left out.
    pub fn take(&mut self, nal: &[u8]) -> bool {
        let sets = match nal_kind(nal) {
            Some(NalKind::Sps) => &mut self.sps,
            Some(NalKind::Pps) => &mut self.pps,
            _ => return false,
        };
        let Some(id) = id(nal) else { return false };
        if sets.get(&id).is_some_and(|known| known == nal) {
            return false;
        }
        sets.insert(id, Bytes::copy_from_slice(nal));
        true
    }

    /// Whether there is at least one set of each kind.
    pub fn is_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The sequence parameter set with the lowest id, read.
    pub fn sps(&self) -> Option<Sps> {
        self.sps.values().next().and_then(|nal| Sps::parse(nal).ok())
    }

    /// The sequence parameter sets as NAL units, by id.
    pub fn sps_nals(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.values()
    }

    /// The picture parameter sets as NAL units, by id.
    pub fn pps_nals(&self) -> impl Iterator<Item = &Bytes> {
        self.pps.values()
    }

    /// Codec private data (`avcC`) of these sets; `None` while they are not complete.
    pub fn to_avcc(&self) -> Option<Bytes> {
        if !self.is_complete() {
            return None;
        }
        let sps = self.sps.values().cloned().collect();
        let pps = self.pps.values().cloned().collect();
        AvcConfiguration { sps, pps, length_size: 4 }.to_record()
    }
}

/// The set's own id: `seq_parameter_set_id` or `pic_parameter_set_id`.
fn id(nal: &[u8]) -> Option<u32> {
    let is_sps = nal_kind(nal) == Some(NalKind::Sps);
    // An id takes at most 17 bits: no need to look at the whole set.
    let raw = remove_emulation_prevention(nal.get(1..nal.len().min(16))?);
    let mut bits = BitReader::new(&raw);
    if is_sps {
        bits.bits(24).ok()?;
    }
    bits.unsigned().ok().filter(|id| *id < if is_sps { 32 } else { 256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nal(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    const SPS: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
    const SPS_OF_OTHER_SIZE: &str = "6742c00dd9016096c044000003000400000300c83c50a920";
    /// Ids 0 and 1.
    const PPS: [&str; 2] = ["68ebe3cb22c0", "684bc0"];

    #[test]
    fn a_set_repeated_changes_nothing_and_a_new_one_under_its_id_does() {
        let mut sets = ParameterSets::new();
        assert!(sets.take(&nal(SPS)) && sets.take(&nal(PPS[0])));
        let before = sets.clone();
        assert!(!sets.take(&nal(SPS)) && !sets.take(&nal(PPS[0])));
        assert_eq!(sets, before);
        assert!(sets.take(&nal(SPS_OF_OTHER_SIZE)));
        assert_ne!(sets, before);
        assert_eq!(sets.sps().map(|sps| (sps.width, sps.height)), Some((352, 288)));
        assert_eq!(sets.sps_nals().count(), 1);
    }

    #[test]
    fn sets_are_equal_in_whatever_order_they_came() {
        let collect = |order: [&str; 3]| {
            let mut sets = ParameterSets::new();
            for set in order {
                assert!(sets.take(&nal(set)));
            }
            sets
        };
        let one = collect([SPS, PPS[0], PPS[1]]);
        let other = collect([PPS[1], PPS[0], SPS]);
        assert_eq!(one, other);
        assert_eq!(one.to_avcc(), other.to_avcc());
        assert_eq!(one.pps_nals().count(), 2);
    }

    #[test]
    fn a_configuration_gives_the_sets_that_made_it() {
        let mut sets = ParameterSets::new();
        assert_eq!(sets.to_avcc(), None);
        sets.take(&nal(SPS));
        assert_eq!(sets.to_avcc(), None, "a picture parameter set is missing");
        sets.take(&nal(PPS[0]));
        let configuration = AvcConfiguration::parse(&sets.to_avcc().unwrap()).unwrap();
        assert_eq!(ParameterSets::from_configuration(&configuration), sets);
    }

    #[test]
    fn other_nal_units_and_broken_sets_are_left_out() {
        let mut sets = ParameterSets::new();
        for set in ["", "65", "67", "6764", "68", "6800", "06050100"] {
            assert!(!sets.take(&nal(set)), "{set}");
        }
        assert_eq!(sets, ParameterSets::new());
    }
}
