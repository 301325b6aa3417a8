//! A word now and then about what strangers can make happen often. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Lets one through each ten seconds and counts the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seldom {
    last: Option<Instant>,
    silent: u64,
}

// === impl Seldom ===

impl Seldom {
    /// How many were kept silent since the last word, when it is time for one.
    pub fn word(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + EVERY) {
            self.silent += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_in_ten_seconds() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.word(start), Some(0));
        assert_eq!(seldom.word(start), None);
        assert_eq!(seldom.word(start + EVERY / 2), None);
        assert_eq!(seldom.word(start + EVERY), Some(2));
        assert_eq!(seldom.word(start + EVERY * 2), Some(0));
    }
}
