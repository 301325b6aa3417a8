//! When to connect again. Pure.

use std::time::Duration;

use crate::runtime::retry;

/// A stream that lasted this long (30 s) was no accident: its end is followed by a connection at once. Control planes
/// close streams every half an hour to spread their clients.
const LASTING: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Attempts that delivered nothing.
    failures: u32,
    /// Streams that delivered something and ended soon. They are counted apart, so that the first good stream after a
    /// long outage forgets the outage, while a server that answers and hangs up, again and again, is still left alone.
    short: u32,
}

// === impl Backoff ===

impl Backoff {
    /// An attempt ended. Answers how long to wait before the next, by [`retry::wait`].
    pub(super) fn ended(&mut self, delivered: bool, lasted: Duration, random: f64) -> Duration {
        match (delivered, lasted >= LASTING) {
            (true, true) => *self = Self::default(),
            (true, false) => *self = Self { failures: 0, short: self.short.saturating_add(1) },
            (false, _) => self.failures = self.failures.saturating_add(1),
        }
        retry::wait(self.failures.max(self.short), random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: f64 = 0.999_999_999;

    fn millis(backoff: &mut Backoff, delivered: bool, seconds: u64) -> u128 {
        (backoff.ended(delivered, Duration::from_secs(seconds), MOST) + Duration::from_micros(1)).as_millis()
    }

    #[test]
    fn failures_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..13).map(|_| millis(&mut backoff, false, 0)).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 15_000, 15_000]);
        // A thousand later nothing has overflown.
        for _ in 0..1000 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, false, 0), 15_000);
    }

    #[test]
    fn a_stream_that_delivered_forgets_the_outage() {
        let mut backoff = Backoff::default();
        for _ in 0..50 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, true, 1800), 0, "closed by its server after half an hour");
        for _ in 0..50 {
            millis(&mut backoff, false, 0);
        }
        assert_eq!(millis(&mut backoff, true, 1), 10);
    }

    #[test]
    fn a_server_that_answers_and_hangs_up_is_left_alone() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| millis(&mut backoff, true, 1)).collect();
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits[11], 15_000);
        assert_eq!(millis(&mut backoff, true, 31), 0);
    }
}
