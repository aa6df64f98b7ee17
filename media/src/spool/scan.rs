//! Finds the groups in a segment.

use std::sync::Arc;

use super::record::{HEAD_BYTES, Head, Kind, decode_parameters};
use super::search::Search;
use super::{SegmentHeader, SpoolError};
use crate::track::CodecParameters;

/// A group as it lies in a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct ScannedGroup {
    /// Its id.
    pub id: u64,
    /// What its units need to be decoded.
    pub codec: Arc<CodecParameters>,
    /// Whether it waits to be stored.
    pub waits: bool,
    /// Where its head begins in the segment.
    pub offset: u64,
    /// Bytes from there to the end of its last whole unit.
    pub length: u64,
    /// The time of its first unit, in milliseconds of the Unix epoch.
    pub start_ms: i64,
    /// The latest time among its units.
    pub last_ms: i64,
    /// The tracks that it has units of: bit 0 for the first.
    pub present: u8,
    /// How many units it has.
    pub units: usize,
    /// The bytes of its units' payloads.
    pub bytes: u64,
}

/// What a [`Scanner`] has to be given of the record whose head it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The payload, by [`Scanner::payload`].
    Payload,
    /// Nothing: the next head, so many bytes on.
    Skip(u64),
}

/// Walks over the records of a segment. Payloads of units may be passed over, since a group's are checked when it is
/// read; in a segment that was being written they should be looked at, see [`Scanner::verify_units`].
#[derive(Debug)]
pub struct Scanner {
    verify_units: bool,
    at: u64,
    pending: Option<Head>,
    codec: Option<Arc<CodecParameters>>,
    current: Option<ScannedGroup>,
    groups: Vec<ScannedGroup>,
}

impl Scanner {
    /// For the records of a segment whose header takes `header_bytes`.
    pub fn new(header_bytes: u64) -> Self {
        Self {
            verify_units: false,
            at: header_bytes,
            pending: None,
            codec: None,
            current: None,
            groups: Vec::new(),
        }
    }

    /// Asks for the payloads of units too, and stops at the first that is damaged.
    #[must_use]
    pub fn verify_units(mut self) -> Self {
        self.verify_units = true;
        self
    }

    /// Where the next head is, or the first byte that is of no use.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next record's head. `segment_bytes` is the size of the file: a record that passes it is torn.
    pub fn head(&mut self, bytes: &[u8], segment_bytes: u64) -> Result<Need, SpoolError> {
        let head = Head::decode(bytes)?;
        if self.at.checked_add(head.record_bytes()).is_none_or(|end| end > segment_bytes) {
            return Err(SpoolError::Truncated);
        }
        match head.kind {
            Kind::Group => {
                let Some(codec) = self.codec.clone() else {
                    return Err(SpoolError::Field("order of records"));
                };
                self.end_group();
                let id = u64::try_from(head.value).map_err(|_| SpoolError::Field("group"))?;
                self.current = Some(ScannedGroup {
                    id,
                    codec,
                    waits: head.waits,
                    offset: self.at,
                    length: head.record_bytes(),
                    start_ms: 0,
                    last_ms: i64::MIN,
                    present: 0,
                    units: 0,
                    bytes: 0,
                });
            }
            Kind::Unit if self.current.is_none() => return Err(SpoolError::Field("order of records")),
            Kind::Unit if !self.verify_units => self.add_unit(&head),
            Kind::Unit | Kind::Parameters => {}
        }
        if head.kind == Kind::Parameters || (head.kind == Kind::Unit && self.verify_units) {
            self.pending = Some(head);
            return Ok(Need::Payload);
        }
        self.at += head.record_bytes();
        Ok(Need::Skip(head.record_bytes()))
    }

    /// The payload that was asked for.
    pub fn payload(&mut self, payload: &[u8]) -> Result<(), SpoolError> {
        let Some(head) = self.pending.take() else { return Err(SpoolError::Field("order of records")) };
        if !head.is_of(payload) {
            return Err(SpoolError::Checksum);
        }
        match head.kind {
            Kind::Parameters => {
                let parameters = decode_parameters(payload)?;
                self.end_group();
                // Most changes are none: groups share what is equal.
                if self.codec.as_deref() != Some(&parameters) {
                    self.codec = Some(Arc::new(parameters));
                }
            }
            Kind::Unit => self.add_unit(&head),
            Kind::Group => {}
        }
        self.at += head.record_bytes();
        Ok(())
    }

    /// The length of the payload that was asked for.
    pub fn payload_bytes(&self) -> usize {
        self.pending.map_or(0, |head| head.length as usize)
    }

    /// For what is behind a record here that is damaged.
    pub fn search(&self) -> Search {
        Search::new(self.current.as_ref())
    }

    /// The groups that have at least one unit, in the order of the file.
    pub fn finish(mut self) -> Vec<ScannedGroup> {
        self.end_group();
        self.groups
    }

    fn add_unit(&mut self, head: &Head) {
        let Some(group) = &mut self.current else { return };
        if group.units == 0 {
            group.start_ms = head.value;
        }
        group.last_ms = group.last_ms.max(head.value);
        group.present |= 1u8.checked_shl(head.track.into()).unwrap_or(0);
        group.units += 1;
        group.bytes += u64::from(head.length);
        group.length += head.record_bytes();
    }

    fn end_group(&mut self) {
        self.groups.extend(self.current.take().filter(|group| group.units > 0));
    }
}

/// Scans a segment that is in memory: its header, its groups, and the first byte that is of no use.
pub fn scan(segment: &[u8]) -> Result<(SegmentHeader, Vec<ScannedGroup>, u64), SpoolError> {
    let (header, header_bytes) = SegmentHeader::decode(segment)?;
    let mut scanner = Scanner::new(header_bytes as u64).verify_units();
    // A damaged record ends what can be used; it is no failure of the whole.
    while let Some(rest) = usize::try_from(scanner.at()).ok().and_then(|at| segment.get(at..))
        && let Ok(need) = scanner.head(rest, segment.len() as u64)
    {
        if need == Need::Payload {
            let end = HEAD_BYTES + scanner.payload_bytes();
            if rest.get(HEAD_BYTES..end).is_none_or(|payload| scanner.payload(payload).is_err()) {
                break;
            }
        }
    }
    let end = scanner.at();
    Ok((header, scanner.finish(), end))
}
