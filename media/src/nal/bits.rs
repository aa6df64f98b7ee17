//! Reads bits and Exp-Golomb numbers (ITU-T H.264 clause 9.1, H.265 clause 9.2: the same).

/// The content ended, or held a number that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfBits;

/// A reader over the raw content of a NAL unit (without emulation prevention), or any other string of bits.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// One bit: `u(1)`.
    pub(crate) fn flag(&mut self) -> Result<bool, OutOfBits> {
        let byte = *self.bytes.get(self.position / 8).ok_or(OutOfBits)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// Up to 32 bits: `u(n)`.
    pub(crate) fn bits(&mut self, count: u32) -> Result<u32, OutOfBits> {
        (0..count).try_fold(0, |value, _| Ok(value << 1 | u32::from(self.flag()?)))
    }

    /// Steps over bits.
    pub(crate) fn skip(&mut self, count: usize) -> Result<(), OutOfBits> {
        let position = self.position.checked_add(count).ok_or(OutOfBits)?;
        if position > self.bytes.len() * 8 {
            return Err(OutOfBits);
        }
        self.position = position;
        Ok(())
    }

    /// `ue(v)`
    pub(crate) fn unsigned(&mut self) -> Result<u32, OutOfBits> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(OutOfBits);
            }
        }
        Ok((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// `se(v)`
    pub(crate) fn signed(&mut self) -> Result<i32, OutOfBits> {
        let number = i64::from(self.unsigned()?);
        let magnitude = (number + 1) / 2;
        Ok((if number % 2 == 1 { magnitude } else { -magnitude }) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_numbers_are_those_of_the_standard() {
        // 1 010 011 00100 00101, table 9-2.
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let numbers: Vec<_> = (0..5).map(|_| reader.unsigned().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        let mut reader = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let numbers: Vec<_> = (0..5).map(|_| reader.signed().unwrap()).collect();
        assert_eq!(numbers, [0, 1, -1, 2, -2]);
    }

    #[test]
    fn the_end_is_an_error_and_no_panic() {
        assert_eq!(BitReader::new(&[]).flag(), Err(OutOfBits));
        assert_eq!(BitReader::new(&[0; 16]).unsigned(), Err(OutOfBits));
        assert_eq!(BitReader::new(&[0xFF]).bits(9), Err(OutOfBits));
        let mut widest = BitReader::new(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(widest.unsigned(), Ok(u32::MAX - 1));
    }
}
