//! Joins the slices of a picture that came as several frames.
//!
//! RFC 6184 §5.1 lets the marker bit end an access unit, not a slice; live555 and some cameras set it on every slice,
//! and the depacketizer then yields one frame for each. Frames with the same RTP timestamp are one picture. So a
//! frame can only be given out when the next one, or the connection's end, has come.

use streamfleet_media::track::{Access, Sample as Frame};

/// Holds the newest picture of a connection until it is known to be whole.
#[derive(Debug, Default)]
pub struct SliceJoiner {
    held: Option<Frame>,
    /// In how many frames the held picture has come so far.
    parts: usize,
    /// In how many frames the picture before it came.
    parts_before: Option<usize>,
}

impl SliceJoiner {
    /// Takes a frame; gives the picture before it, which is whole now.
    pub fn push(&mut self, frame: Frame) -> Option<Frame> {
        match &mut self.held {
            Some(held) if held.ticks == frame.ticks => {
                join(held, frame);
                self.parts += 1;
                None
            }
            _ => {
                let whole = self.held.replace(frame);
                if whole.is_some() {
                    self.parts_before = Some(self.parts);
                }
                self.parts = 1;
                whole
            }
        }
    }

    /// Gives what is held: nothing comes after it. A picture in fewer parts than the one before it may have been cut by the
    /// connection's end, and is left out: half a picture is not to be stored as one.
    pub fn finish(&mut self) -> Option<Frame> {
        let held = self.held.take();
        let is_whole = self.parts_before.take().is_none_or(|before| self.parts >= before);
        held.filter(|_| is_whole)
    }
}

fn join(held: &mut Frame, next: Frame) {
    let mut data = Vec::with_capacity(held.data.len() + next.data.len());
    data.extend_from_slice(&held.data);
    data.extend_from_slice(&next.data);
    held.data = data.into();
    if next.access == Access::Start {
        held.access = Access::Start;
    }
    if next.parameters.is_some() {
        held.parameters = next.parameters;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(ticks: i64, key: bool, data: &'static [u8]) -> Frame {
        let access = if key { Access::Start } else { Access::Continue };
        Frame {
            track: 0,
            ticks,
            rate: 90_000,
            access,
            lost: 0,
            data: Bytes::from_static(data),
            parameters: None,
        }
    }

    #[test]
    fn frames_with_one_timestamp_become_one_picture_in_order() {
        let mut joiner = SliceJoiner::default();
        assert_eq!(joiner.push(frame(0, true, b"a")), None);
        assert_eq!(joiner.push(frame(0, true, b"b")), None);
        assert_eq!(joiner.push(frame(3_600, false, b"c")), Some(frame(0, true, b"ab")));
        assert_eq!(joiner.push(frame(3_600, false, b"d")), None);
        assert_eq!(joiner.finish(), Some(frame(3_600, false, b"cd")));
        assert_eq!(joiner.finish(), None);
    }

    #[test]
    fn the_last_picture_is_left_out_where_its_last_slices_did_not_come() {
        let mut joiner = SliceJoiner::default();
        for (ticks, data) in [(0, b"a"), (0, b"b"), (3_600, b"c"), (3_600, b"d"), (7_200, b"e")] {
            joiner.push(frame(ticks, ticks == 0, data));
        }
        assert_eq!(joiner.finish(), None);
    }

    #[test]
    fn a_camera_that_begins_to_mark_each_slice_has_its_last_picture_left_out_too() {
        let mut joiner = SliceJoiner::default();
        for (ticks, data) in [(0, b"a"), (3_600, b"b"), (3_600, b"c"), (7_200, b"d")] {
            joiner.push(frame(ticks, ticks == 0, data));
        }
        assert_eq!(joiner.finish(), None);
    }

    #[test]
    fn single_slice_pictures_pass_unchanged() {
        let mut joiner = SliceJoiner::default();
        let given: Vec<_> = (0..4).filter_map(|n| joiner.push(frame(n * 3_600, n == 0, b"x"))).collect();
        assert_eq!(given.len(), 3);
        assert_eq!(joiner.finish(), Some(frame(10_800, false, b"x")));
        assert!(given[0].access == Access::Start && given[1].access == Access::Continue);
    }
}
