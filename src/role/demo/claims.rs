//! Claims and what became of them, as a table. Pure.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// One claim that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub from: String,
    pub to: String,
    /// The claim, in a few words.
    pub what: String,
    pub expected: String,
    pub happened: String,
    pub road: Option<Road>,
    /// The identity that the server's side saw.
    pub peer: Option<String>,
    /// The source address that the program saw.
    pub source: Option<IpAddr>,
    pub time: Duration,
    pub ok: bool,
}

/// The road a connection took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    Hbone,
    Plain,
    Refused,
    SameNode,
}

const HEAD: [&str; 9] = ["claim", "from → to", "expected", "happened", "road", "peer identity", "source", "time", ""];
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const QUIET: Style = Style::new().dimmed();
/// Between two columns.
const GAP: usize = 2;

// === impl Road ===

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hbone => "HBONE",
            Self::Plain => "plain",
            Self::Refused => "refused",
            Self::SameNode => "same node",
        })
    }
}

// === impl Row ===

impl Row {
    fn cells(&self) -> [String; 9] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        [
            self.what.clone(),
            format!("{} → {}", self.from, self.to),
            self.expected.clone(),
            self.happened.clone(),
            or_dash(self.road.map(|road| road.to_string())),
            or_dash(self.peer.clone()),
            or_dash(self.source.map(|source| source.to_string())),
            duration(self.time),
            // The word carries it where neither colour nor the sign can be seen.
            if self.ok { "✔ ok" } else { "✘ FAILED" }.into(),
        ]
    }
}

/// True when there is a row and every one is as expected.
pub fn all_ok(rows: &[Row]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| row.ok)
}

/// The rows with a line of sum, styled with ANSI sequences: write it through `anstream`, which takes
/// them out where they cannot be shown. A table that is wider than `width` columns becomes a block
/// of lines a row.
pub fn render(rows: &[Row], width: usize) -> String {
    let cells: Vec<[String; 9]> = rows.iter().map(Row::cells).collect();
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let longest = cells.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
        longest.max(columns(HEAD[column]))
    });
    let whole = widths.iter().sum::<usize>() + GAP * (HEAD.len() - 1);
    let body = if whole <= width { table(rows, &cells, &widths) } else { blocks(rows, &cells) };
    let good = rows.iter().filter(|row| row.ok).count();
    let style = if all_ok(rows) { GOOD } else { BAD };
    format!("{body}\n{style}{good} of {} claims as expected{style:#}\n", rows.len())
}

fn table(rows: &[Row], cells: &[[String; 9]], widths: &[usize; 9]) -> String {
    let mut text = line(HEAD, widths, QUIET);
    for (row, cells) in rows.iter().zip(cells) {
        text += &line(cells.each_ref().map(String::as_str), widths, verdict(row));
    }
    text
}

/// One line; the style is the last cell's, or all of it for the head.
fn line(cells: [&str; 9], widths: &[usize; 9], style: Style) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths).take(8) {
        text += cell;
        text += &" ".repeat(width - columns(cell) + GAP);
    }
    if cells == HEAD {
        format!("{style}{}{style:#}\n", text.trim_end())
    } else {
        format!("{text}{style}{}{style:#}\n", cells[8])
    }
}

fn blocks(rows: &[Row], cells: &[[String; 9]]) -> String {
    let mut text = String::new();
    for (row, cells) in rows.iter().zip(cells) {
        let style = verdict(row);
        text += &format!("{style}{}{style:#}  {}\n", cells[8], cells[0]);
        for column in 1..8 {
            text += &format!("    {QUIET}{:<14}{QUIET:#}{}\n", HEAD[column], cells[column]);
        }
    }
    text
}

fn verdict(row: &Row) -> Style {
    if row.ok { GOOD } else { BAD }
}

/// Columns on a screen: what is shown here has no wide or combining characters.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Three digits that a person reads at once.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests;
