//! What was wrong with a response, in a text of bounded length.

use std::fmt::{self, Display};

/// Bytes of the text: what a log line and an answer can carry. Some ten complaints.
const ROOM: usize = 4096;

/// Complaints joined by `; `. Those that have no room are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaints {
    text: String,
    told: usize,
    count: usize,
}

// === impl Complaints ===

impl Complaints {
    pub(super) fn add(&mut self, complaint: impl Display) {
        self.count += 1;
        if self.text.len() >= ROOM {
            return;
        }
        self.told += 1;
        let separator = if self.text.is_empty() { "" } else { "; " };
        self.text.push_str(&format!("{separator}{complaint}"));
        if self.text.len() > ROOM {
            let end = (0..=ROOM).rev().find(|end| self.text.is_char_boundary(*end)).unwrap_or(0);
            self.text.truncate(end);
            self.text.push('…');
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.count - self.told {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_joined_and_cut() {
        let mut complaints = Complaints::default();
        complaints.add("a: b");
        complaints.add("c: d");
        assert_eq!(complaints.to_string(), "a: b; c: d");
        for _ in 0..100_000 {
            complaints.add("ä".repeat(500));
        }
        let text = complaints.to_string();
        assert!(text.len() < ROOM + 40 && text.ends_with(" more"), "{}", text.len());
        assert_eq!(complaints.count(), 100_002);
    }
}
