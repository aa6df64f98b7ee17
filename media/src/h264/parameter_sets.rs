//! The parameter sets in force, by their ids.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::avcc::AvcConfiguration;
use super::nal::{NalKind, nal_kind, picture_parameter_set};
use super::sps::Sps;
use crate::limits::PARAMETER_SET_BYTES_MAX;
use crate::nal::bits::BitReader;
use crate::nal::remove_emulation_prevention;

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
            sets.update(nal);
        }
        sets
    }

    /// Takes a NAL unit in if it is a parameter set; true when that changed what is in force. Sets whose id cannot be
    /// read, and larger ones than any real set, are left out.
    pub fn update(&mut self, nal: &[u8]) -> bool {
        let sets = match nal_kind(nal) {
            Some(NalKind::Sps) => &mut self.sps,
            Some(NalKind::Pps) => &mut self.pps,
            _ => return false,
        };
        let Some(id) = id(nal).filter(|_| nal.len() <= PARAMETER_SET_BYTES_MAX) else { return false };
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

    /// Pixels across and down, cropping applied, of the sequence parameter set with the lowest id.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.sps().map(|sps| (sps.width, sps.height))
    }

    /// The sequence parameter set that a slice is coded by, read; `None` where the slice is cut short, or names a set that
    /// has not come.
    pub fn sps_of(&self, slice: &[u8]) -> Option<Sps> {
        let pps = self.pps.get(&picture_parameter_set(slice)?)?;
        // Two numbers of at most 63 bits are all that is read.
        let raw = remove_emulation_prevention(pps.get(1..pps.len().min(24))?);
        let mut bits = BitReader::new(&raw);
        bits.unsigned().ok()?;
        let sps = self.sps.get(&bits.unsigned().ok()?)?;
        Sps::parse(sps).ok()
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
    pub fn avcc(&self) -> Option<Bytes> {
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
        assert!(sets.update(&nal(SPS)) && sets.update(&nal(PPS[0])));
        let before = sets.clone();
        assert!(!sets.update(&nal(SPS)) && !sets.update(&nal(PPS[0])));
        assert_eq!(sets, before);
        assert!(sets.update(&nal(SPS_OF_OTHER_SIZE)));
        assert_ne!(sets, before);
        assert_eq!(sets.sps().map(|sps| (sps.width, sps.height)), Some((352, 288)));
        assert_eq!(sets.sps_nals().count(), 1);
    }

    #[test]
    fn sets_are_equal_in_whatever_order_they_came() {
        let collect = |order: [&str; 3]| {
            let mut sets = ParameterSets::new();
            for set in order {
                assert!(sets.update(&nal(set)));
            }
            sets
        };
        let one = collect([SPS, PPS[0], PPS[1]]);
        let other = collect([PPS[1], PPS[0], SPS]);
        assert_eq!(one, other);
        assert_eq!(one.avcc(), other.avcc());
        assert_eq!(one.pps_nals().count(), 2);
    }

    #[test]
    fn a_configuration_gives_the_sets_that_made_it() {
        let mut sets = ParameterSets::new();
        assert_eq!(sets.avcc(), None);
        sets.update(&nal(SPS));
        assert_eq!(sets.avcc(), None, "a picture parameter set is missing");
        sets.update(&nal(PPS[0]));
        let configuration = AvcConfiguration::parse(&sets.avcc().unwrap()).unwrap();
        assert_eq!(ParameterSets::from_configuration(&configuration), sets);
    }

    #[test]
    fn other_nal_units_and_broken_sets_are_left_out() {
        let mut sets = ParameterSets::new();
        for set in ["", "65", "67", "6764", "68", "6800", "06050100"] {
            assert!(!sets.update(&nal(set)), "{set}");
        }
        assert_eq!(sets, ParameterSets::new());
    }
}
