//! What the session says to be missing, beside what came in and what the service has said to be stored.

use streamfleet_contract::GapReason;
use streamfleet_producer::buffer::GopId;

use crate::world::{Peer, World};

/// A group that the camera has begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// The time of its key frame.
    pub start_ms: i64,
    /// The latest time in it.
    pub last_ms: i64,
    /// How many units it has by now.
    pub units: usize,
}

impl Begun {
    /// One more unit came of it.
    pub fn extend(&mut self, time_ms: i64) {
        self.units += 1;
        self.last_ms = self.last_ms.max(time_ms);
    }
}

/// What is said to be missing.
#[derive(Debug)]
pub struct Gaps {
    /// From when to when.
    reported: Vec<(i64, i64)>,
    /// The beginning of one that lasts until the next group begins.
    open: Option<i64>,
    /// Whether groups have followed each other in time so far, so that a time is one group's alone.
    is_ordered: bool,
    /// The pictures that nobody would take since the last group ended before its time.
    lost: Option<(i64, i64)>,
    /// Whether a fragment that was refused is counted as skipped.
    is_counted: bool,
}

impl Gaps {
    /// None so far.
    pub fn new() -> Self {
        Self { reported: Vec::new(), open: None, is_ordered: true, lost: None, is_counted: false }
    }

    /// Whether everything from the one time to the other is said to be missing, by one gap or by several that touch.
    fn cover(&self, from_ms: i64, to_ms: i64) -> bool {
        let open = self.open.map(|start_ms| (start_ms, i64::MAX));
        let mut reach = from_ms;
        loop {
            let touching =
                self.reported.iter().copied().chain(open).filter(|(start_ms, _)| *start_ms <= reach);
            match touching.map(|(_, end_ms)| end_ms).max() {
                Some(end_ms) if end_ms >= to_ms => return true,
                Some(end_ms) if end_ms > reach => reach = end_ms,
                _ => return false,
            }
        }
    }
}

impl World {
    /// The session says that a stretch of video will not be stored.
    pub fn hear_gap(&mut self, start_ms: i64, end_ms: i64, reason: GapReason) {
        self.tally.event(match reason {
            GapReason::BufferOverflow => "gap BufferOverflow",
            GapReason::Refused => "gap Refused",
            GapReason::Expired => "gap Expired",
            GapReason::InternalError => "gap InternalError",
            _ => "another gap",
        });
        if reason == GapReason::Refused
            && self.refused_at.is_some()
            && !std::mem::replace(&mut self.gaps.is_counted, true)
            && let Some(violation) = self.calls.on_skipped()
        {
            self.violate(violation);
        }
        if reason == GapReason::Refused
            && let Some(at) = self.refused_at.filter(|at| *at != 0)
        {
            let within = (start_ms..=end_ms).contains(&at);
            // Of a fragment that is stored in part the rest is missing.
            let is_rest = || {
                self.begun
                    .iter()
                    .any(|(gop, begun)| (at..start_ms).contains(&begun.start_ms) && self.is_stored(*gop))
            };
            let holds = within || is_rest();
            self.check(holds, || format!("{at} was refused, and {start_ms} to {end_ms} is given up"));
        }
        // What is stored later, by a late word, is another matter: it is recovered, and what follows it is not.
        let stored = self.begun.iter().find(|(gop, begun)| {
            begun.start_ms < end_ms && start_ms < begun.last_ms && self.is_stored(**gop)
        });
        let stored = stored.map(|(gop, _)| *gop).filter(|_| self.gaps.is_ordered);
        self.check(stored.is_none(), || {
            format!("{start_ms} to {end_ms} is said to be missing, and {stored:?} in it is stored")
        });
        self.gaps.reported.push((start_ms, end_ms));
    }

    /// A group is about to begin at this time: what lasted is over.
    pub fn end_gap(&mut self, next_ms: i64) {
        if let Some(start_ms) = self.gaps.open.take() {
            // A camera's clock may have gone back.
            let latest_ms = self.begun.values().next_back().map_or(next_ms, |begun| begun.last_ms);
            self.gaps.reported.push((start_ms, next_ms.max(latest_ms)));
        }
    }

    /// The times of what is held were moved: those of what was let go were not.
    pub fn lose_order(&mut self) {
        self.gaps.is_ordered = false;
        self.forgive_lost();
    }

    /// A picture came that nobody would take, since the group that it is of is given up.
    pub fn lose(&mut self, time_ms: i64) {
        if !self.gaps.is_ordered {
            // A gap that lasts began by the times of before.
            return;
        }
        let (first, last) = self.gaps.lost.unwrap_or((time_ms, time_ms));
        self.gaps.lost = Some((first.min(time_ms), last.max(time_ms)));
    }

    /// What was lost until now is in a gap that is not the session's to tell, or its times are not what they were.
    pub fn forgive_lost(&mut self) {
        self.gaps.lost = None;
    }

    /// A group has begun: all that was lost before it is said to be missing.
    pub fn check_lost(&mut self) {
        let Some((from_ms, to_ms)) = self.gaps.lost.take() else { return };
        let is_told = self.gaps.cover(from_ms, to_ms);
        self.check(is_told, || format!("nobody would take {from_ms} to {to_ms}, and no gap says so"));
    }

    /// The service is about to speak of a fragment: one more may be skipped for it.
    pub fn expect_skipped(&mut self) {
        self.gaps.is_counted = false;
    }

    /// The session says that nothing will be stored until the next group begins.
    pub fn hear_gap_began(&mut self, start_ms: i64) {
        self.tally.event("gap begun");
        let came = self.gaps.lost.is_some() || !self.gaps.is_ordered;
        self.check(came, || format!("a gap begins at {start_ms}, and nothing came that has no place"));
        self.gaps.open = Some(self.gaps.open.map_or(start_ms, |open| open.min(start_ms)));
    }

    /// A group was let go: it is stored, or in a gap, or overflow took it on its way.
    pub fn explain(&mut self, gop: GopId) {
        if self.is_stored(gop) || self.is_in_gap(gop) {
            return;
        }
        let on_its_way = self.is_shedding() && self.is_in_flight(gop);
        self.check(on_its_way, || format!("{gop:?} was let go, and is neither stored nor in a gap"));
    }

    /// Whether all of a group is said to be stored.
    pub fn is_stored(&self, gop: GopId) -> bool {
        self.begun
            .get(&gop)
            .is_some_and(|begun| self.acknowledged.get(&gop).is_some_and(|acked| *acked >= begun.units))
    }

    /// Whether all of a group is said to be missing, from its key frame to its latest picture.
    fn is_in_gap(&self, gop: GopId) -> bool {
        self.begun.get(&gop).is_some_and(|begun| self.gaps.cover(begun.start_ms, begun.last_ms))
    }

    /// At the end everything is stored or said to be missing.
    pub fn check_end(&mut self) {
        if self.violation.is_some() {
            return;
        }
        for gop in self.begun.keys().copied().collect::<Vec<_>>() {
            let (stored, in_gap) = (self.is_stored(gop), self.is_in_gap(gop));
            self.check(stored || in_gap, || format!("{gop:?} is neither stored nor in a gap"));
            if matches!(self.peer, Peer::Service(_)) {
                let units = self.begun.get(&gop).map_or(0, |begun| begun.units);
                let archived = self.archived.get(&gop).copied().unwrap_or_default();
                self.check(archived >= units || in_gap, || {
                    format!("the archive has {archived} of the {units} units of {gop:?}")
                });
            }
        }
    }
}
