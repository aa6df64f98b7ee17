//! The parameter sets in force, by their ids.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::hvcc::HevcConfiguration;
use super::nal::{NalKind, access, nal_kind};
use super::sps::Sps;
use crate::limits::PARAMETER_SET_BYTES_MAX;
use crate::nal::bits::BitReader;
use crate::nal::remove_emulation_prevention;

/// Video, sequence and picture parameter sets as a stream has last sent them, by id. Two are equal when every id has the
/// same bytes, in whatever order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterSets {
    vps: BTreeMap<u32, Bytes>,
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
}

impl ParameterSets {
    /// No parameter sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sets of a decoder configuration.
    pub fn from_configuration(configuration: &HevcConfiguration) -> Self {
        let mut sets = Self::new();
        for nal in configuration.vps.iter().chain(&configuration.sps).chain(&configuration.pps) {
            sets.update(nal);
        }
        sets
    }

    /// Takes a NAL unit in if it is a parameter set; true when that changed what is in force. Sets whose id cannot be
    /// read, and larger ones than any real set, are left out.
    pub fn update(&mut self, nal: &[u8]) -> bool {
        let kind = nal_kind(nal);
        let sets = match kind {
            Some(NalKind::Vps) => &mut self.vps,
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
        !self.vps.is_empty() && !self.sps.is_empty() && !self.pps.is_empty()
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
        let raw = remove_emulation_prevention(pps.get(2..pps.len().min(26))?);
        let mut bits = BitReader::new(&raw);
        bits.unsigned().ok()?;
        let sps = self.sps.get(&bits.unsigned().ok()?)?;
        Sps::parse(sps).ok()
    }

    /// Codec private data (`hvcC`) of these sets; `None` while they are not complete.
    pub fn hvcc(&self) -> Option<Bytes> {
        let all = |sets: &BTreeMap<u32, Bytes>| sets.values().cloned().collect();
        let (vps, sps, pps) = (all(&self.vps), all(&self.sps), all(&self.pps));
        HevcConfiguration { vps, sps, pps, length_size: 4 }.to_record()
    }
}

/// The set's own id (clauses 7.3.2.1, 7.3.2.2, 7.3.2.3).
fn id(nal: &[u8]) -> Option<u32> {
    let kind = nal_kind(nal);
    let raw = remove_emulation_prevention(nal.get(2..nal.len().min(16))?);
    let mut bits = BitReader::new(&raw);
    match kind? {
        NalKind::Vps => bits.bits(4).ok(),
        NalKind::Sps => Sps::parse(nal).ok().map(|sps| sps.id.into()),
        NalKind::Pps => bits.unsigned().ok().filter(|id| *id < 64),
        _ => None,
    }
}

/// `slice_pic_parameter_set_id` (clause 7.3.6.1); `None` for what is no slice, or cut short.
fn picture_parameter_set(nal: &[u8]) -> Option<u32> {
    access(nal)?;
    let raw = remove_emulation_prevention(nal.get(2..nal.len().min(16))?);
    let mut bits = BitReader::new(&raw);
    bits.flag().ok()?;
    // Random access pictures say whether earlier ones are to be output.
    if (16..=23).contains(&(nal[0] >> 1 & 0x3F)) {
        bits.flag().ok()?;
    }
    bits.unsigned().ok().filter(|id| *id < 64)
}
