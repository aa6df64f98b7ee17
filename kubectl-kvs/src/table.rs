//! Lays out a table as `kubectl` does: columns padded with three spaces between them, none at the end of a line.

/// The text of a table, one line for the head and one for each row. A row that is too short is filled with blanks.
pub fn render<const COLUMNS: usize>(head: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&head.map(str::to_owned), &widths);
    for row in rows {
        text.push_str(&line(row, &widths));
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("{}\n", padded.join("   ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_do_not_end_in_blanks() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(render(["ONE", "TWO"], &rows), "ONE   TWO\na     long cell\nbcd\n");
    }

    #[test]
    fn width_counts_characters_and_not_bytes() {
        let rows = [["früh".to_owned(), "x".to_owned()]];
        assert_eq!(render(["A", "B"], &rows), "A      B\nfrüh   x\n");
    }
}
