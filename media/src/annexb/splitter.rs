//! Cuts a byte stream into NAL units where its start codes are (annex B of H.264 and H.265), wherever its pieces end.

/// What was found, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A unit begins; the position of its start code in the stream.
    Begin(u64),
    /// Further bytes of it.
    Bytes(&'a [u8]),
    /// It has ended. Zeros at its end do not belong to it.
    End,
}

const ZEROS: [u8; 256] = [0; 256];

/// Keeps no bytes, only where it stands.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Bytes pushed so far.
    position: u64,
    /// Zeros that may belong to the unit, or to the next start code.
    zeros: u64,
    in_unit: bool,
}

impl Splitter {
    /// A splitter at the beginning of a stream. What comes before the first start code is left out.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes there have been.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes, and says what was found in them.
    pub fn push(&mut self, bytes: &[u8], found: &mut impl FnMut(Part<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.zeros == 0 {
                let run = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
                if self.in_unit && run > 0 {
                    found(Part::Bytes(&rest[..run]));
                }
                rest = &rest[run..];
            }
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            self.zeros += zeros as u64;
            rest = &rest[zeros..];
            let Some((byte, behind)) = rest.split_first() else { break };
            if self.zeros >= 2 && *byte == 1 {
                let passed = (bytes.len() - behind.len()) as u64;
                self.begin(self.position + passed - 3, found);
                rest = behind;
            } else if self.in_unit {
                give_zeros(self.zeros, found);
            }
            self.zeros = 0;
        }
        self.position += bytes.len() as u64;
    }

    fn begin(&mut self, at: u64, found: &mut impl FnMut(Part<'_>)) {
        self.finish(found);
        self.in_unit = true;
        found(Part::Begin(at));
    }

    /// The stream has ended, and with it the unit.
    pub fn finish(&mut self, found: &mut impl FnMut(Part<'_>)) {
        if std::mem::take(&mut self.in_unit) {
            found(Part::End);
        }
        self.zeros = 0;
    }

    /// Bytes are missing here: what comes up to the next start code is left out.
    pub fn interrupt(&mut self) {
        self.in_unit = false;
        self.zeros = 0;
    }
}

fn give_zeros(mut count: u64, found: &mut impl FnMut(Part<'_>)) {
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        found(Part::Bytes(&ZEROS[..step as usize]));
        count -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The units of a stream that comes in pieces of this size, with the positions of their start codes.
    fn units(stream: &[u8], piece: usize) -> Vec<(u64, Vec<u8>)> {
        let mut units: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut open = false;
        let mut found = |part: Part<'_>| match part {
            Part::Begin(at) => {
                assert!(!open);
                open = true;
                units.push((at, Vec::new()));
            }
            Part::Bytes(bytes) => units.last_mut().unwrap().1.extend(bytes),
            Part::End => {
                assert!(open);
                open = false;
            }
        };
        let mut splitter = Splitter::new();
        for piece in stream.chunks(piece) {
            splitter.push(piece, &mut found);
        }
        splitter.finish(&mut found);
        assert_eq!(splitter.position(), stream.len() as u64);
        units
    }

    #[test]
    fn units_are_the_same_wherever_pieces_end() {
        let stream = [
            9, 9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 3, 0, 0, 3, 1, 0, 0, 0, 0, 1, 0x65, 0, 7, 0,
            0, 2, 0,
        ];
        let expected =
            [(3, vec![0x67, 1]), (8, vec![0x68, 2, 0, 0, 3, 0, 0, 3, 1]), (22, vec![0x65, 0, 7, 0, 0, 2])];
        for piece in 1..=stream.len() {
            assert_eq!(units(&stream, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn units_are_those_of_the_whole_stream_for_all_short_streams() {
        // Every stream of up to eight bytes out of those that matter.
        for length in 0..=8u32 {
            for number in 0..3usize.pow(length) {
                let stream: Vec<u8> = (0..length).map(|at| (number / 3usize.pow(at) % 3) as u8).collect();
                let expected: Vec<_> = crate::nal::nals_annexb(&stream).map(<[u8]>::to_vec).collect();
                for piece in [1, 2, 3, 8] {
                    let found: Vec<_> = units(&stream, piece).into_iter().map(|(_, unit)| unit).collect();
                    let found: Vec<_> = found.into_iter().filter(|unit| !unit.is_empty()).collect();
                    assert_eq!(found, expected, "{stream:?} in pieces of {piece}");
                }
            }
        }
    }

    #[test]
    fn what_follows_an_interruption_is_left_out_up_to_the_next_unit() {
        let mut parts = 0;
        let mut splitter = Splitter::new();
        splitter.push(&[0, 0, 1, 5, 6, 0, 0], &mut |_| parts += 1);
        assert_eq!(parts, 2);
        splitter.interrupt();
        let mut after = Vec::new();
        splitter.push(&[1, 8, 0, 0, 1, 9], &mut |part| after.push(format!("{part:?}")));
        assert_eq!(after, ["Begin(9)", "Bytes([9])"]);
    }
}
