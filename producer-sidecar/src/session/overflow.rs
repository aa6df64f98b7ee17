//! What is given up when the buffer is full.

use streamfleet_contract::GapReason;

use super::queue::Place;
use super::{Output, Report, Session, SpoolRoom};
use crate::buffer::GopId;

impl Session {
    /// Gives up groups until about `bytes` are free, oldest first; the one that comes in only when there is no other.
    ///
    /// Those that are on their way go first, then: most likely they will be stored all the same, and what is given up
    /// is only the means to send them again. Whether they are a gap is said when it is known.
    pub fn shed(&mut self, bytes: u64, _room: SpoolRoom) {
        let mut missing = bytes;
        while missing > 0 {
            let cursor = self.attempt.as_ref().and_then(|attempt| attempt.cursor).map(|cursor| cursor.gop);
            let oldest = self.queue.iter().find(|gop| gop.place != Place::Dropped && Some(gop.id) != cursor);
            let Some((id, size)) = oldest.map(|gop| (gop.id, gop.bytes)) else { return };
            self.drop_gop(id);
            missing = missing.saturating_sub(size.max(1));
        }
    }

    fn drop_gop(&mut self, id: GopId) {
        let Some(gop) = self.queue.get_mut(id) else { return };
        if gop.place == Place::InFlight {
            gop.place = Place::Dropped;
        } else if let Some(gop) = self.queue.remove(id) {
            if gop.complete {
                self.report_gap(gop.start_ms, gop.end_ms, GapReason::BufferOverflow, String::new());
            } else {
                self.outputs.push_back(Output::Report(Report::GapBegan { start_ms: gop.start_ms }));
            }
        }
        self.outputs.push_back(Output::Free(id));
    }
}
