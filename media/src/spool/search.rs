//! Looks behind a damaged place of a segment for what is lost there. It cannot be used any more, as what holds for it (the
//! codec parameters, the head of its group) may have stood in the damaged place; but its times can be told.

use super::record::{HEAD_BYTES, Head, Kind};
use super::scan::ScannedGroup;

/// What can still be seen of a group that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostGroup {
    /// Its id; `None` where its head is not there any more.
    pub id: Option<u64>,
    /// Whether it waits to be stored. One whose head is not there any more is taken to do so.
    pub waits: bool,
    /// The time of the first unit that is seen, in milliseconds of the Unix epoch.
    pub start_ms: i64,
    /// The latest time among those.
    pub last_ms: i64,
}

/// Looks at each place for a head whose checksum fits, and goes on behind the record of each that it finds.
#[derive(Debug, Default)]
pub struct Search {
    /// Whose units are next, and whether it waits; `None` where that is not known.
    open: Option<(u64, bool)>,
    /// Whether it has a unit.
    has_begun: bool,
    /// Whether units belong to the last of the groups.
    continues: bool,
    groups: Vec<LostGroup>,
}

impl Search {
    /// Behind a place in this group, if there is one.
    pub(super) fn new(group: Option<&ScannedGroup>) -> Self {
        Self {
            open: group.map(|group| (group.id, group.waits)),
            has_begun: group.is_some_and(|group| group.units > 0),
            ..Self::default()
        }
    }

    /// Looks for the next head in `bytes`, behind which the segment goes on up to `rest_bytes` from their beginning. Gives
    /// how far to go on from there; at least 1, save where there are no bytes.
    pub fn look(&mut self, bytes: &[u8], rest_bytes: u64) -> u64 {
        for (offset, window) in (0_u64..).zip(bytes.windows(HEAD_BYTES)) {
            if let Ok(head) = Head::decode(window)
                && let Some(end) = offset.checked_add(head.record_bytes()).filter(|end| *end <= rest_bytes)
            {
                self.note(&head);
                return end;
            }
        }
        // A head may begin in the last bytes, unless the segment ends with them.
        let looked_at = (bytes.len() + 1).saturating_sub(HEAD_BYTES) as u64;
        if looked_at == 0 { rest_bytes.max(bytes.len() as u64) } else { looked_at }
    }

    /// The groups that at least one unit was found of, in the order of the file.
    pub fn finish(self) -> Vec<LostGroup> {
        self.groups
    }

    fn note(&mut self, head: &Head) {
        match head.kind {
            Kind::Parameters => self.begin(None),
            Kind::Group => self.begin(u64::try_from(head.value).ok().map(|id| (id, head.waits))),
            Kind::Unit => self.note_unit(head),
        }
    }

    fn begin(&mut self, group: Option<(u64, bool)>) {
        (self.open, self.has_begun, self.continues) = (group, false, false);
    }

    fn note_unit(&mut self, head: &Head) {
        // A key begins a group: here one whose own head is not there any more.
        if head.key && self.has_begun {
            self.begin(None);
        }
        let time_ms = head.value;
        if let Some(group) = self.groups.last_mut().filter(|_| self.continues) {
            group.last_ms = group.last_ms.max(time_ms);
        } else {
            let (id, waits) = self.open.map_or((None, true), |(id, waits)| (Some(id), waits));
            self.groups.push(LostGroup { id, waits, start_ms: time_ms, last_ms: time_ms });
        }
        (self.has_begun, self.continues) = (true, true);
    }
}
