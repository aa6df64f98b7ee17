//! Writes bits and Exp-Golomb numbers (H.264 clause 9.1), and closes them as a NAL unit.

use crate::h264::add_emulation_prevention;

/// The content of a NAL unit in the making.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, in the low end.
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// The low `count` bits of `value`, at most 32: `u(n)`.
    pub(super) fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        self.pending = self.pending << count | u64::from(value) & ((1 << count) - 1);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.pending >> self.count) as u8);
        }
        self
    }

    /// `u(1)`
    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.bits(u32::from(value), 1)
    }

    /// `ue(v)`, for values below 2³² − 1.
    pub(super) fn unsigned(&mut self, value: u32) -> &mut Self {
        let length = (u64::from(value) + 1).ilog2();
        self.bits(0, length);
        self.bits(value + 1, length + 1)
    }

    /// `se(v)`
    pub(super) fn signed(&mut self, value: i32) -> &mut Self {
        let magnitude = value.unsigned_abs();
        self.unsigned(if value > 0 { 2 * magnitude - 1 } else { 2 * magnitude })
    }

    /// The NAL unit with this head (clause 7.3.1): closed by the stop bit, and free of start codes.
    pub(super) fn nal(mut self, head: u8) -> Vec<u8> {
        self.flag(true);
        let missing = (8 - self.count) % 8;
        self.bits(0, missing);
        let mut nal = vec![head];
        nal.extend(add_emulation_prevention(&self.bytes));
        nal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        let mut writer = BitWriter::default();
        for value in 0..5 {
            writer.unsigned(value);
        }
        // 1 010 011 00100 00101 and the stop bit (table 9-2).
        assert_eq!(writer.nal(0x67), [0x67, 0b1010_0110, 0b0100_0010, 0b1100_0000]);
        let mut writer = BitWriter::default();
        for value in [0, 1, -1, 2, -2] {
            writer.signed(value);
        }
        assert_eq!(writer.nal(0x67), [0x67, 0b1010_0110, 0b0100_0010, 0b1100_0000]);
    }

    #[test]
    fn whole_bytes_get_a_stop_byte_and_start_codes_are_broken() {
        let mut writer = BitWriter::default();
        writer.bits(1, 32);
        assert_eq!(writer.nal(9), [9, 0, 0, 3, 0, 1, 0x80]);
    }
}
