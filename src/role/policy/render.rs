//! Findings as text and as JSON.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use crate::control::lint::{Finding, Level, Place};

/// One JSON object, with an end of line.
pub(super) fn json(findings: &[Finding], documents: usize) -> serde_json::Result<String> {
    let [errors, warnings, notes] = counts(findings);
    let all = json!({
        "findings": findings, "errors": errors, "warnings": warnings, "notes": notes, "documents": documents,
    });
    serde_json::to_string_pretty(&all).map(|text| text + "\n")
}

/// A paragraph an object, and a line that counts. Styles are written as terminal sequences.
pub(super) fn text(findings: &[Finding], documents: usize) -> String {
    let mut out = String::new();
    for of_object in findings.chunk_by(|a, b| a.object == b.object && a.at == b.at) {
        paragraph(&mut out, of_object);
        out.push('\n');
    }
    let [errors, warnings, notes] = counts(findings);
    let documents = count(documents, "document");
    // Writing to a String does not fail.
    writeln!(
        out,
        "{}, {}, {} in {documents}",
        count(errors, "error"),
        count(warnings, "warning"),
        count(notes, "note")
    )
    .ok();
    out
}

fn paragraph(out: &mut String, findings: &[Finding]) {
    let Some(first) = findings.first() else { return };
    let bold = Style::new().bold();
    let object = first.object.to_string();
    let head = if object.is_empty() && first.at.is_none() { "the directory".to_owned() } else { plain(&object) };
    let at = first.at.as_ref().map(place).unwrap_or_default();
    let space = if head.is_empty() || at.is_empty() { "" } else { "  " };
    writeln!(out, "{bold}{head}{bold:#}{space}{at}").ok();
    let width = findings.iter().map(|finding| finding.code.as_str().len()).max().unwrap_or_default();
    for Finding { level, code, path, what, why, mend, .. } in findings {
        let style = style(*level);
        let line = format!("  {style}{:7}{style:#}  {:width$}  {}", level.as_str(), code.as_str(), plain(path));
        writeln!(out, "{}", line.trim_end()).ok();
        let because = if why.is_empty() { String::new() } else { format!("; {}", plain(why)) };
        writeln!(out, "           {}{because}", plain(what)).ok();
        writeln!(out, "           mend: {}", plain(mend)).ok();
    }
}

/// `file.yaml document 2 (line 14)`.
fn place(place: &Place) -> String {
    let mut text = plain(&place.file.display().to_string());
    if let (Some(document), Some(line)) = (place.document, place.line) {
        write!(text, " document {document} (line {line})").ok();
    }
    text
}

fn style(level: Level) -> Style {
    match level {
        Level::Error => AnsiColor::Red.on_default().bold(),
        Level::Note => AnsiColor::Cyan.on_default(),
        Level::Warning => AnsiColor::Yellow.on_default(),
    }
}

fn counts(findings: &[Finding]) -> [usize; 3] {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    [count(Level::Error), count(Level::Warning), count(Level::Note)]
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Texts quote manifests: no control character reaches a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}
