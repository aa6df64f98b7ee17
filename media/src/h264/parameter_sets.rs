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
