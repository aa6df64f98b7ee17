//! A small H.264 encoder: Constrained Baseline, CAVLC, pictures of [`Grid`] without loss.
//!
//! The quantiser is chosen so that one step of the first coefficient of a block is one shade. A block is predicted from the
//! block above it, or from where it was, is of one shade as its prediction is, and so has one coefficient or none. That
//! keeps out all tables but the first lines of a few. The deblocking filter is off: it would blur the edges.

use super::grid::{Grid, Shade};
use super::writer::BitWriter;

/// With this quantiser a first coefficient of 1 makes each pixel of a block 32 brighter: 16 · 2⁷ · 16 / 16, of which the
/// transform leaves a 64th (clauses 8.5.9 and 8.5.12; `LevelScale` of 46 % 6 = 4 is 16).
const QUANTISER: i32 = 46;

/// Bits of `frame_num`, the fewest that the standard has.
const FRAME_NUMBER_BITS: u32 = 4;

/// Level, and the macroblocks that it takes a second and a picture (table A-1).
const LEVELS: [(u32, u32, u32); 13] = [
    (10, 1_485, 99),
    (11, 3_000, 396),
    (12, 6_000, 396),
    (13, 11_880, 396),
    (21, 19_800, 792),
    (22, 20_250, 1_620),
    (30, 40_500, 1_620),
    (31, 108_000, 3_600),
    (32, 216_000, 5_120),
    (40, 245_760, 8_192),
    (42, 522_240, 8_704),
    (50, 589_824, 22_080),
    (51, 983_040, 36_864),
];

/// The number that stands for each pattern of coded 8×8 blocks, without chroma: of intra and of inter macroblocks
/// (table 9-4).
const CODED_INTRA: [u32; 16] = [3, 29, 30, 17, 31, 18, 37, 8, 32, 38, 19, 9, 20, 10, 11, 2];
const CODED_INTER: [u32; 16] = [0, 2, 3, 7, 4, 8, 17, 13, 5, 18, 9, 14, 10, 15, 16, 11];

/// Prediction modes of 4×4 blocks (table 8-2).
const VERTICAL: u8 = 0;
const DC: u8 = 2;

/// Encodes pictures of one size.
#[derive(Debug)]
pub(super) struct Encoder {
    /// Macroblocks across and down.
    across: usize,
    down: usize,
    frame_rate: u32,
    /// Pictures since the last that can be decoded by itself.
    frame_number: u32,
    /// Told apart by turns: two such pictures in a row must differ in it.
    refresh_id: bool,
}

impl Encoder {
    pub(super) fn new(width: u32, height: u32, frame_rate: u32) -> Self {
        let (across, down) = ((width / 16) as usize, (height / 16) as usize);
        Self { across, down, frame_rate, frame_number: 0, refresh_id: false }
    }

    /// The sequence parameter set (clauses 7.3.2.1.1 and E.1.1).
    pub(super) fn sps(&self) -> Vec<u8> {
        let mut out = BitWriter::default();
        // Baseline, constrained: constraint_set0_flag and constraint_set1_flag.
        out.bits(66, 8).bits(0xC0, 8).bits(self.level(), 8).unsigned(0);
        // No B pictures: output in the order of decoding, one picture to refer to.
        out.unsigned(FRAME_NUMBER_BITS - 4).unsigned(2).unsigned(1).flag(false);
        out.unsigned(self.across as u32 - 1).unsigned(self.down as u32 - 1);
        // Frames alone; direct_8x8_inference_flag; no cropping.
        out.flag(true).flag(true).flag(false);
        // Video usability: nothing on aspect ratio, overscan, signal and chroma, then the timing.
        out.flag(true).bits(0, 4);
        out.flag(true).bits(1, 32).bits(2 * self.frame_rate, 32).flag(false);
        out.flag(false).flag(false).flag(false);
        // What a decoder need not keep: no picture is shown later than it is decoded.
        out.flag(true).flag(true).unsigned(0).unsigned(0).unsigned(10).unsigned(10).unsigned(0).unsigned(1);
        out.nal(0x67)
    }

    /// The picture parameter set (clause 7.3.2.2).
    pub(super) fn pps() -> Vec<u8> {
        let mut out = BitWriter::default();
        // CAVLC, no slice groups, one reference, no weights.
        out.unsigned(0).unsigned(0).flag(false).flag(false).unsigned(0).unsigned(0).unsigned(0);
        out.flag(false).bits(0, 2).signed(QUANTISER - 26).signed(0).signed(0);
        // The deblocking filter is controlled by slices; neither constrained intra prediction nor redundant pictures.
        out.flag(true).flag(false).flag(false);
        out.nal(0x68)
    }

    fn level(&self) -> u32 {
        let (across, down) = (self.across as u32, self.down as u32);
        let blocks = across * down;
        // Neither side may be longer than the root of eight pictures' worth (A.3.1).
        let side = across.max(down);
        let fits = |&&(_, rate, size): &&(u32, u32, u32)| {
            blocks * self.frame_rate <= rate && blocks <= size && side * side <= 8 * size
        };
        LEVELS.iter().find(fits).map_or(52, |(level, ..)| *level)
    }

    /// A picture that can be decoded by itself (IDR).
    pub(super) fn refresh(&mut self, grid: &Grid) -> Vec<u8> {
        let mut out = BitWriter::default();
        // All slices are I; the first picture parameter set; frame_num 0.
        out.unsigned(0)
            .unsigned(7)
            .unsigned(0)
            .bits(0, FRAME_NUMBER_BITS)
            .unsigned(u32::from(self.refresh_id));
        // Neither no_output_of_prior_pics_flag nor long_term_reference_flag.
        out.flag(false).flag(false).signed(0).unsigned(1);
        self.refresh_id = !self.refresh_id;
        self.frame_number = 0;
        // The prediction mode of each 4×4 block of the row above and of the blocks so far.
        let mut modes = Modes::new(self.across);
        for row in 0..self.down {
            for column in 0..self.across {
                let residual = Residual::new(column, row, |x, y| {
                    grid.at(x, y) - if y == 0 { super::grid::GREY } else { grid.at(x, y - 1) }
                });
                intra_macroblock(&mut out, &residual, &mut modes, (column, row));
            }
        }
        out.nal(0x65)
    }

    /// A picture that says what has changed since the one before.
    pub(super) fn predicted(&mut self, before: &Grid, grid: &Grid) -> Vec<u8> {
        self.frame_number = (self.frame_number + 1) % (1 << FRAME_NUMBER_BITS);
        let mut out = BitWriter::default();
        // All slices are P; the first picture parameter set.
        out.unsigned(0).unsigned(5).unsigned(0).bits(self.frame_number, FRAME_NUMBER_BITS);
        // The usual number and order of references, marked as usual.
        out.flag(false).flag(false).flag(false).signed(0).unsigned(1);
        let mut skipped = 0;
        for row in 0..self.down {
            for column in 0..self.across {
                let residual = Residual::new(column, row, |x, y| grid.at(x, y) - before.at(x, y));
                if residual.coded() == 0 {
                    skipped += 1;
                } else {
                    out.unsigned(skipped);
                    skipped = 0;
                    // P_L0_16x16, not moved.
                    out.unsigned(0).signed(0).signed(0);
                    out.unsigned(CODED_INTER[residual.coded()]).signed(0);
                    residual.write(&mut out);
                }
            }
        }
        if skipped > 0 {
            out.unsigned(skipped);
        }
        out.nal(0x41)
    }
}

/// A macroblock of a picture that can be decoded by itself.
fn intra_macroblock(
    out: &mut BitWriter,
    residual: &Residual,
    modes: &mut Modes,
    (column, row): (usize, usize),
) {
    if residual.coded() == 0 {
        // Intra_16x16 without coefficients; there is nothing above the first row. No coefficient of the DC block either.
        let mode = if row == 0 { DC } else { VERTICAL };
        out.unsigned(1 + u32::from(mode)).unsigned(0).signed(0).flag(true);
        modes.set(column, DC);
        return;
    }
    // I_NxN: each block from the one above it.
    out.unsigned(0);
    for block in 0..16 {
        let (x, y) = place(block);
        match modes.expected(column, row, x, y) {
            VERTICAL => out.flag(true),
            _ => out.flag(false).bits(u32::from(VERTICAL), 3),
        };
    }
    modes.set(column, VERTICAL);
    out.unsigned(0).unsigned(CODED_INTRA[residual.coded()]).signed(0);
    residual.write(out);
}

/// The prediction modes of 4×4 blocks, as far as later ones are expected from them (clause 8.3.1.1). All blocks of a
/// macroblock have the same here. Those of macroblocks of another kind count as DC.
struct Modes {
    /// For each column the newest macroblock in it.
    columns: Vec<u8>,
}

impl Modes {
    fn new(across: usize) -> Self {
        Self { columns: vec![DC; across] }
    }

    fn set(&mut self, column: usize, mode: u8) {
        self.columns[column] = mode;
    }

    /// The mode that a block of a macroblock of vertical prediction is expected to have.
    fn expected(&self, column: usize, row: usize, x: usize, y: usize) -> u8 {
        // What is outside of the picture makes it DC.
        let left = match (x, column) {
            (0, 0) => DC,
            (0, _) => self.columns[column - 1],
            _ => VERTICAL,
        };
        let above = match (y, row) {
            (0, 0) => DC,
            (0, _) => self.columns[column],
            _ => VERTICAL,
        };
        left.min(above)
    }
}

/// How the blocks of a macroblock differ from what is predicted for them, in the order of the standard.
struct Residual([Shade; 16]);

impl Residual {
    fn new(column: usize, row: usize, difference: impl Fn(usize, usize) -> Shade) -> Self {
        Self(std::array::from_fn(|block| {
            let (x, y) = place(block);
            difference(column * 4 + x, row * 4 + y)
        }))
    }

    /// Which of the four 8×8 blocks have a coefficient, a bit each.
    fn coded(&self) -> usize {
        (0..4)
            .filter(|quarter| self.0[4 * quarter..4 * quarter + 4].iter().any(|shade| *shade != 0))
            .map(|quarter| 1 << quarter)
            .sum()
    }

    fn write(&self, out: &mut BitWriter) {
        for quarter in (0..4).filter(|quarter| self.coded() & 1 << quarter != 0) {
            for level in &self.0[4 * quarter..4 * quarter + 4] {
                write_block(out, i32::from(*level));
            }
        }
    }
}

/// A block with one coefficient, its first, or with none (clauses 7.3.5.3.2 and 9.2). Neighbours have at most one too, so
/// that the first table of `coeff_token` holds.
fn write_block(out: &mut BitWriter, level: i32) {
    if level == 0 {
        out.bits(1, 1);
        return;
    }
    debug_assert!(matches!(level.abs(), 2..=7), "a level of 1 is coded otherwise, and those above 7 too");
    // One coefficient that is not ±1.
    out.bits(0b00_0101, 6);
    // Since ±1 is ruled out, the numbers begin at ±2.
    let code = 2 * level.unsigned_abs() - 4 + u32::from(level < 0);
    out.bits(1, code + 1);
    // No zeros before it.
    out.bits(1, 1);
}

/// The place of a 4×4 block in its macroblock (figure 6-10).
const fn place(block: usize) -> (usize, usize) {
    (block & 1 | block >> 1 & 2, block >> 1 & 1 | block >> 2 & 2)
}
