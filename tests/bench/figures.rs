//! Samples to a table: medians, spread, ratios. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Every figure of a run.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    section: String,
    name: String,
    unit: &'static str,
    /// One list a column.
    samples: Vec<Vec<f64>>,
}

// === impl Table ===

impl Table {
    /// The first column is what the others are compared with.
    pub(crate) fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a sample. `None` makes the row without one, so that rows stand in the order of their first mention.
    pub(crate) fn add(&mut self, section: &str, name: &str, unit: &'static str, column: usize, sample: Option<f64>) {
        let found = self.rows.iter().position(|row| row.section == section && row.name == name);
        let at = found.unwrap_or_else(|| {
            let samples = vec![Vec::new(); self.columns.len()];
            self.rows.push(Row { section: section.into(), name: name.into(), unit, samples });
            self.rows.len() - 1
        });
        self.rows[at].samples[column].extend(sample);
    }

    /// The table in Markdown, one a section. Each figure is a median, with half of its range in percent, and its
    /// ratio to the first column's.
    pub(crate) fn render(&self) -> String {
        let mut sections: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !sections.contains(&row.section.as_str()) {
                sections.push(&row.section);
            }
        }
        let mut out = String::new();
        for section in sections {
            let mut lines = vec![self.head(section)];
            lines.extend(self.rows.iter().filter(|row| row.section == section).map(Row::cells));
            let widths = widths(&lines);
            let rule: Vec<String> = widths
                .iter()
                .enumerate()
                .map(|(at, width)| if at == 0 { "-".repeat(*width) } else { "-".repeat(width - 1) + ":" })
                .collect();
            lines.insert(1, rule);
            for line in lines {
                let cells = line.iter().zip(&widths).enumerate();
                let cells = cells.map(|(at, (cell, width))| {
                    let pad = " ".repeat(width - cell.chars().count());
                    if at == 0 { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
                });
                // Writing to a String cannot fail.
                let _infallible = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
            }
            out.push('\n');
        }
        out
    }

    fn head(&self, section: &str) -> Vec<String> {
        let mut head = vec![section.to_owned()];
        for (at, column) in self.columns.iter().enumerate() {
            head.push(column.clone());
            head.extend((at > 0).then(|| "ratio".to_owned()));
        }
        head
    }
}

// === impl Row ===

impl Row {
    fn cells(&self) -> Vec<String> {
        let base = self.samples.first().and_then(|samples| median(samples));
        let mut cells = vec![format!("{} ({})", self.name, self.unit)];
        for (at, samples) in self.samples.iter().enumerate() {
            let middle = median(samples);
            cells.push(match (middle, samples.len()) {
                (None, _) => "-".into(),
                (Some(middle), 1) => number(middle),
                (Some(middle), _) => format!("{} ±{:.0}%", number(middle), half_range(samples, middle)),
            });
            let ratio = middle.zip(base).filter(|(_, base)| *base > 0.0).map(|(middle, base)| middle / base);
            cells.extend((at > 0).then(|| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"))));
        }
        cells
    }
}

fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    // A column's rule is at least one dash and a colon.
    (0..columns).map(|at| width(at).max(2)).collect()
}

/// Refusals by reason and streams that were held back, in what a node tells of itself.
pub(crate) fn bitten(text: &str) -> BTreeMap<String, f64> {
    let mut bitten = BTreeMap::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let what = if series.starts_with("culvert_refusals_total{") {
            series.split_once("reason=\"").and_then(|(_, rest)| rest.split('"').next())
        } else if series.starts_with("culvert_pod_held_back_total") {
            Some("held back")
        } else {
            None
        };
        if let Some(what) = what {
            *bitten.entry(what.to_owned()).or_default() += value;
        }
    }
    bitten
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied()?;
    Some(if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], upper) } else { upper })
}

fn half_range(samples: &[f64], middle: f64) -> f64 {
    let most = samples.iter().copied().fold(f64::MIN, f64::max);
    let least = samples.iter().copied().fold(f64::MAX, f64::min);
    if middle == 0.0 { 0.0 } else { (most - least) / 2.0 / middle.abs() * 100.0 }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    // Named in full: the bench itself has no test functions, and nothing to import for them.

    #[test]
    fn medians() {
        let check =
            |samples: &[f64], expected: Option<f64>| assert_eq!(super::median(samples), expected, "{samples:?}");
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0], Some(5.0));
        check(&[9.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 9.0, 2.0], Some(3.0));
    }

    #[test]
    fn what_bit_is_found_by_its_reason() {
        let text = "# TYPE culvert_refusals counter\n\
            culvert_refusals_total{reporter=\"source\",reason=\"limit\",policy=\"\"} 3\n\
            culvert_refusals_total{reporter=\"destination\",reason=\"limit\",policy=\"\"} 4\n\
            culvert_pod_held_back_total{namespace=\"a\",pod=\"b\"} 5\n\
            culvert_pods{state=\"enrolled\"} 6\n";
        let bitten = super::bitten(text);
        assert_eq!(bitten.into_iter().collect::<Vec<_>>(), [("held back".to_owned(), 5.0), ("limit".into(), 7.0)]);
    }

    #[test]
    fn numbers_have_three_digits() {
        let check = |value: f64, expected: &str| assert_eq!(super::number(value), expected);
        check(0.0, "0");
        check(0.1234, "0.123");
        check(1.2345, "1.23");
        check(12.345, "12.3");
        check(12345.6, "12346");
    }

    #[test]
    fn rows_keep_their_order_and_columns_their_ratio() {
        let mut table = super::Table::new(vec!["none".into(), "ours".into()]);
        table.add("far", "speed", "Gbit/s", 0, Some(10.0));
        table.add("far", "cpu", "s", 0, None);
        table.add("far", "speed", "Gbit/s", 1, Some(4.0));
        table.add("far", "speed", "Gbit/s", 1, Some(6.0));
        table.add("far", "cpu", "s", 1, Some(2.0));
        table.add("near", "speed", "Gbit/s", 1, Some(1.0));
        let expected = "\
            | far            | none |      ours | ratio |\n\
            | -------------- | ---: | --------: | ----: |\n\
            | speed (Gbit/s) | 10.0 | 5.00 ±20% |  0.50 |\n\
            | cpu (s)        |    - |      2.00 |     - |\n\
            \n\
            | near           | none | ours | ratio |\n\
            | -------------- | ---: | ---: | ----: |\n\
            | speed (Gbit/s) |    - | 1.00 |     - |\n\
            \n";
        assert_eq!(table.render(), expected);
    }
}
