//! The sequence parameter set from its bit depths to the one number of its usability information that `hvcC` repeats
//! (clauses 7.3.2.2.1, 7.3.4, 7.3.7, E.2.1).

use crate::nal::bits::{BitReader, OutOfBits};

/// Sets of reference pictures that a sequence parameter set may have (clause 7.4.3.2.1).
const REFERENCE_SETS_MAX: u32 = 64;

/// Pictures that one such set may have: `sps_max_dec_pic_buffering_minus1` is at most 15 (clause A.4.2).
const REFERENCES_MAX: u32 = 16;

/// `min_spatial_segmentation_idc`, 0 where it is not written. `bits` stand behind the bit depths; `sub_layers` is
/// `sps_max_sub_layers_minus1`.
pub(super) fn min_spatial_segmentation(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<u16, OutOfBits> {
    let order_bits = bounded(bits.unsigned()?, 12)? + 4;
    let all_layers = bits.flag()?;
    for _ in if all_layers { 0 } else { sub_layers }..=sub_layers {
        numbers(bits, 3)?;
    }
    numbers(bits, 6)?;
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        numbers(bits, 2)?;
        bits.skip(1)?;
    }
    reference_sets(bits)?;
    if bits.flag()? {
        for _ in 0..bounded(bits.unsigned()?, 32)? {
            bits.skip(order_bits as usize + 1)?;
        }
    }
    bits.skip(2)?;
    if !bits.flag()? {
        return Ok(0);
    }
    usability(bits, sub_layers)
}

fn bounded(number: u32, max: u32) -> Result<u32, OutOfBits> {
    if number > max { Err(OutOfBits) } else { Ok(number) }
}

fn numbers(bits: &mut BitReader<'_>, count: usize) -> Result<(), OutOfBits> {
    (0..count).try_for_each(|_| bits.unsigned().map(drop))
}

/// Clause 7.3.4.
fn scaling_lists(bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
    for size in 0..4u32 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.flag()? {
                bits.unsigned()?;
                continue;
            }
            if size > 1 {
                bits.signed()?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                bits.signed()?;
            }
        }
    }
    Ok(())
}

/// `num_short_term_ref_pic_sets` and the sets (clause 7.3.7); of each only the number of pictures is kept, which is what
/// later ones refer to.
fn reference_sets(bits: &mut BitReader<'_>) -> Result<(), OutOfBits> {
    let count = bounded(bits.unsigned()?, REFERENCE_SETS_MAX)?;
    let mut before = 0;
    for index in 0..count {
        let is_predicted = index > 0 && bits.flag()?;
        before = if is_predicted {
            bits.flag()?;
            bits.unsigned()?;
            let mut pictures = 0;
            for _ in 0..=before {
                let is_used = bits.flag()?;
                if is_used || bits.flag()? {
                    pictures += 1;
                }
            }
            bounded(pictures, REFERENCES_MAX)?
        } else {
            let negative = bounded(bits.unsigned()?, REFERENCES_MAX)?;
            let positive = bounded(bits.unsigned()?, REFERENCES_MAX)?;
            for _ in 0..negative + positive {
                bits.unsigned()?;
                bits.flag()?;
            }
            bounded(negative + positive, REFERENCES_MAX)?
        };
    }
    Ok(())
}

/// Clause E.2.1.
fn usability(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<u16, OutOfBits> {
    // aspect_ratio_idc 255 is followed by the ratio.
    if bits.flag()? && bits.bits(8)? == 255 {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            bits.skip(24)?;
        }
    }
    if bits.flag()? {
        numbers(bits, 2)?;
    }
    bits.skip(3)?;
    if bits.flag()? {
        numbers(bits, 4)?;
    }
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.unsigned()?;
        }
        if bits.flag()? {
            hypothetical_decoder(bits, sub_layers)?;
        }
    }
    if !bits.flag()? {
        return Ok(0);
    }
    bits.skip(3)?;
    Ok(bounded(bits.unsigned()?, 4_095)? as u16)
}

/// Clause E.2.2, with `commonInfPresentFlag` 1.
fn hypothetical_decoder(bits: &mut BitReader<'_>, sub_layers: u8) -> Result<(), OutOfBits> {
    let (nal, vcl) = (bits.flag()?, bits.flag()?);
    let mut sub_pictures = false;
    if nal || vcl {
        sub_pictures = bits.flag()?;
        bits.skip(if sub_pictures { 19 } else { 0 } + 8)?;
        bits.skip(if sub_pictures { 4 } else { 0 } + 15)?;
    }
    for _ in 0..=sub_layers {
        let general = bits.flag()?;
        let fixed = general || bits.flag()?;
        let mut low_delay = false;
        if fixed {
            bits.unsigned()?;
        } else {
            low_delay = bits.flag()?;
        }
        let count = if low_delay { 0 } else { bounded(bits.unsigned()?, 31)? };
        for _ in 0..u8::from(nal) + u8::from(vcl) {
            for _ in 0..=count {
                numbers(bits, if sub_pictures { 4 } else { 2 })?;
                bits.skip(1)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, for sets that no encoder at hand makes.
    #[derive(Default)]
    struct BitWriter(Vec<bool>);

    impl BitWriter {
        fn bits(&mut self, value: u64, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|at| value >> at & 1 == 1));
            self
        }

        /// `ue(v)` of each.
        fn numbers(&mut self, values: &[u64]) -> &mut Self {
            for value in values {
                let length = (value + 1).ilog2();
                self.bits(0, length).bits(value + 1, length + 1);
            }
            self
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
            };
            self.0.chunks(8).map(byte).collect()
        }
    }

    /// All that may stand before the number: scaling lists, PCM, predicted sets, long-term pictures, a decoder model with
    /// sub-pictures of two layers.
    fn everything() -> BitWriter {
        let mut writer = BitWriter::default();
        writer.numbers(&[4]).bits(1, 1).numbers(&[4, 2, 0, 4, 2, 0]).numbers(&[0, 3, 0, 3, 0, 0]);
        writer.bits(0b11, 2);
        for size in 0..4u32 {
            for matrix in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
                if matrix == 0 {
                    writer.bits(0, 1).numbers(&[0]);
                    continue;
                }
                let count = 64.min(1 << (4 + 2 * size)) + usize::from(size > 1);
                writer.bits(1, 1).numbers(&vec![3; count]);
            }
        }
        writer.bits(0b01, 2).bits(1, 1).bits(0x77, 8).numbers(&[0, 2]).bits(0, 1);
        // Three sets: two before and one after; predicted from that, of four one left out; one before.
        writer.numbers(&[3]).numbers(&[2, 1]);
        for _ in 0..3 {
            writer.numbers(&[1]).bits(1, 1);
        }
        writer.bits(1, 1).bits(0, 1).numbers(&[0]).bits(0b10_0011, 6);
        writer.bits(0, 1).numbers(&[1, 0, 0]).bits(1, 1);
        // Order counts of eight bits.
        writer.bits(1, 1).numbers(&[2]).bits(0x1FF, 9).bits(0, 9).bits(0b11, 2);
        // Usability: a ratio, overscan, colours, places of chroma, a window, timing with a decoder model.
        writer.bits(1, 1);
        writer.bits(1, 1).bits(255, 8).bits(0x0010_0011, 32).bits(0b11, 2).bits(0b11_0111, 6).bits(1, 24);
        writer.bits(1, 1).numbers(&[1, 1]).bits(0, 3).bits(1, 1).numbers(&[0, 1, 2, 3]);
        writer.bits(1, 1).bits(1, 32).bits(25, 32).bits(1, 1).numbers(&[0]).bits(1, 1);
        writer.bits(0b111, 3).bits(0, 19).bits(0, 8).bits(0, 4).bits(0, 15);
        // Two layers: a fixed rate with two buffers, and a low delay.
        writer.bits(1, 1).numbers(&[0, 1]);
        for _ in 0..4 {
            writer.numbers(&[7, 8, 9, 10]).bits(0, 1);
        }
        writer.bits(0b00, 2).bits(1, 1);
        for _ in 0..2 {
            writer.numbers(&[7, 8, 9, 10]).bits(1, 1);
        }
        writer
    }

    #[test]
    fn the_number_is_found_behind_everything_that_may_stand_before_it() {
        let mut writer = everything();
        writer.bits(1, 1).bits(0, 3).numbers(&[1_234, 0]).bits(0xFF, 8);
        let bytes = writer.bytes();
        assert_eq!(min_spatial_segmentation(&mut BitReader::new(&bytes), 1), Ok(1_234));
        for end in 0..bytes.len() - 3 {
            assert_eq!(min_spatial_segmentation(&mut BitReader::new(&bytes[..end]), 1), Err(OutOfBits));
        }
        let mut without = everything();
        let bytes = without.bits(0, 1).bits(0xFF, 8).bytes();
        assert_eq!(min_spatial_segmentation(&mut BitReader::new(&bytes), 1), Ok(0));
    }
}
