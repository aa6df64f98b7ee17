//! Digits of three by five cells, and what the pattern says with them.

/// Cells across a letter, without the gap behind it.
pub const GLYPH_WIDTH: usize = 3;
/// Cells down a letter.
pub const GLYPH_HEIGHT: usize = 5;

/// The letters that there are.
pub const LETTERS: &str = "0123456789:.-";

/// Rows from above, three bits each, the leftmost highest.
const GLYPHS: [[u8; GLYPH_HEIGHT]; 13] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
    [0b000, 0b010, 0b000, 0b010, 0b000],
    [0b000, 0b000, 0b000, 0b000, 0b010],
    [0b000, 0b000, 0b111, 0b000, 0b000],
];

/// Whether a cell of a letter is lit; letters that there are not are empty.
pub fn is_lit(letter: char, column: usize, row: usize) -> bool {
    let glyph = LETTERS.find(letter).and_then(|place| GLYPHS.get(place));
    glyph.and_then(|rows| rows.get(row)).is_some_and(|bits| bits << column & 0b100 != 0)
}

/// What a picture says: the date, the time of day and the number of the picture; on a narrow one the time in two lines
/// instead.
pub fn clock_lines(wall_ms: i64, number: u64, narrow: bool) -> [String; 3] {
    let seconds = wall_ms.div_euclid(1_000);
    let (millis, second_of_day) = (wall_ms.rem_euclid(1_000), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    let number = format!("{:08}", number % 100_000_000);
    if narrow {
        return [time, format!(".{millis:03}"), number];
    }
    let (year, month, day) = date(seconds.div_euclid(86_400));
    [format!("{year:04}-{month:02}-{day:02}"), format!("{time}.{millis:03}"), number]
}

/// Year, month and day of the Gregorian calendar, from days of the Unix epoch. Years begin in March here, so that the day
/// that some years have more is their last.
fn date(days: i64) -> (i64, i64, i64) {
    let since = days.saturating_add(719_468);
    let (era, day_of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (era * 400 + year_of_era + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn lines_show_time_and_number() {
        let wide = clock_lines(1_795_422_896_007, 42, false);
        assert_eq!(wide, ["2026-11-23", "08:34:56.007", "00000042"]);
        assert_eq!(clock_lines(1_795_422_896_007, 42, true), ["08:34:56", ".007", "00000042"]);
        for line in [clock_lines(i64::MIN, u64::MAX, true), clock_lines(0, 0, false)].concat() {
            assert!(line.chars().all(|letter| LETTERS.contains(letter)), "{line}");
        }
    }

    #[test]
    fn all_letters_differ() {
        for (place, glyph) in GLYPHS.iter().enumerate() {
            assert!(!GLYPHS[..place].contains(glyph), "{place}");
        }
        assert!(is_lit('4', 0, 0) && !is_lit('4', 1, 0) && !is_lit('x', 0, 0) && !is_lit('4', 0, 9));
    }
}
