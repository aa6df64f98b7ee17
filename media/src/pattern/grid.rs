//! A picture as shades of blocks of four by four pixels, and where the letters stand in it.

use super::font::{GLYPH_HEIGHT, GLYPH_WIDTH, is_lit};

/// Pixels across and down a block.
pub const BLOCK: u32 = 4;

/// Letters of the longest line, on a wide picture and on a narrow one.
const LETTERS_MAX: (u32, u32) = (12, 8);

/// Lines of text.
const LINES: u32 = 3;

/// How bright a block is: 128 and 32 times this.
pub type Shade = i8;

/// Around the plate. As bright as what a decoder predicts where it knows nothing.
pub const GREY: Shade = 0;
/// The plate.
pub const DARK: Shade = -3;
/// The letters.
pub const LIGHT: Shade = 3;

/// The luma of a shade.
pub const fn luma(shade: Shade) -> u8 {
    128_u8.wrapping_add_signed(32 * shade)
}

/// The shades of a picture, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    columns: usize,
    shades: Vec<Shade>,
}

impl Grid {
    fn new(columns: usize, rows: usize) -> Self {
        Self { columns, shades: vec![GREY; columns * rows] }
    }

    /// The shade of a block; grey outside of the picture.
    pub fn at(&self, column: usize, row: usize) -> Shade {
        if column >= self.columns {
            return GREY;
        }
        self.shades.get(row * self.columns + column).copied().unwrap_or(GREY)
    }

    fn fill(&mut self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, shade: Shade) {
        for row in rows {
            let start = row * self.columns;
            if let Some(blocks) = self.shades.get_mut(start + columns.start..start + columns.end) {
                blocks.fill(shade);
            }
        }
    }
}

/// Where the text stands: a plate in the middle, below the first row of macroblocks, which stays grey (it has nothing above
/// it that it could be predicted from).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    columns: u32,
    rows: u32,
    /// Blocks across and down a cell of a letter.
    scale: u32,
    /// Letters of the longest line.
    letters: u32,
}

impl Layout {
    /// The largest text that a picture of this many pixels takes.
    pub fn new(width: u32, height: u32) -> Self {
        let (columns, rows) = (width / BLOCK, height / BLOCK);
        let wide = cells_across(LETTERS_MAX.0) <= columns;
        let letters = if wide { LETTERS_MAX.0 } else { LETTERS_MAX.1 };
        let scale = (columns / cells_across(letters)).min((rows - 4) / cells_down()).max(1);
        Self { columns, rows, scale, letters }
    }

    /// Whether date and milliseconds do not fit beside the time.
    pub const fn is_narrow(&self) -> bool {
        self.letters == LETTERS_MAX.1
    }

    /// The block at which the upper left cell of a letter begins, and how many blocks a cell has each way.
    pub const fn letter(&self, line: u32, place: u32) -> (usize, usize, usize) {
        let (left, top) = self.plate();
        let column = left + (1 + place * (GLYPH_WIDTH as u32 + 1)) * self.scale;
        let row = top + (1 + line * (GLYPH_HEIGHT as u32 + 1)) * self.scale;
        (column as usize, row as usize, self.scale as usize)
    }

    const fn plate(&self) -> (u32, u32) {
        let left = (self.columns - cells_across(self.letters) * self.scale) / 2;
        let top = 4 + (self.rows - 4 - cells_down() * self.scale) / 2;
        (left, top)
    }

    /// A picture with these lines.
    pub fn draw(&self, lines: &[String]) -> Grid {
        let mut grid = Grid::new(self.columns as usize, self.rows as usize);
        let (left, top) = self.plate();
        let right = left + cells_across(self.letters) * self.scale;
        let bottom = top + cells_down() * self.scale;
        grid.fill(left as usize..right as usize, top as usize..bottom as usize, DARK);
        for (line, text) in (0..).zip(lines) {
            for (place, letter) in (0..self.letters).zip(text.chars()) {
                draw_letter(&mut grid, self.letter(line, place), letter);
            }
        }
        grid
    }
}

fn draw_letter(grid: &mut Grid, (left, top, scale): (usize, usize, usize), letter: char) {
    for row in 0..GLYPH_HEIGHT {
        for column in 0..GLYPH_WIDTH {
            if is_lit(letter, column, row) {
                let (x, y) = (left + column * scale, top + row * scale);
                grid.fill(x..x + scale, y..y + scale, LIGHT);
            }
        }
    }
}

/// Cells across the plate: letters, gaps between them, a margin of one.
const fn cells_across(letters: u32) -> u32 {
    letters * (GLYPH_WIDTH as u32 + 1) + 1
}

/// Cells down the plate.
const fn cells_down() -> u32 {
    LINES * (GLYPH_HEIGHT as u32 + 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_fits_every_size_and_leaves_the_first_row_grey() {
        for width in (160..=1920).step_by(16) {
            for height in (96..=1088).step_by(16) {
                let layout = Layout::new(width, height);
                let (left, top) = layout.plate();
                assert!(top >= 4, "{width}x{height}");
                assert!(left + cells_across(layout.letters) * layout.scale <= layout.columns);
                assert!(top + cells_down() * layout.scale <= layout.rows, "{width}x{height}");
            }
        }
    }

    #[test]
    fn letters_stand_light_on_a_dark_plate() {
        let layout = Layout::new(640, 352);
        let grid = layout.draw(&["1".to_owned()]);
        let (left, top, scale) = layout.letter(0, 0);
        assert_eq!(scale, 3);
        assert_eq!(grid.at(left, top), DARK);
        assert_eq!(grid.at(left + scale, top), LIGHT);
        assert_eq!(grid.at(left + 2 * scale - 1, top + 5 * scale - 1), LIGHT);
        assert_eq!((grid.at(0, 0), grid.at(usize::MAX, 0), grid.at(0, 5_000)), (GREY, GREY, GREY));
    }
}
