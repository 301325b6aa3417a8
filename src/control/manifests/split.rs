//! A file of several YAML documents, cut at its markers.
//!
//! A parser that is given the whole stream loses its place at the first mistake, and every later
//! document with it. A line of `---` at the first column is a marker wherever it stands, even in a
//! block scalar (YAML 1.2.2, `c-forbidden`), so that files can be cut without parsing them.

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// From 1, empty documents not counted.
    pub number: usize,
    /// The line of the file on which its text begins, from 1.
    pub line: usize,
    /// Its text, with the marker's line when there is one.
    pub text: &'a str,
    /// The first line that says something, from 1: what a person looks for.
    pub first: usize,
}

/// The documents that are not empty, in order.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let mut start = Start { offset: 0, line: 1, first: None };
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let number = i + 1;
        if is_marker(line) {
            start.close(&text[start.offset..offset], &mut found);
            start = Start { offset, line: number, first: None };
        }
        if start.first.is_none() && says_something(line) {
            start.first = Some(number);
        }
        offset += line.len();
    }
    start.close(&text[start.offset..], &mut found);
    found
}

/// Where the current document began.
struct Start {
    offset: usize,
    line: usize,
    first: Option<usize>,
}

// === impl Start ===

impl Start {
    fn close<'a>(&self, text: &'a str, found: &mut Vec<Document<'a>>) {
        if let Some(first) = self.first {
            found.push(Document { number: found.len() + 1, line: self.line, text, first });
        }
    }
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// False for a blank line, a comment, a directive, a marker, and the end marker `...`.
fn says_something(line: &str) -> bool {
    let rest = if is_marker(line) { &line[3..] } else { line };
    let trimmed = rest.trim();
    !(trimmed.is_empty() || trimmed.starts_with('#') || line.starts_with('%') || trimmed == "...")
}
