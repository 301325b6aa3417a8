//! Aligned tables, with colours where the output shows them.

use anstyle::Style;

/// A cell: its text and how it is shown.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub style: Style,
}

// === impl Cell ===

impl Cell {
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), style: Style::new() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

/// Columns two spaces apart, each as wide as its widest cell, no space at a line's end. A row may be short. Control
/// characters are shown as `?`: cells may hold text of others. Styles are written as terminal sequences: print the
/// answer through `anstream`, which takes them out where the output is not a terminal or `NO_COLOR` is set.
pub fn render(header: &[&str], rows: &[Vec<Cell>]) -> String {
    let head: Vec<Cell> = header.iter().map(|name| Cell::styled(*name, Style::new().bold())).collect();
    let all: Vec<&[Cell]> = std::iter::once(head.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in all {
        let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |place| place + 1);
        for (place, (cell, wide)) in row[..last].iter().zip(&widths).enumerate() {
            let Cell { text, style } = cell;
            let text = text.replace(char::is_control, "?");
            let padding = if place + 1 == last { 0 } else { wide + 2 - width_of(&text) };
            out.push_str(&format!("{style}{text}{style:#}{:padding$}", ""));
        }
        out.push('\n');
    }
    out
}

/// As [`render`], of plain text.
pub fn plain(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|text| text.as_str().into()).collect()).collect();
    render(header, &rows)
}

fn width(cell: &Cell) -> usize {
    width_of(&cell.text)
}

fn width_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_styles(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".into(), "hbone".into(), "ok".into()], vec!["longer".into(), String::new(), "x".into()]];
        let text = without_styles(&plain(&["from", "road", "result"], &rows));
        assert_eq!(text, "from    road   result\na       hbone  ok\nlonger         x\n");
    }

    #[test]
    fn styles_take_no_room_and_short_rows_end_early() {
        let green = anstyle::AnsiColor::Green.on_default();
        let rows = [vec![Cell::styled("ok", green), "é".into(), "x".into()], vec!["refused".into()], vec![]];
        let text = render(&["state", "b", "c"], &rows);
        assert!(text.contains("\u{1b}[32mok"), "{text:?}");
        assert_eq!(without_styles(&text), "state    b  c\nok       é  x\nrefused\n\n");
    }

    #[test]
    fn text_of_others_cannot_move_the_cursor() {
        let text = plain(&["a"], &[vec!["\u{1b}[2Jx\ny".into()]]);
        assert_eq!(without_styles(&text), "a\n?[2Jx?y\n");
    }
}
